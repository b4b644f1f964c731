/* SPDX-License-Identifier: MIT */
/*
 * batch.h - changes on their way into the log: records laid out as they will stand there, without a
 * place yet.
 *
 * Everything that does not depend on the place is done here, outside any lock: layout, compression,
 * the hash of each key and of each body. A value that the caller lends stays where it is until the
 * commit copies it into the log.
 */
#ifndef BATCH_H
#define BATCH_H

#include "condition.h"
#include "format.h"
#include "store.h"

struct batch_entry {
	uint64_t hash;	   /* of the key */
	const void *value; /* lent by the caller, or NULL: it stands behind the key */
};

struct kv_batch {
	struct kv *kv;
	uint8_t *bytes; /* the records, one after the other; of those with a lent value, header
			   and key */
	size_t used, capacity;
	size_t size; /* bytes the records take in the log */
	struct batch_entry *entries;
	unsigned count, entries_capacity;
	bool lent; /* some value is lent */
	enum log_purpose purpose;
	bool never_waits; /* the maintainer's: -EAGAIN where there is no room in the log */
	/*
	 * Called under the log's lock before anything is changed; what it returns, if not 0, is
	 * kv_commit's result.
	 */
	int (*check)(struct kv *kv, const void *arg);
	const void *check_arg;
	void *compressor; /* ZSTD_CCtx, made when first needed */
	uint64_t keys[FORMAT_KEYSPACES]; /* puts in each keyspace */
	uint64_t key_bytes;
	struct conditions conditions;
};

/* No wish any more, and nothing in it but the counts of keys. */
static inline void batch_clear_all_but_keys(struct kv_batch *batch)
{
	batch->size = 0;
	batch->used = 0;
	batch->count = 0;
	batch->lent = false;
	batch->purpose = LOG_ANY;
	batch->never_waits = false;
	batch->check = NULL;
	batch->key_bytes = 0;
	batch->conditions.count = 0;
	batch->conditions.used = 0;
}

/* Nothing in it any more, and no wish. */
static inline void batch_clear(struct kv_batch *batch)
{
	unsigned i;

	batch_clear_all_but_keys(batch);
	for (i = 0; i < FORMAT_KEYSPACES; i++) {
		batch->keys[i] = 0;
		/*
		 * Not as `rep stos`, which the compiler would make of it: that alone takes some 15
		 * ns to begin.
		 */
		__asm__ volatile("");
	}
}

/*
 * A batch on the caller's stack, with room for `capacity` bytes of records; without kv_batch_free,
 * as long as it need not grow.
 */
static inline void batch_init(struct kv_batch *batch, struct kv *kv, uint8_t *bytes,
			      size_t capacity, struct batch_entry *entries,
			      unsigned entries_capacity)
{
	/*
	 * Fields are cleared one by one: clearing a struct of this size takes the compiler's code
	 * longer to begin than all else here.
	 */
	batch->kv = kv;
	batch->bytes = bytes;
	batch->capacity = capacity;
	batch->entries = entries;
	batch->entries_capacity = entries_capacity;
	batch->check_arg = NULL;
	batch->compressor = NULL;
	batch->conditions.list = NULL;
	batch->conditions.capacity = 0;
	batch->conditions.bytes = NULL;
	batch->conditions.room = 0;
	batch_clear(batch);
}

static inline struct format_record *batch_record(const struct kv_batch *batch, size_t offset)
{
	return (struct format_record *)(batch->bytes + offset);
}

/* How far the next record is in `bytes`. */
static inline size_t batch_stride(const struct format_record *record,
				  const struct batch_entry *entry)
{
	return entry->value ? format_record_size(record->key_size, 0)
			    : format_record_length(record);
}

/*
 * All of a record's bytes but the value: without a number, and not checked yet. here: bytes of the
 * value that will stand behind the key.
 */
static inline void batch_lay_out(struct format_record *record, unsigned keyspace, const void *key,
				 size_t key_size, uint64_t value_size, uint64_t here,
				 unsigned flags)
{
	record->check = 0;
	record->seq = 0;
	record->flags = flags;
	record->value_size = (uint32_t)value_size;
	record->key_size = (uint16_t)key_size;
	record->keyspace = (uint8_t)keyspace;
	record->zero = 0;
	/* The last word whole, before what is not padding in it. */
	memset((uint8_t *)record + format_record_size(key_size, here) - FORMAT_RECORD_ALIGN, 0,
	       FORMAT_RECORD_ALIGN);
	format_key_copy(record->key, key, key_size);
}

/*
 * As the kv_batch_ functions, for a key of a valid size in any keyspace, the engine's own included.
 */
int batch_putv(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
	       const struct kv_slice *parts, unsigned count);
int batch_put(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
	      const void *value, size_t value_size);
int batch_put_lent(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		   const void *value, size_t value_size);
/* Not compressed, with flags. */
int batch_put_raw(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		  const void *value, size_t value_size, unsigned flags);
int batch_delete(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size);
/*
 * Deletes a piece of a large value: the tombstone says since which batch no header names the piece.
 */
int batch_delete_since(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		       uint64_t since);

/* Sets the MORE flags and the body hashes: the batch is complete. */
void batch_finish(struct kv_batch *batch);
/* As kv_commit, but the batch keeps its changes. */
int batch_commit(struct kv *kv, struct kv_batch *batch, uint64_t *seq);
/*
 * A batch of this one record, with flags, sizes, keyspace, key, value and padding in their places.
 * -EAGAIN: not so, nothing changed; to be tried as a batch. Else as kv_commit.
 */
int commit_single(struct kv *kv, struct format_record *record, uint64_t hash, uint64_t *seq);
/* Copies the records as they will stand in the log: batch->size bytes. */
void batch_copy(const struct kv_batch *batch, uint8_t *to);

#endif
