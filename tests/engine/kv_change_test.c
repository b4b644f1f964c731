/* SPDX-License-Identifier: MIT */
/* kv_change_test.c - putting, getting, deleting, batches: what is visible, what is refused, what is
 * counted. */
#include "kv_fixture.h"

static void test_put_get_delete(void **state)
{
	struct fixture *fixture = *state;

	must_lack(fixture, HASHED, "key");
	must_put(fixture, HASHED, "key", "value");
	must_have(fixture, HASHED, "key", "value");
	must_lack(fixture, ORDERED, "key");
	must_put(fixture, ORDERED, "key", "");
	must_have(fixture, ORDERED, "key", "");
	must_put(fixture, HASHED, "key", "a longer value than before");
	must_have(fixture, HASHED, "key", "a longer value than before");
	must_delete(fixture, HASHED, "key");
	must_lack(fixture, HASHED, "key");
	must_delete(fixture, HASHED, "key");
	must_have(fixture, ORDERED, "key", "");
	must_check_clean(fixture);
}

static void test_refused(void **state)
{
	struct fixture *fixture = *state;
	struct kv_batch *batch;
	struct kv_slice value;
	struct kv_info info;
	uint8_t *large;

	kv_info(fixture->kv, &info);
	large = calloc(1, info.value_size_max + 1u);
	assert_non_null(large);
	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	assert_int_equal(kv_batch_put(batch, 2, "k", 1, "v", 1), -EINVAL);
	assert_int_equal(kv_batch_put(batch, HASHED, "", 0, "v", 1), -EINVAL);
	assert_int_equal(kv_batch_put(batch, HASHED, large, KV_KEY_SIZE_MAX + 1, "v", 1), -EINVAL);
	assert_int_equal(kv_batch_delete(batch, 2, "k", 1), -EINVAL);
	assert_int_equal(kv_batch_delete(batch, HASHED, "", 0), -EINVAL);
	assert_int_equal(
		kv_batch_put(batch, HASHED, "k", 1, large, info.value_size_max + 1), -EFBIG);
	assert_int_equal(kv_batch_count(batch), 0);
	assert_int_equal(kv_batch_put(batch, HASHED, "k", 1, large, info.value_size_max), 0);
	assert_int_equal(kv_batch_put(batch, HASHED, "l", 1, large, info.value_size_max), -E2BIG);
	assert_int_equal(kv_batch_count(batch), 1);
	assert_int_equal(kv_commit(fixture->kv, batch, NULL), 0);
	kv_batch_free(batch);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, 2, "k", 1, &value), -EINVAL);
	assert_int_equal(kv_get(fixture->kv, HASHED, "", 0, &value), -EINVAL);
	assert_int_equal(kv_get(fixture->kv, HASHED, large, KV_KEY_SIZE_MAX + 1, &value), -EINVAL);
	assert_int_equal(kv_get(fixture->kv, HASHED, "k", 1, &value), 0);
	assert_int_equal(value.size, info.value_size_max);
	kv_read_end(fixture->kv);
	free(large);
}

/* Keys of all lengths, each at once a prefix of the next. */
static void test_key_sizes(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *key = malloc(KV_KEY_SIZE_MAX);
	size_t size;

	assert_non_null(key);
	fill_bytes(key, KV_KEY_SIZE_MAX, 3);
	for (unsigned round = 0; round < 2; round++) {
		for (size = 1; size <= KV_KEY_SIZE_MAX; size += 1 + size / 4) {
			unsigned keyspace = size % 2;
			struct kv_slice value;

			if (round == 0)
				assert_int_equal(kv_put(fixture->kv, keyspace, key, size, &size,
							 sizeof(size), NULL),
					0);
			uint64_t value_size;

			kv_prefetch(fixture->kv, keyspace, key, size);
			kv_prefetch(fixture->kv, !keyspace, key, size); /* there is none */
			assert_int_equal(
				kv_value_size(fixture->kv, keyspace, key, size, &value_size), 0);
			assert_int_equal(value_size, sizeof(size));
			kv_read_begin(fixture->kv);
			assert_int_equal(kv_get(fixture->kv, keyspace, key, size, &value), 0);
			assert_int_equal(value.size, sizeof(size));
			assert_memory_equal(value.data, &size, sizeof(size));
			kv_read_end(fixture->kv);
			assert_int_equal(kv_contains(fixture->kv, !keyspace, key, size), -ENOENT);
		}
		assert_int_equal(kv_put(fixture->kv, 0, key, KV_KEY_SIZE_MAX, "max", 3, NULL), 0);
		must_close(fixture);
		must_open(fixture, 0);
	}
	assert_int_equal(kv_contains(fixture->kv, 0, key, KV_KEY_SIZE_MAX), 0);
	/* not a key that could be: nothing happens */
	kv_prefetch(fixture->kv, KV_KEYSPACES_MAX, key, 1);
	kv_prefetch(fixture->kv, 0, key, KV_KEY_SIZE_MAX + 1u);
	free(key);
}

static void test_value_sizes(void **state)
{
	struct fixture *fixture = *state;
	struct kv_info info;
	char key[32];

	kv_info(fixture->kv, &info);
	for (unsigned round = 0; round < 2; round++) {
		for (size_t size = 0; size < info.value_size_max; size += 1 + size / 3) {
			snprintf(key, sizeof(key), "value of %zu", size);
			if (round == 0)
				must_put_filled(fixture, HASHED, key, size, size);
			must_have_filled(fixture, HASHED, key, size, size);
		}
		if (round == 0)
			must_put_filled(fixture, HASHED, "largest", info.value_size_max, 1);
		must_have_filled(fixture, HASHED, "largest", info.value_size_max, 1);
		must_close(fixture);
		must_open(fixture, 0);
	}
	must_check_clean(fixture);
}

static void test_batch(void **state)
{
	struct fixture *fixture = *state;
	struct kv_slice parts[] = {{"one ", 4}, {"", 0}, {NULL, 0}, {"value", 5}};
	uint64_t first, second, empty;
	struct kv_batch *batch;

	must_put(fixture, HASHED, "gone", "x");
	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	assert_int_equal(kv_batch_put(batch, HASHED, "a", 1, "first", 5), 0);
	assert_int_equal(kv_batch_put(batch, ORDERED, "a", 1, "ordered", 7), 0);
	assert_int_equal(kv_batch_put(batch, HASHED, "a", 1, "second", 6), 0);
	assert_int_equal(kv_batch_putv(batch, HASHED, "parts", 5, parts, 4), 0);
	assert_int_equal(kv_batch_delete(batch, HASHED, "gone", 4), 0);
	assert_int_equal(kv_batch_put(batch, HASHED, "b", 1, "b", 1), 0);
	assert_int_equal(kv_batch_delete(batch, HASHED, "b", 1), 0);
	assert_int_equal(kv_batch_delete(batch, HASHED, "c", 1), 0);
	assert_int_equal(kv_batch_put(batch, HASHED, "c", 1, "c", 1), 0);
	assert_int_equal(kv_batch_count(batch), 9);
	must_lack(fixture, HASHED, "a");
	must_have(fixture, HASHED, "gone", "x");
	assert_int_equal(kv_commit(fixture->kv, batch, &first), 0);
	assert_int_equal(kv_batch_count(batch), 0);
	for (unsigned round = 0; round < 2; round++) {
		must_have(fixture, HASHED, "a", "second");
		must_have(fixture, ORDERED, "a", "ordered");
		must_have(fixture, HASHED, "parts", "one value");
		must_lack(fixture, HASHED, "gone");
		must_lack(fixture, HASHED, "b");
		must_have(fixture, HASHED, "c", "c");
		must_check_clean(fixture);
		if (round == 0) {
			assert_int_equal(kv_commit(fixture->kv, batch, &empty), 0);
			assert_int_equal(empty, first);
			assert_int_equal(kv_batch_put(batch, HASHED, "d", 1, "d", 1), 0);
			kv_batch_reset(batch);
			assert_int_equal(kv_batch_count(batch), 0);
			assert_int_equal(kv_batch_put(batch, HASHED, "e", 1, "e", 1), 0);
			assert_int_equal(kv_commit(fixture->kv, batch, &second), 0);
			assert_int_equal(second, first + 1);
			assert_int_equal(kv_last_seq(fixture->kv), second);
			kv_batch_free(batch);
			must_close(fixture);
			must_open(fixture, 0);
		}
	}
	must_lack(fixture, HASHED, "d");
	must_have(fixture, HASHED, "e", "e");
	/* closing commits a sample of the clock */
	assert_int_equal(kv_last_seq(fixture->kv), second + 1);
}

/* A batch that memory or the log refuses is kept, and nothing of it is seen. */
static void test_refused_batch_is_kept(void **state)
{
	struct fixture *fixture = *state;
	struct kv_batch *batch;
	int result;

	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	sim_env_set_capacity(fixture->sim, 0);
	do {
		kv_batch_reset(batch);
		assert_int_equal(kv_batch_put(batch, HASHED, "a", 1, "a", 1), 0);
		for (unsigned i = 0; i < 100; i++)
			assert_int_equal(
				kv_batch_put(batch, ORDERED, &i, sizeof(i), "0123456789", 10), 0);
		result = kv_commit(fixture->kv, batch, NULL);
		if (result == 0)
			must_delete(fixture, HASHED, "a");
	} while (result == 0);
	assert_int_equal(result, -ENOSPC);
	assert_int_equal(kv_batch_count(batch), 101);
	must_lack(fixture, HASHED, "a");
	sim_env_set_capacity(fixture->sim, 1 << 30);
	assert_int_equal(kv_commit(fixture->kv, batch, NULL), 0);
	must_have(fixture, HASHED, "a", "a");
	kv_batch_free(batch);
	must_check_clean(fixture);
}

struct sizes {
	size_t key, value; /* bytes */
};

/*
 * Commits one change, by itself or as a batch of one; and says how much more the log and what is
 * needed of it have become.
 */
static void change_one(struct fixture *fixture, bool as_batch, unsigned keyspace,
	const uint8_t *key, struct sizes sizes, const uint8_t *value, uint64_t more[3])
{
	struct kv_stats before, after;
	struct kv_batch *batch;

	kv_stats(fixture->kv, &before);
	if (as_batch) {
		assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
		assert_int_equal(
			value ? kv_batch_put(batch, keyspace, key, sizes.key, value, sizes.value)
			      : kv_batch_delete(batch, keyspace, key, sizes.key),
			0);
		assert_int_equal(kv_commit(fixture->kv, batch, NULL), 0);
		kv_batch_free(batch);
	} else {
		assert_int_equal(value ? kv_put(fixture->kv, keyspace, key, sizes.key, value,
						 sizes.value, NULL)
				       : kv_delete(fixture->kv, keyspace, key, sizes.key, NULL),
			0);
	}
	kv_stats(fixture->kv, &after);
	assert_int_equal(after.puts - before.puts, value != NULL);
	assert_int_equal(after.deletes - before.deletes, value == NULL);
	assert_int_equal(after.last_seq - before.last_seq, 1);
	more[0] = after.appended_bytes - before.appended_bytes;
	more[1] = after.live_bytes - before.live_bytes;
	more[2] = after.keys[keyspace] - before.keys[keyspace];
}

static void must_have_bytes(struct fixture *fixture, unsigned keyspace, const uint8_t *key,
	struct sizes sizes, const uint8_t *value)
{
	struct kv_slice found;

	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, keyspace, key, sizes.key, &found), 0);
	assert_int_equal(found.size, sizes.value);
	assert_memory_equal(found.data, value, sizes.value);
	kv_read_end(fixture->kv);
}

/* The same changes of two keys, of one by itself and of the other as a batch. */
static void change_alike(struct fixture *fixture, unsigned keyspace, struct sizes sizes)
{
	uint8_t keys[2][64], values[2][4096];
	uint64_t more[2][3];

	for (unsigned i = 0; i < 2; i++)
		fill_bytes(values[i], sizes.value, sizes.key * 5000 + sizes.value + i);
	for (unsigned i = 0; i < 2; i++) {
		fill_bytes(keys[i], sizes.key, sizes.key * 5000 + sizes.value);
		keys[i][0] = (uint8_t)(i + 2 * (sizes.value % 100));
	}
	for (unsigned step = 0; step < 5; step++) {
		/* new, over it, gone, gone already, there again */
		const uint8_t *value = step == 2 || step == 3 ? NULL : values[step == 1];

		for (unsigned i = 0; i < 2; i++)
			change_one(fixture, i, keyspace, keys[i], sizes, value, more[i]);
		assert_memory_equal(more[0], more[1], sizeof(more[0]));
		for (unsigned i = 0; i < 2 && value; i++)
			must_have_bytes(fixture, keyspace, keys[i], sizes, value);
	}
}

static void change_all_alike(struct fixture *fixture)
{
	static const size_t key_sizes[] = {2, 7, 8, 9, 15, 16, 17, 40};
	static const size_t value_sizes[] = {0, 1, 7, 8, 99, 2047, 2048, 2049, 3000};

	for (unsigned i = 0; i < 2 * 8 * 9; i++)
		change_alike(
			fixture, i % 2, (struct sizes){key_sizes[i / 2 % 8], value_sizes[i / 16]});
	must_check_clean(fixture);
}

/*
 * A change by itself, which takes its own way where nothing else is going on, comes to the same as
 * a batch of one.
 */
static void test_alone_as_in_batch(void **state)
{
	struct fixture *fixture = *state;
	struct kv_view *view;

	change_all_alike(fixture);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	must_check_clean(fixture);
	change_all_alike(fixture);
	assert_int_equal(kv_view_open(fixture->kv, &view), 0);
	change_all_alike(fixture);
	kv_view_close(view);
	must_check_clean(fixture);
}

static void test_stats(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats;
	uint64_t batches;

	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(
			kv_put(fixture->kv, i % 2, &i, sizeof(i), "0123456789", 10, NULL), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(kv_delete(fixture->kv, HASHED, &i, sizeof(i), NULL), 0);
	for (unsigned i = 0; i < 20; i++)
		(void)!kv_contains(fixture->kv, HASHED, &i, sizeof(i));
	must_sync(fixture);
	kv_stats(fixture->kv, &stats);
	assert_int_equal(stats.keys[HASHED], 45);
	assert_int_equal(stats.keys[ORDERED], 50);
	assert_int_equal(stats.puts, 100);
	assert_int_equal(stats.deletes, 10);
	assert_int_equal(stats.gets, 20);
	assert_int_equal(stats.hits, 5);
	assert_int_equal(stats.batches, 110);
	assert_int_equal(stats.synced_batches, 110);
	assert_true(stats.syncs > 0 && stats.syncs <= 110);
	assert_int_equal(stats.last_seq, 110);
	assert_int_equal(stats.durable_seq, 110);
	assert_int_equal(stats.damaged, 0);
	assert_true(stats.live_bytes >= 95 * 14 && stats.live_bytes < stats.log_bytes);
	assert_true(stats.log_bytes <= stats.disk_bytes);
	assert_true(stats.disk_bytes >= SEGMENT_SIZE && stats.avail_bytes > SEGMENT_SIZE);
	assert_true(stats.segments >= 1 && stats.memory_index_bytes > 0);
	assert_true(stats.memory_order_bytes > 0);
	batches = stats.batches;
	must_close(fixture);
	must_open(fixture, 0);
	kv_stats(fixture->kv, &stats);
	assert_int_equal(stats.keys[HASHED], 45);
	assert_int_equal(stats.keys[ORDERED], 50);
	assert_int_equal(stats.last_seq, 111); /* closing commits a sample of the clock */
	assert_int_equal(stats.puts, 0);
	assert_true(stats.recovered_batches <= batches + 10);
}

/* ---- variants of the store ------------------------------------------------------------------- */

static void churn(struct fixture *fixture)
{
	char key[32];
	char text[2000];

	for (unsigned i = 0; i < 600; i++) {
		snprintf(key, sizeof(key), "key %u", i % 200);
		memset(text, 'a' + i % 26, sizeof(text) - 1);
		text[1 + i * 3] = '\0';
		must_put(fixture, i % 2, key, text);
		if (i % 7 == 0)
			must_delete(fixture, i % 2, key);
	}
}

static void churned(struct fixture *fixture)
{
	char key[32];
	char text[2000];

	for (unsigned i = 400; i < 600; i++) {
		snprintf(key, sizeof(key), "key %u", i % 200);
		memset(text, 'a' + i % 26, sizeof(text) - 1);
		text[1 + i * 3] = '\0';
		if (i % 7 == 0)
			must_lack(fixture, i % 2, key);
		else
			must_have(fixture, i % 2, key, text);
	}
	must_check_clean(fixture);
}

static void run_variant(struct fixture *fixture, enum kv_hash hash, enum kv_compress compress)
{
	struct kv_create_options options = fixture_create_options;

	options.hash = hash;
	options.compress = compress;
	assert_int_equal(kv_create(fixture->env, STORE_PATH, &options, NULL, NULL), 0);
	must_open(fixture, 0);
	churn(fixture);
	churned(fixture);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	churned(fixture);
}

static void test_blake2b(void **state)
{
	run_variant(*state, KV_HASH_BLAKE2B, KV_COMPRESS_NONE);
}

static void test_compressed(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats;

	run_variant(fixture, KV_HASH_XXH3, KV_COMPRESS_INLINE);
	kv_stats(fixture->kv, &stats);
	assert_true(stats.live_bytes < 40000); /* 200 values of 1.2 to 1.8 KB of one letter */
}

/* Two compressed values in one read section: the first may be overwritten by the second, but not
 * damaged by its size. */
static void test_compressed_incompressible(void **state)
{
	struct fixture *fixture = *state;
	struct kv_create_options options = fixture_create_options;
	struct kv_info info;

	options.compress = KV_COMPRESS_INLINE;
	assert_int_equal(kv_create(fixture->env, STORE_PATH, &options, NULL, NULL), 0);
	must_open(fixture, 0);
	kv_info(fixture->kv, &info);
	must_put_filled(fixture, HASHED, "random", 10000, 1);
	must_put_filled(fixture, HASHED, "largest", info.value_size_max, 2);
	must_close(fixture);
	must_open(fixture, 0);
	must_have_filled(fixture, HASHED, "random", 10000, 1);
	must_have_filled(fixture, HASHED, "largest", info.value_size_max, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_put_get_delete),
		FIXTURE_TEST(test_refused),
		FIXTURE_TEST(test_key_sizes),
		FIXTURE_TEST(test_value_sizes),
		FIXTURE_TEST(test_batch),
		FIXTURE_TEST(test_refused_batch_is_kept),
		INLINE_TEST(test_alone_as_in_batch),
		FIXTURE_TEST(test_stats),
		EMPTY_TEST(test_blake2b),
		EMPTY_TEST(test_compressed),
		EMPTY_TEST(test_compressed_incompressible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
