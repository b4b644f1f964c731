/* SPDX-License-Identifier: MIT */
/*
 * clone_records.h - the records that a store of its own needs to have the tree that a file system
 * shows: a snapshot, or one that nobody changes meanwhile.
 */
#ifndef CLONE_RECORDS_H
#define CLONE_RECORDS_H

#include "fs.h"
#include "keyspaces.h"

struct clone_sink {
	/* Keeps a copy; must not wait, as it is called in a read section. */
	int (*put)(void *arg, enum keyspace keyspace, struct kv_slice key, struct kv_slice value);
	/* After each few records, outside of read sections: writes what there is, if it is much. */
	int (*settle)(void *arg);
	void *arg;
};

/*
 * The one that makes the store a file system's comes last: what was interrupted before cannot be
 * taken for one. -ENOMEM, -EIO, and what the sink returns
 */
KV_MUST_CHECK int clone_records(struct kvfs *from, const struct clone_sink *sink);

#endif
