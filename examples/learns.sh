#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#     learns.sh PROGRAM AT_LEAST
#
# Runs an example that trains a model and holds it to the accuracy it prints.
set -eu
out=$("$1")
echo "$out"
awk -v least="$2" '$1 == "accuracy" { good = $2 >= least } END { exit !good }' <<<"$out"
