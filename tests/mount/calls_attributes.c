/* SPDX-License-Identifier: MIT */
/*
 * calls_attributes.c - calls that ask for and set modes, owners, times and extended attributes
 */
#include "calls.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static const struct flag at_flags[] = {
	{AT_SYMLINK_NOFOLLOW, 30, "NOFOLLOW"},
	{AT_EMPTY_PATH, 12, "EMPTY_PATH"},
	{0, 0, NULL},
};

static void call_chmod(void)
{
	struct place at;
	mode_t mode;

	say("chmod");
	at = pick_place();
	mode = pick_mode();
	if (chance(70))
		say_result(fchmodat(at.directory, at.path, mode, 0));
	else
		say_result(
			syscall(SYS_fchmodat2, at.directory, at.path, mode, pick_flags(at_flags)));
}

static void call_fchmod(void)
{
	int fd;

	say("fchmod");
	fd = pick_slot();
	say_result(fchmod(fd, pick_mode()));
}

/* To set neither is one thing to some file systems, and another to those that are behind FUSE. */
static gid_t pick_group(uid_t uid)
{
	gid_t gid = pick_id();

	return gid == (gid_t)-1 && uid == (uid_t)-1 ? 2000 : gid;
}

static void call_chown(void)
{
	struct place at;
	uid_t uid;
	gid_t gid;

	say("chown");
	at = pick_place();
	uid = pick_id();
	gid = pick_group(uid);
	say_result(fchownat(at.directory, at.path, uid, gid, (int)pick_flags(at_flags)));
}

static void call_fchown(void)
{
	uid_t uid;
	int fd;

	say("fchown");
	fd = pick_slot();
	uid = pick_id();
	say_result(fchown(fd, uid, pick_group(uid)));
}

static struct timespec pick_time(void)
{
	static const struct timespec times[] = {{0, UTIME_NOW}, {0, UTIME_NOW}, {0, UTIME_OMIT},
		{0, UTIME_OMIT}, {0, 0}, {-1, 1}, {1000000000, 999999999}, {4294967296, 1},
		{1000, 1000000000}, {1000, -1}, {7, UTIME_NOW}, {7, UTIME_OMIT}};
	struct timespec time = times[pick(sizeof(times) / sizeof(times[0]))];

	if (time.tv_nsec == UTIME_NOW)
		say(" NOW");
	else if (time.tv_nsec == UTIME_OMIT)
		say(" OMIT");
	else
		say(" %lld.%ld", (long long)time.tv_sec, time.tv_nsec);
	return time;
}

static void call_utimens(void)
{
	struct timespec times[2];
	bool by_now = chance(15);
	struct place at = {0, NULL};

	say("utimens%s", by_now ? " now" : "");
	if (chance(25))
		at.directory = pick_slot();
	else
		at = pick_place();
	times[0] = pick_time();
	times[1] = pick_time();
	say_result(syscall(SYS_utimensat, at.directory, at.path, by_now ? NULL : times,
		at.path ? pick_flags(at_flags) : 0));
}

static void call_access(void)
{
	static const struct flag flags[] = {
		{AT_EACCESS, 40, "EACCESS"},
		{AT_SYMLINK_NOFOLLOW, 20, "NOFOLLOW"},
		{AT_EMPTY_PATH, 10, "EMPTY_PATH"},
		{4, 1, "4"},
		{0, 0, NULL},
	};
	struct place at;
	unsigned mode = chance(98) ? pick(8) : 8;

	say("access %u", mode);
	at = pick_place();
	say_result(syscall(SYS_faccessat2, at.directory, at.path, mode, pick_flags(flags)));
}

static void call_statx(void)
{
	static const struct flag flags[] = {
		{AT_SYMLINK_NOFOLLOW, 30, "NOFOLLOW"},
		{AT_EMPTY_PATH, 15, "EMPTY_PATH"},
		{AT_STATX_FORCE_SYNC, 15, "FORCE_SYNC"},
		{AT_STATX_DONT_SYNC, 15, "DONT_SYNC"},
		{AT_NO_AUTOMOUNT, 10, "NO_AUTOMOUNT"},
		{0, 0, NULL},
	};
	static const unsigned masks[] = {STATX_BASIC_STATS, STATX_ALL, 0, STATX_SIZE, STATX_BTIME,
		STATX_MODE | STATX_NLINK, STATX__RESERVED};
	unsigned mask = masks[pick(sizeof(masks) / sizeof(masks[0]))];
	struct place at;
	struct statx stx;
	int result;

	say("statx %#x", mask);
	at = pick_place();
	result = statx(at.directory, at.path, (int)pick_flags(flags), mask, &stx);
	say_result(result);
	if (result)
		return;
	say(" %#x", stx.stx_mask & mask & (STATX_BASIC_STATS | STATX_BTIME));
	say(" %o %u %u %u", stx.stx_mode, stx.stx_nlink, stx.stx_uid, stx.stx_gid);
	if (!S_ISDIR(stx.stx_mode))
		say(" %llu", (unsigned long long)stx.stx_size);
}

static void call_statvfs(void)
{
	struct statvfs space;
	const char *path;
	int result;

	say("statvfs");
	path = pick_path();
	result = statvfs(path, &space);
	say_result(result);
	if (!result)
		say(" %lu", space.f_namemax);
}

/* ---- extended attributes ----------------------------------------------------------------------
 */

struct list {
	struct posix_acl_xattr_header header;
	struct posix_acl_xattr_entry entries[6];
};

/* An access list: none to speak of, a whole one, and some that make no sense. */
static size_t list_make(struct list *list)
{
	unsigned kind = pick(10), permissions = pick(8), count = kind < 4 ? 3 : 5;

	*list = (struct list){
		.header.a_version = POSIX_ACL_XATTR_VERSION,
		.entries = {{ACL_USER_OBJ, 6, ACL_UNDEFINED_ID}},
	};
	if (count == 5) {
		list->entries[1] =
			(struct posix_acl_xattr_entry){ACL_USER, (uint16_t)permissions, 1000};
		list->entries[2] =
			(struct posix_acl_xattr_entry){ACL_GROUP_OBJ, 5, ACL_UNDEFINED_ID};
		list->entries[3] = (struct posix_acl_xattr_entry){
			ACL_MASK, (uint16_t)pick(8), ACL_UNDEFINED_ID};
		list->entries[4] = (struct posix_acl_xattr_entry){ACL_OTHER, 4, ACL_UNDEFINED_ID};
	} else {
		list->entries[1] = (struct posix_acl_xattr_entry){
			ACL_GROUP_OBJ, (uint16_t)permissions, ACL_UNDEFINED_ID};
		list->entries[2] = (struct posix_acl_xattr_entry){ACL_OTHER, 5, ACL_UNDEFINED_ID};
	}
	if (kind == 7)
		list->entries[2].e_perm = 8;
	else if (kind == 8)
		list->entries[1].e_tag = ACL_OTHER;
	else if (kind == 9)
		list->header.a_version = chance(50) ? 1 : POSIX_ACL_XATTR_VERSION;
	say(" list %u %u", kind, permissions);
	if (chance(4))
		return sizeof(list->header);
	return sizeof(list->header) + count * sizeof(list->entries[0]) - (chance(4) ? 1 : 0);
}

static const char *pick_xattr(void)
{
	static const char *const names[] = {"user.a", "user.a", "user.b", "trusted.t", "security.s",
		"system.posix_acl_access", "system.posix_acl_access", "system.posix_acl_default",
		"system.other", "other.x", "user.", "user", "", "trusted.", "security.capability"};
	const char *name = names[pick(sizeof(names) / sizeof(names[0]))];

	say(" %s", name);
	return name;
}

/* The way to a file that an attribute is asked of: by a path, by that of a link itself, by a slot.
 */
struct way {
	unsigned kind;
	const char *path;
	int fd;
};

static struct way pick_way(void)
{
	struct way way = {pick(4), NULL, -1};

	say(" %s", way.kind < 2 ? "by path" : way.kind == 2 ? "of the link" : "open");
	if (way.kind == 3)
		way.fd = pick_slot();
	else
		way.path = pick_path();
	return way;
}

static void call_setxattr(void)
{
	static const size_t sizes[] = {0, 1, 1, 20, 200, 65537};
	static const struct flag flags[] = {{XATTR_CREATE, 20, "CREATE"},
		{XATTR_REPLACE, 20, "REPLACE"}, {4, 2, "4"}, {0, 0, NULL}};
	size_t size = sizes[pick(sizeof(sizes) / sizeof(sizes[0]))];
	const void *value = pick_bytes(size);
	struct list list;
	const char *name;
	struct way way;
	int all;

	say("setxattr");
	way = pick_way();
	name = pick_xattr();
	all = (int)pick_flags(flags);
	if (!size && !strcmp(name, "security.capability"))
		size = 1; /* an empty one is none to chown(2), unless the file system looks after it
			   */
	if (!strncmp(name, "system.posix", 12) && chance(95)) {
		size = list_make(&list);
		value = &list;
	}
	say(" of %zu", size);
	if (way.kind == 3)
		say_result(fsetxattr(way.fd, name, value, size, all));
	else
		say_result(
			(way.kind == 2 ? lsetxattr : setxattr)(way.path, name, value, size, all));
}

static void call_getxattr(void)
{
	static const size_t sizes[] = {65536, 65536, 0, 1, 100};
	size_t size = sizes[pick(sizeof(sizes) / sizeof(sizes[0]))];
	static char value[65536];
	const char *name;
	struct way way;
	ssize_t result;

	say("getxattr %zu", size);
	way = pick_way();
	name = pick_xattr();
	if (way.kind == 3)
		result = fgetxattr(way.fd, name, value, size);
	else
		result = (way.kind == 2 ? lgetxattr : getxattr)(way.path, name, value, size);
	say_result(result);
	if (result > 0 && size)
		say_bytes(value, (size_t)result);
}

static void call_removexattr(void)
{
	const char *name;
	struct way way;

	say("removexattr");
	way = pick_way();
	name = pick_xattr();
	if (way.kind == 3)
		say_result(fremovexattr(way.fd, name));
	else
		say_result((way.kind == 2 ? lremovexattr : removexattr)(way.path, name));
}

static void call_listxattr(void)
{
	static const size_t sizes[] = {65536, 65536, 0, 8};
	size_t size = sizes[pick(sizeof(sizes) / sizeof(sizes[0]))];
	static char names[65536];
	struct way way;
	ssize_t result;

	say("listxattr %zu", size);
	way = pick_way();
	if (way.kind == 3)
		result = flistxattr(way.fd, names, size);
	else
		result = (way.kind == 2 ? llistxattr : listxattr)(way.path, names, size);
	say_result(result);
	if (result > 0 && size)
		say_sorted(names, (size_t)result);
}

const struct call calls_of_attributes[] = {
	{35, call_chmod},
	{15, call_fchmod},
	{25, call_chown},
	{12, call_fchown},
	{30, call_utimens},
	{20, call_access},
	{20, call_statx},
	{4, call_statvfs},
	{45, call_setxattr},
	{15, call_getxattr},
	{15, call_removexattr},
	{10, call_listxattr},
	{0, NULL},
};
