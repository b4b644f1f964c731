/* SPDX-License-Identifier: MIT */
/*
 * overload.c - very many clients at once, each with files of its own; what they were answered, and what is there afterwards
 *
 *	overload work DIRECTORY CLIENTS		all of them begin together; says how long calls took
 *	overload verify DIRECTORY CLIENTS	every file is as its client left it
 *
 * A client makes a file, writes it in two parts, syncs it (every sixteenth), reads it back, renames it, looks at it, and makes and removes
 * another one; three times, each under a name and with contents of its own. Clients are threads of four processes.
 * Ends with 1 and a message if anything is wrong.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define PROCESSES 4u
#define ROUNDS 3u
#define CLIENTS_MAX 10000u
#define SIZE_MAX_OF_FILE 9000u
#define STACK_SIZE (256u << 10)
#define CLASSES 32u /* of times: below 2^n us */

static const char *directory;
static unsigned clients;

/* Of all processes. */
static struct shared {
	pthread_barrier_t begin;
	atomic_ulong calls, times[CLASSES];
	atomic_ulong longest_us;
	atomic_bool failed;
} *shared;

/* ---- what a client's files are like ------------------------------------------------------------ */

static void path_of(unsigned client, unsigned round, const char *kind, char path[4096])
{
	snprintf(path, 4096, "%s/%s%u.%u", directory, kind, client, round);
}

static size_t bytes_of(unsigned client, unsigned round, unsigned char bytes[SIZE_MAX_OF_FILE])
{
	uint64_t seed = (uint64_t)client * ROUNDS + round;
	size_t size = 1 + pattern_number(seed, 0) % SIZE_MAX_OF_FILE;

	pattern_fill(bytes, size, seed, 0);
	return size;
}

/* ---- working ----------------------------------------------------------------------------------- */

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void note(uint64_t begun_us)
{
	uint64_t took_us = now_us() - begun_us;
	unsigned long longest = atomic_load(&shared->longest_us);
	unsigned class = 0;

	while (class < CLASSES - 1 && took_us >> class)
		class++;
	atomic_fetch_add(&shared->times[class], 1);
	atomic_fetch_add(&shared->calls, 1);
	while (took_us > longest &&
		!atomic_compare_exchange_weak(&shared->longest_us, &longest, took_us))
		;
}

/* The call's result, timed; a failure ends the client. */
#define TIMED(what, call)                                                                          \
	({                                                                                         \
		uint64_t begun_us_ = now_us();                                                     \
		ssize_t result_ = (call);                                                          \
		note(begun_us_);                                                                   \
		if (result_ < 0) {                                                                 \
			warn("client %u: %s", client, what);                                       \
			return -1;                                                                 \
		}                                                                                  \
		result_;                                                                           \
	})

static int compare(unsigned client, unsigned round, int fd)
{
	unsigned char expected[SIZE_MAX_OF_FILE], got[SIZE_MAX_OF_FILE + 1];
	size_t size = bytes_of(client, round, expected);
	ssize_t length = TIMED("read", pread(fd, got, sizeof(got), 0));

	if ((size_t)length == size && memcmp(got, expected, size) == 0)
		return 0;
	warnx("client %u: its file of round %u has other contents", client, round);
	return -1;
}

static int make_one(unsigned client, unsigned round)
{
	unsigned char bytes[SIZE_MAX_OF_FILE];
	size_t size = bytes_of(client, round, bytes), half = size / 2;
	char path[4096], name[4096];
	struct stat info;
	int fd, result;

	path_of(client, round, "new", path);
	path_of(client, round, "f", name);
	fd = (int)TIMED("open", open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	if ((size_t)TIMED("write", pwrite(fd, bytes, half, 0)) != half ||
		(size_t)TIMED("write", pwrite(fd, bytes + half, size - half, (off_t)half)) != size - half) {
		warnx("client %u: a short write", client);
		return -1;
	}
	if ((client + round) % 16 == 0)
		TIMED("fsync", fsync(fd));
	TIMED("rename", rename(path, name));
	result = compare(client, round, fd);
	close(fd);
	TIMED("stat", stat(name, &info));
	if ((size_t)info.st_size != size) {
		warnx("client %u: another size", client);
		return -1;
	}
	return result;
}

static int make_and_remove(unsigned client, unsigned round)
{
	char path[4096];
	int fd;

	path_of(client, round, "gone", path);
	fd = (int)TIMED("open", open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	close(fd);
	TIMED("unlink", unlink(path));
	return 0;
}

static void *work(void *arg)
{
	unsigned client = (unsigned)(uintptr_t)arg;
	int result = 0;

	pthread_barrier_wait(&shared->begin);
	for (unsigned round = 0; result == 0 && round < ROUNDS; round++) {
		result = make_one(client, round);
		if (result == 0)
			result = make_and_remove(client, round);
	}
	if (result < 0)
		atomic_store(&shared->failed, true);
	return NULL;
}

/* A process with its share of the clients. */
static void work_in_process(unsigned process)
{
	unsigned first = clients * process / PROCESSES, end = clients * (process + 1) / PROCESSES;
	pthread_t *threads = calloc(end - first + 1, sizeof(*threads));
	pthread_attr_t attr;

	if (!threads || pthread_attr_init(&attr) || pthread_attr_setstacksize(&attr, STACK_SIZE))
		errx(1, "no memory");
	/* Nobody begins before all are there: so one that cannot be made ends everything. */
	for (unsigned client = first; client < end; client++)
		if (pthread_create(&threads[client - first], &attr, work, (void *)(uintptr_t)client))
			errx(1, "client %u cannot be started", client);
	for (unsigned client = first; client < end; client++)
		pthread_join(threads[client - first], NULL);
	exit(0);
}

/* The time that so many of a thousand calls did not exceed. */
static unsigned long quantile_us(unsigned permille)
{
	unsigned long calls = atomic_load(&shared->calls), seen = 0;

	for (unsigned class = 0; class < CLASSES; class++) {
		seen += atomic_load(&shared->times[class]);
		if (seen * 1000 >= calls * permille)
			return 1ul << class;
	}
	return 1ul << (CLASSES - 1);
}

static int work_all(void)
{
	pthread_barrierattr_t attr;
	pid_t children[PROCESSES];
	unsigned ended = 0;
	int status;

	if (pthread_barrierattr_init(&attr) ||
		pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) ||
		pthread_barrier_init(&shared->begin, &attr, clients))
		errx(1, "no barrier");
	for (unsigned process = 0; process < PROCESSES; process++) {
		children[process] = fork();
		if (children[process] < 0)
			err(1, "fork");
		if (children[process] == 0)
			work_in_process(process);
	}
	for (; wait(&status) > 0; ended++) {
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		atomic_store(&shared->failed, true);
		/* The others wait for its clients, for ever. */
		for (unsigned process = 0; process < PROCESSES; process++)
			kill(children[process], SIGKILL);
	}
	printf("%u clients, %lu calls; microseconds: half below %lu, 99%% below %lu, 99.9%% below %lu, longest %lu\n",
		clients, atomic_load(&shared->calls), quantile_us(500), quantile_us(990), quantile_us(999),
		atomic_load(&shared->longest_us));
	return ended == PROCESSES && !atomic_load(&shared->failed) ? 0 : 1;
}

/* ---- afterwards -------------------------------------------------------------------------------- */

static int verify_one(unsigned client, unsigned round)
{
	char path[4096];
	int fd, result;

	path_of(client, round, "f", path);
	fd = (int)TIMED("open", open(path, O_RDONLY | O_CLOEXEC));
	result = compare(client, round, fd);
	close(fd);
	return result;
}

static int verify_all(void)
{
	for (unsigned client = 0; client < clients; client++)
		for (unsigned round = 0; round < ROUNDS; round++)
			if (verify_one(client, round) < 0)
				return 1;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: overload work|verify DIRECTORY CLIENTS");
	directory = argv[2];
	clients = (unsigned)strtoul(argv[3], NULL, 10);
	if (clients < PROCESSES || clients > CLIENTS_MAX)
		errx(2, "from %u to %u clients", PROCESSES, CLIENTS_MAX);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");
	return strcmp(argv[1], "work") == 0 ? work_all() : verify_all();
}
