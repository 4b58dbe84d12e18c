# SPDX-License-Identifier: Apache-2.0
#
# The example of every command works as pasted, in the order in which `heed help` lists them, in one
# folder. bench and demo have their own time, serve has no end.
heed help | sed -n '/^Commands/,/^$/s/^  \([a-z][a-z ]*[a-z]\)   *.*/\1/p' | grep -v -E '^(demo|bench|serve)' >commands
heed simulate --users 300 --items 200 --events 20000 --seed 3 -o town >/dev/null
while read -r command; do
    heed help $command | sed -n '/^Example$/,$s/^  //p' >example
    bash -e -o pipefail ./example >out 2>err || { echo "$command: its example fails"; cat example err; }
    echo "$command: $([ -s out ] && echo answers || echo silent)"
done <commands
ls
