/* SPDX-License-Identifier: MIT */
/*
 * kv_digest_test.c - one number for what a store holds: the same wherever the same is held, another
 * as soon as anything is different.
 */
#include "kv_fixture.h"

#define KEYS 700u
#define LARGE_SIZE 3000000u /* more than fits in a batch */

struct digest {
	uint8_t bytes[KV_DIGEST_SIZE];
};

static struct digest digest_with(struct fixture *fixture, const struct kv_view *view,
	const struct kv_digest_options *options)
{
	struct digest digest;

	assert_int_equal(kv_digest(fixture->kv, view, options, NULL, NULL, digest.bytes), 0);
	return digest;
}

static struct digest digest_of(struct fixture *fixture)
{
	return digest_with(fixture, NULL, NULL);
}

static bool is_same(struct digest a, struct digest b)
{
	return !memcmp(a.bytes, b.bytes, sizeof(a.bytes));
}

static void put_large(struct fixture *fixture, unsigned seed)
{
	uint8_t *bytes = malloc(LARGE_SIZE);
	struct kv_stream *stream;

	assert_non_null(bytes);
	fill_bytes(bytes, LARGE_SIZE, seed);
	assert_int_equal(kv_stream_open(fixture->kv, HASHED, "large", 5, &stream), 0);
	assert_int_equal(kv_stream_append(stream, bytes, LARGE_SIZE), 0);
	assert_int_equal(kv_stream_commit(stream, NULL), 0);
	free(bytes);
}

/* The same in the end, in whatever order and by whatever ways. */
static void fill_in_order(struct fixture *fixture, bool reverse)
{
	char key[20];
	unsigned i;

	for (i = 0; i < KEYS; i++) {
		unsigned number = reverse ? KEYS - 1 - i : i;

		snprintf(key, sizeof(key), "key %u", number);
		if (reverse)
			must_put_filled(fixture, number % 2, key, 900, 1);
		must_put_filled(fixture, number % 2, key, number % 2000, number);
	}
	if (reverse)
		must_put(fixture, ORDERED, "gone", "again");
	if (reverse)
		must_delete(fixture, ORDERED, "gone");
	put_large(fixture, 5);
}

/* Of another store: its secret, its segments and its compression are others. */
static struct digest digest_of_another(enum kv_compress compress, enum kv_hash hash, bool reverse)
{
	struct kv_create_options options = fixture_create_options;
	struct fixture *other;
	struct digest digest;
	void *state;

	assert_int_equal(fixture_setup_empty(&state), 0);
	other = state;
	options.compress = compress;
	options.hash = hash;
	options.segment_size = SEGMENT_SIZE * 2;
	assert_int_equal(kv_create(other->env, STORE_PATH, &options, NULL, NULL), 0);
	must_open(other, 0);
	fill_in_order(other, reverse);
	digest = digest_of(other);
	assert_int_equal(fixture_teardown(&state), 0);
	return digest;
}

static void test_same_contents(void **state)
{
	struct fixture *fixture = *state;
	struct digest first, empty = digest_of(fixture);

	fill_in_order(fixture, false);
	first = digest_of(fixture);
	assert_false(is_same(first, empty));
	assert_true(is_same(first, digest_of(fixture)));
	assert_true(is_same(first, digest_of_another(KV_COMPRESS_NONE, KV_HASH_XXH3, true)));
	assert_true(is_same(first, digest_of_another(KV_COMPRESS_INLINE, KV_HASH_BLAKE2B, true)));
	must_sync(fixture);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_true(is_same(first, digest_of(fixture)));
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_true(is_same(first, digest_of(fixture)));
}

/* A snapshot keeps its own through everything. */
static void test_snapshot(void **state)
{
	struct fixture *fixture = *state;
	struct digest before;
	struct kv_view *view;

	fill_in_order(fixture, false);
	before = digest_of(fixture);
	assert_int_equal(kv_snapshot_create(fixture->kv, "kept", NULL), 0);
	put_large(fixture, 6);
	must_put(fixture, HASHED, "key 2", "another");
	must_delete(fixture, ORDERED, "key 3");
	must_sync(fixture);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_false(is_same(before, digest_of(fixture)));
	must_close(fixture);
	must_open(fixture, 0);
	assert_int_equal(kv_snapshot_open(fixture->kv, "kept", &view), 0);
	assert_true(is_same(before, digest_with(fixture, view, NULL)));
	kv_view_close(view);
}

/* Each of these alone. */
static void test_differences(void **state)
{
	struct fixture *fixture = *state;
	struct digest seen[12];
	unsigned count = 0, i, j;

	fill_in_order(fixture, false);
	seen[count++] = digest_of(fixture);
	must_put(fixture, HASHED, "more", "");
	seen[count++] = digest_of(fixture);
	must_put(fixture, HASHED, "more", "x");
	seen[count++] = digest_of(fixture);
	must_delete(fixture, HASHED, "more");
	must_put(fixture, ORDERED, "more", "x");
	seen[count++] = digest_of(fixture);
	must_delete(fixture, ORDERED, "more");
	/* What ends the key begins the value. */
	must_put(fixture, HASHED, "mor", "ex");
	seen[count++] = digest_of(fixture);
	must_delete(fixture, HASHED, "mor");
	assert_int_equal(
		kv_write(fixture->kv, HASHED, "large", 5, LARGE_SIZE - 1, "!", 1, NULL), 0);
	seen[count++] = digest_of(fixture);
	assert_int_equal(kv_resize(fixture->kv, HASHED, "large", 5, LARGE_SIZE + 1, NULL), 0);
	seen[count++] = digest_of(fixture);
	must_delete(fixture, HASHED, "large");
	seen[count++] = digest_of(fixture);
	put_large(fixture, 5);
	assert_true(is_same(seen[0], digest_of(fixture)));
	for (i = 0; i < count; i++) {
		for (j = 0; j < i; j++)
			assert_false(is_same(seen[i], seen[j]));
	}
}

static void test_keys_and_memory(void **state)
{
	static const uint8_t secret[KV_DIGEST_KEY_MAX + 1] = {1, 2, 3};
	struct kv_digest_options options = {.key = secret, .key_size = 32};
	struct fixture *fixture = *state;
	struct digest plain, keyed, again;
	size_t entries;

	fill_in_order(fixture, false);
	plain = digest_of(fixture);
	keyed = digest_with(fixture, NULL, &options);
	assert_false(is_same(plain, keyed));
	/* In as many passes as it takes. */
	for (entries = 1; entries < 3000; entries *= 7) {
		options.entries_max = entries;
		assert_true(is_same(keyed, digest_with(fixture, NULL, &options)));
	}
	options.key_size = 33;
	assert_false(is_same(keyed, digest_with(fixture, NULL, &options)));
	options.key_size = KV_DIGEST_KEY_MAX + 1;
	assert_int_equal(kv_digest(fixture->kv, NULL, &options, NULL, NULL, again.bytes), -EINVAL);
}

static int count_call(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	(void)done_bytes;
	(void)total_bytes;
	++*(unsigned *)arg;
	return 0;
}

static unsigned calls_with(struct fixture *fixture, size_t entries_max)
{
	struct kv_digest_options options = {.entries_max = entries_max};
	uint8_t digest[KV_DIGEST_SIZE];
	unsigned calls = 0;

	assert_int_equal(kv_digest(fixture->kv, NULL, &options, count_call, &calls, digest), 0);
	return calls;
}

/*
 * Room for one less than there are is not enough: it is no more than was allowed, however it grows.
 */
static void test_memory_is_bounded(void **state)
{
	static const unsigned counts[] = {40, 1024, 1800};
	struct fixture *fixture = *state;
	unsigned i, put = 0;
	char key[20];

	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (; put < counts[i]; put++) {
			snprintf(key, sizeof(key), "key %u", put);
			must_put(fixture, HASHED, key, "");
		}
		assert_int_equal(calls_with(fixture, put), calls_with(fixture, 0));
		assert_true(calls_with(fixture, put - 1) > calls_with(fixture, put));
	}
}

static int stop(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	assert_true(done_bytes <= total_bytes);
	return ++*(unsigned *)arg == 2;
}

/*
 * What it says of two entries, as another program has reckoned it: what was noted years ago is
 * still compared with it.
 */
static void test_known(void **state)
{
	static const uint8_t known[2][4] = {{0x7f, 0xec, 0xe4, 0xac}, {0x5f, 0xc7, 0x13, 0x5c}};
	struct kv_digest_options options = {.key = "secret", .key_size = 6};
	struct fixture *fixture = *state;
	struct digest digest;
	unsigned calls = 0;

	must_put(fixture, HASHED, "a", "1");
	must_put(fixture, ORDERED, "b", "2");
	digest = digest_of(fixture);
	assert_memory_equal(digest.bytes, known[0], sizeof(known[0]));
	digest = digest_with(fixture, NULL, &options);
	assert_memory_equal(digest.bytes, known[1], sizeof(known[1]));
	assert_int_equal(
		kv_digest(fixture->kv, NULL, NULL, stop, &calls, digest.bytes), -ECANCELED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_same_contents),
		FIXTURE_TEST(test_snapshot),
		FIXTURE_TEST(test_differences),
		FIXTURE_TEST(test_keys_and_memory),
		FIXTURE_TEST(test_memory_is_bounded),
		FIXTURE_TEST(test_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
