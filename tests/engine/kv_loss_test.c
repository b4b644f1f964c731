/* SPDX-License-Identifier: MIT */
/*
 * kv_loss_test.c - that records were lost to damage is kept in mind until the store's user says that
 * what is left agrees, whatever becomes of what it was known by.
 */
#include "kv_fixture.h"

#include "format.h"
#include "store_image.h"

#define KEYS 10u
#define VALUE_SIZE 10000u
#define DAMAGED 5u

struct place {
	char name[FORMAT_SEGMENT_NAME_SIZE];
	uint32_t offset;
	unsigned key; /* whose record it is */
};

static void find_key(void *arg, const struct store_image_record *at)
{
	struct place *place = arg;
	char key[4];

	snprintf(key, sizeof(key), "k%u", place->key);
	if (at->record->key_size != 2 || memcmp(at->record->key, key, 2) != 0)
		return;
	format_segment_name(at->slot, place->name);
	place->offset = at->offset;
}

static void remove_checkpoint(struct fixture *fixture)
{
	struct env_dir *dir;

	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(fixture->env->unlink(dir, FORMAT_CHECKPOINT_NAME), 0);
	assert_int_equal(fixture->env->dir_sync(dir), 0);
	fixture->env->dir_close(dir);
}

/* Closed without a checkpoint, or killed behind one; one of its records is damaged. */
static struct fixture *begin(void **state, unsigned key, bool checkpoint)
{
	struct place place = {.key = key};
	struct store_image image;
	struct fixture *fixture;
	char name[4];

	fixture_setup_inline(state);
	fixture = *state;
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(name, sizeof(name), "k%u", i);
		must_put_filled(fixture, HASHED, name, VALUE_SIZE, i);
	}
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	if (checkpoint) {
		sim_env_cut(fixture->sim);
		(void)!kv_close(fixture->kv);
		fixture->kv = NULL;
		assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	} else {
		must_close(fixture);
		remove_checkpoint(fixture);
	}
	store_image_take(&image, fixture->sim, STORE_PATH);
	store_image_records(&image, find_key, &place);
	store_image_free(&image);
	assert_true(place.offset);
	assert_int_equal(
		sim_env_flip(fixture->sim, place.name, place.offset + VALUE_SIZE / 2, 1), 0);
	return fixture;
}

static bool is_lost(struct fixture *fixture, unsigned flags)
{
	struct kv_stats stats;

	must_open(fixture, flags);
	kv_stats(fixture->kv, &stats);
	must_close(fixture);
	return stats.records_lost;
}

/* A checkpoint behind the damage hides it from the openings that follow. */
static void test_opening(void **state)
{
	struct fixture *fixture = begin(state, DAMAGED, false);

	assert_true(is_lost(fixture, KV_OPEN_READ_ONLY));
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	must_close(fixture);
	for (unsigned i = 0; i < 3; i++)
		assert_true(is_lost(fixture, KV_OPEN_INLINE));
	assert_true(is_lost(fixture, KV_OPEN_READ_ONLY));
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(kv_forget_loss(fixture->kv), -EROFS);
	assert_int_equal(kv_note_loss(fixture->kv), -EROFS);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(kv_forget_loss(fixture->kv), 0);
	assert_int_equal(kv_forget_loss(fixture->kv), 0);
	must_close(fixture);
	assert_false(is_lost(fixture, KV_OPEN_INLINE));
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(kv_note_loss(fixture->kv), 0);
	sim_env_cut(fixture->sim);
	(void)!kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	assert_true(is_lost(fixture, KV_OPEN_INLINE));
	fixture_teardown(state);
}

/* Wherever a repair ends: the record cannot be read, or it is known that some were lost. */
static void test_interrupted_repair(void **state)
{
	struct kv_repair_report report;
	bool done = false;

	for (uint64_t step = 1; !done; step++) {
		struct fixture *fixture = begin(state, DAMAGED, true);
		struct kv_slice value;
		struct kv_stats stats;

		sim_env_cut_at(fixture->sim, sim_env_steps(fixture->sim) + step);
		(void)!kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report);
		done = !sim_env_is_cut(fixture->sim);
		assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
		must_open(fixture, KV_OPEN_INLINE);
		kv_stats(fixture->kv, &stats);
		kv_read_begin(fixture->kv);
		if (!stats.records_lost)
			assert_int_equal(
				kv_get(fixture->kv, HASHED, "k5", 2, &value), -EIO);
		kv_read_end(fixture->kv);
		must_close(fixture);
		assert_int_equal(kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
		assert_true(is_lost(fixture, KV_OPEN_INLINE));
		fixture_teardown(state);
	}
}

/* What held no record is no loss. */
static void test_nothing_lost(void **state)
{
	static const char *const names[] = {
		FORMAT_CHECKPOINT_NAME, FORMAT_MANIFEST_NAME, FORMAT_SUPER_NAME};

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct kv_repair_report report;
		struct fixture *fixture;

		fixture_setup_inline(state);
		fixture = *state;
		must_put_filled(fixture, HASHED, "key", VALUE_SIZE, 1);
		assert_int_equal(kv_checkpoint(fixture->kv), 0);
		must_close(fixture);
		assert_int_equal(sim_env_flip(fixture->sim, names[i], 20, 1), 0);
		assert_int_equal(kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
		assert_true(report.mended > 0);
		assert_false(is_lost(fixture, KV_OPEN_INLINE));
		fixture_teardown(state);
	}
}

/* Nor where the repair of it ends at any step, and another comes to its end. */
static void test_nothing_lost_interrupted(void **state)
{
	struct kv_repair_report report;
	bool done = false;

	for (uint64_t step = 1; !done; step++) {
		struct fixture *fixture;

		fixture_setup_inline(state);
		fixture = *state;
		must_put_filled(fixture, HASHED, "key", VALUE_SIZE, 1);
		assert_int_equal(kv_checkpoint(fixture->kv), 0);
		must_close(fixture);
		assert_int_equal(sim_env_flip(fixture->sim, FORMAT_CHECKPOINT_NAME, 20, 1), 0);
		sim_env_cut_at(fixture->sim, sim_env_steps(fixture->sim) + step);
		(void)!kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report);
		done = !sim_env_is_cut(fixture->sim);
		assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
		assert_int_equal(kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
		assert_false(is_lost(fixture, KV_OPEN_INLINE));
		fixture_teardown(state);
	}
}

static int (*open_file)(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out);
static int (*sync_dir)(struct env_dir *dir);
static int refusal, look_error, sync_error;

static int refusing_open(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out)
{
	if (!strcmp(name, FORMAT_LOSS_NAME) && flags & ENV_CREATE && refusal)
		return refusal;
	if (!strcmp(name, FORMAT_LOSS_NAME) && !(flags & ENV_CREATE) && look_error)
		return look_error;
	return open_file(dir, name, flags, out);
}

static int refusing_sync(struct env_dir *dir)
{
	return sync_error ? sync_error : sync_dir(dir);
}

static void refuse(struct fixture *fixture)
{
	open_file = fixture->env->file_open;
	sync_dir = fixture->env->dir_sync;
	fixture->env->file_open = refusing_open;
	fixture->env->dir_sync = refusing_sync;
	refusal = look_error = sync_error = 0;
}

static void allow(struct fixture *fixture)
{
	fixture->env->file_open = open_file;
	fixture->env->dir_sync = sync_dir;
}

/* What cannot be looked at marks nothing. */
static void test_unreadable_mark(void **state)
{
	struct kv_repair_report report;
	struct fixture *fixture;

	fixture_setup_inline(state);
	fixture = *state;
	must_put_filled(fixture, HASHED, "key", VALUE_SIZE, 1);
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	must_close(fixture);
	assert_int_equal(sim_env_flip(fixture->sim, FORMAT_MANIFEST_NAME, 20, 1), 0);
	refuse(fixture);
	look_error = -EIO;
	assert_int_equal(kv_open(fixture->env, STORE_PATH, NULL, &fixture->kv), -EIO);
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), -EIO);
	look_error = 0;
	assert_false(is_lost(fixture, KV_OPEN_INLINE));
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
	assert_false(is_lost(fixture, KV_OPEN_INLINE));
	allow(fixture);
	fixture->kv = NULL;
	fixture_teardown(state);
}

/* An error leaves it as it was; and what may have got there nevertheless can be forgotten. */
static void test_errors(void **state)
{
	struct fixture *fixture;
	struct kv_stats stats;

	fixture_setup_inline(state);
	fixture = *state;
	refuse(fixture);
	refusal = -ENOSPC;
	assert_int_equal(kv_note_loss(fixture->kv), -ENOSPC);
	kv_stats(fixture->kv, &stats);
	assert_false(stats.records_lost);
	refusal = 0;
	sync_error = -EIO;
	assert_int_equal(kv_note_loss(fixture->kv), -EIO);
	assert_int_equal(kv_forget_loss(fixture->kv), -EIO);
	sync_error = 0;
	assert_int_equal(kv_note_loss(fixture->kv), 0);
	sync_error = -EIO;
	assert_int_equal(kv_forget_loss(fixture->kv), -EIO);
	kv_stats(fixture->kv, &stats);
	assert_true(stats.records_lost);
	sync_error = 0;
	assert_int_equal(kv_forget_loss(fixture->kv), 0);
	must_close(fixture);
	allow(fixture);
	assert_false(is_lost(fixture, KV_OPEN_INLINE));
	fixture_teardown(state);
}

/* No room for the mark: what tells of the damage stays until there is. */
static void test_no_room(void **state)
{
	struct fixture *fixture = begin(state, DAMAGED, false);
	uint64_t size;

	refuse(fixture);
	refusal = -ENOSPC;
	for (unsigned i = 0; i < 2; i++) {
		must_open(fixture, KV_OPEN_INLINE);
		assert_int_equal(kv_checkpoint(fixture->kv), -ENOSPC);
		must_close(fixture);
		assert_null(sim_env_bytes(fixture->sim, FORMAT_CHECKPOINT_NAME, &size));
	}
	refusal = 0;
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	must_close(fixture);
	assert_true(is_lost(fixture, KV_OPEN_INLINE));
	allow(fixture);
	fixture_teardown(state);
}

static void must_be_lost(struct fixture *fixture)
{
	struct kv_stats stats;

	must_open(fixture, KV_OPEN_INLINE);
	kv_stats(fixture->kv, &stats);
	assert_true(stats.records_lost);
}

static void die(struct fixture *fixture)
{
	sim_env_cut(fixture->sim);
	(void)!kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
}

#define MANY 300u

/* Likewise the list of segments, by which one is missed, and the segment that is damaged. */
static void test_no_room_for_long(void **state)
{
	struct kv_prune_options options = {.garbage_percent = 1};
	char name[8];

	for (unsigned missing = 0; missing < 2; missing++) {
		struct place place = {.key = DAMAGED};
		struct store_image image;
		struct fixture *fixture;
		struct env_dir *dir;

		fixture_setup_inline(state);
		fixture = *state;
		for (unsigned i = 0; i < MANY; i++) {
			snprintf(name, sizeof(name), "k%u", i);
			must_put_filled(fixture, HASHED, name, VALUE_SIZE, i);
		}
		must_close(fixture);
		remove_checkpoint(fixture);
		store_image_take(&image, fixture->sim, STORE_PATH);
		store_image_records(&image, find_key, &place);
		store_image_free(&image);
		assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
		if (missing)
			assert_int_equal(fixture->env->unlink(dir, place.name), 0);
		else
			assert_int_equal(sim_env_flip(fixture->sim, place.name,
						 place.offset + VALUE_SIZE / 2, 1),
				0);
		assert_int_equal(fixture->env->dir_sync(dir), 0);
		fixture->env->dir_close(dir);
		refuse(fixture);
		refusal = -ENOSPC;
		must_be_lost(fixture);
		for (unsigned i = 10; i < MANY; i++) {
			snprintf(name, sizeof(name), "k%u", i);
			must_put_filled(fixture, HASHED, name, VALUE_SIZE, i);
		}
		(void)!kv_prune(fixture->kv, &options, NULL, NULL, NULL);
		die(fixture);
		refusal = 0;
		must_be_lost(fixture);
		must_close(fixture);
		allow(fixture);
		fixture_teardown(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opening),
		cmocka_unit_test(test_interrupted_repair),
		cmocka_unit_test(test_nothing_lost),
		cmocka_unit_test(test_nothing_lost_interrupted),
		cmocka_unit_test(test_unreadable_mark),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_no_room_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
