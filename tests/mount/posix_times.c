/* SPDX-License-Identifier: MIT */
/*
 * posix_times.c - which call moves which of a file's four times, and how finely
 *
 * Each step of a case notes the times of up to four inodes, lets the clock pass a tick, makes one
 * call, and compares which times have moved. A time that moved lies between two readings of the
 * clock, of which the first is of the coarse clock that a file system may count by.
 */
#include "posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { A = 1, M = 2, C = 4, B = 8 }; /* access, modification, change, birth */

#define NOTED_MAX 4

struct times {
	struct timespec a, m, c, b;
};

struct noted {
	const char *path;
	struct times times;
};

static struct noted noted[NOTED_MAX];
static size_t noted_count;
static struct timespec noted_at;

static struct timespec to_timespec(struct statx_timestamp time)
{
	return (struct timespec){time.tv_sec, time.tv_nsec};
}

static struct times times_of(const char *path)
{
	struct statx stx;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &stx))
		FAIL("statx %s: %s", path, strerror(errno));
	if (!(stx.stx_mask & STATX_BTIME))
		FAIL("%s has no birth time", path);
	return (struct times){to_timespec(stx.stx_atime), to_timespec(stx.stx_mtime),
		to_timespec(stx.stx_ctime), to_timespec(stx.stx_btime)};
}

static long long difference_ns(struct timespec a, struct timespec b)
{
	return (a.tv_sec - b.tv_sec) * 1000000000ll + a.tv_nsec - b.tv_nsec;
}

static struct timespec now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return time;
}

/* Until every clock that a file system may count by is beyond this moment; `noted_at` is not beyond any of them. */
static void next_tick(void)
{
	struct timespec began = now();

	do {
		usleep(1000);
		clock_gettime(CLOCK_REALTIME_COARSE, &noted_at);
	} while (difference_ns(noted_at, began) <= 0);
}

static void note(const char *a, const char *b, const char *c, const char *d)
{
	const char *paths[NOTED_MAX] = {a, b, c, d};

	for (noted_count = 0; noted_count < NOTED_MAX && paths[noted_count]; noted_count++) {
		noted[noted_count].path = paths[noted_count];
		noted[noted_count].times = times_of(paths[noted_count]);
	}
	next_tick();
}

static unsigned moved_bit(struct timespec before, struct timespec after, unsigned bit)
{
	if (!difference_ns(after, before))
		return 0;
	if (difference_ns(noted_at, after) > 0 || difference_ns(after, now()) > 0)
		FAIL("a time (%u) moved to what is not the time of the call", bit);
	return bit;
}

/* `expected` of the file that is now at `path` and was the `which`th noted. */
static void moved(int line, const char *call, size_t which, const char *path, unsigned expected)
{
	struct times before = noted[which].times, after = times_of(path);
	unsigned is = moved_bit(before.a, after.a, A) | moved_bit(before.m, after.m, M) |
		moved_bit(before.c, after.c, C) | moved_bit(before.b, after.b, B);

	if (is != expected)
		posix_fail(__FILE__, line, "%s moved times %u of %s, expected %u", call, is, path,
			expected);
}

/* The call moves exactly these times of the file, and of the directory "dir". */
#define STEP(call, file_times, dir_times)                                                          \
	do {                                                                                       \
		note("dir/file", "dir", NULL, NULL);                                               \
		OK(call);                                                                          \
		moved(__LINE__, #call, 0, "dir/file", file_times);                                 \
		moved(__LINE__, #call, 1, "dir", dir_times);                                       \
	} while (0)

static int fd;

static void file_make(void)
{
	OK(mkdir("dir", 0755));
	file_put("dir/file", "text");
	fd = OK(open("dir/file", O_RDWR));
}

static void times_of_contents(void)
{
	static char page[4096];
	unsigned char *map;

	file_make();
	STEP(write(fd, "more", 4), M | C, 0);
	STEP(write(fd, "", 0), 0, 0);
	STEP(pwrite(fd, page, sizeof(page), 100000), M | C, 0);
	STEP(ftruncate(fd, 50000), M | C, 0);
	STEP(ftruncate(fd, 200000), M | C, 0);
	STEP(truncate("dir/file", 100), M | C, 0);
	STEP(truncate("dir/file", 3), M | C, 0);
	STEP(ftruncate(fd, 3), M | C, 0);
	STEP(close(OK(open("dir/file", O_WRONLY | O_TRUNC))), M | C, 0);
	STEP(close(OK(open("dir/file", O_WRONLY | O_TRUNC))), M | C, 0);
	STEP(close(OK(open("dir/file", O_RDWR | O_CREAT, 0644))), 0, 0);
	STEP(pwrite(fd, page, sizeof(page), 0), M | C, 0);
	STEP(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 100), M | C, 0);
	STEP(fallocate(fd, 0, 0, 50000), M | C, 0);
	STEP(fsync(fd), 0, 0);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TRUE(map != MAP_FAILED);
	map[1] = map[2]; /* it is there now, and may have been read */
	OK(msync(map, 4096, MS_SYNC));
	note("dir/file", NULL, NULL, NULL);
	map[0] = 'x';
	OK(msync(map, 4096, MS_SYNC));
	moved(__LINE__, "a store through a map", 0, "dir/file", M | C);
	note("dir/file", NULL, NULL, NULL);
	map[1] = 'y'; /* nobody asks for it to be written, and nobody waits for long */
	OK(munmap(map, 4096));
	moved(__LINE__, "a store and munmap", 0, "dir/file", M | C);
	OK(close(fd));
}

static void times_of_attributes(void)
{
	struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
	char value[16];

	file_make();
	STEP(chmod("dir/file", 0600), C, 0);
	STEP(chmod("dir/file", 0600), C, 0);
	STEP(fchmod(fd, 0640), C, 0);
	STEP(chown("dir/file", 5, 6), C, 0);
	STEP(fchown(fd, 5, 6), C, 0);
	STEP(setxattr("dir/file", "user.x", "1", 1, 0), C, 0);
	STEP(fsetxattr(fd, "user.x", "2", 1, 0), C, 0);
	STEP(getxattr("dir/file", "user.x", value, sizeof(value)), 0, 0);
	STEP(listxattr("dir/file", value, sizeof(value)), 0, 0);
	STEP(removexattr("dir/file", "user.x"), C, 0);
	STEP(access("dir/file", R_OK), 0, 0);
	STEP(utimensat(AT_FDCWD, "dir/file", NULL, 0), A | M | C, 0);
	STEP(futimens(fd, omit), 0, 0);
	STEP(lseek(fd, 0, SEEK_END), 0, 0);
	STEP(chmod("dir", 0700), 0, C);
	STEP(chown("dir", 7, 8), 0, C);
	STEP(setxattr("dir", "user.x", "1", 1, 0), 0, C);
	/* what fails moves nothing */
	note("dir/file", "dir", NULL, NULL);
	FAILS(setxattr("dir/file", "user.x", "1", 1, XATTR_REPLACE), ENODATA);
	FAILS(removexattr("dir/file", "user.x"), ENODATA);
	FAILS(mkdir("dir/file", 0755), EEXIST);
	FAILS(unlink("dir/nothing"), ENOENT);
	FAILS(rmdir("dir"), ENOTEMPTY);
	FAILS(rename("dir", "dir/file"), EINVAL);
	FAILS(ftruncate(fd, -1), EINVAL);
	moved(__LINE__, "failing", 0, "dir/file", 0);
	moved(__LINE__, "failing", 1, "dir", 0);
	OK(close(fd));
}

static void times_of_names(void)
{
	file_make();
	OK(mkdir("to", 0755));
	OK(mkdir("to/sub", 0755));
	STEP(link("dir/file", "dir/link"), C, M | C);
	STEP(unlink("dir/link"), C, M | C);
	STEP(mkdir("dir/sub", 0755), 0, M | C);
	STEP(rmdir("dir/sub"), 0, M | C);
	STEP(symlink("x", "dir/link"), 0, M | C);
	STEP(mkfifo("dir/fifo", 0644), 0, M | C);
	STEP(mknod("dir/device", S_IFCHR | 0644, makedev(1, 3)), 0, M | C);
	STEP(close(OK(open("dir/new", O_CREAT | O_WRONLY, 0644))), 0, M | C);
	STEP(close(OK(open("dir", O_TMPFILE | O_WRONLY, 0644))), 0, 0);
	STEP(rename("dir/file", "dir/file"), 0, 0);

	note("dir/file", "dir", "to", "dir/new");
	OK(rename("dir/new", "to/new"));
	moved(__LINE__, "rename", 0, "dir/file", 0);
	moved(__LINE__, "rename", 1, "dir", M | C);
	moved(__LINE__, "rename", 2, "to", M | C);
	moved(__LINE__, "rename", 3, "to/new", C);
	note("to/sub", "to", "dir", NULL);
	OK(rename("to/sub", "dir/moved"));
	moved(__LINE__, "rename of a directory", 0, "dir/moved", C);
	moved(__LINE__, "rename of a directory", 1, "to", M | C);
	moved(__LINE__, "rename of a directory", 2, "dir", M | C);
	OK(link("to/new", "keeps"));
	note("to/new", "dir/file", "to", "dir");
	OK(rename("dir/file", "to/new"));
	moved(__LINE__, "being renamed over", 0, "keeps", C);
	moved(__LINE__, "rename", 1, "to/new", C);
	moved(__LINE__, "rename", 2, "to", M | C);
	moved(__LINE__, "rename", 3, "dir", M | C);
	note("to/new", "dir/fifo", "to", "dir");
	OK(renameat2(AT_FDCWD, "to/new", AT_FDCWD, "dir/fifo", RENAME_EXCHANGE));
	moved(__LINE__, "exchange", 0, "dir/fifo", C);
	moved(__LINE__, "exchange", 1, "to/new", C);
	moved(__LINE__, "exchange", 2, "to", M | C);
	moved(__LINE__, "exchange", 3, "dir", M | C);
	OK(close(fd));
}

/* All four times of what is new are one, and its own. */
static void born(const char *path)
{
	struct times times = times_of(path);

	SAME(difference_ns(times.a, times.b), 0);
	SAME(difference_ns(times.m, times.b), 0);
	SAME(difference_ns(times.c, times.b), 0);
	if (difference_ns(noted_at, times.b) > 0 || difference_ns(times.b, now()) > 0)
		FAIL("%s was not born now", path);
	next_tick();
}

static void times_of_birth(void)
{
	char path[64];
	int unnamed;

	next_tick();
	OK(close(OK(open("file", O_CREAT | O_WRONLY, 0644))));
	born("file");
	OK(mkdir("dir", 0755));
	born("dir");
	OK(symlink("x", "link"));
	born("link");
	OK(mkfifo("fifo", 0644));
	born("fifo");
	OK(mknod("device", S_IFCHR | 0644, makedev(1, 3)));
	born("device");
	OK(renameat2(AT_FDCWD, "fifo", AT_FDCWD, "renamed", RENAME_WHITEOUT));
	born("fifo");
	unnamed = OK(open(".", O_TMPFILE | O_WRONLY, 0644));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", unnamed);
	note("file", NULL, NULL, NULL);
	OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	TRUE(difference_ns(times_of("named").b, noted_at) < 0); /* the name is younger */
	TRUE(difference_ns(times_of("named").c, times_of("named").b) > 0);
	/* a new file of an old name is new */
	note("file", NULL, NULL, NULL);
	OK(unlink("file"));
	file_put("file", "x");
	TRUE(difference_ns(times_of("file").b, noted[0].times.b) > 0);
	OK(close(unnamed));
}

/* relatime, as nearly all mounts have it: reading moves atime if that was not behind mtime and ctime, or a day
 * old. */
static void old_atime(const char *path)
{
	struct timespec times[2] = {{1000, 0}, {2000, 0}};

	OK(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
}

static void list(const char *path)
{
	DIR *dir = opendir(path);

	TRUE(dir);
	while (readdir(dir))
		;
	OK(closedir(dir));
}

static void times_of_access(void)
{
	char bytes[16];

	file_make();
	OK(symlink("file", "dir/link"));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	old_atime("dir/file");
	STEP(pread(fd, bytes, 0, 0), 0, 0); /* of nothing */
	STEP(pread(fd, bytes, 4, 0), A, 0);
	STEP(pread(fd, bytes, 4, 0), 0, 0); /* once is enough */
	OK(close(fd));
	old_atime("dir");
	note("dir", NULL, NULL, NULL);
	list("dir");
	moved(__LINE__, "readdir", 0, "dir", A);
	note("dir", NULL, NULL, NULL);
	list("dir");
	moved(__LINE__, "readdir again", 0, "dir", 0);
	old_atime("dir/link");
	note("dir/link", NULL, NULL, NULL);
	OK(readlink("dir/link", bytes, sizeof(bytes)));
	moved(__LINE__, "readlink", 0, "dir/link", A);
}

/* Who asks not to be seen reading, as backups do, is not seen. */
static void times_of_quiet_access(void)
{
	unsigned char *map;
	char bytes[4];
	int quiet;

	file_make();
	OK(fsync(fd));
	old_atime("dir/file");
	quiet = OK(open("dir/file", O_RDONLY | O_NOATIME));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	STEP(pread(quiet, bytes, 4, 0), 0, 0);
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	map = mmap(NULL, 4, PROT_READ, MAP_SHARED, quiet, 0);
	TRUE(map != MAP_FAILED);
	STEP(map[0] == 't' ? 0 : -1, 0, 0);
	OK(munmap(map, 4));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	OK(fcntl(fd, F_SETFL, O_NOATIME));
	STEP(pread(fd, bytes, 4, 0), 0, 0);
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	OK(fcntl(fd, F_SETFL, 0));
	STEP(pread(fd, bytes, 4, 0), A, 0);
	OK(close(quiet));
	OK(close(fd));
}

/* Nanoseconds, and every order of calls in one file's or two files' times. */
static void times_are_fine(void)
{
	struct times last, times;
	int i, ends_in_zero = 0;
	char name[16];

	file_put("file", "x");
	last = times_of("file");
	for (i = 0; i < 200; i++) {
		OK(chmod("file", i % 2 ? 0600 : 0644));
		times = times_of("file");
		TRUE(difference_ns(times.c, last.c) >= 0);
		last = times;
		snprintf(name, sizeof(name), "f%d", i);
		OK(close(OK(open(name, O_CREAT | O_WRONLY, 0644))));
		times = times_of(name);
		TRUE(difference_ns(times.b, last.c) >= 0);
		last = times;
		ends_in_zero += last.c.tv_nsec % 1000 == 0;
		usleep(300);
	}
	TRUE(ends_in_zero < 100);
}

const struct posix_case posix_time_cases[] = {
	{"times_of_contents", times_of_contents},
	{"times_of_attributes", times_of_attributes},
	{"times_of_names", times_of_names},
	{"times_of_birth", times_of_birth},
	{"times_of_access", times_of_access},
	{"times_of_quiet_access", times_of_quiet_access},
	{"times_are_fine", times_are_fine},
	{NULL, NULL},
};
