/* SPDX-License-Identifier: MIT */
/*
 * check_contents.c - checks what belongs to inodes: pieces, extended attributes, notes of what is
 * to be freed; and that each of these belongs to one.
 */
#include <errno.h>

#include "check.h"
#include "extent_record.h"
#include "record.h"
#include "orphan_record.h"
#include "piece.h"
#include "xattr_record.h"

/* Does the chunk lie inside the file? */
static bool chunk_inside(const struct chunk *chunk, uint64_t size)
{
	uint64_t base = chunk->number * EXTENT_CHUNK_SIZE;

	if (base >= size)
		return false;
	size -= base;
	if (size >= EXTENT_CHUNK_SIZE)
		return true;
	return chunk->whole_size <= size && !(chunk->overlaid & ~chunk_mask((uint32_t)size));
}

static int check_pieces(
	struct check *check, const struct check_place *place, const struct inode *inode)
{
	struct piece_walk walk;
	struct chunk chunk;
	uint64_t blocks = 0;
	int err;

	if (inode->contents != INODE_EXTENTS)
		return 0;
	err = piece_walk_start(check->fs, check->inner, inode->ino, 0, false, &walk);
	while (!err && !(err = piece_walk_next(&walk, &chunk))) {
		blocks += chunk_blocks(&chunk);
		if (chunk.shared && !(inode->flags & INODE_SHARES))
			check_finding(check, place,
				"chunk %llu is a reference that is not looked for",
				(unsigned long long)chunk.number);
		check->any_shares |= chunk.shared;
		if (chunk.whole && chunk.overlaid && !(inode->flags & INODE_MIXED))
			check_finding(check, place, "chunk %llu has hidden pieces",
				(unsigned long long)chunk.number);
		if (!(inode->flags & INODE_TRIM) && !chunk_inside(&chunk, inode->size))
			check_finding(check, place, "chunk %llu reaches beyond its end",
				(unsigned long long)chunk.number);
	}
	if (err == -EIO)
		check_finding(check, place, "its contents cannot be read");
	else if (err && err != -ENOENT)
		return err;
	else if (blocks != inode->blocks)
		check_finding(check, place, "it has %llu blocks, %llu are counted",
			(unsigned long long)blocks, (unsigned long long)inode->blocks);
	return 0;
}

static void check_attribute_lost(
	struct check *check, const struct check_place *place, struct kv_slice name)
{
	char text[CHECK_SHOWN_SIZE];

	check_show(name.data, name.size, text);
	check_finding(check, place, "its attribute \"%s\" cannot be read", text);
}

static int check_attributes(
	struct check *check, const struct check_place *place, const struct inode *inode)
{
	struct kv_cursor *cursor;
	struct xattr_key key;
	struct kv_slice name, value;
	uint64_t owner, size = 0;
	int err;

	if (!inode->xattr_list_size)
		return 0;
	err = scratch_cursor(check->inner, KEYSPACE_XATTR, &cursor);
	if (err)
		return err;
	xattr_key_encode(inode->ino, "", 0, &key);
	for (err = kv_cursor_seek(cursor, key.bytes, key.size); !err;
		err = kv_cursor_next(cursor)) {
		if (xattr_key_decode(kv_cursor_key(cursor), &owner, &name) || owner != inode->ino)
			break;
		size += name.size + 1;
		if (kv_cursor_value(cursor, &value))
			check_attribute_lost(check, place, name);
	}
	if (err && err != -ENOENT)
		return err;
	if (size != inode->xattr_list_size)
		check_finding(check, place, "its attributes' names take %llu bytes, not %u",
			(unsigned long long)size, inode->xattr_list_size);
	return 0;
}

int check_inode(struct check *check, const struct check_place *place, const struct inode *inode)
{
	uint8_t key[INODE_KEY_SIZE];
	int err = check_pieces(check, place, inode);

	if (!err)
		err = check_attributes(check, place, inode);
	if (err || !(inode->flags & INODE_TRIM))
		return err;
	inode_key_encode(inode->ino, key);
	err = record_exists(check->fs, KEYSPACE_ORPHAN, key, sizeof(key));
	if (err == -ENOENT)
		check_finding(check, place, "it is to be trimmed, but that is not noted");
	return err == -ENOENT ? 0 : err;
}

/* The note under the cursor. In a read section. */
static int check_orphan(struct check *check, struct kv_cursor *cursor)
{
	struct check_place place = {0};
	struct kv_slice value;
	struct inode inode;
	int first, err = kv_cursor_value(cursor, &value);

	if (!err)
		err = orphan_record_decode(kv_cursor_key(cursor), value, &place.ino);
	if (err) {
		if (check_is_damage(check, err))
			check_finding(check, NULL, "a note of an unlinked file makes no sense");
		return 0;
	}
	err = inode_get(check->fs, place.ino, &inode);
	if (err == -ENOENT || err == -EIO) {
		check_finding(check, &place, "it is noted as unlinked, but cannot be read");
		return 0;
	}
	if (err)
		return err;
	if (inode.nlink && !(inode.flags & INODE_TRIM))
		check_finding(check, &place, "it is noted as unlinked, but its link count is %u",
			inode.nlink);
	if (inode.nlink)
		return 0;
	/* Some pieces of a file without a name may be freed already: they are not compared. */
	first = number_set_add(&check->seen, inode.ino);
	if (first > 0)
		check->inodes++;
	return first < 0 ? first : 0;
}

int check_orphans(struct check *check)
{
	struct kv_cursor *cursor;
	int err = scratch_cursor(check->outer, KEYSPACE_ORPHAN, &cursor);

	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		err = check_step(check);
		if (err)
			return err;
		kv_read_begin(check->fs->kv);
		err = check_orphan(check, cursor);
		kv_read_end(check->fs->kv);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

/* Pieces from the cursor on belong to `ino`: may they? */
static void check_piece_owner(struct check *check, uint64_t ino)
{
	struct check_place place = {.ino = ino};
	struct inode inode;
	int err;

	kv_read_begin(check->fs->kv);
	err = inode_get(check->fs, ino, &inode);
	kv_read_end(check->fs->kv);
	if (err && check_is_damage(check, err))
		check_finding(check, &place, "it has contents but no record");
	else if (!err && inode.contents != INODE_EXTENTS)
		check_finding(check, &place, "it has pieces of contents that it should not have");
}

static void check_attribute_owner(struct check *check, uint64_t ino)
{
	struct check_place place = {.ino = ino};
	struct inode inode;
	int err;

	kv_read_begin(check->fs->kv);
	err = inode_get(check->fs, ino, &inode);
	kv_read_end(check->fs->kv);
	if (err && check_is_damage(check, err))
		check_finding(check, &place, "it has attributes but no record");
	else if (!err && !inode.xattr_list_size)
		check_finding(check, &place, "it has attributes that it should not have");
}

/* Steps from owner to owner, skipping all but the first piece of each. */
static int check_piece_owners(struct check *check)
{
	struct extent_place place;
	struct kv_cursor *cursor;
	uint8_t key[EXTENT_KEY_SIZE];
	int err = scratch_cursor(check->outer, KEYSPACE_EXTENT, &cursor);

	if (err)
		return err;
	err = kv_cursor_first(cursor);
	while (!err && !(err = check_step(check))) {
		if (extent_key_decode(kv_cursor_key(cursor), &place)) {
			check_finding(check, NULL, "the key of a piece of contents makes no sense");
			err = kv_cursor_next(cursor);
			continue;
		}
		check_piece_owner(check, place.ino);
		extent_key_encode((struct extent_place){place.ino + 1, 0, 0}, key);
		err = kv_cursor_seek(cursor, key, sizeof(key));
	}
	return err == -ENOENT ? 0 : err;
}

static int check_attribute_owners(struct check *check)
{
	struct kv_cursor *cursor;
	struct xattr_key key;
	struct kv_slice name;
	uint64_t owner;
	int err = scratch_cursor(check->outer, KEYSPACE_XATTR, &cursor);

	if (err)
		return err;
	err = kv_cursor_first(cursor);
	while (!err && !(err = check_step(check))) {
		if (xattr_key_decode(kv_cursor_key(cursor), &owner, &name)) {
			check_finding(check, NULL, "the key of an attribute makes no sense");
			err = kv_cursor_next(cursor);
			continue;
		}
		check_attribute_owner(check, owner);
		xattr_key_encode(owner + 1, "", 0, &key);
		err = kv_cursor_seek(cursor, key.bytes, key.size);
	}
	return err == -ENOENT ? 0 : err;
}

int check_owners(struct check *check)
{
	int err = check_piece_owners(check);

	return err ? err : check_attribute_owners(check);
}
