#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# snapshot.sh - snapshots as directories: what is in them, what may be done to them, and what does not come near them

#
# Environment: CROWD, the program crowd

cases=(as_it_was names hidden refused own_file in_use used_as_files git_history kill_and_mount many as_many_as_can_be instant as_fast_to_read
	while_writing mounted_alone others)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/snapshot_tree.sh"

case_as_it_was() {
	prepare_changed
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
	await "0 views" forgotten
	find "$snapshots/one" >/dev/null
	rmdir "$snapshots/one"
	views_become 0
}

# What the kernel caches of a snapshot goes with a remount, as with need for memory; but not what somebody looks at just
# then, who looks for users of files in all processes, say.
forgotten() {
	"$KVFS" mount -o remount "$store" "$mnt"
	views_are 0
}

# use_files DIR - all that a program does with files that it only reads, and what it sees
use_files() {
	python3 - "$1" <<-'END'
		import fcntl, hashlib, mmap, os, sys
		os.chdir(sys.argv[1])
		def digest(data): return hashlib.sha256(data).hexdigest()[:16]
		file = os.open("large", os.O_RDONLY)
		size = os.fstat(file).st_size
		for flags in mmap.MAP_SHARED, mmap.MAP_PRIVATE:
		    print("map", digest(mmap.mmap(file, size, flags, mmap.PROT_READ)))
		own = mmap.mmap(file, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
		own[:3] = b"own"
		print("read", digest(os.pread(file, size, 0)), os.pread(file, 100, size), size)
		fcntl.flock(file, fcntl.LOCK_EX)
		fcntl.lockf(file, fcntl.LOCK_SH, 10)
		os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
		buffer = mmap.mmap(-1, 8192)
		direct = os.open("large", os.O_RDONLY | os.O_DIRECT)
		print("direct", os.preadv(direct, [buffer], 4096), digest(buffer[:]))
		hole = os.open("sparse", os.O_RDONLY)
		print("holes", os.lseek(hole, 0, os.SEEK_DATA) >> 16, os.lseek(hole, 4 << 20, os.SEEK_HOLE))
		print("sent", os.sendfile(os.open("/dev/null", os.O_WRONLY), file, 0, 100000))
		for name in sorted(os.listdir(".")):
		    st = os.lstat(name)
		    print(name, oct(st.st_mode), st.st_size if not os.path.isdir(name) else "", st.st_nlink, st.st_uid, st.st_mtime_ns,
		          [(a, os.getxattr(name, a, follow_symlinks=False)) for a in os.listxattr(name, follow_symlinks=False)])
		os.fsync(file)
		print("run", os.spawnl(os.P_WAIT, "./program", "program"), os.access("program", os.X_OK), os.access("large", os.X_OK))
		print("link", os.readlink("deep/symlink"), digest(open("deep/symlink", "rb").read()))
	END
}

case_used_as_files() {
	prepare
	tree_make "$mnt/tree"
	cp /bin/true "$mnt/tree/program"
	use_files "$mnt/tree" >before
	mkdir "$snapshots/one"
	tree_change "$mnt/tree"
	echo 'exit 1' >"$mnt/tree/program"
	use_files "$snapshots/one/tree" >through
	diff before through || fail "a program sees something else through a snapshot"
	store_remount
	use_files "$snapshots/one/tree" >through
	diff before through || fail "a program sees something else through a snapshot after a remount"
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
		daemon_kill
		mount_clear
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

# As many as a store can have are all there under a mount, and one more is refused.
case_as_many_as_can_be() {
	local most=65534 descriptor
	needs_kvfs
	store_make
	snapshots=$mnt/.snapshots
	"$CROWD" snapshots "$store" s "$most"
	expect_fail 'too many open files' "$KVFS" snapshot create "$store" more
	store_mount
	expect_same "listed" "$most" "$(ls "$snapshots" | wc -l)"
	expect_fail 'too many open files' mkdir "$snapshots/more"
	# one that is deleted, and that somebody is in, has its number still
	exec {descriptor}<"$snapshots/s7"
	rmdir "$snapshots/s7"
	expect_fail 'too many open files' mkdir "$snapshots/more"
	expect_same "listed" "$((most - 1))" "$(ls "$snapshots" | wc -l)"
	exec {descriptor}<&-
	rmdir "$snapshots/s8"
	await "room for one more" mkdir "$snapshots/more" 2>error
	expect_same "listed" "$((most - 1))" "$(ls "$snapshots" | wc -l)"
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

# crowd_mount COUNT - a mounted store with so many files that whatever looks at each of them takes its time
crowd_mount() {
	needs_kvfs
	store_make
	"$CROWD" tree "$store" many "$1"
	store_mount
}

# Taken in less than a millisecond. The fastest of some is what it takes, what others take more is the machine's affair.
case_instant() {
	local us
	crowd_mount "$(rounds 100000 20000 1000000)"
	us=$(python3 -c 'import os, sys, time
def taken(i):
    began = time.perf_counter_ns()
    os.mkdir(f"{sys.argv[1]}/{i}")
    return time.perf_counter_ns() - began
print(min(taken(i) for i in range(100)) // 1000)' "$snapshots")
	echo "$us us"
	[ "$us" -lt $((1000 * slow)) ] || fail "the fastest of 100 snapshots took $us us"
	expect_same "files in the last" 100 "$(ls "$snapshots/99/many/d7" | wc -l)"
}

# find_us DIR - processor time of the daemon for a look at every file, none of which the kernel knows: $us becomes that where it
# was more
find_us() {
	local began took
	store_remount
	began=$(daemon_us)
	find "$1" -size +1k -newermt 2100-01-01 >found
	[ ! -s found ] || fail "found $(head -n 1 found)"
	cat "$1"/many/d1?/* >/dev/null
	took=$(($(daemon_us) - began))
	[ "$took" -ge "$us" ] || us=$took
}

daemon_us() {
	cat /proc/"$daemon"/task/*/schedstat | awk '{ ns += $1 } END { printf "%d\n", ns / 1000 }'
}

# The least of some turns is what it takes; on a busy machine that may need some more.
case_as_fast_to_read() {
	local turn us head=999999999 through=999999999
	crowd_mount "$(rounds 30000 10000 1000000)"
	mkdir "$snapshots/one"
	for turn in {1..10}; do
		us=$head
		find_us "$mnt"
		head=$us us=$through
		find_us "$snapshots/one"
		through=$us
		echo "$head us, $through through a snapshot"
		[ "$turn" = 1 ] || [ "$through" -gt $((head * 3 / 2 + 5000 * slow)) ] || return 0
	done
	fail "$head us for the head, $through through a snapshot"
}

first_is_replaced() {
	[ "$(head -n 1 "$mnt/dir/second")" != 0 ]
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
	await "a pair that was replaced" first_is_replaced
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
	prepare_changed
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
	# a name with what separates options
	"$KVFS" snapshot create "$store" 'a,"b\c'
	store_mount -o 'nosnapdir,snapshot=a\,\"b\\c'
	same_tree between "$mnt/tree"
	store_unmount
	"$KVFS" snapshot create "$store" 'one,two'
	store_mount -o 'snapshot="one,two",noatime'
	store_unmount
	store_mount
	same_tree between "$mnt/tree"
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

scratch_main "$@"
