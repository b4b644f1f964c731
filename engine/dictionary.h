/* SPDX-License-Identifier: MIT */
/*
 * dictionary.h - zstd dictionaries, trained from the store's own values, with which compaction
 * compresses what is small.
 *
 * A dictionary is a record in the engine's own keyspace: key 'd' and its number, value one byte
 * that names the keyspace it was trained for, and the bytes. It is durable before a value that
 * needs it is (cold_flush syncs the log first), and deleted when no segment holds a value that
 * names it; each segment keeps a set of the numbers in it.
 *
 * Threads: readers, inside an epoch, call dictionary_decoder. All else is the maintainer's.
 */
#ifndef DICTIONARY_H
#define DICTIONARY_H

#include "compress.h"
#include "store.h"

struct dictionaries;

/* The dictionary that values of a keyspace are compressed with at present. */
struct dictionary_choice {
	unsigned number; /* 0: without a dictionary */
	struct ZSTD_CDict_s *cdict;
	double ratio;	  /* stored to raw bytes when it was chosen */
	unsigned surveys; /* since then */
	bool chosen;
};

int dictionaries_new(struct kv *kv);
void dictionaries_free(struct kv *kv);

/*
 * The digested dictionary of a number, made at its first use: NULL for 0. -EIO: there is none
 * (reported), -ENOMEM
 */
int dictionary_decoder(struct kv *kv, unsigned number, const struct ZSTD_DDict_s **out);

/* This thread's, for compressing. NULL: no memory */
struct ZSTD_CCtx_s *dictionary_encoder(struct kv *kv);
struct dictionary_choice *dictionary_choice(struct kv *kv, unsigned keyspace);
/*
 * Commits a new dictionary and chooses it. -EAGAIN: not now, -E2BIG: all numbers are in use,
 * -ENOMEM, -EIO
 */
int dictionary_add(struct kv *kv, unsigned keyspace, const void *bytes, size_t size, double ratio);
/* Deletes those that no value needs any more. What was freed must be so durably. */
void dictionary_sweep(struct kv *kv);
unsigned dictionary_count(struct kv *kv);

/* May a value of this record be compressed? */
static inline bool dictionary_may_compress(const struct format_record *record)
{
	return record->value_size >= COMPRESS_SIZE_MIN &&
	       record->keyspace != FORMAT_KEYSPACE_ENGINE &&
	       !(record->flags &
		 (FORMAT_RECORD_ZSTD | FORMAT_RECORD_LARGE | FORMAT_RECORD_TOMBSTONE));
}

/* A record was entered into the segment. */
static inline void dictionary_note(struct segment *segment, const struct format_record *record)
{
	unsigned number;

	if (!(record->flags & FORMAT_RECORD_ZSTD) || !record->value_size)
		return;
	number = *format_record_value(record);
	segment->dictionaries[number / 64] |= (uint64_t)1 << number % 64;
}

#endif
