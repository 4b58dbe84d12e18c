# SPDX-License-Identifier: Apache-2.0
#
# The whole path on a small town: what is imported is learned, beats the simple ones, and is explained.
check() { python3 -c "import json,sys; v=json.load(sys.stdin); $1"; }
heed simulate --users 300 --items 120 --events 60000 --seed 1 -o town >/dev/null
heed import items town/items.ndjson --json | check 'assert v["items"] == 120 == v["items_accepted"], v'
heed import events town/events.ndjson --json | check 'assert v["accepted"] == 60000 and v["rejected"] == 0, v'
heed import events town/events.ndjson --json | check 'assert v["accepted"] == 0 and v["duplicate"] == 60000, v'
heed train sequence --seed 1 --threads 2 --epochs 15 --json 2>/dev/null | check '
assert v["train_seconds"] > 0 and v["parameters"] > 0 and v["positions_per_second"] > 0, v
assert 1 <= v["best_epoch"] <= v["epochs"] <= 15 and v["seed"] == 1 and v["threads"] == 2, v
assert v["peak_rss_mib"] > 1, v'
heed evaluate sequence --json 2>/dev/null | check '
assert v["test"]["ndcg@10"] > v["popularity"]["ndcg@10"], v
assert v["ci95"]["ndcg@10"][0] <= v["test"]["ndcg@10"] <= v["ci95"]["ndcg@10"][1], v
assert v["users"] > 100 and len(v["split_sha256"]) == 64 and v["tie_rate"] < 0.01, v'
heed feed u12 -n 5 --explain --json >feed.json
python3 - <<'P'
import json
feed = json.load(open("feed.json"))
seen = {e["item"] for e in map(json.loads, open("town/events.ndjson")) if e["user"] == "u12" and e["kind"] in ("view", "click")}
assert feed["policy"] == "sequence" and len(feed["items"]) == 5, feed
assert not seen & {i["item"] for i in feed["items"]}, "a seen item came back"
assert [i["rank"] for i in feed["items"]] == [1, 2, 3, 4, 5]
assert all(i["title"] for i in feed["items"]) and all(i["reasons"] for i in feed["items"])
assert {r["item"] for i in feed["items"] for r in i["reasons"]} <= seen, "a reason is not of the reader's own history"
P
item=$(python3 -c 'import json; print(json.load(open("feed.json"))["items"][0]["item"])')
heed explain u12 "$item" --exact --html why.html --json | check '
assert v["method"] == "leave-one-out" and v["reasons"], v
assert v["comprehensiveness"] > v["random"]["comprehensiveness"], v'
grep -q '<svg' why.html && ! grep -q -E '(src|href)=.?https?://' why.html && echo "one page, no network"
heed explain u12 nothing
echo "exit $?"
heed export model sequence -o model.safetensors
python3 - <<'P'
import json, struct
data = open("model.safetensors", "rb").read()
size = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + size])
header.pop("__metadata__")
assert header and max(t["data_offsets"][1] for t in header.values()) == len(data) - 8 - size
P
HEED_DATA=./heed-data heed evaluate sequence 2>/dev/null | sed -E 's/[0-9.]+/N/g; s/ +/ /g; s/[█▏▎▍▌▋▊▉]+//g'
