/* SPDX-License-Identifier: MIT */
/*
 * path_test.c - walking paths.
 */
#include "fixture.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int64_t resolve(struct fixture *store, const char *path, bool follow)
{
	struct kvfs_attr attr;
	int err = kvfs_resolve(store->fs, path, follow, &attr);

	return err ? err : (int64_t)attr.ino;
}

static uint64_t make_symlink(
	struct fixture *store, uint64_t parent, const char *name, const char *target)
{
	struct kvfs_attr attr;

	assert_int_equal(kvfs_symlink(store->fs, &fixture_root, target, parent, name, &attr), 0);
	return attr.ino;
}

static void test_resolve(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a");
	uint64_t b = fixture_mkdir(store, a, "b");
	uint64_t f = fixture_mkfile(store, b, "f");

	assert_int_equal(resolve(store, "", true), KVFS_ROOT_INO);
	assert_int_equal(resolve(store, "///", true), KVFS_ROOT_INO);
	assert_int_equal(resolve(store, "a/b/f", true), f);
	assert_int_equal(resolve(store, "//a///b/f/", true), f);
	assert_int_equal(resolve(store, "a/./b/../b/f", true), f);
	assert_int_equal(resolve(store, "../../a", true), a);
	assert_int_equal(resolve(store, "a/x/f", true), -ENOENT);
	assert_int_equal(resolve(store, "a/b/f/g", true), -ENOTDIR);
}

static void test_symlinks(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a");
	uint64_t f = fixture_mkfile(store, a, "f");
	uint64_t link = make_symlink(store, KVFS_ROOT_INO, "link", "a/f");

	make_symlink(store, a, "up", "..");
	make_symlink(store, a, "absolute", "/a/./f");
	make_symlink(store, KVFS_ROOT_INO, "loop", "loop");
	make_symlink(store, KVFS_ROOT_INO, "dangling", "nowhere/x");
	assert_int_equal(resolve(store, "link", true), f);
	assert_int_equal(resolve(store, "link", false), link);
	assert_int_equal(resolve(store, "a/up/a/up/link", true), f);
	assert_int_equal(resolve(store, "a/absolute", true), f);
	assert_int_equal(resolve(store, "loop", true), -ELOOP);
	assert_int_equal(resolve(store, "loop/x", false), -ELOOP);
	assert_int_equal(resolve(store, "dangling", true), -ENOENT);
}

static void test_long(void **state)
{
	struct fixture *store = *state;
	char *path = malloc(3 * PATH_MAX), name[300];

	assert_non_null(path);
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(resolve(store, name, true), -ENAMETOOLONG);
	/* As deep as it gets: the walk itself has no limit. */
	for (unsigned i = 0; i < PATH_MAX; i++)
		memcpy(path + 2 * i, "./", 3);
	assert_int_equal(resolve(store, path, true), KVFS_ROOT_INO);
	free(path);
}

static void test_parent(void **state)
{
	struct fixture *store = *state;
	struct kvfs_caller caller = {.umask = 027};
	char name[KVFS_NAME_MAX + 1];
	struct kvfs_attr parent;

	assert_int_equal(kvfs_resolve_parent(store->fs, "x/y/file", NULL, &parent, name), -ENOENT);
	assert_int_equal(kvfs_resolve_parent(store->fs, "x/y/file", &caller, &parent, name), 0);
	assert_string_equal(name, "file");
	assert_int_equal(parent.mode, S_IFDIR | 0750);
	assert_int_equal(resolve(store, "x/y", true), parent.ino);
	assert_int_equal(resolve(store, "x/y/file", true), -ENOENT);
	assert_int_equal(kvfs_resolve_parent(store->fs, "//file//", NULL, &parent, name), 0);
	assert_int_equal(parent.ino, KVFS_ROOT_INO);
	assert_string_equal(name, "file");
	assert_int_equal(kvfs_resolve_parent(store->fs, "/", NULL, &parent, name), -EINVAL);
	assert_int_equal(kvfs_resolve_parent(store->fs, "x/..", NULL, &parent, name), -EINVAL);
	fixture_mkfile(store, KVFS_ROOT_INO, "plain");
	assert_int_equal(
		kvfs_resolve_parent(store->fs, "plain/f", &caller, &parent, name), -ENOTDIR);
	make_symlink(store, KVFS_ROOT_INO, "link", "x/y");
	assert_int_equal(kvfs_resolve_parent(store->fs, "link/f", NULL, &parent, name), 0);
	assert_int_equal(resolve(store, "x/y", true), parent.ino);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_resolve, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_symlinks, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_long, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_parent, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
