/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_test.c - opening from a checkpoint: what is behind it is replayed and no more, and one
 * that is stale, damaged, cut off or another store's costs time and nothing else.
 */
#include "kv_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "format.h"

#define KEYS 600u
#define VALUE_SIZE 1000u /* so that closing finds it worth a checkpoint */

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %u", number);
}

static void put_keys(struct fixture *fixture, unsigned from, unsigned to, uint64_t seed)
{
	char key[16];

	for (unsigned i = from; i < to; i++) {
		key_of(i, key);
		must_put_filled(fixture, i % 2, key, VALUE_SIZE, seed + i);
	}
}

static void have_keys(struct fixture *fixture, unsigned from, unsigned to, uint64_t seed)
{
	char key[16];

	for (unsigned i = from; i < to; i++) {
		key_of(i, key);
		must_have_filled(fixture, i % 2, key, VALUE_SIZE, seed + i);
	}
}

static void fill_store(struct fixture *fixture)
{
	put_keys(fixture, 0, KEYS, 0);
	must_close(fixture);
}

static bool has_checkpoint(struct fixture *fixture)
{
	uint64_t size;

	return sim_env_bytes(fixture->sim, FORMAT_CHECKPOINT_NAME, &size) != NULL;
}

static uint64_t recovered(struct fixture *fixture)
{
	return stats_of(fixture).recovered_batches;
}

/* The checkpoint's bytes, to be put back later. */
static uint8_t *keep(struct fixture *fixture, uint64_t *size)
{
	const uint8_t *bytes = sim_env_bytes(fixture->sim, FORMAT_CHECKPOINT_NAME, size);
	uint8_t *copy;

	assert_non_null(bytes);
	copy = malloc(*size);
	assert_non_null(copy);
	memcpy(copy, bytes, *size);
	return copy;
}

static void put_back(struct fixture *fixture, const uint8_t *bytes, uint64_t size)
{
	assert_int_equal(sim_env_put_file(fixture->sim, FORMAT_CHECKPOINT_NAME, bytes, size), 0);
}

/* ---- what it is for -------------------------------------------------------------------------- */

static void test_nothing_replayed(void **state)
{
	struct fixture *fixture = *state;
	unsigned flags[] = {
		KV_OPEN_INLINE, 0, KV_OPEN_READ_ONLY, KV_OPEN_READ_ONLY | KV_OPEN_INLINE};

	fill_store(fixture);
	assert_true(has_checkpoint(fixture));
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		must_open(fixture, flags[i]);
		assert_int_equal(recovered(fixture), 0);
		/* closing sampled the clock */
		assert_int_equal(kv_last_seq(fixture->kv), KEYS + 1);
		have_keys(fixture, 0, KEYS, 0);
		must_lack(fixture, HASHED, "absent");
		must_check_clean(fixture);
		must_close(fixture);
	}
	assert_int_equal(fixture->errors, 0);
}

static void test_little_is_not_worth_it(void **state)
{
	struct fixture *fixture = *state;

	put_keys(fixture, 0, 10, 0);
	must_close(fixture);
	assert_false(has_checkpoint(fixture));
}

/*
 * Overwritten, deleted and new keys behind the checkpoint, by a power failure never checkpointed
 * themselves.
 */
static void test_replay_from_there(void **state)
{
	struct fixture *fixture = *state;
	char key[16];

	fill_store(fixture);
	must_open(fixture, 0);
	put_keys(fixture, 0, 50, 7000);
	for (unsigned i = 50; i < 60; i++) {
		key_of(i, key);
		must_delete(fixture, i % 2, key);
	}
	put_keys(fixture, KEYS, KEYS + 20, 0);
	must_sync(fixture);
	for (unsigned round = 0; round < 3; round++) {
		must_crash(fixture, SIM_LOSS_ALL, 0);
		assert_int_equal(recovered(fixture), 50 + 10 + 20);
		have_keys(fixture, 0, 50, 7000);
		have_keys(fixture, 60, KEYS + 20, 0);
		for (unsigned i = 50; i < 60; i++) {
			key_of(i, key);
			must_lack(fixture, i % 2, key);
		}
		must_check_clean(fixture);
	}
	assert_int_equal(fixture->errors, 0);
}

/* Each closing replaces it, as often as there is something to save. */
static void test_replaced(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned round = 0; round < 4; round++) {
		put_keys(fixture, 0, KEYS, round * 1000);
		must_close(fixture);
		must_open(fixture, round % 2 ? KV_OPEN_INLINE : 0);
		assert_int_equal(recovered(fixture), 0);
		have_keys(fixture, 0, KEYS, round * 1000);
		must_check_clean(fixture);
	}
	assert_int_equal(fixture->errors, 0);
}

/* ---- one that does not fit ------------------------------------------------------------------- */

/* Compaction took segments away that it speaks of: as usual, so nobody is told. */
static void test_stale(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *old;
	uint64_t size;

	put_keys(fixture, 0, 3 * KEYS, 0);
	must_close(fixture);
	old = keep(fixture, &size);
	must_open(fixture, KV_OPEN_INLINE);
	for (unsigned round = 0; round < 8; round++)
		put_keys(fixture, 0, 3 * KEYS, 5000);
	must_close(fixture);
	put_back(fixture, old, size);
	must_open(fixture, 0);
	assert_true(recovered(fixture) >= 3 * KEYS);
	assert_int_equal(fixture->errors, 0);
	have_keys(fixture, 0, 3 * KEYS, 5000);
	must_check_clean(fixture);
	free(old);
}

/* An older one whose segments are all there still says what was, and the log says the rest. */
static void test_older(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *old;
	uint64_t size;

	fill_store(fixture);
	old = keep(fixture, &size);
	must_open(fixture, KV_OPEN_INLINE);
	put_keys(fixture, KEYS, 2 * KEYS, 0);
	put_keys(fixture, 0, 5, 9000);
	must_close(fixture);
	put_back(fixture, old, size);
	must_open(fixture, 0);
	assert_int_equal(recovered(fixture), KEYS + 5);
	have_keys(fixture, 0, 5, 9000);
	have_keys(fixture, 5, 2 * KEYS, 0);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
	free(old);
}

static void test_another_stores(void **state)
{
	struct fixture *fixture = *state, *other;
	uint8_t *foreign;
	uint64_t size;

	assert_int_equal(fixture_setup_inline((void **)&other), 0);
	/* Another disk, but drawn from the same seed: a new identity takes one more draw. */
	put_keys(other, 0, 2 * KEYS, 100);
	must_close(other);
	foreign = keep(other, &size);
	fixture_teardown((void **)&other);
	((struct format_checkpoint *)foreign)->uuid[3] ^= 1;
	format_checkpoint_seal((struct format_checkpoint *)foreign);

	fill_store(fixture);
	put_back(fixture, foreign, size);
	must_open(fixture, 0);
	assert_int_equal(recovered(fixture), KEYS);
	have_keys(fixture, 0, KEYS, 0);
	must_check_clean(fixture);
	free(foreign);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* How many keys have their value; the others answer -EIO, never that they are absent. */
static unsigned count_intact(struct fixture *fixture)
{
	unsigned intact = 0;
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		int result;

		key_of(i, key);
		result = have_filled(fixture, i % 2, key, VALUE_SIZE, i);
		assert_true(!result || result == -EIO);
		intact += !result;
	}
	return intact;
}

static void ignore(void *arg, enum kv_severity severity, const char *message)
{
	(void)arg;
	(void)severity;
	(void)message;
}

/* Whatever was done to the checkpoint, at worst the second opening has all of it. */
static void must_survive(struct fixture *fixture, unsigned flags)
{
	uint64_t findings;
	unsigned intact;

	must_open(fixture, flags);
	intact = count_intact(fixture);
	/*
	 * Loads what nobody has asked for yet: damage that was not met would be met by the second
	 * opening.
	 */
	assert_int_equal(kv_check(fixture->kv, ignore, NULL, NULL, NULL, &findings), 0);
	/* Where something could not be read that was said. */
	assert_true(intact == KEYS || fixture->errors > 0);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	have_keys(fixture, 0, KEYS, 0);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
	must_close(fixture);
}

static void test_flipped_bits(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *whole;
	uint64_t size;

	fill_store(fixture);
	whole = keep(fixture, &size);
	for (uint64_t position = 0; position < size;
		position += position < 600 ? 37 : full_or_quick(30011, 5 * 30011)) {
		put_back(fixture, whole, size);
		assert_int_equal(sim_env_flip(fixture->sim, FORMAT_CHECKPOINT_NAME, position,
					 (unsigned)(position % 8)),
			0);
		must_survive(fixture, position % 2 ? KV_OPEN_INLINE : 0);
	}
	free(whole);
}

static void test_cut_off(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *whole;
	uint64_t size;

	fill_store(fixture);
	whole = keep(fixture, &size);
	for (uint64_t length = 0; length < size; length += length < 5000 ? 999 : 100003) {
		put_back(fixture, whole, length);
		must_survive(fixture, KV_OPEN_INLINE);
	}
	free(whole);
}

/* A page that cannot be read, in each part of the file. */
static void test_unreadable_pages(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *whole;
	uint64_t size;

	fill_store(fixture);
	whole = keep(fixture, &size);
	for (uint64_t position = 0; position < size; position += 90001) {
		put_back(fixture, whole, size);
		assert_int_equal(
			sim_env_fail_page(fixture->sim, FORMAT_CHECKPOINT_NAME, position), 0);
		must_survive(fixture, 0);
	}
	free(whole);
}

static void count_finding(void *arg, enum kv_severity severity, const char *message)
{
	++*(unsigned *)arg;
}

/* Records that nobody replayed are validated before they are believed. */
static void test_damaged_records(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *whole;
	uint64_t size;

	fill_store(fixture);
	whole = keep(fixture, &size);
	for (uint32_t position = FORMAT_SEGMENT_HEADER_SIZE + 8; position < KEYS * VALUE_SIZE;
		position += full_or_quick(7993, 7 * 7993)) {
		unsigned heard = 0;
		uint64_t findings;

		put_back(fixture, whole, size);
		assert_int_equal(
			sim_env_flip(fixture->sim, "seg-00000000", position, position % 8), 0);
		must_open(fixture, KV_OPEN_READ_ONLY | (position % 2 ? KV_OPEN_INLINE : 0));
		assert_int_equal(recovered(fixture), 0);
		assert_int_equal(count_intact(fixture), KEYS - 1);
		assert_true(fixture->errors > 0);
		assert_int_equal(
			kv_check(fixture->kv, count_finding, &heard, NULL, NULL, &findings), 0);
		assert_true(findings > 0);
		must_close(fixture);
		assert_int_equal(
			sim_env_flip(fixture->sim, "seg-00000000", position, position % 8), 0);
	}
	free(whole);
}

/* A damaged record's key can be written anew, and then all is well with it. */
static void test_writing_over_damage(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position = FORMAT_SEGMENT_HEADER_SIZE + 100 * (VALUE_SIZE + 40);

	fill_store(fixture);
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000000", position, 1), 0);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(count_intact(fixture), KEYS - 1);
	put_keys(fixture, 0, KEYS, 0);
	assert_int_equal(count_intact(fixture), KEYS);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(count_intact(fixture), KEYS);
}

/* The pieces of large values are records as well. */
static void test_damaged_pieces(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t value[400000];
	uint8_t *whole;
	uint64_t size;

	fill_bytes(value, sizeof(value), 3);
	assert_int_equal(
		kv_write(fixture->kv, ORDERED, "large", 5, 0, value, sizeof(value), NULL), 0);
	must_close(fixture);
	whole = keep(fixture, &size);
	for (uint32_t position = FORMAT_SEGMENT_HEADER_SIZE + 8; position < sizeof(value);
		position += full_or_quick(9973, 5 * 9973)) {
		unsigned heard = 0;
		uint64_t findings;
		size_t done;

		put_back(fixture, whole, size);
		assert_int_equal(
			sim_env_flip(fixture->sim, "seg-00000000", position, position % 8), 0);
		must_open(fixture, KV_OPEN_INLINE | KV_OPEN_READ_ONLY);
		(void)!kv_read(fixture->kv, ORDERED, "large", 5, 0, value, sizeof(value), &done);
		assert_int_equal(
			kv_check(fixture->kv, count_finding, &heard, NULL, NULL, &findings), 0);
		assert_true(findings > 0);
		must_close(fixture);
		assert_int_equal(
			sim_env_flip(fixture->sim, "seg-00000000", position, position % 8), 0);
	}
	must_open(fixture, 0);
	must_check_clean(fixture);
	free(whole);
}

/* ---- writing it ------------------------------------------------------------------------------ */

/* A checkpoint that cannot be written is none, and closing is not to blame. */
static void test_failing_writes(void **state)
{
	static const enum sim_fault faults[] = {SIM_FAULT_OPEN, SIM_FAULT_WRITE, SIM_FAULT_SYNC,
		SIM_FAULT_RENAME, SIM_FAULT_DIR_SYNC};
	struct fixture *fixture = *state;
	unsigned round = 0;

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		for (unsigned nth = 1; nth <= full_or_quick(4, 2); nth++, round++) {
			put_keys(fixture, 0, KEYS, round);
			must_sync(fixture);
			sim_env_fail(fixture->sim, faults[i], nth, 1, -ENOSPC);
			/* Closing writes a little of its own. */
			(void)!kv_close(fixture->kv);
			fixture->kv = NULL;
			sim_env_fail(fixture->sim, faults[i], 0, 0, 0);
			assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
			must_open(fixture, KV_OPEN_INLINE);
			have_keys(fixture, 0, KEYS, round);
			must_check_clean(fixture);
			assert_int_equal(fixture->errors, 0);
		}
	}
}

/* ---- many at once ---------------------------------------------------------------------------- */

#define READERS 3u

struct crowd {
	struct fixture *fixture;
	atomic_uint wrong;
};

static void *read_thread(void *arg)
{
	struct crowd *crowd = arg;
	uint8_t expected[VALUE_SIZE];
	struct kv_slice value;
	char key[16];

	/* Nobody writes to these. */
	for (unsigned i = KEYS / 2; i < KEYS; i++) {
		key_of(i, key);
		fill_bytes(expected, VALUE_SIZE, i);
		kv_read_begin(crowd->fixture->kv);
		if (kv_get(crowd->fixture->kv, i % 2, key, strlen(key), &value) != 0 ||
			value.size != VALUE_SIZE || memcmp(value.data, expected, VALUE_SIZE) != 0)
			atomic_fetch_add(&crowd->wrong, 1);
		kv_read_end(crowd->fixture->kv);
	}
	return NULL;
}

static void *walk_thread(void *arg)
{
	struct crowd *crowd = arg;
	struct kv_cursor *cursor;
	unsigned found = 0;
	int result;

	if (kv_cursor_open(crowd->fixture->kv, ORDERED, &cursor) != 0) {
		atomic_fetch_add(&crowd->wrong, 1);
		return NULL;
	}
	for (result = kv_cursor_first(cursor); result == 0; result = kv_cursor_next(cursor))
		found++;
	kv_cursor_close(cursor);
	if (result != -ENOENT || found != KEYS / 2)
		atomic_fetch_add(&crowd->wrong, 1);
	return NULL;
}

/* Readers, a cursor and a writer from the first moment on, while the rest is being loaded. */
static void test_beside_loading(void **state)
{
	struct fixture *fixture = *state;
	struct crowd crowd = {.fixture = fixture};
	pthread_t readers[READERS], walker;

	fill_store(fixture);
	for (unsigned round = 0; round < 10; round++) {
		must_open(fixture, 0);
		assert_int_equal(pthread_create(&walker, NULL, walk_thread, &crowd), 0);
		for (unsigned i = 0; i < READERS; i++)
			assert_int_equal(pthread_create(&readers[i], NULL, read_thread, &crowd), 0);
		put_keys(fixture, 0, KEYS / 4, round);
		for (unsigned i = 0; i < READERS; i++)
			pthread_join(readers[i], NULL);
		pthread_join(walker, NULL);
		assert_int_equal(atomic_load(&crowd.wrong), 0);
		have_keys(fixture, 0, KEYS / 4, round);
		must_close(fixture);
	}
	must_open(fixture, 0);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
}

/*
 * Commits do not wait for ordered indexes, and whoever walks through one then sees what they did.
 */
static void test_commits_before_orders(void **state)
{
	struct fixture *fixture = *state;
	struct kv_cursor *cursor;
	unsigned found;
	char key[16];

	fill_store(fixture);
	for (unsigned round = 0; round < 20; round++) {
		must_open(fixture, 0);
		key_of(2 * round + 1, key);
		must_delete(fixture, ORDERED, key);
		key_of(KEYS + 2 * round + 1, key);
		must_put_filled(fixture, ORDERED, key, 10, round);
		assert_int_equal(kv_cursor_open(fixture->kv, ORDERED, &cursor), 0);
		for (found = 0;
			found == 0 ? kv_cursor_first(cursor) == 0 : kv_cursor_next(cursor) == 0;)
			found++;
		kv_cursor_close(cursor);
		assert_int_equal(found, KEYS / 2);
		must_check_clean(fixture);
		if (round % 2) {
			must_sync(fixture);
			must_crash(fixture, SIM_LOSS_ALL, 0);
		}
		must_close(fixture);
	}
	assert_int_equal(fixture->errors, 0);
}

/* Closed again at once, before all is there. */
static void test_closed_while_loading(void **state)
{
	struct fixture *fixture = *state;

	fill_store(fixture);
	for (unsigned round = 0; round < 20; round++) {
		must_open(fixture, round % 2 ? KV_OPEN_READ_ONLY : 0);
		must_close(fixture);
	}
	must_open(fixture, 0);
	have_keys(fixture, 0, KEYS, 0);
	must_check_clean(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_nothing_replayed),
		INLINE_TEST(test_little_is_not_worth_it),
		FIXTURE_TEST(test_replay_from_there),
		FIXTURE_TEST(test_replaced),
		INLINE_TEST(test_stale),
		INLINE_TEST(test_older),
		INLINE_TEST(test_another_stores),
		INLINE_TEST(test_flipped_bits),
		INLINE_TEST(test_cut_off),
		INLINE_TEST(test_unreadable_pages),
		INLINE_TEST(test_damaged_records),
		INLINE_TEST(test_writing_over_damage),
		INLINE_TEST(test_damaged_pieces),
		INLINE_TEST(test_failing_writes),
		FIXTURE_TEST(test_beside_loading),
		FIXTURE_TEST(test_commits_before_orders),
		FIXTURE_TEST(test_closed_while_loading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
