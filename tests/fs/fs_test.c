/* SPDX-License-Identifier: MIT */
/*
 * fs_test.c - opening and closing: what is not a file system, read-only stores, durability.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <string.h>

#include "inode_record.h"
#include "keyspaces.h"
#include "meta_record.h"

static void test_root(void **state)
{
	struct kvfs_create_options create = {.root_mode = 0700, .root_uid = 5, .root_gid = 6};
	struct kvfs_attr root;

	assert_int_equal(fixture_setup_with(state, &create), 0);
	root = fixture_attr(*state, KVFS_ROOT_INO);
	assert_int_equal(root.mode, S_IFDIR | 0700);
	assert_int_equal(root.uid, 5);
	assert_int_equal(root.gid, 6);
	assert_int_equal(root.nlink, 2);
	fixture_teardown(state);
}

static void test_refused(void **state)
{
	struct kvfs_create_options create = {.segment_size = 1 << 20};
	struct fixture *store = *state;
	struct kvfs_open_options open = {.kv = {.report = NULL}};
	struct kvfs *fs;

	assert_int_equal(kvfs_open(NULL, "/nonexistent/store", &open, &fs), -ENOENT);
	assert_int_equal(kvfs_open(NULL, store->path, &open, &fs), -EBUSY);
	assert_int_equal(kvfs_create(NULL, store->path, &create, NULL, NULL), -EINVAL);
	create.segment_size = 0;
	assert_int_equal(kvfs_create(NULL, store->path, &create, NULL, NULL), -EEXIST);
}

/* Changes one record behind the file system's back, and opens. */
static int open_with(struct fixture *store, enum keyspace keyspace, const void *key,
	size_t key_size, const void *value, size_t size)
{
	struct kvfs_open_options open = {.kv = {.report = NULL}};
	struct kv *kv;
	struct kvfs *fs;
	int err;

	assert_int_equal(kv_open(NULL, store->path, &open.kv, &kv), 0);
	if (value)
		assert_int_equal(kv_put(kv, keyspace, key, key_size, value, size, NULL), 0);
	else
		assert_int_equal(kv_delete(kv, keyspace, key, key_size, NULL), 0);
	assert_int_equal(kv_close(kv), 0);
	err = kvfs_open(NULL, store->path, &open, &fs);
	if (!err)
		kvfs_close(fs);
	return err;
}

static void test_not_a_file_system(void **state)
{
	uint8_t format[META_FORMAT_SIZE], next[META_NEXT_INO_SIZE], root[INODE_KEY_SIZE];
	struct fixture *store = *state;

	fixture_close(store);
	meta_format_encode(7, format);
	format[0] = 9;
	assert_int_equal(
		open_with(store, KEYSPACE_META, META_FORMAT_KEY, 6, format, sizeof(format)),
		-EPROTONOSUPPORT);
	/* With a root and without. */
	assert_int_equal(open_with(store, KEYSPACE_META, META_FORMAT_KEY, 6, NULL, 0), -EUCLEAN);
	format[0] = META_VERSION;
	assert_int_equal(
		open_with(store, KEYSPACE_META, META_FORMAT_KEY, 6, format, sizeof(format)), 0);
	assert_int_equal(open_with(store, KEYSPACE_META, META_NEXT_INO_KEY, 8, "x", 1), -EUCLEAN);
	meta_next_ino_encode(100, next);
	assert_int_equal(
		open_with(store, KEYSPACE_META, META_NEXT_INO_KEY, 8, next, sizeof(next)), 0);
	inode_key_encode(KVFS_ROOT_INO, root);
	assert_int_equal(
		open_with(store, KEYSPACE_INODE, root, sizeof(root), "rubbish", 7), -EUCLEAN);
	assert_int_equal(open_with(store, KEYSPACE_INODE, root, sizeof(root), NULL, 0), -EUCLEAN);
	assert_int_equal(open_with(store, KEYSPACE_META, META_FORMAT_KEY, 6, NULL, 0), -EUCLEAN);
	fixture_forget(state);
}

static void test_foreign_store(void **state)
{
	struct kv_keyspace_spec spec = {"other", false};
	struct kv_create_options create = {.keyspaces = &spec, .keyspace_count = 1};
	struct kvfs_open_options open = {.kv = {.report = NULL}};
	struct fixture *store = *state;
	struct kvfs *fs;

	fixture_close(store);
	fixture_empty(store);
	assert_int_equal(kv_create(NULL, store->path, &create, NULL, NULL), 0);
	assert_int_equal(kvfs_open(NULL, store->path, &open, &fs), -EMEDIUMTYPE);
	fixture_forget(state);
}

static void test_read_only(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f");
	struct kvfs_attr before, attr = {0};
	struct kvfs *fs;
	char byte;

	assert_int_equal(kvfs_write(store->fs, file, "x", 1, 0, 0), 1);
	before = fixture_attr(store, file);
	store->open.kv.flags = KV_OPEN_READ_ONLY;
	store->open.atime = KVFS_STRICTATIME;
	fixture_reopen(store);
	fs = store->fs;
	assert_int_equal(kvfs_read(fs, file, &byte, 1, 0), 1);
	attr = fixture_attr(store, file);
	assert_memory_equal(&attr, &before, sizeof(attr));
	assert_int_equal(kvfs_write(fs, file, "x", 1, 0, 0), -EROFS);
	assert_int_equal(kvfs_mkdir(fs, &fixture_root, KVFS_ROOT_INO, "d", 0755, &attr), -EROFS);
	assert_int_equal(kvfs_unlink(fs, KVFS_ROOT_INO, "f"), -EROFS);
	assert_int_equal(kvfs_rename(fs, NULL, KVFS_ROOT_INO, "f", KVFS_ROOT_INO, "g", 0), -EROFS);
	assert_int_equal(kvfs_setattr(fs, file, &attr, KVFS_SET_MODE, &attr), -EROFS);
	assert_int_equal(kvfs_setxattr(fs, file, "user.a", "v", 1, 0), -EROFS);
	assert_int_equal(kvfs_fallocate(fs, file, FALLOC_FL_KEEP_SIZE, 0, 10), -EROFS);
	assert_int_equal(kvfs_link(fs, file, KVFS_ROOT_INO, "g", &attr), -EROFS);
	assert_int_equal(kvfs_tmpfile(fs, &fixture_root, KVFS_ROOT_INO, 0600, &attr), -EROFS);
	kvfs_hold(fs, file, 1);
	kvfs_release(fs, file, 1);
	assert_int_equal(kvfs_sync(fs), 0);
}

struct notice {
	struct kv_waiter waiter;
	pthread_mutex_t lock;
	pthread_cond_t done;
	int status;
};

static void notified(struct kv_waiter *waiter, int status)
{
	struct notice *notice = (struct notice *)waiter;

	pthread_mutex_lock(&notice->lock);
	notice->status = status;
	pthread_cond_signal(&notice->done);
	pthread_mutex_unlock(&notice->lock);
}

static void test_sync(void **state)
{
	struct notice notice = {.waiter.done = notified, .status = 1};
	struct fixture *store = *state;

	pthread_mutex_init(&notice.lock, NULL);
	pthread_cond_init(&notice.done, NULL);
	fixture_mkfile(store, KVFS_ROOT_INO, "f");
	kvfs_sync_notify(store->fs, &notice.waiter);
	pthread_mutex_lock(&notice.lock);
	while (notice.status == 1)
		pthread_cond_wait(&notice.done, &notice.lock);
	pthread_mutex_unlock(&notice.lock);
	assert_int_equal(notice.status, 0);
	assert_true(kv_durable_seq(kvfs_kv(store->fs)) >= notice.waiter.seq);
	fixture_mkfile(store, KVFS_ROOT_INO, "g");
	assert_int_equal(kvfs_sync(store->fs), 0);
	assert_int_equal(kv_durable_seq(kvfs_kv(store->fs)), kv_last_seq(kvfs_kv(store->fs)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root),
		cmocka_unit_test_setup_teardown(test_refused, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_not_a_file_system, fixture_setup, NULL),
		cmocka_unit_test_setup_teardown(test_foreign_store, fixture_setup, NULL),
		cmocka_unit_test_setup_teardown(test_read_only, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_sync, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
