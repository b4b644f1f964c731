/* SPDX-License-Identifier: MIT */
/*
 * snapshot_rollback_test.c - going back to a snapshot: the tree is what it was then, whatever is
 * held, and however often it is interrupted.
 */
#include "tree_digest.h"
#include "tree_model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void test_rollback(void **state)
{
	struct fixture *store = *state;
	struct model *model = model_new(store, 4711);
	uint64_t digests[3], newest;
	char name[16];

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned step = 0; step < 400; step++)
			model_step(model);
		snprintf(name, sizeof(name), "%u", round);
		/* What is held does not come back. */
		fixture_reopen(store);
		model_reopened(model);
		digests[round] = tree_digest(store->fs);
		assert_int_equal(kvfs_snapshot_create(store->fs, name), 0);
	}
	model_free(model);
	assert_int_equal(kvfs_rollback(store->fs, "none", NULL), -ENOENT);
	assert_int_equal(kvfs_rollback(store->fs, "0", "2"), -EEXIST);
	assert_true(tree_digest(store->fs) == digests[2]);
	newest = fixture_mkfile(store, KVFS_ROOT_INO, "one more");
	assert_int_equal(kvfs_rollback(store->fs, "0", "before"), 0);
	assert_true(tree_digest(store->fs) == digests[0]);
	fixture_assert_clean(store);
	/* Numbers of files that are gone again are not given out a second time. */
	assert_true(fixture_mkfile(store, KVFS_ROOT_INO, "new") > newest);
	assert_int_equal(kvfs_rollback(store->fs, "1", NULL), 0);
	assert_true(tree_digest(store->fs) == digests[1]);
	fixture_reopen(store);
	assert_true(tree_digest(store->fs) == digests[1]);
	assert_int_equal(kvfs_rollback(store->fs, "before", NULL), 0);
	assert_true(fixture_lookup(store, KVFS_ROOT_INO, "one more") > 0);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "one more"), 0);
	for (unsigned round = 0; round < 3; round++) {
		snprintf(name, sizeof(name), "%u", round);
		assert_true(tree_digest_of_snapshot(store, name) == digests[round]);
	}
}

/*
 * One that shared its contents, and was held without a name at the snapshot, is freed with all that
 * counts it.
 */
static void test_rollback_over_orphan(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	uint64_t copy = fixture_mkfile(store, KVFS_ROOT_INO, "g"), digest;

	for (unsigned i = 0; i < 3; i++)
		fixture_write(store, file, "chunk", (int64_t)i * 65536);
	fixture_write(store, file, "end", 3 * 65536 - 3);
	assert_int_equal(kvfs_copy(store->fs, file, 0, copy, 0, 3 * 65536), 3 * 65536);
	kvfs_hold(store->fs, copy, 1);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "g"), 0);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	digest = tree_digest(store->fs);
	kvfs_release(store->fs, copy, 1);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	assert_int_equal(kvfs_rollback(store->fs, "s", NULL), 0);
	assert_true(tree_digest(store->fs) == digest);
	fixture_assert_clean(store);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	fixture_assert_clean(store);
}

struct heard {
	uint64_t busy, inode, directory;
	char name[32];
	unsigned changes;
};

/*
 * To share contents changes nothing in the attributes of the file that has them: going back and
 * forth over it, what counts references agrees with them, and nothing stays behind.
 */
static void test_rollback_over_sharing(void **state)
{
	struct fixture *store = *state;
	static uint8_t bytes[3 * 65536];
	uint64_t file, copy;

	memset(bytes, 0x5a, sizeof(bytes));
	store->open.atime = KVFS_NOATIME;
	fixture_reopen(store);
	file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	assert_int_equal(
		kvfs_write(store->fs, file, bytes, sizeof(bytes), 0, 0), sizeof(bytes));
	copy = fixture_mkfile(store, KVFS_ROOT_INO, "g");
	assert_int_equal(kvfs_copy(store->fs, file, 0, copy, 0, 65536), 65536);
	assert_int_equal(kvfs_snapshot_create(store->fs, "own"), 0);
	assert_int_equal(kvfs_copy(store->fs, file, 65536, copy, 65536, 65536), 65536);
	assert_int_equal(kvfs_snapshot_create(store->fs, "shared"), 0);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(kvfs_rollback(store->fs, "own", NULL), 0);
		fixture_assert_clean(store);
		assert_int_equal(kvfs_rollback(store->fs, "shared", NULL), 0);
		fixture_assert_clean(store);
	}
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "g"), 0);
	fixture_reopen(store);
	fixture_assert_clean(store);
}

static void hear_busy(void *arg, uint64_t ino)
{
	((struct heard *)arg)->busy = ino;
}

static int hear_changed(void *arg, uint64_t ino, const char *name, size_t name_size)
{
	struct heard *heard = arg;

	heard->changes++;
	if (!name_size) {
		heard->inode = ino;
		return 0;
	}
	heard->directory = ino;
	assert_in_range(name_size, 1, sizeof(heard->name) - 1);
	memcpy(heard->name, name, name_size);
	heard->name[name_size] = '\0';
	return 0;
}

/* What is held and would not be the same any more is in the way, or told of. */
static void test_rollback_held(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f"), digest, before;
	uint64_t directory = fixture_mkdir(store, KVFS_ROOT_INO, "d");
	struct heard heard = {0};
	struct kvfs_rollback_watch watch = {
		.arg = &heard, .busy = hear_busy, .changed = hear_changed};

	fixture_write(store, file, "large", 100000);
	digest = tree_digest(store->fs);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	kvfs_hold(store->fs, file, 1);
	fixture_write(store, file, "L", 100000);
	before = tree_digest(store->fs);
	assert_int_equal(kvfs_rollback_check(store->fs, "s", &watch), -EBUSY);
	assert_int_equal(heard.busy, file);
	assert_int_equal(kvfs_rollback_held(store->fs, "s", "keep", &watch), -EBUSY);
	assert_false(watch.begun);
	assert_true(tree_digest(store->fs) == before);
	assert_int_equal(fixture_snapshots(store), 1);
	kvfs_release(store->fs, file, 1);
	assert_false(kvfs_is_held(store->fs, file));
	/*
	 * Names in what is held, and in the root; what has come in what is not held needs no
	 * telling.
	 */
	fixture_mkfile(store, directory, "new");
	heard = (struct heard){0};
	assert_int_equal(kvfs_rollback_held(store->fs, "s", NULL, &watch), 0);
	assert_true(watch.begun);
	assert_int_equal(heard.changes, 0);
	assert_true(tree_digest(store->fs) == digest);
	kvfs_hold(store->fs, directory, 1);
	fixture_mkfile(store, directory, "new");
	assert_int_equal(kvfs_rollback_held(store->fs, "s", NULL, &watch), 0);
	assert_int_equal(heard.changes, 2);
	assert_int_equal(heard.inode, directory);
	assert_int_equal(heard.directory, directory);
	assert_string_equal(heard.name, "new");
	kvfs_release(store->fs, directory, 1);
	fixture_assert_clean(store);
	assert_true(tree_digest(store->fs) == digest);
}

/*
 * Who holds a file whose attributes alone change, or one that had no name at the snapshot either,
 * keeps it.
 */
static void test_rollback_kept_by_holders(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f"), unnamed;
	struct kvfs_attr attr = {.mode = 0600};
	struct heard heard = {0};
	struct kvfs_rollback_watch watch = {
		.arg = &heard, .busy = hear_busy, .changed = hear_changed};
	char text[8];

	unnamed = fixture_mkfile(store, KVFS_ROOT_INO, "g");
	fixture_write(store, unnamed, "text", 0);
	kvfs_hold(store->fs, unnamed, 1);
	kvfs_hold(store->fs, file, 1);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "g"), 0);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	assert_int_equal(kvfs_setattr(store->fs, file, &attr, KVFS_SET_MODE, &attr), 0);
	assert_int_equal(kvfs_rollback_held(store->fs, "s", NULL, &watch), 0);
	assert_int_equal(heard.inode, file);
	assert_int_not_equal(fixture_attr(store, file).mode & 07777, 0600);
	assert_int_equal(kvfs_read(store->fs, unnamed, text, sizeof(text), 0), 4);
	kvfs_release(store->fs, file, 1);
	kvfs_release(store->fs, unnamed, 1);
	assert_int_equal(kvfs_getattr(store->fs, unnamed, &attr), -ENOENT);
	fixture_assert_clean(store);
}

/*
 * What is kept in memory for its holders, as it has no name, comes back with its name; or is in the
 * way.
 */
static void test_rollback_of_kept(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	uint64_t directory = fixture_mkdir(store, KVFS_ROOT_INO, "d"), digest;
	struct heard heard = {0};
	struct kvfs_rollback_watch watch = {
		.arg = &heard, .busy = hear_busy, .changed = hear_changed};
	struct kvfs_attr attr;
	char text[8];

	fixture_write(store, file, "text", 0);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	digest = tree_digest(store->fs);
	kvfs_hold(store->fs, file, 1);
	kvfs_hold(store->fs, directory, 1);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	assert_int_equal(kvfs_rmdir(store->fs, KVFS_ROOT_INO, "d"), 0);
	assert_int_equal(kvfs_rollback_held(store->fs, "s", NULL, &watch), 0);
	assert_int_equal(kvfs_getattr(store->fs, file, &attr), 0);
	assert_int_equal(attr.nlink, 1);
	assert_true(tree_digest(store->fs) == digest);
	fixture_write(store, file, "more", 4);
	assert_int_equal(kvfs_read(store->fs, file, text, sizeof(text), 0), 8);
	assert_memory_equal(text, "textmore", 8);
	fixture_mkfile(store, directory, "new");
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	/* It has been written to since. */
	assert_int_equal(kvfs_rollback_held(store->fs, "s", NULL, &watch), -EBUSY);
	assert_int_equal(heard.busy, file);
	assert_int_equal(kvfs_read(store->fs, file, text, sizeof(text), 0), 8);
	kvfs_release(store->fs, file, 1);
	assert_int_equal(kvfs_rollback_held(store->fs, "s", NULL, &watch), 0);
	assert_true(tree_digest(store->fs) == digest);
	kvfs_release(store->fs, directory, 1);
	assert_true(fixture_lookup(store, KVFS_ROOT_INO, "d") == (int64_t)directory);
	fixture_assert_clean(store);
}

/* What a going back that is interrupted has left. */
static void begin_rollback(struct fixture *store, const char *name)
{
	struct kv_batch *batch;

	assert_int_equal(kv_batch_new(kvfs_kv(store->fs), &batch), 0);
	assert_int_equal(kv_batch_put(batch, 0, "rollback", 8, name, strlen(name)), 0);
	assert_int_equal(kv_batch_delete(batch, 0, "rolled_back", 11), 0);
	assert_int_equal(kv_commit(kvfs_kv(store->fs), batch, NULL), 0);
	kv_batch_free(batch);
}

/* The record alone decides: what the tree is to be, and what those see who only read. */
static void test_interrupted_rollback(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f"), digest;

	fixture_write(store, ino, "before", 100000);
	digest = tree_digest(store->fs);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	fixture_write(store, ino, "behind", 100000);
	fixture_mkdir(store, KVFS_ROOT_INO, "d");
	begin_rollback(store, "s");
	fixture_close(store);
	store->open.kv.flags = KV_OPEN_READ_ONLY;
	store->open.kv.report = NULL;
	fixture_open(store);
	assert_true(tree_digest(store->fs) == digest);
	fixture_assert_clean(store);
	fixture_close(store);
	store->open.kv.flags = 0;
	fixture_open(store);
	assert_true(tree_digest(store->fs) == digest);
	fixture_reopen(store);
	assert_true(tree_digest(store->fs) == digest);
	/* To a snapshot that is not there: nothing is guessed. */
	begin_rollback(store, "t");
	fixture_close(store);
	assert_int_equal(kvfs_open(store->env, store->path, &store->open, &store->fs), -EUCLEAN);
	store->open.kv.flags = KV_OPEN_READ_ONLY;
	assert_int_equal(kvfs_open(store->env, store->path, &store->open, &store->fs), -EUCLEAN);
	fixture_forget(state);
	*state = NULL;
}

/*
 * It was done, and then its record is back, of which what deleted it was damaged: nothing that came
 * behind it is touched.
 */
static void test_record_is_back(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f"), digest;

	fixture_write(store, ino, "before", 100000);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	fixture_write(store, ino, "behind", 100000);
	assert_int_equal(kvfs_rollback(store->fs, "s", NULL), 0);
	fixture_write(store, ino, "later", 200000);
	fixture_mkdir(store, KVFS_ROOT_INO, "d");
	digest = tree_digest(store->fs);
	assert_int_equal(kv_put(kvfs_kv(store->fs), 0, "rollback", 8, "s", 1, NULL), 0);
	assert_int_equal(kv_put(kvfs_kv(store->fs), 0, "rolled_back", 11, "s", 1, NULL), 0);
	fixture_close(store);
	store->open.kv.flags = KV_OPEN_READ_ONLY;
	fixture_open(store);
	assert_true(tree_digest(store->fs) == digest);
	fixture_close(store);
	store->open.kv.flags = 0;
	for (unsigned round = 0; round < 2; round++) {
		fixture_open(store);
		assert_true(tree_digest(store->fs) == digest);
		assert_int_equal(kv_contains(kvfs_kv(store->fs), 0, "rollback", 8), -ENOENT);
		fixture_close(store);
	}
	fixture_open(store);
}

/* It was interrupted, and the record of the one before is back, which was done. */
static void test_older_is_back(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f"), digest;

	fixture_write(store, ino, "before", 100000);
	digest = tree_digest(store->fs);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	fixture_write(store, ino, "behind", 100000);
	assert_int_equal(kvfs_rollback(store->fs, "s", NULL), 0);
	fixture_write(store, ino, "later", 200000);
	assert_int_equal(kv_put(kvfs_kv(store->fs), 0, "rollback", 8, "s", 1, NULL), 0);
	assert_int_equal(kv_contains(kvfs_kv(store->fs), 0, "rolled_back", 11), 0);
	fixture_close(store);
	store->open.kv.flags = KV_OPEN_READ_ONLY;
	fixture_open(store);
	assert_true(tree_digest(store->fs) == digest);
	fixture_close(store);
	store->open.kv.flags = 0;
	fixture_open(store);
	assert_true(tree_digest(store->fs) == digest);
	assert_int_equal(kv_contains(kvfs_kv(store->fs), 0, "rollback", 8), -ENOENT);
}

static int count_snapshot(void *arg, const struct kvfs_snapshot *snapshot)
{
	++*(unsigned *)arg;
	return 0;
}

static unsigned count_snapshots(struct fixture *store)
{
	unsigned count = 0;

	assert_int_equal(kvfs_snapshot_list(store->fs, count_snapshot, &count), 0);
	return count;
}

/*
 * Where damage has taken records nobody knows whether it was: it is finished, and what there was is
 * a snapshot.
 */
static void test_kept_in_doubt(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f"), old, digest;
	struct kvfs *before;

	fixture_write(store, ino, "before", 100000);
	old = tree_digest(store->fs);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	assert_int_equal(kvfs_snapshot_create(store->fs, "before-rollback-1"), 0);
	fixture_write(store, ino, "behind", 100000);
	digest = tree_digest(store->fs);
	begin_rollback(store, "s");
	assert_int_equal(kvfs_snapshot_create(store->fs, "before-rollback-2"), 0);
	assert_int_equal(kvfs_snapshot_delete(store->fs, "before-rollback-2"), 0);
	assert_int_equal(kv_note_loss(kvfs_kv(store->fs)), 0);
	store->open.repairs = true;
	fixture_reopen(store);
	assert_true(tree_digest(store->fs) == old);
	assert_int_equal(count_snapshots(store), 3);
	assert_int_equal(kvfs_snapshot_open(store->fs, "before-rollback-2", &before), 0);
	assert_true(tree_digest(before) == digest);
	kvfs_close(before);
	/* To what is not there: nothing is kept. */
	begin_rollback(store, "t");
	fixture_close(store);
	store->open.repairs = false;
	assert_int_equal(kvfs_open(store->env, store->path, &store->open, &store->fs), -EUCLEAN);
	store->open.repairs = true;
	fixture_open(store);
	assert_int_equal(count_snapshots(store), 3);
	/* One of the user's own, since, is none of what there was. */
	begin_rollback(store, "s");
	assert_int_equal(kvfs_snapshot_create(store->fs, "before-rollback-mine"), 0);
	fixture_write(store, ino, "newer", 100000);
	digest = tree_digest(store->fs);
	fixture_reopen(store);
	assert_int_equal(count_snapshots(store), 5);
	assert_int_equal(kvfs_snapshot_open(store->fs, "before-rollback-3", &before), 0);
	assert_true(tree_digest(before) == digest);
	kvfs_close(before);
	assert_int_equal(kv_forget_loss(kvfs_kv(store->fs)), 0);
	store->open.repairs = false;
	fixture_reopen(store);
}

/* A repair of a store that is whole finishes what was interrupted, and keeps nothing. */
static void test_not_kept(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f"), old;

	fixture_write(store, ino, "before", 100000);
	old = tree_digest(store->fs);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	fixture_write(store, ino, "behind", 100000);
	begin_rollback(store, "s");
	store->open.repairs = true;
	fixture_reopen(store);
	assert_true(tree_digest(store->fs) == old);
	assert_int_equal(count_snapshots(store), 1);
	fixture_assert_clean(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_record_is_back, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_kept_in_doubt, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_not_kept, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_older_is_back, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_rollback, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_rollback_over_orphan, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_rollback_over_sharing, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_rollback_held, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_rollback_kept_by_holders, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_rollback_of_kept, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup(test_interrupted_rollback, fixture_setup),
	};

	return cmocka_run_group_tests_name("snapshot_rollback", tests, NULL, NULL);
}
