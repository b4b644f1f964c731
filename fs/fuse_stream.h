/* SPDX-License-Identifier: MIT */
/*
 * fuse_stream.h - answers of any length to whoever asks under a mount: he reads an extended
 * attribute (fuse_front.h) again and again, each time behind what he has got. A thread makes the
 * answer, and waits while as much of it as fits in memory has not been fetched; nobody else waits
 * for that.
 *
 * Nobody says that a reader has died: one who does not ask for ten minutes is taken for gone, or
 * for thirty seconds where another needs his place.
 */
#ifndef FUSE_STREAM_H
#define FUSE_STREAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FUSE_STREAMS 4u /* at once */

struct fuse_stream;

/*
 * Makes the answer, by fuse_stream_put, on a thread of its own. An error is what the reader gets
 * behind it.
 */
typedef int fuse_stream_fn(void *arg, struct fuse_stream *stream);

struct fuse_stream_kind {
	fuse_stream_fn *make;
	void (*free_arg)(void *arg);
	unsigned count_max; /* at once */
};

struct fuse_stream {
	struct fuse_streams *all;
	/* Of the thread, from fuse_stream_begin on. */
	const struct fuse_stream_kind *kind;
	void *arg;
	atomic_bool given_up;	   /* the reader has, or is gone */
	_Atomic int64_t asked_ms;  /* when he asked last */
	/* What follows is protected by the lock. */
	pthread_cond_t room; /* something was fetched, or there is no need to go on */
	uint64_t token;	     /* which the reader has chosen; 0: there is none */
	pthread_t thread;
	bool started; /* to be joined */
	bool ended;   /* the answer is whole, or there is an error */
	bool told;    /* and the reader knows */
	int error;
	uint64_t offset; /* of what is in memory, in the whole answer */
	char *bytes;	 /* NULL until there was a stream */
	size_t used;
};

struct fuse_streams {
	pthread_mutex_t lock; /* a leaf */
	atomic_bool ending;   /* the mount is */
	struct fuse_stream slots[FUSE_STREAMS];
};

void fuse_streams_init(struct fuse_streams *streams);
/* Nobody reads any more; waits until the threads have ended. */
void fuse_streams_drain(struct fuse_streams *streams);
void fuse_streams_fini(struct fuse_streams *streams);

/* What a reader asks for, by the numbers behind an attribute's name; about: what that means. */
struct fuse_stream_request {
	uint64_t token, offset, about;
};
bool fuse_stream_parse(const char *numbers, struct fuse_stream_request *out);

/*
 * Whether one of this kind may begin, as far as can be said before what it takes is there. Who has
 * not asked for long loses his place by this.
 */
bool fuse_stream_has_room(struct fuse_streams *streams, const struct fuse_stream_kind *kind);

/*
 * Begins one, and owns `arg` then. -EBUSY there are as many as there may be; -ENOMEM, also
 * for a thread
 */
int fuse_stream_begin(struct fuse_streams *streams, uint64_t token,
	const struct fuse_stream_kind *kind, void *arg) __attribute__((warn_unused_result));

/*
 * What there is at this offset, and whether more may come, in the form of fuse_front.h; what is
 * before it is forgotten. Returns the length, or the error that it ended with. -ENODATA: there is
 * no such stream. -EINVAL: not an offset that may be asked for
 */
ssize_t fuse_stream_read(struct fuse_streams *streams, const struct fuse_stream_request *request,
	char *buffer, size_t size) __attribute__((warn_unused_result));

/*
 * Waits for room. -ECANCELED: nobody wants it any more. For the thread, outside of read sections.
 */
int fuse_stream_put(struct fuse_stream *stream, const void *bytes, size_t size)
	__attribute__((warn_unused_result));
/* A kvfs_stop_fn: nobody wants it any more. */
bool fuse_stream_is_over(void *stream);

#endif
