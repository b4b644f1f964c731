/* SPDX-License-Identifier: MIT */
/*
 * write.c - writing contents.
 *
 * A write that ends within INODE_INLINE_MAX of an inline file goes into the inode's record. Every
 * other one goes chunk by chunk into pieces (see DESIGN.md, Extents): a chunk piece if nothing of
 * the chunk's old contents survives, otherwise block pieces. Contents that were inline until now
 * count as those of block 0.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "inode.h"
#include "piece.h"
#include "size.h"

/* Bytes [start, end) replace a part of a file's contents. */
struct write {
	struct change *change;
	struct inode *inode;
	const uint8_t *data;
	uint64_t start, end;
	uint64_t old_size;       /* of the file, in bytes */
	struct kv_slice inlined; /* contents that were inline and move out with this write */
};

static const uint8_t zeros[INODE_INLINE_MAX];

/* The write's data from this offset of the file on. */
static const uint8_t *write_data(const struct write *write, uint64_t offset)
{
	return write->data + (offset - write->start);
}

/* Bytes [from, to) of a block, which keeps the rest of its old contents. */
static int write_merged(struct write *write, const struct chunk *chunk, unsigned block,
	uint32_t from, uint32_t to, const uint8_t *data)
{
	struct extent_place place = {write->inode->ino, chunk->number, EXTENT_SLOT_BLOCK + block};
	uint8_t merged[EXTENT_BLOCK_SIZE];
	uint32_t size = (uint32_t)write->inlined.size;
	int err = 0;

	if (size && !chunk->number && !block)
		memcpy(merged, write->inlined.data, size);
	else
		err = chunk_read_block(
			write->change->fs, write->inode->ino, chunk, block, merged, &size);
	if (err)
		return err;
	if (size < from)
		memset(merged + size, 0, from - size);
	memcpy(merged + from, data, to - from);
	return piece_put(write->change, place, merged, to > size ? to : size);
}

/* Bytes [from, to) of a chunk, all in this block. */
static int write_block(
	struct write *write, struct chunk *chunk, unsigned block, uint32_t from, uint32_t to)
{
	struct extent_place place = {write->inode->ino, chunk->number, EXTENT_SLOT_BLOCK + block};
	uint64_t base = chunk->number * EXTENT_CHUNK_SIZE;
	const uint8_t *data = write_data(write, base + from);
	uint32_t start = block * EXTENT_BLOCK_SIZE;
	int err;

	if (from == start && (to == start + EXTENT_BLOCK_SIZE || base + to >= write->old_size))
		err = piece_put_lent(write->change, place, data, to - from);
	else
		err = write_merged(write, chunk, block, from - start, to - start, data);
	chunk->overlaid |= (uint16_t)(1u << block);
	chunk->data |= (uint16_t)(1u << block);
	return err;
}

static int write_blocks(struct write *write, struct chunk *chunk, uint32_t from, uint32_t to)
{
	uint32_t next;

	for (; from < to; from = next) {
		unsigned block = from / EXTENT_BLOCK_SIZE;
		int err;

		next = (block + 1) * EXTENT_BLOCK_SIZE;
		err = write_block(write, chunk, block, from, next < to ? next : to);
		if (err)
			return err;
	}
	return chunk_settle(write->change, write->inode, chunk);
}

/* Nothing of the old contents survives: one piece, and none beside it. */
static int write_whole(struct write *write, struct chunk *chunk, uint32_t size)
{
	struct extent_place place = {write->inode->ino, chunk->number, EXTENT_SLOT_CHUNK};
	struct chunk overlays = *chunk;
	int err;

	/* The file's own piece is put over; a reference goes. */
	overlays.whole = overlays.shared;
	err = chunk_delete(write->change, place.ino, &overlays);
	chunk->whole = true;
	chunk->shared = false;
	chunk->whole_size = size;
	chunk->overlaid = 0;
	chunk->data = chunk_mask(size);
	return err ? err
		   : piece_put_lent(write->change, place,
			     write_data(write, chunk->number * EXTENT_CHUNK_SIZE), size);
}

/* Bytes [from, to) of a chunk of which nothing of a block's old contents is left. */
static bool replaces_block(const struct write *write, uint64_t base, uint32_t from, uint32_t to)
{
	return from % EXTENT_BLOCK_SIZE == 0 && to - from <= EXTENT_BLOCK_SIZE &&
	       (to - from == EXTENT_BLOCK_SIZE || base + to >= write->old_size);
}

/*
 * The two commonest small writes, a block over a block piece and one behind the end of the file,
 * need not know what else there is in the chunk. -EAGAIN: it is neither.
 */
static int write_known_block(
	struct write *write, uint64_t number, uint32_t from, uint32_t to)
{
	struct inode *inode = write->inode;
	uint64_t base = number * EXTENT_CHUNK_SIZE;
	struct extent_place place = {
		inode->ino, number, EXTENT_SLOT_BLOCK + from / EXTENT_BLOCK_SIZE};
	bool behind = base + from >= write->old_size;
	struct extent_place look = place;
	size_t size = 0;
	int err;

	if (write->inlined.size || !replaces_block(write, base, from, to))
		return -EAGAIN;
	if (behind && (base >= write->old_size || inode->flags & (INODE_MIXED | INODE_SHARES)))
		return -EAGAIN;
	if (behind)
		look.slot = EXTENT_SLOT_CHUNK;
	err = piece_size(write->change->fs, look, &size);
	if (err && err != -ENOENT)
		return err;
	/*
	 * An empty block piece hides a part of the chunk's; with a chunk piece, the two have to be
	 * settled.
	 */
	if (behind ? !err : !size)
		return -EAGAIN;
	if (behind)
		inode_add_blocks(inode, 1);
	return piece_put_lent(write->change, place, write_data(write, base + from), to - from);
}

/* The part of the write that falls into one chunk. */
static int write_chunk(struct write *write, uint64_t number)
{
	struct inode *inode = write->inode;
	uint64_t base = number * EXTENT_CHUNK_SIZE;
	uint64_t end = write->end - base;
	uint32_t from = write->start > base ? (uint32_t)(write->start - base) : 0;
	uint32_t to = end < EXTENT_CHUNK_SIZE ? (uint32_t)end : EXTENT_CHUNK_SIZE;
	bool whole = !from && (to == EXTENT_CHUNK_SIZE || base + to >= write->old_size);
	struct chunk chunk = {.number = number};
	int before, err = whole ? -EAGAIN : write_known_block(write, number, from, to);

	if (err != -EAGAIN)
		return err;
	err = 0;
	/* There is nothing beyond the old end, and nothing at all if the file was inline. */
	if (base < write->old_size && !write->inlined.size)
		err = chunk_get(write->change, inode, number,
			whole ? UINT16_MAX : chunk_range_mask(from, to), &chunk);
	if (err)
		return err;
	before = (int)chunk_blocks(&chunk);
	if (whole)
		err = write_whole(write, &chunk, to);
	else
		err = write_blocks(write, &chunk, from, to);
	inode_add_blocks(inode, (int)chunk_blocks(&chunk) - before);
	write->change->grows |= (int)chunk_blocks(&chunk) > before;
	return err;
}

/* Inline contents that the write itself does not take along get a piece of their own. */
static int move_out(struct write *write)
{
	struct inode *inode = write->inode;
	struct extent_place place = {inode->ino, 0, EXTENT_SLOT_BLOCK};
	int err;

	write->inlined = inode->body;
	inode->body = (struct kv_slice){NULL, 0};
	inode->contents = INODE_EXTENTS;
	if (!write->inlined.size || write->start < EXTENT_BLOCK_SIZE)
		return 0;
	err = piece_put(write->change, place, write->inlined.data, write->inlined.size);
	inode->blocks = 1;
	return err;
}

/* Old pieces that are about to be replaced are asked for at once, not one by one. */
static void prefetch_chunks(const struct write *write, uint64_t first, uint64_t end)
{
	for (uint64_t number = first; number < end; number++)
		piece_prefetch(write->change->fs,
			(struct extent_place){write->inode->ino, number, EXTENT_SLOT_CHUNK});
}

static int write_extents(struct write *write)
{
	uint64_t first = write->start / EXTENT_CHUNK_SIZE;
	uint64_t end = (write->end < write->old_size ? write->end : write->old_size) /
		       EXTENT_CHUNK_SIZE;
	int err = 0;

	if (write->inode->contents == INODE_EXTENTS && end > first + 1)
		prefetch_chunks(write, first, end);

	if (write->inode->contents == INODE_INLINE)
		err = move_out(write);
	for (uint64_t number = write->start / EXTENT_CHUNK_SIZE;
		!err && number * EXTENT_CHUNK_SIZE < write->end; number++)
		err = write_chunk(write, number);
	if (write->end > write->inode->size)
		write->inode->size = write->end;
	return err ? err : inode_put(write->change, write->inode);
}

static int write_inline(struct write *write)
{
	struct inode *inode = write->inode;
	struct kv_slice old = inode->body;
	struct kv_slice parts[INODE_PARTS_MAX];
	size_t kept = old.size < write->start ? old.size : write->start;
	unsigned count = 0;

	if (kept)
		parts[count++] = (struct kv_slice){old.data, kept};
	if (kept < write->start)
		parts[count++] = (struct kv_slice){zeros, write->start - kept};
	parts[count++] = (struct kv_slice){write->data, write->end - write->start};
	if (write->end < old.size)
		parts[count++] = (struct kv_slice){
			(const uint8_t *)old.data + write->end, old.size - write->end};
	if (write->end > inode->size)
		inode->size = write->end;
	return inode_put_body(write->change, inode, parts, count);
}

/* Fills the batch. */
static int write_fill(struct change *change, struct inode *inode, const void *data, size_t size,
	uint64_t offset, unsigned flags)
{
	struct write write = {change, inode, data, offset, offset + size, inode->size, {NULL, 0}};
	int err = 0;

	inode->mtime = inode->ctime = change->now;
	change->grows = write.end > inode->size;
	if (flags & KVFS_WRITE_KILL_SUIDGID)
		err = inode_kill_suidgid(change, inode);
	if (err)
		return err;
	if (inode->contents == INODE_INLINE && write.end <= INODE_INLINE_MAX)
		return write_inline(&write);
	return write_extents(&write);
}

/* Writes one batch; *offset is where it ended up. */
static int write_part(struct kvfs *fs, uint64_t ino, const void *data, size_t size,
	uint64_t *offset, unsigned flags)
{
	struct change change;
	struct inode inode;
	int err = change_begin(fs, &change);

	if (err)
		return err;
	change_lock(&change, &ino, 1);
	err = inode_load(&change, ino, &inode);
	if (!err && !S_ISREG(inode.mode))
		err = S_ISDIR(inode.mode) ? -EISDIR : -EINVAL;
	if (!err)
		err = size_settle(&change, &inode);
	if (!err && flags & KVFS_WRITE_APPEND)
		*offset = inode.size;
	if (!err && *offset + size > (uint64_t)KVFS_FILE_SIZE_MAX)
		err = -EFBIG;
	if (!err)
		err = write_fill(&change, &inode, data, size, *offset, flags);
	if (!err)
		err = change_commit(&change);
	change_end(&change);
	return err;
}

ssize_t kvfs_write(struct kvfs *fs, uint64_t ino, const void *data, size_t size, int64_t offset,
	unsigned flags)
{
	const uint8_t *bytes = data;
	uint64_t at = (uint64_t)offset;
	size_t done = 0;

	if (offset < 0 || flags & ~(KVFS_WRITE_KILL_SUIDGID | KVFS_WRITE_APPEND))
		return -EINVAL;
	if (size > SSIZE_MAX)
		size = SSIZE_MAX;
	if (offset > KVFS_FILE_SIZE_MAX)
		return -EFBIG;
	while (done < size) {
		size_t part = size - done < fs->write_size_max ? size - done : fs->write_size_max;
		int err = write_part(fs, ino, bytes + done, part, &at, flags);

		if (err)
			return done ? (ssize_t)done : err;
		done += part;
		at += part;
		/* The next parts go behind this one, not behind what others append. */
		flags &= ~KVFS_WRITE_APPEND;
	}
	return (ssize_t)done;
}
