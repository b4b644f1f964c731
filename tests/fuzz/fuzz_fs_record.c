/* SPDX-License-Identifier: MIT */
/*
 * fuzz_fs_record.c - the records of the file system: inodes, directory entries, extents, extended
 * attributes, orphans and those about itself, from any bytes. What is accepted is within its
 * bounds, and is encoded the same.
 *
 * Input: the kind, the key's size, then key and value.
 */
#include <stdlib.h>

#include "dirent_record.h"
#include "extent_record.h"
#include "fuzz.h"
#include "inode_record.h"
#include "meta_record.h"
#include "orphan_record.h"
#include "share_record.h"
#include "xattr_record.h"

enum kind {
	KIND_INODE,
	KIND_DIRENT,
	KIND_EXTENT,
	KIND_XATTR,
	KIND_ORPHAN,
	KIND_META,
	KIND_SHARE,
	KINDS
};

#define SECRET UINT64_C(0x0123456789abcdef)

static void must(bool holds)
{
	if (!holds)
		abort();
}

static uint8_t sum; /* of what was read, so that it is read */

static void look_at(const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum += ((const uint8_t *)bytes)[i];
}

static void try_inode(struct kv_slice value)
{
	uint8_t head[INODE_HEAD_MAX];
	struct inode inode;
	size_t size;

	if (inode_record_decode(77, value, &inode) < 0)
		return;
	must(inode.ino == 77 && inode.body.size <= value.size);
	look_at(inode.body.data, inode.body.size);
	size = inode_record_encode(&inode, inode.body.size, head);
	must(size + inode.body.size == value.size && memcmp(head, value.data, size) == 0);
}

static void try_dirent(struct kv_slice key, struct kv_slice value)
{
	uint8_t again[DIRENT_VALUE_SIZE];
	struct dirent entry = {.ino = 0};
	struct dirent_key encoded;

	if (dirent_key_decode(key, &entry) == 0) {
		must(entry.name_size > 0 && entry.name_size <= KVFS_NAME_MAX);
		look_at(entry.name, entry.name_size);
		dirent_key_encode(SECRET, entry.parent, entry.name, entry.name_size, &encoded);
		must(encoded.size == key.size);
		must(dirent_hash_matches(SECRET, &entry) ==
			(memcmp(encoded.bytes, key.data, key.size) == 0));
	}
	if (dirent_value_decode(value, &entry) == 0) {
		dirent_value_encode(entry.ino, entry.type, again);
		must(value.size == sizeof(again) && memcmp(again, value.data, sizeof(again)) == 0);
	}
}

static void try_extent(struct kv_slice key)
{
	uint8_t again[EXTENT_KEY_SIZE];
	struct extent_place place;

	if (extent_key_decode(key, &place) < 0)
		return;
	must(extent_size_max(place.slot) > 0);
	extent_key_encode(place, again);
	must(key.size == sizeof(again) && memcmp(again, key.data, sizeof(again)) == 0);
}

static void try_xattr(struct kv_slice key)
{
	struct xattr_key again;
	struct kv_slice name;
	uint64_t ino;

	if (xattr_key_decode(key, &ino, &name) < 0)
		return;
	must(name.size <= KVFS_XATTR_NAME_MAX);
	look_at(name.data, name.size);
	xattr_key_encode(ino, name.data, name.size, &again);
	must(again.size == key.size && memcmp(again.bytes, key.data, key.size) == 0);
}

static void try_orphan(struct kv_slice key, struct kv_slice value)
{
	uint8_t again[INODE_KEY_SIZE];
	uint64_t ino;

	if (orphan_record_decode(key, value, &ino) < 0)
		return;
	inode_key_encode(ino, again);
	must(key.size == sizeof(again) && memcmp(again, key.data, sizeof(again)) == 0);
}

static void try_meta(struct kv_slice value)
{
	uint8_t format[META_FORMAT_SIZE], next[META_NEXT_INO_SIZE], limit[META_SIZE_LIMIT_SIZE];
	char name[KV_SNAPSHOT_NAME_MAX + 1];
	uint64_t number;

	if (meta_rollback_decode(value, name) == 0)
		must(value.size == strlen(name) && memcmp(name, value.data, value.size) == 0);
	if (meta_format_decode(value, &number) == 0) {
		meta_format_encode(number, format);
		must(value.size == sizeof(format) &&
			memcmp(format, value.data, sizeof(format)) == 0);
	}
	if (meta_next_ino_decode(value, &number) == 0) {
		meta_next_ino_encode(number, next);
		must(value.size == sizeof(next) && memcmp(next, value.data, sizeof(next)) == 0);
	}
	if (meta_size_limit_decode(value, &number) == 0) {
		meta_size_limit_encode(number, limit);
		must(value.size == sizeof(limit) && memcmp(limit, value.data, sizeof(limit)) == 0);
	}
}

static void try_share(struct kv_slice value)
{
	uint8_t reference[SHARE_REFERENCE_SIZE], count[SHARE_COUNT_SIZE];
	struct share_reference decoded;
	uint64_t number;

	if (share_reference_decode(value, &decoded) == 0) {
		must(decoded.id && decoded.size && decoded.size <= EXTENT_CHUNK_SIZE);
		share_reference_encode(decoded, reference);
		must(memcmp(reference, value.data, sizeof(reference)) == 0);
	}
	if (share_count_decode(value, &number) == 0) {
		must(number > 0);
		share_count_encode(number, count);
		must(memcmp(count, value.data, sizeof(count)) == 0);
	}
}

static void try_record(enum kind kind, struct kv_slice key, struct kv_slice value)
{
	switch (kind) {
	case KIND_INODE:
		try_inode(value);
		break;
	case KIND_DIRENT:
		try_dirent(key, value);
		break;
	case KIND_EXTENT:
		try_extent(key);
		break;
	case KIND_XATTR:
		try_xattr(key);
		break;
	case KIND_ORPHAN:
		try_orphan(key, value);
		break;
	case KIND_SHARE:
		try_share(value);
		break;
	default:
		try_meta(value);
		break;
	}
}

/* In memory of exactly its size, so that a read beyond it is seen. */
static void *copy_of(struct fuzz_input *input, size_t size)
{
	uint8_t *bytes = malloc(size + 1);

	must(bytes != NULL);
	bytes = realloc(bytes, size > 0 ? size : 1);
	must(bytes != NULL);
	fuzz_bytes(input, bytes, size);
	return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	enum kind kind = fuzz_u8(&input) % KINDS;
	size_t key_size = fuzz_u8(&input) + 16 * (size_t)(fuzz_u8(&input) & 1);
	struct kv_slice key, value;

	if (size > 65536 || key_size > input.left)
		return 0;
	key = (struct kv_slice){copy_of(&input, key_size), key_size};
	value.size = input.left;
	value.data = copy_of(&input, value.size);
	try_record(kind, key, value);
	free((void *)(uintptr_t)key.data);
	free((void *)(uintptr_t)value.data);
	return 0;
}
