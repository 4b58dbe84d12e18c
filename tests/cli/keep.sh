# SPDX-License-Identifier: Apache-2.0
#
# Records out and in again; a user erased, and shown to be; what is old forgotten; a backup, its
# restoration, the check, compacting. Also beside another program that has the folder open.
try() {
    timeout 60 heed "$@"
    echo "exit $? of: heed $*"
}
exec 2>&1
cat >events.ndjson <<'E'
{"id":"e1","ts":"2026-01-01T00:00:00Z","user":"ann","item":"pear","kind":"click","context":{"page":"home"}}
{"ts":"2026-01-02T00:00:00Z","user":"bob","item":"fig","kind":"view","dwell_ms":1500}
{"ts":"2026-01-03T00:00:00Z","user":"bob","item":"fig","kind":"impression"}
E
printf '{"id":"pear","title":"A pear","tags":["fruit"]}\n' >items.ndjson
heed import items items.ndjson >/dev/null
heed import events events.ndjson >/dev/null
heed feed ann >/dev/null

echo "== export"
try export events
try export items
try export users
try export user ann | sed -E 's/("decisions":\[)\{.*\}(\])/\1...\2/'
try export user nobody
try export events --json
try export events -o out.ndjson
heed export events --json -o out.ndjson
try export items -o /nowhere/out
heed import events out.ndjson --data again >/dev/null && heed export events --data again | cmp - out.ndjson &&
    echo "the same again"
cat >more.ndjson <<'E'
{"id":"cyd","attributes":{"city":"Oslo"},"consent":{"learn":false,"personalise":true,"sell":true},"block":{"items":["fig"],"tags":["war"]},"follow":{"authors":["zoe","Ann"]}}
{"id":"bob","consent":{"learn":true,"personalise":false,"sell":false}}
E
try import users more.ndjson | sed -E "s, in .* s \(.*,,"
try import users more.ndjson | sed -E "s, in .* s \(.*,,"
echo '{"id":"bob","consent":{"sel":true}}' >bad.ndjson
try import users bad.ndjson
printf 'eve fig\nann kiwi\neve kiwi\neve fig\n' >seen.txt
heed import interactions seen.txt >/dev/null
for what in users items events; do
    heed export $what >$what.1
    heed import $what $what.1 --data whole >/dev/null
done
for what in users items events; do
    heed export $what --data whole | cmp - $what.1 && echo "$what: the same again"
    heed import $what $what.1 --data whole | sed -E 's/ in .*//; /now holds/d'
done
grep null events.1
for i in $(seq 3000); do echo "u$i i$i"; done >many.txt
heed import interactions many.txt --data many >/dev/null
heed export events --data many | head -n 1

echo "== erase"
try erase ann --verify
try erase ann --verify --json
try export user ann
grep -c ann heed-data/decisions.ndjson
try erase ''

echo "== retain"
try retain
try retain --older soon
try retain --kind stare --older 1d
try retain --kind impression --older 1d | sed -E 's/before .* removed/before T removed/'
heed export events

echo "== backup, check, compact"
python3 - <<'P' &
import sqlite3, time
d = sqlite3.connect("heed-data/heed.db")
d.execute("BEGIN"); d.execute("SELECT count(*) FROM event").fetchone()
open("held", "w").close()
time.sleep(60)
P
holder=$!
until [ -e held ]; do sleep 0.05; done
try backup copy
try erase cid
try check
kill $holder
wait $holder 2>/dev/null
try backup copy
try backup copy2/
ls copy copy2
try restore copy
try restore copy --data back
heed export events --data back
try restore nothing --data back2
try compact | sed -E 's/[0-9,]+ (bytes|after)/N \1/g'
try check --json
python3 -c 'import sqlite3; d = sqlite3.connect("back/heed.db"); d.execute("UPDATE total SET events = 9"); d.commit()'
try check --data back
try check --data back --json
try check --data nowhere
