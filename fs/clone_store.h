/* SPDX-License-Identifier: MIT */
/*
 * clone_store.h - the new store that a clone's records go into: made, filled by batches, durable
 * when it is closed without an error.
 */
#ifndef CLONE_STORE_H
#define CLONE_STORE_H

#include "keyspaces.h"
#include "kvfs.h"

/* What a clone has in common with the store that it is of. */
struct clone_parameters {
	enum kv_hash hash;
	enum kv_compress compress;
	int compress_level;
	uint32_t segment_size;
	uint64_t total_bytes; /* of records, about */
};
void clone_parameters_of(struct kv *kv, struct clone_parameters *out);

struct clone_store {
	struct kv *kv;
	struct kv_batch *batch;
	size_t batch_bytes, batch_bytes_max, value_size_max;
	kv_progress_fn *progress; /* may be NULL */
	void *progress_arg;
	uint64_t done_bytes, total_bytes;
};

/* As kvfs_create. out->progress is the caller's to set. */
KV_MUST_CHECK int clone_store_open(struct kv_env *env, const char *path,
	const struct clone_parameters *parameters, kv_report_fn *report, void *report_arg,
	struct clone_store *out);
/* For a clone_sink. */
KV_MUST_CHECK int clone_store_put(
	void *store, enum keyspace keyspace, struct kv_slice key, struct kv_slice value);
KV_MUST_CHECK int clone_store_settle(void *store);
/* With the error of what was before; without, all is durable. Returns that, or its own. */
KV_MUST_CHECK int clone_store_close(struct clone_store *store, int err);

#endif
