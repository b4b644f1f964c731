/* SPDX-License-Identifier: MIT */
/*
 * mounter.h - a small process beside the one that serves a mount: it keeps the right to mount and
 * to unmount, which that one gives up (confine.h), and does nothing else.
 *
 * It is there from before the store is opened until the server ends, and unmounts only what it is
 * told to.
 */
#ifndef MOUNTER_H
#define MOUNTER_H

#include <stdbool.h>

#include "session.h"

struct mounter;

/*
 * Starts the process, which copies config. Before threads are. With `background` it leaves the
 * terminal once the mount is there. Errors: -ENOMEM, -EAGAIN, -EMFILE
 */
int mounter_start(const struct session_config *config, bool background, struct mounter **out)
	__attribute__((warn_unused_result));

/* For session_config.mounter. arg: the mounter. */
extern const struct session_mounter mounter_session;

/* Whether it has told of the error with which mounting failed. */
bool mounter_explained(const struct mounter *mounter);

/* Waits until the process has ended. NULL is fine. */
void mounter_end(struct mounter *mounter);

#endif
