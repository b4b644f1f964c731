#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# snapshot.sh - snapshots as directories: what is in them, what may be done to them, and what does not come near them

cases=(as_it_was names hidden refused own_file in_use git_history kill_and_mount many while_writing
	mounted_alone others rollback_killed commands commands_on_a_store rollback rollback_mounted
	rollback_in_use rollback_beside_others rollback_beside_attributes
	rollback_mounted_killed clone clone_mounted)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

snapshots=$mnt/.snapshots

prepare() {
	needs_kvfs
	store_make
	store_mount "$@"
}

# tree_make DIR - some of everything
tree_make() {
	local i
	mkdir -p "$1/many" "$1/deep/er/and/deeper"
	for i in {1..300}; do seq "$i" $((i * 3)) >"$1/many/$i"; done
	head -c 3000000 /dev/urandom >"$1/large"
	truncate -s 50M "$1/sparse"
	echo end >>"$1/sparse"
	dd if=/dev/urandom of="$1/sparse" bs=4096 seek=700 count=3 conv=notrunc status=none
	ln "$1/large" "$1/deep/link"
	ln -s ../large "$1/deep/symlink"
	mkfifo "$1/fifo"
	setfattr -n user.colour -v green "$1/large"
	setfacl -m u:4321:r "$1/many/7"
	chmod 2750 "$1/many"
	chown 4321:4322 "$1/many/8"
	touch -d '2001-02-03 04:05:06.789' "$1/many/9"
}

# tree_change DIR - nothing stays as it was
tree_change() {
	rm -rf "$1/many/1"* "$1/deep/er"
	echo more >>"$1/many/20"
	dd if=/dev/urandom of="$1/large" bs=1000 seek=500 count=20 conv=notrunc status=none
	truncate -s 1000 "$1/sparse"
	mv "$1/many" "$1/renamed"
	setfattr -n user.colour -v red "$1/large"
	setfacl -b "$1/renamed/7"
	chmod 700 "$1/renamed"
	rm "$1/deep/symlink"
	mkdir "$1/many"
	echo new >"$1/many/2"
}

# same_tree A B
same_tree() {
	"$TREE_COMPARE" "$1" "$2" || fail "$1 and $2 differ"
}

case_as_it_was() {
	prepare
	tree_make "$mnt/tree"
	cp -a "$mnt/tree" before
	mkdir "$snapshots/one"
	tree_change "$mnt/tree"
	cp -a "$mnt/tree" between
	mkdir "$snapshots/two"
	rm -rf "${mnt:?}/tree"
	same_tree before "$snapshots/one/tree"
	same_tree between "$snapshots/two/tree"
	store_remount
	same_tree before "$snapshots/one/tree"
	same_tree between "$snapshots/two/tree"
	diff -r --no-dereference -x fifo before "$snapshots/one/tree"
	expect_same "rsync" "" "$(rsync -aHXAn --checksum --delete --out-format=%n before/ "$snapshots/one/tree/")"
	tar -C "$snapshots/one" -cf - tree | tar -xf - --xattrs -C "$SCRATCH"
	diff -r --no-dereference -x fifo before tree
	cp -a "$snapshots/one/tree" "$mnt/back"
	same_tree before "$mnt/back"
	# a hole is a hole in there too
	[ "$(stat -c %b "$snapshots/one/tree/sparse")" -lt 1000 ] || fail "the sparse file takes room"
	cp --sparse=always "$snapshots/one/tree/sparse" sparse
	cmp sparse before/sparse
	# one inode in the head and in each snapshot, each with a number of its own
	expect_same "numbers" 3 "$(stat -c %i "$mnt" "$snapshots/one" "$snapshots/two" | sort -u | wc -l)"
	[ "$(stat -c %i "$snapshots/one/tree/large")" = "$(stat -c %i "$snapshots/one/tree/deep/link")" ] ||
		fail "hard links have different numbers"
}

case_names() {
	local long name
	prepare
	long=$(printf 'n%.0s' {1..255})
	echo text >"$mnt/file"
	for name in "$long" ' ' $'new\nline' $'\xff\xfe' '-rf' '...' 'a\b"c'\''d' "$(printf '\342\202\254')"; do
		mkdir -- "$snapshots/$name"
		[ "$(cat "$snapshots/$name/file")" = text ] || fail "nothing in $name"
		expect_fail 'exists' mkdir -- "$snapshots/$name"
	done
	expect_same "listed" 8 "$(find "$snapshots" -mindepth 1 -maxdepth 1 -printf x | wc -c)"
	expect_fail 'too long' mkdir "$snapshots/n$long"
	expect_fail 'too long' ls "$snapshots/n$long"
	expect_fail 'no such' ls "$snapshots/none"
	expect_fail 'no such' rmdir "$snapshots/none"
	expect_fail 'exists' mkdir "$snapshots/.."
	store_remount
	expect_same "listed" 8 "$(find "$snapshots" -mindepth 1 -maxdepth 1 -printf x | wc -c)"
	for name in "$long" ' ' $'new\nline' $'\xff\xfe' '-rf' '...' 'a\b"c'\''d' "$(printf '\342\202\254')"; do
		[ "$(cat "$snapshots/$name/file")" = text ] || fail "nothing in $name"
		rmdir -- "$snapshots/$name"
		expect_fail 'no such' ls -d -- "$snapshots/$name"
	done
	expect_same "listed" "" "$(ls -A "$snapshots")"
	# a name that comes back is another snapshot
	mkdir "$snapshots/again"
	echo other >"$mnt/file"
	rmdir "$snapshots/again"
	mkdir "$snapshots/again"
	expect_same "the second of its name" other "$(cat "$snapshots/again/file")"
}

case_hidden() {
	local before
	prepare
	tree_make "$mnt/tree"
	cp -a "$mnt/tree" before
	before=$(find "$mnt" | sort)
	mkdir "$snapshots/one" "$snapshots/two"
	expect_same "ls -A" tree "$(ls -A "$mnt")"
	expect_same "find" "$before" "$(find "$mnt" | sort)"
	expect_same "find -xdev" "$before" "$(find "$mnt" -xdev | sort)"
	expect_same "du" "$(du -s "$mnt/tree" | cut -f 1)" "$(du -s "$mnt" | cut -f 1)"
	expect_same "tar" 0 "$(tar -C "$mnt" -cf - . 2>/dev/null | tar -tf - | grep -c snapshots || true)"
	mkdir copy
	rsync -aHAX "$mnt/" copy/
	expect_same "rsync" tree "$(ls -A copy)"
	rm -rf "${mnt:?}"/* "${mnt:?}"/.[!.]* 2>/dev/null || true
	expect_same "after rm -rf" "one two" "$(echo $(ls "$snapshots"))"
	same_tree before "$snapshots/one/tree"
	# the directory is one, and says what any does
	expect_same "its type" "directory 755" "$(stat -c '%F %a' "$snapshots")"
	expect_same "its parent" "$(stat -c %i "$mnt")" "$(stat -c %i "$snapshots/..")"
	expect_same "its path" "$snapshots/one" "$(cd "$snapshots/one" && pwd -P)"
}

case_refused() {
	prepare
	echo text >"$mnt/file"
	mkdir "$mnt/dir"
	mkdir "$snapshots/one"
	# in a snapshot
	expect_fail 'read-only' touch "$snapshots/one/file"
	expect_fail 'read-only' touch "$snapshots/one/new"
	expect_fail 'read-only' mkdir "$snapshots/one/new"
	expect_fail 'read-only' rm "$snapshots/one/file"
	expect_fail 'read-only' rmdir "$snapshots/one/dir"
	expect_fail 'read-only' chmod 600 "$snapshots/one/file"
	expect_fail 'read-only' setfattr -n user.x -v 1 "$snapshots/one/file"
	expect_fail 'read-only' ln -s x "$snapshots/one/link"
	expect_fail 'read-only' mkfifo "$snapshots/one/fifo"
	expect_fail 'read-only' truncate -s 1 "$snapshots/one/file"
	expect_fail 'read-only' mv "$snapshots/one/file" "$snapshots/one/other"
	expect_fail 'read-only' mv "$mnt/file" "$snapshots/one/dir/file"
	expect_fail 'read-only' dd if=/dev/zero of="$snapshots/one/file" count=1 conv=notrunc
	expect_fail 'read-only' mv "$snapshots/one/file" "$mnt/file2"
	expect_fail 'cross-device' ln "$snapshots/one/file" "$mnt/file2"
	expect_same "the file" text "$(cat "$snapshots/one/file")"
	# beside it
	expect_fail 'not permitted' touch "$snapshots/new"
	expect_fail 'not permitted' ln -s x "$snapshots/link"
	expect_fail 'not permitted' ln "$mnt/file" "$snapshots/link"
	expect_fail 'not permitted' mkfifo "$snapshots/fifo"
	expect_fail 'not permitted' mv "$snapshots/one" "$snapshots/two"
	expect_fail 'not permitted' mv -T "$snapshots/one" "$mnt/two"
	expect_fail 'not permitted' mv "$mnt/dir" "$snapshots/two"
	expect_fail 'not permitted' chmod 777 "$snapshots"
	expect_fail 'not permitted' chown 1 "$snapshots"
	expect_fail 'not permitted' setfattr -n user.x -v 1 "$snapshots"
	# the directory itself
	expect_fail 'busy' rmdir "$snapshots"
	expect_fail 'busy' mv "$snapshots" "$mnt/elsewhere"
	expect_fail 'busy|not permitted|overwrite' mv -T "$mnt/dir" "$snapshots"
	expect_fail 'exists' mkdir "$snapshots"
	expect_same "all as before" "dir file one" "$(echo $(ls "$mnt" "$snapshots" | grep -v : | sort))"
	rm -rf "$snapshots/one" 2>/dev/null && fail "rm -rf deleted a snapshot"
	[ -e "$snapshots/one/file" ] || fail "rm -rf took something out of a snapshot"
	# where openings are asked for, so is this one
	store_remount -o strictatime
	expect_fail 'read-only' dd if=/dev/null of="$snapshots/one/file" conv=notrunc status=none
	expect_fail 'read-only' bash -c ': <>"$1"' - "$snapshots/one/file"
	expect_same "read all the same" text "$(cat "$snapshots/one/file")"
	dd if=/dev/null of="$mnt/file" conv=notrunc status=none
}

# What had the name before the directory is where it was for whoever looks past it.
case_own_file() {
	prepare -o nosnapdir
	mkdir "$snapshots"
	echo mine >"$snapshots/file"
	store_remount
	grep -q 'hidden by the directory of snapshots' daemon.log || fail "the mount does not say that it hides a file"
	expect_fail 'no such' cat "$snapshots/file"
	mkdir "$snapshots/one"
	expect_same "in a snapshot" mine "$(cat "$snapshots/one/.snapshots/file")"
	expect_same "the root" "" "$(ls -A "$mnt")"
	expect_same "the snapshot's root" .snapshots "$(ls -A "$snapshots/one")"
	store_unmount
	expect_same "without a mount" mine "$("$KVFS" get "$store" .snapshots/file)"
	store_mount -o nosnapdir
	expect_same "with nosnapdir" mine "$(cat "$snapshots/file")"
	mv "$snapshots" "$mnt/saved"
	store_remount
	expect_same "moved away" "mine one" "$(cat "$mnt/saved/file") $(ls "$snapshots")"
}

# views_become COUNT - the kernel tells soon, but not at once, what it has forgotten
views_become() {
	await "$1 views" views_are "$1"
}

views_are() {
	[ "$("$KVFS" stat "$mnt" | awk '$1 == "views" { print $2 }')" = "$1" ]
}

# Whoever stands in a deleted snapshot, or has a file of it open, reads on.
case_in_use() {
	local descriptor
	prepare
	tree_make "$mnt/tree"
	cp -a "$mnt/tree/large" large
	mkdir "$snapshots/one"
	tree_change "$mnt/tree"
	exec {descriptor}<"$snapshots/one/tree/large"
	cd "$snapshots/one/tree/many"
	rmdir "$snapshots/one"
	expect_fail 'no such' ls "$snapshots/one"
	expect_same "listed by who stands in it" 300 "$(ls | wc -l)"
	seq 100 300 | cmp - 100
	cmp "$SCRATCH/large" "/proc/self/fd/$descriptor"
	# one of the same name is another
	mkdir "$snapshots/one"
	[ -e "$snapshots/one/tree/renamed/8" ] || fail "the new snapshot is the old one"
	seq 100 300 | cmp - 100
	cd "$SCRATCH"
	exec {descriptor}<&-
	# what the kernel caches of it goes with a remount, as with need for memory
	"$KVFS" mount -o remount "$store" "$mnt"
	views_become 0
	find "$snapshots/one" >/dev/null
	rmdir "$snapshots/one"
	views_become 0
}

# The history of a repository in a snapshot stays what it was while the repository goes on.
case_git_history() {
	local i log
	prepare
	export HOME=$SCRATCH GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=Test GIT_AUTHOR_EMAIL=test@example.org
	export GIT_COMMITTER_NAME=Test GIT_COMMITTER_EMAIL=test@example.org GIT_OPTIONAL_LOCKS=0
	export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
	git init -q "$mnt/repo"
	for i in {1..8}; do
		seq "$i" 500 >"$mnt/repo/file$i"
		git -C "$mnt/repo" add -A
		git -C "$mnt/repo" commit -q -m "change $i"
	done
	log=$(git -C "$mnt/repo" log --stat)
	mkdir "$snapshots/one"
	for i in {1..8}; do
		git -C "$mnt/repo" commit -q --allow-empty -m "later $i"
		rm "$mnt/repo/file$i"
		git -C "$mnt/repo" commit -q -a -m "gone $i"
		expect_same "log in the snapshot" "$log" "$(git -C "$snapshots/one/repo" log --stat)"
		[ "$i" != 4 ] || git -C "$mnt/repo" gc -q --aggressive --prune=now
	done
	git -C "$snapshots/one/repo" fsck --full --strict 2>&1 | grep -E 'missing|corrupt|error' && fail "fsck"
	git clone -q "$snapshots/one/repo" clone
	expect_same "a clone of it" "$log" "$(git -C clone log --stat)"
}

case_kill_and_mount() {
	local i
	prepare
	tree_make "$mnt/tree"
	cp -a "$mnt/tree" before
	mkdir "$snapshots/one"
	sync "$mnt/tree/large"
	for i in 1 2 3; do
		tree_change "$mnt/tree"
		mkdir "$snapshots/later$i"
		kill -9 "$daemon"
		wait "$daemon" 2>/dev/null || true
		daemon=
		umount "$mnt" 2>/dev/null || umount -l "$mnt"
		store_check
		store_mount
		same_tree before "$snapshots/one/tree"
		rm -rf "${mnt:?}/tree"
		cp -a before "$mnt/tree"
	done
	rmdir "$snapshots"/*
	store_remount
	expect_same "after deleting all" "" "$(ls "$snapshots")"
}

case_many() {
	local i count
	prepare
	count=$(rounds 1000 100)
	mkdir "$mnt/dir"
	for ((i = 1; i <= count; i++)); do
		echo "$i" >"$mnt/dir/file"
		mkdir "$snapshots/s$i"
	done
	expect_same "listed" "$count" "$(ls "$snapshots" | wc -l)"
	for i in 1 2 17 $((count / 2)) $((count - 1)) "$count"; do
		expect_same "snapshot $i" "$i" "$(cat "$snapshots/s$i/dir/file")"
	done
	store_remount
	expect_same "listed" "$count" "$(ls "$snapshots" | wc -l)"
	cat "$snapshots"/s*/dir/file | sort -n | cmp - <(seq "$count")
	rmdir "$snapshots"/s*[02468]
	expect_same "listed" "$((count / 2))" "$(ls "$snapshots" | wc -l)"
	cat "$snapshots"/s*/dir/file | sort -n | cmp - <(seq 1 2 "$count")
	rmdir "$snapshots"/*
}

# A file that is replaced by rename is always one of its versions, and a pair that is written in order never runs ahead.
case_while_writing() {
	local i writer first second
	prepare
	mkdir "$mnt/dir"
	echo 0 >"$mnt/dir/first"
	echo 0 >"$mnt/dir/second"
	(
		i=0
		while helpers_wanted; do
			i=$((i + 1))
			for name in first second; do
				seq "$i" "$((i + 3000))" >"$mnt/dir/new"
				mv "$mnt/dir/new" "$mnt/dir/$name"
			done
		done
	) &
	writer=$!
	for ((i = 1; i <= $(rounds 60 20); i++)); do
		sleep 0.02
		mkdir "$snapshots/$i"
	done
	helpers_end "$writer"
	store_remount
	for ((i = 1; i <= $(rounds 60 20); i++)); do
		first=$(head -n 1 "$snapshots/$i/dir/first")
		second=$(head -n 1 "$snapshots/$i/dir/second")
		[ "$first" = "$second" ] || [ "$first" = $((second + 1)) ] || fail "snapshot $i: $first and $second"
		[ "$first" = 0 ] || seq "$first" $((first + 3000)) | cmp - "$snapshots/$i/dir/first"
		[ "$second" = 0 ] || seq "$second" $((second + 3000)) | cmp - "$snapshots/$i/dir/second"
	done
}

case_mounted_alone() {
	prepare
	tree_make "$mnt/tree"
	cp -a "$mnt/tree" before
	mkdir "$snapshots/one"
	tree_change "$mnt/tree"
	store_unmount
	store_mount -o snapshot=one
	same_tree before "$mnt/tree"
	expect_fail 'read-only' touch "$mnt/new"
	expect_fail 'no such' ls "$snapshots"
	store_unmount
	store_mount -o rw,snapshot=one
	expect_fail 'read-only' touch "$mnt/new"
	store_unmount
	expect_fail 'no snapshot two' "$KVFS" mount -o snapshot=two "$store" "$mnt"
	store_mount
	[ -e "$mnt/tree/renamed" ] || fail "the head is not what it was"
}

# Who may make and delete them: the root's owner. What was readable to others then, is.
case_others() {
	chmod 755 "$SCRATCH"
	prepare -o allow_other
	local other=(setpriv --reuid 4321 --regid 4321 --clear-groups --)
	chmod 1777 "$mnt"
	echo text >"$mnt/file"
	echo secret >"$mnt/secret"
	chmod 600 "$mnt/secret"
	mkdir "$snapshots/one"
	expect_same "read by another" text "$("${other[@]}" cat "$snapshots/one/file")"
	expect_fail 'denied' "${other[@]}" cat "$snapshots/one/secret"
	expect_fail 'denied' "${other[@]}" mkdir "$snapshots/two"
	expect_fail 'denied' "${other[@]}" rmdir "$snapshots/one"
	chown 4321 "$mnt"
	# what the kernel knows of the directory's owner is a little old
	await "a snapshot made by the new owner" "${other[@]}" mkdir "$snapshots/two" 2>error
	"${other[@]}" rmdir "$snapshots/one"
	expect_same "left" two "$(ls "$snapshots")"
}

# names_of JSON - the names in what kvfs snapshot list --json says
names_of() {
	python3 -c 'import json, sys; print(" ".join(s["name"] for s in json.load(sys.stdin)))' <<<"$1"
}

# The same commands work on PLACE, a mount or a store.
commands_work() {
	local place=$1 made name
	expect_same "none" "[]" "$("$KVFS" snapshot list --json "$place")"
	"$KVFS" snapshot create "$place" two
	sleep 0.01
	"$KVFS" snapshot create "$place" one
	made=$("$KVFS" snapshot create "$place")
	expect_same "in the order of time" "two one $made" "$(names_of "$("$KVFS" snapshot list --json "$place")")"
	expect_same "lines" 3 "$("$KVFS" snapshot list "$place" | grep -cE '^20[0-9-]{8} [0-9:]{8}\.[0-9]{3}  ')"
	expect_fail 'already' "$KVFS" snapshot create "$place" one
	expect_fail 'no snapshot three' "$KVFS" snapshot delete "$place" three
	expect_fail 'no snapshot three' "$KVFS" snapshot diff "$place" three
	expect_fail 'not a name' "$KVFS" snapshot create "$place" a/b
	expect_fail 'not a name' "$KVFS" snapshot create "$place" ..
	expect_fail 'not empty' "$KVFS" snapshot create "$place" ""
	expect_fail '255' "$KVFS" snapshot create "$place" "$(printf 'n%.0s' {1..256})"
	expect_fail 'usage' "$KVFS" snapshot create
	expect_fail 'no such command' "$KVFS" snapshot destroy "$place" one
	"$KVFS" snapshot create "$place" $'odd\n"name\\'
	expect_same "an odd name" 1 "$("$KVFS" snapshot list "$place" | grep -cF 'odd\n"name\\')"
	[[ $(names_of "$("$KVFS" snapshot list --json "$place")") == *odd* ]] || fail "no JSON"
	for name in $'\xff\xc3' $'\xc3\xa4\xf0\x9f\x98\x80' $'\xed\xa0\x80' $'\xc0\xaf' $'\xf5\x80\x80\x80'; do
		"$KVFS" snapshot create "$place" "$name"
		"$KVFS" snapshot list --json "$place" >list.json
		python3 -c 'import json, os, sys
names = [os.fsencode(s["name"]) for s in json.loads(open("list.json", "rb").read().decode("utf-8"))]
sys.exit(sys.argv[1].encode("utf-8", "surrogateescape") not in names)' "$name" || fail "not in the JSON: $name"
		"$KVFS" snapshot delete "$place" "$name"
	done
	"$KVFS" snapshot delete "$place" two "$made" $'odd\n"name\\'
	expect_same "left" one "$(names_of "$("$KVFS" snapshot list --json "$place")")"
	"$KVFS" snapshot delete "$place" one
}

# diff_prepare - a tree, snapshot one, changes, snapshot two, more changes; expected_ONE_TWO what differs
diff_prepare() {
	mkdir -p "$mnt/a/b/c" "$mnt/same/below" "$mnt/gone/below" "$mnt/moved/below"
	for name in a/b/file a/b/c/deep same/file same/below/file gone/below/file moved/below/file a/goes a/becomes; do
		echo text >"$mnt/$name"
	done
	mkdir "$snapshots/one"
	echo more >>"$mnt/a/b/c/deep"
	rm -r "$mnt/gone" "$mnt/a/goes" "$mnt/a/becomes"
	mkdir "$mnt/a/becomes"
	mv "$mnt/moved" "$mnt/same/here"
	echo new >"$mnt/same/below/new"
	chmod 600 "$mnt/a/b/file"
	mkdir "$snapshots/two"
	mkdir -p "$mnt/young/er"
	echo x >"$mnt/young/er/file"
	cat "$mnt/same/file" >/dev/null
	{
		printf '%s\n' 'M /' 'M a/' 'M a/b/c/deep' 'M a/b/file' '- a/becomes' '+ a/becomes/' '- a/goes'
		printf '%s\n' '- gone/' '- moved/' 'M same/' 'M same/below/' '+ same/below/new' '+ same/here/'
	} >one_two
	{ cat one_two; echo '+ young/'; } >one_now
	printf '%s\n' 'M /' '+ young/' >two_now
}

# diffs_are PLACE - as diff_prepare says
diffs_are() {
	diff one_two <("$KVFS" snapshot diff "$1" one two)
	diff one_now <("$KVFS" snapshot diff "$1" one)
	diff two_now <("$KVFS" snapshot diff "$1" two)
	expect_same "no difference" "" "$("$KVFS" snapshot diff "$1" one one)"
}

case_commands() {
	prepare
	mkdir "$mnt/dir"
	commands_work "$mnt"
	commands_work "$store"
	commands_work "$mnt/dir"
	expect_same "left" "" "$(ls "$snapshots")"
	diff_prepare
	diffs_are "$mnt"
	store_unmount
	store_mount -o nosnapdir
	expect_fail 'does not show snapshots' "$KVFS" snapshot list "$mnt"
}

case_commands_on_a_store() {
	prepare
	store_unmount
	commands_work "$store"
	expect_fail 'no such store' "$KVFS" snapshot list "$SCRATCH/nothing"
	store_mount
	diff_prepare
	store_unmount
	diffs_are "$store"
}

case_rollback() {
	local was
	prepare
	tree_make "$mnt/tree"
	cp -a "$mnt/tree" before
	mkdir "$snapshots/one"
	tree_change "$mnt/tree"
	cp -a "$mnt/tree" between
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

# A rollback that is killed has not begun, or is finished by whoever opens the store next.
case_rollback_killed() {
	local i pause
	prepare
	tree_make "$mnt/tree"
	for i in {1..20}; do cp -a "$mnt/tree/many" "$mnt/tree/many$i"; done
	cp -a "$mnt/tree" before
	mkdir "$snapshots/one"
	chmod -R g+w "$mnt/tree"
	rm -rf "$mnt/tree/many"{1..9}
	tree_change "$mnt/tree"
	cp -a "$mnt/tree" between
	store_unmount
	cp -a "$store" saved
	for i in $(seq "$(rounds 12 4)"); do
		rm -rf "$store"
		cp -a saved "$store"
		"$KVFS" snapshot rollback --keep kept "$store" one >/dev/null &
		pause=$((RANDOM % 60))
		sleep "0.0$((pause / 10))$((pause % 10))"
		kill -9 $! 2>/dev/null || true
		wait $! 2>/dev/null || true
		if "$KVFS" snapshot list "$store" | grep -q kept; then
			store_mount -o snapshot=kept
			same_tree between "$mnt/tree"
			store_unmount
		fi
		store_mount
		if [ -e "$mnt/tree/renamed" ]; then
			same_tree between "$mnt/tree"
		else
			same_tree before "$mnt/tree"
		fi
		same_tree before "$snapshots/one/tree"
		store_unmount
		store_check
	done
}

# All that the kernel knows of the tree, in names, contents, attributes and listings, is what there is afterwards.
case_rollback_mounted() {
	local was i
	prepare
	tree_make "$mnt/tree"
	cp -a "$mnt/tree" before
	mkdir "$snapshots/one"
	tree_change "$mnt/tree"
	cp -a "$mnt/tree" between
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
	for i in $(seq "$(rounds 40 12)"); do
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
	for i in $(seq "$(rounds 25 10)"); do
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

# The tree is the old one or the other, whenever the serving process is killed.
case_rollback_mounted_killed() {
	local i pause
	prepare
	tree_make "$mnt/tree"
	for i in {1..20}; do cp -a "$mnt/tree/many" "$mnt/tree/many$i"; done
	cp -a "$mnt/tree" before
	"$KVFS" snapshot create "$mnt" one
	chmod -R g+w "$mnt/tree"
	rm -rf "$mnt/tree/many"{1..9}
	tree_change "$mnt/tree"
	cp -a "$mnt/tree" between
	"$KVFS" snapshot create "$mnt" two
	for i in $(seq "$(rounds 5 2)"); do
		"$KVFS" snapshot rollback --discard "$mnt" one >/dev/null 2>&1 &
		pause=$((RANDOM % 80))
		sleep "0.0$((pause / 10))$((pause % 10))"
		kill -9 "$daemon"
		wait "$daemon" 2>/dev/null || true
		wait $! 2>/dev/null || true
		daemon=
		umount "$mnt" 2>/dev/null || umount -l "$mnt"
		store_mount
		if [ -e "$mnt/tree/renamed" ]; then
			same_tree between "$mnt/tree"
		else
			same_tree before "$mnt/tree"
		fi
		same_tree before "$snapshots/one/tree"
		store_unmount
		store_check
		store_mount
		"$KVFS" snapshot rollback --discard "$mnt" two
		same_tree between "$mnt/tree"
	done
}

case_clone() {
	prepare
	tree_make "$mnt/tree"
	cp -a "$mnt/tree" before
	mkdir "$snapshots/one"
	tree_change "$mnt/tree"
	store_unmount
	"$KVFS" snapshot clone "$store" one "$SCRATCH/other"
	expect_fail 'something already' "$KVFS" snapshot clone "$store" one "$SCRATCH/other"
	expect_fail 'no snapshot two' "$KVFS" snapshot clone "$store" two "$SCRATCH/another"
	"$KVFS" check "$SCRATCH/other"
	expect_same "no snapshots in it" "[]" "$("$KVFS" snapshot list --json "$SCRATCH/other")"
	"$KVFS" mount "$SCRATCH/other" "$mnt" >/dev/null
	same_tree before "$mnt/tree"
	echo more >"$mnt/tree/more"
	unmount "$mnt"
	"$KVFS" check "$SCRATCH/other"
	store_mount
	[ ! -e "$mnt/tree/more" ] || fail "a change of the clone is in the store"
}

# Of a mount: the snapshot in a store of its own, which is there as a whole or not at all.
case_clone_mounted() {
	local pause
	needs_kvfs
	store_make --compress inline:3 --segment-size 4M
	store_mount
	tree_make "$mnt/tree"
	mknod "$mnt/tree/device" c 1 3
	ln "$mnt/tree/fifo" "$mnt/tree/deep/fifo"
	setfacl -d -m u:4321:rx "$mnt/tree/deep"
	setfattr -n trusted.secret -v value "$mnt/tree/many"
	setfattr -h -n trusted.of -v link "$mnt/tree/deep/symlink"
	mkdir "$mnt/tree/"$'odd\n\xff' "$mnt/tree/empty"
	chmod 4755 "$mnt/tree/many/8"
	cp -a "$mnt/tree" before
	chmod 1770 "$mnt"
	mkdir "$snapshots/one"
	tree_change "$mnt/tree"
	"$KVFS" limit "$mnt" 3G
	expect_fail 'no snapshot two' "$KVFS" snapshot clone "$mnt" two "$SCRATCH/other"
	expect_fail 'no such' "$KVFS" snapshot clone "$mnt" one "$SCRATCH/none/other"
	mkdir there
	expect_fail 'something already' "$KVFS" snapshot clone "$mnt" one "$SCRATCH/there"
	for pause in 1 3 6 9; do
		timeout -s INT "0.0$pause" "$KVFS" snapshot clone "$mnt" one "$SCRATCH/other" 2>/dev/null || true
		[ ! -e "$SCRATCH/other.unfinished" ] || fail "something is left of a clone that was interrupted"
		[ ! -e "$SCRATCH/other" ] || { "$KVFS" check "$SCRATCH/other" && rm -r "$SCRATCH/other"; }
	done
	"$KVFS" snapshot clone "$mnt" one "$SCRATCH/other"
	expect_fail 'something already' "$KVFS" snapshot clone "$mnt" one "$SCRATCH/other"
	store_unmount
	"$KVFS" check "$SCRATCH/other"
	expect_same "made with" "compress inline:3 segment_bytes 4194304" \
		"$("$KVFS" stat "$SCRATCH/other" | awk '/^(compress|segment_bytes) / { print $1, $2 }' | xargs)"
	expect_same "the limit" 3221225472 "$("$KVFS" limit "$SCRATCH/other")"
	"$KVFS" mount "$SCRATCH/other" "$mnt" >/dev/null
	same_tree before "$mnt/tree"
	expect_same "the root" 1770 "$(stat -c %a "$mnt")"
	expect_same "a list to inherit" "$(cd before && getfacl deep)" "$(cd "$mnt/tree" && getfacl deep)"
	expect_same "one of a link" link "$(getfattr -h --only-values -n trusted.of "$mnt/tree/deep/symlink")"
	[ "$(stat -c %b "$mnt/tree/sparse")" -lt 1000 ] || fail "the sparse file takes room"
	unmount "$mnt"
}

scratch_main "$@"
