/* SPDX-License-Identifier: MIT */
/*
 * repair_test.c - a repair brings back all that can be: records of a tree are deleted and spoilt at random behind the file system's
 * back; after a repair a check finds nothing, another repair has nothing to do, and each file whose own records were left alone has
 * its contents, wherever it has its name now.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extent_record.h"
#include "inode_record.h"
#include "keyspaces.h"

#define FILES 60u
#define DIRECTORIES 6u
#define SIZE_MAX_BYTES 200000u
#define ROUNDS 12u /* KVFS_TEST_ROUNDS */

struct file {
	uint64_t ino;
	uint32_t size;
	bool lost; /* a record that holds its contents was hit */
	bool bare; /* its inode was hit: what is left is its pieces */
};

static struct file files[FILES];
static uint64_t directories[DIRECTORIES];
static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((random_state >> 33) % bound);
}

static void fill(uint8_t *data, unsigned number, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		data[i] = (uint8_t)(number * 131 + i * 7 + (i >> 8) + 1) | 1;
}

static void make_file(struct fixture *store, unsigned number)
{
	static const uint32_t sizes[] = {0, 100, 1900, 5000, 66000, SIZE_MAX_BYTES};
	static uint8_t data[SIZE_MAX_BYTES];
	struct file *file = &files[number];
	struct kvfs_attr attr;
	char name[32];

	snprintf(name, sizeof(name), "file %u", number);
	*file = (struct file){.size = sizes[random_below(6)]};
	file->ino = fixture_mkfile(store, directories[random_below(DIRECTORIES)], name);
	fill(data, number, file->size);
	if (file->size)
		assert_int_equal(kvfs_write(store->fs, file->ino, data, file->size, 0, 0), file->size);
	if (!random_below(4))
		assert_int_equal(kvfs_setxattr(store->fs, file->ino, "user.note", "value", 5, 0), 0);
	snprintf(name, sizeof(name), "link %u", number);
	if (!random_below(4))
		assert_int_equal(kvfs_link(store->fs, file->ino, KVFS_ROOT_INO, name, &attr), 0);
}

static void make_tree(struct fixture *store)
{
	char name[32];

	directories[0] = KVFS_ROOT_INO;
	for (unsigned i = 1; i < DIRECTORIES; i++) {
		snprintf(name, sizeof(name), "directory %u", i);
		directories[i] = fixture_mkdir(store, directories[random_below(i)], name);
	}
	for (unsigned i = 0; i < FILES; i++)
		make_file(store, i);
	fixture_assert_clean(store);
}

/* ---- damage ---------------------------------------------------------------------------------- */

struct victim {
	uint8_t key[512];
	size_t size;
};

/* Any one record of the keyspace; false: there is none. */
static bool pick(struct kv *kv, enum keyspace keyspace, struct victim *out)
{
	const struct kv_entry *entries;
	struct kv_iterator *iterator;
	uint32_t seen = 0;
	size_t count;

	assert_int_equal(kv_iterator_open(kv, keyspace, KV_ITERATE_KEYS, &iterator), 0);
	kv_read_begin(kv);
	while (!kv_iterator_read(iterator, &entries, &count)) {
		for (size_t i = 0; i < count; i++) {
			if (random_below(++seen))
				continue;
			out->size = entries[i].key.size;
			memcpy(out->key, entries[i].key.data, out->size);
		}
	}
	kv_read_end(kv);
	kv_iterator_close(iterator);
	return seen;
}

static void note_hit(enum keyspace keyspace, const struct victim *victim)
{
	uint64_t ino = 0;

	assert_int_equal(inode_key_decode((struct kv_slice){victim->key, INODE_KEY_SIZE}, &ino), 0);
	for (unsigned i = 0; i < FILES; i++) {
		if (files[i].ino != ino)
			continue;
		files[i].lost |= keyspace == KEYSPACE_EXTENT || (keyspace == KEYSPACE_INODE && files[i].size <= INODE_INLINE_MAX);
		files[i].bare |= keyspace == KEYSPACE_INODE;
	}
}

static void damage(struct fixture *store)
{
	static const enum keyspace keyspaces[] = {
		KEYSPACE_INODE, KEYSPACE_DIRENT, KEYSPACE_EXTENT, KEYSPACE_XATTR};
	enum keyspace keyspace = keyspaces[random_below(4)];
	struct kv *kv = kvfs_kv(store->fs);
	uint8_t garbage[200];
	struct victim victim;

	if (!pick(kv, keyspace, &victim))
		return;
	note_hit(keyspace, &victim);
	if (random_below(2)) {
		assert_int_equal(kv_delete(kv, keyspace, victim.key, victim.size, NULL), 0);
		return;
	}
	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (uint8_t)random_below(256);
	assert_int_equal(kv_put(kv, keyspace, victim.key, victim.size, garbage, random_below(sizeof(garbage)), NULL), 0);
}

/* ---- what is left ---------------------------------------------------------------------------- */

static void assert_contents(struct fixture *store, unsigned number, unsigned round)
{
	static uint8_t expected[SIZE_MAX_BYTES], data[SIZE_MAX_BYTES];
	const struct file *file = &files[number];
	struct kvfs_attr attr;

	if (file->lost)
		return;
	if (kvfs_getattr(store->fs, file->ino, &attr) || attr.size != file->size || !attr.nlink)
		fail_msg("round %u: file %u is not there, or not of its size", round, number);
	if (!file->bare && attr.mode != (S_IFREG | 0644))
		fail_msg("round %u: file %u has mode %o", round, number, attr.mode);
	fill(expected, number, file->size);
	assert_int_equal(kvfs_read(store->fs, file->ino, data, sizeof(data), 0), file->size);
	assert_memory_equal(data, expected, file->size);
}

static void test_random(void **state)
{
	const char *rounds = getenv("KVFS_TEST_ROUNDS");
	unsigned count = rounds ? (unsigned)strtoul(rounds, NULL, 10) : ROUNDS;

	for (unsigned round = 0; round < count; round++) {
		struct fixture *store = *state;
		char when[32];

		random_state = round + 1;
		make_tree(store);
		for (unsigned hits = 1 + random_below(12); hits; hits--)
			damage(store);
		store->open.repairs = true;
		fixture_reopen(store);
		snprintf(when, sizeof(when), "round %u", round);
		fixture_assert_repaired(store, when);
		store->open.repairs = false;
		fixture_reopen(store);
		for (unsigned i = 0; i < FILES; i++)
			assert_contents(store, i, round);
		fixture_assert_clean(store);
		(void)fixture_remove(state);
		assert_int_equal(fixture_setup(state), 0);
	}
}

/* A directory whose entry is lost is found again with all that is in it, and under a name that is free. */
static void test_lost_directory(void **state)
{
	struct fixture *store = *state;
	uint64_t lost = fixture_mkdir(store, KVFS_ROOT_INO, "lost+found"), inside, mended;
	struct kv *kv = kvfs_kv(store->fs);
	struct victim victim;
	char name[32];

	directories[0] = fixture_mkdir(store, KVFS_ROOT_INO, "directory");
	inside = fixture_mkfile(store, directories[0], "inside");
	snprintf(name, sizeof(name), "#%llu", (unsigned long long)directories[0]);
	fixture_mkfile(store, lost, name);
	do
		assert_true(pick(kv, KEYSPACE_DIRENT, &victim));
	while (memcmp(victim.key + victim.size - 9, "directory", 9));
	assert_int_equal(kv_delete(kv, KEYSPACE_DIRENT, victim.key, victim.size, NULL), 0);
	assert_int_equal(kvfs_repair(store->fs, NULL, NULL, &mended), 0);
	assert_true(mended > 0);
	strcat(name, ".1");
	assert_int_equal(fixture_lookup(store, lost, name), directories[0]);
	assert_int_equal(fixture_lookup(store, directories[0], "inside"), inside);
	fixture_assert_clean(store);
}

static void test_clean(void **state)
{
	uint64_t mended;

	make_tree(*state);
	assert_int_equal(kvfs_repair(((struct fixture *)*state)->fs, fixture_report, NULL, &mended), 0);
	assert_int_equal(mended, 0);
	assert_int_equal(fixture_lookup(*state, KVFS_ROOT_INO, "lost+found"), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_clean, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_lost_directory, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_random, fixture_setup, fixture_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
