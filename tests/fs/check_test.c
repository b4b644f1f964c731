/* SPDX-License-Identifier: MIT */
/*
 * check_test.c - a check must find what is wrong: each test damages one record behind the file
 * system's back, and asks for a finding that names it. Hostile records must not harm the operations
 * either.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dirent_record.h"
#include "extent_record.h"
#include "inode_record.h"
#include "keyspaces.h"
#include "meta_record.h"
#include "orphan_record.h"
#include "read_section.h"
#include "xattr_record.h"

/* A small tree with something of every kind. */
struct tree {
	struct fixture *store;
	uint64_t secret, directory, sub, small, large, linked, held;
};

static uint64_t secret_of(struct fixture *store)
{
	struct kv *kv = kvfs_kv(store->fs);
	struct kv_slice value;
	uint64_t secret;

	kv_read_begin(kv);
	assert_int_equal(
		kv_get(kv, KEYSPACE_META, META_FORMAT_KEY, strlen(META_FORMAT_KEY), &value), 0);
	assert_int_equal(meta_format_decode(value, &secret), 0);
	kv_read_end(kv);
	return secret;
}

static void make_tree(struct fixture *store, struct tree *tree)
{
	static char data[150000];
	struct kvfs_attr attr;

	tree->store = store;
	tree->secret = secret_of(store);
	tree->directory = fixture_mkdir(store, KVFS_ROOT_INO, "directory");
	tree->sub = fixture_mkdir(store, tree->directory, "sub");
	tree->small = fixture_mkfile(store, tree->directory, "small");
	tree->large = fixture_mkfile(store, tree->sub, "large\n");
	tree->linked = fixture_mkfile(store, tree->sub, "linked");
	assert_int_equal(kvfs_link(store->fs, tree->linked, KVFS_ROOT_INO, "link", &attr), 0);
	assert_int_equal(
		kvfs_write(store->fs, tree->large, data, sizeof(data), 0, 0), sizeof(data));
	assert_int_equal(kvfs_setxattr(store->fs, tree->small, "user.a", "v", 1, 0), 0);
	tree->held = fixture_mkfile(store, KVFS_ROOT_INO, "held");
	kvfs_hold(store->fs, tree->held, 1);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "held"), 0);
	fixture_assert_clean(store);
}

/* Something is found, and it says this. */
static void expect_finding(struct tree *tree, const char *text)
{
	static struct findings findings;
	uint64_t count;

	findings = (struct findings){0};
	assert_int_equal(kvfs_check(tree->store->fs, fixture_gather, &findings, NULL, NULL, &count), 0);
	assert_int_equal(count, findings.count);
	if (!strstr(findings.text, text))
		fail_msg("expected \"%s\" among:\n%s", text, findings.text);
}

static void put(struct tree *tree, enum keyspace keyspace, const void *key, size_t key_size,
	const void *value, size_t size)
{
	assert_int_equal(
		kv_put(kvfs_kv(tree->store->fs), keyspace, key, key_size, value, size, NULL), 0);
}

static void drop(struct tree *tree, enum keyspace keyspace, const void *key, size_t key_size)
{
	assert_int_equal(kv_delete(kvfs_kv(tree->store->fs), keyspace, key, key_size, NULL), 0);
}

static struct inode read_inode(struct tree *tree, uint64_t ino)
{
	struct kv *kv = kvfs_kv(tree->store->fs);
	uint8_t key[INODE_KEY_SIZE];
	struct kv_slice value;
	struct inode inode;

	inode_key_encode(ino, key);
	kv_read_begin(kv);
	assert_int_equal(kv_get(kv, KEYSPACE_INODE, key, sizeof(key), &value), 0);
	assert_int_equal(inode_record_decode(ino, value, &inode), 0);
	kv_read_end(kv);
	inode.body = (struct kv_slice){NULL, 0};
	return inode;
}

static void write_inode(struct tree *tree, const struct inode *inode)
{
	uint8_t key[INODE_KEY_SIZE], value[INODE_HEAD_MAX];

	inode_key_encode(inode->ino, key);
	put(tree, KEYSPACE_INODE, key, sizeof(key), value, inode_record_encode(inode, 0, value));
}

static void put_entry(
	struct tree *tree, uint64_t parent, const char *name, uint64_t ino, uint32_t mode)
{
	uint8_t value[DIRENT_VALUE_SIZE];
	struct dirent_key key;

	dirent_key_encode(tree->secret, parent, name, strlen(name), &key);
	dirent_value_encode(ino, mode, value);
	put(tree, KEYSPACE_DIRENT, key.bytes, key.size, value, sizeof(value));
}

/* The store is not to be clean at the end. */
static int damaged_teardown(void **state)
{
	struct fixture *store = *state;
	struct kvfs_attr root = {0};
	struct kvfs *fs = store->fs;

	read_section_abandon();
	/* Walking the damaged tree gives errors and no harm. */
	(void)!kvfs_getattr(fs, KVFS_ROOT_INO, &root);
	for (uint64_t ino = 1; ino < 20; ino++) {
		static char data[200000];
		struct kvfs_attr attr = {.size = 70000};

		(void)!kvfs_getattr(fs, ino, &attr);
		(void)!kvfs_read(fs, ino, data, sizeof(data), 0);
		(void)!kvfs_write(fs, ino, data, 5000, 66000, 0);
		attr.size = 66000;
		(void)!kvfs_setattr(fs, ino, &attr, KVFS_SET_SIZE, &attr);
		(void)!kvfs_lookup(fs, ino, "sub", &attr);
		(void)!kvfs_rename(fs, NULL, ino, "sub", KVFS_ROOT_INO, "elsewhere", 0);
		(void)!kvfs_rmdir(fs, KVFS_ROOT_INO, "elsewhere");
		(void)!kvfs_unlink(fs, ino, "large\n");
	}
	fixture_assert_repaired(store, "a damaged record");
	return fixture_remove(state);
}

static void test_link_count(void **state)
{
	struct tree tree;
	struct inode inode;

	make_tree(*state, &tree);
	inode = read_inode(&tree, tree.linked);
	inode.nlink = 3;
	write_inode(&tree, &inode);
	expect_finding(&tree, "its link count is 3, it has 2 names");
	inode.nlink = 1;
	write_inode(&tree, &inode);
	expect_finding(&tree, "its link count is 1, it has 2 names");
}

static void test_missing_inode(void **state)
{
	uint8_t key[INODE_KEY_SIZE];
	struct tree tree;
	char text[100];

	make_tree(*state, &tree);
	inode_key_encode(tree.small, key);
	drop(&tree, KEYSPACE_INODE, key, sizeof(key));
	snprintf(text, sizeof(text),
		"inode %llu (\"small\" in directory %llu): it has a name but no record",
		(unsigned long long)tree.small, (unsigned long long)tree.directory);
	expect_finding(&tree, text);
	expect_finding(&tree, "it has attributes but no record");
	assert_int_equal(fixture_lookup(tree.store, tree.directory, "small"), -EIO);
}

static void test_unreadable_inode(void **state)
{
	uint8_t key[INODE_KEY_SIZE];
	struct tree tree;

	make_tree(*state, &tree);
	inode_key_encode(tree.large, key);
	put(&tree, KEYSPACE_INODE, key, sizeof(key), "rubbish", 7);
	expect_finding(&tree, "(\"large\\x0a\" in directory");
	expect_finding(&tree, "its record cannot be read");
	assert_int_equal(fixture_lookup(tree.store, tree.sub, "large\n"), -EIO);
}

static void test_lost_inode(void **state)
{
	struct inode inode;
	struct tree tree;

	make_tree(*state, &tree);
	inode = read_inode(&tree, tree.linked);
	inode.ino = 3000;
	write_inode(&tree, &inode);
	/* Also one beyond all numbers that were given out. */
	expect_finding(&tree, "inode 3000: it has no name, and is not noted as unlinked");
	fixture_reopen(tree.store);
	expect_finding(&tree, "inode 3000: it has no name, and is not noted as unlinked");
}

static void test_directory_counts(void **state)
{
	struct inode inode;
	struct tree tree;

	make_tree(*state, &tree);
	inode = read_inode(&tree, tree.directory);
	inode.size++;
	write_inode(&tree, &inode);
	expect_finding(&tree, "its entries come to");
	inode.size--;
	inode.nlink = 9;
	write_inode(&tree, &inode);
	expect_finding(&tree, "its link count is 9, it has 1 subdirectories");
	inode.nlink = 3;
	inode.parent = tree.sub;
	write_inode(&tree, &inode);
	expect_finding(&tree, "its \"..\" is");
}

static void test_entries(void **state)
{
	struct dirent_key key;
	struct tree tree;

	make_tree(*state, &tree);
	put_entry(&tree, tree.directory, "small", tree.small, S_IFDIR);
	expect_finding(&tree, "its entry says type 4, it is 10");
	put_entry(&tree, 777, "nowhere", tree.small, S_IFREG);
	expect_finding(&tree, "inode 777: it has entries but no record");
	put_entry(&tree, tree.small, "inside", tree.large, S_IFREG);
	expect_finding(&tree, "it has entries but is no directory");
	dirent_key_encode(tree.secret + 1, tree.sub, "misplaced", 9, &key);
	put(&tree, KEYSPACE_DIRENT, key.bytes, key.size, "\x05\0\0\0\0\0\0\0\x08", 9);
	expect_finding(&tree, "its entry has the hash of another name");
	put(&tree, KEYSPACE_DIRENT, "short", 5, "x", 1);
	expect_finding(&tree, "the key of a directory entry makes no sense");
}

static void test_two_names(void **state)
{
	struct inode a, b;
	struct tree tree;

	make_tree(*state, &tree);
	a = read_inode(&tree, tree.directory);
	b = read_inode(&tree, tree.sub);
	a.parent = b.ino;
	write_inode(&tree, &a);
	put_entry(&tree, b.ino, "back", a.ino, S_IFDIR);
	expect_finding(&tree, "it is a directory with more than one name");
}

static void test_way_to_root(void **state)
{
	struct dirent_key key;
	struct inode inode;
	struct tree tree;

	make_tree(*state, &tree);
	dirent_key_encode(tree.secret, KVFS_ROOT_INO, "directory", 9, &key);
	drop(&tree, KEYSPACE_DIRENT, key.bytes, key.size);
	put_entry(&tree, tree.sub, "directory", tree.directory, S_IFDIR);
	inode = read_inode(&tree, tree.directory);
	inode.parent = tree.sub;
	write_inode(&tree, &inode);
	expect_finding(&tree, "its parents do not lead to the root");
	/* A move asks for the way up, and must not go round in circles. */
	assert_int_equal(
		kvfs_rename(tree.store->fs, NULL, tree.sub, "directory", tree.directory, "x", 0),
		-EINVAL);
}

static void test_pieces(void **state)
{
	uint8_t key[EXTENT_KEY_SIZE];
	struct inode inode;
	struct tree tree;

	make_tree(*state, &tree);
	extent_key_encode((struct extent_place){tree.large, 100, 0}, key);
	put(&tree, KEYSPACE_EXTENT, key, sizeof(key), "x", 1);
	expect_finding(&tree, "chunk 100 reaches beyond its end");
	expect_finding(&tree, "blocks");
	drop(&tree, KEYSPACE_EXTENT, key, sizeof(key));
	extent_key_encode((struct extent_place){tree.large, 1, 3}, key);
	put(&tree, KEYSPACE_EXTENT, key, sizeof(key), "x", 1);
	expect_finding(&tree, "chunk 1 has hidden pieces");
	drop(&tree, KEYSPACE_EXTENT, key, sizeof(key));
	extent_key_encode((struct extent_place){tree.small, 0, 0}, key);
	put(&tree, KEYSPACE_EXTENT, key, sizeof(key), "x", 1);
	expect_finding(&tree, "it has pieces of contents that it should not have");
	extent_key_encode((struct extent_place){5555, 0, 0}, key);
	put(&tree, KEYSPACE_EXTENT, key, sizeof(key), "x", 1);
	expect_finding(&tree, "inode 5555: it has contents but no record");
	inode = read_inode(&tree, tree.large);
	inode.blocks = 3;
	write_inode(&tree, &inode);
	expect_finding(&tree, "it has 37 blocks, 3 are counted");
}

static void test_large_piece(void **state)
{
	static char data[100000], back[10];
	uint8_t key[EXTENT_KEY_SIZE];
	struct tree tree;

	make_tree(*state, &tree);
	extent_key_encode((struct extent_place){tree.large, 1, 0}, key);
	put(&tree, KEYSPACE_EXTENT, key, sizeof(key), data, sizeof(data));
	expect_finding(&tree, "its contents cannot be read");
	assert_int_equal(kvfs_read(tree.store->fs, tree.large, back, 10, 70000), -EIO);
	assert_int_equal(kvfs_read(tree.store->fs, tree.large, back, 10, 0), 10);
}

static void test_attributes_and_notes(void **state)
{
	uint8_t key[INODE_KEY_SIZE];
	struct xattr_key name;
	struct tree tree;

	make_tree(*state, &tree);
	xattr_key_encode(tree.small, "user.b", 6, &name);
	put(&tree, KEYSPACE_XATTR, name.bytes, name.size, "v", 1);
	expect_finding(&tree, "its attributes' names take 14 bytes, not 7");
	xattr_key_encode(tree.large, "user.b", 6, &name);
	put(&tree, KEYSPACE_XATTR, name.bytes, name.size, "v", 1);
	expect_finding(&tree, "it has attributes that it should not have");
	inode_key_encode(tree.small, key);
	put(&tree, KEYSPACE_ORPHAN, key, sizeof(key), "\x01", 1);
	expect_finding(&tree, "it is noted as unlinked, but its link count is 1");
	put(&tree, KEYSPACE_ORPHAN, key, 7, "\x01", 1);
	expect_finding(&tree, "a note of an unlinked file makes no sense");
	fixture_reopen(tree.store);
	assert_int_equal(fixture_lookup(tree.store, tree.directory, "small"), (int64_t)tree.small);
}

/* What only a snapshot shows any more is found there, and there alone. */
static void test_snapshots(void **state)
{
	struct tree tree;
	struct inode inode;
	uint8_t key[INODE_KEY_SIZE];

	make_tree(*state, &tree);
	assert_int_equal(kvfs_snapshot_create(tree.store->fs, "whole"), 0);
	inode = read_inode(&tree, tree.large);
	inode.nlink = 3;
	write_inode(&tree, &inode);
	assert_int_equal(kvfs_snapshot_create(tree.store->fs, "counts\n"), 0);
	inode.nlink = 1;
	write_inode(&tree, &inode);
	expect_finding(&tree, "snapshot \"counts\\x0a\": inode");
	expect_finding(&tree, "its link count is 3, it has 1 names");
	assert_int_equal(kvfs_snapshot_delete(tree.store->fs, "counts\n"), 0);
	fixture_assert_clean(tree.store);
	inode_key_encode(KVFS_ROOT_INO, key);
	inode = read_inode(&tree, KVFS_ROOT_INO);
	drop(&tree, KEYSPACE_INODE, key, sizeof(key));
	assert_int_equal(kvfs_snapshot_create(tree.store->fs, "rootless"), 0);
	write_inode(&tree, &inode);
	expect_finding(&tree, "snapshot \"rootless\": its root cannot be read");
	assert_int_equal(kvfs_snapshot_delete(tree.store->fs, "rootless"), 0);
}

static int stop_at_once(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	return 1;
}

static void test_stop(void **state)
{
	static struct findings findings;
	struct fixture *store = *state;
	uint64_t count = 99;

	assert_int_equal(
		kvfs_check(store->fs, fixture_gather, &findings, stop_at_once, NULL, &count), -ECANCELED);
	assert_int_equal(count, 99);
	/* And nothing stays locked. */
	fixture_mkfile(store, KVFS_ROOT_INO, "f");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_link_count, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(
			test_missing_inode, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(
			test_unreadable_inode, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(test_lost_inode, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(
			test_directory_counts, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(test_entries, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(test_two_names, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(test_way_to_root, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(test_pieces, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(test_large_piece, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(
			test_attributes_and_notes, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(test_snapshots, fixture_setup, damaged_teardown),
		cmocka_unit_test_setup_teardown(test_stop, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
