# SPDX-License-Identifier: Apache-2.0
#
# What is wrong is named, with the nearest right word; misuse is exit 2.
try() {
    heed "$@"
    echo "exit $? of: heed $*"
}
exec 2>&1
try frobnicate
try fede 42
try train
try train sequnce
try train sequence --epohcs 3
try train sequence --no-such
try train sequence --recipe hstuu
try train sequence --epochs 0
try train sequence --threads 2000
try feed
try feed --kind best
try feed --kind bset
try feed --kind similar
try feed 42 --explore 1.5
try feed 42 --session ''
try feed 42 -n 0
try feed 42 -n 1001
try feed 42 --at yesterday
try feed 42 43
try explain 42
try export model
try export model sequence
try export model text -o x
try simulate --users 10
try attention
try attention show
try attention show cat --user 42
try attention show ' '
try attention show $'caf\xe9'
try attention show cat --layer 1
try attention show cat --layer 3 --head 1
try attention show cat --heads 17
try attention show cat --form softmac
try attention show cat --at 2026-01-01
try attention show --user 42 --form linear
try attention show --user 42 --heads 2
try attention show --user 42 --causal --window 3
try attention show cat --html /nowhere/cat.html
try bench nothing
try --no-such
try help nothing
ls
