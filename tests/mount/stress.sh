#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# stress.sh - stress-ng's stressors of file systems find nothing to complain about; thousands of clients at once
#
# They run beside each other in a directory of the mount and verify what they get back (--verify); what a stressor finds
# wrong, it says with "fail:".
#
# Environment: OVERLOAD, the program overload

cases=(contents names attributes space overload overload_over_device)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# alone COMMAND... - runs it where the mounts of other tests are not to be seen: stress-ng's io opens all that there are, for as long as it runs
alone() {
	# shellcheck disable=SC2016
	unshare --mount --propagation private -- bash -c '
		own=$1
		shift
		while read -r _ point _; do
			printf -v point %b "$point"
			[[ $point != */kvfs-*/* || $point = "$own" ]] || umount -l "$point" 2>/dev/null || true
		done <<<"$(cat /proc/self/mounts)"
		exec "$@"' bash "$mnt" "$@"
}

# stress STRESSOR... - two processes of each; beside each other, in the long run also one kind after the other
stress() {
	local output stressor options=()
	command -v stress-ng >/dev/null || skip "there is no stress-ng here"
	[ -z "$long" ] || options=(--sequential 2)
	store_make
	store_mount -o allow_other
	mkdir "$mnt/stress"
	for stressor in "$@"; do
		options+=("--$stressor" 2)
	done
	output=$(alone stress-ng --temp-path "$mnt/stress" --verify --timeout "$(rounds 4 1 20)" --hdd-bytes 64m \
		--seek-size 64m --copy-file-bytes 128m --readahead-bytes 64m --iomix-bytes 32m \
		--mmap-file --mmap-bytes 16m --fallocate-bytes 64m --fiemap-bytes 32m --revio-bytes 64m "${options[@]}" 2>&1) ||
		fail "stress-ng: $(grep -m 1 -E 'fail|error' <<<"$output" || tail -n 1 <<<"$output")"
	! grep -q 'fail:' <<<"$output" || fail "stress-ng: $(grep -m 1 'fail:' <<<"$output")"
	# on a slow machine it kills those that take too long to clean up
	rm -rf "$mnt/stress"
	[ ! -e "$mnt/stress" ] || fail "what stress-ng left cannot be removed"
}

# not mmapfork: it takes all of the machine's memory, and none of it is a file's
case_contents() {
	stress copy-file hdd iomix readahead seek sync-file mmap sendfile aio
}

case_names() {
	# not getdent: it reads /proc, /sys, /run and /tmp, and what others have mounted there
	stress dentry dir dirdeep dirmany filename link open rename symlink touch utime
}

case_attributes() {
	stress access chmod chown fcntl fstat lease xattr mknod inotify flock lockf lockofd locka
}

case_space() {
	stress fallocate fpunch fsize fiemap revio io chattr
}

# peaks_watch PROCESS - while it works: the most of anonymous memory (KiB), threads and descriptors that the server has, in
# most_kib, most_threads and most_descriptors, and of files that the store has, in most_files
peaks_watch() {
	local name value descriptors files state=R
	most_kib=0 most_threads=0 most_descriptors=0 most_files=0
	while [ "$state" != Z ] && read -r _ _ state _ <"/proc/$1/stat"; do
		while read -r name value _; do
			case $name in
			RssAnon:) most_kib=$((value > most_kib ? value : most_kib)) ;;
			Threads:) most_threads=$((value > most_threads ? value : most_threads)) ;;
			esac
		done <"/proc/$daemon/status"
		descriptors=("/proc/$daemon/fd"/*)
		files=("$store"/*)
		most_descriptors=$((${#descriptors[@]} > most_descriptors ? ${#descriptors[@]} : most_descriptors))
		most_files=$((${#files[@]} > most_files ? ${#files[@]} : most_files))
		sleep 0.05
	done 2>/dev/null
}

# peaks_judge - by the table in fs/DESIGN.md, What a flood may take
peaks_judge() {
	local queues kib threads descriptors
	queues=$(nproc --all)
	kib=$((262144 + 8192 * queues + 65536)) # buffers of the log; of rings or readers; what is small
	threads=$((queues + 11))
	descriptors=$((2 * most_files + 2 * queues + 24))
	echo "at most $most_kib of $kib KiB, $most_threads of $threads threads, $most_descriptors of $descriptors descriptors"
	[ "$most_kib" -gt 0 ] && [ "$most_kib" -le "$kib" ] || fail "the server took $most_kib KiB, more than $kib"
	[ "$most_threads" -gt 0 ] && [ "$most_threads" -le "$threads" ] ||
		fail "the server had $most_threads threads, more than $threads"
	[ "$most_descriptors" -gt 0 ] && [ "$most_descriptors" -le "$descriptors" ] ||
		fail "the server had $most_descriptors descriptors, more than $descriptors"
}

# flood [OPTION...] - thousands at once wait their turn in the kernel: the server has as many threads as ever, memory and descriptors
# within their bounds; all are served, what they were answered is true, and all of it is there after a remount
flood() {
	local count clients
	count=$(rounds 2000 1000 8000)
	store_make
	store_mount "$@"
	mkdir "$mnt/flood"
	"$OVERLOAD" work "$mnt/flood" "$count" >report 2>&1 &
	clients=$!
	if [ -n "$daemon" ] && [ "$("$KVFS" stat "$mnt" | awk '$1 == "confined" { print $2 }')" != none ]; then
		peaks_watch "$clients"
		peaks_judge
	fi
	wait "$clients" || fail "overload: $(tail -n 3 report)"
	cat report
	expect_same "files" $((count * 3)) "$(find "$mnt/flood" -name 'f*' -type f | wc -l)"
	expect_same "other files" 0 "$(find "$mnt/flood" -type f ! -name 'f*' | wc -l)"
	store_remount "$@"
	"$OVERLOAD" verify "$mnt/flood" "$count" >report 2>&1 || fail "afterwards: $(tail -n 3 report)"
}

case_overload() {
	flood
}

# A request that waits for the disk is no entry of a ring here: there are as many as there are clients.
case_overload_over_device() {
	needs_kvfs
	flood -o no_io_uring
}

scratch_main "$@"
