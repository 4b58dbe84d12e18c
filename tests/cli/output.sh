# SPDX-License-Identifier: Apache-2.0
#
# A full disk under stdout is a failure; what is written for machines is one object; no colour in a pipe.
heed version >/dev/full
echo "exit $?"
heed help >/dev/full
echo "exit $?"
heed version --json | python3 -c 'import json,sys; v=json.load(sys.stdin); print(sorted(v))'
printf 'ann apple\nann pear\nbob pear\nbob fig\n' >log.txt
heed import interactions log.txt >/dev/null
heed feed ann | grep -c $'\033'
heed feed ann --json | python3 -c 'import json,sys; v=json.load(sys.stdin); print(sorted(v), len(v["decision"]), v["took_us"] >= 0)'
