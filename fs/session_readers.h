/* SPDX-License-Identifier: MIT */
/*
 * session_readers.h - the threads that take requests from the device: over that transport all
 * requests, over io_uring the first message and those that have no answer. The library's ring
 * threads are made while the first message is handled, so they inherit policy and signal mask from
 * the first reader. Private to the session.
 */
#ifndef SESSION_READERS_H
#define SESSION_READERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "session.h"

#define SESSION_READERS_MAX 64u

struct session_readers;

struct session_reader {
	struct session_readers *all;
	pthread_t thread;
	struct fuse_buf buf;
};

struct session_readers {
	struct fuse_session *fuse;
	bool may_ring; /* the library was asked for rings */
	bool uring;    /* what it got; set before ready, as the next */
	bool begun;    /* the first message has not ended the session */
	atomic_bool ready; /* the first message has been handled, or the session has ended */
	void (*changed)(void *arg); /* ready is set, or the session has ended */
	void *arg;
	unsigned int count;
	struct session_reader readers[SESSION_READERS_MAX];
};

/* All else is zero. */
void session_readers_init(struct session_readers *readers, struct fuse_session *fuse,
	bool may_ring, void (*changed)(void *arg), void *arg);
/* One more. */
int session_readers_start(struct session_readers *readers) __attribute__((warn_unused_result));
/* Ends the session and the readers, then the rings. */
int session_readers_end(struct session_readers *readers);

#endif
