/* SPDX-License-Identifier: MIT */
/*
 * env_ring.h - large writes through io_uring, from memory that is registered with it.
 */
#ifndef ENV_RING_H
#define ENV_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Memory for writing: zeroed, touched, in huge pages from 2 MiB on, registered with the ring where
 * the kernel and the limit on locked memory allow it. -ENOMEM
 */
int env_buffer_new(size_t size, void **out);
void env_buffer_free(void *buffer, size_t size);

/*
 * Writes through the ring and waits for it; with `durable` as RWF_DSYNC. The number of bytes
 * written or a negative errno; -EBUSY (nothing was written) when the caller should use a system
 * call instead: there is no ring, another thread is using it, or `data` does not lie in a
 * registered buffer.
 */
ssize_t env_ring_write(int fd, const void *data, size_t size, uint64_t position, bool durable);

/*
 * A process that is killed ends at once, a write of its ring only when the disk has taken it. From
 * here on the ring holds this open file as well: a lock on it lasts until the last write has ended.
 * Where there is no ring, or no room in it, nothing happens, and nothing is written through it
 * either.
 */
void env_ring_hold(int fd);
/* Called before the file is closed; writes through the ring must have ended. */
void env_ring_let_go(int fd);

#endif
