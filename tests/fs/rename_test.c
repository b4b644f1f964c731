/* SPDX-License-Identifier: MIT */
/*
 * rename_test.c - renaming: flags, replacing, moving directories, and never a cycle.
 */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define ROUNDS 3000u

static int rename_root(struct fixture *store, const char *from, const char *to, unsigned flags)
{
	static const struct kvfs_caller caller = {.uid = 7, .gid = 8};

	return kvfs_rename(store->fs, &caller, KVFS_ROOT_INO, from, KVFS_ROOT_INO, to, flags);
}

static void test_replace(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkfile(store, KVFS_ROOT_INO, "a");
	uint64_t b = fixture_mkfile(store, KVFS_ROOT_INO, "b");
	struct kvfs_attr attr;

	assert_int_equal(rename_root(store, "a", "b", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(rename_root(store, "a", "b", 0), 0);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "a"), -ENOENT);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "b"), (int64_t)a);
	assert_int_equal(kvfs_getattr(store->fs, b, &attr), -ENOENT);
	assert_int_equal(rename_root(store, "a", "c", 0), -ENOENT);
	assert_int_equal(rename_root(store, "b", "b", 0), 0);
	assert_int_equal(rename_root(store, "b", "c", 1u << 7), -EINVAL);
	assert_int_equal(rename_root(store, "b", "..", 0), -EBUSY);
}

/* Two names of one file: nothing happens. */
static void test_same_inode(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkfile(store, KVFS_ROOT_INO, "a");
	struct kvfs_attr attr;

	assert_int_equal(kvfs_link(store->fs, a, KVFS_ROOT_INO, "b", &attr), 0);
	assert_int_equal(rename_root(store, "a", "b", 0), 0);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "a"), (int64_t)a);
	assert_int_equal(fixture_attr(store, a).nlink, 2);
}

static void test_types(void **state)
{
	struct fixture *store = *state;
	uint64_t full = fixture_mkdir(store, KVFS_ROOT_INO, "full");

	fixture_mkdir(store, KVFS_ROOT_INO, "empty");
	fixture_mkdir(store, KVFS_ROOT_INO, "other");
	fixture_mkfile(store, KVFS_ROOT_INO, "file");
	fixture_mkfile(store, full, "x");
	assert_int_equal(rename_root(store, "empty", "file", 0), -ENOTDIR);
	assert_int_equal(rename_root(store, "file", "empty", 0), -EISDIR);
	assert_int_equal(rename_root(store, "empty", "full", 0), -ENOTEMPTY);
	assert_int_equal(rename_root(store, "full", "empty", 0), 0);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "empty"), (int64_t)full);
	assert_int_equal(fixture_attr(store, KVFS_ROOT_INO).nlink, 4);
	assert_int_equal(rename_root(store, "empty", "file", RENAME_EXCHANGE), 0);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "file"), (int64_t)full);
}

static void test_move_directory(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a");
	uint64_t b = fixture_mkdir(store, a, "b");
	uint64_t c = fixture_mkdir(store, b, "c");

	assert_int_equal(kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "a", c, "a", 0), -EINVAL);
	assert_int_equal(kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "a", a, "a", 0), -EINVAL);
	assert_int_equal(kvfs_rename(store->fs, NULL, b, "c", KVFS_ROOT_INO, "a", 0), -ENOTEMPTY);
	assert_int_equal(
		kvfs_rename(store->fs, NULL, b, "c", KVFS_ROOT_INO, "a", RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(kvfs_rename(store->fs, NULL, a, "b", KVFS_ROOT_INO, "b", 0), 0);
	assert_int_equal(fixture_lookup(store, b, ".."), KVFS_ROOT_INO);
	assert_int_equal(fixture_attr(store, a).nlink, 2);
	assert_int_equal(fixture_attr(store, KVFS_ROOT_INO).nlink, 4);
	assert_int_equal(kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "a", c, "a", 0), 0);
	assert_int_equal(fixture_lookup(store, a, ".."), (int64_t)c);
}

static void test_exchange(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a");
	uint64_t x = fixture_mkdir(store, a, "x");
	uint64_t f = fixture_mkfile(store, KVFS_ROOT_INO, "f");

	assert_int_equal(
		kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "f", a, "x", RENAME_EXCHANGE), 0);
	assert_int_equal(fixture_lookup(store, a, "x"), (int64_t)f);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "f"), (int64_t)x);
	assert_int_equal(fixture_lookup(store, x, ".."), KVFS_ROOT_INO);
	assert_int_equal(fixture_attr(store, a).nlink, 2);
	assert_int_equal(fixture_attr(store, KVFS_ROOT_INO).nlink, 4);
	assert_int_equal(rename_root(store, "f", "none", RENAME_EXCHANGE), -ENOENT);
}

struct mover {
	struct fixture *store;
	uint64_t from, to;
};

static void *move_back_and_forth(void *arg)
{
	struct mover *mover = arg;

	/* What fails, fails with an error that is due; the tree is checked afterwards. */
	for (unsigned i = 0; i < ROUNDS; i++) {
		int err = kvfs_rename(mover->store->fs, NULL, KVFS_ROOT_INO, i % 2 ? "a" : "b",
			mover->to, "moved", 0);

		if (!err)
			err = kvfs_rename(mover->store->fs, NULL, mover->to, "moved", KVFS_ROOT_INO,
				i % 2 ? "a" : "b", 0);
		if (err && err != -EINVAL && err != -ENOENT && err != -ENOTEMPTY)
			return mover;
	}
	return NULL;
}

/* What takes the old name: a device that stands for nothing. */
static void test_whiteout(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkfile(store, KVFS_ROOT_INO, "a");
	struct kvfs_attr attr;

	fixture_mkfile(store, KVFS_ROOT_INO, "b");
	assert_int_equal(
		rename_root(store, "a", "b", RENAME_WHITEOUT | RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(rename_root(store, "a", "b", RENAME_WHITEOUT | RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(rename_root(store, "a", "b", RENAME_WHITEOUT), 0);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "b"), (int64_t)a);
	assert_int_equal(kvfs_lookup(store->fs, KVFS_ROOT_INO, "a", &attr), 0);
	assert_int_equal(attr.mode, S_IFCHR);
	assert_int_equal(attr.rdev, 0);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(attr.uid, 7);
	assert_int_equal(attr.gid, 8);
	assert_int_equal(kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "b", KVFS_ROOT_INO, "c",
				 RENAME_WHITEOUT),
		-EINVAL);
	fixture_assert_clean(store);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "a"), 0);
}

/* Each tries to move one directory into the other: only one of them can. */
static void test_no_cycle(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a");
	uint64_t b = fixture_mkdir(store, KVFS_ROOT_INO, "b");
	struct mover movers[2] = {{store, a, b}, {store, b, a}};
	pthread_t threads[2];
	void *failed;

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, move_back_and_forth, &movers[i]), 0);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
}

struct watcher {
	struct fixture *store;
	_Atomic bool stop;
	unsigned misses;
};

static void *watch(void *arg)
{
	struct watcher *watcher = arg;

	while (!atomic_load(&watcher->stop))
		watcher->misses += fixture_lookup(watcher->store, KVFS_ROOT_INO, "target") < 0;
	return NULL;
}

/* A name that is replaced again and again is always there. */
static void test_never_absent(void **state)
{
	struct fixture *store = *state;
	struct watcher watcher = {.store = store};
	pthread_t thread;

	fixture_mkfile(store, KVFS_ROOT_INO, "target");
	assert_int_equal(pthread_create(&thread, NULL, watch, &watcher), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		fixture_mkfile(store, KVFS_ROOT_INO, "new");
		assert_int_equal(rename_root(store, "new", "target", 0), 0);
	}
	atomic_store(&watcher.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(watcher.misses, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_replace, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_same_inode, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_types, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_move_directory, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_exchange, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_whiteout, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_no_cycle, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_never_absent, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
