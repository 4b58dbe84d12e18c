# SPDX-License-Identifier: Apache-2.0
#
# There is an answer for everybody, and it says which policy made it.
short() { python3 -c 'import json,sys; f=json.load(sys.stdin); print(f["policy"], [i["item"] for i in f["items"]], f["why_policy"])'; }
printf '{"id":"old","title":"Old","created":"2020-01-01T00:00:00Z"}\n{"id":"new","title":"New","created":"2026-01-01T00:00:00Z"}\n' >items.ndjson
heed import items items.ndjson >/dev/null
heed feed anybody --json | short
printf 'ann old\nbob old\nbob new\n' >log.txt
heed import interactions log.txt >/dev/null
heed feed stranger --json | short
heed feed ann --json | short
heed feed bob --json | short
heed explain ann old
echo "exit $?"
heed explain nobody old
echo "exit $?"
heed export model sequence -o x
echo "exit $?"
