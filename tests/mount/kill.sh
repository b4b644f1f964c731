#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# kill.sh - the daemon dies at any moment; what a sync had acknowledged is there, and nothing is half done
#
# Four writers change their trees without end (crash_writer.c); the daemon is killed with SIGKILL; the store must be clean,
# and each tree must be what it was after some number of its changes that is not less than those that were acknowledged
# as durable. Then it goes on from there.
#
# Environment: CRASH_WRITER, the program crash_writer

limit=1200
cases=(judge_is_strict kill_under_load kill_while_mounting kill_after_sync kill_after_commit_interval
	kill_with_unlinked_open kill_with_many_kinds_open
	kill_in_the_background)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

writers=4
seed=${KVFS_TEST_SEED:-$RANDOM}

# daemon_dies [OPTION...] - and the store is mounted again
daemon_dies() {
	daemon_kill
	mount_clear
	store_mount "$@"
}

# writers_verify WHEN - judges the trees of all writers
writers_verify() {
	local writer output
	for writer in $(seq 0 $((writers - 1))); do
		output=$("$CRASH_WRITER" verify "$mnt" "$SCRATCH/ledger" "$seed" "$writer" 2>&1) ||
			fail "seed $seed, writer $writer, $1: $output"
	done
}

# writers_kill SECONDS - lets the writers run so long and kills the daemon under them
writers_kill() {
	local writer pids=
	for writer in $(seq 0 $((writers - 1))); do
		"$CRASH_WRITER" run "$mnt" "$SCRATCH/ledger" "$seed" "$writer" &
		pids="$pids $!"
	done
	sleep "$1"
	for writer in $pids; do
		kill -0 "$writer" 2>/dev/null || fail "seed $seed: a writer ended before the kill (it says why above)"
	done
	daemon_kill
	for writer in $pids; do
		wait "$writer" || fail "seed $seed: a writer ended with $? (it says why above)"
	done
	mount_clear
}

store_fresh() {
	rm -rf "$store" "$SCRATCH/ledger"
	seed=$((seed + 1))
	store_make
}

# On a plain directory: the judge finds everything good, and every kind of loss bad.
case_judge_is_strict() {
	local damage file
	mkdir plain
	"$CRASH_WRITER" run plain ledger "$seed" 0 1000
	cp -a plain before
	"$CRASH_WRITER" verify plain ledger "$seed" 0
	cp ledger ledger.good
	"$CRASH_WRITER" run plain ledger "$seed" 0 400
	"$CRASH_WRITER" verify plain ledger "$seed" 0
	# a state of before the last acknowledged sync
	expect_fail 'no state' "$CRASH_WRITER" verify before ledger "$seed" 0
	for damage in shorten flip remove extra mark; do
		rm -rf damaged
		cp -a plain damaged
		file=$(find damaged/w0/d? -type f -size +1k | sort | head -n 1)
		case $damage in
		shorten) truncate -s -1 "$file" ;;
		flip) printf '\xa5\x5a' | dd of="$file" bs=1 seek=700 conv=notrunc status=none ;;
		remove) rm "$file" ;;
		extra) touch damaged/w0/d0/new ;;
		mark) setfattr -n user.mark -v 12345678 "$file" ;;
		esac
		expect_fail 'no state|names' "$CRASH_WRITER" verify damaged ledger "$seed" 0
	done
}

case_kill_under_load() {
	local round count
	needs_kvfs
	count=$(rounds 100 5)
	for round in $(seq "$count"); do
		# a new store now and then: each round opens it and reads the whole log
		[ $((round % 10)) != 1 ] || store_fresh
		store_mount
		writers_verify "round $round"
		writers_kill "0.$((RANDOM % 6))$((RANDOM % 10))"
		store_check
	done
	store_mount
	writers_verify "at the end"
	echo "$count kills, seeds to $seed"
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
		"$KVFS" mount "$store" "$mnt" -f >>daemon.log 2>&1 &
		daemon=$!
		sleep "0.0$((RANDOM % 7))$((RANDOM % 10))"
		daemon_kill
		processes_end # the one that mounts for it
		mount_clear
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

# survives_interval OPTION... - what is older than the mount's interval is there after a kill. How much older it must be depends on
# how busy the machine is.
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

# open_without_names DIR - opens files there and takes their names away in every way; keeps them open until it is killed
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
