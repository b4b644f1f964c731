/* SPDX-License-Identifier: MIT */
/*
 * kv_quota_test.c - limits that the disk does not show until they are met: a quota, and how many
 * files may be open. What takes more is refused with the limit's own error and nothing of it is
 * made; deleting goes on, and what it frees can be used again.
 */
#include "kv_fixture.h"

#include "maintain.h"
#include "reserve.h"
#include "segment_file.h"
#include "store.h"

#define SMALL_SIZE 500u /* too many for their tombstones to fit into 1/16 of a segment */
#define QUOTA (12 * (uint64_t)SEGMENT_SIZE)
#define REST_US 40000000u
#define REST_TURNS 3u
#define LONG_KEY_SIZE 65000u
#define VALUE_SIZE 100u
#define LIVES_MAX 1000u
#define PROGRESS_MAX 200u
#define DESCRIPTORS 24u /* beyond those of a new store: two for each segment at most */

/* One of each ten first: nowhere is much freed before a good deal was written about it. */
static void delete_keys(struct fixture *fixture, unsigned count)
{
	unsigned turn, i;

	for (turn = 0; turn < 10; turn++) {
		for (i = turn; i < count; i += 10)
			assert_int_equal(
				kv_delete(fixture->kv, ORDERED, &i, sizeof(i), NULL), 0);
	}
	must_sync(fixture);
}

/* All of it, twice, with a crash between. */
static void fill_and_delete(struct fixture *fixture, unsigned flags, int error)
{
	unsigned count = fill_disk(fixture, FILL_SIZE_MAX, error), again;
	unsigned opens = sim_env_opens(fixture->sim);

	assert_true(count > 200);
	must_have_filled_disk(fixture, 0, count);
	must_sync(fixture);
	/* Opening takes some for a moment. */
	sim_env_set_opens_max(fixture->sim, 0);
	must_crash(fixture, SIM_LOSS_ALL, flags);
	if (error == -EMFILE)
		sim_env_set_opens_max(fixture->sim, opens);
	must_have_filled_disk(fixture, 0, count);
	must_check_clean(fixture);
	delete_keys(fixture, count);
	must_check_clean(fixture);
	again = fill_disk(fixture, FILL_SIZE_MAX, error);
	assert_true(again > count / 2);
	must_have_filled_disk(fixture, 0, again);
	must_check_clean(fixture);
	sim_env_set_opens_max(fixture->sim, 0);
	must_close(fixture);
	must_open(fixture, flags);
	must_have_filled_disk(fixture, 0, again);
}

static void test_delete_over_quota(void **state)
{
	struct fixture *fixture = *state;

	sim_env_set_quota(fixture->sim, QUOTA);
	fill_and_delete(fixture, 0, -EDQUOT);
}

static void test_delete_over_quota_inline(void **state)
{
	struct fixture *fixture = *state;

	sim_env_set_quota(fixture->sim, QUOTA);
	fill_and_delete(fixture, KV_OPEN_INLINE, -EDQUOT);
}

/* The smallest in which there is a segment to go on with beside the reserve, and on from there. */
static void test_small_quotas(void **state)
{
	unsigned blocks;

	for (blocks = 4 * SEGMENT_SIZE / ENV_DIRECT_ALIGN + 8;
	     blocks < 7 * SEGMENT_SIZE / ENV_DIRECT_ALIGN; blocks += 29) {
		struct fixture fixture = {0};
		struct sim_options options = {.quota = (uint64_t)blocks * ENV_DIRECT_ALIGN};
		unsigned count;

		assert_int_equal(sim_env_new(&options, &fixture.sim), 0);
		fixture.env = sim_env_table(fixture.sim);
		assert_int_equal(kv_create(fixture.env, STORE_PATH, &fixture_create_options,
					   fixture_hear, &fixture), 0);
		must_open(&fixture, KV_OPEN_INLINE);
		count = fill_disk(&fixture, FILL_SIZE_MAX, -EDQUOT);
		assert_true(count > 40);
		delete_keys(&fixture, count);
		assert_true(fill_disk(&fixture, FILL_SIZE_MAX, -EDQUOT) > count / 2);
		must_check_clean(&fixture);
		must_close(&fixture);
		sim_env_free(fixture.sim);
	}
}

static void rest(struct fixture *fixture)
{
	unsigned turn;

	/* The first round finds what has happened until now. */
	for (turn = 0; turn < REST_TURNS; turn++) {
		maintain_round(fixture->kv);
		sim_env_advance_us(fixture->sim, REST_US);
	}
}

/* Somebody else takes all that is left of the quota. */
static void take_rest_of_quota(struct fixture *fixture)
{
	uint64_t avail, total;

	assert_int_equal(fixture->env->dir_space(fixture->kv->dir, &avail, &total), 0);
	sim_env_set_quota(fixture->sim, total - avail);
}

/* What deleting needs is not given away, neither at rest nor by closing, where no more is left. */
static void test_reserve_is_kept(void **state)
{
	struct fixture *fixture = *state;
	unsigned count;

	sim_env_set_quota(fixture->sim, QUOTA);
	count = fill_disk(fixture, SMALL_SIZE, -EDQUOT);
	rest(fixture);
	take_rest_of_quota(fixture);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	rest(fixture);
	take_rest_of_quota(fixture);
	delete_keys(fixture, count);
	must_check_clean(fixture);
	assert_true(fill_disk(fixture, SMALL_SIZE, -EDQUOT) > count / 2);
}

static uint64_t used(struct fixture *fixture)
{
	uint64_t avail, total;

	assert_int_equal(fixture->env->dir_space(fixture->kv->dir, &avail, &total), 0);
	return total - avail;
}

/* Of a quota that was met and is met no more nothing is held back. */
static void test_reserve_is_given_back(void **state)
{
	struct fixture *fixture = *state;
	uint64_t before;

	sim_env_set_quota(fixture->sim, QUOTA);
	(void)fill_disk(fixture, FILL_SIZE_MAX, -EDQUOT);
	rest(fixture);
	before = used(fixture);
	sim_env_set_quota(fixture->sim, 2 * QUOTA);
	must_put(fixture, HASHED, "key", "value");
	rest(fixture);
	assert_true(used(fixture) + SEGMENT_SIZE <= before);
}

#define LARGE_LOG (200 * (uint64_t)SEGMENT_SIZE)

/* A large store keeps the reserve whatever is left, for others may take that meanwhile. */
static void test_large_store_keeps_reserve(void **state)
{
	struct fixture *fixture = *state;
	struct kv *kv = fixture->kv;
	unsigned wanted;

	sim_env_set_quota(fixture->sim, QUOTA);
	(void)fill_disk(fixture, FILL_SIZE_MAX, -EDQUOT);
	sim_env_set_quota(fixture->sim, 0);
	must_put(fixture, HASHED, "key", "value");
	/* That it is large it only believes. */
	store_add(&kv->log_bytes, LARGE_LOG);
	wanted = reserve_wanted(kv);
	assert_true(wanted > 4);
	must_put(fixture, HASHED, "key", "value");
	assert_int_equal(reserve_keep(kv, 3), 0);
	rest(fixture);
	assert_int_equal(segments_count_free(&kv->segments), wanted);
	store_add(&kv->log_bytes, -LARGE_LOG);
	must_put(fixture, HASHED, "key", "value");
	rest(fixture);
	assert_int_equal(segments_count_free(&kv->segments), 0);
	must_check_clean(fixture);
}

/* Where it stays at rest, and something else than space is short, it is not taken for whole. */
static void test_reserve_in_use_at_rest(void **state)
{
	struct fixture *fixture = *state;
	struct kv *kv = fixture->kv;
	unsigned i, count;

	sim_env_set_opens_max(fixture->sim, sim_env_opens(fixture->sim) + DESCRIPTORS);
	count = fill_disk(fixture, SMALL_SIZE, -EMFILE);
	store_add(&kv->log_bytes, LARGE_LOG);
	for (i = 0; i < count && !kv->log.starved; i++)
		assert_int_equal(kv_delete(kv, ORDERED, &i, sizeof(i), NULL), 0);
	assert_true(kv->log.starved);
	assert_true(segments_count_free(&kv->segments) > 0);
	rest(fixture);
	assert_true(kv->log.starved);
	sim_env_set_opens_max(fixture->sim, 0);
	must_put(fixture, HASHED, "key", "value");
	assert_false(kv->log.starved);
	store_add(&kv->log_bytes, -LARGE_LOG);
	must_check_clean(fixture);
}

static void test_delete_without_descriptors(void **state)
{
	struct fixture *fixture = *state;

	sim_env_set_opens_max(fixture->sim, sim_env_opens(fixture->sim) + DESCRIPTORS);
	fill_and_delete(fixture, 0, -EMFILE);
}

/* Too little garbage anywhere for what is left: who prunes is told what it is that is missing. */
static void prune(struct fixture *fixture, int error)
{
	struct kv_prune_options options = {.garbage_percent = 1};
	unsigned i, count = fill_disk(fixture, FILL_SIZE_MAX, error);

	for (i = 0; i < count; i += 25)
		assert_int_equal(kv_delete(fixture->kv, ORDERED, &i, sizeof(i), NULL), 0);
	assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), error);
	must_check_clean(fixture);
	sim_env_set_quota(fixture->sim, 0);
	sim_env_set_opens_max(fixture->sim, 0);
	assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
	must_check_clean(fixture);
}

static void test_prune_over_quota(void **state)
{
	struct fixture *fixture = *state;

	sim_env_set_quota(fixture->sim, QUOTA);
	prune(fixture, -EDQUOT);
}

static void test_prune_without_descriptors(void **state)
{
	struct fixture *fixture = *state;

	sim_env_set_opens_max(fixture->sim, sim_env_opens(fixture->sim) + DESCRIPTORS);
	prune(fixture, -EMFILE);
}

/* Not if it is said again and again. */
static int end_at_last(void *arg, uint64_t done, uint64_t total)
{
	return ++*(unsigned *)arg > PROGRESS_MAX;
}

/*
 * No block of the disk is written in another place any more, so that the list of segments cannot be
 * saved, and nothing be freed: it is no progress to begin with the same victim for ever.
 */
static void test_prune_without_blocks(void **state)
{
	struct kv_prune_options options = {.garbage_percent = 1};
	unsigned nth, i, count, said, refused = 0;

	for (nth = 1; nth <= full_or_quick(60, 10); nth++) {
		struct fixture *fixture = fixture_begin(state, 0);
		int result;

		sim_env_set_quota(fixture->sim, QUOTA);
		count = fill_disk(fixture, FILL_SIZE_MAX, -EDQUOT);
		for (i = 0; i < count; i += 5)
			assert_int_equal(kv_delete(fixture->kv, ORDERED, &i, sizeof(i), NULL), 0);
		must_sync(fixture);
		said = 0;
		sim_env_fail(fixture->sim, SIM_FAULT_WRITE, nth, UINT64_MAX, -ENOSPC);
		result = kv_prune(fixture->kv, &options, end_at_last, &said, NULL);
		assert_int_not_equal(result, -ECANCELED);
		refused += result != 0;
		sim_env_fail(fixture->sim, SIM_FAULT_WRITE, 0, 0, 0);
		fixture_teardown(state);
	}
	assert_true(refused > 0);
}

/* A long key, so that what says it is gone is as large as it was. */
static size_t long_key(uint8_t *key, unsigned number)
{
	memset(key, 'k', LONG_KEY_SIZE);
	memcpy(key, &number, sizeof(number));
	return LONG_KEY_SIZE;
}

static unsigned fill_with_long_keys(struct fixture *fixture)
{
	uint8_t key[LONG_KEY_SIZE];
	unsigned count = 0;
	int result;

	do
		result = kv_put(
			fixture->kv, HASHED, key, long_key(key, count++), key, VALUE_SIZE, NULL);
	while (!result);
	assert_int_equal(result, -EDQUOT);
	must_sync(fixture);
	return count - 1;
}

/* In which order they are deleted: from both ends, so that what is older is needed longer. */
static unsigned nth_deleted(unsigned n, unsigned count)
{
	return n % 2 ? n / 2 : count - 1 - n / 2;
}

/* Those from one on, until the power fails; the number of the first that was not. */
static unsigned delete_long_keys(struct fixture *fixture, unsigned from, unsigned to)
{
	uint8_t key[LONG_KEY_SIZE];
	unsigned i;
	int result;

	for (i = from; i < to; i++) {
		result = kv_delete(fixture->kv, HASHED, key, long_key(key, nth_deleted(i, to)),
			NULL);
		if (!result)
			result = kv_sync(fixture->kv, kv_last_seq(fixture->kv));
		if (sim_env_is_cut(fixture->sim))
			break;
		assert_int_equal(result, 0);
	}
	return i;
}

/* So many are gone for ever. The next one may be gone as well; the others are there. */
static void must_lack_long_keys(struct fixture *fixture, unsigned gone, unsigned count)
{
	uint8_t key[LONG_KEY_SIZE];
	struct kv_slice value;
	unsigned i;
	int result;

	kv_read_begin(fixture->kv);
	for (i = 0; i < count; i++) {
		result = kv_get(fixture->kv, HASHED, key, long_key(key, nth_deleted(i, count)),
			&value);
		if (i != gone)
			assert_int_equal(result, i < gone ? -ENOENT : 0);
	}
	kv_read_end(fixture->kv);
}

/*
 * The power fails every few steps of the disk, and what was copied of a victim by then is there
 * again afterwards. There is room for all of it once.
 */
static void delete_while_power_fails(void **state, unsigned steps)
{
	struct fixture *fixture = fixture_begin(state, steps);
	unsigned count, gone = 0, lives;

	sim_env_set_quota(fixture->sim, 6 * (uint64_t)SEGMENT_SIZE + SEGMENT_SIZE / 2);
	count = fill_with_long_keys(fixture);
	for (lives = 0; gone < count; lives++) {
		assert_true(lives < LIVES_MAX);
		sim_env_cut_at(fixture->sim, sim_env_steps(fixture->sim) + steps + lives % 8);
		gone = delete_long_keys(fixture, gone, count);
		must_crash(fixture, SIM_LOSS_NONE, KV_OPEN_INLINE);
		must_lack_long_keys(fixture, gone, count);
	}
	must_check_clean(fixture);
	assert_true(fill_with_long_keys(fixture) > count / 2);
	fixture_teardown(state);
}

static void test_delete_while_power_fails(void **state)
{
	unsigned paces = full_or_quick(8, 2), i;

	for (i = 0; i < paces; i++)
		delete_while_power_fails(state, 2 + 3 * i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_delete_over_quota),
		INLINE_TEST(test_delete_over_quota_inline),
		cmocka_unit_test(test_small_quotas),
		INLINE_TEST(test_reserve_is_kept),
		INLINE_TEST(test_reserve_is_given_back),
		INLINE_TEST(test_large_store_keeps_reserve),
		INLINE_TEST(test_reserve_in_use_at_rest),
		FIXTURE_TEST(test_delete_without_descriptors),
		INLINE_TEST(test_prune_over_quota),
		INLINE_TEST(test_prune_without_descriptors),
		cmocka_unit_test(test_prune_without_blocks),
		cmocka_unit_test(test_delete_while_power_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
