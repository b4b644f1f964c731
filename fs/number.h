/* SPDX-License-Identifier: MIT */
/*
 * number.h - gives out inode numbers, none of them twice in the life of a store.
 *
 * Numbers below `limit` are reserved by a committed record; those that a crash or a close leaves
 * unused are skipped. Any thread.
 */
#ifndef NUMBER_H
#define NUMBER_H

#include <pthread.h>
#include <stdatomic.h>

#include "kv.h"

#define NUMBER_STEP 4096u /* numbers reserved at a time */

struct number_source {
	struct kv *kv;
	_Atomic uint64_t next;  /* the next number to try; may be beyond limit */
	_Atomic uint64_t limit; /* stored after the commit of the record that says so */
	pthread_mutex_t
		lock; /* whoever moves limit; rank 4 (see DESIGN.md), held across a commit */
};

/* `next` is what the record says. */
void number_source_init(struct number_source *source, struct kv *kv, uint64_t next);
void number_source_fini(struct number_source *source);

/*
 * A number behind all that were given out, where a damaged record may say too little: some that a
 * store has only in a snapshot, or not any more, nobody knows of.
 */
uint64_t number_beyond(uint64_t next);

/* May commit: call with no stripe held and outside read sections. Errors: -ENOSPC, and those of
 * kv_put. */
KV_MUST_CHECK int number_next(struct number_source *source, uint64_t *ino);

#endif
