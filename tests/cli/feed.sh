# SPDX-License-Identifier: Apache-2.0
#
# `heed feed` asks for all that POST /v1/feed asks for, by the same names.
short() { python3 -c 'import json,sys; f=json.load(sys.stdin); print(f["policy"], [i["item"] for i in f["items"]], repr(f["user"]))'; }
ask() {
    echo "== $*"
    heed feed "$@" --json 2>&1 | short
}
for n in 1 2 3 4 5 6; do
    echo "{\"id\":\"i$n\",\"title\":\"Tea and $n\",\"tags\":[\"t$((n % 2))\"],\"created\":\"2026-01-0${n}T00:00:00Z\"}"
done >items.ndjson
{
    for n in 1 2 3 4; do # i1 was looked at most, then i2, i3, i4
        for u in $(seq $n 4); do
            echo "{\"id\":\"$n-$u\",\"ts\":\"2026-01-1${n}T00:00:0${u}Z\",\"user\":\"u$u\",\"item\":\"i$n\",\"kind\":\"view\"}"
        done
    done
} >events.ndjson
heed import items items.ndjson >/dev/null
heed import events events.ndjson >/dev/null
ask stranger
ask u2
ask u2 --filter 'tag = "t0"'
ask stranger --exclude i2 --exclude i3
ask --session i1 --session i4
ask u2 --session i3
ask --kind popular -n 3
ask --kind trending -n 2
ask stranger -n 2 --at 2026-01-04T00:00:00Z
ask --kind fresh -n 3
ask --kind similar --item i3 -n 2
ask u1 --kind fresh -n 9
heed feed --session i1 --filter 'id in ["i2"]' | sed -E 's/[0-9.]+ ms.*/T/; s/ +[0-9]+[.][0-9]{3} / S /'
heed feed --kind fresh -n 1 | sed -E 's/[0-9.]+ ms.*/T/; s/ +[0-9]+[.][0-9]{3} / S /'
heed feed stranger --explain -n 2 | sed -E 's/[0-9.]+ ms.*/T/; s/ +[0-9]+[.][0-9]{3} / S /'
heed feed --kind trending --at 2026-01-15T00:00:00Z
echo "exit $?"
heed feed u2 --filter 'tag ='
echo "exit $?"
heed feed --kind similar --item nothing
echo "exit $?"
echo "== chance"
for _ in 1 2 3 4 5 6 7 8; do heed feed stranger -n 4 --explore 1 --json; done |
    python3 -c 'import json,sys
pages = [json.loads(line)["items"] for line in sys.stdin]
assert all(p["propensity"] == 1 for page in pages for p in page[:2])
assert all(0 < p["propensity"] < 1 for page in pages for p in page[2:]), pages
print("the lower half goes to chance")'
heed feed stranger --placement top >/dev/null
tail -n 1 heed-data/decisions.ndjson | grep -o '"placement":"top"'
