/* SPDX-License-Identifier: MIT */
/*
 * kv_trim_test.c - what a store keeps on the disk when nobody writes to it, and when it is closed.
 */
#include "kv_fixture.h"

#include <unistd.h>

#include "compact_pick.h"
#include "log.h"
#include "maintain.h"
#include "store.h"
#include "trim.h"

#define VALUE 100000u
#define PATIENCE_MS 60000u
#define LONG_AGO_US 40000000u

static void fill(struct fixture *fixture, unsigned count)
{
	char key[20];
	unsigned i;

	for (i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_put_filled(fixture, HASHED, key, VALUE, i);
	}
	must_sync(fixture);
}

static void must_have_all(struct fixture *fixture, unsigned count)
{
	char key[20];
	unsigned i;

	for (i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_have_filled(fixture, HASHED, key, VALUE, i);
	}
}

struct files {
	unsigned segments, unused;
};

static int count_file(void *arg, const char *name)
{
	struct files *files = arg;

	files->segments += !strncmp(name, "seg-", 4);
	files->unused += !strncmp(name, "free-", 5);
	return 0;
}

static struct files files_of(struct fixture *fixture)
{
	struct files files = {0};
	struct env_dir *dir;

	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(fixture->env->dir_list(dir, count_file, &files), 0);
	fixture->env->dir_close(dir);
	return files;
}

/* Closed, it is its log. */
static void test_closed(void **state)
{
	struct fixture *fixture = *state;
	struct files files;

	must_close(fixture);
	files = files_of(fixture);
	assert_int_equal(files.segments, 1);
	assert_int_equal(files.unused, 0);
	must_open(fixture, 0);
	fill(fixture, 45);
	must_close(fixture);
	files = files_of(fixture);
	/*
	 * 4.3 MiB in segments of 1 MiB; where the last one is left almost full one more may have
	 * been begun.
	 */
	assert_in_range(files.segments, 5, 6);
	assert_int_equal(files.unused, 0);
	must_open(fixture, 0);
	must_have_all(fixture, 45);
	must_check_clean(fixture);
}

/*
 * Of the last segment what stands there and a bit more than an eighth of a segment, all of the
 * others, and nothing else.
 */
static bool is_at_rest(struct fixture *fixture, unsigned segments_max)
{
	struct kv *kv = fixture->kv;
	struct kv_stats stats;
	uint64_t tail;
	bool at_rest;

	pthread_mutex_lock(&kv->maintain.lock);
	kv_stats(kv, &stats);
	pthread_mutex_lock(&kv->log.lock);
	tail = kv->log.hot.offset + SEGMENT_SIZE / 6;
	if (tail > SEGMENT_SIZE * 3 / 4)
		tail = SEGMENT_SIZE;
	at_rest = kv->maintain.rest.depth == 2 && !kv->log.spare_count &&
		  stats.segments <= segments_max &&
		  stats.disk_bytes <= (stats.segments - 1) * SEGMENT_SIZE + tail + 4096;
	kv->maintain.rest.since_us = kv->env->clock_us(kv->env) - LONG_AGO_US;
	pthread_mutex_unlock(&kv->log.lock);
	pthread_mutex_unlock(&kv->maintain.lock);
	return at_rest;
}

/*
 * As if nothing had happened for a while; at its end garbage has been seen to as well, however slow
 * that is.
 */
static void rest(struct fixture *fixture, unsigned segments_max)
{
	unsigned ms = 0;

	while (!is_at_rest(fixture, segments_max)) {
		assert_true(ms++ < PATIENCE_MS);
		maintain_kick(fixture->kv);
		usleep(1000);
	}
}

/* The same without a look at what is left. */
static void rest_long(struct fixture *fixture)
{
	struct kv *kv = fixture->kv;
	unsigned ms = 0;
	bool rests;

	/* It may not have seen what happened since it rested before. */
	pthread_mutex_lock(&kv->maintain.lock);
	kv->maintain.rest.depth = 0;
	pthread_mutex_unlock(&kv->maintain.lock);
	do {
		assert_true(ms++ < PATIENCE_MS);
		pthread_mutex_lock(&kv->maintain.lock);
		rests = kv->maintain.rest.depth == 2;
		kv->maintain.rest.since_us = kv->env->clock_us(kv->env) - LONG_AGO_US;
		pthread_mutex_unlock(&kv->maintain.lock);
		maintain_kick(kv);
		usleep(1000);
	} while (!rests);
}

static bool is_trimmed(struct fixture *fixture)
{
	bool is;

	pthread_mutex_lock(&fixture->kv->log.lock);
	is = fixture->kv->log.hot.trimmed;
	pthread_mutex_unlock(&fixture->kv->log.lock);
	return is;
}

static void set_full(struct fixture *fixture, bool full)
{
	uint64_t avail, total;

	sim_env_set_capacity(fixture->sim, (uint64_t)1 << 30);
	assert_int_equal(fixture->env->dir_space(fixture->kv->dir, &avail, &total), 0);
	if (full)
		sim_env_set_capacity(fixture->sim, total - avail);
}

static void put_small(struct fixture *fixture, unsigned count)
{
	char key[20];
	unsigned i;

	for (i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "small %u", i);
		must_put_filled(fixture, HASHED, key, 3000, i);
	}
}

/*
 * Who changes little after a rest waits for nothing; who changes much goes on in the same segment.
 */
static void test_goes_on_behind_a_hole(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats;
	uint64_t waits;
	unsigned turn;

	/* In the same segment all the time. */
	for (turn = 0; turn < 2; turn++) {
		fill(fixture, 2);
		rest(fixture, 3);
		assert_true(is_trimmed(fixture));
		waits = stats_of(fixture).waits;
		put_small(fixture, 3);
		must_sync(fixture);
		assert_true(is_trimmed(fixture));
		assert_int_equal(stats_of(fixture).waits, waits);
		put_small(fixture, 60);
		assert_false(is_trimmed(fixture));
		stats = stats_of(fixture);
		assert_in_range(stats.segments, 1, 2);
		if (turn) {
			must_close(fixture);
			must_open(fixture, 0);
		} else {
			must_sync(fixture);
			must_crash(fixture, SIM_LOSS_ANY, 0);
		}
		must_have_all(fixture, 2);
		must_check_clean(fixture);
	}
}

/*
 * While it rested others have filled the disk: what frees goes on, all else is refused, and nothing
 * is lost.
 */
static void test_disk_is_full_behind_a_hole(void **state)
{
	struct fixture *fixture = *state;
	uint8_t value[60000] = {0};
	unsigned turn, i;

	for (turn = 0; turn < 3; turn++) {
		must_close(fixture);
		must_open(fixture, 0);
		fill(fixture, 2);
		put_small(fixture, 3);
		rest(fixture, 3);
		assert_true(is_trimmed(fixture));
		set_full(fixture, true);
		/* Also as one that was closed, or killed, finds it. */
		if (turn == 1) {
			must_close(fixture);
			must_open(fixture, 0);
		} else if (turn == 2) {
			must_crash(fixture, SIM_LOSS_NONE, 0);
		}
		for (i = 0; i < 4 &&
			    !kv_put(fixture->kv, HASHED, "much", 4, value, sizeof(value), NULL);
			i++)
			;
		assert_in_range(i, 0, 3);
		assert_int_equal(kv_put(fixture->kv, HASHED, "more", 4, value, sizeof(value), NULL),
			-ENOSPC);
		must_delete(fixture, HASHED, "small 1");
		must_sync(fixture);
		must_have_all(fixture, 2);
		set_full(fixture, false);
		must_put(fixture, HASHED, "small 1", "again");
		put_small(fixture, 100);
		must_sync(fixture);
		must_crash(fixture, SIM_LOSS_ALL, 0);
		must_have_all(fixture, 2);
		must_check_clean(fixture);
	}
	assert_int_equal(fixture->errors, 0);
}

#define TINY 3000u

static void put_tiny(struct fixture *fixture)
{
	char key[20];
	unsigned i;

	for (i = 0; i < TINY; i++) {
		snprintf(key, sizeof(key), "tiny %u", i);
		must_put(fixture, HASHED, key, "");
	}
}

/* From `from` on; until the disk is full, or so many. Returns the next one. */
static unsigned delete_tiny(struct fixture *fixture, unsigned from, unsigned count)
{
	char key[20];
	unsigned i;
	int error = 0;

	for (i = from; i < TINY && i < from + count; i++) {
		snprintf(key, sizeof(key), "tiny %u", i);
		error = kv_delete(fixture->kv, HASHED, key, strlen(key), NULL);
		if (error)
			break;
	}
	if (error)
		assert_int_equal(error, -ENOSPC);
	return i;
}

/* Where the space did not come back the segment stays short, however often the store rests. */
static void test_stays_short(void **state)
{
	struct fixture *fixture = *state;
	uint8_t value[60000] = {0};
	unsigned next;

	put_tiny(fixture);
	fill(fixture, 1);
	rest_long(fixture);
	assert_true(is_trimmed(fixture));
	set_full(fixture, true);
	assert_int_equal(
		kv_put(fixture->kv, HASHED, "much", 4, value, sizeof(value), NULL), -ENOSPC);
	assert_false(is_trimmed(fixture));
	set_full(fixture, false);
	must_put_filled(fixture, HASHED, "more", 8000, 0);
	rest_long(fixture);
	set_full(fixture, true);
	next = delete_tiny(fixture, 0, TINY);
	assert_in_range(next, SEGMENT_SIZE / LOG_RESERVE_DIVISOR / 100, TINY - 1);
	must_sync(fixture);
	must_have_all(fixture, 1);
	set_full(fixture, false);
	assert_int_equal(delete_tiny(fixture, next, TINY), TINY);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
}

/*
 * What is left of the reserve is there after opening as well, on a disk that is as full as it was.
 */
static void test_reserve_is_found_again(void **state)
{
	struct fixture *fixture = *state;
	unsigned next = 0, before, turn;

	put_tiny(fixture);
	fill(fixture, 1);
	rest_long(fixture);
	assert_true(is_trimmed(fixture));
	set_full(fixture, true);
	for (turn = 0; turn < 2; turn++) {
		/* More than the slack, in all. */
		before = next;
		next = delete_tiny(fixture, next, SEGMENT_SIZE / 32 / 32);
		assert_int_equal(next, before + SEGMENT_SIZE / 32 / 32);
		if (turn) {
			must_sync(fixture);
			must_crash(fixture, SIM_LOSS_NONE, 0);
		} else {
			must_close(fixture);
			must_open(fixture, 0);
		}
		assert_int_equal(delete_tiny(fixture, next, 1), next + 1);
		next++;
		must_sync(fixture);
	}
	set_full(fixture, false);
	assert_int_equal(delete_tiny(fixture, next, TINY), TINY);
	must_have_all(fixture, 1);
	must_check_clean(fixture);
}

/* The last segment has no space that the store does not know of. */
static void must_know_space(struct fixture *fixture)
{
	struct kv *kv = fixture->kv;
	struct segment *segment = kv->log.hot.active;
	uint64_t allocated;

	assert_int_equal(fixture->env->file_allocated(segment->file, &allocated), 0);
	assert_int_equal(allocated, SEGMENT_SIZE - segment->hole);
	assert_true(kv->log.hot.limit + FORMAT_RECORD_HEADER_SIZE <= allocated);
}

/* A disk that has not enough for the rest of the segment has it back. */
static void test_a_part_is_given_back(void **state)
{
	struct fixture *fixture = *state;
	uint8_t value[60000] = {0};
	uint64_t avail, left, total;
	unsigned turn;

	fill(fixture, 1);
	for (turn = 0; turn < 12; turn++) {
		must_put(fixture, HASHED, "turn", "");
		rest_long(fixture);
		assert_true(is_trimmed(fixture));
		set_full(fixture, true);
		assert_int_equal(fixture->env->dir_space(fixture->kv->dir, &avail, &total), 0);
		sim_env_set_capacity(fixture->sim, total + 20 * ENV_DIRECT_ALIGN);
		assert_int_equal(fixture->env->dir_space(fixture->kv->dir, &avail, &total), 0);
		if (turn % 2) {
			must_crash(fixture, SIM_LOSS_NONE, 0);
			must_delete(fixture, HASHED, "turn");
		} else {
			assert_int_equal(
				kv_put(fixture->kv, HASHED, "much", 4, value, sizeof(value), NULL),
				-ENOSPC);
			assert_int_equal(
				fixture->env->dir_space(fixture->kv->dir, &left, &total), 0);
			assert_true(left >= avail);
		}
		must_know_space(fixture);
		set_full(fixture, false);
		must_have_all(fixture, 1);
		must_close(fixture);
		must_open(fixture, 0);
	}
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
}

/* Five of them in a segment, whose end is not used. */
#define BIG 176000u
#define BIG_A_SEGMENT 5u

static void put_big(struct fixture *fixture, unsigned from, unsigned to)
{
	char key[20];
	unsigned i;

	for (i = from; i < to; i++) {
		snprintf(key, sizeof(key), "big %u", i);
		must_put_filled(fixture, HASHED, key, BIG, i);
	}
	must_sync(fixture);
}

static void delete_big(struct fixture *fixture, unsigned from, unsigned to)
{
	char key[20];
	unsigned i;

	for (i = from; i < to; i++) {
		snprintf(key, sizeof(key), "big %u", i);
		must_delete(fixture, HASHED, key);
	}
	must_sync(fixture);
}

static bool has_victim(struct fixture *fixture)
{
	struct kv *kv = fixture->kv;
	bool has;

	pthread_mutex_lock(&kv->maintain.lock);
	has = compact_pick_for_space(kv, 0, UINT64_MAX);
	pthread_mutex_unlock(&kv->maintain.lock);
	return has;
}

/*
 * Nothing is copied to where there is no space; nor out of a file that is no new segment, on a full
 * disk.
 */
static void test_picks_what_has_room(void **state)
{
	struct fixture *fixture = *state;
	char key[20];
	unsigned i;

	/*
	 * A third of the first segment is needed: as much as fits in the last one, while it is
	 * whole.
	 */
	fill(fixture, 11);
	for (i = 0; i < 7; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_delete(fixture, HASHED, key);
	}
	must_sync(fixture);
	assert_true(has_victim(fixture));
	rest_long(fixture);
	assert_true(is_trimmed(fixture));
	assert_false(has_victim(fixture));
}

static void test_picks_what_has_no_hole(void **state)
{
	struct fixture *fixture = *state;

	put_big(fixture, 0, BIG_A_SEGMENT + 1);
	delete_big(fixture, 1, BIG_A_SEGMENT);
	rest_long(fixture);
	assert_true(is_trimmed(fixture));
	/* The last segment is whole again, the first one is not. */
	fill(fixture, 1);
	assert_false(is_trimmed(fixture));
	assert_true(has_victim(fixture));
	set_full(fixture, true);
	assert_false(has_victim(fixture));
	set_full(fixture, false);
	assert_true(has_victim(fixture));
	must_check_clean(fixture);
}

/*
 * Of what several emptied segments with holes gave back new ones become, where nothing else is
 * left.
 */
static void test_parts_become_segments(void **state)
{
	struct fixture *fixture = *state;
	unsigned i;

	put_big(fixture, 0, 4 * BIG_A_SEGMENT + 1);
	rest_long(fixture);
	assert_true(is_trimmed(fixture));
	set_full(fixture, true);
	delete_big(fixture, 0, 4 * BIG_A_SEGMENT);
	for (i = 0; i < 3; i++)
		must_put_filled(fixture, HASHED, "new", BIG, i);
	must_sync(fixture);
	must_have_filled(fixture, HASHED, "new", BIG, 2);
	set_full(fixture, false);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
}

/*
 * Puts ask for the space behind a cut before they come into the reserve, though a spare is there.
 */
static void test_spare_behind_a_cut(void **state)
{
	struct fixture *fixture = *state;
	struct kv *kv = fixture->kv;
	struct log *log = &kv->log;
	unsigned ms, puts = 0;
	bool done, kept;
	char key[20];

	/*
	 * Beyond three quarters of the segment, so one spare stays when it has rested for a while.
	 */
	fill(fixture, 7);
	must_put_filled(fixture, HASHED, "a bit", 95000, 0);
	for (done = false, ms = 0; !done; ms++) {
		assert_true(ms < PATIENCE_MS);
		pthread_mutex_lock(&log->lock);
		done = log->spares && !log->spare_wanted;
		pthread_mutex_unlock(&log->lock);
		usleep(1000);
	}
	pthread_mutex_lock(&kv->maintain.lock);
	kv->maintain.rest.activity = atomic_load(&log->hot.appended_bytes) +
				     atomic_load(&kv->relocated_bytes) + atomic_load(&kv->victims);
	kv->maintain.rest.depth = 0;
	kv->maintain.rest.since_us = kv->env->clock_us(kv->env) - LONG_AGO_US / 8;
	trim_step(kv);
	pthread_mutex_unlock(&kv->maintain.lock);
	assert_true(is_trimmed(fixture));
	assert_non_null(log->spares);
	for (done = false; !done; puts++) {
		snprintf(key, sizeof(key), "key %u", puts);
		must_put_filled(fixture, HASHED, key, 500, puts);
		pthread_mutex_lock(&log->lock);
		done = !log->hot.trimmed;
		kept = done ||
		       log->hot.offset + SEGMENT_SIZE / LOG_RESERVE_DIVISOR <= log->hot.limit;
		pthread_mutex_unlock(&log->lock);
		assert_true(kept);
	}
	assert_in_range(puts, 1, SEGMENT_SIZE / LOG_RESERVE_DIVISOR / 500);
	must_check_clean(fixture);
}

/* A file system that can give nothing back keeps all of it. */
static void test_nothing_can_be_given_back(void **state)
{
	struct fixture *fixture = *state;
	unsigned segments;

	sim_env_fail(fixture->sim, SIM_FAULT_RELEASE, 1, UINT64_MAX / 2, -EOPNOTSUPP);
	fill(fixture, 2);
	segments = (unsigned)stats_of(fixture).segments;
	must_close(fixture);
	must_open(fixture, 0);
	fill(fixture, 2);
	rest_long(fixture);
	assert_false(is_trimmed(fixture));
	assert_int_equal(fixture->kv->log.hot.limit, SEGMENT_SIZE - FORMAT_RECORD_HEADER_SIZE);
	put_small(fixture, 60);
	assert_in_range(stats_of(fixture).segments, 1, segments + 1);
	must_have_all(fixture, 2);
	must_check_clean(fixture);
}

#define FAILURES_FILL 6u /* of fill: more than half of a segment */
#define FAILURES_PUTS 40u

static void make_spare(struct fixture *fixture)
{
	struct kv *kv = fixture->kv;
	unsigned i;

	fill(fixture, FAILURES_FILL);
	for (i = 0; !kv->log.spares; i++) {
		assert_true(i < FAILURES_PUTS);
		must_put_filled(fixture, HASHED, "more", VALUE / 2, i);
	}
	must_sync(fixture);
}

static void trim_all(struct fixture *fixture)
{
	struct kv *kv = fixture->kv;

	pthread_mutex_lock(&kv->maintain.lock);
	trim_step(kv); /* sees what has happened until now */
	kv->maintain.rest.depth = 1;
	kv->maintain.rest.since_us = kv->env->clock_us(kv->env) - LONG_AGO_US;
	trim_step(kv);
	pthread_mutex_unlock(&kv->maintain.lock);
}

static void hear_what_stays(void *arg, enum kv_severity severity, const char *message)
{
	unsigned *stays = arg;

	*stays += severity == KV_INFO && !!strstr(message, "spare segments stay");
}

/*
 * A spare segment could not be given back, by closing or at rest: nobody knows whether it is in the
 * log still. So that is final; and the store opens again, misses nothing, and has all of it.
 */
static void test_giving_back_fails(void **state)
{
	static const enum sim_fault faults[] = {SIM_FAULT_RENAME, SIM_FAULT_DIR_SYNC};
	struct fixture *fixture = *state;
	unsigned turn;

	for (turn = 0; turn < 4; turn++) {
		unsigned stays = 0;

		make_spare(fixture);
		fixture->kv->report = hear_what_stays;
		fixture->kv->report_arg = &stays;
		sim_env_fail(fixture->sim, faults[turn % 2], 1, 1, -EIO);
		if (turn / 2) {
			trim_all(fixture);
			assert_int_equal(kv_put(fixture->kv, HASHED, "x", 1, "y", 1, NULL), -EROFS);
		}
		kv_close(fixture->kv);
		fixture->kv = NULL;
		assert_int_equal(stays, turn < 2);
		sim_env_fail(fixture->sim, faults[turn % 2], 0, 0, 0);
		assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ANY), 0);
		must_open(fixture, KV_OPEN_INLINE);
		if (fixture->errors)
			fail_msg("turn %u: %s", turn, fixture->last_error);
		must_have_all(fixture, FAILURES_FILL);
		must_check_clean(fixture);
	}
}

/* At rest likewise; and then it goes on. */
static void test_at_rest(void **state)
{
	struct fixture *fixture = *state;
	unsigned i;

	for (i = 0; i < 3; i++) {
		fill(fixture, 45);
		must_sync(fixture);
		rest(fixture, 12);
		/* Twice what is needed at most, as garbage, and the log's end. */
		assert_in_range(stats_of(fixture).segments, 5, 12);
	}
	must_have_all(fixture, 45);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	must_have_all(fixture, 45);
	must_check_clean(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_closed),
		FIXTURE_TEST(test_at_rest),
		FIXTURE_TEST(test_goes_on_behind_a_hole),
		FIXTURE_TEST(test_disk_is_full_behind_a_hole),
		FIXTURE_TEST(test_stays_short),
		FIXTURE_TEST(test_reserve_is_found_again),
		FIXTURE_TEST(test_a_part_is_given_back),
		FIXTURE_TEST(test_picks_what_has_room),
		FIXTURE_TEST(test_picks_what_has_no_hole),
		FIXTURE_TEST(test_parts_become_segments),
		FIXTURE_TEST(test_spare_behind_a_cut),
		FIXTURE_TEST(test_nothing_can_be_given_back),
		INLINE_TEST(test_giving_back_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
