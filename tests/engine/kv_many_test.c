/* SPDX-License-Identifier: MIT */
/*
 * kv_many_test.c - many entries with one call: by their keys, and in order from a cursor's place.
 */
#include "kv_fixture.h"

#include "env.h"

#define KEYS 1000u
#define MANY 100u

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %06u", number);
}

/* A value's size and bytes follow from its key's number and version. */
static size_t size_of(unsigned number, unsigned version)
{
	return (number * 37 + version * 101) % 3000;
}

static void put_version(struct fixture *fixture, unsigned number, unsigned version)
{
	static char text[3001];
	char key[16];

	memset(text, (int)('a' + (number + version) % 26), size_of(number, version));
	text[size_of(number, version)] = '\0';
	key_of(number, key);
	must_put(fixture, ORDERED, key, text);
}

static void must_be_version(const struct kv_entry *entry, unsigned number, unsigned version)
{
	assert_int_equal(entry->status, 0);
	assert_int_equal(entry->value.size, size_of(number, version));
	for (size_t i = 0; i < entry->value.size; i++)
		assert_int_equal(
			((const char *)entry->value.data)[i], 'a' + (number + version) % 26);
}

/* Versions of all keys, 0: there is none. Enough of them that segments are mapped and emptied. */
static unsigned versions[KEYS];

static void churn(struct fixture *fixture)
{
	struct sim_random random = {5};
	char key[16];

	memset(versions, 0, sizeof(versions));
	for (unsigned i = 1; i <= 6 * KEYS; i++) {
		unsigned number = (unsigned)sim_random_below(&random, KEYS);

		if (i % 5 == 0) {
			key_of(number, key);
			must_delete(fixture, ORDERED, key);
			versions[number] = 0;
		} else {
			put_version(fixture, number, i);
			versions[number] = i;
		}
	}
}

static void must_get_many(struct fixture *fixture)
{
	static char keys[MANY][16];
	static struct kv_entry entries[MANY];
	struct sim_random random = {9};
	unsigned numbers[MANY];

	for (unsigned round = 0; round < 50; round++) {
		size_t count = 1 + sim_random_below(&random, MANY);

		for (size_t i = 0; i < count; i++) {
			numbers[i] = (unsigned)sim_random_below(&random, KEYS);
			key_of(numbers[i], keys[i]);
			entries[i].key = (struct kv_slice){keys[i], strlen(keys[i])};
		}
		kv_read_begin(fixture->kv);
		kv_multi_get(fixture->kv, ORDERED, entries, count);
		for (size_t i = 0; i < count; i++)
			if (versions[numbers[i]])
				must_be_version(&entries[i], numbers[i], versions[numbers[i]]);
			else
				assert_int_equal(entries[i].status, -ENOENT);
		kv_read_end(fixture->kv);
	}
}

/* From a random place on, in portions of any size. */
static void must_read_on(struct fixture *fixture)
{
	static struct kv_entry entries[MANY];
	struct sim_random random = {13};
	struct kv_cursor *cursor;
	char key[16];

	assert_int_equal(kv_cursor_open(fixture->kv, ORDERED, &cursor), 0);
	for (unsigned round = 0; round < 10; round++) {
		unsigned at = (unsigned)sim_random_below(&random, KEYS);
		size_t count;
		int err = 0;

		key_of(at, key);
		err = kv_cursor_seek(cursor, key, strlen(key));
		while (!err) {
			size_t max = 1 + sim_random_below(&random, MANY);

			kv_read_begin(fixture->kv);
			err = kv_cursor_read(cursor, entries, max, &count);
			for (size_t i = 0; i < count && !err; i++, at++) {
				while (!versions[at])
					at++;
				key_of(at, key);
				assert_int_equal(entries[i].key.size, strlen(key));
				assert_memory_equal(entries[i].key.data, key, strlen(key));
				must_be_version(&entries[i], at, versions[at]);
			}
			kv_read_end(fixture->kv);
			if (!err && count < max)
				assert_null(kv_cursor_key(cursor).data);
		}
		assert_int_equal(err, -ENOENT);
		while (at < KEYS && !versions[at])
			at++;
		assert_int_equal(at, KEYS);
	}
	kv_cursor_close(cursor);
}

static void run_all(struct fixture *fixture)
{
	churn(fixture);
	must_get_many(fixture);
	must_read_on(fixture);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	must_get_many(fixture);
	must_read_on(fixture);
}

static void test_plain(void **state)
{
	run_all(*state);
}

/* All values of a call are there at once, in memory of the thread. */
static void test_compressed(void **state)
{
	struct fixture *fixture = *state;
	struct kv_create_options options = fixture_create_options;

	options.compress = KV_COMPRESS_INLINE;
	assert_int_equal(kv_create(fixture->env, STORE_PATH, &options, NULL, NULL), 0);
	must_open(fixture, 0);
	run_all(fixture);
}

static void test_refused(void **state)
{
	struct fixture *fixture = *state;
	struct kv_entry entries[3] = {{.key = {"a", 1}}, {.key = {"a", 0}}, {.key = {"b", 1}}};
	struct kv_cursor *cursor;
	size_t count = 7;

	must_put(fixture, HASHED, "a", "A");
	kv_read_begin(fixture->kv);
	kv_multi_get(fixture->kv, HASHED, entries, 3);
	assert_int_equal(entries[0].status, 0);
	assert_memory_equal(entries[0].value.data, "A", 1);
	assert_int_equal(entries[0].seq, kv_last_seq(fixture->kv));
	assert_int_equal(entries[1].status, -EINVAL);
	assert_int_equal(entries[2].status, -ENOENT);
	kv_multi_get(fixture->kv, 2, entries, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(entries[i].status, -EINVAL);
	assert_int_equal(kv_cursor_open(fixture->kv, ORDERED, &cursor), 0);
	assert_int_equal(kv_cursor_read(cursor, entries, 3, &count), -ENOENT);
	assert_int_equal(kv_cursor_first(cursor), -ENOENT);
	assert_int_equal(kv_cursor_read(cursor, entries, 3, &count), -ENOENT);
	assert_int_equal(count, 7);
	kv_read_end(fixture->kv);
	kv_cursor_close(cursor);
}

/* What is there when it is read counts, not what was there when the cursor came. */
static void test_under_change(void **state)
{
	struct fixture *fixture = *state;
	struct kv_entry entries[8];
	struct kv_cursor *cursor;
	size_t count;

	must_put(fixture, ORDERED, "a", "1");
	must_put(fixture, ORDERED, "b", "1");
	must_put(fixture, ORDERED, "d", "1");
	assert_int_equal(kv_cursor_open(fixture->kv, ORDERED, &cursor), 0);
	assert_int_equal(kv_cursor_first(cursor), 0);
	must_delete(fixture, ORDERED, "a");
	must_put(fixture, ORDERED, "b", "2");
	must_put(fixture, ORDERED, "c", "2");
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_cursor_read(cursor, entries, 2, &count), 0);
	/*
	 * The cursor stood on a deleted key, so one of two places went to nothing, or it was
	 * filled.
	 */
	assert_in_range(count, 1, 2);
	assert_memory_equal(entries[0].key.data, "b", 1);
	assert_memory_equal(entries[0].value.data, "2", 1);
	kv_read_end(fixture->kv);
	assert_int_equal(kv_cursor_first(cursor), 0);
	must_put(fixture, ORDERED, "b", "3");
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_cursor_read(cursor, entries, 8, &count), 0);
	assert_int_equal(count, 3);
	assert_memory_equal(entries[0].value.data, "3", 1);
	assert_memory_equal(entries[1].key.data, "c", 1);
	assert_memory_equal(entries[2].key.data, "d", 1);
	kv_read_end(fixture->kv);
	/* Everything from the cursor's place on is gone. */
	assert_int_equal(kv_cursor_seek(cursor, "d", 1), 0);
	must_delete(fixture, ORDERED, "d");
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_cursor_read(cursor, entries, 8, &count), -ENOENT);
	kv_read_end(fixture->kv);
	kv_cursor_close(cursor);
}

/* What lies below the upper bound, in one read and in reads of three. */
static void must_read_below(
	struct fixture *fixture, const char *const *sorted, unsigned from, const char *to)
{
	struct kv_entry entries[16];
	unsigned expected;
	struct kv_cursor *cursor;
	size_t count;
	int err;

	assert_int_equal(kv_cursor_open(fixture->kv, ORDERED, &cursor), 0);
	assert_int_equal(kv_cursor_set_range(cursor, NULL, 0, to, strlen(to)), 0);
	kv_read_begin(fixture->kv);
	for (size_t max = 3; max <= 16; max += 13) {
		expected = from;
		err = kv_cursor_seek(cursor, sorted[from], strlen(sorted[from]));
		while (!err && !(err = kv_cursor_read(cursor, entries, max, &count))) {
			for (size_t i = 0; i < count; i++, expected++) {
				assert_true(strcmp(sorted[expected], to) < 0);
				assert_int_equal(entries[i].key.size, strlen(sorted[expected]));
				assert_memory_equal(
					entries[i].key.data, sorted[expected], entries[i].key.size);
			}
		}
		assert_int_equal(err, -ENOENT);
		assert_true(!sorted[expected] || strcmp(sorted[expected], to) >= 0);
	}
	kv_read_end(fixture->kv);
	kv_cursor_close(cursor);
}

/*
 * Keys and bounds that are shorter and longer than the word by which most are told apart, and equal
 * in it.
 */
static void test_upper_bound(void **state)
{
	static const char *const sorted[] = {"a", "abcdefg", "abcdefgh", "abcdefgh\x01",
		"abcdefghi", "abcdefghij", "abcdefgi", "abcdefgij", "b", "bbbbbbbb", "\x7f",
		"\x80zzzzzzz", "\xff\xff\xff\xff\xff\xff\xff\xff", NULL};
	struct fixture *fixture = *state;
	unsigned count = sizeof(sorted) / sizeof(*sorted) - 1;

	for (unsigned i = 0; i < count; i++)
		must_put(fixture, ORDERED, sorted[i], sorted[i]);
	for (unsigned from = 0; from < count; from++) {
		for (unsigned to = 0; to < count; to++)
			must_read_below(fixture, sorted, from, sorted[to]);
		must_read_below(fixture, sorted, from, "abcdefghh");
		must_read_below(fixture, sorted, from, "c");
	}
}

/* ---- records on the disk --------------------------------------------------------------------- */

static uint64_t slow_now_us, slow_step_us;
static unsigned advices;

static uint64_t slow_clock(struct kv_env *env)
{
	(void)env;
	return slow_now_us += slow_step_us;
}

static void count_advice(const void *start, size_t size, enum env_advice advice)
{
	assert_non_null(start);
	assert_in_range(size, 1, SEGMENT_SIZE);
	advices += advice == ENV_ADVICE_WILLNEED;
}

static unsigned advices_of_read(struct fixture *fixture)
{
	static struct kv_entry entries[MANY];
	struct kv_cursor *cursor;
	size_t count;

	advices = 0;
	assert_int_equal(kv_cursor_open(fixture->kv, ORDERED, &cursor), 0);
	assert_int_equal(kv_cursor_first(cursor), 0);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_cursor_read(cursor, entries, MANY, &count), 0);
	kv_read_end(fixture->kv);
	kv_cursor_close(cursor);
	return advices;
}

/*
 * Groups that take as long as a disk does are asked of the kernel, and no more than some after
 * that.
 */
static void test_from_disk(void **state)
{
	struct fixture *fixture = *state;
	struct kv_env saved;

	churn(fixture);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY); /* all of it in maps */
	saved = *fixture->env;
	fixture->env->clock_us = slow_clock;
	fixture->env->map_advise = count_advice;
	slow_step_us = 0;
	assert_int_equal(advices_of_read(fixture), 0);
	slow_step_us = 10000;
	advices_of_read(fixture);
	assert_int_equal(advices_of_read(fixture), MANY);
	must_read_on(fixture);
	slow_step_us = 0;
	assert_int_equal(advices_of_read(fixture), MANY);
	for (unsigned i = 0; i < 10; i++)
		advices_of_read(fixture);
	assert_int_equal(advices_of_read(fixture), 0);
	must_get_many(fixture);
	fixture->env->clock_us = saved.clock_us;
	fixture->env->map_advise = saved.map_advise;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_plain),
		EMPTY_TEST(test_compressed),
		FIXTURE_TEST(test_refused),
		FIXTURE_TEST(test_under_change),
		FIXTURE_TEST(test_upper_bound),
		FIXTURE_TEST(test_from_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
