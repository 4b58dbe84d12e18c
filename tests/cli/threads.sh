# SPDX-License-Identifier: Apache-2.0
#
# Same seed, same model file, byte for byte, with one thread and with two; another seed, another model.
heed simulate --users 100 --items 60 --events 8000 --seed 5 -o town >/dev/null
for name in one two other; do
    heed import events town/events.ndjson --data $name >/dev/null
done
heed train sequence --data one --epochs 2 --seed 7 --threads 1 >/dev/null 2>&1
heed train sequence --data two --epochs 2 --seed 7 --threads 2 >/dev/null 2>&1
heed train sequence --data other --epochs 2 --seed 8 --threads 2 >/dev/null 2>&1
for name in one two other; do
    heed export model sequence --data $name -o $name.safetensors
done
cmp one.safetensors two.safetensors && echo same
cmp -s one.safetensors other.safetensors || echo different
