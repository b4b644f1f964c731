/* SPDX-License-Identifier: MIT */
/*
 * env_ring.c - large writes through io_uring, from memory that is registered with it.
 *
 * What the ring saves is the pinning of the pages of every write: they are pinned once, when the
 * buffer is registered. From 64 KiB on this is worth more than the ring costs (DESIGN.md);
 * below, a system call is faster. A registered file saved nothing that could be measured and costs
 * two system calls per file.
 *
 * A write that the disk has not answered outlives the process that is killed in it: the kernel
 * closes the process's descriptors, and with them a store's lock would go, while the write still
 * may reach the disk, on top of what the next one to open the store has written there. So the files
 * that hold locks are registered with the ring: it is given back, and they with it, after its last
 * request.
 *
 * Owns: the process's ring, made with the first buffer or lock and never freed, and the tables of
 * its buffers and held files. Threads: everything is protected by ring_lock (rank: below every lock
 * of the engine). A writer that finds it taken does not wait for somebody else's I/O but uses a
 * system call.
 */
#include "env_ring.h"
#include "kv.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_ENTRIES 4u
#define BUFFERS_MAX 64u
#define HELD_MAX 64u
#define HUGE_PAGE_SIZE ((size_t)2 << 20)
#define BUFFER_SIZE_MAX ((size_t)1 << 30) /* the kernel's limit for one registration */

static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static struct io_uring ring; /* protected by ring_lock, as all below */
static enum { RING_UNTRIED, RING_ABSENT, RING_READY } ring_state;
static struct iovec buffers[BUFFERS_MAX]; /* iov_len 0: free */
static int held[HELD_MAX];		  /* the number + 1 of a descriptor; 0: free */
static unsigned unheld;			  /* locks that the ring does not hold: nothing is
					     written through it */

/*
 * All that this ring ever does, as no filter of system calls sees what is asked of it; and lets it
 * begin. By system calls: the library has not exported these functions from the start.
 */
static int ring_enable(void)
{
	struct io_uring_restriction only[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE_FIXED},
		{.opcode = IORING_RESTRICTION_REGISTER_OP,
			.register_op = IORING_REGISTER_BUFFERS_UPDATE},
		{.opcode = IORING_RESTRICTION_REGISTER_OP,
			.register_op = IORING_REGISTER_FILES_UPDATE},
	};
	long rc = syscall(SYS_io_uring_register, ring.ring_fd, IORING_REGISTER_RESTRICTIONS, only,
		sizeof(only) / sizeof(only[0]));

	if (rc >= 0)
		rc = syscall(
			SYS_io_uring_register, ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return rc < 0 ? -errno : 0;
}

/* Kernels before 5.19, and sandboxes without io_uring, have no ring: the caller then writes
 * without. */
static void ring_start(void)
{
	if (ring_state != RING_UNTRIED)
		return;
	ring_state = RING_ABSENT;
	if (io_uring_queue_init(RING_ENTRIES, &ring, IORING_SETUP_R_DISABLED) < 0)
		return;
	if (io_uring_register_buffers_sparse(&ring, BUFFERS_MAX) < 0 ||
		io_uring_register_files_sparse(&ring, HELD_MAX) < 0 || ring_enable() < 0) {
		io_uring_queue_exit(&ring);
		return;
	}
	ring_state = RING_READY;
}

void kv_env_prepare(void)
{
	pthread_mutex_lock(&ring_lock);
	ring_start();
	pthread_mutex_unlock(&ring_lock);
}

static int slot_update(unsigned slot, void *base, size_t size)
{
	struct iovec vector = {.iov_base = base, .iov_len = size};
	__u64 tag = 0; /* no notice when the kernel has let go of what was there */

	return io_uring_register_buffers_update_tag(&ring, slot, &vector, &tag, 1);
}

static void buffer_register(void *base, size_t size)
{
	pthread_mutex_lock(&ring_lock);
	ring_start();
	for (unsigned i = 0; ring_state == RING_READY && i < BUFFERS_MAX; i++) {
		if (buffers[i].iov_len > 0)
			continue;
		if (slot_update(i, base, size) == 1)
			buffers[i] = (struct iovec){.iov_base = base, .iov_len = size};
		break;
	}
	pthread_mutex_unlock(&ring_lock);
}

static void buffer_unregister(void *base)
{
	pthread_mutex_lock(&ring_lock);
	for (unsigned i = 0; i < BUFFERS_MAX; i++) {
		if (buffers[i].iov_len == 0 || buffers[i].iov_base != base)
			continue;
		slot_update(i, NULL, 0);
		buffers[i].iov_len = 0;
		break;
	}
	pthread_mutex_unlock(&ring_lock);
}

void env_ring_hold(int fd)
{
	unsigned i;

	pthread_mutex_lock(&ring_lock);
	ring_start();
	for (i = 0; i < HELD_MAX && held[i] != 0; i++)
		;
	if (ring_state == RING_READY) {
		if (i < HELD_MAX && io_uring_register_files_update(&ring, i, &fd, 1) == 1)
			held[i] = fd + 1;
		else
			unheld++;
	}
	pthread_mutex_unlock(&ring_lock);
}

void env_ring_let_go(int fd)
{
	int none = -1;
	unsigned i;

	pthread_mutex_lock(&ring_lock);
	for (i = 0; i < HELD_MAX && held[i] != fd + 1; i++)
		;
	if (i < HELD_MAX) {
		(void)io_uring_register_files_update(&ring, i, &none, 1);
		held[i] = 0;
	} else if (unheld > 0) {
		unheld--;
	}
	pthread_mutex_unlock(&ring_lock);
}

/* `size` bytes at a multiple of 2 MiB: only there can a huge page be put. */
static void *map_huge(size_t size)
{
	size_t room = size + HUGE_PAGE_SIZE;
	char *base = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (base == MAP_FAILED)
		return MAP_FAILED;
	before = -(uintptr_t)base & (HUGE_PAGE_SIZE - 1);
	if (before > 0)
		munmap(base, before);
	munmap(base + before + size, room - before - size);
	madvise(base + before, size, MADV_HUGEPAGE);
	return base + before;
}

static size_t buffer_room(size_t size)
{
	size_t unit = size >= HUGE_PAGE_SIZE ? HUGE_PAGE_SIZE : 4096;

	return (size + unit - 1) & ~(unit - 1);
}

int env_buffer_new(size_t size, void **out)
{
	size_t room = buffer_room(size);
	void *base;

	if (size == 0 || size > BUFFER_SIZE_MAX)
		return -EINVAL;
	base = room >= HUGE_PAGE_SIZE ? map_huge(room)
				      : mmap(NULL, room, PROT_READ | PROT_WRITE,
						MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return -ENOMEM;
	/* Touched now: a fresh page costs its first writer several microseconds. */
	madvise(base, room, MADV_POPULATE_WRITE);
	buffer_register(base, room);
	*out = base;
	return 0;
}

void env_buffer_free(void *buffer, size_t size)
{
	if (!buffer)
		return;
	buffer_unregister(buffer);
	munmap(buffer, buffer_room(size));
}

/* The slot whose buffer holds all of the data, or -1. */
static int slot_find(const void *data, size_t size)
{
	for (unsigned i = 0; i < BUFFERS_MAX; i++) {
		size_t offset = (size_t)((uintptr_t)data - (uintptr_t)buffers[i].iov_base);

		if (offset < buffers[i].iov_len && size <= buffers[i].iov_len - offset)
			return (int)i;
	}
	return -1;
}

static ssize_t ring_write_slot(
	int slot, int fd, const void *data, size_t size, uint64_t position, bool durable)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct io_uring_cqe *cqe;
	ssize_t result;

	if (!sqe)
		return -EBUSY;
	io_uring_prep_write_fixed(sqe, fd, data, (unsigned)size, position, slot);
	if (durable)
		sqe->rw_flags = RWF_DSYNC;
	do {
		result = io_uring_submit_and_wait(&ring, 1);
	} while (result == -EINTR || result == -EAGAIN);
	if (result >= 0)
		do {
			result = io_uring_wait_cqe(&ring, &cqe);
		} while (result == -EINTR || result == -EAGAIN);
	if (result < 0) {
		/* The request may still be in the queue: nothing may follow it. */
		ring_state = RING_ABSENT;
		return -EIO;
	}
	result = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	return result;
}

ssize_t env_ring_write(int fd, const void *data, size_t size, uint64_t position, bool durable)
{
	ssize_t result = -EBUSY;
	int slot;

	if (pthread_mutex_trylock(&ring_lock) != 0)
		return -EBUSY;
	slot = ring_state == RING_READY && unheld == 0 ? slot_find(data, size) : -1;
	if (slot >= 0)
		result = ring_write_slot(slot, fd, data, size, position, durable);
	pthread_mutex_unlock(&ring_lock);
	return result;
}
