/* SPDX-License-Identifier: MIT */
/*
 * fuse_front.h - the FUSE front end: answers the kernel's requests from an open file system.
 *
 * A program opens a file system, makes a front end over it, gives its handlers and itself to a
 * session (session.h), and afterwards ends in this order: session_run returns, fuse_front_drain,
 * session_close, fuse_front_free, kvfs_close.
 *
 * Node ids, which are the inode numbers that users see: fuse_snapshot.h.
 */
#ifndef FUSE_FRONT_H
#define FUSE_FRONT_H

#include <inttypes.h>
#include <stddef.h>
#include <sys/types.h>

#include "kvfs.h"
#include "session.h"

struct fuse_front;

/*
 * An extended attribute that every inode has, that no listing shows and nobody can change: its
 * value is whatever the program that serves the mount wants to tell about itself.
 */
#define FUSE_FRONT_STATUS_XATTR "system.kvfs.status"
#define FUSE_FRONT_STATUS_SIZE_MAX 16384u

/*
 * An extended attribute: the limit of the store's size (kvfs_set_size_limit) as a decimal number,
 * for root and whoever serves the mount to change.
 */
#define FUSE_FRONT_LIMIT_XATTR "system.kvfs.size_limit"

/*
 * Writing a number here, a percentage, does a little of kv_prune with that option: 0 when nothing
 * is left to do, -EINPROGRESS while there is. For root and whoever serves the mount.
 */
#define FUSE_FRONT_PRUNE_XATTR "system.kvfs.prune"

/*
 * Going back to a snapshot, for root and whoever serves the mount. Writing its name and, to keep
 * what is there, a name for that, each with a NUL behind it, begins it; reading says "running", or
 * 0 or a negative errno that it ended with: -EBUSY is followed by the inode numbers of regular
 * files that are open and would change, some of them; -ENOTRECOVERABLE: it failed half way, nothing
 * is answered any more, and the next opening of the store goes on. -EALREADY: one is under way.
 */
#define FUSE_FRONT_ROLLBACK_XATTR "system.kvfs.rollback"

/*
 * Long answers, for root and whoever serves the mount: reading this name, with three numbers behind
 * it (FUSE_FRONT_STREAM_FORMAT), of a directory that is the root of a tree - the mount's, or a
 * snapshot's in .snapshots - gives the next part of one. The numbers are: one that the reader has
 * chosen at random, by which he is known; how many bytes he has got so far, 0 to begin, or
 * FUSE_FRONT_STREAM_GIVE_UP; and what the answer needs to know. A value is
 * FUSE_FRONT_STREAM_MORE or _LAST, and the bytes that come next: none at all, if none are ready.
 * -ENODATA: the reader has not asked for so long that he was taken for gone. -EBUSY: too many at
 * once.
 *
 * Differences of this tree from another one, whose root's inode number is the third number: for
 * each '+', '-' or 'M', '/' if it is a directory's or else ' ', and the path with a NUL behind it.
 */
#define FUSE_FRONT_DIFF_XATTR "system.kvfs.diff"
/* What kvfs_receive makes a store of, with this tree; the third number means nothing. */
#define FUSE_FRONT_CLONE_XATTR "system.kvfs.clone"
#define FUSE_FRONT_STREAM_FORMAT "%s.%" PRIx64 ".%" PRIx64 ".%" PRIx64
#define FUSE_FRONT_STREAM_NAME_MAX 128u
#define FUSE_FRONT_STREAM_GIVE_UP UINT64_MAX
#define FUSE_FRONT_STREAM_MORE '+'
#define FUSE_FRONT_STREAM_LAST '.'

/* When the snapshot was taken that an inode is read through, in microseconds since 1970. */
#define FUSE_FRONT_SNAPSHOT_XATTR "system.kvfs.snapshot"

enum fuse_front_sync {
	FUSE_FRONT_SYNC_NONE,
	FUSE_FRONT_SYNC_NAMES, /* -o dirsync: a change of a directory is answered when it is durable
				*/
	FUSE_FRONT_SYNC_ALL, /* -o sync: every change is (the kernel asks by itself after writes) */
};

struct fuse_front_options {
	enum fuse_front_sync sync;
	bool acl; /* the kernel checks access control lists */
	bool strict_atime; /* each opening and reading of a file is to be seen here */
	bool snapshots; /* there is a directory .snapshots in the root; never where a snapshot is
			   shown */
	/*
	 * Writes the status text, returns its length or a negative errno; NULL: no such attribute.
	 */
	ssize_t (*status)(void *arg, char *buffer, size_t size);
	void *status_arg;
};

int fuse_front_new(struct kvfs *fs, const struct fuse_front_options *options,
	struct fuse_front **out) __attribute__((warn_unused_result));

/* The library's session, once there is one: whom to tell what the kernel must forget. */
void fuse_front_set_session(struct fuse_front *front, struct fuse_session *session);

/* The table for session_open, whose userdata is the front end. */
const struct fuse_lowlevel_ops *fuse_front_ops(void);

/* Waits until every request that was kept back for the disk has been answered. */
void fuse_front_drain(struct fuse_front *front);

void fuse_front_free(struct fuse_front *front);

#endif
