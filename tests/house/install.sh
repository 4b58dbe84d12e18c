#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs into an empty folder and builds a stranger's program against that, by pkg-config alone.
set -eu
root=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DESTDIR=$work meson install -C "$build" --no-rebuild >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
pc=$(find "$work" -name heed.pc)
[ -n "$pc" ] || { echo "install: no heed.pc"; exit 1; }
export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$work
flags=$(pkg-config --cflags --libs heed)
${CC:-cc} -std=c11 -Wall -Wextra -Werror -o "$work/tiny" "$root/tests/house/tiny.c" $flags
library=$(find "$work" -name 'libheed.so.0.1')
[ -n "$library" ] || { echo "install: no libheed.so.0.1"; exit 1; }
said=$(LD_LIBRARY_PATH=${library%/*} "$work/tiny")
[ "$said" = "$(pkg-config --modversion heed)" ] || { echo "install: tiny says $said"; exit 1; }
for name in 'bin/heed' 'man1/heed.1' 'bash-completion/completions/heed.bash' 'include/heed/engine.h' \
    'libheed.a'; do
    find "$work" -path "*/$name" | grep -q . || { echo "install: no $name"; exit 1; }
done
"$(find "$work" -path '*/bin/heed')" version | grep -q "^heed $said$"
