/* SPDX-License-Identifier: MIT */
/*
 * clone_test.c - a clone that goes from one process to another as bytes is the one that is made
 * directly, however the bytes are cut; what does not come whole, or comes as something else, is an
 * error or a store, and never taken for the whole tree.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tree_digest.h"
#include "tree_model.h"

#define SEGMENT_SIZE (2u << 20)
#define HEAD_SIZE 32u
#define SEGMENT_SIZE_AT 20u /* in the head; much of the disk may be taken by what comes there */

struct bytes {
	char *bytes;
	size_t size, room;
	size_t size_max; /* 0: none */
};

static int keep(void *arg, const void *part, size_t size)
{
	struct bytes *bytes = arg;

	if (bytes->size_max && bytes->size + size > bytes->size_max)
		return -EPIPE;
	if (bytes->room < bytes->size + size) {
		bytes->room = (bytes->size + size) * 2;
		bytes->bytes = realloc(bytes->bytes, bytes->room);
		assert_non_null(bytes->bytes);
	}
	memcpy(bytes->bytes + bytes->size, part, size);
	bytes->size += size;
	return 0;
}

/* What is given of them, in parts; each in memory of its own, so that nothing behind it is read. */
struct parts {
	const struct bytes *bytes;
	size_t at, size, part_max;
	char *part;
};

static ssize_t next(void *arg, const char **part)
{
	struct parts *parts = arg;
	size_t left = parts->size - parts->at;
	size_t size = left < parts->part_max ? left : parts->part_max;

	free(parts->part);
	parts->part = malloc(size ? size : 1);
	assert_non_null(parts->part);
	memcpy(parts->part, parts->bytes->bytes + parts->at, size);
	parts->at += size;
	*part = parts->part;
	return (ssize_t)size;
}

static int receive(const char *path, const struct bytes *bytes, size_t size, size_t part_max)
{
	struct parts parts = {.bytes = bytes, .size = size, .part_max = part_max};
	const struct kvfs_receive_options options = {.next = next, .next_arg = &parts};
	int err = kvfs_receive(NULL, path, &options);

	free(parts.part);
	return err;
}

/* A tree with some of everything, as bytes; returns its digest. */
static uint64_t send_tree(struct fixture *store, struct bytes *out)
{
	struct model *model = model_new(store, 4711);
	uint64_t digest;
	struct kvfs *fs;

	for (unsigned step = 0; step < 1500; step++)
		model_step(model);
	model_free(model);
	digest = tree_digest(store->fs);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	assert_int_equal(kvfs_snapshot_open(store->fs, "s", &fs), 0);
	fixture_mkfile(store, KVFS_ROOT_INO, "later");
	assert_int_equal(kvfs_send(fs, keep, out), 0);
	assert_int_equal(kvfs_close(fs), 0);
	return digest;
}

static int setup(void **state)
{
	static const struct kvfs_create_options create = {.segment_size = SEGMENT_SIZE};

	return fixture_setup_with(state, &create);
}

static void place_of(const struct fixture *store, struct fixture *clone)
{
	*clone = (struct fixture){.open = store->open};
	snprintf(clone->path, sizeof(clone->path), "%.50s-clone", store->path);
}

static void forget(struct fixture *clone)
{
	if (!access(clone->path, F_OK)) {
		fixture_empty(clone);
		assert_int_equal(rmdir(clone->path), 0);
	}
}

static void test_whole(void **state)
{
	static const size_t part_sizes[] = {SIZE_MAX, 65535, 1000, 7, 1};
	struct fixture *store = *state, clone;
	struct bytes bytes = {NULL};
	uint64_t digest = send_tree(store, &bytes);
	struct kv_info info;

	place_of(store, &clone);
	for (unsigned i = 0; i < sizeof(part_sizes) / sizeof(*part_sizes); i++) {
		assert_int_equal(receive(clone.path, &bytes, bytes.size, part_sizes[i]), 0);
		assert_int_equal(receive(clone.path, &bytes, bytes.size, 1000), -EEXIST);
		fixture_open(&clone);
		assert_true(tree_digest(clone.fs) == digest);
		fixture_assert_clean(&clone);
		kv_info(kvfs_kv(clone.fs), &info);
		assert_int_equal(info.segment_size, SEGMENT_SIZE);
		fixture_close(&clone);
		forget(&clone);
	}
	free(bytes.bytes);
}

/* Nobody takes it for a file system. */
static void assert_none(struct fixture *clone)
{
	struct kvfs *fs;

	assert_int_not_equal(kvfs_open(NULL, clone->path, &clone->open, &fs), 0);
	forget(clone);
}

static void test_cut(void **state)
{
	struct fixture *store = *state, clone;
	struct bytes bytes = {NULL}, few = {.size_max = 100000};
	struct kvfs *fs;

	send_tree(store, &bytes);
	place_of(store, &clone);
	clone.open.kv.report = NULL;
	for (size_t size = 0; size <= HEAD_SIZE + 2; size++) {
		assert_int_equal(receive(clone.path, &bytes, size, 1000), -EPROTO);
		assert_none(&clone);
	}
	for (size_t size = 100; size < bytes.size; size += bytes.size / 10) {
		assert_int_equal(receive(clone.path, &bytes, size, 1000), -EPROTO);
		assert_none(&clone);
	}
	assert_int_equal(receive(clone.path, &bytes, bytes.size - 1, 1000), -EPROTO);
	assert_none(&clone);
	assert_int_equal(kvfs_snapshot_open(store->fs, "s", &fs), 0);
	assert_int_equal(kvfs_send(fs, keep, &few), -EPIPE);
	assert_int_equal(kvfs_close(fs), 0);
	free(few.bytes);
	free(bytes.bytes);
}

static int count_call(void *arg, const void *part, size_t size)
{
	++*(unsigned *)arg;
	return 0;
}

/* Who receives may end it also while what is read is left behind, as nothing has a name for it. */
static void test_nothing_to_send(void **state)
{
	static const unsigned records = 4096, piece = 65536;
	struct fixture *store = *state;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "held");
	unsigned calls = 0;
	struct kvfs *fs;

	kvfs_hold(store->fs, ino, 1);
	for (unsigned i = 0; i < records; i++)
		fixture_write(store, ino, "x", (int64_t)i * piece);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "held"), 0);
	assert_int_equal(kvfs_snapshot_create(store->fs, "s"), 0);
	assert_int_equal(kvfs_snapshot_open(store->fs, "s", &fs), 0);
	assert_int_equal(kvfs_send(fs, count_call, &calls), 0);
	assert_in_range(calls, records / 512, records);
	assert_int_equal(kvfs_close(fs), 0);
	kvfs_release(store->fs, ino, 1);
}

/* Anything may come of it but harm. */
static void test_spoilt(void **state)
{
	struct fixture *store = *state, clone;
	struct bytes bytes = {NULL};
	struct kvfs *fs;

	send_tree(store, &bytes);
	place_of(store, &clone);
	clone.open.kv.report = NULL;
	for (size_t at = 0; at < bytes.size; at += at < 50 ? 1 : bytes.size / 20) {
		char was = bytes.bytes[at];

		if (at >= SEGMENT_SIZE_AT && at < SEGMENT_SIZE_AT + 4)
			continue;
		bytes.bytes[at] = (char)(was ^ (at % 3 ? 0xff : 0x01));
		if (!receive(clone.path, &bytes, bytes.size, 1000) &&
			!kvfs_open(NULL, clone.path, &clone.open, &fs))
			(void)kvfs_close(fs);
		bytes.bytes[at] = was;
		forget(&clone);
	}
	bytes.bytes[0]++;
	assert_int_equal(receive(clone.path, &bytes, bytes.size, 1000), -EPROTONOSUPPORT);
	forget(&clone);
	free(bytes.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_cut, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_nothing_to_send, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_spoilt, setup, fixture_teardown),
	};

	return cmocka_run_group_tests_name("clone", tests, NULL, NULL);
}
