#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# steady.sh - a server that nobody kills has at rest what it had at an earlier rest: memory, descriptors, threads, and files of the
# store
#
# Four writers change their trees beside a stream, snapshots are made and deleted, and garbage is pruned (crash_writer.c). Then they
# stop, what they did is judged, and all of it is removed, snapshots as well: an empty store is the same after a third of the time
# and at the end, under whatever load.
#
# Environment
#	CRASH_WRITER, KVFS_TEST_SEED	see writers.sh
#	KVFS_TEST_SOAK			so many seconds of work, instead of 30, or 3,600 with KVFS_TEST_LONG

cases=(steady)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/writers.sh"

segment_mib=2
rest_segments=8 # on the disk, of an empty store: a tail, spares, a reserve, a checkpoint
memory_kib=$((2048 + 2048 * $(nproc --all))) # more than before beside the log's buffers: of the rings', and of free memory in pieces

# stat_number NAME - of the mounted store
stat_number() {
	"$KVFS" stat "$mnt" | awk -v name="$1" '$1 == name { print $2 }'
}

# more_work - what else is done for as long as it is wanted: snapshots of all, read and deleted, and garbage pruned
more_work() {
	local round=0
	while helpers_wanted; do
		round=$((round + 1))
		mkdir "$mnt/.snapshots/more$round"
		find "$mnt/.snapshots/more$round/w0" -type f -exec cat {} + >/dev/null
		[ $((round % 4)) != 0 ] || "$KVFS" prune "$mnt" >/dev/null
		rmdir "$mnt/.snapshots/more$round"
	done
}

# work SECONDS - all at once; what the writers did is judged, and removed
work() {
	local more
	rm -rf "$SCRATCH/ledger"
	seed=$((seed + 1))
	writers_verify "before the work"
	more_work &
	more=$!
	writers_begin "$1"
	helpers_end "$more" || fail "seed $seed: snapshots or pruning beside the writers failed"
	writers_stop
	writers_verify "after the work"
	find "$mnt/.snapshots" -mindepth 1 -maxdepth 1 -exec rmdir {} +
	find "$mnt" -mindepth 1 -delete
	expect_same "what is left of the tree" "" "$(find "$mnt" "$mnt/.snapshots" -mindepth 1)"
}

# Files that nobody knows of count as well.
disk_is_given_back() {
	disk_kib=$(du -sk "$store" | cut -f 1)
	[ "$disk_kib" -le $((rest_segments * segment_mib * 1024)) ]
}

# rest - in memory, descriptors, threads and files: what the server has with an empty store
rest() {
	"$KVFS" sync "$mnt"
	"$KVFS" prune "$mnt" >prune.log
	disk_kib=
	await "an empty store on the disk" disk_is_given_back
	memory=$(awk '/^RssAnon/ { print $2 }' "/proc/$daemon/status")
	memory=$((memory - $(stat_number memory.resident_bytes) / 1024))
	# the kernel's own, which carry out what a ring is asked for, come and go
	threads=$(cat "/proc/$daemon"/task/*/comm | grep -vc '^iou-wrk')
	descriptors=$(find "/proc/$daemon/fd" -mindepth 1 | wc -l)
	files=$(find "$store" -type f | wc -l)
	echo "at rest: $memory KiB beside the log's buffers, $threads threads, $descriptors descriptors, $files files of $disk_kib KiB"
}

case_steady() {
	local seconds early_memory early_threads early_descriptors early_files memory threads descriptors files disk_kib
	needs_kvfs
	seconds=${KVFS_TEST_SOAK:-$(rounds 30 6 3600)}
	seed_use
	store_make -s "${segment_mib}M"
	# What was freed is given back at once: malloc keeps as much as there ever was, in each thread's own arena.
	export GLIBC_TUNABLES=glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072
	# 1 MiB for each entry of the rings is touched once so much is written or read by way of it.
	export FUSE_URING_QUEUE_DEPTH=2
	store_mount
	work $((seconds / 3))
	rest
	early_memory=$memory early_threads=$threads early_descriptors=$descriptors early_files=$files
	work $((seconds - seconds / 3))
	rest
	[ "$threads" -le "$early_threads" ] || fail "$threads threads at the end, and $early_threads before"
	[ "$((descriptors - 2 * files))" -le "$((early_descriptors - 2 * early_files + 3))" ] ||
		fail "$descriptors descriptors for $files files, and $early_descriptors for $early_files before"
	[ "$slow" != 1 ] || [ "$memory" -le $((early_memory + memory_kib)) ] ||
		fail "$memory KiB at the end, and $early_memory KiB before"
	echo "$(stat_number puts) puts"
}

scratch_main "$@"
