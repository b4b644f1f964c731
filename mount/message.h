/* SPDX-License-Identifier: MIT */
/*
 * message.h - what the program tells people: to the terminal, or to the system's log once it serves
 * a mount.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>

#include "kv.h"

/* One line, without its end. Any thread. */
void message(enum kv_severity severity, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A kv_report_fn that passes on what the store says; arg: the store's path, or NULL. */
void message_report(void *arg, enum kv_severity severity, const char *text);

/* From this call on messages go to syslog; with `and_terminal`, to stderr as well. */
void message_use_log(bool and_terminal);

/* Lets libfuse's messages go the same way. */
void message_take_fuse(void);
/* Whether it has told of an error. */
bool message_fuse_explained(void);

/* The text for a negative errno. */
const char *message_error(int rc);

#endif
