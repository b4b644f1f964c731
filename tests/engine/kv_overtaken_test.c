/* SPDX-License-Identifier: MIT */
/*
 * kv_overtaken_test.c - pieces of large values are found to be unneeded, and are needed again, or
 * something else is to be done about them, before their deletion is committed. The linker leads
 * that commit here (--wrap), so that somebody comes before it each time.
 */
#include "kv_fixture.h"

#include <unistd.h>

#include "batch.h"

#define PIECE ((size_t)65536)
#define PIECES 4u
#define PATIENCE_MS 60000u

static struct fixture *overtaken;
static void (*_Atomic overtake)(struct fixture *fixture);

int __real_kv_commit(struct kv *kv, struct kv_batch *batch, uint64_t *seq);
int __wrap_kv_commit(struct kv *kv, struct kv_batch *batch, uint64_t *seq);

int __wrap_kv_commit(struct kv *kv, struct kv_batch *batch, uint64_t *seq)
{
	void (*first)(struct fixture *fixture) = NULL;

	/* The maintainer's deletions alone: nobody else has a condition and does not wait. */
	if (batch->check && batch->never_waits)
		first = atomic_exchange(&overtake, NULL);
	if (first)
		first(overtaken);
	return __real_kv_commit(kv, batch, seq);
}

static void must_write(struct fixture *fixture, unsigned piece, unsigned count, uint64_t seed)
{
	static uint8_t bytes[PIECES * PIECE];

	fill_bytes(bytes, count * PIECE, seed);
	assert_int_equal(kv_write(fixture->kv, HASHED, "key", 3, piece * PIECE, bytes,
				 count * PIECE, NULL), 0);
}

static void must_read(struct fixture *fixture, unsigned piece, uint64_t seed)
{
	static uint8_t bytes[PIECE], expected[PIECE];
	size_t done;

	fill_bytes(expected, PIECE, seed);
	assert_int_equal(kv_read(fixture->kv, HASHED, "key", 3, piece * PIECE, bytes, PIECE, &done),
		0);
	assert_int_equal(done, PIECE);
	assert_memory_equal(bytes, expected, PIECE);
}

/* Not while the maintainer looks for pieces: until it has found any, it says that none are left. */
static bool sleeps(struct kv *kv)
{
	bool sleeps;

	pthread_mutex_lock(&kv->maintain.lock);
	sleeps = !atomic_load(&overtake) && !atomic_load(&kv->large.awake);
	pthread_mutex_unlock(&kv->maintain.lock);
	return sleeps;
}

/* Half of the value goes, and before its pieces do, this happens. */
static void halve(struct fixture *fixture, void (*meanwhile)(struct fixture *fixture))
{
	unsigned ms = 0;

	must_write(fixture, 0, 1, 1);
	must_write(fixture, 1, PIECES - 1, 2);
	overtaken = fixture;
	atomic_store(&overtake, meanwhile);
	assert_int_equal(kv_resize(fixture->kv, HASHED, "key", 3, PIECES / 2 * PIECE, NULL), 0);
	while (!sleeps(fixture->kv)) {
		assert_true(ms++ < PATIENCE_MS);
		usleep(1000);
	}
}

static void write_last(struct fixture *fixture)
{
	must_write(fixture, PIECES - 1, 1, 3);
}

/* What is written where the value was cut off is there; what was not stays a hole, and is freed. */
static void test_written_again(void **state)
{
	struct fixture *fixture = *state;

	halve(fixture, write_last);
	assert_int_equal(stats_of(fixture).pieces, PIECES - 1);
	for (unsigned turn = 0; turn < 2; turn++) {
		must_read(fixture, 0, 1);
		must_read(fixture, PIECES - 1, 3);
		must_check_clean(fixture);
		must_close(fixture);
		must_open(fixture, 0);
	}
}

static void delete_all(struct fixture *fixture)
{
	must_delete(fixture, HASHED, "key");
}

/* All of it is deleted: all of its pieces go, and not only those that were looked for. */
static void test_deleted(void **state)
{
	struct fixture *fixture = *state;

	halve(fixture, delete_all);
	assert_int_equal(stats_of(fixture).pieces, 0);
	must_lack(fixture, HASHED, "key");
	must_check_clean(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_written_again),
		FIXTURE_TEST(test_deleted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
