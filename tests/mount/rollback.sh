#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# rollback.sh - the tree goes back to a snapshot: without a mount, under one, and beside others who work in it (killed meanwhile:
# rollback_killed.sh)

cases=(rollback rollback_mounted rollback_in_use rollback_beside_others rollback_beside_attributes)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/snapshot_tree.sh"

case_rollback() {
	local was
	prepare_changed
	store_unmount
	expect_fail 'no snapshot two' "$KVFS" snapshot rollback "$store" two
	expect_fail 'snapshot one already' "$KVFS" snapshot rollback --keep one "$store" one
	was=$("$KVFS" snapshot rollback "$store" one | sed 's/.* snapshot //')
	store_check
	expect_same "nothing differs" "" "$("$KVFS" snapshot diff "$store" one)"
	store_mount
	same_tree before "$mnt/tree"
	same_tree between "$snapshots/$was/tree"
	echo new >"$mnt/tree/new"
	store_unmount
	"$KVFS" snapshot rollback --keep latest "$store" "$was" >/dev/null
	"$KVFS" snapshot rollback --discard "$store" one
	"$KVFS" snapshot rollback --discard "$store" latest
	store_mount
	same_tree before "$snapshots/one/tree"
	expect_same "what was kept" new "$(cat "$mnt/tree/new")"
	expect_same "snapshots" "$(echo "$was" latest one)" "$(echo $(ls "$snapshots"))"
}

# All that the kernel knows of the tree, in names, contents, attributes and listings, is what there is afterwards.
case_rollback_mounted() {
	local was i
	prepare_changed
	ls "$snapshots" >/dev/null
	expect_fail 'no such' cat "$mnt/tree/deep/er/none"
	expect_fail 'no snapshot two' "$KVFS" snapshot rollback "$mnt" two
	expect_fail 'snapshot one already' "$KVFS" snapshot rollback --keep one "$mnt" one
	expect_fail 'not a name' "$KVFS" snapshot rollback "$mnt" a/b
	same_tree between "$mnt/tree"
	was=$("$KVFS" snapshot rollback "$mnt" one | sed 's/.* snapshot //')
	same_tree before "$mnt/tree"
	same_tree between "$snapshots/$was/tree"
	expect_same "snapshots" "$was one" "$(echo $(ls "$snapshots"))"
	expect_same "nothing differs" "" "$("$KVFS" snapshot diff "$mnt" one)"
	for i in $(seq "$(rounds 10 3)"); do
		"$KVFS" snapshot rollback --discard "$store" "$was"
		same_tree between "$mnt/tree"
		"$KVFS" snapshot rollback --discard "$mnt/tree" one
		same_tree before "$mnt/tree"
	done
	echo more >>"$mnt/tree/many/20"
	echo new >"$mnt/tree/new"
	"$KVFS" snapshot rollback --discard "$mnt" one
	same_tree before "$mnt/tree"
	store_remount
	same_tree before "$mnt/tree"
	same_tree between "$snapshots/$was/tree"
}

# hold PROGRAM - python runs this, says that it is ready, and stays; $holder is its process
hold() {
	rm -f held
	python3 -c "import mmap, os, sys, time
mnt = '$mnt'
$1
open('$SCRATCH/held', 'w').close()
while os.getppid() == $$: time.sleep(0.2)" &
	holder=$!
	until [ -e held ]; do
		kill -0 "$holder" || fail "cannot hold: $1"
		sleep 0.02
	done
}

# let_go - ends what holds
let_go() {
	kill "$holder"
	wait "$holder" 2>/dev/null || true
}

# Files that are open and would change, or go, are not touched; whatever else is in use goes along.
case_rollback_in_use() {
	local program
	prepare
	mkdir "$mnt/dir" "$mnt/old"
	echo text >"$mnt/file"
	echo text >"$mnt/same"
	echo text >"$mnt/attributes"
	echo text >"$mnt/twice"
	echo text >"$mnt/gone"
	head -c 300000 /dev/urandom >"$mnt/large"
	mkdir "$snapshots/one"
	echo more >>"$mnt/file"
	dd if=/dev/zero of="$mnt/large" bs=4096 seek=7 count=1 conv=notrunc status=none
	echo new >"$mnt/new"
	echo more >>"$mnt/twice"
	mv "$mnt/old" "$mnt/moved"
	mkdir "$mnt/made"
	chmod 600 "$mnt/attributes"
	for program in "f = open(mnt + '/file')" "f = open(mnt + '/file', 'a')" "f = open(mnt + '/new')" \
		"f = os.open(mnt + '/large', os.O_RDWR); m = mmap.mmap(f, 0); os.close(f); m[5]" \
		"f = open(mnt + '/twice'); os.unlink(mnt + '/twice')" "f = os.open(mnt, os.O_TMPFILE | os.O_RDWR)"; do
		hold "$program"
		expect_fail "open in process $holder .python3" "$KVFS" snapshot rollback "$mnt" one
		[ -d "$mnt/moved" ] && [ "$(tail -n 1 "$mnt/file")" = more ] || fail "it changed"
		expect_same "snapshots" one "$(ls "$snapshots")"
		let_go
	done
	# these may stay
	hold "f = open(mnt + '/same', 'a+'); g = open(mnt + '/attributes'); os.chdir(mnt + '/moved')
d = os.open(mnt + '/made', os.O_RDONLY); h = open(mnt + '/gone'); os.unlink(mnt + '/gone')
i = open(mnt + '/new'); os.unlink(mnt + '/new')"
	cd "$mnt/dir"
	"$KVFS" snapshot rollback --discard "$mnt" one
	expect_same "the root" "attributes dir file gone large old same twice" "$(echo $(ls "$mnt"))"
	expect_same "a file" text "$(cat "$mnt/file")"
	expect_same "an open one's rights" 644 "$(stat -Lc %a "/proc/$holder/fd/4")"
	echo line >>"/proc/$holder/fd/3"
	expect_same "an open one" "text line" "$(echo $(cat "$mnt/same"))"
	expect_same "one that had lost its name" "text 1" "$(cat "/proc/$holder/fd/6") $(stat -Lc %h "/proc/$holder/fd/6")"
	echo back >"$mnt/gone"
	expect_same "and has it again" back "$(cat "/proc/$holder/fd/6")"
	expect_same "one that has none" new "$(cat "/proc/$holder/fd/7")"
	expect_same "where one stands" "$mnt/old" "$(ls "$mnt/old" && readlink "/proc/$holder/cwd")"
	expect_same "here" "$mnt/dir" "$(pwd -P)"
	echo here >here
	expect_same "a new file" here "$(cat "$mnt/dir/here")"
	cd "$SCRATCH"
	let_go
	# what was stored into a map, and is in the kernel alone, is of the time before
	python3 -c "import mmap
f = open('$mnt/large', 'r+b')
m = mmap.mmap(f.fileno(), 0)
m[0:4] = b'kept'"
	"$KVFS" snapshot rollback --keep kept "$mnt" one >/dev/null
	cmp "$mnt/large" "$snapshots/one/large"
	expect_same "what was kept" kept "$(head -c 4 "$snapshots/kept/large")"
	# by whom
	store_unmount
	chmod 755 "$SCRATCH"
	store_mount -o allow_other
	expect_fail 'only root' setpriv --reuid 4321 --regid 4321 --clear-groups -- \
		"$KVFS" snapshot rollback "$mnt" kept
	store_unmount
	store_mount -o ro
	expect_fail 'read-only' "$KVFS" snapshot rollback "$mnt" one
}

# Others read and write all the time. It is refused while one has a file open, and else all is as it was.
case_rollback_beside_others() {
	local i others=()
	prepare
	tree_make "$mnt/tree"
	cp -a "$mnt/tree" before
	mkdir "$snapshots/one"
	(while helpers_wanted; do find "$mnt" -type f -exec cat {} + >/dev/null 2>&1 || true; done) &
	others+=($!)
	(
		i=0
		while helpers_wanted; do
			i=$((i + 1))
			{ seq $((RANDOM % 3000)) >"$mnt/tree/many/w$((i % 50))"; } 2>/dev/null || true
			mv "$mnt/tree/many/w$((i % 50))" "$mnt/tree/deep/w$((i % 30))" 2>/dev/null || true
			chmod 640 "$mnt/tree/many/$((i % 300 + 1))" 2>/dev/null || true
		done
	) &
	others+=($!)
	# Whether a moment is met in which none of their files is open is up to the machine.
	for i in $(seq "$(rounds 40 6)"); do
		"$KVFS" snapshot rollback --discard "$mnt" one 2>refused ||
			grep -q 'are open' refused || fail "refused: $(cat refused)"
	done
	helpers_end "${others[@]}"
	"$KVFS" snapshot rollback --discard "$mnt" one
	same_tree before "$mnt/tree"
	store_remount
	same_tree before "$mnt/tree"
}

# attributes_change DIR - modes, times, names of everything, once and by several at a time; no file is opened
attributes_change() {
	python3 - "$1" <<-'END'
	import os, random, sys, threading
	top = sys.argv[1]
	dirs, files = [[os.path.join(top, kind, name) for name in os.listdir(os.path.join(top, kind))] for kind in ("dirs", "files")]
	def change(all, step):
	    random.shuffle(all)
	    for path in all:
	        step(path)
	steps = (dirs, lambda path: os.chmod(path, 0o711)), (dirs, lambda path: os.utime(path, (1, 2))), \
	    (files, lambda path: os.chmod(path, 0o640)), (files, lambda path: os.link(path, path + ".link"))
	threads = [threading.Thread(target=change, args=(list(all), step)) for all, step in steps]
	for thread in threads: thread.start()
	for thread in threads: thread.join()
	END
}

# What was answered before the tree went back, and is looked at after, is not what the kernel goes on to believe.
case_rollback_beside_attributes() {
	local i changer
	prepare
	mkdir -p "$mnt/tree/files" "$mnt/tree/dirs/"{1..150}
	for i in {1..150}; do echo "$i" >"$mnt/tree/files/$i"; done
	mkdir "$snapshots/one"
	for i in $(seq "$(rounds 25 6)"); do
		attributes_change "$mnt/tree" &
		changer=$!
		"$KVFS" snapshot rollback --discard "$mnt" one
		"$KVFS" snapshot rollback --discard "$mnt" one
		wait "$changer" || fail "who changed attributes ended with $?"
		find "$mnt/tree" | sort >names
		xargs stat -c '%n %a %h %s %.Y %.Z' <names >known
		xargs stat --cached=never -c '%n %a %h %s %.Y %.Z' <names >true
		diff known true || fail "the kernel believes in what is not so"
		"$KVFS" snapshot rollback --discard "$mnt" one
		expect_same "nothing differs" "" "$("$KVFS" snapshot diff "$mnt" one)"
	done
}

scratch_main "$@"
