/* SPDX-License-Identifier: MIT */
/*
 * size.c - changing a file's size, and freeing what lies beyond it.
 *
 * The size, and the chunk that the new end lies in, change in one batch. Pieces beyond follow in
 * batches of about SIZE_STEP; while some are left the inode has INODE_TRIM and an orphan record, so
 * that they never come back to light, not even after a crash.
 */
#include "size.h"

#include <errno.h>
#include <string.h>

#include "orphan.h"
#include "piece.h"
#include "share.h"

/* Drops the bytes of a block piece from `size` on. */
static int cut_block(struct change *change, struct extent_place place, size_t size)
{
	struct kv_slice piece;
	int err = piece_get(change->fs, place, &piece);

	if (err || piece.size <= size)
		return err;
	return piece_put(change, place, piece.data, size);
}

/* Drops the bytes of the chunk piece from `size` on. */
static int cut_whole(struct change *change, struct inode *inode, struct chunk *chunk, size_t size)
{
	struct extent_place place = {inode->ino, chunk->number, EXTENT_SLOT_CHUNK};
	struct kv_slice piece;
	int err;

	if (!chunk->whole || chunk->whole_size <= size)
		return 0;
	if (chunk->shared)
		return share_cut(change, inode->ino, chunk->number, (uint32_t)size);
	err = piece_get(change->fs, place, &piece);
	return err ? err : piece_put(change, place, piece.data, size);
}

/* Cuts the chunk in which the new end lies, `size` bytes (not 0) from its start. */
static int cut_chunk(struct change *change, struct inode *inode, uint64_t number, uint32_t size)
{
	uint16_t kept = chunk_mask(size);
	unsigned last = (size - 1) / EXTENT_BLOCK_SIZE;
	struct chunk chunk;
	int err = chunk_get(change, inode, number, UINT16_MAX, &chunk);

	if (err)
		return err;
	inode_add_blocks(inode, -(int)chunk_blocks(&chunk));
	err = cut_whole(change, inode, &chunk, size);
	for (unsigned block = last; !err && block < EXTENT_BLOCKS; block++) {
		struct extent_place place = {inode->ino, number, EXTENT_SLOT_BLOCK + block};

		if (!(chunk.overlaid & 1u << block))
			continue;
		if (block == last)
			err = cut_block(change, place, size - last * EXTENT_BLOCK_SIZE);
		else
			err = piece_delete(change, place);
	}
	chunk.data &= kept;
	inode_add_blocks(inode, (int)chunk_blocks(&chunk));
	return err;
}

/* Frees pieces from this chunk on, as many as a batch should; `done` if none is left. */
static int trim_step(struct change *change, struct inode *inode, uint64_t from, bool *done)
{
	struct piece_walk walk;
	struct chunk chunk;
	unsigned count = 0;
	int err = piece_walk_start(change->fs, change->scratch, inode->ino, from, false, &walk);

	if (err)
		return err;
	while (!(err = piece_walk_next(&walk, &chunk))) {
		if (count >= SIZE_STEP) {
			*done = false;
			return 0;
		}
		err = chunk_delete(change, inode->ino, &chunk);
		if (err)
			return err;
		count += chunk_pieces(&chunk);
		inode_add_blocks(inode, -(int)chunk_blocks(&chunk));
	}
	*done = err == -ENOENT;
	return *done ? 0 : err;
}

static uint64_t chunks_of(uint64_t size)
{
	return (size + EXTENT_CHUNK_SIZE - 1) / EXTENT_CHUNK_SIZE;
}

/* An emptied file starts again as a small one. */
static void size_emptied(struct inode *inode)
{
	if (inode->size)
		return;
	inode->contents = INODE_INLINE;
	inode->body = (struct kv_slice){NULL, 0};
	inode->flags &= ~(unsigned)(INODE_MIXED | INODE_SHARES);
	inode->blocks = 0;
}

static int cut(struct change *change, struct inode *inode, uint64_t size)
{
	uint32_t rest = size % EXTENT_CHUNK_SIZE;
	bool done;
	int err = 0;

	if (rest)
		err = cut_chunk(change, inode, size / EXTENT_CHUNK_SIZE, rest);
	if (!err)
		err = trim_step(change, inode, chunks_of(size), &done);
	if (err)
		return err;
	inode->size = size;
	if (done) {
		size_emptied(inode);
		return 0;
	}
	inode->flags |= INODE_TRIM;
	return orphan_put(change, inode->ino);
}

int size_set(struct change *change, struct inode *inode, uint64_t size)
{
	int err = size_settle(change, inode);

	if (err)
		return err;
	/* Also where there is nothing to free: nobody is refused who empties an empty file. */
	if (size <= inode->size)
		kv_batch_set_frees(change->batch);
	if (inode->contents == INODE_EXTENTS && size < inode->size)
		return cut(change, inode, size);
	if (inode->contents == INODE_INLINE && size < inode->body.size)
		inode->body.size = size;
	inode->size = size;
	return 0;
}

int size_settle(struct change *change, struct inode *inode)
{
	while (inode->flags & INODE_TRIM) {
		bool done;
		int err;

		kv_batch_set_frees(change->batch);
		err = trim_step(change, inode, chunks_of(inode->size), &done);
		if (!err && done) {
			inode->flags &= ~(unsigned)INODE_TRIM;
			size_emptied(inode);
			err = inode->nlink ? orphan_delete(change, inode->ino) : 0;
		}
		if (!err)
			err = inode_put(change, inode);
		if (!err)
			err = change_commit(change);
		if (err)
			return err;
		change_continue(change);
	}
	return 0;
}

int size_commit(struct change *change, struct inode *inode)
{
	struct inode settled;
	int err = inode_put(change, inode);

	if (!err)
		err = change_commit(change);
	if (err || !(inode->flags & INODE_TRIM))
		return err;
	/* The operation is done; if this stops early, it stays noted for the next change or
	 * opening. */
	change_continue(change);
	settled = *inode;
	if (!size_settle(change, &settled))
		*inode = settled;
	return 0;
}
