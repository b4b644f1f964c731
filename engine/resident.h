/* SPDX-License-Identifier: MIT */
/*
 * resident.h - which segments are in buffers, of huge pages, and which are read through their
 * files' maps.
 *
 * Writers fill buffers, and the newest segments keep theirs, as many as may. One that loses its own
 * is cold: warm.h.
 *
 * Threads: the maintainer's, with its lock. Readers go on meanwhile; what they may still look at is
 * given back behind an epoch.
 */
#ifndef RESIDENT_H
#define RESIDENT_H

#include "store.h"

/* Has its buffer to be proved, as it was appended to again? */
bool resident_is_unproved(const struct segment *segment);
/*
 * Gives a segment a buffer again: huge pages, instead of small ones that each have to be found,
 * take a fifth off a get and a quarter off an overwrite. As many as may have one, and the spares
 * that writers will want. False: there is no room.
 */
bool resident_make(struct kv *kv, struct segment *segment);
/*
 * Gives buffers back, oldest segments first, until one more may be taken. pressed: a writer waits.
 * False: all are still to be written.
 */
bool resident_make_room(struct kv *kv, bool pressed);

#endif
