/* SPDX-License-Identifier: MIT */
/*
 * copy.c - copying a range of one file to another, or to another place in it.
 *
 * Where both ranges begin at the same place within a chunk, whole chunks are copied by reference
 * (see DESIGN.md, Extents by reference): the first copy moves the bytes to a shared piece, further
 * ones write references alone. Everything else is copied byte by byte. A call may end short, so
 * that nobody waits long for the thread that serves it.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "inode.h"
#include "piece.h"
#include "share.h"
#include "size.h"

#define COPY_SIZE_MAX ((size_t)4 << 20) /* bytes a call copies */
#define COPY_BYTES_MAX ((size_t)256 << 10) /* at a time, where they are copied as such */
#define COPY_CHUNKS_MAX 16u		     /* in a batch */

/* A batch of chunks that are copied by reference. */
struct copy {
	struct change *change;
	struct inode *in, *out; /* may be the same */
	bool in_changed;
	uint64_t ids[COPY_CHUNKS_MAX]; /* for pieces that become shared */
	unsigned ids_used;
};

/* A source chunk's contents in one piece; they have no hole before their end. */
static int gather(struct copy *copy, const struct chunk *chunk, uint8_t bytes[EXTENT_CHUNK_SIZE],
	uint32_t *size)
{
	unsigned block;

	*size = 0;
	for (block = 0; block < EXTENT_BLOCKS && chunk->data & 1u << block; block++) {
		uint32_t start = block * EXTENT_BLOCK_SIZE, part;
		int err = chunk_read_block(copy->change->fs, copy->in->ino, chunk, block,
			bytes + start, &part);

		if (err)
			return err;
		memset(bytes + start + part, 0, EXTENT_BLOCK_SIZE - part);
		*size = start + part;
	}
	return 0;
}

/* The source's chunk becomes a reference to a new shared piece. */
static int make_shared(struct copy *copy, const struct chunk *chunk, struct share_reference *out)
{
	struct share_reference reference = {.id = copy->ids[copy->ids_used++]};
	uint8_t bytes[EXTENT_CHUNK_SIZE];
	int err = gather(copy, chunk, bytes, &reference.size);

	if (!err)
		err = share_new(copy->change, reference.id, bytes, reference.size);
	if (!err)
		err = chunk_delete(copy->change, copy->in->ino, chunk);
	if (!err)
		err = share_add(copy->change, copy->in->ino, chunk->number, reference);
	if (err)
		return err;
	copy->in->flags |= INODE_SHARES;
	copy->in_changed = true;
	*out = reference;
	return 0;
}

/* A chunk with holes among its blocks: copied block by block, so that they stay holes. */
static int copy_blocks(struct copy *copy, const struct chunk *source, uint64_t number)
{
	for (unsigned block = 0; block < EXTENT_BLOCKS; block++) {
		struct extent_place place = {copy->out->ino, number, EXTENT_SLOT_BLOCK + block};
		uint8_t bytes[EXTENT_BLOCK_SIZE];
		uint32_t size;
		int err;

		if (!(source->data & 1u << block))
			continue;
		err = chunk_read_block(
			copy->change->fs, copy->in->ino, source, block, bytes, &size);
		if (!err)
			err = piece_put(copy->change, place, bytes, size);
		if (err)
			return err;
	}
	return 0;
}

static int copy_pieces(struct copy *copy, const struct chunk *source, uint64_t number)
{
	struct share_reference reference;
	int err;

	if (!source->data)
		return 0;
	if (source->data & (source->data + 1u))
		return copy_blocks(copy, source, number);
	if (source->shared && !source->overlaid)
		err = share_find(copy->change->fs, copy->in->ino, source->number, &reference);
	else
		err = make_shared(copy, source, &reference);
	if (err)
		return err;
	copy->out->flags |= INODE_SHARES;
	return share_add(copy->change, copy->out->ino, number, reference);
}

static int copy_chunk(struct copy *copy, uint64_t from, uint64_t to)
{
	struct chunk source, target;
	int err = chunk_get(copy->change, copy->in, from, UINT16_MAX, &source);

	if (!err)
		err = chunk_get(copy->change, copy->out, to, UINT16_MAX, &target);
	if (!err)
		err = chunk_delete(copy->change, copy->out->ino, &target);
	if (!err)
		err = copy_pieces(copy, &source, to);
	inode_add_blocks(copy->out, (int)chunk_blocks(&source) - (int)chunk_blocks(&target));
	return err;
}

/* The target's contents are in pieces from now on; what is copied begins at a chunk's start. */
static int leave_inline(struct copy *copy, uint64_t to)
{
	struct inode *out = copy->out;
	struct extent_place place = {out->ino, 0, EXTENT_SLOT_BLOCK};
	struct kv_slice body = out->body;

	if (out->contents != INODE_INLINE)
		return 0;
	out->contents = INODE_EXTENTS;
	out->body = (struct kv_slice){NULL, 0};
	out->blocks = 0;
	if (!to || !body.size)
		return 0;
	out->blocks = 1;
	return piece_put(copy->change, place, body.data, body.size);
}

/*
 * How much of a chunk can be copied by reference: all that the source has, and nothing stays beside
 * it.
 */
static uint64_t chunk_part(const struct copy *copy, uint64_t from, uint64_t to, uint64_t size)
{
	uint64_t there = copy->in->size - from;

	if (there > EXTENT_CHUNK_SIZE)
		there = EXTENT_CHUNK_SIZE;
	if (size < there || (there < EXTENT_CHUNK_SIZE && to + there < copy->out->size))
		return 0;
	return there;
}

static void prefetch_references(const struct copy *copy, uint64_t first, unsigned chunks)
{
	for (uint64_t number = first; number < first + chunks; number++)
		piece_prefetch(copy->change->fs, (struct extent_place){copy->in->ino, number,
							 EXTENT_SLOT_REFERENCE});
}

/* Fills the batch; *done: how much, 0 if this cannot be copied by reference. */
static int copy_fill(struct copy *copy, uint64_t from, uint64_t to, uint64_t size, unsigned chunks,
	uint64_t *done)
{
	struct inode *out = copy->out;
	uint64_t part, copied = 0;
	int err = 0;

	*done = 0;
	if (copy->in->contents != INODE_EXTENTS || from >= copy->in->size ||
		!chunk_part(copy, from, to, size))
		return 0;
	if (size > copy->in->size - from)
		size = copy->in->size - from;
	if (to + size > (uint64_t)KVFS_FILE_SIZE_MAX)
		return -EFBIG;
	if (copy->in->flags & INODE_SHARES)
		prefetch_references(copy, from / EXTENT_CHUNK_SIZE, chunks);
	err = leave_inline(copy, to);
	while (!err && chunks-- && copied < size) {
		part = chunk_part(copy, from + copied, to + copied, size - copied);
		if (!part)
			break;
		err = copy_chunk(copy, (from + copied) / EXTENT_CHUNK_SIZE,
			(to + copied) / EXTENT_CHUNK_SIZE);
		copied += part;
	}
	if (err)
		return err;
	if (to + copied > out->size)
		out->size = to + copied;
	out->mtime = out->ctime = copy->change->now;
	copy->change->grows = true;
	err = inode_put(copy->change, out);
	if (!err && copy->in_changed && copy->in != out)
		err = inode_put(copy->change, copy->in);
	*done = copied;
	return err;
}

static int load(struct change *change, uint64_t ino, struct inode *out)
{
	int err = inode_load(change, ino, out);

	if (!err && !S_ISREG(out->mode))
		err = S_ISDIR(out->mode) ? -EISDIR : -EINVAL;
	return err ? err : size_settle(change, out);
}

/* Copies one batch by reference. Returns the bytes, 0 if nothing can be copied in that way here. */
static ssize_t copy_references(struct kvfs *fs, uint64_t in_ino, uint64_t from, uint64_t out_ino,
	uint64_t to, uint64_t size)
{
	const uint64_t inos[] = {in_ino, out_ino};
	unsigned chunks = (unsigned)(fs->write_size_max / EXTENT_CHUNK_SIZE);
	struct inode in, out;
	struct change change;
	struct copy copy = {&change, &in, in_ino == out_ino ? &in : &out, false, {0}, 0};
	uint64_t done = 0;
	int err = 0;

	if (chunks > COPY_CHUNKS_MAX)
		chunks = COPY_CHUNKS_MAX;
	if (chunks > (size + EXTENT_CHUNK_SIZE - 1) / EXTENT_CHUNK_SIZE)
		chunks = (unsigned)((size + EXTENT_CHUNK_SIZE - 1) / EXTENT_CHUNK_SIZE);
	/* Done before the locks are taken, as it may commit. */
	for (unsigned i = 0; !err && i < chunks; i++)
		err = number_next(&fs->numbers, &copy.ids[i]);
	if (!err)
		err = change_begin(fs, &change);
	if (err)
		return err;
	change_lock(&change, inos, 2);
	err = load(&change, in_ino, &in);
	if (!err && copy.out != &in)
		err = load(&change, out_ino, &out);
	if (!err)
		err = copy_fill(&copy, from, to, size, chunks, &done);
	if (!err && done)
		err = change_commit(&change);
	change_end(&change);
	return err ? err : (ssize_t)done;
}

static ssize_t copy_bytes(struct kvfs *fs, uint64_t in_ino, uint64_t from, uint64_t out_ino,
	uint64_t to, size_t size)
{
	size_t part = size < COPY_BYTES_MAX ? size : COPY_BYTES_MAX;
	uint8_t *bytes = malloc(part);
	ssize_t done = -ENOMEM;

	if (!bytes)
		return done;
	done = kvfs_read(fs, in_ino, bytes, part, (int64_t)from);
	if (done > 0)
		done = kvfs_write(fs, out_ino, bytes, (size_t)done, (int64_t)to, 0);
	free(bytes);
	return done;
}

/* Up to the next place where something else is possible. */
static ssize_t copy_step(struct kvfs *fs, uint64_t in_ino, uint64_t from, uint64_t out_ino,
	uint64_t to, size_t size)
{
	size_t rest = EXTENT_CHUNK_SIZE - from % EXTENT_CHUNK_SIZE;
	ssize_t done;

	if (from % EXTENT_CHUNK_SIZE != to % EXTENT_CHUNK_SIZE)
		return copy_bytes(fs, in_ino, from, out_ino, to, size);
	if (rest == EXTENT_CHUNK_SIZE) {
		done = copy_references(fs, in_ino, from, out_ino, to, size);
		if (done)
			return done;
	}
	return copy_bytes(fs, in_ino, from, out_ino, to, size < rest ? size : rest);
}

ssize_t kvfs_copy(struct kvfs *fs, uint64_t in_ino, int64_t in_offset, uint64_t out_ino,
	int64_t out_offset, size_t size)
{
	uint64_t from = (uint64_t)in_offset, to = (uint64_t)out_offset;
	size_t copied = 0;

	if (in_offset < 0 || out_offset < 0)
		return -EINVAL;
	if (fs->read_only)
		return -EROFS;
	if (size > COPY_SIZE_MAX)
		size = COPY_SIZE_MAX;
	if (in_ino == out_ino && from < to + size && to < from + size)
		return -EINVAL;
	while (copied < size) {
		ssize_t done = copy_step(
			fs, in_ino, from + copied, out_ino, to + copied, size - copied);

		if (done <= 0)
			return copied ? (ssize_t)copied : done;
		copied += (size_t)done;
	}
	return (ssize_t)copied;
}
