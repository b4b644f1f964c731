#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# snapshot_commands.sh - kvfs snapshot create, list, delete, diff and clone, on a mount and on a store

cases=(commands commands_on_a_store diff_ways diff_beside_others clone clone_mounted clone_cut_off clone_walked)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/snapshot_tree.sh"

# names_of JSON - the names in what kvfs snapshot list --json says
names_of() {
	python3 -c 'import json, sys; print(" ".join(s["name"] for s in json.load(sys.stdin)))' <<<"$1"
}

# The same commands work on PLACE, a mount or a store.
commands_work() {
	local place=$1 made name names
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
	names=($'\xff\xc3' $'\xc3\xa4\xf0\x9f\x98\x80' $'\xed\xa0\x80' $'\xc0\xaf' $'\xf5\x80\x80\x80')
	for name in "${names[@]}"; do
		"$KVFS" snapshot create "$place" "$name"
	done
	"$KVFS" snapshot list --json "$place" >list.json
	python3 -c 'import json, os, sys
names = [os.fsencode(s["name"]) for s in json.loads(open("list.json", "rb").read().decode("utf-8"))]
missing = {name.encode("utf-8", "surrogateescape") for name in sys.argv[1:]} - set(names)
missing and sys.exit(f"not in the JSON: {missing}")' "${names[@]}" || fail "names are missing"
	"$KVFS" snapshot delete "$place" "${names[@]}"
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

# before a command: by somebody without rights
as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)

# Names that take more room than the server keeps of an answer, 3000 of them, each told of once by a difference.
prepare_many() {
	needs_kvfs
	store_make
	store_mount -o allow_other
	mkdir "$mnt/many"
	(cd "$mnt/many" && printf '%0200d\n' {1..3000} | xargs touch)
	mkdir "$snapshots/one"
	(cd "$mnt/many" && printf '%0200d\n' {1..3000} | xargs chmod 600)
}

# dirty_in FILE - whether this process has stored something into its map of that which is not written yet
dirty_in() {
	awk -v name="$1" '/^[0-9a-f]+-/ { is_it = index($0, name) } is_it && /_Dirty:/ { sum += $2 } END { exit !sum }' \
		"/proc/$2/smaps"
}

# What is stored into a map of a file is not written because somebody without rights asks for differences. (It may be in time.)
stays_dirty() {
	local process status=0
	python3 - "$mnt/mapped" <<-'END' &
		import mmap, sys, time
		with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 4096) as pages:
		    pages[0] = 1
		    open("stored", "w")
		    time.sleep(600)
	END
	process=$!
	await "a store into a map" test -e stored
	dirty_in "$mnt/mapped" "$process" || status=1
	"${as_user[@]}" ./kvfs snapshot diff "$mnt" one >/dev/null || status=1
	dirty_in "$mnt/mapped" "$process" || status=1
	kill "$process"
	wait "$process" || true
	rm stored
	return "$status"
}

# The same is said by the server, by a walk of whoever may not ask it, in a mount for reading, and of the store unmounted.
case_diff_ways() {
	local status=0
	prepare_many
	echo text >"$mnt/"$'odd\n\\name'
	python3 - "$mnt/mapped" <<-'END'
		import mmap, sys
		with open(sys.argv[1], "w+b") as file:
		    file.truncate(10000)
	END
	mkdir "$snapshots/two"
	chmod 755 "$SCRATCH"
	cp "$KVFS" kvfs
	chmod 755 kvfs
	# a server that has no memory for it, which a sanitizer would take for a mistake
	if [ "$slow" = 1 ]; then
		prlimit --pid "$daemon" --as=4096:
		expect_fail 'allocate' getfattr -n "system.kvfs.diff.1.0.$(printf '%x' "$(stat -c %i "$snapshots/one")")" "$snapshots/two"
		"$KVFS" snapshot diff "$mnt" one two >walked
		prlimit --pid "$daemon" --as=unlimited:
	fi
	"$KVFS" snapshot diff "$mnt" one two >told
	[ "$slow" != 1 ] || cmp told walked || fail "who walks for want of memory sees something else"
	expect_same "lines" 3003 "$(wc -l <told)"
	"${as_user[@]}" ./kvfs snapshot diff "$mnt" one two >walked
	cmp told walked || fail "who walks sees something else"
	# a list that is cut short by a signal is not taken for a whole one
	mkfifo list
	exec 8<>list
	"$KVFS" snapshot diff "$mnt" one two >list &
	head -c 1 <&8 >/dev/null
	kill "$!"
	await "an end by a signal" stopped_or_ended "$!"
	wait "$!" || status=$?
	expect_same "the end" 143 "$status"
	exec 8<&-
	# what is mounted in the tree is in the way of one who walks
	unshare -m --propagation private bash -euc 'mount -t tmpfs none "$0"; "$1" snapshot diff "$2" one' "$mnt/many" "$KVFS" "$mnt" >beside
	cmp told beside || fail "the server was not asked"
	stays_dirty || stays_dirty || stays_dirty || fail "who is not told has all of a mount written"
	sync -f "$mnt"
	mkdir -m 700 "$mnt/closed"
	mkdir "$snapshots/three"
	echo text >"$mnt/closed/secret"
	"$KVFS" snapshot diff "$mnt" three >told_now
	printf '%s\n' 'M closed/' '+ closed/secret' | diff - told_now
	expect_fail 'permission denied' "${as_user[@]}" ./kvfs snapshot diff "$mnt" three
	store_remount -o ro
	"$KVFS" snapshot diff "$mnt" one two | cmp - told
	"$KVFS" snapshot diff "$mnt" three | cmp - told_now
	store_unmount
	"$KVFS" snapshot diff "$store" one two | cmp - told
	"$KVFS" snapshot diff "$store" three | cmp - told_now
}

views_are() {
	[ "$("$KVFS" stat "$mnt" | awk '$1 == "views" { print $2 }')" = "$1" ]
}

# processors TASK - on which it may run
processors() {
	sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "$1/status"
}

# fetched TOKEN OFFSET FROM - some of an answer has come, to the file part
fetched() {
	getfattr --only-values -n "system.kvfs.diff.$1.$2.$3" "$mnt" >part && [ "$(stat -c %s part)" -gt 1 ]
}

# A reader who has begun and does not come again is in nobody's way, and is forgotten; meanwhile the tree may go back.
case_diff_beside_others() {
	local one two views task
	prepare_many
	chmod 755 "$SCRATCH"
	exec 7<"$snapshots/one" # which is itself one of the views
	one=$(printf '%x' "$(stat -c %i "$snapshots/one")")
	views=$("$KVFS" stat "$mnt" | awk '$1 == "views" { print $2 }')
	expect_fail 'invalid' getfattr -n "system.kvfs.diff.8.0.$one" "$mnt/many"
	expect_fail 'no such' getfattr -n system.kvfs.diff.8.0.fff0000000000001 "$mnt"
	taskset -cp "$(processors "/proc/$daemon" | sed "s/[-,].*//")" "$daemon" >/dev/null # alone, as the service manager may say
	getfattr --only-values -n "system.kvfs.diff.7.0.$one" "$mnt" >part
	views_are $((views + 1)) || fail "nothing is told"
	task=$(grep -l '^fuse-stream$' /proc/"$daemon"/task/*/comm) || fail "no thread tells it"
	expect_same "processors of the thread that tells it" "$(processors "/proc/$daemon")" "$(processors "${task%/comm}")"
	expect_fail 'not permitted' "${as_user[@]}" getfattr -n "system.kvfs.diff.7.0.$one" "$mnt"
	expect_fail 'busy' getfattr -n "system.kvfs.diff.8.0.$one" "$mnt"
	"$KVFS" snapshot diff "$mnt" one 2>said >/dev/null &
	await "a word about waiting" grep -q 'others are answered first' said
	kill "$!"
	! wait "$!" || fail "it did not wait"
	expect_same "what it said" 2 "$(wc -l <said)"
	grep -q interrupted said || fail "it says $(cat said)"
	# who waits for the place gets it, here of a snapshot that is deleted meanwhile
	mkdir "$snapshots/two"
	two=$(printf '%x' "$(stat -c %i "$snapshots/two")")
	(cd "$mnt/many" && printf '%0200d\n' {1..3000} | xargs chmod 640)
	await "a part" fetched 8 0 "$two"
	rmdir "$snapshots/two"
	await "another part" fetched 8 "$(printf '%x' $(($(stat -c %s part) - 1)))" "$two"
	grep -qaF many/ part || fail "it goes on with something else"
	getfattr -n "system.kvfs.diff.8.ffffffffffffffff.$two" "$mnt" >/dev/null
	echo text >"$mnt/many/new"
	"$KVFS" snapshot diff "$mnt" one >told
	expect_same "what has come" 1 "$(grep -c '^+' told)"
	"$KVFS" snapshot rollback --discard "$mnt" one
	expect_same "differences" "" "$("$KVFS" snapshot diff "$mnt" one)"
	await "an end of what nobody reads" views_are "$views"
	exec 7<&-
	expect_fail 'no such attribute' getfattr -n "system.kvfs.diff.7.100.$one" "$mnt"
	# nor does it hold up the end
	getfattr --only-values -n "system.kvfs.diff.9.0.$one" "$mnt" >part
	store_unmount
}

case_clone() {
	local place
	prepare_changed
	store_unmount
	"$KVFS" snapshot clone "$store" one "$SCRATCH/other"
	expect_fail 'something already' "$KVFS" snapshot clone "$store" one "$SCRATCH/other"
	expect_fail 'no snapshot two' "$KVFS" snapshot clone "$store" two "$SCRATCH/another"
	mkdir empty
	ln -s empty link
	for place in link link/; do
		! "$KVFS" snapshot clone "$store" one "$place" 2>error || fail "a clone was made at $place"
		expect_same "lines about $place" 1 "$(wc -l <error)"
		expect_same "what is there" "" "$(ls empty)"
	done
	"$KVFS" check "$SCRATCH/other"
	expect_same "no snapshots in it" "[]" "$("$KVFS" snapshot list --json "$SCRATCH/other")"
	"$KVFS" mount "$SCRATCH/other" "$mnt" >/dev/null
	same_tree before "$mnt/tree"
	echo more >"$mnt/tree/more"
	unmount "$mnt"
	"$KVFS" check "$SCRATCH/other"
	store_mount
	same_tree between "$mnt/tree" # a change of the clone is not one of the store
}

stopped_or_ended() {
	! grep -q '^State:[[:space:]]*[^TZ[:space:]]' "/proc/$1/status" 2>/dev/null
}

# Another makes something at the clone's place while it is being copied, which takes a stop in the middle of it: a clone that was
# done before that is made again.
clone_loses_its_place() {
	local process end=$((SECONDS + patience))
	while :; do
		[ "$SECONDS" -lt "$end" ] || fail "no clone could be stopped in $patience s"
		"${as_user[@]}" ./kvfs snapshot clone "$mnt" one home/other 2>error &
		process=$!
		until [ -e home/other.unfinished/super ] || [ -e home/other ]; do
			kill -0 "$process" 2>/dev/null || break
		done
		if kill -STOP "$process" 2>/dev/null; then
			await "a clone that has stopped" stopped_or_ended "$process"
			! mkdir home/other 2>/dev/null || break
			kill -CONT "$process" 2>/dev/null || true
		fi
		wait "$process" || fail "cloning: $(cat error)"
		rm -r home/other
	done
	kill -CONT "$process" 2>/dev/null || true
	! wait "$process" || fail "a clone was made where there was something"
	grep -q 'other: there is something already' error || fail "it says $(cat error)"
	[ ! -e home/other.unfinished ] || fail "what it has copied is left"
	rmdir home/other
}

# clone_holds TREE - the clone home/other has it
clone_holds() {
	"$KVFS" check home/other
	expect_same "made with" "compress inline:3 segment_bytes 4194304" \
		"$("$KVFS" stat home/other | awk '/^(compress|segment_bytes) / { print $1, $2 }' | xargs)"
	expect_same "the limit" 3221225472 "$("$KVFS" limit home/other)"
	"$KVFS" mount home/other "$mnt" >/dev/null
	same_tree "$1" "$mnt/tree"
	expect_same "the root" 1775 "$(stat -c %a "$mnt")"
	[ "$(stat -c %b "$mnt/tree/sparse")" -lt 1000 ] || fail "the sparse file takes room"
}

# prepare_clone - a mount with a snapshot, one, which has more in it than any file system of others; before is a copy
prepare_clone() {
	needs_kvfs
	store_make --compress inline:3 --segment-size 4M
	store_mount -o allow_other
	tree_make "$mnt/tree"
	mknod "$mnt/tree/device" c 1 3
	ln "$mnt/tree/fifo" "$mnt/tree/deep/fifo"
	setfacl -d -m u:4321:rx "$mnt/tree/deep"
	mkdir "$mnt/tree/"$'odd\n\xff' "$mnt/tree/empty"
	chmod 4755 "$mnt/tree/many/8"
	chmod 1775 "$mnt"
}

# As it was when the snapshot was taken, in front of what came later.
take_one() {
	cp -a "$mnt/tree" before
	mkdir "$snapshots/one" home
	tree_change "$mnt/tree"
	"$KVFS" limit "$mnt" 3G
}

# Of a mount: the snapshot in a store of its own, by the server, as it is of a store that nobody has mounted.
case_clone_mounted() {
	local pause digest
	prepare_clone
	setfattr -n trusted.secret -v value "$mnt/tree/many"
	setfattr -h -n trusted.of -v link "$mnt/tree/deep/symlink"
	take_one
	expect_fail 'no snapshot two' "$KVFS" snapshot clone "$mnt" two home/other
	expect_fail 'no such' "$KVFS" snapshot clone "$mnt" one "$SCRATCH/none/other"
	mkdir there
	touch there/notes
	expect_fail 'something already' "$KVFS" snapshot clone "$mnt" one there
	expect_same "what another has there" notes "$(ls there)"
	for pause in 1 2 3 6 9; do
		timeout -s INT "0.0$pause" "$KVFS" snapshot clone "$mnt" one home/other 2>/dev/null || true
		[ ! -e home/other ] || { "$KVFS" check home/other && rm -r home/other; }
	done
	# more than may be made at once, and a place that is there and empty
	mkdir home/3
	for pause in {1..6}; do
		"$KVFS" snapshot clone "$mnt" one "home/$pause" &
	done
	for pause in {1..6}; do
		wait -n || fail "of several clones at once, one fails"
	done
	expect_same "clones of the same" 1 "$(for pause in {1..6}; do "$KVFS" digest "home/$pause"; done | cut -d' ' -f1 | sort -u | wc -l)"
	"$KVFS" snapshot clone "$mnt" one home/other/
	expect_fail 'something already' "$KVFS" snapshot clone "$mnt" one home/other
	store_unmount
	"$KVFS" snapshot clone "$store" one home/unmounted
	digest=$("$KVFS" digest home/unmounted | cut -d' ' -f1)
	"$KVFS" digest --check "$digest" home/other
	"$KVFS" digest --check "$digest" home/1
	clone_holds before
	expect_same "a list to inherit" "$(cd before && getfacl deep)" "$(cd "$mnt/tree" && getfacl deep)"
	expect_same "one of a link" link "$(getfattr -h --only-values -n trusted.of "$mnt/tree/deep/symlink")"
	unmount "$mnt"
}

# clone_stop - makes a clone, home/other of snapshot one, and stops it, by process $clone, before all of it has come
clone_stop() {
	local end=$((SECONDS + patience))
	while :; do
		[ "$SECONDS" -lt "$end" ] || fail "no clone could be stopped in $patience s"
		"$KVFS" snapshot clone "$mnt" one home/other 2>error &
		clone=$!
		until [ -e home/other/super ] || ! kill -0 "$clone" 2>/dev/null; do :; done
		kill -STOP "$clone" 2>/dev/null || true
		await "a clone that has stopped" stopped_or_ended "$clone"
		! grep -qs '^fuse-stream$' /proc/"$daemon"/task/*/comm || break
		kill -CONT "$clone" 2>/dev/null || true
		wait "$clone" || fail "cloning: $(cat error)"
		rm -r home/other
	done
}

# A snapshot that is deleted is there until it is cloned; where the server dies, nothing is left that looks like a clone.
case_clone_cut_off() {
	local clone digest
	prepare
	head -c 16000000 /dev/urandom >"$mnt/large"
	mkdir "$snapshots/one" home
	"$KVFS" snapshot clone "$mnt" one home/whole
	digest=$("$KVFS" digest home/whole | cut -d' ' -f1)
	clone_stop
	rmdir "$snapshots/one"
	kill -CONT "$clone"
	wait "$clone" || fail "cloning what is deleted: $(cat error)"
	"$KVFS" digest --check "$digest" home/other
	rm -r home/other
	mkdir "$snapshots/one"
	clone_stop
	daemon_kill
	kill -CONT "$clone"
	! wait "$clone" || fail "half a clone is called one"
	expect_same "lines about it" 1 "$(wc -l <error)"
	[ ! -e home/other ] || fail "half a clone is left"
	mount_clear
}

# The same by whoever may only read, and reads all of it; which is there as a whole or not at all.
case_clone_walked() {
	local pause
	prepare_clone
	chmod -R a+rX "$mnt/tree"
	take_one
	chown 65534:65534 home
	chmod 755 "$SCRATCH"
	cp "$KVFS" kvfs
	chmod 755 kvfs
	for pause in 1 3 6 9; do
		"${as_user[@]}" timeout -s INT "0.0$pause" \
			./kvfs snapshot clone "$mnt" one home/other 2>/dev/null || true
		[ ! -e home/other.unfinished ] || fail "something is left of a clone that was interrupted"
		[ ! -e home/other ] || { "$KVFS" check home/other && rm -r home/other; }
	done
	clone_loses_its_place
	"${as_user[@]}" mkdir home/other.unfinished
	touch home/other.unfinished/notes
	expect_fail 'other.unfinished: there is something already' "${as_user[@]}" ./kvfs snapshot clone "$mnt" one home/other
	expect_same "what another has there" notes "$(ls home/other.unfinished)"
	rm -r home/other.unfinished
	"${as_user[@]}" ./kvfs snapshot clone "$mnt" one home/other
	expect_fail 'something already' "${as_user[@]}" ./kvfs snapshot clone "$mnt" one home/other
	store_unmount
	chown -R 0:0 home/other
	clone_holds before
	unmount "$mnt"
}

scratch_main "$@"
