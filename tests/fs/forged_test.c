/* SPDX-License-Identifier: MIT */
/*
 * forged_test.c - records that no kvfs has written, put behind the file system's back with
 * checksums that hold: each is found by a check, harms nobody else, and is gone after a repair.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "extent_record.h"
#include "inode_record.h"
#include "keyspaces.h"
#include "meta_record.h"
#include "share.h"

#define SIZE 150000u /* bytes: in three pieces */
#define EMPTY_PIECES 80000u

static uint64_t make_large(struct fixture *store, const char *name)
{
	static const uint8_t data[SIZE] = {1};
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, name);

	assert_int_equal(kvfs_write(store->fs, ino, data, SIZE, 0, 0), SIZE);
	return ino;
}

static void put(struct fixture *store, enum keyspace keyspace, const void *key, size_t key_size,
	const void *value, size_t size)
{
	assert_int_equal(kv_put(kvfs_kv(store->fs), keyspace, key, key_size, value, size, NULL), 0);
}

/* A check says so. */
static void assert_found(struct fixture *store, const char *text)
{
	static struct findings findings;
	uint64_t count;

	findings = (struct findings){0};
	assert_int_equal(kvfs_check(store->fs, fixture_gather, &findings, NULL, NULL, &count), 0);
	assert_true(count > 0);
	if (!strstr(findings.text, text))
		fail_msg("\"%s\" is not among:\n%s", text, findings.text);
}

/* Whose number is one higher than the file's: the file ends before it, and is whole. */
static void test_piece_of_neighbour(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = make_large(store, "file");
	struct kvfs_attr attr = {.size = 70000};
	uint8_t key[EXTENT_KEY_SIZE];

	extent_key_encode((struct extent_place){ino + 1, 0, 99}, key);
	put(store, KEYSPACE_EXTENT, key, sizeof(key), "piece", 5);
	assert_found(store, "the key of a piece of contents makes no sense");
	assert_int_equal(kvfs_seek(store->fs, ino, 0, SEEK_HOLE), SIZE);
	assert_int_equal(kvfs_setattr(store->fs, ino, &attr, KVFS_SET_SIZE, &attr), 0);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "file"), 0);
	fixture_assert_repaired(store, "a neighbour's piece");
}

/* Among a file's own: what it has otherwise stays. */
static void test_piece_among_others(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = make_large(store, "file");
	uint8_t key[EXTENT_KEY_SIZE], byte;

	extent_key_encode((struct extent_place){ino, 1, 99}, key);
	put(store, KEYSPACE_EXTENT, key, sizeof(key), "piece", 5);
	assert_found(store, "its contents cannot be read");
	fixture_assert_repaired(store, "a piece in the middle");
	assert_int_equal(kvfs_read(store->fs, ino, &byte, 1, 0), 1);
	assert_int_equal(byte, 1);
	assert_int_equal(fixture_attr(store, ino).size, SIZE);
}

/* Nothing of it is in the file, and the file does not grow by it. */
static void test_empty_piece_behind_the_end(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = make_large(store, "file");
	uint8_t key[EXTENT_KEY_SIZE];

	extent_key_encode((struct extent_place){ino, 7, EXTENT_SLOT_CHUNK}, key);
	put(store, KEYSPACE_EXTENT, key, sizeof(key), "", 0);
	assert_found(store, "reaches beyond its end");
	fixture_assert_repaired(store, "an empty piece");
	assert_int_equal(fixture_attr(store, ino).size, SIZE);
}

static int setup_small(void **state)
{
	const struct kvfs_create_options create = {.segment_size = 2 << 20};

	return fixture_setup_with(state, &create);
}

/*
 * So many that removing them fills segments, and room has to be made meanwhile: here at once, and
 * by the thread that removes.
 */
static void test_many_empty_pieces(void **state)
{
	struct fixture *store = *state;
	uint8_t key[EXTENT_KEY_SIZE];
	uint64_t ino, mended;

	store->open.kv.flags = KV_OPEN_INLINE;
	fixture_reopen(store);
	ino = make_large(store, "file");
	for (uint64_t i = 0; i < EMPTY_PIECES; i++) {
		extent_key_encode((struct extent_place){ino, 7 + i, EXTENT_SLOT_CHUNK}, key);
		put(store, KEYSPACE_EXTENT, key, sizeof(key), "", 0);
	}
	assert_int_equal(kvfs_repair(store->fs, NULL, NULL, &mended), 0);
	assert_true(mended >= EMPTY_PIECES);
	fixture_assert_repaired(store, "many empty pieces");
	assert_int_equal(fixture_attr(store, ino).size, SIZE);
}

static void test_keys_of_inodes(void **state)
{
	static const char keys[][12] = {"short", "1234567", "123456789", "12345678"};
	struct fixture *store = *state;

	make_large(store, "file");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		put(store, KEYSPACE_INODE, keys[i], strlen(keys[i]), "value", 5);
	assert_found(store, "the key of an inode makes no sense");
	fixture_assert_repaired(store, "keys of inodes");
}

/* With a number far beyond those that were given out. */
static void test_far_inode(void **state)
{
	struct fixture *store = *state;
	uint8_t key[INODE_KEY_SIZE], head[INODE_HEAD_MAX];
	struct inode inode = {.ino = (uint64_t)1 << 40,
		.mode = S_IFREG | 0644,
		.nlink = 1,
		.contents = INODE_INLINE};

	inode_key_encode(inode.ino, key);
	put(store, KEYSPACE_INODE, key, sizeof(key), head, inode_record_encode(&inode, 0, head));
	assert_found(store, "1099511627776");
	fixture_assert_repaired(store, "a far inode");
	assert_int_equal(fixture_attr(store, inode.ino).nlink, 1);
}

/* A file without a name whose note nobody understands. */
static void test_note(void **state)
{
	struct fixture *store = *state;
	uint8_t key[INODE_KEY_SIZE];
	struct kvfs_attr attr;

	assert_int_equal(kvfs_tmpfile(store->fs, &fixture_root, KVFS_ROOT_INO, 0600, &attr), 0);
	inode_key_encode(attr.ino, key);
	put(store, KEYSPACE_ORPHAN, key, sizeof(key), "??", 2);
	assert_found(store, "a note of an unlinked file makes no sense");
	fixture_assert_repaired(store, "a note");
	kvfs_release(store->fs, attr.ino, 1);
	fixture_assert_clean(store);
}

/* ---- values that are too large to be read whole ---------------------------------------------- */

static void put_large(
	struct fixture *store, enum keyspace keyspace, const void *key, size_t key_size)
{
	struct kv_info info;
	uint8_t *value;

	kv_info(kvfs_kv(store->fs), &info);
	value = calloc(1, info.value_size_max + 1);
	assert_non_null(value);
	put(store, keyspace, key, key_size, value, info.value_size_max + 1);
	free(value);
}

static void test_large_inodes(void **state)
{
	struct fixture *store = *state;
	uint64_t inos[3], directory = fixture_mkdir(store, KVFS_ROOT_INO, "directory");
	uint64_t below = fixture_mkfile(store, directory, "below");
	uint8_t key[INODE_KEY_SIZE];
	struct kvfs_attr attr;

	inos[0] = directory;
	inos[1] = fixture_mkfile(store, KVFS_ROOT_INO, "empty");
	inos[2] = make_large(store, "file");
	for (unsigned i = 0; i < 3; i++) {
		inode_key_encode(inos[i], key);
		put_large(store, KEYSPACE_INODE, key, sizeof(key));
		assert_int_equal(kvfs_getattr(store->fs, inos[i], &attr), -EIO);
	}
	assert_found(store, "(\"empty\" in directory 1): its record cannot be read");
	fixture_assert_repaired(store, "large inodes");
	/* What is made anew from its contents has kept its name. */
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "empty"), -ENOENT);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "file"), inos[2]);
	assert_int_equal(fixture_attr(store, inos[2]).size, SIZE);
	assert_int_equal(fixture_lookup(store, directory, "below"), below);
}

static void test_large_note(void **state)
{
	struct fixture *store = *state;
	uint8_t key[INODE_KEY_SIZE];
	struct kvfs_attr attr;

	assert_int_equal(kvfs_tmpfile(store->fs, &fixture_root, KVFS_ROOT_INO, 0600, &attr), 0);
	inode_key_encode(attr.ino, key);
	put_large(store, KEYSPACE_ORPHAN, key, sizeof(key));
	inode_key_encode(fixture_mkfile(store, KVFS_ROOT_INO, "file"), key);
	put_large(store, KEYSPACE_ORPHAN, key, sizeof(key));
	assert_found(store, "a note of an unlinked file makes no sense");
	fixture_assert_repaired(store, "large notes");
	kvfs_release(store->fs, attr.ino, 1);
	fixture_assert_clean(store);
	assert_true(fixture_lookup(store, KVFS_ROOT_INO, "file") > 0);
}

/* The number of a file whose contents are another's, of which one record is too large. */
static uint64_t share_large(struct fixture *store, enum share_kind kind)
{
	uint64_t copy = fixture_mkfile(store, KVFS_ROOT_INO, "copy");
	uint64_t ino = make_large(store, "file");
	struct share_reference reference;
	uint8_t key[SHARE_KEY_SIZE];

	assert_int_equal(kvfs_copy(store->fs, ino, 0, copy, 0, SIZE), SIZE);
	kv_read_begin(kvfs_kv(store->fs));
	assert_int_equal(share_find(store->fs, copy, 0, &reference), 0);
	kv_read_end(kvfs_kv(store->fs));
	share_key_encode(reference.id, kind, key);
	put_large(store, KEYSPACE_SHARED, key, sizeof(key));
	return copy;
}

static void test_large_shared_bytes(void **state)
{
	struct fixture *store = *state;
	uint64_t copy = share_large(store, SHARE_BYTES);
	uint8_t byte;

	assert_int_equal(kvfs_read(store->fs, copy, &byte, 1, 0), -EIO);
	assert_found(store, "what chunk 0 refers to cannot be read");
	fixture_assert_repaired(store, "large shared bytes");
}

static void test_large_shared_count(void **state)
{
	struct fixture *store = *state;
	uint64_t copy = share_large(store, SHARE_COUNT);
	uint8_t byte;

	assert_found(store, "the number of users is missing");
	fixture_assert_repaired(store, "a large count of users");
	assert_int_equal(kvfs_read(store->fs, copy, &byte, 1, 0), 1);
	assert_int_equal(byte, 1);
}

/* What the file system says of itself: each alone, for it to be opened nonetheless. */
static void test_large_meta(void **state)
{
	static const char *const keys[] = {
		META_FORMAT_KEY, META_NEXT_INO_KEY, META_SIZE_LIMIT_KEY, META_ROLLBACK_KEY};
	struct fixture *store = *state;
	uint64_t ino = make_large(store, "file");

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		int err;

		put_large(store, KEYSPACE_META, keys[i], strlen(keys[i]));
		fixture_close(store);
		err = kvfs_open(NULL, store->path, &store->open, &store->fs);
		assert_true(err == -EUCLEAN || err == -EIO);
		store->open.repairs = true;
		fixture_open(store);
		fixture_assert_repaired(store, keys[i]);
		store->open.repairs = false;
		fixture_reopen(store);
		assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "file"), ino);
	}
}

/* ---- records that are gone ------------------------------------------------------------------- */

/* Both the root and the format, which were written together, are lost, and all else is there. */
static void test_no_beginning(void **state)
{
	struct fixture *store = *state;
	uint64_t ino = make_large(store, "file");
	uint8_t key[INODE_KEY_SIZE];

	inode_key_encode(KVFS_ROOT_INO, key);
	assert_int_equal(kv_delete(kvfs_kv(store->fs), KEYSPACE_INODE, key, sizeof(key), NULL), 0);
	assert_int_equal(kv_delete(kvfs_kv(store->fs), KEYSPACE_META, META_FORMAT_KEY,
				 strlen(META_FORMAT_KEY), NULL),
		0);
	fixture_close(store);
	assert_int_equal(kvfs_open(NULL, store->path, &store->open, &store->fs), -EUCLEAN);
	store->open.repairs = true;
	fixture_open(store);
	fixture_assert_repaired(store, "no root and no format");
	store->open.repairs = false;
	fixture_reopen(store);
	assert_int_equal(fixture_lookup(store, KVFS_ROOT_INO, "file"), ino);
	assert_int_equal(fixture_attr(store, ino).size, SIZE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_piece_of_neighbour),
		TEST(test_piece_among_others),
		TEST(test_empty_piece_behind_the_end),
		cmocka_unit_test_setup_teardown(
			test_many_empty_pieces, setup_small, fixture_teardown),
		TEST(test_keys_of_inodes),
		TEST(test_far_inode),
		TEST(test_note),
		TEST(test_large_inodes),
		TEST(test_large_note),
		TEST(test_large_shared_bytes),
		TEST(test_large_shared_count),
		TEST(test_large_meta),
		TEST(test_no_beginning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
