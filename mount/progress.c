/* SPDX-License-Identifier: MIT */
/* progress.c - see progress.h. */
#include "progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MS 200

static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
#define CAUGHT (sizeof(caught) / sizeof(caught[0]))

static volatile sig_atomic_t interrupted;
static struct sigaction before[CAUGHT];

static void on_signal(int number)
{
	interrupted = number;
}

void progress_catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	for (size_t i = 0; i < CAUGHT; i++)
		sigaction(caught[i], &action, &before[i]);
}

void progress_release_signals(void)
{
	for (size_t i = 0; i < CAUGHT; i++)
		sigaction(caught[i], &before[i], NULL);
}

bool progress_interrupted(void)
{
	return interrupted;
}

void progress_init(struct progress *progress, const char *done)
{
	*progress = (struct progress){.done = done, .shown = isatty(STDERR_FILENO)};
}

int64_t progress_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int progress_show(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	struct progress *progress = arg;
	int64_t ms;

	if (!progress->shown || !total_bytes)
		return interrupted;
	ms = progress_now_ms();
	if (ms >= progress->next_ms) {
		progress->next_ms = ms + INTERVAL_MS;
		progress->line = true;
		fprintf(stderr, "\r%3.0f%% of %" PRIu64 " MiB %s\033[K",
			100.0 * (double)done_bytes / (double)total_bytes, total_bytes >> 20,
			progress->done);
	}
	return interrupted;
}

void progress_clear(struct progress *progress)
{
	if (progress->line)
		fputs("\r\033[K", stderr);
	progress->line = false;
}
