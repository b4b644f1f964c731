#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# git.sh - git works on the mount: clone, commit, branch, merge, repack, and fsck finds nothing
#
# Environment: REPOSITORY, where this very source lives (cloned as well if it is a git repository)

cases=(commits_and_gc clone_there_and_back clone_ourselves large_tree many_checkouts)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# Nothing of the machine's own configuration plays a part.
export HOME=$SCRATCH GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=Test GIT_AUTHOR_EMAIL=test@example.org
export GIT_COMMITTER_NAME=Test GIT_COMMITTER_EMAIL=test@example.org GIT_TERMINAL_PROMPT=0
export GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export GIT_CONFIG_KEY_1=init.defaultBranch GIT_CONFIG_VALUE_1=main
# or a commit leaves something behind that packs the repository while the next command works on it
export GIT_CONFIG_KEY_2=gc.autoDetach GIT_CONFIG_VALUE_2=false

# repository_make DIR COMMITS - a history with branches, merges, renames and a binary
repository_make() {
	local i
	git init -q "$1"
	cd "$1"
	for i in $(seq "$2"); do
		mkdir -p "src/$((i % 9))"
		seq "$i" $((i * 30)) >"src/$((i % 9))/file$((i % 25))"
		head -c $((i * 300)) /dev/urandom >"src/binary$((i % 5))"
		git add -A
		git commit -q -m "change $i"
		if [ $((i % 10)) = 0 ]; then
			git checkout -q -b "topic$i" HEAD~3
			seq "$i" $((i * 20)) >"topic$i.txt"
			git add -A
			git commit -q -m "topic $i"
			git checkout -q main
			git merge -q -m "merge $i" "topic$i"
		fi
	done
	git mv src/0 src/renamed
	git commit -q -m "rename"
	git tag -a -m "a tag" v1
	cd "$SCRATCH"
}

# repository_sound DIR
repository_sound() {
	local output
	output=$(git -C "$1" fsck --full --strict 2>&1) || fail "git fsck: $output"
	! grep -E 'missing|corrupt|broken|error' <<<"$output" || fail "git fsck: $output"
	output=$(git -C "$1" status --porcelain)
	expect_same "git status" "" "$output"
}

case_commits_and_gc() {
	local before
	store_make
	store_mount
	repository_make "$mnt/repo" "$(rounds 60 25)"
	repository_sound "$mnt/repo"
	before=$(git -C "$mnt/repo" log --all --format=%H | sort)
	git -C "$mnt/repo" gc -q --aggressive --prune=now
	repository_sound "$mnt/repo"
	store_remount
	repository_sound "$mnt/repo"
	expect_same "commits after gc" "$before" "$(git -C "$mnt/repo" log --all --format=%H | sort)"
	git -C "$mnt/repo" checkout -q HEAD~10
	git -C "$mnt/repo" checkout -q main
	git -C "$mnt/repo" stash list >/dev/null
	repository_sound "$mnt/repo"
}

case_clone_there_and_back() {
	repository_make "$SCRATCH/origin" 25
	store_make
	store_mount
	git clone -q --no-hardlinks "$SCRATCH/origin" "$mnt/clone"
	repository_sound "$mnt/clone"
	git clone -q --no-local "$SCRATCH/origin" "$mnt/fetched"
	repository_sound "$mnt/fetched"
	git clone -q "$mnt/clone" "$mnt/linked" # with hard links inside the mount
	repository_sound "$mnt/linked"
	echo more >"$mnt/clone/more"
	git -C "$mnt/clone" add more
	git -C "$mnt/clone" commit -q -m more
	git -C "$mnt/clone" push -q origin HEAD:refs/heads/pushed
	git clone -q --no-local -b pushed "$SCRATCH/origin" "$SCRATCH/back"
	repository_sound "$SCRATCH/back"
	expect_same "commit after push and clone" "$(git -C "$mnt/clone" rev-parse HEAD)" \
		"$(git -C "$SCRATCH/back" rev-parse HEAD)"
	diff -r --exclude=.git "$mnt/clone" "$SCRATCH/back"
}

case_clone_ourselves() {
	git -C "${REPOSITORY:-/}" rev-parse HEAD >/dev/null 2>&1 || skip "the source is not a git repository"
	store_make
	store_mount
	git clone -q --no-local "$REPOSITORY" "$mnt/kvfs"
	repository_sound "$mnt/kvfs"
	git clone -q --no-local "$REPOSITORY" "$SCRATCH/kvfs"
	diff -r --exclude=.git "$SCRATCH/kvfs" "$mnt/kvfs"
	git -C "$mnt/kvfs" gc -q
	store_remount
	repository_sound "$mnt/kvfs"
}

# large_tree_work DIR - a history of the files in $SCRATCH/files, with nothing left to chance; prints what came of it
large_tree_work() {
	local GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
	export GIT_AUTHOR_DATE GIT_COMMITTER_DATE
	cp -a files "$1"
	git -C "$1" init -q
	git -C "$1" add -A
	git -C "$1" commit -q -m "all"
	git -C "$1" checkout -q -b changed
	find "$1" -path "$1/.git" -prune -o -type f -name '*s.h' -print0 | xargs -0 sed -i '1s/^/changed /'
	find "$1" -path "$1/.git" -prune -o -type f -name '*t.h' -print0 | xargs -0 rm
	git -C "$1" mv first renamed
	git -C "$1" commit -q -a -m "changed"
	git -C "$1" checkout -q main
	expect_same "git status of $1" "" "$(git -C "$1" status --porcelain)"
	diff -r --exclude=.git files "$1" || fail "the tree that was checked out is not what was committed"
	git -C "$1" merge -q changed
	git -C "$1" gc -q
	repository_sound "$1"
	git clone -q --shared "$1" "$1.shared"
	repository_sound "$1.shared"
	git -C "$1" log --all --format='%H %T'
	git -C "$1" diff --stat HEAD~1 | tail -n 1
	git -C "$1" ls-files -s | sha256sum
}

# Thousands of files: the same commits as on the file system of the scratch directory, to the last bit.
case_large_tree() {
	store_make
	store_mount
	mkdir -p files/first
	# find is not waited for: there are many more
	{ find /usr/include /usr/share -type f -size -200k 2>error || true; } |
		awk -v most="$(rounds 1500 250 60000)" 'NR > most { exit } { print substr($0, 2) }' >names
	tar -C / -cf files.tar -T names
	tar -C files -xf files.tar
	seq 1000 >files/first/numbers
	large_tree_work "$SCRATCH/plain" >plain.result
	large_tree_work "$mnt/tree" >tree.result
	diff plain.result tree.result || fail "git made something else of it than on another file system"
	store_remount
	repository_sound "$mnt/tree"
	diff -r --exclude=.git plain "$mnt/tree"
}

# The index trusts what stat says: sizes, times to the nanosecond, inode numbers.
case_many_checkouts() {
	local i
	store_make
	store_mount
	repository_make "$mnt/repo" 25
	for i in $(seq "$(rounds 30 10)"); do
		git -C "$mnt/repo" checkout -q "HEAD~$((i % 7 + 1))"
		expect_same "git status of step $i" "" "$(git -C "$mnt/repo" status --porcelain)"
		git -C "$mnt/repo" checkout -q main
		expect_same "git status back from step $i" "" "$(git -C "$mnt/repo" status --porcelain)"
	done
	store_remount
	expect_same "git diff-files after a remount" "" "$(git -C "$mnt/repo" diff-files)"
	git -C "$mnt/repo" worktree add -q "$mnt/second" HEAD~5
	repository_sound "$mnt/second"
}

scratch_main "$@"
