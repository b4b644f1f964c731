#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# packages.sh - dpkg installs, upgrades, configures, removes and verifies a small system on the mount
#
# The packages are made here: programs, links, configuration, a set-id program, a directory that several share, a file
# that moves between two. dpkg syncs and renames each file, and writes its own database so.

cases=(install_and_remove interrupted same_as_ext4)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

root=$mnt/system

dpkg_there() {
	command -v dpkg-deb >/dev/null || skip "there is no dpkg here"
}

# package_make NAME VERSION [DEPENDS] - $SCRATCH/NAME_VERSION.deb, different in each version
package_make() {
	local dir=$SCRATCH/package i
	rm -rf "$dir"
	mkdir -p "$dir/DEBIAN" "$dir/usr/bin" "$dir/usr/share/doc/$1" "$dir/etc/$1" "$dir/usr/lib/shared"
	printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Test <test@example.org>\nDescription: a test\n' \
		"$1" "$2" >"$dir/DEBIAN/control"
	[ -z "${3:-}" ] || echo "Depends: $3" >>"$dir/DEBIAN/control"
	echo "/etc/$1/conf" >"$dir/DEBIAN/conffiles"
	for i in $(seq "$(rounds 40 12)"); do seq "$((i * ${2%.*}))" "$((i * 50))" >"$dir/usr/share/doc/$1/part$i"; done
	echo "version $2" >"$dir/usr/bin/$1"
	echo "setting of $2" >"$dir/etc/$1/conf"
	ln -s "$1" "$dir/usr/bin/$1-link"
	ln "$dir/usr/share/doc/$1/part1" "$dir/usr/share/doc/$1/same"
	echo "$1" >"$dir/usr/lib/shared/$1"
	chown -R root:root "$dir"
	chmod 4755 "$dir/usr/bin/$1"
	find "$dir" -exec touch -h -d "2020-01-0${2%.*} 12:00:00" {} +
	dpkg-deb -Znone --build --root-owner-group "$dir" "$SCRATCH/$1_$2.deb" >/dev/null
}

dpkg_run() {
	# outside a chroot there is nothing to be configured, and the host's own path counts
	dpkg --root="$root" --log="$SCRATCH/dpkg.log" --force-not-root --force-confold --force-depends "$@" >out 2>&1 ||
		fail "dpkg $1: $(tail -n 1 out)"
}

system_make() {
	root=$1
	mkdir -p "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/triggers"
	touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
}

packages_make() {
	local name
	for name in alpha beta gamma delta; do
		package_make "$name" 1.0
		package_make "$name" 2.0 alpha
	done
}

exercise() {
	dpkg_run -i alpha_1.0.deb beta_1.0.deb gamma_1.0.deb delta_1.0.deb
	expect_same "mode of a set-id program" 4755 "$(stat -c %a "$root/usr/bin/alpha")"
	expect_same "links of a file with two names" 2 "$(stat -c %h "$root/usr/share/doc/alpha/same")"
	echo "changed here" >"$root/etc/beta/conf"
	dpkg_run -i alpha_2.0.deb beta_2.0.deb
	expect_same "configuration that was changed" "changed here" "$(cat "$root/etc/beta/conf")"
	expect_same "the new program" "version 2.0" "$(cat "$root/usr/bin/beta")"
	dpkg_run -r gamma
	[ -e "$root/etc/gamma/conf" ] || fail "removing took the configuration"
	[ ! -e "$root/usr/share/doc/gamma" ] || fail "removing left files"
	dpkg_run -P gamma
	[ ! -e "$root/etc/gamma" ] || fail "purging left the configuration"
	dpkg_run --audit
	expect_same "what dpkg --audit says" "" "$(cat out)"
	dpkg --root="$root" --verify >out 2>&1 || true
	expect_same "what dpkg --verify says" "??5?????? c /etc/beta/conf" "$(cat out)"
	expect_same "files left by dpkg" "" "$(find "$root" -name '*.dpkg-new' -o -name '*.dpkg-tmp')"
}

case_install_and_remove() {
	dpkg_there
	packages_make
	store_make
	store_mount
	system_make "$mnt/system"
	exercise
	store_remount
	dpkg --root="$root" --verify >out 2>&1 || true
	expect_same "what dpkg --verify says after a remount" "??5?????? c /etc/beta/conf" "$(cat out)"
}

# dpkg and the mount's server die together; dpkg goes on where it was.
case_interrupted() {
	local round installer
	dpkg_there
	needs_kvfs
	packages_make
	store_make
	store_mount
	system_make "$mnt/system"
	for round in $(seq "$(rounds 6 2 50)"); do
		dpkg --root="$root" --log="$SCRATCH/dpkg.log" --force-not-root --force-confold --force-depends \
			-i {alpha,beta,gamma,delta}_$((round % 2 + 1)).0.deb >out 2>&1 &
		installer=$!
		sleep "0.$((RANDOM % 4))$((RANDOM % 10))"
		daemon_kill
		wait "$installer" 2>/dev/null || true
		mount_clear
		store_mount
		rm -f "$root/var/lib/dpkg/lock"*
		dpkg_run -i {alpha,beta,gamma,delta}_$((round % 2 + 1)).0.deb
		dpkg --root="$root" --verify >out 2>&1 || true
		expect_same "what dpkg --verify says in round $round" "" "$(grep -v ' c /etc' out || true)"
	done
}

# The same packages make the same tree as on the file system of the scratch directory.
case_same_as_ext4() {
	dpkg_there
	packages_make
	store_make
	store_mount
	system_make "$SCRATCH/plain"
	exercise
	system_make "$mnt/system"
	exercise
	diff -r --no-dereference -x '*.log' "$SCRATCH/plain" "$mnt/system"
	(cd "$SCRATCH/plain/usr" && find . -printf '%p %y %m %s %T@ %n %l\n' | grep -v ' d ' | sort) >plain.list
	(cd "$mnt/system/usr" && find . -printf '%p %y %m %s %T@ %n %l\n' | grep -v ' d ' | sort) >system.list
	diff plain.list system.list || fail "attributes differ"
}

scratch_main "$@"
