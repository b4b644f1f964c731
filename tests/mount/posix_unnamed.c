/* SPDX-License-Identifier: MIT */
/*
 * posix_unnamed.c - files that have no name yet, and files that have none any more but are open
 */
#include "posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#define STRANGER 54321u

static struct stat stat_of(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	return st;
}

static int link_fd(int fd, const char *path)
{
	char proc[32];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

static unsigned names_in(const char *path)
{
	unsigned count = 0;
	DIR *dir = opendir(path);

	TRUE(dir);
	while (readdir(dir))
		count++;
	OK(closedir(dir));
	return count - 2;
}

static void as_stranger(void *arg)
{
	(void)arg;
	OK(setresuid(STRANGER, STRANGER, STRANGER));
	FAILS(open("closed", O_TMPFILE | O_RDWR, 0600), EACCES);
}

static void unnamed_files(void)
{
	unsigned char out[100000], in[100000];
	struct stat st;
	int fd;

	OK(mkdir("dir", 0755));
	OK(mkdir("closed", 0755));
	fd = OK(open("dir", O_TMPFILE | O_RDWR, 0640));
	st = stat_of(fd);
	SAME(st.st_nlink, 0);
	SAME(st.st_mode, S_IFREG | 0640);
	SAME(st.st_size, 0);
	SAME(st.st_dev, file_stat("dir").st_dev);
	SAME(names_in("dir"), 0);
	pattern_fill(out, sizeof(out), 1, 0);
	SAME(pwrite(fd, out, sizeof(out), 0), sizeof(out));
	OK(fsetxattr(fd, "user.x", "x", 1, 0));
	OK(fsync(fd));
	OK(rmdir("dir")); /* it is in no directory */
	OK(link_fd(fd, "named"));
	st = stat_of(fd);
	SAME(st.st_nlink, 1);
	SAME(st.st_ino, file_stat("named").st_ino);
	OK(linkat(fd, "", AT_FDCWD, "twin", AT_EMPTY_PATH));
	SAME(stat_of(fd).st_nlink, 2);
	FAILS(link_fd(fd, "named"), EEXIST);
	OK(close(fd));
	fd = OK(open("named", O_RDONLY));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	SAME(pread(fd, in, sizeof(in), 0), sizeof(in));
	TRUE(!memcmp(in, out, sizeof(in)));
	SAME(getxattr("twin", "user.x", in, sizeof(in)), 1);
	OK(close(fd));

	/* one that never may get a name; one that got its only name taken away has no way back either */
	fd = OK(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
	FAILS(link_fd(fd, "never"), ENOENT);
	SAME(pwrite(fd, "x", 1, 0), 1);
	OK(close(fd));
	fd = OK(open(".", O_TMPFILE | O_RDWR, 0600));
	OK(link_fd(fd, "short"));
	OK(unlink("short"));
	SAME(stat_of(fd).st_nlink, 0);
	SAME(pwrite(fd, "x", 1, 0), 1);
	OK(close(fd));
	umask(027);
	fd = OK(open(".", O_TMPFILE | O_RDWR, 0666));
	SAME(stat_of(fd).st_mode & 07777, 0640);
	OK(close(fd));
	FAILS(open("nothing", O_TMPFILE | O_RDWR, 0600), ENOENT);
	child_run(as_stranger, NULL);
}

/* As careful programs write a file: all of it or nothing, without a name that could be left over. */
static void unnamed_then_replaced(void)
{
	char text[32];
	int i, fd;

	file_put("target", "old");
	for (i = 0; i < 200; i++) {
		fd = OK(open(".", O_TMPFILE | O_WRONLY, 0644));
		snprintf(text, sizeof(text), "version %d", i);
		SAME(write(fd, text, strlen(text)), strlen(text));
		OK(link_fd(fd, "next"));
		OK(rename("next", "target"));
		OK(close(fd));
		TEXT("target", text);
	}
	SAME(names_in("."), 1);
}

enum { KEPT = 64 };

/* Open files whose names went by unlink, rename, exchange and removal of their directory stay what they were. */
static void many_without_names(void)
{
	unsigned char out[70000], in[70000];
	char name[32];
	int i, fds[KEPT];
	size_t size;

	OK(mkdir("dir", 0755));
	for (i = 0; i < KEPT; i++) {
		snprintf(name, sizeof(name), "dir/%d", i);
		fds[i] = OK(open(name, O_RDWR | O_CREAT | O_EXCL, 0644));
		size = (size_t)(i * 1100); /* small ones and large ones */
		pattern_fill(out, size, i, 0);
		SAME(write(fds[i], out, size), size);
		if (i % 2) {
			OK(unlink(name));
			continue;
		}
		file_put("other", "other");
		OK(rename("other", name));
		TEXT(name, "other");
		OK(unlink(name));
	}
	OK(rmdir("dir"));
	for (i = 0; i < KEPT; i++) {
		size = (size_t)(i * 1100);
		SAME(stat_of(fds[i]).st_nlink, 0);
		SAME(stat_of(fds[i]).st_size, size);
		pattern_fill(out, size, i, 0);
		OK(posix_fadvise(fds[i], 0, 0, POSIX_FADV_DONTNEED));
		SAME(pread(fds[i], in, sizeof(in), 0), size);
		TRUE(!memcmp(in, out, size));
		SAME(pwrite(fds[i], "more", 4, size), 4);
		OK(fsync(fds[i]));
		SAME(pread(fds[i], in, 4, size), 4);
		TRUE(!memcmp(in, "more", 4));
		OK(close(fds[i]));
	}
	SAME(names_in("."), 0);
}

/* The last link of one that others have open and mapped in other processes. */
static void map_and_wait(void *arg)
{
	int *ends = arg, fd = OK(open("shared", O_RDWR));
	unsigned char *map, byte;

	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TRUE(map != MAP_FAILED);
	OK(close(fd));
	SAME(write(ends[1], "r", 1), 1);
	SAME(read(ends[2], &byte, 1), 1);
	TRUE(!memcmp(map, "contents", 8));
	memcpy(map, "CONTENTS", 8);
	OK(msync(map, 4096, MS_SYNC));
	OK(munmap(map, 4096));
}

static void mapped_elsewhere(void)
{
	int ends[4];
	pid_t child;
	char byte;

	file_put("shared", "contents");
	OK(pipe(ends));
	OK(pipe(ends + 2));
	child = child_start(map_and_wait, ends);
	SAME(read(ends[0], &byte, 1), 1);
	OK(unlink("shared"));
	file_put("shared", "new");
	SAME(write(ends[3], "g", 1), 1);
	child_wait(child);
	TEXT("shared", "new");
}

const struct posix_case posix_unnamed_cases[] = {
	{"unnamed_files", unnamed_files},
	{"unnamed_then_replaced", unnamed_then_replaced},
	{"many_without_names", many_without_names},
	{"mapped_elsewhere", mapped_elsewhere},
	{NULL, NULL},
};
