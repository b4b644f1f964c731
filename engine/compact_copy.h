/* SPDX-License-Identifier: MIT */
/*
 * compact_copy.h - what a record of a victim is worth, and the copying of what is needed.
 *
 *   a value whose address is the index's    copied to the cold segment, and the indexes pointed
 *                                           there
 *   a value that is a version               likewise, behind a record that says when it ceased to
 *                                           be its key's newest
 *   a tombstone, if older segments exist    appended to the log again: one of the older segments
 *   and the key is absent, or is there      may hold the key
 *   again but absent in a view between
 *   anything else                           dropped
 *
 * Records are looked at without the lock: an address that is not the index's any more never is
 * again, so garbage is dropped without it, and copies are made without it. The lock is taken for a
 * few records at a time, to move the indexes.
 */
#ifndef COMPACT_COPY_H
#define COMPACT_COPY_H

#include "store.h"

/*
 * The heads by which a victim's records are found, where few of them are needed and the others need
 * not be read; or NULL.
 */
const struct heads *compact_heads(const struct segment *victim);

/*
 * Goes on with the victim for `bytes`. for_space: the disk is full, copies go into the rest of the
 * log. 0: done with that share; -EAGAIN: no room for a copy now; -EIO.
 */
int compact_copy(struct kv *kv, uint32_t bytes, bool for_space);

#endif
