/* SPDX-License-Identifier: MIT */
/*
 * session_rings.c - see session_rings.h.
 *
 * The library has no call that takes a ring. The linker puts ours in the place of the one that it
 * makes them by (--wrap, see meson.build); the library is linked statically wherever it has rings.
 *
 * Owns: the rings that were made and not handed out, which the end of the process frees. Threads:
 * those of the library's queues take them, so all is protected by rings_lock.
 */
#include "session_rings.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* The library's are of 9 and 18: for 8 requests, and what wakes their thread. */
#define SUBMISSIONS 16u
#define COMPLETIONS 32u
#define RING_FLAGS (IORING_SETUP_SQE128 | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE)

struct made_ring {
	struct io_uring ring;
	struct io_uring_params params;
};

static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER;
static struct made_ring *rings;
static unsigned rings_left;

int __real_io_uring_queue_init_params(
	unsigned entries, struct io_uring *ring, struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(
	unsigned entries, struct io_uring *ring, struct io_uring_params *params);

/* By system calls: liburing has not exported these functions from the start. */
static int ring_enable(const struct io_uring *ring)
{
	struct io_uring_restriction only[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_URING_CMD},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_POLL_ADD},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_FILES},
	};
	long rc = syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, only,
		sizeof(only) / sizeof(only[0]));

	if (rc >= 0)
		rc = syscall(
			SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return rc < 0 ? -errno : 0;
}

static int ring_make(struct made_ring *made)
{
	int rc;

	made->params = (struct io_uring_params){
		.flags = RING_FLAGS | IORING_SETUP_R_DISABLED, .cq_entries = COMPLETIONS};
	rc = __real_io_uring_queue_init_params(SUBMISSIONS, &made->ring, &made->params);
	if (rc < 0)
		return rc;
	rc = ring_enable(&made->ring);
	if (rc < 0)
		io_uring_queue_exit(&made->ring);
	return rc;
}

void session_rings_make(void)
{
	int count = get_nprocs_conf();

	pthread_mutex_lock(&rings_lock);
	if (!rings)
		rings = calloc((size_t)count, sizeof(*rings));
	while (rings && rings_left < (unsigned)count && ring_make(&rings[rings_left]) >= 0)
		rings_left++;
	pthread_mutex_unlock(&rings_lock);
}

int __wrap_io_uring_queue_init_params(
	unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
	bool fits = entries <= SUBMISSIONS && params->cq_entries <= COMPLETIONS &&
		    params->flags == RING_FLAGS;

	pthread_mutex_lock(&rings_lock);
	if (fits && rings_left > 0) {
		const struct made_ring *made = &rings[--rings_left];

		*ring = made->ring;
		*params = made->params;
	} else {
		fits = false;
	}
	pthread_mutex_unlock(&rings_lock);
	return fits ? 0 : __real_io_uring_queue_init_params(entries, ring, params);
}
