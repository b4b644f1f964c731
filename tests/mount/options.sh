#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# options.sh - what the mount options promise: the transport, who may enter, when times move, read-only and back

cases=(transport_default transport_uring transport_device commit_interval remount_read_only noatime
	allow_other_or_not nosuid_noexec names_in_mount_table stat_of_mount background)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

prepare() {
	needs_kvfs
	store_make
}

# Whether the kernel offers FUSE over io_uring now.
uring_offered() {
	[ "$(cat /sys/module/fuse/parameters/enable_uring 2>/dev/null)" = Y ]
}

# The transport that the daemon said it got; it says so just after the mount answers.
announced() {
	await "the transport in what mount says" grep -q ' over ' daemon.log
	sed -n 's/.* over \([^ ,]*\).*/\1/p' daemon.log | tail -n 1
}

work() {
	local i
	mkdir "$mnt/dir"
	for i in {1..60}; do seq "$i" $((i * 10)) >"$mnt/dir/$i"; done
	head -c 5000000 /dev/urandom >large
	cp large "$mnt/large"
	sync "$mnt/large"
	cmp large "$mnt/large"
	cat "$mnt"/dir/* | cmp - <(for i in $(printf '%s\n' {1..60} | sort); do seq "$i" $((i * 10)); done)
	rm -r "$mnt/dir"
}

# What is offered is taken; asking for what is not says why.
case_transport_default() {
	prepare
	[ -z "${KVFS_TEST_OPTIONS:-}" ] || skip "the transport is given"
	mkdir probe
	if uring_refused >/dev/null; then
		store_mount
		expect_same "transport" /dev/fuse "$(announced)"
	else
		unmount probe
		store_mount
		expect_same "transport" io_uring "$(announced)"
	fi
	work
}

# uring_refused - why this mount program cannot use io_uring here; fails if it can
uring_refused() {
	local reason
	if reason=$("$KVFS" mount "$store" "$SCRATCH/probe" -o io_uring 2>&1); then
		return 1
	fi
	echo "${reason##*io_uring: }"
}

case_transport_uring() {
	local reason
	prepare
	[ -z "${KVFS_TEST_OPTIONS:-}" ] || skip "the transport is given"
	mkdir probe
	if reason=$(uring_refused); then
		! uring_offered || [[ $reason = *"too old"* ]] || fail "refused although the kernel has it: $reason"
		skip "refused, as it should be: $(head -n 1 <<<"$reason")"
	fi
	unmount probe
	store_mount -o io_uring
	expect_same "transport" io_uring "$(announced)"
	work
}

case_transport_device() {
	prepare
	store_mount -o no_io_uring
	expect_same "transport" /dev/fuse "$(announced)"
	work
}

# Within the interval the change reaches the store's files without anybody asking: once at least before it would by default,
# as this machine may have other things to do.
case_commit_interval() {
	local i
	prepare
	store_mount -o commit=0.1
	for i in {1..30}; do
		echo "a text that can be found, $i" >"$mnt/file"
		sleep 0.8
		! grep -rqaF "a text that can be found, $i" "$store" || return 0
		sleep 1
	done
	fail "never in the store 0.7 s after its interval"
}

case_remount_read_only() {
	prepare
	store_mount
	echo text >"$mnt/file"
	"$KVFS" mount "$store" "$mnt" -o remount,ro || fail "remount,ro ended with $?"
	expect_fail 'read-only' touch "$mnt/new"
	expect_fail 'read-only' rm "$mnt/file"
	expect_same "the file" text "$(cat "$mnt/file")"
	"$KVFS" mount "$store" "$mnt" -o remount,rw || fail "remount,rw ended with $?"
	echo more >>"$mnt/file"
	mount -o remount,ro "$mnt" 2>/dev/null && expect_fail 'read-only' touch "$mnt/new"
	expect_same "the file after rw" "text
more" "$(cat "$mnt/file")"
}

case_noatime() {
	local before
	prepare
	store_mount -o noatime
	echo text >"$mnt/file"
	touch -a -d '2001-01-01' "$mnt/file"
	before=$(stat -c %x "$mnt/file")
	cat "$mnt/file" >/dev/null
	expect_same "atime on a noatime mount" "$before" "$(stat -c %x "$mnt/file")"
	store_unmount
	store_mount -o strictatime
	cat "$mnt/file" >/dev/null
	store_remount
	[ "$(stat -c %x "$mnt/file")" != "$before" ] || fail "strictatime: reading did not move atime"
}

# run_as_nobody COMMAND...
run_as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

case_allow_other_or_not() {
	prepare
	chmod 755 "$SCRATCH"
	store_mount
	echo text >"$mnt/file"
	expect_fail 'permission denied' setpriv --reuid=65534 --regid=65534 --clear-groups cat "$mnt/file"
	store_unmount
	store_mount -o allow_other
	expect_same "what another user reads" text "$(run_as_nobody cat "$mnt/file")"
	expect_fail 'permission denied' setpriv --reuid=65534 --regid=65534 --clear-groups touch "$mnt/new"
	chmod 600 "$mnt/file"
	expect_fail 'permission denied' setpriv --reuid=65534 --regid=65534 --clear-groups cat "$mnt/file"
}

case_nosuid_noexec() {
	prepare
	store_mount -o nosuid,noexec,nodev
	cp /bin/true "$mnt/true"
	expect_fail 'permission denied' bash -c "$mnt/true"
	grep " $mnt " /proc/self/mountinfo | grep -q 'nosuid,nodev,noexec' ||
		fail "mountinfo says $(grep " $mnt " /proc/self/mountinfo)"
	store_unmount
	store_mount -o dev,exec
	"$mnt/true"
	mknod "$mnt/null" c 1 3
	echo x >"$mnt/null"
}

case_names_in_mount_table() {
	prepare
	store_mount
	grep -qF " $mnt fuse.kvfs " /proc/mounts || fail "the type is not fuse.kvfs in /proc/mounts"
	expect_same "source" "$store" "$(awk -v mnt="$mnt" '$2 == mnt { print $1 }' /proc/mounts)"
	store_unmount
	store_mount -o fsname=my_notes
	expect_same "source with fsname=" my_notes "$(awk -v mnt="$mnt" '$2 == mnt { print $1 }' /proc/mounts)"
}

case_stat_of_mount() {
	local output
	prepare
	store_mount
	seq 100000 >"$mnt/file"
	output=$("$KVFS" stat "$mnt") || fail "kvfs stat of the mount ended with $?"
	grep -qi "$(announced)" <<<"$output" || fail "kvfs stat does not tell the transport"
	df "$mnt" | grep -q "$mnt" || fail "df does not know the mount"
	store_unmount
	"$KVFS" stat "$store" | grep -q . || fail "kvfs stat of the store says nothing"
}

# Without -f: ready when the command returns, and umount returns when all is written.
case_background() {
	local i
	prepare
	for i in {1..5}; do
		"$KVFS" mount "$store" "$mnt" >out 2>&1 || fail "mount: $(cat out)"
		grep -q 'over' out || fail "mount does not say which transport it got"
		echo "$i" >"$mnt/file"
		unmount "$mnt"
		expect_same "get right after umount" "$i" "$("$KVFS" get "$store" file)"
		processes_end
	done
}

scratch_main "$@"
