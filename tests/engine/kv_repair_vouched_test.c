/* SPDX-License-Identifier: MIT */
/*
 * kv_repair_vouched_test.c - only the checkpoint, which a repair removes, knows that what is damaged
 * at the end of the log was durable: it is asked before, and if it cannot be, it stays.
 */
#include "kv_fixture.h"

#include "format.h"
#include "store_image.h"

#define KEYS 10u
#define VALUE_SIZE 10000u
#define DAMAGED 5u

static unsigned refused_open; /* this one of the checkpoint, from 1; 0: none */
static unsigned opens;        /* of it, so far */
static int (*open_file)(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out);

static int refusing_open(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out)
{
	if (!strcmp(name, FORMAT_CHECKPOINT_NAME) && ++opens == refused_open)
		return -EMFILE;
	return open_file(dir, name, flags, out);
}

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

static unsigned count_keys(struct fixture *fixture)
{
	unsigned count = 0;
	char key[4];

	must_open(fixture, KV_OPEN_READ_ONLY);
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		count += !have_filled(fixture, HASHED, key, VALUE_SIZE, i);
	}
	must_close(fixture);
	return count;
}

/* Killed behind a checkpoint; one of its records is damaged. */
static struct fixture *begin(void **state, unsigned key)
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
	sim_env_cut(fixture->sim);
	(void)!kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	store_image_take(&image, fixture->sim, STORE_PATH);
	store_image_records(&image, find_key, &place);
	store_image_free(&image);
	assert_true(place.offset);
	assert_int_equal(
		sim_env_flip(fixture->sim, place.name, place.offset + VALUE_SIZE / 2, 1), 0);
	return fixture;
}

/* Which of the checkpoint's openings is refused changes nothing in what is lost. */
static void test_checkpoint_refused(void **state)
{
	struct kv_repair_report report;
	int error;

	for (unsigned n = 1;; n++) {
		struct fixture *fixture = begin(state, DAMAGED);

		opens = 0;
		refused_open = n;
		open_file = fixture->env->file_open;
		fixture->env->file_open = refusing_open;
		error = kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report);
		fixture->env->file_open = open_file;
		assert_true(!error || error == -EMFILE);
		assert_int_equal(count_keys(fixture), KEYS - 1);
		if (error)
			assert_int_equal(
				kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
		assert_int_equal(count_keys(fixture), KEYS - 1);
		if (report.mended)
			assert_in_range(report.lost_bytes, VALUE_SIZE, VALUE_SIZE + 100);
		else
			assert_int_equal(error, -EMFILE);
		fixture_teardown(state);
		if (opens < n)
			break;
		assert_in_range(n, 1, 20);
	}
}

static unsigned refused_read; /* this one of any file, from 1; 0: none */
static unsigned reads;
static int (*read_file)(struct env_file *file, void *buffer, size_t size, uint64_t position);

static int refusing_read(struct env_file *file, void *buffer, size_t size, uint64_t position)
{
	return ++reads == refused_read ? -EIO : read_file(file, buffer, size, position);
}

/* What cannot be read once, and then again, neither. */
static void test_read_once_more(void **state)
{
	struct kv_repair_report report;
	int error;

	for (unsigned n = 1;; n++) {
		struct fixture *fixture = begin(state, DAMAGED);

		reads = 0;
		refused_read = n;
		read_file = fixture->env->file_read;
		fixture->env->file_read = refusing_read;
		error = kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report);
		fixture->env->file_read = read_file;
		if (error)
			assert_int_equal(
				kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
		assert_int_equal(count_keys(fixture), KEYS - 1);
		fixture_teardown(state);
		if (reads < n)
			break;
		assert_in_range(n, 1, 200);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checkpoint_refused),
		cmocka_unit_test(test_read_once_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
