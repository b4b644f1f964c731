/* SPDX-License-Identifier: MIT */
/*
 * soak_large.h - the model of large values that are written in part, cut off, streamed and deleted;
 * and the thread that does so.
 *
 * A value is a row of blocks, whose size is no power of two so that they lie across pieces; a
 * block's bytes follow from key, place and the number of the operation that wrote it, which is
 * never used twice; 0: never written, reads as zeros. What operations do since the last sync stands
 * in a journal. After a crash the store must have the state at some place in the journal.
 *
 *   folded <= done <= tried     operations that `state` contains and that are durable, are
 *                               committed, are begun
 *
 * Each value belongs to one thread. If that is killed while it folds, folding again from the same
 * place comes to the same end, because an operation sets what it touches to what does not depend on
 * what was there.
 */
#ifndef SOAK_LARGE_H
#define SOAK_LARGE_H

#include "kv.h"
#include "soak_model.h"

#define SOAK_BLOCK 1000u        /* bytes */
#define SOAK_BLOCKS_MAX 1500u   /* of a value */
#define SOAK_JOURNAL 16u        /* operations between two syncs of a value, at most */
#define SOAK_NOTHING UINT32_MAX /* in place of a number of blocks: there is no such key */

enum soak_large_kind {
	SOAK_LARGE_WRITE, /* a part */
	SOAK_LARGE_RESIZE,
	SOAK_LARGE_PUT,    /* all of it, by kv_put */
	SOAK_LARGE_STREAM, /* all of it, by a stream */
	SOAK_LARGE_DELETE,
};

struct soak_large_change {
	uint32_t kind; /* enum soak_large_kind */
	uint32_t number;
	uint32_t from, to; /* blocks; `to` is the new end where all of it changes */
};

struct soak_large_state {
	uint32_t blocks; /* SOAK_NOTHING: there is no such key */
	uint32_t number[SOAK_BLOCKS_MAX];
};

struct soak_large {
	/* it is set up; the numbers of operations, of which none is used twice */
	_Atomic uint32_t begun;
	_Atomic uint64_t folded, done, tried; /* places in the journal */
	struct soak_large_change journal[SOAK_JOURNAL];
	struct soak_large_state state; /* at `folded` */
};

/* Before the first use of a new model. */
void soak_large_init(struct soak_model *model);
/* One random change of the value, committed. The journal has room. */
int soak_large_change(
	struct soak_model *model, struct kv *kv, uint32_t value, uint64_t *random, uint64_t *seq);
/* All up to this place is durable. */
void soak_large_fold(struct soak_large *large, uint64_t place);
/*
 * Reads the value as a whole and in part; NULL, or what is wrong with it. From here on the store's
 * state is the model's.
 */
const char *soak_large_verify(struct soak_model *model, struct kv *kv, uint32_t value);

#endif
