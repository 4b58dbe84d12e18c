# SPDX-License-Identifier: Apache-2.0
#
# Each line is accounted for, importing again changes nothing, compressed files are unpacked.
plain() { sed -E 's/"seconds":[^,]*,"per_second":[^,]*/"seconds":0,"per_second":0/'; }
printf 'ann apple\nann pear\nbob pear\n' >fruit.txt
heed import interactions fruit.txt --json | plain
heed import interactions fruit.txt --json | plain
printf 'ann fig\n' >>fruit.txt
gzip -k fruit.txt
heed import interactions fruit.txt.gz --json | plain
printf '{"id":"apple","title":"Apple"}\n{"id":"pear","title":"Pear","tags":["green"]}\n' >items.ndjson
heed import items items.ndjson --json | plain
cat >events.ndjson <<'EOF'
{"id":"e1","ts":"2026-11-20T09:00:00Z","user":"ann","item":"apple","kind":"view","dwell_ms":1200}
{"id":"e2","ts":1763629200000,"user":"ann","item":"pear","kind":"look"}
{"id":"e3","ts":"2026-11-20T09:00:02Z","user":"ann","kind":"view"}
not json
{"id":"e4","ts":"2026-11-20T09:00:03Z","user":"cid","item":"fig","kind":"click"}
EOF
heed import events events.ndjson --data other --json | plain
heed import interactions fruit.txt | sed -E 's/in [0-9.]+ s \([0-9,]+ /in N s (N /'
