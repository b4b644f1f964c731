/* SPDX-License-Identifier: MIT */
/*
 * preread.h - while a log is replayed, what it leads to comes into memory: all of the log, in its
 * order, where that is small beside memory.
 *
 * Each record that is replayed leads to one it replaces, somewhere; found one by one these would be
 * read from the disk a page at a time.
 *
 * Threads: one of its own, which only asks for pages of maps; the functions are the replayer's. The
 * maps stay until preread_free.
 */
#ifndef PREREAD_H
#define PREREAD_H

#include "store.h"

struct preread;

/*
 * The array stays the caller's. NULL: it is not worth while, or not possible, and each is read when
 * it is needed.
 */
struct preread *preread_new(struct kv *kv, struct segment *const *segments, size_t count);
/* Ends it, wherever it is. NULL is fine. */
void preread_free(struct preread *preread);

#endif
