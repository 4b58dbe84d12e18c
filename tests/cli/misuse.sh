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
try feed 42 -n 0
try feed 42 -n 1001
try feed 42 --at yesterday
try feed 42 43
try explain 42
try export model
try export model sequence
try export model text -o x
try simulate --users 10
try bench nothing
try --no-such
try help nothing
ls
