# SPDX-License-Identifier: Apache-2.0
#
# The benchmark of attention: rows have the fields that scripts read, and what is wrong is named. Times
# are left out of what is compared.
heed bench attention --forms window,silu --seconds 0 --threads 1 --json | python3 -c '
import json, sys
v = json.load(sys.stdin)
want = set("form dtype B H L S D causal pass ms gflops peak_share memory_mib".split())
for row in v["rows"]:
    assert want <= set(row), want - set(row)
    assert row["ms"] > 0 and row["gflops"] > 0 and row["memory_mib"] > 0
    print(*(row[key] for key in "form dtype B H L S D causal pass".split()))'
exec 2>&1
try() {
    heed bench attention "$@"
    echo "exit $? of: $*"
}
try --forms dense,windw
try --forms ,
try --forms wnidow
try --peers
try --peers --forms dense
try --peers --lengths
try --lengths --forms dense
try --lengths --threads 2
try --chart lengths.svg
try --seconds x
