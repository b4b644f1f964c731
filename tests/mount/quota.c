/* SPDX-License-Identifier: MIT */
/*
 * quota.c - preloaded into a server, a disk that fills up is a quota that is used up: its space
 * looks endless, and what does not fit is -EDQUOT. Not every kernel has quotas to try.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#define ENDLESS ((fsblkcnt_t)1 << 28) /* blocks */
#define REPLACES __attribute__((visibility("default")))

/* By the names that a program with 64-bit offsets has for them. */
static void *next(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (!function)
		abort();
	return function;
}

REPLACES int fallocate(int fd, int mode, off_t offset, off_t size)
{
	int (*real)(int, int, off_t, off_t) = next("fallocate64");
	int result = real(fd, mode, offset, size);

	if (result < 0 && errno == ENOSPC)
		errno = EDQUOT;
	return result;
}

REPLACES int fstatvfs(int fd, struct statvfs *space)
{
	int (*real)(int, struct statvfs *) = next("fstatvfs64");
	int result = real(fd, space);

	space->f_blocks = space->f_bfree = space->f_bavail = ENDLESS;
	return result;
}
