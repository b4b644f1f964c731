/* SPDX-License-Identifier: MIT */
/* kv_large_readers_test.c - who reads a value in pieces while others change it. */
#include "large_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define SHORT (5u * PIECE) /* no new segment is needed, for which a writer would wait for readers */

static void *replace_and_delete(void *arg)
{
	struct fixture *fixture = arg;
	uint8_t *value = bytes_of(SHORT, 15);

	stream_all(fixture, "k", value, SHORT, SHORT);
	must_delete(fixture, HASHED, "k");
	free(value);
	return NULL;
}

/* Who has opened a value reads it to its end, though it is replaced and deleted meanwhile. */
static void test_old_value_stays_readable(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *one = bytes_of(SHORT, 14);
	struct kv_value value;
	struct kv_slice part;
	pthread_t thread;
	size_t offset;

	stream_all(fixture, "k", one, SHORT, SHORT);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_value_open(fixture->kv, HASHED, "k", 1, &value), 0);
	pthread_create(&thread, NULL, replace_and_delete, fixture);
	while (kv_contains(fixture->kv, HASHED, "k", 1) == 0)
		usleep(1000);
	usleep(50000);
	for (offset = 0; offset < SHORT; offset += part.size) {
		assert_int_equal(kv_value_part(&value, offset, &part), 0);
		assert_memory_equal(part.data, one + offset, part.size);
	}
	kv_read_end(fixture->kv);
	pthread_join(thread, NULL);
	must_have_pieces(fixture, 0);
	must_check_clean(fixture);
	free(one);
}

/* What has been changed in place since it was opened says so; what has not can be read. */
static void test_stale_parts(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *one = bytes_of(SHORT, 16);
	struct kv_value value;
	struct kv_slice part;

	stream_all(fixture, "k", one, SHORT, SHORT);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_value_open(fixture->kv, HASHED, "k", 1, &value), 0);
	assert_int_equal(write_at(fixture, "k", 4 * PIECE, "new", 3), 0);
	assert_int_equal(kv_value_part(&value, 3 * PIECE, &part), 0);
	assert_memory_equal(part.data, one + 3 * PIECE, PIECE);
	assert_int_equal(kv_value_part(&value, 4 * PIECE, &part), -ESTALE);
	kv_read_end(fixture->kv);
	free(one);
}

#define SPAN (5 * PIECE / 2)
#define WRITES 150u

struct party {
	struct fixture *fixture;
	unsigned number;
	_Atomic bool *over;
};

/* Writes the same byte over all of the value, and a byte of its own. */
static void *write_stamps(void *arg)
{
	struct party *party = arg;
	uint8_t *data = malloc(SPAN);
	unsigned i;

	for (i = 1; i <= WRITES; i++) {
		uint8_t own = (uint8_t)i;

		memset(data, (int)(i * 2 + party->number), SPAN);
		assert_int_equal(write_at(party->fixture, "k", 0, data, SPAN), 0);
		assert_int_equal(
			write_at(party->fixture, "k", SPAN + party->number * PIECE, &own, 1), 0);
	}
	free(data);
	return NULL;
}

static void *read_stamps(void *arg)
{
	struct party *party = arg;
	uint8_t *data = malloc(SPAN);
	struct kv_slice slice;
	size_t done;

	while (!atomic_load(party->over)) {
		assert_int_equal(
			kv_read(party->fixture->kv, HASHED, "k", 1, 0, data, SPAN, &done), 0);
		assert_int_equal(done, SPAN);
		assert_memory_equal(data, data + 1, SPAN - 1);
		kv_read_begin(party->fixture->kv);
		assert_int_equal(kv_get(party->fixture->kv, HASHED, "k", 1, &slice), 0);
		assert_memory_equal(slice.data, (const uint8_t *)slice.data + 1, SPAN - 1);
		kv_read_end(party->fixture->kv);
	}
	free(data);
	return NULL;
}

/* Every read is of one state of the value; no write of another thread is lost. */
static void test_concurrent_writes(void **state)
{
	struct fixture *fixture = *state;
	struct party parties[3] = {{fixture, 0, NULL}, {fixture, 1, NULL}, {fixture, 2, NULL}};
	uint8_t *zeros = calloc(1, SPAN), own;
	pthread_t threads[3];
	_Atomic bool over = false;
	unsigned i;
	size_t done;

	assert_int_equal(write_at(fixture, "k", 0, zeros, SPAN), 0);
	parties[2].over = &over;
	pthread_create(&threads[2], NULL, read_stamps, &parties[2]);
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, write_stamps, &parties[i]);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&over, true);
	pthread_join(threads[2], NULL);
	for (i = 0; i < 2; i++) {
		assert_int_equal(
			kv_read(fixture->kv, HASHED, "k", 1, SPAN + i * PIECE, &own, 1, &done), 0);
		assert_int_equal(own, (uint8_t)WRITES);
	}
	must_check_clean(fixture);
	free(zeros);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_old_value_stays_readable),
		FIXTURE_TEST(test_stale_parts),
		FIXTURE_TEST(test_concurrent_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
