# SPDX-License-Identifier: Apache-2.0
#
# Attention to be looked at: of a text, by random projections, which it says; of a user's history, by
# the trained model. In words, as JSON, as a page and as a picture.
heed attention show "The cat sat on the mat" --layers 1 --heads 2
echo ---
heed attention show "猫坐在垫子上。" --causal --seed 2 --heads 1 --layers 1
echo ---
heed attention show "One two three four five six seven eight nine ten eleven twelve thirteen fourteen" \
    --layer 2 --head 3 --heads 3 --html page.html --svg picture.svg
for file in page.html picture.svg; do
    grep -o -E 'Random projections \(seed 1\)' $file | head -n 1
    grep -c '<svg' $file
    grep -o -i 'layer 2, head 3' $file | head -n 1
    grep -E -c 'https?://' <(sed 's|xmlns="http://www.w3.org/2000/svg"||' $file)
done
echo ---
heed attention show "a b a" --json | python3 -c '
import json, sys
v = json.load(sys.stdin)
print(sorted(v), v["source"], v["tokens"], v["note"][:18])
assert all(abs(sum(row) - 1) < 1e-5 for layer in v["weights"] for head in layer for row in head)
print(len(v["weights"]), len(v["weights"][0]), len(v["weights"][0][0]), len(v["weights"][0][0][0]))'
for form in softmax sigmoid silu cosine euclid bilinear additive features linear lsh; do
    heed attention show "a b c a" --form $form --json | python3 -c '
import json, sys
v = json.load(sys.stdin)
sums = [sum(row) for layer in v["weights"] for head in layer for row in head]
print(v["form"], "sums to one" if all(abs(x - 1) < 1e-5 for x in sums) else "does not")'
done
heed attention show "one two three four five" --window 1 --causal --alibi --rotary --layers 1 --heads 1
echo ---
yes word | head -n 300 | tr '\n' ' ' >long
heed attention show "$(cat long)" --json | python3 -c '
import json, sys
v = json.load(sys.stdin)
print(len(v["tokens"]), v["note"][-45:])'
echo ---
heed simulate --users 80 --items 40 --events 4000 --seed 3 -o town >/dev/null
heed import items town/items.ndjson >/dev/null
heed import events town/events.ndjson >/dev/null
heed attention show --user u7
echo "exit $?"
heed train sequence --epochs 1 --seed 1 --threads 1 >/dev/null 2>&1
heed attention show --user u7 --html u7.html | grep -v -E '[░▒▓█·]'
grep -o 'Layer ., head .' u7.html
heed attention show --user u7 --json | python3 -c '
import json, sys
v = json.load(sys.stdin)
print(v["source"], v["user"], v["causal"], len(v["tokens"]), len(v["weights"][1][1]), v["tokens"][0])'
heed attention show --user u7000
echo "exit $?"
