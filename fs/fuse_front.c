/* SPDX-License-Identifier: MIT */
/*
 * fuse_front.c - the FUSE front end as a whole: its life.
 */
#include "fuse_front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse_rollback.h"
#include "fuse_snapshot.h"

int fuse_front_new(
	struct kvfs *fs, const struct fuse_front_options *options, struct fuse_front **out)
{
	struct fuse_front *front = aligned_alloc(64, sizeof(*front));
	int rc;

	if (!front)
		return -ENOMEM;
	memset(front, 0, sizeof(*front));
	front->fs = fs;
	front->options = *options;
	fuse_gate_init(&front->gate);
	fuse_rollback_init(front);
	fuse_streams_init(&front->streams);
	pthread_mutex_init(&front->deferred_lock, NULL);
	pthread_cond_init(&front->deferred_idle, NULL);
	rc = fuse_snapshots_init(front, options->snapshots && !kvfs_is_snapshot(fs));
	if (rc)
		fuse_front_free(front);
	else
		*out = front;
	return rc;
}

void fuse_front_free(struct fuse_front *front)
{
	if (!front)
		return;
	fuse_rollback_fini(front);
	fuse_streams_fini(&front->streams); /* which hold snapshots */
	fuse_snapshots_fini(front);
	fuse_deferred_fini(front);
	pthread_cond_destroy(&front->deferred_idle);
	pthread_mutex_destroy(&front->deferred_lock);
	fuse_gate_fini(&front->gate);
	free(front);
}

void fuse_front_set_session(struct fuse_front *front, struct fuse_session *session)
{
	front->session = session;
}

void fuse_front_drain(struct fuse_front *front)
{
	fuse_rollback_drain(front);
	fuse_streams_drain(&front->streams);
	fuse_deferred_drain(front);
}
