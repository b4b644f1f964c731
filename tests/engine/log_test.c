/* SPDX-License-Identifier: MIT */
/*
 * log_test.c - when the next segment is asked for, where callers do the work: what they ask for
 * comes later; and which segments say the newest number.
 */
#include "kv_fixture.h"

#include "log.h"
#include "log_spare.h"
#include "maintain.h"
#include "sync.h"

#define PIECE 1000u
#define LARGE 600000u /* two of them are more than a segment */
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

static int keep_number(struct kv *kv)
{
	int error;

	pthread_mutex_lock(&kv->maintain.lock);
	error = log_keep_number(kv);
	pthread_mutex_unlock(&kv->maintain.lock);
	return error;
}

/*
 * Amidst a stream, whose last segment has nothing durable yet, the one before it says the newest
 * number: nothing has to be written before others are freed. Unless it is to go itself.
 */
static void test_number_is_said(void **state)
{
	struct fixture *fixture = *state;
	struct kv *kv = fixture->kv;
	struct segment *first = kv->log.hot.active;
	uint64_t calls, durable_seq;
	unsigned i;

	for (i = 0; kv->log.hot.active == first; i++)
		must_put_filled(fixture, HASHED, "key", PIECE, i);
	must_put_filled(fixture, HASHED, "key", PIECE, i);
	durable_seq = kv_durable_seq(kv);
	assert_true(first->sealed && durable_seq < kv_last_seq(kv));

	calls = sim_env_calls(fixture->sim, SIM_FAULT_WRITE);
	assert_int_equal(keep_number(kv), 0);
	assert_int_equal(sim_env_calls(fixture->sim, SIM_FAULT_WRITE), calls);
	assert_int_equal(kv_durable_seq(kv), durable_seq);

	first->leaving = true;
	assert_int_equal(keep_number(kv), 0);
	first->leaving = false;
	assert_int_equal(kv_durable_seq(kv), kv_last_seq(kv));
}

/* A batch that is refused once room is made for it, in the next segment if not in this one. */
static void refuse(struct fixture *fixture)
{
	static uint8_t value[LARGE];
	struct kv_batch *batch;

	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	assert_int_equal(kv_batch_expect(batch, HASHED, "no key", 6, 1), 0);
	assert_int_equal(kv_batch_put(batch, HASHED, "key", 3, value, sizeof(value)), 0);
	assert_int_equal(kv_commit(fixture->kv, batch, NULL), -ESTALE);
	kv_batch_free(batch);
}

/* A segment that was filled by copies alone says no number. */
static void test_copies_say_no_number(void **state)
{
	struct fixture *fixture = *state;
	struct kv *kv = fixture->kv;
	struct segment *first = kv->log.hot.active, *second;
	uint64_t address;

	must_put_filled(fixture, HASHED, "key", LARGE, 1);
	refuse(fixture);
	second = kv->log.hot.active;
	assert_ptr_not_equal(second, first);
	pthread_mutex_lock(&kv->log.lock);
	assert_int_equal(log_reserve(kv, LARGE, LOG_ANY), 0);
	memset(log_append(kv, LARGE, &address), 0, LARGE);
	pthread_mutex_unlock(&kv->log.lock);
	refuse(fixture);
	assert_ptr_not_equal(kv->log.hot.active, second);
	assert_int_equal(sync_flush(kv), 0);
	assert_true(first->sealed && second->sealed);

	assert_int_equal(keep_number(kv), 0);
	assert_int_equal(kv->log.hot.begun_seq, kv_last_seq(kv));
	first->leaving = true;
	assert_int_equal(keep_number(kv), 0);
	first->leaving = false;
	/* A MARK says it now. */
	assert_int_equal(kv->log.hot.begun_seq, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_next_of_slow),
		INLINE_TEST(test_next_of_fast),
		INLINE_TEST(test_next_of_slow_then_fast),
		INLINE_TEST(test_next_after_a_rest),
		INLINE_TEST(test_number_is_said),
		INLINE_TEST(test_copies_say_no_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
