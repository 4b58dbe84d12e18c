#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Each public header compiles alone, as C11 and as C++17, without a warning.
set -u
root=$1 failed=0 count=0
cxx=${CXX:-}
[ -n "$cxx" ] || { command -v g++ >/dev/null && cxx=g++; }
[ -n "$cxx" ] || { command -v clang++ >/dev/null && cxx=clang++; }
try() {
    count=$((count + 1))
    printf '#include <heed/%s>\n' "$header" | "$@" -Wall -Wextra -Wpedantic -Wshadow -Werror \
        -fsyntax-only -I"$root/include" - || { echo "heed/$header: not alone with $*"; failed=1; }
}
for path in "$root"/include/heed/*.h; do
    header=$(basename "$path")
    try ${CC:-cc} -std=c11 -x c
    [ -z "$cxx" ] || try $cxx -std=c++17 -x c++
done
[ -n "$cxx" ] || echo "no C++ compiler here: C++17 was not tried"
echo "$count compilations"
[ "$count" -ge 5 ] || failed=1
exit $failed
