/* SPDX-License-Identifier: MIT */
/*
 * posix_space.c - files with holes: making them, finding them, filling them, at any offset
 */
#include "posix.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_SIZE (3u << 20) /* bytes, of the file that the random test keeps a copy of */
#define BLOCK 4096u

static void expect_bytes(int fd, off_t offset, const unsigned char *expected, size_t size)
{
	unsigned char *in = malloc(size);
	size_t i;

	SAME(pread(fd, in, size, offset), size);
	for (i = 0; i < size; i++)
		if (in[i] != expected[i])
			FAIL("byte %lld is %02x, expected %02x", (long long)offset + (long long)i,
				in[i], expected[i]);
	free(in);
}

static long long blocks(int fd)
{
	struct stat st;

	OK(fsync(fd)); /* ext4 chooses places only then */
	OK(fstat(fd, &st));
	return st.st_blocks;
}

static off_t size_of(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	return st.st_size;
}

static void fallocate_modes(void)
{
	static unsigned char image[1 << 20];
	int fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	long long full;

	OK(fallocate(fd, 0, 0, 100000));
	SAME(size_of(fd), 100000);
	expect_bytes(fd, 0, image, 100000);
	OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
	SAME(size_of(fd), 100000);
	OK(fallocate(fd, 0, 50000, 10)); /* never makes a file shorter, or loses what it has */
	SAME(size_of(fd), 100000);

	pattern_fill(image, sizeof(image), 1, 0);
	SAME(pwrite(fd, image, sizeof(image), 0), sizeof(image));
	full = blocks(fd);
	OK(fallocate(fd, 0, 0, sizeof(image)));
	expect_bytes(fd, 0, image, sizeof(image));
	/* within a block, over blocks, and over the end, which it does not move */
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 50));
	memset(image + 100, 0, 50);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65000, 400000));
	memset(image + 65000, 0, 400000);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, sizeof(image) - 70000, 1 << 30));
	memset(image + sizeof(image) - 70000, 0, 70000);
	SAME(size_of(fd), sizeof(image));
	expect_bytes(fd, 0, image, sizeof(image));
	if (full - blocks(fd) < (400000 + 70000 - 3 * (int)BLOCK) / 512)
		FAIL("holes of 470000 bytes gave back %lld blocks of %lld", full - blocks(fd), full);
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 500000, 3));
	memset(image + 500000, 0, 3);
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 600000, 600000));
	memset(image + 600000, 0, sizeof(image) - 600000);
	SAME(size_of(fd), sizeof(image));
	expect_bytes(fd, 0, image, sizeof(image));
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, sizeof(image) - 10, 30));
	SAME(size_of(fd), sizeof(image) + 20);
	OK(close(fd));
}

/* Shifting contents: done as it should be, or refused and nothing has happened. */
static void fallocate_shifts(void)
{
	static unsigned char image[16 * BLOCK];
	int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

	pattern_fill(image, sizeof(image), 2, 0);
	SAME(pwrite(fd, image, sizeof(image), 0), sizeof(image));
	if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 2 * BLOCK, 4 * BLOCK)) {
		SAME(errno, EOPNOTSUPP);
		FAILS(fallocate(fd, FALLOC_FL_INSERT_RANGE, BLOCK, BLOCK), EOPNOTSUPP);
		expect_bytes(fd, 0, image, sizeof(image));
		SAME(size_of(fd), sizeof(image));
	} else {
		SAME(size_of(fd), 12 * BLOCK);
		memmove(image + 2 * BLOCK, image + 6 * BLOCK, 10 * BLOCK);
		expect_bytes(fd, 0, image, 12 * BLOCK);
		OK(fallocate(fd, FALLOC_FL_INSERT_RANGE, BLOCK, BLOCK));
		SAME(size_of(fd), 13 * BLOCK);
		expect_bytes(fd, 0, image, BLOCK);
		expect_bytes(fd, 2 * BLOCK, image + BLOCK, 11 * BLOCK);
	}
	OK(close(fd));
}

/* What is said to be a hole reads as zeros, data and holes follow each other to the end. */
static void holes_agree(int fd, const unsigned char *image, off_t size)
{
	off_t data, hole = 0;

	while (hole < size) {
		data = lseek(fd, hole, SEEK_DATA);
		if (data < 0) {
			SAME(errno, ENXIO);
			data = size;
		}
		TRUE(data >= hole && data <= size);
		for (; hole < data; hole++)
			if (image[hole])
				FAIL("byte %lld is called a hole", (long long)hole);
		if (data == size)
			break;
		hole = OK(lseek(fd, data, SEEK_HOLE));
		TRUE(hole > data && hole <= size);
		SAME(lseek(fd, (data + hole) / 2, SEEK_DATA), (data + hole) / 2);
	}
}

static size_t pick(unsigned *seed, size_t size, size_t *length)
{
	size_t at = random_next(seed) % size;
	size_t longest = random_next(seed) % 3 ? 20000 : 400000;

	*length = 1 + random_next(seed) % longest;
	if (*length > size - at)
		*length = size - at;
	return at;
}

/* Holes punched, zeroed, filled, copied into, cut: against a copy in memory. */
static void random_holes(void)
{
	unsigned char *image = calloc(1, FILE_SIZE);
	int i, steps = posix_quick ? 600 : 4000;
	int fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	unsigned seed = 7;

	OK(ftruncate(fd, FILE_SIZE));
	for (i = 0; i < steps; i++) {
		size_t length, at = pick(&seed, FILE_SIZE, &length);
		off_t from, to = (off_t)at;

		switch (random_next(&seed) % 8) {
		case 0 ... 2:
			pattern_fill(image + at, length, seed, at);
			SAME(pwrite(fd, image + at, length, to), length);
			break;
		case 3:
			OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, to, length));
			memset(image + at, 0, length);
			break;
		case 4:
			OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, to, length));
			memset(image + at, 0, length);
			break;
		case 5:
			OK(ftruncate(fd, to));
			OK(ftruncate(fd, FILE_SIZE));
			memset(image + at, 0, FILE_SIZE - at);
			break;
		case 6: /* from far enough away not to overlap */
			from = to < (off_t)FILE_SIZE / 2 ? to + (off_t)length : to - (off_t)length;
			if (from < 0 || from + (off_t)length > (off_t)FILE_SIZE)
				break;
			memcpy(image + at, image + from, length);
			while (length) {
				ssize_t n = OK(copy_file_range(fd, &from, fd, &to, length, 0));

				TRUE(n > 0);
				length -= (size_t)n;
			}
			break;
		default:
			OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
			expect_bytes(fd, to, image + at, length);
		}
		if (i % 100 == 99) {
			expect_bytes(fd, 0, image, FILE_SIZE);
			holes_agree(fd, image, FILE_SIZE);
		}
	}
	OK(ftruncate(fd, 0));
	SAME(blocks(fd), 0);
	OK(close(fd));
	free(image);
}

/* The page at this offset through a map, and past the cache. */
static void last_page(int fd, off_t at)
{
	int direct = OK(open("file", O_RDWR | O_DIRECT));
	unsigned char *map, *page = aligned_alloc(BLOCK, BLOCK);

	map = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
	TRUE(map != MAP_FAILED && page);
	TRUE(!memcmp(map + BLOCK - 4, "last", 4));
	map[0] = 'm';
	SAME(pread(direct, page, BLOCK, at), BLOCK);
	SAME(page[0], 'm');
	page[1] = 'd';
	SAME(pwrite(direct, page, BLOCK, at), BLOCK);
	SAME(map[1], 'd');
	TRUE(!memcmp(map + BLOCK - 4, "last", 4));
	OK(munmap(map, BLOCK));
	OK(close(direct));
	free(page);
}

/* Further out there is room, or a proper error and nothing has happened. */
static void beyond(int fd)
{
	const off_t at = 1ll << 50;
	off_t size = size_of(fd);
	char byte;

	if (pwrite(fd, "x", 1, at) < 0) {
		SAME(errno, EFBIG);
		FAILS(ftruncate(fd, at), EFBIG);
	} else {
		SAME(size_of(fd), at + 1);
		SAME(lseek(fd, size, SEEK_DATA) / BLOCK, at / BLOCK);
		SAME(pread(fd, &byte, 1, at), 1);
		SAME(byte, 'x');
		OK(ftruncate(fd, size));
	}
	SAME(size_of(fd), size);
}

/* The largest file that ext4 has is 16 TiB less a block; each power of two may be somebody's border. */
static void far_offsets(void)
{
	const off_t end = (16ll << 40) - 4096;
	int shift, fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	unsigned char out[8], in[8];
	off_t at;

	for (shift = 12; shift <= 43; shift++) {
		at = (1ll << shift) - 4;
		pattern_fill(out, sizeof(out), shift, 0);
		SAME(pwrite(fd, out, sizeof(out), at), sizeof(out));
	}
	SAME(pwrite(fd, "last", 4, end - 4), 4);
	SAME(size_of(fd), end);
	OK(fsync(fd));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	for (shift = 12; shift <= 43; shift++) {
		at = (1ll << shift) - 4;
		pattern_fill(out, sizeof(out), shift, 0);
		SAME(pread(fd, in, sizeof(in), at), sizeof(in));
		TRUE(!memcmp(in, out, sizeof(in)));
		if (shift > 20)
			TRUE(OK(lseek(fd, (1ll << (shift - 1)) + BLOCK, SEEK_DATA)) <= at);
	}
	SAME(lseek(fd, end - 4, SEEK_HOLE), end);
	SAME(pread(fd, in, sizeof(in), end - 4), 4);
	TRUE(!memcmp(in, "last", 4));
	TRUE(blocks(fd) < 4096);
	last_page(fd, end - BLOCK);
	beyond(fd);
	/* a hole of tebibytes costs no more than what is in it */
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 20, end - (2 << 20)));
	SAME(pread(fd, in, sizeof(in), (1ll << 40) - 4), sizeof(in));
	TRUE(!memcmp(in, "\0\0\0\0\0\0\0\0", 8));
	SAME(pread(fd, in, 4, end - 4), 4);
	TRUE(!memcmp(in, "last", 4));
	OK(ftruncate(fd, 1 << 20));
	OK(ftruncate(fd, end));
	SAME(pread(fd, in, 4, end - 4), 4);
	TRUE(!memcmp(in, "\0\0\0\0", 4));
	OK(close(fd));
}

const struct posix_case posix_space_cases[] = {
	{"fallocate_modes", fallocate_modes},
	{"fallocate_shifts", fallocate_shifts},
	{"random_holes", random_holes},
	{"far_offsets", far_offsets},
	{NULL, NULL},
};
