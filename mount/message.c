/* SPDX-License-Identifier: MIT */
/*
 * message.c - where messages go (see message.h). The destination is set before threads start.
 */
#include "message.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "session.h"

static bool to_terminal = true;
static bool to_log;
static message_log_fn *log_elsewhere; /* NULL: this process itself */
static void *log_elsewhere_arg;
static atomic_bool fuse_explained;

void message_log(enum kv_severity severity, const char *text)
{
	syslog((int)severity & LOG_PRIMASK, "%s", text);
}

static void emit(enum kv_severity severity, const char *text)
{
	if (to_terminal)
		fprintf(stderr, "kvfs: %s%s\n", severity == KV_WARNING ? "warning: " : "", text);
	if (to_log && log_elsewhere)
		log_elsewhere(log_elsewhere_arg, severity, text);
	else if (to_log)
		message_log(severity, text);
}

void message(enum kv_severity severity, const char *format, ...)
{
	char text[MESSAGE_SIZE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	emit(severity, text);
}

/* "PATH: ..." */
static bool begins_with(const char *text, const char *path)
{
	size_t length = strlen(path);

	return !strncmp(text, path, length) && !strncmp(text + length, ": ", 2);
}

void message_report(void *arg, enum kv_severity severity, const char *text)
{
	if (severity == KV_INFO && !to_log)
		return; /* a short-lived command says what it has to say itself */
	/* what is about opening names the store itself */
	if (arg && !begins_with(text, arg))
		message(severity, "%s: %s", (const char *)arg, text);
	else
		emit(severity, text);
}

void message_use_log(pid_t pid, bool and_terminal)
{
	static char name[32];

	snprintf(name, sizeof(name), "kvfs[%d]", (int)pid);
	openlog(name, 0, LOG_DAEMON);
	to_log = true;
	to_terminal = and_terminal;
}

void message_use_log_of(message_log_fn *log, void *arg, bool and_terminal)
{
	log_elsewhere = log;
	log_elsewhere_arg = arg;
	to_log = true;
	to_terminal = and_terminal;
}

static void fuse_message(enum fuse_log_level level, const char *format, va_list args)
{
	enum kv_severity severity = KV_INFO;
	char text[MESSAGE_SIZE_MAX];
	int length = vsnprintf(text, sizeof(text), format, args);

	if (length < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	if (level <= FUSE_LOG_ERR) {
		severity = KV_ERROR;
		atomic_store(&fuse_explained, true);
	}
	if (level == FUSE_LOG_WARNING)
		severity = KV_WARNING;
	else if (level > FUSE_LOG_WARNING && !to_terminal)
		return;
	emit(severity, text);
}

void message_take_fuse(void)
{
	fuse_set_log_func(fuse_message);
}

bool message_fuse_explained(void)
{
	return atomic_load(&fuse_explained);
}

const char *message_error(int rc)
{
	return strerror(-rc);
}
