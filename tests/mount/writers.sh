# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# writers.sh - the writers of crash_writer.c at work in a mount: begun, ended, judged. Sourced
# after scratch.sh.
#
# Environment
#	CRASH_WRITER		the program crash_writer
#	KVFS_TEST_SEED		the number that a case begins with, instead of one at random, to
#				repeat what failed. All follows from it but how the writers
#				interleave.

writers=4
seed=${KVFS_TEST_SEED:-$RANDOM}

# seed_use - what is drawn follows from the seed from here on
seed_use() {
	RANDOM=$seed
	echo "seed $seed"
}

# draw_seconds MS - $seconds are less than that. Not said on the standard output: in the process of
# a $(), or any other one, RANDOM does not follow from the seed.
draw_seconds() {
	printf -v seconds 0.%03d $((RANDOM % $1))
}

# store_fresh [OPTION...] - kvfs mkfs, and writers who know nothing yet
store_fresh() {
	rm -rf "$store" "$SCRATCH/ledger"
	seed_use
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
