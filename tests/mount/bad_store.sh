#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# bad_store.sh - stores that are damaged, foreign, newer, locked or not writable: a clear error, and nothing lost

cases=(not_there not_a_store foreign_directory removed_segments newer_format damaged_super truncated_super damaged_lists stray_segments
	damaged_value damaged_while_mounted lost_records truncated_while_mounted removed_while_mounted scrubbed_while_mounted
	damaged_every_segment truncated_segment random_damage repair_names_files
	damaged_snapshot two_mounts read_only_file_system read_only_mount disk_that_fails closed_root_of_one_that_fails
	symlinked_parts directory_for_a_segment store_inside_its_mount mount_inside_its_store link_to_a_store said_once)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

needs_kvfs_here() {
	needs_kvfs
	mkdir -p "$mnt"
}

files=$(rounds 200 40)

# refused PATTERN - each command that opens the store says why it cannot
refused() {
	local command
	for command in "mount $store $mnt" "mount $store $mnt -f" "mount $store $mnt -o ro" "check $store" \
		"stat $store" "list $store" "get $store a" "del $store a"; do
		# the words are the scratch directory's, which has no blanks
		# shellcheck disable=SC2086
		expect_fail "$1" "$KVFS" $command
	done
	expect_fail "$1" "$KVFS" put "$store" a </dev/null
	! is_mounted "$mnt" || fail "mounted all the same"
}

# filled_store [OPTION...] - a store with files whose contents tell where they are from
filled_store() {
	local i
	store_make --segment-size 2M "$@"
	store_mount
	for i in $(seq "$files"); do
		seq -s " $i " 300 >"$mnt/file$i"
	done
	head -c 3000000 /dev/urandom >"$mnt/large"
	cp "$mnt/large" large
	store_unmount
	store_check
	cp -a "$store" "$store.good"
}

case_not_there() {
	needs_kvfs_here
	refused 'no such|not exist'
	[ ! -e "$store" ] || fail "opening made a store"
	expect_fail 'not exist|no such' "$KVFS" mkfs "$SCRATCH/none/store"
}

case_not_a_store() {
	needs_kvfs_here
	echo text >"$store"
	refused 'not a (kvfs )?store|not a directory'
	expect_fail '.' "$KVFS" mkfs "$store"
	expect_same "the file" text "$(cat "$store")"
	uncheckable=1
}

case_foreign_directory() {
	needs_kvfs_here
	mkdir "$store"
	refused 'not a (kvfs )?store'
	echo text >"$store/super"
	echo text >"$store/precious"
	refused 'not a (kvfs )?store|damaged'
	expect_fail 'not empty' "$KVFS" mkfs "$store"
	expect_same "contents after mkfs was refused" "text" "$(cat "$store/precious")"
	head -c 4096 /dev/zero >"$store/super"
	refused 'not a (kvfs )?store|damaged'
	head -c 4096 /dev/urandom >"$store/super"
	refused 'not a (kvfs )?store|damaged'
	uncheckable=1
}

# A store of which all segments were taken away says what is missing, and what to do.
case_removed_segments() {
	needs_kvfs_here
	filled_store
	rm "$store"/seg-*
	refused 'seg-.* missing'
	expect_fail 'seg-.* missing' "$KVFS" check --repair "$store"
	uncheckable=1
}

# A newer version is said by the superblock and all of its copies; whoever raises it begins with these.
case_newer_format() {
	local segment
	needs_kvfs_here
	filled_store
	for segment in "$store"/seg-*; do
		printf '\x63\0\0\0' | dd of="$segment" bs=1 seek=2064 conv=notrunc status=none
	done
	printf '\x63\0\0\0' | dd of="$store/super" bs=1 seek=16 conv=notrunc status=none
	cp -a "$store" "$store.newer"
	refused 'newer'
	expect_fail 'newer' "$KVFS" check --repair "$store"
	diff -r "$store.newer" "$store" || fail "a newer store was changed"
	rm -rf "$store.newer"
	rm -rf "$store"
	cp -a "$store.good" "$store"
}

# What a damaged superblock costs: nothing. It is said, a copy takes its place, and a repair writes it again.
super_mended() {
	expect_fail 'super.*damage' "$KVFS" check "$store"
	store_mount -o ro
	seq -s " 7 " 300 | cmp - "$mnt/file7"
	store_unmount
	"$KVFS" check --repair "$store" >check.out 2>&1 && fail "check --repair has nothing to say"
	grep -q 'super: was damaged' check.out || fail "check --repair said $(cat check.out)"
	cmp "$store/super" "$store.good/super"
	store_check
}

case_damaged_super() {
	local position
	needs_kvfs_here
	filled_store
	for position in $(rounds "0 8 16 19 20 24 40 72 80 83 90 4000" "0 8 16 83 4000"); do
		cp "$store.good/super" "$store/super"
		byte_flip "$store/super" "$position"
		super_mended
	done
}

# byte_flip FILE POSITION
byte_flip() {
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059
	printf "\\x$(printf %02x $((byte ^ 0x55)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

case_truncated_super() {
	local size
	needs_kvfs_here
	filled_store
	for size in $(rounds "0 1 8 100 4095" "0 100 4095"); do
		cp "$store.good/super" "$store/super"
		truncate -s "$size" "$store/super"
		super_mended
	done
	rm "$store/super"
	refused 'superblock .*missing.* repair'
	"$KVFS" check --repair "$store" >check.out 2>&1 || [ $? = 1 ] || fail "check --repair said $(cat check.out)"
	cmp "$store/super" "$store.good/super"
}

# list_mended NAME - a list that is damaged is found, and a repair brings it back
list_mended() {
	local code=0
	"$KVFS" check "$store" >check.out 2>&1 || code=$?
	expect_same "exit code of a check, $1 damaged" 4 "$code"
	grep -q "^$1: .*damaged" check.out || fail "check said $(cat check.out)"
	code=0
	"$KVFS" check --repair "$store" >check.out 2>&1 || code=$?
	expect_same "exit code of a repair, $1 damaged" 1 "$code"
	store_check
	"$KVFS" check --repair "$store" >check.out 2>&1 || fail "a second repair said $(cat check.out)"
}

case_damaged_lists() {
	needs_kvfs_here
	filled_store
	byte_flip "$store/manifest" 8194
	list_mended manifest
	rm "$store/manifest"
	list_mended manifest
	echo anything >"$store/snapshots"
	list_mended snapshots
	store_mount
	cmp large "$mnt/large"
	store_unmount
}

# strays_mended PATTERN - a check says it of a segment's file, a repair sees to it, and all is there
strays_mended() {
	local code=0
	expect_fail "$1" "$KVFS" check "$store"
	"$KVFS" check --repair "$store" >check.out 2>&1 || code=$?
	expect_same "exit code of a repair" 1 "$code"
	store_check
	store_mount -o ro
	cmp large "$mnt/large"
	store_unmount
}

# Segments that somebody has copied, swapped, or brought from another store.
case_stray_segments() {
	needs_kvfs_here
	filled_store
	cp "$store/seg-00000000" "$store/seg-00000009"
	strays_mended 'seg-00000009: is seg-00000000 of this store under another name'
	cmp "$store/lost-00000009.0" "$store.good/seg-00000000"
	mv "$store/seg-00000000" swapped
	mv "$store/seg-00000001" "$store/seg-00000000"
	mv swapped "$store/seg-00000001"
	refused 'is seg-.* under another name;.* a repair'
	strays_mended 'seg-00000001: is seg-00000000 of this store'
	"$KVFS" mkfs other --segment-size 2M
	echo text | "$KVFS" put other key
	cp other/seg-00000000 "$store/seg-00000008"
	strays_mended 'seg-00000008: is of another store'
	cmp "$store/lost-00000008.0" other/seg-00000000
	cp other/super "$store/super"
	expect_fail 'no segment is of this one' "$KVFS" check --repair "$store"
	rm -rf "$store"
	cp -a "$store.good" "$store"
}

# value_find NAME - sets $segment and $position to where the value of one file of filled_store is
value_find() {
	local place
	place=$(grep -abo " $1 150 $1 " "$store"/seg-* | tail -n 1)
	[ -n "$place" ] || fail "the value is not in a segment as it was written"
	segment=${place%%:*}
	position=${place#*:}
	position=${position%%:*}
}

# value_flip NAME - damages one byte of it
value_flip() {
	local segment position
	value_find "$1"
	byte_flip "$segment" "$position"
}

# others_same NAME - every other file of filled_store can be read on the mount
others_same() {
	local i
	for i in $(seq "$files"); do
		[ "$i" = "$1" ] || seq -s " $i " 300 | cmp - "$mnt/file$i"
	done
	cmp large "$mnt/large"
}

# One value is damaged while nobody looks: check and the mount say where, all else can be read, and what the file
# gives is not passed off as good.
case_damaged_value() {
	needs_kvfs_here
	filled_store --compress none # the value is looked for
	value_flip 27
	uncheckable=1
	expect_fail 'seg-[0-9a-f]+.*offset' "$KVFS" check "$store"
	store_mount -o ro
	if seq -s " 27 " 300 | cmp -s - "$mnt/file27"; then
		fail "a damaged value reads as if it were whole"
	fi
	others_same 27
	grep -qE 'seg-[0-9a-f]+.*offset' daemon.log || fail "the daemon does not say what is damaged"
	store_unmount
	# writing goes on beside it
	store_mount
	echo new >"$mnt/new"
	rm -f "$mnt/file1"
	store_remount
	expect_same "a file written beside the damage" new "$(cat "$mnt/new")"
	seq -s " 39 " 300 | cmp - "$mnt/file39"
}

# The same under a mount, which verified the value when it opened the store: no crash, nothing else is hurt, and the
# next one to open it says so.
case_damaged_while_mounted() {
	needs_kvfs_here
	filled_store --compress none # the value is looked for
	store_mount -o ro
	value_flip 28
	uncheckable=1
	timeout "$patience" cat "$mnt/file28" >got 2>&1 || [ $? -lt 124 ] || fail "reading damaged bytes hangs"
	others_same 28
	kill -0 "$daemon" || fail "the daemon ended"
	store_unmount
	expect_fail 'seg-[0-9a-f]+.*offset' "$KVFS" check "$store"
}

# The record of a value is lost, and no checkpoint has it. Until a repair every check finds that, no file is freed and no
# clone made; behind it all is as ever.
case_lost_records() {
	local i used
	needs_kvfs_here
	filled_store --compress none # the value is looked for
	value_flip 27
	rm -f "$store/checkpoint"
	uncheckable=1
	store_mount
	ln "$mnt/file30" "$mnt/other30"
	rm "$mnt/large" "$mnt/file30"
	expect_same "by its other name" "$(seq -s " 30 " 300)" "$(cat "$mnt/other30")"
	"$KVFS" snapshot create "$mnt" one
	expect_fail 'lost records to damage.*check --repair' "$KVFS" snapshot clone "$mnt" one clone
	grep -q 'records were lost to damage' daemon.log || fail "the daemon does not say that records are lost"
	store_unmount
	expect_fail 'lost records to damage.*check --repair' "$KVFS" snapshot clone "$store" one clone
	[ ! -e clone ] || fail "a clone was begun"
	# also where the damage itself is not there any more
	for i in 1 2; do
		expect_fail 'records were lost to damage' "$KVFS" check "$store"
		store_mount
		store_unmount
	done
	"$KVFS" snapshot delete "$store" one
	used=$(du -sk "$store" | cut -f1)
	echo "with what could not be freed: $used KiB"
	[ "$used" -gt 3000 ] || fail "a file was freed before the repair"
	i=0
	"$KVFS" check --repair "$store" >repair.out || i=$?
	expect_same "a repair's exit code" 1 "$i"
	grep -q 'those that are left agree now' repair.out || fail "the repair does not say that it ended"
	uncheckable=
	store_check
	"$KVFS" snapshot create "$store" two
	"$KVFS" snapshot clone "$store" two clone
	"$KVFS" check clone
	store_mount
	for i in $(seq "$files"); do
		[ "$i" = 27 ] || [ "$i" = 30 ] || seq -s " $i " 300 | cmp - "$mnt/file$i"
	done
	[ ! -e "$mnt/large" ] || fail "what was removed is back"
	expect_same "the other name" "$(seq -s " 30 " 300)" "$(cat "$mnt/other30")"
	store_unmount
}

# A segment is cut off under a mount that has it in its maps: what was behind the cut is an error, and nothing else is hurt.
case_truncated_while_mounted() {
	local segment
	needs_kvfs_here
	filled_store --compress none # the value is looked for
	uncheckable=1
	store_mount -o ro
	segment_cut 28
	expect_fail 'input/output' cat "$mnt/file28"
	right_or_refused
	grep -q "$(basename "$segment")" daemon.log || fail "the daemon does not say what is damaged"
	store_unmount
	expect_fail "$(basename "$segment")" "$KVFS" check "$store"
	# one that writes may have all of it in memory; over the other transport
	rm -rf "$store"
	cp -a "$store.good" "$store"
	store_mount -o no_io_uring
	segment_cut 28
	right_or_refused
	timeout "$patience" "$KVFS" prune "$mnt" >prune.out 2>&1 || [ $? -lt 124 ] || fail "prune: $(cat prune.out)"
	right_or_refused
	store_unmount
}

# scrub_has_said PATTERN COUNT - and has as many findings
scrub_has_said() {
	grep -qE "$1" daemon.log && [ "$("$KVFS" stat "$mnt" | awk '$1 == "scrub_findings" { print $2 }')" -ge "$2" ]
}

# What is damaged while nobody reads it is found, and made anew where that can be.
case_scrubbed_while_mounted() {
	needs_kvfs_here
	filled_store --compress none # the value is looked for
	uncheckable=1
	store_mount -o scrub=1G,scrub_interval=1
	rm "$store/manifest"
	await 'a finding' scrub_has_said 'manifest: the scrub found .* it was written anew' 1
	[ -s "$store/manifest" ] || fail "there is no manifest"
	byte_flip "$store/super" 40
	await 'a finding' scrub_has_said 'super: the scrub found the superblock damaged' 2
	byte_flip "$store/seg-00000000" 1030
	await 'a finding' scrub_has_said 'seg-00000000: the scrub found the header' 3
	value_flip 28
	await 'a finding' scrub_has_said 'seg-[0-9a-f]+: the scrub found ([0-9]+ bytes, from|bytes that are not as)' 4
	others_same 28
	store_unmount
	"$KVFS" check --repair "$store" >check.out 2>&1 || true
	grep -q 'super.*damaged' check.out || fail "check: $(cat check.out)"
	store_check
}

# segment_cut NAME - cuts off $segment, which has the value of one file of filled_store, before it
segment_cut() {
	local position
	value_find "$1"
	truncate -s $((position / 4096 * 4096)) "$segment" # a whole page: what is cut off within one reads as zeros
}

# right_or_refused - each file of filled_store on the mount is what was written, or an error, and some are right
right_or_refused() {
	local i right=0
	for i in $(seq "$files"); do
		if ! cat "$mnt/file$i" >got 2>error; then
			grep -qi 'input/output' error || fail "file$i: $(cat error)"
		else
			seq -s " $i " 300 | cmp - got || fail "file$i is wrong, and nothing says so"
			right=$((right + 1))
		fi
	done
	[ "$right" -gt 0 ] || fail "nothing can be read any more"
	kill -0 "$daemon" || fail "the daemon ended"
}

# A segment full of noise in the middle of the log: no crash, no hang, what lies elsewhere can be read.
case_damaged_every_segment() {
	local segment wrong
	needs_kvfs_here
	filled_store
	uncheckable=1
	for segment in "$store.good"/seg-*; do
		rm -rf "$store"
		cp -a "$store.good" "$store"
		grep -q . "$segment" || continue # never used
		head -c 2097152 /dev/urandom >"$store/$(basename "$segment")"
		expect_fail 'damage|checksum|missing|segment' "$KVFS" check "$store"
		wrong=0
		read_all || wrong=1
		[ "$wrong" = 0 ] || fail "what $(basename "$segment") does not hold is wrong as well"
	done
}

# names_it NUMBER MESSAGES - a file, or a place where something was lost, is named. That a copy is used, or a list made
# anew, is none of that.
names_it() {
	grep -qE "file$1([^0-9]|\$)|inode [0-9]+|checkpoint: a part" "$2" ||
		grep -qE '(seg-[0-9a-f]{8}|segment [0-9]+, offset [0-9]+).*(lost|missing|cannot be read|damaged; the rest)' "$2" ||
		grep -q 'segments before number' "$2"
}

# read_all [STEP] - every file of the store (every STEPth) is what was written, or an error that says why, or a
# message names it or the place: nothing is wrong in silence. What can be read is its own, or zeros. $good: how many are right
read_all() {
	local i status
	good=0
	timeout "$patience" "$KVFS" list "$store" >list.out 2>list.err || [ $? -lt 124 ] || return 1
	for i in $(seq 1 "${1:-1}" "$files"); do
		status=0
		timeout "$patience" "$KVFS" get "$store" "file$i" >got 2>got.err || status=$?
		[ "$status" -lt 124 ] || fail "get file$i ended with $status"
		if [ "$status" = 0 ] && seq -s " $i " 300 | cmp -s - got; then
			good=$((good + 1))
		else
			[ -n "${repaired:-}" ] || { [ "$status" != 0 ] && grep -q . got.err; } || names_it "$i" got.err ||
				fail "file$i is wrong, and nothing names it: $(stat -c %s got) bytes, $(cat got.err)"
			{ seq -s " $i " 300 | cmp -l - got 2>/dev/null || true; } |
				awk '$3 != 0 { wrong = 1 } END { exit wrong }' ||
				fail "file$i has bytes that were never written to it"
		fi
	done
	echo "$good of $files can be read, by steps of ${1:-1}"
}

case_truncated_segment() {
	local segment size
	needs_kvfs_here
	filled_store
	uncheckable=1
	for segment in "$store.good"/seg-*; do
		for size in 0 100 4096 5000 1000000; do
			rm -rf "$store"
			cp -a "$store.good" "$store"
			truncate -s "$size" "$store/$(basename "$segment")"
			if timeout "$patience" "$KVFS" check "$store" >check.out 2>&1; then
				# an unused segment, or one of which only the unused end is gone
				seq -s " $files " 300 | cmp - <("$KVFS" get "$store" "file$files")
			else
				[ $? -lt 124 ] || fail "check of a truncated segment crashed or hung"
				grep -q . check.out || fail "check says nothing of a truncated segment"
				read_all 11
			fi
			[ -z "$quick" ] || break
		done
	done
}

# flip_at_random SEED COUNT - changes so many bytes anywhere in what is used of the store's files, and says which
flip_at_random() {
	python3 - "$store" "$@" <<-'END'
		import os, random, sys
		store, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
		draw = random.Random(seed)
		used = {}  # bytes of each file up to the last one that is not 0
		for name in sorted(os.listdir(store)):
		    with open(os.path.join(store, name), "rb") as file:
		        used[name] = len(file.read().rstrip(b"\0"))
		names = [name for name in used if used[name]]
		for _ in range(count):
		    name, mask = draw.choice(names), draw.randrange(1, 256)
		    position = draw.randrange(used[name])
		    with open(os.path.join(store, name), "r+b") as file:
		        file.seek(position)
		        byte = file.read(1)[0]
		        file.seek(position)
		        file.write(bytes([byte ^ mask]))
		    print(f"{name}:{position}^{mask:02x}", end=" ")
		print()
	END
}

# Bytes flipped at random places, all over the store; then a repair, and a second one that has nothing to do.
# KVFS_TEST_SEED begins with another number, to repeat what failed.
case_random_damage() {
	local round status seed=${KVFS_TEST_SEED:-$RANDOM}
	needs_kvfs_here
	filled_store
	uncheckable=1
	for round in $(seq "$seed" $((seed + $(rounds 12 3) - 1))); do
		rm -rf "$store"
		cp -a "$store.good" "$store"
		echo "seed $round"
		flip_at_random "$round" 20
		status=0
		timeout "$patience" "$KVFS" check "$store" >check.out 2>&1 || status=$?
		[ "$status" -lt 124 ] || fail "check ended with $status with seed $round"
		status=0
		timeout "$patience" "$KVFS" list -r "$store" >list.out 2>&1 || status=$?
		[ "$status" -lt 124 ] || fail "list ended with $status with seed $round"
		read_all 7
		if timeout "$patience" "$KVFS" mount "$store" "$mnt" >mount.out 2>&1; then
			timeout "$patience" find "$mnt" -type f -exec cat {} + >/dev/null 2>&1 || [ $? -lt 124 ] || fail "reading hung"
			echo new >"$mnt/new" 2>/dev/null || true
			status=0
			unmount_when_free "$mnt" || status=$?
			[ "$status" = 0 ] || { [ "$status" = 32 ] && grep -q 'store had failed' unmount.error; } ||
				fail "umount ended with $status: $(cat unmount.error)"
		fi
		repaired "$round"
	done
}

# repaired SEED - the store's log is whole after a repair, and nothing that could be read is lost by it. What is lost was said
# by the repair, and is not said again
repaired() {
	local status=0 before=$good repaired=1
	timeout "$patience" "$KVFS" check --repair "$store" >repair.out 2>&1 || status=$?
	[ "$status" -lt 16 ] || fail "check --repair ended with $status with seed $1"
	grep -q 'made by a newer' repair.out && return
	read_all 7
	[ "$good" -ge "$before" ] || fail "$before files could be read, $good after the repair with seed $1"
	status=0
	timeout "$patience" "$KVFS" check --repair "$store" >again.out 2>&1 || status=$?
	[ "$status" = 0 ] || fail "the second repair with seed $1 ended with $status: $(cat again.out)"
}

# flip_where TEXT - a byte of this, wherever the store's segments have it
flip_where() {
	python3 - "$1" "$store"/seg-* <<-'END'
		import sys
		text = sys.argv[1].encode()
		for name in sys.argv[2:]:
		    with open(name, "r+b") as file:
		        data = file.read()
		        at = data.find(text)
		        while at >= 0:
		            file.seek(at + len(text) // 2)
		            file.write(b"\xff")
		            at = data.find(text, at + len(text))
	END
}

# A repair says which files are not what they were, also where what is left of the log does not know it any more.
case_repair_names_files() {
	local i code=0
	needs_kvfs_here
	store_make --segment-size 2M --compress none
	store_mount
	for i in $(seq 2000); do
		echo "contents of file $i, before" >"$mnt/file$i"
	done
	sync "$mnt/file1"
	echo "contents of file 777, behind" >"$mnt/file777"
	store_unmount
	[ -e "$store/checkpoint" ] || fail "so few files that there is no checkpoint"
	flip_where "contents of file 777, behind"
	expect_fail '"file777" in directory 1' "$KVFS" check "$store"
	"$KVFS" check --repair "$store" >check.out 2>&1 || code=$?
	expect_same "exit code of the repair" 1 "$code"
	grep -q '"file777" in directory 1' check.out || fail "the repair said: $(cat check.out)"
	store_check
}

# What only a snapshot has and is lost: said, of which snapshot and file, also after a repair, which cannot bring it back.
case_damaged_snapshot() {
	local code=0
	needs_kvfs_here
	store_make --segment-size 2M --compress none
	store_mount
	mkdir "$mnt/dir"
	seq -s "contents of what is removed" 4000 >"$mnt/dir/removed"
	mkdir "$mnt/.snapshots/kept"
	rm "$mnt/dir/removed"
	store_unmount
	flip_where "contents of what is removed2000contents"
	expect_fail 'damaged' "$KVFS" check "$store"
	"$KVFS" check --repair "$store" >check.out 2>&1 || code=$?
	expect_same "exit code of the repair" 5 "$code"
	grep -q 'snapshot "kept": inode .*"removed"' check.out || fail "the repair said: $(cat check.out)"
	expect_fail 'snapshot "kept": inode .*"removed"' "$KVFS" check "$store"
	"$KVFS" snapshot delete "$store" kept
	store_check
}

case_two_mounts() {
	needs_kvfs_here
	filled_store
	mkdir second
	store_mount
	expect_fail 'in use|mounted' "$KVFS" mount "$store" "$SCRATCH/second"
	expect_fail 'mounted' "$KVFS" mount "$store" "$mnt"
	expect_fail 'in use|mounted' "$KVFS" get "$store" file1
	expect_fail 'in use|mounted' "$KVFS" put "$store" file1 <<<text
	expect_fail 'not empty|in use|mounted' "$KVFS" mkfs "$store"
	ln -s "$store" alias
	expect_fail 'in use|mounted' "$KVFS" mount "$SCRATCH/alias" "$SCRATCH/second"
	seq -s " 5 " 300 | cmp - "$mnt/file5"
	store_unmount
	expect_same "links in the way of the second mount" "" "$(ls -A second)"
	# two readers are fine
	store_mount -o ro
	"$KVFS" mount "$store" "$SCRATCH/second" -o ro
	cmp "$mnt/large" second/large
	unmount "$SCRATCH/second"
}

# A store on a file system that is mounted read-only can be read.
case_read_only_file_system() {
	needs_kvfs_here
	ext4_make image disk 64M
	"$KVFS" mkfs disk/store
	echo text | "$KVFS" put disk/store key
	mount -o remount,ro disk
	store=$SCRATCH/disk/store
	expect_fail 'read-only' "$KVFS" mount "$store" "$mnt"
	expect_fail 'read-only' "$KVFS" put "$store" other </dev/null
	expect_same "get" text "$("$KVFS" get "$store" key)"
	store_check
	store_mount -o ro
	expect_same "cat" text "$(cat "$mnt/key")"
	expect_fail 'read-only' touch "$mnt/new"
}

# What a read-only mount leaves of the store: the very same bytes.
case_read_only_mount() {
	local before
	needs_kvfs_here
	filled_store
	before=$(cd "$store" && sha256sum -- *)
	store_mount -o ro
	expect_fail 'read-only' touch "$mnt/new"
	expect_fail 'read-only' rm "$mnt/file1"
	expect_fail 'read-only' mkdir "$mnt/dir"
	expect_fail 'read-only' mv "$mnt/file1" "$mnt/file0"
	expect_fail 'read-only' chmod 600 "$mnt/file1"
	expect_fail 'read-only' setfattr -n user.x -v 1 "$mnt/file1"
	expect_fail 'read-only' truncate -s 0 "$mnt/file1"
	seq -s " 1 " 300 | cmp - "$mnt/file1"
	cmp large "$mnt/large"
	store_unmount
	expect_same "the store's files" "$before" "$(cd "$store" && sha256sum -- *)"
}

# ext4_fails DIR - from here on its device takes nothing and gives nothing (EXT4_IOC_SHUTDOWN)
ext4_fails() {
	python3 -c 'import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))' "$1"
}

# Who ends a mount whose store could not write is told.
case_disk_that_fails() {
	local status=0
	needs_kvfs_here
	ext4_make image disk 64M
	"$KVFS" mkfs disk/store
	store=$SCRATCH/disk/store
	store_mount
	echo kept >"$mnt/kept"
	sync "$mnt/kept"
	ext4_fails disk
	echo lost >"$mnt/lost" || true
	unmount_telling 'store had failed' "$mnt"
	wait "$daemon" || status=$?
	daemon=
	expect_same "status of the server" 2 "$status"
	unmount disk umount
	mount -o loop image disk
	store_mount
	expect_same "what was synced" kept "$(cat "$mnt/kept")"
}

store_has_failed() {
	"$KVFS" stat "$mnt" | grep -qx 'failed  *1'
}

# So is he who may not look into its root.
case_closed_root_of_one_that_fails() {
	needs_kvfs_here
	ext4_make image disk 64M
	"$KVFS" mkfs disk/store
	store=$SCRATCH/disk/store
	store_mount
	chmod 300 "$mnt"
	ext4_fails disk
	echo lost >"$mnt/lost" || true
	await "a store that has failed" store_has_failed
	unmount_telling 'store had failed' "$mnt" setpriv --bounding-set=-dac_override,-dac_read_search "$KVFS" umount
	wait "$daemon" || true
	daemon=
	uncheckable=1
}

# A part of the store that is a symlink is not followed.
case_symlinked_parts() {
	local segment
	needs_kvfs_here
	filled_store --compress none # the value is looked for
	mv "$store/super" moved
	ln -s "$SCRATCH/moved" "$store/super"
	refused '.'
	rm "$store/super"
	mv moved "$store/super"
	segment=$(grep -al ' 27 150 27 ' "$store"/seg-* | head -n 1)
	mv "$segment" moved
	ln -s "$SCRATCH/moved" "$segment"
	expect_fail 'symbolic link' "$KVFS" check "$store"
	expect_fail 'symbolic link' "$KVFS" check --repair "$store"
	expect_fail 'symbolic link' "$KVFS" put "$store" key
	rm "$segment"
	mv moved "$segment"
}

# A directory where a segment could be is named, passed over by those who only read, and moved away.
case_directory_for_a_segment() {
	local status=0
	needs_kvfs_here
	store_make
	echo text | "$KVFS" put "$store" key
	mkdir "$store/seg-0000abcd"
	expect_same "get" text "$("$KVFS" get "$store" key 2>/dev/null)"
	expect_fail 'seg-0000abcd: no regular file' "$KVFS" check "$store"
	expect_fail 'seg-0000abcd: no regular file' "$KVFS" put "$store" other
	"$KVFS" check --repair "$store" >repair.log 2>&1 || status=$?
	expect_same "status of the repair" 1 "$status"
	[ -d "$store/lost-0000abcd.0" ] || fail "it is not moved away: $(cat repair.log)"
	store_check
	expect_same "get" text "$("$KVFS" get "$store" key)"
}

# Mounted over its own parent directory: works, or is refused; never hangs.
case_store_inside_its_mount() {
	needs_kvfs_here
	mkdir parent
	"$KVFS" mkfs parent/store
	if timeout "$patience" "$KVFS" mount "$SCRATCH/parent/store" "$SCRATCH/parent" >mount.out 2>&1; then
		echo text >parent/file
		timeout "$patience" sync -f parent || fail "sync hangs"
		unmount "$SCRATCH/parent" timeout "$patience" "$KVFS" umount
		expect_same "get" text "$("$KVFS" get parent/store file)"
	else
		[ $? -lt 124 ] || fail "mount hangs"
	fi
}

# A directory that is the store, or in it, is a mistake.
case_mount_inside_its_store() {
	needs_kvfs_here
	"$KVFS" mkfs "$store"
	mkdir "$store/below" "$store-beside"
	expect_fail 'cannot be mounted on itself' "$KVFS" mount "$store" "$store"
	expect_fail 'cannot be mounted on itself' "$KVFS" mount "$store" "$store/below"
	rmdir "$store/below"
	"$KVFS" mount "$store" "$store-beside" >/dev/null
	unmount "$store-beside"
}

case_link_to_a_store() {
	needs_kvfs_here
	"$KVFS" mkfs "$store"
	ln -s store link
	echo text | "$KVFS" put link key
	expect_same "get" text "$("$KVFS" get link key)"
	"$KVFS" snapshot create link one
	"$KVFS" check link
	"$KVFS" check --repair link
	"$KVFS" stat link >/dev/null
	"$KVFS" mount link "$mnt" >/dev/null
	expect_same "mounted" one "$("$KVFS" snapshot list link | awk '{ print $3 }')"
	expect_fail 'in use: it is mounted on' "$KVFS" get link key
	expect_fail 'where one is mounted' "$KVFS" get "$mnt" key
	expect_fail 'where one is mounted' "$KVFS" list "$mnt"
	unmount link
}

# lines_of COMMAND... - how many it says, failing
lines_of() {
	! "$@" >said 2>&1 </dev/null || fail "succeeded: $*"
	wc -l <said
}

# done_or_refused COMMAND... - it goes well, or fails for what is wrong with the store
done_or_refused() {
	local output
	output=$("$@" 2>&1) || grep -qiE 'input/output|read-only' <<<"$output" || fail "$*: $output"
}

# Who makes something then is not told that something is missing which is there. What was read before can be read.
case_removed_while_mounted() {
	local i
	needs_kvfs_here
	store_make --segment-size 2M
	store_mount
	echo text >"$mnt/before"
	echo text >"$mnt/other"
	sync "$mnt"
	rm -r "$store"
	for i in {1..40}; do
		head -c 1000000 /dev/urandom 2>/dev/null >"$mnt/large$i" || break
	done 2>/dev/null
	[ "$i" -lt 40 ] || fail "40 MB are in a store of which nothing is left"
	expect_fail 'input/output|read-only' dd if=/dev/zero of="$mnt/new" bs=5M count=2
	for i in {1..50}; do
		done_or_refused mkdir "$mnt/dir$i" "$mnt/.snapshots/$i"
		done_or_refused ln -s "$(printf 't%.0s' {1..2000})" "$mnt/link$i"
	done
	done_or_refused rm "$mnt/other"
	expect_same "the file" text "$(cat "$mnt/before")"
	unmount "$mnt"
	wait "$daemon" 2>/dev/null || true # it says that the last changes could not be written, or not
	daemon=
}

# One reason is one line.
case_said_once() {
	needs_kvfs_here
	echo text >file
	mkdir "$SCRATCH/full"
	touch "$SCRATCH/full/something"
	expect_same "mkfs in a full directory" 1 "$(lines_of "$KVFS" mkfs full)"
	expect_same "mkfs on a file" 1 "$(lines_of "$KVFS" mkfs file)"
	expect_same "mkfs nowhere" 1 "$(lines_of "$KVFS" mkfs none/store)"
	expect_same "repair of nothing" 1 "$(lines_of "$KVFS" check --repair none)"
	expect_same "repair of no store" 1 "$(lines_of "$KVFS" check --repair full)"
	ext4_make image disk 64M
	"$KVFS" mkfs disk/store
	mount -o remount,ro disk
	expect_same "mkfs, read-only" 1 "$(lines_of "$KVFS" mkfs disk/other)"
	expect_same "put, read-only" 1 "$(lines_of "$KVFS" put disk/store key)"
	expect_same "mount, read-only" 1 "$(lines_of "$KVFS" mount disk/store "$mnt")"
	"$KVFS" mkfs "$store"
	dd if=/dev/zero of="$store/super" bs=40 count=1 conv=notrunc status=none
	"$KVFS" list "$store" 2>said
	expect_same "a damaged superblock" "kvfs: $store: the superblock is damaged" "$(grep -o '^.* is damaged' said)"
	"$KVFS" check --repair "$store" >/dev/null || true
	store_check
	grep -q '^usage: kvfs snapshot create ' <("$KVFS" help snapshot create) || fail "help snapshot create"
	grep -q 'rollback' <("$KVFS" help snapshot) || fail "help snapshot"
}

scratch_main "$@"
