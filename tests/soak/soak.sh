#!/bin/sh
# SPDX-License-Identifier: MIT
# soak.sh PROGRAM [OPTION...] - runs the soak on a store of its own, and removes that if all is well
#
# The long one: tests/soak/soak.sh build/tests/soak/soak -s 1800
set -eu
program=$1
shift
# of an option that is given twice the last counts
[ -z "${KVFS_TEST_QUICK:-}" ] || set -- "$@" -s 4
area=$(mktemp -d "${TMPDIR:-/var/tmp}/kvfs-soak.XXXXXX")
"$program" "$@" "$area/store"
rm -rf "$area"
