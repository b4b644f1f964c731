/* SPDX-License-Identifier: MIT */
/* kv_large_test.c - values in pieces: put, streamed, read and changed in part, replaced, deleted, freed. */
#include "kv_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define PIECE 65536u
#define BIG (3u << 20) /* three segments: over value_size_max */
#define PATIENCE 120000u /* milliseconds */

static uint8_t *bytes_of(size_t size, uint64_t seed)
{
	uint8_t *bytes = malloc(size + 8);

	assert_non_null(bytes);
	fill_bytes(bytes, size, seed);
	return bytes;
}

static uint64_t size_of(struct fixture *fixture, const char *key)
{
	uint64_t size = UINT64_MAX;

	assert_int_equal(kv_value_size(fixture->kv, HASHED, key, strlen(key), &size), 0);
	return size;
}

/* All of the value, by kv_read in odd steps, and by its parts. */
static void must_read(struct fixture *fixture, const char *key, const uint8_t *expected, size_t size)
{
	uint8_t *buffer = malloc(100001);
	struct kv_value value;
	struct kv_slice part;
	size_t done, offset;

	assert_int_equal(size_of(fixture, key), size);
	for (offset = 0; offset < size; offset += done) {
		assert_int_equal(kv_read(fixture->kv, HASHED, key, strlen(key), offset, buffer,
					 100001, &done),
				 0);
		assert_int_equal(done, size - offset < 100001 ? size - offset : 100001);
		assert_memory_equal(buffer, expected + offset, done);
	}
	assert_int_equal(kv_read(fixture->kv, HASHED, key, strlen(key), size, buffer, 1, &done), 0);
	assert_int_equal(done, 0);
	free(buffer);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_value_open(fixture->kv, HASHED, key, strlen(key), &value), 0);
	for (offset = 0; offset < size; offset += part.size) {
		assert_int_equal(kv_value_part(&value, offset, &part), 0);
		assert_true(part.size > 0 && part.size <= size - offset);
		assert_memory_equal(part.data, expected + offset, part.size);
	}
	assert_int_equal(kv_value_part(&value, size, &part), 0);
	assert_int_equal(part.size, 0);
	kv_read_end(fixture->kv);
}

static uint64_t pieces_of(struct fixture *fixture)
{
	struct kv_stats stats;

	kv_stats(fixture->kv, &stats);
	return stats.pieces;
}

/* The store frees what it has to; a store without a thread does some at each commit. */
static void must_have_pieces(struct fixture *fixture, uint64_t count)
{
	unsigned tries;

	for (tries = 0; tries < PATIENCE && pieces_of(fixture) != count; tries++) {
		must_put(fixture, ORDERED, "tick", "tock");
		usleep(1000);
	}
	assert_int_equal(pieces_of(fixture), count);
}

static int put(struct fixture *fixture, const char *key, const void *value, size_t size)
{
	return kv_put(fixture->kv, HASHED, key, strlen(key), value, size, NULL);
}

static int write_at(struct fixture *fixture, const char *key, uint64_t offset, const void *data,
		    size_t size)
{
	return kv_write(fixture->kv, HASHED, key, strlen(key), offset, data, size, NULL);
}

static int resize(struct fixture *fixture, const char *key, uint64_t size)
{
	return kv_resize(fixture->kv, HASHED, key, strlen(key), size, NULL);
}

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

static void stream_all(struct fixture *fixture, const char *key, const uint8_t *value, size_t size,
		       size_t step)
{
	struct kv_stream *stream;
	size_t offset, part;

	assert_int_equal(kv_stream_open(fixture->kv, HASHED, key, strlen(key), &stream), 0);
	for (offset = 0; offset < size; offset += part) {
		part = size - offset < step ? size - offset : step;
		assert_int_equal(kv_stream_append(stream, value + offset, part), 0);
	}
	assert_int_equal(kv_stream_commit(stream, NULL), 0);
}

static void test_streams(void **state)
{
	static const size_t sizes[] = {0,	  1,	     PIECE - 1,	    PIECE,
				       PIECE + 1, 2 * PIECE, 5 * PIECE + 7, 20 * PIECE};
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
	assert_int_equal(kv_write(fixture->kv, HASHED, key, KV_KEY_SIZE_MAX, 500000, value, 1000, NULL),
			 0);
	assert_int_equal(kv_resize(fixture->kv, HASHED, key, KV_KEY_SIZE_MAX, 500064, NULL), 0);
	assert_int_equal(kv_read(fixture->kv, HASHED, key, KV_KEY_SIZE_MAX, 500000, buffer, 100, &done),
			 0);
	assert_int_equal(done, 64);
	assert_memory_equal(buffer, value, 64);
	must_have_pieces(fixture, 8);
	must_check_clean(fixture);
	free(key);
	free(value);
}

/* ---- readers beside writers ------------------------------------------------------------------ */

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
		assert_int_equal(write_at(party->fixture, "k", SPAN + party->number * PIECE, &own, 1),
				 0);
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
		assert_int_equal(kv_read(party->fixture->kv, HASHED, "k", 1, 0, data, SPAN, &done), 0);
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
		assert_int_equal(kv_read(fixture->kv, HASHED, "k", 1, SPAN + i * PIECE, &own, 1, &done),
				 0);
		assert_int_equal(own, (uint8_t)WRITES);
	}
	must_check_clean(fixture);
	free(zeros);
}

/* ---- crashes, damage, full disks ------------------------------------------------------------- */

/* What a crash leaves of a stream, of a replaced value and of one cut off is found and freed. */
static void test_crash_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *value = bytes_of(BIG, 17);
	struct kv_stream *stream;

	assert_int_equal(put(fixture, "cut", value, BIG), 0);
	assert_int_equal(put(fixture, "gone", value, BIG), 0);
	must_have_pieces(fixture, 2 * BIG / PIECE);
	assert_int_equal(kv_stream_open(fixture->kv, HASHED, "half", 4, &stream), 0);
	assert_int_equal(kv_stream_append(stream, value, BIG - 10), 0);
	assert_int_equal(resize(fixture, "cut", 3 * PIECE), 0);
	must_put(fixture, HASHED, "gone", "here");
	must_sync(fixture);
	sim_env_cut(fixture->sim);
	kv_stream_abort(stream);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_READ_ONLY);
	must_check_clean(fixture);
	must_lack(fixture, HASHED, "half");
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	must_have(fixture, HASHED, "gone", "here");
	must_read(fixture, "cut", value, 3 * PIECE);
	must_have_pieces(fixture, 3);
	must_check_clean(fixture);
	free(value);
}

/* A piece that is lost is an error, not a hole. */
static void test_lost_piece(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *value = bytes_of(BIG, 18), buffer[16];
	const char *name = "seg-00000001";
	const uint8_t *found, *bytes;
	struct kv_stats stats;
	uint64_t size, findings;
	size_t done;

	assert_int_equal(put(fixture, "k", value, BIG), 0);
	must_close(fixture);
	bytes = sim_env_bytes(fixture->sim, name, &size);
	found = memmem(bytes, size, value + 20 * PIECE + 99, 64);
	assert_non_null(found);
	assert_int_equal(sim_env_flip(fixture->sim, name, (uint64_t)(found - bytes), 3), 0);
	/* With a checkpoint it would be met when it is read. */
	assert_int_equal(sim_env_flip(fixture->sim, "checkpoint", 100, 3), 0);
	must_open(fixture, 0);
	kv_stats(fixture->kv, &stats);
	assert_true(stats.damaged > 0);
	assert_int_equal(kv_read(fixture->kv, HASHED, "k", 1, 20 * PIECE, buffer, 16, &done), -EIO);
	assert_int_equal(kv_read(fixture->kv, HASHED, "k", 1, 19 * PIECE, buffer, 16, &done), 0);
	assert_memory_equal(buffer, value + 19 * PIECE, 16);
	assert_int_equal(kv_check(fixture->kv, fixture_hear, fixture, NULL, NULL, &findings), 0);
	assert_true(findings >= 2);
	assert_non_null(strstr(fixture->last_error, "47 of 48"));
	free(value);
}

static void test_compressed(void **state)
{
	struct fixture *fixture = *state;
	struct kv_create_options options = fixture_create_options;
	uint8_t *value = malloc(BIG);
	struct kv_stats stats;
	struct kv_slice slice;
	size_t i;

	for (i = 0; i < BIG; i++)
		value[i] = (uint8_t)(i >> 6);
	options.compress = KV_COMPRESS_INLINE;
	assert_int_equal(kv_create(fixture->env, STORE_PATH, &options, NULL, NULL), 0);
	must_open(fixture, 0);
	assert_int_equal(put(fixture, "k", value, BIG), 0);
	memset(value + 100000, 'x', 100000);
	assert_int_equal(write_at(fixture, "k", 100000, value + 100000, 100000), 0);
	must_read(fixture, "k", value, BIG);
	kv_stats(fixture->kv, &stats);
	assert_true(stats.live_bytes < BIG / 2);
	assert_int_equal(resize(fixture, "k", 500000), 0);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, HASHED, "k", 1, &slice), 0);
	assert_int_equal(slice.size, 500000);
	assert_memory_equal(slice.data, value, 500000);
	kv_read_end(fixture->kv);
	must_check_clean(fixture);
	free(value);
}

/* A stream that fills the disk fails, and what it took comes back; then deleting works as well. */
static void test_full_disk(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *value = bytes_of(BIG, 19);
	struct kv_stream *stream;
	unsigned tries;
	int error = 0;

	assert_int_equal(put(fixture, "keep", value, BIG), 0);
	must_sync(fixture);
	sim_env_set_capacity(fixture->sim, 20 << 20);
	assert_int_equal(kv_stream_open(fixture->kv, HASHED, "k", 1, &stream), 0);
	for (tries = 0; tries < 10 && !error; tries++)
		error = kv_stream_append(stream, value, BIG);
	assert_int_equal(error, -ENOSPC);
	assert_int_equal(kv_stream_append(stream, value, 1), -EIO);
	kv_stream_abort(stream);
	must_read(fixture, "keep", value, BIG);
	for (tries = 0; tries < PATIENCE && pieces_of(fixture) > BIG / PIECE; tries++)
		usleep(1000);
	assert_int_equal(pieces_of(fixture), BIG / PIECE);
	/* And so often that it cannot all have been there. */
	for (tries = 0; tries < 16; tries++)
		assert_int_equal(put(fixture, "again", value, BIG), 0);
	must_delete(fixture, HASHED, "again");
	must_have_pieces(fixture, BIG / PIECE);
	must_read(fixture, "keep", value, BIG);
	must_check_clean(fixture);
	free(value);
}

/* On demand the space of a deleted value is there at once, pieces and all. */
static void test_prune(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *value = bytes_of(4 * BIG, 20);
	struct kv_prune_report report;

	must_put(fixture, HASHED, "small", "stays");
	assert_int_equal(put(fixture, "k", value, 4 * BIG), 0);
	must_delete(fixture, HASHED, "k");
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, &report), 0);
	assert_int_equal(pieces_of(fixture), 0);
	assert_true(report.log_bytes < BIG);
	must_have(fixture, HASHED, "small", "stays");
	must_check_clean(fixture);
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
		FIXTURE_TEST(test_old_value_stays_readable),
		FIXTURE_TEST(test_stale_parts),
		FIXTURE_TEST(test_concurrent_writes),
		FIXTURE_TEST(test_crash_leaves_nothing),
		FIXTURE_TEST(test_lost_piece),
		EMPTY_TEST(test_compressed),
		FIXTURE_TEST(test_full_disk),
		FIXTURE_TEST(test_prune),
		INLINE_TEST(test_prune),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
