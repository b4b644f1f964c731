/* SPDX-License-Identifier: MIT */
/* crash_large.h - the scripts of crash runs with values in pieces. */
#ifndef CRASH_LARGE_H
#define CRASH_LARGE_H

#include <stdbool.h>
#include <stdint.h>

enum crash_large_kind {
	CRASH_LARGE_PUT,    /* kv_put of `size` bytes */
	CRASH_LARGE_STREAM, /* the same by a stream */
	CRASH_LARGE_ABORT,  /* a stream of so much that is given up */
	CRASH_LARGE_WRITE,  /* `size` bytes at `offset` */
	CRASH_LARGE_RESIZE, /* to `size` */
	CRASH_LARGE_DELETE,
	CRASH_LARGE_CLEAR, /* deletes all, and waits until no piece is left */
	CRASH_LARGE_SYNC,
	CRASH_LARGE_REOPEN,
	CRASH_LARGE_RANDOM, /* `size` operations by chance */
	CRASH_LARGE_END,
};

struct crash_large_op {
	enum crash_large_kind kind;
	unsigned key;
	uint32_t offset, size; /* bytes */
};

struct crash_large_script {
	const struct crash_large_op *ops; /* up to CRASH_LARGE_END */
	bool compress;
	uint64_t capacity; /* of the disk, in bytes: changes may be refused; 0: plenty */
};

#endif
