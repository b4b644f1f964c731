/* SPDX-License-Identifier: MIT */
/*
 * batch.h - changes on their way into the log: records laid out as they will stand there, without a place yet.
 *
 * Everything that does not depend on the place is done here, outside any lock: layout, compression, the
 * hash of each key and of each body.
 */
#ifndef BATCH_H
#define BATCH_H

#include "format.h"
#include "store.h"

struct kv_batch {
	struct kv *kv;
	uint8_t *bytes; /* the records, one after the other */
	size_t size, capacity;
	uint64_t *hashes; /* of the keys, in the records' order */
	unsigned count, hashes_capacity;
	size_t last; /* offset of the last record */
	bool frees;
	void *compressor; /* ZSTD_CCtx, made when first needed */
	uint64_t keys[KV_KEYSPACES_MAX]; /* puts in each keyspace */
	uint64_t key_bytes;
};

static inline struct format_record *batch_record(const struct kv_batch *batch, size_t offset)
{
	return (struct format_record *)(batch->bytes + offset);
}

/* Sets the MORE flags and the body hashes: the batch is complete. */
void batch_finish(struct kv_batch *batch);

#endif
