/* SPDX-License-Identifier: MIT */
/*
 * copy_test.c - copying ranges: by reference where chunks allow it, by bytes elsewhere; what
 * writing, cutting, punching and unlinking do to chunks that are shared; that shared bytes go with
 * their last reference; and that a check finds counts that are wrong.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "extent_record.h"
#include "keyspaces.h"
#include "share_record.h"

#define CHUNK ((int64_t)EXTENT_CHUNK_SIZE)
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static uint64_t keys(struct fixture *store, unsigned keyspace)
{
	struct kv_stats stats;

	kv_stats(kvfs_kv(store->fs), &stats);
	return stats.keys[keyspace];
}

/* Shared pieces: each has its bytes and its count. */
static uint64_t shared(struct fixture *store)
{
	assert_int_equal(keys(store, KEYSPACE_SHARED) % 2, 0);
	return keys(store, KEYSPACE_SHARED) / 2;
}

/* Bytes that differ from place to place. */
static uint8_t byte_at(unsigned seed, uint64_t offset)
{
	return (uint8_t)(seed + offset / 251 + offset % 251);
}

static void fill(struct fixture *store, uint64_t ino, unsigned seed, size_t size, int64_t offset)
{
	uint8_t *data = malloc(size);

	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = byte_at(seed, (uint64_t)offset + i);
	assert_int_equal(kvfs_write(store->fs, ino, data, size, offset, 0), size);
	free(data);
}

/* [offset, offset + size) has what another file was filled with at from. */
static void expect(struct fixture *store, uint64_t ino, unsigned seed, size_t size, int64_t offset,
	int64_t from)
{
	uint8_t *data = malloc(size);

	assert_non_null(data);
	assert_int_equal(kvfs_read(store->fs, ino, data, size, offset), size);
	for (size_t i = 0; i < size; i++)
		if (data[i] != byte_at(seed, (uint64_t)from + i))
			fail_msg("byte %zu of %lld", i, (long long)offset);
	free(data);
}

static void expect_zeros(struct fixture *store, uint64_t ino, size_t size, int64_t offset)
{
	uint8_t *data = malloc(size);

	assert_non_null(data);
	assert_int_equal(kvfs_read(store->fs, ino, data, size, offset), size);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(data[i], 0);
	free(data);
}

static void copy(
	struct fixture *store, uint64_t in, int64_t from, uint64_t out, int64_t to, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t part = kvfs_copy(
			store->fs, in, from + (int64_t)done, out, to + (int64_t)done, size - done);

		assert_true(part > 0);
		done += (size_t)part;
	}
}

static void set_size(struct fixture *store, uint64_t ino, uint64_t size)
{
	struct kvfs_attr attr = {.size = size};

	assert_int_equal(kvfs_setattr(store->fs, ino, &attr, KVFS_SET_SIZE, &attr), 0);
}

static void test_refused(void **state)
{
	struct fixture *store = *state;
	uint64_t one = fixture_mkfile(store, KVFS_ROOT_INO, "one");
	uint64_t two = fixture_mkfile(store, KVFS_ROOT_INO, "two");
	uint64_t directory = fixture_mkdir(store, KVFS_ROOT_INO, "directory");

	fill(store, one, 1, 200000, 0);
	assert_int_equal(kvfs_copy(store->fs, one, -1, two, 0, 1), -EINVAL);
	assert_int_equal(kvfs_copy(store->fs, one, 0, two, -1, 1), -EINVAL);
	assert_int_equal(kvfs_copy(store->fs, one, 0, one, 100, 101), -EINVAL);
	assert_int_equal(kvfs_copy(store->fs, one, CHUNK, one, 0, 2 * (size_t)CHUNK), -EINVAL);
	assert_int_equal(kvfs_copy(store->fs, directory, 0, two, 0, 100), -EISDIR);
	assert_int_equal(kvfs_copy(store->fs, one, 0, directory, 0, 200000), -EISDIR);
	assert_int_equal(kvfs_copy(store->fs, one, 0, 4711, 0, 200000), -ENOENT);
	assert_int_equal(
		kvfs_copy(store->fs, one, 0, two, KVFS_FILE_SIZE_MAX / CHUNK * CHUNK, 200000),
		-EFBIG);
	/* At and behind the end there is nothing. */
	assert_int_equal(kvfs_copy(store->fs, one, 200000, two, 0, 100), 0);
	assert_int_equal(kvfs_copy(store->fs, one, 4 * CHUNK, two, 0, 100), 0);
	assert_int_equal(kvfs_copy(store->fs, one, 0, two, 0, 0), 0);
	assert_int_equal(fixture_attr(store, two).size, 0);
	assert_int_equal(shared(store), 0);
}

static void test_reference(void **state)
{
	struct fixture *store = *state;
	uint64_t one = fixture_mkfile(store, KVFS_ROOT_INO, "one");
	uint64_t two = fixture_mkfile(store, KVFS_ROOT_INO, "two");
	uint64_t three = fixture_mkfile(store, KVFS_ROOT_INO, "three");
	struct kvfs_attr before, after;
	size_t size = 10 * (size_t)CHUNK + 5000;
	struct kv_stats stats;
	uint64_t bytes;

	fill(store, one, 1, size, 0);
	before = fixture_attr(store, one);
	copy(store, one, 0, two, 0, size);
	assert_int_equal(shared(store), 11);
	after = fixture_attr(store, one);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(fixture_attr(store, two).size, size);
	assert_int_equal(fixture_attr(store, two).blocks, before.blocks);
	kv_stats(kvfs_kv(store->fs), &stats);
	bytes = stats.appended_bytes;
	/* Once they are shared, a copy is a record for each chunk. */
	copy(store, two, 0, three, 0, size);
	assert_int_equal(shared(store), 11);
	kv_stats(kvfs_kv(store->fs), &stats);
	assert_in_range(stats.appended_bytes - bytes, 1, 11 * 300);
	for (unsigned i = 0; i < 2; i++) {
		expect(store, one, 1, size, 0, 0);
		expect(store, two, 1, size, 0, 0);
		expect(store, three, 1, 100, CHUNK - 50, CHUNK - 50);
		fixture_assert_clean(store);
		fixture_reopen(store);
	}
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "one"), 0);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "two"), 0);
	assert_int_equal(shared(store), 11);
	expect(store, three, 1, size, 0, 0);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "three"), 0);
	assert_int_equal(keys(store, KEYSPACE_SHARED), 0);
	assert_int_equal(keys(store, KEYSPACE_EXTENT), 0);
}

/* Within a file, several references of one batch to the same piece. */
static void test_same_file(void **state)
{
	struct fixture *store = *state;
	uint64_t one = fixture_mkfile(store, KVFS_ROOT_INO, "one");

	fill(store, one, 1, (size_t)CHUNK, 0);
	for (int64_t chunk = 1; chunk < 40; chunk++)
		copy(store, one, 0, one, chunk * CHUNK, (size_t)CHUNK);
	assert_int_equal(shared(store), 1);
	fixture_assert_clean(store);
	copy(store, one, 0, one, 100 * CHUNK, 40 * (size_t)CHUNK);
	assert_int_equal(shared(store), 1);
	expect(store, one, 1, (size_t)CHUNK, 139 * CHUNK, 0);
	set_size(store, one, 20 * EXTENT_CHUNK_SIZE);
	assert_int_equal(shared(store), 1);
	fixture_assert_clean(store);
	set_size(store, one, 0);
	assert_int_equal(keys(store, KEYSPACE_SHARED), 0);
}

static void test_writes_part(void **state)
{
	struct fixture *store = *state;
	uint64_t one = fixture_mkfile(store, KVFS_ROOT_INO, "one");
	uint64_t two = fixture_mkfile(store, KVFS_ROOT_INO, "two");
	size_t size = 4 * (size_t)CHUNK;

	fill(store, one, 1, size, 0);
	copy(store, one, 0, two, 0, size);
	/* A part of a block, a block, a chunk, all blocks of a chunk one by one. */
	fill(store, one, 7, 10, 100);
	fill(store, two, 9, EXTENT_BLOCK_SIZE, 3 * EXTENT_BLOCK_SIZE);
	assert_int_equal(shared(store), 4);
	fill(store, two, 9, (size_t)CHUNK, CHUNK);
	for (int64_t block = 0; block < 16; block++)
		fill(store, two, 9, EXTENT_BLOCK_SIZE, 2 * CHUNK + block * EXTENT_BLOCK_SIZE);
	assert_int_equal(shared(store), 4);
	expect(store, one, 7, 10, 100, 100);
	expect(store, one, 1, size - 110, 110, 110);
	expect(store, two, 1, 3 * EXTENT_BLOCK_SIZE, 0, 0);
	expect(store, two, 9, EXTENT_BLOCK_SIZE, 3 * EXTENT_BLOCK_SIZE, 3 * EXTENT_BLOCK_SIZE);
	expect(store, two, 1, 12 * EXTENT_BLOCK_SIZE, 4 * EXTENT_BLOCK_SIZE, 4 * EXTENT_BLOCK_SIZE);
	expect(store, two, 9, 2 * (size_t)CHUNK, CHUNK, CHUNK);
	fixture_assert_clean(store);
	/* Chunks 1 and 2 are the first file's alone: writing them over frees what was shared. */
	fill(store, one, 3, 2 * (size_t)CHUNK, CHUNK);
	assert_int_equal(shared(store), 2);
	/* What was shared and partly hidden can be shared again. */
	copy(store, two, 0, one, 8 * CHUNK, (size_t)CHUNK);
	expect(store, one, 9, EXTENT_BLOCK_SIZE, 8 * CHUNK + 3 * EXTENT_BLOCK_SIZE,
		3 * EXTENT_BLOCK_SIZE);
	assert_int_equal(shared(store), 3);
	fixture_assert_clean(store);
}

static void test_cut_and_punch(void **state)
{
	struct fixture *store = *state;
	uint64_t one = fixture_mkfile(store, KVFS_ROOT_INO, "one");
	uint64_t two = fixture_mkfile(store, KVFS_ROOT_INO, "two");

	fill(store, one, 1, 3 * (size_t)CHUNK, 0);
	copy(store, one, 0, two, 0, 3 * (size_t)CHUNK);
	set_size(store, two, 2 * EXTENT_CHUNK_SIZE + 100);
	fixture_assert_clean(store);
	set_size(store, two, 3 * EXTENT_CHUNK_SIZE);
	expect(store, two, 1, 2 * (size_t)CHUNK + 100, 0, 0);
	expect_zeros(store, two, (size_t)CHUNK - 100, 2 * CHUNK + 100);
	assert_int_equal(kvfs_fallocate(store->fs, one, PUNCH, 4096, 8192), 0);
	expect_zeros(store, one, 8192, 4096);
	expect(store, one, 1, (size_t)CHUNK - 12288, 12288, 12288);
	assert_int_equal(kvfs_fallocate(store->fs, one, PUNCH, 0, 2 * CHUNK), 0);
	expect_zeros(store, one, 2 * (size_t)CHUNK, 0);
	assert_int_equal(kvfs_seek(store->fs, one, 0, SEEK_DATA), 2 * CHUNK);
	assert_int_equal(kvfs_seek(store->fs, one, 2 * CHUNK, SEEK_HOLE), 3 * CHUNK);
	expect(store, two, 1, 2 * (size_t)CHUNK, 0, 0);
	fixture_assert_clean(store);
}

/* Chunks with holes, block pieces without, tails, and places that do not match. */
static void test_kinds(void **state)
{
	struct fixture *store = *state;
	uint64_t one = fixture_mkfile(store, KVFS_ROOT_INO, "one");
	uint64_t two = fixture_mkfile(store, KVFS_ROOT_INO, "two");
	uint64_t small = fixture_mkfile(store, KVFS_ROOT_INO, "small");

	for (int64_t block = 0; block < 16; block++)
		fill(store, one, 1, EXTENT_BLOCK_SIZE, block * EXTENT_BLOCK_SIZE);
	fill(store, one, 1, EXTENT_BLOCK_SIZE, CHUNK + 5 * EXTENT_BLOCK_SIZE);
	set_size(store, one, 2 * EXTENT_CHUNK_SIZE);
	fill(store, small, 5, 100, 0);
	copy(store, one, 0, two, 2 * CHUNK, 2 * (size_t)CHUNK);
	assert_int_equal(shared(store), 1); /* the one with holes is not */
	assert_int_equal(kvfs_seek(store->fs, two, 0, SEEK_DATA), 2 * CHUNK);
	assert_int_equal(
		kvfs_seek(store->fs, two, 3 * CHUNK, SEEK_DATA), 3 * CHUNK + 5 * EXTENT_BLOCK_SIZE);
	assert_int_equal(fixture_attr(store, two).blocks, fixture_attr(store, one).blocks);
	expect(store, two, 1, (size_t)CHUNK, 2 * CHUNK, 0);
	/* What was inline stays before the copy. */
	copy(store, one, 0, small, CHUNK, (size_t)CHUNK);
	expect(store, small, 5, 100, 0, 0);
	expect(store, small, 1, (size_t)CHUNK, CHUNK, 0);
	/* A part of a chunk, and one to another place in a chunk. */
	copy(store, one, 10, two, 10, 5000);
	expect(store, two, 1, 5000, 10, 10);
	copy(store, one, 10, two, CHUNK + 77, (size_t)CHUNK);
	expect(store, two, 1, (size_t)CHUNK - 10, CHUNK + 77, 10);
	assert_int_equal(shared(store), 1);
	copy(store, small, 0, two, 50, 100);
	expect(store, two, 5, 100, 50, 0);
	fixture_assert_clean(store);
}

/* The last chunk is shared only where nothing stays behind it. */
static void test_tail(void **state)
{
	struct fixture *store = *state;
	uint64_t one = fixture_mkfile(store, KVFS_ROOT_INO, "one");
	uint64_t two = fixture_mkfile(store, KVFS_ROOT_INO, "two");

	fill(store, one, 1, 50000, 0);
	fill(store, two, 2, 60000, 0);
	copy(store, one, 0, two, 0, 50000);
	assert_int_equal(shared(store), 0);
	expect(store, two, 1, 50000, 0, 0);
	expect(store, two, 2, 10000, 50000, 50000);
	set_size(store, two, 40000);
	copy(store, one, 0, two, 0, 50000);
	assert_int_equal(shared(store), 1);
	expect(store, two, 1, 50000, 0, 0);
	fixture_assert_clean(store);
	/* Behind the end of what is shared a file goes on by itself. */
	fill(store, two, 3, 30000, 50000);
	expect(store, two, 1, 50000, 0, 0);
	expect(store, two, 3, 30000, 50000, 50000);
	expect(store, one, 1, 50000, 0, 0);
	assert_int_equal(fixture_attr(store, one).size, 50000);
	fixture_assert_clean(store);
}

/*
 * What was shared when a snapshot was taken is shared again after the way back; a clone shares as
 * much.
 */
static void test_snapshots(void **state)
{
	struct fixture *store = *state, clone = *store;
	uint64_t one = fixture_mkfile(store, KVFS_ROOT_INO, "one");
	uint64_t two = fixture_mkfile(store, KVFS_ROOT_INO, "two");
	uint64_t held = fixture_mkfile(store, KVFS_ROOT_INO, "held");
	struct kvfs *snapshot;
	uint8_t byte;

	fill(store, one, 1, 4 * (size_t)CHUNK, 0);
	copy(store, one, 0, two, 0, 4 * (size_t)CHUNK);
	assert_int_equal(kvfs_snapshot_create(store->fs, "before"), 0);
	copy(store, one, 0, held, 0, 2 * (size_t)CHUNK);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "one"), 0);
	fill(store, two, 5, 3 * (size_t)CHUNK, 0);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "held"), 0);
	copy(store, two, 0, two, 8 * CHUNK, (size_t)CHUNK);
	assert_int_equal(shared(store), 2);
	assert_int_equal(kvfs_snapshot_open(store->fs, "before", &snapshot), 0);
	assert_int_equal(kvfs_read(snapshot, one, &byte, 1, 3 * CHUNK), 1);
	assert_int_equal(byte, byte_at(1, 3 * (uint64_t)CHUNK));
	snprintf(clone.path, sizeof(clone.path), "%.50s.clone", store->path);
	assert_int_equal(kvfs_clone(snapshot, store->env, clone.path, NULL, NULL), 0);
	assert_int_equal(kvfs_close(snapshot), 0);
	assert_int_equal(kvfs_rollback(store->fs, "before", NULL), 0);
	assert_int_equal(shared(store), 4);
	fixture_assert_clean(store);
	expect(store, one, 1, 4 * (size_t)CHUNK, 0, 0);
	expect(store, two, 1, 4 * (size_t)CHUNK, 0, 0);
	fixture_open(&clone);
	assert_int_equal(shared(&clone), 4);
	fixture_assert_clean(&clone);
	expect(&clone, two, 1, 4 * (size_t)CHUNK, 0, 0);
	fixture_close(&clone);
	fixture_empty(&clone);
	rmdir(clone.path);
}

struct worker {
	struct fixture *store;
	uint64_t in, out;
};

/* Copies, writes over and cuts: the counts of the same pieces change from all sides. */
static void *work(void *arg)
{
	struct worker *worker = arg;

	for (unsigned round = 0; round < 150; round++) {
		copy(worker->store, worker->in, 0, worker->out, 0, 8 * (size_t)CHUNK);
		if (round % 3 == 0)
			fill(worker->store, worker->out, 9, (size_t)CHUNK, round % 8 * CHUNK);
		set_size(worker->store, worker->out, round % 2 ? 0 : 100000);
	}
	return NULL;
}

static void test_concurrent(void **state)
{
	struct fixture *store = *state;
	uint64_t in = fixture_mkfile(store, KVFS_ROOT_INO, "in");
	struct worker workers[4];
	pthread_t threads[4];
	char name[2] = "a";

	fill(store, in, 1, 8 * (size_t)CHUNK, 0);
	for (unsigned i = 0; i < 4; i++, name[0]++) {
		workers[i] = (struct worker){store, in, fixture_mkfile(store, KVFS_ROOT_INO, name)};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	fixture_assert_clean(store);
	assert_int_equal(shared(store), 8);
	expect(store, in, 1, 8 * (size_t)CHUNK, 0, 0);
	for (name[0] = 'a'; name[0] <= 'd'; name[0]++)
		assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, name), 0);
	fixture_assert_clean(store);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "in"), 0);
	assert_int_equal(keys(store, KEYSPACE_SHARED), 0);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void count_finding(void *arg, enum kv_severity severity, const char *message)
{
	unsigned *findings = arg;

	assert_non_null(message);
	*findings += severity == KV_ERROR;
}

static uint64_t check(struct fixture *store)
{
	unsigned reported = 0;
	uint64_t findings;

	assert_int_equal(kvfs_check(store->fs, count_finding, &reported, NULL, NULL, &findings), 0);
	assert_int_equal(findings, reported);
	return findings;
}

/* The first id that is in use. */
static uint64_t some_id(struct fixture *store)
{
	uint8_t key[SHARE_KEY_SIZE];

	for (uint64_t id = 1; id < 100000; id++) {
		share_key_encode(id, SHARE_COUNT, key);
		if (!kv_contains(kvfs_kv(store->fs), KEYSPACE_SHARED, key, sizeof(key)))
			return id;
	}
	fail_msg("no shared piece");
	return 0;
}

static void test_damage(void **state)
{
	struct fixture *store = *state;
	struct kv *kv = kvfs_kv(store->fs);
	uint64_t one = fixture_mkfile(store, KVFS_ROOT_INO, "one");
	uint64_t two = fixture_mkfile(store, KVFS_ROOT_INO, "two");
	uint8_t key[SHARE_KEY_SIZE], count[SHARE_COUNT_SIZE], bytes[100];
	uint64_t id;

	fill(store, one, 1, (size_t)CHUNK, 0);
	copy(store, one, 0, two, 0, (size_t)CHUNK);
	assert_int_equal(check(store), 0);
	id = some_id(store);
	/* A wrong count, none, one that makes no sense, and a piece that nobody uses. */
	share_key_encode(id, SHARE_COUNT, key);
	share_count_encode(1, count);
	assert_int_equal(
		kv_put(kv, KEYSPACE_SHARED, key, sizeof(key), count, sizeof(count), NULL), 0);
	assert_int_equal(check(store), 1);
	assert_int_equal(kv_put(kv, KEYSPACE_SHARED, key, sizeof(key), count, 3, NULL), 0);
	assert_int_equal(check(store), 1);
	share_count_encode(2, count);
	assert_int_equal(
		kv_put(kv, KEYSPACE_SHARED, key, sizeof(key), count, sizeof(count), NULL), 0);
	share_key_encode(id + 500, SHARE_COUNT, key);
	assert_int_equal(
		kv_put(kv, KEYSPACE_SHARED, key, sizeof(key), count, sizeof(count), NULL), 0);
	assert_int_equal(check(store), 1);
	assert_int_equal(kv_delete(kv, KEYSPACE_SHARED, key, sizeof(key), NULL), 0);
	assert_int_equal(check(store), 0);
	/* The bytes are gone: the files say so, and can still be removed. */
	share_key_encode(id, SHARE_BYTES, key);
	assert_int_equal(kv_delete(kv, KEYSPACE_SHARED, key, sizeof(key), NULL), 0);
	assert_true(check(store) >= 1);
	assert_int_equal(kvfs_read(store->fs, two, bytes, sizeof(bytes), 0), -EIO);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "one"), 0);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "two"), 0);
	assert_int_equal(check(store), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
		TEST(test_refused),
		TEST(test_reference),
		TEST(test_same_file),
		TEST(test_writes_part),
		TEST(test_cut_and_punch),
		TEST(test_kinds),
		TEST(test_tail),
		TEST(test_snapshots),
		TEST(test_concurrent),
		TEST(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
