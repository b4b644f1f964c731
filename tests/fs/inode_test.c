/* SPDX-License-Identifier: MIT */
/*
 * inode_test.c - attributes: which call changes which time, who clears set-id bits, extended
 * attributes.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static bool same(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void test_times_of_changes(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct kvfs_attr before = fixture_attr(store, file), after;
	struct kvfs_attr set = {.mode = 0600};

	assert_int_equal(kvfs_write(store->fs, file, "x", 1, 0, 0), 1);
	after = fixture_attr(store, file);
	assert_true(later(after.mtime, before.mtime) && later(after.ctime, before.ctime));
	assert_true(same(after.btime, before.btime) && same(after.atime, before.atime));
	before = after;
	assert_int_equal(kvfs_setattr(store->fs, file, &set, KVFS_SET_MODE, &after), 0);
	assert_true(same(after.mtime, before.mtime) && later(after.ctime, before.ctime));
	assert_int_equal(after.mode, S_IFREG | 0600);
	before = after;
	assert_int_equal(
		kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "f", KVFS_ROOT_INO, "g", 0), 0);
	after = fixture_attr(store, file);
	assert_true(same(after.mtime, before.mtime) && later(after.ctime, before.ctime));
	before = after;
	assert_int_equal(kvfs_setxattr(store->fs, file, "user.a", "v", 1, 0), 0);
	after = fixture_attr(store, file);
	assert_true(same(after.mtime, before.mtime) && later(after.ctime, before.ctime));
}

static void test_set_times(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct kvfs_attr set = {.atime = {-1, 999999999}, .mtime = {INT64_C(1) << 35, 1}};
	struct kvfs_attr now = fixture_attr(store, file), attr;

	assert_int_equal(
		kvfs_setattr(store->fs, file, &set, KVFS_SET_ATIME | KVFS_SET_MTIME, &attr), 0);
	fixture_reopen(store);
	attr = fixture_attr(store, file);
	assert_true(same(attr.atime, set.atime) && same(attr.mtime, set.mtime));
	assert_true(later(attr.ctime, now.ctime));
	assert_int_equal(
		kvfs_setattr(store->fs, file, &set, KVFS_SET_ATIME_NOW | KVFS_SET_MTIME_NOW, &attr),
		0);
	assert_true(same(attr.atime, attr.ctime) && same(attr.mtime, attr.ctime));
	set.mtime.tv_nsec = 1000000000;
	assert_int_equal(kvfs_setattr(store->fs, file, &set, KVFS_SET_MTIME, &attr), -EINVAL);
}

static struct timespec atime_after_read(struct fixture *store, uint64_t file)
{
	char byte;

	assert_int_equal(kvfs_read(store->fs, file, &byte, 1, 0), 1);
	return fixture_attr(store, file).atime;
}

static void test_atime(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct kvfs_attr old = {.atime = {1, 0}};
	struct timespec first, second;

	assert_int_equal(kvfs_write(store->fs, file, "x", 1, 0, 0), 1);
	first = atime_after_read(store, file);
	assert_true(later(first, fixture_attr(store, file).mtime));
	second = atime_after_read(store, file);
	assert_true(same(first, second));
	assert_int_equal(kvfs_setattr(store->fs, file, &old, KVFS_SET_ATIME, &old), 0);
	assert_true(later(atime_after_read(store, file), first));

	store->open.atime = KVFS_STRICTATIME;
	fixture_reopen(store);
	first = atime_after_read(store, file);
	assert_true(later(atime_after_read(store, file), first));

	store->open.atime = KVFS_NOATIME;
	fixture_reopen(store);
	first = fixture_attr(store, file).atime;
	assert_true(same(atime_after_read(store, file), first));
}

static uint32_t mode_of(struct fixture *store, uint64_t file)
{
	return fixture_attr(store, file).mode & 07777;
}

static void set_mode(struct fixture *store, uint64_t file, uint32_t mode)
{
	struct kvfs_attr attr = {.mode = mode};

	assert_int_equal(kvfs_setattr(store->fs, file, &attr, KVFS_SET_MODE, &attr), 0);
}

static void test_set_ids(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct kvfs_attr attr = {.uid = 7, .size = 0};

	set_mode(store, file, 06755);
	assert_int_equal(kvfs_setxattr(store->fs, file, "security.capability", "cap", 3, 0), 0);
	assert_int_equal(kvfs_write(store->fs, file, "x", 1, 0, 0), 1);
	assert_int_equal(mode_of(store, file), 06755);
	assert_int_equal(kvfs_write(store->fs, file, "x", 1, 0, KVFS_WRITE_KILL_SUIDGID), 1);
	assert_int_equal(mode_of(store, file), 0755);
	assert_int_equal(kvfs_getxattr(store->fs, file, "security.capability", NULL, 0), -ENODATA);
	/* Without execution by the group the set-gid bit goes if the caller is no member of it. */
	set_mode(store, file, 06745);
	assert_int_equal(kvfs_setattr(store->fs, file, &attr, KVFS_SET_UID, &attr), 0);
	assert_int_equal(mode_of(store, file), 02745);
	attr.uid = 7;
	assert_int_equal(
		kvfs_setattr(store->fs, file, &attr, KVFS_SET_UID | KVFS_KILL_SGID, &attr), 0);
	assert_int_equal(mode_of(store, file), 0745);
	attr.size = 0;
	set_mode(store, file, 04755);
	assert_int_equal(
		kvfs_setattr(store->fs, file, &attr, KVFS_SET_SIZE | KVFS_KILL_SUIDGID, &attr), 0);
	assert_int_equal(mode_of(store, file), 0755);
	/* Who keeps the bits does not keep the capability. */
	set_mode(store, file, 06755);
	assert_int_equal(kvfs_setxattr(store->fs, file, "security.capability", "cap", 3, 0), 0);
	assert_int_equal(kvfs_setattr(store->fs, file, &attr, KVFS_KILL_CAPABILITY, &attr), 0);
	assert_int_equal(kvfs_getxattr(store->fs, file, "security.capability", NULL, 0), -ENODATA);
	assert_int_equal(kvfs_setxattr(store->fs, file, "security.capability", "cap", 3, 0), 0);
	assert_int_equal(kvfs_setattr(store->fs, file, &attr, KVFS_SET_SIZE, &attr), 0);
	assert_int_equal(kvfs_getxattr(store->fs, file, "security.capability", NULL, 0), -ENODATA);
	assert_int_equal(mode_of(store, file), 06755);
	/* Directories keep theirs. */
	set_mode(store, KVFS_ROOT_INO, 02755);
	assert_int_equal(kvfs_setattr(store->fs, KVFS_ROOT_INO, &attr,
		KVFS_SET_UID | KVFS_KILL_SUIDGID | KVFS_KILL_SGID, &attr), 0);
	assert_int_equal(mode_of(store, KVFS_ROOT_INO), 02755);
}

static void test_xattrs(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	static char value[KVFS_XATTR_SIZE_MAX + 1], back[KVFS_XATTR_SIZE_MAX];
	char list[64];

	memset(value, 'v', sizeof(value));
	assert_int_equal(kvfs_getxattr(store->fs, file, "user.a", back, sizeof(back)), -ENODATA);
	assert_int_equal(kvfs_listxattr(store->fs, file, list, sizeof(list)), 0);
	assert_int_equal(
		kvfs_setxattr(store->fs, file, "user.a", value, 5, XATTR_REPLACE), -ENODATA);
	assert_int_equal(kvfs_setxattr(store->fs, file, "user.a", value, 5, XATTR_CREATE), 0);
	assert_int_equal(kvfs_setxattr(store->fs, file, "user.a", value, 5, XATTR_CREATE), -EEXIST);
	assert_int_equal(kvfs_setxattr(store->fs, file, "user.a", value, sizeof(value), 0), -E2BIG);
	assert_int_equal(kvfs_setxattr(store->fs, file, "user.a", value, sizeof(back), 0), 0);
	assert_int_equal(kvfs_setxattr(store->fs, file, "trusted.empty", NULL, 0, 0), 0);
	fixture_reopen(store);
	assert_int_equal(kvfs_getxattr(store->fs, file, "user.a", back, 10), -ERANGE);
	assert_int_equal(kvfs_getxattr(store->fs, file, "user.a", NULL, 0), sizeof(back));
	assert_int_equal(
		kvfs_getxattr(store->fs, file, "user.a", back, sizeof(back)), sizeof(back));
	assert_memory_equal(back, value, sizeof(back));
	assert_int_equal(kvfs_getxattr(store->fs, file, "trusted.empty", back, 1), 0);
	assert_int_equal(kvfs_listxattr(store->fs, file, NULL, 0), 7 + 14);
	assert_int_equal(kvfs_listxattr(store->fs, file, list, 20), -ERANGE);
	assert_int_equal(kvfs_listxattr(store->fs, file, list, sizeof(list)), 7 + 14);
	assert_memory_equal(list, "trusted.empty\0user.a", 21);
	assert_int_equal(kvfs_removexattr(store->fs, file, "user.a"), 0);
	assert_int_equal(kvfs_removexattr(store->fs, file, "user.a"), -ENODATA);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	assert_int_equal(kvfs_getxattr(store->fs, file, "trusted.empty", back, 1), -ENODATA);
}

static void test_xattr_names(void **state)
{
	struct fixture *store = *state;
	char name[KVFS_XATTR_NAME_MAX + 2];

	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[KVFS_XATTR_NAME_MAX + 1] = '\0';
	assert_int_equal(kvfs_setxattr(store->fs, KVFS_ROOT_INO, name, "v", 1, 0), -ERANGE);
	name[KVFS_XATTR_NAME_MAX] = '\0';
	assert_int_equal(kvfs_setxattr(store->fs, KVFS_ROOT_INO, name, "v", 1, 0), 0);
	assert_int_equal(kvfs_setxattr(store->fs, KVFS_ROOT_INO, "user.", "v", 1, 0), -EINVAL);
	assert_int_equal(
		kvfs_setxattr(store->fs, KVFS_ROOT_INO, "other.x", "v", 1, 0), -EOPNOTSUPP);
	assert_int_equal(kvfs_setxattr(store->fs, 999, "user.x", "v", 1, 0), -ENOENT);
	/* The names of one inode fit what listxattr can return. */
	for (unsigned i = 0;; i++) {
		int err;

		snprintf(name + 5, 20, "%08u", i);
		name[13] = 'n';
		err = kvfs_setxattr(store->fs, KVFS_ROOT_INO, name, "v", 1, 0);
		if (err) {
			assert_int_equal(err, -ENOSPC);
			assert_int_equal(i, 65536 / 256 - 1);
			break;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_times_of_changes, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_set_times, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_atime, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_set_ids, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_xattrs, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_xattr_names, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
