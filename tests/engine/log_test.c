/* SPDX-License-Identifier: MIT */
/*
 * log_test.c - when the next segment is asked for, where callers do the work: what they ask for
 * comes later.
 */
#include "kv_fixture.h"

#include "log_spare.h"
#include "maintain.h"

#define PIECE 1000u
#define SLOW_US 100000u /* between two of them */

/* How full the segment is when the next one is asked for. */
static uint32_t full_when_wanted(struct fixture *fixture, uint64_t pause_us)
{
	struct log *log = &fixture->kv->log;
	unsigned i;

	assert_false(log->spare_wanted);
	for (i = 0; i < SEGMENT_SIZE / PIECE && !log->spare_wanted; i++) {
		must_put_filled(fixture, HASHED, "key", PIECE, i);
		sim_env_advance_us(fixture->sim, pause_us);
	}
	return log->hot.offset;
}

/* It is asked for half-way through... */
static void test_next_of_slow(void **state)
{
	assert_in_range(full_when_wanted(*state, SLOW_US), SEGMENT_SIZE / 2 - PIECE,
			SEGMENT_SIZE / 2 + 2 * PIECE);
}

/* ... and sooner where the rest would be full within moments. */
static void test_next_of_fast(void **state)
{
	assert_in_range(full_when_wanted(*state, 0), PIECE, SEGMENT_SIZE / 8);
}

/* A stream that begins where a slow writer has left the segment is as fast. */
static void test_next_of_slow_then_fast(void **state)
{
	struct fixture *fixture = *state;
	unsigned i;

	for (i = 0; i < SEGMENT_SIZE / 4 / PIECE; i++) {
		must_put_filled(fixture, HASHED, "key", PIECE, i);
		sim_env_advance_us(fixture->sim, SLOW_US);
	}
	assert_in_range(full_when_wanted(fixture, 0), SEGMENT_SIZE / 4, SEGMENT_SIZE / 2 - PIECE);
}

/* One that was given back is asked for again likewise. */
static void test_next_after_a_rest(void **state)
{
	struct fixture *fixture = *state;
	struct kv *kv = fixture->kv;
	uint32_t first = full_when_wanted(fixture, 0);

	maintain_round(kv);
	assert_int_equal(kv->log.spare_count, 1);
	assert_int_equal(log_drop_spares(kv, 0), 0);
	assert_int_equal(kv->log.spare_count, 0);
	assert_in_range(full_when_wanted(fixture, 0), first + PIECE, first + SEGMENT_SIZE / 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_next_of_slow),
		INLINE_TEST(test_next_of_fast),
		INLINE_TEST(test_next_of_slow_then_fast),
		INLINE_TEST(test_next_after_a_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
