#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# posix.sh - the cases of posix_*.c, each on a fresh mount that everybody may enter
#
# Environment: POSIX, the program posix

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

mapfile -t cases < <("$POSIX" --list)
# the second time, over another transport, what depends on it will do
if [ -n "$quick" ] && [ -n "${KVFS_TEST_OPTIONS:-}" ]; then
	cases=(rename_is_atomic write_and_read random_changes append_by_many map_shared xattrs list_under_change
		list_places one_creator_wins)
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
