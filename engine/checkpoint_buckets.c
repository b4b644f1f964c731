/* SPDX-License-Identifier: MIT */
/* checkpoint_buckets.c - see checkpoint_buckets.h. */
#include "checkpoint_buckets.h"

#include <errno.h>
#include <stdlib.h>

#define CHUNK_SLOTS (INDEX_CHUNK_SIZE / sizeof(uint64_t))

int checkpoint_buckets_read(const struct checkpoint_buckets *buckets, uint64_t chunk,
			    struct index_bucket *out)
{
	uint64_t *entries = (uint64_t *)out;
	int error = checkpoint_file_chunk(buckets->file, buckets->section, chunk, out);
	size_t i;

	if (error)
		return error;
	for (i = buckets->starts[chunk]; i < buckets->starts[chunk + 1]; i++)
		entries[buckets->changes[i].number % CHUNK_SLOTS] = buckets->changes[i].entry;
	for (i = 0; i < CHUNK_SLOTS; i++) {
		if (entries[i] && !buckets->valid(buckets->kv, entries[i] & INDEX_ADDRESS_MASK))
			return -EUCLEAN;
	}
	return 0;
}

/* Sorts them by chunk: counts, and then puts each in its place. */
static int sort_changes(struct checkpoint_buckets *sorted,
			const struct format_checkpoint_slot *changes, size_t count, size_t chunks,
			uint64_t slots)
{
	size_t *next = sorted->starts + 1, i;

	for (i = 0; i < count; i++) {
		if (changes[i].number >= slots)
			return -EUCLEAN;
		sorted->starts[changes[i].number / CHUNK_SLOTS + 2]++;
	}
	for (i = 2; i < chunks + 2; i++)
		sorted->starts[i] += sorted->starts[i - 1];
	/*
	 * starts[n + 1] is where the next one of chunk n goes, and in the end where chunk n + 1
	 * begins.
	 */
	for (i = 0; i < count; i++)
		sorted->changes[next[changes[i].number / CHUNK_SLOTS]++] = changes[i];
	return 0;
}

int checkpoint_buckets_init(struct checkpoint_buckets *buckets, struct kv *kv,
			    const struct checkpoint_file *file, unsigned section,
			    bool (*valid)(struct kv *kv, uint64_t value))
{
	const uint64_t *sizes = file->header.sizes;
	size_t size = sizes[section + 1], chunks = format_checkpoint_chunks_of(sizes[section]);
	struct format_checkpoint_slot *changes = malloc(size + 1);
	struct checkpoint_reader *reader = NULL;
	int error;

	buckets->kv = kv;
	buckets->file = file;
	buckets->section = section;
	buckets->valid = valid;
	buckets->changes = malloc(size + 1);
	buckets->starts = calloc(chunks + 2, sizeof(size_t));
	error = changes && buckets->changes && buckets->starts ?
			checkpoint_reader_new(file, section + 1, &reader) :
			-ENOMEM;
	if (!error)
		error = checkpoint_reader_read(reader, changes, size);
	if (!error)
		error = sort_changes(buckets, changes, size / sizeof(*changes), chunks,
				     sizes[section] / sizeof(uint64_t));
	free(reader);
	free(changes);
	if (error)
		checkpoint_buckets_fini(buckets);
	return error;
}

void checkpoint_buckets_fini(struct checkpoint_buckets *buckets)
{
	free(buckets->changes);
	free(buckets->starts);
	buckets->changes = NULL;
	buckets->starts = NULL;
}
