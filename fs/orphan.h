/* SPDX-License-Identifier: MIT */
/*
 * orphan.h - inodes whose last name is gone, and what else is still to be freed.
 */
#ifndef ORPHAN_H
#define ORPHAN_H

#include "inode.h"
#include "orphan_record.h"

KV_MUST_CHECK int orphan_put(struct change *change, uint64_t ino);
KV_MUST_CHECK int orphan_delete(struct change *change, uint64_t ino);

/* What remains to be done after the batch that removed an inode's name. */
enum orphan_fate {
	ORPHAN_NAMED,  /* nothing: it has other names, or it was freed with the batch */
	ORPHAN_HELD,   /* nothing, unless the commit fails: it has its name still */
	ORPHAN_UNDONE, /* orphan_release, with no locks held: it is too large for one batch */
};

/*
 * Takes a name from an inode (for a directory, the only one) and adds to the batch what follows
 * from that: its new link count, or its end.
 */
KV_MUST_CHECK int orphan_unlink(struct change *change, struct inode *inode, enum orphan_fate *fate);
/* To be called with the result of the commit; unlocks the change. */
void orphan_settle(struct change *change, uint64_t ino, enum orphan_fate fate, int err);

/*
 * Frees an inode if it has no name and nobody holds it; a very large one, if that is wished, only
 * begins to.
 */
void orphan_release(struct kvfs *fs, uint64_t ino);
/* The reaper's step. */
bool orphan_reap(void *fs, uint64_t ino);

/* When opening: finishes all that is still to be freed. */
KV_MUST_CHECK int orphan_recover(struct kvfs *fs);

#endif
