# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# snapshot_tree.sh - a store with a varied tree, that tree changed throughout, and comparing: what the subjects about snapshots
# share. Sourced after scratch.sh.

# shellcheck disable=SC2034 # the subjects'
snapshots=$mnt/.snapshots

prepare() {
	needs_kvfs
	store_make
	store_mount "$@"
}

# tree_make DIR - some of everything
tree_make() {
	mkdir -p "$1/many" "$1/deep/er/and/deeper"
	# what `seq I $((I * 3))` says
	awk -v dir="$1/many" 'BEGIN {
		for (i = 1; i <= 300; i++) {
			file = dir "/" i
			for (n = i; n <= i * 3; n++)
				print n >file
			close(file)
		}
	}'
	head -c 3000000 /dev/urandom >"$1/large"
	truncate -s 10M "$1/sparse"
	echo end >>"$1/sparse"
	dd if=/dev/urandom of="$1/sparse" bs=4096 seek=700 count=3 conv=notrunc status=none
	ln "$1/large" "$1/deep/link"
	ln -s ../large "$1/deep/symlink"
	mkfifo "$1/fifo"
	setfattr -n user.colour -v green "$1/large"
	setfacl -m u:4321:r "$1/many/7"
	chmod 2750 "$1/many"
	chown 4321:4322 "$1/many/8"
	touch -d '2001-02-03 04:05:06.789' "$1/many/9"
}

# tree_change DIR - nothing stays as it was
tree_change() {
	rm -rf "$1/many/1"* "$1/deep/er"
	echo more >>"$1/many/20"
	dd if=/dev/urandom of="$1/large" bs=1000 seek=500 count=20 conv=notrunc status=none
	truncate -s 1000 "$1/sparse"
	mv "$1/many" "$1/renamed"
	setfattr -n user.colour -v red "$1/large"
	setfacl -b "$1/renamed/7"
	chmod 700 "$1/renamed"
	rm "$1/deep/symlink"
	mkdir "$1/many"
	echo new >"$1/many/2"
}

# prepare_changed [MAKE CHANGE] - a mounted store with a tree, snapshot one of it, and the tree changed; `before` and `between` are
# copies of the tree as it was and as it is
prepare_changed() {
	prepare
	"${1:-tree_make}" "$mnt/tree"
	cp -a "$mnt/tree" before
	mkdir "$snapshots/one"
	"${2:-tree_change}" "$mnt/tree"
	cp -a "$mnt/tree" between
}

# same_tree A B
same_tree() {
	"$TREE_COMPARE" "$1" "$2" || fail "$1 and $2 differ"
}
