# SPDX-License-Identifier: Apache-2.0
#
# Ctrl-C in the middle of a training: a sentence, exit 130, no model and a checkpoint; --resume goes on
# to the same bytes as a run that nobody stopped.
heed simulate --users 300 --items 120 --events 40000 --seed 1 -o town >/dev/null
heed import events town/events.ndjson --data stopped >/dev/null 2>&1
cp -r stopped whole
heed train sequence --data stopped --epochs 12 --seed 3 --threads 2 >/dev/null 2>log &
pid=$!
for _ in $(seq 600); do # until one epoch is done, so that there is something to go on from
    grep -q '^epoch' log && break
    sleep 0.05
done
kill -INT $pid
wait $pid
echo "exit $?"
tail -n 1 log | sed -E 's/[0-9]+/N/g'
[ -e stopped/models/sequence.safetensors ] || echo "no model yet"
heed train sequence --data stopped --epochs 12 --seed 3 --threads 1 --resume --json 2>/dev/null |
    python3 -c 'import json,sys; print("resumed", json.load(sys.stdin)["resumed"])'
heed train sequence --data whole --epochs 12 --seed 3 --threads 2 >/dev/null 2>&1
cmp stopped/models/sequence.safetensors whole/models/sequence.safetensors && echo same
