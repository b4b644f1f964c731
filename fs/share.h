/* SPDX-License-Identifier: MIT */
/*
 * share.h - chunks whose bytes several files share: references, what they refer to, and how many
 * there are (see DESIGN.md, Extents by reference).
 *
 * What a change does to counts is gathered in its scratch and becomes records when it commits,
 * under one lock for all: files with different stripes may refer to the same piece.
 */
#ifndef SHARE_H
#define SHARE_H

#include "change.h"
#include "extent_record.h"
#include "share_record.h"

/* The reference that stands for this chunk's piece. In a read section. -ENOENT, -EIO */
KV_MUST_CHECK int share_find(
	struct kvfs *fs, uint64_t ino, uint64_t chunk, struct share_reference *out);
/* The bytes that it stands for. In a read section. -ENOENT there is no reference; -EIO */
KV_MUST_CHECK int share_get(struct kvfs *fs, uint64_t ino, uint64_t chunk, struct kv_slice *out);

/* A piece that is to be shared; the id is new. */
KV_MUST_CHECK int share_new(struct change *change, uint64_t id, const void *data, size_t size);
/* Makes the chunk's piece a reference where there was no piece. */
KV_MUST_CHECK int share_add(
	struct change *change, uint64_t ino, uint64_t chunk, struct share_reference reference);
/* Deletes the reference. -ENOENT */
KV_MUST_CHECK int share_drop(struct change *change, uint64_t ino, uint64_t chunk);
/* The chunk has only the first `size` bytes of what it had. */
KV_MUST_CHECK int share_cut(struct change *change, uint64_t ino, uint64_t chunk, uint32_t size);

/*
 * Adds to the batch what becomes of the counts. With share_lock, outside read sections. -ENOMEM,
 * -EIO
 */
KV_MUST_CHECK int share_settle(struct change *change);

#endif
