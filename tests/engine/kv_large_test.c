/* SPDX-License-Identifier: MIT */
/*
 * kv_large_test.c - values in pieces: put, streamed, read and changed in part, replaced, deleted.
 */
#include "large_fixture.h"

/* ---- whole values ---------------------------------------------------------------------------- */

static void test_put_large(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *value = bytes_of(BIG, 1);
	struct kv_slice slice;

	assert_int_equal(put(fixture, "big", value, BIG), 0);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, HASHED, "big", 3, &slice), -EFBIG);
	kv_read_end(fixture->kv);
	assert_int_equal(kv_contains(fixture->kv, HASHED, "big", 3), 0);
	must_read(fixture, "big", value, BIG);
	must_have_pieces(fixture, BIG / PIECE);
	must_check_clean(fixture);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	must_read(fixture, "big", value, BIG);
	must_check_clean(fixture);
	must_close(fixture);
	must_open(fixture, 0);
	must_delete(fixture, HASHED, "big");
	must_lack(fixture, HASHED, "big");
	must_have_pieces(fixture, 0);
	must_check_clean(fixture);
	free(value);
}

/* A value in pieces that would fit in a record is still one that kv_get returns. */
static void test_get_puts_together(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *value = bytes_of(300000, 2);
	struct kv_cursor *cursor;
	struct kv_slice slice;

	must_put_filled(fixture, HASHED, "v", 300000, 2);
	assert_int_equal(write_at(fixture, "v", 100, "x", 1), 0);
	value[100] = 'x';
	must_have_pieces(fixture, 5);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, HASHED, "v", 1, &slice), 0);
	assert_int_equal(slice.size, 300000);
	assert_memory_equal(slice.data, value, 300000);
	kv_read_end(fixture->kv);

	assert_int_equal(kv_write(fixture->kv, ORDERED, "o", 1, 200000, "end", 3, NULL), 0);
	assert_int_equal(kv_cursor_open(fixture->kv, ORDERED, &cursor), 0);
	assert_int_equal(kv_cursor_seek(cursor, "o", 1), 0);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_cursor_value(cursor, &slice), 0);
	assert_int_equal(slice.size, 200003);
	assert_memory_equal((const uint8_t *)slice.data + 199999, "\0end", 4);
	kv_read_end(fixture->kv);
	kv_cursor_close(cursor);
	free(value);
}

static void test_streams(void **state)
{
	static const size_t sizes[] = {
		0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 7, 20 * PIECE};
	static const size_t steps[] = {1000, PIECE, 3 * PIECE, 777777};
	struct fixture *fixture = *state;
	unsigned i, j;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (j = 0; j < sizeof(steps) / sizeof(steps[0]); j++) {
			uint8_t *value = bytes_of(sizes[i], i * 10 + j);
			size_t pieces = sizes[i] > PIECE ? (sizes[i] + PIECE - 1) / PIECE : 0;

			stream_all(fixture, "s", value, sizes[i], steps[j]);
			must_read(fixture, "s", value, sizes[i]);
			must_have_pieces(fixture, pieces);
			free(value);
		}
	}
	must_check_clean(fixture);
}

/* Nothing can be seen of a stream before its commit, and nothing is left of it after an abort. */
static void test_stream_abort(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *value = bytes_of(BIG, 3);
	struct kv_stream *stream, *other;

	must_put(fixture, HASHED, "k", "old");
	assert_int_equal(kv_stream_open(fixture->kv, HASHED, "k", 1, &stream), 0);
	assert_int_equal(kv_stream_open(fixture->kv, HASHED, "k", 1, &other), 0);
	assert_int_equal(kv_stream_append(stream, value, BIG), 0);
	assert_int_equal(kv_stream_append(other, value, PIECE * 2), 0);
	must_have(fixture, HASHED, "k", "old");
	/* Freeing leaves open streams alone, whatever else goes. */
	assert_int_equal(put(fixture, "gone", value, BIG), 0);
	must_delete(fixture, HASHED, "gone");
	must_have_pieces(fixture, BIG / PIECE + 1 + 3);
	kv_stream_abort(other);
	must_have_pieces(fixture, BIG / PIECE + 1);
	must_check_clean(fixture);
	kv_stream_abort(stream);
	kv_stream_abort(NULL);
	must_have_pieces(fixture, 0);
	must_have(fixture, HASHED, "k", "old");
	must_check_clean(fixture);
	free(value);
}

static void test_replaced_in_every_way(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *one = bytes_of(BIG, 4), *two = bytes_of(2 * PIECE, 5);
	struct kv_batch *batch;

	assert_int_equal(put(fixture, "k", one, BIG), 0);
	stream_all(fixture, "k", two, 2 * PIECE, 5000);
	must_have_pieces(fixture, 2);
	must_read(fixture, "k", two, 2 * PIECE);
	assert_int_equal(put(fixture, "k", one, BIG), 0);
	assert_int_equal(put(fixture, "l", one, BIG), 0);
	must_put(fixture, HASHED, "k", "small");
	must_have(fixture, HASHED, "k", "small");
	must_have_pieces(fixture, BIG / PIECE);
	assert_int_equal(put(fixture, "k", one, BIG), 0);
	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	assert_int_equal(kv_batch_put(batch, HASHED, "k", 1, "a", 1), 0);
	assert_int_equal(kv_batch_delete(batch, HASHED, "l", 1), 0);
	assert_int_equal(kv_batch_put(batch, HASHED, "k", 1, "b", 1), 0);
	assert_int_equal(kv_batch_put(batch, ORDERED, "m", 1, "c", 1), 0);
	assert_int_equal(kv_commit(fixture->kv, batch, NULL), 0);
	kv_batch_free(batch);
	must_have(fixture, HASHED, "k", "b");
	must_lack(fixture, HASHED, "l");
	must_have_pieces(fixture, 0);
	must_check_clean(fixture);
	free(one);
	free(two);
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void test_write_parts(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *value = bytes_of(BIG, 6), *data = bytes_of(BIG, 7);
	struct kv_stats before, after;

	assert_int_equal(put(fixture, "k", value, BIG), 0);
	kv_stats(fixture->kv, &before);
	memcpy(value + 1000000, data, 4096);
	assert_int_equal(write_at(fixture, "k", 1000000, data, 4096), 0);
	kv_stats(fixture->kv, &after);
	/* The piece that was touched, not the value. */
	assert_true(after.appended_bytes - before.appended_bytes < 2 * PIECE);
	must_read(fixture, "k", value, BIG);
	memcpy(value + PIECE * 3 - 1, data, PIECE * 4 + 2);
	assert_int_equal(write_at(fixture, "k", PIECE * 3 - 1, data, PIECE * 4 + 2), 0);
	memcpy(value + PIECE * 8, data, PIECE);
	assert_int_equal(write_at(fixture, "k", PIECE * 8, data, PIECE), 0);
	memcpy(value + BIG - 5, data, 5);
	assert_int_equal(write_at(fixture, "k", BIG - 5, data, 5), 0);
	must_read(fixture, "k", value, BIG);
	assert_int_equal(write_at(fixture, "k", 7, data, 0), 0);
	assert_int_equal(write_at(fixture, "k", 0, data, BIG), -E2BIG);
	must_read(fixture, "k", value, BIG);
	must_check_clean(fixture);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	must_read(fixture, "k", value, BIG);
	must_check_clean(fixture);
	free(value);
	free(data);
}

/* A value grows out of its record when it has to, and not before. */
static void test_write_small(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *value = calloc(1, 4 * PIECE), *data = bytes_of(PIECE, 8);

	assert_int_equal(write_at(fixture, "k", 10, "abc", 3), 0);
	memcpy(value + 10, "abc", 3);
	must_read(fixture, "k", value, 13);
	assert_int_equal(write_at(fixture, "k", 0, "xy", 2), 0);
	memcpy(value, "xy", 2);
	assert_int_equal(write_at(fixture, "k", PIECE - 1, "z", 1), 0);
	value[PIECE - 1] = 'z';
	must_read(fixture, "k", value, PIECE);
	assert_int_equal(pieces_of(fixture), 0);
	assert_int_equal(write_at(fixture, "k", 3 * PIECE, "w", 1), 0);
	value[3 * PIECE] = 'w';
	must_read(fixture, "k", value, 3 * PIECE + 1);
	assert_int_equal(pieces_of(fixture), 2);
	assert_int_equal(write_at(fixture, "k", PIECE + 5, data, PIECE), 0);
	memcpy(value + PIECE + 5, data, PIECE);
	must_read(fixture, "k", value, 3 * PIECE + 1);
	/* One that was put as a large record. */
	must_put_filled(fixture, HASHED, "l", 3 * PIECE, 9);
	fill_bytes(value, 3 * PIECE, 9);
	memcpy(value + PIECE - 10, data, 20);
	assert_int_equal(write_at(fixture, "l", PIECE - 10, data, 20), 0);
	must_read(fixture, "l", value, 3 * PIECE);
	must_check_clean(fixture);
	free(value);
	free(data);
}

static void test_resize(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *value = bytes_of(BIG, 10);

	assert_int_equal(resize(fixture, "k", 5), -ENOENT);
	assert_int_equal(put(fixture, "k", value, BIG), 0);
	assert_int_equal(resize(fixture, "k", 5 * PIECE + 100), 0);
	must_read(fixture, "k", value, 5 * PIECE + 100);
	/* At once larger again: nothing of the old comes back, though it may not be freed yet. */
	assert_int_equal(resize(fixture, "k", BIG), 0);
	memset(value + 5 * PIECE + 100, 0, BIG - 5 * PIECE - 100);
	must_read(fixture, "k", value, BIG);
	assert_int_equal(write_at(fixture, "k", 30 * PIECE + 5, "back", 4), 0);
	memcpy(value + 30 * PIECE + 5, "back", 4);
	must_read(fixture, "k", value, BIG);
	must_have_pieces(fixture, 7);
	must_read(fixture, "k", value, BIG);
	must_check_clean(fixture);
	assert_int_equal(resize(fixture, "k", PIECE), 0);
	must_read(fixture, "k", value, PIECE);
	must_have_pieces(fixture, 1);
	assert_int_equal(resize(fixture, "k", 0), 0);
	must_read(fixture, "k", value, 0);
	must_have_pieces(fixture, 0);
	/* Values of one record. */
	must_put_filled(fixture, HASHED, "l", 2 * PIECE, 11);
	fill_bytes(value, 2 * PIECE, 11);
	assert_int_equal(resize(fixture, "l", 2 * PIECE + 7), 0);
	memset(value + 2 * PIECE, 0, 7);
	must_read(fixture, "l", value, 2 * PIECE + 7);
	must_put_filled(fixture, HASHED, "l", 2 * PIECE, 11);
	assert_int_equal(resize(fixture, "l", 100), 0);
	must_read(fixture, "l", value, 100);
	assert_int_equal(resize(fixture, "l", 200), 0);
	memset(value + 100, 0, 4 * PIECE);
	must_read(fixture, "l", value, 200);
	assert_int_equal(resize(fixture, "l", 2 * PIECE), 0);
	must_read(fixture, "l", value, 2 * PIECE);
	must_have_pieces(fixture, 1);
	must_check_clean(fixture);
	free(value);
}

static void test_limits(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stream *stream;
	uint8_t buffer[100];
	struct kv_stats stats;
	size_t done;

	assert_int_equal(write_at(fixture, "k", KV_LARGE_VALUE_SIZE_MAX - 3, "end", 3), 0);
	assert_int_equal(size_of(fixture, "k"), KV_LARGE_VALUE_SIZE_MAX);
	assert_int_equal(write_at(fixture, "k", KV_LARGE_VALUE_SIZE_MAX, "x", 1), -EFBIG);
	assert_int_equal(write_at(fixture, "k", UINT64_MAX, "x", 1), -EFBIG);
	assert_int_equal(resize(fixture, "k", KV_LARGE_VALUE_SIZE_MAX + 1), -EFBIG);
	assert_int_equal(kv_read(fixture->kv, HASHED, "k", 1, KV_LARGE_VALUE_SIZE_MAX - 50, buffer,
				 sizeof(buffer), &done),
		0);
	assert_int_equal(done, 50);
	assert_memory_equal(buffer + 46, "\0end", 4);
	/* A hole takes no space. */
	kv_stats(fixture->kv, &stats);
	assert_int_equal(stats.pieces, 1);
	assert_true(stats.live_bytes < 200000);
	must_check_clean(fixture);
	assert_int_equal(resize(fixture, "k", 1000), 0);
	must_have_pieces(fixture, 0);
	assert_int_equal(kv_write(fixture->kv, 2, "k", 1, 0, "x", 1, NULL), -EINVAL);
	assert_int_equal(kv_write(fixture->kv, 0, "", 0, 0, "x", 1, NULL), -EINVAL);
	assert_int_equal(kv_stream_open(fixture->kv, 14, "k", 1, &stream), -EINVAL);
	assert_int_equal(kv_read(fixture->kv, 14, "k", 1, 0, buffer, 1, &done), -EINVAL);
	assert_int_equal(kv_read(fixture->kv, 0, "none", 4, 0, buffer, 1, &done), -ENOENT);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(write_at(fixture, "k", 0, "x", 1), -EROFS);
	assert_int_equal(resize(fixture, "k", 0), -EROFS);
	assert_int_equal(kv_stream_open(fixture->kv, 0, "k", 1, &stream), -EROFS);
}

/* A key of the greatest length is in the header, in the intent, and beside the pieces. */
static void test_longest_key(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *key = bytes_of(KV_KEY_SIZE_MAX, 12), *value = bytes_of(BIG, 13), buffer[64];
	size_t done;

	assert_int_equal(kv_put(fixture->kv, HASHED, key, KV_KEY_SIZE_MAX, value, BIG, NULL), 0);
	assert_int_equal(
		kv_write(fixture->kv, HASHED, key, KV_KEY_SIZE_MAX, 500000, value, 1000, NULL), 0);
	assert_int_equal(kv_resize(fixture->kv, HASHED, key, KV_KEY_SIZE_MAX, 500064, NULL), 0);
	assert_int_equal(
		kv_read(fixture->kv, HASHED, key, KV_KEY_SIZE_MAX, 500000, buffer, 100, &done), 0);
	assert_int_equal(done, 64);
	assert_memory_equal(buffer, value, 64);
	must_have_pieces(fixture, 8);
	must_check_clean(fixture);
	free(key);
	free(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_put_large),
		FIXTURE_TEST(test_get_puts_together),
		FIXTURE_TEST(test_streams),
		FIXTURE_TEST(test_stream_abort),
		INLINE_TEST(test_stream_abort),
		FIXTURE_TEST(test_replaced_in_every_way),
		INLINE_TEST(test_replaced_in_every_way),
		FIXTURE_TEST(test_write_parts),
		FIXTURE_TEST(test_write_small),
		FIXTURE_TEST(test_resize),
		INLINE_TEST(test_resize),
		FIXTURE_TEST(test_limits),
		FIXTURE_TEST(test_longest_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
