/* SPDX-License-Identifier: MIT */
/*
 * fixture.c - a file system in a fresh directory, for tests.
 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "read_section.h"

const struct kvfs_caller fixture_root = {.privileged = true};

void fixture_empty(struct fixture *store)
{
	DIR *dir = opendir(store->path);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
	closedir(dir);
}

void fixture_report(void *arg, enum kv_severity severity, const char *message)
{
	if (severity <= KV_WARNING)
		fprintf(stderr, "%s\n", message);
}

int fixture_setup_with(void **state, const struct kvfs_create_options *create)
{
	const char *folder = getenv("TMPDIR");
	struct fixture *store = calloc(1, sizeof(*store));

	assert_non_null(store);
	snprintf(store->path, sizeof(store->path), "%s/kvfs-XXXXXX", folder ? folder : "/tmp");
	assert_non_null(mkdtemp(store->path));
	store->create = *create;
	store->open.kv.report = fixture_report;
	assert_int_equal(kvfs_create(NULL, store->path, create, fixture_report, NULL), 0);
	fixture_open(store);
	*state = store;
	return 0;
}

int fixture_setup(void **state)
{
	struct kvfs_create_options create = {.segment_size = 4 << 20};

	return fixture_setup_with(state, &create);
}

int fixture_teardown(void **state)
{
	read_section_abandon();
	fixture_assert_clean(*state);
	return fixture_remove(state);
}

int fixture_remove(void **state)
{
	struct fixture *store = *state;

	read_section_abandon();
	fixture_close(store);
	fixture_forget(state);
	return 0;
}

void fixture_forget(void **state)
{
	struct fixture *store = *state;

	fixture_empty(store);
	assert_int_equal(rmdir(store->path), 0);
	free(store);
}

void fixture_close(struct fixture *store)
{
	assert_int_equal(kvfs_close(store->fs), 0);
	store->fs = NULL;
}

void fixture_open(struct fixture *store)
{
	assert_int_equal(kvfs_open(store->env, store->path, &store->open, &store->fs), 0);
}

void fixture_reopen(struct fixture *store)
{
	fixture_close(store);
	fixture_open(store);
}

void fixture_assert_clean(struct fixture *store)
{
	uint64_t findings = 0;

	assert_int_equal(kvfs_check(store->fs, fixture_report, NULL, NULL, NULL, &findings), 0);
	assert_int_equal(findings, 0);
}

void fixture_gather(void *arg, enum kv_severity severity, const char *message)
{
	struct findings *findings = arg;
	size_t used = strlen(findings->text);

	findings->count++;
	snprintf(findings->text + used, sizeof(findings->text) - used, "%s\n", message);
}

void fixture_assert_repaired(struct fixture *store, const char *when)
{
	static struct findings said, left;
	uint64_t mended, count;

	said = left = (struct findings){0};
	assert_int_equal(kvfs_repair(store->fs, fixture_gather, &said, &mended), 0);
	assert_int_equal(mended, said.count);
	assert_int_equal(kvfs_check(store->fs, fixture_gather, &left, NULL, NULL, &count), 0);
	if (count)
		fail_msg("%s, left after the repair:\n%s\nit had said:\n%s", when, left.text,
			said.text);
	assert_int_equal(kvfs_repair(store->fs, fixture_gather, &said, &mended), 0);
	if (mended)
		fail_msg("%s, twice:\n%s", when, said.text);
}

uint64_t fixture_mkdir(struct fixture *store, uint64_t parent, const char *name)
{
	struct kvfs_attr attr;

	assert_int_equal(kvfs_mkdir(store->fs, &fixture_root, parent, name, 0755, &attr), 0);
	return attr.ino;
}

uint64_t fixture_mkfile(struct fixture *store, uint64_t parent, const char *name)
{
	struct kvfs_attr attr;

	assert_int_equal(
		kvfs_mknod(store->fs, &fixture_root, parent, name, S_IFREG | 0644, 0, &attr), 0);
	return attr.ino;
}

struct kvfs_attr fixture_attr(struct fixture *store, uint64_t ino)
{
	struct kvfs_attr attr;

	assert_int_equal(kvfs_getattr(store->fs, ino, &attr), 0);
	return attr;
}

int64_t fixture_lookup(struct fixture *store, uint64_t parent, const char *name)
{
	struct kvfs_attr attr;
	int err = kvfs_lookup(store->fs, parent, name, &attr);

	return err ? err : (int64_t)attr.ino;
}

void fixture_write(struct fixture *store, uint64_t ino, const char *text, int64_t offset)
{
	assert_int_equal(kvfs_write(store->fs, ino, text, strlen(text), offset, 0), strlen(text));
}

static int count_one(void *arg, const struct kvfs_snapshot *snapshot)
{
	(*(unsigned *)arg)++;
	assert_true(snapshot->time.tv_sec > 1500000000);
	return 0;
}

unsigned fixture_snapshots(struct fixture *store)
{
	unsigned found = 0;

	assert_int_equal(kvfs_snapshot_list(store->fs, count_one, &found), 0);
	return found;
}
