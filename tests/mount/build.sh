#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# build.sh - C projects are configured and built on the mount, and built anew only where they must be
#
# Environment: REPOSITORY, this very source, which is built as well

limit=1200
cases=(make_project build_ourselves)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# project_make DIR FILES - a program of that many files, a library of their objects, and dependencies by header
project_make() {
	local i
	mkdir "$1"
	(
		cd "$1"
		for i in $(seq "$2"); do
			echo "int part$i(int x);" >"part$i.h"
			printf '#include "part%d.h"\n#include <stdio.h>\n#include <string.h>\nint part%d(int x)\n{\n\treturn x + %d;\n}\n' \
				"$i" "$i" "$i" >"part$i.c"
		done
		{
			for i in $(seq "$2"); do echo "#include \"part$i.h\""; done
			printf '#include <stdio.h>\nint main(void)\n{\n\tint x = 0;\n'
			for i in $(seq "$2"); do printf '\tx = part%d(x);\n' "$i"; done
			printf '\tprintf("%%d\\n", x);\n\treturn 0;\n}\n'
		} >main.c
		cat >Makefile <<-'END'
			.RECIPEPREFIX = >
			parts := $(patsubst %.c,%.o,$(sort $(wildcard part*.c)))
			program: main.o libparts.a
			>$(CC) -o $@ $^
			libparts.a: $(parts)
			>$(AR) rcsD $@ $^
			%.o: %.c
			>@echo compiled $< >>log
			>$(CC) -O1 -g -MMD -c -o $@ $<
			-include *.d
		END
	)
}

case_make_project() {
	local count sum name
	count=$(rounds 120 12)
	sum=$((count * (count + 1) / 2))
	store_make
	store_mount
	project_make "$mnt/project" "$count"
	make -s -C "$mnt/project" -j 4
	expect_same "what the program prints" "$sum" "$("$mnt/project/program")"
	expect_same "files compiled" "$((count + 1))" "$(wc -l <"$mnt/project/log")"
	# to the last bit what is built elsewhere
	project_make plain "$count"
	make -s -C plain -j 4
	for name in program libparts.a; do
		# but for the names of the directories, and what is counted from them
		strip -g -R .note.gnu.build-id -o there "plain/$name"
		strip -g -R .note.gnu.build-id -o here "$mnt/project/$name"
		cmp there here || fail "$name is another than one that was built on another file system"
	done
	store_remount
	# times survive: nothing to do
	make -s -C "$mnt/project" -q || fail "make wants to build again after a remount"
	sleep 0.05
	echo '#define CHANGED 1' >>"$mnt/project/part7.h"
	make -s -C "$mnt/project" -j 4
	expect_same "files compiled after a change of one header" "$((count + 3))" \
		"$(wc -l <"$mnt/project/log")"
	expect_same "what the program prints then" "$sum" "$("$mnt/project/program")"
	rm -f "$mnt/project"/*.o
	make -s -C "$mnt/project" -j 4
	strip "$mnt/project/program"
	expect_same "what the stripped program prints" "$sum" "$("$mnt/project/program")"
}

case_build_ourselves() {
	[ -z "$quick" ] || skip "not in quick mode"
	[ "$slow" = 1 ] || skip "not with a sanitizer"
	[ -e "${REPOSITORY:-/}/meson.build" ] || skip "no source to build"
	store_make
	store_mount
	mkdir "$mnt/source"
	tar -C "$REPOSITORY" --exclude=./build* --exclude=./.git -cf - . | tar -C "$mnt/source" -xf -
	meson setup "$mnt/build" "$mnt/source" >setup.log 2>&1 || fail "meson setup: $(tail -n 1 setup.log)"
	ninja -C "$mnt/build" mount/kvfs >ninja.log 2>&1 || fail "ninja: $(grep -m 1 FAILED ninja.log)"
	"$mnt/build/mount/kvfs" mkfs "$SCRATCH/second_store"
	"$mnt/build/mount/kvfs" check "$SCRATCH/second_store"
	store_remount
	ninja -C "$mnt/build" mount/kvfs >ninja.log 2>&1
	grep -q 'no work to do' ninja.log || fail "ninja builds again after a remount: $(head -n 2 ninja.log)"
}

scratch_main "$@"
