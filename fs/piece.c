/* SPDX-License-Identifier: MIT */
/*
 * piece.c - the pieces that larger contents are stored in.
 */
#include "piece.h"

#include <errno.h>
#include <string.h>

#include "record.h"
#include "share.h"

static int check_size(struct kvfs *fs, struct extent_place place, struct kv_slice value)
{
	return value.size > extent_size_max(place.slot)
		? fs_damaged(fs, place.ino, "a piece of its contents is too large") : 0;
}

int piece_get(struct kvfs *fs, struct extent_place place, struct kv_slice *out)
{
	uint8_t key[EXTENT_KEY_SIZE];
	int err;

	extent_key_encode(place, key);
	err = record_get(fs, KEYSPACE_EXTENT, key, sizeof(key), out);
	return err ? err : check_size(fs, place, *out);
}

int piece_get_part(struct kvfs *fs, struct extent_place place, size_t offset, size_t size,
	struct kv_slice *out)
{
	uint8_t key[EXTENT_KEY_SIZE];
	int err;

	extent_key_encode(place, key);
	err = record_get_part(fs, KEYSPACE_EXTENT, key, sizeof(key), offset, size, out);
	return err ? err : check_size(fs, place, *out);
}

int piece_get_whole(struct kvfs *fs, const struct inode *inode, uint64_t chunk, size_t offset,
	size_t size, struct kv_slice *out)
{
	struct extent_place place = {inode->ino, chunk, EXTENT_SLOT_CHUNK};
	int err = piece_get_part(fs, place, offset, size, out);

	if (err == -ENOENT && inode->flags & INODE_SHARES)
		err = share_get(fs, inode->ino, chunk, out);
	return err;
}

void piece_prefetch(struct kvfs *fs, struct extent_place place)
{
	uint8_t key[EXTENT_KEY_SIZE];

	extent_key_encode(place, key);
	kv_prefetch(fs->kv, KEYSPACE_EXTENT, key, sizeof(key));
}

int piece_size(struct kvfs *fs, struct extent_place place, size_t *out)
{
	struct share_reference reference;
	uint8_t key[EXTENT_KEY_SIZE];
	uint64_t size;
	int err;

	if (place.slot == EXTENT_SLOT_REFERENCE) {
		err = share_find(fs, place.ino, place.chunk, &reference);
		if (!err)
			*out = reference.size;
		return err;
	}
	extent_key_encode(place, key);
	err = record_size(fs, KEYSPACE_EXTENT, key, sizeof(key), &size);
	if (err)
		return err;
	if (size > extent_size_max(place.slot))
		return fs_damaged(fs, place.ino, "a piece of its contents is too large");
	*out = (size_t)size;
	return 0;
}

int piece_put(struct change *change, struct extent_place place, const void *data, size_t size)
{
	uint8_t key[EXTENT_KEY_SIZE];

	extent_key_encode(place, key);
	return kv_batch_put(change->batch, KEYSPACE_EXTENT, key, sizeof(key), data, size);
}

int piece_put_lent(struct change *change, struct extent_place place, const void *data, size_t size)
{
	uint8_t key[EXTENT_KEY_SIZE];

	extent_key_encode(place, key);
	return kv_batch_put_lent(change->batch, KEYSPACE_EXTENT, key, sizeof(key), data, size);
}

int piece_delete(struct change *change, struct extent_place place)
{
	uint8_t key[EXTENT_KEY_SIZE];

	extent_key_encode(place, key);
	return kv_batch_delete(change->batch, KEYSPACE_EXTENT, key, sizeof(key));
}

static void chunk_add(struct chunk *chunk, unsigned slot, size_t size)
{
	uint16_t bit;

	if (slot == EXTENT_SLOT_CHUNK || slot == EXTENT_SLOT_REFERENCE) {
		chunk->whole = true;
		chunk->shared = slot == EXTENT_SLOT_REFERENCE;
		chunk->whole_size = (uint32_t)size;
		/* A reference comes behind the blocks that hide parts of it. */
		chunk->data |= chunk_mask((uint32_t)size) & (uint16_t)~chunk->overlaid;
		return;
	}
	bit = (uint16_t)(1u << (slot - EXTENT_SLOT_BLOCK));
	chunk->overlaid |= bit;
	chunk->data = size ? chunk->data | bit : chunk->data & (uint16_t)~bit;
}

int chunk_delete_whole(struct change *change, uint64_t ino, struct chunk *chunk)
{
	struct extent_place place = {ino, chunk->number, EXTENT_SLOT_CHUNK};
	bool whole = chunk->whole, shared = chunk->shared;

	chunk->whole = chunk->shared = false;
	chunk->whole_size = 0;
	if (!whole)
		return 0;
	return shared ? share_drop(change, ino, chunk->number) : piece_delete(change, place);
}

int chunk_delete(struct change *change, uint64_t ino, const struct chunk *chunk)
{
	struct extent_place place = {ino, chunk->number, EXTENT_SLOT_CHUNK};
	struct chunk gone = *chunk;
	int err = chunk_delete_whole(change, ino, &gone);

	for (unsigned block = 0; !err && block < EXTENT_BLOCKS; block++) {
		place.slot = EXTENT_SLOT_BLOCK + block;
		if (chunk->overlaid & 1u << block)
			err = piece_delete(change, place);
	}
	return err;
}

int chunk_read_block(struct kvfs *fs, uint64_t ino, const struct chunk *chunk, unsigned block,
	uint8_t out[EXTENT_BLOCK_SIZE], uint32_t *out_size)
{
	bool overlaid = chunk->overlaid & 1u << block;
	uint32_t skip = overlaid ? 0 : block * EXTENT_BLOCK_SIZE;
	struct extent_place place = {ino, chunk->number, EXTENT_SLOT_CHUNK};
	struct kv_slice piece;
	uint32_t size = 0;
	int err;

	if (overlaid)
		place.slot = EXTENT_SLOT_BLOCK + block;
	if (chunk->data & 1u << block) {
		err = chunk->shared && !overlaid
			      ? share_get(fs, ino, chunk->number, &piece)
			      : piece_get_part(fs, place, skip, EXTENT_BLOCK_SIZE, &piece);
		if (err)
			return err;
		if (piece.size > skip)
			size = (uint32_t)(piece.size - skip);
		if (size > EXTENT_BLOCK_SIZE)
			size = EXTENT_BLOCK_SIZE;
		if (size)
			memcpy(out, (const uint8_t *)piece.data + skip, size);
	}
	*out_size = size;
	return 0;
}

int chunk_settle(struct change *change, struct inode *inode, struct chunk *chunk)
{
	if (!chunk->whole)
		return 0;
	if (chunk_mask(chunk->whole_size) & ~chunk->overlaid) {
		inode->flags |= INODE_MIXED;
		return 0;
	}
	return chunk_delete_whole(change, inode->ino, chunk);
}

int piece_walk_start(struct kvfs *fs, struct scratch *scratch, uint64_t ino, uint64_t chunk,
	bool keys_only, struct piece_walk *out)
{
	struct piece_walk walk = {.fs = fs, .ino = ino, .keys_only = keys_only};
	uint8_t key[EXTENT_KEY_SIZE];
	int err = scratch_cursor(scratch, KEYSPACE_EXTENT, &walk.cursor);

	if (err)
		return err;
	extent_key_encode((struct extent_place){ino, chunk, 0}, key);
	err = kv_cursor_seek(walk.cursor, key, sizeof(key));
	if (err && err != -ENOENT)
		return err;
	walk.more = !err;
	*out = walk;
	return 0;
}

/* The piece under the cursor; -ENOENT if it is another file's, or gone. */
static int walk_piece(struct piece_walk *walk, struct extent_place *place, size_t *size)
{
	struct kv_slice key = kv_cursor_key(walk->cursor);
	uint8_t prefix[INODE_KEY_SIZE];

	inode_key_encode(walk->ino, prefix);
	if (key.size < sizeof(prefix) || memcmp(key.data, prefix, sizeof(prefix))) {
		walk->more = false;
		return -ENOENT;
	}
	if (extent_key_decode(key, place))
		return fs_damaged(walk->fs, walk->ino, "a piece's key makes no sense");
	*size = extent_size_max(place->slot);
	return walk->keys_only ? 0 : piece_size(walk->fs, *place, size);
}

int piece_walk_next(struct piece_walk *walk, struct chunk *out)
{
	struct chunk chunk = {0};
	bool found = false;

	while (walk->more) {
		struct extent_place place;
		size_t size = 0;
		int err = walk_piece(walk, &place, &size);

		if (err && err != -ENOENT)
			return err;
		if (!walk->more || (!err && found && place.chunk != chunk.number))
			break;
		if (!err) {
			found = true;
			chunk.number = place.chunk;
			chunk_add(&chunk, place.slot, size);
		}
		err = kv_cursor_next(walk->cursor);
		if (err && err != -ENOENT)
			return err;
		walk->more = !err;
	}
	if (!found)
		return -ENOENT;
	*out = chunk;
	return 0;
}

/* Looks at the sizes that the keys do not tell. */
static int chunk_measure(struct kvfs *fs, uint64_t ino, uint16_t exact, struct chunk *chunk)
{
	struct extent_place place = {ino, chunk->number, EXTENT_SLOT_CHUNK};
	size_t size;
	int err;

	if (chunk->shared)
		place.slot = EXTENT_SLOT_REFERENCE;
	if (chunk->whole) {
		err = piece_size(fs, place, &size);
		if (err)
			return err;
		chunk->whole_size = (uint32_t)size;
	}
	chunk->data = chunk->overlaid | (chunk->whole ? chunk_mask(chunk->whole_size) : 0);
	for (unsigned block = 0; block < EXTENT_BLOCKS; block++) {
		if (!(chunk->overlaid & exact & 1u << block))
			continue;
		place.slot = EXTENT_SLOT_BLOCK + block;
		err = piece_size(fs, place, &size);
		if (err)
			return err;
		if (!size)
			chunk->data &= (uint16_t) ~(1u << block);
	}
	return 0;
}

int chunk_get(struct change *change, const struct inode *inode, uint64_t number, uint16_t exact,
	struct chunk *out)
{
	struct extent_place place = {inode->ino, number, EXTENT_SLOT_CHUNK};
	struct chunk chunk = {.number = number}, found;
	struct piece_walk walk;
	size_t size;
	int err;

	if (!(inode->flags & INODE_MIXED)) {
		err = piece_size(change->fs, place, &size);
		if (err && err != -ENOENT)
			return err;
		if (!err) {
			chunk_add(&chunk, EXTENT_SLOT_CHUNK, size);
			*out = chunk;
			return 0;
		}
	}
	err = piece_walk_start(change->fs, change->scratch, inode->ino, number, true, &walk);
	if (!err)
		err = piece_walk_next(&walk, &found);
	if (!err && found.number == number) {
		err = chunk_measure(change->fs, inode->ino, exact, &found);
		chunk = found;
	}
	if (err && err != -ENOENT)
		return err;
	*out = chunk;
	return 0;
}
