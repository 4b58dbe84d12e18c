# SPDX-License-Identifier: Apache-2.0
#
# Completion offers what the table holds.
heed help --completion bash >completion && . ./completion
complete_line() { # the words typed so far; the last is being typed
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _heed
    echo "$*: ${COMPREPLY[*]}"
}
complete_line heed tr
complete_line heed train ''
complete_line heed train sequence --re
complete_line heed train sequence --recipe ''
complete_line heed feed 42 --exp
complete_line heed --js
touch ratings.dat
complete_line heed import movielens rat
complete_line heed import movielens ratings.dat --movies rat
complete_line heed bench ''
