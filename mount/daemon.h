/* SPDX-License-Identifier: MIT */
/*
 * daemon.h - going into the background only when the work has started.
 *
 * The process that was called waits until its child says that it is ready, or has failed: what goes
 * wrong before reaches the terminal and the exit code.
 */
#ifndef DAEMON_H
#define DAEMON_H

/*
 * Forks. In the child: 0, and a descriptor for daemon_ready. The parent does not come back: it
 * exits with 0 once the child is ready, or with the child's exit code, or with failure_code. Call
 * before threads start.
 */
int daemon_start(int failure_code, int *ready_fd) __attribute__((warn_unused_result));

/* Leaves the terminal to the parent, which exits with success. */
void daemon_ready(int ready_fd);

#endif
