#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What the pages say is there: C code compiles and runs, commands and options exist, links lead
# somewhere, and the two READMEs show the same code and commands.
set -u
root=$1 heed=$2 library=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
fail() { echo "readme: $*"; failed=1; }

# The fenced blocks of a language ("" for none), without their fences.
block() {
    awk -v lang="$2" '/^```/ { fence = !fence; on = fence && $0 == "```" lang; next } on' "$1"
}

# The C of a README is the body of a program.
block "$root/README.md" c >"$work/block"
[ -s "$work/block" ] || fail "README.md shows no C"
{
    printf '#include <stdio.h>\n'
    grep '^#include' "$work/block"
    printf 'int main(void)\n{\n'
    grep -v '^#include' "$work/block"
    printf '    heed_engine_close(engine);\n    return 0;\n}\n'
} >"$work/readme.c"
${CC:-cc} -std=c11 -Wall -Wextra -Werror -I"$root/include" -o "$work/readme" "$work/readme.c" "$library" \
    -Wl,-rpath,"${library%/*}" || fail "the C of README.md does not compile"
printf '1 apple\n42 pear\n' >"$work/log.txt"
"$heed" import interactions "$work/log.txt" --data "$work/mine" >/dev/null || fail "import"
(cd "$work" && ./readme) | grep -q '^1 apple ' || fail "the C of README.md does not print a feed"

# Commands: each line's words up to the first that is no command, and each --option of it.
for page in README.md README.zh.md CONTRIBUTING.md docs/ARCHITECTURE.md docs/ATTENTION.md docs/IMPORT.md \
    docs/OPERATING.md docs/API.md docs/FILTERS.md docs/GORSE.md; do
    [ -f "$root/$page" ] || continue
    grep -o -E '\bheed (demo|simulate|import|train|evaluate|feed|explain|attention|export|erase|retain|report|backup|restore|check|compact|serve|key|bench|help|version)[^`#|&]*' \
        "$root/$page" >"$work/lines"
    while read -r line; do
        set -- ${line#heed }
        command=$1
        [ $# -gt 1 ] && "$heed" help "$1" "$2" >/dev/null 2>&1 && command="$1 $2"
        "$heed" help $command >"$work/help" 2>&1 || fail "$page: no command in: $line"
        for option in $(grep -o -E -- '--[a-z][a-z-]+' <<<"$line"); do
            grep -q -- "$option\b" "$work/help" || fail "$page: \`heed $command\` has no $option"
        done
    done <"$work/lines"
    grep -o -E '\]\([^)]+\)' "$root/$page" | sed 's/^](//; s/)$//' | grep -v -E '^(https?:|#)' |
        while read -r link; do
            [ -e "$root/$(dirname "$page")/${link%%#*}" ] || echo "$page: $link is not there"
        done >"$work/links"
    [ -s "$work/links" ] && fail "$(cat "$work/links")"
done
for target in $(grep -o -h -E '\bmake [a-z-]+' "$root/README.md" "$root/CONTRIBUTING.md" | cut -d' ' -f2 | sort -u); do
    grep -q "^$target:" "$root/Makefile" || fail "no make $target"
done

# The translation shows the same.
for lang in c ''; do
    diff <(block "$root/README.md" "$lang" | sed 's/ *#.*//') \
        <(block "$root/README.zh.md" "$lang" | sed 's/ *#.*//') || fail "the READMEs show other code"
done
exit $failed
