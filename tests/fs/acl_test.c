/* SPDX-License-Identifier: MIT */
/* acl_test.c - access control lists: what they do to modes, modes to them, and what is inherited.
 */
#include "fixture.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

struct entry {
	uint16_t tag, perm;
	uint32_t id; /* of a named user or group */
};

struct list {
	uint32_t version;
	struct entry entries[600];
	size_t size; /* bytes of the list as it is stored */
};

enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

#define LIST(...)                                                                                  \
	list_of((const struct entry[]){__VA_ARGS__},                                               \
		sizeof((const struct entry[]){__VA_ARGS__}) / sizeof(struct entry))

static struct list list_of(const struct entry *entries, size_t count)
{
	struct list list = {.version = htole32(2), .size = 4 + 8 * count};

	for (size_t i = 0; i < count; i++)
		list.entries[i] = (struct entry){
			htole16(entries[i].tag), htole16(entries[i].perm), htole32(entries[i].id)};
	return list;
}

static int set(struct fixture *store, uint64_t ino, const char *name, const struct list *list)
{
	return kvfs_setxattr(store->fs, ino, name, list, list->size, 0);
}

static void assert_list(
	struct fixture *store, uint64_t ino, const char *name, const struct list *expected)
{
	struct list found;

	memset(&found, 0, sizeof(found));
	assert_int_equal(
		kvfs_getxattr(store->fs, ino, name, &found, sizeof(found)), expected->size);
	assert_memory_equal(&found, expected, expected->size);
}

static void assert_none(struct fixture *store, uint64_t ino, const char *name)
{
	assert_int_equal(kvfs_getxattr(store->fs, ino, name, NULL, 0), -ENODATA);
}

static void chmod_to(struct fixture *store, uint64_t ino, uint32_t mode)
{
	struct kvfs_attr attr = {.mode = mode};

	assert_int_equal(kvfs_setattr(store->fs, ino, &attr, KVFS_SET_MODE, &attr), 0);
	assert_int_equal(attr.mode & 07777, mode);
}

static void test_mode(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct list full = LIST(
		{USER_OBJ, 6, 0}, {USER, 7, 4321}, {GROUP_OBJ, 4, 0}, {MASK, 5, 0}, {OTHER, 1, 0});
	struct list after = LIST(
		{USER_OBJ, 7, 0}, {USER, 7, 4321}, {GROUP_OBJ, 4, 0}, {MASK, 0, 0}, {OTHER, 2, 0});
	struct list minimal = LIST({USER_OBJ, 6, 0}, {GROUP_OBJ, 2, 0}, {OTHER, 4, 0});

	assert_int_equal(set(store, ino, ACCESS, &full), 0);
	assert_int_equal(fixture_attr(store, ino).mode, S_IFREG | 0651);
	assert_list(store, ino, ACCESS, &full);
	chmod_to(store, ino, 0702);
	assert_list(store, ino, ACCESS, &after);
	fixture_reopen(store);
	assert_list(store, ino, ACCESS, &after);
	/* What a mode can say is said by the mode. */
	assert_int_equal(set(store, ino, ACCESS, &minimal), 0);
	assert_int_equal(fixture_attr(store, ino).mode, S_IFREG | 0624);
	assert_none(store, ino, ACCESS);
	assert_int_equal(kvfs_listxattr(store->fs, ino, NULL, 0), 0);
	assert_int_equal(kvfs_removexattr(store->fs, ino, ACCESS), 0);
}

static void test_remove(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct list list = LIST(
		{USER_OBJ, 6, 0}, {GROUP_OBJ, 4, 0}, {GROUP, 7, 9}, {MASK, 7, 0}, {OTHER, 0, 0});

	assert_int_equal(set(store, ino, ACCESS, &list), 0);
	assert_int_equal(kvfs_listxattr(store->fs, ino, NULL, 0), sizeof(ACCESS));
	assert_int_equal(kvfs_removexattr(store->fs, ino, ACCESS), 0);
	assert_none(store, ino, ACCESS);
	assert_int_equal(fixture_attr(store, ino).mode, S_IFREG | 0670);
}

static void test_inherit(void **state)
{
	struct fixture *store = *state;
	struct kvfs_caller caller = {.uid = 10, .gid = 20, .umask = 077};
	struct list inherited = LIST(
		{USER_OBJ, 7, 0}, {USER, 6, 11}, {GROUP_OBJ, 5, 0}, {MASK, 7, 0}, {OTHER, 5, 0});
	struct list cut = LIST(
		{USER_OBJ, 6, 0}, {USER, 6, 11}, {GROUP_OBJ, 5, 0}, {MASK, 4, 0}, {OTHER, 4, 0});
	struct list whole = LIST(
		{USER_OBJ, 7, 0}, {USER, 6, 11}, {GROUP_OBJ, 5, 0}, {MASK, 7, 0}, {OTHER, 0, 0});
	struct list plain = LIST({USER_OBJ, 7, 0}, {GROUP_OBJ, 5, 0}, {OTHER, 4, 0});
	uint64_t dir = fixture_mkdir(store, KVFS_ROOT_INO, "d");
	struct kvfs_attr attr;

	assert_int_equal(set(store, dir, DEFAULT, &inherited), 0);
	/* The list takes the place of the umask. */
	assert_int_equal(kvfs_mknod(store->fs, &caller, dir, "f", S_IFREG | 0644, 0, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0644);
	assert_list(store, attr.ino, ACCESS, &cut);
	assert_none(store, attr.ino, DEFAULT);
	assert_int_equal(kvfs_mkdir(store->fs, &caller, dir, "sub", 0770, &attr), 0);
	assert_int_equal(attr.mode, S_IFDIR | 0770);
	assert_list(store, attr.ino, ACCESS, &whole);
	assert_list(store, attr.ino, DEFAULT, &inherited);
	assert_int_equal(kvfs_tmpfile(store->fs, &caller, dir, 0644, &attr), 0);
	assert_list(store, attr.ino, ACCESS, &cut);
	kvfs_release(store->fs, attr.ino, 1);
	/* A link's permissions mean nothing. */
	assert_int_equal(kvfs_symlink(store->fs, &caller, "f", dir, "l", &attr), 0);
	assert_int_equal(attr.mode, S_IFLNK | 0777);
	assert_none(store, attr.ino, ACCESS);
	/* Nothing but modes to inherit: no list, but still no umask. */
	assert_int_equal(set(store, dir, DEFAULT, &plain), 0);
	assert_int_equal(kvfs_mknod(store->fs, &caller, dir, "g", S_IFREG | 0666, 0, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0644);
	assert_none(store, attr.ino, ACCESS);
	assert_int_equal(kvfs_removexattr(store->fs, dir, DEFAULT), 0);
	assert_int_equal(kvfs_removexattr(store->fs, dir, DEFAULT), 0);
	assert_int_equal(kvfs_mknod(store->fs, &caller, dir, "h", S_IFREG | 0666, 0, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0600);
}

static void test_set_gid(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct list list = LIST(
		{USER_OBJ, 7, 0}, {USER, 7, 5}, {GROUP_OBJ, 5, 0}, {MASK, 7, 0}, {OTHER, 5, 0});

	chmod_to(store, ino, 02755);
	assert_int_equal(set(store, ino, ACCESS, &list), 0);
	assert_int_equal(fixture_attr(store, ino).mode, S_IFREG | 02775);
	assert_int_equal(
		kvfs_setxattr(store->fs, ino, ACCESS, &list, list.size, KVFS_XATTR_KILL_SGID), 0);
	assert_int_equal(fixture_attr(store, ino).mode, S_IFREG | 0775);
}

static void test_bad_lists(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct list bad[] = {
		LIST({USER_OBJ, 7, 0}, {GROUP_OBJ, 5, 0}),
		LIST({USER_OBJ, 7, 0}, {USER, 7, 5}, {GROUP_OBJ, 5, 0}, {OTHER, 5, 0}),
		LIST({USER_OBJ, 8, 0}, {GROUP_OBJ, 5, 0}, {OTHER, 5, 0}),
		LIST({USER_OBJ, 7, 0}, {OTHER, 5, 0}, {GROUP_OBJ, 5, 0}),
		LIST({USER_OBJ, 7, 0}, {USER_OBJ, 7, 0}, {GROUP_OBJ, 5, 0}, {OTHER, 5, 0}),
		LIST({USER_OBJ, 7, 0}, {3, 7, 0}, {GROUP_OBJ, 5, 0}, {OTHER, 5, 0}),
		LIST({USER_OBJ, 7, 0}, {GROUP_OBJ, 5, 0}, {OTHER, 5, 0}, {64, 5, 0}),
	};
	struct list many = LIST({USER_OBJ, 7, 0}, {GROUP_OBJ, 5, 0}, {OTHER, 5, 0});
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(set(store, ino, ACCESS, &bad[i]), -EINVAL);
	assert_int_equal(kvfs_setxattr(store->fs, ino, ACCESS, &many, many.size - 1, 0), -EINVAL);
	assert_int_equal(kvfs_setxattr(store->fs, ino, ACCESS, &many, 3, 0), -EINVAL);
	many.version = htole32(3);
	assert_int_equal(set(store, ino, ACCESS, &many), -EINVAL);
	many = LIST({USER_OBJ, 7, 0});
	for (i = 1; i < 597; i++)
		many.entries[i] = (struct entry){htole16(USER), htole16(7), htole32((uint32_t)i)};
	memcpy(many.entries + i, LIST({GROUP_OBJ, 5, 0}, {MASK, 5, 0}, {OTHER, 5, 0}).entries,
		3 * sizeof(struct entry));
	many.size = 4 + 8 * (i + 3);
	assert_int_equal(set(store, ino, ACCESS, &many), -ENOSPC);
	assert_int_equal(set(store, ino, DEFAULT, &bad[0]), -EACCES);
	assert_none(store, ino, ACCESS);
	assert_int_equal(fixture_attr(store, ino).mode & 0777, 0644);
}

static int setup_compressed(void **state)
{
	struct kvfs_create_options create = {.compress = KV_COMPRESS_INLINE};

	return fixture_setup_with(state, &create);
}

/* The list is decompressed between the reading of what is renamed and its writing. */
static void test_whiteout_in_compressed(void **state)
{
	struct fixture *store = *state;
	struct list many = LIST({USER_OBJ, 7, 0});
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "text");
	char text[1500], found[sizeof(text)];
	size_t i;

	for (i = 0; i < sizeof(text); i++)
		text[i] = "the same few words "[i % 19];
	assert_int_equal(kvfs_write(store->fs, ino, text, sizeof(text), 0, 0), sizeof(text));
	for (i = 1; i < 60; i++)
		many.entries[i] = (struct entry){htole16(USER), htole16(7), htole32((uint32_t)i)};
	memcpy(many.entries + i, LIST({GROUP_OBJ, 5, 0}, {MASK, 5, 0}, {OTHER, 5, 0}).entries,
		3 * sizeof(struct entry));
	many.size = 4 + 8 * (i + 3);
	assert_int_equal(set(store, KVFS_ROOT_INO, DEFAULT, &many), 0);
	assert_int_equal(kvfs_rename(store->fs, &(struct kvfs_caller){.uid = 7}, KVFS_ROOT_INO,
				 "text", KVFS_ROOT_INO, "moved", RENAME_WHITEOUT),
		0);
	assert_int_equal(kvfs_read(store->fs, ino, found, sizeof(found), 0), sizeof(text));
	assert_memory_equal(found, text, sizeof(text));
	fixture_assert_clean(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_mode, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_remove, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_inherit, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_set_gid, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_bad_lists, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_whiteout_in_compressed, setup_compressed, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
