/* SPDX-License-Identifier: MIT */
/*
 * fuse_rollback.h - going back to a snapshot under a mount, asked for by an extended attribute
 * (fuse_front.h).
 */
#ifndef FUSE_ROLLBACK_H
#define FUSE_ROLLBACK_H

#include "fuse_reply.h"

void fuse_rollback_init(struct fuse_front *front);
/* Waits until it is over. */
void fuse_rollback_drain(struct fuse_front *front);
void fuse_rollback_fini(struct fuse_front *front);

/*
 * Begins; value: the snapshot's name and, if what is there is to be kept, that for it, each with a
 * NUL behind it. -EALREADY, -EINVAL, -EAGAIN
 */
int fuse_rollback_start(struct fuse_front *front, const char *value, size_t size);
/*
 * Writes what has become of the rollback, for whoever reads the attribute; returns the length.
 * -ENODATA: none was asked for.
 */
ssize_t fuse_rollback_state(struct fuse_front *front, char *text, size_t size);

#endif
