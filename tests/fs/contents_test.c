/* SPDX-License-Identifier: MIT */
/*
 * contents_test.c - reading, writing, sizes and holes, at the sizes where their storage changes.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keyspaces.h"
#include "size.h"

#define TEBIBYTE (INT64_C(1) << 40)
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static uint64_t pieces(struct fixture *store)
{
	struct kv_stats stats;

	kv_stats(kvfs_kv(store->fs), &stats);
	return stats.keys[KEYSPACE_EXTENT];
}

static void write_all(struct fixture *store, uint64_t ino, int byte, size_t size, int64_t offset)
{
	uint8_t *data = malloc(size);

	assert_non_null(data);
	memset(data, byte, size);
	assert_int_equal(kvfs_write(store->fs, ino, data, size, offset, 0), size);
	free(data);
}

static void expect_bytes(struct fixture *store, uint64_t ino, int byte, size_t size, int64_t offset)
{
	uint8_t *data = malloc(size);

	assert_non_null(data);
	assert_int_equal(kvfs_read(store->fs, ino, data, size, offset), size);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(data[i], byte);
	free(data);
}

static int set_size(struct fixture *store, uint64_t ino, uint64_t size)
{
	struct kvfs_attr attr = {.size = size};

	return kvfs_setattr(store->fs, ino, &attr, KVFS_SET_SIZE, &attr);
}

static void test_small(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");

	write_all(store, file, 'a', 2048, 0);
	assert_int_equal(pieces(store), 0);
	assert_int_equal(fixture_attr(store, file).blocks, 4);
	write_all(store, file, 'b', 1, 2048);
	assert_int_equal(pieces(store), 1);
	assert_int_equal(fixture_attr(store, file).size, 2049);
	assert_int_equal(fixture_attr(store, file).blocks, 8);
	fixture_reopen(store);
	expect_bytes(store, file, 'a', 2048, 0);
	expect_bytes(store, file, 'b', 1, 2048);
	assert_int_equal(set_size(store, file, 0), 0);
	assert_int_equal(pieces(store), 0);
	assert_int_equal(fixture_attr(store, file).blocks, 0);
}

static void test_errors(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	char byte = 'x';

	assert_int_equal(kvfs_write(store->fs, KVFS_ROOT_INO, &byte, 1, 0, 0), -EISDIR);
	assert_int_equal(kvfs_read(store->fs, KVFS_ROOT_INO, &byte, 1, 0), -EISDIR);
	assert_int_equal(kvfs_write(store->fs, file, &byte, 1, -1, 0), -EINVAL);
	assert_int_equal(kvfs_read(store->fs, file, &byte, 1, -1), -EINVAL);
	assert_int_equal(kvfs_write(store->fs, file, &byte, 1, KVFS_FILE_SIZE_MAX, 0), -EFBIG);
	assert_int_equal(kvfs_write(store->fs, file, &byte, 1, INT64_MAX, 0), -EFBIG);
	assert_int_equal(kvfs_write(store->fs, file, &byte, 1, KVFS_FILE_SIZE_MAX - 1, 0), 1);
	assert_int_equal(set_size(store, file, (uint64_t)KVFS_FILE_SIZE_MAX + 1), -EFBIG);
	assert_int_equal(set_size(store, KVFS_ROOT_INO, 1), -EISDIR);
	assert_int_equal(kvfs_write(store->fs, 999, &byte, 1, 0, 0), -ENOENT);
	assert_int_equal(kvfs_read(store->fs, file, &byte, 1, KVFS_FILE_SIZE_MAX), 0);
}

static void test_chunks(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");

	/* Whole chunks, and the rest, are one piece each. */
	write_all(store, file, 'a', (1 << 20) + 5000, 0);
	assert_int_equal(pieces(store), 17);
	assert_int_equal(fixture_attr(store, file).blocks, 8 * (256 + 2));
	/* A block over a chunk, and the chunk again over it. */
	write_all(store, file, 'b', 4096, 65536 + 8192);
	assert_int_equal(pieces(store), 18);
	expect_bytes(store, file, 'a', 8192, 65536);
	expect_bytes(store, file, 'b', 4096, 65536 + 8192);
	expect_bytes(store, file, 'a', 4096, 65536 + 12288);
	write_all(store, file, 'c', 65536, 65536);
	assert_int_equal(pieces(store), 17);
	expect_bytes(store, file, 'c', 65536, 65536);
	assert_int_equal(fixture_attr(store, file).blocks, 8 * (256 + 2));
	/* Blocks that hide all of a chunk end it. */
	for (unsigned block = 0; block < 16; block++)
		write_all(store, file, 'd', 4096, 65536 + (int64_t)(block * 7 % 16) * 4096);
	assert_int_equal(pieces(store), 16 + 16);
	expect_bytes(store, file, 'd', 65536, 65536);
}

static uint64_t appended(struct fixture *store)
{
	struct kv_stats stats;

	kv_stats(kvfs_kv(store->fs), &stats);
	return stats.appended_bytes;
}

/* What a small overwrite costs does not depend on the size of the file. */
static void test_overwrite_cost(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	uint64_t before;

	for (int64_t at = 0; at < 16 << 20; at += 1 << 20)
		write_all(store, file, 'a', 1 << 20, at);
	before = appended(store);
	for (unsigned i = 0; i < 200; i++)
		write_all(store, file, 'b', 4096, (int64_t)(i * 37 % 4096) * 4096);
	assert_true(appended(store) - before < 200 * (4096 + 400));
	before = appended(store);
	write_all(store, file, 'c', 100, 123456);
	assert_true(appended(store) - before < 4096 + 400);
}

static void test_append(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");

	for (unsigned i = 0; i < 3000; i++)
		assert_int_equal(
			kvfs_write(store->fs, file, "0123456789", 10, 5, KVFS_WRITE_APPEND), 10);
	assert_int_equal(fixture_attr(store, file).size, 30000);
	for (int64_t at = 0; at < 30000; at += 10)
		expect_bytes(store, file, '7', 1, at + 7);
}

/* What a truncation took away does not come back when the file grows again. */
static void test_truncate(void **state)
{
	struct fixture *store = *state;
	static const uint64_t cuts[] = {
		1, 2047, 2049, 4096, 5000, 65535, 65536, 65537, 70000, 131072};

	for (unsigned i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
		uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");

		write_all(store, file, 'a', 200000, 0);
		write_all(store, file, 'b', 4096, 4096);
		write_all(store, file, 'b', 4096, 65536);
		assert_int_equal(set_size(store, file, cuts[i]), 0);
		assert_int_equal(set_size(store, file, 200000), 0);
		expect_bytes(store, file, 0, 200000 - cuts[i], (int64_t)cuts[i]);
		expect_bytes(store, file, 'a', cuts[i] < 4096 ? cuts[i] : 4096, 0);
		assert_int_equal(fixture_attr(store, file).blocks, (cuts[i] + 4095) / 4096 * 8);
		assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	}
	assert_int_equal(pieces(store), 0);
}

/* More pieces than one batch frees: truncation, removal, and removal while held. */
static void test_many_pieces(void **state)
{
	struct fixture *store = *state;
	unsigned count = 3 * SIZE_STEP;

	for (unsigned way = 0; way < 3; way++) {
		uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");

		for (unsigned i = 0; i < count; i++)
			write_all(store, file, 'a', 1, (int64_t)i * 100000 + 50000);
		assert_int_equal(pieces(store), count);
		assert_int_equal(fixture_attr(store, file).blocks, 8 * count);
		kvfs_hold(store->fs, file, way == 1);
		if (way == 0) {
			assert_int_equal(set_size(store, file, 150001), 0);
			assert_int_equal(pieces(store), 2);
			assert_int_equal(fixture_attr(store, file).blocks, 16);
			fixture_assert_clean(store);
		}
		assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
		if (way == 1) {
			assert_int_equal(pieces(store), count);
			expect_bytes(store, file, 'a', 1, 50000);
			kvfs_release(store->fs, file, 1);
		}
		assert_int_equal(pieces(store), 0);
		fixture_assert_clean(store);
	}
}

static void test_holes(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	int64_t far = 15 * TEBIBYTE;

	write_all(store, file, 'a', 10, far);
	assert_int_equal(fixture_attr(store, file).size, far + 10);
	assert_int_equal(fixture_attr(store, file).blocks, 8);
	assert_int_equal(kvfs_seek(store->fs, file, 0, SEEK_DATA), far);
	assert_int_equal(kvfs_seek(store->fs, file, 0, SEEK_HOLE), 0);
	assert_int_equal(kvfs_seek(store->fs, file, far, SEEK_HOLE), far + 10);
	assert_int_equal(kvfs_seek(store->fs, file, far + 10, SEEK_DATA), -ENXIO);
	assert_int_equal(kvfs_seek(store->fs, file, far + 10, SEEK_HOLE), -ENXIO);
	assert_int_equal(kvfs_seek(store->fs, file, -1, SEEK_DATA), -ENXIO);
	assert_int_equal(kvfs_seek(store->fs, file, 0, SEEK_SET), -EINVAL);
	expect_bytes(store, file, 0, 100000, TEBIBYTE);
	write_all(store, file, 'b', 65536 * 2, 65536);
	assert_int_equal(kvfs_seek(store->fs, file, 0, SEEK_DATA), 65536);
	assert_int_equal(kvfs_seek(store->fs, file, 70000, SEEK_HOLE), 3 * 65536);
	assert_int_equal(set_size(store, file, 16 * TEBIBYTE), 0);
	assert_int_equal(kvfs_seek(store->fs, file, far + 4096, SEEK_DATA), -ENXIO);
	assert_int_equal(set_size(store, file, 100000), 0);
	assert_int_equal(pieces(store), 1);
}

static void test_punch(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");

	write_all(store, file, 'a', 300000, 0);
	assert_int_equal(kvfs_fallocate(store->fs, file, PUNCH, 10000, 100000), 0);
	expect_bytes(store, file, 'a', 10000, 0);
	expect_bytes(store, file, 0, 100000, 10000);
	expect_bytes(store, file, 'a', 190000, 110000);
	assert_int_equal(kvfs_seek(store->fs, file, 0, SEEK_HOLE), 12288);
	assert_int_equal(kvfs_seek(store->fs, file, 12288, SEEK_DATA), 106496);
	assert_int_equal(fixture_attr(store, file).size, 300000);
	assert_int_equal(kvfs_fallocate(store->fs, file, PUNCH, 0, 16 * TEBIBYTE), 0);
	assert_int_equal(fixture_attr(store, file).size, 300000);
	assert_int_equal(fixture_attr(store, file).blocks, 0);
	assert_int_equal(pieces(store), 0);
	expect_bytes(store, file, 0, 300000, 0);
	write_all(store, file, 'b', 65536, 65536);
	expect_bytes(store, file, 'b', 65536, 65536);
}

static void test_allocate(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct kvfs_statfs space;

	assert_int_equal(kvfs_fallocate(store->fs, file, 0, 1000, 9000), 0);
	assert_int_equal(fixture_attr(store, file).size, 10000);
	assert_int_equal(kvfs_fallocate(store->fs, file, FALLOC_FL_KEEP_SIZE, 0, 50000), 0);
	assert_int_equal(fixture_attr(store, file).size, 10000);
	assert_int_equal(
		kvfs_fallocate(store->fs, file, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP);
	assert_int_equal(
		kvfs_fallocate(store->fs, file, FALLOC_FL_PUNCH_HOLE, 0, 4096), -EOPNOTSUPP);
	assert_int_equal(kvfs_fallocate(store->fs, file, 0, 0, 0), -EINVAL);
	assert_int_equal(kvfs_fallocate(store->fs, file, 0, -1, 5), -EINVAL);
	assert_int_equal(kvfs_fallocate(store->fs, file, 0, KVFS_FILE_SIZE_MAX, 5), -EFBIG);
	assert_int_equal(kvfs_statfs(store->fs, &space), 0);
	assert_true(space.blocks_avail > 0 && space.blocks >= space.blocks_free);
	assert_int_equal(kvfs_fallocate(store->fs, file, 0, 0,
				 (int64_t)((space.blocks + 1000000) * space.block_size)),
		-ENOSPC);
	assert_int_equal(kvfs_fallocate(store->fs, KVFS_ROOT_INO, 0, 0, 5), -EISDIR);
}

struct race {
	struct fixture *store;
	uint64_t file;
	_Atomic bool stop;
	_Atomic unsigned torn;
};

#define RACE_SIZE 200000u

static void *read_untorn(void *arg)
{
	struct race *race = arg;
	static uint8_t data[RACE_SIZE];

	while (!atomic_load(&race->stop)) {
		ssize_t size = kvfs_read(race->store->fs, race->file, data, sizeof(data), 0);

		for (ssize_t i = 1; i < size; i++)
			race->torn += data[i] != data[0];
		race->torn += size != RACE_SIZE;
	}
	return NULL;
}

/* A reader sees each write whole or not at all. */
static void test_untorn(void **state)
{
	struct fixture *store = *state;
	struct race race = {.store = store, .file = fixture_mkfile(store, KVFS_ROOT_INO, "f")};
	pthread_t thread;

	write_all(store, race.file, 0, RACE_SIZE, 0);
	assert_int_equal(pthread_create(&thread, NULL, read_untorn, &race), 0);
	for (int i = 1; i < 300; i++)
		write_all(store, race.file, i & 255, RACE_SIZE, 0);
	atomic_store(&race.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(race.torn, 0);
}

static void *append_records(void *arg)
{
	struct race *race = arg;
	uint8_t record[100];

	memset(record, 'r', sizeof(record));
	for (unsigned i = 0; i < 1000; i++)
		race->torn += kvfs_write(race->store->fs, race->file, record, sizeof(record), 0,
				      KVFS_WRITE_APPEND) != sizeof(record);
	return NULL;
}

static void test_append_threads(void **state)
{
	struct fixture *store = *state;
	struct race race = {.store = store, .file = fixture_mkfile(store, KVFS_ROOT_INO, "f")};
	pthread_t threads[2];

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, append_records, &race), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.torn, 0);
	assert_int_equal(fixture_attr(store, race.file).size, 200000);
	expect_bytes(store, race.file, 'r', 200000, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_small, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_errors, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_chunks, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_overwrite_cost, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_append, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_truncate, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_many_pieces, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_holes, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_punch, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_allocate, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_untorn, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_append_threads, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
