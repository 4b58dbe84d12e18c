#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every source, script and build file names its licence in its first three lines, and C says there in a
# comment what the file is for.
set -u
root=$1 failed=0 count=0
while read -r file; do
    count=$((count + 1))
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' ||
        { echo "licence: ${file#"$root"/} names none"; failed=1; }
    case $file in
        *.c | *.h) head -n 3 "$file" | tail -n 1 | grep -q '^ \* .' ||
            { echo "licence: ${file#"$root"/} does not say what it is for"; failed=1; } ;;
    esac
done < <(find "$root"/{src,include,tests,fuzz,bench,tools,examples,sql} -type f \
    \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.sql' -o -name meson.build \
    -o -path "$root/tools/*" \) ! -path '*/__pycache__/*' ! -path '*/corpus/*')
[ "$count" -gt 200 ] || { echo "licence: only $count files were found"; failed=1; }
exit $failed
