# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# writers.sh - the writers of crash_writer.c at work in a mount: begun, ended, judged. Sourced
# after scratch.sh.
#
# Environment
#	CRASH_WRITER		the program crash_writer
#	KVFS_TEST_SEED		a number instead of one at random; how the writers interleave
#				does not follow from it

writers=4
seed=${KVFS_TEST_SEED:-$RANDOM}

# store_fresh [OPTION...] - kvfs mkfs
store_fresh() {
	rm -rf "$store" "$SCRATCH/ledger"
	seed=$((seed + 1))
	store_make "$@"
}

# writers_verify WHEN - judges what all writers did
writers_verify() {
	local output
	output=$("$CRASH_WRITER" verify "$mnt" "$SCRATCH/ledger" "$seed" "$writers" 2>&1) ||
		fail "seed $seed, $1: $output"
}

# writers_begin SECONDS - lets them run for so long, and longer
writers_begin() {
	"$CRASH_WRITER" load "$mnt" "$SCRATCH/ledger" "$seed" "$writers" &
	load=$!
	sleep "$1"
	kill -0 "$load" 2>/dev/null ||
		fail "seed $seed: a writer ended before the kill (it says why above)"
}

# writers_end - they have
writers_end() {
	wait "$load" || fail "seed $seed: a writer failed (it says how above)"
}

# writers_stop - they end while the daemon lives
writers_stop() {
	"$CRASH_WRITER" stop "$mnt" "$SCRATCH/ledger" "$seed" "$writers"
	writers_end
}
