/* SPDX-License-Identifier: MIT */
/*
 * kv_condemned_test.c - large values that were replaced: what a snapshot holds of them, and that
 * all else comes back by itself.
 */
#include "kv_fixture.h"

#include <unistd.h>

#include "store.h"

#define BIG ((size_t)6 << 20)
#define OVERHEAD ((uint64_t)1 << 20) /* of all that is not a value */
#define PATIENCE_MS 60000u

static void must_put_big(struct fixture *fixture, const char *key, uint64_t seed)
{
	uint8_t *value = malloc(BIG);

	assert_non_null(value);
	fill_bytes(value, BIG, seed);
	assert_int_equal(kv_put(fixture->kv, HASHED, key, strlen(key), value, BIG, NULL), 0);
	free(value);
}

static void must_snapshot(struct fixture *fixture, const char *name)
{
	assert_int_equal(kv_snapshot_create(fixture->kv, name, NULL), 0);
}

static void must_show_big(struct fixture *fixture, const char *name, const char *key, uint64_t seed)
{
	uint8_t *value = malloc(BIG), *expected = malloc(BIG);
	struct kv_view *view;
	size_t done;

	assert_true(value && expected);
	fill_bytes(expected, BIG, seed);
	assert_int_equal(kv_snapshot_open(fixture->kv, name, &view), 0);
	assert_int_equal(kv_view_read(view, HASHED, key, strlen(key), 0, value, BIG, &done), 0);
	assert_int_equal(done, BIG);
	assert_memory_equal(value, expected, BIG);
	kv_view_close(view);
	free(value);
	free(expected);
}

/*
 * Fills the log's last segment until half of the next one is free: without the maintainer there is
 * none after that.
 */
static void make_room(struct fixture *fixture)
{
	uint32_t offset;

	do {
		must_put_filled(fixture, ORDERED, "filler", 100000, 9);
		must_sync(fixture);
		pthread_mutex_lock(&fixture->kv->log.lock);
		offset = fixture->kv->log.hot.offset;
		pthread_mutex_unlock(&fixture->kv->log.lock);
	} while (offset > SEGMENT_SIZE / 2);
}

/* Deletes a value and takes a snapshot before any of its pieces are gone. */
static void delete_and_snapshot(struct fixture *fixture, const char *key, const char *name)
{
	make_room(fixture);
	pthread_mutex_lock(&fixture->kv->maintain.lock);
	must_delete(fixture, HASHED, key);
	assert_true(stats_of(fixture).condemned_bytes >= BIG);
	must_snapshot(fixture, name);
	pthread_mutex_unlock(&fixture->kv->maintain.lock);
}

static void must_hold(struct fixture *fixture, uint64_t bytes)
{
	struct kv_stats stats;

	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	stats = stats_of(fixture);
	assert_int_equal(stats.pieces, 0);
	assert_int_equal(stats.condemned_bytes, 0);
	assert_in_range(stats.kept_bytes, bytes, bytes + OVERHEAD);
	assert_in_range(stats.live_bytes, bytes, bytes + OVERHEAD);
}

/*
 * What was condemned when the snapshot was taken is not the snapshot's; also not when the log says
 * so again.
 */
static void test_condemned_before(void **state)
{
	struct fixture *fixture = *state;

	must_put_big(fixture, "k", 1);
	must_sync(fixture);
	delete_and_snapshot(fixture, "k", "after");
	must_hold(fixture, 0);
	must_close(fixture);
	must_open(fixture, 0);
	must_hold(fixture, 0);
	must_check_clean(fixture);
}

/*
 * What a snapshot sees stays whole beside one that does not, in every form: as it is, replayed,
 * copied.
 */
static void test_condemned_between(void **state)
{
	struct fixture *fixture = *state;

	must_put_big(fixture, "k", 2);
	must_snapshot(fixture, "before");
	must_sync(fixture);
	delete_and_snapshot(fixture, "k", "after");
	must_hold(fixture, BIG);
	must_show_big(fixture, "before", "k", 2);
	must_close(fixture);
	must_open(fixture, 0);
	must_show_big(fixture, "before", "k", 2);
	must_hold(fixture, BIG);
	must_check_clean(fixture);
	assert_int_equal(kv_snapshot_delete(fixture->kv, "before", NULL), 0);
	must_hold(fixture, 0);
	must_check_clean(fixture);
}

/* With nobody there any more to kick it, the store gives back what a deleted snapshot held. */
static void test_space_comes_back_by_itself(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats;
	unsigned ms = 0;

	must_put_big(fixture, "k", 3);
	must_snapshot(fixture, "s");
	must_put_big(fixture, "k", 4);
	must_put_big(fixture, "k", 5);
	must_snapshot(fixture, "t");
	must_delete(fixture, HASHED, "k");
	assert_int_equal(kv_snapshot_delete(fixture->kv, "s", NULL), 0);
	assert_int_equal(kv_snapshot_delete(fixture->kv, "t", NULL), 0);
	must_sync(fixture);
	while ((stats = stats_of(fixture)).log_bytes > BIG && ms++ < PATIENCE_MS)
		usleep(1000);
	assert_in_range(stats.log_bytes, 0, BIG);
	must_check_clean(fixture);
}

/* Statistics can be read whatever is going on. */
static void test_statistics_wait_for_nothing(void **state)
{
	struct fixture *fixture = *state;

	pthread_mutex_lock(&fixture->kv->maintain.lock);
	assert_int_equal(stats_of(fixture).pieces, 0);
	pthread_mutex_unlock(&fixture->kv->maintain.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_condemned_before),
		FIXTURE_TEST(test_condemned_between),
		FIXTURE_TEST(test_space_comes_back_by_itself),
		FIXTURE_TEST(test_statistics_wait_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
