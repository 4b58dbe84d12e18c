#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The learning core builds by itself, and then needs libc and libm alone.
set -eu
root=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
meson setup "$work/build" "$root" -Dengine=disabled -Doptimization=0 -Dwerror=false >"$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
target=$(ninja -C "$work/build" -t targets all | sed -n 's/^\(src\/libheed\.so[0-9.]*\): c_LINKER.*/\1/p')
ninja -C "$work/build" "$target" >"$work/log" 2>&1 || { tail -n 40 "$work/log"; exit 1; }
library=$work/build/$target
readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | LC_ALL=C sort >"$work/needed"
if grep -v -E '^(libc\.so|libm\.so|libpthread\.so|ld-linux)' "$work/needed"; then
    echo "core: needs what is named above"
    exit 1
fi
nm -D --defined-only "$library" | grep -q ' T heed_version$' || { echo "core: no heed_version"; exit 1; }
if nm -D --defined-only "$library" | grep ' T heed_engine'; then
    echo "core: holds the engine"
    exit 1
fi
[ ! -e "$work/build/heed" ] || { echo "core: built the program without its engine"; exit 1; }
