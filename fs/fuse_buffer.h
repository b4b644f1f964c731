/* SPDX-License-Identifier: MIT */
/*
 * fuse_buffer.h - memory for an answer's bytes, without an allocation per request.
 *
 * Over io_uring the answer is built where the kernel fetches it, in the request's own payload; over
 * /dev/fuse, in memory of the serving thread that stays for its next request. A request's names and
 * data lie in that same payload: a handler that needs them while it fills the buffer uses
 * fuse_buffer_thread.
 */
#ifndef FUSE_BUFFER_H
#define FUSE_BUFFER_H

#include <stddef.h>

#include "session.h"

/* Memory for `size` bytes; NULL: out of memory. Valid until the request is answered. */
char *fuse_buffer_answer(fuse_req_t req, size_t size);
/* As fuse_buffer_answer, never in the request's payload; valid until the thread's next call. */
char *fuse_buffer_thread(size_t size);

#endif
