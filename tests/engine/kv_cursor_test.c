/* SPDX-License-Identifier: MIT */
/* kv_cursor_test.c - walks over ordered keyspaces, while they change and while they do not. */
#include "kv_fixture.h"

#define KEYS 2000u

static struct kv_cursor *must_cursor(struct fixture *fixture)
{
	struct kv_cursor *cursor;

	assert_int_equal(kv_cursor_open(fixture->kv, ORDERED, &cursor), 0);
	return cursor;
}

static void must_be_at(struct kv_cursor *cursor, const char *key)
{
	struct kv_slice found = kv_cursor_key(cursor);

	assert_non_null(found.data);
	assert_int_equal(found.size, strlen(key));
	assert_memory_equal(found.data, key, found.size);
}

static int seek(struct kv_cursor *cursor, const char *key)
{
	return kv_cursor_seek(cursor, key, strlen(key));
}

static void test_refused(void **state)
{
	struct fixture *fixture = *state;
	struct kv_cursor *cursor;

	assert_int_equal(kv_cursor_open(fixture->kv, HASHED, &cursor), -EINVAL);
	assert_int_equal(kv_cursor_open(fixture->kv, 2, &cursor), -EINVAL);
	kv_cursor_close(NULL);
}

static void test_empty(void **state)
{
	struct kv_cursor *cursor = must_cursor(*state);
	struct kv_slice value;

	assert_int_equal(kv_cursor_first(cursor), -ENOENT);
	assert_int_equal(kv_cursor_last(cursor), -ENOENT);
	assert_int_equal(seek(cursor, "a"), -ENOENT);
	assert_int_equal(kv_cursor_next(cursor), -ENOENT);
	assert_int_equal(kv_cursor_prev(cursor), -ENOENT);
	assert_int_equal(kv_cursor_value(cursor, &value), -ENOENT);
	kv_cursor_close(cursor);
}

/* A shorter key comes before its extensions, and bytes compare unsigned. */
static void test_order(void **state)
{
	static const char *const sorted[] = {
		"\x01", "a", "a\x01", "ab", "abc", "b", "\x7f", "\x80", "\xff", "\xff\xff"};
	static const unsigned put_order[] = {4, 9, 0, 7, 2, 5, 8, 1, 6, 3};
	struct fixture *fixture = *state;
	struct kv_cursor *cursor = must_cursor(fixture);
	struct kv_slice value;

	for (unsigned i = 0; i < 10; i++)
		must_put(fixture, ORDERED, sorted[put_order[i]], sorted[put_order[i]]);
	assert_int_equal(kv_cursor_first(cursor), 0);
	for (unsigned i = 0; i < 10; i++) {
		must_be_at(cursor, sorted[i]);
		kv_read_begin(fixture->kv);
		assert_int_equal(kv_cursor_value(cursor, &value), 0);
		assert_int_equal(value.size, strlen(sorted[i]));
		assert_memory_equal(value.data, sorted[i], value.size);
		kv_read_end(fixture->kv);
		assert_int_equal(kv_cursor_next(cursor), i < 9 ? 0 : -ENOENT);
	}
	assert_int_equal(kv_cursor_next(cursor), -ENOENT);
	assert_int_equal(kv_cursor_last(cursor), 0);
	for (unsigned i = 10; i-- > 0;) {
		must_be_at(cursor, sorted[i]);
		assert_int_equal(kv_cursor_prev(cursor), i > 0 ? 0 : -ENOENT);
	}
	assert_int_equal(kv_cursor_prev(cursor), -ENOENT);
	assert_int_equal(seek(cursor, "ab"), 0);
	must_be_at(cursor, "ab");
	assert_int_equal(seek(cursor, "aba"), 0);
	must_be_at(cursor, "abc");
	assert_int_equal(seek(cursor, "abd"), 0);
	must_be_at(cursor, "b");
	assert_int_equal(seek(cursor, "\xff\xff\xff"), -ENOENT);
	assert_int_equal(kv_cursor_prev(cursor), -ENOENT);
	kv_cursor_close(cursor);
}

/* A move goes to the nearest key in its direction that is there at that moment. */
static void test_under_change(void **state)
{
	struct fixture *fixture = *state;
	struct kv_cursor *cursor = must_cursor(fixture);
	struct kv_slice value;

	must_put(fixture, ORDERED, "b", "b");
	must_put(fixture, ORDERED, "d", "d");
	must_put(fixture, ORDERED, "f", "f");
	assert_int_equal(seek(cursor, "d"), 0);
	must_delete(fixture, ORDERED, "d");
	must_be_at(cursor, "d");
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_cursor_value(cursor, &value), -ENOENT);
	kv_read_end(fixture->kv);
	must_put(fixture, ORDERED, "e", "e");
	assert_int_equal(kv_cursor_next(cursor), 0);
	must_be_at(cursor, "e");
	must_put(fixture, ORDERED, "c", "c");
	must_delete(fixture, ORDERED, "e");
	assert_int_equal(kv_cursor_prev(cursor), 0);
	must_be_at(cursor, "c");
	must_delete(fixture, ORDERED, "b");
	assert_int_equal(kv_cursor_prev(cursor), -ENOENT);
	must_put(fixture, ORDERED, "a", "a");
	assert_int_equal(kv_cursor_prev(cursor), -ENOENT);
	assert_int_equal(kv_cursor_next(cursor), -ENOENT);
	assert_int_equal(kv_cursor_first(cursor), 0);
	must_be_at(cursor, "a");
	must_put(fixture, ORDERED, "a", "newer");
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_cursor_value(cursor, &value), 0);
	assert_int_equal(value.size, 5);
	kv_read_end(fixture->kv);
	kv_cursor_close(cursor);
	must_check_clean(fixture);
}

static void must_walk(struct kv_cursor *cursor, const char *const *keys, unsigned count)
{
	assert_int_equal(kv_cursor_first(cursor), count ? 0 : -ENOENT);
	for (unsigned i = 0; i < count; i++) {
		must_be_at(cursor, keys[i]);
		assert_int_equal(kv_cursor_next(cursor), i + 1 < count ? 0 : -ENOENT);
	}
	assert_null(kv_cursor_key(cursor).data);
	assert_int_equal(kv_cursor_last(cursor), count ? 0 : -ENOENT);
	for (unsigned i = count; i-- > 0;) {
		must_be_at(cursor, keys[i]);
		assert_int_equal(kv_cursor_prev(cursor), i > 0 ? 0 : -ENOENT);
	}
	assert_null(kv_cursor_key(cursor).data);
}

/* A cursor with bounds knows what is between them. */
static void test_bounds(void **state)
{
	static const char *const keys[] = {
		"a", "b", "ba", "bb", "bb\xff", "bb\xff\xff", "bc", "c", "\xff", "\xff\xff"};
	struct fixture *fixture = *state;
	struct kv_cursor *cursor = must_cursor(fixture);
	struct kv_entry entries[16];
	size_t count;

	for (unsigned i = 0; i < 10; i++)
		must_put(fixture, ORDERED, keys[i], keys[i]);
	assert_int_equal(kv_cursor_set_prefix(cursor, "b", 1), 0);
	assert_null(kv_cursor_key(cursor).data);
	must_walk(cursor, keys + 1, 6);
	assert_int_equal(seek(cursor, "a"), 0);
	must_be_at(cursor, "b");
	assert_int_equal(seek(cursor, "bbb"), 0);
	must_be_at(cursor, "bb\xff");
	assert_int_equal(seek(cursor, "c"), -ENOENT);
	assert_int_equal(seek(cursor, "ba"), 0);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_cursor_read(cursor, entries, 16, &count), 0);
	assert_int_equal(count, 5);
	kv_read_end(fixture->kv);
	assert_null(kv_cursor_key(cursor).data);
	assert_int_equal(kv_cursor_set_prefix(cursor, "bb\xff", 3), 0);
	must_walk(cursor, keys + 4, 2);
	assert_int_equal(kv_cursor_set_prefix(cursor, "\xff", 1), 0);
	must_walk(cursor, keys + 8, 2);
	assert_int_equal(kv_cursor_set_prefix(cursor, "bd", 2), 0);
	must_walk(cursor, keys, 0);
	assert_int_equal(kv_cursor_set_range(cursor, "b", 1, "bc", 2), 0);
	must_walk(cursor, keys + 1, 5);
	assert_int_equal(kv_cursor_set_range(cursor, "b\x01", 2, NULL, 0), 0);
	must_walk(cursor, keys + 2, 8);
	assert_int_equal(kv_cursor_set_range(cursor, NULL, 0, "b", 1), 0);
	must_walk(cursor, keys, 1);
	assert_int_equal(kv_cursor_set_range(cursor, "c", 1, "b", 1), 0);
	must_walk(cursor, keys, 0);
	assert_int_equal(kv_cursor_set_range(cursor, "c", KV_KEY_SIZE_MAX + 1, NULL, 0), -EINVAL);
	assert_int_equal(kv_cursor_set_prefix(cursor, NULL, 0), 0);
	must_walk(cursor, keys, 10);
	kv_cursor_close(cursor);
}

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %06u", number);
}

/* Random puts and deletes, cursors placed everywhere, judged by a plain table; also after opening
 * again. */
static void test_against_table(void **state)
{
	struct fixture *fixture = *state;
	static bool there[KEYS];
	struct sim_random random = {11};
	struct kv_cursor *cursor;
	char key[16];

	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < KEYS; i++) {
			unsigned number = (unsigned)sim_random_below(&random, KEYS);

			key_of(number, key);
			there[number] = sim_random_below(&random, 3) > 0;
			if (there[number])
				must_put(fixture, ORDERED, key, key);
			else
				must_delete(fixture, ORDERED, key);
		}
		if (round % 3 == 2) {
			must_close(fixture);
			must_open(fixture, 0);
		}
		cursor = must_cursor(fixture);
		for (unsigned i = 0; i < 500; i++) {
			unsigned from = (unsigned)sim_random_below(&random, KEYS), at = from;
			unsigned before;

			while (at < KEYS && !there[at])
				at++;
			key_of(from, key);
			assert_int_equal(seek(cursor, key), at < KEYS ? 0 : -ENOENT);
			if (at == KEYS)
				continue;
			key_of(at, key);
			must_be_at(cursor, key);
			for (before = at; before > 0 && !there[before - 1]; before--)
				;
			assert_int_equal(kv_cursor_prev(cursor), before > 0 ? 0 : -ENOENT);
			if (before == 0)
				continue;
			key_of(before - 1, key);
			must_be_at(cursor, key);
			assert_int_equal(kv_cursor_next(cursor), 0);
			key_of(at, key);
			must_be_at(cursor, key);
		}
		kv_cursor_close(cursor);
		must_check_clean(fixture);
	}
}

static uint64_t rank_of(struct fixture *fixture, const char *key)
{
	uint64_t rank;

	assert_int_equal(kv_rank(fixture->kv, ORDERED, key, strlen(key), &rank), 0);
	return rank;
}

static uint64_t count_between(struct fixture *fixture, const char *from, const char *to)
{
	uint64_t count;

	assert_int_equal(kv_count_range(fixture->kv, ORDERED, from, strlen(from), to, strlen(to),
				 &count),
		0);
	return count;
}

/* Positions and counts, of keys that are there and of those that are not. */
static void test_positions(void **state)
{
	struct fixture *fixture = *state;
	struct kv_cursor *cursor = must_cursor(fixture);
	uint64_t count;
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		key_of(2 * ((i * 7) % KEYS), key);
		must_put(fixture, ORDERED, key, key);
	}
	must_put(fixture, HASHED, "a", "a");
	assert_int_equal(kv_count(fixture->kv, ORDERED, &count), 0);
	assert_int_equal(count, KEYS);
	assert_int_equal(kv_count(fixture->kv, HASHED, &count), 0);
	assert_int_equal(count, 1);
	for (unsigned i = 0; i < KEYS; i += 13) {
		key_of(2 * i, key);
		assert_int_equal(rank_of(fixture, key), i);
		assert_int_equal(kv_cursor_select(cursor, i), 0);
		must_be_at(cursor, key);
		assert_int_equal(count_between(fixture, "", key), i);
		assert_int_equal(count_between(fixture, key, ""), KEYS - i);
		assert_int_equal(count_between(fixture, "key 000100", key), i < 50 ? 0 : i - 50);
		key_of(2 * i + 1, key);
		assert_int_equal(rank_of(fixture, key), i + 1);
	}
	assert_int_equal(kv_cursor_select(cursor, KEYS), -ENOENT);
	assert_int_equal(count_between(fixture, "", ""), KEYS);
	assert_int_equal(count_between(fixture, "key 000101", "key 000201"), 50);
	assert_int_equal(kv_cursor_set_range(cursor, "key 000101", 10, "key 000201", 10), 0);
	assert_int_equal(kv_cursor_select(cursor, 0), 0);
	must_be_at(cursor, "key 000102");
	assert_int_equal(kv_cursor_select(cursor, 49), 0);
	must_be_at(cursor, "key 000200");
	assert_int_equal(kv_cursor_select(cursor, 50), -ENOENT);
	assert_null(kv_cursor_key(cursor).data);
	assert_int_equal(kv_rank(fixture->kv, HASHED, "a", 1, &count), -EINVAL);
	assert_int_equal(kv_rank(fixture->kv, ORDERED, "a", 0, &count), -EINVAL);
	assert_int_equal(kv_count(fixture->kv, 2, &count), -EINVAL);
	assert_int_equal(kv_count_range(fixture->kv, HASHED, "a", 1, "b", 1, &count), -EINVAL);
	kv_cursor_close(cursor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_refused),
		FIXTURE_TEST(test_empty),
		FIXTURE_TEST(test_order),
		FIXTURE_TEST(test_under_change),
		FIXTURE_TEST(test_bounds),
		FIXTURE_TEST(test_positions),
		FIXTURE_TEST(test_against_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
