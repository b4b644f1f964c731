#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# judge.sh - who judges what a kill has left finds everything good, and every kind of loss bad
#
# Nothing is lost here by a kill, and most of it needs no daemon: a tree is taken back to what it
# was, or damaged, and crash_writer.c has to say so.
#
# Environment: CRASH_WRITER, KVFS_TEST_SEED; see writers.sh

cases=(is_strict knows_the_order knows_what_is_kept knows_snapshots
	knows_who_lives)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/writers.sh"

# judge_refuses PATTERN - what is mounted, by the ledger of before
judge_refuses() {
	cp "$SCRATCH/ledger.good" "$SCRATCH/ledger"
	expect_fail "$1" "$CRASH_WRITER" verify "$mnt" "$SCRATCH/ledger" "$seed" "$writers"
}

# kept WRITER - how many of its changes are durable, as the ledger has it
kept() {
	od -A n -t u8 -j $(($1 * 32 + 16)) -N 8 ledger | tr -d ' '
}

# kept_forget WRITER - none are
kept_forget() {
	dd if=/dev/zero of=ledger bs=8 seek=$(($1 * 4 + 2)) count=1 conv=notrunc status=none
}

case_is_strict() {
	local damage file
	seed_use
	mkdir plain
	expect_fail usage "$CRASH_WRITER" run plain ledger "$seed" 4
	"$CRASH_WRITER" run plain ledger "$seed" 0 1000
	cp -a plain before
	"$CRASH_WRITER" verify plain ledger "$seed" 1
	"$CRASH_WRITER" run plain ledger "$seed" 0 400
	# a state of before the last acknowledged sync, which is all that is known to be kept
	expect_fail 'no state' "$CRASH_WRITER" verify before ledger "$seed" 1
	"$CRASH_WRITER" verify plain ledger "$seed" 1
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
		expect_fail 'no state|names' "$CRASH_WRITER" verify damaged ledger "$seed" 1
	done
}

# What one writer had done before another began something is there where that is.
case_knows_the_order() {
	seed_use
	mkdir plain
	"$CRASH_WRITER" run plain ledger "$seed" 0 300
	cp -a plain/w0 before
	"$CRASH_WRITER" verify plain ledger "$seed" 1
	"$CRASH_WRITER" run plain ledger "$seed" 0 300
	"$CRASH_WRITER" run plain ledger "$seed" 1 300
	kept_forget 0
	cp ledger ledger.good
	"$CRASH_WRITER" verify plain ledger "$seed" 2
	rm -rf plain/w0
	mv before plain/w0
	expect_fail 'of writer 0, who had done [0-9]+ before' "$CRASH_WRITER" verify plain ledger.good "$seed" 2
}

# Whatever makes a change of one writer durable does so for all that another one had done before,
# O_SYNC writes too: here the one whose syncs are few.
case_knows_what_is_kept() {
	local writer=$((1 - seed % 2)) round own others
	local other=$((1 - writer))
	seed_use
	mkdir plain
	"$CRASH_WRITER" verify plain ledger "$seed" 2
	"$CRASH_WRITER" run plain ledger "$seed" "$other" 100
	for round in $(seq 12); do
		"$CRASH_WRITER" verify plain ledger "$seed" 2
		own=$(kept "$writer")
		others=$(kept "$other")
		kept_forget "$other"
		"$CRASH_WRITER" run plain ledger "$seed" "$writer" 20
		[ "$(kept "$writer")" = "$own" ] ||
			expect_same "kept in round $round" "$others" "$(kept "$other")"
	done
}

# A snapshot that is lost, and one that is another than it was; and a stream that lost its end.
case_knows_snapshots() {
	local first
	needs_kvfs
	store_fresh
	store_mount
	writers_verify "at first"
	until [ -s "$mnt/stream/old" ] &&
		[ "$(find "$mnt/.snapshots" -mindepth 1 -maxdepth 1 | wc -l)" -ge 2 ]; do
		writers_begin 0.2
		writers_stop
		writers_verify "after it"
	done
	cp "$SCRATCH/ledger" "$SCRATCH/ledger.good"
	truncate -s -1 "$mnt/stream/old"
	judge_refuses 'is none of the generations'
	printf x >>"$mnt/stream/old"
	judge_refuses 'is none of the generations'
	for first in "$mnt/.snapshots"/s*; do break; done
	rmdir "$first"
	judge_refuses 'missing, and it was durable'
	touch "$mnt/w0/d0/new"
	mkdir "$first"
	rm "$mnt/w0/d0/new"
	judge_refuses 'names, expected'
	rmdir "$first"
	truncate -s +1 "$(find "$mnt/w1" -type f | head -n 1)"
	mkdir "$first"
	judge_refuses 'is not what it was'
	mkdir "$mnt/.snapshots/s9999"
	judge_refuses 'not what it was|nobody has made'
}

# Whoever is told that the server is gone, a writer, the stream or who takes snapshots, and it is
# there. Here the file system lives, and what one of them works in is another one, which is dead.
case_knows_who_lives() {
	local part
	needs_kvfs
	store_make
	store_mount
	daemon_kill
	for part in w1 stream .snapshots; do
		rm -rf plain ledger
		mkdir -p plain/.snapshots
		"$CRASH_WRITER" verify plain ledger "$seed" 2
		rm -rf "plain/$part"
		ln -s "$mnt" "plain/$part"
		expect_fail 'is gone, and it is there' \
			"$CRASH_WRITER" load "$SCRATCH/plain" ledger "$seed" 2
	done
	mount_clear
}

scratch_main "$@"
