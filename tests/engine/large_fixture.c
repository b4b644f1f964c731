/* SPDX-License-Identifier: MIT */
/* large_fixture.c - see large_fixture.h. */
#include "large_fixture.h"

#include <unistd.h>

uint8_t *bytes_of(size_t size, uint64_t seed)
{
	uint8_t *bytes = malloc(size + 8);

	assert_non_null(bytes);
	fill_bytes(bytes, size, seed);
	return bytes;
}

uint64_t size_of(struct fixture *fixture, const char *key)
{
	uint64_t size = UINT64_MAX;

	assert_int_equal(kv_value_size(fixture->kv, HASHED, key, strlen(key), &size), 0);
	return size;
}

void must_read(struct fixture *fixture, const char *key, const uint8_t *expected, size_t size)
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

uint64_t pieces_of(struct fixture *fixture)
{
	struct kv_stats stats;

	kv_stats(fixture->kv, &stats);
	return stats.pieces;
}

void must_have_pieces(struct fixture *fixture, uint64_t count)
{
	unsigned tries;

	for (tries = 0; tries < PATIENCE && pieces_of(fixture) != count; tries++) {
		must_put(fixture, ORDERED, "tick", "tock");
		usleep(1000);
	}
	assert_int_equal(pieces_of(fixture), count);
}

int put(struct fixture *fixture, const char *key, const void *value, size_t size)
{
	return kv_put(fixture->kv, HASHED, key, strlen(key), value, size, NULL);
}

int write_at(struct fixture *fixture, const char *key, uint64_t offset, const void *data,
		    size_t size)
{
	return kv_write(fixture->kv, HASHED, key, strlen(key), offset, data, size, NULL);
}

int resize(struct fixture *fixture, const char *key, uint64_t size)
{
	return kv_resize(fixture->kv, HASHED, key, strlen(key), size, NULL);
}

void stream_all(struct fixture *fixture, const char *key, const uint8_t *value, size_t size,
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
