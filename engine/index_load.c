/* SPDX-License-Identifier: MIT */
/*
 * index_load.c - a table that is read in parts when they are first needed: see index_load in index.h.
 *
 * A part is written once, under the source's lock, before it is marked as present; nobody looks at it before. When the last one is
 * there the table forgets its source, and look-ups no longer ask.
 */
#include "index.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct index_source {
	struct index *index;
	index_read_fn *read;
	void *arg;
	pthread_mutex_t lock;
	uint64_t chunks, left;	   /* left: protected by lock */
	uint64_t next;		   /* the first that may not be there; protected by lock */
	_Atomic uint8_t present[]; /* [chunks]; stored with release under lock */
};

struct index_source *index_source_new(struct index *index, struct index_table *table,
				      index_read_fn *read, void *arg)
{
	uint64_t chunks = (table->count + INDEX_REACH + INDEX_CHUNK_BUCKETS - 1) /
			  INDEX_CHUNK_BUCKETS;
	struct index_source *source = calloc(1, sizeof(*source) + chunks);

	if (!source)
		return NULL;
	source->index = index;
	source->read = read;
	source->arg = arg;
	source->chunks = source->left = chunks;
	pthread_mutex_init(&source->lock, NULL);
	return source;
}

void index_source_free(struct index_source *source)
{
	if (!source)
		return;
	pthread_mutex_destroy(&source->lock);
	free(source);
}

static bool is_present(struct index_source *source, uint64_t chunk)
{
	return atomic_load_explicit(&source->present[chunk], memory_order_acquire);
}

/* The last chunk is a part of one. */
static void read_chunk(struct index_table *table, struct index_source *source, uint64_t chunk)
{
	_Atomic uint64_t *to = table->buckets[chunk * INDEX_CHUNK_BUCKETS].slots;
	uint64_t left = table->count + INDEX_REACH - chunk * INDEX_CHUNK_BUCKETS;
	size_t slots = (left < INDEX_CHUNK_BUCKETS ? left : INDEX_CHUNK_BUCKETS) * INDEX_SLOTS;
	struct index_bucket *bytes = malloc(INDEX_CHUNK_SIZE);
	const uint64_t *from = (const uint64_t *)bytes;
	bool failed = !bytes || source->read(source->arg, chunk, bytes);
	size_t i;

	/* Slot by slot: who only wants to prefetch looks without asking whether they are there. */
	for (i = 0; i < slots && !failed; i++)
		atomic_store_explicit(&to[i], from[i], memory_order_relaxed);
	if (failed)
		atomic_store(&source->index->failed, true);
	free(bytes);
}

/* Called with the lock. */
static void load_chunk(struct index_table *table, struct index_source *source, uint64_t chunk)
{
	if (is_present(source, chunk))
		return;
	read_chunk(table, source, chunk);
	atomic_store_explicit(&source->present[chunk], 1, memory_order_release);
	if (!--source->left)
		atomic_store_explicit(&table->source, NULL, memory_order_release);
}

void index_load_bucket(struct index_table *table, uint64_t bucket)
{
	struct index_source *source = table->owned;
	uint64_t chunk = bucket / INDEX_CHUNK_BUCKETS;
	uint64_t last = (bucket + INDEX_REACH) / INDEX_CHUNK_BUCKETS;

	for (; chunk <= last && chunk < source->chunks; chunk++) {
		if (is_present(source, chunk))
			continue;
		pthread_mutex_lock(&source->lock);
		load_chunk(table, source, chunk);
		pthread_mutex_unlock(&source->lock);
	}
}

static bool load_next(struct index_table *table, uint64_t count)
{
	struct index_source *source = table->owned;
	bool done;

	pthread_mutex_lock(&source->lock);
	for (; count && source->next < source->chunks; source->next++, count--)
		load_chunk(table, source, source->next);
	done = !source->left;
	pthread_mutex_unlock(&source->lock);
	return done;
}

bool index_load_some(struct index *index, uint64_t count)
{
	struct index_table *table = atomic_load(&index->table);

	return !atomic_load_explicit(&table->source, memory_order_acquire) ||
	       load_next(table, count);
}

void index_load_table(struct index_table *table)
{
	if (atomic_load_explicit(&table->source, memory_order_acquire))
		load_next(table, UINT64_MAX);
}
