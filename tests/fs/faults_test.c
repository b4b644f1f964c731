/* SPDX-License-Identifier: MIT */
/*
 * faults_test.c - calls that fail while a file system is repaired, checked, compared with its
 * snapshot or cloned: the caller gets an error, or the result is right; nothing is worse than
 * before, nothing stays open, another repair, undisturbed, ends as well as if nothing had failed,
 * and what a clone leaves behind opens as all of the tree or not at all.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../engine/fault_sweep.h"
#include "keyspaces.h"
#include "store_image.h"
#include "tree_digest.h"
#include "tree_model.h"

#define PATH "store"
#define SNAPSHOT "before"
#define STEPS 220u /* of the tree, and half as many behind the snapshot */
#define INODES 512u
#define LARGE_SIZE (3u << 20) /* a clone of it is several commits */
#define FILE_SIZE_MAX (1u << 20)
#define DAMAGES 4u
#define MOST 2u /* of each kind of call and error */
#define MOST_QUICK 1u

/* What a program sees of each regular file, by its inode number. */
struct seen {
	uint64_t size, sum; /* of those that can be read */
	bool there, read;
};

/* A store that may be damaged, and what became of it without a fault. */
static struct subject {
	struct store_image image;
	struct seen before[INODES], after[INODES];
	uint64_t findings;
	uint64_t differences; /* a sum over them */
	uint64_t digest;      /* of the snapshot */
	bool large;	      /* has a large file as well */
} subject;

static void keep_quiet(void *arg, enum kv_severity severity, const char *message)
{
}

/* ---- stores ---------------------------------------------------------------------------------- */

static void unmount(struct sim_env *sim)
{
	assert_int_equal(sim_env_power_on(sim, SIM_LOSS_NONE), 0);
	sim_env_free(sim);
}

static uint64_t draw(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

/* Deletes any one record of the keyspace, or spoils it. */
static void damage(struct kv *kv, enum keyspace keyspace, uint64_t *random)
{
	const struct kv_entry *entries;
	struct kv_iterator *iterator;
	uint8_t key[KV_KEY_SIZE_MAX];
	size_t size = 0, count;
	uint64_t met = 0;

	assert_int_equal(kv_iterator_open(kv, keyspace, KV_ITERATE_KEYS, &iterator), 0);
	kv_read_begin(kv);
	while (!kv_iterator_read(iterator, &entries, &count)) {
		for (size_t i = 0; i < count; i++) {
			if (draw(random) % ++met)
				continue;
			size = entries[i].key.size;
			memcpy(key, entries[i].key.data, size);
		}
	}
	kv_read_end(kv);
	kv_iterator_close(iterator);
	if (size && draw(random) % 2)
		assert_int_equal(kv_delete(kv, keyspace, key, size, NULL), 0);
	else if (size)
		assert_int_equal(kv_put(kv, keyspace, key, size, "nonsense", 8, NULL), 0);
}

/* Of bytes that do not become fewer. */
static void make_large(struct fixture *store)
{
	static uint64_t words[LARGE_SIZE / 8];
	uint64_t random = 1, ino = fixture_mkfile(store, KVFS_ROOT_INO, "large");

	for (size_t i = 0; i < LARGE_SIZE / 8; i++)
		words[i] = draw(&random) << 31 ^ draw(&random);
	for (size_t done = 0; done < LARGE_SIZE; done += FILE_SIZE_MAX)
		assert_int_equal(kvfs_write(store->fs, ino, (uint8_t *)words + done, FILE_SIZE_MAX,
					 (int64_t)done, 0),
			FILE_SIZE_MAX);
}

/* With some of everything; damage 0: it is sound. */
static void make_image(unsigned number)
{
	static const enum keyspace keyspaces[] = {KEYSPACE_INODE, KEYSPACE_DIRENT,
		KEYSPACE_EXTENT, KEYSPACE_SHARED, KEYSPACE_XATTR};
	struct kvfs_create_options create = {
		.segment_size = 2 << 20, .compress = KV_COMPRESS_INLINE};
	struct fixture store = {.path = PATH, .open.kv.flags = KV_OPEN_INLINE};
	uint64_t random = number;
	struct model *model;
	struct sim_env *sim;

	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 7}, &sim), 0);
	store.env = sim_env_table(sim);
	assert_int_equal(kvfs_create(store.env, PATH, &create, NULL, NULL), 0);
	fixture_open(&store);
	model = model_new(&store, 4711);
	for (unsigned step = 0; step < STEPS; step++)
		model_step(model);
	if (subject.large)
		make_large(&store);
	assert_int_equal(kvfs_snapshot_create(store.fs, SNAPSHOT), 0);
	for (unsigned step = 0; step < STEPS / 2; step++)
		model_step(model);
	model_free(model);
	for (unsigned i = 0; number && i < 2 * number; i++)
		damage(kvfs_kv(store.fs), keyspaces[(number + i) % 5], &random);
	fixture_close(&store);
	store_image_take(&subject.image, sim, PATH);
	unmount(sim);
}

static struct sim_env *mount_store(struct fixture *store, unsigned flags)
{
	struct sim_env *sim = store_image_mount(&subject.image, PATH);

	*store = (struct fixture){.env = sim_env_table(sim), .path = PATH,
		.open = {.kv.flags = KV_OPEN_INLINE | flags, .repairs = true}};
	return sim;
}

static void look(struct fixture *store, struct seen seen[INODES])
{
	static uint8_t bytes[FILE_SIZE_MAX];
	struct kvfs_attr attr;

	memset(seen, 0, INODES * sizeof(*seen));
	for (uint64_t ino = KVFS_ROOT_INO; ino < INODES; ino++) {
		struct seen *at = &seen[ino];
		ssize_t size;

		at->there = !kvfs_getattr(store->fs, ino, &attr) && attr.nlink &&
			    S_ISREG(attr.mode);
		if (!at->there)
			continue;
		at->size = attr.size;
		size = kvfs_read_unseen(store->fs, ino, bytes, sizeof(bytes), 0);
		at->read = size >= 0;
		for (ssize_t i = 0; i < size; i++)
			at->sum = at->sum * 31 + bytes[i];
	}
}

static bool is_same(const struct seen *a, const struct seen *b)
{
	return a->there == b->there && a->read == b->read && a->size == b->size &&
	       a->sum == b->sum;
}

/* ---- repair ---------------------------------------------------------------------------------- */

static int repair(struct fixture *store)
{
	struct kv_repair_report report;
	uint64_t mended;
	int closed, result = kv_repair(store->env, PATH, keep_quiet, NULL, &report);

	if (!result)
		result = kvfs_open(store->env, PATH, &store->open, &store->fs);
	if (result)
		return result;
	result = kvfs_repair(store->fs, keep_quiet, NULL, &mended);
	closed = kvfs_close(store->fs);
	return result ? result : closed;
}

/* A file is as it was, or as a repair makes it. */
static void must_not_be_worse(struct fixture *store)
{
	static struct seen now[INODES];

	fixture_open(store);
	look(store, now);
	fixture_close(store);
	for (unsigned ino = 0; ino < INODES; ino++) {
		const struct seen *before = &subject.before[ino];

		/* What could not be read may be half way to what it becomes. */
		if (before->there && before->read && !is_same(&now[ino], before) &&
			!is_same(&now[ino], &subject.after[ino]))
			fail_msg("inode %u is neither as it was nor as a repair makes it", ino);
	}
}

static void judge_end(struct fixture *store)
{
	static struct seen now[INODES];

	store->open.repairs = false;
	fixture_open(store);
	fixture_assert_clean(store);
	look(store, now);
	for (unsigned ino = 0; ino < INODES; ino++) {
		if (!is_same(&now[ino], &subject.after[ino]))
			fail_msg("inode %u is not as a repair without a fault makes it", ino);
	}
	fixture_mkfile(store, KVFS_ROOT_INO, "made behind the repair");
	fixture_close(store);
}

static void repair_with(void *arg, const struct fault *fault)
{
	struct fixture store;
	struct sim_env *sim = mount_store(&store, 0);
	int result;
	bool came;

	if (!fault->nth) {
		fixture_open(&store);
		look(&store, subject.before);
		fixture_close(&store);
	}
	fault_begin(sim, fault);
	result = repair(&store);
	came = fault_end(sim, fault);
	if (result && !came)
		fail_msg("a repair failed without cause: %s", strerror(-result));
	assert_int_equal(sim_env_opens(sim), 0);
	if (!fault->nth) {
		fixture_open(&store);
		look(&store, subject.after);
		fixture_close(&store);
	}
	/* Half of the time the power fails behind it. */
	if (result && fault->nth % 2)
		assert_int_equal(sim_env_power_on(sim, SIM_LOSS_ANY), 0);
	if (result) {
		must_not_be_worse(&store);
		result = repair(&store);
		if (result)
			fail_msg("a second repair fails: %s", strerror(-result));
	}
	judge_end(&store);
	unmount(sim);
}

/* ---- check ----------------------------------------------------------------------------------- */

/* For arg: a char[512]. */
static void note_finding(void *arg, enum kv_severity severity, const char *message)
{
	snprintf(arg, 512, "%s", message);
}

static void check_with(void *arg, const struct fault *fault)
{
	char last[512] = "";
	struct fixture store;
	struct sim_env *sim = mount_store(&store, KV_OPEN_READ_ONLY);
	uint64_t findings = 0;
	int result;
	bool came;

	fault_begin(sim, fault);
	result = kvfs_open(store.env, PATH, &store.open, &store.fs);
	if (!result) {
		result = kvfs_check(store.fs, note_finding, last, NULL, NULL, &findings);
		assert_int_equal(kvfs_close(store.fs), 0);
	}
	came = fault_end(sim, fault);
	if (result && !came)
		fail_msg("a check failed without cause: %s", strerror(-result));
	assert_int_equal(sim_env_opens(sim), 0);
	if (!fault->nth)
		subject.findings = findings;
	assert_true(result || findings || !subject.findings);
	/* Want of memory is not damage. */
	if (!result && fault->kind == FAULT_MEMORY && fault->nth && findings != subject.findings)
		fail_msg("what a check finds for want of memory: %s", last);
	unmount(sim);
}

/* ---- differences ----------------------------------------------------------------------------- */

static int note_difference(
	void *arg, enum kvfs_difference what, const char *path, bool is_directory)
{
	uint64_t sum = (uint64_t)what * 2 + is_directory + 1;

	while (*path)
		sum = sum * 31 + (uint8_t)*path++;
	*(uint64_t *)arg += sum * UINT64_C(0x9e3779b97f4a7c15);
	return 0;
}

static void compare_with(void *arg, const struct fault *fault)
{
	struct fixture store;
	struct sim_env *sim = mount_store(&store, KV_OPEN_READ_ONLY);
	uint64_t differences = 0;
	struct kvfs *from;
	int result;
	bool came;

	fault_begin(sim, fault);
	result = kvfs_open(store.env, PATH, &store.open, &store.fs);
	if (!result) {
		result = kvfs_snapshot_open(store.fs, SNAPSHOT, &from);
		if (!result) {
			result = kvfs_diff(from, store.fs, note_difference, NULL, &differences);
			assert_int_equal(kvfs_close(from), 0);
		}
		assert_int_equal(kvfs_close(store.fs), 0);
	}
	came = fault_end(sim, fault);
	if (result && !came)
		fail_msg("a comparison failed without cause: %s", strerror(-result));
	assert_int_equal(sim_env_opens(sim), 0);
	if (!fault->nth) {
		assert_true(differences);
		subject.differences = differences;
	}
	assert_true(result || differences == subject.differences);
	unmount(sim);
}

/* ---- clones ---------------------------------------------------------------------------------- */

/* All of the tree, or none. */
static void judge_clone(struct sim_env *sim, int cloned)
{
	struct fixture clone = {.env = sim_env_table(sim), .path = PATH,
		.open.kv.flags = KV_OPEN_INLINE | KV_OPEN_READ_ONLY};
	int opened = kvfs_open(clone.env, PATH, &clone.open, &clone.fs);

	if (opened && !cloned)
		fail_msg("a clone does not open: %s", strerror(-opened));
	if (opened)
		return;
	if (tree_digest(clone.fs) != subject.digest)
		fail_msg("a clone that ended with %s opens, and is not the tree",
			strerror(-cloned));
	fixture_assert_clean(&clone);
	fixture_close(&clone);
}

/* Of the disk that it is of, or of the one that it is on. */
static void clone_with(const struct fault *fault, bool of_source)
{
	struct fixture store;
	struct sim_env *sim = mount_store(&store, KV_OPEN_READ_ONLY), *to;
	struct kvfs *from;
	int result;
	bool came;

	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 8}, &to), 0);
	fixture_open(&store);
	assert_int_equal(kvfs_snapshot_open(store.fs, SNAPSHOT, &from), 0);
	subject.digest = tree_digest(from);
	fault_begin(of_source ? sim : to, fault);
	result = kvfs_clone(from, sim_env_table(to), PATH, NULL, NULL);
	came = fault_end(of_source ? sim : to, fault);
	if (result && !came)
		fail_msg("a clone failed without cause: %s", strerror(-result));
	assert_int_equal(sim_env_opens(to), 0);
	if (!result || fault->nth % 2)
		assert_int_equal(sim_env_power_on(to, result ? SIM_LOSS_ANY : SIM_LOSS_ALL), 0);
	judge_clone(to, result);
	/* Nothing has come of it to what it is of. */
	assert_true(tree_digest(from) == subject.digest);
	assert_int_equal(kvfs_close(from), 0);
	fixture_close(&store);
	unmount(to);
	unmount(sim);
}

static void clone_to(void *arg, const struct fault *fault)
{
	clone_with(fault, false);
}

static void clone_from(void *arg, const struct fault *fault)
{
	clone_with(fault, true);
}

/* ---- all ------------------------------------------------------------------------------------- */

static unsigned sweep(unsigned number, const char *what, fault_try_fn *work)
{
	static char text[64];
	unsigned failed;

	make_image(number);
	snprintf(text, sizeof(text), "%s of store %u", what, number);
	failed = fault_sweep(text, getenv("KVFS_TEST_QUICK") ? MOST_QUICK : MOST, work, NULL);
	print_message("%s: %u calls failed\n", text, failed);
	store_image_free(&subject.image);
	return failed;
}

static void test_repair(void **state)
{
	for (unsigned number = 0; number < DAMAGES; number += getenv("KVFS_TEST_QUICK") ? 3 : 1)
		assert_true(sweep(number, "repair", repair_with) > 10);
}

static void test_check(void **state)
{
	for (unsigned number = 0; number < DAMAGES; number += 3)
		assert_true(sweep(number, "check", check_with) > 10);
}

static void test_diff(void **state)
{
	assert_true(sweep(0, "differences", compare_with) > 10);
}

static void test_clone(void **state)
{
	subject.large = true;
	assert_true(sweep(0, "clone", clone_to) > 10);
	(void)sweep(0, "clone, of its source", clone_from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_repair, fault_sweep_say),
		cmocka_unit_test_teardown(test_check, fault_sweep_say),
		cmocka_unit_test_teardown(test_diff, fault_sweep_say),
		cmocka_unit_test_teardown(test_clone, fault_sweep_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
