#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fills a data folder with the program and asks the example for a feed.
set -eu
heed=$1 example=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'ann apple\nann pear\nbob pear\nbob fig\n' >"$work/log.txt"
"$heed" import interactions "$work/log.txt" --data "$work/data" >/dev/null
"$example" "$work/data" ann >"$work/out"
grep -q '^1  fig' "$work/out" # the one that ann has not had
grep -q '^by the policy popular' "$work/out"
code=0
"$example" "$work/nothing" ann 2>"$work/err" || code=$?
[ "$code" = 1 ] && grep -q '^HEED_E_NOTFOUND: ' "$work/err"
