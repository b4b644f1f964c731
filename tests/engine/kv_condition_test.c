/* SPDX-License-Identifier: MIT */
/* kv_condition_test.c - batches that are committed only if the store is as expected. */
#include "kv_fixture.h"

#include <pthread.h>

#define THREADS 4u
#define ADDITIONS 3000u

static struct kv_batch *must_batch(struct fixture *fixture)
{
	struct kv_batch *batch;

	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	return batch;
}

static uint64_t must_have_seq(struct fixture *fixture, unsigned keyspace, const char *key)
{
	struct kv_slice value;
	uint64_t seq;

	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get_seq(fixture->kv, keyspace, key, strlen(key), &value, &seq), 0);
	kv_read_end(fixture->kv);
	return seq;
}

static void test_get_seq(void **state)
{
	struct fixture *fixture = *state;
	struct kv_slice value;
	uint64_t seq = 77;

	must_put(fixture, HASHED, "a", "1");
	assert_int_equal(must_have_seq(fixture, HASHED, "a"), 1);
	must_put(fixture, HASHED, "b", "1");
	must_put(fixture, HASHED, "a", "2");
	assert_int_equal(must_have_seq(fixture, HASHED, "a"), 3);
	must_close(fixture);
	must_open(fixture, 0);
	assert_int_equal(must_have_seq(fixture, HASHED, "a"), 3);
	assert_int_equal(must_have_seq(fixture, HASHED, "b"), 2);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get_seq(fixture->kv, HASHED, "c", 1, &value, &seq), -ENOENT);
	assert_int_equal(kv_get_seq(fixture->kv, HASHED, "c", 0, &value, &seq), -EINVAL);
	kv_read_end(fixture->kv);
	assert_int_equal(seq, 77);
}

/*
 * Commits a put of "done" under the batch's conditions; it is there, or nothing has changed and the
 * batch is kept.
 */
static void must_end(struct fixture *fixture, struct kv_batch *batch, int expected)
{
	uint64_t before = kv_last_seq(fixture->kv);

	assert_int_equal(kv_batch_put(batch, ORDERED, "done", 4, "yes", 3), 0);
	assert_int_equal(kv_commit(fixture->kv, batch, NULL), expected);
	if (expected) {
		must_lack(fixture, ORDERED, "done");
		assert_int_equal(kv_last_seq(fixture->kv), before);
		assert_int_equal(kv_batch_count(batch), 1);
		assert_int_equal(kv_commit(fixture->kv, batch, NULL), expected);
	} else {
		must_have(fixture, ORDERED, "done", "yes");
		assert_int_equal(kv_batch_count(batch), 0);
		must_delete(fixture, ORDERED, "done");
	}
	kv_batch_reset(batch);
}

static void test_expect(void **state)
{
	struct fixture *fixture = *state;
	struct kv_batch *batch = must_batch(fixture);
	uint64_t seq;

	must_put(fixture, HASHED, "a", "1");
	seq = must_have_seq(fixture, HASHED, "a");

	assert_int_equal(kv_batch_expect(batch, HASHED, "a", 1, seq), 0);
	assert_int_equal(kv_batch_expect(batch, HASHED, "b", 1, 0), 0);
	assert_int_equal(kv_batch_expect(batch, ORDERED, "a", 1, 0), 0);
	must_end(fixture, batch, 0);
	/* the conditions went with the commit */
	must_put(fixture, HASHED, "a", "2");
	must_end(fixture, batch, 0);

	assert_int_equal(kv_batch_expect(batch, HASHED, "a", 1, seq), 0);
	must_end(fixture, batch, -ESTALE);
	assert_int_equal(kv_batch_expect(batch, HASHED, "a", 1, 0), 0);
	must_end(fixture, batch, -EEXIST);
	assert_int_equal(kv_batch_expect(batch, HASHED, "b", 1, seq), 0);
	must_end(fixture, batch, -ESTALE);
	/* the last of many */
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(kv_batch_expect(batch, HASHED, &i, sizeof(i), 0), 0);
	assert_int_equal(kv_batch_expect(batch, HASHED, "a", 1, 0), 0);
	must_end(fixture, batch, -EEXIST);

	assert_int_equal(kv_batch_expect(batch, HASHED, "a", 0, 0), -EINVAL);
	assert_int_equal(kv_batch_expect(batch, 2, "a", 1, 0), -EINVAL);
	must_end(fixture, batch, 0);
	kv_batch_free(batch);
}

static void test_expect_value(void **state)
{
	struct fixture *fixture = *state;
	struct kv_batch *batch = must_batch(fixture);
	struct kv_info info;

	must_put(fixture, HASHED, "a", "value");
	must_put(fixture, HASHED, "empty", "");
	assert_int_equal(kv_batch_expect_value(batch, HASHED, "a", 1, "value", 5), 0);
	assert_int_equal(kv_batch_expect_value(batch, HASHED, "empty", 5, NULL, 0), 0);
	must_end(fixture, batch, 0);
	assert_int_equal(kv_batch_expect_value(batch, HASHED, "a", 1, "valuE", 5), 0);
	must_end(fixture, batch, -ESTALE);
	assert_int_equal(kv_batch_expect_value(batch, HASHED, "a", 1, "valu", 4), 0);
	must_end(fixture, batch, -ESTALE);
	assert_int_equal(kv_batch_expect_value(batch, HASHED, "b", 1, NULL, 0), 0);
	must_end(fixture, batch, -ESTALE);
	kv_info(fixture->kv, &info);
	assert_int_equal(
		kv_batch_expect_value(batch, HASHED, "a", 1, NULL, (size_t)info.value_size_max + 1),
		-EFBIG);
	kv_batch_free(batch);
}

/* Conditions alone ask a question. The state before the batch is what counts. */
static void test_question(void **state)
{
	struct fixture *fixture = *state;
	struct kv_batch *batch = must_batch(fixture);
	uint64_t seq = 0;

	must_put(fixture, HASHED, "a", "1");
	assert_int_equal(kv_batch_expect(batch, HASHED, "a", 1, 1), 0);
	assert_int_equal(kv_commit(fixture->kv, batch, &seq), 0);
	assert_int_equal(seq, 1);
	assert_int_equal(kv_batch_expect(batch, HASHED, "a", 1, 2), 0);
	assert_int_equal(kv_commit(fixture->kv, batch, &seq), -ESTALE);
	kv_batch_reset(batch);
	assert_int_equal(kv_batch_put(batch, HASHED, "b", 1, "1", 1), 0);
	assert_int_equal(kv_batch_expect(batch, HASHED, "b", 1, 0), 0);
	assert_int_equal(kv_commit(fixture->kv, batch, &seq), 0);
	must_have(fixture, HASHED, "b", "1");
	kv_batch_free(batch);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* Reads a number and writes it back one larger, until nobody was faster. */
static int add_one(struct kv *kv, struct kv_batch *batch, bool by_value)
{
	for (;;) {
		struct kv_slice value;
		uint64_t number = 0, seq;
		int err;

		kv_read_begin(kv);
		err = kv_get_seq(kv, HASHED, "sum", 3, &value, &seq);
		if (!err)
			memcpy(&number, value.data, sizeof(number));
		kv_read_end(kv);
		if (!err && by_value)
			err = kv_batch_expect_value(
				batch, HASHED, "sum", 3, &number, sizeof(number));
		else if (!err)
			err = kv_batch_expect(batch, HASHED, "sum", 3, seq);
		number++;
		if (!err)
			err = kv_batch_put(batch, HASHED, "sum", 3, &number, sizeof(number));
		if (!err)
			err = kv_commit(kv, batch, NULL);
		if (err != -ESTALE)
			return err;
		kv_batch_reset(batch);
	}
}

static void *add_thread(void *arg)
{
	static _Atomic unsigned threads;
	struct fixture *fixture = arg;
	bool by_value = threads++ % 2;
	struct kv_batch *batch;
	int err = kv_batch_new(fixture->kv, &batch);

	for (unsigned i = 0; i < ADDITIONS && !err; i++)
		err = add_one(fixture->kv, batch, by_value);
	kv_batch_free(batch);
	return err ? (void *)1 : NULL;
}

/* No addition is lost, and none is made twice. */
static void test_threads(void **state)
{
	struct fixture *fixture = *state;
	pthread_t threads[THREADS];
	uint64_t number = 0;
	struct kv_slice value;
	void *failed;

	assert_int_equal(
		kv_put(fixture->kv, HASHED, "sum", 3, &number, sizeof(number), NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_thread, fixture), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, HASHED, "sum", 3, &value), 0);
	memcpy(&number, value.data, sizeof(number));
	kv_read_end(fixture->kv);
	assert_int_equal(number, THREADS * ADDITIONS);
	assert_int_equal(kv_last_seq(fixture->kv), 1 + THREADS * ADDITIONS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_get_seq),
		FIXTURE_TEST(test_expect),
		FIXTURE_TEST(test_expect_value),
		FIXTURE_TEST(test_question),
		FIXTURE_TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
