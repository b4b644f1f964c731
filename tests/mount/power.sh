#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# power.sh - the power fails at each flush of a disk that is recorded, with the kernel's own file system between it and the store
#
# Environment
#	POWER, CRASH_WRITER	the programs
#	KVFS_TEST_SEED		a number instead of one at random
#	KVFS_TEST_STATES	so many moments at a flush and as many behind a write, instead of all at a flush and 24 behind a
#				write (of files, which take longer, 60 and 24), or all of both with KVFS_TEST_LONG

limit=1200
cases=(power_fails_at_flushes power_fails_under_files)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# What is recorded depends on the machine's speed; the seed alone on nothing.
seed=${KVFS_TEST_SEED:-$RANDOM}

case_power_fails_at_flushes() {
	fails_at store "$(rounds 200 120 400)" "$(rounds all 6 all)" "$(rounds 24 6 all)"
}

# The same of a mount, with four who write to it, a stream, and snapshots.
case_power_fails_under_files() {
	fails_at files "$(rounds 3000 500 10000)" "$(rounds 60 6 all)" "$(rounds 24 6 all)"
}

# fails_at SUBJECT STEPS FLUSHES PARTS - so many moments of so much work
fails_at() {
	local round status=0
	needs_kvfs
	uncheckable=1 # there is none here
	for round in $(seq "$(rounds 1 1 10)"); do
		mkdir "$round"
		"$POWER" "$1" "$SCRATCH/$round" "$((seed + round))" "$2" \
			"${KVFS_TEST_STATES:-$3}" "${KVFS_TEST_STATES:-$4}" || status=$?
		[ "$status" != 77 ] || skip "there are no loop devices here, or no FUSE"
		[ "$status" = 0 ] || fail "power ended with $status: what it said is above"
	done
}

scratch_main "$@"
