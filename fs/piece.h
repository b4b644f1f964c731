/* SPDX-License-Identifier: MIT */
/*
 * piece.h - the pieces that larger contents are stored in: one by one, a chunk's at once, and a
 * walk over a file's (see DESIGN.md, Extents).
 */
#ifndef PIECE_H
#define PIECE_H

#include "change.h"
#include "extent_record.h"

/* Which pieces a chunk has. Bit b of the masks is block b. */
struct chunk {
	uint64_t number;
	bool whole;          /* there is a chunk piece, or a reference */
	bool shared;         /* it is a reference */
	uint32_t whole_size; /* bytes it has */
	uint16_t overlaid;   /* there is a block piece */
	uint16_t data;       /* the block has data, wherever it is */
};

/* The piece will be put over soon, or the reference looked at. */
void piece_prefetch(struct kvfs *fs, struct extent_place place);
/* The piece's bytes, in a read section. Errors: -ENOENT, -EIO. */
KV_MUST_CHECK int piece_get(struct kvfs *fs, struct extent_place place, struct kv_slice *out);
/*
 * The same for `size` bytes of it from `offset` on: the rest, which the slice has as well, is not
 * to be looked at.
 */
KV_MUST_CHECK int piece_get_part(struct kvfs *fs, struct extent_place place, size_t offset,
	size_t size, struct kv_slice *out);
/* How many bytes the piece has, without reading them. The same errors. */
KV_MUST_CHECK int piece_size(struct kvfs *fs, struct extent_place place, size_t *out);
/* A part of the chunk piece, whether that is the file's own or shared. The same errors. */
KV_MUST_CHECK int piece_get_whole(struct kvfs *fs, const struct inode *inode, uint64_t chunk,
	size_t offset, size_t size, struct kv_slice *out);
KV_MUST_CHECK int piece_put(
	struct change *change, struct extent_place place, const void *data, size_t size);
/* The data must stay as it is until the change is committed. */
KV_MUST_CHECK int piece_put_lent(
	struct change *change, struct extent_place place, const void *data, size_t size);
KV_MUST_CHECK int piece_delete(struct change *change, struct extent_place place);

/* Adds the deletion of the chunk piece, if there is one. */
KV_MUST_CHECK int chunk_delete_whole(struct change *change, uint64_t ino, struct chunk *chunk);
/* Adds the deletion of all its pieces to the batch. */
KV_MUST_CHECK int chunk_delete(struct change *change, uint64_t ino, const struct chunk *chunk);
/* Copies a block's contents from wherever they are: `size` bytes, what is missing is zeros. */
KV_MUST_CHECK int chunk_read_block(struct kvfs *fs, uint64_t ino, const struct chunk *chunk,
	unsigned block, uint8_t out[EXTENT_BLOCK_SIZE], uint32_t *size);
/*
 * To be called when block pieces were added to a chunk: deletes the chunk piece if they hide all of
 * it, otherwise gives the inode INODE_MIXED.
 */
KV_MUST_CHECK int chunk_settle(struct change *change, struct inode *inode, struct chunk *chunk);

static inline unsigned chunk_blocks(const struct chunk *chunk)
{
	return (unsigned)__builtin_popcount(chunk->data);
}

static inline unsigned chunk_pieces(const struct chunk *chunk)
{
	return (unsigned)__builtin_popcount(chunk->overlaid) + chunk->whole;
}

/* The blocks that so many bytes from a chunk's start reach into. */
static inline uint16_t chunk_mask(uint32_t size)
{
	return (uint16_t)((1u << ((size + EXTENT_BLOCK_SIZE - 1) / EXTENT_BLOCK_SIZE)) - 1);
}

/* The blocks that bytes [from, to) of a chunk lie in. */
static inline uint16_t chunk_range_mask(uint32_t from, uint32_t to)
{
	return chunk_mask(to) & (uint16_t)~chunk_mask(from / EXTENT_BLOCK_SIZE * EXTENT_BLOCK_SIZE);
}

/* The chunks of a file that have pieces, in order. */
struct piece_walk {
	struct kvfs *fs;
	struct kv_cursor *cursor;
	uint64_t ino;
	bool keys_only; /* sizes are not looked at: `data` is what the keys allow */
	bool more;      /* the cursor is on a piece that was not consumed */
};

/* Starts a walk at this chunk. It uses the scratch's cursor until it is over. */
KV_MUST_CHECK int piece_walk_start(struct kvfs *fs, struct scratch *scratch, uint64_t ino,
	uint64_t chunk, bool keys_only, struct piece_walk *out);
/* Inside a read section. -ENOENT: that was all; -EIO */
KV_MUST_CHECK int piece_walk_next(struct piece_walk *walk, struct chunk *out);

/*
 * A chunk that is to be changed, in a read section; one without pieces is no error. Which pieces
 * there are the ordered keys tell, without touching the records; whether a block piece has data is
 * looked at only for the blocks in `exact`, the others are taken to have some. Uses the scratch's
 * cursor.
 */
KV_MUST_CHECK int chunk_get(struct change *change, const struct inode *inode, uint64_t number,
	uint16_t exact, struct chunk *out);

#endif
