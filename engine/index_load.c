/* SPDX-License-Identifier: MIT */
/*
 * index_load.c - a table that is read in parts when they are first needed: see index_load in
 * index.h.
 *
 * Whoever finds a part absent and is the first to say so reads it; others who need it wait for him,
 * and for nobody else. When the last one is there the table forgets its source, and look-ups no
 * longer ask.
 */
#include "index.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum chunk_state { CHUNK_ABSENT, CHUNK_CLAIMED, CHUNK_PRESENT };

struct index_source {
	struct index *index;
	index_read_fn *read;
	void *arg;
	uint64_t chunks;
	_Atomic uint64_t left;	 /* not present yet */
	_Atomic uint64_t next;	 /* where loading in order goes on */
	struct index_bucket *spare; /* [INDEX_CHUNK_BUCKETS], for who gets no memory; protected
				       by spare_taken */
	_Atomic bool spare_taken;
	_Atomic uint8_t state[]; /* [chunks], enum chunk_state; present is stored with release */
};

struct index_source *index_source_new(struct index *index, struct index_table *table,
				      index_read_fn *read, void *arg)
{
	uint64_t chunks = (table->count + INDEX_REACH + INDEX_CHUNK_BUCKETS - 1) /
			  INDEX_CHUNK_BUCKETS;
	struct index_source *source = calloc(1, sizeof(*source) + chunks);

	if (!source)
		return NULL;
	source->spare = malloc(INDEX_CHUNK_SIZE);
	if (!source->spare) {
		free(source);
		return NULL;
	}
	source->index = index;
	source->read = read;
	source->arg = arg;
	source->chunks = chunks;
	atomic_init(&source->left, chunks);
	return source;
}

void index_source_free(struct index_source *source)
{
	if (source)
		free(source->spare);
	free(source);
}

/*
 * Takes the memory for one chunk that is always at hand: a look-up cannot fail for want of memory.
 */
static struct index_bucket *take_spare(struct index_source *source)
{
	while (atomic_exchange_explicit(&source->spare_taken, true, memory_order_acquire))
		sched_yield();
	return source->spare;
}

/* The last chunk is a part of one. */
static void read_chunk(struct index_table *table, struct index_source *source, uint64_t chunk)
{
	_Atomic uint64_t *to = table->buckets[chunk * INDEX_CHUNK_BUCKETS].slots;
	uint64_t left = table->count + INDEX_REACH - chunk * INDEX_CHUNK_BUCKETS;
	size_t slots = (left < INDEX_CHUNK_BUCKETS ? left : INDEX_CHUNK_BUCKETS) * INDEX_SLOTS;
	struct index_bucket *bytes = malloc(INDEX_CHUNK_SIZE);
	const uint64_t *from;
	bool failed;
	size_t i;

	if (!bytes)
		bytes = take_spare(source);
	from = (const uint64_t *)bytes;
	failed = source->read(source->arg, chunk, bytes);

	/* Slot by slot: who only wants to prefetch looks without asking whether they are there. */
	for (i = 0; i < slots && !failed; i++)
		atomic_store_explicit(&to[i], from[i], memory_order_relaxed);
	if (failed)
		atomic_store(&source->index->failed, true);
	if (bytes == source->spare)
		atomic_store_explicit(&source->spare_taken, false, memory_order_release);
	else
		free(bytes);
}

static void load_chunk(struct index_table *table, struct index_source *source, uint64_t chunk)
{
	uint8_t absent = CHUNK_ABSENT;

	if (!atomic_compare_exchange_strong(&source->state[chunk], &absent, CHUNK_CLAIMED)) {
		while (atomic_load_explicit(&source->state[chunk], memory_order_acquire) !=
		       CHUNK_PRESENT)
			sched_yield();
		return;
	}
	read_chunk(table, source, chunk);
	atomic_store_explicit(&source->state[chunk], CHUNK_PRESENT, memory_order_release);
	if (atomic_fetch_sub(&source->left, 1) == 1)
		atomic_store_explicit(&table->source, NULL, memory_order_release);
}

void index_load_bucket(struct index_table *table, uint64_t bucket)
{
	struct index_source *source = table->owned;
	uint64_t chunk = bucket / INDEX_CHUNK_BUCKETS;
	uint64_t last = (bucket + INDEX_REACH) / INDEX_CHUNK_BUCKETS;

	for (; chunk <= last && chunk < source->chunks; chunk++) {
		if (atomic_load_explicit(&source->state[chunk], memory_order_acquire) !=
		    CHUNK_PRESENT)
			load_chunk(table, source, chunk);
	}
}

static bool load_next(struct index_table *table, uint64_t count)
{
	struct index_source *source = table->owned;
	uint64_t chunk;

	while (count-- && (chunk = atomic_fetch_add(&source->next, 1)) < source->chunks)
		load_chunk(table, source, chunk);
	return !atomic_load(&source->left);
}

bool index_load_some(struct index *index, uint64_t count)
{
	struct index_table *table = atomic_load(&index->table);

	return !atomic_load_explicit(&table->source, memory_order_acquire) ||
	       load_next(table, count);
}

void index_load_table(struct index_table *table)
{
	uint64_t chunk;

	if (!atomic_load_explicit(&table->source, memory_order_acquire))
		return;
	for (chunk = 0; chunk < table->owned->chunks; chunk++)
		load_chunk(table, table->owned, chunk);
}
