/* SPDX-License-Identifier: MIT */
/*
 * mounter.h - a small process beside the one that serves a mount: it keeps the rights to mount, to
 * unmount and to write to the system's log, which that one gives up (confine.h), and does nothing
 * else.
 *
 * It is there from before the store is opened until the server ends, and unmounts only what it has
 * mounted, and only when it is told to.
 */
#ifndef MOUNTER_H
#define MOUNTER_H

#include <stdbool.h>

#include "kv.h"
#include "session.h"

struct mounter;

/*
 * Starts the process, which copies config and directory. Before threads are. With `background` it
 * leaves the terminal once the mount is there. Errors: -ENOMEM, -EAGAIN, -EMFILE
 */
int mounter_start(const struct session_config *config, const char *directory, bool background,
	struct mounter **out) __attribute__((warn_unused_result));

/* For session_config.mounter. arg: the mounter. */
extern const struct session_mounter mounter_session;

/* A message_log_fn, once the mount is there; arg: the mounter. Any thread, and never waits. */
void mounter_log(void *arg, enum kv_severity severity, const char *text);

/* Whether it has told of the error with which mounting failed. */
bool mounter_explained(const struct mounter *mounter);

/* Waits until the process has ended. NULL is fine. */
void mounter_end(struct mounter *mounter);

#endif
