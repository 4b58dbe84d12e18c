# SPDX-License-Identifier: Apache-2.0
#
# MovieLens-100k, where it is there: titles and ids as they are, every line accounted for.
data=$HEED_SHARED/data/ml-100k
[ -f "$data/u.data.gz" ] || { echo "skipped: no shared data" >&2; exit 77; }
cp "$data/u.data.gz" "$data/u.item.utf8" .
heed import movielens u.data.gz --movies u.item.utf8 --json |
    python3 -c 'import json,sys; v=json.load(sys.stdin); print({k: v[k] for k in ("accepted","duplicate","rejected","users","items")})'
heed feed 42 -n 3 --json | python3 -c 'import json,sys; v=json.load(sys.stdin); print(v["policy"], [i["title"] for i in v["items"]])'
