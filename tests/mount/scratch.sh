# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# scratch.sh - a scratch store, its mount, and the running of the cases of one subject
#
# A subject (tools.sh, git.sh, ...) sources this file, lists its cases in the array `cases`, defines
# a function case_NAME for each (or case_any for all that have none of their own), and ends with
#	scratch_main "$@"
# The report is TAP. Each case runs in a process group of its own, under a time limit, in a scratch directory
# that it finds in $SCRATCH; whatever it leaves behind there (mounts, loop devices, processes)
# is swept away when it ends, however it ends. A case fails by fail, by a command that fails, or by time.
#
# Environment
#	KVFS			the program under test
#	KVFS_TEST_ON=ext4	run on a plain directory instead of a mount, to prove that the test is right
#	KVFS_TEST_QUICK=1	fewer rounds
#	KVFS_TEST_LONG=1	as many rounds as it takes to find what is rare
#	KVFS_TEST_OPTIONS	mount options added to every mount
#	KVFS_TEST_KEEP=DIR	what a case that failed leaves behind is copied there before it is swept away
#	KVFS_TEST_SLOW=N	the program is N times as slow as usual (a sanitizer): longer limits, fewer rounds
#	TMPDIR			where scratch directories go; /var/tmp

set -euo pipefail

# Messages are compared, and bytes are bytes.
export LC_ALL=C TZ=UTC

KVFS=${KVFS:-}
quick=${KVFS_TEST_QUICK:-}
long=${KVFS_TEST_LONG:-}
slow=${KVFS_TEST_SLOW:-1}
on=${KVFS_TEST_ON:-kvfs}
[ "$on" = kvfs ] || [ -n "$long" ] || quick=1 # a few rounds show that a test is right
limit=${limit:-600} # seconds for one case; a subject may set its own before sourcing
patience=$((120 * slow)) # seconds for one thing that should come about soon; only ever a way out of waiting for ever
subject=${0##*/}
subject=${subject%.sh}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# What a case works with: the store, and the directory it is mounted on.
SCRATCH=${SCRATCH:-}
store=$SCRATCH/store
mnt=$SCRATCH/mnt
daemon= # process of the mount, while there is one
uncheckable= # set by a case that leaves a store which kvfs check is right to refuse

# ---- inside a case ----------------------------------------------------------------------------

# fail MESSAGE... - ends the case; the message says what differed
fail() {
	echo "FAIL: $*"
	exit 1
}

# skip REASON... - ends the case as not run
skip() {
	[ -z "${SCRATCH:-}" ] || sanitizer_silent
	echo "$*"
	exit 77
}

# expect_fail PATTERN COMMAND... - the command must fail, saying something that matches the extended regular
# expression (case ignored), and not by a signal or a time limit
expect_fail() {
	local pattern=$1 status=0 output
	shift
	output=$(timeout "$patience" "$@" 2>&1) || status=$?
	[ "$status" != 0 ] || fail "succeeded, should not: $*"
	[ "$status" -lt 124 ] || [ "$status" = 126 ] || fail "ended with status $status: $*: $output"
	grep -qiE -- "$pattern" <<<"$output" || fail "\"$*\" said \"$output\", not /$pattern/"
}

# expect_same WHAT EXPECTED ACTUAL
expect_same() {
	[ "$2" = "$3" ] || fail "$1: expected \"$2\", got \"$3\""
}

# await WHAT COMMAND... - runs the command again until it succeeds. How soon that is, is the machine's affair.
await() {
	local what=$1 end=$((SECONDS + patience)) ms=20 pause
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "not within $patience s: $what"
		# what takes long is not slowed down by being asked about all the time
		printf -v pause 0.%03d "$ms"
		sleep "$pause"
		[ "$ms" -ge 200 ] || ms=$((ms + 20))
	done
}

# unmount DIR [COMMAND...] - takes a mount away by kvfs umount, or by the command
unmount() {
	unmount_when_free "$@" || fail "umount of $1 ended with $?: $(cat "$SCRATCH/unmount.error")"
}

# unmount_telling PATTERN DIR [COMMAND...] - the same of a mount that something is lost with: whoever ends it is told
unmount_telling() {
	local pattern=$1 status=0
	shift
	unmount_when_free "$@" || status=$?
	expect_same "status of an umount that tells of a loss" 32 "$status"
	grep -qE -- "$pattern" "$SCRATCH/unmount.error" || fail "umount said \"$(cat "$SCRATCH/unmount.error")\", not /$pattern/"
	! is_mounted "$1" || fail "still mounted after umount: $1"
}

# unmount_when_free DIR [COMMAND...] - the status of kvfs umount, or of the command, which is tried again while the mount is in
# use: whoever reads of a process in /proc holds what that had mapped, and a ring's files are closed after the end of its process.
# What it says is in unmount.error.
unmount_when_free() {
	local directory=$1 status end=$((SECONDS + patience))
	shift
	[ $# != 0 ] || set -- "$KVFS" umount
	while :; do
		status=0
		"$@" "$directory" 2>"$SCRATCH/unmount.error" || status=$?
		[ "$status" != 0 ] && grep -qiE 'busy|in use' "$SCRATCH/unmount.error" || return "$status"
		[ "$SECONDS" -lt "$end" ] || fail "after $patience s: $(cat "$SCRATCH/unmount.error")"
		sleep 0.1
	done
}

# helpers_wanted - whether what a case does in the background is to go on. What it is doing then it ends by itself: a command that
# outlived its killed shell would go on changing the tree.
helpers_wanted() {
	[ ! -e "$SCRATCH/stop" ] && kill -0 $$ 2>/dev/null
}

# helpers_end PROCESS... - they are not wanted any more, and have ended
helpers_end() {
	touch "$SCRATCH/stop"
	wait "$@"
	rm "$SCRATCH/stop"
}

# needs_kvfs - for what makes no sense on a plain directory
needs_kvfs() {
	[ "$on" = kvfs ] || skip "is about kvfs itself"
}

# rounds FULL QUICK [LONG] - how often to do it
rounds() {
	if [ -n "$quick" ] || [ "$slow" != 1 ]; then
		echo "$2"
	elif [ -n "$long" ] && [ $# -gt 2 ]; then
		echo "$3"
	else
		echo "$1"
	fi
}

# store_make [OPTION...] - kvfs mkfs
store_make() {
	mkdir -p "$mnt"
	[ "$on" = kvfs ] || return 0
	"$KVFS" mkfs "$@" "$store"
}

is_mounted() {
	local point mount_points
	mounts_read
	for point in "${mount_points[@]}"; do
		[ "$point" != "$1" ] || return 0
	done
	return 1
}

# mounts_read - puts all mount points of this machine into the array mount_points. Not by read: that goes
# back in the file after each line, and where another mount has come or gone since, the place is not the
# same any more and lines are missed. From a pipe it takes byte by byte.
mounts_read() {
	local i rest
	mapfile -t mount_points </proc/self/mountinfo
	for i in "${!mount_points[@]}"; do
		rest=${mount_points[i]#* * * * }
		printf -v "mount_points[i]" %b "${rest%% *}"
	done
}

# store_mount [OPTION...] - mounts the store on $mnt and waits until it answers; $daemon is the process
store_mount() {
	local end=$((SECONDS + patience))
	[ "$on" = kvfs ] || return 0
	[ -z "${KVFS_TEST_OPTIONS:-}" ] || set -- -o "$KVFS_TEST_OPTIONS" "$@"
	"$KVFS" mount "$store" "$mnt" -f "$@" >>"$SCRATCH/daemon.log" 2>&1 &
	daemon=$!
	until is_mounted "$mnt" && stat "$mnt" >/dev/null 2>&1; do
		kill -0 "$daemon" 2>/dev/null || fail "mount ended: $(tail -n 1 "$SCRATCH/daemon.log")"
		[ "$SECONDS" -lt "$end" ] || fail "mount does not answer after $patience s"
		sleep 0.02
	done
}

# store_unmount - unmounts $mnt; the daemon must end by itself and be content
store_unmount() {
	local status=0
	[ "$on" = kvfs ] || return 0
	unmount "$mnt"
	! is_mounted "$mnt" || fail "still mounted after kvfs umount"
	[ -z "$daemon" ] || wait "$daemon" || status=$?
	daemon=
	sanitizer_silent # before its status, which says less
	[ "$status" = 0 ] || fail "daemon ended with $status: $(tail -n 1 "$SCRATCH/daemon.log")"
}

# daemon_kill - the serving process dies where it stands, and of nothing else
daemon_kill() {
	local status=0
	kill -9 "$daemon" || fail "there is no daemon to be killed"
	wait "$daemon" 2>/dev/null || status=$?
	daemon=
	sanitizer_silent
	[ "$status" = 137 ] || fail "the daemon ended by itself with $status: $(tail -n 1 "$SCRATCH/daemon.log")"
}

# mount_clear - takes away what a dead daemon left mounted, once nobody uses it any more
mount_clear() {
	await "an end of what the dead daemon left mounted" mount_cleared
}

mount_cleared() {
	! is_mounted "$mnt" || "$KVFS" umount "$mnt" >/dev/null 2>&1 || umount "$mnt" 2>/dev/null
}

# store_check - kvfs check on a store that is not mounted
store_check() {
	local output
	[ "$on" = kvfs ] || return 0
	output=$("$KVFS" check "$store" 2>&1) || fail "kvfs check: $(tail -n 3 <<<"$output")"
	sanitizer_silent
}

# store_remount [OPTION...] - what the kernel and the daemon cached is gone afterwards
store_remount() {
	[ "$on" = kvfs ] || return 0
	store_unmount
	store_mount "$@"
}

# A build with sanitizers writes what it finds to files; any is a failure.
sanitizer_silent() {
	local report
	for report in "$SCRATCH"/sanitizer.*; do
		[ -e "$report" ] || continue
		cat "$report"
		fail "sanitizer: $(grep -m 1 -E 'ERROR|WARNING|runtime error' "$report" || head -n 1 "$report")"
	done
}

# ext4_make FILE DIR SIZE - a small ext4 in a file, mounted on DIR by way of a loop device
ext4_make() {
	truncate -s "$3" "$1"
	mkfs.ext4 -q -F -m 0 "$1"
	mkdir -p "$2"
	mount -o loop "$1" "$2" 2>/dev/null || skip "cannot mount a loop device here"
}

# What each case ends with: unmounted, and clean in the eyes of kvfs check.
scratch_finish() {
	[ "$on" = kvfs ] || return 0
	[ -z "$daemon" ] || store_unmount
	[ -n "$uncheckable" ] || [ ! -e "$store" ] || store_check
	sanitizer_silent
}

# scratch_case NAME - runs one case in this process
scratch_case() {
	trap 'echo "$(basename "${BASH_SOURCE[0]}"):$LINENO: failed with $?: $BASH_COMMAND" >&2' ERR
	set -E
	cd "$SCRATCH"
	if declare -F "case_$1" >/dev/null; then
		"case_$1"
	else
		case_any "$1"
	fi
	scratch_finish
}

# ---- around the cases -------------------------------------------------------------------------

# scratch_processes DIR - processes that name this directory on their command line, or work inside it. What is looked for comes
# from a file, so that the one who looks does not find himself.
scratch_processes() {
	{
		grep -laF -f <(printf '%s\n' "$1") /proc/[0-9]*/cmdline
		find /proc/[0-9]*/cwd -maxdepth 0 \( -lname "$1" -o -lname "$1[/ ]*" \)
	} 2>/dev/null | awk -F / -v self=$$ '$3 != self && !seen[$3]++ { print $3 }' || true # some are gone meanwhile
}

# processes_end - the store's processes are gone
processes_end() {
	await "an end of the store's processes" processes_none
}

processes_none() {
	[ -z "$(scratch_processes "$store")" ]
}

# scratch_sweep DIR - ends what still runs in a scratch directory and removes it
scratch_sweep() {
	local directory=$1 i point process mount_points
	mounts_read
	for ((i = ${#mount_points[@]} - 1; i >= 0; i--)); do
		point=${mount_points[i]}
		[ "${point#"$directory"}" != "$point" ] || continue
		timeout 10 umount "$point" 2>/dev/null && continue
		for process in $(scratch_processes "$directory"); do
			kill -9 "$process" 2>/dev/null || true
		done
		umount "$point" 2>/dev/null || umount -l "$point" 2>/dev/null || true
	done
	for process in $(scratch_processes "$directory"); do
		kill -9 "$process" 2>/dev/null || true
	done
	for point in $(grep -lsF -- "$directory/" /sys/block/loop*/loop/backing_file); do
		point=${point#/sys/block/}
		losetup -d "/dev/${point%%/*}" 2>/dev/null || true
	done
	rm -rf --one-file-system "$directory" "$directory.log" 2>/dev/null || true
}

# The line that says what differed: the one that fail wrote, else the last.
failure_line() {
	sed -n "s/^FAIL: //p" "$1" | grep . | tail -n 1 || tail -n 1 "$1"
}

# scratch_keep - copies what is left of a case that failed, without what is mounted there
scratch_keep() {
	local kept
	kept=$KVFS_TEST_KEEP/$(basename "$SCRATCH")
	if ! mkdir -p "$kept" || ! cp "$SCRATCH.log" "$kept/"; then
		echo "#   cannot be kept: $kept" # it is swept away all the same
		return 0
	fi
	timeout 60 cp -ax "$SCRATCH/." "$kept/" 2>/dev/null || true # a mount whose server is dead cannot be read
	echo "#   kept: $kept"
}

# scratch_run NAME NUMBER - runs one case in a process group of its own, and prints its line, and how long it took before that
scratch_run() {
	local name=$1 status=0 seconds=$((limit * slow * (long ? 20 : 1))) log began=$SECONDS
	SCRATCH=$(mktemp -d "${TMPDIR:-/var/tmp}/kvfs-$subject-$name.XXXXXX")
	export SCRATCH
	log=$SCRATCH.log
	# of an option that is given twice the last counts
	export ASAN_OPTIONS="${given_asan_options:+$given_asan_options:}log_path=$SCRATCH/sanitizer"
	export UBSAN_OPTIONS="${given_ubsan_options:+$given_ubsan_options:}print_stacktrace=1:log_path=$SCRATCH/sanitizer"
	export TSAN_OPTIONS="${given_tsan_options:+$given_tsan_options:}log_path=$SCRATCH/sanitizer"
	timeout -k 10 "$seconds" bash "$0" --case "$name" </dev/null >"$log" 2>&1 &
	running=$!
	wait "$running" || status=$?
	running=
	echo "# $name: $((SECONDS - began)) s"
	case $status in
	0) echo "ok $2 - $name" ;;
	77) echo "ok $2 - $name # SKIP $(tail -n 1 "$log")" ;;
	*)
		failed=1
		echo "not ok $2 - $name"
		if [ "$status" = 124 ] || [ "$status" = 137 ]; then
			echo "# $subject/$name: no end within $seconds s"
		else
			echo "# $subject/$name: $(failure_line "$log")"
		fi
		tail -n 30 "$log" | sed 's/^/#   /'
		if [ -s "$SCRATCH/daemon.log" ]; then
			echo '#   the daemon said:'
			tail -n 10 "$SCRATCH/daemon.log" | sed 's/^/#   /'
		fi
		[ -z "${KVFS_TEST_KEEP:-}" ] || scratch_keep
		;;
	esac
	scratch_sweep "$SCRATCH"
}

scratch_interrupted() {
	trap '' PIPE
	[ -z "$running" ] || kill -TERM "$running" 2>/dev/null || true
	[ -z "$SCRATCH" ] || scratch_sweep "$SCRATCH"
	echo "Bail out! interrupted" 2>/dev/null || true
	exit 1
}

# Why no case of this machine can run, or nothing.
scratch_obstacle() {
	if [ "$(id -u)" != 0 ]; then
		echo "needs root"
	elif [ "$on" != kvfs ]; then
		return 0
	elif [ ! -c /dev/fuse ]; then
		echo "there is no /dev/fuse here"
	fi
}

# scratch_main [CASE...] - runs the cases (all of them) and reports
scratch_main() {
	local name number=0 obstacle
	if [ "${1:-}" = --case ]; then
		scratch_case "$2"
		exit 0
	fi
	running=
	failed=0
	given_asan_options=${ASAN_OPTIONS:-}
	given_ubsan_options=${UBSAN_OPTIONS:-}
	given_tsan_options=${TSAN_OPTIONS:-}
	[ $# = 0 ] || cases=("$@")
	obstacle=$(scratch_obstacle)
	if [ -n "$obstacle" ]; then
		echo "1..0 # SKIP $obstacle"
		exit 0
	fi
	if [ "$on" = kvfs ] && [ ! -x "$KVFS" ]; then
		echo "Bail out! KVFS does not name the program to test"
		exit 1
	fi
	if [ ${#cases[@]} = 0 ]; then
		echo "Bail out! there are no cases"
		exit 1
	fi
	trap scratch_interrupted INT TERM HUP PIPE
	echo "1..${#cases[@]}"
	for name in "${cases[@]}"; do
		number=$((number + 1))
		scratch_run "$name" "$number"
	done
	exit "$failed"
}
