/* SPDX-License-Identifier: MIT */
/* kv_damage_test.c - bytes that changed on the disk, pages that cannot be read: said, and the rest
 * stays readable. */
#include "kv_fixture.h"

#include "format.h"

#define KEYS 200u

static const char segment_name[] = "seg-00000000";

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %u", number);
}

static void fill_store(struct fixture *fixture)
{
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		must_put_filled(fixture, i % 2, key, 100 + i, i);
		if (i % 20 == 19)
			must_sync(fixture);
	}
	must_close(fixture);
}

/* How many keys are there; those that are have the value that was put. */
static unsigned count_intact(struct fixture *fixture)
{
	unsigned intact = 0;
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		int result;

		key_of(i, key);
		result = have_filled(fixture, i % 2, key, 100 + i, i);
		assert_true(!result || result == -ENOENT || result == -EIO);
		intact += !result;
	}
	return intact;
}

static void count_finding(void *arg, enum kv_severity severity, const char *message)
{
	++*(unsigned *)arg;
}

/* The offset behind the last record of the first segment. */
static uint32_t end_of_records(struct fixture *fixture)
{
	uint64_t size;
	const uint8_t *bytes = sim_env_bytes(fixture->sim, segment_name, &size);

	while (size > 0 && bytes[size - 1] == 0)
		size--;
	return (uint32_t)size;
}

/* Any flipped bit among synced records costs one batch at most, and is said when the store is
 * opened and checked. */
static void test_flipped_bits(void **state)
{
	struct fixture *fixture = *state;
	uint32_t end;

	fill_store(fixture);
	end = end_of_records(fixture);
	for (uint32_t position = FORMAT_SEGMENT_HEADER_SIZE; position < end; position += 211) {
		unsigned findings_heard = 0, intact;
		struct kv_stats stats;
		uint64_t findings;

		assert_int_equal(
			sim_env_flip(fixture->sim, segment_name, position, position % 8), 0);
		must_open(fixture, KV_OPEN_READ_ONLY);
		intact = count_intact(fixture);
		kv_stats(fixture->kv, &stats);
		/* Behind the last MARK nothing says that a record was ever durable. */
		assert_true(intact >= KEYS - 20);
		if (intact < KEYS - 1 || position < end / 2) {
			assert_true(intact == KEYS - 1 || intact == KEYS || stats.damaged == 0);
			assert_int_equal(stats.damaged > 0, fixture->errors > 0);
		}
		if (position < end / 2)
			assert_int_equal(stats.damaged, 1);
		assert_int_equal(kv_check(fixture->kv, count_finding, &findings_heard, NULL, NULL,
					 &findings),
			0);
		assert_int_equal(findings, findings_heard);
		if (position < end / 2)
			assert_true(findings > 0);
		must_close(fixture);
		assert_int_equal(
			sim_env_flip(fixture->sim, segment_name, position, position % 8), 0);
	}
	must_open(fixture, 0);
	assert_int_equal(count_intact(fixture), KEYS);
	must_check_clean(fixture);
}

/* A damaged store can be written to, and what was damaged stays lost but does not spread. */
static void test_writing_after_damage(void **state)
{
	struct fixture *fixture = *state;

	fill_store(fixture);
	assert_int_equal(
		sim_env_flip(fixture->sim, segment_name, FORMAT_SEGMENT_HEADER_SIZE + 1000, 1), 0);
	must_open(fixture, 0);
	assert_true(fixture->errors > 0);
	assert_int_equal(count_intact(fixture), KEYS - 1);
	for (unsigned i = 0; i < 30; i++)
		must_put_filled(fixture, HASHED, i % 2 ? "odd" : "even", 100000, i);
	must_close(fixture);
	must_open(fixture, 0);
	assert_int_equal(count_intact(fixture), KEYS - 1);
	must_have_filled(fixture, HASHED, "even", 100000, 28);
	must_have_filled(fixture, HASHED, "odd", 100000, 29);
}

/* Pages that cannot be read while the store is open: an error for what they hold, the rest stays
 * readable. */
static void test_unreadable_page(void **state)
{
	struct fixture *fixture = *state;
	unsigned lost = 0, intact;
	struct kv_slice value;
	char key[16];

	for (unsigned i = 0; i < 12; i++) /* so that the first segment is read through its map */
		must_put_filled(fixture, HASHED, i % 2 ? "odd" : "even", 300000, i);
	must_close(fixture);
	must_open(fixture, 0);
	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		must_put_filled(fixture, i % 2, key, 100 + i, i);
	}
	for (unsigned i = 0; i < 12; i++)
		must_put_filled(fixture, HASHED, i % 2 ? "odd" : "even", 300000, i);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(count_intact(fixture), KEYS);
	for (unsigned slot = 0; slot < 32; slot++) {
		char name[FORMAT_SEGMENT_NAME_SIZE];

		format_segment_name(slot, name);
		for (uint64_t page = 1; page < SEGMENT_SIZE / SIM_PAGE_SIZE; page += 4)
			(void)sim_env_fail_page(fixture->sim, name, page * SIM_PAGE_SIZE);
	}
	kv_read_begin(fixture->kv);
	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		lost += kv_get(fixture->kv, i % 2, key, strlen(key), &value) < 0;
	}
	kv_read_end(fixture->kv);
	intact = count_intact(fixture);
	assert_int_equal(intact + lost, KEYS);
	assert_true(lost > 0 && intact > 0);
}

#define PARTS_SIZE 60000u
#define PART_SIZE 4096u
#define BAD_PART 9u

/* The page in the middle of this part of the value cannot be read any more. */
static void fail_part(struct fixture *fixture, const char *key, unsigned part)
{
	for (unsigned slot = 0; slot < 32; slot++) {
		char name[FORMAT_SEGMENT_NAME_SIZE];
		const uint8_t *bytes, *found;
		uint64_t size, offset;

		format_segment_name(slot, name);
		bytes = sim_env_bytes(fixture->sim, name, &size);
		found = bytes ? memmem(bytes, size, key, strlen(key)) : NULL;
		if (!found)
			continue;
		offset = (uint64_t)(found - bytes) + strlen(key) + part * PART_SIZE + PART_SIZE / 2;
		assert_int_equal(sim_env_fail_page(fixture->sim, name,
					 offset / SIM_PAGE_SIZE * SIM_PAGE_SIZE), 0);
		return;
	}
	fail_msg("no segment has %s", key);
}

static int read_part(struct fixture *fixture, const char *key, unsigned part)
{
	uint8_t expected[PARTS_SIZE];
	struct kv_slice value;
	bool same = true;
	int result;

	fill_bytes(expected, PARTS_SIZE, 1);
	kv_read_begin(fixture->kv);
	result = kv_get_part(fixture->kv, HASHED, key, strlen(key), part * PART_SIZE, PART_SIZE, &value);
	if (!result)
		same = !memcmp((const uint8_t *)value.data + part * PART_SIZE,
			expected + part * PART_SIZE, PART_SIZE);
	kv_read_end(fixture->kv);
	assert_true(same);
	return result;
}

/* A part of a value that cannot be read is an error, not zeros. */
static void test_unreadable_part(void **state)
{
	static const char key[] = "a value that is read in parts";
	struct fixture *fixture = *state;

	must_put_filled(fixture, HASHED, key, PARTS_SIZE, 1);
	for (unsigned i = 0; i < 12; i++) /* so that it is read through a map */
		must_put_filled(fixture, HASHED, "filler", 300000, i);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	for (unsigned part = 0; part < PARTS_SIZE / PART_SIZE; part++)
		assert_int_equal(read_part(fixture, key, part), 0);
	fail_part(fixture, key, BAD_PART);
	assert_int_equal(read_part(fixture, key, BAD_PART), -EIO);
}

/* Flips a bit in the middle of a key's value, wherever that stands. */
static void damage_value(struct fixture *fixture, const char *key, size_t value_size)
{
	unsigned slot;

	for (slot = 0; slot < 32; slot++) {
		char name[FORMAT_SEGMENT_NAME_SIZE];
		const uint8_t *bytes, *found;
		uint64_t size;

		format_segment_name(slot, name);
		bytes = sim_env_bytes(fixture->sim, name, &size);
		found = bytes ? memmem(bytes, size, key, strlen(key)) : NULL;
		if (!found)
			continue;
		assert_int_equal(sim_env_flip(fixture->sim, name,
					      (uint64_t)(found - bytes) + strlen(key) + value_size / 2, 3),
				 0);
		return;
	}
	fail_msg("no segment has %s", key);
}

/* What is lost is lost until it is put again, or deleted: then it is what was put, or not there. */
static void test_damage_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats before, after;
	struct kv_slice value;
	unsigned i;

	for (i = 0; i < 40; i++) {
		char key[24];

		snprintf(key, sizeof(key), "to be damaged %02u", i);
		must_put_filled(fixture, i % 2, key, 20000, i);
	}
	/* With a checkpoint nothing is replayed. */
	must_close(fixture);
	damage_value(fixture, "to be damaged 10", 20000);
	damage_value(fixture, "to be damaged 11", 20000);
	damage_value(fixture, "to be damaged 13", 20000);
	must_open(fixture, 0);
	kv_stats(fixture->kv, &before);
	for (i = 10; i < 14; i++) {
		char key[24];
		int error;

		snprintf(key, sizeof(key), "to be damaged %02u", i);
		kv_read_begin(fixture->kv);
		error = kv_get(fixture->kv, i % 2, key, strlen(key), &value);
		kv_read_end(fixture->kv);
		assert_int_equal(error, i == 12 ? 0 : -EIO);
	}
	must_put(fixture, 0, "to be damaged 10", "new");
	must_have(fixture, 0, "to be damaged 10", "new");
	must_delete(fixture, 0, "to be damaged 10");
	must_lack(fixture, 0, "to be damaged 10");
	must_delete(fixture, 1, "to be damaged 11");
	must_lack(fixture, 1, "to be damaged 11");
	must_put(fixture, 1, "to be damaged 13", "new");
	must_have(fixture, 1, "to be damaged 13", "new");
	must_have_filled(fixture, 0, "to be damaged 12", 20000, 12);
	kv_stats(fixture->kv, &after);
	assert_int_equal(after.keys[0], before.keys[0] - 1);
	assert_int_equal(after.keys[1], before.keys[1] - 1);
	must_close(fixture);
	must_open(fixture, 0);
	must_lack(fixture, 0, "to be damaged 10");
	must_lack(fixture, 1, "to be damaged 11");
	must_have(fixture, 1, "to be damaged 13", "new");
}

#define MISSING_KEYS 150u
#define MISSING_SIZE 20000u

#define KILLED_SIZE 1000u /* of each value: a record more than two sectors long */

/*
 * Nobody has closed it, and the log ends in its first segment: what was synced is missed all the
 * same, and what stands behind it is there.
 */
static void test_damage_of_a_killed_store(void **state)
{
	static const char *const keys[] = {"one", "two", "three"};
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 3; i++) {
		must_put_filled(fixture, HASHED, keys[i], KILLED_SIZE, i);
		must_sync(fixture);
	}
	sim_env_cut(fixture->sim);
	kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	assert_int_equal(sim_env_flip(fixture->sim, segment_name,
				      FORMAT_SEGMENT_HEADER_SIZE + KILLED_SIZE / 2, 0), 0);
	fixture->errors = 0;
	must_open(fixture, KV_OPEN_INLINE);
	assert_true(fixture->errors > 0);
	assert_int_equal(have_filled(fixture, HASHED, keys[0], KILLED_SIZE, 0), -ENOENT);
	must_have_filled(fixture, HASHED, keys[1], KILLED_SIZE, 1);
	must_have_filled(fixture, HASHED, keys[2], KILLED_SIZE, 2);
}

static void remove_file(struct fixture *fixture, const char *name)
{
	struct env_dir *dir;

	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(fixture->env->unlink(dir, name), 0);
	assert_int_equal(fixture->env->dir_sync(dir), 0);
	fixture->env->dir_close(dir);
}

/* What the tests of missing segments put: each `step`th of their keys. */
static void put_missing(struct fixture *fixture, unsigned keyspace, unsigned step)
{
	char key[16];

	for (unsigned i = 0; i < MISSING_KEYS; i += step) {
		key_of(i, key);
		must_put_filled(fixture, keyspace, key, MISSING_SIZE, i);
	}
}

/* How many of test_missing_segment's keys are whole; none is anything else. */
static unsigned count_large(struct fixture *fixture)
{
	static uint8_t expected[MISSING_SIZE];
	struct kv_slice value;
	unsigned intact = 0;
	char key[16];

	kv_read_begin(fixture->kv);
	for (unsigned i = 0; i < MISSING_KEYS; i++) {
		key_of(i, key);
		if (kv_get(fixture->kv, HASHED, key, strlen(key), &value))
			continue;
		fill_bytes(expected, MISSING_SIZE, i);
		assert_int_equal(value.size, MISSING_SIZE);
		assert_memory_equal(value.data, expected, MISSING_SIZE);
		intact++;
	}
	kv_read_end(fixture->kv);
	return intact;
}

/*
 * A segment that somebody took away is named by who opens and who checks; the rest is there, also
 * for whoever writes on.
 */
static void test_missing_segment(void **state)
{
	struct fixture *fixture = *state;
	unsigned heard = 0, intact;
	uint64_t findings;

	put_missing(fixture, HASHED, 1);
	must_close(fixture);
	remove_file(fixture, "seg-00000001");
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->errors, 1);
	assert_non_null(strstr(fixture->last_error, "seg-00000001: missing"));
	intact = count_large(fixture);
	assert_in_range(intact, 1, MISSING_KEYS - 1);
	assert_int_equal(kv_check(fixture->kv, count_finding, &heard, NULL, NULL, &findings), 0);
	assert_true(findings > 0 && heard == findings);
	must_close(fixture);
	must_open(fixture, 0);
	must_put(fixture, HASHED, "more", "value");
	must_close(fixture);
	fixture->errors = 0;
	must_open(fixture, 0);
	assert_int_equal(fixture->errors, 0);
	assert_int_equal(count_large(fixture), intact);
	must_have(fixture, HASHED, "more", "value");
	must_check_clean(fixture);
}

/* Errors that opening read-only reports, as if there were no checkpoint. */
static unsigned errors_of_opening(struct fixture *fixture)
{
	fixture->errors = 0;
	must_open(fixture, KV_OPEN_READ_ONLY);
	must_close(fixture);
	return fixture->errors;
}

#define SLOTS_MAX 64u

/*
 * Each file of the log but the last, which the log might as well not have: taken away, it is
 * missed; back again, all is well.
 */
static unsigned take_each_away(struct fixture *fixture, unsigned slot_last)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];
	unsigned missed = 0;

	for (unsigned slot = 0; slot < SLOTS_MAX; slot++) {
		const uint8_t *bytes;
		uint8_t *copy;
		uint64_t size;

		format_segment_name(slot, name);
		bytes = sim_env_bytes(fixture->sim, name, &size);
		if (!bytes || slot == slot_last)
			continue;
		copy = malloc(size);
		assert_non_null(copy);
		memcpy(copy, bytes, size);
		remove_file(fixture, name);
		assert_int_equal(errors_of_opening(fixture), 1);
		assert_non_null(strstr(fixture->last_error, "missing"));
		assert_int_equal(sim_env_put_file(fixture->sim, name, copy, size), 0);
		free(copy);
		assert_int_equal(errors_of_opening(fixture), 0);
		missed++;
	}
	return missed;
}

/* The slot with the highest number: where the log ends. */
static unsigned last_slot(struct fixture *fixture)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];
	uint64_t size, last_id = 0;
	unsigned last = 0;

	for (unsigned slot = 0; slot < SLOTS_MAX; slot++) {
		const struct format_segment *header;

		format_segment_name(slot, name);
		header = (const struct format_segment *)sim_env_bytes(fixture->sim, name, &size);
		if (header && header->id > last_id && !format_segment_is_cold(header->id)) {
			last_id = header->id;
			last = slot;
		}
	}
	return last;
}

/*
 * Without a checkpoint the list of segments knows what there must be, and the numbers behind it
 * have no gap.
 */
static void test_missing_without_checkpoint(void **state)
{
	struct fixture *fixture = *state;
	struct kv_prune_report report;

	put_missing(fixture, HASHED, 1);
	must_close(fixture);
	remove_file(fixture, FORMAT_CHECKPOINT_NAME);
	/* Nothing was ever freed. */
	assert_true(take_each_away(fixture, last_slot(fixture)) >= 2);
	must_open(fixture, KV_OPEN_INLINE);
	put_missing(fixture, HASHED, 2);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, &report), 0);
	put_missing(fixture, ORDERED, 1);
	must_close(fixture);
	remove_file(fixture, FORMAT_CHECKPOINT_NAME);
	/* Some were, there are copies in cold ones, and others came behind them. */
	assert_true(take_each_away(fixture, last_slot(fixture)) >= 4);
	must_open(fixture, 0);
	assert_int_equal(fixture->errors, 0);
	must_check_clean(fixture);
}

/*
 * A list that is damaged in one copy is as good as whole; without any, the store works, and has one
 * again.
 */
static void test_damaged_manifest(void **state)
{
	struct fixture *fixture = *state;
	uint64_t size;

	fill_store(fixture);
	assert_int_equal(sim_env_flip(fixture->sim, FORMAT_MANIFEST_NAME, 40, 3), 0);
	must_open(fixture, 0);
	must_close(fixture);
	assert_int_equal(sim_env_flip(fixture->sim, FORMAT_MANIFEST_NAME, FORMAT_MANIFEST_PAGE_SIZE, 3), 0);
	must_open(fixture, 0);
	assert_int_equal(count_intact(fixture), KEYS);
	must_close(fixture);
	remove_file(fixture, FORMAT_MANIFEST_NAME);
	must_open(fixture, 0);
	assert_int_equal(count_intact(fixture), KEYS);
	must_close(fixture);
	assert_non_null(sim_env_bytes(fixture->sim, FORMAT_MANIFEST_NAME, &size));
	assert_int_equal(size, FORMAT_MANIFEST_COPIES * FORMAT_MANIFEST_PAGE_SIZE);
	assert_int_equal(fixture->errors, 0);
}

/*
 * Every other record of the log's last batch: all of them are damage, though what is left between
 * them has the last number that was durable.
 */
static void test_damaged_last_batch(void **state)
{
	static const char *const keys[] = {
		"first", "second", "third", "fourth", "fifth", "sixth"};
	struct fixture *fixture = *state;
	struct kv_batch *batch;
	const uint8_t *bytes;
	uint8_t value[100];
	uint64_t size;

	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	for (unsigned i = 0; i < 6; i++) {
		fill_bytes(value, sizeof(value), i);
		assert_int_equal(kv_batch_put(batch, HASHED, keys[i], strlen(keys[i]), value,
					 sizeof(value)), 0);
	}
	assert_int_equal(kv_commit(fixture->kv, batch, NULL), 0);
	kv_batch_free(batch);
	must_close(fixture);
	bytes = sim_env_bytes(fixture->sim, segment_name, &size);
	for (unsigned i = 0; i < 6; i += 2) {
		const uint8_t *key = memmem(bytes, size, keys[i], strlen(keys[i]));

		assert_int_equal(sim_env_flip(fixture->sim, segment_name,
					 (uint64_t)(key - bytes) + 50, 3), 0);
	}
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->errors, 3);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(have_filled(fixture, HASHED, keys[i], sizeof(value), i),
			i % 2 ? 0 : -ENOENT);
}

/*
 * Compressed bytes that are not what they were when the record was sealed: the message says where
 * it stands, and not its key.
 */
static void test_bad_compression(void **state)
{
	static const char key[] = "a secret name";
	struct kv_create_options options = fixture_create_options;
	struct fixture *fixture = *state;
	const struct format_segment *header;
	struct format_record *record;
	struct kv_slice value;
	char text[4000] = {0}, expected[64];
	uint8_t *bytes;
	uint64_t size;

	options.compress = KV_COMPRESS_INLINE;
	assert_int_equal(kv_create(fixture->env, STORE_PATH, &options, NULL, NULL), 0);
	must_open(fixture, 0);
	assert_int_equal(kv_put(fixture->kv, HASHED, key, strlen(key), text, sizeof(text), NULL), 0);
	must_close(fixture);
	bytes = malloc(SEGMENT_SIZE);
	memcpy(bytes, sim_env_bytes(fixture->sim, segment_name, &size), SEGMENT_SIZE);
	header = (const struct format_segment *)bytes;
	record = (struct format_record *)((uint8_t *)memmem(bytes, SEGMENT_SIZE, key, strlen(key)) -
					  sizeof(*record));
	assert_true(record->flags & FORMAT_RECORD_ZSTD);
	memset((uint8_t *)format_record_value(record) + record->value_size / 2, 0xff,
		record->value_size - record->value_size / 2);
	record->check = format_record_body_hash(record) ^ format_record_place(record, header->salt);
	snprintf(expected, sizeof(expected), "segment 0, offset %u: ",
		(unsigned)((uint8_t *)record - bytes));
	assert_int_equal(sim_env_put_file(fixture->sim, segment_name, bytes, SEGMENT_SIZE), 0);
	free(bytes);
	must_open(fixture, KV_OPEN_READ_ONLY);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, HASHED, key, strlen(key), &value), -EIO);
	kv_read_end(fixture->kv);
	assert_int_equal(fixture->errors, 1);
	assert_ptr_equal(strstr(fixture->last_error, expected), fixture->last_error);
	assert_null(strstr(fixture->last_error, key));
}

static bool has_checkpoint(struct fixture *fixture)
{
	uint64_t size;

	return sim_env_bytes(fixture->sim, FORMAT_CHECKPOINT_NAME, &size) != NULL;
}

/* The page in which this key's record begins cannot be read any more. */
static void fail_page_of_key(struct fixture *fixture, unsigned number)
{
	char key[16], name[FORMAT_SEGMENT_NAME_SIZE];

	key_of(number, key);
	for (unsigned slot = 0; slot < 32; slot++) {
		const uint8_t *bytes, *found;
		uint64_t size;

		format_segment_name(slot, name);
		bytes = sim_env_bytes(fixture->sim, name, &size);
		found = bytes ? memmem(bytes, size, key, strlen(key)) : NULL;
		if (!found)
			continue;
		assert_int_equal(
			sim_env_fail_page(fixture->sim, name, (uint64_t)(found - bytes)), 0);
		return;
	}
	fail_msg("no segment has %s", key);
}

/* What is left of a store with a page that cannot be read, before a repair and after it. */
static void must_repair_unreadable(struct fixture *fixture)
{
	struct kv_repair_report report;
	unsigned heard = 0;
	unsigned intact;

	must_open(fixture, KV_OPEN_READ_ONLY);
	intact = count_intact(fixture);
	assert_in_range(intact, KEYS - 30, KEYS - 5);
	assert_true(fixture->errors > 0);
	must_close(fixture);
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
	assert_true(heard > 0);
	assert_in_range(report.lost_bytes, SIM_PAGE_SIZE, 2 * SIM_PAGE_SIZE);
	assert_int_equal(report.remaining, 0);
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
	assert_int_equal(report.mended, 0);
	must_open(fixture, 0);
	assert_int_equal(fixture->errors, 0);
	assert_int_equal(count_intact(fixture), intact);
	must_check_clean(fixture);
}

/* With a checkpoint nothing else is missed; a repair, which does away with it, ends. */
static void test_unreadable_page_repaired(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 12; i++) /* so much that a replay is not the faster way */
		must_put_filled(fixture, HASHED, i % 2 ? "odd" : "even", 300000, i);
	fill_store(fixture);
	assert_true(has_checkpoint(fixture));
	fail_page_of_key(fixture, KEYS / 2);
	must_repair_unreadable(fixture);
}

/* Where the log has to be replayed only a reader and a repair go on: what cannot be read may be
 * there again later, and is then as it was. */
static void test_unreadable_page_replayed(void **state)
{
	struct fixture *fixture = *state;
	struct kv_open_options options = {0};
	struct kv *kv;

	fill_store(fixture);
	assert_false(has_checkpoint(fixture));
	assert_int_equal(sim_env_fail_page(fixture->sim, segment_name, 2 * SIM_PAGE_SIZE), 0);
	assert_int_equal(kv_open(fixture->env, STORE_PATH, &options, &kv), -EIO);
	must_repair_unreadable(fixture);
}

/* The page of its header: the segment is lost, and a repair puts it aside. */
static void test_unreadable_header(void **state)
{
	struct fixture *fixture = *state;
	struct kv_open_options options = {0};
	struct kv_repair_report report;
	unsigned heard = 0;
	struct kv *kv;

	fill_store(fixture);
	assert_int_equal(sim_env_fail_page(fixture->sim, segment_name, 0), 0);
	assert_int_equal(kv_open(fixture->env, STORE_PATH, &options, &kv), -EIO);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_true(fixture->errors > 0);
	must_close(fixture);
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
	assert_true(report.mended > 0);
	must_open(fixture, 0);
	must_check_clean(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_flipped_bits),
		FIXTURE_TEST(test_writing_after_damage),
		FIXTURE_TEST(test_unreadable_page),
		FIXTURE_TEST(test_unreadable_part),
		FIXTURE_TEST(test_unreadable_page_repaired),
		FIXTURE_TEST(test_unreadable_page_replayed),
		FIXTURE_TEST(test_unreadable_header),
		FIXTURE_TEST(test_damage_is_replaced),
		INLINE_TEST(test_damage_of_a_killed_store),
		FIXTURE_TEST(test_missing_segment),
		FIXTURE_TEST(test_missing_without_checkpoint),
		FIXTURE_TEST(test_damaged_manifest),
		INLINE_TEST(test_damaged_last_batch),
		EMPTY_TEST(test_bad_compression),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
