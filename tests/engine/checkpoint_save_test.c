/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_save_test.c - checkpoints written while the store is at work: after a crash only what
 * is behind is replayed, whatever changed meanwhile; what compaction empties is kept for as long as
 * it must be.
 */
#include "kv_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "checkpoint.h"
#include "checkpoint_save.h"
#include "compact.h"
#include "compact_free.h"
#include "format.h"
#include "store.h"

#define KEYS 3000u

static void must_checkpoint(struct fixture *fixture)
{
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
}

static void must_open_every(struct fixture *fixture, unsigned flags, uint64_t interval)
{
	struct kv_open_options options = {.flags = flags, .checkpoint_interval = interval};

	assert_int_equal(kv_open(sim_env_table(fixture->sim), STORE_PATH, &options, &fixture->kv),
		0);
}

/* ---- on demand ------------------------------------------------------------------------------- */

static void test_only_what_is_behind(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats;

	must_put_range(fixture, 0, KEYS, 1);
	must_checkpoint(fixture);
	stats = stats_of(fixture);
	assert_int_equal(stats.checkpoints, 1);
	assert_int_equal(stats.checkpoint_seq, KEYS);
	assert_true(stats.checkpoint_bytes > 0);
	assert_int_equal(stats.behind_bytes, 0);
	/* It has made durable what it speaks of. */
	assert_true(stats.durable_seq >= KEYS);
	must_put_range(fixture, 0, 100, 2);
	assert_true(stats_of(fixture).behind_bytes > 0);
	must_sync(fixture);
	for (unsigned round = 0; round < 3; round++) {
		must_crash(fixture, SIM_LOSS_ALL, round & 1 ? KV_OPEN_INLINE : 0);
		assert_int_equal(stats_of(fixture).recovered_batches, 100);
		must_have_range(fixture, 0, 100, 2);
		must_have_range(fixture, 100, KEYS, 1);
		must_check_clean(fixture);
	}
	assert_int_equal(fixture->errors, 0);
}

static void test_again_and_again(void **state)
{
	struct fixture *fixture = *state;
	char key[32];

	for (unsigned round = 0; round < 8; round++) {
		must_put_range(fixture, round * 500, round * 500 + KEYS, round);
		for (unsigned i = 0; i < 100; i++) {
			numbered_key(key, round * 500 + 2 * i);
			must_delete(fixture, HASHED, key);
		}
		must_checkpoint(fixture);
		must_crash(fixture, SIM_LOSS_ALL, round & 1 ? KV_OPEN_INLINE : 0);
		assert_int_equal(stats_of(fixture).recovered_batches, 0);
		must_have_range(fixture, round * 500 + 200, round * 500 + KEYS, round);
		numbered_key(key, round * 500);
		must_lack(fixture, HASHED, key);
		must_check_clean(fixture);
	}
	assert_int_equal(fixture->errors, 0);
}

static void test_read_only(void **state)
{
	struct fixture *fixture = *state;

	must_put_range(fixture, 0, 10, 1);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(kv_checkpoint(fixture->kv), -EROFS);
}

/* ---- by itself ------------------------------------------------------------------------------- */

/* Each change falls between two steps of one that is being written; then the power fails. */
static void test_always(void **state)
{
	struct fixture *fixture = *state;

	must_close(fixture);
	for (unsigned round = 0; round < full_or_quick(12, 4); round++) {
		must_open_every(fixture, KV_OPEN_INLINE, 1);
		must_put_range(fixture, round * 37, round * 37 + 400, round);
		must_sync(fixture);
		assert_true(stats_of(fixture).checkpoints > 5);
		sim_env_cut(fixture->sim);
		kv_close(fixture->kv);
		fixture->kv = NULL;
		assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ANY), 0);
		must_open(fixture, 0);
		assert_true(stats_of(fixture).recovered_batches < 200);
		must_have_range(fixture, round * 37, round * 37 + 400, round);
		must_check_clean(fixture);
		must_close(fixture);
	}
	assert_int_equal(fixture->errors, 0);
}

/* One that cannot be written harms nothing; the next one may be. */
static void test_failing(void **state)
{
	static const enum sim_fault faults[] = {SIM_FAULT_OPEN, SIM_FAULT_WRITE, SIM_FAULT_RENAME};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		must_put_range(fixture, 0, 500, (unsigned)i);
		must_sync(fixture);
		sim_env_fail(fixture->sim, faults[i], 1, 1, -ENOSPC);
		assert_int_equal(kv_checkpoint(fixture->kv), -ENOSPC);
		sim_env_fail(fixture->sim, faults[i], 0, 0, 0);
		must_put_range(fixture, 0, 300, 10 + (unsigned)i);
		must_checkpoint(fixture);
		must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
		assert_int_equal(stats_of(fixture).recovered_batches, 0);
		must_have_range(fixture, 0, 300, 10 + (unsigned)i);
		must_have_range(fixture, 300, 500, (unsigned)i);
		must_check_clean(fixture);
	}
	assert_int_equal(fixture->errors, 0);
}

/* ---- compaction ------------------------------------------------------------------------------ */

static void overwrite(struct fixture *fixture, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++)
		must_put_filled(fixture, i & 1, i % 4 < 2 ? "one" : "other", 100000, i);
}

/* What the checkpoint names stays, and goes with the next one. */
static void test_kept(void **state)
{
	struct fixture *fixture = *state;
	uint64_t kept = 0;

	must_put_range(fixture, 0, KEYS, 1);
	overwrite(fixture, 40);
	must_checkpoint(fixture);
	for (unsigned i = 0; i < 20; i++) {
		overwrite(fixture, 3);
		kept |= stats_of(fixture).emptied_bytes;
	}
	assert_true(kept > 0);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	assert_true(stats_of(fixture).recovered_batches <= 60);
	must_have_range(fixture, 0, KEYS, 1);
	overwrite(fixture, 60);
	must_checkpoint(fixture);
	assert_int_equal(stats_of(fixture).emptied_bytes, 0);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	must_have_range(fixture, 0, KEYS, 1);
	must_have_filled(fixture, HASHED, "one", 100000, 56);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
}

/* With little disk left it is rather the checkpoint that goes. */
static void test_scarce(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats;
	uint64_t size;

	must_put_range(fixture, 0, KEYS, 1);
	overwrite(fixture, 40);
	must_checkpoint(fixture);
	stats = stats_of(fixture);
	sim_env_set_capacity(fixture->sim,
		stats.disk_bytes + stats.checkpoint_bytes + 6 * SEGMENT_SIZE);
	overwrite(fixture, 200);
	assert_int_equal(stats_of(fixture).emptied_bytes, 0);
	assert_null(sim_env_bytes(fixture->sim, FORMAT_CHECKPOINT_NAME, &size));
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	must_have_range(fixture, 0, KEYS, 1);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void delete_range(struct fixture *fixture, unsigned from, unsigned to)
{
	char key[32];

	for (unsigned i = from; i < to; i++) {
		numbered_key(key, i);
		must_delete(fixture, i & 1, key);
	}
}

/*
 * What the snapshot sees of the first keys, and how many keys there are in all, a half of them
 * ordered.
 */
static void see_range(struct fixture *fixture, const char *name, unsigned to, unsigned round,
	unsigned keys)
{
	char key[32], value[128];
	struct kv_cursor *cursor;
	struct kv_view *view;
	struct kv_slice slice;
	unsigned count = 0;

	assert_int_equal(kv_snapshot_open(fixture->kv, name, &view), 0);
	for (unsigned i = 0; i < to; i++) {
		numbered_key(key, i);
		numbered_value(value, i, round);
		kv_read_begin(fixture->kv);
		assert_int_equal(kv_view_get(view, i & 1, key, strlen(key), &slice), 0);
		assert_int_equal(slice.size, strlen(value));
		assert_memory_equal(slice.data, value, slice.size);
		kv_read_end(fixture->kv);
	}
	assert_int_equal(kv_cursor_open_view(view, ORDERED, &cursor), 0);
	for (int error = kv_cursor_first(cursor); !error; error = kv_cursor_next(cursor))
		count++;
	assert_int_equal(count, keys / 2);
	kv_cursor_close(cursor);
	kv_view_close(view);
}

/* What a snapshot keeps is in it: overwritten, deleted, and the state before. */
static void test_snapshots(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats;
	uint64_t seq;
	char key[32];

	must_put_range(fixture, 0, 300, 1);
	assert_int_equal(kv_snapshot_create(fixture->kv, "a", &seq), 0);
	must_put_range(fixture, 0, 200, 2);
	delete_range(fixture, 100, 200);
	assert_int_equal(kv_snapshot_create(fixture->kv, "b", &seq), 0);
	must_put_range(fixture, 0, 50, 3);
	must_checkpoint(fixture);
	stats = stats_of(fixture);
	delete_range(fixture, 40, 60);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	assert_true(stats_of(fixture).recovered_batches <= 21);
	assert_int_equal(stats_of(fixture).versions, stats.versions + 10);
	see_range(fixture, "a", 300, 1, 300);
	see_range(fixture, "b", 100, 2, 200);
	must_have_range(fixture, 0, 40, 3);
	numbered_key(key, 45);
	must_lack(fixture, 45 & 1, key);
	must_check_clean(fixture);
	/* Without them, what they kept goes. */
	assert_int_equal(kv_snapshot_delete(fixture->kv, "a", &seq), 0);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	see_range(fixture, "b", 100, 2, 200);
	assert_int_equal(kv_snapshot_delete(fixture->kv, "b", &seq), 0);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(stats_of(fixture).versions, 0);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
}

/* What only a view kept is in nobody's way. */
static void test_views(void **state)
{
	struct fixture *fixture = *state;
	struct kv_view *view;

	must_put_range(fixture, 0, 300, 1);
	assert_int_equal(kv_view_open(fixture->kv, &view), 0);
	must_put_range(fixture, 0, 200, 2);
	delete_range(fixture, 100, 200);
	must_checkpoint(fixture);
	kv_view_close(view);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	assert_true(stats_of(fixture).recovered_batches <= 1);
	must_have_range(fixture, 0, 100, 2);
	must_have_range(fixture, 200, 300, 1);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(stats_of(fixture).versions, 0);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
}

/*
 * One that speaks of snapshots is of no use where their list is lost; the log is searched for them
 * instead.
 */
static void test_without_list(void **state)
{
	struct fixture *fixture = *state;
	uint64_t seq;

	must_put_range(fixture, 0, 300, 1);
	assert_int_equal(kv_snapshot_create(fixture->kv, "a", &seq), 0);
	must_put_range(fixture, 0, 200, 2);
	must_checkpoint(fixture);
	must_close(fixture);
	assert_int_equal(sim_env_resize(fixture->sim, FORMAT_SNAPSHOTS_NAME, 5), 0);
	must_open(fixture, KV_OPEN_INLINE);
	assert_true(fixture->errors > 0);
	see_range(fixture, "a", 300, 1, 300);
	must_have_range(fixture, 0, 200, 2);
	must_check_clean(fixture);
}

/*
 * One that speaks of snapshots does not open a store whose list is gone, or is that of before: what
 * they see would go with the next sweep, and nobody would be told.
 */
static void test_list_of_before(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *before = NULL;
	uint64_t seq, size, before_size = 0;

	for (unsigned way = 0; way < 2; way++) {
		const uint8_t *bytes;

		must_put_range(fixture, 0, 300, 1);
		assert_int_equal(kv_snapshot_create(fixture->kv, way ? "b" : "a", &seq), 0);
		must_put_range(fixture, 0, 200, 2);
		must_checkpoint(fixture);
		bytes = sim_env_bytes(fixture->sim, FORMAT_SNAPSHOTS_NAME, &size);
		assert_non_null(bytes);
		if (!before) {
			before_size = size;
			before = malloc(size);
			assert_non_null(before);
			memcpy(before, bytes, size);
			assert_int_equal(
				fixture->env->unlink(fixture->kv->dir, FORMAT_SNAPSHOTS_NAME), 0);
			assert_int_equal(fixture->env->dir_sync(fixture->kv->dir), 0);
		} else {
			assert_int_equal(sim_env_put_file(fixture->sim, FORMAT_SNAPSHOTS_NAME,
						 before, before_size),
				0);
		}
		must_crash(fixture, SIM_LOSS_NONE, KV_OPEN_INLINE);
		assert_true(fixture->errors > 0);
		see_range(fixture, way ? "b" : "a", 300, 1, 300);
		must_have_range(fixture, 0, 200, 2);
		must_check_clean(fixture);
	}
	free(before);
}

/* ---- versions that move ---------------------------------------------------------------------- */

#define MOVED_KEYS 12u
#define MOVED_SIZE 80000u

/* A snapshot sees records among garbage: compaction has to move them. */
static void make_movable(struct fixture *fixture, unsigned round)
{
	char key[32];

	for (unsigned i = 0; i < MOVED_KEYS; i++) {
		snprintf(key, sizeof(key), "seen %u", i);
		must_put_filled(fixture, i & 1, key, MOVED_SIZE, round + i);
		must_put_filled(fixture, HASHED, "garbage", MOVED_SIZE, round);
		must_put_filled(fixture, HASHED, "garbage", MOVED_SIZE, round);
	}
	if (round)
		assert_int_equal(kv_snapshot_delete(fixture->kv, "seen", NULL), 0);
	assert_int_equal(kv_snapshot_create(fixture->kv, "seen", NULL), 0);
	for (unsigned i = 0; i < MOVED_KEYS; i++) {
		snprintf(key, sizeof(key), "seen %u", i);
		must_put(fixture, i & 1, key, "small");
	}
	must_sync(fixture);
}

static void must_see_moved(struct fixture *fixture, unsigned round)
{
	static uint8_t expected[MOVED_SIZE];
	struct kv_slice found;
	struct kv_view *view;
	char key[32];

	assert_int_equal(kv_snapshot_open(fixture->kv, "seen", &view), 0);
	kv_read_begin(fixture->kv);
	for (unsigned i = 0; i < MOVED_KEYS; i++) {
		snprintf(key, sizeof(key), "seen %u", i);
		fill_bytes(expected, MOVED_SIZE, round + i);
		assert_int_equal(kv_view_get(view, i & 1, key, strlen(key), &found), 0);
		assert_int_equal(found.size, MOVED_SIZE);
		assert_memory_equal(found.data, expected, MOVED_SIZE);
	}
	kv_read_end(fixture->kv);
	kv_view_close(view);
}

/* Compaction moves all that it can, with the maintainer's lock. */
static void move_all(struct fixture *fixture)
{
	uint64_t moved = stats_of(fixture).relocated_bytes;
	int result;

	do
		result = compact_demand(fixture->kv, 10, UINT64_MAX);
	while (result > 0);
	assert_int_equal(result, 0);
	assert_true(stats_of(fixture).relocated_bytes > moved);
}

/* What moves between any two steps of the saving stands in the checkpoint where it is then. */
static void test_moved_meanwhile(void **state)
{
	struct fixture *fixture = *state;
	bool ended = false;

	for (unsigned steps = 0; !ended; steps++) {
		struct kv *kv;
		int result = 0;

		make_movable(fixture, steps);
		kv = fixture->kv;
		pthread_mutex_lock(&kv->maintain.lock);
		assert_int_equal(checkpoint_save_begin(kv, true), 0);
		for (unsigned i = 0; i < steps && !result; i++)
			result = checkpoint_save_step(kv);
		ended = result == 1;
		if (!ended)
			move_all(fixture);
		while (!result)
			result = checkpoint_save_step(kv);
		assert_int_equal(result, 1);
		compact_free_kept(kv);
		pthread_mutex_unlock(&kv->maintain.lock);
		must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
		if (fixture->errors)
			fail_msg("moved behind %u steps: %s", steps, fixture->last_error);
		must_see_moved(fixture, steps);
		must_check_clean(fixture);
	}
}

/* The nth chunk that has to do with versions; 0: there are less. */
static uint64_t find_chunk(struct fixture *fixture, unsigned n)
{
	const struct format_checkpoint_chunk *table;
	const struct format_checkpoint *header;
	uint64_t size;

	header = (const void *)sim_env_bytes(fixture->sim, FORMAT_CHECKPOINT_NAME, &size);
	assert_non_null(header);
	table = (const void *)((const uint8_t *)header +
			       (1 + header->chunks) * FORMAT_CHECKPOINT_CHUNK);
	for (uint64_t i = 0; i < header->chunks; i++) {
		bool counts = (table[i].section >= FORMAT_CHECKPOINT_VERSIONS &&
				      table[i].section <= FORMAT_CHECKPOINT_GHOSTS) ||
			      table[i].section >= FORMAT_CHECKPOINT_VERSION_BUCKETS;

		if (counts && n-- == 0)
			return (1 + i) * FORMAT_CHECKPOINT_CHUNK;
	}
	return 0;
}

/* Wherever the versions in it are damaged, nothing is lost: all of them are in the log. */
static void test_damaged_versions(void **state)
{
	struct fixture *fixture = *state;
	uint64_t seq, at;
	unsigned n;

	must_put_range(fixture, 0, 300, 1);
	assert_int_equal(kv_snapshot_create(fixture->kv, "a", &seq), 0);
	must_put_range(fixture, 0, 200, 2);
	delete_range(fixture, 100, 200);
	must_checkpoint(fixture);
	for (n = 0; (at = find_chunk(fixture, n)); n++) {
		must_close(fixture);
		assert_int_equal(sim_env_flip(fixture->sim, FORMAT_CHECKPOINT_NAME,
					 at + 8191 * (n + 1) % FORMAT_CHECKPOINT_CHUNK, n % 8),
			0);
		must_open(fixture, KV_OPEN_INLINE);
		assert_int_equal(fixture->errors, 1);
		assert_true(stats_of(fixture).recovered_batches > 500);
		see_range(fixture, "a", 300, 1, 300);
		must_have_range(fixture, 0, 100, 2);
		must_check_clean(fixture);
		must_checkpoint(fixture);
	}
	assert_true(n >= 3);
}

/* ---- many at once ---------------------------------------------------------------------------- */

#define WRITERS 3u
#define OWN_KEYS 30000u /* enough for the table to grow meanwhile */

struct crowd {
	struct fixture *fixture;
	atomic_uint number, running;
};

static int crowd_put(struct crowd *crowd, unsigned writer, unsigned i, unsigned round)
{
	char key[32], value[32];

	sprintf(key, "%u-%06u", writer, i * 7919u % 1000000u);
	sprintf(value, "%u", i + round);
	return kv_put(crowd->fixture->kv, i & 1, key, strlen(key), value, strlen(value), NULL);
}

/* New keys, of which every third is overwritten, and every fifth deleted, a while later. */
static void *write_thread(void *arg)
{
	struct crowd *crowd = arg;
	unsigned writer = atomic_fetch_add(&crowd->number, 1);
	char key[32];
	int error = 0;

	for (unsigned i = 0; i < OWN_KEYS + 1000 && !error; i++) {
		unsigned late = i - 1000;

		if (i < OWN_KEYS)
			error = crowd_put(crowd, writer, i, 0);
		if (i >= 1000 && late % 3 == 0 && !error)
			error = crowd_put(crowd, writer, late, 1);
		sprintf(key, "%u-%06u", writer, late * 7919u % 1000000u);
		if (i >= 1000 && late % 5 == 0 && !error)
			error = kv_delete(crowd->fixture->kv, late & 1, key, strlen(key), NULL);
	}
	atomic_fetch_sub(&crowd->running, 1);
	return error ? arg : NULL;
}

static void must_have_all(struct fixture *fixture)
{
	char key[32], value[32];

	for (unsigned writer = 0; writer < WRITERS; writer++) {
		for (unsigned i = 0; i < OWN_KEYS; i++) {
			sprintf(key, "%u-%06u", writer, i * 7919u % 1000000u);
			sprintf(value, "%u", i + (i % 3 == 0));
			if (i % 5 == 0)
				must_lack(fixture, i & 1, key);
			else
				must_have(fixture, i & 1, key, value);
		}
	}
}

static void test_beside_writers(void **state)
{
	struct fixture *fixture = *state;
	struct crowd crowd = {.fixture = fixture, .running = WRITERS};
	pthread_t writers[WRITERS];
	void *failed;
	int result;

	must_put_range(fixture, 0, 1000, 1);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, write_thread, &crowd), 0);
	while (atomic_load(&crowd.running) > 0) {
		result = kv_checkpoint(fixture->kv);
		assert_true(result == 0 || result == -EAGAIN);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(writers[i], &failed);
		assert_null(failed);
	}
	assert_true(stats_of(fixture).checkpoints > 0);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	assert_true(stats_of(fixture).recovered_batches < WRITERS * OWN_KEYS);
	must_have_all(fixture);
	must_have_range(fixture, 0, 1000, 1);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
}

/* ---- beside a stream --------------------------------------------------------------------------- */

#define LOOK_US 1000u
#define LOOKS_MAX 2000u

/* In the maintainer's place: microseconds until it is written, `most` at most. */
static uint64_t step_until_written(struct fixture *fixture, uint64_t most)
{
	struct kv *kv = fixture->kv;
	uint64_t written = atomic_load(&kv->checkpoints.written), us;

	for (us = 0; us < most && atomic_load(&kv->checkpoints.written) == written; us += LOOK_US) {
		sim_env_advance_us(fixture->sim, LOOK_US);
		checkpoint_step(kv);
	}
	return us;
}

/*
 * It does not write out, in the flushing thread's place, the segments that a stream has filled: it
 * ends when they are durable, or after a while all the same.
 */
static void test_end_waits(void **state)
{
	struct fixture *fixture = *state;
	struct kv *kv = fixture->kv;

	must_put_range(fixture, 0, KEYS, 1);
	pthread_mutex_lock(&kv->maintain.lock);
	kv->inline_maintenance = false; /* but without threads */
	atomic_fetch_add(&kv->log.hot.unsealed, 1);
	assert_int_equal(checkpoint_save_begin(kv, true), 0);
	while (!checkpoint_save_is_ending(kv))
		assert_int_equal(step_until_written(fixture, LOOK_US), LOOK_US);
	assert_int_equal(step_until_written(fixture, 50 * LOOK_US), 50 * LOOK_US);
	atomic_fetch_sub(&kv->log.hot.unsealed, 1);
	assert_true(step_until_written(fixture, 3 * LOOK_US) < 3 * LOOK_US);

	atomic_fetch_add(&kv->log.hot.unsealed, 1);
	assert_int_equal(checkpoint_save_begin(kv, true), 0);
	assert_in_range(step_until_written(fixture, LOOKS_MAX * LOOK_US), 50 * LOOK_US,
			(LOOKS_MAX - 1) * LOOK_US);
	atomic_fetch_sub(&kv->log.hot.unsealed, 1);
	kv->inline_maintenance = true;
	pthread_mutex_unlock(&kv->maintain.lock);
	must_have_range(fixture, 0, KEYS, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_only_what_is_behind),
		FIXTURE_TEST(test_again_and_again),
		FIXTURE_TEST(test_read_only),
		INLINE_TEST(test_always),
		INLINE_TEST(test_failing),
		INLINE_TEST(test_kept),
		INLINE_TEST(test_scarce),
		FIXTURE_TEST(test_snapshots),
		INLINE_TEST(test_views),
		INLINE_TEST(test_without_list),
		INLINE_TEST(test_list_of_before),
		INLINE_TEST(test_moved_meanwhile),
		INLINE_TEST(test_damaged_versions),
		FIXTURE_TEST(test_beside_writers),
		INLINE_TEST(test_end_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
