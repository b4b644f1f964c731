#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# posix.sh - the cases of posix_*.c, each on a fresh mount that everybody may enter
#
# Environment: POSIX, the program posix

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

mapfile -t cases < <("$POSIX" --list)
# the second time, over another transport, what depends on it will do: sizes, many at once, flags that come with requests
if [ -z "$long" ] && [ -n "${KVFS_TEST_OPTIONS:-}" ]; then
	cases=(rename_is_atomic write_and_read random_changes append_by_many map_shared xattrs errors_of_xattrs list_under_change
		list_places list_and_remove one_creator_wins direct neighbours_in_a_page reading_beside_cuts copy_anywhere
		shuffle_a_tree fight_for_names many_without_names writes_clear_rights times_of_quiet_access times_of_contents
		sync_calls interrupted_by_signals programs errors_of_open far_offsets)
fi

case_any() {
	local output
	store_make
	# other users must get here
	chmod 755 "$SCRATCH"
	store_mount -o allow_other
	output=$("$POSIX" ${quick:+--quick} "$mnt" "$1" 2>&1) || {
		echo "$output"
		fail "$(grep -m 1 -oE '^FAIL: .*|.*runtime error.*|.*Sanitizer:.*' <<<"$output" || tail -n 1 <<<"$output")"
	}
}

scratch_main "$@"
