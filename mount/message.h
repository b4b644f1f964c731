/* SPDX-License-Identifier: MIT */
/*
 * message.h - what the program tells people: to the terminal, or to the system's log once it serves
 * a mount.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <sys/types.h>

#include "kv.h"

#define MESSAGE_SIZE_MAX 8192 /* with its end */

/* One line, without its end. Any thread. */
void message(enum kv_severity severity, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A kv_report_fn that passes on what the store says; arg: the store's path, or NULL. */
void message_report(void *arg, enum kv_severity severity, const char *text);

/* To the system's log alone, whatever else is set. Any thread. */
void message_log(enum kv_severity severity, const char *text);

/*
 * From this call on messages go to syslog, in the name of process `pid`; with `and_terminal`, to
 * stderr as well.
 */
void message_use_log(pid_t pid, bool and_terminal);

/* The same for a process that may not reach the log: `log` has another one write to it. */
typedef void message_log_fn(void *arg, enum kv_severity severity, const char *text);
void message_use_log_of(message_log_fn *log, void *arg, bool and_terminal);

/* Lets libfuse's messages go the same way. */
void message_take_fuse(void);
/* Whether it has told of an error. */
bool message_fuse_explained(void);

/* The text for a negative errno. */
const char *message_error(int rc);

#endif
