/* SPDX-License-Identifier: MIT */
/*
 * stress_test.c - threads that get in each other's way on purpose: few names, all operations. Each
 * error must be one that is due, and the tree must be sound at the end.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 4u
#define ROUNDS 6000u
#define DIRECTORIES 3u
#define NAMES 6u

struct worker {
	struct fixture *store;
	uint64_t directories[DIRECTORIES];
	unsigned seed;
	int unexpected;
};

static int ignore_entry(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	return 0;
}

static unsigned dice(struct worker *worker, unsigned sides)
{
	return (unsigned)rand_r(&worker->seed) % sides;
}

static ssize_t contents(struct worker *worker, uint64_t ino)
{
	static const uint8_t data[70000];
	uint8_t back[100];
	struct kvfs *fs = worker->store->fs;
	int64_t offset = dice(worker, 140000);
	struct kvfs_attr attr = {.size = dice(worker, 100000)};

	switch (dice(worker, 6)) {
	case 0:
		return kvfs_write(fs, ino, data, dice(worker, 2000), dice(worker, 1000), 0);
	case 1:
		return kvfs_write(fs, ino, data, dice(worker, sizeof(data)), offset, 0);
	case 2:
		return kvfs_read(fs, ino, back, sizeof(back), offset);
	case 3:
		return kvfs_setattr(fs, ino, &attr, KVFS_SET_SIZE, &attr);
	case 4:
		return kvfs_fallocate(
			fs, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, 50000);
	default:
		return kvfs_setxattr(fs, ino, "user.a", data, dice(worker, 50), 0);
	}
}

static ssize_t names(struct worker *worker, uint64_t parent, const char *name)
{
	uint64_t other = worker->directories[dice(worker, DIRECTORIES)];
	struct kvfs *fs = worker->store->fs;
	char new_name[] = {(char)('a' + dice(worker, NAMES)), '\0'};
	struct kvfs_attr attr;

	switch (dice(worker, 9)) {
	case 0:
	case 1:
		return kvfs_mknod(fs, &fixture_root, parent, name, S_IFREG | 0644, 0, &attr);
	case 2:
		return kvfs_mkdir(fs, &fixture_root, parent, name, 0755, &attr);
	case 3:
		return kvfs_unlink(fs, parent, name);
	case 4:
		return kvfs_rmdir(fs, parent, name);
	case 5:
		return kvfs_rename(
			fs, NULL, parent, name, other, new_name,
			dice(worker, 3) ? 0 : RENAME_EXCHANGE);
	case 6:
		return kvfs_readdir(fs, parent, 0, true, ignore_entry, NULL);
	case 7: {
		int64_t ino = fixture_lookup(worker->store, parent, name);

		return ino < 0 ? ino : kvfs_link(fs, (uint64_t)ino, other, new_name, &attr);
	}
	default:
		return kvfs_symlink(fs, &fixture_root, "target", parent, name, &attr);
	}
}

static bool due(ssize_t result)
{
	static const int errors[] = {
		ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL, EPERM, ENODEV};

	for (unsigned i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (result == -errors[i])
			return true;
	return result >= 0;
}

static void *work(void *arg)
{
	struct worker *worker = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t parent = worker->directories[dice(worker, DIRECTORIES)];
		char name[] = {(char)('a' + dice(worker, NAMES)), '\0'};
		int64_t ino = fixture_lookup(worker->store, parent, name);
		ssize_t result;

		/* Half of the time, something that was found is used, whoever removes it meanwhile.
		 */
		if (ino > 0 && dice(worker, 2)) {
			kvfs_hold(worker->store->fs, (uint64_t)ino, 1);
			result = contents(worker, (uint64_t)ino);
			kvfs_release(worker->store->fs, (uint64_t)ino, 1);
		} else {
			result = names(worker, parent, name);
		}
		if (!due(ino) || !due(result))
			worker->unexpected = (int)(due(ino) ? result : ino);
	}
	return NULL;
}

static void test_stress(void **state)
{
	struct fixture *store = *state;
	struct worker workers[THREADS] = {{0}};
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < DIRECTORIES; i++) {
		char name[] = {(char)('A' + i), '\0'};

		workers[0].directories[i] = fixture_mkdir(store, KVFS_ROOT_INO, name);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = workers[0];
		workers[i].store = store;
		workers[i].seed = i + 1;
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(workers[i].unexpected, 0);
	}
	fixture_assert_clean(store);
	fixture_reopen(store);
}

static void *check_again(void *arg)
{
	struct fixture *store = arg;

	for (unsigned i = 0; i < 20; i++)
		fixture_assert_clean(store);
	return NULL;
}

/* A check of a file system in use finds nothing that is only on its way. */
static void test_check_meanwhile(void **state)
{
	struct fixture *store = *state;
	struct worker worker = {.store = store, .seed = 9};
	pthread_t threads[2];

	for (unsigned i = 0; i < DIRECTORIES; i++) {
		char name[] = {(char)('A' + i), '\0'};

		worker.directories[i] = fixture_mkdir(store, KVFS_ROOT_INO, name);
	}
	assert_int_equal(pthread_create(&threads[0], NULL, work, &worker), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, check_again, store), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(worker.unexpected, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_stress, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_check_meanwhile, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
