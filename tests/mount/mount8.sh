#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# mount8.sh - once installed, mount(8), umount(8) and a line of fstab know kvfs
#
# The build is installed below the scratch directory. mount(8) looks for its helpers in /sbin alone, so
# the cases run in a mount namespace of their own in which the installed helpers lie over /sbin; the machine's own
# stays as it is.
#
# Environment: MESON_BUILD_ROOT, the build directory; CC, the C compiler, cc

cases=(type_kvfs type_fuse_kvfs options_pass_through errors_reach_mount fstab_line installed_files)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# installed - makes the namespace and runs the rest of the case (the function inside_NAME) in it
installed() {
	needs_kvfs
	[ -e "${MESON_BUILD_ROOT:-}/build.ninja" ] || skip "no build to install from"
	DESTDIR=$SCRATCH/root meson install -C "$MESON_BUILD_ROOT" --no-rebuild >install.log 2>&1 ||
		fail "meson install: $(tail -n 1 install.log)"
	unshare -m true 2>/dev/null || skip "no mount namespaces here"
	export SCRATCH inside="inside_$1"
	unshare -m --propagation slave bash "$here/mount8.sh" --case inside_namespace || exit $?
}

case_inside_namespace() {
	local helper prefix
	helper=$(cd "$SCRATCH/root" && find . -name mount.kvfs | head -n 1)
	[ -n "$helper" ] || fail "mount.kvfs is not installed"
	helper=$SCRATCH/root/$(dirname "$helper")
	mount -t overlay -o "lowerdir=$helper:/usr/sbin" overlay /usr/sbin 2>/dev/null ||
		skip "cannot lay the helpers over /usr/sbin here"
	prefix=$(dirname "$(cd "$SCRATCH/root" && find . -path '*/bin/kvfs' | head -n 1)")
	PATH=$SCRATCH/root/$prefix:$PATH
	# a helper that is a link to where the program will be
	if [ ! -e /sbin/mount.kvfs ]; then
		fail "mount.kvfs is a link that leads nowhere: $(readlink /sbin/mount.kvfs)"
	fi
	mkdir -p "$mnt"
	kvfs mkfs "$store"
	"$inside"
	! is_mounted "$mnt" || fail "left mounted"
	store_check
}

inside_type_kvfs() {
	mount -t kvfs "$store" "$mnt"
	echo text >"$mnt/file"
	grep -qF " $mnt fuse.kvfs " /proc/mounts || fail "not in /proc/mounts as fuse.kvfs"
	expect_same "the type for findmnt" fuse.kvfs "$(findmnt -n -o FSTYPE "$mnt")"
	unmount_and_wait
	expect_same "get" text "$(kvfs get "$store" file)"
}

# umount(8) does not wait for the daemon unless a helper does; the store is free soon after.
unmount_and_wait() {
	unmount "$mnt" umount
	processes_end
}

inside_type_fuse_kvfs() {
	mount -t fuse.kvfs "$store" "$mnt"
	echo text >"$mnt/file"
	grep -qF " $mnt fuse.kvfs " /proc/mounts || fail "not in /proc/mounts as fuse.kvfs"
	unmount_and_wait
}

inside_options_pass_through() {
	mount -t kvfs -o ro,noatime,nosuid,nodev,allow_other,commit=5,x-test.nothing "$store" "$mnt"
	grep " $mnt " /proc/mounts | grep -q 'ro,nosuid,nodev.*noatime' || fail "$(grep " $mnt " /proc/mounts)"
	grep " $mnt " /proc/mounts | grep -q 'allow_other' || fail "allow_other did not arrive"
	expect_fail 'read-only' touch "$mnt/new"
	unmount_and_wait
	mount -t kvfs -r "$store" "$mnt"
	expect_fail 'read-only' touch "$mnt/new"
	unmount_and_wait
	mount -t kvfs "$store" "$mnt"
	echo text >"$mnt/file"
	mount -o remount,ro "$mnt"
	expect_fail 'read-only' touch "$mnt/new"
	mount -o remount,rw "$mnt"
	touch "$mnt/new"
	unmount_and_wait
}

inside_errors_reach_mount() {
	expect_fail 'no such' mount -t kvfs "$SCRATCH/none" "$mnt"
	expect_fail 'nonsense' mount -t kvfs -o nonsense "$store" "$mnt"
	mkdir foreign
	expect_fail 'not a kvfs store' mount -t kvfs "$SCRATCH/foreign" "$mnt"
	mount -t kvfs "$store" "$mnt"
	mkdir -p second
	expect_fail 'in use|mounted' mount -t kvfs "$store" "$SCRATCH/second"
	unmount_and_wait
}

inside_fstab_line() {
	echo "$store $mnt kvfs noatime,noauto,nofail,x-systemd.automount 0 0" >fstab
	mount -T fstab "$mnt"
	echo text >"$mnt/file"
	unmount_and_wait
	mount -T fstab -a -O noauto || true
	! is_mounted "$mnt" || fail "mount -a mounted a noauto line"
	echo "$store $mnt fuse.kvfs ro 0 0" >fstab
	mount -T fstab -a
	expect_same "the file" text "$(cat "$mnt/file")"
	unmount_and_wait
}

case_type_kvfs() { installed type_kvfs; }
case_type_fuse_kvfs() { installed type_fuse_kvfs; }
case_options_pass_through() { installed options_pass_through; }
case_errors_reach_mount() { installed errors_reach_mount; }
case_fstab_line() { installed fstab_line; }

# A program can be built against what was installed.
case_installed_files() {
	local name pkgconfig
	needs_kvfs
	[ -e "${MESON_BUILD_ROOT:-}/build.ninja" ] || skip "no build to install from"
	DESTDIR=$SCRATCH/root meson install -C "$MESON_BUILD_ROOT" --no-rebuild >install.log 2>&1 ||
		fail "meson install: $(tail -n 1 install.log)"
	for name in kvfs mount.kvfs kv.h kvfs.h; do
		[ -n "$(find root -name "$name")" ] || fail "$name is not installed"
	done
	! find root -path '*fuse*' -name '*.h' | grep -q . || fail "libfuse's own files were installed as well"
	pkgconfig=$(find root -name '*.pc' | grep -i kv | head -n 1)
	[ -n "$pkgconfig" ] || fail "no pkg-config file is installed"
	examples_work "$(dirname "$pkgconfig")"
}

# examples_work DIR - those of the libraries, compiled as they say, do what they say; DIR has the files for pkg-config
examples_work() {
	local name library compiler
	read -ra compiler <<<"${CC:-cc}" # it may have options
	for name in "${compiler[0]}" pkg-config; do
		command -v "$name" >/dev/null || skip "no $name here to build the examples with"
	done
	export PKG_CONFIG_PATH=$1 PKG_CONFIG_SYSROOT_DIR=$SCRATCH/root
	export LD_LIBRARY_PATH=${1%/*}
	for name in engine:libkv fs:libkvfs; do
		library=${name#*:}
		# shellcheck disable=SC2046 # options, each a word
		"${compiler[@]}" "$REPOSITORY/${name%:*}/example.c" $(pkg-config --cflags --libs "$library") -o "$library" ||
			fail "the example of $library does not compile"
	done
	echo "one two two" | ./libkv words >out
	echo "two three" | ./libkv words >out
	expect_same "words" "1 one 1 three 3 two" "$(xargs <out)"
	store_make
	./libkvfs "$store" list "first line" >/dev/null
	./libkvfs "$store" list "second line" >out
	expect_same "a note" "$("$KVFS" get "$store" list)" "$(cat out)"
	expect_same "lines of it" 2 "$(wc -l <out)"
	expect_fail 'no such' ./libkvfs "$store.none" list
}

scratch_main "$@"
