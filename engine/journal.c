/* SPDX-License-Identifier: MIT */
/* journal.c - see journal.h. */
#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int journal_init(struct journal *journal, unsigned blocks)
{
	memset(journal, 0, sizeof(*journal));
	journal->blocks = malloc(blocks * sizeof(*journal->blocks));
	journal->count = blocks;
	return journal->blocks ? 0 : -ENOMEM;
}

void journal_fini(struct journal *journal)
{
	free(journal->blocks);
	memset(journal, 0, sizeof(*journal));
}

static struct journal_block *spare_block(struct journal *journal)
{
	struct journal_block *block = journal->spares;

	if (block)
		journal->spares = block->next;
	else if (journal->touched < journal->count)
		block = &journal->blocks[journal->touched++];
	return block;
}

/* False: there is no memory left. */
static bool add_block(struct journal *journal)
{
	struct journal_block *block = spare_block(journal);

	if (!block)
		return false;
	block->next = NULL;
	block->used = 0;
	if (journal->last) {
		journal->last->next = block;
		journal->full++;
	} else {
		journal->first = block;
	}
	journal->last = block;
	return true;
}

void journal_append(struct journal *journal, const void *data, size_t size)
{
	const uint8_t *from = data;

	while (size && !journal->lost) {
		struct journal_block *last = journal->last;
		size_t part = last ? JOURNAL_BLOCK_SIZE - last->used : 0;

		if (!part) {
			journal->lost = !add_block(journal);
			continue;
		}
		if (part > size)
			part = size;
		memcpy(last->bytes + last->used, from, part);
		last->used += part;
		from += part;
		size -= part;
	}
}

struct journal_block *journal_take(struct journal *journal, bool all)
{
	struct journal_block *blocks = journal->first, *block;

	if (!blocks || (blocks == journal->last && !all))
		return NULL;
	journal->full = 0;
	journal->first = all ? NULL : journal->last;
	for (block = blocks; block->next && block->next != journal->first; block = block->next)
		;
	block->next = NULL;
	if (all)
		journal->last = NULL;
	return blocks;
}

void journal_give(struct journal *journal, struct journal_block *blocks)
{
	while (blocks) {
		struct journal_block *next = blocks->next;

		blocks->next = journal->spares;
		journal->spares = blocks;
		blocks = next;
	}
}
