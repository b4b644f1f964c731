/* SPDX-License-Identifier: MIT */
/*
 * store.c - a file system in a fresh directory, for tests.
 */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct kvfs_caller store_root = {.privileged = true};

static void remove_store(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
	closedir(dir);
	assert_int_equal(rmdir(path), 0);
}

static void print_report(void *arg, enum kv_severity severity, const char *message)
{
	if (severity <= KV_WARNING)
		fprintf(stderr, "%s\n", message);
}

int store_setup_with(void **state, const struct kvfs_create_options *create)
{
	const char *folder = getenv("TMPDIR");
	struct store *store = calloc(1, sizeof(*store));

	assert_non_null(store);
	snprintf(store->path, sizeof(store->path), "%s/kvfs-XXXXXX", folder ? folder : "/tmp");
	assert_non_null(mkdtemp(store->path));
	store->create = *create;
	store->open.kv.report = print_report;
	assert_int_equal(kvfs_create(NULL, store->path, create, print_report, NULL), 0);
	store_open(store);
	*state = store;
	return 0;
}

int store_setup(void **state)
{
	struct kvfs_create_options create = {.segment_size = 4 << 20};

	return store_setup_with(state, &create);
}

int store_teardown(void **state)
{
	store_assert_clean(*state);
	return store_remove(state);
}

int store_remove(void **state)
{
	struct store *store = *state;

	store_close(store);
	remove_store(store->path);
	free(store);
	return 0;
}

void store_close(struct store *store)
{
	assert_int_equal(kvfs_close(store->fs), 0);
	store->fs = NULL;
}

void store_open(struct store *store)
{
	assert_int_equal(kvfs_open(NULL, store->path, &store->open, &store->fs), 0);
}

void store_reopen(struct store *store)
{
	store_close(store);
	store_open(store);
}

void store_assert_clean(struct store *store)
{
	uint64_t findings = 0;

	assert_int_equal(kvfs_check(store->fs, print_report, NULL, NULL, NULL, &findings), 0);
	assert_int_equal(findings, 0);
}

uint64_t store_mkdir(struct store *store, uint64_t parent, const char *name)
{
	struct kvfs_attr attr;

	assert_int_equal(kvfs_mkdir(store->fs, &store_root, parent, name, 0755, &attr), 0);
	return attr.ino;
}

uint64_t store_mkfile(struct store *store, uint64_t parent, const char *name)
{
	struct kvfs_attr attr;

	assert_int_equal(
		kvfs_mknod(store->fs, &store_root, parent, name, S_IFREG | 0644, 0, &attr), 0);
	return attr.ino;
}

struct kvfs_attr store_attr(struct store *store, uint64_t ino)
{
	struct kvfs_attr attr;

	assert_int_equal(kvfs_getattr(store->fs, ino, &attr), 0);
	return attr;
}

int64_t store_lookup(struct store *store, uint64_t parent, const char *name)
{
	struct kvfs_attr attr;
	int err = kvfs_lookup(store->fs, parent, name, &attr);

	return err ? err : (int64_t)attr.ino;
}
