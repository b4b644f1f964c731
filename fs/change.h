/* SPDX-License-Identifier: MIT */
/*
 * change.h - an operation that changes the file system: its locks, its read section, its batch.
 *
 *	change_begin() -> change_lock() -> read, fill the batch -> change_commit() -> change_end()
 *
 * change_lock opens the read section and change_commit closes it before it commits, as a commit may
 * wait. To lock again (what was read before locking has changed), call change_unlock first.
 * One thread.
 */
#ifndef CHANGE_H
#define CHANGE_H

#include "fs.h"

#define CHANGE_KEPT_MAX 2u /* files without a name that one operation changes */

struct change {
	struct kvfs *fs;
	struct scratch *scratch;
	struct kv_batch *batch; /* scratch's */
	struct stripe_set locked;
	bool reading;        /* inside a read section */
	bool grows;          /* the batch makes the store hold more: refused beyond the limit */
	unsigned bodies;     /* of the scratch, used by inode_load */
	unsigned kept_count;
	uint64_t kept_inos[CHANGE_KEPT_MAX]; /* in the batch, and kept no longer once it is
						committed */
	struct timespec now; /* when the locks were taken: times rise in commit order */
};

/* Errors: -EROFS, -ENOMEM. On error there is nothing to end. */
KV_MUST_CHECK int change_begin(struct kvfs *fs, struct change *out);
void change_lock(struct change *change, const uint64_t *inos, unsigned count);
/*
 * Locks more inodes, as is found out which they are by reading under the first locks; false, with
 * no more locked, if it would have to wait: then change_unlock, and all at once.
 */
bool change_lock_more(struct change *change, const uint64_t *inos, unsigned count);
void change_unlock(struct change *change);
/* Commits what the batch holds; the locks stay. Errors: those of kv_commit, -ENOSPC beyond the
 * store's limit, and nothing has changed. */
KV_MUST_CHECK int change_commit(struct change *change);
/* Called after a commit, to go on under the same locks with another batch. */
void change_continue(struct change *change);
/* Unlocks and drops what was not committed. */
void change_end(struct change *change);

#endif
