#!/bin/sh
# SPDX-License-Identifier: MIT
# soak.sh PROGRAM [OPTION...] - runs the soak on a store of its own, and removes that if all is well
#
# With KVFS_TEST_LONG an hour of each, or KVFS_TEST_SOAK seconds.
set -eu
program=$1
shift
# of an option that is given twice the last counts
if [ -n "${KVFS_TEST_QUICK:-}" ]; then
	set -- "$@" -s 4
elif [ -n "${KVFS_TEST_LONG:-}" ]; then
	set -- "$@" -s "${KVFS_TEST_SOAK:-3600}"
fi
area=$(mktemp -d "${TMPDIR:-/var/tmp}/kvfs-soak.XXXXXX")
"$program" "$@" "$area/store"
rm -rf "$area"
