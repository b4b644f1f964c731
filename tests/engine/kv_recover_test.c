/* SPDX-License-Identifier: MIT */
/*
 * kv_recover_test.c - a log of several segments is replayed: with a second thread that validates
 * ahead as without.
 */
#include "kv_fixture.h"

#include "format.h"
#include "replay.h"
#include "store.h"
#include "validator.h"

#define KEYS 6000u
#define CHANGES 35000u   /* several segments of records, and many more than the second thread may be ahead */
#define BATCH 11000u     /* alike, in one batch; some keys twice */
#define CHANGES_LARGE 8000u
#define SIZE_MAX_SMALL 100u
#define SIZE_MAX_LARGE 800u
#define SEGMENTS_MIN 2u	 /* that are replayed, for there to be a second thread */
#define SLOTS 4u
#define NEVER UINT64_MAX /* no checkpoint */
#define LOST_AT 20000u	 /* about there in a segment records are lost... */
#define LOST_SIZE 512u	 /* ...so many bytes, after the second thread has validated them */

#define LARGE_KEYS 60u   /* that stay, of which half are in each segment */
#define LARGE_SIZE 20000u
#define OPENING_STEPS 8u /* more than opening takes until the log's end is seen to */

struct model {
	struct sim_random random;
	uint32_t size_max; /* of what is put from now on */
	uint32_t sizes[2][KEYS]; /* 0: not there */
	uint64_t seeds[2][KEYS];
};

static size_t key_of(unsigned number, char key[16])
{
	return (size_t)snprintf(key, 16, "key %u", number);
}

static void put_one(struct fixture *fixture, struct model *model, struct kv_batch *batch)
{
	unsigned keyspace = sim_random_below(&model->random, 8) ? HASHED : ORDERED;
	unsigned number = (unsigned)sim_random_below(&model->random, KEYS);
	uint32_t size = 1 + (uint32_t)sim_random_below(&model->random, model->size_max);
	uint64_t seed = sim_random_next(&model->random);
	uint8_t value[SIZE_MAX_LARGE];
	char key[16];
	size_t key_size = key_of(number, key);

	fill_bytes(value, size, seed);
	if (batch)
		assert_int_equal(kv_batch_put(batch, keyspace, key, key_size, value, size), 0);
	else
		assert_int_equal(kv_put(fixture->kv, keyspace, key, key_size, value, size, NULL), 0);
	model->sizes[keyspace][number] = size;
	model->seeds[keyspace][number] = seed;
}

static void delete_one(struct fixture *fixture, struct model *model)
{
	unsigned keyspace = (unsigned)sim_random_below(&model->random, 2);
	unsigned number = (unsigned)sim_random_below(&model->random, KEYS);
	char key[16];

	assert_int_equal(kv_delete(fixture->kv, keyspace, key, key_of(number, key), NULL), 0);
	model->sizes[keyspace][number] = 0;
}

static void put_batch(struct fixture *fixture, struct model *model)
{
	struct kv_batch *batch;
	unsigned i;

	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	for (i = 0; i < BATCH; i++)
		put_one(fixture, model, batch);
	assert_int_equal(kv_commit(fixture->kv, batch, NULL), 0);
	kv_batch_free(batch);
}

static void change(struct fixture *fixture, struct model *model, unsigned count)
{
	while (count--) {
		if (sim_random_below(&model->random, 10))
			put_one(fixture, model, NULL);
		else
			delete_one(fixture, model);
		if (count == CHANGES / 2)
			put_batch(fixture, model);
	}
}

/* How many keys of the model are not there as it says. */
static unsigned count_wrong(struct fixture *fixture, const struct model *model)
{
	unsigned keyspace, number, wrong = 0;
	uint8_t expected[SIZE_MAX_LARGE];
	struct kv_slice value;
	char key[16];

	kv_read_begin(fixture->kv);
	for (keyspace = 0; keyspace < 2; keyspace++) {
		for (number = 0; number < KEYS; number++) {
			uint32_t size = model->sizes[keyspace][number];
			int result = kv_get(fixture->kv, keyspace, key, key_of(number, key), &value);

			fill_bytes(expected, size, model->seeds[keyspace][number]);
			wrong += size ? result || value.size != size ||
						memcmp(value.data, expected, size) :
					result != -ENOENT;
		}
	}
	kv_read_end(fixture->kv);
	return wrong;
}

/* What an opening found; reading leaves the store as it is. */
static struct kv_stats open_and_look(struct fixture *fixture, unsigned flags,
				     const struct model *model, unsigned *wrong)
{
	struct kv_stats stats;

	must_open(fixture, KV_OPEN_READ_ONLY | flags);
	*wrong = count_wrong(fixture, model);
	kv_stats(fixture->kv, &stats);
	must_close(fixture);
	return stats;
}

/* With the second thread and without: the same. */
static unsigned must_open_alike(struct fixture *fixture, const struct model *model)
{
	unsigned wrong, wrong_inline, errors;
	struct kv_stats stats = open_and_look(fixture, 0, model, &wrong), one_by_one;

	errors = fixture->errors;
	one_by_one = open_and_look(fixture, KV_OPEN_INLINE, model, &wrong_inline);
	assert_int_equal(fixture->errors, errors);
	assert_int_equal(wrong, wrong_inline);
	assert_int_equal(stats.recovered_batches, one_by_one.recovered_batches);
	assert_int_equal(stats.recovered_bytes, one_by_one.recovered_bytes);
	assert_int_equal(stats.keys[HASHED], one_by_one.keys[HASHED]);
	assert_int_equal(stats.keys[ORDERED], one_by_one.keys[ORDERED]);
	assert_int_equal(stats.live_bytes, one_by_one.live_bytes);
	assert_int_equal(stats.log_bytes, one_by_one.log_bytes);
	assert_int_equal(stats.damaged, one_by_one.damaged);
	assert_in_range(stats.recovered_bytes, SEGMENTS_MIN * SEGMENT_SIZE, UINT64_MAX);
	return wrong;
}

static void begin(struct fixture *fixture, struct model *model, uint64_t seed)
{
	memset(model, 0, sizeof(*model));
	model->random.state = seed;
	model->size_max = SIZE_MAX_SMALL;
	fixture->checkpoint_interval = NEVER;
	must_close(fixture);
	/* So that each segment is what it was each time before. */
	must_open(fixture, KV_OPEN_INLINE);
	change(fixture, model, CHANGES);
}

/* The power fails when all of it is durable. */
static void cut(struct fixture *fixture)
{
	must_sync(fixture);
	sim_env_cut(fixture->sim);
	kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
}

static void test_many_segments(void **state)
{
	struct fixture *fixture = *state;
	static struct model model;

	begin(fixture, &model, 1);
	cut(fixture);
	assert_int_equal(must_open_alike(fixture, &model), 0);
	must_open(fixture, 0);
	assert_int_equal(count_wrong(fixture, &model), 0);
	change(fixture, &model, CHANGES_LARGE);
	assert_int_equal(count_wrong(fixture, &model), 0);
	must_check_clean(fixture);
}

/*
 * What is replaced stands before the checkpoint as well, in segments that are read beside the
 * replay.
 */
static void test_behind_a_checkpoint(void **state)
{
	struct fixture *fixture = *state;
	static struct model model;
	struct kv_stats stats;
	unsigned wrong;

	begin(fixture, &model, 3);
	must_close(fixture);
	/* Not so many that compaction would want another checkpoint. */
	must_open(fixture, KV_OPEN_INLINE);
	model.size_max = SIZE_MAX_LARGE;
	change(fixture, &model, CHANGES_LARGE);
	cut(fixture);
	stats = open_and_look(fixture, 0, &model, &wrong);
	assert_in_range(stats.recovered_bytes, 1, stats.log_bytes - SEGMENT_SIZE);
	assert_int_equal(must_open_alike(fixture, &model), 0);
	must_open(fixture, 0);
	assert_int_equal(count_wrong(fixture, &model), 0);
	must_check_clean(fixture);
}

/* Where it ends the replayer goes on by himself, and beyond that segment they meet again. */
static void test_damage_on_the_way(void **state)
{
	struct fixture *fixture = *state;
	char name[FORMAT_SEGMENT_NAME_SIZE];
	static struct model model;
	unsigned slot;

	begin(fixture, &model, 2);
	cut(fixture);
	for (slot = 0; slot < SLOTS; slot++) {
		uint64_t position = 5000 + slot * (uint64_t)200000, size;

		format_segment_name(slot, name);
		if (!sim_env_bytes(fixture->sim, name, &size))
			continue;
		assert_int_equal(sim_env_flip(fixture->sim, name, position, 3), 0);
		assert_in_range(must_open_alike(fixture, &model), 0, 2 * (slot + 1));
		assert_true(fixture->errors > 0);
	}
}

/* A record of a hashed key, as whoever knows the segment's salt could make it. Its length */
static uint32_t forge(uint8_t *at, const char *key, uint64_t seq, uint64_t salt)
{
	struct format_record *record = (struct format_record *)at;

	record->seq = seq;
	record->key_size = (uint16_t)strlen(key);
	memcpy(record->key, key, strlen(key));
	record->check = format_record_body_hash(record) ^ format_record_place(record, salt);
	return (uint32_t)format_record_length(record);
}

/*
 * Zeros in the place of some records, then a whole one that never was, and behind it one whose
 * check is wrong.
 */
static void lose_and_forge(const struct segment *segment, uint8_t *base)
{
	const struct format_record *record;
	uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE;
	uint64_t seq = 0;

	for (; offset < LOST_AT; offset += (uint32_t)format_record_length(record)) {
		record = (const struct format_record *)(base + offset);
		seq = record->seq > seq ? record->seq : seq;
	}
	memset(base + offset, 0, LOST_SIZE);
	offset += LOST_SIZE / 2;
	offset += forge(base + offset, "whole", seq + 1, segment->salt);
	forge(base + offset, "half", seq + 2, segment->salt);
	((struct format_record *)(base + offset))->check ^= 1;
}

/*
 * What the second thread has validated is lost before the replayer comes to it. What stands behind
 * the damage need not be what was validated: it may be anything within a value.
 */
static void test_damage_after_validation(void **state)
{
	struct fixture *fixture = *state;
	struct replay replay = {0};
	static struct model model;
	struct segment *segments[SEGMENTS_MIN];
	enum replay_end how;
	uint32_t end;
	struct kv *kv;

	begin(fixture, &model, 4);
	cut(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY | KV_OPEN_INLINE);
	kv = fixture->kv;
	for (uint32_t slot = 0; slot < SEGMENTS_MIN; slot++)
		segments[slot] = kv->segments.table[slot];
	replay.kv = kv;
	replay.segment = segments[0];
	replay.base = segments_base(&kv->segments, segments[0]->slot);
	kv->inline_maintenance = false;
	replay.validator = validator_new(kv, segments, SEGMENTS_MIN);
	kv->inline_maintenance = true;
	assert_non_null(replay.validator);
	validator_enter(replay.validator, 0);
	/*
	 * As far as its ring has room; then it waits, and reads nothing while bytes are changed
	 * here.
	 */
	assert_in_range(validator_await(replay.validator, SEGMENT_SIZE), LOST_AT + 2 * LOST_SIZE, SEGMENT_SIZE / 2);
	lose_and_forge(segments[0], (uint8_t *)(uintptr_t)replay.base);
	assert_int_equal(replay_segment(&replay, false, &end, &how), 0);
	validator_leave(replay.validator);
	validator_free(replay.validator);
	assert_int_equal(how, REPLAY_SEALED);
	assert_true(fixture->errors >= 2);
	must_have(fixture, HASHED, "whole", "");
	must_lack(fixture, HASHED, "half");
}

/* Opens a store whose process died, and dies again at this step of that. */
static void die_while_opening(struct fixture *fixture, uint64_t step)
{
	sim_env_cut(fixture->sim);
	kv_close(fixture->kv);
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	sim_env_cut_at(fixture->sim, sim_env_steps(fixture->sim) + step);
	if (fixture_open(fixture, KV_OPEN_INLINE) == 0)
		kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
}

/*
 * The END of a cold segment that only the page cache has is durable before a checkpoint goes by it.
 */
static void test_end_in_the_page_cache(void **state)
{
	struct fixture *fixture = *state;
	char key[16];

	for (uint64_t step = 1; step <= 2 * OPENING_STEPS; step++) {
		for (unsigned number = 0; number < 2 * LARGE_KEYS; number++) {
			key_of(number % 2 ? number : 0, key);
			must_put_filled(fixture, HASHED, key, LARGE_SIZE, step + number);
		}
		assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
		die_while_opening(fixture, 1 + step % OPENING_STEPS);
		fixture->errors = 0;
		must_open(fixture, KV_OPEN_INLINE);
		assert_int_equal(kv_checkpoint(fixture->kv), 0);
		must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
		assert_int_equal(fixture->errors, 0);
		must_check_clean(fixture);
	}
}

/* ---- segments that were prepared and not used ------------------------------------------------ */

#define LIVES 40u
#define FILLER 100000u
#define LIST_PUTS 200u /* of FILLER: many segments */

static void put_filler(struct fixture *fixture, unsigned seed)
{
	must_put_filled(fixture, HASHED, "filler", FILLER, seed);
}

/*
 * A file that is free has a lower number than the segment that is prepared: the first one, of which
 * nothing is needed any more.
 */
static bool free_below_spare(struct fixture *fixture)
{
	struct kv *kv = fixture->kv;
	unsigned puts = 0;

	while (kv->log.hot.active->slot == 0 || !kv->log.spares) {
		assert_true(puts < 100);
		put_filler(fixture, puts++);
	}
	must_sync(fixture);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	return kv->segments.table[0] && !kv->segments.table[0]->id && kv->log.spares &&
	       kv->log.spares->slot > 0;
}

/* So that a file which is free gets its space before it is used. */
static void make_scarce(struct fixture *fixture)
{
	uint64_t used = 0, size;
	char name[FORMAT_SEGMENT_NAME_SIZE];

	for (unsigned slot = 0; slot < 10; slot++) {
		format_segment_name(slot, name);
		used += sim_env_bytes(fixture->sim, name, &size) ? size : 0;
		format_free_name(slot, name);
		used += sim_env_bytes(fixture->sim, name, &size) ? size : 0;
	}
	sim_env_set_capacity(fixture->sim, used + 3 * SEGMENT_SIZE);
}

static struct sim_env *disk;

/* ---- the list of segments -------------------------------------------------------------------- */

static int (*write_file)(
	struct env_file *file, const void *data, size_t size, uint64_t position, bool sync);

/* The disk refuses the second copy of the list, which the page cache keeps all the same. */
static int write_but_copy(
	struct env_file *file, const void *data, size_t size, uint64_t position, bool sync)
{
	const struct format_manifest *header = data;

	if (position == FORMAT_MANIFEST_PAGE_SIZE && size == FORMAT_MANIFEST_PAGE_SIZE &&
		!format_manifest_validate(data, header->uuid))
		sim_env_fail(disk, SIM_FAULT_SYNC, 1, 1, -EIO);
	return write_file(file, data, size, position, sync);
}

/* Overwrites a key until segments that nobody needs are to be taken from the list. */
static void write_list_but_copy(struct fixture *fixture)
{
	static const uint8_t value[FILLER];
	unsigned puts = 0;
	int error = 0;

	disk = fixture->sim;
	write_file = fixture->env->file_write;
	fixture->env->file_write = write_but_copy;
	while (!error && puts++ < LIST_PUTS)
		error = kv_put(fixture->kv, HASHED, "filler", 6, value, FILLER, NULL);
	assert_true(error == -EIO || error == -EROFS);
	fixture->env->file_write = write_file;
}

/*
 * A copy of the list that the disk has refused, and that the next process finds in the page cache,
 * is not the one that it relies on while it writes the other.
 */
static void test_list_in_the_page_cache(void **state)
{
	for (unsigned life = 0; life < LIVES; life++) {
		struct fixture *fixture = fixture_begin(state, life);
		const struct format_manifest_page *copy;
		uint64_t generation, size;
		unsigned relied_on;

		write_list_but_copy(fixture);
		sim_env_cut(fixture->sim);
		kv_close(fixture->kv);
		assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
		must_open(fixture, KV_OPEN_INLINE);
		relied_on = !fixture->kv->manifest_first;
		generation = fixture->kv->manifest_generation;
		assert_true(generation > 0);
		sim_env_cut(fixture->sim);
		kv_close(fixture->kv);
		fixture->kv = NULL;
		assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
		copy = (const struct format_manifest_page *)sim_env_bytes(
			fixture->sim, FORMAT_MANIFEST_NAME, &size);
		copy += relied_on;
		assert_int_equal(format_manifest_validate(copy, copy->header.uuid), 0);
		assert_int_equal(copy->header.generation, generation);
		assert_int_equal(fixture_teardown(state), 0);
	}
}

/* ---- dropped segments ------------------------------------------------------------------------ */

static int (*rename_file)(struct env_dir *dir, const char *from, const char *to);

/* The power fails before that is durable. */
static int last_rename(struct env_dir *dir, const char *from, const char *to)
{
	int error = rename_file(dir, from, to);

	if (format_segment_slot(to) >= 0)
		sim_env_cut_at(disk, sim_env_steps(disk) + 1);
	return error;
}

/*
 * One that opening drops does not come back beside another that has got its number: two of a number
 * are a store that does not open.
 */
static void test_dropped_segment_is_not_back(void **state)
{
	static const uint8_t value[FILLER];

	for (unsigned life = 0; life < LIVES; life++) {
		struct fixture *fixture = fixture_begin(state, life);
		unsigned puts = 0;

		assert_true(free_below_spare(fixture));
		sim_env_cut(fixture->sim);
		kv_close(fixture->kv);
		fixture->kv = NULL;
		assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
		make_scarce(fixture);
		must_open(fixture, KV_OPEN_INLINE);
		disk = fixture->sim;
		rename_file = fixture->env->rename;
		fixture->env->rename = last_rename;
		while (!sim_env_is_cut(fixture->sim) && puts++ < 20)
			(void)!kv_put(fixture->kv, HASHED, "filler", 6, value, FILLER, NULL);
		assert_true(sim_env_is_cut(fixture->sim));
		fixture->env->rename = rename_file;
		must_crash(fixture, SIM_LOSS_ANY, KV_OPEN_INLINE);
		assert_int_equal(fixture->errors, 0);
		must_check_clean(fixture);
		assert_int_equal(fixture_teardown(state), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_many_segments),
		FIXTURE_TEST(test_behind_a_checkpoint),
		FIXTURE_TEST(test_damage_on_the_way),
		FIXTURE_TEST(test_damage_after_validation),
		INLINE_TEST(test_end_in_the_page_cache),
		cmocka_unit_test(test_list_in_the_page_cache),
		cmocka_unit_test(test_dropped_segment_is_not_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
