/* SPDX-License-Identifier: MIT */
/*
 * calls.c - a row of system calls that looks random, in a directory, and an account of what they
 *did
 *
 *	calls run [--times] DIRECTORY SEED STEPS
 *	calls state DIRECTORY
 *
 * `run` makes the calls of calls_*.c in the directory, as root and as two users, and writes for
 *each step what was called, what it returned, and what has changed in the directory. On two file
 *systems that keep the same promises the accounts of a seed are the same, byte by byte; the first
 *line that differs is the call to look at. With --times it waits between two calls until every
 *clock has moved, and the account says which times have. `state` writes what there is.
 *
 * The directory is the root of the process, so that no path leads out of it.
 */
#include "calls.h"

#include <err.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CLEAR_STEPS 120 /* then everything goes, or there would be ever more of it */
#define STRINGS_MAX 512

static const struct call *const lists[] = {
	calls_of_names, calls_of_contents, calls_of_attributes, calls_of_descriptors};
#define LISTS (sizeof(lists) / sizeof(lists[0]))

static char line[16384];
static size_t line_size;
static int watch;

void say(const char *format, ...)
{
	int error = errno, size;
	va_list args;

	va_start(args, format);
	size = vsnprintf(line + line_size, sizeof(line) - line_size, format, args);
	va_end(args);
	if (size > 0)
		line_size += (size_t)size;
	if (line_size >= sizeof(line))
		line_size = sizeof(line) - 1;
	errno = error;
}

void say_result(long long result)
{
	if (result < 0)
		say(" = %s", strerrorname_np(errno));
	else
		say(" = %lld", result);
}

void say_success(long long result)
{
	say_result(result < 0 ? result : 0);
}

uint64_t bytes_sum(const void *bytes, size_t size, uint64_t sum)
{
	const unsigned char *at = bytes;
	uint64_t word;

	for (; size >= sizeof(word); size -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
		sum ^= sum >> 29;
	}
	for (; size; size--)
		sum = (sum ^ *at++) * 0x100000001b3u;
	return sum;
}

void say_bytes(const void *bytes, size_t size)
{
	say(" %llx", (unsigned long long)bytes_sum(bytes, size, 0));
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void say_sorted(char *strings, size_t size)
{
	static char *sorted[STRINGS_MAX];
	size_t i, count = 0;
	char *at;

	for (at = strings; at < strings + size && count < STRINGS_MAX; at += strlen(at) + 1)
		sorted[count++] = at;
	qsort(sorted, count, sizeof(*sorted), by_text);
	for (i = 0; i < count; i++)
		say(" %.20s", sorted[i]);
}

/* ---- who calls --------------------------------------------------------------------------------
 */

static void become(uid_t uid, gid_t gid, gid_t group)
{
	if (setresuid(0, 0, 0) || setgroups(group ? 1 : 0, &group) || setresgid(gid, gid, gid) ||
		setresuid(uid, uid, 0))
		err(2, "become %u", uid);
}

static void become_somebody(void)
{
	unsigned who = pick(10);

	if (who < 6) {
		say("root: ");
	} else if (who < 8) {
		say("1000: ");
		become(1000, 1000, 2000);
	} else {
		say("1001: ");
		become(1001, 1001, 0);
	}
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static void call_any(void)
{
	static unsigned all;
	const struct call *call;
	unsigned i, place;

	for (i = all ? LISTS : 0; i < LISTS; i++)
		for (call = lists[i]; call->weight; call++)
			all += call->weight;
	place = pick(all);
	for (i = 0; i < LISTS; i++)
		for (call = lists[i]; call->weight; place -= call->weight, call++)
			if (place < call->weight) {
				call->run();
				return;
			}
}

static long long time_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000ll + time.tv_nsec;
}

/* Until a clock that counts coarsely has moved on as well. */
static void next_tick(void)
{
	long long began = time_ns(CLOCK_REALTIME);

	while (time_ns(CLOCK_REALTIME_COARSE) <= began)
		usleep(500);
}

/* A file without a name has one in events, which is not the same everywhere. */
static const char *event_name(const struct inotify_event *event)
{
	if (!event->len)
		return "";
	return event->name[0] == '/' || event->name[0] == '#' ? "(without a name)" : event->name;
}

/* What a program that watches the root, and what it was told to besides, gets to know. */
static void print_events(void)
{
	static char buffer[65536] __attribute__((aligned(8)));
	const struct inotify_event *event;
	ssize_t used, size;

	while ((size = read(watch, buffer, sizeof(buffer))) > 0)
		for (used = 0; used < size; used += (ssize_t)(sizeof(*event) + event->len)) {
			event = (const struct inotify_event *)(buffer + used);
			printf("  event %d %#x %.20s\n", event->wd, event->mask, event_name(event));
		}
}

static void watch_something(void)
{
	if (!chance(3))
		return;
	say("watch");
	say_result(inotify_add_watch(
		watch, pick_path(), IN_ALL_EVENTS & ~(uint32_t)(IN_OPEN | IN_ACCESS | IN_CLOSE)));
	say("; ");
}

static void step_run(unsigned step, bool with_times)
{
	if (with_times)
		next_tick();
	line_size = 0;
	line[0] = 0;
	say("%u ", step);
	watch_something();
	become_somebody();
	if (step % CLEAR_STEPS == CLEAR_STEPS - 1) {
		become(0, 0, 0);
		say("clear");
		state_clear();
		say_result(chdir("/"));
	} else {
		call_any();
	}
	become(0, 0, 0);
	puts(line);
	print_events();
	state_print_changes(with_times);
}

/* The directory is all that can be reached from now on. */
static void enter(const char *directory)
{
	signal(SIGPIPE, SIG_IGN); /* of a fifo without readers */
	signal(SIGIO, SIG_IGN);
	proc = open("/proc", O_RDONLY | O_DIRECTORY);
	if (proc < 0)
		err(2, "/proc");
	if (chroot(directory) || chdir("/"))
		err(2, "%s", directory);
	umask(0);
}

static void run(const char *directory, uint64_t seed, unsigned steps, bool with_times)
{
	unsigned step;

	watch = inotify_init1(IN_NONBLOCK);
	if (watch < 0)
		err(2, "inotify");
	enter(directory);
	if (chmod("/", 0777) ||
		inotify_add_watch(watch, "/",
			IN_ALL_EVENTS & ~(uint32_t)(IN_OPEN | IN_ACCESS | IN_CLOSE)) < 0)
		err(2, "%s", directory);
	pick_seed(seed);
	for (step = 0; step < steps; step++)
		step_run(step, with_times);
}

int main(int argc, char **argv)
{
	bool with_times = argc > 2 && !strcmp(argv[1], "run") && !strcmp(argv[2], "--times");
	int first = with_times ? 3 : 2;

	if (argc == first + 3 && !strcmp(argv[1], "run")) {
		run(argv[first], strtoull(argv[first + 1], NULL, 0),
			(unsigned)strtoul(argv[first + 2], NULL, 0), with_times);
	} else if (argc == 3 && !strcmp(argv[1], "state")) {
		enter(argv[2]);
		state_print();
	} else {
		errx(2, "usage: calls run [--times] DIRECTORY SEED STEPS | calls state DIRECTORY");
	}
	/* without /proc a sanitizer's search for leaks would never end */
	fflush(stdout);
	_exit(0);
}
