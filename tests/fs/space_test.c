/* SPDX-License-Identifier: MIT */
/*
 * space_test.c - what is free and what is available, and what a full disk still allows, on a
 * simulated one that nobody else fills.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs.h"
#include "sim_env.h"

#define SEGMENT_SIZE ((uint64_t)2 << 20)
#define CAPACITY ((uint64_t)40 << 20)
#define LIMIT ((uint64_t)8 << 20)
#define CHUNK 4096u
#define EMPTYINGS 50000u /* more than the reserve has room for */
#define SMALL_FILES 1000u
#define SMALL 2000u /* bytes: in their inode's record */

static struct sim_env *sim; /* the disk */

static unsigned complaints;

static void count_complaints(void *arg, enum kv_severity severity, const char *message)
{
	complaints += severity != KV_INFO;
}

static int setup(void **state)
{
	struct kvfs_create_options create = {.segment_size = SEGMENT_SIZE};
	struct sim_options options = {.seed = 1, .capacity = CAPACITY};
	struct fixture *store = calloc(1, sizeof(*store));

	assert_non_null(store);
	assert_int_equal(sim_env_new(&options, &sim), 0);
	*store = (struct fixture){
		.env = sim_env_table(sim),
		.path = "store",
		.open = {.kv = {.flags = KV_OPEN_INLINE, .report = count_complaints}},
	};
	assert_int_equal(kvfs_create(store->env, store->path, &create, fixture_report, NULL), 0);
	fixture_open(store);
	*state = store;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *store = *state;

	fixture_assert_clean(store);
	fixture_close(store);
	sim_env_free(sim);
	free(store);
	return 0;
}

static struct kvfs_statfs space(struct fixture *store)
{
	struct kvfs_statfs out;

	assert_int_equal(kvfs_statfs(store->fs, &out), 0);
	assert_int_equal(out.block_size, CHUNK);
	return out;
}

static void fill(struct fixture *store)
{
	static char bytes[CHUNK];
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	int64_t at = 0;
	ssize_t done;

	while ((done = kvfs_write(store->fs, ino, bytes, CHUNK, at, 0)) > 0)
		at += done;
	assert_int_equal(done, -ENOSPC);
}

/*
 * What only deleting may use is free, as nothing is in it, but not available. On a full disk that
 * is what is left, and what does not make up a segment: of the disk, and of garbage.
 */
static void test_reserve(void **state)
{
	struct fixture *store = *state;
	struct kvfs_statfs empty = space(store), full;
	struct kv_stats stats;

	kv_stats(store->fs->kv, &stats);
	assert_true(stats.reserve_bytes >= SEGMENT_SIZE);
	assert_int_equal((empty.blocks_free - empty.blocks_avail) * CHUNK, stats.reserve_bytes);
	assert_in_range(empty.blocks_free * CHUNK, CAPACITY - SEGMENT_SIZE, CAPACITY);
	fill(store);
	full = space(store);
	kv_stats(store->fs->kv, &stats);
	assert_true(stats.reserve_bytes >= SEGMENT_SIZE);
	assert_int_equal((full.blocks_free - full.blocks_avail) * CHUNK, stats.reserve_bytes);
	assert_true(full.blocks_avail * CHUNK < 2 * SEGMENT_SIZE);
}

/* Where the store's own limit comes first there is no reserve in question. */
static void test_limit(void **state)
{
	struct fixture *store = *state;
	struct kvfs_statfs found;

	assert_int_equal(kvfs_set_size_limit(store->fs, LIMIT), 0);
	found = space(store);
	assert_int_equal(found.blocks * CHUNK, LIMIT);
	assert_int_equal(found.blocks_avail, found.blocks_free);
	fill(store);
	assert_int_equal(space(store).blocks_free, 0);
}

/* The small files that there is room for, until there is none. */
static void make_empty_files(struct fixture *store)
{
	struct kvfs_attr attr;
	char name[16];
	int err = 0;

	for (unsigned i = 0; !err; i++) {
		snprintf(name, sizeof(name), "empty%u", i);
		err = kvfs_mknod(store->fs, &fixture_root, KVFS_ROOT_INO, name, S_IFREG | 0644, 0,
			&attr);
	}
	assert_int_equal(err, -ENOSPC);
}

/*
 * A full disk lets files become shorter, down to nothing, also those that take only a record, those
 * that are a hole, and those that are empty: again and again.
 */
static void test_small_files_shrink(void **state)
{
	static char bytes[SMALL];
	struct fixture *store = *state;
	uint64_t inos[SMALL_FILES], hole = fixture_mkfile(store, KVFS_ROOT_INO, "hole");
	struct kvfs_attr attr = {.size = CHUNK};
	char name[16];
	unsigned i;

	assert_int_equal(kvfs_setattr(store->fs, hole, &attr, KVFS_SET_SIZE, &attr), 0);
	for (i = 0; i < SMALL_FILES; i++) {
		snprintf(name, sizeof(name), "small%u", i);
		inos[i] = fixture_mkfile(store, KVFS_ROOT_INO, name);
		assert_int_equal(kvfs_write(store->fs, inos[i], bytes, SMALL, 0, 0), SMALL);
	}
	fill(store);
	make_empty_files(store);
	for (i = 0; i < SMALL_FILES; i++) {
		attr.size = i % 2 ? 0 : SMALL - 1;
		assert_int_equal(
			kvfs_setattr(store->fs, inos[i], &attr, KVFS_SET_SIZE, &attr), 0);
	}
	for (i = 0; i < EMPTYINGS; i++) {
		attr.size = 0;
		assert_int_equal(kvfs_setattr(store->fs, hole, &attr, KVFS_SET_SIZE, &attr), 0);
	}
}

/* What lost its name while somebody held it is freed by opening, also where there is no room. */
static void test_opening_frees(void **state)
{
	static char bytes[CHUNK];
	struct fixture *store = *state;
	uint64_t held = fixture_mkfile(store, KVFS_ROOT_INO, "held");
	struct kvfs_attr attr;

	assert_int_equal(kvfs_write(store->fs, held, bytes, CHUNK, 0, 0), CHUNK);
	fill(store);
	kvfs_hold(store->fs, held, 1);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "held"), 0);
	make_empty_files(store);
	complaints = 0;
	fixture_reopen(store);
	assert_int_equal(complaints, 0);
	assert_int_equal(kvfs_getattr(store->fs, held, &attr), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_opening_frees, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reserve, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_small_files_shrink, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
