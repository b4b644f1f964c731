/* SPDX-License-Identifier: MIT */
/*
 * mounter_process.h - what the mounting process does: it takes a server's orders, and believes that
 * one nothing (mounter_orders.h).
 */
#ifndef MOUNTER_PROCESS_H
#define MOUNTER_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "session.h"

/* All of it from before the server could be taken over. */
struct mounter_task {
	const struct session_config *config;
	const char *directory; /* where to mount */
	bool background;       /* leave the terminal once the mount is there */
	pid_t server;          /* in whose name messages are */
};

/*
 * Obeys what comes by `fd`, until the other end is closed: then the process ends. An empty message
 * counts as that.
 */
__attribute__((noreturn)) void mounter_process(const struct mounter_task *task, int fd);

#endif
