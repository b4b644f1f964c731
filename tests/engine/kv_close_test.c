/* SPDX-License-Identifier: MIT */
/*
 * kv_close_test.c - what a store that is closed says of itself is true behind a power failure, too.
 */
#include "kv_fixture.h"

#include "store.h"

#define LARGE_SEGMENT (4u << 20)
#define NEARLY_FULL 4000000u
#define VALUE_SIZE 80000u

static void name_key(char key[16], char group, unsigned number)
{
	snprintf(key, 16, "%c%u", group, number);
}

static void put(struct fixture *fixture, char group, unsigned number)
{
	static const uint8_t value[VALUE_SIZE];
	char key[16];

	name_key(key, group, number);
	assert_int_equal(
		kv_put(fixture->kv, HASHED, key, strlen(key), value, sizeof(value), NULL), 0);
}

static unsigned full_segments(struct fixture *fixture)
{
	const struct segments *segments = &fixture->kv->segments;
	unsigned count = 0;

	for (uint32_t slot = 0; slot < atomic_load(&segments->count); slot++)
		count += segments->table[slot] && segments->table[slot]->end > NEARLY_FULL;
	return count;
}

static int stop_at_second(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	return ++*(unsigned *)arg == 2;
}

/* What was deleted is in segments before those which say so. */
static void make_tombstones(struct fixture *fixture)
{
	unsigned last, i;
	char key[16];

	for (i = 0; full_segments(fixture) < 3; i++)
		put(fixture, 'a', i);
	last = i - 1;
	must_sync(fixture);
	for (i = 0; full_segments(fixture) < 4; i++) {
		put(fixture, 'o', 0);
		name_key(key, 'a', i / 10);
		if (i % 10 == 5)
			must_delete(fixture, HASHED, key);
	}
	must_sync(fixture);
	put(fixture, 'o', 0);
	put(fixture, 'a', last);
	for (i = 0; full_segments(fixture) < 5; i++)
		put(fixture, 'l', i);
	must_sync(fixture);
}

/*
 * Compaction begins the last segment with copies, which have old numbers, and nothing but them:
 * they are durable before anything says that this segment belongs to the log.
 */
static void test_copies_alone(void **state)
{
	struct kv_create_options create = fixture_create_options;
	struct kv_prune_options prune = {.garbage_percent = 40};
	struct fixture *fixture;
	unsigned full, i, calls = 0;

	fixture_setup_empty(state);
	fixture = *state;
	create.segment_size = LARGE_SEGMENT;
	assert_int_equal(
		kv_create(fixture->env, STORE_PATH, &create, fixture_hear, fixture), 0);
	must_open(fixture, KV_OPEN_INLINE);
	make_tombstones(fixture);
	full = full_segments(fixture);
	for (i = 0; full_segments(fixture) == full; i++) {
		if (i % 2 == 0)
			assert_int_equal(kv_checkpoint(fixture->kv), 0);
		put(fixture, 'm', i);
	}
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	assert_int_equal(fixture->errors, 0);
	assert_int_equal(
		kv_prune(fixture->kv, &prune, stop_at_second, &calls, NULL), -ECANCELED);
	must_close(fixture);
	sim_env_cut(fixture->sim);
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(fixture->errors, 0);
	must_check_clean(fixture);
	fixture_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
