/* SPDX-License-Identifier: MIT */
/*
 * check.c - kvfs check: reads and verifies everything, changes nothing. Exit codes: fsck(8).
 *
 * Findings go to the standard output, one a line; progress to a terminal. An interruption ends the
 * check, not the process, so that the store is closed as usual.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "message.h"
#include "options.h"
#include "store.h"

#define CHECK_CLEAN 0
#define CHECK_FINDINGS 4
#define CHECK_FAILED 8
#define CHECK_USAGE 16
#define CHECK_CANCELLED 32

#define PROGRESS_INTERVAL_MS 200

static volatile sig_atomic_t interrupted;

struct progress {
	bool shown; /* there is a terminal */
	bool line;  /* and on it a line of ours */
	int64_t next_ms;
};

static void on_signal(int number)
{
	interrupted = number;
}

static void line_clear(struct progress *progress)
{
	if (progress->line)
		fputs("\r\033[K", stderr);
	progress->line = false;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int on_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	struct progress *progress = arg;
	int64_t ms;

	if (!progress->shown)
		return interrupted;
	ms = now_ms();
	if (ms >= progress->next_ms && total_bytes) {
		progress->next_ms = ms + PROGRESS_INTERVAL_MS;
		progress->line = true;
		fprintf(stderr, "\r%3.0f%% of %" PRIu64 " MiB checked",
			100.0 * (double)done_bytes / (double)total_bytes, total_bytes >> 20);
	}
	return interrupted;
}

static void on_finding(void *arg, enum kv_severity severity, const char *text)
{
	line_clear(arg);
	if (severity != KV_INFO)
		printf("%s\n", text);
}

static int check_store(struct kvfs *fs, const char *path)
{
	struct progress progress = {.shown = isatty(STDERR_FILENO)};
	uint64_t findings = 0;
	int rc = kvfs_check(fs, on_finding, &progress, on_progress, &progress, &findings);

	line_clear(&progress);
	if (interrupted) {
		message(KV_ERROR, "%s: the check was interrupted; nothing has been changed", path);
		return CHECK_CANCELLED;
	}
	if (rc) {
		message(KV_ERROR, "%s: the check could not be finished: %s", path,
			message_error(rc));
		return CHECK_FAILED;
	}
	if (findings) {
		printf("%s: %" PRIu64 " finding%s\n", path, findings, findings == 1 ? "" : "s");
		return CHECK_FINDINGS;
	}
	printf("%s: clean\n", path);
	return CHECK_CLEAN;
}

static int check_run(int argc, char **argv)
{
	static const struct option names[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	struct sigaction action = {.sa_handler = on_signal};
	struct kvfs_open_options options;
	struct kvfs *fs;
	const char *path;
	int rc, code;

	/* -a, -p, -y, -n, -f, -C: fsck(8) may pass them on; there is nothing to decide here */
	while (options_next(&check_command, argc, argv, ":apynfC::h", names) != -1)
		;
	options_arguments(&check_command, argc, 1, 1);
	path = argv[optind];
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	store_options(path, true, &options);
	rc = store_open(path, &options, &fs);
	if (rc)
		return rc == -EUCLEAN ? CHECK_FINDINGS | CHECK_FAILED : CHECK_FAILED;
	code = check_store(fs, path);
	if (store_close(path, fs))
		code |= CHECK_FAILED;
	return code;
}

const struct command check_command = {
	.name = "check",
	.arguments = "STORE",
	.summary = "Reads and verifies everything in a store; changes nothing",
	.details = "exit codes: 0 clean, 4 there are findings, 8 could not be checked, 16 wrong "
		   "usage,\n"
		   "32 interrupted\n",
	.usage_code = CHECK_USAGE,
	.run = check_run,
};
