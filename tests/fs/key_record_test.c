/* SPDX-License-Identifier: MIT */
/*
 * key_record_test.c - the records whose keys say what they are: entries, pieces, attributes, notes,
 * meta.
 */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dirent_record.h"
#include "extent_record.h"
#include "inode_record.h"
#include "meta_record.h"
#include "orphan_record.h"
#include "share_record.h"
#include "xattr_record.h"

static struct kv_slice slice(const void *data, size_t size)
{
	return (struct kv_slice){data, size};
}

static void test_dirent(void **state)
{
	uint8_t value[DIRENT_VALUE_SIZE];
	struct dirent_key key, other;
	struct dirent entry;

	dirent_key_encode(42, 5, "name", 4, &key);
	assert_int_equal(dirent_key_decode(slice(key.bytes, key.size), &entry), 0);
	assert_int_equal(entry.parent, 5);
	assert_int_equal(entry.name_size, 4);
	assert_memory_equal(entry.name, "name", 4);
	assert_in_range(entry.hash, DIRENT_HASH_MIN, DIRENT_HASH_MAX);
	assert_true(dirent_hash_matches(42, &entry));
	assert_false(dirent_hash_matches(43, &entry));
	dirent_key_encode(43, 5, "name", 4, &other);
	assert_memory_not_equal(key.bytes, other.bytes, DIRENT_PREFIX_SIZE);

	dirent_value_encode(9, S_IFLNK | 0777, value);
	assert_int_equal(dirent_value_decode(slice(value, sizeof(value)), &entry), 0);
	assert_int_equal(entry.ino, 9);
	assert_int_equal(entry.type, S_IFLNK);
	assert_int_equal(dirent_value_decode(slice(value, sizeof(value) - 1), &entry), -EIO);
	dirent_value_encode(0, S_IFREG, value);
	assert_int_equal(dirent_value_decode(slice(value, sizeof(value)), &entry), -EIO);
	dirent_value_encode(UINT64_MAX, S_IFREG, value);
	assert_int_equal(dirent_value_decode(slice(value, sizeof(value)), &entry), -EIO);
	dirent_value_encode(9, 0, value);
	assert_int_equal(dirent_value_decode(slice(value, sizeof(value)), &entry), -EIO);
}

static void refused_name(const char *name, size_t size)
{
	struct dirent_key key;
	struct dirent entry;

	dirent_key_encode(1, 5, name, size, &key);
	assert_int_equal(dirent_key_decode(slice(key.bytes, key.size), &entry), -EIO);
}

static void test_dirent_names(void **state)
{
	struct dirent_key key;
	struct dirent entry;

	refused_name(".", 1);
	refused_name("..", 2);
	refused_name("a/b", 3);
	refused_name("a\0b", 3);
	refused_name("", 0);
	dirent_key_encode(1, 0, "a", 1, &key);
	assert_int_equal(dirent_key_decode(slice(key.bytes, key.size), &entry), -EIO);
	dirent_key_place(5, DIRENT_HASH_MIN - 1, &key);
	key.bytes[key.size++] = 'a';
	assert_int_equal(dirent_key_decode(slice(key.bytes, key.size), &entry), -EIO);
}

/* Keys sort by parent, then hash: as listing needs it. */
static void test_dirent_order(void **state)
{
	struct dirent_key low, high;

	dirent_key_place(5, DIRENT_HASH_MAX, &low);
	dirent_key_place(6, 0, &high);
	assert_true(memcmp(low.bytes, high.bytes, DIRENT_PREFIX_SIZE) < 0);
	dirent_key_place(256, 3, &low);
	dirent_key_place(256, 256, &high);
	assert_true(memcmp(low.bytes, high.bytes, DIRENT_PREFIX_SIZE) < 0);
}

static int extent_try(uint64_t ino, uint64_t chunk, unsigned slot)
{
	struct extent_place place = {ino, chunk, slot}, out;
	uint8_t key[EXTENT_KEY_SIZE];
	int err;

	extent_key_encode(place, key);
	err = extent_key_decode(slice(key, sizeof(key)), &out);
	if (!err)
		assert_true(out.ino == ino && out.chunk == chunk && out.slot == slot);
	return err;
}

static void test_extent(void **state)
{
	struct extent_place place;

	assert_int_equal(extent_try(3, 0, 0), 0);
	assert_int_equal(extent_try(INODE_INO_MAX, EXTENT_CHUNKS_MAX - 1, EXTENT_BLOCKS), 0);
	assert_int_equal(extent_try(0, 0, 0), -EIO);
	assert_int_equal(extent_try(INODE_INO_MAX + 1, 0, 0), -EIO);
	assert_int_equal(extent_try(3, EXTENT_CHUNKS_MAX, 0), -EIO);
	assert_int_equal(extent_try(3, 0, EXTENT_SLOT_REFERENCE), 0);
	assert_int_equal(extent_try(3, 0, EXTENT_BLOCKS + 1), -EIO);
	assert_int_equal(extent_try(3, 0, EXTENT_SLOT_REFERENCE - 1), -EIO);
	assert_int_equal(extent_try(3, 0, EXTENT_SLOT_REFERENCE + 1), -EIO);
	assert_int_equal(extent_key_decode(slice("0123456789abcdef", 16), &place), -EIO);
}

static void test_share(void **state)
{
	struct share_reference reference = {INODE_INO_MAX, EXTENT_CHUNK_SIZE}, out;
	uint8_t value[SHARE_REFERENCE_SIZE], count[SHARE_COUNT_SIZE], key[SHARE_KEY_SIZE];
	uint64_t number;

	share_reference_encode(reference, value);
	assert_int_equal(share_reference_decode(slice(value, sizeof(value)), &out), 0);
	assert_true(out.id == reference.id && out.size == reference.size);
	assert_int_equal(share_reference_decode(slice(value, sizeof(value) - 1), &out), -EIO);
	share_reference_encode((struct share_reference){5, EXTENT_CHUNK_SIZE + 1}, value);
	assert_int_equal(share_reference_decode(slice(value, sizeof(value)), &out), -EIO);
	share_reference_encode((struct share_reference){5, 0}, value);
	assert_int_equal(share_reference_decode(slice(value, sizeof(value)), &out), -EIO);
	share_reference_encode((struct share_reference){0, 1}, value);
	assert_int_equal(share_reference_decode(slice(value, sizeof(value)), &out), -EIO);
	share_reference_encode((struct share_reference){INODE_INO_MAX + 1, 1}, value);
	assert_int_equal(share_reference_decode(slice(value, sizeof(value)), &out), -EIO);
	share_count_encode(UINT64_C(1) << 40, count);
	assert_int_equal(share_count_decode(slice(count, sizeof(count)), &number), 0);
	assert_int_equal(number, UINT64_C(1) << 40);
	assert_int_equal(share_count_decode(slice(count, 7), &number), -EIO);
	share_count_encode(0, count);
	assert_int_equal(share_count_decode(slice(count, sizeof(count)), &number), -EIO);
	share_key_encode(0x0102, SHARE_COUNT, key);
	assert_memory_equal(key, "\0\0\0\0\0\0\1\2\1", SHARE_KEY_SIZE);
}

static void test_xattr(void **state)
{
	struct xattr_key key;
	struct kv_slice name;
	uint64_t ino;

	xattr_key_encode(8, "user.x", 6, &key);
	assert_int_equal(xattr_key_decode(slice(key.bytes, key.size), &ino, &name), 0);
	assert_int_equal(ino, 8);
	assert_int_equal(name.size, 6);
	assert_memory_equal(name.data, "user.x", 6);
	assert_int_equal(xattr_key_decode(slice(key.bytes, 8), &ino, &name), -EIO);
	xattr_key_encode(8, "a\0b", 3, &key);
	assert_int_equal(xattr_key_decode(slice(key.bytes, key.size), &ino, &name), -EIO);
}

static void test_orphan(void **state)
{
	uint8_t key[INODE_KEY_SIZE], value = ORPHAN_VALUE, wrong = 9;
	uint64_t ino;

	inode_key_encode(77, key);
	assert_int_equal(orphan_record_decode(slice(key, 8), slice(&value, 1), &ino), 0);
	assert_int_equal(ino, 77);
	assert_int_equal(orphan_record_decode(slice(key, 7), slice(&value, 1), &ino), -EIO);
	assert_int_equal(orphan_record_decode(slice(key, 8), slice(&wrong, 1), &ino), -EIO);
	assert_int_equal(orphan_record_decode(slice(key, 8), slice(&value, 0), &ino), -EIO);
}

static void test_meta(void **state)
{
	uint8_t format[META_FORMAT_SIZE], next[META_NEXT_INO_SIZE];
	char name[KV_SNAPSHOT_NAME_MAX + 1];
	uint64_t secret, ino;

	assert_int_equal(meta_rollback_decode(slice("s p", 3), name), 0);
	assert_string_equal(name, "s p");
	assert_int_equal(meta_rollback_decode(slice("", 0), name), -EIO);
	assert_int_equal(meta_rollback_decode(slice("s", 2), name), -EIO);
	meta_format_encode(0x1234, format);
	assert_int_equal(meta_format_decode(slice(format, sizeof(format)), &secret), 0);
	assert_int_equal(secret, 0x1234);
	assert_int_equal(meta_format_decode(slice(format, 15), &secret), -EIO);
	format[0]++;
	assert_int_equal(
		meta_format_decode(slice(format, sizeof(format)), &secret), -EPROTONOSUPPORT);
	format[0] = 0;
	assert_int_equal(meta_format_decode(slice(format, sizeof(format)), &secret), -EIO);
	meta_next_ino_encode(99, next);
	assert_int_equal(meta_next_ino_decode(slice(next, sizeof(next)), &ino), 0);
	assert_int_equal(ino, 99);
	meta_next_ino_encode(INODE_INO_MAX + 1, next);
	assert_int_equal(meta_next_ino_decode(slice(next, sizeof(next)), &ino), -EIO);
	meta_next_ino_encode(KVFS_ROOT_INO, next);
	assert_int_equal(meta_next_ino_decode(slice(next, sizeof(next)), &ino), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dirent),
		cmocka_unit_test(test_dirent_names),
		cmocka_unit_test(test_dirent_order),
		cmocka_unit_test(test_extent),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_xattr),
		cmocka_unit_test(test_orphan),
		cmocka_unit_test(test_meta),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
