/* SPDX-License-Identifier: MIT */
/*
 * kv_large_space_test.c - what values in pieces leave on the disk, and take: after crashes, damage
 * and pruning, compressed, and where the disk is full.
 */
#include "large_fixture.h"

#include <unistd.h>

#include "format.h"

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

/* The last message says where the record of this key stands. */
static void must_have_named(struct fixture *fixture, const char *key)
{
	const struct format_record *record;
	unsigned slot, offset;
	const uint8_t *bytes;
	uint64_t size;
	char name[16];

	assert_int_equal(sscanf(fixture->last_error, "segment %u, offset %u: ", &slot, &offset), 2);
	snprintf(name, sizeof(name), "seg-%08x", slot);
	bytes = sim_env_bytes(fixture->sim, name, &size);
	assert_non_null(bytes);
	assert_true(offset + sizeof(*record) + strlen(key) <= size);
	record = (const struct format_record *)(bytes + offset);
	assert_int_equal(record->key_size, strlen(key));
	assert_memory_equal(record->key, key, strlen(key));
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
	must_have_named(fixture, "k");
	assert_non_null(strstr(fixture->last_error, "piece 20 is lost"));
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
		FIXTURE_TEST(test_crash_leaves_nothing),
		FIXTURE_TEST(test_lost_piece),
		EMPTY_TEST(test_compressed),
		FIXTURE_TEST(test_full_disk),
		FIXTURE_TEST(test_prune),
		INLINE_TEST(test_prune),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
