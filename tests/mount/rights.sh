#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# rights.sh - what others may not do to a store, and what its server may not do to others
#
# Environment: CONFINED, LOG_TAKER and MOUNTER_ORDERS, the programs of these names; WRONG_ORDER, the module wrong_order

cases=(private_modes modes_not_as_asked private_clones clones_spare_others given_directory lock_of_replaced_super lock_by_other_ways confined_is_confined server_is_confined
	server_of_anothers_store root_uses_users_store root_makes_users_store in_anothers_place anothers_file not_confined unmounts_itself unmounts_itself_busy helper_ends_with_server messages_reach_log
	mounts_in_its_place wrong_orders
	commands_are_confined default_permissions_always ordinary_user logs_have_no_contents)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

prepare() {
	needs_kvfs
	store_make
}

# server_field NAME - of each thread of the server, sorted, once each
server_field() {
	sed -n "s/^$1:[[:space:]]*//p" /proc/"$daemon"/task/*/status | sort -u
}

# With whatever umask: the directory and all that ever comes into it.
case_private_modes() {
	local mask
	needs_kvfs
	for mask in 000 022 0777; do
		rm -rf "$store"
		(umask "$mask" && store_make --segment-size 2M)
		(umask "$mask" && head -c 5000000 /dev/urandom | "$KVFS" put "$store" large)
		umask "$mask"
		store_mount
		expect_same "mode of what was put, umask $mask" "$(printf %o $((0666 & ~mask)))" "$(stat -c %a "$mnt/large")"
		head -c 5000000 /dev/urandom >"$mnt/more"
		store_unmount
		umask 022
		expect_same "mode of the directory, umask $mask" 700 "$(stat -c %a "$store")"
		expect_same "modes of the files, umask $mask" 600 "$(find "$store" -type f -printf '%m\n' | sort -u)"
		expect_same "all of them files" "" "$(find "$store" -mindepth 1 ! -type f)"
	done
}

# Where files get other modes than were asked for, as on file systems that have none, a server that may set none does
# without.
case_modes_not_as_asked() {
	needs_kvfs
	store_make --segment-size 2M
	setfacl -d -m u::r-x "$store" 2>acl.error || skip "no default lists here: $(cat acl.error)"
	store_mount
	confined_here
	head -c 5000000 /dev/urandom >"$mnt/large"
	store_unmount
	expect_same "modes of the files" "400 600" "$(echo $(find "$store" -type f -printf '%m\n' | sort -u))"
	echo text | "$KVFS" put "$store" file
	store_mount
	head -c 5000000 /dev/urandom >"$mnt/larger"
	expect_same "contents" text "$(cat "$mnt/file")"
}

# So is a clone's, which is made before the store comes into it.
case_private_clones() {
	local mask
	prepare
	"$KVFS" snapshot create "$store" before
	for mask in 000 0277 0777; do
		(umask "$mask" && "$KVFS" snapshot clone "$store" before "copy.$mask")
		expect_same "mode of the directory, umask $mask" 700 "$(stat -c %a "copy.$mask")"
		expect_same "modes of the files, umask $mask" 600 "$(find "copy.$mask" -type f -printf '%m\n' | sort -u)"
	done
	# Root gives up the right to take it out of somebody else's directory again, and then says so.
	mkdir theirs
	chown 65534 theirs
	! "$KVFS" snapshot clone "$store" never theirs/copy >out 2>&1 || fail "a snapshot that is not there has been cloned"
	[ ! -e theirs/copy ] || grep -q 'theirs/copy: the empty directory stays' out || fail "it stays, and nothing is said: $(cat out)"
}

# A directory that is there already, and open to all, is the store's alone afterwards.
case_given_directory() {
	needs_kvfs
	mkdir -m 777 "$store"
	store_make
	expect_same "mode" 700 "$(stat -c %a "$store")"
	chmod 777 "$store"
	store_mount
	store_unmount
	grep -qi 'others' daemon.log || fail "nothing is said of a directory in which everybody may write"
}

command_is_confined() {
	[ "$(sed -n 's/^NoNewPrivs:[[:space:]]*//p' "/proc/$command/status")" = 1 ] &&
		[ "$(sed -n 's/^Seccomp:[[:space:]]*//p' "/proc/$command/status")" = 2 ] &&
		[ "$(sed -n 's/^CapEff:[[:space:]]*//p' "/proc/$command/status")" = 0000000000000000 ]
}

# Makes a pipe, descriptor 6, whose writers wait.
full_pipe() {
	rm -f full
	mkfifo full
	exec 6<>full
	# until it is full, whatever it holds; it is opened once more, for whoever else writes to it is to wait
	! dd if=/dev/zero of=full bs=4096 oflag=nonblock conv=notrunc 2>dd.error || fail "no end to a pipe"
	grep -q 'temporarily unavailable' dd.error || fail "$(cat dd.error)"
}

# confined_while_it_prints COMMAND - looks at a command that waits until there is room for what it prints
confined_while_it_prints() {
	full_pipe
	# shellcheck disable=SC2086 # two words, perhaps
	"$KVFS" $1 "$store" >&6 &
	command=$!
	await "a confined kvfs $1" command_is_confined
	exec 5<full 6>&- # nobody writes any more but the command
	cat <&5 >/dev/null
	exec 5<&-
	wait "$command" || fail "kvfs $1 ends with $?"
}

# refused_clone_begins NEW-STORE - of a snapshot that is not there; it waits until there is room for what it says of that
refused_clone_begins() {
	full_pipe
	"$KVFS" snapshot clone "$store" never "$1" 2>&6 &
	command=$!
}

refused_clone_ends() {
	exec 5<full 6>&-
	tr -d '\0' <&5 >out
	exec 5<&-
	! wait "$command" || fail "a snapshot that is not there has been cloned"
	grep -q 'no snapshot never' out || fail "kvfs snapshot clone says $(cat out)"
}

# A clone that fails takes back what it has made, and nothing that another has put there while it waits to say so.
case_clones_spare_others() {
	prepare
	echo text | "$KVFS" put "$store" file
	"$KVFS" snapshot create "$store" before
	mkdir disk
	mount -t tmpfs -o size=8m none "$SCRATCH/disk" || skip "cannot mount a tmpfs here"
	mkdir disk/empty
	full_pipe
	"$KVFS" snapshot clone "$store" before disk/empty 2>&6 &
	command=$!
	await "a clone that has begun" test -e disk/empty/super
	touch disk/empty/notes.txt
	exec 5<full 6>&-
	tr -d '\0' <&5 >out
	exec 5<&-
	! wait "$command" || fail "a clone went where there is no room"
	grep -q 'No space left' out || fail "kvfs snapshot clone says $(cat out)"
	expect_same "what is left" notes.txt "$(ls disk/empty)"
	unmount "$SCRATCH/disk" umount
}

# One that has been made, and one that waits until there is room for what it says of a snapshot that is not there.
clones_confined() {
	"$KVFS" snapshot clone "$store" before copy.store >out 2>&1 || fail "cloning: $(cat out)"
	"$KVFS" get copy.store large | cmp large || fail "the clone has something else"
	expect_same "mode of a clone" 700 "$(stat -c %a copy.store)"
	refused_clone_begins another.store
	await "a confined kvfs snapshot clone" command_is_confined
	refused_clone_ends
	[ ! -e another.store ] || fail "a clone that failed has left a directory"
	mkdir empty.store
	"$KVFS" snapshot clone "$store" before "$SCRATCH/empty.store/" >out 2>&1 || fail "cloning: $(cat out)"
	mkdir given.store
	refused_clone_begins given.store
	await "a confined kvfs snapshot clone" command_is_confined
	# another makes a store there, while it waits
	"$KVFS" mkfs given.store
	echo text | "$KVFS" put given.store file
	refused_clone_ends
	expect_same "what another has made" text "$("$KVFS" get given.store file)"
	expect_fail 'something already|not empty' "$KVFS" snapshot clone "$store" before empty.store
	"$KVFS" get empty.store large | cmp large || fail "a clone that was refused has spoilt what was there"
}

command_stopped_confined() {
	kill -STOP "$command" 2>/dev/null && command_is_confined
}

# The clone of a mounted store, too, before it looks at what the server gives: it is stopped again and again until it is seen.
mounted_clone_confined() {
	local end=$((SECONDS + patience)) seen=
	until [ -n "$seen" ]; do
		[ "$SECONDS" -lt "$end" ] || fail "no kvfs snapshot clone of a mount was seen confined in $patience s"
		rm -rf mounted.store
		"$KVFS" snapshot clone "$mnt" before mounted.store >out 2>&1 &
		command=$!
		while [ -e "/proc/$command" ] && [ ! -e mounted.store/super ]; do :; done
		! command_stopped_confined || seen=1
		kill -CONT "$command" 2>/dev/null || true
		wait "$command" || fail "cloning: $(cat out)"
	done
	"$KVFS" get mounted.store large | cmp large || fail "the clone of a mount has something else"
}

# Commands that read a store which may come from a stranger give up the same, and work: one of them is looked at while
# nobody reads what it writes.
case_commands_are_confined() {
	local what
	prepare
	store_mount
	confined_here
	store_unmount
	head -c 3000000 /dev/urandom >large
	mkfifo input
	"$KVFS" put "$store" large <input &
	command=$!
	exec 5>input
	await "a confined kvfs put" command_is_confined
	cat large >&5
	exec 5>&-
	wait "$command" || fail "kvfs put ends with $?"
	mkfifo pipe
	"$KVFS" get "$store" large >pipe &
	command=$!
	exec 5<pipe
	await "a confined kvfs get" command_is_confined
	cat <&5 >copy
	exec 5<&-
	wait "$command" || fail "kvfs get ends with $?"
	cmp large copy || fail "it gives out something else"
	expect_same "list" large "$("$KVFS" list "$store")"
	for what in check "check --repair"; do
		# shellcheck disable=SC2086 # two words
		"$KVFS" $what "$store" >out 2>&1 || fail "kvfs $what: $(cat out)"
		grep -q clean out || fail "kvfs $what says $(cat out)"
	done
	"$KVFS" snapshot create "$store" before
	for what in stat limit prune "snapshot list"; do
		confined_while_it_prints "$what"
	done
	"$KVFS" del "$store" large
	expect_same "diff" "- large" "$("$KVFS" snapshot diff "$store" before | grep large)"
	"$KVFS" snapshot rollback "$store" before >out 2>&1 || fail "rolling back: $(cat out)"
	expect_same "list after rolling back" large "$("$KVFS" list "$store")"
	clones_confined
	store_mount
	mounted_clone_confined
	store_unmount
	! "$KVFS" check "$store.missing" >out 2>&1 || fail "a store that is not there is clean"
	grep -q "no such store" out || fail "a store that is not there is not said to be: $(cat out)"
}

# Whoever restores a superblock from a copy does not get a second lock with it.
case_lock_of_replaced_super() {
	prepare
	store_mount
	echo text >"$mnt/file"
	cp -p "$store/super" super
	mv super "$store/super"
	expect_fail 'in use|mounted' "$KVFS" put "$store" other </dev/null
	expect_fail 'in use|mounted' "$KVFS" get "$store" file
	expect_same "the mount" text "$(cat "$mnt/file")"
}

# Nor does whoever comes by another path, or in another mount namespace.
case_lock_by_other_ways() {
	local way
	prepare
	store_mount
	echo text >"$mnt/file"
	mkdir bound moved
	mount --bind "$store" "$SCRATCH/bound"
	ln -s "$store" linked
	# a command that does not see the mount waits for it to end, but for check; one such wait is enough
	for way in bound linked; do
		expect_fail 'in use|mounted' "$KVFS" check --repair "$way"
	done
	expect_fail 'in use|mounted' "$KVFS" put linked other </dev/null
	expect_fail 'in use|mounted' "$KVFS" get linked file
	umount "$SCRATCH/bound"
	expect_fail 'in use|mounted' unshare -m -- "$KVFS" get "$store" file
	mv "$store" moved/store
	expect_fail 'in use|mounted' "$KVFS" check --repair moved/store
	expect_fail 'in use|mounted' "$KVFS" put moved/store other </dev/null
	echo more >"$mnt/more"
	store_unmount
	expect_same "what was written to the store that was moved" "text more" \
		"$(echo $("$KVFS" get moved/store file) $("$KVFS" get moved/store more))"
}

case_confined_is_confined() {
	local status=0
	needs_kvfs
	mkdir store.dir outside
	echo secret >outside/file
	"$CONFINED" "$SCRATCH/store.dir" "$SCRATCH/outside" >out 2>&1 || status=$?
	[ "$status" != 77 ] || skip "nothing is confined here"
	[ "$status" = 0 ] || fail "$(cat out)"
	mkdir store.other
	chown 65534:65534 store.other
	"$CONFINED" "$SCRATCH/store.other" "$SCRATCH/outside" >out 2>&1 || fail "in another's store: $(cat out)"
	# processes of the same user may do more to each other than root's without capabilities
	chmod 755 "$SCRATCH"
	cp "$CONFINED" confined
	mkdir store.user outside.user
	echo secret >outside.user/file
	chown -R 65534:65534 store.user outside.user
	(as_user ./confined "$SCRATCH/store.user" "$SCRATCH/outside.user") >out 2>&1 || fail "an ordinary user's: $(cat out)"
}

confined_here() {
	[ "$("$KVFS" stat "$mnt" | awk '$1 == "confined" { print $2 }')" != none ] || skip "nothing is confined here"
}

# Every thread of it, over both transports, and it serves all the same.
case_server_is_confined() {
	local transport servers='' before unconfined
	prepare
	store_mount -o no_confine
	unconfined=$("$KVFS" stat "$mnt" | awk '$1 == "transport" { print $2 }')
	store_unmount
	store_mount
	expect_same "the transport of a confined server" "$unconfined" \
		"$("$KVFS" stat "$mnt" | awk '$1 == "transport" { print $2 }')"
	store_unmount
	# what the kernel has said before may be of processes that had the same numbers
	before=$(dmesg 2>/dev/null | tail -n 1 | grep -oE '^\[ *[0-9.]+' | tr -d '[ ' || true)
	for transport in no_io_uring commit=1; do
		store_mount -o "$transport"
		confined_here
		servers="$servers|pid=$daemon "
		expect_same "capabilities" 0000000000000000 "$(server_field CapEff)"
		expect_same "capabilities it may get" 0000000000000000 "$(server_field CapPrm)"
		expect_same "bounding set" 0000000000000000 "$(server_field CapBnd)"
		expect_same "no new privileges" 1 "$(server_field NoNewPrivs)"
		expect_same "filtered" 2 "$(server_field Seccomp)"
		head -c 3000000 /dev/urandom >data
		cp data "$mnt/data"
		sync "$mnt/data"
		cmp data "$mnt/data"
		store_unmount
	done
	! dmesg 2>/dev/null | awk -F '[][]' -v before="${before:-0}" '$2 + 0 > before + 0' | grep 'type=1326' | grep -E "${servers#|}" ||
		fail "a system call was refused"
}

# Only what it takes to open another one's files, and to give him what is created, is kept.
case_server_of_anothers_store() {
	prepare
	chown -R 12345:12345 "$store"
	store_mount
	confined_here
	expect_same "capabilities: chown, override and owner" 000000000000000b "$(server_field CapEff)"
	echo text >"$mnt/file"
	store_remount
	expect_same "contents" text "$(cat "$mnt/file")"
}

# all_are_the_users DIRECTORY - and what is in it
all_are_the_users() {
	expect_same "owners in ${1##*/}" 65534:65534 "$(find "$1" -printf '%U:%G\n' | sort -u)"
}

# Whatever root does with somebody's store, it stays open to its owner.
case_root_uses_users_store() {
	local how
	needs_kvfs
	chmod 755 "$SCRATCH"
	cp "$KVFS" kvfs
	chmod 755 kvfs
	mkdir home "$mnt"
	chown 65534:65534 home
	store=$SCRATCH/home/store
	for how in confine no_confine; do
		as_user ./kvfs mkfs --segment-size 2M "$store"
		head -c 5000000 /dev/urandom | "$KVFS" put "$store" large
		"$KVFS" snapshot create "$store" before
		"$KVFS" limit "$store" 1G
		all_are_the_users "$store"
		if [ "$how" = confine ]; then store_mount; else store_mount -o "$how"; fi
		head -c 30000000 /dev/urandom >data
		cp data "$mnt/data"
		sync "$mnt/data"
		rm "$mnt/large"
		store_unmount
		"$KVFS" prune "$store" >out 2>&1 || fail "prune: $(cat out)"
		all_are_the_users "$store"
		expect_same "the user's list" data "$(as_user ./kvfs list "$store" | sed 's/.*[[:space:]]//')"
		echo text | as_user ./kvfs put "$store" file
		as_user ./kvfs get "$store" data | cmp - data
		as_user ./kvfs check "$store" >out 2>&1 || fail "the user's check: $(cat out)"
		! grep -qi damaged out || fail "the user's check: $(cat out)"
		rm -r "$store"
	done
	uncheckable=1
}

# A store that root makes in somebody's empty directory is that user's, too.
case_root_makes_users_store() {
	local name
	prepare
	chmod 755 "$SCRATCH"
	cp "$KVFS" kvfs
	chmod 755 kvfs
	echo text | "$KVFS" put "$store" file
	"$KVFS" snapshot create "$store" before
	mkdir -m 700 made cloned cloned.mounted
	chown 65534:65534 made cloned cloned.mounted
	"$KVFS" mkfs made
	echo text | "$KVFS" put made file
	"$KVFS" snapshot clone "$store" before cloned
	store_mount
	"$KVFS" snapshot clone "$mnt" before cloned.mounted
	store_unmount
	for name in made cloned cloned.mounted; do
		all_are_the_users "$name"
		expect_same "the user's get from $name" text "$(as_user ./kvfs get "$name" file)"
	done
}

# all_commands_work - by root, with the store as it is
all_commands_work() {
	local what digest
	echo text | "$KVFS" put "$store" file
	expect_same "get" text "$("$KVFS" get "$store" file)"
	"$KVFS" snapshot create "$store" kept
	for what in stat "stat --json" limit list check "check --repair" prune "snapshot list" "snapshot diff" "snapshot rollback" \
		"snapshot delete"; do
		set --
		case $what in "snapshot d"* | "snapshot r"*) set -- kept ;; esac
		# shellcheck disable=SC2086 # two words, perhaps
		"$KVFS" $what "$store" "$@" >out 2>&1 || fail "kvfs $what: $(cat out)"
	done
	digest=$("$KVFS" digest "$store" | cut -d' ' -f1)
	"$KVFS" digest --check "$digest" "$store"
	"$KVFS" snapshot create "$store" again
	"$KVFS" snapshot clone "$store" again "$store.clone" >out 2>&1 || fail "kvfs snapshot clone: $(cat out)"
	expect_same "get from a clone" text "$("$KVFS" get "$store.clone" file)"
	rm -r "$store.clone"
	"$KVFS" snapshot delete "$store" again
	"$KVFS" del "$store" file
	store_mount
	echo text >"$mnt/file"
	store_remount -o ro
	expect_same "contents" text "$(cat "$mnt/file")"
	store_unmount
}

# Root's own store, in a directory that is closed to all but somebody else: root may, by whatever path.
case_in_anothers_place() {
	needs_kvfs
	mkdir theirs theirs/open
	store=$SCRATCH/theirs/open/store
	store_make
	chmod 700 theirs
	chown 12345:12345 theirs
	all_commands_work
	ln -s theirs/open/store link
	cd theirs/open
	for store in store ../../link; do
		"$KVFS" check "$store" || fail "$store is not clean"
	done
	store=$SCRATCH/theirs/open/store
}

# One that was copied into it, or restored, by somebody else.
case_anothers_file() {
	prepare
	chown 12345:12345 "$store/super"
	all_commands_work
}

case_not_confined() {
	prepare
	store_mount -o no_confine
	expect_same "no new privileges" 0 "$(server_field NoNewPrivs)"
	expect_same "filtered" 0 "$(server_field Seccomp)"
	expect_same "what stat says" none "$("$KVFS" stat "$mnt" | awk '$1 == "confined" { print $2 }')"
	echo text >"$mnt/file"
	kill -TERM "$daemon"
	wait "$daemon" || fail "the server ended with $?"
	daemon=
	! is_mounted "$mnt" || fail "still mounted"
}

# A server that is told to end has no right to unmount any more, and does it all the same.
case_unmounts_itself() {
	local signal
	prepare
	for signal in TERM HUP; do
		store_mount
		echo "$signal" >"$mnt/file"
		kill "-$signal" "$daemon"
		wait "$daemon" || fail "SIG$signal: the server ended with $?"
		daemon=
		! is_mounted "$mnt" || fail "SIG$signal: still mounted"
		expect_same "contents" "$signal" "$("$KVFS" get "$store" file)"
		processes_end
	done
}

# The same while somebody uses the mount: what was written is kept, and the mount point is free.
case_unmounts_itself_busy() {
	local descriptor
	prepare
	store_mount
	echo text >"$mnt/file"
	exec {descriptor}<"$mnt/file"
	kill -TERM "$daemon"
	wait "$daemon" || fail "the server ended with $?"
	daemon=
	exec {descriptor}<&-
	! is_mounted "$mnt" || fail "still mounted"
	expect_same "contents" text "$("$KVFS" get "$store" file)"
}

case_helper_ends_with_server() {
	prepare
	"$KVFS" mount "$store" "$mnt" >mount.log 2>&1
	kill -9 "$("$KVFS" stat "$mnt" | awk '$1 == "pid" { print $2 }')"
	processes_end
	unmount "$mnt" umount
}

# The process that mounts does so where it was told at first, whatever a server that is taken over tells it.
case_mounts_in_its_place() {
	prepare
	mkdir elsewhere
	WRONG_PLACE=$SCRATCH/elsewhere LD_PRELOAD=$WRONG_ORDER ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 \
		"$KVFS" mount "$store" "$mnt" >mount.log 2>&1 || fail "$(cat mount.log)"
	if is_mounted "$SCRATCH/elsewhere"; then
		umount "$SCRATCH/elsewhere"
		fail "it is mounted elsewhere"
	fi
	is_mounted "$mnt" || fail "it is not mounted"
	unmount "$mnt" umount
	processes_end
}

# Whatever else it is told, in whatever order and however often: see there.
case_wrong_orders() {
	local status=0
	"$MOUNTER_ORDERS" >out 2>&1 || status=$?
	[ "$status" != 77 ] || skip "$(cat out)"
	[ "$status" = 0 ] || fail "$(cat out)"
}

# A server may not reach the log itself; nor may it matter that the log is started later, or again. With a /dev of our own,
# as another may have a log.
case_messages_reach_log() {
	prepare
	mkdir dev
	export -f messages_reach_log take_log await fail
	export patience store mnt
	unshare -m --propagation slave bash -euc messages_reach_log
}

take_log() {
	"$LOG_TAKER" /dev/log >"$1" &
	log=$!
	await "a log" grep -q ready "$1"
}

messages_reach_log() {
	local pid log
	mount -t tmpfs none dev
	cp -a /dev/null /dev/zero /dev/urandom /dev/fuse dev
	mount --bind dev /dev
	take_log first
	"$KVFS" mount "$store" "$mnt" >mount.log 2>&1
	pid=$("$KVFS" stat "$mnt" | awk '$1 == "pid" { print $2 }')
	await "a message of the mount" grep -q "^<30>.* kvfs\[$pid\]: $store: mounted on $mnt" first
	kill "$log"
	wait "$log" || true
	take_log second
	"$KVFS" umount "$mnt"
	await "a message of the end" grep -q "^<30>.* kvfs\[$pid\]: $store: closed" second
	kill "$log"
}

case_default_permissions_always() {
	prepare
	store_mount -o allow_other
	grep " $mnt " /proc/self/mountinfo | grep -q default_permissions || fail "no default_permissions"
	store_unmount
	store_mount
	grep " $mnt " /proc/self/mountinfo | grep -q default_permissions || fail "no default_permissions"
}

# Somebody without rights mounts his own store by the set-user-id helper; what he may give others is fuse.conf's to say.
# In a mount namespace with a /dev/fuse for all.
case_ordinary_user() {
	needs_kvfs
	[ -u "$(command -v fusermount3)" ] || skip "no set-user-id fusermount3"
	chmod 755 "$SCRATCH"
	cp "$KVFS" kvfs
	chmod 755 kvfs
	mkdir home home/mnt
	chown -R 65534:65534 home
	mknod -m 666 fuse c 10 229
	export -f as_user ordinary_user mounted_by_user got_by_user expect_fail expect_same fail await
	export patience
	unshare -m --propagation slave bash -euc ordinary_user
	uncheckable=1
}

as_user() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

ordinary_user() {
	mount --bind fuse /dev/fuse
	as_user ./kvfs mkfs home/store
	grep -qs '^user_allow_other' /etc/fuse.conf ||
		expect_fail 'user_allow_other' setpriv --reuid=65534 --regid=65534 --clear-groups ./kvfs mount home/store home/mnt -o allow_other
	as_user ./kvfs mount home/store home/mnt
	as_user sh -c 'echo text >home/mnt/file && sync home/mnt/file'
	expect_fail 'permission denied' cat home/mnt/file
	as_user sh -c 'kill $(./kvfs stat home/mnt | sed -n "s/^pid  *//p")'
	await "no mount after SIGTERM" eval '! mounted_by_user'
	# it is closed a moment after it is unmounted
	await "a store that can be opened" got_by_user
	expect_same "contents" text "$(cat got)"
}

mounted_by_user() {
	grep -q " $PWD/home/mnt " /proc/self/mountinfo
}

got_by_user() {
	as_user ./kvfs get home/store file >got 2>got.error || {
		grep -q 'in use\|mounted' got.error || fail "get: $(cat got.error)"
		return 1
	}
}

# Names and contents are nobody's business who reads logs; damage is told by place.
case_logs_have_no_contents() {
	local segment
	prepare
	store_mount
	echo "top-secret-contents" >"$mnt/quiet-name"
	store_unmount
	segment=$(grep -al top-secret-contents "$store"/seg-*)
	printf 'X' | dd of="$segment" bs=1 conv=notrunc status=none \
		seek="$(grep -abo top-secret-contents "$segment" | tail -n 1 | cut -d: -f1)"
	uncheckable=1
	store_mount
	cat "$mnt/quiet-name" >got 2>&1 || true
	store_unmount
	! grep -E 'op-secret|quiet-name' daemon.log || fail "the log has what it should not"
}

scratch_main "$@"
