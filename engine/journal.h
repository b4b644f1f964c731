/* SPDX-License-Identifier: MIT */
/*
 * journal.h - bytes that a writer leaves behind without waiting for anyone, and that another thread
 * takes away in blocks: what changes in an index while it is being saved.
 *
 * Memory is bounded and there from the start. If the taker falls behind so far that it is used up
 * the journal is lost: nothing more is noted, and who wanted it has to begin again.
 *
 * Threads: all but new and free under one lock of the owner's (the commit lock).
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_BLOCK_SIZE 65536u

struct journal_block {
	struct journal_block *next;
	size_t used; /* bytes */
	uint8_t bytes[JOURNAL_BLOCK_SIZE];
};

struct journal {
	struct journal_block *first, *last; /* written, oldest first */
	struct journal_block *spares;	    /* used before */
	struct journal_block *blocks;	    /* all of them, touched when they are needed */
	unsigned count, touched;
	unsigned full; /* blocks before the last one */
	bool lost;
};

/* Takes the memory of all blocks that there will be. -ENOMEM */
int journal_init(struct journal *journal, unsigned blocks);
void journal_fini(struct journal *journal);

void journal_append(struct journal *journal, const void *data, size_t size);
/* The blocks that are full, or all of them, oldest first; NULL: there is none. */
struct journal_block *journal_take(struct journal *journal, bool all);
/* They are used again. */
void journal_give(struct journal *journal, struct journal_block *blocks);

#endif
