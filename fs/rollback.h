/* SPDX-License-Identifier: MIT */
/*
 * rollback.h - going back to a snapshot, for fs.c.
 *
 * A record of keyspace meta says that the tree is to become that of a snapshot. From the moment
 * that it is committed it is: whoever opens the store for changes makes it so before anything else,
 * whoever opens it for reading looks through the snapshot.
 */
#ifndef ROLLBACK_H
#define ROLLBACK_H

#include "fs.h"

/*
 * When opening for changes: finishes what was begun. Where damage has taken records it may be that
 * these alone say so: then the tree as it is becomes a snapshot before.
 */
KV_MUST_CHECK int rollback_finish(struct kvfs *fs);
/* When opening for reading: fs->view, if the tree is to be a snapshot's. */
KV_MUST_CHECK int rollback_show(struct kvfs *fs);

#endif
