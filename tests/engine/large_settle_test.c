/* SPDX-License-Identifier: MIT */
/*
 * large_settle_test.c - one damaged record, which says that pieces of a large value are needed,
 * takes none of them with it.
 */
#include "kv_fixture.h"

#include "format.h"
#include "large_header.h"
#include "store_image.h"

#define SIZE 1500000u /* more than one record holds: streamed */

/* A record of the log. */
struct found {
	char name[FORMAT_SEGMENT_NAME_SIZE];
	uint32_t offset;
	unsigned count;
};

static void find_end_of_intent(void *arg, const struct store_image_record *at)
{
	struct found *found = arg;

	if (at->record->keyspace != FORMAT_KEYSPACE_LARGE ||
		at->record->key_size != LARGE_INTENT_KEY_SIZE ||
		!(at->record->flags & FORMAT_RECORD_TOMBSTONE))
		return;
	format_segment_name(at->slot, found->name);
	found->offset = at->offset;
	found->count++;
}

static void find_second(void *arg, const struct store_image_record *at)
{
	struct found *found = arg;

	if (at->record->keyspace != HASHED || at->record->key_size != 3 ||
		memcmp(at->record->key, "key", 3) != 0 ||
		at->record->flags & FORMAT_RECORD_LARGE)
		return;
	format_segment_name(at->slot, found->name);
	found->offset = at->offset;
	found->count++;
}

/* Damages the only record that is found; the store is closed. */
static void damage(struct fixture *fixture, store_image_each_fn *find)
{
	struct found found = {.count = 0};
	struct store_image image;

	store_image_take(&image, fixture->sim, STORE_PATH);
	store_image_records(&image, find, &found);
	store_image_free(&image);
	assert_int_equal(found.count, 1);
	assert_int_equal(sim_env_flip(fixture->sim, found.name, found.offset + 20, 1), 0);
}

static void without_checkpoint(struct fixture *fixture)
{
	struct env_dir *dir;
	int error;

	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	error = fixture->env->unlink(dir, FORMAT_CHECKPOINT_NAME);
	assert_true(!error || error == -ENOENT);
	fixture->env->dir_close(dir);
}

static void must_have_value(struct fixture *fixture)
{
	static uint8_t expected[SIZE], value[SIZE + 1];
	size_t size;

	fill_bytes(expected, SIZE, 1);
	assert_int_equal(kv_read(fixture->kv, HASHED, "key", 3, 0, value, sizeof(value), &size), 0);
	assert_int_equal(size, SIZE);
	assert_memory_equal(value, expected, SIZE);
}

static void put_value(struct fixture *fixture)
{
	static uint8_t value[SIZE];

	fill_bytes(value, SIZE, 1);
	assert_int_equal(kv_put(fixture->kv, HASHED, "key", 3, value, SIZE, NULL), 0);
}

/* With what is said when it is opened; then as ever, until a check has nothing to say. */
static void must_keep_value(struct fixture *fixture, bool repaired)
{
	struct kv_repair_report report;

	if (repaired) {
		assert_int_equal(kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
		assert_true(report.mended > 0);
		assert_int_equal(report.remaining, 0);
	} else {
		must_open(fixture, 0);
		assert_int_equal(fixture->errors, 1);
		assert_int_equal(fixture->warnings, 1);
		must_have_value(fixture);
		assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
		must_close(fixture);
	}
	for (unsigned round = 0; round < 2; round++) {
		must_open(fixture, 0);
		must_have_value(fixture);
		assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
		must_have_value(fixture);
		must_close(fixture);
	}
	if (!repaired)
		assert_int_equal(kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
	must_open(fixture, 0);
	assert_int_equal(fixture->errors + fixture->warnings, 0);
	must_have_value(fixture);
	must_check_clean(fixture);
}

/* What deletes the intent of the stream that wrote the value. */
static void lose_end_of_intent(struct fixture *fixture, bool repaired)
{
	put_value(fixture);
	must_put(fixture, HASHED, "behind", "it");
	must_close(fixture);
	without_checkpoint(fixture);
	damage(fixture, find_end_of_intent);
	must_keep_value(fixture, repaired);
}

static void test_end_of_intent(void **state)
{
	lose_end_of_intent(*state, false);
}

static void test_end_of_intent_repaired(void **state)
{
	lose_end_of_intent(*state, true);
}

/* What replaces the value: the old one is back, and with it its intent, of the same batch. */
static void lose_second(void **state, bool repaired)
{
	struct fixture *fixture = *state;

	put_value(fixture);
	/* Nothing is freed while somebody may read it. */
	kv_read_begin(fixture->kv);
	must_put(fixture, HASHED, "key", "small");
	/* A mark behind it says that it was durable. */
	for (unsigned i = 0; i < 3; i++) {
		must_put(fixture, HASHED, "behind", "it");
		must_sync(fixture);
	}
	sim_env_cut(fixture->sim);
	kv_read_end(fixture->kv);
	(void)!kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	without_checkpoint(fixture);
	damage(fixture, find_second);
	must_keep_value(fixture, repaired);
}

static void test_replaced(void **state)
{
	lose_second(state, false);
}

static void test_replaced_repaired(void **state)
{
	lose_second(state, true);
}

/* ---- in later openings ------------------------------------------------------------------------ */

#define FILLER_SIZE 20000u

static void put_fillers(struct fixture *fixture, unsigned from, unsigned to, unsigned round)
{
	char key[24];

	for (unsigned i = from; i < to; i++) {
		snprintf(key, sizeof(key), "filler%u", i);
		must_put_filled(fixture, HASHED, key, FILLER_SIZE, i + round * 10000);
	}
}

static void begin_damaged(struct fixture *fixture, unsigned fillers)
{
	put_value(fixture);
	must_put(fixture, HASHED, "behind", "it");
	put_fillers(fixture, 0, fillers, 1);
	must_close(fixture);
	without_checkpoint(fixture);
	damage(fixture, find_end_of_intent);
}

/* Nothing else is done while the damage is seen; the next opening has a checkpoint and sees none. */
static void test_opened_and_closed(void **state)
{
	struct fixture *fixture = *state;

	begin_damaged(fixture, 60);
	must_open(fixture, 0);
	must_have_value(fixture);
	must_close(fixture);
	must_open(fixture, 0);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	must_have_value(fixture);
}

/* What is deleted later is freed as ever. */
static void test_deleted_later(void **state)
{
	struct fixture *fixture = *state;
	struct kv_repair_report report;

	begin_damaged(fixture, 0);
	must_open(fixture, 0);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	must_delete(fixture, HASHED, "key");
	must_sync(fixture);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	must_close(fixture);
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
	assert_int_equal(report.remaining, 0);
}

static void take_segment_away(struct fixture *fixture, store_image_each_fn *find)
{
	struct found found = {.count = 0};
	struct store_image image;
	struct env_dir *dir;

	store_image_take(&image, fixture->sim, STORE_PATH);
	store_image_records(&image, find, &found);
	store_image_free(&image);
	assert_int_equal(found.count, 1);
	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(fixture->env->unlink(dir, found.name), 0);
	assert_int_equal(fixture->env->dir_sync(dir), 0);
	fixture->env->dir_close(dir);
}

/* The segment with the end of the intent is missing, which is said once; then the power fails. */
static void test_missing_once(void **state)
{
	struct fixture *fixture = *state;
	struct kv_prune_options prune = {.garbage_percent = 25};

	put_fillers(fixture, 1000, 1166, 1);
	put_value(fixture);
	put_fillers(fixture, 0, 60, 1);
	put_fillers(fixture, 0, 60, 2);
	assert_int_equal(kv_prune(fixture->kv, &prune, NULL, NULL, NULL), 0);
	put_fillers(fixture, 100, 200, 2);
	must_close(fixture);
	without_checkpoint(fixture);
	take_segment_away(fixture, find_end_of_intent);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(fixture->errors, 1);
	must_have_value(fixture);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	must_have_value(fixture);
}

/* There is no memory to delete the intent: nothing makes the next opening overlook the damage. */
static void test_no_memory(void **state)
{
	struct fixture *fixture = *state;

	begin_damaged(fixture, 60);
	sim_env_fail(fixture->sim, SIM_FAULT_BUFFER, 1, 1, -ENOMEM);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(fixture->warnings, 2);
	sim_env_fail(fixture->sim, SIM_FAULT_BUFFER, 0, 0, 0);
	assert_int_not_equal(kv_checkpoint(fixture->kv), 0);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	must_have_value(fixture);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	must_have_value(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_end_of_intent),
		FIXTURE_TEST(test_end_of_intent_repaired),
		FIXTURE_TEST(test_replaced),
		FIXTURE_TEST(test_replaced_repaired),
		FIXTURE_TEST(test_opened_and_closed),
		FIXTURE_TEST(test_deleted_later),
		INLINE_TEST(test_missing_once),
		INLINE_TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
