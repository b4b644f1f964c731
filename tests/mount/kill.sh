#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# kill.sh - the daemon dies at any moment; what a sync had acknowledged is there, and nothing is
# half done
#
# Four writers change their trees without end, beside a stream, and snapshots are taken of it
# (crash_writer.c); the daemon is killed with SIGKILL; the store must be clean, and all that is in
# it one moment of what was done, not before what was acknowledged as durable; each snapshot is
# such a moment, and the same one for ever. Then it goes on from there: one store is killed some
# tens of times, with all that a killed process may leave on the disk, and is then to take no more
# of it than one that was never killed.
#
# Environment
#	CRASH_WRITER, KVFS_TEST_SEED	see writers.sh
#	KVFS_TEST_KILLS			so many kills under load, instead of 100, or 2,000
#					with KVFS_TEST_LONG
#	KVFS_TEST_STORE_KILLS		so many of them in one store, instead of 50, or 500
#
# A thousand kills, and the store of one that fails is kept; and that store once more:
#	KVFS_TEST_KILLS=1000 KVFS_TEST_KEEP=/var/tmp/kept \
#	meson test -C build kill -t 5 --test-args kill_under_load
#	KVFS_TEST_KILLS=10 KVFS_TEST_SEED=12345 \
#	meson test -C build kill --test-args kill_under_load

limit=1200
cases=(kill_under_load kill_mkfs kill_while_mounting kill_after_sync
	kill_after_commit_interval kill_with_unlinked_open kill_with_many_kinds_open
	kill_in_the_background)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/writers.sh"

prune= # process of the one beside the writers, while there is one

# daemon_dies [OPTION...] - and the store is mounted again
daemon_dies() {
	daemon_kill
	mount_clear
	store_mount "$@"
}

# writers_kill SECONDS - lets the writers run so long and kills the daemon under them
writers_kill() {
	writers_begin "$1"
	[ -z "$prune" ] || kill -0 "$prune" 2>/dev/null || prune_end
	daemon_kill
	prune_end 1
	writers_end
	[ $((RANDOM % 4)) != 0 ] || store_check # beside what the dead daemon left mounted
	mount_clear
}

# writers_kill_closing SECONDS - the same, but that the writers have stopped and the daemon dies
# while it writes what is left, or just not
writers_kill_closing() {
	local status=0 umount_status=0 umount
	writers_begin "$1"
	writers_stop
	prune_end
	"$KVFS" umount "$mnt" >umount.log 2>&1 &
	umount=$!
	short_sleep $((RANDOM % 2 ? 30 : 400)) # which on a busy machine is little
	kill -9 "$daemon" 2>/dev/null || true
	wait "$daemon" 2>/dev/null || status=$?
	daemon=
	wait "$umount" || umount_status=$?
	sanitizer_silent
	[ "$status" = 0 ] || [ "$status" = 137 ] ||
		fail "seed $seed: the daemon ended with $status: $(tail -n 1 "$SCRATCH/daemon.log")"
	# of a dead daemon's mount it may say what it likes
	[ "$umount_status" = 0 ] || { [ "$status" = 137 ] && [ "$umount_status" -lt 126 ]; } ||
		fail "seed $seed: kvfs umount ended with $umount_status: $(tail -n 1 umount.log)"
	mount_clear
}

# prune_begin - beside the writers
prune_begin() {
	"$KVFS" prune "$mnt" >prune.log 2>&1 &
	prune=$!
}

# prune_end [STATUS] - it has ended well, or else so, as it may where the daemon died
prune_end() {
	local status=0
	[ -n "$prune" ] || return 0
	wait "$prune" || status=$?
	prune=
	[ "$status" = 0 ] || [ "$status" = "${1:-0}" ] ||
		fail "seed $seed: kvfs prune ended with $status: $(tail -n 1 prune.log)"
}

# mount_killed - a mount dies on its way
mount_killed() {
	"$KVFS" mount "$store" "$mnt" -f >>daemon.log 2>&1 &
	daemon=$!
	short_sleep 60
	daemon_kill
	processes_end # the one that mounts for it
	mount_clear
}

# short_sleep MS - less than that
short_sleep() {
	local seconds
	draw_seconds "$1"
	sleep "$seconds"
}

# command_killed COMMAND... - a command on the store that is not mounted dies on its way, or comes
# to its end. Whether it did. It reads $input, if that is set
command_killed() {
	local status=0
	"$KVFS" "$@" <"${input:-/dev/null}" >>command.log 2>&1 &
	short_sleep 25
	kill -9 $! 2>/dev/null || true
	wait $! 2>/dev/null || status=$?
	[ "$status" = 0 ] || [ "$status" = 137 ] ||
		fail "seed $seed: kvfs $1 ended with $status: $(tail -n 2 command.log)"
	[ "$status" = 0 ]
}

# put_killed - a value is the old one or the new one
put_killed() {
	local input=put.new
	head -c "$((RANDOM * RANDOM % 3000000))" /dev/urandom >put.new
	if command_killed put "$store" put/value; then
		mv put.new put.old
	fi
}

put_judge() {
	[ -e put.new ] || [ -e put.old ] || return 0
	if [ -e put.new ] && cmp -s put.new "$mnt/put/value"; then
		mv put.new put.old
	elif [ -e put.old ]; then
		cmp -s put.old "$mnt/put/value" ||
			fail "seed $seed: what kvfs put replaced is neither old nor new"
	else
		[ ! -e "$mnt/put/value" ] || fail "seed $seed: kvfs put left something else"
	fi
	rm -f put.new
}

# snapshot_killed - one that a command makes or deletes is there or not; what the command said
# came true
snapshot_killed() {
	if [ -e named ]; then
		echo maybe >named
		! command_killed snapshot delete "$store" named || rm named
	else
		echo maybe >named
		! command_killed snapshot create "$store" named || echo surely >named
	fi
}

snapshot_judge() {
	if [ ! -d "$mnt/.snapshots/named" ]; then
		[ ! -e named ] || [ "$(cat named)" = maybe ] ||
			fail "seed $seed: what kvfs snapshot create made is missing"
		rm -f named
	else
		[ -e named ] || fail "seed $seed: what kvfs snapshot delete removed is there"
		echo surely >named
	fi
}

# something_killed - what else may be killed in a store that was
something_killed() {
	case $((RANDOM % 10)) in
	0 | 1) mount_killed ;;
	2) put_killed ;;
	3) snapshot_killed ;;
	4) command_killed prune "$store" || true ;;
	5) command_killed check --repair "$store" || true ;;
	6)
		if [ -e named ]; then
			command_killed snapshot clone "$store" named clone || true
			rm -rf clone
		else
			snapshot_killed
		fi
		;;
	esac
}

# orphans_none - all that nobody can reach any more has been freed
orphans_none() {
	"$KVFS" stat "$mnt" | grep -q '^keys.orphan *0$'
}

# What stores are made with, and how they are mounted, by their seeds.
makings=("" "-s 2M -c none" "-s 2M" "-s 2M -c inline" "-s 4M -H blake2b")
mountings=("" "-o commit=0.02" "-o no_io_uring" "-o noatime,commit=30")

# store_number NAME - of the store that is not mounted
store_number() {
	"$KVFS" stat "$store" | awk -v name="$1" '$1 == name { print $2 }'
}

# strays - names of its directory that are none of its parts
strays() {
	find "$store" -mindepth 1 -printf '%f\n' |
		grep -vxE 'super|manifest|snapshots|checkpoint|(seg|free)-[0-9a-f]{8}' || true
}

# disk_judge KILLS - what is left on the disk behind so many, in a store without garbage, which is
# closed: what is needed, as much garbage as a prune leaves (10% of a segment), the log's end and a
# cold segment, the checkpoint; no more free files than the reserve; none that nobody knows of
disk_judge() {
	local needed disk segment count spare files reserve checkpoint stray
	store_mount
	writers_verify "before the disk is judged"
	"$KVFS" prune "$mnt" >prune.log || fail "seed $seed: prune: $(tail -n 1 prune.log)"
	store_unmount
	store_check
	needed=$(($(store_number live_bytes) + $(store_number tombstone_bytes)))
	segment=$(store_number segment_bytes)
	checkpoint=$(stat -c %s "$store/checkpoint" 2>/dev/null || echo 0)
	disk=$(du -s -B1 "$store" | cut -f 1)
	count=$(find "$store" -name 'seg-*' | wc -l)
	spare=$(find "$store" -name 'free-*' -size +0 | wc -l)
	files=$(find "$store" -type f | wc -l)
	stray=$(strays)
	reserve=$((2 + count / 64))
	echo "$1 kills: $((needed >> 10)) KiB are needed, $((disk >> 10)) KiB taken," \
		"by $count segments of $((segment >> 10)) KiB, $spare free files, $files files in all," \
		"a checkpoint of $((checkpoint >> 10)) KiB"
	[ -z "$stray" ] || fail "seed $seed: nobody knows of these files: $stray"
	[ "$spare" -le "$reserve" ] || fail "seed $seed: $spare free files of a store at rest"
	[ "$disk" -le $((needed / 9 * 10 + 2 * segment + checkpoint + 65536)) ] ||
		fail "seed $seed: $disk bytes are taken where $needed are needed"
}

case_kill_under_load() {
	local round count making mounting seconds each
	needs_kvfs
	count=${KVFS_TEST_KILLS:-$(rounds 100 10 2000)}
	each=${KVFS_TEST_STORE_KILLS:-$(rounds 50 50 500)}
	for round in $(seq "$count"); do
		# a new store now and then, with a seed of its own: the writers begin their rows anew
		if [ $(((round - 1) % each)) = 0 ]; then
			[ "$round" = 1 ] || disk_judge "$each"
			[ "$round" = 1 ] || seed=$((seed + 1))
			making=${makings[seed % ${#makings[@]}]}
			mounting=${mountings[seed % ${#mountings[@]}]}
			# shellcheck disable=SC2086 # several words, or none
			store_fresh $making
			rm -f put.* named
		fi
		# shellcheck disable=SC2086
		store_mount $mounting
		writers_verify "round $round"
		put_judge
		snapshot_judge
		await "an end of what had no name" orphans_none
		[ $((RANDOM % 4)) != 0 ] || prune_begin
		draw_seconds 400
		if [ $((RANDOM % 8)) = 0 ]; then
			writers_kill_closing "$seconds"
		else
			writers_kill "$seconds"
		fi
		something_killed
		store_check
	done
	disk_judge $(((count - 1) % each + 1))
	echo "$count kills, seeds to $seed"
}

# What is left is a store, or no command takes it for one; and nothing is made in the same place.
case_kill_mkfs() {
	local round status whole=0 parts=0
	needs_kvfs
	seed_use
	for round in $(seq "$(rounds 40 8 400)"); do
		rm -rf "$store"
		status=0
		command_killed mkfs "$store" || status=$?
		if "$KVFS" check "$store" >check.log 2>&1; then
			whole=$((whole + 1))
		elif [ "$status" = 0 ]; then
			fail "what kvfs mkfs made is no store: $(tail -n 1 check.log)"
		elif [ -d "$store" ]; then
			parts=$((parts + 1))
			expect_fail 'not a kvfs store|not made to the end' "$KVFS" check "$store"
			expect_fail 'not a kvfs store|not made to the end' \
				"$KVFS" put "$store" key
			[ -z "$(ls "$store")" ] || expect_fail 'not empty' "$KVFS" mkfs "$store"
		fi
	done
	echo "$whole stores and $parts parts of one"
	rm -rf "$store"
}

# Dies while it opens, recovers or mounts; and once more when it is barely up.
case_kill_while_mounting() {
	local round
	needs_kvfs
	store_fresh
	for round in $(seq "$(rounds 30 4)"); do
		store_mount
		writers_verify "round $round"
		writers_kill 0.2
		mount_killed
		store_check
	done
	store_mount
	writers_verify "at the end"
}

# write_durably O_DSYNC|RWF_SYNC|RWF_DSYNC|msync FILE TEXT - by what no tool has an option for
write_durably() {
	python3 -c 'import mmap, os, sys
call, path, text = sys.argv[1], sys.argv[2], sys.argv[3].encode()
file = os.open(path, os.O_CREAT | os.O_RDWR | (os.O_DSYNC if call == "O_DSYNC" else 0))
if call == "msync":
    os.ftruncate(file, len(text))
    map = mmap.mmap(file, len(text))
    map[:] = text
    map.flush()
else:
    os.pwritev(file, [text], 0, getattr(os, call) if call.startswith("RWF") else 0)' "$@"
}

# Each tool's way to say "on the disk" is believed at once.
case_kill_after_sync() {
	local round call
	needs_kvfs
	store_make
	for round in $(seq "$(rounds 3 2)"); do
		store_mount -o commit=60
		echo "one $round" | dd of="$mnt/fsync" conv=fsync status=none
		daemon_dies -o commit=60
		expect_same "after fsync" "one $round" "$(cat "$mnt/fsync")"
		echo "two $round" | dd of="$mnt/fdatasync" conv=fdatasync status=none
		daemon_dies -o commit=60
		expect_same "after fdatasync" "two $round" "$(cat "$mnt/fdatasync")"
		echo "three $round" | dd of="$mnt/osync" oflag=sync status=none
		daemon_dies -o commit=60
		expect_same "after an O_SYNC write" "three $round" "$(cat "$mnt/osync")"
		for call in O_DSYNC RWF_SYNC RWF_DSYNC msync; do
			write_durably "$call" "$mnt/$call" "$call $round"
			daemon_dies -o commit=60
			expect_same "after $call" "$call $round" "$(cat "$mnt/$call")"
		done
		echo "by command $round" >"$mnt/command"
		"$KVFS" sync "$mnt"
		daemon_dies -o commit=60
		expect_same "after kvfs sync" "by command $round" "$(cat "$mnt/command")"
		mkdir -p "$mnt/dir$round/below"
		echo "four $round" >"$mnt/dir$round/below/file"
		sync "$mnt/dir$round" # of another directory: it covers all that was done before
		daemon_dies -o commit=60
		expect_same "after fsync of a directory" "four $round" "$(cat "$mnt/dir$round/below/file")"
		mv "$mnt/dir$round/below/file" "$mnt/renamed$round"
		sync "$mnt"
		daemon_dies -o commit=60
		expect_same "after a rename and fsync of the root" "four $round" "$(cat "$mnt/renamed$round")"
		store_unmount
		store_mount -o sync,commit=60
		mkdir "$mnt/sync$round"
		echo "five $round" >"$mnt/sync$round/file"
		daemon_dies
		expect_same "on a mount with -o sync" "five $round" "$(cat "$mnt/sync$round/file")"
		store_unmount
		store_check
	done
}

# Nobody asked for a sync; the interval has passed.
case_kill_after_commit_interval() {
	needs_kvfs
	store_make
	survives_interval -o commit=0.2
	survives_interval
}

# survives_interval OPTION... - what is older than the mount's interval is there after a kill. How
# much older it must be depends on how busy the machine is.
survives_interval() {
	local seconds
	for seconds in 1 2 5 10 20 40; do
		store_mount "$@"
		seq "$seconds" 1000 >"$mnt/numbers"
		mkdir "$mnt/dir$*$seconds"
		sleep "$seconds"
		daemon_dies
		if seq "$seconds" 1000 | cmp -s - "$mnt/numbers" && [ -d "$mnt/dir$*$seconds" ]; then
			store_unmount
			return
		fi
		store_unmount
	done
	fail "with \"$*\", what was done $seconds s before a kill is gone"
}

# A file without a name that is open at the moment of death is released by the next mount.
case_kill_with_unlinked_open() {
	local descriptor
	needs_kvfs
	store_make
	store_mount
	head -c 5000000 /dev/urandom >"$mnt/file"
	exec {descriptor}<>"$mnt/file"
	rm "$mnt/file"
	sync "$mnt"
	daemon_kill
	exec {descriptor}>&-
	mount_clear
	store_check
	store_mount
	expect_same "names after the remount" "" "$(ls -A "$mnt")"
	store_unmount
	store_check
	expect_same "orphans after the remount" 0 "$("$KVFS" stat "$store" | awk '$1 ~ /orphan/ { print $NF }' | head -n 1 | grep . || echo 0)"
}

# open_without_names DIR - opens files there and takes their names away in every way; keeps them
# open until it is killed
open_without_names() {
	exec perl -e 'use Fcntl; use IO::Handle; my @open;
		sub make { my ($name, $flags, $size) = @_; sysopen(my $f, $name, $flags, 0600) or die "$name: $!\n";
			syswrite($f, chr(65 + @open) x $size) == $size or die "$name: $!\n";
			$f->sync or die "$!\n"; push @open, $f; }
		chdir $ARGV[0] or die; mkdir "dir" or die;
		for my $size (1, 3000, 100000, 30000000) {
			make("unlinked", O_RDWR | O_CREAT, $size); unlink "unlinked" or die;
			make("replaced", O_RDWR | O_CREAT, $size); make("new", O_RDWR | O_CREAT, 3);
			rename "new", "replaced" or die; pop @open;
			make("dir/inside", O_RDWR | O_CREAT, $size); unlink "dir/inside" or die;
			make(".", 0x410000 | O_RDWR, $size); # O_TMPFILE
		}
		rmdir "dir" or die; $open[0]->sync or die; print "ready\n"; STDOUT->flush; sleep 1000' "$1"
}

# All that was open without a name when the machine stopped takes no room any more.
case_kill_with_many_kinds_open() {
	local opener used
	needs_kvfs
	store_make
	store_mount
	open_without_names "$mnt" >ready 2>&1 &
	opener=$!
	await "files without names" test -s ready
	expect_same "what the opener says" ready "$(cat ready)"
	used=$(df -B1 --output=used "$mnt" | tail -n 1)
	[ "$used" -gt 120000000 ] || fail "files that are open and have no name take $used bytes only"
	daemon_kill
	kill "$opener"
	wait "$opener" 2>/dev/null || true
	mount_clear
	store_check
	store_mount
	expect_same "names after the crash" replaced "$(ls -A "$mnt")"
	expect_same "size of what replaced another" 3 "$(stat -c %s "$mnt/replaced")"
	used=$(df -B1 --output=used "$mnt" | tail -n 1)
	[ "$used" -lt 1000000 ] || fail "$used bytes are used after all was released"
}

# The same for a daemon that went into the background itself.
case_kill_in_the_background() {
	local process
	needs_kvfs
	store_make
	"$KVFS" mount "$store" "$mnt" >mount.log 2>&1
	echo text | dd of="$mnt/file" conv=fsync status=none
	process=$(scratch_processes "$store")
	[ -n "$process" ] || fail "no daemon in the background"
	kill -9 $process
	expect_fail 'not connected|abort|cancel' cat "$mnt/file"
	mount_clear
	"$KVFS" mount "$store" "$mnt" >mount.log 2>&1
	expect_same "after the remount" text "$(cat "$mnt/file")"
	unmount "$mnt"
	! is_mounted "$mnt" || fail "still mounted"
	processes_end
}

scratch_main "$@"
