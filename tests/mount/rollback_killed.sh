#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# rollback_killed.sh - whoever goes back to a snapshot dies on the way: the command, or the server of a mount

cases=(rollback_killed rollback_mounted_killed)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/snapshot_tree.sh"

# large_tree_make DIR - so many files that going back takes longer than it is left to live
large_tree_make() {
	local i
	tree_make "$1"
	for i in $(seq "$(rounds 12 3 20)"); do cp -a "$1/many" "$1/many$i"; done
}

# large_tree_change DIR - each of its files, and some are gone
large_tree_change() {
	chmod -R g+w "$1"
	rm -rf "$1/many"{1..2}
	tree_change "$1"
}

# one_of_two - the mounted tree is the one before the rollback or the one that it leads to, all of it, and the snapshot is what it
# was; leaves the store unmounted, and it is sound
one_of_two() {
	if [ -e "$mnt/tree/renamed" ]; then
		same_tree between "$mnt/tree"
	else
		same_tree before "$mnt/tree"
	fi
	same_tree before "$snapshots/one/tree"
	store_unmount
	store_check
}

# A rollback that is killed has not begun, or is finished by whoever opens the store next.
case_rollback_killed() {
	local i pause
	prepare_changed large_tree_make large_tree_change
	store_unmount
	cp -a "$store" saved
	for i in $(seq "$(rounds 12 3)"); do
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
		one_of_two
	done
}

# The tree is the old one or the other, whenever the serving process is killed.
case_rollback_mounted_killed() {
	local i pause
	prepare_changed large_tree_make large_tree_change
	"$KVFS" snapshot create "$mnt" two
	for i in $(seq "$(rounds 5 2)"); do
		"$KVFS" snapshot rollback --discard "$mnt" one >/dev/null 2>&1 &
		pause=$((RANDOM % 80))
		sleep "0.0$((pause / 10))$((pause % 10))"
		daemon_kill
		wait $! 2>/dev/null || true
		mount_clear
		store_mount
		one_of_two
		store_mount
		"$KVFS" snapshot rollback --discard "$mnt" two
		same_tree between "$mnt/tree"
	done
}

scratch_main "$@"
