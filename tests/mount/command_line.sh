#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# command_line.sh - get, put, del, list, stat and check see the same store as the mount does

cases=(values_there_and_back paths listing deleting same_as_mount odd_names statistics limit prune prune_by_age
	many_files documented at_a_snapshot durable digests unwritten no_room
	made_at_a_link moved interrupted deep_trees named_by_digits without_streams small_files)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

prepare() {
	needs_kvfs
	store_make
}

case_values_there_and_back() {
	local size
	prepare
	for size in 0 1 100 4096 65536 1000000 20000000; do
		head -c "$size" /dev/urandom >value
		"$KVFS" put "$store" key <value
		"$KVFS" get "$store" key | cmp - value || fail "a value of $size bytes comes back as another"
	done
	echo short | "$KVFS" put "$store" key
	expect_same "a short value over a long one" short "$("$KVFS" get "$store" key)"
	printf 'a\0b\n\n' >value
	"$KVFS" put "$store" key <value
	"$KVFS" get "$store" key | cmp - value
}

case_paths() {
	prepare
	echo deep | "$KVFS" put "$store" a/b/c/d
	expect_same "get" deep "$("$KVFS" get "$store" a/b/c/d)"
	expect_same "slashes do not matter" deep "$("$KVFS" get "$store" //a/b//c/d)"
	expect_fail 'no such' "$KVFS" get "$store" a/b/none
	expect_fail 'directory' "$KVFS" get "$store" a/b
	expect_fail 'not a directory' "$KVFS" get "$store" a/b/c/d/e
	expect_fail 'not a directory' "$KVFS" put "$store" a/b/c/d/e </dev/null
	expect_fail 'directory' "$KVFS" put "$store" a/b </dev/null
	expect_fail 'directory' "$KVFS" put "$store" new/er/ </dev/null
	expect_fail 'no such' "$KVFS" list "$store" new
	expect_fail 'root directory' "$KVFS" put "$store" / </dev/null
	expect_fail 'root directory' "$KVFS" get "$store" ''
	expect_fail 'root directory' "$KVFS" del -r "$store" /
	expect_fail 'name too long' "$KVFS" put "$store" "$(printf 'x%.0s' {1..256})" </dev/null
	echo y | "$KVFS" put "$store" "$(printf 'y%.0s' {1..255})"
	expect_same "a name of 255 bytes" y "$("$KVFS" get "$store" "$(printf 'y%.0s' {1..255})")"
}

case_listing() {
	local i
	prepare
	expect_same "an empty store" "" "$("$KVFS" list "$store")"
	for i in {1..300}; do echo "$i"; done >value
	for i in 1 2 3; do "$KVFS" put "$store" "users/user$i" <value; done
	"$KVFS" put "$store" top <value
	expect_same "list" "top users" "$("$KVFS" list "$store" | tr -d / | sort | xargs)"
	expect_same "list users" "user1 user2 user3" "$("$KVFS" list "$store" users | sed 's,.*/,,' | sort | xargs)"
	expect_fail 'no such' "$KVFS" list "$store" none
}

case_deleting() {
	prepare
	echo x | "$KVFS" put "$store" a/b
	echo x | "$KVFS" put "$store" c
	expect_fail 'not empty' "$KVFS" del "$store" a
	expect_fail 'no such' "$KVFS" del "$store" none
	"$KVFS" del "$store" a/b c
	expect_fail 'no such' "$KVFS" get "$store" c
	"$KVFS" del "$store" a
	expect_same "left" "" "$("$KVFS" list "$store")"
}

case_same_as_mount() {
	prepare
	echo from outside | "$KVFS" put "$store" dir/outside
	store_mount
	expect_same "put, seen by the mount" "from outside" "$(cat "$mnt/dir/outside")"
	echo from inside >"$mnt/dir/inside"
	ln -s inside "$mnt/dir/link"
	truncate -s 10M "$mnt/dir/sparse"
	store_unmount
	expect_same "written on the mount, got" "from inside" "$("$KVFS" get "$store" dir/inside)"
	expect_same "through a symlink" "from inside" "$("$KVFS" get "$store" dir/link)"
	head -c 10485760 /dev/zero | cmp - <("$KVFS" get "$store" dir/sparse)
	expect_same "names" "inside link outside sparse" \
		"$("$KVFS" list "$store" dir | sed 's,.*/,,' | sort | xargs)"
	"$KVFS" del "$store" dir/outside
	store_mount
	[ ! -e "$mnt/dir/outside" ] || fail "del did not reach the mount"
}

case_odd_names() {
	local name
	prepare
	for name in 'two words' '*' $'\xff' '-x' "quote'\"" '%n'; do
		echo "$name" | "$KVFS" put "$store" -- "$name" || fail "put of \"$name\" ended with $?"
		expect_same "get" "$name" "$("$KVFS" get "$store" -- "$name")"
	done
	echo x | "$KVFS" put "$store" $'dir/two\nlines'
	expect_same "listed with NULs" $'%n|*|-x|dir/|dir/two\nlines|quote\'"|two words|\xff|' \
		"$("$KVFS" list -r0 "$store" | sort -z | tr '\0' '|')"
	"$KVFS" list --null "$store" dir | xargs -0 -I{} "$KVFS" del "$store" dir/{}
	expect_same "nothing left" "" "$("$KVFS" list "$store" dir)"
	store_mount
	for name in 'two words' '*' $'\xff' '-x' "quote'\"" '%n'; do
		expect_same "on the mount" "$name" "$(cat "$mnt/$name")"
	done
}

# A store's own limit: set when it is made, shown, changed under a mount, kept.
case_limit() {
	needs_kvfs
	store_make --size-limit 16M
	expect_same "limit of a new store" $((16 << 20)) "$("$KVFS" limit "$store")"
	head -c 32M /dev/urandom >value
	expect_fail "may hold $((16 << 20)) bytes" "$KVFS" put "$store" big <value
	expect_fail 'too few' "$KVFS" mkfs --size-limit 10 "$SCRATCH/ten"
	[ ! -e "$SCRATCH/ten" ] || fail "a refused store is there"
	store_mount -o allow_other
	chmod a+x "$SCRATCH"
	! head -c 32M /dev/urandom >"$mnt/big" 2>error || fail "32 MiB went into 16"
	grep -q 'No space left' error || fail "head: $(cat error)"
	expect_same "free blocks in df" 0 "$(df --output=avail "$mnt" | tail -n 1 | tr -d ' ')"
	! touch "$mnt/more" 2>error || fail "a file was made beyond the limit"
	"$KVFS" limit "$mnt" 20M
	touch "$mnt/more"
	expect_same "limit of the mount" $((20 << 20)) "$("$KVFS" limit "$store")"
	! setpriv --reuid 4321 --regid 4321 --clear-groups "$KVFS" limit "$mnt" none 2>error ||
		fail "anybody may change the limit"
	rm "$mnt/big"
	head -c 12M /dev/urandom >"$mnt/less"
	store_remount
	expect_same "limit after a remount" $((20 << 20)) "$("$KVFS" limit "$mnt")"
	"$KVFS" limit "$mnt" none
	expect_same "no limit" none "$("$KVFS" limit "$mnt")"
	head -c 32M /dev/urandom >"$mnt/big"
	! "$KVFS" limit "$mnt" 12X 2>error || fail "12X is no size"
}

# Where there is no room for a store nothing is left of it, and what was there stays.
case_no_room() {
	needs_kvfs
	mkdir -p "$mnt"
	mount -t tmpfs -o size=1m none "$mnt" || skip "cannot mount a tmpfs here"
	mkdir "$mnt/empty" "$mnt/full"
	touch "$mnt/full/file"
	expect_fail 'No space left' "$KVFS" mkfs "$mnt/store"
	expect_fail 'No space left' "$KVFS" mkfs "$mnt/empty"
	expect_fail 'not empty' "$KVFS" mkfs "$mnt/full"
	expect_same "what is left" 'empty full full/file' "$(cd "$mnt" && find . -mindepth 1 -printf '%P\n' | sort | xargs)"
	unmount "$mnt" umount
}

# No store is made where a link leads, and nothing is said of what was not made.
case_made_at_a_link() {
	local place
	needs_kvfs
	mkdir empty
	ln -s empty link
	ln -s missing dangling
	for place in link link/ dangling; do
		! "$KVFS" mkfs "$place" 2>error || fail "a store was made at $place"
		grep -q 'not a directory' error || fail "mkfs $place says $(cat error)"
		expect_same "lines about $place" 1 "$(wc -l <error)"
	done
	expect_same "what is there" 'dangling empty link' "$(find . -mindepth 1 ! -name error -printf '%P\n' | sort | xargs)"
	"$KVFS" mkfs empty///
	expect_fail 'not empty' "$KVFS" mkfs empty/
	"$KVFS" check empty
}

# Where a store was moved away under its mount, commands mean the one that is there now.
case_moved() {
	prepare
	store_mount
	echo text >"$mnt/file"
	mv "$store" moved
	"$KVFS" mkfs "$store"
	echo other | "$KVFS" put "$store" other
	"$KVFS" snapshot create "$store" one
	"$KVFS" limit "$store" 5M
	"$KVFS" prune --older-than 0s "$store"
	expect_same "snapshots of the new one" 1 "$("$KVFS" snapshot list "$store" | wc -l)"
	expect_same "its files" "" "$("$KVFS" list "$store")"
	expect_fail 'nothing of kvfs' "$KVFS" sync "$store"
	expect_same "directory of its mount" "" "$("$KVFS" stat "$store" | awk '$1 == "directory"')"
	expect_same "snapshots of the one that was moved" "" "$("$KVFS" snapshot list "$mnt")"
	expect_same "its limit" none "$("$KVFS" limit "$mnt")"
	expect_same "its file" text "$(cat "$mnt/file")"
	store_unmount
	"$KVFS" check moved
	"$KVFS" check "$store"
}

# A mkfs that is told to end leaves a whole store or none, wherever in its work it is told.
case_interrupted() {
	local i process status
	needs_kvfs
	for i in {1..10}; do
		"$KVFS" mkfs "$SCRATCH/new" 2>error &
		process=$!
		until [ -e "$SCRATCH/new/super" ] || ! kill -0 "$process" 2>/dev/null; do :; done
		kill -TERM "$process" 2>/dev/null || true
		status=0
		wait "$process" || status=$?
		if [ "$status" = 0 ]; then
			"$KVFS" check "$SCRATCH/new"
			rm -r "$SCRATCH/new"
		else
			[ ! -e "$SCRATCH/new" ] || fail "round $i, ended with $status, has left $(ls "$SCRATCH/new")"
			grep -q 'nothing was made' error || fail "round $i, ended with $status: $(cat error)"
		fi
	done
}

case_statistics() {
	local output
	prepare
	store_mount
	for i in {1..50}; do seq "$i" >"$mnt/file$i"; done
	store_unmount
	output=$("$KVFS" stat "$store")
	[ "$(wc -l <<<"$output")" -gt 5 ] || fail "stat says little: $output"
	"$KVFS" stat --json "$store" >stat.json || fail "stat --json: status $?"
	python3 - <<-'END' || fail "stat --json is not what it should be: $(cat stat.json)"
	import json
	stat = json.load(open("stat.json"))
	assert 0 < stat["ratio"]["fill"] <= 1
	assert stat["ratio"]["space_amplification"] >= 1
	assert stat["latency"]["get_samples"] >= 0
	END
	output=$("$KVFS" check "$store" 2>&1) || fail "check of a good store ended with $?: $output"
}

# Overwritten contents give their space back, of a store and under a mount; what is there stays.
case_prune() {
	needs_kvfs
	store_make --segment-size 2M --compress none
	store_mount -o allow_other
	chmod a+x "$SCRATCH"
	head -c 30M /dev/urandom >"$mnt/keep"
	head -c 24000000 /dev/urandom | split -d -a 3 -b 60000 - "$mnt/file" # file000 to file399
	sync -f "$mnt"
	cp "$mnt/file001" same
	rm "$mnt"/file??[02468]
	! setpriv --reuid 4321 --regid 4321 --clear-groups "$KVFS" prune "$mnt" 2>error >output ||
		fail "anybody may prune"
	"$KVFS" prune --garbage 20 "$mnt" >output || fail "prune of a mount: $(cat output)"
	grep -q ' MiB freed' output || fail "prune says: $(cat output)"
	! grep -q ' 0.0 MiB freed' output || fail "nothing was freed: $(cat output)"
	cmp same "$mnt/file001"
	(cd "$mnt" && seq -f file%03g 3 4 399 | xargs rm)
	store_unmount
	"$KVFS" prune "$store" >output || fail "prune of a store: $(cat output)"
	! grep -q ' 0.0 MiB freed' output || fail "nothing was freed: $(cat output)"
	store_check
	! "$KVFS" prune --garbage 0 "$store" 2>error || fail "0 per cent is no share"
	! "$KVFS" prune "$SCRATCH" 2>error || fail "$SCRATCH is no store"
}

# A store with more files than a process may usually have open.
case_many_files() {
	needs_kvfs
	store_make --segment-size 2M --compress none
	store_mount
	head -c 100M /dev/urandom >"$mnt/large"
	cp "$mnt/large" large
	store_unmount
	ulimit -Sn 48
	"$KVFS" get "$store" large | cmp - large
	echo value | "$KVFS" put "$store" small
	"$KVFS" check "$store" >/dev/null
	"$KVFS" prune "$store" >/dev/null
	expect_same "the value" value "$("$KVFS" get "$store" small)"
}

# Old files of a tree: two weeks ago, an hour ago, and now.
aged_tree() {
	mkdir -p "$1/a/b" "$1/c"
	for i in $(seq 150); do
		echo "$i" >"$1/a/b/old$i"
		echo "$i" >"$1/a/b/new$i"
	done
	echo top >"$1/old"
	echo hour >"$1/c/hour"
	ln -s ../old "$1/c/link"
	touch -d '2 weeks ago' "$1"/a/b/old* "$1/old" "$1/a"
	touch -h -d '2 weeks ago' "$1/c/link"
	touch -d '1 hour ago' "$1/c/hour"
}

# What is left of it after all that is older than a day went.
aged_tree_left() {
	expect_same "$1" "$(seq 150 | sed s/^/new/ | sort)" "$(find "$2/a" -type f -printf '%f\n' | sort)"
	[ ! -e "$2/old" ] && [ -L "$2/c/link" ] && [ -f "$2/c/hour" ] || fail "$1: $(ls -R "$2")"
}

case_prune_by_age() {
	needs_kvfs
	local output
	store_make
	store_mount
	aged_tree "$mnt/tree"
	aged_tree "$mnt/other"
	echo inside >"$mnt/tree/mounted"
	mkdir "$mnt/tree/below"
	mount -t tmpfs none "$mnt/tree/below"
	echo old >"$mnt/tree/below/old"
	touch -d '2 weeks ago' "$mnt/tree/below/old"
	# through the mount, one tree of two
	output=$("$KVFS" prune --older-than 1d --dry-run "$mnt" tree)
	expect_same "files that would go" "$(cd "$mnt" && find tree -xdev -type f -name 'old*' | sort)" "$(grep '^tree/' <<<"$output" | sort)"
	grep -q '151 old files .*would be removed' <<<"$output" || fail "$output"
	[ -e "$mnt/tree/old" ] || fail "a dry run removes"
	output=$("$KVFS" prune --older-than 1d "$mnt" tree)
	grep -q '151 old files .*removed' <<<"$output" || fail "$output"
	aged_tree_left "one tree" "$mnt/tree"
	[ -e "$mnt/tree/below/old" ] || fail "another mount was entered"
	unmount "$mnt/tree/below" umount
	[ -e "$mnt/other/old" ] || fail "the other tree was not meant"
	expect_fail 'no such' "$KVFS" prune --older-than 1d "$mnt" nowhere
	# the store's path leads to the mount
	"$KVFS" prune --older-than 5y "$store" >output
	grep -q ' 0 old files' output || fail "$(cat output)"
	store_unmount
	# without a mount
	"$KVFS" prune --older-than 30m --dry-run "$store" tree/c/hour other >output
	grep -q '153 old files' output || fail "$(tail -1 output)"
	"$KVFS" prune --older-than 1d "$store" /other/ >output
	grep -q '151 old files .*removed' output || fail "$(cat output)"
	expect_fail 'no such' "$KVFS" prune --older-than 1d "$store" nowhere
	store_check
	store_mount
	aged_tree_left "the other tree" "$mnt/other"
	store_unmount
	for age in 1 d 1x -1d 1dd 99999999999999y; do
		expect_fail 'older-than' "$KVFS" prune --older-than "$age" "$store"
	done
	expect_fail 'older-than' "$KVFS" prune --dry-run "$store"
	expect_fail 'older-than' "$KVFS" prune "$store" nowhere
}

# plain FILE - a manual page as text, without what its markup does to words
plain() {
	sed -e '/^\.\\"/d' -e 's/\\f[RBIP]//g' -e 's/\\-/-/g' -e 's/^\.[A-Z]* //' -e 's/"//g' -e 's/ *= */=/g' "$1"
}

# options_of HELP... - the long options that a help text names
options_of() {
	{ grep -oE -- '--[a-z][a-z-]+' <<<"$*" || true; } | sort -u
}

# What the program takes and shows is in the manual and in the completion, and the other way round.
case_documented() {
	local command option name help manual mount_manual completion shown synopsis
	prepare
	manual=$(plain "$REPOSITORY/mount/man/kvfs.8")
	mount_manual=$(plain "$REPOSITORY/mount/man/mount.kvfs.8")
	completion=$(cat "$REPOSITORY/mount/completion/kvfs")
	synopsis=$(sed -n '/^SYNOPSIS/,/DESCRIPTION$/{/^kvfs$/,/^\.YS/p}' <<<"$manual" | tr -d ' \n' | sed 's/\.YS/\n/g')
	mapfile -t commands < <("$KVFS" help | sed -n 's/^  \([a-z]*\) .*/\1/p')
	[ "${#commands[@]}" -ge 14 ] || fail "no commands: ${commands[*]}"
	mapfile -t verbs < <("$KVFS" snapshot --help | sed -n 's/^  \([a-z]*\) .*/snapshot \1/p')
	[ "${#verbs[@]}" = 6 ] || fail "no commands of snapshot: ${verbs[*]}"
	shown=
	for command in "${commands[@]}" "${verbs[@]}"; do
		grep -qE "^(SY kvfs|$command)\b" <<<"$manual" || fail "$command is not in the manual"
		grep -qw "${command##* }" <<<"$completion" || fail "$command is not in the completion"
		[[ $command != help && $command != version ]] || continue
		# shellcheck disable=SC2086
		help=$("$KVFS" $command --help)
		grep -q '^usage: kvfs ' <<<"$help" || fail "$command --help: $help"
		[ "$command" = snapshot ] || grep -qxF -- "$(sed -n 's/^usage: //p' <<<"$help" | tr -d ' ')" <<<"$synopsis" ||
			fail "$command has another synopsis in the manual than in its help"
		for option in $(options_of "$help"); do
			shown+=" $option"
			grep -qF -- "$option" <<<"$manual" || fail "$command $option is not in the manual"
			grep -qF -- "$option" <<<"$completion" || fail "$command $option is not in the completion"
		done
	done
	for option in $(options_of "$manual"); do
		[[ "$shown --help --only-values " == *" $option "* ]] || fail "$option is in the manual, and in no help"
	done
	# options behind -o
	help=$("$KVFS" mount --help)
	for option in $(sed -n "/^_kvfs_mount_options=/,/'\$/s/^_kvfs_mount_options=//p" <<<"$completion" | tr -d "'"); do
		grep -qE "(^|[ ,])$option([ ,A-Z]|\$)" <<<"$mount_manual" || fail "-o $option is not in the manual"
	done
	for option in $(sed -n '/^  ro, rw/,/^  and those/s/^  \([a-z_=A-Z, ]*[a-zA-Z]\)   *.*/\1/p' <<<"$help" | tr -d , | sed 's/[A-Z]\+//g'); do
		grep -qE "[' 	]$option([ '=]|\$)" <<<"$completion" || fail "-o $option is not in the completion"
		grep -qE "(^|[ ,])$option" <<<"$mount_manual" || fail "-o $option is not in the manual"
	done
	# rows of the statistics, with something in each that there can be
	store_mount
	echo text >"$mnt/file"
	"$KVFS" sync "$mnt" "$store"
	manual=$(sed -n '/STATISTICS$/,/EXIT STATUS$/p' <<<"$manual" | tr ',' '\n' | sed 's/^ *//; s/ *$//')
	"$KVFS" stat "$mnt" >rows
	[ "$(wc -l <rows)" -gt 60 ] || fail "no statistics"
	while read -r name _; do
		[[ $name != latency.* ]] || name=${name%%_*}_*
		grep -qxF -- "$name" <<<"$manual" || fail "$name of kvfs stat is not in the manual"
	done <rows
	for name in $(grep -xE '[a-z]+(_[a-z]+)+|[a-z]+\.[a-z_]+' <<<"$manual" | grep -vE '^(ratio|p[0-9]+)'); do
		grep -qE "^$name " rows || fail "$name is in the manual, and kvfs stat does not show it"
	done
}

# One number for all that there is: of copies the same, of a snapshot for ever, and another after any change.
case_digests() {
	local first second
	prepare
	echo one | "$KVFS" put "$store" a/one
	head -c 5000000 /dev/urandom | "$KVFS" put "$store" large
	first=$("$KVFS" digest "$store" | cut -d' ' -f1)
	[[ $first =~ ^[0-9a-f]{64}$ ]] || fail "a digest: $first"
	expect_same "again" "$first  $store" "$("$KVFS" digest "$store")"
	cp -r "$store" copy
	"$KVFS" digest --check "$first" copy
	"$KVFS" snapshot create "$store" kept
	first=$("$KVFS" digest -s kept "$store" | cut -d' ' -f1)
	echo two | "$KVFS" put "$store" a/one
	"$KVFS" prune "$store"
	"$KVFS" digest --snapshot kept --check "${first^^}" "$store"
	second=0
	"$KVFS" digest --check "$first" "$store" 2>text || second=$?
	expect_same "a store that was changed" 1 "$second"
	grep -q 'something else' text || fail "it says: $(cat text)"
	# keyed
	printf 'a secret' >secret
	second=$("$KVFS" digest -k secret -s kept "$store" | cut -d' ' -f1)
	[ "$second" != "$first" ] || fail "the secret makes no difference"
	"$KVFS" digest -k secret -s kept -c "$second" "$store"
	printf 'another' >secret
	expect_fail 'something else' "$KVFS" digest -k secret -s kept -c "$second" "$store"
	: >secret
	expect_fail '1 to 64 bytes' "$KVFS" digest -k secret "$store"
	expect_fail 'no such file' "$KVFS" digest -k none "$store"
	expect_fail 'no snapshot' "$KVFS" digest -s none "$store"
	expect_fail '64 hexadecimal' "$KVFS" digest -c "${first}0" "$store"
	store_mount
	expect_fail 'in use' "$KVFS" digest "$store"
}

# What could not be said is trouble, and no finding: not a digest that differs, nor a store that was mended.
case_unwritten() {
	local digest to
	prepare
	echo text | "$KVFS" put "$store" file
	digest=$("$KVFS" digest "$store" | cut -d' ' -f1)
	for to in '>/dev/full' '>&-'; do
		expect_status 2 "$to" digest "$store"
		expect_status 2 "$to" digest --check "$digest" "$store"
		expect_status 8 "$to" check "$store"
		expect_status 1 "$to" list "$store"
	done
	expect_status 1 '>/dev/full' digest --check "${digest//[0-9]/a}" "$store"
}

# expect_status CODE REDIRECTION ARGUMENT... - of kvfs
expect_status() {
	local expected=$1 to=$2 status=0
	shift 2
	bash -c "exec \"\$0\" \"\$@\" $to" "$KVFS" "$@" 2>error || status=$?
	expect_same "status of kvfs $* $to" "$expected" "$status"
	[ -s error ] || fail "kvfs $* $to says nothing"
}

case_at_a_snapshot() {
	prepare
	echo old | "$KVFS" put "$store" dir/file
	"$KVFS" snapshot create "$store" one
	echo new | "$KVFS" put "$store" dir/file
	echo x | "$KVFS" put "$store" other
	expect_same "get" old "$("$KVFS" get --snapshot one "$store" dir/file)"
	expect_same "get of now" new "$("$KVFS" get "$store" dir/file)"
	expect_same "list" dir/ "$("$KVFS" list -s one "$store")"
	expect_same "list -r" "dir/ dir/file" "$("$KVFS" list -r --snapshot=one "$store" | sort | xargs)"
	expect_fail 'no such' "$KVFS" get -s one "$store" other
	expect_fail 'no snapshot two' "$KVFS" get -s two "$store" dir/file
	expect_fail 'no snapshot two' "$KVFS" list -s two "$store"
	expect_fail 'needs a value' "$KVFS" get -s
}

# What kvfs sync has ended with is there after a kill.
case_durable() {
	local option
	prepare
	expect_fail 'nothing of kvfs' "$KVFS" sync "$store"
	expect_fail 'nothing of kvfs' "$KVFS" sync /
	expect_fail 'no such' "$KVFS" sync "$SCRATCH/none"
	expect_fail 'usage' "$KVFS" sync
	store_mount -o commit=3600,scrub=4M
	mkdir "$mnt/dir"
	head -c 100000 /dev/urandom >"$mnt/dir/file"
	cp "$mnt/dir/file" value
	"$KVFS" sync "$mnt/dir"
	echo more >"$mnt/dir/second"
	"$KVFS" sync "$store"
	expect_same "durable" 0 "$("$KVFS" stat "$mnt" | awk '$1 == "last_seq" { last = $2 }
		$1 == "durable_seq" { print last - $2 }')"
	daemon_kill
	mount_clear
	"$KVFS" get "$store" dir/file | cmp - value
	expect_same "the second" more "$("$KVFS" get "$store" dir/second)"
	for option in scrub= scrub=0 scrub=fast scrub=4X; do
		expect_fail 'neither bytes a second' "$KVFS" mount -o "$option" "$store" "$mnt"
	done
	for option in scrub_interval= scrub_interval=0 scrub_interval=-1 scrub_interval=1h; do
		expect_fail 'not a number of seconds' "$KVFS" mount -o "$option" "$store" "$mnt"
	done
	store_mount -o scrub=none
}

# However deep a tree is, no command runs out of its stack, or of memory.
case_deep_trees() {
	local depth
	depth=$(rounds 12000 6000)
	needs_kvfs
	store_make
	"$CROWD" deep "$store" deep "$depth"
	(
		ulimit -s 512
		"$KVFS" list -r "$store" deep/d/d | awk '{ n++; if (length > m) m = length } END { print n, m }' >out
		expect_same "lines, and the longest" "$((3 * depth - 6)) $((2 * depth + 5))" "$(cat out)"
		"$KVFS" prune --older-than 0s --dry-run "$store" | tail -n 1 >out
		grep -q " $((2 * depth)) old files" out || fail "prune found $(cat out)"
		"$KVFS" del -r "$store" deep
	)
	expect_same "left" "" "$("$KVFS" list "$store")"
	store_check
	# Under a mount each level takes descriptors as well.
	"$CROWD" deep "$store" deep 5000
	store_mount
	"$KVFS" snapshot create "$mnt" one
	rm "$mnt/deep/d/f0"
	ulimit -n 1024
	"$KVFS" snapshot clone "$mnt" one "$SCRATCH/clone" >out 2>&1 || fail "a clone: $(cat out)"
	expect_same "files of the clone" 10000 "$("$KVFS" list -r "$SCRATCH/clone" | grep -c 'f[01]$')"
	expect_same "difference" "- deep/d/f0" "$("$KVFS" snapshot diff "$mnt" one | grep f0)"
	expect_fail 'too many open|name too long' "$KVFS" prune --older-than 0s "$mnt"
	kill -0 "$daemon" || fail "the daemon ended"
}

# A store's name is text, whatever it looks like.
case_named_by_digits() {
	needs_kvfs
	"$KVFS" mkfs 007
	"$KVFS" stat --json 007 | python3 -c 'import json, sys
sys.exit(json.load(sys.stdin)["store"] != "007")' || fail "kvfs stat --json 007: $("$KVFS" stat --json 007 | head -n 3)"
}

# With streams closed no file of the store gets their numbers, and what is said does not go into it.
case_without_streams() {
	local streams status
	prepare
	echo text | "$KVFS" put "$store" file
	for streams in '>&- 2>&-' '<&- 2>&-' '<&- >&- 2>&-'; do
		bash -c "! \"\$0\" del \"\$1\" none $streams" "$KVFS" "$store" || fail "del $streams: what is not there was removed"
		bash -c "! \"\$0\" snapshot rollback \"\$1\" none $streams" "$KVFS" "$store" || fail "rollback $streams: to nothing"
		"$KVFS" check "$store" >out 2>&1 || fail "del $streams: $(cat out)"
	done
	status=0
	"$KVFS" put "$store" file <&- 2>error || status=$?
	[ "$status" = 1 ] && grep -qi 'bad file descriptor' error || fail "put without an input ended with $status: $(cat error)"
	expect_same "the file" text "$("$KVFS" get "$store" file)"
}

# with_small_files COMMAND... - fails, and says of which limit
with_small_files() {
	local status=0
	(ulimit -f 1000 && exec timeout "$patience" "$KVFS" "$@") 2>error || status=$?
	[ "$status" != 0 ] && [ "$status" != 124 ] && grep -q '1024000 bytes.*ulimit -f' error || fail "$1 ended with $status: $(cat error)"
	expect_same "lines that $1 says" 1 "$(wc -l <error)"
}

# Where files may not be as large as the store's, nothing is written to it, and it can be read. A limit that can be raised is.
case_small_files() {
	local before
	needs_kvfs
	mkdir "$mnt"
	with_small_files mkfs "$store"
	[ ! -e "$store" ] || fail "mkfs has left $(ls "$store")"
	(ulimit -Sf 1000 && exec "$KVFS" mkfs "$store")
	head -c 40M /dev/urandom >value
	(ulimit -Sf 1000 && exec "$KVFS" put "$store" large <value)
	before=$(cat "$store"/* | md5sum)
	with_small_files put "$store" large <value
	with_small_files mount "$store" "$mnt"
	expect_same "the store" "$before" "$(cat "$store"/* | md5sum)"
	(ulimit -f 1000 && exec "$KVFS" get "$store" large) | cmp - value
	(ulimit -Sf 1000 && exec "$KVFS" mount "$store" "$mnt")
	cp value "$mnt/another"
	unmount "$mnt" umount
	processes_end
	"$KVFS" get "$store" another | cmp - value
}

scratch_main "$@"
