/* SPDX-License-Identifier: MIT */
/* readahead_test.c - what the disk is asked for before large values are read from maps. */
#include "kv_fixture.h"

#include "env.h"

#define VALUE_SIZE 60000u
#define VALUES 60u
#define MAPPED 34u /* of them are surely not in the newest segment */
#define ASKED_MAX 4096u

struct range {
	const uint8_t *start;
	size_t size;
};

static struct range asked[ASKED_MAX];
static unsigned asked_count;
static size_t asked_bytes;

static void note_advice(const void *start, size_t size, enum env_advice advice)
{
	if (advice != ENV_ADVICE_WILLNEED)
		return;
	assert_true(asked_count < ASKED_MAX);
	asked[asked_count++] = (struct range){start, size};
	asked_bytes += size;
}

/* Was the disk asked for all of it? */
static bool was_asked(const uint8_t *data, size_t size)
{
	const uint8_t *at = data, *end = data + size;
	bool further = true;

	while (at < end && further) {
		further = false;
		for (unsigned i = 0; i < asked_count; i++) {
			if (at >= asked[i].start && at < asked[i].start + asked[i].size) {
				at = asked[i].start + asked[i].size;
				further = true;
			}
		}
	}
	return at >= end;
}

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %06u", number);
}

/* Reads the value; true: it was asked for before. */
static bool read_one(struct fixture *fixture, unsigned number)
{
	struct kv_slice value;
	char key[16];
	bool was;

	key_of(number, key);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, HASHED, key, strlen(key), &value), 0);
	assert_int_equal(value.size, VALUE_SIZE);
	was = was_asked(value.data, value.size);
	kv_read_end(fixture->kv);
	return was;
}

/* A store whose values are in maps, all but the newest. */
static void put_and_reopen(struct fixture *fixture)
{
	char key[16];

	for (unsigned i = 0; i < VALUES; i++) {
		key_of(i, key);
		must_put_filled(fixture, HASHED, key, VALUE_SIZE, i);
	}
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	asked_count = 0;
	asked_bytes = 0;
	fixture->env->map_advise = note_advice;
	/*
	 * What this thread remembers of another test's store, at the same addresses, it forgets in
	 * another segment.
	 */
	(void)read_one(fixture, 0);
	(void)read_one(fixture, MAPPED - 1);
}

static void test_in_sequence(void **state)
{
	put_and_reopen(*state);
	for (unsigned i = 0; i < MAPPED; i++)
		assert_true(read_one(*state, i));
	/* A window at a time, not value by value, and nothing twice but a page where two meet. */
	assert_true(asked_count <= MAPPED / 2);
	assert_true(asked_bytes <= VALUES * (size_t)VALUE_SIZE + 3 * SEGMENT_SIZE);
}

static void test_backwards(void **state)
{
	put_and_reopen(*state);
	for (unsigned i = MAPPED; i-- > 0;)
		assert_true(read_one(*state, i));
}

static void test_at_random(void **state)
{
	struct sim_random random = {7};

	put_and_reopen(*state);
	for (unsigned i = 0; i < 4 * MAPPED; i++)
		assert_true(read_one(*state, (unsigned)sim_random_below(&random, MAPPED)));
}

/* As one of two threads that read a file by turns sees it. */
static void test_every_other(void **state)
{
	put_and_reopen(*state);
	for (unsigned i = 0; i < MAPPED; i += 2)
		assert_true(read_one(*state, i));
	assert_true(asked_count <= MAPPED / 4);
}

#define PART_SIZE 4096u

static const uint8_t *read_part(struct fixture *fixture, unsigned number, size_t offset, bool *was)
{
	struct kv_slice value;
	char key[16];

	key_of(number, key);
	assert_int_equal(
		kv_get_part(fixture->kv, HASHED, key, strlen(key), offset, PART_SIZE, &value), 0);
	assert_int_equal(value.size, VALUE_SIZE);
	*was = was_asked(value.data, value.size);
	return (const uint8_t *)value.data + offset;
}

/* Of what parts are read from the disk is asked for all, once. */
static void test_parts(void **state)
{
	struct fixture *fixture = *state;
	struct sim_random random = {8};
	uint8_t expected[VALUE_SIZE];
	bool was;

	put_and_reopen(fixture);
	for (unsigned i = 0; i < 20 * MAPPED; i++) {
		unsigned number = (unsigned)sim_random_below(&random, MAPPED);
		size_t offset = (size_t)sim_random_below(&random, VALUE_SIZE - PART_SIZE);

		fill_bytes(expected, VALUE_SIZE, number);
		kv_read_begin(fixture->kv);
		assert_memory_equal(
			read_part(fixture, number, offset, &was), expected + offset, PART_SIZE);
		kv_read_end(fixture->kv);
		assert_true(was);
	}
	assert_true(asked_count <= MAPPED + 2);
}

#define BLOCKS 300u
#define BLOCK_SIZE 4096u

/* Smaller values are asked for together with what is around them, once. */
static void test_blocks(void **state)
{
	struct fixture *fixture = *state;
	struct sim_random random = {9};
	unsigned asked_before;
	struct kv_slice value;
	char key[16];

	for (unsigned i = 0; i < BLOCKS; i++) {
		key_of(1000 + i, key);
		must_put_filled(fixture, HASHED, key, BLOCK_SIZE, i);
	}
	put_and_reopen(fixture);
	asked_before = asked_count;
	for (unsigned i = 0; i < 4 * BLOCKS; i++) {
		bool was;

		key_of(1000 + (unsigned)sim_random_below(&random, BLOCKS / 2), key);
		kv_read_begin(fixture->kv);
		assert_int_equal(
			kv_get_part(fixture->kv, HASHED, key, strlen(key), 100, 1000, &value), 0);
		assert_int_equal(value.size, BLOCK_SIZE);
		was = was_asked((const uint8_t *)value.data + 100, 1);
		kv_read_end(fixture->kv);
		assert_true(was);
	}
	assert_in_range(asked_count - asked_before, 1, BLOCKS / 2 * (BLOCK_SIZE + 64) / 65536 + 2);
}

#define MIXED 200u

/* Every third one is large; of sizes by which they come to begin anywhere. */
static size_t mixed_size(unsigned number)
{
	return number % 3 ? BLOCK_SIZE : 17000 + number * 8;
}

/* Reads a part of it; true: the disk was asked for that. */
static bool read_mixed(struct fixture *fixture, unsigned number)
{
	struct kv_slice value;
	char key[16];
	bool was;

	key_of(2000 + number, key);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get_part(fixture->kv, HASHED, key, strlen(key), 100, 1000, &value), 0);
	assert_int_equal(value.size, mixed_size(number));
	was = was_asked((const uint8_t *)value.data + 100, 1000);
	kv_read_end(fixture->kv);
	return was;
}

/* That a large value was asked for says nothing of the smaller ones behind it. */
static void test_mixed(void **state)
{
	struct fixture *fixture = *state;
	unsigned i, k;
	char key[16];

	for (i = 0; i < 3 * MIXED; i++) {
		key_of(2000 + i, key);
		must_put_filled(fixture, HASHED, key, mixed_size(i), i);
	}
	put_and_reopen(fixture);
	for (i = MIXED; i-- > 0;)
		assert_true(read_mixed(fixture, 3 * i));
	asked_count = 0;
	for (i = MIXED; i-- > 0;)
		for (k = 1; k < 3; k++)
			assert_true(read_mixed(fixture, 3 * i + k));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_in_sequence),
		INLINE_TEST(test_backwards),
		INLINE_TEST(test_at_random),
		INLINE_TEST(test_every_other),
		INLINE_TEST(test_parts),
		INLINE_TEST(test_blocks),
		INLINE_TEST(test_mixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
