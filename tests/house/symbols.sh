#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What libheed.so exports is what tests/abi/symbols.txt lists: no internal name slips out, no public
# one is lost. HEED_GOLDEN=write rewrites the list; its diff is then read as code.
set -eu
root=$1 library=$2 list=$root/tests/abi/symbols.txt
exports=$(mktemp)
trap 'rm -f "$exports"' EXIT
nm -D --defined-only "$library" | awk '{ sub("@.*", "", $3); print $3 }' |
    grep -v -E '^(__asan|__ubsan|__tsan|__sanitizer|__odr|_init$|_fini$)' | LC_ALL=C sort >"$exports"
if grep -v '^heed_' "$exports"; then
    echo "symbols: names above are exported, and are not heed_*"
    exit 1
fi
if [ "${HEED_GOLDEN:-}" = write ]; then
    cp "$exports" "$list"
    exit 0
fi
if [ "${SYMBOLS_SUBSET:-}" = 1 ]; then # without the engine there are fewer, and none that is new
    LC_ALL=C comm -23 "$exports" "$list" | grep . && exit 1
    exit 0
fi
diff -u "$list" "$exports" || {
    echo "symbols: if this is meant, HEED_GOLDEN=write meson test -C build symbols"
    exit 1
}
# Every exported function is declared in a public header, so that somebody can call it.
while read -r name; do
    grep -q -w "$name" "$root"/include/heed/*.h || { echo "symbols: no header declares $name"; exit 1; }
done <"$exports"
