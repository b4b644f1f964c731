/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_buckets.h - the buckets of a hash index out of a checkpoint, a chunk at a time: as
 * they were saved, with what was stored in them afterwards.
 *
 * Threads: reading any, once it is there.
 */
#ifndef CHECKPOINT_BUCKETS_H
#define CHECKPOINT_BUCKETS_H

#include "checkpoint_file.h"
#include "store.h"

struct checkpoint_buckets {
	struct kv *kv;
	const struct checkpoint_file *file;
	unsigned section; /* that of their changes is the next one */
	bool (*valid)(struct kv *kv, uint64_t value); /* may an entry have it? */
	struct format_checkpoint_slot *changes; /* sorted by chunk, the older first */
	size_t *starts;				/* of each chunk's, and one more */
};

/* -EUCLEAN, -ENOMEM */
int checkpoint_buckets_init(struct checkpoint_buckets *buckets, struct kv *kv,
			    const struct checkpoint_file *file, unsigned section,
			    bool (*valid)(struct kv *kv, uint64_t value));
void checkpoint_buckets_fini(struct checkpoint_buckets *buckets);
/* -EUCLEAN and others */
int checkpoint_buckets_read(const struct checkpoint_buckets *buckets, uint64_t chunk,
			    struct index_bucket *out);

#endif
