/* SPDX-License-Identifier: MIT */
/*
 * calls_names.c - calls that make, move, remove and list names, and that open files
 */
#include "calls.h"

#include <dirent.h>
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LIST_MAX 16384

#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID AT_REMOVEDIR
#endif

/* All of them do not wait for the other end of a fifo. */
static const struct flag open_flags[] = {
	{O_WRONLY, 20, "O_WRONLY"},
	{O_RDWR, 45, "O_RDWR"},
	{O_CREAT, 45, "O_CREAT"},
	{O_EXCL, 10, "O_EXCL"},
	{O_TRUNC, 15, "O_TRUNC"},
	{O_APPEND, 12, "O_APPEND"},
	{O_NOFOLLOW, 8, "O_NOFOLLOW"},
	{O_DIRECTORY, 8, "O_DIRECTORY"},
	{O_PATH, 6, "O_PATH"},
	{__O_TMPFILE, 3, "O_TMPFILE alone"},
	{O_TMPFILE, 5, "O_TMPFILE"},
	{O_NOATIME, 4, "O_NOATIME"},
	{O_DSYNC, 2, "O_DSYNC"},
	{O_SYNC, 2, "O_SYNC"},
	{O_NOCTTY, 2, "O_NOCTTY"},
	{0, 0, NULL},
};

/* Mostly what programs use, or any bits at all. */
static unsigned pick_open_flags(void)
{
	static const struct flag usual[] = {
		{O_RDONLY, 0, "O_RDONLY"},
		{O_RDWR, 0, "O_RDWR"},
		{O_RDWR, 0, "O_RDWR"},
		{O_RDWR | O_CREAT, 0, "O_RDWR|O_CREAT"},
		{O_RDWR | O_CREAT, 0, "O_RDWR|O_CREAT"},
		{O_RDWR | O_CREAT | O_EXCL, 0, "O_RDWR|O_CREAT|O_EXCL"},
		{O_RDWR | O_CREAT | O_APPEND, 0, "O_RDWR|O_CREAT|O_APPEND"},
		{O_RDWR | O_CREAT | O_TRUNC, 0, "O_RDWR|O_CREAT|O_TRUNC"},
		{O_WRONLY | O_CREAT | O_TRUNC, 0, "O_WRONLY|O_CREAT|O_TRUNC"},
		{O_RDWR | O_TMPFILE, 0, "O_RDWR|O_TMPFILE"},
		{O_RDONLY | O_DIRECTORY, 0, "O_DIRECTORY"},
		{O_PATH, 0, "O_PATH"},
		{O_PATH | O_NOFOLLOW, 0, "O_PATH|O_NOFOLLOW"},
	};
	unsigned which;

	if (chance(35))
		return pick_flags(open_flags) | O_NONBLOCK;
	which = pick(sizeof(usual) / sizeof(usual[0]));
	say(" %s", usual[which].name);
	return usual[which].value | O_NONBLOCK;
}

static void slot_set(unsigned slot, int fd, unsigned flags)
{
	/* in a directory that is gone: EPERM is ext4's own */
	int error = (flags & O_TMPFILE) == O_TMPFILE && errno == EPERM ? ENOENT : errno;

	if (fd >= 0) {
		if (slots[slot] >= 0)
			close(slots[slot]);
		slots[slot] = fd;
	}
	errno = error;
	say_success(fd);
}

static void call_openat(void)
{
	unsigned flags, slot = pick(SLOTS);
	struct place at;
	mode_t mode;

	say("open into %u", slot);
	at = pick_place();
	flags = pick_open_flags();
	mode = pick_mode();
	slot_set(slot, openat(at.directory, at.path, (int)flags, mode), flags);
}

static void call_openat2(void)
{
	static const struct flag resolve[] = {
		{RESOLVE_BENEATH, 20, "BENEATH"},
		{RESOLVE_IN_ROOT, 15, "IN_ROOT"},
		{RESOLVE_NO_SYMLINKS, 20, "NO_SYMLINKS"},
		{RESOLVE_NO_MAGICLINKS, 10, "NO_MAGICLINKS"},
		{RESOLVE_NO_XDEV, 20, "NO_XDEV"},
		{1u << 20, 2, "no such flag"},
		{0, 0, NULL},
	};
	struct open_how how = {0};
	unsigned slot = pick(SLOTS);
	struct place at;

	say("openat2 into %u", slot);
	at = pick_place();
	how.flags = pick_open_flags();
	how.resolve = pick_flags(resolve);
	how.mode = how.flags & (O_CREAT | __O_TMPFILE) || chance(5) ? pick_mode() : 0;
	slot_set(slot, (int)syscall(SYS_openat2, at.directory, at.path, &how, sizeof(how)),
		(unsigned)how.flags);
}

/* An open file again, by the name that it has in /proc. */
static void call_reopen(void)
{
	char path[32];
	unsigned flags, from = pick(SLOTS), slot = pick(SLOTS);

	say("reopen %u into %u", from, slot);
	/* the link in /proc itself is none of our files */
	flags = pick_open_flags() & ~(unsigned)O_NOFOLLOW;
	snprintf(path, sizeof(path), "self/fd/%d", slots[from]);
	slot_set(slot, openat(proc, path, (int)flags, pick_mode()), flags);
}

static void call_mkdir(void)
{
	struct place at;

	say("mkdir");
	at = pick_place();
	say_result(mkdirat(at.directory, at.path, pick_mode()));
}

static void call_mknod(void)
{
	static const mode_t types[] = {S_IFREG, S_IFREG, S_IFIFO, S_IFIFO, S_IFSOCK, S_IFCHR,
		S_IFBLK, 0, S_IFDIR, S_IFLNK, 0170000};
	mode_t type = types[pick(sizeof(types) / sizeof(types[0]))];
	dev_t device = chance(50) ? makedev(1, 3) : chance(50) ? 0 : makedev(259, 70000);
	struct place at;

	say("mknod %o %x", type, (unsigned)device);
	at = pick_place();
	say_result(mknodat(at.directory, at.path, type | pick_mode(), device));
}

static void call_symlink(void)
{
	const char *target;
	struct place at;

	say("symlink");
	target = pick_path();
	at = pick_place();
	say_result(symlinkat(target, at.directory, at.path));
}

static void call_link(void)
{
	static const struct flag flags[] = {
		{AT_SYMLINK_FOLLOW, 30, "FOLLOW"},
		{AT_EMPTY_PATH, 15, "EMPTY_PATH"},
		{AT_SYMLINK_NOFOLLOW, 2, "NOFOLLOW"},
		{0, 0, NULL},
	};
	struct place from, to;

	say("link");
	from = pick_place();
	to = pick_place();
	say_result(
		linkat(from.directory, from.path, to.directory, to.path, (int)pick_flags(flags)));
}

static void call_link_open(void)
{
	bool by_proc = chance(50);
	char path[32];
	int fd;

	say("link of open%s", by_proc ? " by /proc" : "");
	fd = pick_slot();
	snprintf(path, sizeof(path), "self/fd/%d", fd);
	if (by_proc)
		say_result(linkat(proc, path, AT_FDCWD, pick_path(), AT_SYMLINK_FOLLOW));
	else
		say_result(linkat(fd, "", AT_FDCWD, pick_path(), AT_EMPTY_PATH));
}

static void call_unlink(void)
{
	static const struct flag flags[] = {
		{AT_REMOVEDIR, 35, "REMOVEDIR"},
		{AT_SYMLINK_NOFOLLOW, 1, "NOFOLLOW"},
		{0, 0, NULL},
	};
	struct place at;

	say("unlink");
	at = pick_place();
	say_result(unlinkat(at.directory, at.path, (int)pick_flags(flags)));
}

static void call_rename(void)
{
	static const struct flag flags[] = {
		{RENAME_NOREPLACE, 12, "NOREPLACE"},
		{RENAME_EXCHANGE, 20, "EXCHANGE"},
		{RENAME_WHITEOUT, 8, "WHITEOUT"},
		{8, 1, "8"},
		{0, 0, NULL},
	};
	struct place from, to;

	say("rename");
	from = pick_place();
	to = pick_place();
	say_result(renameat2(from.directory, from.path, to.directory, to.path, pick_flags(flags)));
}

static void call_readlink(void)
{
	static const size_t sizes[] = {4096, 4096, 300, 2, 1, 0};
	size_t size = sizes[pick(sizeof(sizes) / sizeof(sizes[0]))];
	struct place at = {0, ""};
	char target[4096];
	ssize_t length;

	say("readlink %zu", size);
	if (chance(85))
		at = pick_place();
	else
		at.directory = pick_slot();
	length = readlinkat(at.directory, at.path, target, size);
	say_result(length);
	if (length > 0)
		say_bytes(target, (size_t)length);
}

/* Names and types of what is listed, in their order; from a place in the middle the same again. */
static void list(DIR *dir)
{
	unsigned middle = pick(4), count = 0, behind = 0, again = 0;
	char names[LIST_MAX];
	struct dirent *entry;
	long place = -1;
	size_t used = 0;

	while ((entry = readdir(dir))) {
		if (used + sizeof(entry->d_name) + 8 < sizeof(names))
			used += (size_t)sprintf(
					names + used, "%d:%s", entry->d_type, entry->d_name) +
				1;
		if (place >= 0)
			behind++;
		if (count++ == middle)
			place = telldir(dir);
	}
	say_sorted(names, used);
	if (place < 0)
		return;
	seekdir(dir, place);
	while (readdir(dir))
		again++;
	if (again != behind)
		say(" but %u entries behind a place, and %u again", behind, again);
}

static void call_list(void)
{
	struct place at;
	DIR *dir;
	int fd;

	say("list");
	at = pick_place();
	fd = openat(at.directory, at.path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
	say_success(fd);
	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	list(dir);
	closedir(dir);
}

static void call_list_open(void)
{
	static const size_t sizes[] = {LIST_MAX, LIST_MAX, 0, 10};
	size_t size = sizes[pick(sizeof(sizes) / sizeof(sizes[0]))];
	char entries[LIST_MAX];
	bool rewinds = chance(60);
	long result;
	int fd;

	say("getdents %zu%s", size, rewinds ? " from the start" : "");
	fd = pick_slot();
	if (rewinds)
		say_success(lseek(fd, 0, SEEK_SET));
	result = syscall(SYS_getdents64, fd, entries, size);
	/* how many bytes there are depends on how they are ordered and aligned */
	if (result > 0)
		say(" = some");
	else
		say_result(result);
	if (result > 0)
		lseek(fd, 0, SEEK_SET);
}

static void call_chdir(void)
{
	char path[4096];

	say("chdir");
	if (chance(40))
		say_result(chdir("/"));
	else if (chance(30))
		say_result(fchdir(pick_slot()));
	else
		say_result(chdir(pick_path()));
	if (getcwd(path, sizeof(path)))
		say(" %.100s", path);
	else
		say(" cwd %s", strerrorname_np(errno));
}

static void call_umask(void)
{
	static const mode_t masks[] = {0, 022, 077, 0777};
	mode_t mask = masks[pick(4)];

	say("umask %o", mask);
	say_result(umask(mask));
}

/* Not on any file system, but its rules need ours: what a handle leads to. */
static void call_handle(void)
{
	static const struct flag flags[] = {
		{AT_EMPTY_PATH, 25, "EMPTY_PATH"},
		{AT_SYMLINK_FOLLOW, 20, "FOLLOW"},
		{AT_HANDLE_FID, 5, "FID"},
		{0, 0, NULL},
	};
	struct {
		struct file_handle head;
		char bytes[MAX_HANDLE_SZ];
	} handle = {.head.handle_bytes = chance(95) ? MAX_HANDLE_SZ : 1};
	int mount, found, fd;
	unsigned all, way;
	struct place at;

	say("handle");
	at = pick_place();
	all = pick_flags(flags);
	found = name_to_handle_at(at.directory, at.path, &handle.head, &mount, (int)all);
	say_result(found);
	way = pick(3) ? O_RDONLY | O_NONBLOCK : O_PATH;
	if (found || all & AT_HANDLE_FID)
		return;
	fd = open("/", O_RDONLY | O_DIRECTORY);
	if (fd >= 0) {
		int opened = open_by_handle_at(fd, &handle.head, (int)way);

		say_success(opened);
		if (opened >= 0)
			close(opened);
		close(fd);
	}
}

const struct call calls_of_names[] = {
	{130, call_openat},
	{25, call_openat2},
	{15, call_reopen},
	{60, call_mkdir},
	{25, call_mknod},
	{40, call_symlink},
	{40, call_link},
	{12, call_link_open},
	{60, call_unlink},
	{80, call_rename},
	{10, call_readlink},
	{10, call_list},
	{8, call_list_open},
	{12, call_chdir},
	{8, call_umask},
	{8, call_handle},
	{0, NULL},
};
