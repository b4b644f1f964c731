/* SPDX-License-Identifier: MIT */
/*
 * model_test.c - random operations on a store and on a plain model; then whole trees are compared,
 * also after closing and opening. KVFS_TEST_SEED and KVFS_TEST_STEPS repeat or lengthen a run.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tree_model.h"

static unsigned long number_from(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

static void run(void **state, uint64_t seed)
{
	unsigned long steps = number_from("KVFS_TEST_STEPS", 4000);
	struct fixture *store = *state;
	struct model *model = model_new(store, number_from("KVFS_TEST_SEED", seed));

	for (unsigned long i = 1; i <= steps; i++) {
		model_step(model);
		if (i % 1000 == 0)
			model_compare(model);
		if (i % 1500 == 0) {
			fixture_reopen(store);
			model_reopened(model);
			model_compare(model);
			fixture_assert_clean(store);
		}
	}
	fixture_reopen(store);
	model_reopened(model);
	model_compare(model);
	model_free(model);
}

static void test_plain(void **state)
{
	run(state, 1);
}

static void test_compressed(void **state)
{
	run(state, 2);
}

static void test_blake2b(void **state)
{
	run(state, 3);
}

static int setup_compressed(void **state)
{
	struct kvfs_create_options create = {
		.segment_size = 4 << 20,
		.compress = KV_COMPRESS_INLINE,
	};

	return fixture_setup_with(state, &create);
}

static int setup_blake2b(void **state)
{
	struct kvfs_create_options create = {.hash = KV_HASH_BLAKE2B};

	return fixture_setup_with(state, &create);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_plain, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_compressed, setup_compressed, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_blake2b, setup_blake2b, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
