/* SPDX-License-Identifier: MIT */
/* warm_test.c - which maps are of huge pages, which are read in, and when that ends. */
#include "kv_fixture.h"

#include "env.h"
#include "maintain.h"
#include "store.h"
#include "warm.h"

#define SMALL_SIZE 1000u
#define LARGE_SIZE 60000u
#define LOG_SIZE (6 * SEGMENT_SIZE)
#define USES 10000u	/* after which a store counts as used */
#define ROUNDS 50u	/* more than it has segments */
#define NOTES_MAX 1024u

struct note {
	const void *start;
	size_t size;
	enum env_advice advice;
};

static struct note notes[NOTES_MAX];
static unsigned note_count;
static uint64_t faults;

static void note_advice(const void *start, size_t size, enum env_advice advice)
{
	assert_true(note_count < NOTES_MAX);
	notes[note_count++] = (struct note){start, size, advice};
}

static uint64_t count_faults(struct kv_env *env)
{
	return faults;
}

/* Is the last advice of this kind for all of the map that one, and not `other`? */
static bool is_advised(const uint8_t *map, enum env_advice advice, enum env_advice other)
{
	size_t size = 0;

	for (unsigned i = 0; i < note_count; i++) {
		const uint8_t *start = notes[i].start;

		if (start < map || start >= map + SEGMENT_SIZE)
			continue;
		if (notes[i].advice == advice)
			size += notes[i].size;
		else if (notes[i].advice == other)
			size = 0;
	}
	return size >= SEGMENT_SIZE;
}

/* Maps that are advised so, and maps in all. */
static unsigned count_advised(struct fixture *fixture, enum env_advice advice,
			      enum env_advice other, unsigned *maps)
{
	struct segments *segments = &fixture->kv->segments;
	unsigned advised = 0;

	*maps = 0;
	for (uint32_t slot = 0; slot < atomic_load(&segments->count); slot++) {
		const struct segment *segment = segments->table[slot];
		const uint8_t *map = segment ? atomic_load(&segment->map) : NULL;

		if (!map || segment == fixture->kv->log.hot.active)
			continue;
		++*maps;
		advised += is_advised(map, advice, other);
	}
	return advised;
}

static bool all_are(struct fixture *fixture, enum env_advice advice, enum env_advice other)
{
	unsigned maps, advised = count_advised(fixture, advice, other, &maps);

	assert_true(maps > 0);
	return advised == maps;
}

static bool none_is(struct fixture *fixture, enum env_advice advice, enum env_advice other)
{
	unsigned maps, advised = count_advised(fixture, advice, other, &maps);

	assert_true(maps > 0);
	return advised == 0;
}

/* A store with values of this size, opened again, most of which has to stay in maps. */
static void put_and_reopen(struct fixture *fixture, size_t size)
{
	char key[16];

	for (unsigned i = 0; i < LOG_SIZE / size; i++) {
		snprintf(key, sizeof(key), "key %06u", i);
		must_put_filled(fixture, HASHED, key, size, i);
	}
	must_close(fixture);
	note_count = 0;
	faults = 0;
	fixture->env->map_advise = note_advice;
	fixture->env->map_faults = count_faults;
	must_open(fixture, KV_OPEN_INLINE);
	fixture->kv->segments.buffers_max = 3;
	warm_begin(fixture->kv);
}

static void have_all(struct fixture *fixture, size_t size)
{
	char key[16];

	for (unsigned i = 0; i < LOG_SIZE / size; i++) {
		snprintf(key, sizeof(key), "key %06u", i);
		must_have_filled(fixture, HASHED, key, size, i);
	}
}

static void go_round(struct fixture *fixture)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		fixture->kv->maintain.warm_at_us = 0;
		maintain_round(fixture->kv);
	}
}

/*
 * Small records in a log that is small beside memory: read in once the store is used, and found by
 * all who read.
 */
static void test_read_in(void **state)
{
	struct fixture *fixture = *state;
	struct kv_iterator *iterator;
	const struct kv_entry *entries;
	size_t count, sum = 0;
	struct kv *kv;

	put_and_reopen(fixture, SMALL_SIZE);
	kv = fixture->kv;
	assert_true(all_are(fixture, ENV_ADVICE_HUGE, ENV_ADVICE_SMALL));
	go_round(fixture);
	assert_true(none_is(fixture, ENV_ADVICE_POPULATE, ENV_ADVICE_SMALL));

	for (unsigned i = 0; i < USES; i++)
		assert_int_equal(kv_contains(kv, HASHED, "none", 4), -ENOENT);
	go_round(fixture);
	assert_true(all_are(fixture, ENV_ADVICE_POPULATE, ENV_ADVICE_SMALL));
	for (uint32_t slot = 0; slot < atomic_load(&kv->segments.count); slot++) {
		const struct segment *segment = kv->segments.table[slot];

		assert_true(!segment || !segment->verified || segment->sound);
	}
	have_all(fixture, SMALL_SIZE);
	assert_int_equal(kv_iterator_open(kv, HASHED, 0, &iterator), 0);
	kv_read_begin(kv);
	for (; !kv_iterator_read(iterator, &entries, &count); sum += count)
		for (size_t i = 0; i < count; i++)
			assert_true(!entries[i].status && entries[i].value.size == SMALL_SIZE);
	kv_read_end(kv);
	kv_iterator_close(iterator);
	assert_int_equal(sum, LOG_SIZE / SMALL_SIZE);
}

/* What is large is read where it is wanted, and no more. */
static void test_large_records(void **state)
{
	struct fixture *fixture = *state;

	put_and_reopen(fixture, LARGE_SIZE);
	assert_true(none_is(fixture, ENV_ADVICE_HUGE, ENV_ADVICE_SMALL));
	for (unsigned i = 0; i < USES; i++)
		assert_int_equal(kv_contains(fixture->kv, HASHED, "none", 4), -ENOENT);
	go_round(fixture);
	assert_true(none_is(fixture, ENV_ADVICE_POPULATE, ENV_ADVICE_SMALL));
	have_all(fixture, LARGE_SIZE);
}

static void test_outgrown(void **state)
{
	struct fixture *fixture = *state;

	put_and_reopen(fixture, SMALL_SIZE);
	go_round(fixture);
	assert_true(all_are(fixture, ENV_ADVICE_HUGE, ENV_ADVICE_SMALL));
	fixture->kv->warm_size = SEGMENT_SIZE;
	go_round(fixture);
	assert_true(all_are(fixture, ENV_ADVICE_SMALL, ENV_ADVICE_HUGE));
	have_all(fixture, SMALL_SIZE);
}

/* What was read in does not stay in memory: the disk is not asked for 2 MiB at a time any more. */
static void test_no_memory(void **state)
{
	struct fixture *fixture = *state;
	struct kv *kv;

	put_and_reopen(fixture, SMALL_SIZE);
	kv = fixture->kv;
	kv->warm_size = 2 * LOG_SIZE;
	faults = LOG_SIZE >> 20;
	go_round(fixture);
	assert_true(all_are(fixture, ENV_ADVICE_HUGE, ENV_ADVICE_SMALL));
	faults = 1000;
	go_round(fixture);
	assert_true(all_are(fixture, ENV_ADVICE_SMALL, ENV_ADVICE_HUGE));
	have_all(fixture, SMALL_SIZE);

	/* Nor of what is put from now on. */
	note_count = 0;
	for (unsigned i = 0; i < 2 * LOG_SIZE / SMALL_SIZE; i++)
		must_put_filled(fixture, HASHED, "one", SMALL_SIZE, i);
	go_round(fixture);
	for (unsigned i = 0; i < note_count; i++)
		assert_int_not_equal(notes[i].advice, ENV_ADVICE_HUGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_read_in),
		INLINE_TEST(test_large_records),
		INLINE_TEST(test_outgrown),
		INLINE_TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
