/* SPDX-License-Identifier: MIT */
/*
 * machine_limits - what the machine itself can do, for `bench/engine` to print beside the stores
 *
 *	machine_limits DIR
 *
 * Lines "what TAB measure TAB value", as store_bench's: memory (latency of misses that depend on
 * each other, and of misses that overlap; copying), and the disk under DIR: appends made durable
 * one by one on preallocated and on growing files, the plainest group commit that shares syncs
 * among threads, and large sequential writes. The device's caches and the load of others change
 * from minute to minute, so it belongs into every run.
 */
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHASE_SIZE ((size_t)512 << 20)
#define CHASE_STEPS 2000000u
#define OVERLAPPED_STEPS 20000000u
#define COPY_SIZE ((size_t)64 << 20)
#define COPY_ROUNDS 20
#define APPEND_SIZE 1024u
#define FILE_SIZE ((size_t)16 << 20)
#define STREAM_SIZE ((size_t)256 << 20)
#define WRITE_SIZE ((size_t)1 << 20)
#define SECONDS 1.5
#define GROUP_MAX 64u

static char *area; /* the file's path */

static void die(const char *what)
{
	fprintf(stderr, "machine_limits: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *memory(size_t size)
{
	void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (data == MAP_FAILED)
		die("memory");
	madvise(data, size, MADV_HUGEPAGE);
	return data;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* One cache line each, linked to a cycle in random order. */
struct line {
	uint64_t next;
	uint64_t pad[7];
};

static struct line *chase_make(uint64_t count)
{
	struct line *lines = memory(count * sizeof(*lines));
	struct entry_shuffle shuffle = entry_shuffle(count, 1);
	uint64_t last = entry_shuffled(&shuffle, count - 1);

	for (uint64_t i = 0; i < count; i++) {
		uint64_t at = entry_shuffled(&shuffle, i);

		lines[last].next = at;
		last = at;
	}
	return lines;
}

static void measure_memory(void)
{
	uint64_t count = CHASE_SIZE / sizeof(struct line), at = 0, sum = 0, random = 1, start_ns;
	struct line *lines = chase_make(count);
	char *from, *to;

	start_ns = latency_now_ns();
	for (unsigned i = 0; i < CHASE_STEPS; i++)
		at = lines[at].next;
	measure_print(
		"memory_miss_dependent", "seconds", measure_seconds_since(start_ns) / CHASE_STEPS);
	start_ns = latency_now_ns();
	for (unsigned i = 0; i < OVERLAPPED_STEPS; i++)
		sum += lines[entry_pick(&random, count)].next;
	measure_print("memory_miss_overlapped", "seconds",
		measure_seconds_since(start_ns) / OVERLAPPED_STEPS);
	if (at + sum == 0) /* keeps both loops */
		measure_print("memory_miss_overlapped", "nothing", 0);
	munmap(lines, CHASE_SIZE);

	from = memory(COPY_SIZE);
	to = memory(COPY_SIZE);
	memset(from, 1, COPY_SIZE);
	memset(to, 1, COPY_SIZE);
	start_ns = latency_now_ns();
	for (unsigned i = 0; i < COPY_ROUNDS; i++) {
		memcpy(to, from, COPY_SIZE);
		from[i] = to[COPY_SIZE - 1 - i];
	}
	measure_print("memcpy", "bytes_per_second",
		(double)COPY_SIZE * COPY_ROUNDS / measure_seconds_since(start_ns));
	munmap(from, COPY_SIZE);
	munmap(to, COPY_SIZE);
}

/* ---- the disk, one writer -------------------------------------------------------------------- */

/* A file whose blocks are there, and written: a data sync then changes no metadata. */
static int file_preallocated(size_t size, int flags)
{
	int fd = open(area, O_CREAT | O_TRUNC | O_RDWR | flags, 0644);
	char *block;

	if (fd < 0 || posix_fallocate(fd, 0, (off_t)size))
		die(area);
	block = memory(WRITE_SIZE);
	memset(block, 'x', WRITE_SIZE);
	for (size_t at = 0; at < size; at += WRITE_SIZE)
		if (pwrite(fd, block, WRITE_SIZE, (off_t)at) != (ssize_t)WRITE_SIZE)
			die("write");
	if (fsync(fd))
		die("fsync");
	munmap(block, WRITE_SIZE);
	return fd;
}

static void file_remove(int fd)
{
	close(fd);
	unlink(area);
}

static void append_durable(const char *work, int fd, size_t size, unsigned weight)
{
	static struct latency latency;
	static char record[APPEND_SIZE * GROUP_MAX];
	uint64_t start_ns = latency_now_ns(), last = latency_ticks(), count = 0;
	off_t at = 0;

	memset(&latency, 0, sizeof(latency));
	memset(record, 'y', sizeof(record));
	while (measure_seconds_since(start_ns) < SECONDS) {
		uint64_t now;

		if (pwrite(fd, record, size, at) != (ssize_t)size || fdatasync(fd))
			die("append");
		at += (off_t)size;
		if ((size_t)at + size > FILE_SIZE)
			at = 0;
		count += weight;
		now = latency_ticks();
		latency_add(&latency, now - last);
		last = now;
	}
	measure_print(work, "rate", (double)count / measure_seconds_since(start_ns));
	measure_print(work, "p50_seconds", latency_percentile_ns(&latency, 0.5) / 1e9);
	measure_print(work, "p99_seconds", latency_percentile_ns(&latency, 0.99) / 1e9);
}

static void measure_appends(void)
{
	int fd = file_preallocated(FILE_SIZE, 0);

	append_durable("append_1k_fdatasync", fd, APPEND_SIZE, 1);
	append_durable("append_64_x_1k_fdatasync", fd, APPEND_SIZE * GROUP_MAX, GROUP_MAX);
	file_remove(fd);
	fd = open(area, O_CREAT | O_TRUNC | O_RDWR, 0644);
	if (fd < 0)
		die(area);
	append_durable("append_1k_growing_file", fd, APPEND_SIZE, 1);
	file_remove(fd);
}

/* ---- the disk, shared syncs ------------------------------------------------------------------ */

/*
 * The plainest group commit: a record goes into a buffer under a lock; whoever finds no sync under
 * way writes and syncs what has gathered, and the others wait for it.
 */
struct group {
	pthread_mutex_t lock;
	pthread_cond_t done;
	char *gathering, *writing; /* buffers of GROUP_MAX records */
	uint64_t added, durable;   /* records */
	unsigned gathered;         /* records in `gathering` */
	bool busy;
	int fd;
	off_t at;
	uint64_t end_ns;
};

static void group_write(struct group *group)
{
	uint64_t target = group->added;
	size_t size = group->gathered * (size_t)APPEND_SIZE;
	char *buffer = group->gathering;

	group->busy = true;
	group->gathered = 0;
	group->gathering = group->writing;
	group->writing = buffer;
	if ((size_t)group->at + size > FILE_SIZE)
		group->at = 0;
	pthread_mutex_unlock(&group->lock);
	if (pwrite(group->fd, buffer, size, group->at) != (ssize_t)size || fdatasync(group->fd))
		die("group");
	pthread_mutex_lock(&group->lock);
	group->at += (off_t)size;
	group->durable = target;
	group->busy = false;
	pthread_cond_broadcast(&group->done);
}

static void *group_work(void *arg)
{
	struct group *group = arg;
	char record[APPEND_SIZE];

	memset(record, 'z', sizeof(record));
	pthread_mutex_lock(&group->lock);
	while (latency_now_ns() < group->end_ns) {
		uint64_t mine = ++group->added;

		/* at most one record of each thread gathers at a time */
		memcpy(group->gathering + group->gathered++ * APPEND_SIZE, record, APPEND_SIZE);
		while (group->durable < mine) {
			if (group->busy)
				pthread_cond_wait(&group->done, &group->lock);
			else
				group_write(group);
		}
	}
	pthread_mutex_unlock(&group->lock);
	return NULL;
}

static void measure_group(unsigned threads)
{
	struct group group = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
	pthread_t others[GROUP_MAX];
	uint64_t start_ns;
	char name[64];

	group.gathering = memory((size_t)GROUP_MAX * APPEND_SIZE);
	group.writing = memory((size_t)GROUP_MAX * APPEND_SIZE);
	group.fd = file_preallocated(FILE_SIZE, 0);
	start_ns = latency_now_ns();
	group.end_ns = start_ns + (uint64_t)(SECONDS * 1e9);
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&others[i], NULL, group_work, &group))
			die("thread");
	for (unsigned i = 0; i < threads; i++)
		pthread_join(others[i], NULL);
	snprintf(name, sizeof(name), "group_commit_%ut", threads);
	measure_print(name, "rate", (double)group.durable / measure_seconds_since(start_ns));
	file_remove(group.fd);
	munmap(group.gathering, (size_t)GROUP_MAX * APPEND_SIZE);
	munmap(group.writing, (size_t)GROUP_MAX * APPEND_SIZE);
}

/* ---- the disk, large writes ------------------------------------------------------------------ */

static void stream(const char *work, int flags)
{
	int fd = file_preallocated(STREAM_SIZE, flags);
	char *block = memory(WRITE_SIZE);
	uint64_t start_ns;

	memset(block, 'w', WRITE_SIZE);
	start_ns = latency_now_ns();
	for (size_t at = 0; at < STREAM_SIZE; at += WRITE_SIZE)
		if (pwrite(fd, block, WRITE_SIZE, (off_t)at) != (ssize_t)WRITE_SIZE)
			die("write");
	if (fdatasync(fd))
		die("fdatasync");
	measure_print(
		work, "bytes_per_second", (double)STREAM_SIZE / measure_seconds_since(start_ns));
	munmap(block, WRITE_SIZE);
	file_remove(fd);
}

int main(int argc, char **argv)
{
	static const unsigned threads[] = {4, 16, 64};
	char path[4096];

	if (argc != 2) {
		fprintf(stderr, "usage: machine_limits DIR\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s/machine_limits.tmp", argv[1]);
	area = path;
	latency_init();
	measure_memory();
	measure_appends();
	for (unsigned i = 0; i < sizeof(threads) / sizeof(threads[0]); i++)
		measure_group(threads[i]);
	stream("write_1m_direct", O_DIRECT);
	stream("write_1m_buffered", 0);
	return 0;
}
