/* SPDX-License-Identifier: MIT */
/*
 * fuse_reply.h - the front end's state, and how its handlers answer.
 *
 * Answers are given on the thread that took the request, except those that promise durability: they
 * are kept in a `deferred` and given by the store's commit thread. Nothing here waits for the disk.
 *
 * Lookup counts. Every entry the kernel learns of counts as one hold of its inode (fuse_node_hold),
 * taken before the answer leaves, because the kernel may forget it at once. No unlink can come
 * between finding a name and holding its inode: the kernel locks the directory over both requests.
 */
#ifndef FUSE_REPLY_H
#define FUSE_REPLY_H

#include <pthread.h>
#include <time.h>

#include "fuse_front.h"
#include "fuse_gate.h"
#include "fuse_stream.h"

/*
 * Nobody but the kernel changes the store while it is mounted, so what it knows stays true: seconds
 * for which it may believe names, attributes, and that a name is not there.
 */
#define FUSE_TIMEOUT_S 1e9
/*
 * The answer to a change of attributes is to be believed by who asked for it, and others ask. The
 * kernel takes it into its cache whatever it has been told in the meantime, and so a rollback that
 * came between (fuse_rollback.c) would be undone there for ever. Directories, and files that got
 * another size, cannot meet that: see tell_stale, and same_contents in rollback.c.
 */
#define FUSE_CHANGED_TIMEOUT_S 0.0
/* The attributes of .snapshots follow those of the root. */
#define FUSE_SNAPSHOTS_TIMEOUT_S 1.0

/*
 * For how long attributes are to be believed. Those of a program with set-id bits never: a write by
 * who has it open may take them, and of a write's effects the kernel drops size and times alone.
 */
double fuse_attr_timeout_s(const struct kvfs_attr *attr);

/* The kernel splits writes by pages: the unit for which it asks at best. */
#define FUSE_BLOCK_SIZE 4096

struct deferred;
struct fuse_snapshot;

/* Snapshots as directories; fuse_snapshot.c */
struct fuse_snapshots {
	pthread_mutex_t lock; /* protects what follows, and a snapshot's name and state; the
				 engine's locks come behind it */
	/* By number; entries are read without the lock. NULL: there is no such directory */
	_Atomic(struct fuse_snapshot *) *table;
	void *names;   /* tsearch(3)'s tree */
	unsigned last; /* number given out */
	bool complete; /* all that there are have been met */
	struct timespec changed;
};

/* Going back to a snapshot; fuse_rollback.c */
struct fuse_rollback {
	pthread_mutex_t lock; /* protects what follows, but for the names, which are the thread's
				 while it runs; a leaf */
	bool started, running; /* started: to be joined */
	atomic_bool ending;    /* the mount is */
	pthread_t thread;
	char name[KVFS_NAME_MAX + 1], keep[KVFS_NAME_MAX + 1]; /* keep "": nothing */
	char text[1024]; /* what has become of it; "": there was none */
};

struct fuse_front {
	struct fuse_gate gate;
	struct kvfs *fs;
	struct fuse_session *session; /* NULL: there is none to send notices to */
	struct fuse_front_options options;
	bool open_needless; /* the kernel takes ENOSYS for "never ask again"; set once by init */

	struct fuse_snapshots snapshots;
	struct fuse_rollback rollback;
	struct fuse_streams streams;

	pthread_mutex_t deferred_lock; /* protects what follows; a leaf */
	pthread_cond_t deferred_idle;  /* deferred_count became 0 */
	unsigned deferred_count;       /* requests that wait for the disk */
	unsigned deferred_spares;      /* in this list */
	struct deferred *deferred_spare;
};

static inline struct fuse_front *fuse_front_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

void fuse_stat_fill(const struct kvfs_attr *attr, struct stat *out);
void fuse_entry_fill(const struct kvfs_attr *attr, struct fuse_entry_param *out);

/*
 * Whether what ended with `rc` is to be done again before it is answered: -ENOSPC may be over in a
 * moment.
 */
bool fuse_try_again(fuse_req_t req, ssize_t rc, unsigned *tries);

/*
 * Attributes here have node ids (fuse_snapshot.h) as their inode numbers. rc: 0 or a negative errno
 */
void fuse_reply_status(fuse_req_t req, int rc);
/* A found entry, or an error; -ENOENT is remembered by the kernel. */
void fuse_reply_found(fuse_req_t req, int rc, const struct kvfs_attr *attr);
/* The same for one that is held already. */
void fuse_reply_held(fuse_req_t req, int rc, const struct kvfs_attr *attr);
void fuse_reply_attr_found(fuse_req_t req, int rc, const struct kvfs_attr *attr);
/* The result of a change of names: without and with the entry that it made. */
void fuse_reply_name_changed(fuse_req_t req, int rc);
void fuse_reply_name_made(fuse_req_t req, int rc, const struct kvfs_attr *attr);
/* The same for one that is held already. */
void fuse_reply_held_made(fuse_req_t req, int rc, const struct kvfs_attr *attr);
/* The result of a change of an inode: without and with its attributes. */
void fuse_reply_inode_changed(fuse_req_t req, int rc);
void fuse_reply_attr_changed(
	fuse_req_t req, int rc, const struct kvfs_attr *attr, bool resized);
/* Answers when all that was done before is durable. */
void fuse_reply_when_durable(fuse_req_t req);

/* Waits until all that wait for the disk have been answered. */
void fuse_deferred_drain(struct fuse_front *front);
void fuse_deferred_fini(struct fuse_front *front);

#endif
