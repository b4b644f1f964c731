/* SPDX-License-Identifier: MIT */
/*
 * fuse_reply.c - answers: attributes, entries, results, at once or when durable (see fuse_reply.h).
 *
 * A deferred answer belongs to the store from kvfs_sync_notify until `done`, which gives the answer
 * on the commit thread and puts the struct on the spare list, or frees it where that has SPARES_MAX.
 */
#include "fuse_snapshot.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 3u       /* of what may find space when others have let go of theirs */
#define SPARES_MAX 64u /* of those who sync over and over; thousands at once come rarely */

enum deferred_kind { DEFERRED_STATUS, DEFERRED_ENTRY, DEFERRED_ATTR };

struct deferred {
	struct kv_waiter waiter;
	struct fuse_front *front;
	fuse_req_t req;
	enum deferred_kind kind;
	struct kvfs_attr attr; /* of an entry (held) or an attribute answer */
	struct deferred *next; /* in the spare list */
};

void fuse_stat_fill(const struct kvfs_attr *attr, struct stat *out)
{
	*out = (struct stat){
		.st_ino = attr->ino,
		.st_mode = attr->mode,
		.st_nlink = attr->nlink,
		.st_uid = attr->uid,
		.st_gid = attr->gid,
		.st_rdev = attr->rdev,
		.st_size = (off_t)attr->size,
		.st_blksize = FUSE_BLOCK_SIZE,
		.st_blocks = (blkcnt_t)attr->blocks,
		.st_atim = attr->atime,
		.st_mtim = attr->mtime,
		.st_ctim = attr->ctime,
	};
}

double fuse_attr_timeout_s(const struct kvfs_attr *attr)
{
	if (fuse_is_snapshots(attr->ino))
		return FUSE_SNAPSHOTS_TIMEOUT_S;
	return S_ISREG(attr->mode) && attr->mode & (S_ISUID | S_ISGID) ? 0 : FUSE_TIMEOUT_S;
}

void fuse_entry_fill(const struct kvfs_attr *attr, struct fuse_entry_param *out)
{
	out->ino = attr->ino;
	out->generation = 0; /* inode numbers are never used again */
	out->attr_timeout = fuse_attr_timeout_s(attr);
	out->entry_timeout = FUSE_TIMEOUT_S;
	fuse_stat_fill(attr, &out->attr);
}

bool fuse_try_again(fuse_req_t req, ssize_t rc, unsigned *tries)
{
	if ((rc != -ENOSPC && rc != -EDQUOT) || (*tries)++ >= TRIES)
		return false;
	return kvfs_await_space(fuse_front_of(req)->fs);
}

/* ---- at once --------------------------------------------------------------------------------- */

void fuse_reply_status(fuse_req_t req, int rc)
{
	fuse_reply_err(req, -rc);
}

/* The inode is held already; if the kernel does not take the answer, it will not forget either. */
static void entry_send(struct fuse_front *front, fuse_req_t req, const struct kvfs_attr *attr)
{
	struct fuse_entry_param entry;

	fuse_entry_fill(attr, &entry);
	if (fuse_reply_entry(req, &entry))
		fuse_node_release(front, attr->ino, 1);
}

static void attr_send(fuse_req_t req, const struct kvfs_attr *attr, double timeout_s)
{
	struct stat st;

	fuse_stat_fill(attr, &st);
	fuse_reply_attr(req, &st, timeout_s);
}

void fuse_reply_found(fuse_req_t req, int rc, const struct kvfs_attr *attr)
{
	if (!rc)
		fuse_node_hold(fuse_front_of(req), attr->ino, 1);
	fuse_reply_held(req, rc, attr);
}

void fuse_reply_attr_found(fuse_req_t req, int rc, const struct kvfs_attr *attr)
{
	if (rc)
		fuse_reply_status(req, rc);
	else
		attr_send(req, attr, fuse_attr_timeout_s(attr));
}

void fuse_reply_held(fuse_req_t req, int rc, const struct kvfs_attr *attr)
{
	if (rc == -ENOENT) {
		struct fuse_entry_param absent = {.entry_timeout = FUSE_TIMEOUT_S};

		fuse_reply_entry(req, &absent);
		return;
	}
	if (rc) {
		fuse_reply_status(req, rc);
		return;
	}
	entry_send(fuse_front_of(req), req, attr);
}

/* ---- when durable ---------------------------------------------------------------------------- */

static struct deferred *deferred_get(struct fuse_front *front)
{
	struct deferred *deferred;

	pthread_mutex_lock(&front->deferred_lock);
	deferred = front->deferred_spare;
	if (deferred) {
		front->deferred_spare = deferred->next;
		front->deferred_spares--;
	}
	front->deferred_count++;
	pthread_mutex_unlock(&front->deferred_lock);
	if (!deferred)
		deferred = malloc(sizeof(*deferred));
	return deferred;
}

static void deferred_put(struct fuse_front *front, struct deferred *deferred)
{
	pthread_mutex_lock(&front->deferred_lock);
	if (deferred && front->deferred_spares < SPARES_MAX) {
		deferred->next = front->deferred_spare;
		front->deferred_spare = deferred;
		front->deferred_spares++;
		deferred = NULL;
	}
	assert(front->deferred_count > 0);
	if (--front->deferred_count == 0)
		pthread_cond_broadcast(&front->deferred_idle);
	pthread_mutex_unlock(&front->deferred_lock);
	free(deferred);
}

/* On the store's commit thread. */
static void deferred_done(struct kv_waiter *waiter, int status)
{
	struct deferred *deferred =
		(struct deferred *)((char *)waiter - offsetof(struct deferred, waiter));
	struct fuse_front *front = deferred->front;

	if (status) {
		if (deferred->kind == DEFERRED_ENTRY)
			fuse_node_release(front, deferred->attr.ino, 1);
		fuse_reply_status(deferred->req, status);
	} else if (deferred->kind == DEFERRED_ENTRY) {
		entry_send(front, deferred->req, &deferred->attr);
	} else if (deferred->kind == DEFERRED_ATTR) {
		attr_send(deferred->req, &deferred->attr, FUSE_CHANGED_TIMEOUT_S);
	} else {
		fuse_reply_status(deferred->req, 0);
	}
	deferred_put(front, deferred);
}

/* An entry's inode is held by the caller, and not any more if this fails. */
static void defer(fuse_req_t req, enum deferred_kind kind, const struct kvfs_attr *attr)
{
	struct fuse_front *front = fuse_front_of(req);
	struct deferred *deferred = deferred_get(front);

	if (!deferred) {
		if (kind == DEFERRED_ENTRY)
			fuse_node_release(front, attr->ino, 1);
		fuse_reply_status(req, -ENOMEM);
		deferred_put(front, NULL);
		return;
	}
	deferred->waiter = (struct kv_waiter){.done = deferred_done};
	deferred->front = front;
	deferred->req = req;
	deferred->kind = kind;
	if (attr)
		deferred->attr = *attr;
	kvfs_sync_notify(front->fs, &deferred->waiter);
}

void fuse_reply_when_durable(fuse_req_t req)
{
	defer(req, DEFERRED_STATUS, NULL);
}

void fuse_deferred_drain(struct fuse_front *front)
{
	pthread_mutex_lock(&front->deferred_lock);
	while (front->deferred_count)
		pthread_cond_wait(&front->deferred_idle, &front->deferred_lock);
	pthread_mutex_unlock(&front->deferred_lock);
}

void fuse_deferred_fini(struct fuse_front *front)
{
	struct deferred *deferred;

	assert(front->deferred_count == 0);
	while ((deferred = front->deferred_spare)) {
		front->deferred_spare = deferred->next;
		free(deferred);
	}
}

/* ---- results of changes ---------------------------------------------------------------------- */

static void reply_changed(fuse_req_t req, int rc, enum fuse_front_sync waits_from)
{
	if (rc == 0 && fuse_front_of(req)->options.sync >= waits_from)
		defer(req, DEFERRED_STATUS, NULL);
	else
		fuse_reply_status(req, rc);
}

void fuse_reply_name_changed(fuse_req_t req, int rc)
{
	reply_changed(req, rc, FUSE_FRONT_SYNC_NAMES);
}

void fuse_reply_inode_changed(fuse_req_t req, int rc)
{
	reply_changed(req, rc, FUSE_FRONT_SYNC_ALL);
}

void fuse_reply_name_made(fuse_req_t req, int rc, const struct kvfs_attr *attr)
{
	if (!rc)
		fuse_node_hold(fuse_front_of(req), attr->ino, 1);
	fuse_reply_held_made(req, rc, attr);
}

void fuse_reply_held_made(fuse_req_t req, int rc, const struct kvfs_attr *attr)
{
	struct fuse_front *front = fuse_front_of(req);

	if (rc) {
		fuse_reply_status(req, rc);
		return;
	}
	if (front->options.sync >= FUSE_FRONT_SYNC_NAMES)
		defer(req, DEFERRED_ENTRY, attr);
	else
		entry_send(front, req, attr);
}

void fuse_reply_attr_changed(fuse_req_t req, int rc, const struct kvfs_attr *attr, bool resized)
{
	if (rc)
		fuse_reply_status(req, rc);
	else if (fuse_front_of(req)->options.sync >= FUSE_FRONT_SYNC_ALL)
		defer(req, DEFERRED_ATTR, attr);
	else
		attr_send(req, attr,
			resized || S_ISDIR(attr->mode) ? fuse_attr_timeout_s(attr)
						       : FUSE_CHANGED_TIMEOUT_S);
}
