/* SPDX-License-Identifier: MIT */
/*
 * posix_attributes.c - times, modes, owners, extended attributes, the numbers of the file system
 */
#include "posix.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define ATIME 1u
#define MTIME 2u
#define CTIME 4u

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

/* Exactly these times moved since `before`. */
#define MOVED(before, path, expected)                                                              \
	do {                                                                                       \
		struct stat moved_now_ = file_stat(path);                                          \
		unsigned moved_ = 0;                                                               \
		moved_ |= later(moved_now_.st_atim, (before).st_atim) ? ATIME : 0;                 \
		moved_ |= later(moved_now_.st_mtim, (before).st_mtim) ? MTIME : 0;                 \
		moved_ |= later(moved_now_.st_ctim, (before).st_ctim) ? CTIME : 0;                 \
		if (moved_ != (expected))                                                          \
			FAIL("times of %s that moved: %u, expected %s", path, moved_, #expected);  \
	} while (0)

/* Until a clock that counts coarsely has moved on as well. */
static struct stat stat_then_wait(const char *path)
{
	struct stat st = file_stat(path);
	struct timespec began, coarse;

	clock_gettime(CLOCK_REALTIME, &began);
	do {
		usleep(1000);
		clock_gettime(CLOCK_REALTIME_COARSE, &coarse);
	} while (!later(coarse, began));
	return st;
}

static void times_of_files(void)
{
	struct stat st, dir;
	int fd;

	file_put("file", "text");
	OK(mkdir("dir", 0755));

	st = stat_then_wait("file");
	fd = OK(open("file", O_RDWR));
	SAME(write(fd, "more", 4), 4);
	MOVED(st, "file", MTIME | CTIME);
	st = stat_then_wait("file");
	OK(ftruncate(fd, 1));
	MOVED(st, "file", MTIME | CTIME);
	close(fd);

	st = stat_then_wait("file");
	OK(chmod("file", 0600));
	MOVED(st, "file", CTIME);
	st = stat_then_wait("file");
	OK(chown("file", 12, 34));
	MOVED(st, "file", CTIME);
	st = stat_then_wait("file");
	OK(setxattr("file", "user.x", "1", 1, 0));
	MOVED(st, "file", CTIME);

	st = stat_then_wait("file");
	dir = file_stat("dir");
	OK(link("file", "dir/link"));
	MOVED(st, "file", CTIME);
	MOVED(dir, "dir", MTIME | CTIME);
	st = stat_then_wait("file");
	dir = file_stat("dir");
	OK(rename("dir/link", "dir/other"));
	MOVED(dir, "dir", MTIME | CTIME);
	MOVED(st, "file", CTIME);
	st = stat_then_wait("file");
	dir = file_stat("dir");
	OK(unlink("dir/other"));
	MOVED(st, "file", CTIME);
	MOVED(dir, "dir", MTIME | CTIME);

	/* looking changes nothing */
	st = stat_then_wait("file");
	OK(access("file", R_OK));
	close(OK(open("file", O_RDONLY)));
	close(OK(open("file", O_WRONLY)));
	MOVED(st, "file", 0);
}

static void times_of_directories(void)
{
	struct stat st;

	OK(mkdir("dir", 0755));
	st = stat_then_wait("dir");
	file_put("dir/file", "x");
	MOVED(st, "dir", MTIME | CTIME);
	st = stat_then_wait("dir");
	file_put("dir/file", "y"); /* changes the file, not the directory */
	MOVED(st, "dir", 0);
	st = stat_then_wait("dir");
	OK(mkdir("dir/sub", 0755));
	MOVED(st, "dir", MTIME | CTIME);
	st = stat_then_wait("dir");
	OK(rmdir("dir/sub"));
	MOVED(st, "dir", MTIME | CTIME);
	st = stat_then_wait("dir");
	OK(symlink("x", "dir/link"));
	MOVED(st, "dir", MTIME | CTIME);
	st = stat_then_wait("dir");
	OK(rename("dir/link", "moved"));
	MOVED(st, "dir", MTIME | CTIME);
	st = stat_then_wait("dir");
	OK(chmod("dir", 0700));
	MOVED(st, "dir", CTIME);
	st = stat_then_wait("dir");
	FAILS(mkdir("dir/file", 0755), EEXIST);
	FAILS(unlink("dir/nothing"), ENOENT);
	MOVED(st, "dir", 0);
}

/* relatime: a read moves atime only if it is not after mtime. */
static void times_of_reading(void)
{
	struct timespec times[2] = {{1000, 0}, {2000, 0}};
	struct stat st;
	char byte;
	int fd;

	file_put("file", "text");
	OK(utimensat(AT_FDCWD, "file", times, 0));
	fd = OK(open("file", O_RDONLY));
	st = stat_then_wait("file");
	SAME(read(fd, &byte, 1), 1);
	MOVED(st, "file", ATIME);
	close(fd);
}

static void times_set(void)
{
	static const struct timespec exact[] = {{0, 0}, {1, 1}, {1234567890, 123456789},
		{-1, 999999999}, {-2000000000, 5}, {4294967296, 999999999}, {10000000000, 1}};
	struct timespec times[2];
	struct stat st;
	size_t i;

	file_put("file", "text");
	OK(mkdir("dir", 0755));
	OK(symlink("file", "link"));
	for (i = 0; i < sizeof(exact) / sizeof(exact[0]); i++) {
		times[0] = exact[i];
		times[1] = exact[(i + 1) % (sizeof(exact) / sizeof(exact[0]))];
		OK(utimensat(AT_FDCWD, "file", times, 0));
		OK(utimensat(AT_FDCWD, "dir", times, 0));
		OK(utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW));
		for (int j = 0; j < 3; j++) {
			st = file_stat(j == 0 ? "file" : j == 1 ? "dir" : "link");
			SAME(st.st_atim.tv_sec, times[0].tv_sec);
			SAME(st.st_atim.tv_nsec, times[0].tv_nsec);
			SAME(st.st_mtim.tv_sec, times[1].tv_sec);
			SAME(st.st_mtim.tv_nsec, times[1].tv_nsec);
		}
	}
	times[0] = (struct timespec){1000, 1};
	times[1] = (struct timespec){2000, 2};
	OK(utimensat(AT_FDCWD, "file", times, 0));
	st = stat_then_wait("file");
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_nsec = UTIME_NOW;
	OK(utimensat(AT_FDCWD, "file", times, 0));
	MOVED(st, "file", MTIME | CTIME);
	TRUE(labs(file_stat("file").st_mtim.tv_sec - time(NULL)) < 60);
	st = stat_then_wait("file");
	times[0].tv_nsec = UTIME_NOW;
	times[1].tv_nsec = UTIME_OMIT;
	OK(utimensat(AT_FDCWD, "file", times, 0));
	MOVED(st, "file", ATIME | CTIME);
	times[1].tv_nsec = 1000000000;
	FAILS(utimensat(AT_FDCWD, "file", times, 0), EINVAL);
}

static void modes(void)
{
	mode_t mode;

	file_put("file", "x");
	OK(mkdir("dir", 0755));
	for (mode = 0; mode <= 07777; mode += 0111) {
		OK(chmod("file", mode));
		SAME(file_stat("file").st_mode, S_IFREG | mode);
		OK(chmod("dir", mode));
		SAME(file_stat("dir").st_mode, S_IFDIR | mode);
	}
	umask(027);
	close(OK(open("masked", O_CREAT | O_WRONLY, 0666)));
	SAME(file_stat("masked").st_mode, S_IFREG | 0640);
	OK(mkdir("masked_dir", 0777));
	SAME(file_stat("masked_dir").st_mode, S_IFDIR | 0750);
	OK(mkfifo("masked_fifo", 0666));
	SAME(file_stat("masked_fifo").st_mode, S_IFIFO | 0640);
	umask(0);
	OK(mkdir("open_dir", 01777));
	SAME(file_stat("open_dir").st_mode, S_IFDIR | 01777);
	FAILS(chmod("nothing", 0600), ENOENT);

	OK(chown("file", 4000000000u, 3000000000u));
	SAME(file_stat("file").st_uid, 4000000000u);
	SAME(file_stat("file").st_gid, 3000000000u);
	OK(chown("file", -1, 5));
	SAME(file_stat("file").st_uid, 4000000000u);
	SAME(file_stat("file").st_gid, 5);
	OK(symlink("file", "link"));
	OK(lchown("link", 7, 8));
	SAME(file_stat("link").st_uid, 7);
	SAME(file_stat("file").st_uid, 4000000000u);
}

static void link_counts(void)
{
	int i;
	char name[32];

	SAME(file_stat(".").st_nlink, 2);
	for (i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "dir%d", i);
		OK(mkdir(name, 0755));
	}
	SAME(file_stat(".").st_nlink, 12);
	OK(rename("dir0", "dir1"));
	SAME(file_stat(".").st_nlink, 11);
	file_put("file", "x");
	SAME(file_stat(".").st_nlink, 11);
	for (i = 1; i < 10; i++) {
		snprintf(name, sizeof(name), "dir%d", i);
		OK(rmdir(name));
	}
	SAME(file_stat(".").st_nlink, 2);
	SAME(file_stat("file").st_nlink, 1);
}

static void xattrs(void)
{
	char value[3000], big[2500];
	ssize_t size;

	file_put("file", "x");
	OK(mkdir("dir", 0755));
	FAILS(getxattr("file", "user.none", value, sizeof(value)), ENODATA);
	SAME(listxattr("file", value, sizeof(value)), 0);
	OK(setxattr("file", "user.one", "1", 1, XATTR_CREATE));
	FAILS(setxattr("file", "user.one", "1", 1, XATTR_CREATE), EEXIST);
	FAILS(setxattr("file", "user.two", "2", 1, XATTR_REPLACE), ENODATA);
	OK(setxattr("file", "user.one", "one", 3, XATTR_REPLACE));
	OK(setxattr("file", "user.empty", "", 0, 0));
	memset(big, 'b', sizeof(big));
	big[100] = 0; /* values are bytes */
	OK(setxattr("file", "user.big", big, sizeof(big), 0));
	OK(setxattr("dir", "user.dir", "d", 1, 0));
	OK(setxattr("file", "trusted.t", "t", 1, 0));

	SAME(getxattr("file", "user.one", value, sizeof(value)), 3);
	TRUE(!memcmp(value, "one", 3));
	SAME(getxattr("file", "user.one", NULL, 0), 3);
	FAILS(getxattr("file", "user.one", value, 2), ERANGE);
	SAME(getxattr("file", "user.empty", value, sizeof(value)), 0);
	SAME(getxattr("file", "user.big", value, sizeof(value)), sizeof(big));
	TRUE(!memcmp(value, big, sizeof(big)));
	SAME(getxattr("dir", "user.dir", value, sizeof(value)), 1);
	SAME(getxattr("file", "trusted.t", value, sizeof(value)), 1);

	size = OK(listxattr("file", NULL, 0));
	SAME(size, 9 + 11 + 9 + 10);
	FAILS(listxattr("file", value, size - 1), ERANGE);
	SAME(listxattr("file", value, sizeof(value)), size);
	TRUE(memmem(value, size, "user.empty", 11));
	OK(removexattr("file", "user.big"));
	FAILS(removexattr("file", "user.big"), ENODATA);
	FAILS(getxattr("file", "user.big", value, sizeof(value)), ENODATA);
	SAME(listxattr("file", value, sizeof(value)), size - 9);

	OK(symlink("file", "link"));
	FAILS(lsetxattr("link", "user.x", "x", 1, 0), EPERM);
	FAILS(setxattr("file", "nonsense", "x", 1, 0), EOPNOTSUPP);
	FAILS(setxattr("nothing", "user.x", "x", 1, 0), ENOENT);
	OK(rename("file", "moved")); /* they belong to the inode */
	SAME(getxattr("moved", "user.one", value, sizeof(value)), 3);
	OK(unlink("moved"));
	file_put("file", "y");
	SAME(listxattr("file", value, sizeof(value)), 0);
}

/* A long name for each number. */
static const char *long_name(unsigned number)
{
	static char name[256];

	snprintf(name, sizeof(name), "user.%0250u", number);
	return name;
}

/* There is an end to how many a file can have. All up to it stay, and where one goes another fits. */
static void xattrs_until_full(void)
{
	static char list[1 << 16];
	unsigned i, count = 0;
	char byte;

	file_put("file", "x");
	while (!setxattr("file", long_name(count), "v", 1, XATTR_CREATE))
		TRUE(++count <= sizeof(list) / 256);
	SAME(errno, ENOSPC);
	TRUE(count > 0);
	FAILS(setxattr("file", long_name(count), "v", 1, XATTR_CREATE), ENOSPC);
	SAME(listxattr("file", NULL, 0), count * 256);
	SAME(listxattr("file", list, sizeof(list)), count * 256);
	for (i = 0; i < count; i++) {
		SAME(getxattr("file", long_name(i), &byte, 1), 1);
		SAME(byte, 'v');
	}
	FAILS(getxattr("file", long_name(count), &byte, 1), ENODATA);
	OK(removexattr("file", long_name(0)));
	OK(setxattr("file", long_name(count), "v", 1, XATTR_CREATE));
	for (i = 1; i <= count; i++)
		OK(removexattr("file", long_name(i)));
	SAME(listxattr("file", NULL, 0), 0);
}

static void numbers_of_file_system(void)
{
	struct statvfs before, after;
	struct stat st;

	OK(statvfs(".", &before));
	TRUE(before.f_bsize >= 512 && before.f_frsize >= 512);
	SAME(before.f_namemax, 255);
	TRUE(before.f_blocks > 0 && before.f_bfree <= before.f_blocks);
	TRUE(before.f_bavail <= before.f_bfree);
	TRUE(before.f_ffree <= before.f_files);
	file_put("file", "x");
	OK(statvfs("file", &after));
	SAME(after.f_fsid, before.f_fsid);
	st = file_stat("file");
	SAME(st.st_dev, file_stat(".").st_dev);
	TRUE(st.st_blksize >= 512);
	TRUE(st.st_ino > 0);
}

const struct posix_case posix_attribute_cases[] = {
	{"times_of_files", times_of_files},
	{"times_of_directories", times_of_directories},
	{"times_of_reading", times_of_reading},
	{"times_set", times_set},
	{"modes", modes},
	{"link_counts", link_counts},
	{"xattrs", xattrs},
	{"xattrs_until_full", xattrs_until_full},
	{"numbers_of_file_system", numbers_of_file_system},
	{NULL, NULL},
};
