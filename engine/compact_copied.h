/* SPDX-License-Identifier: MIT */
/*
 * compact_copied.h - tombstones that were copied already, of a victim that was not emptied then.
 *
 * Where the copy of a value stands, an index tells. None tells of tombstones: a victim that a crash
 * or a lack of room has cut short would have them copied again each time, until nothing is left of
 * the room that was there once. A victim's copies take the log's last segment and the one before it
 * at most; so before space is made for the first time, and behind each victim that was left half
 * done, those two are read.
 *
 * Threads: whoever holds the maintainer's place.
 */
#ifndef COMPACT_COPIED_H
#define COMPACT_COPIED_H

#include "store.h"

/* Where that is not known. Without memory for it, as if there were none. */
void compact_copied_look(struct kv *kv);
/* A victim is left half done, or the store closed. */
void compact_copied_forget(struct kv *kv);
/* This one is emptied: what was copied to it is somewhere else now, or was not needed. */
void compact_copied_emptied(struct kv *kv, const struct segment *segment);

bool compact_copied_any(const struct kv *kv);
/* Is there a copy of a victim's tombstone, in a newer segment that stays? */
bool compact_copied_has(const struct kv *kv, const struct segment *victim,
			const struct format_record *tombstone, uint64_t hash);
/* Bytes of a segment's tombstones of which there is one. Reads the segment, once. */
uint64_t compact_copied_bytes(struct kv *kv, struct segment *segment);

#endif
