/* SPDX-License-Identifier: MIT */
/*
 * crash_stream.c - the writer of the stream, and its judge
 */
#include "crash_stream.h"
#include "pattern.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORY "stream"
#define NEW DIRECTORY "/new"
#define OLD DIRECTORY "/old"
#define SIZE_MAX_BYTES (3u << 20)
#define BLOCK_MAX (3u << 19) /* more than a request takes */
#define PAUSE_US_MAX 20000u

static unsigned char bytes[SIZE_MAX_BYTES + 1], expected[SIZE_MAX_BYTES];

/* Of a whole generation. */
static size_t generation_size(uint64_t seed, uint64_t generation)
{
	return 1 + pattern_number(seed, generation) % SIZE_MAX_BYTES;
}

static void generation_fill(uint64_t seed, uint64_t generation, size_t size)
{
	pattern_fill(expected, size, seed + generation, 0);
}

/* Of a generation before the one that is there for sure, the size says nothing. */
static void raise_kept(struct stream_account *account, uint64_t generation, uint64_t size)
{
	atomic_store(&account->kept_size, size);
	atomic_store(&account->kept_generation, generation);
}

/* Between the two there is more than was begun. */
static void say_begun(struct stream_account *account, uint64_t generation, uint64_t size)
{
	atomic_store(&account->begun_generation, generation);
	atomic_store(&account->begun_size, size);
}

/* A file that nobody will ever see. Its descriptor */
static int open_unnamed(void)
{
	int fd = open(DIRECTORY, O_TMPFILE | O_RDWR, 0600);

	if (fd >= 0 && write(fd, expected, SIZE_MAX_BYTES / 4) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The rest of a generation, from what there is of it. 0, or -1 and errno */
static int generation_write(struct ledger *ledger, uint64_t seed, uint64_t generation, int fd)
{
	struct stream_account *account = &ledger->stream;
	size_t size = generation_size(seed, generation), at = lseek(fd, 0, SEEK_END), begun = 0;
	uint64_t random;
	ssize_t written;
	int unnamed = -1;

	generation_fill(seed, generation, size);
	while (at < size && !atomic_load(&ledger->stopping)) {
		random = pattern_number(seed + generation, at);
		written = 1 + random % BLOCK_MAX;
		if ((size_t)written > size - at)
			written = size - at;
		/* A write that came back short may have been cut by the end of the server, which had
		 * taken more of it than it could answer. */
		if (at + written > begun)
			begun = at + written;
		say_begun(account, generation, begun);
		written = write(fd, expected + at, written);
		if (written < 0)
			return -1;
		at += written;
		if ((random >> 32) % 4 == 0) {
			if (fsync(fd))
				return -1;
			raise_kept(account, generation, at);
		} else if ((random >> 32) % 4 == 1) {
			if (unnamed >= 0)
				close(unnamed);
			unnamed = open_unnamed();
			if (unnamed < 0)
				return -1;
		}
		usleep((random >> 40) % PAUSE_US_MAX);
	}
	if (unnamed >= 0)
		close(unnamed);
	return 0;
}

static int stream_write(struct ledger *ledger, uint64_t seed)
{
	uint64_t generation = atomic_load(&ledger->stream.kept_generation);
	int fd;

	while (!atomic_load(&ledger->stopping)) {
		fd = open(NEW, O_CREAT | O_WRONLY | O_APPEND, 0644);
		if (fd < 0 || generation_write(ledger, seed, generation, fd))
			return -1;
		if (close(fd))
			return -1;
		if (atomic_load(&ledger->stopping))
			return 0;
		generation++;
		say_begun(&ledger->stream, generation, 0);
		if (rename(NEW, OLD))
			return -1;
	}
	return 0;
}

void stream_run(struct ledger *ledger, uint64_t seed)
{
	if (((mkdir(DIRECTORY, 0755) && errno != EEXIST) || stream_write(ledger, seed)) &&
		!is_gone(errno))
		err(1, "stream");
}

/* Reads it; -1 if it is not there. */
static ssize_t file_load(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t size;

	if (fd < 0 && errno == ENOENT)
		return -1;
	if (fd < 0)
		err(1, "%s", path);
	size = pread(fd, bytes, sizeof(bytes), 0);
	if (size < 0)
		err(1, "%s", path);
	if ((size_t)size > SIZE_MAX_BYTES)
		errx(1, "%s is too large", path);
	close(fd);
	return size;
}

/* Is what was loaded the beginning of this generation? */
static bool is_generation(uint64_t seed, uint64_t generation, size_t size)
{
	if (size > generation_size(seed, generation))
		return false;
	generation_fill(seed, generation, size);
	return !memcmp(bytes, expected, size);
}

/* The generation that is in OLD, plus one; 0: none. */
static uint64_t old_judge(const struct stream_account *account, uint64_t seed)
{
	uint64_t generation, begun = atomic_load(&account->begun_generation);
	uint64_t kept = atomic_load(&account->kept_generation);
	ssize_t size = file_load(OLD);

	if (size < 0 && kept)
		errx(1, OLD " is missing, generation %llu was durable", (unsigned long long)kept);
	if (size < 0)
		return 0;
	for (generation = kept ? kept - 1 : 0; generation < begun; generation++)
		if ((size_t)size == generation_size(seed, generation) &&
			is_generation(seed, generation, size))
			return generation + 1;
	errx(1, OLD " is none of the generations %llu to %llu: %zd bytes", (unsigned long long)kept,
		(unsigned long long)begun, size);
}

void stream_judge(struct ledger *ledger, uint64_t seed)
{
	struct stream_account *account = &ledger->stream;
	uint64_t kept = atomic_load(&account->kept_generation);
	uint64_t begun = atomic_load(&account->begun_generation);
	uint64_t generation = old_judge(account, seed);
	ssize_t size = file_load(NEW);

	if (size >= 0 && !is_generation(seed, generation, size))
		errx(1, NEW " is no beginning of generation %llu: %zd bytes",
			(unsigned long long)generation, size);
	if (size < 0)
		size = 0;
	if (generation == kept && (uint64_t)size < atomic_load(&account->kept_size))
		errx(1, NEW " has %zd bytes, %llu were durable", size,
			(unsigned long long)atomic_load(&account->kept_size));
	if (generation == begun && (uint64_t)size > atomic_load(&account->begun_size))
		errx(1, NEW " has %zd bytes, %llu were written", size,
			(unsigned long long)atomic_load(&account->begun_size));
	raise_kept(account, generation, size);
	say_begun(account, generation, size);
}
