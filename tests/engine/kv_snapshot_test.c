/* SPDX-License-Identifier: MIT */
/*
 * kv_snapshot_test.c - what snapshots show after compaction has put records out of their order in
 * the log, and the log has been replayed in that order.
 */
#include "kv_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_late_tombstones),
		INLINE_TEST(test_late_tombstones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
