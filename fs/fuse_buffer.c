/* SPDX-License-Identifier: MIT */
/*
 * fuse_buffer.c - where answers are built (see fuse_buffer.h).
 *
 * A thread's memory grows to what its largest request needed and is freed when the thread ends.
 */
#include "fuse_buffer.h"

#include <pthread.h>
#include <stdlib.h>

#define BUFFER_SIZE_MIN 65536u

struct thread_buffer {
	size_t size;
	char bytes[];
};

static __thread struct thread_buffer *thread_buffer;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;
static pthread_key_t buffer_key; /* only for its destructor */
static int buffer_key_rc;

static void buffer_init(void)
{
	buffer_key_rc = pthread_key_create(&buffer_key, free);
}

static char *buffer_grow(size_t size)
{
	struct thread_buffer *grown;

	pthread_once(&buffer_once, buffer_init);
	if (buffer_key_rc)
		return NULL;
	if (size < BUFFER_SIZE_MIN)
		size = BUFFER_SIZE_MIN;
	grown = malloc(sizeof(*grown) + size);
	if (!grown)
		return NULL;
	grown->size = size;
	if (pthread_setspecific(buffer_key, grown)) {
		free(grown);
		return NULL;
	}
	free(thread_buffer);
	thread_buffer = grown;
	return grown->bytes;
}

char *fuse_buffer_thread(size_t size)
{
	if (thread_buffer && thread_buffer->size >= size)
		return thread_buffer->bytes;
	return buffer_grow(size);
}

char *fuse_buffer_answer(fuse_req_t req, size_t size)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	char *payload;
	size_t payload_size;

	if (fuse_req_is_uring(req) && !fuse_req_get_payload(req, &payload, &payload_size, NULL) &&
		payload_size >= size)
		return payload;
#endif
	return fuse_buffer_thread(size);
}
