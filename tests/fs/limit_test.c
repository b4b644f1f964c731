/* SPDX-License-Identifier: MIT */
/* limit_test.c - a store's own limit: what it refuses, what it lets pass, and what statfs says. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LIMIT (8u << 20)
#define CHUNK 65536u

static char bytes[1 << 20];
static uint64_t store_held; /* the inode that release_soon lets go of */

static int setup(void **state)
{
	struct kvfs_create_options create = {.size_limit = LIMIT};

	return fixture_setup_with(state, &create);
}

static struct kvfs_statfs space(struct fixture *store)
{
	struct kvfs_statfs out;

	assert_int_equal(kvfs_statfs(store->fs, &out), 0);
	return out;
}

/* Writes until there is no more room; the bytes that went in. */
static uint64_t fill(struct fixture *store, uint64_t ino)
{
	uint64_t at = 0;
	ssize_t done;

	while ((done = kvfs_write(store->fs, ino, bytes, CHUNK, (int64_t)at, 0)) > 0)
		at += (uint64_t)done;
	assert_int_equal(done, -ENOSPC);
	return at;
}

static void test_refused(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f"), size = fill(store, ino);
	struct kvfs_attr attr;

	assert_in_range(size, LIMIT - 2 * CHUNK, LIMIT);
	assert_int_equal(fixture_attr(store, ino).size, size);
	assert_int_equal(
		kvfs_mknod(store->fs, &fixture_root, KVFS_ROOT_INO, "g", S_IFREG | 0644, 0, &attr),
		-ENOSPC);
	assert_int_equal(kvfs_link(store->fs, ino, KVFS_ROOT_INO, "l", &attr), -ENOSPC);
	assert_int_equal(
		kvfs_symlink(store->fs, &fixture_root, "f", KVFS_ROOT_INO, "s", &attr), -ENOSPC);
	assert_int_equal(kvfs_setxattr(store->fs, ino, "user.a", "v", 1, 0), -ENOSPC);
	assert_int_equal(kvfs_fallocate(store->fs, ino, 0, 0, LIMIT), -ENOSPC);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "g"), -ENOENT);
	assert_int_equal(space(store).blocks_free, 0);
	fixture_reopen(store);
	assert_int_equal(kvfs_size_limit(store->fs), LIMIT);
	assert_int_equal(kvfs_write(store->fs, ino, bytes, 1, (int64_t)size, 0), -ENOSPC);
}

static void test_still_possible(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f"), size = fill(store, ino);
	struct kvfs_attr attr = {.mode = 0600};

	/* In place, attributes, names, and everything that takes away. */
	assert_int_equal(kvfs_write(store->fs, ino, bytes, CHUNK, 0, 0), CHUNK);
	assert_int_equal(kvfs_write(store->fs, ino, bytes, 4096, CHUNK, 0), 4096);
	assert_int_equal(kvfs_setattr(store->fs, ino, &attr, KVFS_SET_MODE, &attr), 0);
	assert_int_equal(
		kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "f", KVFS_ROOT_INO, "g", 0), 0);
	attr.size = size / 2;
	assert_int_equal(kvfs_setattr(store->fs, ino, &attr, KVFS_SET_SIZE, &attr), 0);
	fixture_mkfile(store, KVFS_ROOT_INO, "new");
	assert_true(kvfs_write(store->fs, ino, bytes, CHUNK, (int64_t)size / 2, 0) == CHUNK);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "g"), 0);
	assert_true(space(store).blocks_free > LIMIT / 4096 / 2);
}

static void test_changed(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f"), size = fill(store, ino);

	assert_int_equal(space(store).blocks, LIMIT / 4096);
	assert_int_equal(kvfs_set_size_limit(store->fs, 2 * LIMIT), 0);
	assert_int_equal(kvfs_write(store->fs, ino, bytes, CHUNK, (int64_t)size, 0), CHUNK);
	/* Below what there is: nothing goes, nothing comes. */
	assert_int_equal(kvfs_set_size_limit(store->fs, LIMIT / 2), 0);
	assert_int_equal(space(store).blocks_free, 0);
	assert_int_equal(
		kvfs_write(store->fs, ino, bytes, CHUNK, (int64_t)(size + CHUNK), 0), -ENOSPC);
	assert_int_equal(kvfs_set_size_limit(store->fs, 0), 0);
	assert_int_equal(
		kvfs_write(store->fs, ino, bytes, CHUNK, (int64_t)(size + CHUNK), 0), CHUNK);
	fixture_reopen(store);
	assert_int_equal(kvfs_size_limit(store->fs), 0);
}

static void *release_soon(void *arg)
{
	struct fixture *store = arg;

	usleep(3000);
	kvfs_release(store->fs, store_held, 1);
	return NULL;
}

/* A file that fills the store, whose last name just went and that is held. */
static uint64_t orphan(struct fixture *store)
{
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f");

	fill(store, ino);
	kvfs_hold(store->fs, ino, 1);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	return ino;
}

/*
 * What is unlinked but held comes free when it is let go; that is waited for, but not for long. How
 * long it takes a thread to let go is up to the machine, so a wait that ended too early is begun
 * again.
 */
static void test_awaited(void **state)
{
	struct fixture *store = *state;
	pthread_t thread;

	fill(store, fixture_mkfile(store, KVFS_ROOT_INO, "g"));
	assert_false(kvfs_await_space(store->fs)); /* nothing is on its way out */
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "g"), 0);

	store_held = orphan(store);
	assert_int_equal(pthread_create(&thread, NULL, release_soon, store), 0);
	for (int i = 0; i < 100 && !kvfs_await_space(store->fs); i++)
		;
	pthread_join(thread, NULL);
	assert_true(kvfs_await_space(store->fs));
	assert_int_equal(kvfs_set_size_limit(store->fs, 0), 0);
	assert_false(kvfs_await_space(store->fs)); /* the disk's limit is another matter */
}

/* Seconds in which a file that stays held was waited for. */
static double wait_in_vain(struct fixture *store)
{
	uint64_t ino = orphan(store);
	struct timespec began, ended;

	clock_gettime(CLOCK_MONOTONIC, &began);
	assert_false(kvfs_await_space(store->fs));
	clock_gettime(CLOCK_MONOTONIC, &ended);
	kvfs_release(store->fs, ino, 1);
	return (double)(ended.tv_sec - began.tv_sec) +
		(double)(ended.tv_nsec - began.tv_nsec) / 1e9;
}

/*
 * A holder is given his time to let go, unless the machine took that time before we began to wait.
 */
static void test_held_on(void **state)
{
	struct fixture *store = *state;
	double waited = 0;

	for (int i = 0; i < 50 && waited < 0.15; i++)
		waited = wait_in_vain(store);
	assert_true(waited >= 0.15);
}

/* Those who let others wait again and again are waited for a second, and then rarely. */
static void test_patience_ends(void **state)
{
	struct fixture *store = *state;
	struct timespec began, ended;
	double longest = 0, sum = 0, all, waited;

	clock_gettime(CLOCK_MONOTONIC, &began);
	for (int i = 0; i < 20; i++) {
		waited = wait_in_vain(store);
		if (waited < 0.15)
			continue;
		sum += waited;
		longest = waited > longest ? waited : longest;
	}
	clock_gettime(CLOCK_MONOTONIC, &ended);
	all = (double)(ended.tv_sec - began.tv_sec) + 1;
	assert_true(sum > 0);
	assert_true(sum < 1 + all / 16 + longest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refused, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_still_possible, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_changed, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_awaited, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_held_on, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_patience_ends, setup, fixture_teardown),
	};

	/* Not compressible, should a store ever compress. */
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
