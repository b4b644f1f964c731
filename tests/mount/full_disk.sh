#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# full_disk.sh - the disk under the store is full: ENOSPC to whoever writes, nothing acknowledged lost, deleting works

cases=(fill_with_synced_files delete_all_and_fill_again fill_with_one_file filled_by_others filled_while_at_rest over_quota map_beyond_the_limit fill_without_mount mkfs_on_full_disk)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# The store lives on an ext4 of this size.
disk_make() {
	needs_kvfs
	mkdir -p "$mnt"
	ext4_make image disk "$1"
	store=$SCRATCH/disk/store
	"$KVFS" mkfs --segment-size 4M "$store"
	store_mount
}

# files_fill - writes file1, file2, ... into $mnt/dir until something fails, each synced before it gets its
# name, and the name before the next file. Prints how many were synced, and what failed. Each is what
# `seq -s " $i " 10000` says.
files_fill() {
	perl -e 'use Fcntl; use IO::Handle;
		chdir $ARGV[0] or die "$ARGV[0]: $!\n";
		sysopen my $dir, ".", O_RDONLY or die "$!\n";
		my $count = 0;
		while ($count < 2000) {
			my $i = $count + 1;
			my $text = join(" $i ", 1 .. 10000) . "\n";
			sysopen my $file, "next", O_CREAT | O_TRUNC | O_WRONLY or last;
			my $done = 0;
			while ($done < length $text) {
				my $size = syswrite $file, $text, length($text) - $done, $done;
				last unless $size;
				$done += $size;
			}
			$done == length $text && $file->sync && close($file) && rename("next", "file$i") && $dir->sync or last;
			$count++;
		}
		print "$count ", $count < 2000 ? $! : "files, and no end", "\n"' "$mnt/dir"
}

# files_same COUNT WHEN [STEP] - these files (every STEPth) are what files_fill wrote
files_same() {
	perl -e 'my ($dir, $count, $step) = @ARGV;
		for (my $i = 1; $i <= $count; $i += $step) {
			open my $file, "<", "$dir/file$i" or die "file$i of $count: $!\n";
			read $file, my $text, 1 << 20;
			$text eq join(" $i ", 1 .. 10000) . "\n" or die "file$i of $count is not what was synced\n";
		}' "$mnt/dir" "$1" "${3:-1}" 2>wrong || fail "$2: $(cat wrong)"
}

case_fill_with_synced_files() {
	local count error avail free blocks
	disk_make "$(rounds 64M 40M)"
	mkdir "$mnt/dir"
	read -r count error < <(files_fill)
	expect_same "the error" "No space left on device" "$error"
	[ "$count" -gt 80 ] || fail "full after $count files of 80 KB"
	files_same "$count" "disk full"
	# full is full: again, and again ENOSPC, never something else
	expect_fail 'no space' dd if=/dev/zero of="$mnt/more" bs=1M count=100 conv=fsync
	files_same "$count" "after one more attempt"
	read -r avail free blocks < <(stat -f -c '%a %f %b' "$mnt")
	[ "$free" -gt "$avail" ] || fail "$free blocks are free, and $avail of them available: none is there for deleting alone"
	rm -f "$mnt/more" "$mnt/dir/next"
	rm "$mnt"/dir/file*[02468] || fail "deleting on a full disk: ended with $?"
	sync "$mnt" || fail "sync after deleting ended with $?"
	expect_same "files left" "$(seq "$count" | grep -vc '[02468]$')" "$(find "$mnt/dir" -type f | wc -l)"
	await "the space of half of the files" blocks_are_available $((avail + (blocks - free) / 3))
	kill -0 "$daemon" || fail "the daemon ended"
	store_unmount
	store_check
	store_mount
	files_same "$count" "after a remount" 2
}

# small_files_fill ERROR LEAST - files into $mnt/dir until one fails with this error; $count: how many are whole, which are at least
# so many
small_files_fill() {
	mkdir "$mnt/dir"
	head -c 100M /dev/urandom | split -b 15000 -a 4 - "$mnt/dir/f" 2>error && fail "64 MiB never fill"
	grep -qi "$1" error || fail "the error was \"$(cat error)\", not /$1/"
	count=$(find "$mnt/dir" -size +14k | wc -l)
	[ "$count" -ge "$2" ] || fail "full after $count files of 15 KB, which is not $2"
}

# All of them, while nothing more can be had: that needs no room.
small_files_delete() {
	rm -rf "$mnt/dir" 2>error || fail "deleting when full: $(find "$mnt/dir" | wc -l) names of $count left, $(tail -n 1 error)"
	expect_same "names left" "" "$(ls -A "$mnt")"
}

# Thousands of files, all of them deleted while the disk is full: that gives all the room back.
case_delete_all_and_fill_again() {
	local count
	disk_make 64M
	small_files_fill 'no space' 1500
	small_files_delete
	# what a background task gives back may take a moment
	await "half of the space after all was deleted" blocks_are_available $(($(stat -f -c %b "$mnt") / 2))
	small_files_fill 'no space' $((count / 2))
}

# The same over a quota, of which the disk does not tell: EDQUOT to whoever writes, also behind a remount and a rest.
case_over_quota() {
	local count taken
	disk_make 64M
	store_unmount
	quota_mount
	small_files_fill quota 1500
	taken=$(du -sk "$store" | cut -f 1)
	store_unmount
	touch before
	quota_mount
	await "a store that has been at rest" rests_since before "$taken"
	# what it gives back others take
	dd if=/dev/zero of=disk/filler bs=64k status=none 2>/dev/null || true
	small_files_delete
	rm disk/filler
	await "space after all was deleted" store_takes_at_most 32768
	small_files_fill quota $((count / 2))
}

# rests_since FILE KILOBYTES - the store gives back what it can have again, and takes less than that; or else it has tried for a
# free file since this one was made, and could not have the space
rests_since() {
	[ -n "$(find "$store" -name 'free-*' -size 0 -newercm "$1")" ] || store_takes_at_most $(($2 - 1))
}

quota_mount() {
	LD_PRELOAD=$QUOTA ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 store_mount
}

blocks_are_available() {
	[ "$(stat -f -c %a "$mnt")" -ge "$1" ]
}

case_fill_with_one_file() {
	local size
	disk_make 96M
	echo precious | dd of="$mnt/precious" conv=fsync status=none
	expect_fail 'no space' dd if=/dev/urandom of="$mnt/large" bs=1M count=200
	size=$(stat -c %s "$mnt/large")
	[ "$size" -gt 30000000 ] || fail "full at $size bytes of 96 MiB"
	expect_same "the file before" precious "$(cat "$mnt/precious")"
	# what write accepted can be read, and survives if it could be synced
	head -c 20000000 "$mnt/large" | sha256sum >before
	if sync "$mnt/large" 2>/dev/null; then
		store_remount
		expect_same "size after a remount" "$size" "$(stat -c %s "$mnt/large")"
		head -c 20000000 "$mnt/large" | sha256sum | cmp - before
	fi
	rm "$mnt/large" || fail "deleting on a full disk: ended with $?"
	sync "$mnt"
	expect_same "names" precious "$(ls "$mnt")"
	expect_same "the file before" precious "$(cat "$mnt/precious")"
}

# A store that rests gives back what is behind its end. Where the disk fills up meanwhile that cannot be had again: what the
# failed allocation has taken of it, and ext4 keeps, goes back as well.
case_filled_while_at_rest() {
	local i rest free
	disk_make 1000M
	for i in {1..3}; do seq -s " $i " 3000 >"$mnt/file$i"; done
	sync "$mnt"
	await "a store at rest" store_takes_at_most 2048
	rest=$(du -sk "$store" | cut -f 1)
	sync -f disk
	free=$(($(stat -f -c '%a * %S' disk)))
	fallocate -l $((free - 1500000)) disk/filler
	expect_fail 'no space' dd if=/dev/zero of="$mnt/large" bs=64k count=300 conv=fsync
	rm -f "$mnt/large"
	sync "$mnt"
	await "the space of a failed allocation" store_takes_at_most $((rest + 256))
	rm disk/filler
	sync -f disk
	dd if=/dev/zero of="$mnt/large" bs=64k count=300 conv=fsync status=none || fail "writing does not work when there is space again"
	store_remount
	expect_same "size" 19660800 "$(stat -c %s "$mnt/large")"
	for i in {1..3}; do seq -s " $i " 3000 | cmp - "$mnt/file$i"; done
}

# KILOBYTES
store_takes_at_most() {
	[ "$(du -sk "$store" | cut -f 1)" -le "$1" ]
}

# Somebody else fills the disk; when he goes, writing works again without a new mount.
case_filled_by_others() {
	local i
	disk_make 128M
	mkdir "$mnt/dir"
	for i in {1..20}; do seq -s " $i " 10000 >"$mnt/dir/file$i"; done
	sync "$mnt"
	dd if=/dev/zero of=disk/filler bs=1M status=none 2>/dev/null || true
	dd if=/dev/zero of=disk/filler2 bs=4k status=none 2>/dev/null || true
	expect_fail 'no space' dd if=/dev/zero of="$mnt/large" bs=1M count=100 conv=fsync
	files_same 20 "disk filled by others"
	rm -f "$mnt/large"
	rm disk/filler disk/filler2
	sync -f disk
	seq -s ' 21 ' 10000 >"$mnt/dir/file21" || fail "writing does not work when there is space again"
	sync "$mnt/dir/file21" || fail "fsync does not work when there is space again"
	files_same 21 "space again"
	store_remount
	files_same 21 "after a remount"
}

# What was stored into a map has no place when it is written back; whoever ends the mount is told, and then it is closed.
case_map_beyond_the_limit() {
	local status=0
	needs_kvfs
	store_make --size-limit 8M --compress none
	store_mount
	python3 -c 'import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 16 << 20)
map = mmap.mmap(file, 16 << 20)
map[:] = os.urandom(16 << 20)' "$mnt/file"
	"$KVFS" umount "$mnt" 2>error || status=$?
	expect_same "status of umount" 32 "$status"
	grep -q 'written back: No space left' error || fail "umount: $(cat error)"
	! is_mounted "$mnt" || fail "still mounted"
	wait "$daemon"
	daemon=
}

case_fill_without_mount() {
	local count=0
	disk_make 64M
	store_unmount
	while head -c 3000000 /dev/zero | "$KVFS" put "$store" "key$count" 2>error; do
		count=$((count + 1))
		[ "$count" -lt 100 ] || fail "64 MiB never fill"
	done
	grep -qi 'no space' error || fail "put said \"$(cat error)\""
	store_check
	for i in $(seq 0 $((count - 1))); do
		head -c 3000000 /dev/zero | cmp - <("$KVFS" get "$store" "key$i")
	done
	"$KVFS" del "$store" key0 || fail "del on a full disk: ended with $?"
	expect_fail 'no such' "$KVFS" get "$store" key0
}

case_mkfs_on_full_disk() {
	disk_make 64M
	store_unmount
	dd if=/dev/zero of=disk/filler bs=1M status=none 2>/dev/null || true
	dd if=/dev/zero of=disk/filler2 bs=1k status=none 2>/dev/null || true
	expect_fail 'no space' "$KVFS" mkfs disk/other
	[ ! -e disk/other ] || fail "something is left of a store that has no room: $(ls disk/other)"
}

scratch_main "$@"
