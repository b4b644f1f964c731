/* SPDX-License-Identifier: MIT */
/*
 * serve.h - a mount's life in the process that serves it: store, front end, session, and their
 * ends.
 */
#ifndef SERVE_H
#define SERVE_H

#include <stdbool.h>

#include "mount_options.h"

/* Exit codes of mount(8) */
#define MOUNT_OK 0
#define MOUNT_USAGE 1
#define MOUNT_SYSTEM 2
#define MOUNT_FAILED 32

/* The name of a process that serves a mount, as ps and /proc show it */
#define SERVE_PROCESS_NAME "kvfs"

struct serve_request {
	const char *store;     /* absolute */
	const char *directory; /* absolute */
	const struct mount_options *options;
	bool foreground;
	bool announce; /* say where it is mounted, and over which transport */
};

/*
 * Returns the exit code when the mount has ended; the process that was called may return earlier
 * (daemon.h).
 */
int serve(const struct serve_request *request);

#endif
