#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# space.sh - df and df -i tell how much there is, du how much a file takes, and both are right
#
# In a store of a limited size, or an ext4 of the same size, so that nobody else plays a part.

cases=(df_follows_data df_follows_files full_and_empty_again du_counts_data copies_share limit_moves)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

size_mib=200

space_make() {
	if [ "$on" = kvfs ]; then
		store_make --size-limit "${size_mib}M"
		store_mount
	else
		ext4_make "$SCRATCH/image" "$mnt" "${size_mib}M"
	fi
}

scratch_unmount_ext4() {
	[ "$on" = kvfs ] || unmount "$mnt" umount
}

# df_of COLUMN - bytes for size, used, avail; numbers for itotal, iused, iavail
df_of() {
	sync "$mnt" # ext4 counts what is not placed yet as well, but not to the block
	df -B1 --output="$1" "$mnt" | tail -n 1 | tr -d ' '
}

# near WHAT EXPECTED ACTUAL TOLERANCE
near() {
	[ "$3" -ge $(($2 - $4)) ] && [ "$3" -le $(($2 + $4)) ] || fail "$1: expected $2 +- $4, got $3"
}

# df_soon COLUMN NUMBER TOLERANCE - what df_of says, once it is that: what is large may be on its way out for a moment
df_soon() {
	local found end=$((SECONDS + patience))
	while :; do
		found=$(df_of "$1")
		[ "$found" -lt $(($2 - $3)) ] || [ "$found" -gt $(($2 + $3)) ] || break
		[ "$SECONDS" -lt "$end" ] || break
		sleep 0.1
	done
	echo "$found"
}

random_file() {
	head -c "$2" /dev/urandom >"$1"
}

case_df_follows_data() {
	local used avail size=50000000
	space_make
	near "size" $((size_mib << 20)) "$(df_of size)" 30000000
	used=$(df_of used)
	avail=$(df_of avail)
	random_file "$mnt/file" "$size"
	near "used after 50 MB" $((used + size)) "$(df_of used)" 2000000
	near "available after 50 MB" $((avail - size)) "$(df_of avail)" 2000000
	random_file "$mnt/file" "$size" # over it
	near "used after 50 MB over them" $((used + size)) "$(df_soon used $((used + size)) 2000000)" 2000000
	dd if="$mnt/file" of="$mnt/copy" bs=1M status=none # cp may share the bytes
	near "used after a copy" $((used + 2 * size)) "$(df_of used)" 4000000
	truncate -s $((size / 2)) "$mnt/copy"
	near "used after cutting it in half" $((used + size + size / 2)) \
		"$(df_soon used $((used + size + size / 2)) 4000000)" 4000000
	truncate -s 100G "$mnt/sparse"
	near "used after a hole of 100 GB" $((used + size + size / 2)) "$(df_of used)" 4000000
	rm "$mnt/copy" "$mnt/sparse"
	near "used after rm" $((used + size)) "$(df_soon used $((used + size)) 2000000)" 2000000
	rm "$mnt/file"
	near "used after rm of all" "$used" "$(df_soon used "$used" 1000000)" 1000000
	near "available after rm of all" "$avail" "$(df_soon avail "$avail" 2000000)" 2000000
	scratch_unmount_ext4
}

case_df_follows_files() {
	local used total
	space_make
	used=$(df_of iused)
	total=$(df_of itotal)
	near "files and free ones" "$total" "$(($(df_of iused) + $(df_of iavail)))" 0
	[ "$total" -gt 10000 ] || fail "room for $total files only"
	mkdir "$mnt/dir"
	(cd "$mnt/dir" && seq 1000 | xargs touch && ln -s x link && mkfifo fifo && ln 1 hard)
	expect_same "files used" $((used + 1003)) "$(df_of iused)"
	[ "$(df_of iavail)" -lt $((total - used)) ] || fail "as many files as ever are free"
	rm -r "$mnt/dir"
	expect_same "files used after rm" "$used" "$(df_of iused)"
	scratch_unmount_ext4
}

# What df calls available can be written, and what is removed can be written again.
case_full_and_empty_again() {
	local round avail written size_mib
	size_mib=$(rounds 200 100)
	space_make
	for round in $(seq "$(rounds 3 2)"); do
		avail=$(df_of avail)
		! head -c $((size_mib << 20)) /dev/urandom >"$mnt/file" 2>error || fail "more fits than there is"
		grep -q 'No space left' error || fail "$(cat error)"
		written=$(stat -c %s "$mnt/file")
		near "bytes written of what was available, round $round" "$avail" "$written" $((avail / 20))
		[ "$(df_of avail)" -lt 2000000 ] || fail "$(df_of avail) bytes available on a full file system"
		expect_fail 'no space' dd if=/dev/zero of="$mnt/more" bs=1M count=4 conv=fsync status=none
		rm -f "$mnt/file" "$mnt/more"
		await "room after rm" random_file "$mnt/next" 10000000 2>error
		rm "$mnt/next"
		near "available after rm, round $round" "$avail" "$(df_soon avail "$avail" 2000000)" 2000000
	done
	scratch_unmount_ext4
}

case_du_counts_data() {
	local bytes
	space_make
	random_file "$mnt/file" 10000000
	sync "$mnt/file"
	near "du of 10 MB" 10000000 "$(du -B1 "$mnt/file" | cut -f1)" 100000
	truncate -s 1G "$mnt/file"
	near "du of it with a hole behind" 10000000 "$(du -B1 "$mnt/file" | cut -f1)" 100000
	expect_same "du of its size" 1073741824 "$(du -b "$mnt/file" | cut -f1)"
	fallocate -p -o 0 -l 5000000 "$mnt/file"
	near "du with a hole in front" 5000000 "$(du -B1 "$mnt/file" | cut -f1)" 100000
	cp --sparse=always "$mnt/file" "$mnt/copy"
	bytes=$(du -B1 "$mnt/copy" | cut -f1)
	near "du of a copy with holes" 5000000 "$bytes" 100000
	scratch_unmount_ext4
}

# share FILE COPY - copies by copy_file_range, as cp does since coreutils 9
share() {
	python3 -c 'import os, sys
with open(sys.argv[1], "rb") as file, open(sys.argv[2], "wb") as copy:
	while os.copy_file_range(file.fileno(), copy.fileno(), 1 << 30):
		pass' "$@"
}

# A copy takes no room until one of the two is written to, and the room goes with the last of them.
case_copies_share() {
	needs_kvfs
	local used size=$((32 << 20)) i
	space_make
	used=$(df_of used)
	random_file "$mnt/file" "$size"
	cp "$mnt/file" file
	for i in 1 2 3; do
		share "$mnt/file" "$mnt/copy$i"
	done
	near "used by a file and three copies" $((used + size)) "$(df_soon used $((used + size)) 4000000)" 4000000
	dd if=/dev/urandom of="$mnt/copy1" bs=1M count=8 conv=notrunc status=none
	near "used when 8 MiB of a copy are others" $((used + size + (8 << 20))) \
		"$(df_soon used $((used + size + (8 << 20))) 4000000)" 4000000
	cmp file "$mnt/file"
	rm "$mnt/file"
	cmp file "$mnt/copy2"
	! cmp -s file "$mnt/copy1" || fail "what was written into a copy is not there"
	cmp -i $((8 << 20)) file "$mnt/copy1"
	near "used without the first" $((used + size + (8 << 20))) \
		"$(df_soon used $((used + size + (8 << 20))) 4000000)" 4000000
	rm "$mnt"/copy?
	near "used after rm of all" "$used" "$(df_soon used "$used" 1000000)" 1000000
}

# The limit of a store can be moved while it is mounted, and df follows.
case_limit_moves() {
	needs_kvfs
	space_make
	random_file "$mnt/file" 50000000
	"$KVFS" limit "$mnt" 100M >/dev/null || fail "kvfs limit ended with $?"
	near "size after a lower limit" $((100 << 20)) "$(df_of size)" 0
	near "available then" $(((100 << 20) - 50000000)) "$(df_soon avail $(((100 << 20) - 50000000)) 2000000)" 2000000
	expect_fail 'no space' dd if=/dev/urandom of="$mnt/more" bs=1M count=80 conv=fsync status=none
	"$KVFS" limit "$mnt" 150M >/dev/null
	dd if=/dev/urandom of="$mnt/more" bs=1M count=80 conv=fsync status=none
	"$KVFS" limit "$mnt" 10M >/dev/null # less than there is: nothing grows, all can be read and removed
	expect_same "available" 0 "$(df_of avail)"
	cmp "$mnt/more" "$mnt/more"
	expect_fail 'no space' cp "$mnt/file" "$mnt/third"
	rm -f "$mnt"/*
	await "room after rm" small_fits
}

small_fits() {
	echo fits 2>/dev/null >"$mnt/small"
}

scratch_main "$@"
