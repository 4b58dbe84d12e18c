#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/setup, with a dpkg-query, an apt-get and a sudo that only write down how they were called.
set -eu
setup=$1/tools/setup
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fake() { printf '#!/bin/sh\n%s\n' "$2" >"$work/$1"; chmod +x "$work/$1"; }
fake dpkg-query 'case " $* " in *" $HAS "*|*"$HAS"*) echo installed;; *) exit 1;; esac'
fake apt-get "echo apt-get \"\$@\" >>$work/calls"
fake sudo "echo sudo >>$work/calls; exec \"\$@\""
fake id 'echo "$ID"'
run() { : >"$work/calls"; PATH=$work:$PATH "$setup" "$@" >"$work/said" 2>&1; }
fail() { echo "setup: $*"; cat "$work/said" "$work/calls"; exit 1; }

export HAS=- ID=0 # every package is there: `-W -f ...` holds a hyphen
run || fail "failed where nothing is missing"
[ ! -s "$work/calls" ] && [ ! -s "$work/said" ] || fail "did something where nothing is missing"

export HAS=gcc ID=0
run || fail "failed as root"
grep -q 'setup: installs.* meson ' "$work/said" || fail "did not say what it installs"
grep -q 'apt-get install.* libsqlite3-dev' "$work/calls" || fail "did not install"
grep -q sudo "$work/calls" && fail "sudo as root"
grep -q 'apt-get install.* gcc' "$work/calls" && fail "installs what is there"

export ID=1000
run fuzz || fail "failed with sudo"
grep -q '^sudo' "$work/calls" || fail "no sudo where it is not root"
grep -q 'apt-get install.* clang' "$work/calls" || fail "fuzz without clang"
run nonsense && fail "took a part that is none"
exit 0
