# SPDX-License-Identifier: Apache-2.0
#
# The town repeats itself, and another seed is another town.
heed simulate --users 30 --items 20 --events 2000 --seed 3 -o one --json
heed simulate --users 30 --items 20 --events 2000 --seed 3 -o two
heed simulate --users 30 --items 20 --events 2000 --seed 4 -o other --json >/dev/null
diff -r one two && echo same
cmp -s one/events.ndjson other/events.ndjson || echo different
ls one
heed simulate --users 30 --items 20 --events 2000 -o one/README.txt/folder
echo "exit $?"
