#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# stress.sh - stress-ng's stressors of file systems find nothing to complain about; thousands of clients at once
#
# They run beside each other in a directory of the mount and verify what they get back (--verify); what a stressor finds
# wrong, it says with "fail:".
#
# Environment: OVERLOAD, the program overload

cases=(contents names attributes space overload)
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

# peak NAME - the greatest value of this line of the server's status while the process `clients` works
peak() {
	local value state most=0
	while state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$clients/status" 2>/dev/null) &&
		[ -n "$state" ] && [ "$state" != Z ]; do
		value=$(sed -n "s/^$1:[[:space:]]*\([0-9]*\).*/\1/p" "/proc/$daemon/status")
		[ "${value:-0}" -le "$most" ] || most=$value
		sleep 0.05
	done
	echo "$most"
}

# Thousands at once wait their turn in the kernel: the server has as many threads as ever, and memory within its bound (fs/DESIGN.md,
# What a flood may take); all are served, what they were answered is true, and all of it is there after a remount.
case_overload() {
	local count clients most_kib
	count=$(rounds 2000 1000 8000)
	store_make
	store_mount
	mkdir "$mnt/flood"
	"$OVERLOAD" work "$mnt/flood" "$count" >report 2>&1 &
	clients=$!
	if [ -n "$daemon" ] && [ "$("$KVFS" stat "$mnt" | awk '$1 == "confined" { print $2 }')" != none ]; then
		most_kib=$(peak RssAnon)
		[ "$most_kib" -lt 524288 ] || fail "the server took $most_kib KiB"
	fi
	wait "$clients" || fail "overload: $(tail -n 3 report)"
	echo "$(cat report)${most_kib:+; the server at most $most_kib KiB}"
	expect_same "files" $((count * 3)) "$(find "$mnt/flood" -name 'f*' -type f | wc -l)"
	expect_same "other files" 0 "$(find "$mnt/flood" -type f ! -name 'f*' | wc -l)"
	store_remount
	"$OVERLOAD" verify "$mnt/flood" "$count" >report 2>&1 || fail "afterwards: $(tail -n 3 report)"
}

scratch_main "$@"
