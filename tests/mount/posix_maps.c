/* SPDX-License-Identifier: MIT */
/*
 * posix_maps.c - files in memory maps, beside reads and writes of the same files
 */
#include "posix.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAP_BYTES 300000u

static unsigned char *file_map(int fd, size_t size, int protection, int flags)
{
	unsigned char *map = mmap(NULL, size, protection, flags, fd, 0);

	if (map == MAP_FAILED)
		FAIL("mmap: %s", strerror(errno));
	return map;
}

static void store_byte(void *arg)
{
	((unsigned char *)arg)[70000] = 'c';
}

static void map_shared(void)
{
	static unsigned char out[MAP_BYTES], in[MAP_BYTES];
	int fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	unsigned char *map;
	struct timespec before, coarse;
	struct stat after;

	pattern_fill(out, MAP_BYTES, 7, 0);
	OK(ftruncate(fd, MAP_BYTES));
	map = file_map(fd, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED);

	/* what goes into the map comes out of read, and the other way round */
	memcpy(map, out, MAP_BYTES);
	SAME(pread(fd, in, MAP_BYTES, 0), MAP_BYTES);
	TRUE(!memcmp(in, out, MAP_BYTES));
	SAME(pwrite(fd, "written", 7, 5000), 7);
	TRUE(!memcmp(map + 5000, "written", 7));

	/* another process sees the same page */
	child_run(store_byte, map);
	SAME(map[70000], 'c');

	/* the map outlives the descriptor; its changes reach the file */
	OK(msync(map, MAP_BYTES, MS_SYNC));
	clock_gettime(CLOCK_REALTIME, &before);
	do { /* until a clock that counts coarsely has moved on as well */
		usleep(1000);
		clock_gettime(CLOCK_REALTIME_COARSE, &coarse);
	} while (coarse.tv_sec == before.tv_sec ? coarse.tv_nsec <= before.tv_nsec :
						   coarse.tv_sec < before.tv_sec);
	map[100000] = 'z';
	close(fd);
	OK(msync(map, MAP_BYTES, MS_SYNC));
	OK(munmap(map, MAP_BYTES));
	after = file_stat("file");
	TRUE(after.st_mtim.tv_sec > before.tv_sec ||
		(after.st_mtim.tv_sec == before.tv_sec && after.st_mtim.tv_nsec > before.tv_nsec));
	fd = OK(open("file", O_RDONLY));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	SAME(pread(fd, in, MAP_BYTES, 0), MAP_BYTES);
	memcpy(out + 5000, "written", 7);
	out[70000] = 'c';
	out[100000] = 'z';
	TRUE(!memcmp(in, out, MAP_BYTES));
	FAILS((long)mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == -1 ? -1 : 0, EACCES);
	close(fd);
}

static void map_private(void)
{
	unsigned char *map, byte;
	int fd;

	file_put("file", "private");
	fd = OK(open("file", O_RDONLY));
	map = file_map(fd, 7, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	TRUE(!memcmp(map, "private", 7));
	map[0] = 'X';
	TEXT("file", "private");
	SAME(pread(fd, &byte, 1, 0), 1);
	SAME(byte, 'p');
	OK(munmap(map, 7));
	close(fd);
}

static void touch_beyond(void *arg)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	sigaction(SIGBUS, &action, NULL);
	((volatile unsigned char *)arg)[8192] = 1;
}

/* Behind the end of the file: zeros to the end of its page, and nothing of them is kept; then
 * SIGBUS. */
static void map_end(void)
{
	unsigned char *map, in[4096];
	int i, status, fd;
	pid_t child;

	file_put("file", "short");
	fd = OK(open("file", O_RDWR));
	map = file_map(fd, 12288, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (i = 5; i < 4096; i++)
		SAME(map[i], 0);
	map[100] = 'x';
	OK(msync(map, 4096, MS_SYNC));
	SAME(file_stat("file").st_size, 5);
	OK(ftruncate(fd, 4096));
	SAME(pread(fd, in, 4096, 0), 4096);
	TRUE(!memcmp(in, "short", 5));
	child = child_start(touch_beyond, map);
	OK(waitpid(child, &status, 0));
	TRUE(WIFSIGNALED(status));
	SAME(WTERMSIG(status), SIGBUS);
	OK(ftruncate(fd, 12288));
	map[8192] = 'y'; /* now there is a file below it */
	SAME(pread(fd, in, 1, 8192), 1);
	SAME(in[0], 'y');
	OK(munmap(map, 12288));
	close(fd);
}

static void all_are(const unsigned char *bytes, size_t from, size_t to, unsigned char expected)
{
	for (; from < to; from++)
		if (bytes[from] != expected)
			FAIL("byte %zu of the map is %02x, expected %02x", from, bytes[from],
				expected);
}

/* What is cut off is gone from all maps, copies in private ones included, for ever. */
static void map_cut(void)
{
	static unsigned char out[12288], in[12288];
	unsigned char *map, *own;
	pid_t child;
	int status, fd = OK(open("file", O_RDWR | O_CREAT, 0644));

	memset(out, 'x', sizeof(out));
	SAME(pwrite(fd, out, sizeof(out), 0), sizeof(out));
	map = file_map(fd, sizeof(out), PROT_READ | PROT_WRITE, MAP_SHARED);
	own = file_map(fd, sizeof(out), PROT_READ | PROT_WRITE, MAP_PRIVATE);
	map[8192] = 's';
	own[8193] = 'p';
	SAME(own[8193], 'p');
	OK(ftruncate(fd, 5000));
	all_are(map, 0, 5000, 'x');
	all_are(map, 5000, 8192, 0);
	child = child_start(touch_beyond, map);
	OK(waitpid(child, &status, 0));
	TRUE(WIFSIGNALED(status));
	SAME(WTERMSIG(status), SIGBUS);
	OK(ftruncate(fd, sizeof(out)));
	all_are(map, 5000, sizeof(out), 0);
	all_are(own, 8192, sizeof(out), 0);
	/* the same for a hole, which no map has to be asked about */
	SAME(pwrite(fd, out, sizeof(out), 0), sizeof(out));
	all_are(map, 0, sizeof(out), 'x');
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 9000));
	all_are(map, 100, 9100, 0);
	map[200] = 'h';
	OK(msync(map, sizeof(out), MS_SYNC));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	SAME(pread(fd, in, sizeof(in), 0), sizeof(in));
	memset(out + 100, 0, 9000);
	out[200] = 'h';
	TRUE(!memcmp(in, out, sizeof(in)));
	OK(munmap(map, sizeof(out)));
	OK(munmap(own, sizeof(out)));
	OK(close(fd));
}

/* A map of a file that is unlinked, and of one that is replaced, keeps the old contents. */
static void map_outlives_name(void)
{
	unsigned char *map, *other;
	int fd;

	file_put("file", "original");
	fd = OK(open("file", O_RDWR));
	map = file_map(fd, 8, PROT_READ | PROT_WRITE, MAP_SHARED);
	close(fd);
	file_put("next", "replaced");
	OK(rename("next", "file"));
	TRUE(!memcmp(map, "original", 8));
	memcpy(map, "ORIGINAL", 8);
	OK(msync(map, 8, MS_SYNC));
	TEXT("file", "replaced");
	fd = OK(open("file", O_RDONLY));
	other = file_map(fd, 8, PROT_READ, MAP_SHARED);
	close(fd);
	OK(unlink("file"));
	TRUE(!memcmp(other, "replaced", 8));
	TRUE(!memcmp(map, "ORIGINAL", 8));
	OK(munmap(map, 8));
	OK(munmap(other, 8));
}

const struct posix_case posix_map_cases[] = {
	{"map_shared", map_shared},
	{"map_private", map_private},
	{"map_end", map_end},
	{"map_cut", map_cut},
	{"map_outlives_name", map_outlives_name},
	{NULL, NULL},
};
