#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# times.sh - which reads move the time of access, on mounts with relatime, noatime, strictatime and nodiratime
#
# On ext4: a small one in a file, mounted with the same option.

cases=(relatime noatime strictatime nodiratime fresh_after_write)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# times_mount OPTION - a file system with a file, a directory and a link, all with a time of access long ago
times_mount() {
	if [ "$on" = kvfs ]; then
		store_make
		store_mount -o "$1"
	elif is_mounted "$mnt"; then
		mount -o "remount,$1" "$mnt"
	else
		ext4_make "$SCRATCH/image" "$mnt" 32M
		mount -o "remount,$1" "$mnt"
	fi
	echo text >"$mnt/file"
	mkdir "$mnt/dir"
	touch "$mnt/dir/entry"
	ln -s file "$mnt/link"
}

times_unmount() {
	if [ "$on" = kvfs ]; then store_unmount; else unmount "$mnt" umount; fi
}

# atime_old PATH MTIME - its time of access is that of a moment in 2001, that of modification as given
atime_old() {
	touch -h -m -d "$2" "$1"
	touch -h -a -d '2001-01-01 00:00:00' "$1"
}

# moved PATH - whether its time of access is no longer that one
moved() {
	if [ "$(stat -c %X "$1")" = 978307200 ]; then echo stays; else echo moves; fi
}

read_file() {
	# read from the disk, not from the cache that the writing filled
	dd if="$mnt/file" iflag=nocache count=0 status=none
	cat "$mnt/file" >/dev/null
}

read_directory() {
	ls "$mnt/dir" >/dev/null
}

expect_reads() {
	read_file
	expect_same "atime of a file, $2" "$1" "$(moved "$mnt/file")"
}

case_relatime() {
	times_mount relatime
	atime_old "$mnt/file" '2000-01-01'
	expect_reads moves "before ctime"
	atime_old "$mnt/file" '2020-01-01'
	expect_reads moves "before mtime"
	read_file
	stat -c %x "$mnt/file" >first
	sleep 0.05
	read_file
	expect_same "atime after reading again" "$(cat first)" "$(stat -c %x "$mnt/file")"
	atime_old "$mnt/dir" '2020-01-01'
	read_directory
	expect_same "atime of a directory" moves "$(moved "$mnt/dir")"
	stat -c %x "$mnt/dir" >first
	sleep 0.05
	read_directory
	expect_same "atime of a directory listed again" "$(cat first)" "$(stat -c %x "$mnt/dir")"
	times_unmount
}

case_noatime() {
	times_mount noatime
	for name in file dir link; do atime_old "$mnt/$name" '2020-01-01'; done
	expect_reads stays "with noatime"
	read_directory
	readlink "$mnt/link" >/dev/null
	expect_same "atime of a directory" stays "$(moved "$mnt/dir")"
	expect_same "atime of a link" stays "$(moved "$mnt/link")"
	echo more >>"$mnt/file"
	[ "$(stat -c %Y "$mnt/file")" -gt 1700000000 ] || fail "mtime does not move either"
	times_unmount
}

# Each opening and reading is seen, also of what is in the cache.
case_strictatime() {
	local i
	times_mount strictatime
	for i in 1 2 3; do
		atime_old "$mnt/file" '2000-01-01'
		expect_reads moves "read $i"
		stat -c %x "$mnt/file" >first
		sleep 0.05
		cat "$mnt/file" >/dev/null
		[ "$(stat -c %x "$mnt/file")" != "$(cat first)" ] || fail "reading again at once does not move atime"
		atime_old "$mnt/dir" '2000-01-01'
		read_directory
		expect_same "atime of a directory, $i" moves "$(moved "$mnt/dir")"
		atime_old "$mnt/link" '2000-01-01'
		readlink "$mnt/link" >/dev/null
		expect_same "atime of a link, $i" moves "$(moved "$mnt/link")"
	done
	times_unmount
}

case_nodiratime() {
	times_mount strictatime,nodiratime
	atime_old "$mnt/file" '2000-01-01'
	expect_reads moves "with nodiratime"
	atime_old "$mnt/dir" '2000-01-01'
	read_directory
	expect_same "atime of a directory" stays "$(moved "$mnt/dir")"
	times_unmount
}

# As those who wait for mail do it: has it been read since it was written?
case_fresh_after_write() {
	local i
	times_mount relatime
	for i in 1 2 3; do
		sleep 0.05
		head -c "$((i * 3000))" /dev/urandom >>"$mnt/file"
		[[ $(stat -c %y "$mnt/file") > $(stat -c %x "$mnt/file") ]] || fail "atime is not before mtime after writing"
		sleep 0.05
		cat "$mnt/file" >/dev/null
		[[ $(stat -c %y "$mnt/file") < $(stat -c %x "$mnt/file") ]] || fail "atime is not after mtime after reading"
	done
	times_unmount
}

scratch_main "$@"
