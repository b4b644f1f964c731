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
# And a store that lives through a week's worth of that (fs/DESIGN.md, What a flood may take) while its servers are killed, or end and
# begin again: what each life leaves is judged, and the empty store takes no more after the last one than after the first.
#
# Environment
#	CRASH_WRITER, KVFS_TEST_SEED	see writers.sh
#	KVFS_TEST_SOAK			so many seconds of work in each case, instead of 30 and 20, or 3,600 and 7,200
#					with KVFS_TEST_LONG

cases=(steady week)
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
lives=0
more_work() {
	local round=0
	while helpers_wanted; do
		round=$((round + 1))
		mkdir "$mnt/.snapshots/more$lives.$round"
		find "$mnt/.snapshots/more$lives.$round/w0" -type f -exec cat {} + >/dev/null
		[ $((round % 4)) != 0 ] || "$KVFS" prune "$mnt" >/dev/null
		rmdir "$mnt/.snapshots/more$lives.$round"
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
	remove_all
}

# remove_all - snapshots as well
remove_all() {
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

# malloc_give_back - What was freed is given back at once: malloc keeps as much as there ever was, in each thread's own arena.
malloc_give_back() {
	export GLIBC_TUNABLES=glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072
	# 1 MiB for each entry of the rings is touched once so much is written or read by way of it.
	export FUSE_URING_QUEUE_DEPTH=2
}

case_steady() {
	local seconds early_memory early_threads early_descriptors early_files memory threads descriptors files disk_kib
	needs_kvfs
	seconds=${KVFS_TEST_SOAK:-$(rounds 30 6 3600)}
	seed_use
	store_make -s "${segment_mib}M"
	malloc_give_back
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

# life SECONDS - of a server, all at once, which in two of three cases is killed in the middle of it and else ends
life() {
	local more needed_kib disk_kib
	lives=$((lives + 1))
	writers_verify "life $lives"
	more_work 2>"$SCRATCH/more.log" & # which a killed server ends
	more=$!
	writers_begin "$1"
	puts=$((puts + $(stat_number puts)))
	needed_kib=$(($(stat_number live_bytes) / 1024))
	disk_kib=$(du -sk "$store" | cut -f 1)
	[ "$needed_kib" -le "$most_needed_kib" ] || most_needed_kib=$needed_kib
	[ "$disk_kib" -le "$most_disk_kib" ] || most_disk_kib=$disk_kib
	# as the soak of the library has it
	[ "$disk_kib" -le $((5 * most_needed_kib + 32 * segment_mib * 1024)) ] ||
		fail "seed $seed: $disk_kib KiB are taken where $most_needed_kib are needed at most"
	if [ $((RANDOM % 3)) != 0 ]; then
		daemon_kill
		kills=$((kills + 1))
		wait "$more" || true
		writers_end
		mount_clear
	else
		helpers_end "$more" || fail "seed $seed: beside the writers: $(tail -n 1 "$SCRATCH/more.log")"
		writers_stop
		store_unmount
	fi
	[ $((RANDOM % 4)) != 0 ] || store_check
	store_mount
}

case_week() {
	local seconds stretch end until early_threads early_descriptors early_files= memory threads descriptors files disk_kib
	local puts=0 kills=0 most_needed_kib=0 most_disk_kib=0
	needs_kvfs
	seconds=${KVFS_TEST_SOAK:-$(rounds 20 6 7200)}
	stretch=$((seconds / 4 < 600 ? seconds / 4 : 600))
	end=$((SECONDS + seconds))
	seed_use
	store_make -s "${segment_mib}M"
	malloc_give_back
	store_mount
	while [ "$SECONDS" -lt "$end" ]; do
		rm -rf "$SCRATCH/ledger"
		seed=$((seed + 1))
		until=$((SECONDS + stretch))
		while [ "$SECONDS" -lt "$until" ]; do
			life $((RANDOM % (long ? 10 : 2))).$((RANDOM % 10))
		done
		writers_verify "after the work"
		remove_all
		store_remount # and nothing is left of how long it has lived
		rest
		# not its memory: this server is a new one
		[ -n "$early_files" ] || early_threads=$threads early_descriptors=$descriptors early_files=$files
		[ "$threads" -le "$early_threads" ] || fail "$threads threads after $lives lives, and $early_threads before"
		[ "$files" -le $((early_files + 3)) ] || fail "$files files of an empty store after $lives lives, and $early_files before"
		[ "$((descriptors - 2 * files))" -le "$((early_descriptors - 2 * early_files + 3))" ] ||
			fail "$descriptors descriptors for $files files, and $early_descriptors for $early_files before"
	done
	echo "$lives lives, $kills of them killed, $puts puts in $seconds s; at most $most_disk_kib KiB where $most_needed_kib are needed"
}

scratch_main "$@"
