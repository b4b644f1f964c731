/* SPDX-License-Identifier: MIT */
/*
 * posix_copies.c - copy_file_range: what arrives, and that source and target go their own ways
 * afterwards, however the copy was made
 */
#include "posix.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK 65536u
#define BYTES (3 * CHUNK + 12345u)

static unsigned char expected[4 * BYTES], found[4 * BYTES];

static void copy(int in, loff_t from, int out, loff_t to, size_t size)
{
	while (size) {
		ssize_t done = OK(copy_file_range(in, &from, out, &to, size, 0));

		TRUE(done > 0 && (size_t)done <= size);
		size -= (size_t)done;
	}
}

static void same_bytes(int fd, size_t size)
{
	struct stat st;

	OK(fstat(fd, &st));
	SAME(st.st_size, size);
	SAME(pread(fd, found, sizeof(found), 0), size);
	for (size_t i = 0; i < size; i++)
		if (found[i] != expected[i])
			FAIL("byte %zu is %d, expected %d", i, found[i], expected[i]);
}

static int file_new(const char *path, unsigned seed)
{
	int fd = OK(open(path, O_RDWR | O_CREAT | O_TRUNC, 0644));

	pattern_fill(expected, BYTES, seed, 0);
	SAME(write(fd, expected, BYTES), BYTES);
	return fd;
}

static void copy_whole(void)
{
	int in = file_new("in", 1), out = OK(open("out", O_RDWR | O_CREAT, 0644));
	int third = OK(open("third", O_RDWR | O_CREAT, 0644));
	loff_t from = BYTES, to = 0;
	struct stat before = file_stat("in"), after;

	copy(in, 0, out, 0, BYTES);
	same_bytes(out, BYTES);
	copy(out, 0, third, 0, BYTES);
	same_bytes(third, BYTES);
	SAME(copy_file_range(in, &from, out, &to, 10, 0), 0);
	after = file_stat("in");
	SAME(after.st_blocks, before.st_blocks);
	SAME(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	SAME(after.st_ctim.tv_nsec, before.st_ctim.tv_nsec);
	/* each goes its own way */
	OK(ftruncate(in, 100));
	OK(ftruncate(in, BYTES));
	same_bytes(out, BYTES);
	OK(unlink("in"));
	close(in);
	memset(expected + CHUNK - 10, 'x', 20);
	SAME(pwrite(out, expected + CHUNK - 10, 20, CHUNK - 10), 20);
	same_bytes(out, BYTES);
	pattern_fill(expected, BYTES, 1, 0);
	same_bytes(third, BYTES);
	OK(unlink("out"));
	close(out);
	same_bytes(third, BYTES);
}

/* Any places and sizes, within one file and between two, beside plain memory. */
static void copy_anywhere(void)
{
	static unsigned char other[sizeof(expected)];
	int one = file_new("one", 2), two;
	unsigned random = 1, rounds = posix_quick ? 60 : 400;

	two = OK(open("two", O_RDWR | O_CREAT, 0644));
	pattern_fill(other, sizeof(other), 3, 0);
	SAME(write(two, other, sizeof(other)), sizeof(other));
	for (unsigned round = 0; round < rounds; round++) {
		bool aligned = random_next(&random) % 3;
		size_t size = 1 + random_next(&random) % (2 * CHUNK);
		size_t from = random_next(&random) % (BYTES - 1);
		size_t to = random_next(&random) % (sizeof(other) - 2 * CHUNK);

		if (aligned) {
			from -= from % CHUNK;
			to -= to % CHUNK;
		}
		if (size > BYTES - from)
			size = BYTES - from;
		if (round % 4 == 3) {
			SAME(pwrite(two, expected + from, size, (off_t)to), size);
			memcpy(other + to, expected + from, size);
			continue;
		}
		copy(one, (loff_t)from, two, (loff_t)to, size);
		memcpy(other + to, expected + from, size);
		SAME(pread(two, found, size, (off_t)to), size);
		TRUE(!memcmp(found, other + to, size));
		if (to + size + CHUNK < sizeof(other) - CHUNK) {
			copy(two, (loff_t)to, two, sizeof(other) - CHUNK, CHUNK);
			memcpy(other + sizeof(other) - CHUNK, other + to, CHUNK);
		}
	}
	memcpy(expected, other, sizeof(other));
	same_bytes(two, sizeof(other));
}

/* What is in maps and pages is what is copied, and what is copied is in maps and pages. */
static void copy_beside_maps(void)
{
	int in = file_new("in", 4), out = file_new("out", 5);
	unsigned char *from = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, in, 0);
	unsigned char *to = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);

	TRUE(from != MAP_FAILED && to != MAP_FAILED);
	TRUE(!memcmp(to, expected, BYTES));
	pattern_fill(expected, BYTES, 4, 0);
	memset(from + CHUNK + 5, 'm', 100);
	memset(expected + CHUNK + 5, 'm', 100);
	copy(in, 0, out, 0, BYTES);
	TRUE(!memcmp(to, expected, BYTES));
	same_bytes(out, BYTES);
	memset(from, 'n', 10);
	OK(msync(from, BYTES, MS_SYNC));
	TRUE(!memcmp(to, expected, BYTES));
	OK(munmap(from, BYTES));
	OK(munmap(to, BYTES));
}

static void copy_refused(void)
{
	int in = file_new("in", 6), out = OK(open("out", O_RDWR | O_CREAT, 0644));
	int reader = OK(open("out", O_RDONLY)), directory = OK(open(".", O_RDONLY | O_DIRECTORY));
	loff_t from = 0, to = 1;

	FAILS(copy_file_range(in, &from, in, &to, 2, 0), EINVAL);
	FAILS(copy_file_range(in, &from, out, &to, 1, 1), EINVAL);
	FAILS(copy_file_range(in, &from, reader, &to, 1, 0), EBADF);
	FAILS(copy_file_range(directory, &from, out, &to, 1, 0), EISDIR);
	SAME(file_stat("out").st_size, 0);
}

static void copy_as_user(void *arg)
{
	int in = OK(open("in", O_RDONLY)), out = OK(open("out", O_WRONLY));

	OK(setresgid(1000, 1000, 1000));
	OK(setresuid(1000, 1000, 1000));
	copy(in, 0, out, 0, CHUNK);
}

/* As with any write by others than root. */
static void copy_clears_set_id(void)
{
	close(file_new("in", 7));
	close(file_new("out", 8));
	OK(chown("out", 1000, 1000));
	OK(chmod("out", 06755));
	child_run(copy_as_user, NULL);
	SAME(file_stat("out").st_mode & 07777, 0755);
}

const struct posix_case posix_copy_cases[] = {
	{"copy_whole", copy_whole},
	{"copy_anywhere", copy_anywhere},
	{"copy_beside_maps", copy_beside_maps},
	{"copy_refused", copy_refused},
	{"copy_clears_set_id", copy_clears_set_id},
	{NULL, NULL},
};
