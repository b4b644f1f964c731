/* SPDX-License-Identifier: MIT */
/*
 * posix_contents.c - bytes in files: written, overwritten, cut, extended, left out, appended
 */
#include "posix.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#define IMAGE_SIZE (3u << 20) /* bytes, of the file that the random test keeps a copy of */

static void write_and_read(void)
{
	static const size_t sizes[] = {1, 7, 8, 100, 511, 512, 4095, 4096, 4097, 65535, 65536,
		131072, 131073, 1048575, 1048576, 1048577, 5000000};
	unsigned char *out = malloc(5000000), *in = malloc(5000000 + 1);
	struct stat st;
	size_t i;
	int fd;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		pattern_fill(out, sizes[i], i, 0);
		fd = OK(open("file", O_RDWR | O_CREAT | O_TRUNC, 0644));
		SAME(write(fd, out, sizes[i]), sizes[i]);
		OK(fstat(fd, &st));
		SAME(st.st_size, sizes[i]);
		OK(close(fd));
		fd = OK(open("file", O_RDONLY));
		OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
		SAME(pread(fd, in, sizes[i] + 1, 0), sizes[i]);
		TRUE(!memcmp(in, out, sizes[i]));
		SAME(pread(fd, in, 10, sizes[i]), 0);
		SAME(pread(fd, in, 10, sizes[i] + 100000), 0);
		OK(close(fd));
	}
	fd = OK(open("file", O_RDONLY));
	FAILS(write(fd, out, 1), EBADF);
	close(fd);
	fd = OK(open("file", O_WRONLY));
	FAILS(read(fd, in, 1), EBADF);
	FAILS(pwrite(fd, out, 1, -1), EINVAL);
	close(fd);
	free(out);
	free(in);
}

/* A thousand steps of writes, cuts, maps, holes and reads against a copy in memory. */
struct image {
	unsigned char *bytes; /* beyond `size`: zeros */
	size_t size;
	unsigned seed; /* random state */
	int fd;
};

static size_t image_pick(struct image *image, size_t *length)
{
	size_t position = random_next(&image->seed) % IMAGE_SIZE;
	size_t longest = random_next(&image->seed) % 4 ? 9000 : 300000;

	*length = 1 + random_next(&image->seed) % longest;
	if (*length > IMAGE_SIZE - position)
		*length = IMAGE_SIZE - position;
	return position;
}

static void image_write(struct image *image)
{
	size_t length, position = image_pick(image, &length);

	pattern_fill(image->bytes + position, length, image->seed, position);
	SAME(pwrite(image->fd, image->bytes + position, length, position), length);
	if (position + length > image->size)
		image->size = position + length;
}

static void image_truncate(struct image *image)
{
	size_t length, size = image_pick(image, &length);

	if (size < image->size)
		memset(image->bytes + size, 0, image->size - size);
	OK(ftruncate(image->fd, size));
	image->size = size;
}

static void image_map(struct image *image)
{
	size_t length, position = image_pick(image, &length);
	unsigned char *map;

	if (position + length > image->size)
		return;
	map = mmap(NULL, image->size, PROT_READ | PROT_WRITE, MAP_SHARED, image->fd, 0);
	TRUE(map != MAP_FAILED);
	TRUE(!memcmp(map + position, image->bytes + position, length));
	pattern_fill(image->bytes + position, length, image->seed, position);
	memcpy(map + position, image->bytes + position, length);
	if (random_next(&image->seed) % 2)
		OK(msync(map, image->size, MS_SYNC));
	OK(munmap(map, image->size));
}

static void image_compare(struct image *image, size_t position, size_t length)
{
	static unsigned char in[IMAGE_SIZE + 1];
	size_t i, expected;
	ssize_t size = OK(pread(image->fd, in, length, position));

	expected = position >= image->size ? 0 : image->size - position;
	if (expected > length)
		expected = length;
	SAME(size, expected);
	for (i = 0; i < expected; i++)
		if (in[i] != image->bytes[position + i])
			FAIL("byte %zu of %zu is %02x, expected %02x (seed %u)", position + i,
				image->size, in[i], image->bytes[position + i], image->seed);
}

static void image_reopen(struct image *image)
{
	OK(close(image->fd));
	image->fd = OK(open("file", O_RDWR));
	SAME(file_stat("file").st_size, image->size);
	OK(fsync(image->fd));
	OK(posix_fadvise(image->fd, 0, 0, POSIX_FADV_DONTNEED));
}

static void random_changes(void)
{
	struct image image = {.bytes = calloc(1, IMAGE_SIZE), .seed = 42};
	int i, steps = posix_quick ? 1500 : 10000;
	size_t position, length;

	image.fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	for (i = 0; i < steps; i++) {
		switch (random_next(&image.seed) % 16) {
		case 0 ... 6:
			image_write(&image);
			break;
		case 7:
			image_truncate(&image);
			break;
		case 8 ... 9:
			image_map(&image);
			break;
		case 10:
			image_reopen(&image);
			break;
		default:
			position = image_pick(&image, &length);
			image_compare(&image, position, length);
		}
		if (i % 500 == 499)
			image_compare(&image, 0, IMAGE_SIZE + 1);
	}
	image_compare(&image, 0, IMAGE_SIZE + 1);
	close(image.fd);
	free(image.bytes);
}

static void expect_zeros(int fd, off_t position, size_t size)
{
	unsigned char in[65536];
	size_t i, n = OK(pread(fd, in, size, position));

	SAME(n, size);
	for (i = 0; i < n; i++)
		if (in[i])
			FAIL("byte %lld is %02x, expected a hole",
				(long long)position + (long long)i, in[i]);
}

static void sparse_file(void)
{
	const off_t gib = 1 << 30;
	off_t position;
	struct stat st;
	int fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	char byte;

	SAME(pwrite(fd, "x", 1, gib), 1);
	SAME(pwrite(fd, "y", 1, 4 * gib + 17), 1);
	OK(fsync(fd));
	OK(fstat(fd, &st));
	SAME(st.st_size, 4 * gib + 18);
	TRUE(st.st_blocks * 512 < 4 << 20);
	expect_zeros(fd, 0, 65536);
	expect_zeros(fd, gib - 65536, 65536);
	expect_zeros(fd, gib + 1, 65536);
	expect_zeros(fd, 4 * gib, 17);
	SAME(pread(fd, &byte, 1, gib), 1);
	SAME(byte, 'x');
	SAME(pread(fd, &byte, 1, 4 * gib + 17), 1);
	SAME(byte, 'y');

	/* what is data may be rounded, but data is never called a hole */
	position = OK(lseek(fd, 0, SEEK_DATA));
	TRUE(position <= gib);
	position = OK(lseek(fd, gib, SEEK_HOLE));
	TRUE(position > gib);
	position = OK(lseek(fd, gib + 1, SEEK_DATA));
	TRUE(position <= 4 * gib + 17);
	SAME(lseek(fd, 4 * gib + 17, SEEK_HOLE), 4 * gib + 18);
	FAILS(lseek(fd, 4 * gib + 18, SEEK_DATA), ENXIO);

	/* the end of the address range that ext4 has as well */
	SAME(pwrite(fd, "z", 1, 15ll << 40), 1);
	OK(fstat(fd, &st));
	SAME(st.st_size, (15ll << 40) + 1);
	SAME(pread(fd, &byte, 1, 15ll << 40), 1);
	SAME(byte, 'z');
	OK(ftruncate(fd, 0));
	OK(fsync(fd));
	OK(fstat(fd, &st));
	SAME(st.st_blocks, 0);
	close(fd);
}

static void truncate_file(void)
{
	unsigned char out[200000];
	struct stat st;
	int fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	static const off_t cuts[] = {150000, 131072, 70001, 65536, 4096, 100, 1, 0};
	size_t i;

	for (i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		pattern_fill(out, sizeof(out), i, 0);
		SAME(pwrite(fd, out, sizeof(out), 0), sizeof(out));
		OK(ftruncate(fd, cuts[i]));
		OK(fstat(fd, &st));
		SAME(st.st_size, cuts[i]);
		OK(ftruncate(fd, sizeof(out)));
		expect_zeros(fd, cuts[i], 50000);
		if (cuts[i]) {
			unsigned char last;

			SAME(pread(fd, &last, 1, cuts[i] - 1), 1);
			SAME(last, out[cuts[i] - 1]);
		}
	}
	OK(truncate("file", 5));
	SAME(file_stat("file").st_size, 5);
	FAILS(truncate("file", -1), EINVAL);
	FAILS(truncate("nothing", 0), ENOENT);
	OK(mkdir("dir", 0755));
	FAILS(truncate("dir", 0), EISDIR);
	close(fd);
	fd = OK(open("file", O_RDONLY));
	FAILS(ftruncate(fd, 0), EINVAL);
	close(fd);
	fd = OK(open("file", O_WRONLY | O_TRUNC));
	SAME(file_stat("file").st_size, 0);
	close(fd);
}

static void size_limit(void)
{
	struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
	int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

	signal(SIGXFSZ, SIG_IGN);
	OK(setrlimit(RLIMIT_FSIZE, &limit));
	FAILS(pwrite(fd, "x", 1, 1 << 20), EFBIG);
	FAILS(ftruncate(fd, (1 << 20) + 1), EFBIG);
	SAME(pwrite(fd, "xyz", 3, (1 << 20) - 1), 1);
	SAME(file_stat("file").st_size, 1 << 20);
	close(fd);
}

#define APPENDERS 8

struct record {
	int writer, number;
	unsigned char rest[112];
};

static void append_records(void *arg)
{
	int i, fd = OK(open("log", O_WRONLY | O_APPEND));
	struct record record = {.writer = *(int *)arg};

	for (i = 0; i < 500; i++) {
		record.number = i;
		pattern_fill(record.rest, sizeof(record.rest), record.writer * 1000 + i, 0);
		SAME(write(fd, &record, sizeof(record)), sizeof(record));
	}
	close(fd);
}

/* Many processes append to one file: every record whole, each once, each writer's in its order. */
static void append_by_many(void)
{
	int i, numbers[APPENDERS] = {0}, writer[APPENDERS], fd;
	unsigned char rest[112];
	struct record record;
	pid_t children[APPENDERS];

	close(OK(open("log", O_WRONLY | O_CREAT, 0644)));
	for (i = 0; i < APPENDERS; i++) {
		writer[i] = i;
		children[i] = child_start(append_records, &writer[i]);
	}
	for (i = 0; i < APPENDERS; i++)
		child_wait(children[i]);
	SAME(file_stat("log").st_size, APPENDERS * 500 * sizeof(record));
	fd = OK(open("log", O_RDONLY));
	while (OK(read(fd, &record, sizeof(record))) == sizeof(record)) {
		TRUE(record.writer >= 0 && record.writer < APPENDERS);
		SAME(record.number, numbers[record.writer]++);
		pattern_fill(rest, sizeof(rest), record.writer * 1000 + record.number, 0);
		TRUE(!memcmp(rest, record.rest, sizeof(rest)));
	}
	for (i = 0; i < APPENDERS; i++)
		SAME(numbers[i], 500);
	close(fd);
}

static void append_ignores_offset(void)
{
	int fd = OK(open("file", O_RDWR | O_CREAT | O_APPEND, 0644));

	SAME(write(fd, "one", 3), 3);
	OK(lseek(fd, 0, SEEK_SET));
	SAME(write(fd, "two", 3), 3);
	SAME(lseek(fd, 0, SEEK_CUR), 6);
	TEXT("file", "onetwo");
	OK(ftruncate(fd, 3));
	SAME(write(fd, "3", 1), 1);
	TEXT("file", "one3");
	close(fd);
}

static void vectors_and_copies(void)
{
	struct iovec parts[3] = {{"one ", 4}, {"", 0}, {"two", 3}};
	static unsigned char out[300000], in[300000];
	int from = OK(open("from", O_RDWR | O_CREAT, 0644));
	int to = OK(open("to", O_RDWR | O_CREAT, 0644));
	off_t position = 0;
	ssize_t n;
	size_t done;

	SAME(writev(from, parts, 3), 7);
	TEXT("from", "one two");
	pattern_fill(out, sizeof(out), 3, 0);
	SAME(pwrite(from, out, sizeof(out), 0), sizeof(out));
	for (done = 0; done < sizeof(out); done += n) {
		n = OK(sendfile(to, from, &position, sizeof(out) - done));
		TRUE(n > 0);
	}
	SAME(pread(to, in, sizeof(in), 0), sizeof(in));
	TRUE(!memcmp(in, out, sizeof(in)));
	OK(ftruncate(to, 0));
	for (position = 0; position < (off_t)sizeof(out);)
		TRUE(OK(copy_file_range(from, &position, to, &(off_t){position}, 100000, 0)) > 0);
	SAME(pread(to, in, sizeof(in), 0), sizeof(in));
	TRUE(!memcmp(in, out, sizeof(in)));
	close(from);
	close(to);
}

const struct posix_case posix_content_cases[] = {
	{"write_and_read", write_and_read},
	{"random_changes", random_changes},
	{"sparse_file", sparse_file},
	{"truncate_file", truncate_file},
	{"size_limit", size_limit},
	{"append_by_many", append_by_many},
	{"append_ignores_offset", append_ignores_offset},
	{"vectors_and_copies", vectors_and_copies},
	{NULL, NULL},
};
