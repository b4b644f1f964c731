/* SPDX-License-Identifier: MIT */
/*
 * segment_test.c - segments that a checkpoint spoke of: proved as a whole they are read without
 * further questions, but for the one that an address which lies could still raise.
 */
#include "kv_fixture.h"

#include "log.h"
#include "log_rest.h"
#include "log_spare.h"
#include "read.h"
#include "segment_file.h"

#define KEYS 300u
#define VALUE_SIZE 1000u
#define LIAR "the key of lies"
#define HOLDER "sixteen bytes it" /* so that its value is aligned as records are */

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %08u", number);
}

/* A header such as no record has: its value ends far behind the segment. */
static void make_lie(uint8_t *value)
{
	struct format_record lie = {
		.value_size = 0x7fffffff, .key_size = sizeof(LIAR) - 1, .keyspace = HASHED};

	memset(value, 0, VALUE_SIZE);
	memcpy(value, &lie, sizeof(lie));
	memcpy(value + sizeof(lie), LIAR, sizeof(LIAR) - 1);
}

/* Fills the store, and opens it from its checkpoint. Out: the segment that all is in. */
static struct segment *reopened(struct fixture *fixture)
{
	uint8_t value[VALUE_SIZE];
	struct segment *segment;
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		must_put_filled(fixture, HASHED, key, VALUE_SIZE, i);
	}
	make_lie(value);
	assert_int_equal(
		kv_put(fixture->kv, HASHED, HOLDER, sizeof(HOLDER) - 1, value, sizeof(value), NULL),
		0);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	segment = fixture->kv->log.hot.active;
	assert_int_equal(log_wake(fixture->kv), 0);
	assert_non_null(segment->verified);
	assert_true(segment->covered > KEYS * VALUE_SIZE);
	return segment;
}

static void have_all(struct fixture *fixture)
{
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		must_have_filled(fixture, HASHED, key, VALUE_SIZE, i);
	}
}

static uintptr_t flags_of(struct fixture *fixture, const struct segment *segment)
{
	return segments_flagged_base(&fixture->kv->segments, segment->slot) & SEGMENT_FLAGS;
}

static void test_proved(void **state)
{
	struct fixture *fixture = *state;
	struct segment *segment = reopened(fixture);
	struct segments *segments = &fixture->kv->segments;

	assert_int_equal(flags_of(fixture, segment), SEGMENT_UNVERIFIED);
	have_all(fixture);
	assert_true(segment_prove(segments, segment, segment->buffer));
	segment_set_sound(segments, segment);
	assert_int_equal(flags_of(fixture, segment), SEGMENT_UNVERIFIED | SEGMENT_SOUND);
	have_all(fixture);
}

/* So it stays when it loses its buffer. */
static void test_proved_then_mapped(void **state)
{
	struct fixture *fixture = *state;
	struct segment *segment = reopened(fixture);
	struct segments *segments = &fixture->kv->segments;
	const uint8_t *map;
	uint8_t *buffer;

	assert_true(segment_prove(segments, segment, segment->buffer));
	segment_set_sound(segments, segment);
	assert_int_equal(segment_map(segments, segment, &map), 0);
	buffer = segment_use_map(segments, segment, map);
	assert_int_equal(
		flags_of(fixture, segment), SEGMENT_UNVERIFIED | SEGMENT_SOUND | SEGMENT_MAPPED);
	have_all(fixture);
	assert_ptr_equal(segment_use_buffer(segments, segment, buffer), map);
	segments->env->file_unmap(segment->file, map, segments->size);
	have_all(fixture);
}

/* Any byte that is not as it was written. */
static void test_not_proved(void **state)
{
	struct fixture *fixture = *state;
	struct segment *segment = reopened(fixture);

	for (uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE; offset < segment->covered;
		offset += 997) {
		segment->buffer[offset] ^= 1;
		assert_false(segment_prove(&fixture->kv->segments, segment, segment->buffer));
		segment->buffer[offset] ^= 1;
	}
	have_all(fixture);
}

static bool is_address(void *arg, uint64_t address)
{
	return address == *(const uint64_t *)arg;
}

/* An address in the index at which no record begins, but something that looks like one. */
static void test_address_that_lies(void **state)
{
	struct fixture *fixture = *state;
	struct segment *segment = reopened(fixture);
	struct kv *kv = fixture->kv;
	uint64_t hash = keyhash_of(&kv->keyhash, HASHED, LIAR, sizeof(LIAR) - 1);
	uint64_t holder = keyhash_of(&kv->keyhash, HASHED, HOLDER, sizeof(HOLDER) - 1), address;
	const struct format_record *record;
	struct index_place place;
	struct kv_slice value;

	assert_true(segment_prove(&kv->segments, segment, segment->buffer));
	segment_set_sound(&kv->segments, segment);
	kv_read_begin(kv);
	assert_int_equal(
		read_find(kv, HASHED, HOLDER, sizeof(HOLDER) - 1, holder, &record, &address), 0);
	address += (FORMAT_RECORD_HEADER_SIZE + sizeof(HOLDER) - 1) / FORMAT_RECORD_ALIGN;
	assert_int_equal(index_reserve(&kv->index, 1), 0);
	assert_int_equal(index_insert(&kv->index, hash, address), 0);
	assert_int_equal(kv_get(kv, HASHED, LIAR, sizeof(LIAR) - 1, &value), -EIO);
	assert_int_equal(kv_contains(kv, HASHED, LIAR, sizeof(LIAR) - 1), -EIO);
	kv_read_end(kv);
	assert_int_equal(index_find(&kv->index, hash, is_address, &address, &place), address);
	index_remove(&kv->index, &place);
	must_lack(fixture, HASHED, LIAR);
	have_all(fixture);
}

/* A preparation failed half-way: its file has the number, and is the next one's, not another. */
static void test_half_prepared(void **state)
{
	struct fixture *fixture = *state;
	struct segments *segments = &fixture->kv->segments;
	struct segment *left = NULL;

	assert_int_equal(segments_keep_free(segments, 2), 0);
	for (uint32_t slot = 0; slot < atomic_load(&segments->count); slot++)
		if (segments->table[slot] && !segments->table[slot]->id)
			left = segments->table[slot];
	assert_int_equal(segment_file_rename(segments, left, true), 0);
	assert_int_equal(log_prepare_spare(fixture->kv), 0);
	assert_ptr_equal(fixture->kv->log.spares, left);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_proved),
		INLINE_TEST(test_proved_then_mapped),
		INLINE_TEST(test_not_proved),
		INLINE_TEST(test_address_that_lies),
		INLINE_TEST(test_half_prepared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
