/* SPDX-License-Identifier: MIT */
/*
 * doubt_random_test.c - any operations on a file system that is in doubt, beside a plain model of
 * it: whoever uses it sees no difference, and behind the repair there is none.
 *
 * KVFS_TEST_SEED: the first round's seed.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs_model.h"
#include "keyspaces.h"
#include "sim_env.h"

#define PATH "store"
#define ROUNDS 40u
#define OPS 120u
#define REOPEN_CHANCE 20u

struct run {
	struct fixture store;
	struct sim_env *sim;
	struct fs_model model;
	uint64_t held_ino, random, stamp;
};

static void ignore(void *arg, enum kv_severity severity, const char *message)
{
}

static uint64_t random_next(struct run *run)
{
	run->random = run->random * 6364136223846793005u + 1442695040888963407u;
	return run->random ^ run->random >> 29;
}

static void reopen(struct run *run)
{
	fixture_close(&run->store);
	fs_model_closed(&run->model);
	run->held_ino = 0;
	fixture_open(&run->store);
}

static void operate(struct run *run, unsigned count)
{
	for (unsigned i = 0; i < count && !fs_model_is_full(&run->model); i++) {
		uint64_t word = random_next(run);
		struct fs_op op;
		uint8_t bytes[8];
		bool possible;

		if (random_next(run) % REOPEN_CHANCE == 0)
			reopen(run);
		memcpy(bytes, &word, sizeof(bytes));
		op = fs_op_from(bytes, ++run->stamp);
		possible = fs_model_apply(&run->model, &op);
		if (!fs_op_do(&op, run->store.fs, &run->held_ino) != possible)
			fail_msg("operation %d: %s", op.kind, possible ? "failed" : "done");
	}
}

static bool is_doubtful(struct run *run)
{
	struct kv_stats stats;

	kv_stats(kvfs_kv(run->store.fs), &stats);
	return stats.records_lost;
}

static void compare(struct run *run, const char *when)
{
	const char *difference = fs_model_compare(&run->model, run->store.fs);

	/* What is not freed yet is one: compared behind all else. */
	if (difference && is_doubtful(run) && !strcmp(difference, "another number of inodes"))
		difference = NULL;
	if (difference)
		fail_msg("%s: %s", when, difference);
}

static void repair(struct run *run)
{
	struct kv_stats stats;
	uint64_t mended;

	run->store.open.repairs = true;
	reopen(run);
	assert_int_equal(kvfs_repair(run->store.fs, ignore, NULL, &mended), 0);
	assert_false(is_doubtful(run));
	compare(run, "repaired");
	kv_stats(kvfs_kv(run->store.fs), &stats);
	assert_int_equal(stats.keys[KEYSPACE_ORPHAN], 0);
	run->store.open.repairs = false;
	reopen(run);
	fixture_assert_clean(&run->store);
}

static void run_round(unsigned seed)
{
	struct kvfs_create_options create = {.segment_size = 4 << 20};
	struct run run = {.random = seed,
		.store = {.path = PATH,
			.open = {.kv = {.flags = KV_OPEN_INLINE, .report = ignore},
				.atime = KVFS_NOATIME}}};

	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 1}, &run.sim), 0);
	run.store.env = sim_env_table(run.sim);
	assert_int_equal(kvfs_create(run.store.env, PATH, &create, NULL, NULL), 0);
	fs_model_init(&run.model);
	fixture_open(&run.store);
	operate(&run, OPS);
	assert_int_equal(kv_note_loss(kvfs_kv(run.store.fs)), 0);
	reopen(&run);
	operate(&run, OPS);
	compare(&run, "in doubt");
	reopen(&run);
	compare(&run, "in doubt, opened again");
	repair(&run);
	operate(&run, OPS);
	compare(&run, "behind the repair");
	reopen(&run);
	/* Back to a snapshot of before. */
	if (is_doubtful(&run))
		repair(&run);
	compare(&run, "in the end");
	fixture_assert_clean(&run.store);
	fixture_close(&run.store);
	fs_model_fini(&run.model);
	assert_int_equal(sim_env_power_on(run.sim, SIM_LOSS_NONE), 0);
	sim_env_free(run.sim);
}

static void test_random(void **state)
{
	const char *first = getenv("KVFS_TEST_SEED");
	unsigned seed = first ? (unsigned)strtoul(first, NULL, 10) : 1;

	for (unsigned round = 0; round < ROUNDS; round++) {
		print_message("seed %u\n", seed + round);
		run_round(seed + round);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
