#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# bad_mount.sh - mount points and arguments that cannot work: said on the terminal, with an exit code, before
# anything goes into the background; and a mount that is in use stays

cases=(no_mount_point file_as_mount_point mounted_already root not_empty unknown_options wrong_usage bad_values
	umount_of_nothing umount_while_busy dead_mount hung_mount called_alike covered
	kept_elsewhere odd_paths closed_streams nobody_reads no_descriptors
	too_few_descriptors)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

prepare() {
	needs_kvfs
	store_make
}

case_no_mount_point() {
	prepare
	expect_fail 'no such|not exist' "$KVFS" mount "$store" "$SCRATCH/none"
	expect_fail 'no such|not exist' "$KVFS" mount "$store" "$SCRATCH/none/below" -f
	[ ! -e none ] || fail "mount made the directory"
	ln -s "$SCRATCH/none" dangling
	expect_fail '.' "$KVFS" mount "$store" "$SCRATCH/dangling"
}

case_file_as_mount_point() {
	prepare
	echo text >file
	expect_fail 'not a directory' "$KVFS" mount "$store" "$SCRATCH/file"
	expect_same "the file" text "$(cat file)"
}

case_mounted_already() {
	prepare
	"$KVFS" mkfs other
	store_mount
	echo text >"$mnt/file"
	expect_fail 'mounted' "$KVFS" mount "$SCRATCH/other" "$mnt"
	expect_same "the first mount's file" text "$(cat "$mnt/file")"
	# a subdirectory of it is free
	mkdir "$mnt/below"
	"$KVFS" mount "$SCRATCH/other" "$mnt/below"
	echo inner >"$mnt/below/file"
	unmount "$mnt/below"
	expect_same "get" inner "$("$KVFS" get other file)"
}

# In a namespace of its own: a mount there would hide the whole system.
case_root() {
	local point
	prepare
	ln -s / link
	for point in / /./ /.. "$SCRATCH/link"; do
		expect_fail 'root of all' unshare --mount --propagation private -- "$KVFS" mount "$store" "$point" -f
	done
}

# Hidden for the time of the mount, and said so; back afterwards.
case_not_empty() {
	local output
	prepare
	echo text >"$mnt/hidden"
	output=$("$KVFS" mount "$store" "$mnt" 2>&1) || {
		grep -qi 'not empty' <<<"$output" || fail "refused without a reason: $output"
		return 0
	}
	grep -qi 'not empty' <<<"$output" || fail "says nothing of what it hides"
	[ ! -e "$mnt/hidden" ] || fail "what is below shows through"
	unmount "$mnt"
	expect_same "what was below" text "$(cat "$mnt/hidden")"
}

case_unknown_options() {
	local option
	prepare
	for option in nonsense ro,nonsense commit commit= commit=x commit=-1 commit=1e99 atime=maybe; do
		expect_fail "$(cut -d, -f2 <<<"$option" | cut -d= -f1)" "$KVFS" mount "$store" "$mnt" -o "$option"
		! is_mounted "$mnt" || fail "mounted with -o $option"
	done
}

case_wrong_usage() {
	local command
	prepare
	for command in "" "nonsense" "mount" "mount $store" "mount $store $mnt extra" "mkfs" "umount" "get $store" \
		"put $store" "check" "stat" "mount --nonsense $store $mnt" "check $store extra"; do
		# shellcheck disable=SC2086
		expect_fail 'usage|help' "$KVFS" $command
	done
	for command in mkfs mount umount get put del list stat prune check; do
		"$KVFS" "$command" --help | grep -q "kvfs $command" || fail "$command --help says nothing"
	done
	"$KVFS" --help | grep -q mkfs
	"$KVFS" --version | grep -q '[0-9]'
}

case_bad_values() {
	local value
	needs_kvfs
	for value in "--hash md5" "--compress lz4" "--compress inline:0" "--compress inline:99" "--compress inline:x" "--compress background:20" "--compress backgrounds" \
		"--segment-size 3M" "--segment-size 4K" "--segment-size 4G" "--segment-size x"; do
		# shellcheck disable=SC2086
		expect_fail "$(cut -d' ' -f1 <<<"$value")" "$KVFS" mkfs $value "$store"
		[ ! -e "$store" ] || fail "made a store with $value"
	done
	for value in "--hash blake2b" "--compress inline" "--compress inline:9" "--compress background" "--compress background:9" "--segment-size 2M" "--hash xxh3 --compress none"; do
		# shellcheck disable=SC2086
		store_make $value
		store_mount
		seq 10000 >"$mnt/file"
		store_remount
		seq 10000 | cmp - "$mnt/file"
		store_unmount
		store_check
		rm -rf "$store"
	done
}

case_umount_of_nothing() {
	prepare
	expect_fail 'not|nothing' "$KVFS" umount "$mnt"
	expect_fail '.' "$KVFS" umount "$SCRATCH/none"
	mount -t tmpfs none "$mnt" || skip "cannot mount a tmpfs here"
	expect_fail 'not' "$KVFS" umount "$mnt"
	is_mounted "$mnt" || fail "kvfs umount took away a tmpfs"
	unmount "$mnt" umount
}

case_umount_while_busy() {
	local descriptor
	prepare
	store_mount
	echo text >"$mnt/file"
	exec {descriptor}<>"$mnt/file"
	expect_fail 'in use|busy' "$KVFS" umount "$mnt"
	expect_fail 'busy|in use' umount "$mnt"
	is_mounted "$mnt" || fail "unmounted while a file was open"
	echo more >>"$mnt/file"
	expect_same "still readable" "text
more" "$(cat "$mnt/file")"
	kill -0 "$daemon" || fail "the daemon ended"
	exec {descriptor}>&-
	store_unmount
	store_mount
	(cd "$mnt" && expect_fail 'in use|busy' "$KVFS" umount "$mnt")
}

# What a dead daemon leaves: an error that says so, and umount clears it.
case_dead_mount() {
	local command
	prepare
	store_mount
	echo text | dd of="$mnt/file" conv=fsync status=none
	daemon_kill
	expect_fail 'not connected|abort|cancel' ls "$mnt"
	expect_fail 'umount' "$KVFS" mount "$store" "$mnt"
	for command in stat limit prune sync "snapshot list" "get" "check"; do
		# shellcheck disable=SC2086
		expect_fail 'has died' "$KVFS" $command "$mnt" $([ "$command" != get ] || echo file)
	done
	expect_fail 'has died' "$KVFS" snapshot rollback "$mnt" one
	expect_fail 'has died' "$KVFS" snapshot clone "$mnt" one "$SCRATCH/clone"
	unmount "$mnt"
	! is_mounted "$mnt" || fail "umount left the dead mount"
	store_mount
	expect_same "after the remount" text "$(cat "$mnt/file")"
}

# One whose server stands still is given up by force, and not waited for.
case_hung_mount() {
	local status=0
	prepare
	store_mount
	echo text | dd of="$mnt/file" conv=fsync status=none
	kill -STOP "$daemon"
	timeout "$patience" "$KVFS" umount -f "$mnt" 2>error || status=$?
	kill -KILL "$daemon"
	wait "$daemon" 2>/dev/null || true
	daemon=
	[ "$status" = 0 ] || fail "umount -f ended with $status: $(cat error)"
	! is_mounted "$mnt" || fail "still mounted"
	expect_same "the file" text "$("$KVFS" get "$store" file)"
}

# Another user may call his mount as he likes: it is neither where a store is in use, nor what goes when that is named. Of
# several mounts that are the store's none goes unasked.
case_called_alike() {
	local option status
	prepare
	mkdir his second
	python3 - "$store" "$SCRATCH/his" <<-'END' || fail "cannot mount as another user"
		import ctypes, os, sys
		store, directory = map(os.fsencode, sys.argv[1:])
		options = b"fd=%d,rootmode=40000,user_id=12345,group_id=12345" % os.open("/dev/fuse", os.O_RDWR)
		sys.exit(ctypes.CDLL(None).mount(store, directory, b"fuse.kvfs", 0, options) != 0)
	END
	store_mount
	expect_fail "mounted on $mnt[.]" "$KVFS" check "$store"
	"$KVFS" umount -l "$store"
	! is_mounted "$mnt" || fail "umount -l left the store's mount"
	wait "$daemon"
	daemon=
	for option in '' -l -f; do
		# shellcheck disable=SC2086 # or none
		expect_fail 'nothing is mounted' "$KVFS" umount $option "$store"
	done
	store_mount -o ro
	"$KVFS" mount -o ro "$store" "$SCRATCH/second"
	for option in '' -l -f; do
		status=0
		# shellcheck disable=SC2086
		"$KVFS" umount $option "$store" 2>error || status=$?
		expect_same "status of umount $option, of two" 1 "$status"
		grep -q 'several mounts.*DIR' error || fail "umount $option: $(cat error)"
	done
	unmount "$SCRATCH/second"
	is_mounted "$mnt" && is_mounted "$SCRATCH/his" || fail "another one went"
}

# What was moved on top of a store's mount does not go in its place, though the table has it before that.
case_covered() {
	prepare
	mkdir older
	mount -t tmpfs none older || skip "cannot mount a tmpfs here"
	store_mount
	export -f covered expect_fail fail
	export KVFS SCRATCH store mnt patience
	unshare -m bash -euc covered
	unmount "$SCRATCH/older" umount
}

covered() {
	local option
	mount --move older "$mnt"
	for option in '' -l -f; do
		# shellcheck disable=SC2086 # or none
		expect_fail 'is something else mounted' "$KVFS" umount $option "$store"
		# shellcheck disable=SC2086
		expect_fail 'not a kvfs mount' "$KVFS" umount $option "$mnt"
	done
	umount "$mnt"
	grep -q " $mnt .* fuse.kvfs " /proc/self/mountinfo || fail "the store's mount went"
}

# hold SECONDS - a mount namespace that has $mnt, and no other mount of ours, for so long; $holder is a process in it
hold() {
	rm -f held
	# shellcheck disable=SC2016
	unshare -m --propagation private bash -euc '
		while read -r _ _ _ _ point rest; do
			[[ $rest != *" - fuse.kvfs "* || $point = "$0" ]] || umount -l "$(printf %b "$point")" || true
		done < <(cat /proc/self/mountinfo)
		touch held
		exec sleep "$1"' "$mnt" "$1" &
	holder=$!
	await "a namespace with the mount" test -e held
}

# Also mounted elsewhere, the store stays open: umount says where, and does not wait for ever.
case_kept_elsewhere() {
	local holder
	prepare
	mkdir bound
	store_mount
	mount --bind "$mnt" bound
	"$KVFS" umount "$mnt" 2>said || fail "umount ended with $?: $(cat said)"
	grep -q "also mounted at $SCRATCH/bound" said || fail "umount of a mount that is bound said: $(cat said)"
	! is_mounted "$mnt" || fail "left mounted"
	echo text >bound/file
	unmount "$SCRATCH/bound"
	wait "$daemon"
	store_mount
	hold 5
	"$KVFS" umount "$mnt" 2>said || fail "umount ended with $?: $(cat said)"
	grep -q "waiting for process $holder" said || fail "umount said: $(cat said)"
	wait "$holder"
	wait "$daemon"
	daemon=
	store_check
	[ -z "${quick:-}" ] || return 0
	store_mount
	hold 100
	"$KVFS" umount "$mnt" 2>said || fail "umount ended with $?: $(cat said)"
	grep -q "process $holder has it .* at $mnt: the store stays open" said || fail "umount said: $(cat said)"
	expect_fail 'in use' "$KVFS" check "$store"
	kill "$holder"
	wait "$holder" || true
	wait "$daemon"
	daemon=
	store_check
}

# Blanks, commas, backslashes, quotes, newlines, other alphabets; relative paths and links.
case_odd_paths() {
	local name
	needs_kvfs
	for name in 'two words' 'comma,comma' 'back\slash' "quote'\"s" $'new\nline' $'\xc3\xa4\xc3\xb6' '-dash' 'a=b,ro' '%s%n'; do
		mkdir -p "dir/$name" "dir/mount $name"
		(
			cd dir
			"$KVFS" mkfs "./$name/store"
			"$KVFS" mount "./$name/store" "./mount $name" >../out 2>&1 || fail "\"$name\": $(tail -n 1 ../out)"
			echo "$name" >"./mount $name/file"
			expect_same "the file" "$name" "$(cat "mount $name/file")"
			unmount "./mount $name"
			expect_same "get" "$name" "$("$KVFS" get "./$name/store" file)"
		)
	done
	mkdir real
	ln -s real link
	"$KVFS" mkfs s
	"$KVFS" mount s link >out 2>&1
	echo text >link/file
	expect_same "through the link" text "$(cat real/file)"
	unmount link
	! is_mounted "$SCRATCH/real" || fail "still mounted"
}

# With its standard streams closed the daemon must not take a store's file for one of them.
case_closed_streams() {
	local command
	prepare
	"$KVFS" mount "$store" "$mnt" <&- >&- 2>&-
	echo text >"$mnt/file"
	unmount "$mnt" umount_without_streams
	store_check
	expect_same "get" text "$("$KVFS" get "$store" file)"
	expect_fail '.' "$KVFS" get "$store" none
	for command in "get $store file" "list $store" "stat $store" "snapshot list --json $store" "limit $store" "check $store" \
		help version "help mount"; do
		# shellcheck disable=SC2086
		expect_fail 'standard output' bash -c '"$0" "$@" >/dev/full' "$KVFS" $command
	done
	expect_fail 'standard output' bash -c '"$0" list "$1" >&-' "$KVFS" "$store"
}

umount_without_streams() {
	local status=0
	"$KVFS" umount "$1" <&- >&- 2>&- || status=$?
	[ "$status" = 0 ] || echo "busy, or something else that it cannot say" >&2
	return "$status"
}

# A mount goes on when nobody is left who reads what it says.
case_nobody_reads() {
	prepare
	exec 5> >(:)
	await "an end of the reader" reader_is_gone
	"$KVFS" mount "$store" "$mnt" >&5 2>&1 || fail "mount ended with $?"
	echo text >"$mnt/file"
	unmount "$mnt"
	"$KVFS" mount "$store" "$mnt" -f >&5 2>&1 &
	daemon=$!
	await "a mount" is_mounted "$mnt"
	expect_same "the file" text "$(cat "$mnt/file")"
	exec 5>&-
	store_unmount
}

reader_is_gone() {
	! (echo) >&5 2>/dev/null
}

# A server that has no descriptor left ends as any other: with all that was done.
case_no_descriptors() {
	needs_kvfs
	store_make --segment-size 2M --compress none
	(
		ulimit -n 80
		exec "$KVFS" mount "$store" "$mnt" -f -o commit=3600 >>daemon.log 2>&1
	) &
	daemon=$!
	await "a mount" is_mounted "$mnt"
	echo text >"$mnt/file"
	expect_fail 'too many open files' dd if=/dev/urandom of="$mnt/large" bs=1M count=200
	rm "$mnt/large"
	store_unmount
	expect_same "what is there" file "$("$KVFS" list "$store")"
}

# One that has too few to begin with leaves nothing, whichever it is that it cannot have.
case_too_few_descriptors() {
	local count status refused=0 mounted=0
	prepare
	for count in {6..20}; do
		status=0
		(ulimit -n "$count" && exec timeout "$patience" "$KVFS" mount "$store" "$mnt") >out 2>&1 || status=$?
		case $status in
		0)
			echo "$count" >"$mnt/file" || fail "with $count descriptors: mounted, but nothing can be written"
			unmount "$mnt"
			mounted=$((mounted + 1))
			;;
		32)
			! is_mounted "$mnt" || fail "with $count descriptors: a mount that failed is left"
			grep -qi 'too many open files' out && ! grep -qi abort out || fail "with $count descriptors: mount said $(cat out)"
			refused=$((refused + 1))
			;;
		*) fail "with $count descriptors: mount ended with $status: $(cat out)" ;;
		esac
	done
	[ "$mounted" -gt 0 ] && [ "$refused" -gt 0 ] || fail "$mounted mounted, $refused refused: none is the first that is enough"
}

scratch_main "$@"
