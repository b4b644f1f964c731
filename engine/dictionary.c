/* SPDX-License-Identifier: MIT */
/* dictionary.c - see dictionary.h. */
#include "dictionary.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "batch.h"
#include "epoch.h"
#include "lookup.h"

#define KEY_SIZE 2u
#define WORDS (COMPRESS_DICTIONARIES / 64)

struct dictionaries {
	_Atomic(ZSTD_DDict *) decoders[COMPRESS_DICTIONARIES];
	pthread_mutex_t loading; /* one reader digests a dictionary; below all other locks */

	/* The maintainer's */
	bool known; /* the set below is what is in the store */
	_Atomic uint64_t present[WORDS]; /* counted by who asks for statistics */
	struct dictionary_choice choices[FORMAT_KEYSPACES];
	ZSTD_CCtx *encoder;
};

int dictionaries_new(struct kv *kv)
{
	kv->dictionaries = calloc(1, sizeof(*kv->dictionaries));
	if (!kv->dictionaries)
		return -ENOMEM;
	pthread_mutex_init(&kv->dictionaries->loading, NULL);
	return 0;
}

void dictionaries_free(struct kv *kv)
{
	struct dictionaries *all = kv->dictionaries;
	unsigned i;

	if (!all)
		return;
	for (i = 0; i < COMPRESS_DICTIONARIES; i++)
		ZSTD_freeDDict(atomic_load(&all->decoders[i]));
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		ZSTD_freeCDict(all->choices[i].cdict);
	ZSTD_freeCCtx(all->encoder);
	pthread_mutex_destroy(&all->loading);
	free(all);
	kv->dictionaries = NULL;
}

static void key_of(unsigned number, uint8_t key[KEY_SIZE])
{
	key[0] = 'd';
	key[1] = (uint8_t)number;
}

/* The dictionary's record, verified, or NULL. Inside an epoch. */
static const struct format_record *find_record(struct kv *kv, unsigned number)
{
	uint8_t key[KEY_SIZE];
	struct lookup lookup = {&kv->segments, key, KEY_SIZE, FORMAT_KEYSPACE_ENGINE, NULL, 0};
	const struct segment *segment;
	uint64_t address;

	key_of(number, key);
	address = index_lookup(&kv->index,
			       keyhash_of(&kv->keyhash, FORMAT_KEYSPACE_ENGINE, key, KEY_SIZE),
			       lookup_match, &lookup);
	if (!address)
		return NULL;
	segment = kv->segments.table[segments_slot(&kv->segments, address)];
	if (segment_validate(&kv->segments, segment,
			     (const uint8_t *)lookup.record -
				     segments_offset(&kv->segments, address),
			     segments_offset(&kv->segments, address)) <= 0)
		return NULL;
	return lookup.record->value_size > 1 && !(lookup.record->flags & FORMAT_RECORD_ZSTD) ?
		       lookup.record :
		       NULL;
}

/* ---- decoding -------------------------------------------------------------------------------- */

static int load_decoder(struct kv *kv, unsigned number, const ZSTD_DDict **out)
{
	const struct format_record *record = find_record(kv, number);
	ZSTD_DDict *decoder;

	if (!record) {
		store_report(kv, KV_ERROR,
			     "dictionary %u cannot be read: values compressed with it are lost",
			     number);
		return -EIO;
	}
	decoder = ZSTD_createDDict(format_record_value(record) + 1, record->value_size - 1);
	if (!decoder)
		return -ENOMEM;
	atomic_store_explicit(&kv->dictionaries->decoders[number], decoder, memory_order_release);
	*out = decoder;
	return 0;
}

int dictionary_decoder(struct kv *kv, unsigned number, const ZSTD_DDict **out)
{
	struct dictionaries *all = kv->dictionaries;
	int error = 0;

	*out = NULL;
	if (!number)
		return 0;
	*out = atomic_load_explicit(&all->decoders[number], memory_order_acquire);
	if (__builtin_expect(*out != NULL, 1))
		return 0;
	pthread_mutex_lock(&all->loading);
	*out = atomic_load(&all->decoders[number]);
	if (!*out)
		error = load_decoder(kv, number, out);
	pthread_mutex_unlock(&all->loading);
	return error;
}

/* ---- choosing -------------------------------------------------------------------------------- */

ZSTD_CCtx *dictionary_encoder(struct kv *kv)
{
	struct dictionaries *all = kv->dictionaries;

	if (!all->encoder)
		all->encoder = compress_encoder_new(kv->info.compress_level);
	return all->encoder;
}

static int choose(struct kv *kv, unsigned keyspace, unsigned number, const void *bytes, size_t size,
		  double ratio)
{
	struct dictionary_choice *choice = &kv->dictionaries->choices[keyspace];
	ZSTD_CDict *cdict = ZSTD_createCDict(bytes, size, kv->info.compress_level);

	if (!cdict)
		return -ENOMEM;
	ZSTD_freeCDict(choice->cdict);
	*choice = (struct dictionary_choice){.number = number, .cdict = cdict, .ratio = ratio,
					     .chosen = true};
	return 0;
}

/* Finds what an earlier life of the store has left; the newest of a keyspace is its choice. */
static void learn(struct kv *kv)
{
	struct dictionaries *all = kv->dictionaries;
	uint64_t newest[FORMAT_KEYSPACES] = {0};
	unsigned number;

	if (all->known)
		return;
	all->known = true;
	epoch_enter();
	for (number = 1; number < COMPRESS_DICTIONARIES; number++) {
		const struct format_record *record = find_record(kv, number);
		unsigned keyspace;

		if (!record)
			continue;
		all->present[number / 64] |= (uint64_t)1 << number % 64;
		keyspace = format_record_value(record)[0] % FORMAT_KEYSPACES;
		if (record->seq <= newest[keyspace])
			continue;
		if (!choose(kv, keyspace, number, format_record_value(record) + 1,
			    record->value_size - 1, 0))
			newest[keyspace] = record->seq;
	}
	epoch_leave();
}

struct dictionary_choice *dictionary_choice(struct kv *kv, unsigned keyspace)
{
	learn(kv);
	return &kv->dictionaries->choices[keyspace];
}

/* Those that values name, whether the dictionary is there or was lost, and that are chosen. */
static void used_numbers(struct kv *kv, uint64_t used[WORDS])
{
	uint32_t slot, count = atomic_load(&kv->segments.count);
	unsigned i;

	memset(used, 0, WORDS * sizeof(*used));
	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = kv->segments.table[slot];

		for (i = 0; segment && segment->id && i < WORDS; i++)
			used[i] |= segment->dictionaries[i];
	}
	for (i = 0; i < FORMAT_KEYSPACES; i++) {
		unsigned number = kv->dictionaries->choices[i].number;

		used[number / 64] |= (uint64_t)1 << number % 64;
	}
}

/* One that no value names: those of a dictionary that is damaged would get other bytes by it. */
static unsigned free_number(struct kv *kv)
{
	uint64_t used[WORDS];
	unsigned number;

	used_numbers(kv, used);
	for (number = 1; number < COMPRESS_DICTIONARIES; number++) {
		if (!((kv->dictionaries->present[number / 64] | used[number / 64]) >> number % 64 &
		      1))
			return number;
	}
	return 0;
}

/* Commits a change of a dictionary's record without waiting for room: who prepares that is us. */
static int commit_record(struct kv *kv, unsigned number, const uint8_t *value, size_t size)
{
	struct kv_batch *batch;
	uint8_t key[KEY_SIZE];
	int error = kv_batch_new(kv, &batch);

	if (error)
		return error;
	key_of(number, key);
	batch->never_waits = true;
	error = value ? batch_put_raw(batch, FORMAT_KEYSPACE_ENGINE, key, KEY_SIZE, value, size, 0)
		      : batch_delete(batch, FORMAT_KEYSPACE_ENGINE, key, KEY_SIZE);
	if (!error)
		error = kv_commit(kv, batch, NULL);
	kv_batch_free(batch);
	return error;
}

int dictionary_add(struct kv *kv, unsigned keyspace, const void *bytes, size_t size, double ratio)
{
	struct dictionaries *all = kv->dictionaries;
	unsigned number = free_number(kv);
	uint8_t *value;
	int error;

	if (!number)
		return -E2BIG;
	value = malloc(size + 1);
	if (!value)
		return -ENOMEM;
	value[0] = (uint8_t)keyspace;
	memcpy(value + 1, bytes, size);
	error = commit_record(kv, number, value, size + 1);
	free(value);
	if (error)
		return error;
	all->present[number / 64] |= (uint64_t)1 << number % 64;
	return choose(kv, keyspace, number, bytes, size, ratio);
}

/* ---- forgetting ------------------------------------------------------------------------------ */

void dictionary_sweep(struct kv *kv)
{
	struct dictionaries *all = kv->dictionaries;
	uint64_t used[WORDS];
	unsigned number;
	ZSTD_DDict *decoder;

	if (!all->known)
		return;
	used_numbers(kv, used);
	for (number = 1; number < COMPRESS_DICTIONARIES; number++) {
		uint64_t bit = (uint64_t)1 << number % 64;

		if (!(all->present[number / 64] & bit) || used[number / 64] & bit)
			continue;
		if (commit_record(kv, number, NULL, 0))
			return;
		all->present[number / 64] &= ~bit;
		decoder = atomic_exchange(&all->decoders[number], NULL);
		if (decoder)
			epoch_wait();
		ZSTD_freeDDict(decoder);
	}
}

unsigned dictionary_count(struct kv *kv)
{
	unsigned i, count = 0;

	for (i = 0; i < WORDS; i++)
		count += (unsigned)__builtin_popcountll(kv->dictionaries->present[i]);
	return count;
}
