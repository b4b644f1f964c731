#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# calls.sh - rows of system calls that look random do the same on a mount as on ext4, call by call: what they
# return, which error comes first, and what has changed in the directory
#
# Environment: CALLS, the program calls. A row is repeated with `calls run DIRECTORY SEED STEPS`.
# What differs on purpose (fs/DESIGN.md, What FUSE leaves out) the calls do not say.

cases=(what_calls_do which_times_move over_the_device)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

peer=$SCRATCH/ext4

calls_make() {
	store_make
	chmod 755 "$SCRATCH"
	# large enough for blocks of 4096 bytes; nearly all of it is a hole
	ext4_make "$SCRATCH/image" "$peer" 1G
	store_mount -o allow_other "$@"
}

# calls_compare SEED STEPS [OPTION...] - the same row of calls in two directories
calls_compare() {
	local seed=$1 steps=$2 first
	shift 2
	mkdir "$mnt/$seed" "$peer/$seed"
	"$CALLS" run "$@" "$mnt/$seed" "$seed" "$steps" >here 2>&1 &
	"$CALLS" run "$@" "$peer/$seed" "$seed" "$steps" >there 2>&1 || fail "seed $seed on ext4: $(tail -n 1 there)"
	wait $! || fail "seed $seed: $(tail -n 1 here)"
	if ! cmp -s here there; then
		diff here there >differs || true
		first=$(sed -n '1s/[^0-9].*//p' differs)
		echo "seed $seed, line $first: < here > ext4"
		head -n 12 differs
		fail "seed $seed, $(head -n "$first" here | grep '^[0-9]' | tail -n 1): $(sed -n '2,6p' differs | tr '\n' ' ')"
	fi
	"$CALLS" state "$mnt/$seed" >"state.$seed"
}

# calls_row FIRST COUNT STEPS [OPTION...] - one after the other; then what is there is there after a remount
calls_row() {
	local first=$1 last=$(($1 + $2 - 1)) steps=$3 seed
	shift 3
	for seed in $(seq "$first" "$last"); do
		calls_compare "$seed" "$steps" "$@"
	done
	store_remount -o allow_other
	for seed in $(seq "$first" "$last"); do
		"$CALLS" state "$mnt/$seed" >state
		diff "state.$seed" state || fail "seed $seed: not the same after a remount"
	done
	unmount "$peer" umount
}

case_what_calls_do() {
	calls_make
	calls_row 1 "$(rounds 10 4 400)" "$(rounds 1000 500 2000)"
}

case_which_times_move() {
	calls_make
	calls_row 1001 "$(rounds 3 1 100)" "$(rounds 500 300 1000)" --times
}

case_over_the_device() {
	needs_kvfs
	calls_make -o no_io_uring
	calls_row 2001 "$(rounds 2 1 100)" "$(rounds 1000 500 2000)"
}

scratch_main "$@"
