/* SPDX-License-Identifier: MIT */
/* format_test.c - what format.h draws: sealed bytes are valid, and no flipped bit of them is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "checksum.h"
#include "format.h"

static const uint8_t uuid[16] = "0123456789abcdef";

static void fill_super(struct format_super *super)
{
	memset(super, 0, sizeof(*super));
	super->segment_size = FORMAT_SEGMENT_SIZE_DEFAULT;
	super->hash = KV_HASH_XXH3;
	super->keyspace_count = 2;
	strcpy(super->keyspaces[0].name, "hashed");
	strcpy(super->keyspaces[1].name, "ordered");
	super->keyspaces[1].flags = FORMAT_KEYSPACE_ORDERED;
	format_super_seal(super);
}

static void super_flips(void **state)
{
	struct format_super super;
	const char *why = NULL;
	size_t bit;

	(void)state;
	fill_super(&super);
	assert_int_equal(format_super_validate(&super, &why), 0);
	for (bit = 0; bit < sizeof(super) * 8; bit++) {
		((uint8_t *)&super)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		why = NULL;
		assert_int_not_equal(format_super_validate(&super, &why), 0);
		assert_non_null(why);
		((uint8_t *)&super)[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void super_newer_and_foreign(void **state)
{
	struct format_super super;
	const char *why;

	(void)state;
	fill_super(&super);
	super.version = FORMAT_VERSION + 1;
	assert_int_equal(format_super_validate(&super, &why), -EPROTONOSUPPORT);
	assert_false(format_super_is_sealed(&super));
	fill_super(&super);
	super.magic ^= 1;
	assert_int_equal(format_super_validate(&super, &why), -EMEDIUMTYPE);
	fill_super(&super);
	super.keyspace_count = 0;
	format_super_seal(&super);
	assert_int_equal(format_super_validate(&super, &why), -EUCLEAN);
}

static void segment_flips(void **state)
{
	struct format_segment header;
	size_t bit;

	(void)state;
	format_segment_seal(&header, uuid, 7, 3, 1 << 20, 5);
	assert_int_equal(format_segment_validate(&header, uuid, 3, 1 << 20), 0);
	assert_int_not_equal(format_segment_validate(&header, uuid, 4, 1 << 20), 0);
	assert_int_not_equal(format_segment_validate(&header, uuid, 3, 1 << 21), 0);
	for (bit = 0; bit < sizeof(header) * 8; bit++) {
		((uint8_t *)&header)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(format_segment_validate(&header, uuid, 3, 1 << 20), 0);
		((uint8_t *)&header)[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void segment_names(void **state)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];

	(void)state;
	format_segment_name(0x1f, name);
	assert_string_equal(name, "seg-0000001f");
	assert_int_equal(format_segment_slot(name), 0x1f);
	assert_int_equal(format_segment_slot("seg-0000001F"), -EINVAL);
	assert_int_equal(format_segment_slot("seg-1f"), -EINVAL);
	assert_int_equal(format_segment_slot("seg-0000001f0"), -EINVAL);
	assert_int_equal(format_segment_slot("seg- 000001f"), -EINVAL);
	assert_int_equal(format_segment_slot(""), -EINVAL);
}

#define SALT 0x1234567890abcdefull

/* A record of a 5-byte key and a 6-byte value: 24 + 11, padded to 40. */
static struct format_record *fill_record(uint64_t space[8])
{
	struct format_record *record = (struct format_record *)space;

	memset(space, 0, 64);
	record->seq = 99;
	record->key_size = 5;
	record->value_size = 6;
	memcpy(record->key, "alphavalue!", 11);
	record->check = format_record_body_hash(record) ^ format_record_place(record, SALT);
	return record;
}

static void record_flips(void **state)
{
	uint64_t space[8];
	struct format_record *record = fill_record(space);
	size_t bit;

	(void)state;
	assert_int_equal(format_record_validate(record, 64, SALT, 1), 40);
	assert_int_equal(format_record_validate(record, 40, SALT, 1), 40);
	assert_int_equal(format_record_validate(record, 39, SALT, 1), -EUCLEAN);
	assert_int_equal(format_record_validate(record, 23, SALT, 1), 0);
	assert_int_equal(format_record_validate(record, 64, SALT + 1, 1), -EUCLEAN);
	for (bit = 0; bit < 40 * 8; bit++) {
		((uint8_t *)record)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(format_record_validate(record, 64, SALT, 1) <= 0);
		((uint8_t *)record)[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* The hash of a record whose value stands elsewhere is that of the whole. */
static void split_hash(void **state)
{
	uint64_t space[8];
	struct format_record *record = fill_record(space);
	uint8_t value[6];

	(void)state;
	memcpy(value, format_record_value(record), sizeof(value));
	assert_int_equal(format_record_split_hash(record, value), format_record_body_hash(record));
}

/* Moving a record to another segment, and out of its batch, needs no hash of the body. */
static void record_moves(void **state)
{
	uint64_t space[8];
	struct format_record *record = fill_record(space);

	(void)state;
	record->check ^= format_record_place(record, SALT);
	record->flags = FORMAT_RECORD_RELOCATED;
	record->check ^= format_record_place(record, SALT + 1);
	assert_int_equal(format_record_validate(record, 64, SALT + 1, 1), 40);
}

/* The user's keyspaces that there are, and the engine's own. */
static void record_keyspaces(void **state)
{
	uint64_t space[8];
	struct format_record *record = fill_record(space);
	unsigned keyspace;

	(void)state;
	for (keyspace = 0; keyspace < 256; keyspace++) {
		bool valid = keyspace < 2 || keyspace == FORMAT_KEYSPACE_LARGE ||
			     keyspace == FORMAT_KEYSPACE_ENGINE;

		record->keyspace = (uint8_t)keyspace;
		record->check = format_record_body_hash(record) ^ format_record_place(record, SALT);
		assert_int_equal(
			format_record_validate(record, 64, SALT, 2), valid ? 40 : -EUCLEAN);
	}
}

static void bare_records(void **state)
{
	uint64_t space[3];
	struct format_record *record = (struct format_record *)space;

	(void)state;
	format_record_seal_bare(record, 17, FORMAT_RECORD_MARK, SALT);
	assert_int_equal(format_record_validate(record, 24, SALT, 1), 24);
	assert_int_equal(record->seq, 17);
	record->flags = FORMAT_RECORD_END;
	assert_int_equal(format_record_validate(record, 24, SALT, 1), -EUCLEAN);
	format_record_seal_bare(record, 17, FORMAT_RECORD_OLD, SALT);
	assert_int_equal(format_record_validate(record, 24, SALT, 1), 24);
	format_record_seal_bare(record, 17, FORMAT_RECORD_OLD | FORMAT_RECORD_MARK, SALT);
	assert_int_equal(format_record_validate(record, 24, SALT, 1), -EUCLEAN);
	format_record_seal_bare(record, 17, FORMAT_RECORD_RELOCATED, SALT);
	assert_int_equal(format_record_validate(record, 24, SALT, 1), -EUCLEAN);
}

/* OLD is for copies of values. */
static void old_records(void **state)
{
	static const struct {
		unsigned flags;
		bool valid;
	} cases[] = {
		{FORMAT_RECORD_OLD | FORMAT_RECORD_RELOCATED, true},
		{FORMAT_RECORD_OLD | FORMAT_RECORD_RELOCATED | FORMAT_RECORD_LARGE, true},
		{FORMAT_RECORD_OLD, false},
		{FORMAT_RECORD_OLD | FORMAT_RECORD_RELOCATED | FORMAT_RECORD_MORE, false},
	};
	uint64_t space[8];
	struct format_record *record = fill_record(space);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		record->flags = (uint8_t)cases[i].flags;
		record->check = format_record_body_hash(record) ^ format_record_place(record, SALT);
		assert_int_equal(format_record_validate(record, 64, SALT, 2),
			cases[i].valid ? 40 : -EUCLEAN);
	}
}

static void snapshots_flips(void **state)
{
	union {
		struct format_snapshots header;
		uint8_t bytes[sizeof(struct format_snapshots) + 2 * sizeof(struct format_snapshot)];
	} file = {.header = {.count = 2, .seq = 9}};
	struct format_snapshot *entries = (struct format_snapshot *)(&file.header + 1);
	size_t bit;

	(void)state;
	memcpy(file.header.uuid, uuid, 16);
	entries[0] = (struct format_snapshot){.seq = 9, .name_size = 1, .name = "a"};
	entries[1] = (struct format_snapshot){.seq = 2, .name_size = 2, .name = "ab"};
	format_snapshots_seal(&file.header);
	assert_int_equal(format_snapshots_validate(&file.header, sizeof(file), uuid), 0);
	assert_int_equal(format_snapshots_validate(&file.header, sizeof(file) - 1, uuid), -EUCLEAN);
	for (bit = 0; bit < sizeof(file) * 8; bit++) {
		file.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(
			format_snapshots_validate(&file.header, sizeof(file), uuid), -EUCLEAN);
		file.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* Whatever the processor has: the result is that of the library. */
static void checksums(void **state)
{
	static uint8_t bytes[70000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 8));
	for (size_t size = 1; size < sizeof(bytes); size = size * 5 / 4 + 1) {
		size_t head = size / 3;

		assert_int_equal(checksum(bytes, size), XXH3_64bits(bytes, size));
		assert_int_equal(checksum_split(bytes, head, bytes + head, size - head),
			XXH3_64bits(bytes, size));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(super_flips),
		cmocka_unit_test(super_newer_and_foreign),
		cmocka_unit_test(segment_flips),
		cmocka_unit_test(segment_names),
		cmocka_unit_test(record_flips),
		cmocka_unit_test(split_hash),
		cmocka_unit_test(checksums),
		cmocka_unit_test(record_moves),
		cmocka_unit_test(record_keyspaces),
		cmocka_unit_test(bare_records),
		cmocka_unit_test(old_records),
		cmocka_unit_test(snapshots_flips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
