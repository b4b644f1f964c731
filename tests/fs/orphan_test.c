/* SPDX-License-Identifier: MIT */
/*
 * orphan_test.c - files without names: usable while held, freed with the last hold or at the next
 * opening.
 */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "fs.h"
#include "keyspaces.h"
#include "orphan.h"

#define ROUNDS 2000u
#define LARGE_PIECES 20000u

static uint64_t keys(struct fixture *store, enum keyspace keyspace)
{
	struct kv_stats stats;

	kv_stats(kvfs_kv(store->fs), &stats);
	return stats.keys[keyspace];
}

static void expect_gone(struct fixture *store, uint64_t ino)
{
	struct kvfs_attr attr;

	assert_int_equal(kvfs_getattr(store->fs, ino, &attr), -ENOENT);
	assert_int_equal(keys(store, KEYSPACE_ORPHAN), 0);
	assert_int_equal(keys(store, KEYSPACE_INODE), 1);
	assert_int_equal(keys(store, KEYSPACE_EXTENT), 0);
	assert_int_equal(keys(store, KEYSPACE_XATTR), 0);
}

static uint64_t make_unlinked(struct fixture *store, unsigned holds)
{
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	static char data[100000];

	assert_int_equal(kvfs_write(store->fs, file, data, sizeof(data), 0, 0), sizeof(data));
	assert_int_equal(kvfs_setxattr(store->fs, file, "user.a", "v", 1, 0), 0);
	kvfs_hold(store->fs, file, holds);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	return file;
}

static void test_last_release(void **state)
{
	struct fixture *store = *state;
	uint64_t file = make_unlinked(store, 3);
	char byte;

	assert_int_equal(fixture_attr(store, file).nlink, 0);
	assert_int_equal(kvfs_write(store->fs, file, "z", 1, 5, 0), 1);
	assert_int_equal(kvfs_read(store->fs, file, &byte, 1, 5), 1);
	assert_int_equal(byte, 'z');
	kvfs_release(store->fs, file, 2);
	assert_int_equal(fixture_attr(store, file).nlink, 0);
	fixture_assert_clean(store);
	kvfs_release(store->fs, file, 1);
	expect_gone(store, file);
}

static void test_opening_frees(void **state)
{
	struct fixture *store = *state;
	uint64_t file = make_unlinked(store, 1);

	store->open.kv.flags = KV_OPEN_READ_ONLY;
	fixture_reopen(store);
	assert_int_equal(fixture_attr(store, file).nlink, 0);
	store->open.kv.flags = 0;
	fixture_reopen(store);
	expect_gone(store, file);
}

static void test_no_hold(void **state)
{
	struct fixture *store = *state;

	expect_gone(store, make_unlinked(store, 0));
}

static void test_replaced(void **state)
{
	struct fixture *store = *state;
	uint64_t old = fixture_mkfile(store, KVFS_ROOT_INO, "old");

	kvfs_hold(store->fs, old, 1);
	fixture_mkfile(store, KVFS_ROOT_INO, "new");
	assert_int_equal(
		kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "new", KVFS_ROOT_INO, "old", 0), 0);
	assert_int_equal(fixture_attr(store, old).nlink, 0);
	kvfs_release(store->fs, old, 1);
	assert_int_equal(keys(store, KEYSPACE_ORPHAN), 0);
	assert_int_equal(keys(store, KEYSPACE_INODE), 2);
}

static void test_tmpfile(void **state)
{
	struct fixture *store = *state;
	struct kvfs_attr attr;

	assert_int_equal(kvfs_tmpfile(store->fs, &fixture_root, KVFS_ROOT_INO, 0600, &attr), 0);
	assert_int_equal(attr.nlink, 0);
	assert_int_equal(attr.mode, S_IFREG | 0600);
	assert_int_equal(kvfs_write(store->fs, attr.ino, "x", 1, 0, 0), 1);
	kvfs_release(store->fs, attr.ino, 1);
	expect_gone(store, attr.ino);

	assert_int_equal(kvfs_tmpfile(store->fs, &fixture_root, KVFS_ROOT_INO, 0600, &attr), 0);
	assert_int_equal(kvfs_link(store->fs, attr.ino, KVFS_ROOT_INO, "named", &attr), 0);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(keys(store, KEYSPACE_ORPHAN), 0);
	kvfs_release(store->fs, attr.ino, 1);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "named"), (int64_t)attr.ino);
	/* Once unlinked it is like any other: no way back. */
	kvfs_hold(store->fs, attr.ino, 1);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "named"), 0);
	assert_int_equal(kvfs_link(store->fs, attr.ino, KVFS_ROOT_INO, "again", &attr), -ENOENT);
	kvfs_release(store->fs, attr.ino, 1);
	expect_gone(store, attr.ino);
}

static uint64_t make_small_unlinked(struct fixture *store, const char *contents)
{
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "small");
	size_t size = strlen(contents);

	assert_int_equal(kvfs_write(store->fs, file, contents, size, 0, 0), size);
	kvfs_hold(store->fs, file, 1);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "small"), 0);
	return file;
}

static void expect_contents(struct fixture *store, uint64_t ino, const char *contents)
{
	char data[64];
	size_t size = strlen(contents);

	assert_int_equal(kvfs_read(store->fs, ino, data, sizeof(data), 0), size);
	assert_memory_equal(data, contents, size);
	assert_int_equal(fixture_attr(store, ino).nlink, 0);
}

/* One record, held: gone from the store with its name, but not for who holds it. */
static void test_small(void **state)
{
	struct fixture *store = *state;
	uint64_t file = make_small_unlinked(store, "contents");
	char one;

	assert_int_equal(keys(store, KEYSPACE_INODE), 1);
	assert_int_equal(keys(store, KEYSPACE_ORPHAN), 0);
	expect_contents(store, file, "contents");
	assert_int_equal(kvfs_getxattr(store->fs, file, "user.a", &one, 1), -ENODATA);
	fixture_assert_clean(store);
	kvfs_release(store->fs, file, 1);
	expect_gone(store, file);
}

/* Written to, it is in the store again, and known to be freed. */
static void test_small_changed(void **state)
{
	struct fixture *store = *state;
	uint64_t file = make_small_unlinked(store, "contents");
	static char data[100000];

	assert_int_equal(kvfs_write(store->fs, file, "C", 1, 0, 0), 1);
	assert_int_equal(keys(store, KEYSPACE_ORPHAN), 1);
	expect_contents(store, file, "Contents");
	assert_int_equal(kvfs_write(store->fs, file, data, sizeof(data), 8, 0), sizeof(data));
	assert_int_equal(fixture_attr(store, file).size, 8 + sizeof(data));
	fixture_assert_clean(store);
	kvfs_release(store->fs, file, 1);
	expect_gone(store, file);
	/* And if nobody lets go of it before the end. */
	file = make_small_unlinked(store, "contents");
	assert_int_equal(kvfs_setxattr(store->fs, file, "user.a", "v", 1, 0), 0);
	fixture_reopen(store);
	expect_gone(store, file);
}

static void test_removed_directory(void **state)
{
	struct fixture *store = *state;
	struct kvfs_attr directory, attr;

	assert_int_equal(
		kvfs_mkdir(store->fs, &fixture_root, KVFS_ROOT_INO, "d", 0755, &directory), 0);
	kvfs_hold(store->fs, directory.ino, 1);
	assert_int_equal(kvfs_rmdir(store->fs, KVFS_ROOT_INO, "d"), 0);
	assert_int_equal(fixture_attr(store, directory.ino).nlink, 0);
	assert_int_equal(kvfs_mknod(store->fs, &fixture_root, directory.ino, "f", S_IFREG, 0, &attr),
		-ENOENT);
	assert_int_equal(kvfs_lookup(store->fs, directory.ino, "..", &attr), 0);
	assert_int_equal(attr.ino, KVFS_ROOT_INO);
	kvfs_release(store->fs, directory.ino, 1);
	expect_gone(store, directory.ino);
}

/* No more is kept than fits; what comes then is an orphan in the store. */
static void test_many_small(void **state)
{
	struct fixture *store = *state;
	static char contents[2000];
	uint64_t files[6000];
	unsigned count = sizeof(files) / sizeof(files[0]);

	for (unsigned i = 0; i < count; i++) {
		files[i] = fixture_mkfile(store, KVFS_ROOT_INO, "f");
		memset(contents, (int)i, sizeof(contents));
		assert_int_equal(kvfs_write(store->fs, files[i], contents, sizeof(contents), 0, 0),
			sizeof(contents));
		kvfs_hold(store->fs, files[i], 1);
		assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	}
	assert_in_range(keys(store, KEYSPACE_ORPHAN), 1, count / 2);
	assert_true(atomic_load(&store->fs->holds.kept_bytes) < HOLD_KEPT_MAX + 4096);
	for (unsigned i = 0; i < count; i++) {
		uint8_t byte;

		assert_int_equal(kvfs_read(store->fs, files[i], &byte, 1, 1999), 1);
		assert_int_equal(byte, i & 255);
		kvfs_release(store->fs, files[i], 1);
	}
	assert_int_equal(atomic_load(&store->fs->holds.kept_bytes), 0);
	expect_gone(store, files[0]);
}

static void *hold_and_release(void *arg)
{
	struct fixture *store = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		int64_t ino = fixture_lookup(store, KVFS_ROOT_INO, "f");

		if (ino < 0)
			continue;
		kvfs_hold(store->fs, (uint64_t)ino, 1);
		kvfs_release(store->fs, (uint64_t)ino, 1);
	}
	return NULL;
}

/* Whoever comes last, the unlink or the release, frees the file: nothing is left, nothing is freed
 * twice. */
static void test_race(void **state)
{
	struct fixture *store = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, hold_and_release, store), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		fixture_mkfile(store, KVFS_ROOT_INO, "f");
		assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	}
	pthread_join(thread, NULL);
	assert_int_equal(keys(store, KEYSPACE_INODE), 1);
	assert_int_equal(keys(store, KEYSPACE_ORPHAN), 0);
}

/* More pieces than whoever lets go last frees by itself. */
static void free_behind(struct fixture *store, bool refused)
{
	pthread_attr_t usual, huge;
	uint64_t file;

	store->open.frees_behind = true;
	fixture_reopen(store);
	file = make_unlinked(store, 1);
	for (unsigned i = 0; i < LARGE_PIECES; i++)
		assert_int_equal(kvfs_write(store->fs, file, "x", 1, (int64_t)i << 17, 0), 1);
	assert_int_equal(pthread_getattr_default_np(&usual), 0);
	assert_int_equal(pthread_attr_init(&huge), 0);
	assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 48), 0);
	if (refused)
		assert_int_equal(pthread_setattr_default_np(&huge), 0);
	kvfs_release(store->fs, file, 1);
	assert_int_equal(pthread_setattr_default_np(&usual), 0);
	pthread_attr_destroy(&huge);
	pthread_attr_destroy(&usual);
	if (refused)
		expect_gone(store, file);
	fixture_close(store);
	store->open.frees_behind = false;
	store->open.kv.flags = KV_OPEN_READ_ONLY; /* frees nothing by itself */
	fixture_open(store);
	expect_gone(store, file);
}

/* The rest goes behind its back, and before closing is done. */
static void test_freed_behind(void **state)
{
	free_behind(*state, false);
}

/* Without a thread for it, the rest goes at once. */
static void test_nobody_behind(void **state)
{
	free_behind(*state, true);
}

/* ---- what was not trimmed to its end --------------------------------------------------------- */

/* A truncation that stopped early has left a note: it goes with the file. */
static void test_half_trimmed(void **state)
{
	static const char data[100000];
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct change change;
	struct inode inode;

	assert_int_equal(kvfs_write(store->fs, file, data, sizeof(data), 0, 0), sizeof(data));
	assert_int_equal(change_begin(store->fs, &change), 0);
	change_lock(&change, &file, 1);
	assert_int_equal(inode_load(&change, file, &inode), 0);
	inode.flags |= INODE_TRIM;
	inode.size = 1000;
	assert_int_equal(inode_put(&change, &inode), 0);
	assert_int_equal(orphan_put(&change, file), 0);
	assert_int_equal(change_commit(&change), 0);
	change_unlock(&change);
	change_end(&change);
	fixture_assert_clean(store);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	expect_gone(store, file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_last_release, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_opening_frees, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_no_hold, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_replaced, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_tmpfile, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_small, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_small_changed, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_removed_directory, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_many_small, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_freed_behind, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_nobody_behind, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_half_trimmed, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_race, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
