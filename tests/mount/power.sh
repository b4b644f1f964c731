#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# power.sh - the power fails at each flush of a disk that is recorded, with the kernel's own file system between it and the store
#
# Environment
#	POWER			the program power
#	KVFS_TEST_SEED		a number instead of one at random
#	KVFS_TEST_STATES	so many moments at a flush and as many behind a write, instead of all at a flush and 24 behind a
#				write, or all of both with KVFS_TEST_LONG

limit=1200
cases=(power_fails_at_flushes)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# What is recorded depends on the machine's speed; the seed alone on nothing.
seed=${KVFS_TEST_SEED:-$RANDOM}

case_power_fails_at_flushes() {
	local round status=0 flushes parts
	needs_kvfs
	uncheckable=1 # there is none here
	flushes=${KVFS_TEST_STATES:-$(rounds all 6 all)}
	parts=${KVFS_TEST_STATES:-$(rounds 24 6 all)}
	for round in $(seq "$(rounds 1 1 10)"); do
		mkdir "$round"
		"$POWER" "$SCRATCH/$round" "$((seed + round))" "$(rounds 200 120 400)" \
			"$flushes" "$parts" || status=$?
		[ "$status" != 77 ] || skip "there are no loop devices here, or no FUSE"
		[ "$status" = 0 ] || fail "power ended with $status: what it said is above"
	done
}

scratch_main "$@"
