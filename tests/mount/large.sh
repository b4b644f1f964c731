#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# large.sh - directories of very many entries, trees of very many files
#
# In the long run ten million entries and a million files, made by the library as that is quicker; otherwise fewer.
#
# Environment: CROWD, the program crowd

limit=1200
cases=(directory tree many_subdirectories many_links)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# crowd_make store|tree COUNT - makes the directory "many", and mounts
crowd_make() {
	store_make
	if [ "$on" = kvfs ]; then
		"$CROWD" "$1" "$store" many "$2" || fail "crowd $1"
		store_mount
	elif [ "$1" = store ]; then
		mkdir "$mnt/many"
		"$CROWD" make "$mnt/many" "$2" || fail "crowd make"
	else
		(cd "$mnt" && mkdir many && seq 0 $((($2 - 1) / 100)) | sed 's,^,many/d,' | xargs mkdir &&
			seq 0 $(($2 - 1)) | awk '{ print "many/d" int($1 / 100) "/f" $1 }' | xargs touch)
	fi
}

# Memory of its own that the daemon has in use, in KiB.
daemon_memory() {
	if [ -n "$daemon" ]; then sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$daemon/status"; else echo 0; fi
}

crowd() {
	local output
	output=$("$CROWD" "$1" "$mnt/many" "$2" 2>&1) || fail "crowd $1: $output"
}

case_directory() {
	local count before round taken
	count=$(rounds 200000 20000 10000000)
	crowd_make store "$count"
	crowd list "$count"
	# it uses memory for other things as well now and then, but not for each listing
	for round in {1..10}; do
		before=$(daemon_memory)
		crowd list "$count"
		taken=$(($(daemon_memory) - before))
		[ "$round" = 1 ] || [ "$taken" -gt 1024 ] || break
	done
	[ "$taken" -le 1024 ] || fail "each listing takes memory of the daemon, the last one $taken KiB"
	crowd look "$count"
	crowd seek "$count"
	crowd list "$count"
	expect_same "entries that ls finds" "$count" "$(ls -f "$mnt/many" | grep -c f)"
	rm -r "$mnt/many"
	expect_same "what rm left" "" "$(ls -A "$mnt" | grep -vx lost+found || true)"
}

case_tree() {
	local count
	count=$(rounds 100000 10000 1000000)
	crowd_make tree "$count"
	expect_same "files that find finds" "$count" "$(find "$mnt/many" -type f | wc -l)"
	expect_same "directories that find finds" "$((count / 100 + 1))" "$(find "$mnt/many" -type d | wc -l)"
	expect_same "empty files by find" "$count" "$(find "$mnt/many" -type f -size 0 -links 1 -user root | wc -l)"
	expect_same "files that du finds" "$((count + count / 100 + 1))" "$(du --inodes -s "$mnt/many" | cut -f1)"
	cp -a --reflink=auto "$mnt/many/d1" "$mnt/copy"
	expect_same "files of a copy" 100 "$(ls "$mnt/copy" | wc -l)"
	rm -rf "$mnt/many" "$mnt/copy"
	expect_same "what rm left" "" "$(ls -A "$mnt" | grep -vx lost+found || true)"
}

# The link count of a directory says how many it holds, also beyond the 65000 at which ext4 stops counting.
case_many_subdirectories() {
	local count=70000
	[ "$on" = kvfs ] || count=2000
	store_make
	store_mount
	mkdir "$mnt/many"
	(cd "$mnt/many" && seq "$count" | xargs mkdir)
	expect_same "link count" "$((count + 2))" "$(stat -c %h "$mnt/many")"
	expect_same "directories that ls finds" "$count" "$(ls -U "$mnt/many" | wc -l)"
	if [ -n "$quick" ]; then
		(cd "$mnt/many" && seq $((count - 999)) "$count" | xargs rmdir)
		expect_same "link count without a thousand" "$((count - 1000 + 2))" "$(stat -c %h "$mnt/many")"
		return 0
	fi
	expect_same "directories that find finds" "$((count + 1))" "$(find "$mnt/many" -type d | wc -l)"
	(cd "$mnt/many" && seq 2 "$count" | xargs rmdir)
	expect_same "link count of what is left" 3 "$(stat -c %h "$mnt/many")"
	rm -r "$mnt/many"
	expect_same "what rm left" "" "$(ls -A "$mnt" | grep -vx lost+found || true)"
}

# More names of one file than ext4 has; there the next one is EMLINK.
case_many_links() {
	local count=66000 error
	store_make
	store_mount
	mkdir "$mnt/many"
	touch "$mnt/many/0"
	if [ "$on" = kvfs ]; then
		(cd "$mnt/many" && perl -e 'for (1 .. $ARGV[0] - 1) { link "0", $_ or die "$_: $!\n" }' "$count")
		expect_same "link count" "$count" "$(stat -c %h "$mnt/many/0")"
		store_remount
		expect_same "link count after a remount" "$count" "$(stat -c %h "$mnt/many/77")"
		(cd "$mnt/many" && seq 1000 | xargs rm)
		expect_same "link count without a thousand" "$((count - 1000))" "$(stat -c %h "$mnt/many/0")"
		[ -z "$quick" ] || return 0
	else
		error=$(cd "$mnt/many" && perl -e 'for (1 .. $ARGV[0] - 1) { link "0", $_ or die "$!\n" }' "$count" 2>&1) ||
			expect_same "error of a link too many" "Too many links" "$error"
	fi
	rm -rf "$mnt/many"
}

scratch_main "$@"
