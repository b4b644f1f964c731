/* SPDX-License-Identifier: MIT */
/*
 * posix_rename.c - rename: what replaces what, what it refuses, and that nobody sees it half done
 */
#include "posix.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define STRANGER 54321u
#define TEAM 64321u

static void rename_file(void)
{
	ino_t ino, victim;
	int fd;

	file_put("a", "a");
	file_put("b", "b");
	ino = file_stat("a").st_ino;
	victim = file_stat("b").st_ino;
	OK(rename("a", "moved"));
	TRUE(!file_exists("a"));
	SAME(file_stat("moved").st_ino, ino);

	/* over an open file: the name changes hands at once, the old contents stay for who has them
	 */
	fd = OK(open("b", O_RDWR));
	OK(rename("moved", "b"));
	SAME(file_stat("b").st_ino, ino);
	TEXT("b", "a");
	{
		struct stat st;
		char byte;

		OK(fstat(fd, &st));
		SAME(st.st_ino, victim);
		SAME(st.st_nlink, 0);
		SAME(read(fd, &byte, 1), 1);
		SAME(byte, 'b');
	}
	close(fd);

	OK(rename("b", "b"));
	OK(link("b", "twin"));
	OK(rename("b", "twin")); /* two names of one file: nothing happens */
	TRUE(file_exists("b") && file_exists("twin"));
	FAILS(rename("nothing", "b"), ENOENT);
	FAILS(rename("b", "nothing/b"), ENOENT);
	FAILS(rename("b", "twin/b"), ENOTDIR);
	FAILS(rename("b", "new/"), ENOTDIR);
	TEXT("b", "a");
}

static void rename_directory(void)
{
	ino_t ino;

	OK(mkdir("from", 0755));
	OK(mkdir("to", 0755));
	OK(mkdir("from/dir", 0755));
	file_put("from/dir/file", "text");
	ino = file_stat("from/dir").st_ino;
	SAME(file_stat("from").st_nlink, 3);
	SAME(file_stat("to").st_nlink, 2);
	OK(rename("from/dir", "to/dir"));
	SAME(file_stat("from").st_nlink, 2);
	SAME(file_stat("to").st_nlink, 3);
	SAME(file_stat("to/dir").st_ino, ino);
	SAME(file_stat("to/dir/..").st_ino, file_stat("to").st_ino);
	TEXT("to/dir/file", "text");

	FAILS(rename("to", "to/dir/inside"), EINVAL);
	FAILS(rename("to", "to/inside"), EINVAL);
	FAILS(rename("to/dir", "to"), ENOTEMPTY);
	OK(mkdir("empty", 0755));
	OK(mkdir("full", 0755));
	file_put("full/x", "x");
	FAILS(rename("empty", "full"), ENOTEMPTY);
	OK(rename("full", "empty")); /* a directory replaces an empty one */
	TEXT("empty/x", "x");
	TRUE(!file_exists("full"));

	file_put("file", "text");
	FAILS(rename("file", "empty"), EISDIR);
	FAILS(rename("empty", "file"), ENOTDIR);
	FAILS(rename("empty/.", "file2"), EBUSY);
	OK(symlink("empty", "link"));
	OK(rename("file", "link")); /* the link itself is replaced */
	TEXT("link", "text");
	TEXT("empty/x", "x");
}

static void rename_flags(void)
{
	ino_t a, b;

	file_put("a", "a");
	file_put("b", "b");
	FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
	TEXT("a", "a");
	TEXT("b", "b");
	OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
	OK(rename("c", "a"));

	a = file_stat("a").st_ino;
	b = file_stat("b").st_ino;
	OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
	SAME(file_stat("a").st_ino, b);
	SAME(file_stat("b").st_ino, a);
	FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "nothing", RENAME_EXCHANGE), ENOENT);
	FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);

	/* a file against a directory in another directory: both parents' counts follow */
	OK(mkdir("one", 0755));
	OK(mkdir("two", 0755));
	OK(mkdir("one/dir", 0755));
	file_put("one/dir/x", "x");
	file_put("two/file", "f");
	OK(renameat2(AT_FDCWD, "one/dir", AT_FDCWD, "two/file", RENAME_EXCHANGE));
	TEXT("one/dir", "f");
	TEXT("two/file/x", "x");
	SAME(file_stat("one").st_nlink, 2);
	SAME(file_stat("two").st_nlink, 3);
	SAME(file_stat("two/file/..").st_ino, file_stat("two").st_ino);
	FAILS(renameat2(AT_FDCWD, "two", AT_FDCWD, "two/file", RENAME_EXCHANGE), EINVAL);
}

static void white_out_theirs(void *arg)
{
	(void)arg;
	OK(setresgid(STRANGER, STRANGER, STRANGER));
	OK(setresuid(STRANGER, STRANGER, STRANGER));
	OK(renameat2(AT_FDCWD, "open/theirs", AT_FDCWD, "open/moved", RENAME_WHITEOUT));
	OK(renameat2(AT_FDCWD, "team/theirs", AT_FDCWD, "team/moved", RENAME_WHITEOUT));
}

/* A device that stands for nothing takes the old name. */
static void rename_whiteout(void)
{
	ino_t ino;

	file_put("a", "a");
	file_put("b", "b");
	ino = file_stat("a").st_ino;
	FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
	FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_WHITEOUT | RENAME_NOREPLACE), EEXIST);
	OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_WHITEOUT));
	SAME(file_stat("b").st_ino, ino);
	SAME(file_stat("a").st_mode & S_IFMT, S_IFCHR);
	SAME(file_stat("a").st_rdev, 0);
	OK(unlink("a"));
	TEXT("b", "a");
	/* it belongs to who asked for it */
	OK(mkdir("open", 0777));
	file_put("open/theirs", "x");
	OK(mkdir("team", 0777));
	OK(chown("team", 0, TEAM));
	OK(chmod("team", 02777));
	file_put("team/theirs", "x");
	child_run(white_out_theirs, NULL);
	SAME(file_stat("open/theirs").st_uid, STRANGER);
	SAME(file_stat("open/theirs").st_gid, STRANGER);
	SAME(file_stat("open/moved").st_uid, 0);
	SAME(file_stat("team/theirs").st_uid, STRANGER);
	SAME(file_stat("team/theirs").st_gid, TEAM);
	SAME(file_stat("team/theirs").st_rdev, 0);
}

/* Contents of a generation: its number all through, of a size that goes with it; some are in many pieces. */
#define GENERATION_SIZE_MAX 200000u

static size_t generation_size(uint32_t generation)
{
	static const size_t sizes[] = {4, 1000, 3000, 70000, GENERATION_SIZE_MAX};

	return sizes[generation % 5];
}

/* Replaces "target" over and over with files that are complete before they get the name. */
static void replace_forever(void *arg)
{
	static uint32_t contents[GENERATION_SIZE_MAX / 4];
	uint32_t generation;
	size_t i, size;
	int fd;

	(void)arg;
	for (generation = 1;; generation++) {
		size = generation_size(generation);
		for (i = 0; i < size / 4; i++)
			contents[i] = generation;
		fd = OK(open("next", O_WRONLY | O_CREAT | O_EXCL, 0644));
		SAME(write(fd, contents, size), size);
		OK(close(fd));
		OK(rename("next", "target"));
	}
}

/* Whoever opens it has one generation, all of it, and none that is older than what he had before. */
static void rename_is_atomic(void)
{
	static uint32_t contents[GENERATION_SIZE_MAX / 4 + 1];
	uint32_t last = 0, rounds = posix_quick ? 1500 : 10000;
	ssize_t i, size;
	pid_t child;

	OK(mknod("target", S_IFREG | 0644, 0));
	child = child_start(replace_forever, NULL);
	while (rounds) {
		int fd = OK(open("target", O_RDONLY));

		size = OK(read(fd, contents, sizeof(contents)));
		OK(close(fd));
		if (!last && !size)
			continue; /* the first is not there yet */
		SAME(size, generation_size(contents[0]));
		for (i = 1; i < size / 4; i++)
			SAME(contents[i], contents[0]);
		TRUE(contents[0] >= last);
		last = contents[0];
		rounds--;
	}
	OK(kill(child, SIGKILL));
	OK(waitpid(child, NULL, 0));
}

const struct posix_case posix_rename_cases[] = {
	{"rename_file", rename_file},
	{"rename_directory", rename_directory},
	{"rename_flags", rename_flags},
	{"rename_whiteout", rename_whiteout},
	{"rename_is_atomic", rename_is_atomic},
	{NULL, NULL},
};
