/* SPDX-License-Identifier: MIT */
/*
 * version_sweep_test.c - what a view that ends leaves behind is found, all of it, and little else
 * is looked at for that.
 */
#include "kv_fixture.h"

#include "maintain.h"
#include "version.h"
#include "version_table.h"
#include "view.h"

#define KEYS 300u
#define POINTS 12u

struct sweep {
	struct fixture *fixture;
	struct sim_random random;
	struct kv_view *views[POINTS];
	bool snapshots[POINTS];
};

static void change(struct sweep *sweep, unsigned count)
{
	char key[20];

	while (count--) {
		uint64_t dice = sim_random_below(&sweep->random, KEYS * 10);
		int error;

		snprintf(key, sizeof(key), "key %u", (unsigned)(dice / 10));
		if (dice % 10 > 1) {
			must_put(sweep->fixture, (unsigned)dice % 2, key, "value");
			continue;
		}
		error = kv_delete(sweep->fixture->kv, (unsigned)dice % 2, key, strlen(key), NULL);
		assert_true(!error || error == -ENOENT);
	}
}

/* Everything in the table is seen by somebody, and stands in a block that says so. */
static void must_be_swept(struct kv *kv)
{
	struct versions *versions = &kv->versions;
	uint64_t count = 0;
	uint32_t number;

	assert_false(atomic_load(&versions->sweep_wanted));
	assert_int_equal(versions->sweep_next, 0);
	for (number = 1; number < versions->used; number++) {
		const struct version *version = version_at(versions, number);
		const struct version_ends *ends = version_ends_at(versions, number);

		if (!version_length(version))
			continue;
		count++;
		assert_true(views_any_in(&kv->views, version_begin(version), version_end(version)));
		assert_in_range(version_end(version), ~ends->earliest_inverted, ends->latest);
	}
	assert_int_equal(count, atomic_load(&versions->count));
}

static void toggle_view(struct sweep *sweep, unsigned i)
{
	if (sweep->views[i]) {
		kv_view_close(sweep->views[i]);
		sweep->views[i] = NULL;
	} else {
		assert_int_equal(kv_view_open(sweep->fixture->kv, &sweep->views[i]), 0);
	}
}

static void toggle_snapshot(struct sweep *sweep, unsigned i)
{
	char name[20];

	snprintf(name, sizeof(name), "snapshot %u", i);
	assert_int_equal(sweep->snapshots[i] ?
				 kv_snapshot_delete(sweep->fixture->kv, name, NULL) :
				 kv_snapshot_create(sweep->fixture->kv, name, NULL),
			 0);
	sweep->snapshots[i] = !sweep->snapshots[i];
}

static void close_views(struct sweep *sweep)
{
	unsigned i;

	for (i = 0; i < POINTS; i++) {
		kv_view_close(sweep->views[i]);
		sweep->views[i] = NULL;
	}
}

/* What was opened from a checkpoint, or by a replay, is swept by the maintainer. */
static void reopen(struct sweep *sweep, bool checkpoint)
{
	if (checkpoint)
		assert_int_equal(kv_checkpoint(sweep->fixture->kv), 0);
	close_views(sweep);
	if (checkpoint)
		must_close(sweep->fixture);
	if (checkpoint)
		must_open(sweep->fixture, KV_OPEN_INLINE);
	else
		must_crash(sweep->fixture, SIM_LOSS_NONE, KV_OPEN_INLINE);
	version_sweep_all(sweep->fixture->kv);
}

static void test_all_is_found(void **state)
{
	struct sweep sweep = {.fixture = *state, .random = {7}};
	unsigned i;

	for (i = 0; i < 2000; i++) {
		uint64_t dice = sim_random_below(&sweep.random, 100);

		change(&sweep, (unsigned)sim_random_below(&sweep.random, 60));
		if (dice < 1) {
			must_sync(sweep.fixture);
			reopen(&sweep, sim_random_below(&sweep.random, 2));
		} else if (dice < 60) {
			toggle_view(&sweep, (unsigned)sim_random_below(&sweep.random, POINTS));
		} else {
			toggle_snapshot(&sweep, (unsigned)sim_random_below(&sweep.random, POINTS));
		}
		must_be_swept(sweep.fixture->kv);
		if (i % 16 == 0)
			maintain_round(sweep.fixture->kv);
	}
	close_views(&sweep);
	for (i = 0; i < POINTS; i++) {
		if (sweep.snapshots[i])
			toggle_snapshot(&sweep, i);
	}
	assert_int_equal(atomic_load(&sweep.fixture->kv->versions.count), 0);
	must_check_clean(sweep.fixture);
}

/* Each of many snapshots sees its own versions; one that is deleted has no other looked at. */
static void test_little_is_looked_at(void **state)
{
	struct sweep sweep = {.fixture = *state, .random = {8}};
	struct versions *versions = &sweep.fixture->kv->versions;
	uint64_t count, swept;
	unsigned i, k;
	char key[20];

	for (i = 0; i < POINTS; i++) {
		for (k = 0; k < 2 * KEYS; k++) {
			snprintf(key, sizeof(key), "key %u", k);
			must_put(sweep.fixture, HASHED, key, "value");
		}
		toggle_snapshot(&sweep, i);
	}
	count = atomic_load(&versions->count);
	assert_int_equal(count, (POINTS - 1) * 2 * KEYS);
	for (i = 0; i < POINTS; i += 3) {
		swept = versions->swept;
		toggle_snapshot(&sweep, i);
		must_be_swept(sweep.fixture->kv);
		count -= 2 * KEYS;
		assert_int_equal(atomic_load(&versions->count), count);
		/* Blocks at both ends are others' as well. */
		assert_in_range(versions->swept - swept, 2 * KEYS, 2 * KEYS + 2 * VERSION_BLOCK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_all_is_found),
		INLINE_TEST(test_little_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
