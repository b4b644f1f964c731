/* SPDX-License-Identifier: MIT */
/*
 * kv_stress_test.c - readers, writers, cursors and syncs at once, verified as they go; and an index
 * that grows to a few hundred thousand keys under their eyes. Small segments, so that compaction
 * and recycling run all the time.
 */
#include "kv_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#define WRITERS 3u
#define READERS 3u
#define SLOTS 500u /* keys of each writer */
#define ROUNDS 8u  /* of all its keys, per writer */
#define GROWTH_KEYS (getenv("KVFS_TEST_QUICK") ? 60000u : 300000u)

/*
 * A key belongs to one writer, which puts rising versions of it in both keyspaces with one batch.
 * Readers must find the version whole, and never an older one than they saw before.
 */
struct value {
	uint32_t writer, slot, version, size; /* size: of the bytes that follow */
	uint8_t bytes[2000];
};

struct stress {
	struct fixture *fixture;
	_Atomic uint32_t versions[WRITERS][SLOTS]; /* committed */
	atomic_uint writing;
	atomic_uint failures;
};

struct worker {
	struct stress *stress;
	pthread_t thread;
	unsigned number;
};

static void fail_stress(struct stress *stress, const char *what)
{
	if (atomic_fetch_add(&stress->failures, 1) < 5)
		print_error("%s\n", what);
}

static void make_value(struct value *value, uint32_t writer, uint32_t slot, uint32_t version)
{
	*value = (struct value){.writer = writer, .slot = slot, .version = version};
	value->size = (slot * 37 + version * 101) % sizeof(value->bytes);
	memset(value->bytes, (int)(writer + slot + version), value->size);
}

static size_t value_length(const struct value *value)
{
	return offsetof(struct value, bytes) + value->size;
}

static int put_both(struct kv_batch *batch, const uint32_t key[2], const struct value *value)
{
	int result = kv_batch_put(batch, HASHED, key, 8, value, value_length(value));

	return result < 0 ? result
			  : kv_batch_put(batch, ORDERED, key, 8, value, value_length(value));
}

static void *write_thread(void *arg)
{
	struct worker *worker = arg;
	struct stress *stress = worker->stress;
	struct kv *kv = stress->fixture->kv;
	struct sim_random random = {worker->number};
	struct kv_batch *batch;
	struct value value;
	uint64_t seq;

	if (kv_batch_new(kv, &batch) < 0)
		return NULL;
	for (uint32_t i = 0; i < ROUNDS * SLOTS; i++) {
		uint32_t slot = (uint32_t)sim_random_below(&random, SLOTS);
		uint32_t key[2] = {worker->number, slot};
		uint32_t version = stress->versions[worker->number][slot] + 1;

		make_value(&value, worker->number, slot, version);
		if (put_both(batch, key, &value) < 0 || kv_commit(kv, batch, &seq) < 0)
			fail_stress(stress, "a commit failed");
		stress->versions[worker->number][slot] = version;
		if (i % 97 == 0 && kv_sync(kv, seq) < 0)
			fail_stress(stress, "a sync failed");
	}
	kv_batch_free(batch);
	atomic_fetch_sub(&stress->writing, 1);
	return NULL;
}

static void verify(
	struct stress *stress, struct kv_slice found, const uint32_t key[2], uint32_t version_min)
{
	struct value expected, header;

	if (found.size < offsetof(struct value, bytes) || found.size > sizeof(header)) {
		fail_stress(stress, "a value has a size that was never put");
		return;
	}
	memcpy(&header, found.data, offsetof(struct value, bytes));
	make_value(&expected, key[0], key[1], header.version);
	if (found.size != value_length(&expected) || memcmp(found.data, &expected, found.size) != 0)
		fail_stress(stress, "a value is not whole");
	if (header.version < version_min)
		fail_stress(stress, "a value is older than what was committed before");
}

static void read_one(struct stress *stress, struct sim_random *random)
{
	uint32_t key[2] = {(uint32_t)sim_random_below(random, WRITERS),
		(uint32_t)sim_random_below(random, SLOTS)};
	unsigned keyspace = (unsigned)sim_random_below(random, 2);
	struct kv *kv = stress->fixture->kv;
	struct kv_slice found;
	uint32_t version;
	int result;

	kv_read_begin(kv);
	version = stress->versions[key[0]][key[1]];
	result = kv_get(kv, keyspace, key, 8, &found);
	if (result == 0)
		verify(stress, found, key, version);
	else if (result != -ENOENT || version > 0)
		fail_stress(stress, "a key that was put is not there");
	kv_read_end(kv);
}

static void walk_some(struct stress *stress, struct kv_cursor *cursor, struct sim_random *random)
{
	uint32_t from[2] = {(uint32_t)sim_random_below(random, WRITERS),
		(uint32_t)sim_random_below(random, SLOTS)};
	struct kv *kv = stress->fixture->kv;
	uint8_t last[8] = {0};
	int result = kv_cursor_seek(cursor, from, 8);

	for (unsigned i = 0; result == 0 && i < 20; i++) {
		struct kv_slice key = kv_cursor_key(cursor), value;
		uint32_t numbers[2];

		if (key.size != 8 || (i > 0 && memcmp(key.data, last, 8) <= 0)) {
			fail_stress(stress, "a cursor went astray");
			return;
		}
		memcpy(last, key.data, 8);
		memcpy(numbers, key.data, 8);
		kv_read_begin(kv);
		if (kv_cursor_value(cursor, &value) == 0)
			verify(stress, value, numbers, 1);
		else
			fail_stress(stress, "a cursor's value is not there");
		kv_read_end(kv);
		result = kv_cursor_next(cursor);
	}
	if (result < 0 && result != -ENOENT)
		fail_stress(stress, "a cursor failed");
}

/*
 * The same keys twice, in order and by name: both ways all are found, whole, and none is older than
 * before.
 */
static void read_many(struct stress *stress, struct kv_cursor *cursor, struct sim_random *random)
{
	uint32_t from[2] = {(uint32_t)sim_random_below(random, WRITERS),
		(uint32_t)sim_random_below(random, SLOTS)};
	struct kv *kv = stress->fixture->kv;
	struct kv_entry entries[50];
	uint32_t numbers[50][2], versions[50];
	size_t count = 0;
	int result = kv_cursor_seek(cursor, from, 8);

	kv_read_begin(kv);
	if (result == 0)
		result = kv_cursor_read(cursor, entries, 50, &count);
	for (size_t i = 0; i < count; i++) {
		memcpy(numbers[i], entries[i].key.data, 8);
		if (entries[i].status)
			fail_stress(stress, "an entry in order cannot be read");
		else
			verify(stress, entries[i].value, numbers[i], 1);
		versions[i] = stress->versions[numbers[i][0]][numbers[i][1]];
		entries[i].key = (struct kv_slice){numbers[i], 8};
	}
	kv_multi_get(kv, HASHED, entries, count);
	for (size_t i = 0; i < count; i++)
		if (entries[i].status)
			fail_stress(stress, "an entry by its key cannot be read");
		else
			verify(stress, entries[i].value, numbers[i], versions[i]);
	kv_read_end(kv);
	if (result < 0 && result != -ENOENT)
		fail_stress(stress, "reading many failed");
}

static void *read_thread(void *arg)
{
	struct worker *worker = arg;
	struct stress *stress = worker->stress;
	struct sim_random random = {100 + worker->number};
	struct kv_cursor *cursor;

	if (kv_cursor_open(stress->fixture->kv, ORDERED, &cursor) < 0) {
		fail_stress(stress, "no cursor");
		return NULL;
	}
	while (atomic_load(&stress->writing) > 0) {
		for (unsigned i = 0; i < 100; i++)
			read_one(stress, &random);
		walk_some(stress, cursor, &random);
		read_many(stress, cursor, &random);
	}
	kv_cursor_close(cursor);
	return NULL;
}

static void must_hold_last_versions(struct stress *stress)
{
	for (uint32_t writer = 0; writer < WRITERS; writer++) {
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			uint32_t key[2] = {writer, slot};
			struct kv_slice found;

			if (stress->versions[writer][slot] == 0)
				continue;
			kv_read_begin(stress->fixture->kv);
			for (unsigned keyspace = 0; keyspace < 2; keyspace++) {
				assert_int_equal(
					kv_get(stress->fixture->kv, keyspace, key, 8, &found), 0);
				verify(stress, found, key, stress->versions[writer][slot]);
			}
			kv_read_end(stress->fixture->kv);
		}
	}
	assert_int_equal(stress->failures, 0);
}

static void test_readers_and_writers(void **state)
{
	static struct stress stress;
	struct worker workers[WRITERS + READERS];

	memset(&stress, 0, sizeof(stress));
	stress.fixture = *state;
	atomic_store(&stress.writing, WRITERS);
	for (unsigned i = 0; i < WRITERS + READERS; i++) {
		workers[i] =
			(struct worker){.stress = &stress, .number = i < WRITERS ? i : i - WRITERS};
		assert_int_equal(pthread_create(&workers[i].thread, NULL,
					 i < WRITERS ? write_thread : read_thread, &workers[i]),
			0);
	}
	for (unsigned i = 0; i < WRITERS + READERS; i++)
		pthread_join(workers[i].thread, NULL);
	must_hold_last_versions(&stress);
	must_check_clean(stress.fixture);
	must_close(stress.fixture);
	must_open(stress.fixture, 0);
	must_hold_last_versions(&stress);
	must_check_clean(stress.fixture);
}

/* ---- growth ---------------------------------------------------------------------------------- */

struct growth {
	struct fixture *fixture;
	_Atomic uint64_t put; /* keys 0 to put - 1 are there */
	atomic_bool done;
	atomic_uint missing;
};

static void *look_thread(void *arg)
{
	struct growth *growth = arg;
	struct sim_random random = {5};

	while (!atomic_load(&growth->done)) {
		uint64_t put = atomic_load(&growth->put), key;

		if (put == 0)
			continue;
		key = sim_random_below(&random, put);
		if (kv_contains(growth->fixture->kv, HASHED, &key, sizeof(key)) != 0)
			atomic_fetch_add(&growth->missing, 1);
		key = GROWTH_KEYS + sim_random_below(&random, GROWTH_KEYS);
		if (kv_contains(growth->fixture->kv, HASHED, &key, sizeof(key)) != -ENOENT)
			atomic_fetch_add(&growth->missing, 1);
	}
	return NULL;
}

static void test_growth(void **state)
{
	struct growth growth = {.fixture = *state};
	struct kv_stats stats;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, look_thread, &growth), 0);
	for (uint64_t key = 0; key < GROWTH_KEYS; key++) {
		assert_int_equal(kv_put(growth.fixture->kv, HASHED, &key, sizeof(key), &key,
					 sizeof(key), NULL),
			0);
		atomic_store(&growth.put, key + 1);
	}
	atomic_store(&growth.done, true);
	pthread_join(thread, NULL);
	assert_int_equal(growth.missing, 0);
	for (unsigned round = 0; round < 2; round++) {
		kv_stats(growth.fixture->kv, &stats);
		assert_int_equal(stats.keys[HASHED], GROWTH_KEYS);
		for (uint64_t key = 0; key < GROWTH_KEYS; key++) {
			struct kv_slice value;

			kv_read_begin(growth.fixture->kv);
			assert_int_equal(
				kv_get(growth.fixture->kv, HASHED, &key, sizeof(key), &value), 0);
			assert_int_equal(value.size, sizeof(key));
			assert_memory_equal(value.data, &key, sizeof(key));
			kv_read_end(growth.fixture->kv);
		}
		must_check_clean(growth.fixture);
		must_close(growth.fixture);
		must_open(growth.fixture, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_readers_and_writers),
		FIXTURE_TEST(test_growth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
