/* SPDX-License-Identifier: MIT */
/*
 * trim.h - gives back to the disk what is kept only for writers who go on: spare segments, free
 * files that would be used again, and the space behind the log's end.
 *
 * After some seconds without a change they go, but for one spare segment where the log's last one
 * is nearly full, for who writes now and then; after half a minute, and when the store is closed,
 * that as well. They stay where another file is not to be had, and the reserve does in a large
 * store (reserve.h).
 *
 * The maintainer's.
 */
#ifndef TRIM_H
#define TRIM_H

#include "store.h"

/* If the store rests. */
void trim_step(struct kv *kv);
/* How long until the next step has something to do. */
uint64_t trim_pause_us(const struct kv *kv);
/* All of it: the store is being closed, and everything is durable. What fails stays. */
void trim_close(struct kv *kv);

#endif
