/* SPDX-License-Identifier: MIT */
/*
 * snapshot_test.c - a snapshot shows the whole tree as it was, however the head goes on, also after
 * opening again; what is taken while others write is a moment between two operations.
 */
#include "tree_digest.h"
#include "tree_model.h"

#include <errno.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct kvfs *open_snapshot(struct fixture *store, const char *name)
{
	struct kvfs *fs;

	assert_int_equal(kvfs_snapshot_open(store->fs, name, &fs), 0);
	return fs;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void test_names(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/"};
	struct fixture *store = *state;
	struct kvfs_snapshot snapshot;
	char name[300];
	struct kvfs *fs;

	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(kvfs_snapshot_create(store->fs, name), -ENAMETOOLONG);
	assert_int_equal(kvfs_snapshot_open(store->fs, name, &fs), -ENAMETOOLONG);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(kvfs_snapshot_create(store->fs, bad[i]), -EINVAL);
		assert_int_equal(kvfs_snapshot_delete(store->fs, bad[i]), -EINVAL);
		assert_int_equal(kvfs_snapshot_open(store->fs, bad[i], &fs), -ENOENT);
	}
	name[255] = '\0';
	assert_int_equal(kvfs_snapshot_create(store->fs, name), 0);
	assert_int_equal(kvfs_snapshot_create(store->fs, name), -EEXIST);
	assert_int_equal(kvfs_snapshot_stat(store->fs, name, &snapshot), 0);
	assert_true(snapshot.time.tv_sec > 1500000000);
	assert_int_equal(kvfs_snapshot_stat(store->fs, "none", &snapshot), -ENOENT);
	assert_int_equal(kvfs_snapshot_create(store->fs, " \n\xff\\.."), 0);
	/* One of a program that uses the engine alone: no name for a file. */
	assert_int_equal(kv_snapshot_create(kvfs_kv(store->fs), "a/b", NULL), 0);
	assert_int_equal(fixture_snapshots(store), 2);
	fixture_reopen(store);
	assert_int_equal(fixture_snapshots(store), 2);
	assert_int_equal(kvfs_snapshot_delete(store->fs, name), 0);
	assert_int_equal(kvfs_snapshot_delete(store->fs, name), -ENOENT);
	assert_int_equal(kvfs_snapshot_open(store->fs, name, &fs), -ENOENT);
	assert_int_equal(fixture_snapshots(store), 1);
}

/* ---- what is in it --------------------------------------------------------------------------- */

/* The only attribute is gone from the head. */
static void test_last_attribute(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct kvfs *fs;
	char value;

	assert_int_equal(kvfs_getxattr(store->fs, ino, "user.x", &value, 1), -ENODATA);
	assert_int_equal(kvfs_setxattr(store->fs, ino, "user.x", "1", 1, 0), 0);
	assert_int_equal(kvfs_getxattr(store->fs, ino, "user.x", &value, 1), 1);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	assert_int_equal(kvfs_removexattr(store->fs, ino, "user.x"), 0);
	assert_int_equal(kvfs_getxattr(store->fs, ino, "user.x", &value, 1), -ENODATA);
	fs = open_snapshot(store, "s");
	assert_int_equal(kvfs_getxattr(fs, ino, "user.x", &value, 1), 1);
	assert_int_equal(value, '1');
	assert_int_equal(kvfs_close(fs), 0);
}

static void test_as_it_was(void **state)
{
	struct fixture *store = *state;
	uint64_t directory = fixture_mkdir(store, KVFS_ROOT_INO, "d"), ino;
	struct kvfs_attr attr;
	struct kvfs *fs;
	char buffer[16];

	ino = fixture_mkfile(store, directory, "small");
	fixture_write(store, ino, "before", 0);
	assert_int_equal(kvfs_setxattr(store->fs, ino, "user.x", "1", 1, 0), 0);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	fixture_write(store, ino, "behind", 0);
	assert_int_equal(kvfs_setxattr(store->fs, ino, "user.x", "22", 2, 0), 0);
	assert_int_equal(kvfs_setxattr(store->fs, ino, "user.y", "3", 1, 0), 0);
	fixture_mkfile(store, directory, "new");

	fs = open_snapshot(store, "s");
	assert_true(kvfs_is_snapshot(fs));
	assert_false(kvfs_is_snapshot(store->fs));
	assert_int_equal(kvfs_read(fs, ino, buffer, sizeof(buffer), 0), 6);
	assert_memory_equal(buffer, "before", 6);
	assert_int_equal(kvfs_getxattr(fs, ino, "user.x", buffer, sizeof(buffer)), 1);
	assert_int_equal(kvfs_getxattr(fs, ino, "user.y", buffer, sizeof(buffer)), -ENODATA);
	assert_int_equal(kvfs_lookup(fs, directory, "new", &attr), -ENOENT);
	assert_int_equal(kvfs_resolve(fs, "d/small", false, &attr), 0);
	assert_int_equal(attr.ino, ino);
	/* Gone from the head, there in the snapshot, which may even be deleted meanwhile. */
	assert_int_equal(kvfs_unlink(store->fs, directory, "small"), 0);
	assert_int_equal(kvfs_snapshot_delete(store->fs, "s"), 0);
	assert_int_equal(kvfs_read(fs, ino, buffer, sizeof(buffer), 0), 6);
	assert_memory_equal(buffer, "before", 6);
	assert_int_equal(kvfs_close(fs), 0);
}

static void test_changes_nothing(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f"), findings;
	struct kvfs_attr attr = {.mode = 0600};
	struct kvfs *fs;

	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	fs = open_snapshot(store, "s");
	assert_int_equal(kvfs_write(fs, ino, "x", 1, 0, 0), -EROFS);
	assert_int_equal(kvfs_setattr(fs, ino, &attr, KVFS_SET_MODE, &attr), -EROFS);
	assert_int_equal(kvfs_unlink(fs, KVFS_ROOT_INO, "f"), -EROFS);
	assert_int_equal(kvfs_rename(fs, NULL, KVFS_ROOT_INO, "f", KVFS_ROOT_INO, "g", 0), -EROFS);
	assert_int_equal(kvfs_mkdir(fs, &fixture_root, KVFS_ROOT_INO, "d", 0755, &attr), -EROFS);
	assert_int_equal(kvfs_mknod(fs, &fixture_root, KVFS_ROOT_INO, "n", S_IFREG, 0, &attr),
		-EROFS);
	assert_int_equal(kvfs_tmpfile(fs, &fixture_root, KVFS_ROOT_INO, 0600, &attr), -EROFS);
	assert_int_equal(kvfs_setxattr(fs, ino, "user.x", "1", 1, 0), -EROFS);
	assert_int_equal(kvfs_fallocate(fs, ino, 0, 0, 10), -EROFS);
	assert_int_equal(kvfs_set_size_limit(fs, 1 << 20), -EROFS);
	assert_int_equal(kvfs_snapshot_create(fs, "t"), -EROFS);
	assert_int_equal(kvfs_snapshot_delete(fs, "s"), -EROFS);
	assert_int_equal(kvfs_rollback(fs, "s", NULL), -EROFS);
	assert_int_equal(kvfs_check(fs, fixture_report, NULL, NULL, NULL, &findings), 0);
	assert_int_equal(findings, 0);
	assert_int_equal(kvfs_close(fs), 0);
	assert_int_equal(fixture_snapshots(store), 1);
}

/* ---- against the model ----------------------------------------------------------------------- */

#define ROUNDS 12u
#define STEPS 150u

static void test_model(void **state)
{
	struct fixture *store = *state;
	struct model *model = model_new(store, 77);
	uint64_t digests[ROUNDS];
	char name[16];

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned step = 0; step < STEPS; step++)
			model_step(model);
		snprintf(name, sizeof(name), "%u", round);
		digests[round] = tree_digest(store->fs);
		assert_int_equal(kvfs_snapshot_create(store->fs, name), 0);
		if (round % 4 == 3) {
			fixture_reopen(store);
			model_reopened(model);
		}
		for (unsigned old = 0; old <= round; old++) {
			snprintf(name, sizeof(name), "%u", old);
			assert_true(tree_digest_of_snapshot(store, name) == digests[old]);
		}
	}
	/* Every other one goes, and their space with it. */
	for (unsigned round = 0; round < ROUNDS; round += 2) {
		snprintf(name, sizeof(name), "%u", round);
		assert_int_equal(kvfs_snapshot_delete(store->fs, name), 0);
	}
	assert_int_equal(kv_prune(kvfs_kv(store->fs), NULL, NULL, NULL, NULL), 0);
	for (unsigned round = 1; round < ROUNDS; round += 2) {
		snprintf(name, sizeof(name), "%u", round);
		assert_true(tree_digest_of_snapshot(store, name) == digests[round]);
	}
	model_compare(model);
	model_free(model);
}

static void test_read_only_store(void **state)
{
	struct fixture *store = *state;
	uint64_t digest;

	fixture_write(store, fixture_mkfile(store, KVFS_ROOT_INO, "f"), "text", 100000);
	digest = tree_digest(store->fs);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "f"), 0);
	fixture_close(store);
	store->open.kv.flags = KV_OPEN_READ_ONLY;
	fixture_open(store);
	assert_true(tree_digest_of_snapshot(store, "s") == digest);
	assert_int_equal(kvfs_snapshot_create(store->fs, "t"), -EROFS);
	fixture_close(store);
	store->open.kv.flags = 0;
	fixture_open(store);
}

/* ---- differences and clones ------------------------------------------------------------------ */

struct differences {
	char text[1024];
	size_t size;
};

static int note_difference(void *arg, enum kvfs_difference what, const char *path, bool is_directory)
{
	struct differences *differences = arg;

	differences->size += (size_t)snprintf(differences->text + differences->size,
		sizeof(differences->text) - differences->size, "%c%s%s ", "+-M"[what], path,
		is_directory ? "/" : "");
	return 0;
}

/* Each of these, and nothing else, in any order. */
static void assert_differences(struct kvfs *from, struct kvfs *to, const char *const *expected)
{
	struct differences found = {.size = 0};
	size_t size = 0;

	assert_int_equal(kvfs_diff(from, to, note_difference, NULL, &found), 0);
	for (; *expected; expected++) {
		if (!strstr(found.text, *expected))
			fail_msg("no \"%s\" in \"%s\"", *expected, found.text);
		size += strlen(*expected);
	}
	assert_int_equal(size, found.size);
}

static void test_diff(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a"), b = fixture_mkdir(store, a, "b"), c;
	uint64_t file = fixture_mkfile(store, b, "file");
	struct kvfs_attr attr;
	struct kvfs *fs;

	fixture_mkfile(store, b, "same");
	c = fixture_mkdir(store, b, "c");
	fixture_mkfile(store, c, "inside");
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	fs = open_snapshot(store, "s");
	assert_differences(fs, store->fs, (const char *[]){NULL});
	/* Reading is no difference. */
	store->open.atime = KVFS_STRICTATIME;
	assert_int_equal(kvfs_close(fs), 0);
	fixture_reopen(store);
	fs = open_snapshot(store, "s");
	assert_int_equal(kvfs_read(store->fs, file, &attr, 1, 0), 0);
	fixture_write(store, file, "x", 0);
	assert_differences(fs, store->fs, (const char *[]){"Ma/b/file ", NULL});
	fixture_mkfile(store, c, "more");
	assert_int_equal(kvfs_rename(store->fs, NULL, b, "c", a, "d", 0), 0);
	assert_differences(fs, store->fs,
		(const char *[]){"Ma/ ", "Ma/b/ ", "Ma/b/file ", "-a/b/c/ ", "+a/d/ ", NULL});
	assert_differences(store->fs, fs,
		(const char *[]){"Ma/ ", "Ma/b/ ", "Ma/b/file ", "+a/b/c/ ", "-a/d/ ", NULL});
	assert_int_equal(kvfs_unlink(store->fs, b, "file"), 0);
	fixture_mkdir(store, b, "file");
	assert_differences(fs, store->fs,
		(const char *[]){"Ma/ ", "Ma/b/ ", "-a/b/file ", "+a/b/file/ ", "-a/b/c/ ", "+a/d/ ",
			NULL});
	assert_int_equal(kvfs_close(fs), 0);
}

static void test_clone(void **state)
{
	struct fixture *store = *state, clone = {.open = store->open};
	struct model *model = model_new(store, 815);
	struct kvfs *fs;
	uint64_t digest, newest;

	for (unsigned step = 0; step < 1500; step++)
		model_step(model);
	model_free(model);
	digest = tree_digest(store->fs);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	newest = fixture_mkfile(store, KVFS_ROOT_INO, "later");
	fs = open_snapshot(store, "s");
	snprintf(clone.path, sizeof(clone.path), "%.50s-clone", store->path);
	assert_int_equal(kvfs_clone(fs, NULL, clone.path, NULL, NULL), 0);
	assert_int_equal(kvfs_clone(fs, NULL, clone.path, NULL, NULL), -EEXIST);
	assert_int_equal(kvfs_close(fs), 0);
	fixture_open(&clone);
	assert_true(tree_digest(clone.fs) == digest);
	fixture_assert_clean(&clone);
	assert_true(fixture_mkfile(&clone, KVFS_ROOT_INO, "new") > newest);
	fixture_close(&clone);
	fixture_empty(&clone);
	assert_int_equal(rmdir(clone.path), 0);
}

/* ---- while others write ---------------------------------------------------------------------- */

#define WRITERS 3u
#define MOMENTS 60u

struct writer {
	struct fixture *store;
	uint64_t here, there; /* directories */
	uint64_t first, second; /* files */
	_Atomic bool *stop;
	pthread_t thread;
};

/*
 * One file is always in exactly one of two directories; the second number follows the first, both
 * are larger than a record.
 */
static void *write_on(void *arg)
{
	struct writer *writer = arg;
	struct kvfs *fs = writer->store->fs;
	uint64_t block[1024];

	for (uint64_t i = 1; !atomic_load(writer->stop); i++) {
		for (size_t k = 0; k < 1024; k++)
			block[k] = i;
		assert_int_equal(kvfs_write(fs, writer->first, block, sizeof(block), 0, 0),
			sizeof(block));
		assert_int_equal(kvfs_write(fs, writer->second, block, sizeof(block), 0, 0),
			sizeof(block));
		assert_int_equal(kvfs_rename(fs, NULL,
					 i % 2 ? writer->here : writer->there, "moving",
					 i % 2 ? writer->there : writer->here, "moving", 0),
			0);
	}
	return NULL;
}

/* Its number; untorn. */
static uint64_t number_of(struct kvfs *fs, uint64_t ino)
{
	uint64_t block[1024];

	assert_int_equal(kvfs_read(fs, ino, block, sizeof(block), 0), sizeof(block));
	for (size_t k = 1; k < 1024; k++)
		assert_int_equal(block[k], block[0]);
	return block[0];
}

static void check_moment(struct kvfs *fs, const struct writer *writer)
{
	uint64_t first = number_of(fs, writer->first), second = number_of(fs, writer->second);
	struct kvfs_attr attr;
	int here = kvfs_lookup(fs, writer->here, "moving", &attr);
	int there = kvfs_lookup(fs, writer->there, "moving", &attr);

	assert_true(first == second || first == second + 1);
	assert_true((here == 0 && there == -ENOENT) || (here == -ENOENT && there == 0));
	/* The number says where it is, unless the writer was between its operations. */
	if (first != second)
		assert_int_equal(here == 0, first % 2 == 1);
}

static void start_writer(struct fixture *store, unsigned number, _Atomic bool *stop,
	struct writer *writer)
{
	uint64_t block[1024] = {0};
	char name[16];

	snprintf(name, sizeof(name), "here%u", number);
	writer->here = fixture_mkdir(store, KVFS_ROOT_INO, name);
	snprintf(name, sizeof(name), "there%u", number);
	writer->there = fixture_mkdir(store, KVFS_ROOT_INO, name);
	fixture_mkfile(store, writer->here, "moving");
	writer->first = fixture_mkfile(store, writer->here, "first");
	writer->second = fixture_mkfile(store, writer->there, "second");
	assert_int_equal(kvfs_write(store->fs, writer->first, block, sizeof(block), 0, 0),
		sizeof(block));
	assert_int_equal(kvfs_write(store->fs, writer->second, block, sizeof(block), 0, 0),
		sizeof(block));
	writer->store = store;
	writer->stop = stop;
}

static void test_while_writing(void **state)
{
	struct fixture *store = *state;
	struct writer writers[WRITERS];
	_Atomic bool stop = false;
	uint64_t digests[MOMENTS];
	char name[16];

	for (unsigned i = 0; i < WRITERS; i++)
		start_writer(store, i, &stop, &writers[i]);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(
			pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
	for (unsigned moment = 0; moment < MOMENTS; moment++) {
		struct kvfs *fs;

		snprintf(name, sizeof(name), "%u", moment);
		usleep(1000);
		assert_int_equal(kvfs_snapshot_create(store->fs, name), 0);
		fs = open_snapshot(store, name);
		for (unsigned i = 0; i < WRITERS; i++)
			check_moment(fs, &writers[i]);
		digests[moment] = tree_digest(fs);
		assert_int_equal(kvfs_close(fs), 0);
		if (moment >= 20) {
			snprintf(name, sizeof(name), "%u", moment - 20);
			assert_true(tree_digest_of_snapshot(store, name) == digests[moment - 20]);
			assert_int_equal(kvfs_snapshot_delete(store->fs, name), 0);
		}
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	fixture_reopen(store);
	for (unsigned moment = MOMENTS - 20; moment < MOMENTS; moment++) {
		snprintf(name, sizeof(name), "%u", moment);
		assert_true(tree_digest_of_snapshot(store, name) == digests[moment]);
	}
}

/* ---- many ------------------------------------------------------------------------------------ */

#define MANY 1000u

static void test_many(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	char name[16], text[16];

	for (unsigned i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "%06u", i);
		fixture_write(store, ino, text, 0);
		snprintf(name, sizeof(name), "s%u", i);
		assert_int_equal(kvfs_snapshot_create(store->fs, name), 0);
	}
	fixture_reopen(store);
	assert_int_equal(fixture_snapshots(store), MANY);
	for (unsigned i = 0; i < MANY; i++) {
		struct kvfs *fs;
		char found[7] = "";

		snprintf(text, sizeof(text), "%06u", i);
		snprintf(name, sizeof(name), "s%u", i);
		fs = open_snapshot(store, name);
		assert_int_equal(kvfs_read(fs, ino, found, 6, 0), 6);
		assert_string_equal(found, text);
		assert_int_equal(kvfs_close(fs), 0);
		assert_int_equal(kvfs_snapshot_delete(store->fs, name), 0);
	}
	assert_int_equal(fixture_snapshots(store), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_as_it_was, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_last_attribute, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_changes_nothing, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_model, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_read_only_store, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_diff, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_clone, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_while_writing, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_many, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
