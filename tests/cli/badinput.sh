# SPDX-License-Identifier: Apache-2.0
#
# Input that is wrong: a message with file, line and field, exit 1, and nothing half done.
try() {
    timeout 60 heed "$@"
    echo "exit $? of: heed $*"
}
exec 2>&1
try import movielens none.dat
mkdir folder
try import movielens folder
: >empty.dat
try import movielens empty.dat
printf '1::2::x::y\n' >broken.dat
try import movielens broken.dat
printf '\0\1\2\3\377binary' >noise.dat
try import interactions noise.dat
printf 'ann apple\nbob\0 pear\nbob fig\n' >nul.txt
try import interactions nul.txt --data nul | sed -E 's/in [0-9.]+ s \([0-9,]+ /in N s (N /'
{ head -c 2000000 /dev/zero | tr '\0' 'x'; echo; echo 'ann apple'; } >long.txt
try import interactions long.txt --data long | sed -E 's/in [0-9.]+ s \([0-9,]+ /in N s (N /'
printf '1::2::5::-99999999999999999\n1::2::5::99999999999999999999\n1::2::5::978300760\n' >times.dat
try import movielens times.dat --data times | sed -E 's/in [0-9.]+ s \([0-9,]+ /in N s (N /'
printf '1::2::5::978300760\n' >ratings.dat
printf '2::Caf\351 (1995)::Drama\n' >movies.dat
try import movielens ratings.dat --movies movies.dat --data utf8 | sed -E 's/in [0-9.]+ s \([0-9,]+ /in N s (N /'
try import movielens ratings.dat --movies movies.dat --encoding latin-1 --data latin |
    sed -E 's/in [0-9.]+ s \([0-9,]+ /in N s (N /'
try train sequence
try evaluate sequence
mkdir foreign && echo 'not a database, but long enough to be taken for one by its size alone' >foreign/heed.db
try feed 1 --data foreign
touch file
try import interactions ratings.dat --data file
try feed 1 --data nowhere
