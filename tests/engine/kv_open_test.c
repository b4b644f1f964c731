/* SPDX-License-Identifier: MIT */
/* kv_open_test.c - making and opening stores, and what is said about those that cannot be opened.
 */
#include "kv_fixture.h"

#include "checksum.h"
#include "store.h"

static const char first_segment[] = "seg-00000000";

static int create_with(struct fixture *fixture, const struct kv_create_options *options)
{
	return kv_create(fixture->env, STORE_PATH, options, fixture_hear, fixture);
}

static void test_create_refuses(void **state)
{
	struct fixture *fixture = *state;
	static const struct kv_keyspace_spec long_name[] = {{"sixteen-bytes-xx", false}};
	static const struct kv_keyspace_spec no_name[] = {{"", false}};
	static const struct kv_keyspace_spec twice[] = {{"a", false}, {"b", true}, {"a", true}};
	struct kv_create_options options = fixture_create_options;

	options.keyspace_count = 0;
	assert_int_equal(create_with(fixture, &options), -EINVAL);
	options.keyspace_count = KV_KEYSPACES_MAX + 1;
	assert_int_equal(create_with(fixture, &options), -EINVAL);
	options = fixture_create_options;
	options.segment_size = 3 << 20;
	assert_int_equal(create_with(fixture, &options), -EINVAL);
	options.segment_size = 1 << 19;
	assert_int_equal(create_with(fixture, &options), -EINVAL);
	options.segment_size = 1u << 31;
	assert_int_equal(create_with(fixture, &options), -EINVAL);
	options = fixture_create_options;
	options.hash = 77;
	assert_int_equal(create_with(fixture, &options), -EINVAL);
	options = fixture_create_options;
	options.compress = 9;
	assert_int_equal(create_with(fixture, &options), -EINVAL);
	options = fixture_create_options;
	options.keyspaces = long_name;
	options.keyspace_count = 1;
	assert_int_equal(create_with(fixture, &options), -EINVAL);
	options.keyspaces = no_name;
	assert_int_equal(create_with(fixture, &options), -EINVAL);
	options.keyspaces = twice;
	options.keyspace_count = 3;
	assert_int_equal(create_with(fixture, &options), -EINVAL);
	assert_int_equal(fixture_open(fixture, 0), -ENOENT);
	assert_true(fixture->errors > 0);
}

static uint32_t size_chosen(struct fixture *fixture, uint64_t capacity)
{
	struct kv_create_options options = fixture_create_options;
	struct kv_info info;

	options.segment_size = 0;
	sim_env_set_capacity(fixture->sim, capacity);
	assert_int_equal(create_with(fixture, &options), 0);
	must_open(fixture, KV_OPEN_INLINE);
	kv_info(fixture->kv, &info);
	must_close(fixture);
	return info.segment_size;
}

static void test_create_on_small_disk(void **state)
{
	assert_int_equal(size_chosen(*state, (uint64_t)40 << 20), 2 << 20);
}

static void test_create_on_middling_disk(void **state)
{
	assert_int_equal(size_chosen(*state, (uint64_t)128 << 20), 4 << 20);
}

static void test_create_keeps_what_is_there(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(sim_env_make_dir(fixture->sim, STORE_PATH), 0);
	assert_int_equal(sim_env_put_file(fixture->sim, "thesis", "text", 4), 0);
	assert_int_equal(create_with(fixture, &fixture_create_options), -EEXIST);
	assert_int_equal(fixture_open(fixture, 0), -EMEDIUMTYPE);
}

static int (*list_really)(
	struct env_dir *dir, int (*entry)(void *arg, const char *name), void *arg);
static struct fixture *rival;

/* Another process makes its store right after the directory was seen to be empty. */
static int list_and_be_late(
	struct env_dir *dir, int (*entry)(void *arg, const char *name), void *arg)
{
	int error = list_really(dir, entry, arg);

	rival->env->dir_list = list_really;
	assert_int_equal(create_with(rival, &fixture_create_options), 0);
	return error;
}

static void test_create_loses_a_race(void **state)
{
	struct fixture *fixture = *state;
	struct env_file *file;
	struct env_dir *dir;

	rival = fixture;
	list_really = fixture->env->dir_list;
	fixture->env->dir_list = list_and_be_late;
	assert_int_equal(create_with(fixture, &fixture_create_options), -EEXIST);
	/* All that the faster one has made is there. */
	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(
		fixture->env->file_open(dir, FORMAT_MANIFEST_NAME, ENV_READ_ONLY, &file), 0);
	fixture->env->file_close(file);
	fixture->env->dir_close(dir);
	must_open(fixture, 0);
}

static void test_file_names(void **state)
{
	static const char *const own[] = {"super", "manifest", "checkpoint", "checkpoint.new",
		"snapshots", "snapshots.new", "seg-00000000", "free-ffffffff"};
	static const char *const others[] = {"", "notes.txt", "super.old", "seg-0", "seg-0000000g",
		"free-000000001", "lost+found"};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		assert_true(kv_is_file_name(own[i]));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(kv_is_file_name(others[i]));
}

static void test_create_in_empty_directory(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(sim_env_make_dir(fixture->sim, STORE_PATH), 0);
	assert_int_equal(create_with(fixture, &fixture_create_options), 0);
	assert_int_equal(create_with(fixture, &fixture_create_options), -EEXIST);
	must_open(fixture, 0);
}

static void test_create_is_durable(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(create_with(fixture, &fixture_create_options), 0);
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	must_open(fixture, 0);
}

static void test_create_full_disk(void **state)
{
	struct fixture *fixture = *state;

	sim_env_set_capacity(fixture->sim, 1000);
	assert_int_equal(create_with(fixture, &fixture_create_options), -ENOSPC);
	sim_env_set_capacity(fixture->sim, 1 << 30);
	assert_int_equal(create_with(fixture, &fixture_create_options), 0);
}

static uint64_t one_less(struct kv_env *env)
{
	return SEGMENT_SIZE - 1;
}

static uint64_t just_enough(struct kv_env *env)
{
	return SEGMENT_SIZE;
}

/* What cannot be written is not made. */
static void test_create_small_files(void **state)
{
	struct fixture *fixture = *state;

	sim_env_table(fixture->sim)->file_size_max = one_less;
	assert_int_equal(create_with(fixture, &fixture_create_options), -EFBIG);
	assert_non_null(strstr(fixture->last_error, "ulimit -f"));
	sim_env_table(fixture->sim)->file_size_max = just_enough;
	assert_int_equal(create_with(fixture, &fixture_create_options), 0);
}

/* Nor opened to be written to; and nothing of it is changed. */
static void test_small_files(void **state)
{
	struct fixture *fixture = *state;
	uint64_t writes, syncs;

	must_put(fixture, HASHED, "key", "value");
	must_close(fixture);
	writes = sim_env_calls(fixture->sim, SIM_FAULT_WRITE);
	syncs = sim_env_calls(fixture->sim, SIM_FAULT_SYNC);
	sim_env_table(fixture->sim)->file_size_max = one_less;
	assert_int_equal(fixture_open(fixture, 0), -EFBIG);
	assert_non_null(strstr(fixture->last_error, "ulimit -f"));
	assert_int_equal(sim_env_calls(fixture->sim, SIM_FAULT_WRITE), writes);
	assert_int_equal(sim_env_calls(fixture->sim, SIM_FAULT_SYNC), syncs);
	must_open(fixture, KV_OPEN_READ_ONLY);
	must_have(fixture, HASHED, "key", "value");
	must_close(fixture);
	sim_env_table(fixture->sim)->file_size_max = just_enough;
	must_open(fixture, 0);
	must_have(fixture, HASHED, "key", "value");
}

static void test_info(void **state)
{
	struct fixture *fixture = *state;
	struct kv_create_options options = fixture_create_options;
	uint8_t zeros[16] = {0};
	struct kv_info info;

	options.hash = KV_HASH_BLAKE2B;
	options.compress = KV_COMPRESS_INLINE;
	options.compress_level = 5;
	assert_int_equal(create_with(fixture, &options), 0);
	must_open(fixture, 0);
	kv_info(fixture->kv, &info);
	assert_int_equal(info.application, 42);
	assert_int_equal(info.hash, KV_HASH_BLAKE2B);
	assert_int_equal(info.compress, KV_COMPRESS_INLINE);
	assert_int_equal(info.compress_level, 5);
	assert_int_equal(info.segment_size, SEGMENT_SIZE);
	assert_int_equal(info.keyspace_count, 2);
	assert_string_equal(info.keyspaces[0].name, "hashed");
	assert_false(info.keyspaces[0].ordered);
	assert_string_equal(info.keyspaces[1].name, "ordered");
	assert_true(info.keyspaces[1].ordered);
	assert_false(info.read_only);
	assert_true(info.value_size_max < info.batch_size_max);
	assert_true(info.batch_size_max < SEGMENT_SIZE);
	assert_memory_not_equal(info.uuid, zeros, 16);
}

static void test_lock(void **state)
{
	struct fixture *fixture = *state;
	struct kv *first, *second;

	first = fixture->kv;
	assert_int_equal(fixture_open(fixture, 0), -EBUSY);
	assert_int_equal(fixture->errors, 1);
	assert_int_equal(fixture_open(fixture, KV_OPEN_READ_ONLY), -EBUSY);
	assert_int_equal(kv_close(first), 0);
	must_open(fixture, KV_OPEN_READ_ONLY);
	first = fixture->kv;
	must_open(fixture, KV_OPEN_READ_ONLY);
	second = fixture->kv;
	assert_int_equal(fixture_open(fixture, 0), -EBUSY);
	assert_int_equal(kv_close(first), 0);
	assert_int_equal(fixture_open(fixture, 0), -EBUSY);
	assert_int_equal(kv_close(second), 0);
	must_open(fixture, 0);
}

static void test_read_only(void **state)
{
	struct fixture *fixture = *state;
	struct kv_info info;
	uint64_t steps;

	must_put(fixture, HASHED, "key", "value");
	must_close(fixture);
	steps = sim_env_steps(fixture->sim);
	must_open(fixture, KV_OPEN_READ_ONLY);
	kv_info(fixture->kv, &info);
	assert_true(info.read_only);
	must_have(fixture, HASHED, "key", "value");
	assert_int_equal(kv_put(fixture->kv, HASHED, "key", 3, "other", 5, NULL), -EROFS);
	assert_int_equal(kv_delete(fixture->kv, HASHED, "key", 3, NULL), -EROFS);
	must_check_clean(fixture);
	must_have(fixture, HASHED, "key", "value");
	must_close(fixture);
	assert_int_equal(sim_env_steps(fixture->sim), steps);
	must_open(fixture, 0);
}

/* ---- superblocks that are none --------------------------------------------------------------- */

/* The superblock's own copies, without which there is nothing to fall back on. */
static void remove_segment_copies(struct fixture *fixture)
{
	static const uint8_t none[FORMAT_SEGMENT_HEADER_SIZE];

	assert_int_equal(sim_env_put_file(fixture->sim, first_segment, none, sizeof(none)), 0);
}

static void test_no_superblock(void **state)
{
	struct fixture *fixture = *state;

	must_close(fixture);
	remove_segment_copies(fixture);
	assert_int_equal(sim_env_resize(fixture->sim, "super", 0), 0);
	assert_int_equal(fixture_open(fixture, 0), -EMEDIUMTYPE);
	assert_true(fixture->errors > 0);
	assert_int_equal(sim_env_put_file(fixture->sim, "super", "#!/bin/sh\nexit 0\n", 17), 0);
	assert_int_equal(fixture_open(fixture, 0), -EMEDIUMTYPE);
}

static void test_foreign_superblock(void **state)
{
	struct fixture *fixture = *state;
	uint8_t text[FORMAT_SUPER_SIZE];

	must_close(fixture);
	remove_segment_copies(fixture);
	memset(text, 'x', sizeof(text));
	assert_int_equal(sim_env_put_file(fixture->sim, "super", text, sizeof(text)), 0);
	assert_int_equal(fixture_open(fixture, 0), -EMEDIUMTYPE);
	memset(text, 0, sizeof(text));
	assert_int_equal(sim_env_put_file(fixture->sim, "super", text, sizeof(text)), 0);
	assert_int_equal(fixture_open(fixture, 0), -EMEDIUMTYPE);
}

/* The superblock says that it is newer; sealed: as one of whom the check is reckoned alike. */
static void raise_version(struct fixture *fixture, bool sealed)
{
	struct format_super super;
	uint64_t size;

	memcpy(&super, sim_env_bytes(fixture->sim, "super", &size), sizeof(super));
	super.version++;
	if (sealed) {
		super.check = 0;
		super.check = checksum(&super, sizeof(super));
	}
	assert_int_equal(sim_env_put_file(fixture->sim, "super", &super, sizeof(super)), 0);
}

/* Neither opening nor a repair has to do with it, and nothing is changed. */
static void must_be_newer(struct fixture *fixture)
{
	struct kv_repair_report report;

	assert_int_equal(fixture_open(fixture, 0), -EPROTONOSUPPORT);
	assert_int_equal(fixture->errors, 1);
	assert_int_equal(fixture_open(fixture, KV_OPEN_READ_ONLY), -EPROTONOSUPPORT);
	assert_int_equal(
		kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), -EPROTONOSUPPORT);
}

/* A superblock that is sealed says what it means, whatever the segments' copies do. */
static void test_newer_superblock(void **state)
{
	struct fixture *fixture = *state;

	must_close(fixture);
	raise_version(fixture, true);
	must_be_newer(fixture);
}

/* Its check may be reckoned in another way; then its copies are newer as well, or not there. */
static void test_newer_copies(void **state)
{
	struct fixture *fixture = *state;
	uint8_t page[FORMAT_SEGMENT_HEADER_SIZE];
	struct format_super super;
	uint64_t size;

	must_close(fixture);
	raise_version(fixture, false);
	memcpy(page, sim_env_bytes(fixture->sim, first_segment, &size), sizeof(page));
	assert_int_equal(sim_env_flip(
				 fixture->sim, first_segment, FORMAT_SEGMENT_SUPER_AT + 17, 0), 0);
	must_be_newer(fixture);
	/* One of another store, which somebody has put there, tells nothing of this one. */
	assert_int_equal(format_page_super(page, &super), 0);
	super.uuid[3] ^= 1;
	format_super_seal(&super);
	memcpy(page + FORMAT_SEGMENT_SUPER_AT, &super, FORMAT_SUPER_USED);
	assert_int_equal(sim_env_put_file(fixture->sim, "seg-00000009", page, sizeof(page)), 0);
	assert_int_equal(sim_env_flip(
				 fixture->sim, first_segment, FORMAT_SEGMENT_SUPER_AT + 17, 0), 0);
	assert_int_equal(fixture_open(fixture, KV_OPEN_READ_ONLY), 0);
	assert_true(fixture->errors > 0);
	must_close(fixture);
	remove_segment_copies(fixture);
	must_be_newer(fixture);
}

/* Of those that disagree the newer one counts: somebody was about to raise the version. */
static void test_newer_one_copy(void **state)
{
	struct fixture *fixture = *state;
	uint8_t page[FORMAT_SEGMENT_HEADER_SIZE];
	uint64_t size;

	must_close(fixture);
	raise_version(fixture, false);
	memcpy(page, sim_env_bytes(fixture->sim, first_segment, &size), sizeof(page));
	page[FORMAT_SEGMENT_SUPER_AT + 16]++;
	assert_int_equal(sim_env_put_file(fixture->sim, "seg-00000009", page, sizeof(page)), 0);
	must_be_newer(fixture);
}

/* Any flipped bit of the superblock is noticed, and said, and a copy takes its place. */
static void test_superblock_flips(void **state)
{
	struct fixture *fixture = *state;

	must_close(fixture);
	for (uint64_t position = 0; position < FORMAT_SUPER_SIZE; position += 1 + position / 64) {
		assert_int_equal(sim_env_flip(fixture->sim, "super", position, position % 8), 0);
		assert_int_equal(fixture_open(fixture, 0), 0);
		assert_int_equal(fixture->errors, 1);
		must_close(fixture);
		assert_int_equal(sim_env_flip(fixture->sim, "super", position, position % 8), 0);
	}
	must_open(fixture, 0);
}

/* ---- segments that are none ------------------------------------------------------------------ */

static void test_segment_header_damaged(void **state)
{
	struct fixture *fixture = *state;

	must_put(fixture, HASHED, "key", "value");
	must_close(fixture);
	for (uint64_t position = 0; position < sizeof(struct format_segment); position++) {
		int result;

		assert_int_equal(sim_env_flip(fixture->sim, first_segment, position, 3), 0);
		result = fixture_open(fixture, 0);
		assert_int_equal(result, 0);
		assert_true(fixture->errors > 0);
		must_have(fixture, HASHED, "key", "value");
		must_close(fixture);
		/* Its copy as well. */
		assert_int_equal(sim_env_flip(fixture->sim, first_segment,
					 FORMAT_SEGMENT_COPY_AT + position, 3), 0);
		result = fixture_open(fixture, 0);
		assert_true(result == -EUCLEAN || result == -EPROTONOSUPPORT);
		assert_int_equal(sim_env_flip(fixture->sim, first_segment, position, 3), 0);
		/* The copy alone. */
		must_open(fixture, 0);
		assert_true(fixture->errors > 0);
		must_close(fixture);
		assert_int_equal(sim_env_flip(fixture->sim, first_segment,
					 FORMAT_SEGMENT_COPY_AT + position, 3), 0);
	}
	must_open(fixture, 0);
	must_have(fixture, HASHED, "key", "value");
}

static void test_segment_truncated(void **state)
{
	struct fixture *fixture = *state;
	static const uint64_t sizes[] = {SEGMENT_SIZE - 1, 5000, 4096, 100, 0};

	must_put(fixture, HASHED, "key", "value");
	must_close(fixture);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(sim_env_resize(fixture->sim, first_segment, sizes[i]), 0);
		assert_int_equal(fixture_open(fixture, 0), -EUCLEAN);
		assert_true(fixture->errors > 0);
	}
}

/* A segment of another store, and one that is there twice. */
static void test_segment_strange(void **state)
{
	struct fixture *fixture = *state;
	struct format_segment header;
	uint8_t uuid[16] = {1};
	struct kv_info info;
	uint64_t size;
	uint8_t *copy;

	must_put(fixture, HASHED, "key", "value");
	kv_info(fixture->kv, &info);
	must_close(fixture);
	assert_non_null(sim_env_bytes(fixture->sim, first_segment, &size));
	format_segment_seal(&header, uuid, 9, 5, SEGMENT_SIZE, 1);
	assert_int_equal(
		sim_env_put_file(fixture->sim, "seg-00000005", &header, sizeof(header)), 0);
	assert_int_equal(fixture_open(fixture, 0), -EUCLEAN);
	copy = malloc(SEGMENT_SIZE);
	assert_non_null(copy);
	memcpy(copy, sim_env_bytes(fixture->sim, first_segment, &size), SEGMENT_SIZE);
	memcpy(&header, copy, sizeof(header));
	format_segment_seal(&header, info.uuid, header.id, 5, SEGMENT_SIZE, header.salt);
	memcpy(copy, &header, sizeof(header));
	assert_int_equal(sim_env_put_file(fixture->sim, "seg-00000005", copy, SEGMENT_SIZE), 0);
	free(copy);
	assert_int_equal(fixture_open(fixture, 0), -EUCLEAN);
	assert_true(fixture->errors > 0);
}

static void test_other_files_do_not_matter(void **state)
{
	struct fixture *fixture = *state;
	uint64_t size;

	must_put(fixture, HASHED, "key", "value");
	must_close(fixture);
	assert_int_equal(sim_env_put_file(fixture->sim, "README", "hello", 5), 0);
	assert_int_equal(sim_env_put_file(fixture->sim, "seg-1", "hello", 5), 0);
	assert_int_equal(sim_env_put_file(fixture->sim, "seg-0000000G", "hello", 5), 0);
	assert_int_equal(sim_env_put_file(fixture->sim, "free-00000000", "hello", 5), 0);
	assert_int_equal(sim_env_put_file(fixture->sim, "free-00000009", "hello", 5), 0);
	assert_int_equal(sim_env_put_file(fixture->sim, "free-ffffffff", "hello", 5), 0);
	must_open(fixture, 0);
	must_have(fixture, HASHED, "key", "value");
	for (unsigned i = 0; i < 12; i++)
		must_put_filled(fixture, HASHED, "large", 300000, i);
	must_close(fixture);
	assert_memory_equal(sim_env_bytes(fixture->sim, "README", &size), "hello", 5);
	must_open(fixture, 0);
	must_have_filled(fixture, HASHED, "large", 300000, 11);
	assert_int_equal(fixture->errors, 0);
}

/* ---- opening when the world fails ------------------------------------------------------------ */

/* Whichever call fails, opening gives an error and leaves nothing open; afterwards all is as it
 * was. */
static void test_open_faults(void **state)
{
	static const enum sim_fault faults[] = {
		SIM_FAULT_OPEN, SIM_FAULT_READ, SIM_FAULT_MAP, SIM_FAULT_BUFFER, SIM_FAULT_SYNC};
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 12; i++)
		must_put_filled(fixture, HASHED, i % 2 ? "odd" : "even", 300000, i);
	must_close(fixture);
	for (unsigned kind = 0; kind < sizeof(faults) / sizeof(faults[0]); kind++) {
		unsigned failed = 0;

		for (unsigned nth = 1; nth < 12; nth++) {
			sim_env_fail(fixture->sim, faults[kind], nth, 1, -EIO);
			if (fixture_open(fixture, 0) < 0) {
				fixture->kv = NULL;
				failed++;
			}
			sim_env_fail(fixture->sim, faults[kind], 0, 0, 0);
			kv_close(fixture->kv);
			fixture->kv = NULL;
			assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
		}
		/*
		 * One that was closed in order needs neither before it is written to; what a disk
		 * could not give once it is asked for again.
		 */
		assert_true(failed || faults[kind] == SIM_FAULT_BUFFER ||
			    faults[kind] == SIM_FAULT_SYNC || faults[kind] == SIM_FAULT_READ);
	}
	must_open(fixture, 0);
	must_have_filled(fixture, HASHED, "even", 300000, 10);
	must_have_filled(fixture, HASHED, "odd", 300000, 11);
	must_check_clean(fixture);
}

/* A log that may go on is read into a buffer, and what nothing vouches for is written again. */
static void test_open_faults_after_a_crash(void **state)
{
	static const enum sim_fault faults[] = {SIM_FAULT_BUFFER, SIM_FAULT_WRITE};
	struct fixture *fixture = *state;

	for (unsigned kind = 0; kind < sizeof(faults) / sizeof(faults[0]); kind++) {
		must_put(fixture, HASHED, "key", "value");
		assert_int_equal(kv_sync(fixture->kv, kv_last_seq(fixture->kv)), 0);
		sim_env_cut(fixture->sim);
		kv_close(fixture->kv);
		fixture->kv = NULL;
		assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
		sim_env_fail(fixture->sim, faults[kind], 1, 1, -EIO);
		assert_true(fixture_open(fixture, 0) < 0);
		fixture->kv = NULL;
		sim_env_fail(fixture->sim, faults[kind], 0, 0, 0);
		must_open(fixture, 0);
		must_have(fixture, HASHED, "key", "value");
	}
}

#define NEW_STEPS 12u /* more than it takes to open a new store for the first time */
#define NEW_SEEDS 6u
#define MAKING_STEPS 9u /* that it takes to make one */
#define MAKING_LIVES (8 * MAKING_STEPS)
#define NEW_FIRST 8u /* calls that change the disk, since the store was opened: about where the second */
#define NEW_LAST 16u /* segment is made */
#define NEW_PUTS 20u  /* of NEW_SIZE: more than a segment, so that the next one is prepared */
#define NEW_SIZE 60000u

/* Until the power fails, or a segment is full. */
static void fill_new(struct fixture *fixture)
{
	uint8_t value[NEW_SIZE];
	int error = 0;

	fill_bytes(value, sizeof(value), 1);
	for (unsigned i = 0; i < NEW_PUTS && !error; i++)
		error = kv_put(fixture->kv, HASHED, &i, sizeof(i), value, sizeof(value), NULL);
}

static void make_new(struct fixture *fixture, uint64_t seed)
{
	assert_int_equal(sim_env_new(&(struct sim_options){.seed = seed}, &fixture->sim), 0);
	fixture->env = sim_env_table(fixture->sim);
	assert_int_equal(kv_create(fixture->env, STORE_PATH, &fixture_create_options, fixture_hear,
				   fixture), 0);
}

static void power_fails_at(uint64_t seed, unsigned step)
{
	struct fixture fixture = {0};

	make_new(&fixture, seed);
	must_open(&fixture, KV_OPEN_INLINE);
	sim_env_cut_at(fixture.sim, sim_env_steps(fixture.sim) + step);
	fill_new(&fixture);
	sim_env_cut_at(fixture.sim, 0);
	must_crash(&fixture, SIM_LOSS_ANY, KV_OPEN_INLINE);
	if (fixture.errors)
		fail_msg("seed %u, step %u: %s", (unsigned)seed, step, fixture.last_error);
	must_check_clean(&fixture);
	must_close(&fixture);
	sim_env_free(fixture.sim);
}

/*
 * The power fails before anything of a new store was durable, or much of it. Of what it had begun
 * any name may be left, and no segment is missed.
 */
static void test_power_fails_at_the_beginning(void **state)
{
	for (uint64_t seed = 1; seed <= NEW_SEEDS; seed++) {
		for (unsigned step = NEW_FIRST; step <= NEW_LAST; step++)
			power_fails_at(seed, step);
	}
}

/* What an open store says is durable is there behind a power failure; then it is closed. */
static void must_keep_synced(struct fixture *fixture)
{
	must_put(fixture, HASHED, "key", "synced");
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	must_have(fixture, HASHED, "key", "synced");
	assert_int_equal(fixture->errors, 0);
	must_check_clean(fixture);
	must_close(fixture);
}

/*
 * A process that opens a new store is killed, and may leave a segment whose name only the kernel
 * has. What the next one syncs there is durable all the same.
 */
static void test_killed_at_the_beginning(void **state)
{
	for (unsigned step = 1; step <= NEW_STEPS; step++) {
		struct fixture fixture = {0};

		make_new(&fixture, step);
		sim_env_cut_at(fixture.sim, sim_env_steps(fixture.sim) + step);
		if (fixture_open(&fixture, KV_OPEN_INLINE) == 0)
			kv_close(fixture.kv);
		assert_int_equal(sim_env_power_on(fixture.sim, SIM_LOSS_NONE), 0);
		must_open(&fixture, KV_OPEN_INLINE);
		must_keep_synced(&fixture);
		sim_env_free(fixture.sim);
	}
}

/*
 * Who makes a store is killed, and may leave a superblock that only the kernel has. Who is told then
 * that something is durable finds it, in a store that is whole.
 */
static void test_killed_while_made(void **state)
{
	unsigned made = 0;

	for (unsigned life = 0; life < MAKING_LIVES; life++) {
		struct fixture fixture = {0};

		assert_int_equal(
			sim_env_new(&(struct sim_options){.seed = life}, &fixture.sim), 0);
		fixture.env = sim_env_table(fixture.sim);
		sim_env_cut_at(fixture.sim, 1 + life % MAKING_STEPS);
		assert_int_equal(kv_create(fixture.env, STORE_PATH, &fixture_create_options,
					   fixture_hear, &fixture), -EIO);
		assert_int_equal(sim_env_power_on(fixture.sim, SIM_LOSS_NONE), 0);
		if (fixture_open(&fixture, KV_OPEN_INLINE) == 0) {
			made++;
			must_keep_synced(&fixture);
		}
		sim_env_free(fixture.sim);
	}
	assert_true(made > 0);
}

/*
 * A file that may not be opened, or not now, is not damaged: the store cannot be opened, or says
 * nothing; and the next time all is there, and nothing is read that a checkpoint spares.
 */
static void refuse_opens(struct fixture *fixture, int refusal)
{
	uint64_t nth = 0, seq, opens, calls;
	unsigned refused = 0;
	int error;

	must_put_range(fixture, 0, 2000, 1);
	assert_int_equal(kv_snapshot_create(fixture->kv, "kept", &seq), 0);
	must_put_range(fixture, 0, 2000, 2);
	do {
		struct kv_snapshot kept;

		must_close(fixture);
		calls = sim_env_calls(fixture->sim, SIM_FAULT_OPEN);
		sim_env_fail(fixture->sim, SIM_FAULT_OPEN, ++nth, 1, refusal);
		error = fixture_open(fixture, KV_OPEN_INLINE);
		sim_env_fail(fixture->sim, SIM_FAULT_OPEN, 0, 0, 0);
		opens = sim_env_calls(fixture->sim, SIM_FAULT_OPEN) - calls;
		assert_null(strstr(fixture->last_error, "searched"));
		assert_null(strstr(fixture->last_error, "cannot be used"));
		if (error) {
			assert_int_equal(error, refusal);
			fixture->kv = NULL;
			refused++;
			must_open(fixture, KV_OPEN_INLINE);
			assert_int_equal(fixture->errors, 0);
		}
		assert_true(stats_of(fixture).recovered_bytes < 4096);
		assert_int_equal(kv_snapshot_stat(fixture->kv, "kept", &kept), 0);
		assert_int_equal(kept.seq, seq);
	} while (error || nth <= opens);
	/* the superblock, the list, the checkpoint and a segment at least */
	assert_true(refused >= 4);
	must_have_range(fixture, 0, 2000, 2);
	must_check_clean(fixture);
}

static void test_refused(void **state)
{
	refuse_opens(*state, -EACCES);
}

static void test_no_descriptors(void **state)
{
	refuse_opens(*state, -EMFILE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EMPTY_TEST(test_create_refuses),
		EMPTY_TEST(test_create_on_middling_disk),
		EMPTY_TEST(test_create_on_small_disk),
		EMPTY_TEST(test_create_keeps_what_is_there),
		EMPTY_TEST(test_create_loses_a_race),
		cmocka_unit_test(test_file_names),
		EMPTY_TEST(test_create_in_empty_directory),
		EMPTY_TEST(test_create_is_durable),
		EMPTY_TEST(test_create_full_disk),
		EMPTY_TEST(test_create_small_files),
		EMPTY_TEST(test_info),
		FIXTURE_TEST(test_lock),
		FIXTURE_TEST(test_read_only),
		FIXTURE_TEST(test_small_files),
		FIXTURE_TEST(test_no_superblock),
		FIXTURE_TEST(test_foreign_superblock),
		FIXTURE_TEST(test_newer_superblock),
		FIXTURE_TEST(test_newer_copies),
		FIXTURE_TEST(test_newer_one_copy),
		FIXTURE_TEST(test_superblock_flips),
		FIXTURE_TEST(test_segment_header_damaged),
		FIXTURE_TEST(test_segment_truncated),
		FIXTURE_TEST(test_segment_strange),
		FIXTURE_TEST(test_other_files_do_not_matter),
		FIXTURE_TEST(test_open_faults),
		INLINE_TEST(test_refused),
		INLINE_TEST(test_no_descriptors),
		cmocka_unit_test(test_power_fails_at_the_beginning),
		cmocka_unit_test(test_killed_at_the_beginning),
		cmocka_unit_test(test_killed_while_made),
		FIXTURE_TEST(test_open_faults_after_a_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
