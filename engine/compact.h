/* SPDX-License-Identifier: MIT */
/*
 * compact.h - gives back the space of records that nobody needs any more: picks a segment, appends what is still needed
 * to the log again, makes that durable, and frees the segment's file.
 *
 * Runs on the maintainer, in steps short enough that nobody who waits for it notices.
 */
#ifndef COMPACT_H
#define COMPACT_H

#include "store.h"

#define COMPACT_PAUSE_US 100u /* between two steps */

/* One step: picks a victim when the log has too much garbage, or goes on with the one it has. */
void compact_step(struct kv *kv);
bool compact_under_way(struct kv *kv);
/* Empties one segment at once, into what is left of the log and, if need be, the reserve. False: none is worth it. */
bool compact_for_space(struct kv *kv);

#endif
