/* SPDX-License-Identifier: MIT */
/*
 * kv_snapshot_test.c - what snapshots show after compaction has put records out of their order in
 * the log, and the log has been replayed in that order.
 */
#include "kv_fixture.h"

#include "compact.h"
#include "maintain.h"
#include "snapshot.h"

#define FILLER_SIZE 10000u
#define FILLERS 130u /* more than a segment */

static void snapshot(struct fixture *fixture, const char *name)
{
	assert_int_equal(kv_snapshot_create(fixture->kv, name, NULL), 0);
}

static void put_both(struct fixture *fixture, const char *key, const char *value)
{
	must_put(fixture, HASHED, key, value);
	must_put(fixture, ORDERED, key, value);
}

static void delete_both(struct fixture *fixture, const char *key)
{
	must_delete(fixture, HASHED, key);
	must_delete(fixture, ORDERED, key);
}

/* More than a segment that will be needed for good. */
static void fill(struct fixture *fixture, const char *name)
{
	char key[32];

	for (unsigned i = 0; i < FILLERS; i++) {
		snprintf(key, sizeof(key), "%s-%u", name, i);
		must_put_filled(fixture, HASHED, key, FILLER_SIZE, i);
	}
}

/* More than a segment of garbage, but for its last record. */
static void waste(struct fixture *fixture)
{
	for (unsigned i = 0; i < FILLERS; i++)
		must_put_filled(fixture, HASHED, "waste", FILLER_SIZE, i);
}

/* At the snapshot `a` and `b` have these values, or are not there: NULL. */
static void shows(struct fixture *fixture, const char *name, const char *a, const char *b)
{
	const char *keys[] = {"a", "b"}, *values[] = {a, b};
	struct kv_cursor *cursor;
	struct kv_slice found;
	struct kv_view *view;

	assert_int_equal(kv_snapshot_open(fixture->kv, name, &view), 0);
	assert_int_equal(kv_cursor_open_view(view, ORDERED, &cursor), 0);
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned keyspace = HASHED; keyspace <= ORDERED; keyspace++) {
			bool same = true;
			int result;

			/* No failure in between: closing would wait for this reader for ever. */
			kv_read_begin(fixture->kv);
			result = kv_view_get(view, keyspace, keys[i], 1, &found);
			if (!result && values[i])
				same = !memcmp(found.data, values[i], strlen(values[i]));
			kv_read_end(fixture->kv);
			assert_int_equal(result, values[i] ? 0 : -ENOENT);
			assert_true(same);
		}
		assert_int_equal(kv_cursor_seek(cursor, keys[i], 1),
			values[i] || (i == 0 && b) ? 0 : -ENOENT);
		if (values[i])
			assert_memory_equal(kv_cursor_key(cursor).data, keys[i], 1);
	}
	kv_cursor_close(cursor);
	kv_view_close(view);
}

static void all_show(struct fixture *fixture)
{
	shows(fixture, "before", "one", "one");
	shows(fixture, "deleted", NULL, NULL);
	shows(fixture, "again", "two", "two");
	shows(fixture, "end", "two", NULL);
}

/*
 * Of `a`, the second value is copied to where it is replayed before the first and the tombstone
 * between them; of `b`, the tombstone is copied to behind the second value and the next tombstone.
 * Both times it is the tombstone that tells how long the first value was there.
 */
static void test_late_tombstones(void **state)
{
	struct fixture *fixture = *state;
	struct kv_prune_options options = {.garbage_percent = 50};

	/* something to copy, so that there is a segment for copies, which is replayed as of now */
	put_both(fixture, "0", "early");
	waste(fixture);
	waste(fixture);
	assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
	put_both(fixture, "a", "one");
	put_both(fixture, "b", "one");
	snapshot(fixture, "before");
	delete_both(fixture, "a");
	fill(fixture, "first");
	waste(fixture);
	delete_both(fixture, "b");
	snapshot(fixture, "deleted");
	put_both(fixture, "a", "two");
	waste(fixture);
	fill(fixture, "second");
	put_both(fixture, "b", "two");
	snapshot(fixture, "again");
	fill(fixture, "third");
	delete_both(fixture, "b");
	snapshot(fixture, "end");
	fill(fixture, "fourth");
	all_show(fixture);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
		all_show(fixture);
		must_sync(fixture);
		must_crash(fixture, SIM_LOSS_ALL, 0);
		all_show(fixture);
		must_check_clean(fixture);
		waste(fixture);
	}
}

#define KEPT 200u /* of FILLER_SIZE: more than two segments, with what is garbage between */

/* Until copies have filled a cold segment and go on in another one. */
static void fill_cold_segment(struct kv *kv)
{
	uint64_t first_id = 0;
	int result = 1;

	while (result == 1 && (!first_id || kv->cold.last_id == first_id)) {
		pthread_mutex_lock(&kv->maintain.lock);
		result = compact_demand(kv, 10, UINT64_MAX);
		pthread_mutex_unlock(&kv->maintain.lock);
		first_id = first_id ? first_id : kv->cold.last_id;
	}
	assert_int_equal(result, 1);
}

/*
 * What is kept for a snapshot is copied with the number of the batch that ended it. Once the cold
 * segment is closed that batch is durable; else another one would get its number, and the next
 * snapshot miss what it replaced.
 */
static void test_ended_by_what_is_not_durable(void **state)
{
	struct fixture *fixture = *state;
	char key[32], before[KEPT];
	struct kv_slice value;
	struct kv_view *view;

	for (unsigned i = 0; i < KEPT; i++) {
		snprintf(key, sizeof(key), "kept-%u", i);
		must_put_filled(fixture, HASHED, key, FILLER_SIZE, i);
		must_put_filled(fixture, HASHED, "waste", FILLER_SIZE / 3, i);
	}
	snapshot(fixture, "first");
	/* Else compaction saves the list, and syncs the log for that. */
	assert_int_equal(snapshots_save_all(fixture->kv), 0);
	for (unsigned i = 0; i < KEPT; i++) {
		snprintf(key, sizeof(key), "kept-%u", i);
		must_put(fixture, HASHED, key, "new");
	}
	fill_cold_segment(fixture->kv);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	for (unsigned i = 0; i < KEPT; i++) {
		snprintf(key, sizeof(key), "kept-%u", i);
		kv_read_begin(fixture->kv);
		assert_int_equal(kv_get(fixture->kv, HASHED, key, strlen(key), &value), 0);
		before[i] = value.size == 3;
		kv_read_end(fixture->kv);
	}
	for (unsigned i = 0; i < KEPT; i++)
		must_put(fixture, HASHED, "other", "value");
	snapshot(fixture, "second");
	for (unsigned i = 0; i < KEPT; i++) {
		snprintf(key, sizeof(key), "kept-%u", i);
		must_put(fixture, HASHED, key, "newest");
	}
	assert_int_equal(kv_snapshot_open(fixture->kv, "second", &view), 0);
	kv_read_begin(fixture->kv);
	for (unsigned i = 0; i < KEPT; i++) {
		snprintf(key, sizeof(key), "kept-%u", i);
		assert_int_equal(kv_view_get(view, HASHED, key, strlen(key), &value), 0);
		assert_int_equal(value.size, before[i] ? 3 : FILLER_SIZE);
	}
	kv_read_end(fixture->kv);
	kv_view_close(view);
	must_check_clean(fixture);
}

/*
 * The list in its file knows of a batch that damage has taken from the log. It is written anew: what
 * is done from then on, under the same numbers, counts.
 */
static void test_list_of_what_is_lost(void **state)
{
	struct fixture *fixture = *state;
	struct kv_view *view;
	uint32_t end;

	put_both(fixture, "a", "1");
	snapshot(fixture, "lost");
	assert_int_equal(snapshots_save_all(fixture->kv), 0);
	end = fixture->kv->log.hot.offset;
	sim_env_cut(fixture->sim);
	kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000000", end - 1, 0), 0);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(kv_snapshot_open(fixture->kv, "lost", &view), -ENOENT);
	snapshot(fixture, "new");
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	shows(fixture, "new", "1", NULL);
}

/* What a snapshot saw that the log turns out to delete takes no room when the store is opened. */
static void test_nothing_kept_for_the_deleted(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats;

	put_both(fixture, "a", "1");
	snapshot(fixture, "s");
	assert_int_equal(snapshots_save_all(fixture->kv), 0);
	put_both(fixture, "a", "2");
	assert_int_equal(kv_snapshot_delete(fixture->kv, "s", NULL), 0);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	maintain_round(fixture->kv);
	stats = stats_of(fixture);
	assert_int_equal(stats.versions, 0);
	assert_int_equal(stats.kept_bytes, 0);
	must_check_clean(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_nothing_kept_for_the_deleted),
		FIXTURE_TEST(test_late_tombstones),
		INLINE_TEST(test_late_tombstones),
		INLINE_TEST(test_ended_by_what_is_not_durable),
		INLINE_TEST(test_list_of_what_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
