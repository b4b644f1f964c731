/* SPDX-License-Identifier: MIT */
/*
 * validator.h - recovery's second thread: goes through the segments that are to be replayed ahead
 * of the first one, asks the disk for them, validates one record behind the other, and looks up
 * what each replaces. The replayer is told how far that came, and goes on from there by itself
 * where a segment's end or damage stopped it; what was found in the index is a hint. So what counts
 * is decided in one place, with the second thread or without.
 *
 * Threads: the functions are the replayer's.
 */
#ifndef VALIDATOR_H
#define VALIDATOR_H

#include "store.h"

struct validator;

/* About a valid record. */
struct validator_finding {
	uint64_t hash; /* of its key */
	uint64_t old;  /* where an older record of the key stands, which was its newest a moment
			  ago; 0: not known */
	uint32_t old_length; /* of that */
};

/*
 * For these segments, in the order in which they are replayed; the array stays the caller's. NULL:
 * there is no such thread, for want of work, memory or permission, and nothing is missed.
 */
struct validator *validator_new(struct kv *kv, struct segment *const *segments, size_t count);
/* Ends the thread. NULL is fine. */
void validator_free(struct validator *validator);

/* The replayer comes to the nth segment. */
void validator_enter(struct validator *validator, size_t nth);
/* ... and has done with it: from here on the thread does not look at it either. */
void validator_leave(struct validator *validator);
/*
 * Up to where each record of this segment that can be come to from the first one, by their lengths,
 * is valid. Waits until that is beyond `offset`, if it will be before the replayer takes what was
 * found.
 */
uint32_t validator_await(struct validator *validator, uint32_t offset);
/*
 * Gives what was found out about the record at this offset, which is behind that of the last call.
 * False: nothing.
 */
bool validator_take(struct validator *validator, uint32_t offset, struct validator_finding *out);

#endif
