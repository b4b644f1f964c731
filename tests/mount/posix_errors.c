/* SPDX-License-Identifier: MIT */
/*
 * posix_errors.c - which error a call ends with, and which of two that both apply
 */
#include "posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define STRANGER 54321u

/* Every call that takes a path, with arguments that are good but for the path. */
static int call_open(const char *path) { return open(path, O_RDONLY); }
static int call_open_write(const char *path) { return open(path, O_WRONLY); }
static int call_create(const char *path) { return open(path, O_CREAT | O_WRONLY, 0644); }
static int call_exclusive(const char *path) { return open(path, O_CREAT | O_EXCL | O_RDWR, 0644); }
static int call_open_path(const char *path) { return open(path, O_PATH); }
static int call_unnamed(const char *path) { return open(path, O_TMPFILE | O_RDWR, 0600); }
static int call_stat(const char *path) { return stat(path, &(struct stat){0}); }
static int call_lstat(const char *path) { return lstat(path, &(struct stat){0}); }
static int call_access(const char *path) { return access(path, F_OK); }
static int call_chmod(const char *path) { return chmod(path, 0644); }
static int call_chown(const char *path) { return chown(path, 0, 0); }
static int call_lchown(const char *path) { return lchown(path, 0, 0); }
static int call_truncate(const char *path) { return truncate(path, 0); }
static int call_utimens(const char *path) { return utimensat(AT_FDCWD, path, NULL, 0); }
static int call_mkdir(const char *path) { return mkdir(path, 0755); }
static int call_rmdir(const char *path) { return rmdir(path); }
static int call_unlink(const char *path) { return unlink(path); }
static int call_mknod(const char *path) { return mknod(path, S_IFCHR | 0600, makedev(1, 3)); }
static int call_mkfifo(const char *path) { return mkfifo(path, 0644); }
static int call_symlink(const char *path) { return symlink("x", path); }
static int call_readlink(const char *path) { return (int)readlink(path, (char[8]){0}, 8); }
static int call_link_from(const char *path) { return link(path, "linked"); }
static int call_link_to(const char *path) { return link("file", path); }
static int call_rename_from(const char *path) { return rename(path, "renamed"); }
static int call_rename_to(const char *path) { return rename("other", path); }
static int call_chdir(const char *path) { return chdir(path); }
static int call_statvfs(const char *path) { return statvfs(path, &(struct statvfs){0}); }
static int call_setxattr(const char *path) { return setxattr(path, "user.x", "x", 1, 0); }
static int call_getxattr(const char *path) { return (int)getxattr(path, "user.x", NULL, 0); }
static int call_listxattr(const char *path) { return (int)listxattr(path, NULL, 0); }
static int call_removexattr(const char *path) { return removexattr(path, "user.x"); }
static int call_exec(const char *path) { return execl(path, path, NULL); }

static const struct path_call {
	const char *name;
	int (*run)(const char *path);
	bool makes; /* a last component that is missing is what it wants */
	bool follows; /* the last component, if it is a link */
} path_calls[] = {
	{"open", call_open, false, true},
	{"open for writing", call_open_write, false, true},
	{"open O_CREAT", call_create, true, true},
	{"open O_EXCL", call_exclusive, true, false},
	{"open O_PATH", call_open_path, false, true},
	{"open O_TMPFILE", call_unnamed, false, true},
	{"stat", call_stat, false, true},
	{"lstat", call_lstat, false, false},
	{"access", call_access, false, true},
	{"chmod", call_chmod, false, true},
	{"chown", call_chown, false, true},
	{"lchown", call_lchown, false, false},
	{"truncate", call_truncate, false, true},
	{"utimensat", call_utimens, false, true},
	{"mkdir", call_mkdir, true, false},
	{"rmdir", call_rmdir, false, false},
	{"unlink", call_unlink, false, false},
	{"mknod", call_mknod, true, false},
	{"mkfifo", call_mkfifo, true, false},
	{"symlink", call_symlink, true, false},
	{"readlink", call_readlink, false, false},
	{"link from", call_link_from, false, false},
	{"link to", call_link_to, true, false},
	{"rename from", call_rename_from, false, false},
	{"rename to", call_rename_to, true, false},
	{"chdir", call_chdir, false, true},
	{"statvfs", call_statvfs, false, true},
	{"setxattr", call_setxattr, false, true},
	{"getxattr", call_getxattr, false, true},
	{"listxattr", call_listxattr, false, true},
	{"removexattr", call_removexattr, false, true},
	{"execve", call_exec, false, true},
};
#define PATH_CALLS (sizeof(path_calls) / sizeof(path_calls[0]))

static void expect_error(const struct path_call *call, const char *path, int error)
{
	int result = call->run(path);

	if (result >= 0)
		FAIL("%s of %.40s succeeded, expected %s", call->name, path, strerror(error));
	if (errno != error)
		FAIL("%s of %.40s: %s, expected %s", call->name, path, strerror(errno),
			strerror(error));
}

/* A name of one byte more than the longest, between these two. */
static const char *with_long_name(const char *before, const char *behind)
{
	static char path[PATH_MAX];
	char name[257];

	memset(name, 'n', 256);
	name[256] = 0;
	snprintf(path, sizeof(path), "%s%s%s", before, name, behind);
	return path;
}

/* A path that is one byte too long, and would fail otherwise for another reason. */
static const char *long_path(void)
{
	static char path[PATH_MAX + 1];

	memset(path, '/', PATH_MAX);
	memcpy(path, "nothing", 7);
	path[PATH_MAX] = 0;
	return path;
}

/* Whatever is wrong with the way there is what every call says, in the order of the walk. */
static void errors_of_paths(void)
{
	const struct path_call *call;

	file_put("file", "x");
	file_put("other", "x");
	OK(mkdir("dir", 0755));
	OK(symlink("loop_b", "loop_a"));
	OK(symlink("loop_a", "loop_b"));
	OK(symlink("nothing", "dangling"));
	FAILS(syscall(SYS_openat, AT_FDCWD, NULL, O_RDONLY), EFAULT);
	FAILS(syscall(SYS_mkdirat, AT_FDCWD, NULL, 0755), EFAULT);
	FAILS(syscall(SYS_unlinkat, AT_FDCWD, NULL, 0), EFAULT);
	FAILS(syscall(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, NULL, 0), EFAULT);
	for (call = path_calls; call < path_calls + PATH_CALLS; call++) {
		expect_error(call, "", ENOENT);
		expect_error(call, "nothing/x", ENOENT);
		expect_error(call, "dangling/x", ENOENT);
		expect_error(call, "file/x", ENOTDIR);
		expect_error(call, "file/..", ENOTDIR);
		expect_error(call, "loop_a/x", ELOOP);
		expect_error(call, with_long_name("", ""), ENAMETOOLONG);
		expect_error(call, with_long_name("", "/x"), ENAMETOOLONG);
		expect_error(call, with_long_name("dir/", ""), ENAMETOOLONG);
		expect_error(call, with_long_name("nothing/", ""), ENOENT);
		expect_error(call, with_long_name("file/", ""), ENOTDIR);
		expect_error(call, long_path(), ENAMETOOLONG);
		if (!call->makes) {
			expect_error(call, "nothing", ENOENT);
			expect_error(call, "nothing/", ENOENT);
		}
		if (call->follows && call->run != call_create)
			expect_error(call, "dangling", ENOENT);
		if (call->follows)
			expect_error(call, "loop_a", ELOOP);
	}
	TRUE(!file_exists("linked") && !file_exists("renamed") && !file_exists("nothing"));
}

static void in_closed_directory(void *arg)
{
	const struct path_call *call;

	(void)arg;
	OK(setresuid(STRANGER, STRANGER, STRANGER));
	for (call = path_calls; call < path_calls + PATH_CALLS; call++) {
		expect_error(call, "closed/file", EACCES);
		expect_error(call, "closed/nothing", EACCES);
		expect_error(call, "closed/../file", EACCES);
		expect_error(call, with_long_name("closed/", ""), EACCES);
		expect_error(call, "nothing/../closed/file", ENOENT);
	}
}

/* Without the right to search a directory nothing about what is in it can be learnt. */
static void errors_without_search(void)
{
	file_put("file", "x");
	file_put("other", "x");
	OK(mkdir("closed", 0755));
	file_put("closed/file", "x");
	OK(chmod("closed", 0666));
	child_run(in_closed_directory, NULL);
}

/* The kernel follows 40 links on one way, and no more. */
static void symlink_chain(void)
{
	char name[16], target[16];
	int i;

	file_put("link0", "end");
	for (i = 1; i <= 41; i++) {
		snprintf(name, sizeof(name), "link%d", i);
		snprintf(target, sizeof(target), "link%d", i - 1);
		OK(symlink(target, name));
	}
	TEXT("link40", "end");
	FAILS(open("link41", O_RDONLY), ELOOP);
	SAME(file_stat("link41").st_size, 6);
	OK(symlink(".", "here"));
	TEXT("here/here/here/link0", "end");
}

static void errors_of_open(void)
{
	int fd;

	file_put("file", "x");
	OK(mkdir("dir", 0755));
	OK(symlink("file", "link"));
	OK(symlink("dir", "dir_link"));
	OK(mkfifo("fifo", 0644));
	FAILS(open("dir", O_WRONLY), EISDIR);
	FAILS(open("dir", O_RDWR), EISDIR);
	FAILS(open("dir", O_RDONLY | O_TRUNC), EISDIR);
	FAILS(open("dir", O_RDONLY | O_CREAT, 0644), EISDIR);
	FAILS(open("dir", O_RDONLY | O_CREAT | O_EXCL, 0644), EEXIST);
	FAILS(open("dir/", O_WRONLY | O_CREAT, 0644), EISDIR);
	FAILS(open("new/", O_WRONLY | O_CREAT, 0644), EISDIR);
	FAILS(open("file/", O_RDONLY), ENOTDIR);
	FAILS(open("link/", O_RDONLY), ENOTDIR);
	FAILS(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
	FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	FAILS(open("dir_link", O_RDONLY | O_NOFOLLOW | O_DIRECTORY), ENOTDIR);
	FAILS(open("link", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	FAILS(open("new", O_CREAT | O_DIRECTORY | O_RDONLY, 0644), EINVAL);
	FAILS(open(".", O_TMPFILE | O_RDONLY, 0644), EINVAL);
	FAILS(open("file", O_TMPFILE | O_RDWR, 0644), ENOTDIR);
	FAILS(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
	FAILS(openat(AT_FDCWD - 1, "file", O_RDONLY), EBADF);
	fd = OK(open("file", O_RDONLY));
	FAILS(openat(fd, "x", O_RDONLY), ENOTDIR);
	OK(close(fd));
	/* an open that fails has made nothing */
	TRUE(!file_exists("new"));
	/* reading alone is enough to cut it, as Linux has always had it */
	OK(close(OK(open("file", O_RDONLY | O_TRUNC))));
	SAME(file_stat("file").st_size, 0);
	fd = OK(open("file", O_PATH));
	FAILS(read(fd, &(char){0}, 1), EBADF);
	FAILS(fchmod(fd, 0600), EBADF);
	OK(fstat(fd, &(struct stat){0}));
	OK(close(fd));
}

static void errors_of_descriptors(void)
{
	char byte = 'x', *nowhere;
	int dir, fd;

	nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TRUE(nowhere != MAP_FAILED);
	file_put("file", "text");
	OK(mkdir("dir", 0755));
	dir = OK(open("dir", O_RDONLY));
	FAILS(read(dir, &byte, 1), EISDIR);
	FAILS(write(dir, &byte, 1), EBADF);
	FAILS(ftruncate(dir, 0), EINVAL);
	OK(fsync(dir));
	OK(fdatasync(dir));
	OK(close(dir));

	fd = OK(open("file", O_RDWR));
	FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
	FAILS(lseek(fd, -5, SEEK_END), EINVAL);
	FAILS(lseek(fd, 0, 77), EINVAL);
	FAILS(lseek(fd, 4, SEEK_DATA), ENXIO);
	FAILS(lseek(fd, 4, SEEK_HOLE), ENXIO);
	FAILS(lseek(fd, -1, SEEK_DATA), ENXIO);
	SAME(lseek(fd, 1ll << 40, SEEK_SET), 1ll << 40);
	SAME(read(fd, &byte, 1), 0);
	FAILS(pread(fd, &byte, 1, -1), EINVAL);
	FAILS(pwrite(fd, &byte, 1, -1), EINVAL);
	FAILS(ftruncate(fd, -1), EINVAL);
	FAILS(ftruncate(fd, LLONG_MAX), EFBIG);
	FAILS(pwrite(fd, &byte, 1, LLONG_MAX - 1), EFBIG);
	FAILS(fallocate(fd, 0, 0, 0), EINVAL);
	FAILS(fallocate(fd, 0, -1, 10), EINVAL);
	FAILS(fallocate(fd, 0, LLONG_MAX - 4096, 4096), EFBIG);
	FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);
	FAILS(pwrite(fd, nowhere, 4, 0), EFAULT);
	FAILS(pread(fd, nowhere, 4, 0), EFAULT);
	SAME(file_stat("file").st_size, 4);
	TEXT("file", "text");
	OK(close(fd));

	fd = OK(open("file", O_RDONLY));
	FAILS(write(fd, &byte, 1), EBADF);
	FAILS(write(fd, &byte, 0), EBADF);
	FAILS(ftruncate(fd, 0), EINVAL);
	FAILS(fallocate(fd, 0, 0, 10), EBADF);
	OK(fchmod(fd, 0600)); /* the right to change it is its owner's, not the descriptor's */
	OK(close(fd));
}

static void errors_of_names(void)
{
	file_put("file", "x");
	OK(mkdir("dir", 0755));
	OK(mkdir("dir/sub", 0755));
	OK(mkdir("empty", 0755));
	OK(symlink("dir", "link"));
	OK(symlink("nothing", "dangling"));

	FAILS(mkdir("file", 0755), EEXIST);
	FAILS(mkdir("link", 0755), EEXIST);
	FAILS(mkdir("dangling", 0755), EEXIST);
	FAILS(mkdir(".", 0755), EEXIST);
	FAILS(mkdir("dir/..", 0755), EEXIST);
	FAILS(mkdir("/", 0755), EEXIST);
	FAILS(mknod("new/", S_IFREG | 0644, 0), ENOENT);
	FAILS(mknod("new", S_IFDIR | 0755, 0), EPERM);
	FAILS(mknod("new", S_IFLNK | 0755, 0), EINVAL);
	FAILS(symlink("x", "new/"), ENOENT);
	FAILS(link("file", "new/"), ENOENT);

	FAILS(unlink("dir"), EISDIR);
	FAILS(unlink("dir/"), EISDIR);
	FAILS(unlink("."), EISDIR);
	FAILS(unlink("file/"), ENOTDIR);
	FAILS(unlink("link/"), ENOTDIR);
	FAILS(rmdir("file"), ENOTDIR);
	FAILS(rmdir("link"), ENOTDIR);
	FAILS(rmdir("dangling"), ENOTDIR);
	FAILS(rmdir("dir"), ENOTEMPTY);
	FAILS(rmdir("."), EINVAL);
	FAILS(rmdir("dir/sub/.."), ENOTEMPTY);
	FAILS(unlinkat(AT_FDCWD, "file", 0x4000), EINVAL);

	FAILS(link("dir", "new"), EPERM);
	FAILS(link("dir", "file"), EEXIST);
	FAILS(link("nothing", "file"), ENOENT);
	FAILS(link("file", "link"), EEXIST);

	FAILS(rename(".", "new"), EBUSY);
	FAILS(rename("dir/..", "new"), EBUSY);
	FAILS(rename("empty", "dir/."), EBUSY);
	FAILS(rename("nothing", "dir/sub"), ENOENT);
	FAILS(rename("dir", "dir/sub/new"), EINVAL);
	FAILS(rename("dir/sub", "dir"), ENOTEMPTY);
	FAILS(rename("file", "dir"), EISDIR);
	FAILS(rename("dir", "file"), ENOTDIR);
	FAILS(rename("file", "new/"), ENOTDIR);
	FAILS(rename("link/", "new"), ENOTDIR);
	FAILS(rename("empty", "dir"), ENOTEMPTY);
	FAILS(renameat2(AT_FDCWD, "file", AT_FDCWD, "file", RENAME_NOREPLACE), EEXIST);
	FAILS(renameat2(AT_FDCWD, "file", AT_FDCWD, "new", 1 << 7), EINVAL);
	FAILS(renameat2(AT_FDCWD, "nothing", AT_FDCWD, "file", RENAME_NOREPLACE), ENOENT);
	FAILS(renameat2(AT_FDCWD, "dir", AT_FDCWD, "dir/sub", RENAME_EXCHANGE), EINVAL);
	FAILS(renameat2(AT_FDCWD, "dir/sub", AT_FDCWD, "dir", RENAME_EXCHANGE), EINVAL);
	OK(rename("empty", "moved/"));
	FAILS(readlink("link", (char[1]){0}, 0), EINVAL);
	TRUE(!file_exists("new"));
}

static void as_reader(void *arg)
{
	(void)arg;
	OK(setresuid(STRANGER, STRANGER, STRANGER));
	/* what there is already comes before what one may not make */
	FAILS(mkdir("dir/sub", 0755), EEXIST);
	FAILS(mkdir("dir/new", 0755), EACCES);
	FAILS(symlink("x", "dir/file"), EEXIST);
	FAILS(mknod("dir/file", S_IFREG | 0644, 0), EEXIST);
	FAILS(open("dir/file", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	FAILS(open("dir/new", O_CREAT | O_WRONLY, 0644), EACCES);
	/* what may not be removed comes before whether it could be */
	FAILS(rmdir("dir/full"), EACCES);
	FAILS(rmdir("dir/file"), EACCES);
	FAILS(unlink("dir/sub"), EACCES);
	FAILS(unlink("dir/nothing"), ENOENT);
	FAILS(rename("dir/full", "dir/sub"), EACCES);
	FAILS(rename("dir/nothing", "dir/sub"), ENOENT);
	/* directories are not for writing, whoever asks */
	FAILS(open("dir/full", O_WRONLY), EISDIR);
	FAILS(open("dir/secret", O_WRONLY | O_DIRECTORY), ENOTDIR);
	FAILS(open("dir/secret", O_RDONLY), EACCES);
	FAILS(open("dir/file", O_RDONLY | O_NOATIME), EPERM);
	FAILS(truncate("dir/full", 0), EISDIR);
	FAILS(truncate("dir/file", -1), EINVAL);
	/* to move a directory elsewhere is to change its ".." */
	FAILS(rename("open/hers", "open/there/hers"), EACCES);
	OK(rename("open/hers", "open/renamed"));
	FAILS(mknod("open/device", S_IFCHR | 0600, makedev(1, 3)), EPERM);
	OK(mknod("open/whiteout", S_IFCHR | 0600, makedev(0, 0)));
	FAILS(chroot("open"), EPERM);
}

static void errors_by_rank(void)
{
	OK(mkdir("dir", 0755));
	OK(mkdir("dir/sub", 0755));
	OK(mkdir("dir/full", 0755));
	file_put("dir/full/x", "x");
	file_put("dir/file", "x");
	file_put("dir/secret", "x");
	OK(chmod("dir/secret", 0600));
	OK(mkdir("open", 0777));
	OK(mkdir("open/there", 0777));
	OK(mkdir("open/hers", 0755));
	child_run(as_reader, NULL);
}

/* The file system itself must not show through another way to it: the mount is the border. */
static void across_mounts(void *arg)
{
	int fd;

	(void)arg;
	OK(unshare(CLONE_NEWNS));
	OK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	OK(mount("dir", "twin", NULL, MS_BIND, NULL));
	FAILS(rename("twin/file", "dir/moved"), EXDEV);
	FAILS(rename("dir/file", "twin/file"), EXDEV);
	FAILS(link("dir/file", "twin/linked"), EXDEV);
	FAILS(rmdir("twin"), EBUSY);
	FAILS(rename("twin", "other"), EBUSY);
	FAILS(rename("empty", "twin"), EBUSY);
	FAILS(unlink("twin"), EISDIR);
	fd = OK(open("twin/file", O_RDWR));
	FAILS(mount(NULL, "twin", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), EBUSY);
	OK(close(fd));
	OK(mount(NULL, "twin", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
	FAILS(open("twin/file", O_WRONLY), EROFS);
	FAILS(open("twin/new", O_CREAT | O_WRONLY, 0644), EROFS);
	FAILS(open("twin/file", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	OK(close(OK(open("twin/file", O_CREAT | O_RDONLY, 0644))));
	FAILS(open("twin", O_TMPFILE | O_RDWR, 0644), EROFS);
	FAILS(mkdir("twin/new", 0755), EROFS);
	FAILS(mkdir("twin/sub", 0755), EEXIST);
	FAILS(rmdir("twin/sub"), EROFS);
	FAILS(unlink("twin/file"), EROFS);
	FAILS(rename("twin/file", "twin/new"), EROFS);
	FAILS(link("twin/file", "twin/new"), EROFS);
	FAILS(symlink("x", "twin/new"), EROFS);
	FAILS(chmod("twin/file", 0600), EROFS);
	FAILS(chown("twin/file", 1, 1), EROFS);
	FAILS(truncate("twin/file", 0), EROFS);
	FAILS(utimensat(AT_FDCWD, "twin/file", NULL, 0), EROFS);
	FAILS(setxattr("twin/file", "user.x", "x", 1, 0), EROFS);
	FAILS(removexattr("twin/file", "user.x"), EROFS);
	FAILS(access("twin/file", W_OK), EROFS);
	FAILS(chmod("twin/nothing", 0600), ENOENT);
	TEXT("twin/file", "text");
	OK(umount("twin"));
}

static void errors_of_mounts(void)
{
	OK(mkdir("dir", 0755));
	OK(mkdir("dir/sub", 0755));
	OK(mkdir("twin", 0755));
	OK(mkdir("empty", 0755));
	file_put("dir/file", "text");
	child_run(across_mounts, NULL);
	TEXT("dir/file", "text");
}

static void xattr_as_stranger(void *arg)
{
	char list[256];

	(void)arg;
	OK(setresuid(STRANGER, STRANGER, STRANGER));
	FAILS(setxattr("file", "user.new", "x", 1, 0), EACCES);
	FAILS(removexattr("file", "user.one"), EACCES);
	SAME(getxattr("file", "user.one", list, sizeof(list)), 1);
	FAILS(getxattr("file", "trusted.two", list, sizeof(list)), ENODATA);
	FAILS(setxattr("file", "trusted.two", "x", 1, 0), EPERM);
	FAILS(removexattr("file", "trusted.two"), EPERM);
	FAILS(setxattr("file", "security.three", "x", 1, 0), EPERM);
	FAILS(removexattr("file", "security.three"), EPERM);
	SAME(getxattr("file", "security.three", list, sizeof(list)), 1);
	SAME(listxattr("file", NULL, 0), 9 + 15);
	SAME(listxattr("file", list, sizeof(list)), 9 + 15);
	TRUE(!memmem(list, 9 + 15, "trusted.", 8));
	FAILS(setxattr("secret", "user.x", "x", 1, 0), EACCES);
	FAILS(getxattr("secret", "user.one", list, sizeof(list)), EACCES);
	/* anybody may write to a directory such as /tmp, but its attributes are its owner's */
	FAILS(setxattr("sticky", "user.x", "x", 1, 0), EPERM);
	OK(setxattr("shared", "user.x", "x", 1, 0));
}

static void errors_of_xattrs(void)
{
	static char value[70000];
	char name[300];

	file_put("file", "x");
	file_put("secret", "x");
	OK(chmod("secret", 0600));
	OK(mkdir("sticky", 01777));
	OK(mkdir("shared", 0777));
	OK(symlink("file", "link"));
	OK(mkfifo("fifo", 0666));
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[256] = 0;
	FAILS(setxattr("file", name, "x", 1, 0), ERANGE);
	FAILS(getxattr("file", name, value, 10), ERANGE);
	FAILS(removexattr("file", name), ERANGE);
	name[255] = 0;
	OK(setxattr("file", name, "x", 1, 0));
	OK(removexattr("file", name));
	FAILS(setxattr("file", "", "x", 1, 0), ERANGE);
	FAILS(setxattr("file", "user.", "x", 1, 0), EINVAL);
	FAILS(setxattr("file", "user", "x", 1, 0), EOPNOTSUPP);
	FAILS(setxattr("file", "system.unknown", "x", 1, 0), EOPNOTSUPP);
	FAILS(setxattr("file", "other.x", "x", 1, 0), EOPNOTSUPP);
	FAILS(getxattr("file", "other.x", value, 1), EOPNOTSUPP);
	FAILS(removexattr("file", "other.x"), EOPNOTSUPP);
	FAILS(setxattr("file", "user.x", value, 65537, 0), E2BIG);
	FAILS(setxattr("file", "user.x", "x", 1, 77), EINVAL);
	FAILS(setxattr("file", "user.x", "x", 1, XATTR_REPLACE), ENODATA);
	FAILS(lsetxattr("link", "user.x", "x", 1, 0), EPERM);
	FAILS(setxattr("fifo", "user.x", "x", 1, 0), EPERM);
	FAILS(lgetxattr("link", "user.x", value, 1), ENODATA);
	OK(lsetxattr("link", "trusted.x", "x", 1, 0));
	OK(setxattr("fifo", "trusted.x", "x", 1, 0));
	OK(setxattr("file", "user.one", "1", 1, 0));
	OK(setxattr("secret", "user.one", "1", 1, 0));
	OK(setxattr("file", "trusted.two", "2", 1, 0));
	OK(setxattr("file", "security.three", "3", 1, 0));
	child_run(xattr_as_stranger, NULL);
}

const struct posix_case posix_error_cases[] = {
	{"errors_of_paths", errors_of_paths},
	{"errors_without_search", errors_without_search},
	{"symlink_chain", symlink_chain},
	{"errors_of_open", errors_of_open},
	{"errors_of_descriptors", errors_of_descriptors},
	{"errors_of_names", errors_of_names},
	{"errors_by_rank", errors_by_rank},
	{"errors_of_mounts", errors_of_mounts},
	{"errors_of_xattrs", errors_of_xattrs},
	{NULL, NULL},
};
