/* SPDX-License-Identifier: MIT */
/*
 * read.c - reading contents. Inline ones need no lock: their record is read at one instant. Pieces
 * are read under the inode's stripe, shared, so that no write is seen in half.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "inode.h"
#include "piece.h"
#include "record.h"

/* Copies `size` bytes from `offset` of a piece; what the piece does not have is zeros. */
static void copy_part(uint8_t *out, struct kv_slice piece, size_t offset, size_t size)
{
	size_t there = offset < piece.size ? piece.size - offset : 0;

	if (there > size)
		there = size;
	if (there)
		memcpy(out, (const uint8_t *)piece.data + offset, there);
	memset(out + there, 0, size - there);
}

/* The blocks that a read of bytes [from, to) of a chunk wants. */
struct block_reads {
	struct kvfs *fs;
	uint64_t ino;
	uint8_t keys[EXTENT_BLOCKS][EXTENT_KEY_SIZE];
	struct kv_entry entries[EXTENT_BLOCKS];
	uint8_t *out; /* where `from` goes */
	uint32_t from, to;
	bool whole; /* what a chunk piece has for them is in `out` already */
	int err;
};

static void block_got(void *arg, unsigned i)
{
	struct block_reads *reads = arg;
	const struct kv_entry *entry = &reads->entries[i];
	uint32_t start = (reads->from / EXTENT_BLOCK_SIZE + i) * EXTENT_BLOCK_SIZE;
	uint32_t from = start > reads->from ? start : reads->from;
	uint32_t to = start + EXTENT_BLOCK_SIZE < reads->to ? start + EXTENT_BLOCK_SIZE : reads->to;
	struct kv_slice piece = {NULL, 0};

	if (entry->status == -ENOENT && reads->whole)
		return;
	if (!entry->status)
		piece = entry->value;
	else if (entry->status != -ENOENT && !reads->err)
		reads->err = entry->status;
	if (piece.size > EXTENT_BLOCK_SIZE && !reads->err)
		reads->err =
			fs_damaged(reads->fs, reads->ino, "a piece of its contents is too large");
	copy_part(reads->out + (from - reads->from), piece, from - start, to - from);
}

/*
 * A part of one chunk, block by block, over what the chunk piece has put there. All are asked for
 * at once: those that were written one by one lie anywhere in the log, and each would be waited
 * for.
 */
static int read_blocks(struct kvfs *fs, struct extent_place place, uint8_t *out, uint32_t from,
	uint32_t to, bool whole)
{
	unsigned first = from / EXTENT_BLOCK_SIZE, count = (to - 1) / EXTENT_BLOCK_SIZE - first + 1;
	struct block_reads reads;

	reads.fs = fs;
	reads.ino = place.ino;
	reads.out = out;
	reads.from = from;
	reads.to = to;
	reads.whole = whole;
	reads.err = 0;
	for (unsigned i = 0; i < count; i++) {
		place.slot = EXTENT_SLOT_BLOCK + first + i;
		extent_key_encode(place, reads.keys[i]);
		reads.entries[i].key = (struct kv_slice){reads.keys[i], EXTENT_KEY_SIZE};
	}
	record_get_many(fs, KEYSPACE_EXTENT, reads.entries, count, block_got, &reads);
	return reads.err;
}

/*
 * A small part of a chunk that may have both kinds of pieces, all in one block: if it has a piece
 * of its own, the chunk's need not be touched.
 */
static int read_block(struct kvfs *fs, const struct inode *inode, uint64_t number, uint8_t *out,
	uint32_t from, uint32_t to)
{
	struct extent_place place = {
		inode->ino, number, EXTENT_SLOT_BLOCK + from / EXTENT_BLOCK_SIZE};
	struct kv_slice piece = {NULL, 0};
	int err = piece_get_part(fs, place, from % EXTENT_BLOCK_SIZE, to - from, &piece);

	if (!err) {
		copy_part(out, piece, from % EXTENT_BLOCK_SIZE, to - from);
		return 0;
	}
	if (err == -ENOENT)
		err = piece_get_whole(fs, inode, number, from, to - from, &piece);
	if (err && err != -ENOENT)
		return err;
	copy_part(out, piece, from, to - from);
	return 0;
}

/* Bytes [from, to) of one chunk. */
static int read_chunk(struct kvfs *fs, const struct inode *inode, uint64_t number, uint8_t *out,
	uint32_t from, uint32_t to)
{
	struct extent_place place = {inode->ino, number, EXTENT_SLOT_CHUNK};
	struct kv_slice piece;
	int err;

	if (inode->flags & INODE_MIXED && from / EXTENT_BLOCK_SIZE == (to - 1) / EXTENT_BLOCK_SIZE)
		return read_block(fs, inode, number, out, from, to);
	err = piece_get_whole(fs, inode, number, from, to - from, &piece);
	if (err && err != -ENOENT)
		return err;
	if (!err) {
		copy_part(out, piece, from, to - from);
		if (!(inode->flags & INODE_MIXED))
			return 0;
	}
	return read_blocks(fs, place, out, from, to, !err);
}

static int read_extents(
	struct kvfs *fs, const struct inode *inode, uint8_t *out, uint64_t offset, size_t size)
{
	while (size) {
		uint32_t from = offset % EXTENT_CHUNK_SIZE;
		uint32_t part = EXTENT_CHUNK_SIZE - from;
		int err;

		if (part > size)
			part = (uint32_t)size;
		err = read_chunk(fs, inode, offset / EXTENT_CHUNK_SIZE, out, from, from + part);
		if (err)
			return err;
		out += part;
		offset += part;
		size -= part;
	}
	return 0;
}

/* Inside a read section; with pieces, under the stripe. */
static ssize_t read_inode(
	struct kvfs *fs, const struct inode *inode, void *buffer, size_t size, uint64_t offset)
{
	int err = 0;

	if (offset >= inode->size)
		return 0;
	if (size > inode->size - offset)
		size = inode->size - offset;
	if (inode->contents == INODE_INLINE)
		copy_part(buffer, inode->body, offset, size);
	else
		err = read_extents(fs, inode, buffer, offset, size);
	return err ? err : (ssize_t)size;
}

/*
 * seq: the store's last batch before the inode was read. Who changes an inode commits with its
 * stripe locked. So if the number is the same under the stripe, the inode is too.
 */
static ssize_t read_pieces(struct kvfs *fs, struct inode *inode, uint64_t seq, void *buffer,
	size_t size, uint64_t offset)
{
	ssize_t result = 0;

	stripe_lock_shared(fs->stripes, inode->ino);
	kv_read_begin(fs->kv);
	if (!fs->view && kv_last_seq(fs->kv) != seq)
		result = inode_get(fs, inode->ino, inode);
	if (!result)
		result = read_inode(fs, inode, buffer, size, offset);
	kv_read_end(fs->kv);
	stripe_unlock_shared(fs->stripes, inode->ino);
	return result;
}

static ssize_t read_regular(struct kvfs *fs, uint64_t ino, void *buffer, size_t size,
	int64_t offset, struct inode *inode)
{
	ssize_t result;
	uint64_t seq;

	if (offset < 0)
		return -EINVAL;
	if (size > SSIZE_MAX)
		size = SSIZE_MAX;
	kv_read_begin(fs->kv);
	seq = kv_last_seq(fs->kv);
	result = inode_get(fs, ino, inode);
	if (!result && !S_ISREG(inode->mode))
		result = S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
	if (!result && inode->contents == INODE_INLINE)
		result = read_inode(fs, inode, buffer, size, (uint64_t)offset);
	kv_read_end(fs->kv);
	if (result >= 0 && inode->contents == INODE_EXTENTS)
		result = read_pieces(fs, inode, seq, buffer, size, (uint64_t)offset);
	return result;
}

ssize_t kvfs_read(struct kvfs *fs, uint64_t ino, void *buffer, size_t size, int64_t offset)
{
	struct inode inode;
	ssize_t result = read_regular(fs, ino, buffer, size, offset, &inode);

	if (result >= 0 && size)
		inode_accessed(fs, &inode);
	return result;
}

ssize_t kvfs_read_unseen(struct kvfs *fs, uint64_t ino, void *buffer, size_t size, int64_t offset)
{
	struct inode inode;

	return read_regular(fs, ino, buffer, size, offset, &inode);
}
