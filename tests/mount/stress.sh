#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# stress.sh - stress-ng's stressors of file systems find nothing to complain about
#
# They run beside each other in a directory of the mount and verify what they get back (--verify); what a stressor finds
# wrong, it says with "fail:".

cases=(contents names attributes space)
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
		done </proc/self/mounts
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
	output=$(alone stress-ng --temp-path "$mnt/stress" --verify --timeout "$(rounds 4 2 20)" --hdd-bytes 64m \
		--seek-size 64m --copy-file-bytes 128m --readahead-bytes 64m --iomix-bytes 32m \
		--fallocate-bytes 64m --fiemap-bytes 32m --revio-bytes 64m "${options[@]}" 2>&1) ||
		fail "stress-ng: $(grep -m 1 -E 'fail|error' <<<"$output" || tail -n 1 <<<"$output")"
	! grep -q 'fail:' <<<"$output" || fail "stress-ng: $(grep -m 1 'fail:' <<<"$output")"
	# on a slow machine it kills those that take too long to clean up
	rm -rf "$mnt/stress"
	[ ! -e "$mnt/stress" ] || fail "what stress-ng left cannot be removed"
}

case_contents() {
	stress copy-file hdd iomix readahead seek sync-file mmapfork sendfile aio
}

case_names() {
	stress dentry dir dirdeep dirmany filename getdent link open rename symlink touch utime
}

case_attributes() {
	stress access chmod chown fcntl fstat lease xattr mknod inotify flock lockf lockofd locka
}

case_space() {
	stress fallocate fpunch fsize fiemap revio io chattr
}

scratch_main "$@"
