/* SPDX-License-Identifier: MIT */
/*
 * env_system.c - the operating system behind the table of env.h.
 *
 * Every name is opened relative to the store's directory, never through a symlink, and every
 * descriptor is closed on exec. A file that was opened with ENV_DIRECT has a second descriptor that
 * goes around the page cache, for the writes that are aligned for it; reads, maps and syncs use the
 * first one. The kernel keeps the two coherent: a direct write flushes and drops the pages it
 * covers before it starts and drops them again when it is done. Which call writes what, and the
 * measurements behind it, is in DESIGN.md.
 *
 * Owns: descriptors. The process-wide state (SIGBUS, the ring) is env_map.c's and env_ring.c's.
 * Threads: a file has no state but its descriptors, which never change, and `unsynced`.
 */
#include "env.h"
#include "env_dir.h"
#include "env_lock.h"
#include "env_map.h"
#include "env_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE 0600
#define STAT_BLOCK_SIZE 512u       /* bytes; of st_blocks, whatever the file system's own */
#define ZEROS_SIZE 65536u          /* bytes */
#define WILLNEED_SIZE_MAX 131072u  /* bytes */
#define RING_WRITE_SIZE_MIN 65536u /* bytes; below, a system call is faster than the ring */
#define DIRECT_READ_MIN ((size_t)1 << 20)

struct env_file {
	struct env_dir *dir;
	int fd;
	int direct_fd; /* O_DIRECT on the same file, or -1 */
	struct env_lock lock;
	/*
	 * Something was changed that no sync has covered yet. Set after a change is done, cleared
	 * before a sync starts: a change that overlaps a sync is left to the next one.
	 */
	atomic_bool unsynced;
};

/* ---- files ----------------------------------------------------------------------------------- */

/* What the file system asks of a direct write must not exceed what callers are promised to be
 * asked. */
static bool direct_is_possible(int fd)
{
	struct statx info;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) < 0 ||
		!(info.stx_mask & STATX_DIOALIGN))
		return false;
	return info.stx_dio_offset_align > 0 && info.stx_dio_offset_align <= ENV_DIRECT_ALIGN &&
	       info.stx_dio_mem_align <= ENV_DIRECT_ALIGN;
}

/* A descriptor around the page cache for the file behind `info`, or -1: then all goes through it.
 */
static int direct_open(struct env_dir *dir, const char *name, const struct stat *info)
{
	int fd = openat(dir->fd, name, O_RDWR | O_DIRECT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat again;

	if (fd < 0)
		return -1;
	if (fstat(fd, &again) < 0 || again.st_dev != info->st_dev || again.st_ino != info->st_ino ||
		!direct_is_possible(fd)) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * To a file that was just created: the mode is what it says, not what somebody's umask leaves of
 * it; and what root creates in somebody else's store is that user's, who could not open it
 * otherwise. Where no mode can be set it stays: on a file system that has none, and of a process
 * that has given that up.
 */
static int created_settle(struct env_dir *dir, int fd)
{
	struct stat parent, info;

	if (fstat(dir->fd, &parent) < 0 || fstat(fd, &info) < 0)
		return -errno;
	if ((info.st_mode & 07777) != FILE_MODE && fchmod(fd, FILE_MODE) < 0 && errno != EPERM)
		return -errno;
	if (geteuid() != 0)
		return 0;
	/* Some file systems have one owner for all. */
	if (parent.st_uid == 0 || info.st_uid == parent.st_uid)
		return 0;
	return fchown(fd, parent.st_uid, parent.st_gid) < 0 ? -errno : 0;
}

static int system_file_open(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out)
{
	/* O_NONBLOCK: a fifo in the way must not hold us up until somebody opens its other end. */
	int how = O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	struct env_file *file;
	struct stat info;
	int result;

	if (!env_name_is_valid(name))
		return -EINVAL;
	file = malloc(sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->dir = dir;
	file->direct_fd = -1;
	env_lock_init(&file->lock);
	atomic_init(&file->unsynced, true);
	how |= flags & ENV_READ_ONLY ? O_RDONLY : O_RDWR;
	how |= flags & ENV_CREATE ? O_CREAT | O_EXCL : 0;
	file->fd = openat(dir->fd, name, how, FILE_MODE);
	if (file->fd < 0) {
		result = errno == EISDIR || errno == ENXIO ? -EINVAL : -errno;
		goto out_free;
	}
	result = flags & ENV_CREATE ? created_settle(dir, file->fd) : 0;
	if (result < 0) {
		(void)unlinkat(dir->fd, name, 0);
		goto out_close;
	}
	result = fstat(file->fd, &info) < 0 ? -errno : S_ISREG(info.st_mode) ? 0 : -EINVAL;
	if (result < 0)
		goto out_close;
	if ((flags & ENV_DIRECT) && !(flags & ENV_READ_ONLY))
		file->direct_fd = direct_open(dir, name, &info);
	*out = file;
	return 0;
out_close:
	close(file->fd);
out_free:
	free(file);
	return result;
}

static int system_file_lock(struct env_file *file, bool exclusive)
{
	return env_lock_take(&file->lock, file->dir->fd, file->fd, exclusive);
}

static void system_file_close(struct env_file *file)
{
	if (!file)
		return;
	env_lock_release(&file->lock, file->fd);
	if (file->direct_fd >= 0)
		close(file->direct_fd);
	close(file->fd);
	free(file);
}

static int system_file_size(struct env_file *file, uint64_t *size)
{
	struct stat info;

	if (fstat(file->fd, &info) < 0)
		return -errno;
	*size = (uint64_t)info.st_size;
	return 0;
}

static uint64_t system_file_size_max(struct kv_env *env)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX :
										   limit.rlim_cur;
}

static int write_zeros(int fd, uint64_t position, uint64_t end)
{
	static const char zeros[ZEROS_SIZE];

	while (position < end) {
		uint64_t left = end - position;
		ssize_t length =
			pwrite(fd, zeros, left < ZEROS_SIZE ? left : ZEROS_SIZE, (off_t)position);

		if (length < 0 && errno != EINTR)
			return -errno;
		if (length > 0)
			position += (uint64_t)length;
	}
	return 0;
}

/*
 * Where the file system cannot allocate, zeros are written from the end on: holes in what is there
 * already stay holes, but the engine's files have none.
 */
static int system_file_allocate(struct env_file *file, uint64_t size)
{
	uint64_t size_before;
	int result = system_file_size(file, &size_before);

	if (result < 0)
		return result;
	do {
		result = fallocate(file->fd, 0, 0, (off_t)size) < 0 ? -errno : 0;
	} while (result == -EINTR);
	if (result == -EOPNOTSUPP)
		result = write_zeros(file->fd, size_before, size);
	if (result == 0 && size < size_before && ftruncate(file->fd, (off_t)size) < 0)
		result = -errno;
	/* A disk that filled up on the way leaves a part. */
	if (result < 0 && size > size_before && ftruncate(file->fd, (off_t)size_before) < 0)
		result = -EIO;
	atomic_store(&file->unsynced, true);
	return result;
}

static int change_space(struct env_file *file, int mode, uint64_t from, uint64_t end)
{
	int result;

	do {
		result = from < end && fallocate(file->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)from,
						 (off_t)(end - from)) < 0 ?
				 -errno :
				 0;
	} while (result == -EINTR);
	atomic_store(&file->unsynced, true);
	return result == -ENOSYS ? -EOPNOTSUPP : result;
}

static int system_file_release(struct env_file *file, uint64_t from)
{
	uint64_t size;
	int result = system_file_size(file, &size);

	return result < 0 ? result : change_space(file, FALLOC_FL_PUNCH_HOLE, from, size);
}

/* Where the file system cannot allocate it made no hole either. */
static int system_file_restore(struct env_file *file, uint64_t end)
{
	int result = change_space(file, 0, 0, end);

	return result == -EOPNOTSUPP ? 0 : result;
}

static int system_file_allocated(struct env_file *file, uint64_t *bytes)
{
	struct stat info;

	if (fstat(file->fd, &info) < 0)
		return -errno;
	*bytes = (uint64_t)info.st_blocks * STAT_BLOCK_SIZE;
	return 0;
}

static int system_file_truncate(struct env_file *file, uint64_t size)
{
	int result = ftruncate(file->fd, (off_t)size) < 0 ? -errno : 0;

	atomic_store(&file->unsynced, true);
	return result;
}

static bool direct_is_aligned(const void *data, size_t size, uint64_t position)
{
	return (((uintptr_t)data | size | position) & (ENV_DIRECT_ALIGN - 1)) == 0;
}

static int system_file_read(struct env_file *file, void *buffer, size_t size, uint64_t position)
{
	/*
	 * What a caller takes whole into memory of his own need not be in the page cache as well.
	 */
	bool direct = file->direct_fd >= 0 && size >= DIRECT_READ_MIN &&
		      direct_is_aligned(buffer, size, position);
	char *to = buffer;

	while (size > 0) {
		ssize_t length =
			pread(direct ? file->direct_fd : file->fd, to, size, (off_t)position);

		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			return length < 0 ? -errno : -ENODATA;
		to += length;
		size -= (size_t)length;
		position += (uint64_t)length;
		direct = direct && direct_is_aligned(to, size, position);
	}
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int system_file_sync(struct env_file *file)
{
	int result;

	atomic_store(&file->unsynced, false);
	result = fdatasync(file->fd) < 0 ? -errno : 0;
	if (result < 0)
		atomic_store(&file->unsynced, true);
	return result;
}

/* One write around the page cache, as long as the kernel will make it. */
static ssize_t direct_write(int fd, const void *data, size_t size, uint64_t position, bool durable)
{
	struct iovec part = {.iov_base = (void *)data, .iov_len = size};
	ssize_t length = -EBUSY;

	if (size >= RING_WRITE_SIZE_MIN)
		length = env_ring_write(fd, data, size, position, durable);
	if (length != -EBUSY)
		return length;
	length = pwritev2(fd, &part, 1, (off_t)position, durable ? RWF_DSYNC : 0);
	return length < 0 ? -errno : length;
}

static ssize_t cached_write(int fd, const void *data, size_t size, uint64_t position, bool durable)
{
	struct iovec part = {.iov_base = (void *)data, .iov_len = size};
	ssize_t length = pwritev2(fd, &part, 1, (off_t)position, durable ? RWF_DSYNC : 0);

	return length < 0 ? -errno : length;
}

/*
 * A durable write carries its own flush (RWF_DSYNC: one system call) while nothing older waits for
 * one; otherwise the whole file is synced behind it.
 */
static int system_file_write(
	struct env_file *file, const void *data, size_t size, uint64_t position, bool sync)
{
	bool durable = sync && !atomic_load(&file->unsynced);
	const char *from = data;
	ssize_t length;

	while (size > 0) {
		if (file->direct_fd >= 0 && direct_is_aligned(from, size, position))
			length = direct_write(file->direct_fd, from, size, position, durable);
		else
			length = cached_write(file->fd, from, size, position, durable);
		if (length == -EINTR || length == -EAGAIN)
			continue;
		if (length <= 0)
			return length < 0 ? (int)length : -EIO;
		from += length;
		size -= (size_t)length;
		position += (uint64_t)length;
	}
	if (durable)
		return 0;
	if (sync)
		return system_file_sync(file);
	atomic_store(&file->unsynced, true);
	return 0;
}

/* ---- maps, memory, clock --------------------------------------------------------------------- */

static int system_file_map(struct env_file *file, size_t size, const void **out)
{
	return env_map_open(file->fd, size, out);
}

static void system_file_unmap(struct env_file *file, const void *map, size_t size)
{
	if (map)
		env_map_close(map, size);
}

static void system_map_advise(const void *start, size_t size, enum env_advice advice)
{
	static const int advices[] = {
		[ENV_ADVICE_RANDOM] = MADV_RANDOM,
		[ENV_ADVICE_SEQUENTIAL] = MADV_SEQUENTIAL,
		[ENV_ADVICE_WILLNEED] = MADV_WILLNEED,
		[ENV_ADVICE_DONTNEED] = MADV_DONTNEED,
		[ENV_ADVICE_FORGET] = MADV_PAGEOUT,
		[ENV_ADVICE_HUGE] = MADV_HUGEPAGE,
		[ENV_ADVICE_SMALL] = MADV_NOHUGEPAGE,
	};
	uintptr_t inside = (uintptr_t)start & ((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
	char *from = (char *)start - inside;

	size += inside;
	/* The kernel reads no more than this ahead with one call, and forgets the rest. */
	for (; advice == ENV_ADVICE_WILLNEED && size > WILLNEED_SIZE_MAX;
	     size -= WILLNEED_SIZE_MAX) {
		madvise(from, WILLNEED_SIZE_MAX, MADV_WILLNEED);
		from += WILLNEED_SIZE_MAX;
	}
	if (advice == ENV_ADVICE_POPULATE)
		env_map_populate(from, size);
	else
		madvise(from, size, advices[advice]);
}

static void system_map_resident(const void *start, size_t size, uint8_t *pages)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE),
	       count = (size + ENV_DIRECT_ALIGN - 1) / ENV_DIRECT_ALIGN;
	size_t i;

	/* Where that cannot be told all of it counts as wanted. */
	if (page != ENV_DIRECT_ALIGN || mincore((void *)start, size, pages)) {
		memset(pages, 1, count);
		return;
	}
	for (i = 0; i < count; i++)
		pages[i] &= 1;
}

static uint64_t system_map_faults(struct kv_env *env)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_majflt;
}

static bool system_map_failed(const void *map, size_t size)
{
	return env_map_failed(map);
}

static int system_buffer_new(struct kv_env *env, size_t size, void **out)
{
	return env_buffer_new(size, out);
}

static void system_buffer_free(struct kv_env *env, void *buffer, size_t size)
{
	env_buffer_free(buffer, size);
}

static uint64_t system_clock_us(struct kv_env *env)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static uint64_t system_time_us(struct kv_env *env)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static int system_random(struct kv_env *env, void *buffer, size_t size)
{
	char *to = buffer;

	while (size > 0) {
		ssize_t length = getrandom(to, size, 0);

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return -errno;
		to += length;
		size -= (size_t)length;
	}
	return 0;
}

static struct kv_env system_env = {
	.dir_create = env_dir_create,
	.dir_open = env_dir_open,
	.dir_close = env_dir_close,
	.dir_sync = env_dir_sync,
	.dir_list = env_dir_list,
	.dir_space = env_dir_space,
	.file_size_max = system_file_size_max,
	.file_open = system_file_open,
	.file_close = system_file_close,
	.file_size = system_file_size,
	.file_lock = system_file_lock,
	.file_allocate = system_file_allocate,
	.file_release = system_file_release,
	.file_restore = system_file_restore,
	.file_allocated = system_file_allocated,
	.file_truncate = system_file_truncate,
	.file_read = system_file_read,
	.file_write = system_file_write,
	.file_sync = system_file_sync,
	.file_map = system_file_map,
	.file_unmap = system_file_unmap,
	.map_advise = system_map_advise,
	.map_resident = system_map_resident,
	.map_faults = system_map_faults,
	.map_failed = system_map_failed,
	.buffer_new = system_buffer_new,
	.buffer_free = system_buffer_free,
	.rename = env_rename,
	.unlink = env_unlink,
	.clock_us = system_clock_us,
	.time_us = system_time_us,
	.random = system_random,
};

struct kv_env *env_system(void)
{
	return &system_env;
}
