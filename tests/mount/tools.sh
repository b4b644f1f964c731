#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# tools.sh - cp -a, rsync and tar carry a varied tree there and back without losing a bit
#
# The tree is made on the file system of the scratch directory, copied onto the mount with one tool, compared,
# compared again after a remount, copied back, and compared with the original.
#
# Environment: TREE_COMPARE and HANDLE, the programs tree_compare and handle

cases=(cp_archive rsync_all tar_all rsync_update acls cp_sparse cp_by_reference move_between
	edit_in_place find_and_remove handles)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# same A B WHEN - the trees are the same
same() {
	local output
	output=$("$TREE_COMPARE" "$1" "$2") || {
		echo "$output"
		fail "$3: $(head -n 1 <<<"$output")"
	}
}

# tree_make DIR - everything that a tree can hold, sparse and odd things included
tree_make() {
	local i directory
	mkdir "$1"
	(
		cd "$1"
		mkdir -p pack/{0..6}/{0..2}
		awk 'BEGIN {
			for (i = 1; i <= 40; i++) {
				directory = "pack/" i % 7 "/" i % 3 "/"
				for (n = i; n <= i * 40; n++) {
					print n >(directory "text" i)
					print n >(directory "copy of " i)
				}
				printf "%d", i >(directory ".hidden" i)
				printf "" >(directory "empty" i)
			}
		}'
		head -c 10000000 /dev/urandom >big
		head -c 65536 /dev/urandom >exact
		head -c 65537 /dev/urandom >odd
		mkdir empty_directory deep
		directory=deep
		for i in {1..60}; do directory=$directory/$i; done
		mkdir -p "$directory"
		echo bottom >"$directory/bottom"
		printf 'x' >$'new\nline'
		printf 'x' >' blanks '
		printf 'x' >$'\xff\xfe not utf8'
		printf 'x' >'*?[]$"'"'"
		printf 'x' >"$(printf 'n%.0s' {1..255})"
		ln -s big link
		ln -s /nowhere/at/all dangling
		ln -s "$(printf 't%.0s' {1..4000})" long_link
		ln big hard1
		ln big empty_directory/hard2
		ln link hard_link_of_link
		mkfifo fifo
		mknod device c 1 3
		mknod block b 7 200
		cp exact mode
		chmod 6711 mode
		chmod 1777 empty_directory
		cp exact none && chmod 0 none
		chown 12345:23456 odd
		chown -h 1:2 dangling
		setfattr -n user.color -v blue odd
		setfattr -n user.binary -v 0x00ff00 odd
		setfattr -n user.directory -v yes deep
		setfattr -n trusted.secret -v hidden odd
		truncate -s "$(rounds 300M 30M)" sparse
		printf 'island' | dd of=sparse bs=1 seek=10000000 conv=notrunc status=none
		truncate -s 1M hole
		touch -h -d '1999-12-31 23:59:59.999999999' dangling
		touch -d '2038-01-20 00:00:00.123456789' odd
		touch -d '1960-01-01 00:00:01.000000001' exact
		touch -d '2001-01-01 01:01:01.5' deep pack/0 empty_directory
	)
}

# there_and_back COPY - copies with the function COPY FROM TO
there_and_back() {
	tree_make original
	store_make
	store_mount
	"$1" "$SCRATCH/original" "$mnt/copy"
	same original "$mnt/copy" "after $1"
	store_remount
	same original "$mnt/copy" "after a remount"
	"$1" "$mnt/copy" "$SCRATCH/back"
	same original back "on the way back"
}

copy_cp() {
	cp -a "$1" "$2"
}

copy_rsync() {
	rsync -aHAX --sparse --modify-window=-1 "$1/" "$2/"
}

copy_tar() {
	mkdir "$2"
	tar -C "$1" --xattrs --xattrs-include='*' --acls --sparse -cf "$SCRATCH/tar.$(basename "$2")" .
	tar -C "$2" --xattrs --xattrs-include='*' --acls -xpf "$SCRATCH/tar.$(basename "$2")"
}

case_cp_archive() {
	there_and_back copy_cp
}

case_rsync_all() {
	there_and_back copy_rsync
}

case_tar_all() {
	there_and_back copy_tar
}

case_acls() {
	tree_make original
	setfacl -m u:4321:rw,g:8765:r original/exact
	setfacl -d -m u:4321:rwx original/deep
	store_make
	store_mount
	copy_rsync original "$mnt/rsync"
	same original "$mnt/rsync" "after rsync"
	copy_cp original "$mnt/cp"
	same original "$mnt/cp" "after cp"
	copy_tar original "$mnt/tar"
	same original "$mnt/tar" "after tar"
}

# A second run has nothing to do; after a change it brings exactly the change.
case_rsync_update() {
	local output
	tree_make original
	store_make
	store_mount
	copy_rsync original "$mnt/copy"
	output=$(rsync -aHAX --sparse --modify-window=-1 --itemize-changes original/ "$mnt/copy/")
	expect_same "a second rsync's list" "" "$output"
	echo more >>original/pack/1/1/text1
	rm original/pack/2/2/text2
	mv original/big original/renamed
	output=$(rsync -aHAX --modify-window=-1 --delete --itemize-changes original/ "$mnt/copy/")
	grep -q 'pack/1/1/text1' <<<"$output" || fail "rsync did not see the change"
	same original "$mnt/copy" "after an update"
	rsync -aHAX --modify-window=-1 --inplace --no-whole-file original/ "$mnt/copy/"
	same original "$mnt/copy" "after an update in place"
}

# Holes arrive as holes.
case_cp_sparse() {
	local blocks
	store_make
	store_mount
	truncate -s "$(rounds 2G 200M)" "$mnt/sparse"
	printf x | dd of="$mnt/sparse" bs=1 seek=100000000 conv=notrunc status=none
	cp --sparse=always "$mnt/sparse" "$mnt/copy"
	cmp "$mnt/sparse" "$mnt/copy"
	for blocks in $(stat -c %b "$mnt/sparse" "$mnt/copy"); do
		[ "$blocks" -lt 4096 ] || fail "a sparse file of one byte takes $blocks blocks"
	done
}

# Bytes of the store that are in use.
live_bytes() {
	"$KVFS" stat --json "$mnt" | sed -n 's/^ *"live_bytes": \([0-9]*\),*/\1/p'
}

# Copies of a large file share its contents: the second and third take next to nothing.
case_cp_by_reference() {
	local one two
	needs_kvfs
	store_make
	store_mount
	dd if=/dev/urandom of="$mnt/file" bs=1M count=32 status=none
	printf tail >>"$mnt/file"
	cp "$mnt/file" "$mnt/copy"
	one=$(live_bytes)
	cp "$mnt/file" "$mnt/second"
	cp "$mnt/copy" "$mnt/third"
	two=$(live_bytes)
	[ "$one" -lt 36000000 ] || fail "a file of 32 MiB and its copy take $one bytes"
	[ $((two - one)) -lt 1000000 ] || fail "two more copies take $((two - one)) bytes"
	printf changed | dd of="$mnt/copy" bs=1 seek=1000000 conv=notrunc status=none
	cmp "$mnt/file" "$mnt/second"
	rm "$mnt/file"
	cmp "$mnt/second" "$mnt/third"
	! cmp -s "$mnt/copy" "$mnt/third" || fail "a copy did not keep its own change"
	rm "$mnt/second" "$mnt/third" "$mnt/copy"
	# the kernel forgets them when it comes to that
	await "the room of files that are gone" little_is_live
}

little_is_live() {
	[ "$(live_bytes)" -lt 1000000 ]
}

# mv across file systems copies and deletes; within, it renames.
case_move_between() {
	local before
	tree_make original
	cp -a original twin
	store_make
	store_mount
	mv twin "$mnt/moved"
	[ ! -e twin ] || fail "mv left its source"
	same original "$mnt/moved" "after mv onto the mount"
	before=$(stat -c %i "$mnt/moved/odd")
	mkdir "$mnt/inside"
	mv "$mnt/moved" "$mnt/inside/again"
	expect_same "inode number after mv within" "$before" "$(stat -c %i "$mnt/inside/again/odd")"
	same original "$mnt/inside/again" "after mv within the mount"
	mv "$mnt/inside/again" back
	same original back "after mv off the mount"
	expect_same "names left" "" "$(ls -A "$mnt/inside")"
}

# What editors and scripts do to files.
case_edit_in_place() {
	store_make
	store_mount
	seq 1 100000 >"$mnt/numbers"
	sed -i 's/7/seven/g' "$mnt/numbers"
	seq 1 100000 | sed 's/7/seven/g' | cmp - "$mnt/numbers"
	sort -R "$mnt/numbers" -o "$mnt/numbers"
	sort "$mnt/numbers" | cmp - <(seq 1 100000 | sed 's/7/seven/g' | sort)
	printf 'abc' | dd of="$mnt/numbers" bs=1 seek=500000 conv=notrunc status=none
	expect_same "bytes in the middle" abc "$(dd if="$mnt/numbers" bs=1 skip=500000 count=3 status=none)"
	for i in {1..300}; do echo "line $i" >>"$mnt/log"; done
	for i in {1..300}; do echo "line $i"; done | cmp - "$mnt/log"
	gzip -k "$mnt/numbers"
	gzip -dc "$mnt/numbers.gz" | cmp - "$mnt/numbers"
	split -n 7 "$mnt/numbers" "$mnt/part."
	cat "$mnt"/part.* | cmp - "$mnt/numbers"
	cp "$mnt/numbers" "$mnt/copy"
	truncate -s 0 "$mnt/numbers"
	[ ! -s "$mnt/numbers" ] || fail "truncate to 0 left bytes"
	cp "$mnt/copy" "$mnt/numbers"
	cmp "$mnt/copy" "$mnt/numbers"
}

# A file can be found by its handle alone: after it was renamed, after a new mount, and never when it is gone.
case_handles() {
	local file directory gone
	store_make
	store_mount
	mkdir -p "$mnt/a/b"
	echo contents >"$mnt/a/b/file"
	echo short >"$mnt/gone"
	file=$("$HANDLE" get "$mnt/a/b/file")
	directory=$("$HANDLE" get "$mnt/a/b")
	gone=$("$HANDLE" get "$mnt/gone")
	expect_same "by handle" contents "$("$HANDLE" cat "$mnt" "$file")"
	mv "$mnt/a/b/file" "$mnt/renamed"
	expect_same "by handle after a rename" contents "$("$HANDLE" cat "$mnt" "$file")"
	store_remount
	expect_same "by handle after a remount" contents "$("$HANDLE" cat "$mnt" "$file")"
	expect_same "a directory's parent by handle" "$(stat -c %i "$mnt/a")" "$("$HANDLE" parent "$mnt" "$directory")"
	rm "$mnt/gone"
	expect_fail 'stale' "$HANDLE" cat "$mnt" "$gone"
	echo other >"$mnt/gone"
	expect_fail 'stale' "$HANDLE" cat "$mnt" "$gone"
}

# find sees all of a tree once; du and rm -rf agree that there is nothing left.
case_find_and_remove() {
	local count
	store_make
	store_mount
	count=$(rounds 20000 3000)
	mkdir "$mnt/tree"
	(cd "$mnt/tree" && mkdir {0..99} && seq "$count" | awk '{ print $1 % 100 "/file" $1 }' | xargs touch)
	expect_same "files found" "$count" "$(find "$mnt/tree" -type f | wc -l)"
	expect_same "names found once" "$count" "$(find "$mnt/tree" -type f | sort -u | wc -l)"
	expect_same "directories found" 101 "$(find "$mnt/tree" -type d | wc -l)"
	store_remount
	expect_same "files found after a remount" "$count" "$(find "$mnt/tree" -type f | wc -l)"
	find "$mnt/tree" -name '*7' -delete
	expect_same "files left" "$((count - count / 10))" "$(find "$mnt/tree" -type f | wc -l)"
	rm -rf "$mnt/tree"
	expect_same "names left" "" "$(ls -A "$mnt" | grep -vx lost+found || true)"
}

scratch_main "$@"
