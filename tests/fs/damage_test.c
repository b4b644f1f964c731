/* SPDX-License-Identifier: MIT */
/*
 * damage_test.c - a small file system whose store is damaged byte by byte: a check of it ends, what
 * kv_repair and kvfs_repair leave is clean, and every file but one at most has its contents, all of
 * them where the store's repair says that nothing was lost.
 *
 * Bytes here and there; with KVFS_TEST_LONG in the environment every single one, with
 * KVFS_TEST_QUICK fewer.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_image.h"

#define FILES 12u
#define SIZE_MAX_BYTES 3000u
#define PATH "store"

static uint64_t inodes[FILES];

/* What is being damaged, for who has to repeat it. */
static struct {
	const char *name;
	uint64_t at;
} where;

static uint32_t size_of(unsigned number)
{
	static const uint32_t sizes[] = {0, 100, 700, SIZE_MAX_BYTES};

	return sizes[number % 4];
}

static void fill(uint8_t *data, unsigned number)
{
	for (uint32_t i = 0; i < size_of(number); i++)
		data[i] = (uint8_t)((number + 1) * 131 + i * 7 + (i >> 8));
}

static void make_tree(struct fixture *store)
{
	uint8_t data[SIZE_MAX_BYTES];
	struct kvfs_attr attr;
	uint64_t directory = fixture_mkdir(store, KVFS_ROOT_INO, "directory");

	for (unsigned i = 0; i < FILES; i++) {
		char name[32];

		snprintf(name, sizeof(name), "file %u", i);
		inodes[i] = fixture_mkfile(store, i % 3 ? KVFS_ROOT_INO : directory, name);
		fill(data, i);
		if (size_of(i))
			assert_int_equal(kvfs_write(store->fs, inodes[i], data, size_of(i), 0, 0),
				size_of(i));
		snprintf(name, sizeof(name), "link %u", i);
		if (i % 4 == 1)
			assert_int_equal(
				kvfs_link(store->fs, inodes[i], directory, name, &attr), 0);
		if (i % 5 == 1)
			assert_int_equal(
				kvfs_setxattr(store->fs, inodes[i], "user.note", "value", 5, 0), 0);
	}
}

static void make_image(struct store_image *image)
{
	struct kvfs_create_options create = {.segment_size = 2 << 20};
	struct fixture store = {.path = PATH, .open.kv.flags = KV_OPEN_INLINE};
	struct sim_env *sim;

	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 7}, &sim), 0);
	store.env = sim_env_table(sim);
	assert_int_equal(kvfs_create(store.env, PATH, &create, NULL, NULL), 0);
	fixture_open(&store);
	make_tree(&store);
	fixture_assert_clean(&store);
	fixture_close(&store);
	store_image_take(image, sim, PATH);
	assert_int_equal(sim_env_power_on(sim, SIM_LOSS_NONE), 0);
	sim_env_free(sim);
}

static unsigned count_lost(struct fixture *store)
{
	uint8_t expected[SIZE_MAX_BYTES], found[SIZE_MAX_BYTES + 1];
	unsigned lost = 0;

	for (unsigned i = 0; i < FILES; i++) {
		ssize_t size = kvfs_read(store->fs, inodes[i], found, sizeof(found), 0);

		fill(expected, i);
		lost += size != (ssize_t)size_of(i) || memcmp(found, expected, size_of(i));
	}
	return lost;
}

static void keep_quiet(void *arg, enum kv_severity severity, const char *message)
{
}

static void judge(const struct store_image *image, const char *name, uint64_t at)
{
	struct fixture store = {.path = PATH, .open.kv.flags = KV_OPEN_INLINE};
	struct sim_env *sim = store_image_mount(image, PATH);
	struct kv_repair_report report;
	uint64_t findings;

	where.name = name;
	where.at = at;
	store.env = sim_env_table(sim);
	assert_int_equal(sim_env_flip(sim, name, at, at % 8), 0);
	/* As it is: an error, or what is there. */
	store.open.kv.flags |= KV_OPEN_READ_ONLY;
	if (!kvfs_open(store.env, PATH, &store.open, &store.fs)) {
		(void)!kvfs_check(store.fs, keep_quiet, NULL, NULL, NULL, &findings);
		assert_true(count_lost(&store) <= 1);
		fixture_close(&store);
	}
	assert_int_equal(kv_repair(store.env, PATH, keep_quiet, NULL, &report), 0);
	assert_int_equal(report.remaining, 0);
	store.open.kv.flags = KV_OPEN_INLINE;
	store.open.repairs = true;
	fixture_open(&store);
	fixture_assert_repaired(&store, name);
	assert_true(count_lost(&store) <= (report.lost_bytes ? 1 : 0));
	fixture_close(&store);
	assert_int_equal(sim_env_power_on(sim, SIM_LOSS_NONE), 0);
	sim_env_free(sim);
	where.name = NULL; /* nothing failed */
}

static uint64_t step(uint64_t at)
{
	if (getenv("KVFS_TEST_LONG"))
		return 1;
	return (at < 100 ? 17 : 677) * (getenv("KVFS_TEST_QUICK") ? 5 : 1);
}

static void test_flips(void **state)
{
	struct store_image image = {0};

	make_image(&image);
	for (unsigned i = 0; i < image.count; i++) {
		const struct store_image_file *file = &image.files[i];

		for (uint64_t at = 0; at < file->used; at += step(at)) {
			/* "Made by a newer version" is what they then say. */
			if (format_segment_slot(file->name) >= 0 || at < 16 || at >= 20)
				judge(&image, file->name, at);
		}
	}
	store_image_free(&image);
}

static int say_where(void **state)
{
	if (where.name)
		print_error("%s at %llu\n", where.name, (unsigned long long)where.at);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_flips, say_where)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
