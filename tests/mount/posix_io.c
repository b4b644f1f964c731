/* SPDX-License-Identifier: MIT */
/*
 * posix_io.c - ways to read and write: past the cache, through maps of the same file, by many
 * processes at once; and to make it durable
 */
#include "posix.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define DIRECT_SIZE (1u << 20)

static unsigned char *aligned(size_t size)
{
	void *buffer;

	TRUE(!posix_memalign(&buffer, PAGE, size));
	return buffer;
}

/* Past the cache and through it, in turns, both see the same bytes. */
static void direct(void)
{
	unsigned char *image = aligned(DIRECT_SIZE), *in = aligned(DIRECT_SIZE);
	int i, cached = OK(open("file", O_RDWR | O_CREAT, 0644));
	int past = OK(open("file", O_RDWR | O_DIRECT));
	unsigned seed = 5;

	memset(image, 0, DIRECT_SIZE);
	OK(ftruncate(cached, DIRECT_SIZE));
	for (i = 0; i < (posix_quick ? 200 : 1000); i++) {
		size_t at = random_next(&seed) % (DIRECT_SIZE / PAGE) * PAGE;
		size_t size = PAGE * (1 + random_next(&seed) % 16);
		unsigned choice = random_next(&seed);

		if (size > DIRECT_SIZE - at)
			size = DIRECT_SIZE - at;
		if (choice % 4 < 2) {
			pattern_fill(image + at, size, seed, at);
			SAME(pwrite(choice % 2 ? past : cached, image + at, size, at), size);
		} else {
			SAME(pread(choice % 2 ? past : cached, in + at, size, at), size);
			TRUE(!memcmp(in + at, image + at, size));
		}
	}
	SAME(pread(past, in, DIRECT_SIZE, 0), DIRECT_SIZE);
	TRUE(!memcmp(in, image, DIRECT_SIZE));
	/* over the end: to the end; behind it: nothing */
	SAME(pread(past, in, 2 * PAGE, DIRECT_SIZE - PAGE), PAGE);
	SAME(pread(past, in, PAGE, DIRECT_SIZE), 0);
	SAME(pwrite(past, image, 2 * PAGE, DIRECT_SIZE + PAGE), 2 * PAGE); /* grows, leaving a hole */
	SAME(pread(cached, in, PAGE, DIRECT_SIZE), PAGE);
	TRUE(!in[0] && !memcmp(in, in + 1, PAGE - 1));
	OK(close(past));
	past = OK(open("file", O_WRONLY | O_DIRECT | O_APPEND));
	SAME(write(past, image, PAGE), PAGE);
	SAME(file_stat("file").st_size, DIRECT_SIZE + 4 * PAGE);
	OK(close(past));
	OK(close(cached));
	free(image);
	free(in);
}

/* A write from a map of the very bytes that it goes to, and a read into one: nobody waits for himself. */
static void maps_of_the_same_file(void)
{
	static unsigned char expected[16 * PAGE], in[16 * PAGE];
	int fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	unsigned char *map;

	alarm(600);
	pattern_fill(expected, sizeof(expected), 1, 0);
	SAME(pwrite(fd, expected, sizeof(expected), 0), sizeof(expected));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	map = mmap(NULL, sizeof(expected), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TRUE(map != MAP_FAILED);
	SAME(pwrite(fd, map, PAGE, 0), PAGE); /* onto itself */
	SAME(pwrite(fd, map + 4 * PAGE, 4 * PAGE, 8 * PAGE), 4 * PAGE);
	memcpy(expected + 8 * PAGE, expected + 4 * PAGE, 4 * PAGE);
	SAME(pread(fd, map + 100, 1000, 2 * PAGE), 1000);
	memcpy(expected + 100, expected + 2 * PAGE, 1000);
	SAME(pread(fd, in, sizeof(in), 0), sizeof(in));
	TRUE(!memcmp(in, expected, sizeof(in)));
	TRUE(!memcmp(map, expected, sizeof(in)));
	/* growing it through the map's own bytes */
	SAME(pwrite(fd, map, sizeof(in), sizeof(in)), sizeof(in));
	SAME(pread(fd, in, sizeof(in), sizeof(in)), sizeof(in));
	TRUE(!memcmp(in, expected, sizeof(in)));
	OK(munmap(map, sizeof(expected)));
	OK(close(fd));
}

/* A private map's copies are its own, what it has not copied is the file's. */
static void private_beside_writes(void)
{
	int fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	unsigned char *own, *shared, byte;

	OK(ftruncate(fd, 4 * PAGE));
	own = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TRUE(own != MAP_FAILED && shared != MAP_FAILED);
	own[0] = 'p';
	shared[0] = 's';
	shared[PAGE] = 't';
	SAME(pwrite(fd, "w", 1, 2 * PAGE), 1);
	SAME(own[0], 'p');
	SAME(own[PAGE], 't');
	SAME(own[2 * PAGE], 'w');
	SAME(pread(fd, &byte, 1, 0), 1);
	SAME(byte, 's');
	OK(msync(own, 4 * PAGE, MS_SYNC));
	OK(msync(shared, 4 * PAGE, MS_ASYNC));
	OK(munmap(own, 4 * PAGE));
	OK(munmap(shared, 4 * PAGE));
	SAME(pread(fd, &byte, 1, 0), 1);
	SAME(byte, 's');
	OK(close(fd));
}

static void sync_calls(void)
{
	int fd = OK(open("file", O_RDWR | O_CREAT, 0644)), dir = OK(open(".", O_RDONLY));
	struct iovec part = {"synced", 6};
	char in[16];
	int synced;

	SAME(write(fd, "text", 4), 4);
	OK(sync_file_range(fd, 0, 4,
		SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
	FAILS(sync_file_range(fd, 0, 4, 1 << 10), EINVAL);
	OK(fdatasync(fd));
	OK(fsync(fd));
	OK(fsync(dir));
	OK(fdatasync(dir));
	OK(syncfs(fd));
	OK(syncfs(dir));
	sync();
	synced = OK(open("file", O_WRONLY | O_SYNC));
	SAME(write(synced, "SY", 2), 2);
	OK(close(synced));
	synced = OK(open("file", O_WRONLY | O_DSYNC | O_APPEND));
	SAME(write(synced, "DS", 2), 2);
	OK(close(synced));
	TEXT("file", "SYxtDS");
	SAME(pwritev2(fd, &part, 1, 0, RWF_DSYNC), 6);
	SAME(pwritev2(fd, &part, 1, 0, RWF_SYNC), 6);
	SAME(pwritev2(fd, &part, 1, 0, RWF_APPEND), 6);
	TEXT("file", "syncedsynced");
	part = (struct iovec){in, sizeof(in)};
	SAME(preadv2(fd, &part, 1, 6, 0), 6);
	FAILS(preadv2(fd, &part, 1, 6, 1 << 25), EOPNOTSUPP);
	FAILS(fsync(OK(open("file", O_PATH))), EBADF);
	OK(close(fd));
	OK(close(dir));
}

/* Through pipes without copying: out of a file, into another, and with tee on both ways. */
static void splicing(void)
{
	static unsigned char out[50000], in[50000];
	int from = OK(open("from", O_RDWR | O_CREAT, 0644)), to = OK(open("to", O_RDWR | O_CREAT, 0644));
	off_t source = 0, target = 3;
	int one[2], two[2];
	char text[8];

	pattern_fill(out, sizeof(out), 9, 0);
	SAME(write(from, out, sizeof(out)), sizeof(out));
	OK(pipe(one));
	OK(pipe(two));
	while (source < (off_t)sizeof(out)) {
		ssize_t n = OK(splice(from, &source, one[1], NULL, 16384, SPLICE_F_MOVE));

		TRUE(n > 0);
		while (n)
			n -= OK(splice(one[0], NULL, to, &target, n, SPLICE_F_MOVE));
	}
	SAME(file_stat("to").st_size, sizeof(out) + 3);
	SAME(pread(to, in, sizeof(in), 3), sizeof(in));
	TRUE(!memcmp(in, out, sizeof(in)));
	SAME(write(one[1], "both", 4), 4);
	SAME(tee(one[0], two[1], 4, 0), 4);
	target = 0;
	SAME(splice(two[0], NULL, to, &target, 4, 0), 4);
	SAME(read(one[0], text, sizeof(text)), 4);
	TRUE(!memcmp(text, "both", 4));
	SAME(pread(to, text, 4, 0), 4);
	TRUE(!memcmp(text, "both", 4));
	OK(close(from));
	OK(close(to));
}

/* O_APPEND goes to the end even for pwrite (as Linux has it), and from each of two descriptors. */
static void appending(void)
{
	int one = OK(open("file", O_RDWR | O_CREAT | O_APPEND, 0644));
	int two = OK(open("file", O_WRONLY | O_APPEND)), plain = OK(open("file", O_WRONLY));

	SAME(write(one, "a", 1), 1);
	SAME(write(two, "b", 1), 1);
	SAME(pwrite(one, "c", 1, 0), 1);
	SAME(write(plain, "A", 1), 1);
	OK(fcntl(plain, F_SETFL, O_APPEND));
	SAME(write(plain, "d", 1), 1);
	OK(fcntl(one, F_SETFL, 0));
	SAME(pwrite(one, "B", 1, 1), 1);
	TEXT("file", "ABcd");
	SAME(lseek(plain, 0, SEEK_CUR), 4);
	OK(close(one));
	OK(close(two));
	OK(close(plain));
}

/* Many processes in one page, each in its own eight bytes: nobody's are lost. */
#define NEIGHBOURS 8

struct neighbour {
	int number;
	bool mapped;
};

static void count_in_place(void *arg)
{
	const struct neighbour *neighbour = arg;
	int i, fd = OK(open("page", O_RDWR)), rounds = posix_quick ? 200 : 2000;
	off_t place = neighbour->number * 8;
	volatile unsigned long long *map;
	unsigned long long count;

	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TRUE(map != MAP_FAILED);
	for (i = 0; i < rounds; i++) {
		if (neighbour->mapped) {
			map[neighbour->number]++;
			continue;
		}
		SAME(pread(fd, &count, 8, place), 8);
		SAME(count, i);
		count++;
		SAME(pwrite(fd, &count, 8, place), 8);
	}
}

static void neighbours_in_a_page(void)
{
	struct neighbour neighbours[NEIGHBOURS];
	int i, fd, mapped, rounds = posix_quick ? 200 : 2000;
	pid_t children[NEIGHBOURS];
	unsigned long long counts[NEIGHBOURS];

	/* by writing; by maps; by both at once */
	for (mapped = 0; mapped <= 2; mapped++) {
		fd = OK(open("page", O_RDWR | O_CREAT | O_TRUNC, 0644));
		OK(ftruncate(fd, PAGE));
		for (i = 0; i < NEIGHBOURS; i++) {
			neighbours[i] = (struct neighbour){i, mapped == 2 ? i % 2 : mapped};
			children[i] = child_start(count_in_place, &neighbours[i]);
		}
		for (i = 0; i < NEIGHBOURS; i++)
			child_wait(children[i]);
		OK(fsync(fd));
		OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
		SAME(pread(fd, counts, sizeof(counts), 0), sizeof(counts));
		for (i = 0; i < NEIGHBOURS; i++)
			SAME(counts[i], rounds);
		OK(close(fd));
	}
}

/* While one process cuts a file and lets it grow again, another reads what is zeros or what was written, and
 * never what was there before a cut. */
static void cut_forever(void *arg)
{
	static unsigned char bytes[64 * 1024];
	int i, fd = OK(open("file", O_RDWR));

	(void)arg;
	for (i = 1;; i = i % 250 + 1) {
		memset(bytes, i, sizeof(bytes));
		OK(ftruncate(fd, 0));
		SAME(pwrite(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
		OK(ftruncate(fd, 10000));
		OK(ftruncate(fd, sizeof(bytes)));
	}
}

static void reading_beside_cuts(void)
{
	static unsigned char in[64 * 1024];
	int i, rounds = posix_quick ? 500 : 5000, fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	pid_t child = child_start(cut_forever, NULL);

	for (i = 0; i < rounds; i++) {
		ssize_t at, size = OK(pread(fd, in, sizeof(in), 0));

		/* within a page all is of one time, or not there */
		for (at = 1; at < size; at++)
			if (at % PAGE && in[at] && in[at - 1] && in[at] != in[at - 1])
				FAIL("byte %zd is %u beside %u", at, in[at], in[at - 1]);
	}
	OK(kill(child, SIGKILL));
	OK(waitpid(child, NULL, 0));
	OK(close(fd));
}

static void tick(int number)
{
	(void)number;
}

/* Signals while the disk is waited for: what was asked is done all the same, whole and once. */
static void interrupted_by_signals(void)
{
	struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
	struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
	unsigned char out[PAGE], in[PAGE];
	int i, rounds = posix_quick ? 100 : 300, fd = OK(open("file", O_RDWR | O_CREAT, 0644));

	OK(sigaction(SIGALRM, &action, NULL));
	OK(setitimer(ITIMER_REAL, &often, NULL));
	for (i = 0; i < rounds; i++) {
		pattern_fill(out, PAGE, (unsigned)i, 0);
		SAME(write(fd, out, PAGE), PAGE);
		OK(fsync(fd));
	}
	OK(setitimer(ITIMER_REAL, &never, NULL));
	SAME(file_stat("file").st_size, (off_t)rounds * PAGE);
	for (i = 0; i < rounds; i++) {
		pattern_fill(out, PAGE, (unsigned)i, 0);
		SAME(pread(fd, in, PAGE, (off_t)i * PAGE), PAGE);
		TRUE(!memcmp(in, out, PAGE));
	}
	OK(close(fd));
}

const struct posix_case posix_io_cases[] = {
	{"direct", direct},
	{"maps_of_the_same_file", maps_of_the_same_file},
	{"private_beside_writes", private_beside_writes},
	{"sync_calls", sync_calls},
	{"splicing", splicing},
	{"appending", appending},
	{"neighbours_in_a_page", neighbours_in_a_page},
	{"reading_beside_cuts", reading_beside_cuts},
	{"interrupted_by_signals", interrupted_by_signals},
	{NULL, NULL},
};
