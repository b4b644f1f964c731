/* SPDX-License-Identifier: MIT */
/* kv_space_test.c - a disk that fills up: a clean refusal, nothing lost, deleting works, space
 * comes back. */
#include "kv_fixture.h"

#include <pthread.h>
#include <unistd.h>

#include "store.h"

#define PATIENCE_MS 60000u

static void fill_and_delete(struct fixture *fixture, unsigned flags)
{
	unsigned count, again;

	sim_env_set_capacity(fixture->sim, 12 * (uint64_t)SEGMENT_SIZE);
	count = fill_disk(fixture, FILL_SIZE_MAX, -ENOSPC);
	assert_true(count > 200);
	must_have_filled_disk(fixture, 0, count);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, flags);
	must_have_filled_disk(fixture, 0, count);
	must_check_clean(fixture);

	/* Every key can be deleted, and what they took is there for others. */
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(kv_delete(fixture->kv, ORDERED, &i, sizeof(i), NULL), 0);
	must_sync(fixture);
	must_check_clean(fixture);
	again = fill_disk(fixture, FILL_SIZE_MAX, -ENOSPC);
	assert_true(again > count / 2);
	must_have_filled_disk(fixture, 0, again);
	must_check_clean(fixture);
	must_close(fixture);
	must_open(fixture, flags);
	must_have_filled_disk(fixture, 0, again);
}

static void test_delete_on_full_disk(void **state)
{
	fill_and_delete(*state, 0);
}

static void test_delete_on_full_disk_inline(void **state)
{
	fill_and_delete(*state, KV_OPEN_INLINE);
}

#define NEEDED_SIZE 30000u
#define NEEDED_MAX 160u /* more than the disk has room for */

/* Batches that take all of a segment but its reserve, beside more and more that is needed. */
static void test_largest_on_full_disk(void **state)
{
	for (unsigned needed = 0; needed < NEEDED_MAX; needed += 5) {
		struct fixture fixture = {0};
		struct kv_info info;
		uint8_t *value;
		int error = 0;

		assert_int_equal(sim_env_new(
			&(struct sim_options){.capacity = 6 * SEGMENT_SIZE}, &fixture.sim), 0);
		fixture.env = sim_env_table(fixture.sim);
		assert_int_equal(kv_create(fixture.env, STORE_PATH, &fixture_create_options,
					   fixture_hear, &fixture), 0);
		must_open(&fixture, KV_OPEN_INLINE);
		kv_info(fixture.kv, &info);
		value = calloc(1, info.value_size_max);
		assert_non_null(value);
		for (unsigned i = 0; i < needed && !error; i++)
			error = kv_put(fixture.kv, HASHED, &i, sizeof(i), value, NEEDED_SIZE, NULL);
		for (unsigned i = 0; i < 12; i++) {
			error = kv_put(fixture.kv, ORDERED, &i, sizeof(i) - i % 2, value,
				       info.value_size_max, NULL);
			assert_true(error == 0 || error == -ENOSPC);
		}
		must_check_clean(&fixture);
		must_close(&fixture);
		free(value);
		sim_env_free(fixture.sim);
	}
}

#define LONG_KEY 2000u
#define LONG_KEYS_MAX 20000u

static const void *long_key(unsigned number)
{
	static uint8_t key[LONG_KEY];

	fill_bytes(key, sizeof(key), number);
	memcpy(key, &number, sizeof(number));
	return key;
}

static int put_long(struct fixture *fixture, unsigned number)
{
	return kv_put(fixture->kv, ORDERED, long_key(number), LONG_KEY, "v", 1, NULL);
}

static int delete_long(struct fixture *fixture, unsigned number)
{
	return kv_delete(fixture->kv, ORDERED, long_key(number), LONG_KEY, NULL);
}

/* Keys of which a tombstone is as large as the record: how many there was room for. */
static unsigned fill_with_keys(struct fixture *fixture)
{
	unsigned count = 0;
	int result = 0;

	for (; !result && count < LONG_KEYS_MAX; count += !result)
		result = put_long(fixture, count);
	assert_int_equal(result, -ENOSPC);
	return count;
}

/* Of all segments a little, again and again: deleting goes on, and all the room comes back. */
static void test_tombstones_on_full_disk(void **state)
{
	struct fixture *fixture = *state;
	unsigned count, step;

	sim_env_set_capacity(fixture->sim, 20 * (uint64_t)SEGMENT_SIZE);
	count = fill_with_keys(fixture);
	assert_true(count > 5000);
	step = count / 89;
	for (unsigned i = 0; i < step; i++)
		for (unsigned j = i; j < count; j += step)
			assert_int_equal(delete_long(fixture, j), 0);
	must_check_clean(fixture);
	assert_true(fill_with_keys(fixture) > count / 10 * 9);
	must_check_clean(fixture);
}

/* A part of what is in each segment goes: others have most of its room at once. */
static void test_deleted_part_comes_back(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t value[FILL_SIZE_MAX];
	unsigned count, deleted = 0, key;

	sim_env_set_capacity(fixture->sim, 30 * (uint64_t)SEGMENT_SIZE);
	count = fill_disk(fixture, FILL_SIZE_MAX, -ENOSPC);
	for (unsigned i = 0; i < count; i += 3, deleted++)
		assert_int_equal(kv_delete(fixture->kv, ORDERED, &i, sizeof(i), NULL), 0);
	key = count;
	while (!kv_put(fixture->kv, ORDERED, &key, sizeof(key), value, sizeof(value), NULL))
		key++;
	assert_true(key - count > deleted / 2);
	must_check_clean(fixture);
}

#define TURNS_MAX 100000u
#define TURN_US 100u

/* What a snapshot kept comes back in the background. */
static void have_patience(unsigned *turns)
{
	assert_true(++*turns < TURNS_MAX);
	usleep(TURN_US);
}

#define SMALL_VALUE 60u
#define SMALL_KEYS 15000u

static int put_small(struct fixture *fixture, unsigned key, unsigned round)
{
	uint8_t value[SMALL_VALUE];

	fill_bytes(value, sizeof(value), key + (uint64_t)SMALL_KEYS * round);
	return kv_put(fixture->kv, ORDERED, &key, sizeof(key), value, sizeof(value), NULL);
}

/*
 * What snapshots keep is copied with a record of its own before it, which takes a part of a segment
 * that is worth copying, but is not gained by that: it ends.
 */
static void test_old_versions_on_full_disk(void **state)
{
	struct fixture *fixture = *state;
	unsigned key, round, turns = 0;
	int result = 0;
	char name[24];

	sim_env_set_capacity(fixture->sim, 16 * (uint64_t)SEGMENT_SIZE);
	for (round = 0; !result; round++) {
		for (key = 0; key < SMALL_KEYS && !result; key++)
			result = put_small(fixture, key, round);
		snprintf(name, sizeof(name), "round %u", round);
		if (!result)
			result = kv_snapshot_create(fixture->kv, name, NULL);
	}
	assert_int_equal(result, -ENOSPC);
	assert_true(round > 3);
	for (key = 0; key < SMALL_KEYS; key++) {
		result = kv_delete(fixture->kv, ORDERED, &key, sizeof(key), NULL);
		assert_true(!result || result == -ENOSPC);
	}
	must_check_clean(fixture);
	while (round-- > 1) {
		snprintf(name, sizeof(name), "round %u", round - 1);
		assert_int_equal(kv_snapshot_delete(fixture->kv, name, NULL), 0);
	}
	for (key = 0; key < SMALL_KEYS; key++) {
		while ((result = put_small(fixture, key, 0)) == -ENOSPC)
			have_patience(&turns);
		assert_int_equal(result, 0);
	}
	must_check_clean(fixture);
}

#define KEPT_KEYS 100000u
#define KEPT_SNAPSHOTS 200u /* of names that are as long as may be */

static const char *snapshot_name(char name[KV_SNAPSHOT_NAME_MAX + 1], unsigned number)
{
	snprintf(name, KV_SNAPSHOT_NAME_MAX + 1, "%0*u", (int)KV_SNAPSHOT_NAME_MAX, number);
	return name;
}

/*
 * Where snapshots keep what is deleted, that frees nothing, and ends once there is no more room
 * for it. Deleting the snapshots goes on.
 */
static void test_snapshot_on_full_disk(void **state)
{
	struct fixture *fixture = *state;
	char name[KV_SNAPSHOT_NAME_MAX + 1];
	unsigned key, i, turns = 0;
	int result = 0;

	sim_env_set_capacity(fixture->sim, 7 * (uint64_t)SEGMENT_SIZE);
	for (key = 0; key < KEPT_KEYS; key++)
		assert_int_equal(
			kv_put(fixture->kv, ORDERED, &key, sizeof(key), "v", 1, NULL), 0);
	for (i = 0; i < KEPT_SNAPSHOTS; i++)
		assert_int_equal(
			kv_snapshot_create(fixture->kv, snapshot_name(name, i), NULL), 0);
	for (key = 0; key < KEPT_KEYS && !result; key++)
		result = kv_delete(fixture->kv, ORDERED, &key, sizeof(key), NULL);
	assert_int_equal(result, -ENOSPC);
	must_check_clean(fixture);
	/* It is only the last one that helps. */
	for (i = 0; i < KEPT_SNAPSHOTS; i++)
		assert_int_equal(
			kv_snapshot_delete(fixture->kv, snapshot_name(name, i), NULL), 0);
	/* From the one that was refused. */
	for (key--; key < KEPT_KEYS; key++) {
		while ((result = kv_delete(fixture->kv, ORDERED, &key, sizeof(key), NULL)) ==
			-ENOSPC)
			have_patience(&turns);
		assert_int_equal(result, 0);
	}
	must_check_clean(fixture);
}

/* Which segments the copies of fit is mostly known without a look into them. */
static void test_few_segments_are_read(void **state)
{
	struct fixture *fixture = *state;
	struct segments *segments = &fixture->kv->segments;
	static const uint8_t value[FILL_SIZE_MAX];
	unsigned count, key, slot, looked_into = 0, all = 0;

	sim_env_set_capacity(fixture->sim, 50 * (uint64_t)SEGMENT_SIZE);
	count = fill_disk(fixture, FILL_SIZE_MAX, -ENOSPC);
	for (key = 0; key < count; key += 3)
		assert_int_equal(kv_delete(fixture->kv, ORDERED, &key, sizeof(key), NULL), 0);
	/* The deletions fit into what is left for them. */
	assert_int_equal(kv_put(fixture->kv, HASHED, "key", 3, value, sizeof(value), NULL), 0);
	for (slot = 0; slot < atomic_load(&segments->count); slot++) {
		const struct segment *segment = segments->table[slot];

		all += segment && segment->id;
		looked_into += segment && segment->id && segment->longest;
	}
	assert_true(all > 30);
	assert_true(looked_into < all / 4);
}

/*
 * An attempt to make room that finds none, and is held until another writer waits too; what comes
 * behind it succeeds.
 */
static struct {
	struct fixture *fixture;
	int (*real)(struct env_file *file, uint64_t size);
	uint64_t waits;   /* before anybody waits */
	uint64_t refused; /* this attempt */
	_Atomic bool begins, holds;
} scarce;

static uint64_t attempt_now(void)
{
	struct log *log = &scarce.fixture->kv->log;
	uint64_t attempt;

	pthread_mutex_lock(&log->lock);
	attempt = log->spare_attempts + 1;
	pthread_mutex_unlock(&log->lock);
	return attempt;
}

static uint64_t waits_now(void)
{
	return stats_of(scarce.fixture).waits - scarce.waits;
}

static int allocate_scarcely(struct env_file *file, uint64_t size)
{
	unsigned ms;

	if (!atomic_load(&scarce.begins))
		return scarce.real(file, size);
	if (!scarce.refused && waits_now()) {
		scarce.refused = attempt_now();
		atomic_store(&scarce.holds, true);
		for (ms = 0; waits_now() < 2 && ms < PATIENCE_MS; ms++)
			usleep(1000);
	}
	if (!scarce.refused || attempt_now() == scarce.refused)
		return -ENOSPC;
	return scarce.real(file, size);
}

static void *put_until_refused(void *arg)
{
	static uint8_t value[FILL_SIZE_MAX];
	unsigned key;

	for (key = 0; !kv_put(arg, HASHED, &key, sizeof(key), value, sizeof(value), NULL); key++)
		if (atomic_load(&scarce.holds))
			return NULL;
	return NULL;
}

/* The answer to an attempt that was under way is none to who comes then. */
static void test_late_waiter(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t value[SEGMENT_SIZE / 4 * 3];
	pthread_t other;
	unsigned ms = 0;
	int error;

	scarce.fixture = fixture;
	scarce.real = fixture->env->file_allocate;
	fixture->env->file_allocate = allocate_scarcely;
	assert_int_equal(kv_create(fixture->env, STORE_PATH, &fixture_create_options,
				   fixture_hear, fixture), 0);
	must_open(fixture, 0);
	scarce.waits = stats_of(fixture).waits;
	atomic_store(&scarce.begins, true);
	assert_int_equal(pthread_create(&other, NULL, put_until_refused, fixture->kv), 0);
	while (!atomic_load(&scarce.holds) && ms++ < PATIENCE_MS)
		usleep(1000);
	error = kv_put(fixture->kv, ORDERED, "late", 4, value, sizeof(value), NULL);
	assert_int_equal(pthread_join(other, NULL), 0);
	assert_true(atomic_load(&scarce.holds));
	assert_true(waits_now() >= 2);
	assert_int_equal(error, 0);
	must_check_clean(fixture);
}

/* More room appears: writing goes on without opening again. */
static void test_disk_grows(void **state)
{
	struct fixture *fixture = *state;
	unsigned count;

	sim_env_set_capacity(fixture->sim, 6 * (uint64_t)SEGMENT_SIZE);
	count = fill_disk(fixture, FILL_SIZE_MAX, -ENOSPC);
	sim_env_set_capacity(fixture->sim, 10 * (uint64_t)SEGMENT_SIZE);
	assert_true(fill_disk(fixture, FILL_SIZE_MAX, -ENOSPC) > count);
	must_check_clean(fixture);
}

struct files {
	unsigned used, unused;
};

static int count_file(void *arg, const char *name)
{
	struct files *files = arg;

	files->used += !strncmp(name, "seg-", 4);
	files->unused += !strncmp(name, "free-", 5);
	return 0;
}

/* In the middle of a stream of writes files that come free are kept for it; not for longer. */
static void test_files_are_given_back(void **state)
{
	struct fixture *fixture = *state;
	struct files files = {0, 0};
	struct env_dir *dir;
	char key[16];

	for (unsigned i = 0; i < 600; i++) {
		snprintf(key, sizeof(key), "key %u", i % 30);
		must_put_filled(fixture, HASHED, key, SEGMENT_SIZE / 10, i);
	}
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	must_close(fixture);
	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(fixture->env->dir_list(dir, count_file, &files), 0);
	fixture->env->dir_close(dir);
	assert_true(files.used >= 3);
	assert_true(files.unused <= 4 + files.used / 8);
	must_open(fixture, 0);
	for (unsigned i = 570; i < 600; i++) {
		snprintf(key, sizeof(key), "key %u", i % 30);
		must_have_filled(fixture, HASHED, key, SEGMENT_SIZE / 10, i);
	}
	must_check_clean(fixture);
}

/* Overwriting the same keys for ever needs no more room than they take, and some. */
static void test_overwriting_stays_bounded(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t value[FILL_SIZE_MAX];

	sim_env_set_capacity(fixture->sim, 20 * (uint64_t)SEGMENT_SIZE);
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < 100; i++) {
			fill_bytes(value, sizeof(value), round == 39 ? i : round + i);
			assert_int_equal(kv_put(fixture->kv, ORDERED, &i, sizeof(i), value,
						 sizeof(value), NULL),
				0);
		}
	}
	must_have_filled_disk(fixture, 0, 100);
	must_check_clean(fixture);
	must_close(fixture);
	must_open(fixture, 0);
	must_have_filled_disk(fixture, 0, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_delete_on_full_disk),
		INLINE_TEST(test_delete_on_full_disk_inline),
		FIXTURE_TEST(test_tombstones_on_full_disk),
		INLINE_TEST(test_tombstones_on_full_disk),
		FIXTURE_TEST(test_deleted_part_comes_back),
		INLINE_TEST(test_few_segments_are_read),
		FIXTURE_TEST(test_old_versions_on_full_disk),
		INLINE_TEST(test_old_versions_on_full_disk),
		FIXTURE_TEST(test_snapshot_on_full_disk),
		INLINE_TEST(test_snapshot_on_full_disk),
		EMPTY_TEST(test_late_waiter),
		FIXTURE_TEST(test_disk_grows),
		cmocka_unit_test(test_largest_on_full_disk),
		FIXTURE_TEST(test_files_are_given_back),
		FIXTURE_TEST(test_overwriting_stays_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
