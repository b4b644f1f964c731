/* SPDX-License-Identifier: MIT */
/*
 * namespace_test.c - names: creating, looking up, linking, removing, and what that does to the
 * directory.
 */
#include "fixture.h"
#include "inode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void test_create(void **state)
{
	struct fixture *store = *state;
	struct kvfs_caller caller = {.uid = 10, .gid = 20, .umask = 022};
	struct kvfs_attr attr, root;

	assert_int_equal(
		kvfs_mknod(store->fs, &caller, KVFS_ROOT_INO, "f", S_IFREG | 0666, 0, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0644);
	assert_int_equal(attr.uid, 10);
	assert_int_equal(attr.gid, 20);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(attr.size, 0);
	assert_true(attr.btime.tv_sec > 1000000000);
	root = fixture_attr(store, KVFS_ROOT_INO);
	assert_int_equal(root.mtime.tv_sec, attr.btime.tv_sec);
	assert_int_equal(root.mtime.tv_nsec, attr.btime.tv_nsec);
	assert_true(root.size > 0);
	assert_int_equal(
		kvfs_mknod(store->fs, &caller, KVFS_ROOT_INO, "f", S_IFREG, 0, &attr), -EEXIST);
	assert_int_equal(
		kvfs_mknod(store->fs, &caller, attr.ino, "g", S_IFREG, 0, &attr), -ENOTDIR);
	assert_int_equal(kvfs_mknod(store->fs, &caller, 12345, "g", S_IFREG, 0, &attr), -ENOENT);
	assert_int_equal(
		kvfs_mknod(store->fs, &caller, KVFS_ROOT_INO, "c", S_IFCHR | 0600, 0x103, &attr),
		0);
	assert_int_equal(attr.rdev, 0x103);
	fixture_reopen(store);
	assert_int_equal(fixture_attr(store, attr.ino).rdev, 0x103);
}

/*
 * Why a name is not there depends on what it was looked for in, however often and in whatever order
 * that is asked.
 */
static void test_absent(void **state)
{
	struct fixture *store = *state;
	uint64_t directory = fixture_mkdir(store, KVFS_ROOT_INO, "d"), file;
	char name[16];

	for (unsigned i = 0; i < 2 * FS_DIRECTORIES; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		file = fixture_mkfile(store, KVFS_ROOT_INO, name);
		assert_int_equal(fixture_lookup(store, file, "x"), -ENOTDIR);
		assert_int_equal(fixture_lookup(store, directory, "x"), -ENOENT);
		assert_int_equal(fixture_lookup(store, file, "x"), -ENOTDIR);
		assert_int_equal(fixture_lookup(store, directory, "x"), -ENOENT);
	}
	assert_int_equal(fixture_lookup(store, file + 1000, "x"), -ENOENT);
	fixture_mkfile(store, directory, "x");
	assert_true(fixture_lookup(store, directory, "x") > 0);
	assert_int_equal(kvfs_unlink(store->fs, directory, "x"), 0);
	assert_int_equal(fixture_lookup(store, directory, "x"), -ENOENT);
	assert_int_equal(kvfs_rmdir(store->fs, KVFS_ROOT_INO, "d"), 0);
	assert_int_equal(fixture_lookup(store, directory, "x"), -ENOENT);
}

static void test_names(void **state)
{
	struct fixture *store = *state;
	struct kvfs_attr attr;
	char name[258];

	memset(name, 'n', 257);
	name[256] = name[257] = '\0';
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, name), -ENAMETOOLONG);
	assert_int_equal(
		kvfs_mkdir(store->fs, &fixture_root, KVFS_ROOT_INO, name, 0, &attr), -ENAMETOOLONG);
	name[255] = '\0';
	fixture_mkdir(store, KVFS_ROOT_INO, name);
	assert_true(fixture_lookup(store, KVFS_ROOT_INO, name) > 0);
	assert_int_equal(
		kvfs_mkdir(store->fs, &fixture_root, KVFS_ROOT_INO, "", 0, &attr), -EINVAL);
	assert_int_equal(
		kvfs_mkdir(store->fs, &fixture_root, KVFS_ROOT_INO, "a/b", 0, &attr), -EINVAL);
	assert_int_equal(
		kvfs_mkdir(store->fs, &fixture_root, KVFS_ROOT_INO, "..", 0, &attr), -EEXIST);
	for (unsigned c = 1; c < 256; c++) {
		char byte[] = {(char)c, '\0'};

		if (c == '/' || c == '.')
			continue;
		fixture_mkfile(store, KVFS_ROOT_INO, byte);
		assert_true(fixture_lookup(store, KVFS_ROOT_INO, byte) > 0);
	}
}

static void test_directories(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a");
	uint64_t b = fixture_mkdir(store, a, "b");

	assert_int_equal(fixture_attr(store, KVFS_ROOT_INO).nlink, 3);
	assert_int_equal(fixture_attr(store, a).nlink, 3);
	assert_int_equal(fixture_lookup(store, b, ".."), (int64_t)a);
	assert_int_equal(fixture_lookup(store, b, "."), (int64_t)b);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, ".."), KVFS_ROOT_INO);
	assert_int_equal(kvfs_rmdir(store->fs, KVFS_ROOT_INO, "a"), -ENOTEMPTY);
	assert_int_equal(kvfs_unlink(store->fs, a, "b"), -EISDIR);
	assert_int_equal(kvfs_rmdir(store->fs, a, "b"), 0);
	assert_int_equal(fixture_attr(store, a).nlink, 2);
	assert_int_equal(fixture_attr(store, a).size, 0);
	assert_int_equal(fixture_lookup(store, a, "b"), -ENOENT);
	assert_int_equal(kvfs_rmdir(store->fs, KVFS_ROOT_INO, "."), -EINVAL);
	assert_int_equal(kvfs_rmdir(store->fs, KVFS_ROOT_INO, "a"), 0);
	assert_int_equal(kvfs_rmdir(store->fs, KVFS_ROOT_INO, "a"), -ENOENT);
	fixture_mkfile(store, KVFS_ROOT_INO, "f");
	assert_int_equal(kvfs_rmdir(store->fs, KVFS_ROOT_INO, "f"), -ENOTDIR);
}

/* A removed directory that is held stays there, but takes no entries. */
static void test_removed_directory(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a");
	struct kvfs_attr attr;

	kvfs_hold(store->fs, a, 1);
	assert_int_equal(kvfs_rmdir(store->fs, KVFS_ROOT_INO, "a"), 0);
	assert_int_equal(fixture_attr(store, a).nlink, 0);
	assert_int_equal(kvfs_mkdir(store->fs, &fixture_root, a, "x", 0755, &attr), -ENOENT);
	kvfs_release(store->fs, a, 1);
	assert_int_equal(kvfs_getattr(store->fs, a, &attr), -ENOENT);
}

static void test_setgid(void **state)
{
	struct fixture *store = *state;
	uint64_t shared = fixture_mkdir(store, KVFS_ROOT_INO, "shared");
	struct kvfs_caller caller = {.uid = 1, .gid = 2};
	struct kvfs_attr attr = {.mode = 02775, .gid = 500};

	assert_int_equal(
		kvfs_setattr(store->fs, shared, &attr, KVFS_SET_MODE | KVFS_SET_GID, &attr), 0);
	assert_int_equal(kvfs_mknod(store->fs, &caller, shared, "f", S_IFREG | 0644, 0, &attr), 0);
	assert_int_equal(attr.gid, 500);
	assert_int_equal(attr.mode, S_IFREG | 0644);
	assert_int_equal(kvfs_mkdir(store->fs, &caller, shared, "d", 0755, &attr), 0);
	assert_int_equal(attr.gid, 500);
	assert_int_equal(attr.mode, S_IFDIR | S_ISGID | 0755);
}

static void test_links(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "one");
	uint64_t directory = fixture_mkdir(store, KVFS_ROOT_INO, "d");
	struct kvfs_attr attr;

	assert_int_equal(kvfs_write(store->fs, file, "shared", 6, 0, 0), 6);
	assert_int_equal(kvfs_link(store->fs, file, directory, "two", &attr), 0);
	assert_int_equal(attr.nlink, 2);
	assert_int_equal(attr.size, 6);
	assert_int_equal(fixture_lookup(store, directory, "two"), (int64_t)file);
	assert_int_equal(kvfs_link(store->fs, file, directory, "two", &attr), -EEXIST);
	assert_int_equal(kvfs_link(store->fs, directory, directory, "loop", &attr), -EPERM);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "one"), 0);
	assert_int_equal(fixture_attr(store, file).nlink, 1);
	assert_int_equal(kvfs_unlink(store->fs, directory, "two"), 0);
	assert_int_equal(kvfs_getattr(store->fs, file, &attr), -ENOENT);
}

static void test_symlinks(void **state)
{
	struct fixture *store = *state;
	char target[KVFS_SYMLINK_MAX + 2], buffer[KVFS_SYMLINK_MAX];
	struct kvfs_attr attr;

	memset(target, 't', sizeof(target) - 1);
	target[KVFS_SYMLINK_MAX + 1] = '\0';
	assert_int_equal(kvfs_symlink(store->fs, &fixture_root, target, KVFS_ROOT_INO, "l", &attr),
		-ENAMETOOLONG);
	assert_int_equal(
		kvfs_symlink(store->fs, &fixture_root, "", KVFS_ROOT_INO, "l", &attr), -ENOENT);
	target[KVFS_SYMLINK_MAX] = '\0';
	assert_int_equal(
		kvfs_symlink(store->fs, &fixture_root, target, KVFS_ROOT_INO, "l", &attr), 0);
	assert_int_equal(attr.mode, S_IFLNK | 0777);
	assert_int_equal(attr.size, KVFS_SYMLINK_MAX);
	fixture_reopen(store);
	assert_int_equal(kvfs_readlink(store->fs, attr.ino, buffer, 10), -ERANGE);
	assert_int_equal(
		kvfs_readlink(store->fs, attr.ino, buffer, sizeof(buffer)), KVFS_SYMLINK_MAX);
	assert_memory_equal(buffer, target, KVFS_SYMLINK_MAX);
	assert_int_equal(kvfs_readlink(store->fs, KVFS_ROOT_INO, buffer, 10), -EINVAL);
	assert_int_equal(kvfs_read(store->fs, attr.ino, buffer, 10, 0), -EINVAL);
}

/* Inode numbers are never used again, not even when all their files are gone. */
static void test_numbers(void **state)
{
	struct fixture *store = *state;
	uint64_t last = 0;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 5000; i++) {
			uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f");

			assert_true(ino > last);
			last = ino;
			assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
		}
		fixture_reopen(store);
	}
}

/* Gives an inode so many links as nobody has the time to make. */
static void set_nlink(struct fixture *store, uint64_t ino, uint32_t nlink)
{
	struct change change;
	struct inode inode;

	assert_int_equal(change_begin(store->fs, &change), 0);
	change_lock(&change, &ino, 1);
	assert_int_equal(inode_load(&change, ino, &inode), 0);
	inode.nlink = nlink;
	assert_int_equal(inode_put(&change, &inode), 0);
	assert_int_equal(change_commit(&change), 0);
	change_end(&change);
}

static void test_too_many_links(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	uint64_t directory = fixture_mkdir(store, KVFS_ROOT_INO, "d");
	struct kvfs_attr attr;

	fixture_mkdir(store, KVFS_ROOT_INO, "other");
	set_nlink(store, file, KVFS_LINK_MAX - 1);
	assert_int_equal(kvfs_link(store->fs, file, KVFS_ROOT_INO, "last", &attr), 0);
	assert_int_equal(attr.nlink, KVFS_LINK_MAX);
	assert_int_equal(kvfs_link(store->fs, file, KVFS_ROOT_INO, "more", &attr), -EMLINK);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "more"), -ENOENT);

	set_nlink(store, directory, KVFS_LINK_MAX);
	fixture_mkfile(store, directory, "a file is no link to its directory");
	assert_int_equal(
		kvfs_mkdir(store->fs, &fixture_root, directory, "sub", 0755, &attr), -EMLINK);
	assert_int_equal(
		kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "other", directory, "sub", 0), -EMLINK);
	assert_int_equal(kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "other", directory,
				 "a file is no link to its directory", RENAME_EXCHANGE),
		-EMLINK);
	assert_int_equal(kvfs_rename(store->fs, NULL, directory,
				 "a file is no link to its directory", KVFS_ROOT_INO,
				 "other", RENAME_EXCHANGE),
		-EMLINK);
	assert_true(fixture_lookup(store, KVFS_ROOT_INO, "other") > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_absent, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_names, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_directories, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_removed_directory, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_setgid, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_links, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_too_many_links, fixture_setup, fixture_remove),
		cmocka_unit_test_setup_teardown(test_symlinks, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_numbers, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
