/* SPDX-License-Identifier: MIT */
/*
 * crash_test.c - the power fails at any step of random operations on a simulated disk. What is
 * there afterwards must be the tree as it was after some operation, none older than the last sync;
 * and a check must find nothing.
 *
 * KVFS_TEST_SEED repeats a run, KVFS_TEST_RUNS does more of them, KVFS_TEST_QUICK fewer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "keyspaces.h"
#include "sim_env.h"
#include "size.h"
#include "tree_model.h"

#define SEGMENT_SIZE ((uint64_t)2 << 20)
#define OPERATIONS 120u
#define STEPS_MAX 150u /* of the disk, until the power fails */

static unsigned long number_from(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

/* ---- what a tree looks like, in one number --------------------------------------------------- */

struct digest {
	struct fixture *store;
	uint64_t hash;
};

static void digest_add(struct digest *digest, const void *data, size_t size)
{
	digest->hash = XXH3_64bits_withSeed(data, size, digest->hash);
}

static void digest_contents(struct digest *digest, const struct kvfs_attr *attr)
{
	static uint8_t data[MODEL_FILE_MAX];
	ssize_t size = 0;

	if (S_ISREG(attr->mode))
		size = kvfs_read(digest->store->fs, attr->ino, data, sizeof(data), 0);
	else if (S_ISLNK(attr->mode))
		size = kvfs_readlink(digest->store->fs, attr->ino, (char *)data, sizeof(data));
	assert_true(size >= 0);
	digest_add(digest, data, (size_t)size);
	size = kvfs_listxattr(digest->store->fs, attr->ino, (char *)data, sizeof(data));
	assert_true(size >= 0);
	digest_add(digest, data, (size_t)size);
}

static int digest_entry(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct digest *digest = arg;

	if (!strcmp(name, ".."))
		return 0;
	digest_add(digest, name, strlen(name));
	digest_add(digest, attr, sizeof(*attr));
	if (!strcmp(name, "."))
		return 0;
	digest_contents(digest, attr);
	if (S_ISDIR(attr->mode))
		assert_int_equal(
			kvfs_readdir(digest->store->fs, attr->ino, 0, true, digest_entry, digest),
			0);
	return 0;
}

static uint64_t digest_tree(struct fixture *store)
{
	struct digest digest = {store, 0};

	assert_int_equal(kvfs_readdir(store->fs, KVFS_ROOT_INO, 0, true, digest_entry, &digest), 0);
	return digest.hash;
}

/* ---- a store on the simulated disk ----------------------------------------------------------- */

static bool is_cut(void *arg)
{
	return sim_env_is_cut(arg);
}

static void ignore_report(void *arg, enum kv_severity severity, const char *message)
{
}

static struct sim_env *sim_store(struct fixture *store, uint64_t seed)
{
	struct kvfs_create_options create = {.segment_size = SEGMENT_SIZE};
	struct sim_options options = {.seed = seed};
	struct sim_env *sim;

	assert_int_equal(sim_env_new(&options, &sim), 0);
	*store = (struct fixture){
		.env = sim_env_table(sim),
		.path = "store",
		.open = {.kv = {.flags = KV_OPEN_INLINE, .report = ignore_report},
			.atime = KVFS_NOATIME},
	};
	assert_int_equal(kvfs_create(store->env, store->path, &create, fixture_report, NULL), 0);
	fixture_open(store);
	return sim;
}

/* The power is off, or goes off now. */
static void power_off(struct fixture *store, struct sim_env *sim, uint64_t chance)
{
	static const enum sim_loss losses[] = {SIM_LOSS_ALL, SIM_LOSS_ANY, SIM_LOSS_NONE};

	sim_env_cut(sim);
	kvfs_close(store->fs);
	assert_int_equal(sim_env_power_on(sim, losses[chance % 3]), 0);
}

/* The same; then everything is opened again. */
static void power_cycle(struct fixture *store, struct sim_env *sim, uint64_t chance)
{
	power_off(store, sim, chance);
	fixture_open(store);
	fixture_assert_clean(store);
}

static void sim_store_end(struct fixture *store, struct sim_env *sim)
{
	fixture_close(store);
	sim_env_free(sim);
}

/* ---- random operations ----------------------------------------------------------------------- */

struct history {
	uint64_t digests[OPERATIONS + 1]; /* after so many operations */
	volatile unsigned done;           /* operations */
	volatile unsigned synced;         /* of these, durable */
};

static void operate(struct model *model, struct history *history)
{
	history->digests[0] = digest_tree(model->store);
	if (setjmp(model->stop))
		return;
	while (history->done < OPERATIONS) {
		model_step(model);
		history->digests[history->done + 1] = digest_tree(model->store);
		history->done++;
		if (history->done % 7)
			continue;
		if (kvfs_sync(model->store->fs))
			return;
		history->synced = history->done;
	}
}

static void run_random(uint64_t seed)
{
	struct history *history = calloc(1, sizeof(*history));
	struct fixture store;
	struct sim_env *sim = sim_store(&store, seed);
	struct model *model = model_new(&store, seed);
	uint64_t found;
	unsigned at;

	assert_non_null(history);
	model->broken = is_cut;
	model->broken_arg = sim;
	sim_env_cut_at(sim, sim_env_steps(sim) + 1 + seed * 31 % STEPS_MAX);
	operate(model, history);
	power_cycle(&store, sim, seed);
	found = digest_tree(&store);
	for (at = history->done; at > history->synced && history->digests[at] != found;)
		at--;
	if (history->digests[at] != found)
		fail_msg("KVFS_TEST_SEED=%llu: the tree is none of those after %u to %u operations",
			(unsigned long long)seed, history->synced, history->done);
	model_free(model);
	free(history);
	sim_store_end(&store, sim);
}

static void test_random(void **state)
{
	unsigned long seed = number_from("KVFS_TEST_SEED", 0);
	unsigned long runs = number_from("KVFS_TEST_RUNS", getenv("KVFS_TEST_QUICK") ? 50 : 150);

	if (seed) {
		run_random(seed);
		return;
	}
	for (seed = 1; seed <= runs; seed++)
		run_random(seed);
}

/* ---- freeing in steps ------------------------------------------------------------------------ */

#define PIECES (3 * SIZE_STEP)
#define PIECE_DISTANCE 100000
#define PIECES_LOG (PIECES * UINT64_C(48)) /* bytes of the log: about what freeing them takes */

static uint64_t make_pieces(struct fixture *store)
{
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");

	for (int64_t i = 0; i < PIECES; i++)
		assert_int_equal(kvfs_write(store->fs, file, "x", 1,
					 i * PIECE_DISTANCE + PIECE_DISTANCE / 2, 0),
			1);
	assert_int_equal(kvfs_sync(store->fs), 0);
	return file;
}

/*
 * Leaves about so much of the log's segment: a full one reaches the disk before what comes behind
 * it, so a power failure may keep the batches in the one alone.
 */
static void leave_room(struct fixture *store, uint64_t bytes)
{
	static const char block[4096];
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "filler");
	struct kv_stats stats;
	uint64_t left;

	do {
		assert_int_equal(kvfs_write(store->fs, file, block, sizeof(block), 0, 0),
			sizeof(block));
		kv_stats(kvfs_kv(store->fs), &stats);
		left = SEGMENT_SIZE - stats.appended_bytes % SEGMENT_SIZE;
	} while (left < bytes || left > bytes + 3 * sizeof(block));
	assert_int_equal(kvfs_sync(store->fs), 0);
}

/* Has freeing begun, and not come to its end? */
static bool is_unfinished(struct fixture *store)
{
	struct kv_stats stats;
	bool is;

	store->open.kv.flags = KV_OPEN_INLINE | KV_OPEN_READ_ONLY;
	fixture_open(store);
	kv_stats(kvfs_kv(store->fs), &stats);
	is = stats.keys[KEYSPACE_EXTENT] > 2 && stats.keys[KEYSPACE_EXTENT] < PIECES;
	fixture_assert_clean(store);
	fixture_close(store);
	store->open.kv.flags = KV_OPEN_INLINE;
	return is;
}

/*
 * The power fails at one of the steps in which thousands of pieces are freed. Out: whether it came
 * between the first of them and the last.
 */
static bool run_freeing(uint64_t seed, bool whole)
{
	struct kvfs_attr attr = {.size = PIECE_DISTANCE};
	struct fixture store;
	struct sim_env *sim = sim_store(&store, seed);
	uint64_t file = make_pieces(&store);
	struct kv_stats stats;
	bool unfinished;
	char byte;

	leave_room(&store, (1 + seed / 4) * PIECES_LOG / 6);
	sim_env_cut_at(sim, sim_env_steps(sim) + 1 + seed % 4);
	if (whole)
		(void)!kvfs_unlink(store.fs, KVFS_ROOT_INO, "f");
	else
		(void)!kvfs_setattr(store.fs, file, &attr, KVFS_SET_SIZE, &attr);
	(void)!kvfs_sync(store.fs);
	power_off(&store, sim, seed);
	unfinished = is_unfinished(&store);
	fixture_open(&store);
	fixture_assert_clean(&store);
	if (fixture_lookup(&store, KVFS_ROOT_INO, "f") > 0) {
		attr = fixture_attr(&store, file);
		assert_true(attr.size == PIECE_DISTANCE * (PIECES - 1) + PIECE_DISTANCE / 2 + 1 ||
			    (!whole && attr.size == PIECE_DISTANCE));
		assert_int_equal(attr.blocks, attr.size == PIECE_DISTANCE ? 8 : 8 * PIECES);
		/* What was cut off stays so. */
		attr.size += PIECE_DISTANCE;
		assert_int_equal(kvfs_setattr(store.fs, file, &attr, KVFS_SET_SIZE, &attr), 0);
		assert_int_equal(kvfs_read(store.fs, file, &byte, 1,
					 (int64_t)attr.size - PIECE_DISTANCE / 2),
			1);
		assert_int_equal(byte, 0);
		fixture_assert_clean(&store);
	} else {
		assert_true(whole);
		assert_int_equal(kvfs_getattr(store.fs, file, &attr), -ENOENT);
		kv_stats(kvfs_kv(store.fs), &stats);
		assert_int_equal(stats.keys[KEYSPACE_EXTENT], 1); /* the filler's */
	}
	sim_store_end(&store, sim);
	return unfinished;
}

static void run_all_freeing(bool whole)
{
	unsigned unfinished = 0;

	for (uint64_t seed = 0; seed < 20; seed++)
		unfinished += run_freeing(seed, whole);
	assert_true(unfinished > 0);
}

static void test_truncate(void **state)
{
	run_all_freeing(false);
}

static void test_unlink(void **state)
{
	run_all_freeing(true);
}

/* ---- a disk that fails ----------------------------------------------------------------------- */

/* A full disk refuses what needs room, allows what frees it, and loses nothing. */
static void test_full(void **state)
{
	static uint8_t data[1 << 20];
	struct kvfs_attr attr;
	struct fixture store;
	struct sim_env *sim = sim_store(&store, 1);
	unsigned count = 0;
	char name[20];
	int err = 0;

	sim_env_set_capacity(sim, 24 << 20);
	while (!err) {
		snprintf(name, sizeof(name), "f%u", count);
		err = kvfs_mknod(
			store.fs, &fixture_root, KVFS_ROOT_INO, name, S_IFREG | 0644, 0, &attr);
		if (err)
			break;
		count++;
		memset(data, (int)count, sizeof(data));
		err = (int)kvfs_write(store.fs, attr.ino, data, sizeof(data), 0, 0);
		err = err < 0 ? err : 0;
	}
	assert_int_equal(err, -ENOSPC);
	assert_true(count > 5);
	fixture_assert_clean(&store);
	fixture_reopen(&store);
	fixture_assert_clean(&store);
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(kvfs_unlink(store.fs, KVFS_ROOT_INO, name), 0);
	}
	fixture_assert_clean(&store);
	sim_store_end(&store, sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_truncate),
		cmocka_unit_test(test_unlink),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
