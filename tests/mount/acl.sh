#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# acl.sh - access control lists decide who may do what, follow chmod, and are inherited

cases=(enforced mask inherited directories groups set_gid survives switched_off)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# as UID COMMAND... - as an ordinary user with a group of the same number
as() {
	local uid=$1
	shift
	setpriv --reuid "$uid" --regid "$uid" --clear-groups -- "$@"
}

may() {
	as "$@" 2>error || fail "$*: $(cat error)"
}

may_not() {
	! as "$@" 2>error >/dev/null || fail "$* went well"
	grep -q 'Permission denied' error || fail "$*: $(cat error)"
}

# other users must be able to come in from above
area_make() {
	store_make
	store_mount -o allow_other
	chmod a+x "$SCRATCH"
	chmod 755 "$mnt"
}

case_enforced() {
	area_make
	echo contents >"$mnt/f"
	chmod 600 "$mnt/f"
	may_not 4321 cat "$mnt/f"
	setfacl -m u:4321:r "$mnt/f"
	expect_same "read by the named user" contents "$(as 4321 cat "$mnt/f")"
	may_not 4322 cat "$mnt/f"
	may_not 4321 dd of="$mnt/f" count=0 conv=notrunc status=none
	setfacl -m g:4322:rw "$mnt/f"
	may 4322 dd of="$mnt/f" count=0 conv=notrunc status=none
	setfacl -x u:4321 "$mnt/f"
	may_not 4321 cat "$mnt/f"
	setfacl -b "$mnt/f"
	may_not 4322 cat "$mnt/f"
	expect_same "mode without a list" 600 "$(stat -c %a "$mnt/f")"
}

case_mask() {
	area_make
	touch "$mnt/f"
	chmod 640 "$mnt/f"
	setfacl -m u:4321:rwx "$mnt/f"
	expect_same "the mask is the group's mode" 670 "$(stat -c %a "$mnt/f")"
	chmod 600 "$mnt/f"
	expect_same "mask after chmod" mask::--- "$(getfacl -cp "$mnt/f" | grep mask)"
	may_not 4321 cat "$mnt/f"
	chmod 644 "$mnt/f"
	may 4321 cat "$mnt/f"
	expect_same "the group's own entry" group::r-- "$(getfacl -cp "$mnt/f" | grep group::)"
}

case_inherited() {
	area_make
	mkdir "$mnt/d"
	setfacl -d -m u:4321:rw,o::- "$mnt/d"
	(umask 077 && touch "$mnt/d/f" && mkdir "$mnt/d/sub")
	expect_same "mode of a file" 660 "$(stat -c %a "$mnt/d/f")"
	expect_same "entry of a file" user:4321:rw- "$(getfacl -cp "$mnt/d/f" | grep user:4321)"
	expect_same "default of a directory" default:user:4321:rw- \
		"$(getfacl -cp "$mnt/d/sub" | grep default:user:4321)"
	(umask 027 && touch "$mnt/g")
	expect_same "mode outside" 640 "$(stat -c %a "$mnt/g")"
	# whatever is made: the umask has no say, but what the maker asks for has
	(umask 077 && mkfifo "$mnt/d/fifo" && mknod "$mnt/d/device" c 1 3)
	expect_same "mode of a fifo" 660 "$(stat -c %a "$mnt/d/fifo")"
	expect_same "mode of a device" 660 "$(stat -c %a "$mnt/d/device")"
	(umask 077 && python3 -c 'import os, sys
os.close(os.open(sys.argv[1] + "/private", os.O_CREAT | os.O_WRONLY, 0o600))
unnamed = os.open(sys.argv[1], os.O_TMPFILE | os.O_WRONLY, 0o664)
os.link(f"/proc/self/fd/{unnamed}", sys.argv[1] + "/named", src_dir_fd=unnamed) # follows it' "$mnt/d")
	expect_same "mode of one that was made for its owner" 600 "$(stat -c %a "$mnt/d/private")"
	expect_same "its mask" mask::--- "$(getfacl -cp "$mnt/d/private" | grep mask)"
	may_not 4321 cat "$mnt/d/private"
	expect_same "mode of one without a name" 660 "$(stat -c %a "$mnt/d/named")"
	expect_same "its entry" user:4321:rw- "$(getfacl -cp "$mnt/d/named" | grep user:4321)"
	(umask 077 && cd "$mnt/d" && ln -s f link && mkdir sub/sub)
	expect_same "mode of a link" 777 "$(stat -c %a "$mnt/d/link")"
	expect_same "default two levels down" default:user:4321:rw- \
		"$(getfacl -cp "$mnt/d/sub/sub" | grep default:user:4321)"
}

case_directories() {
	area_make
	mkdir -m 700 "$mnt/d"
	touch "$mnt/d/f"
	may_not 4321 ls "$mnt/d"
	setfacl -m u:4321:rx "$mnt/d"
	expect_same "listed by the named user" f "$(as 4321 ls "$mnt/d")"
	may_not 4321 touch "$mnt/d/g"
	setfacl -m u:4321:rwx "$mnt/d"
	may 4321 touch "$mnt/d/g"
	may 4321 rm -f "$mnt/d/g"
}

# Every group that one is in counts, and the first kind of entry that fits: the user's own, then the groups'.
case_groups() {
	area_make
	echo contents >"$mnt/f"
	chmod 600 "$mnt/f"
	setfacl -m g:5001:r,g:5002:w "$mnt/f"
	may_not 4321 cat "$mnt/f"
	setpriv --reuid 4321 --regid 4321 --groups 5001 -- cat "$mnt/f" >/dev/null || fail "a member may not read"
	! setpriv --reuid 4321 --regid 4321 --groups 5002 -- cat "$mnt/f" 2>/dev/null || fail "a writer may read"
	setpriv --reuid 4321 --regid 4321 --groups 5002,5001 -- cat "$mnt/f" >/dev/null ||
		fail "a member of two groups may not read"
	# both rights at once are in none of the entries
	! setpriv --reuid 4321 --regid 4321 --groups 5001,5002 -- bash -c ': <>"$1"' - "$mnt/f" 2>/dev/null ||
		fail "rights of two entries add up"
	setfacl -m u:4321:- "$mnt/f"
	! setpriv --reuid 4321 --regid 4321 --groups 5001 -- cat "$mnt/f" 2>/dev/null ||
		fail "a group's entry counts although the user has one"
	expect_fail 'not permitted' setpriv --reuid 4321 --regid 4321 --clear-groups -- setfacl -b "$mnt/f"
	setfacl -b "$mnt/f"
	chown 4321 "$mnt/f"
	may 4321 setfacl -m u:4400:r "$mnt/f"
	may 4400 cat "$mnt/f"
}

# Only the group's members keep the set-gid bit of a file whose list they change.
case_set_gid() {
	area_make
	touch "$mnt/f"
	chown 4321:4322 "$mnt/f"
	chmod 2775 "$mnt/f"
	may 4321 setfacl -m u:5000:r "$mnt/f"
	expect_same "mode for one who is no member" 775 "$(stat -c %a "$mnt/f")"
	chmod 2775 "$mnt/f"
	setpriv --reuid 4321 --regid 4321 --groups 4322 -- setfacl -m u:5001:r "$mnt/f"
	expect_same "mode for a member" 2775 "$(stat -c %a "$mnt/f")"
}

case_survives() {
	needs_kvfs
	area_make
	mkdir "$mnt/d"
	setfacl -m u:4321:rwx -d -m g:4322:rx "$mnt/d"
	getfacl -cp "$mnt/d" >before
	store_remount
	getfacl -cp "$mnt/d" >after
	diff before after || fail "the list has changed"
	store_unmount
	store_check
}

case_switched_off() {
	needs_kvfs
	store_make
	store_mount -o noacl
	touch "$mnt/f"
	! setfacl -m u:4321:r "$mnt/f" 2>error || fail "a list was set"
	grep -q 'not supported' error || fail "setfacl: $(cat error)"
	(umask 027 && touch "$mnt/g")
	expect_same "mode under a umask" 640 "$(stat -c %a "$mnt/g")"
}

scratch_main "$@"
