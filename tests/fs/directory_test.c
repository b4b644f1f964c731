/* SPDX-License-Identifier: MIT */
/*
 * directory_test.c - listing: every entry once, whatever changes meanwhile and wherever the listing
 * stopped.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ENTRIES 3000u

struct listing {
	unsigned seen[2 * ENTRIES];
	unsigned dots, total, limit;
	uint64_t cookie;
	bool rising; /* the cookies */
};

static int list_entry(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct listing *listing = arg;
	unsigned number;

	if (listing->limit && !--listing->limit)
		return 1;
	listing->rising = listing->rising && cookie > listing->cookie;
	listing->cookie = cookie;
	listing->total++;
	if (!strcmp(name, ".") || !strcmp(name, "..")) {
		listing->dots++;
		assert_true(S_ISDIR(attr->mode));
	} else {
		assert_int_equal(sscanf(name, "f%u", &number), 1);
		listing->seen[number]++;
		assert_true(S_ISREG(attr->mode));
	}
	assert_true(attr->ino);
	return 0;
}

static uint64_t make_entries(struct fixture *store, unsigned count)
{
	uint64_t directory = fixture_mkdir(store, KVFS_ROOT_INO, "d");
	char name[20];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		fixture_mkfile(store, directory, name);
	}
	return directory;
}

static void test_whole(void **state)
{
	struct fixture *store = *state;
	uint64_t directory = make_entries(store, ENTRIES);
	static struct listing listing;

	listing.rising = true;
	assert_int_equal(kvfs_readdir(store->fs, directory, 0, true, list_entry, &listing), 0);
	assert_int_equal(listing.dots, 2);
	assert_int_equal(listing.total, ENTRIES + 2);
	assert_true(listing.rising);
	for (unsigned i = 0; i < ENTRIES; i++)
		assert_int_equal(listing.seen[i], 1);
}

static void test_errors(void **state)
{
	struct fixture *store = *state;
	uint64_t file = fixture_mkfile(store, KVFS_ROOT_INO, "f1");
	static struct listing listing;

	assert_int_equal(kvfs_readdir(store->fs, file, 0, false, list_entry, &listing), -ENOTDIR);
	assert_int_equal(kvfs_readdir(store->fs, 999, 0, false, list_entry, &listing), -ENOENT);
	assert_int_equal(
		kvfs_readdir(store->fs, KVFS_ROOT_INO, UINT64_MAX, false, list_entry, &listing),
		-EINVAL);
	assert_int_equal(listing.total, 0);
}

/* In small steps, with entries coming and going between them, and the store closed and opened. */
static void test_under_change(void **state)
{
	struct fixture *store = *state;
	uint64_t directory = make_entries(store, ENTRIES);
	static struct listing listing;
	unsigned step = 0, before;
	char name[20];

	do {
		before = listing.total;
		listing.limit = 100;
		assert_int_equal(kvfs_readdir(store->fs, directory, listing.cookie, step % 2,
					 list_entry, &listing),
			0);
		/* Odd numbers go, numbers beyond come. */
		snprintf(name, sizeof(name), "f%u", 2 * step + 1);
		assert_int_equal(kvfs_unlink(store->fs, directory, name), 0);
		snprintf(name, sizeof(name), "f%u", ENTRIES + step++);
		fixture_mkfile(store, directory, name);
		if (step == 10)
			fixture_reopen(store);
	} while (listing.total != before);
	assert_true(step > 20);
	assert_int_equal(listing.dots, 2);
	for (unsigned i = 0; i < ENTRIES; i++)
		if (i % 2 == 0 || i > 2 * step)
			assert_int_equal(listing.seen[i], 1);
		else
			assert_in_range(listing.seen[i], 0, 1);
}

/* A cookie means the same place for ever. */
static void test_seek(void **state)
{
	struct fixture *store = *state;
	uint64_t directory = make_entries(store, 50);
	static struct listing first, second;

	first.limit = 20;
	assert_int_equal(kvfs_readdir(store->fs, directory, 0, false, list_entry, &first), 0);
	fixture_reopen(store);
	assert_int_equal(
		kvfs_readdir(store->fs, directory, first.cookie, false, list_entry, &second), 0);
	assert_int_equal(first.total + second.total, 52);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(first.seen[i] + second.seen[i], 1);
	second.cookie = first.cookie = 0;
	assert_int_equal(kvfs_readdir(store->fs, directory, 1, false, list_entry, &second), 0);
	assert_int_equal(second.dots, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_errors, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_under_change, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_seek, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
