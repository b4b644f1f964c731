/* SPDX-License-Identifier: MIT */
/* index_save.c - saving a table beside writers: see index_save_begin in index.h. */
#include "index.h"

#include <errno.h>

#include "format.h"
#include "journal.h"

int index_save_begin(struct index *index, struct index_saving *saving, struct journal *changes)
{
	struct index_table *table = atomic_load(&index->table);

	if (!index_settle(index, 0))
		return -EAGAIN;
	saving->changes = changes;
	saving->table = table;
	saving->slots = (table->count + INDEX_REACH) * INDEX_SLOTS;
	saving->saved = 0;
	table->saving = saving;
	return 0;
}

const _Atomic uint64_t *index_save_next(struct index_saving *saving, uint64_t count)
{
	/* The buckets are nothing but slots. */
	const _Atomic uint64_t *slots =
		(const _Atomic uint64_t *)saving->table->buckets + saving->saved;

	saving->saved += count;
	return slots;
}

/* A store that comes meanwhile may be seen or not: it is noted, and done again. */
void index_save_copy(const _Atomic uint64_t *slots, uint64_t *out, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		out[i] = atomic_load_explicit(&slots[i], memory_order_relaxed);
}

void index_save_end(struct index_saving *saving)
{
	/* If the saving was lost, the table may be gone. */
	if (saving->table)
		saving->table->saving = NULL;
	saving->table = NULL;
}

void index_save_note(struct index_saving *saving, const _Atomic uint64_t *slot, uint64_t entry)
{
	struct format_checkpoint_slot change = {
		.number = (uint64_t)(slot - saving->table->buckets[0].slots), .entry = entry};

	if (change.number < saving->saved)
		journal_append(saving->changes, &change, sizeof(change));
}

void index_save_lose(struct index_table *table)
{
	struct index_saving *saving = table->saving;

	if (!saving)
		return;
	saving->changes->lost = true;
	index_save_end(saving);
}
