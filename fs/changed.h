/* SPDX-License-Identifier: MIT */
/*
 * changed.h - which inodes, or shared pieces, have changed since a snapshot. Whatever changes about
 * a file or a directory (contents, entries, attributes) changes its inode's record in the same
 * batch, so its batch number tells.
 */
#ifndef CHANGED_H
#define CHANGED_H

#include "fs.h"
#include "keyspaces.h"

struct changed {
	uint64_t *inos;
	size_t count, room;
};

/*
 * The numbers that the store has now with a record newer than `seq`: all that changed or came
 * since. Those that went are not among them; the directories they were in are. In one pass over the
 * keys of the store. keyspace: inode or shared, whose keys begin with a number; a shared piece may
 * come twice. -ENOMEM, -EIO
 */
KV_MUST_CHECK int changed_find(
	struct kvfs *fs, enum keyspace keyspace, uint64_t seq, struct changed *out);
KV_MUST_CHECK int changed_add(struct changed *changed, uint64_t ino);
void changed_fini(struct changed *changed);

#endif
