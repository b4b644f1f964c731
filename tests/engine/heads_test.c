/* SPDX-License-Identifier: MIT */
/*
 * heads_test.c - heads of large records: which are kept and found, and that with them putting over a
 * large value, deleting it and asking for its size touch nothing of a mapped segment: its map may
 * not even be readable meanwhile.
 */
#include "kv_fixture.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heads.h"
#include "store.h"

#define VALUE_SIZE 20000u
#define VALUES 600u
#define CHANGED 60u

static uint32_t add_record(
	uint8_t *bytes, uint32_t at, size_t key_size, uint32_t value_size, uint64_t seq)
{
	struct format_record *record = (struct format_record *)(bytes + at);

	*record = (struct format_record){
		.seq = seq, .key_size = (uint16_t)key_size, .value_size = value_size};
	memset(record->key, (int)seq, key_size);
	return at + (uint32_t)format_record_length(record);
}

static void test_find(void **state)
{
	static const struct {
		uint32_t key_size, value_size;
		bool kept;
	} records[] = {{8, 100, false}, {17, HEAD_VALUE_MIN, true}, {17, HEAD_VALUE_MIN - 1, false},
		{HEAD_KEY_MAX, 65536, true}, {HEAD_KEY_MAX + 1, 65536, false}, {1, 30000, true}};
	uint8_t *bytes = calloc(1, 1 << 18);
	uint32_t at = 4096, offsets[6];
	struct heads *heads;

	assert_non_null(bytes);
	for (unsigned i = 0; i < 6; i++) {
		offsets[i] = at;
		at = add_record(bytes, at, records[i].key_size, records[i].value_size, i + 1);
	}
	assert_null(heads_new(bytes, 4096, offsets[1], SIZE_MAX)); /* there is no large one */
	assert_null(heads_new(bytes, 4096, at, 100));
	heads = heads_new(bytes, 4096, at, SIZE_MAX);
	assert_non_null(heads);
	assert_in_range(heads_size(heads), 3 * 64, 5 * 64);
	memset(bytes, 0, 1 << 18);
	for (unsigned i = 0; i < 6; i++) {
		const struct format_record *record = heads_find(heads, offsets[i]);

		assert_int_equal(record != NULL, records[i].kept);
		assert_null(heads_find(heads, offsets[i] + 8));
		if (!record)
			continue;
		assert_int_equal(record->seq, i + 1);
		assert_int_equal(record->value_size, records[i].value_size);
		assert_int_equal(record->key[records[i].key_size - 1], i + 1);
	}
	assert_null(heads_find(heads, 0));
	heads_free(heads);
	free(bytes);
}

/* Returns how many there are. */
static unsigned protect_maps(struct kv *kv, int protection)
{
	unsigned maps = 0;

	for (uint32_t slot = 0; slot < atomic_load(&kv->segments.count); slot++) {
		struct segment *segment = kv->segments.table[slot];
		const void *map = segment ? atomic_load(&segment->map) : NULL;

		if (!map)
			continue;
		assert_int_equal(mprotect((void *)map, kv->segments.size, protection), 0);
		maps++;
	}
	return maps;
}

static struct kv *open_real(const char *path)
{
	const struct kv_open_options options = {.flags = KV_OPEN_INLINE, .resident_size = 1};
	struct kv *kv;

	assert_int_equal(kv_create(NULL, path, &fixture_create_options, NULL, NULL), 0);
	assert_int_equal(kv_open(NULL, path, &options, &kv), 0);
	return kv;
}

static void put_value(struct kv *kv, unsigned number, uint64_t seed)
{
	static uint8_t value[VALUE_SIZE];
	uint8_t key[4] = {(uint8_t)(number >> 8), (uint8_t)number, 1, 2};

	fill_bytes(value, sizeof(value), seed);
	assert_int_equal(
		kv_put(kv, number % 2, key, sizeof(key), value, sizeof(value), NULL), 0);
}

static void have_value(struct kv *kv, unsigned number, uint64_t seed)
{
	uint8_t key[4] = {(uint8_t)(number >> 8), (uint8_t)number, 1, 2}, value[VALUE_SIZE];
	struct kv_slice found;

	fill_bytes(value, sizeof(value), seed);
	kv_read_begin(kv);
	assert_int_equal(kv_get(kv, number % 2, key, sizeof(key), &found), 0);
	assert_int_equal(found.size, sizeof(value));
	assert_memory_equal(found.data, value, sizeof(value));
	kv_read_end(kv);
}

static void test_maps_untouched(void **state)
{
	char directory[] = "heads_test.XXXXXX", path[64], words[128];
	struct kv *kv;
	uint64_t size;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/store", directory);
	kv = open_real(path);
	for (unsigned i = 0; i < VALUES; i++)
		put_value(kv, i, i);
	assert_int_equal(kv_sync(kv, kv_last_seq(kv)), 0);
	assert_true(protect_maps(kv, PROT_NONE) >= 5);
	for (unsigned i = 0; i < CHANGED; i++) {
		uint8_t key[4] = {(uint8_t)(i >> 8), (uint8_t)i, 1, 2};

		kv_prefetch(kv, i % 2, key, sizeof(key));
		assert_int_equal(kv_value_size(kv, i % 2, key, sizeof(key), &size), 0);
		assert_int_equal(size, VALUE_SIZE);
		if (i % 3)
			put_value(kv, i, i + 1000);
		else
			assert_int_equal(kv_delete(kv, i % 2, key, sizeof(key), NULL), 0);
	}
	protect_maps(kv, PROT_READ);
	for (unsigned i = 0; i < VALUES; i++) {
		uint8_t key[4] = {(uint8_t)(i >> 8), (uint8_t)i, 1, 2};

		if (i < CHANGED && i % 3 == 0)
			assert_int_equal(kv_contains(kv, i % 2, key, sizeof(key)), -ENOENT);
		else
			have_value(kv, i, i < CHANGED ? i + 1000 : i);
	}
	assert_int_equal(kv_close(kv), 0);
	snprintf(words, sizeof(words), "rm -r %s", directory);
	assert_int_equal(system(words), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_maps_untouched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
