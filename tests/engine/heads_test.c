/* SPDX-License-Identifier: MIT */
/*
 * heads_test.c - heads of larger records: which are kept and found, and that with them putting over
 * a large value, deleting it and asking for its size touch nothing of a mapped segment: its map may
 * not even be readable meanwhile. And that compaction reads what is needed of a segment, and
 * nothing else.
 */
#include "kv_fixture.h"

#include <stdio.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heads.h"
#include "store.h"

#define VALUE_SIZE_MAX 20000u
#define VALUE_BYTES 12000000u /* some segments */
#define CHANGED 60u
#define SMALL 300u
#define MANY 4000u
#define KEPT_EACH 40u

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
	uint8_t *bytes = calloc(1, 1 << 19);
	uint32_t at = 4096, offsets[6];
	struct heads *heads;

	assert_non_null(bytes);
	for (unsigned i = 0; i < 6; i++) {
		offsets[i] = at;
		at = add_record(bytes, at, records[i].key_size, records[i].value_size, i + 1);
	}
	/* Most are small: only the others have a head. */
	for (unsigned i = 0; i < SMALL; i++)
		at = add_record(bytes, at, 8, 60, 100);
	assert_null(heads_new(bytes, 4096, offsets[1], SIZE_MAX)); /* there is no large one */
	assert_null(heads_new(bytes, 4096, at, 100));
	heads = heads_new(bytes, 4096, at, SIZE_MAX);
	assert_non_null(heads);
	assert_in_range(heads_size(heads), 3 * 64, 5 * 64);
	assert_false(heads_complete(heads));
	memset(bytes, 0, 1 << 19);
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

/*
 * What does not lead from record to record up to the end has no heads: nothing may be concluded
 * from what is not seen.
 */
static void test_broken_chain(void **state)
{
	uint8_t *bytes = calloc(1, 1 << 19);
	uint32_t at = 4096, end, length_at;
	struct format_record *record;
	struct heads *heads;

	assert_non_null(bytes);
	at = add_record(bytes, at, 17, 8192, 1);
	length_at = at;
	at = add_record(bytes, at, 17, 8192, 2);
	end = add_record(bytes, at, 17, 8192, 3);
	heads = heads_new(bytes, 4096, end, SIZE_MAX);
	assert_non_null(heads);
	assert_true(heads_complete(heads));
	heads_free(heads);
	/* The last one is longer than there is room, or its header does not end. */
	assert_null(heads_new(bytes, 4096, end - 8, SIZE_MAX));
	assert_null(heads_new(bytes, 4096, end + 8, SIZE_MAX));
	/* A hole: bare records as far as it goes, and then somewhere in a value. */
	memset(bytes + length_at, 0xff, 9000);
	memset(bytes + length_at, 0, 4096);
	assert_null(heads_new(bytes, 4096, end, SIZE_MAX));
	/* A length that is nothing in 32 bits. */
	record = (struct format_record *)(bytes + length_at);
	record->key_size = 0;
	record->value_size = UINT32_MAX - FORMAT_RECORD_HEADER_SIZE + 1;
	assert_null(heads_new(bytes, 4096, end, SIZE_MAX));
	free(bytes);
}

/*
 * As those of a file that was written block by block, with a batch of another kind now and then:
 * each is found, and nothing between them. Out: where they begin.
 */
static uint32_t add_many(uint8_t *bytes, size_t long_key_size, uint32_t *offsets)
{
	uint32_t at = 4096;

	for (unsigned i = 0; i < MANY; i++) {
		if (i % 500 == 499)
			at = add_record(bytes, at, long_key_size, 200000, MANY + 1);
		if (i % 10 == 5) /* a MARK */
			at = add_record(bytes, at, 0, 0, i + 1);
		offsets[i] = at;
		at = add_record(bytes, at, 17, i % 700 < 30 ? 100 : 4096, i + 1);
	}
	assert_true(at < MANY * 5000);
	return at;
}

static void find_many(size_t long_key_size)
{
	uint8_t *bytes = calloc(1, (size_t)MANY * 5000);
	uint32_t at, offset, number = 0, *offsets = calloc(MANY, sizeof(*offsets));
	const struct format_record *head;
	struct heads *heads;

	assert_non_null(bytes);
	assert_non_null(offsets);
	at = add_many(bytes, long_key_size, offsets);
	heads = heads_new(bytes, 4096, at, SIZE_MAX);
	assert_non_null(heads);
	assert_true(heads_complete(heads) == (long_key_size <= HEAD_KEY_MAX));
	for (unsigned i = 0; i < MANY; i++) {
		assert_non_null(heads_find(heads, offsets[i]));
		assert_int_equal(heads_find(heads, offsets[i])->seq, i + 1);
		assert_null(heads_find(heads, offsets[i] + 8));
		assert_null(heads_find(heads, offsets[i] - 8));
		for (; (head = heads_get(heads, number, &offset)) && head->seq > MANY; number++)
			;
		assert_non_null(head);
		assert_int_equal(offset, offsets[i]);
		assert_int_equal(heads_from(heads, offset), number);
		assert_int_equal(heads_from(heads, offset + 1), ++number);
	}
	assert_null(heads_find(heads, at));
	assert_null(heads_get(heads, heads_from(heads, at), &offset));
	heads_free(heads);
	free(offsets);
	free(bytes);
}

static void test_find_many(void **state)
{
	find_many(HEAD_KEY_MAX);
	find_many(HEAD_KEY_MAX + 1);
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

static void put_value(struct kv *kv, unsigned number, size_t size, uint64_t seed)
{
	static uint8_t value[VALUE_SIZE_MAX];
	uint8_t key[4] = {(uint8_t)(number >> 8), (uint8_t)number, 1, 2};

	fill_bytes(value, size, seed);
	assert_int_equal(kv_put(kv, number % 2, key, sizeof(key), value, size, NULL), 0);
}

static void have_value(struct kv *kv, unsigned number, size_t size, uint64_t seed)
{
	static uint8_t value[VALUE_SIZE_MAX];
	uint8_t key[4] = {(uint8_t)(number >> 8), (uint8_t)number, 1, 2};
	struct kv_slice found;

	fill_bytes(value, size, seed);
	kv_read_begin(kv);
	assert_int_equal(kv_get(kv, number % 2, key, sizeof(key), &found), 0);
	assert_int_equal(found.size, size);
	assert_memory_equal(found.data, value, size);
	kv_read_end(kv);
}

static void change_beside_maps(size_t value_size)
{
	const unsigned values = VALUE_BYTES / (unsigned)value_size;
	char directory[] = "heads_test.XXXXXX", path[64], words[128];
	struct kv *kv;
	uint64_t size;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/store", directory);
	kv = open_real(path);
	for (unsigned i = 0; i < values; i++)
		put_value(kv, i, value_size, i);
	assert_int_equal(kv_sync(kv, kv_last_seq(kv)), 0);
	assert_true(protect_maps(kv, PROT_NONE) >= 5);
	for (unsigned i = 0; i < CHANGED; i++) {
		uint8_t key[4] = {(uint8_t)(i >> 8), (uint8_t)i, 1, 2};

		kv_prefetch(kv, i % 2, key, sizeof(key));
		assert_int_equal(kv_value_size(kv, i % 2, key, sizeof(key), &size), 0);
		assert_int_equal(size, value_size);
		if (i % 3)
			put_value(kv, i, value_size, i + values);
		else
			assert_int_equal(kv_delete(kv, i % 2, key, sizeof(key), NULL), 0);
	}
	protect_maps(kv, PROT_READ);
	for (unsigned i = 0; i < values; i++) {
		uint8_t key[4] = {(uint8_t)(i >> 8), (uint8_t)i, 1, 2};

		if (i < CHANGED && i % 3 == 0)
			assert_int_equal(kv_contains(kv, i % 2, key, sizeof(key)), -ENOENT);
		else
			have_value(kv, i, value_size, i < CHANGED ? i + values : i);
	}
	assert_int_equal(kv_close(kv), 0);
	snprintf(words, sizeof(words), "rm -r %s", directory);
	assert_int_equal(system(words), 0);
}

static void test_maps_untouched(void **state)
{
	change_beside_maps(VALUE_SIZE_MAX);
	change_beside_maps(HEAD_VALUE_MIN);
}

/* Counts by the number that put_value has made a key of. */
static int count_change(void *arg, struct kv_slice key)
{
	const uint8_t *bytes = key.data;
	unsigned *seen = arg;

	if (key.size != 4 || (bytes[0] << 8 | bytes[1]) >= (int)CHANGED)
		return -EINVAL;
	seen[bytes[0] << 8 | bytes[1]]++;
	return 0;
}

/* What has changed since a view is told from heads, whether its records can be read or not. */
static void test_changes_without_maps(void **state)
{
	const unsigned values = VALUE_BYTES / VALUE_SIZE_MAX;
	char directory[] = "heads_test.XXXXXX", path[64], words[128];
	unsigned seen[CHANGED] = {0};
	struct kv_view *view;
	struct kv *kv;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/store", directory);
	kv = open_real(path);
	for (unsigned i = 0; i < values; i++)
		put_value(kv, i, VALUE_SIZE_MAX, i);
	assert_int_equal(kv_view_open(kv, &view), 0);
	for (unsigned i = 0; i < CHANGED; i++)
		put_value(kv, i, VALUE_SIZE_MAX, i + values);
	assert_int_equal(kv_sync(kv, kv_last_seq(kv)), 0);
	assert_true(protect_maps(kv, PROT_NONE) >= 5);
	for (unsigned keyspace = 0; keyspace < 2; keyspace++)
		assert_int_equal(kv_view_changes(view, NULL, keyspace, count_change, seen), 0);
	for (unsigned i = 0; i < CHANGED; i++)
		assert_int_equal(seen[i], 1);
	protect_maps(kv, PROT_READ);
	kv_view_close(view);
	assert_int_equal(kv_close(kv), 0);
	snprintf(words, sizeof(words), "rm -r %s", directory);
	assert_int_equal(system(words), 0);
}

/* The pages of what is still needed of the first round may be read, and no others. */
static void protect_but_kept(struct kv *kv, unsigned values, size_t size)
{
	static const uint8_t *kept[VALUE_BYTES / HEAD_VALUE_MIN];

	for (unsigned i = 0; i < values; i += KEPT_EACH) {
		uint8_t key[4] = {(uint8_t)(i >> 8), (uint8_t)i, 1, 2};
		struct kv_slice found;

		kv_read_begin(kv);
		assert_int_equal(kv_get(kv, i % 2, key, sizeof(key), &found), 0);
		kept[i] = found.data;
		kv_read_end(kv);
	}
	assert_true(protect_maps(kv, PROT_NONE) >= 10);
	for (unsigned i = 0; i < values; i += KEPT_EACH) {
		uintptr_t from = (uintptr_t)kept[i] - 32, to = (uintptr_t)kept[i] + size;

		from &= ~(uintptr_t)4095;
		assert_int_equal(mprotect((void *)from, to - from, PROT_READ), 0);
	}
}

static void test_compaction_reads_needed(void **state)
{
	const struct kv_prune_options options = {.garbage_percent = 90};
	const unsigned values = VALUE_BYTES / 4096;
	char directory[] = "heads_test.XXXXXX", path[64], words[128];
	struct kv_prune_report report;
	struct kv *kv;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/store", directory);
	kv = open_real(path);
	for (unsigned i = 0; i < 2 * values; i++)
		if (i < values || i % values % KEPT_EACH)
			put_value(kv, i % values, 4096, i);
	assert_int_equal(kv_sync(kv, kv_last_seq(kv)), 0);
	protect_but_kept(kv, values, 4096);
	assert_int_equal(kv_prune(kv, &options, NULL, NULL, &report), 0);
	assert_true(report.segments >= 5);
	assert_in_range(report.copied_bytes, report.segments * 4096, values / KEPT_EACH * 4200);
	protect_maps(kv, PROT_READ);
	for (unsigned i = 0; i < values; i++)
		have_value(kv, i, 4096, i % KEPT_EACH ? values + i : i);
	assert_int_equal(kv_close(kv), 0);
	snprintf(words, sizeof(words), "rm -r %s", directory);
	assert_int_equal(system(words), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_find_many),
		cmocka_unit_test(test_broken_chain),
		cmocka_unit_test(test_maps_untouched),
		cmocka_unit_test(test_compaction_reads_needed),
		/* Last: where it fails, it leaves a read section open. */
		cmocka_unit_test(test_changes_without_maps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
