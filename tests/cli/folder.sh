# SPDX-License-Identifier: Apache-2.0
#
# A data folder in trouble: from a newer heed, with a model that is none, while somebody else writes, in a
# place where none can be.
try() {
    timeout 60 heed "$@"
    echo "exit $? of: heed $*"
}
exec 2>&1
printf 'ann apple\nann pear\nbob pear\nbob fig\n' >log.txt
heed import interactions log.txt >/dev/null
cp -r heed-data newer
python3 -c 'import sqlite3; d = sqlite3.connect("newer/heed.db"); d.execute("PRAGMA user_version = 9999"); d.commit()'
try feed ann --data newer
try import interactions log.txt --data newer

mkdir -p heed-data/models
head -c 300 /dev/zero | tr '\0' 'x' >heed-data/models/sequence.safetensors
heed feed ann --json | python3 -c 'import json,sys; f=json.load(sys.stdin); print(f["policy"], f["why_policy"])'
try explain ann fig
try evaluate sequence
rm -r heed-data/models

python3 -c '
import fcntl, time
lock = open("heed-data/heed.lock", "a")
fcntl.flock(lock, fcntl.LOCK_EX)
open("held", "w").close()
time.sleep(60)' &
holder=$!
until [ -e held ]; do sleep 0.05; done
printf 'cid apple\n' >more.txt
try import interactions more.txt 2>&1 | sed -E 's/process [0-9]+/process N/'
heed feed ann --json | python3 -c 'import json,sys; print("a feed all the same:", json.load(sys.stdin)["policy"])'
kill $holder
wait $holder 2>/dev/null
heed import interactions more.txt --json | python3 -c 'import json,sys; print("then:", json.load(sys.stdin)["accepted"])'

try import interactions log.txt --data /proc/heed
try simulate --users 10 --items 10 --events 10 -o /proc/town
try export model sequence -o /proc/model
