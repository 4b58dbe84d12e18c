#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/floors finds what it is there to find: each fault below is in a little house of its own.
set -eu
floors=$1/tools/floors
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# house FLOOR INCLUDE WANTED(0|1)
house() {
    rm -rf "$work/src" "$work/include"
    mkdir -p "$work/src/$1" "$work/include/heed"
    printf '#include "%s"\n' "$2" >"$work/src/$1/file.c"
    code=0
    "$floors" "$work" 2>"$work/said" || code=$?
    if [ "$code" != "$3" ]; then
        echo "src/$1 including $2: exit $code, not $3: $(cat "$work/said")"
        failed=1
    fi
}
house kernel base/status.h 0
house base kernel/kernel.h 1
house kernel tensor/tape.h 1
house models nn/layers.h 0
house models store/store.h 1
house engine store/store.h 0
house cli store/store.h 1
house cli engine/engine.h 0
house store acquire/event.h 1
house simulate text/json.h 1
house attic base/status.h 1
house tensor heed/engine.h 1
house engine heed/engine.h 0
house http base/status.h 0
house http engine/engine.h 1
house engine http/http.h 1
house server http/http.h 0
house base string.h 0
exit $failed
