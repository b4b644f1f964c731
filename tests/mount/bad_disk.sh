#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# bad_disk.sh - the disk under the store answers EIO: what it cannot give is EIO to whoever asks and hurts nothing else; what it
# does not take is an error to the caller, and nothing that was acknowledged is lost
#
# The store is on an ext4 on a loop device on a disk of which parts are bad (bad_disk.c). That keeps nothing in memory, and what ext4
# has of it goes when it is unmounted, so that the disk is really asked.
#
# Environment
#	BAD_DISK	the program bad_disk

cases=(unreadable_values unreadable_log unreadable_files scrubbed unwritable_segments no_flushes no_writes)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

files=3000
faults=$SCRATCH/device/faults

# disk_make SIZE - an ext4 on a disk that is well, mounted on disk; $store is there
disk_make() {
	needs_kvfs
	mkdir -p "$mnt" device disk
	truncate -s "$1" image
	mkfs.ext4 -q -F -b 4096 -m 0 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 image
	"$BAD_DISK" "$SCRATCH/image" "$SCRATCH/device" &
	disk=$!
	await "a disk" disk_is_there
	disk_mount
	store=$SCRATCH/disk/store
}

disk_is_there() {
	[ -e "$faults" ] || kill -0 "$disk" 2>/dev/null || skip "cannot serve a disk by FUSE here"
	[ -e "$faults" ]
}

disk_mount() {
	mount -o loop,errors=remount-ro device/disk disk || skip "cannot mount a loop device here"
}

# disk_unmount - and nothing of it is in memory
disk_unmount() {
	unmount disk umount
	await "an end of the loop device" disk_is_let_go
}

disk_is_let_go() {
	! grep -qsF -- "$SCRATCH/device/disk" /sys/block/loop*/loop/backing_file
}

# disk_forget - what ext4 had read is not in memory any more
disk_forget() {
	disk_unmount
	disk_mount
}

# disk_failed READS|WRITES|FLUSHES - so many of them have failed
disk_failed() {
	local reads writes flushes
	read -r reads writes flushes <"$faults"
	case $1 in
	reads) echo "$reads" ;;
	writes) echo "$writes" ;;
	*) echo "$flushes" ;;
	esac
}

# files_do make|judge|judge_repaired DIR [VICTIM...] - numbered files, of 1,000 bytes each and the last of 3 MB, which look random.
# Who judges says how many cannot be read, and fails where a victim can, or a file cannot that was not written next to one of them, or
# anything is wrong; repaired: where any is not as it was but those.
files_do() {
	python3 - "$files" "$@" <<-'END'
		import errno, hashlib, os, sys
		count, what, directory = int(sys.argv[1]), sys.argv[2], sys.argv[3]
		victims = [int(victim) for victim in sys.argv[4:]]
		refused = wrong = 0
		def place(i):
		    return os.path.join(directory, "d%d" % (i // 100), "f%d" % i)
		def text_of(i):
		    return hashlib.shake_256(b"file%d" % i).digest(3000000 if i == count - 1 else 1000)
		def near(i): # in the same page, or written with what is
		    return any(abs(i - victim) <= 6 for victim in victims)
		if what == "make":
		    for i in range(0, count, 100):
		        os.makedirs(os.path.dirname(place(i)))
		    for i in range(count):
		        with open(place(i), "wb") as file:
		            file.write(text_of(i))
		    sys.exit()
		for i in range(count):
		    try:
		        with open(place(i), "rb") as file:
		            text = file.read()
		        fine = text == text_of(i)
		        well = not fine if i in victims else fine or (what == "judge_repaired" and near(i))
		        well = well and (fine or what == "judge_repaired")
		        said = "%d bytes, %s" % (len(text), "as they were" if fine else "others than they were")
		    except OSError as error:
		        refused += 1
		        expected = errno.EIO if what == "judge" else errno.ENOENT
		        well, said = error.errno == expected and near(i), error.strerror
		    if not well:
		        wrong += 1
		        if wrong < 20:
		            print("f%d: %s" % (i, said))
		print(refused, "of", count, "files cannot be read")
		sys.exit(wrong != 0)
	END
}

# files_judge [VICTIM...], files_judge_repaired [VICTIM...] - on the mount, whose server lives
files_judge() {
	files_do judge "$mnt" "$@" >judged || fail "with \"$*\": $(tail -n 21 judged)"
	cat judged
	kill -0 "$daemon" || fail "the daemon ended"
}

files_judge_repaired() {
	files_do judge_repaired "$mnt" "$@" >judged || fail "after a repair, with \"$*\": $(tail -n 21 judged)"
	cat judged
}

# values_spoil NAME... - what is in the middle of these files of files_do cannot be read from here on
values_spoil() {
	python3 - "$files" image "$faults" "$@" <<-'END'
		import hashlib, mmap, sys
		count = int(sys.argv[1])
		with open(sys.argv[2], "rb") as file:
		    image = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
		for name in sys.argv[4:]:
		    i = int(name)
		    text = hashlib.shake_256(b"file%d" % i).digest(3000000 if i == count - 1 else 1000)
		    middle = text[len(text) // 2:][:50]
		    place = image.find(middle)
		    if place < 0:
		        sys.exit("the value of file %d is not on the disk as it was written" % i)
		    while place >= 0: # with copies
		        with open(sys.argv[3], "w") as faults:
		            faults.write("reads %d 50" % place)
		        place = image.find(middle, place + 1)
	END
}

# file_spoil FILE reads|writes [BLOCKS] - the blocks of a file of the disk that is mounted, or so many of them, cannot be read, or written
file_spoil() {
	sync "$1"
	filefrag -e -b4096 "$1" | awk -v what="$2" -v left="${3:-1000000}" '$1 ~ /^[0-9]+:$/ && left > 0 {
		gsub(/[.:]/, " "); count = $6 < left ? $6 : left; left -= count; print what, $4 * 4096, count * 4096 }' >blocks
	[ -s blocks ] || fail "$1 has no place on the disk"
	while read -r line; do
		echo "$line" >"$faults"
	done <blocks
}

# store_fill [OPTION...] - a store on the disk, closed, with the files of files_do, none of them at the log's end
store_fill() {
	disk_make 256M
	"$KVFS" mkfs --segment-size 2M "$@" "$store"
	store_mount
	files_do make "$mnt"
	head -c 5000000 /dev/urandom >"$mnt/last"
	store_unmount
}

# store_repair - kvfs check --repair says what it has done, and then there is nothing to be found
store_repair() {
	local status=0
	timeout "$patience" "$KVFS" check --repair "$store" >repair.out 2>&1 || status=$?
	[ "$status" = 1 ] || fail "check --repair ended with $status: $(tail -n 3 repair.out)"
	store_check
}

# Files in blocks that cannot be read are EIO, all others are there, over each transport, and whether the store may be changed or not.
# Where it may, the bad segment is read through a map of huge pages, behind the first one: its header has been read before. A check
# names them; a repair says what is lost.
case_unreadable_values() {
	local victims options victim
	store_fill --segment-size 8M
	disk_unmount
	victims="$((files / 3 + 20)) $((files * 3 / 4 + 20)) $((files - 1))"
	# shellcheck disable=SC2086
	values_spoil $victims
	for options in ro rw no_io_uring; do
		disk_mount
		echo >daemon.log
		store_mount -o "$options"
		# shellcheck disable=SC2086
		files_judge $victims
		[ "$(disk_failed reads)" -gt 0 ] || fail "the disk was not asked"
		grep -qE 'seg-[0-9a-f]+.*offset' daemon.log || fail "the daemon does not say what is damaged"
		[ "$options" = ro ] || echo new >"$mnt/new"
		store_remount -o "$options"
		# shellcheck disable=SC2086
		files_judge $victims
		[ "$options" = ro ] || expect_same "what was written beside it" new "$(cat "$mnt/new")"
		store_unmount
		disk_unmount
	done
	disk_mount
	"$KVFS" check "$store" >check.out 2>&1 && fail "kvfs check finds nothing"
	grep -qE 'seg-[0-9a-f]+: a part of the file cannot be read' check.out || fail "check: $(head -n 5 check.out)"
	for victim in $victims; do
		grep -qE "\"f$victim\".*cannot be read" check.out || fail "check does not name f$victim: $(tail -n 20 check.out)"
	done
	store_repair
	grep -qE 'seg-[0-9a-f]+: a part of it cannot be read' repair.out || fail "repair: $(cat repair.out)"
	grep -qE '[0-9]+ bytes of the log are lost' repair.out || fail "repair: $(cat repair.out)"
	store_mount
	# shellcheck disable=SC2086
	files_judge_repaired $victims
}

# The log of a killed store cannot be replayed as a whole: only a reader is shown the rest. When the disk is well again nothing is lost;
# where it is not a repair gives it up.
case_unreadable_log() {
	local victim=$((files / 2 + 20))
	store_fill
	store_mount
	dd if=/dev/zero of="$mnt/later" bs=1000 count=1 conv=fsync status=none # takes the checkpoint out of date
	daemon_kill
	mount_clear
	rm -f "$store/checkpoint"
	disk_unmount
	values_spoil "$victim"
	disk_mount
	expect_fail 'seg-[0-9a-f]+: a part of it cannot be read; .*repair' "$KVFS" mount "$store" "$mnt" -f
	! is_mounted "$mnt" || fail "mounted all the same"
	store_mount -o ro
	files_do judge_repaired "$mnt" "$victim" >judged || fail "$(cat judged)"
	store_unmount
	echo well >"$faults"
	disk_forget
	store_mount -o ro
	files_judge
	store_unmount
	disk_unmount
	values_spoil "$victim"
	disk_mount
	store_repair
	store_mount
	files_judge_repaired "$victim"
	[ -s "$mnt/later" ] || fail "what was written last is not there"
}

# The scrub is the first to find what cannot be read. What has just been written is in memory: it writes it again, before anybody needs it.
case_scrubbed() {
	local file
	disk_make 256M
	"$KVFS" mkfs --segment-size 2M "$store"
	store_mount -o noatime,scrub=1G,scrub_interval=1
	files_do make "$mnt"
	"$KVFS" sync "$mnt"
	values_spoil $((files / 2 + 20))
	for file in disk/store/seg-*; do
		dd if="$file" iflag=nocache count=0 status=none # an earlier pass has read it
	done
	await "a finding" grep -qE 'seg-[0-9a-f]+: the scrub found .* they were written again' daemon.log
	[ "$(disk_failed reads)" -gt 0 ] || fail "the disk was not asked"
	store_unmount
	disk_forget
	store_check
	store_mount
	files_judge
}

# The first block of each file of the store in turn: whatever command meets it says so, and ends. Behind a repair there is nothing to be
# found, and what is there is right; where the disk has the file twice nothing is lost.
case_unreadable_files() {
	local name status
	store_fill
	uncheckable=1
	cp -a disk/store good
	for name in $(cd good && ls); do
		[ -z "$quick" ] || [[ $name != seg-*[2-9a-f] ]] || continue
		rm -rf disk/store
		cp -a good disk/store
		sync -f disk
		[ -s "disk/store/$name" ] || continue
		file_spoil "disk/store/$name" reads 1
		disk_forget
		status=0
		timeout "$patience" "$KVFS" check "$store" >check.out 2>&1 || status=$?
		case $name in
		free-*) [ "$status" = 0 ] ;;
		*) [ "$status" = 4 ] || [ "$status" = 8 ] || [ "$status" = 12 ] ;;
		esac || fail "$name: check ended with $status: $(tail -n 3 check.out)"
		[ "$status" = 0 ] || grep -q "$name" check.out || fail "check does not name $name: $(tail -n 3 check.out)"
		timeout "$patience" "$KVFS" list "$store" >list.out 2>&1 || [ $? -lt 124 ] || fail "$name: list ended with $?"
		timeout "$patience" "$KVFS" check --repair "$store" >repair.out 2>&1 || [ $? = 1 ] ||
			fail "$name: check --repair: $(tail -n 3 repair.out)"
		store_check
		store_mount
		case $name in
		seg-*) find "$mnt" -type f -exec cat {} + >/dev/null || fail "$name: not all that is left can be read" ;;
		*) files_judge ;;
		esac
		store_unmount
		echo well >"$faults"
		disk_forget
	done
}

# changes_fail - the disk has begun to fail: whoever syncs is told, no change is taken any more, what is there can be read
changes_fail() {
	local status=0
	expect_fail 'input/output' dd if=/dev/zero of="$mnt/lost" bs=1000 count=1 conv=fsync
	expect_fail 'read-only|input/output' mkdir "$mnt/dir"
	expect_fail 'read-only|input/output' dd if=/dev/zero of="$mnt/lost2" bs=1000 count=1 conv=fsync
	await "a store that has failed" store_has_failed
	files_judge
	unmount_telling 'store had failed' "$mnt"
	wait "$daemon" || status=$?
	daemon=
	expect_same "status of the server" 2 "$status"
}

store_has_failed() {
	"$KVFS" stat "$mnt" | grep -qx 'failed  *1'
}

# opens_well - now that the disk is well all is there that was synced, and it takes changes again
opens_well() {
	echo well >"$faults"
	disk_forget
	store_mount
	files_judge
	expect_same "what was synced" kept "$(cat "$mnt/kept")"
	dd if=/dev/zero of="$mnt/more" bs=1000 count=1000 conv=fsync status=none || fail "nothing can be written"
	store_remount
	expect_same "what was written since" 1000000 "$(stat -c %s "$mnt/more")"
}

# store_with_kept - mounted, with all its files and one more that is synced
store_with_kept() {
	store_fill
	disk_forget
	store_mount
	echo kept | dd of="$mnt/kept" conv=fsync status=none
}

# Blocks of the log cannot be written; the file system below does not mind.
case_unwritable_segments() {
	local file
	store_with_kept
	for file in disk/store/seg-* disk/store/free-*; do
		[ ! -s "$file" ] || file_spoil "$file" writes
	done
	changes_fail
	[ "$(disk_failed writes)" -gt 0 ] || fail "the disk was not asked"
	opens_well
}

# Nothing can be flushed; the file system below ends as well.
case_no_flushes() {
	store_with_kept
	echo flushes >"$faults"
	changes_fail
	[ "$(disk_failed flushes)" -gt 0 ] || fail "the disk was not asked"
	opens_well
}

# The whole disk takes no writes.
case_no_writes() {
	store_with_kept
	echo "writes 0 $((256 << 20))" >"$faults"
	changes_fail
	[ "$(disk_failed writes)" -gt 0 ] || fail "the disk was not asked"
	opens_well
}

scratch_main "$@"
