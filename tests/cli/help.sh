# SPDX-License-Identifier: Apache-2.0
#
# Help says what there is, and every command answers --help.
heed help
heed help feed
heed help train
heed feed --help | cmp - <(heed help feed) && echo "--help is help"
heed help | sed -n '/^Commands/,/^$/s/^  \([a-z][a-z ]*[a-z]\)   *.*/\1/p' >commands
while read -r command; do
    heed help $command >one || echo "heed help $command failed"
    heed $command --help | cmp -s - one || echo "heed $command --help differs"
    grep -q '^Example$' one || echo "$command has no example"
    grep -q '^  heed ' one || echo "the example of $command calls no heed"
done <commands
[ "$(wc -l <commands)" -ge 15 ] && echo "all commands were asked"
