/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_version.h - versions and ghosts on their way into a checkpoint, and out of it.
 *
 * The table is saved by number, in steps beside everybody else; what is stored afterwards in a
 * version that was saved is noted, the whole of it. Ghosts are walked through like an ordered
 * index. All of it is read when a checkpoint is opened, for what is replayed and committed needs
 * it.
 *
 * Threads: saving, whoever has maintain.lock; loading, before there is anyone else.
 */
#ifndef CHECKPOINT_VERSION_H
#define CHECKPOINT_VERSION_H

#include "checkpoint_stream.h"
#include "journal.h"
#include "store.h"

/* The saving of the table of versions; the first two fields are protected by log.lock. */
struct version_saving {
	struct journal *changes;
	uint32_t saved; /* numbers below were saved: from now on they are noted */
	bool begun;
};

struct ghost_saving {
	struct kv *kv;
	struct checkpoint_stream *stream;
	struct journal *changes;
	unsigned keyspace;
	bool begun;
	struct order_walk *walk; /* NULL: none is under way */
};

/*
 * Saves so many further chunks of the table. 1: these were the last ones, and from here on every
 * change is noted.
 */
int version_saving_step(struct version_saving *saving, struct kv *kv,
			struct checkpoint_stream *stream, unsigned chunks);
/* With the log's lock. */
void version_saving_end(struct kv *kv);

int ghost_saving_step(struct ghost_saving *saving, unsigned chunks);
void ghost_saving_fini(struct ghost_saving *saving);

/*
 * The table and its index from a checkpoint, and ghosts but for their changes. After an error there
 * are none. -EUCLEAN, -ENOMEM
 */
int versions_load(struct kv *kv, const struct checkpoint_file *file);
/* A change of a ghost that was noted. -EUCLEAN, -ENOMEM */
int versions_load_ghost(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
			uint64_t address);
/* Leaves the table as if there had been no versions. -ENOMEM */
int versions_forget(struct kv *kv);

#endif
