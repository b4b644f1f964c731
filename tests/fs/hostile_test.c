/* SPDX-License-Identifier: MIT */
/*
 * hostile_test.c - records of any bytes, put behind the file system's back: every operation gives a
 * result or an error, and none hangs or reads outside a buffer (which the sanitizers would see).
 *
 * KVFS_TEST_SEED repeats a run, KVFS_TEST_RUNS does more of them, KVFS_TEST_QUICK fewer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dirent_record.h"
#include "extent_record.h"
#include "fixture.h"
#include "inode_record.h"
#include "keyspaces.h"
#include "xattr_record.h"

#define INOS 24u /* numbers 1 to this are in use, or close to it */
#define DAMAGES 6u

struct hostile {
	struct fixture *store;
	unsigned seed;
	unsigned entries; /* listed so far */
};

static unsigned dice(struct hostile *hostile, unsigned sides)
{
	return (unsigned)rand_r(&hostile->seed) % sides;
}

static void make_tree(struct fixture *store)
{
	static uint8_t data[200000];
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a");
	uint64_t b = fixture_mkdir(store, a, "b");
	struct kvfs_attr attr;

	for (unsigned i = 0; i < 12; i++) {
		char name[] = {(char)('f' + i), '\0'};
		uint64_t file = fixture_mkfile(store, i % 3 ? a : b, name);
		size_t size = i % 2 ? i * 100 : i * 16000;

		assert_int_equal(kvfs_write(store->fs, file, data, size, 0, 0), size);
		if (i % 4 == 0)
			assert_int_equal(kvfs_write(store->fs, file, data, 4096, 4096, 0), 4096);
		if (i % 5 == 0)
			assert_int_equal(kvfs_setxattr(store->fs, file, "user.x", data, 9, 0), 0);
	}
	assert_int_equal(kvfs_symlink(store->fs, &fixture_root, "a/b", a, "l", &attr), 0);
	assert_int_equal(kvfs_tmpfile(store->fs, &fixture_root, a, 0600, &attr), 0);
}

/* A key of some kind, of an inode that is there or nearly. */
static size_t random_key(struct hostile *hostile, enum keyspace keyspace, uint8_t *key)
{
	uint64_t ino = 1 + dice(hostile, INOS);
	struct xattr_key xattr;

	inode_key_encode(ino, key);
	switch (keyspace) {
	case KEYSPACE_EXTENT:
		extent_key_encode(
			(struct extent_place){ino, dice(hostile, 4), dice(hostile, 18)}, key);
		return EXTENT_KEY_SIZE;
	case KEYSPACE_XATTR:
		xattr_key_encode(ino, "user.x", 5 + dice(hostile, 2), &xattr);
		memcpy(key, xattr.bytes, xattr.size);
		return xattr.size;
	case KEYSPACE_DIRENT:
		memset(key + 8, (int)dice(hostile, 128), 8);
		memset(key + DIRENT_PREFIX_SIZE, 'a' + (int)dice(hostile, 20), 3);
		return DIRENT_PREFIX_SIZE + dice(hostile, 4);
	default:
		return INODE_KEY_SIZE;
	}
}

/* Bytes that make sense at first sight: the decoders are to see through them, or the code above to
 * live with them. */
static size_t random_value(struct hostile *hostile, enum keyspace keyspace, const uint8_t *key,
	size_t key_size, uint8_t *value)
{
	static const uint32_t modes[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR};
	struct kv *kv = kvfs_kv(hostile->store->fs);
	struct kv_slice old;
	size_t size = 0;

	kv_read_begin(kv);
	if (!kv_get(kv, keyspace, key, key_size, &old)) {
		size = old.size;
		memcpy(value, old.data, size);
	}
	kv_read_end(kv);
	if (keyspace == KEYSPACE_INODE && dice(hostile, 2)) {
		struct inode inode = {
			.ino = 1,
			.contents = dice(hostile, 4),
			.mode = modes[dice(hostile, 5)] | 0755,
			.nlink = dice(hostile, 4),
			.parent = 1 + dice(hostile, INOS),
			.size = dice(hostile, 2) ? dice(hostile, 300000)
						 : (uint64_t)dice(hostile, 99) << 50,
			.blocks = dice(hostile, 100),
			.flags = dice(hostile, 8),
			.xattr_list_size = dice(hostile, 20),
		};

		size = dice(hostile, 3) * 10;
		return inode_record_encode(&inode, size, value) + size;
	}
	if (keyspace == KEYSPACE_DIRENT && dice(hostile, 2)) {
		dirent_value_encode(1 + dice(hostile, INOS), modes[dice(hostile, 5)], value);
		return DIRENT_VALUE_SIZE;
	}
	for (unsigned flips = dice(hostile, 4); size && flips; flips--)
		value[dice(hostile, (unsigned)size)] ^= (uint8_t)(1u << dice(hostile, 8));
	return dice(hostile, 3) ? size : dice(hostile, 100000);
}

static void damage(struct hostile *hostile)
{
	static const enum keyspace keyspaces[] = {KEYSPACE_INODE, KEYSPACE_INODE, KEYSPACE_DIRENT,
		KEYSPACE_DIRENT, KEYSPACE_EXTENT, KEYSPACE_EXTENT, KEYSPACE_XATTR, KEYSPACE_ORPHAN};
	static uint8_t value[200000];
	enum keyspace keyspace = keyspaces[dice(hostile, 8)];
	struct kv *kv = kvfs_kv(hostile->store->fs);
	uint8_t key[64];
	size_t key_size = random_key(hostile, keyspace, key);
	size_t size = random_value(hostile, keyspace, key, key_size, value);

	assert_int_equal(dice(hostile, 4) ? kv_put(kv, keyspace, key, key_size, value, size, NULL)
					  : kv_delete(kv, keyspace, key, key_size, NULL),
		0);
}

static int list_entry(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct hostile *hostile = arg;
	struct kvfs_attr found;

	assert_true(strlen(name) <= KVFS_NAME_MAX);
	assert_true(++hostile->entries < 10000);
	(void)!kvfs_lookup(hostile->store->fs, attr->ino, "b", &found);
	return 0;
}

static void use_contents(struct hostile *hostile, uint64_t ino)
{
	static uint8_t data[300000];
	struct kvfs *fs = hostile->store->fs;
	struct kvfs_attr attr = {.size = dice(hostile, 200000)};
	char names[100];

	(void)!kvfs_read(fs, ino, data, sizeof(data), dice(hostile, 5000));
	(void)!kvfs_readlink(fs, ino, (char *)data, 50);
	(void)!kvfs_seek(fs, ino, dice(hostile, 100000), SEEK_HOLE);
	(void)!kvfs_seek(fs, ino, dice(hostile, 100000), SEEK_DATA);
	(void)!kvfs_write(
		fs, ino, data, dice(hostile, 70000), dice(hostile, 70000), dice(hostile, 4));
	(void)!kvfs_fallocate(fs, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		dice(hostile, 70000), 1 + dice(hostile, 100000));
	(void)!kvfs_setattr(fs, ino, &attr, KVFS_SET_SIZE | KVFS_SET_UID, &attr);
	(void)!kvfs_listxattr(fs, ino, names, sizeof(names));
	(void)!kvfs_getxattr(fs, ino, "user.x", names, sizeof(names));
	(void)!kvfs_setxattr(fs, ino, "user.y", names, 10, 0);
	(void)!kvfs_removexattr(fs, ino, "user.x");
}

static void use_names(struct hostile *hostile, uint64_t ino)
{
	struct kvfs *fs = hostile->store->fs;
	uint64_t other = 1 + dice(hostile, INOS);
	struct kvfs_attr attr;

	(void)!kvfs_readdir(fs, ino, 0, dice(hostile, 2), list_entry, hostile);
	for (char name[] = "a"; name[0] < 'z'; name[0]++) {
		char new_name[] = {(char)('a' + dice(hostile, 26)), '\0'};

		switch (dice(hostile, 8)) {
		case 0:
			(void)!kvfs_unlink(fs, ino, name);
			break;
		case 1:
			(void)!kvfs_rmdir(fs, ino, name);
			break;
		case 2:
			(void)!kvfs_rename(fs, NULL, ino, name, other, new_name, dice(hostile, 3));
			break;
		case 3:
			(void)!kvfs_link(fs, other, ino, name, &attr);
			break;
		case 4:
			(void)!kvfs_mkdir(fs, &fixture_root, ino, name, 0755, &attr);
			break;
		default:
			(void)!kvfs_lookup(fs, ino, name, &attr);
		}
	}
	(void)!kvfs_lookup(fs, ino, "..", &attr);
	kvfs_hold(fs, ino, 1);
	kvfs_release(fs, ino, 1);
}

static void no_report(void *arg, enum kv_severity severity, const char *message)
{
}

static int no_difference(void *arg, enum kvfs_difference what, const char *path, bool is_directory)
{
	return strlen(path) > 1000000;
}

static void use_snapshots(struct hostile *hostile)
{
	struct kvfs *fs = hostile->store->fs, *snapshot;
	uint64_t findings;

	if (kvfs_snapshot_open(fs, "damaged", &snapshot) == 0) {
		(void)!kvfs_diff(snapshot, fs, no_difference, NULL, NULL);
		(void)!kvfs_diff(fs, snapshot, no_difference, NULL, NULL);
		assert_int_equal(kvfs_check(snapshot, no_report, NULL, NULL, NULL, &findings), 0);
		assert_int_equal(kvfs_close(snapshot), 0);
		(void)!kvfs_rollback(fs, dice(hostile, 2) ? "damaged" : "sound", NULL);
	}
}

static void use_all(struct hostile *hostile)
{
	struct kvfs_attr attr;
	uint64_t findings;

	for (uint64_t ino = 1; ino <= INOS; ino++) {
		use_contents(hostile, ino);
		use_names(hostile, ino);
	}
	use_snapshots(hostile);
	(void)!kvfs_resolve(hostile->store->fs, "a/b/f/../../l/g", true, &attr);
	assert_int_equal(kvfs_check(hostile->store->fs, no_report, NULL, NULL, NULL, &findings), 0);
}

static unsigned long number_from(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

static void run(unsigned seed)
{
	struct kvfs_create_options create = {.segment_size = 2 << 20};
	struct hostile hostile = {.seed = seed};
	void *state;

	fixture_setup_with(&state, &create);
	hostile.store = state;
	hostile.store->open.kv.report = no_report;
	fixture_reopen(hostile.store);
	make_tree(hostile.store);
	assert_int_equal(kvfs_snapshot_create(hostile.store->fs, "sound"), 0);
	for (unsigned i = 0; i < DAMAGES; i++)
		damage(&hostile);
	(void)!kvfs_snapshot_create(hostile.store->fs, "damaged");
	for (unsigned i = 0; i < DAMAGES; i++)
		damage(&hostile);
	use_all(&hostile);
	/* Opening looks at what is still to be freed; it may refuse a damaged root, and nothing
	 * else. */
	fixture_close(hostile.store);
	if (kvfs_open(NULL, hostile.store->path, &hostile.store->open, &hostile.store->fs)) {
		fixture_forget(&state);
		return;
	}
	use_all(&hostile);
	fixture_remove(&state);
}

static void test_random_damage(void **state)
{
	unsigned long seed = number_from("KVFS_TEST_SEED", 0);
	unsigned long runs = number_from("KVFS_TEST_RUNS", getenv("KVFS_TEST_QUICK") ? 20 : 60);

	if (seed) {
		run((unsigned)seed);
		return;
	}
	for (seed = 1; seed <= runs; seed++)
		run((unsigned)seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_damage)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
