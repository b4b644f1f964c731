/* SPDX-License-Identifier: MIT */
/*
 * env_short_test.c - system calls that do less than they were asked for, or are interrupted, as a
 * kernel may at any time: reads and writes of all kinds end up whole, and so does a store on them.
 *
 * The linker puts the calls below in the place of the C library's and liburing's (--wrap). Every
 * one is answered short, or with EINTR, as a generator with a seed says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "env.h"
#include "kv.h"

#define FILE_SIZE (1u << 20)
#define WRITES 300u
#define KEYS 400u
#define VALUE_SIZE 9000u

static atomic_bool disturbing;
static _Atomic uint64_t number;
static atomic_uint cut_short, interrupted, cut_in_ring;

/* From any thread. */
static unsigned choose(unsigned bound)
{
	uint64_t x = atomic_fetch_add(&number, UINT64_C(0x9e3779b97f4a7c15));

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (unsigned)((x ^ x >> 31) % bound);
}

static bool interrupts(void)
{
	if (!atomic_load(&disturbing) || choose(4))
		return false;
	atomic_fetch_add(&interrupted, 1);
	errno = EINTR;
	return true;
}

/* At least one byte, of whole blocks around the page cache. */
static size_t shortened(int fd, size_t size)
{
	size_t unit = fcntl(fd, F_GETFL) & O_DIRECT ? ENV_DIRECT_ALIGN : 1;

	if (!atomic_load(&disturbing) || size <= unit || choose(2))
		return size;
	atomic_fetch_add(&cut_short, 1);
	return (1 + choose((unsigned)(size / unit - (unit > 1)))) * unit;
}

ssize_t __real_pwritev2(int fd, const struct iovec *parts, int count, off_t position, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *parts, int count, off_t position, int flags);
ssize_t __real_pread(int fd, void *buffer, size_t size, off_t position);
ssize_t __wrap_pread(int fd, void *buffer, size_t size, off_t position);
ssize_t __real_pread64(int fd, void *buffer, size_t size, off_t position);
ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t position);
int __real_fallocate64(int fd, int mode, off_t position, off_t size);
int __wrap_fallocate64(int fd, int mode, off_t position, off_t size);
ssize_t __real_pwritev64v2(int fd, const struct iovec *parts, int count, off_t position, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *parts, int count, off_t position, int flags);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);

ssize_t __wrap_pwritev2(int fd, const struct iovec *parts, int count, off_t position, int flags)
{
	struct iovec part = *parts;

	if (interrupts())
		return -1;
	if (count != 1)
		return __real_pwritev2(fd, parts, count, position, flags);
	part.iov_len = shortened(fd, part.iov_len);
	return __real_pwritev2(fd, &part, 1, position, flags);
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *parts, int count, off_t position, int flags)
{
	struct iovec part = *parts;

	if (interrupts())
		return -1;
	if (count != 1)
		return __real_pwritev64v2(fd, parts, count, position, flags);
	part.iov_len = shortened(fd, part.iov_len);
	return __real_pwritev64v2(fd, &part, 1, position, flags);
}

ssize_t __wrap_pread(int fd, void *buffer, size_t size, off_t position)
{
	return interrupts() ? -1 : __real_pread(fd, buffer, shortened(fd, size), position);
}

ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t position)
{
	return interrupts() ? -1 : __real_pread64(fd, buffer, shortened(fd, size), position);
}

int __wrap_fallocate64(int fd, int mode, off_t position, off_t size)
{
	return interrupts() ? -1 : __real_fallocate64(fd, mode, position, size);
}

/* What waits to be submitted is made shorter; or nothing is submitted yet. */
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
	unsigned tail = ring->sq.sqe_tail, blocks;
	struct io_uring_sqe *sqe = &ring->sq.sqes[(tail - 1) & ring->sq.ring_mask];

	if (interrupts())
		return -EINTR;
	if (atomic_load(&disturbing) && tail != ring->sq.sqe_head &&
		sqe->opcode == IORING_OP_WRITE_FIXED) {
		blocks = sqe->len / ENV_DIRECT_ALIGN;
		if (blocks > 1 && choose(2)) {
			sqe->len = (1 + choose(blocks - 1)) * ENV_DIRECT_ALIGN;
			atomic_fetch_add(&cut_in_ring, 1);
		}
	}
	return __real_io_uring_submit_and_wait(ring, count);
}

/* ---- a directory ----------------------------------------------------------------------------- */

static char parent[256], path[300];

static int setup(void **state)
{
	const char *folder = getenv("TMPDIR");

	snprintf(parent, sizeof(parent), "%s/env_short_test.XXXXXX", folder ? folder : "/tmp");
	assert_non_null(mkdtemp(parent));
	snprintf(path, sizeof(path), "%s/store", parent);
	atomic_store(&number, 1);
	return 0;
}

static int teardown(void **state)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	atomic_store(&disturbing, false);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
	closedir(dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(parent), 0);
	return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void write_some(
	struct kv_env *env, struct env_file *file, uint8_t *buffer, uint8_t *expected)
{
	/*
	 * Half of them as the log is written, whole blocks from its own buffer; some large enough
	 * for the ring.
	 */
	unsigned unit = choose(2) ? ENV_DIRECT_ALIGN : 1;
	size_t position = (size_t)choose(FILE_SIZE / unit) * unit;
	size_t size = (1 + (size_t)choose((unsigned)((FILE_SIZE - position) / unit))) * unit;

	for (size_t i = 0; i < size; i += 61)
		buffer[position + i] = (uint8_t)choose(256);
	memcpy(expected + position, buffer + position, size);
	assert_int_equal(
		env->file_write(file, buffer + position, size, position, choose(3) == 0), 0);
}

static void test_files(void **state)
{
	struct kv_env *env = env_system();
	uint8_t *expected = calloc(1, FILE_SIZE), *got = malloc(FILE_SIZE);
	struct env_file *file;
	struct env_dir *dir;
	void *buffer;

	assert_true(expected && got);
	assert_int_equal(env->dir_create(env, path), 0);
	assert_int_equal(env->dir_open(env, path, &dir), 0);
	assert_int_equal(env->buffer_new(env, FILE_SIZE, &buffer), 0);
	assert_int_equal(env->file_open(dir, "file", ENV_CREATE | ENV_DIRECT, &file), 0);
	atomic_store(&disturbing, true);
	assert_int_equal(env->file_allocate(file, FILE_SIZE), 0);
	for (unsigned i = 0; i < WRITES; i++) {
		write_some(env, file, buffer, expected);
		if (i % 10)
			continue;
		assert_int_equal(env->file_read(file, got, FILE_SIZE, 0), 0);
		assert_memory_equal(got, expected, FILE_SIZE);
	}
	assert_int_equal(env->file_read(file, got, 100, FILE_SIZE - 50), -ENODATA);
	atomic_store(&disturbing, false);
	assert_true(
		atomic_load(&cut_short) > WRITES / 10 && atomic_load(&interrupted) > WRITES / 10);
	env->file_close(file);
	env->buffer_free(env, buffer, FILE_SIZE);
	env->dir_close(dir);
	free(expected);
	free(got);
}

/* ---- a store --------------------------------------------------------------------------------- */

static void value_of(unsigned key, uint8_t value[VALUE_SIZE])
{
	for (unsigned i = 0; i < VALUE_SIZE; i++)
		value[i] = (uint8_t)(key * 37 + i * 11 + (i >> 7));
}

static void must_be_whole(struct kv *kv)
{
	static uint8_t expected[VALUE_SIZE];
	struct kv_slice value;
	uint64_t findings;

	kv_read_begin(kv);
	for (unsigned i = 0; i < KEYS; i++) {
		value_of(i, expected);
		assert_int_equal(kv_get(kv, 0, &i, sizeof(i), &value), 0);
		assert_int_equal(value.size, VALUE_SIZE);
		assert_memory_equal(value.data, expected, VALUE_SIZE);
	}
	kv_read_end(kv);
	assert_int_equal(kv_check(kv, NULL, NULL, NULL, NULL, &findings), 0);
	assert_int_equal(findings, 0);
}

static void test_store(void **state)
{
	static const struct kv_keyspace_spec keyspaces[] = {{"ordered", true}};
	struct kv_create_options create = {
		.keyspaces = keyspaces, .keyspace_count = 1, .segment_size = 1 << 20};
	struct kv_open_options open = {.resident_size = 1};
	static uint8_t value[VALUE_SIZE];
	struct kv *kv;

	atomic_store(&disturbing, true);
	assert_int_equal(kv_create(NULL, path, &create, NULL, NULL), 0);
	assert_int_equal(kv_open(NULL, path, &open, &kv), 0);
	for (unsigned i = 0; i < 2 * KEYS; i++) {
		unsigned key = i % KEYS;

		value_of(key, value);
		assert_int_equal(kv_put(kv, 0, &key, sizeof(key), value, VALUE_SIZE, NULL), 0);
		if (i % 50 == 49)
			assert_int_equal(kv_sync(kv, kv_last_seq(kv)), 0);
	}
	assert_int_equal(kv_prune(kv, NULL, NULL, NULL, NULL), 0);
	must_be_whole(kv);
	assert_int_equal(kv_close(kv), 0);
	assert_int_equal(kv_open(NULL, path, &open, &kv), 0);
	must_be_whole(kv);
	assert_int_equal(kv_close(kv), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store, setup, teardown),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	printf("# %u calls cut short, %u interrupted, %u cut short in the ring\n",
		atomic_load(&cut_short), atomic_load(&interrupted), atomic_load(&cut_in_ring));
	return failed;
}
