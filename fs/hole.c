/* SPDX-License-Identifier: MIT */
/*
 * hole.c - holes in files: making them (fallocate) and finding them (seek). Both walk the pieces
 * that there are.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#include "inode.h"
#include "limit.h"
#include "piece.h"
#include "size.h"

/* Bytes [from, to) of a file become a hole. */
struct hole {
	struct change *change;
	struct inode *inode;
	uint64_t from, to;
};

static const uint8_t zeros[INODE_INLINE_MAX];

/* All of a block. */
static int punch_block(struct hole *hole, struct chunk *chunk, unsigned block)
{
	struct extent_place place = {hole->inode->ino, chunk->number, EXTENT_SLOT_BLOCK + block};
	uint16_t bit = (uint16_t)(1u << block);
	int err;

	if (chunk->whole && chunk_mask(chunk->whole_size) & bit) {
		err = piece_put(hole->change, place, zeros, 0);
		chunk->overlaid |= bit;
	} else {
		err = piece_delete(hole->change, place);
		chunk->overlaid &= (uint16_t)~bit;
	}
	chunk->data &= (uint16_t)~bit;
	return err;
}

/* Bytes [from, to) of a block. */
static int punch_part(
	struct hole *hole, struct chunk *chunk, unsigned block, uint32_t from, uint32_t to)
{
	struct extent_place place = {hole->inode->ino, chunk->number, EXTENT_SLOT_BLOCK + block};
	uint8_t bytes[EXTENT_BLOCK_SIZE];
	uint32_t size;
	int err = chunk_read_block(hole->change->fs, place.ino, chunk, block, bytes, &size);

	if (err || size <= from)
		return err;
	memset(bytes + from, 0, (to < size ? to : size) - from);
	chunk->overlaid |= (uint16_t)(1u << block);
	return piece_put(hole->change, place, bytes, size);
}

/* Bytes [from, to) of a chunk. */
static int punch_chunk(struct hole *hole, struct chunk *chunk, uint32_t from, uint32_t to)
{
	unsigned first = from / EXTENT_BLOCK_SIZE;
	unsigned last = (to - 1) / EXTENT_BLOCK_SIZE;

	if (!from && to == EXTENT_CHUNK_SIZE) {
		chunk->data = 0;
		return chunk_delete(hole->change, hole->inode->ino, chunk);
	}
	for (unsigned block = first; block <= last; block++) {
		uint32_t start = block * EXTENT_BLOCK_SIZE;
		uint32_t begin = from > start ? from - start : 0;
		uint32_t end = to - start < EXTENT_BLOCK_SIZE ? to - start : EXTENT_BLOCK_SIZE;
		int err;

		if (!(chunk->data & 1u << block))
			continue;
		if (!begin && end == EXTENT_BLOCK_SIZE)
			err = punch_block(hole, chunk, block);
		else
			err = punch_part(hole, chunk, block, begin, end);
		if (err)
			return err;
	}
	return chunk_settle(hole->change, hole->inode, chunk);
}

static int punch_walked(struct hole *hole, struct chunk *chunk)
{
	uint64_t base = chunk->number * EXTENT_CHUNK_SIZE;
	uint64_t end = hole->to - base;
	uint32_t from = hole->from > base ? (uint32_t)(hole->from - base) : 0;
	uint32_t to = end < EXTENT_CHUNK_SIZE ? (uint32_t)end : EXTENT_CHUNK_SIZE;
	int err;

	inode_add_blocks(hole->inode, -(int)chunk_blocks(chunk));
	err = punch_chunk(hole, chunk, from, to);
	inode_add_blocks(hole->inode, (int)chunk_blocks(chunk));
	return err;
}

/* Commits what has been gathered, to go on with an empty batch. */
static int punch_commit(struct hole *hole)
{
	int err = inode_put(hole->change, hole->inode);

	if (!err)
		err = change_commit(hole->change);
	if (!err)
		change_continue(hole->change);
	return err;
}

static int punch_pieces(struct hole *hole)
{
	struct change *change = hole->change;
	struct piece_walk walk;
	struct chunk chunk;
	int err = piece_walk_start(change->fs, change->scratch, hole->inode->ino,
		hole->from / EXTENT_CHUNK_SIZE, false, &walk);

	if (err)
		return err;
	while (!(err = piece_walk_next(&walk, &chunk))) {
		if (chunk.number * EXTENT_CHUNK_SIZE >= hole->to)
			return 0;
		if (kv_batch_count(change->batch) >= SIZE_STEP)
			err = punch_commit(hole);
		if (!err)
			err = punch_walked(hole, &chunk);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

/* Inline contents: the inode is put here. */
static int punch_inline(struct hole *hole)
{
	struct inode *inode = hole->inode;
	struct kv_slice body = inode->body;
	struct kv_slice parts[INODE_PARTS_MAX];
	unsigned count = 0;

	if (hole->from >= body.size)
		return inode_put(hole->change, inode);
	if (hole->from)
		parts[count++] = (struct kv_slice){body.data, hole->from};
	if (hole->to < body.size) {
		parts[count++] = (struct kv_slice){zeros, hole->to - hole->from};
		parts[count++] = (struct kv_slice){
			(const uint8_t *)body.data + hole->to, body.size - hole->to};
	}
	return inode_put_body(hole->change, inode, parts, count);
}

/* Fills the batch with what is left to commit. */
static int punch(struct change *change, struct inode *inode, uint64_t from, uint64_t to)
{
	struct hole hole = {change, inode, from, to};
	int err;

	/* Behind the end of the file there is nothing; up to it, whole blocks can go. */
	if (to >= inode->size)
		hole.to =
			(inode->size + EXTENT_CHUNK_SIZE - 1) & ~(uint64_t)(EXTENT_CHUNK_SIZE - 1);
	if (inode->contents == INODE_INLINE)
		return punch_inline(&hole);
	if (hole.from < hole.to) {
		err = punch_pieces(&hole);
		if (err)
			return err;
	}
	return inode_put(change, inode);
}

/* The mode's bits make sense, and so does the range. */
static int allocate_valid(int mode, int64_t offset, int64_t size)
{
	switch (mode) {
	case 0:
	case FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (offset < 0 || size <= 0)
		return -EINVAL;
	if (offset > KVFS_FILE_SIZE_MAX || size > KVFS_FILE_SIZE_MAX - offset)
		return -EFBIG;
	return 0;
}

/* Nothing can be reserved in a log; but what surely does not fit is refused now rather than later.
 */
static int allocate_space(struct kvfs *fs, int mode, int64_t size)
{
	struct kv_stats stats;

	if (mode & FALLOC_FL_PUNCH_HOLE)
		return 0;
	kv_stats(fs->kv, &stats);
	limit_space(fs, &stats.avail_bytes, &stats.capacity_bytes);
	return (uint64_t)size > stats.avail_bytes ? -ENOSPC : 0;
}

/* Fills the batch. */
static int allocate(
	struct change *change, struct inode *inode, int mode, uint64_t offset, uint64_t size)
{
	int err = size_settle(change, inode);

	if (err)
		return err;
	inode->mtime = inode->ctime = change->now;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && offset + size > inode->size)
		inode->size = offset + size;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		kv_batch_set_frees(change->batch);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return punch(change, inode, offset, offset + size);
	return inode_put(change, inode);
}

int kvfs_fallocate(struct kvfs *fs, uint64_t ino, int mode, int64_t offset, int64_t size)
{
	struct change change;
	struct inode inode;
	int err = allocate_valid(mode, offset, size);

	if (!err)
		err = allocate_space(fs, mode, size);
	if (!err)
		err = change_begin(fs, &change);
	if (err)
		return err;
	change_lock(&change, &ino, 1);
	err = inode_load(&change, ino, &inode);
	if (!err && !S_ISREG(inode.mode))
		err = S_ISDIR(inode.mode) ? -EISDIR : -ENODEV;
	if (!err)
		err = allocate(&change, &inode, mode, (uint64_t)offset, (uint64_t)size);
	if (!err)
		err = change_commit(&change);
	change_end(&change);
	return err;
}

/* The first block of the chunk, from `block` on, that has data (or has none); EXTENT_BLOCKS if
 * none. */
static unsigned find_block(const struct chunk *chunk, unsigned block, bool data)
{
	while (block < EXTENT_BLOCKS && !!(chunk->data & 1u << block) != data)
		block++;
	return block;
}

/* Searches from `offset` on, as if the file had no end. -ENXIO: there is no more data. */
static int64_t seek_pieces(
	struct kvfs *fs, struct scratch *scratch, uint64_t ino, uint64_t offset, bool data)
{
	uint64_t at = offset;
	struct piece_walk walk;
	struct chunk chunk;
	int err = piece_walk_start(fs, scratch, ino, at / EXTENT_CHUNK_SIZE, false, &walk);

	if (err)
		return err;
	while (!(err = piece_walk_next(&walk, &chunk))) {
		uint64_t base = chunk.number * EXTENT_CHUNK_SIZE;
		unsigned block;

		if (base > at) {
			if (!data)
				return (int64_t)at;
			at = base;
		}
		block = find_block(&chunk, (unsigned)((at - base) / EXTENT_BLOCK_SIZE), data);
		if (block < EXTENT_BLOCKS) {
			base += block * EXTENT_BLOCK_SIZE;
			return (int64_t)(base > at ? base : at);
		}
		at = base + EXTENT_CHUNK_SIZE;
	}
	if (err != -ENOENT)
		return err;
	return data ? -ENXIO : (int64_t)at;
}

static int64_t seek_inode(
	struct kvfs *fs, struct scratch *scratch, uint64_t ino, uint64_t offset, bool data)
{
	struct inode inode;
	int64_t result = inode_get(fs, ino, &inode);

	if (result)
		return result;
	if (!S_ISREG(inode.mode))
		return S_ISDIR(inode.mode) ? -EISDIR : -EINVAL;
	if (offset >= inode.size)
		return -ENXIO;
	if (inode.contents == INODE_EXTENTS)
		result = seek_pieces(fs, scratch, ino, offset, data);
	else if (data)
		result = offset < inode.body.size ? (int64_t)offset : -ENXIO;
	else
		result = (int64_t)(offset < inode.body.size ? inode.body.size : offset);
	if (result < 0 || (uint64_t)result < inode.size)
		return result;
	return data ? -ENXIO : (int64_t)inode.size;
}

int64_t kvfs_seek(struct kvfs *fs, uint64_t ino, int64_t offset, int whence)
{
	struct scratch *scratch;
	int64_t result;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (offset < 0)
		return -ENXIO;
	result = scratch_take(&fs->scratch, &scratch);
	if (result)
		return result;
	stripe_lock_shared(fs->stripes, ino);
	kv_read_begin(fs->kv);
	result = seek_inode(fs, scratch, ino, (uint64_t)offset, whence == SEEK_DATA);
	kv_read_end(fs->kv);
	stripe_unlock_shared(fs->stripes, ino);
	scratch_give(scratch);
	return result;
}
