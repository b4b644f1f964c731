/* SPDX-License-Identifier: MIT */
/* fuse_stream.c - see fuse_stream.h. */
#include "fuse_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuse_front.h"

#define BUFFER_SIZE (256u << 10)
/*
 * A reader asks many times a second, but may have to wait for a slow disk of his own meanwhile, or
 * be stopped. He is given less time where another waits for his place.
 */
#define PATIENCE_MS 600000
#define PATIENCE_CROWDED_MS 30000

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t idle_ms(struct fuse_stream *stream)
{
	return now_ms() - atomic_load(&stream->asked_ms);
}

static bool is_abandoned(struct fuse_stream *stream)
{
	return atomic_load(&stream->given_up) || idle_ms(stream) > PATIENCE_MS;
}

bool fuse_stream_is_over(void *arg)
{
	struct fuse_stream *stream = arg;

	return atomic_load(&stream->all->ending) || is_abandoned(stream);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* With the lock. */
static int wait_for_room(struct fuse_stream *stream)
{
	while (stream->used == BUFFER_SIZE) {
		int64_t until_ms = atomic_load(&stream->asked_ms) + PATIENCE_MS + 1;
		struct timespec until = {.tv_sec = until_ms / 1000,
			.tv_nsec = until_ms % 1000 * 1000000};

		if (fuse_stream_is_over(stream))
			return -ECANCELED;
		pthread_cond_timedwait(&stream->room, &stream->all->lock, &until);
	}
	return 0;
}

int fuse_stream_put(struct fuse_stream *stream, const void *bytes, size_t size)
{
	const char *from = bytes;
	int err = fuse_stream_is_over(stream) ? -ECANCELED : 0;

	pthread_mutex_lock(&stream->all->lock);
	while (size && !err) {
		size_t part;

		err = wait_for_room(stream);
		part = BUFFER_SIZE - stream->used < size ? BUFFER_SIZE - stream->used : size;
		if (err)
			break;
		memcpy(stream->bytes + stream->used, from, part);
		stream->used += part;
		from += part;
		size -= part;
	}
	pthread_mutex_unlock(&stream->all->lock);
	return err;
}

static void *stream_main(void *arg)
{
	struct fuse_stream *stream = arg;
	int err;

	session_leave_queue();
	pthread_setname_np(pthread_self(), "fuse-stream");
	err = stream->kind->make(stream->arg, stream);
	stream->kind->free_arg(stream->arg);
	pthread_mutex_lock(&stream->all->lock);
	stream->error = err;
	stream->ended = true;
	/* It was broken off: who comes after all is not to take what there is for the answer. */
	stream->told = err == -ECANCELED;
	if (stream->told)
		stream->token = 0;
	pthread_mutex_unlock(&stream->all->lock);
	return NULL;
}

/* ---- the reader ------------------------------------------------------------------------------ */

bool fuse_stream_parse(const char *numbers, struct fuse_stream_request *out)
{
	int end = -1;

	return sscanf(numbers, ".%" SCNx64 ".%" SCNx64 ".%" SCNx64 "%n", &out->token, &out->offset,
		       &out->about, &end) == 3 &&
	       end >= 0 && !numbers[end] && out->token;
}

/* With the lock, and so are those that follow. */
static struct fuse_stream *find(struct fuse_streams *streams, uint64_t token)
{
	for (unsigned i = 0; token && i < FUSE_STREAMS; i++) {
		if (streams->slots[i].token == token)
			return &streams->slots[i];
	}
	return NULL;
}

static void give_up(struct fuse_stream *stream)
{
	atomic_store(&stream->given_up, true);
	pthread_cond_signal(&stream->room);
}

/* Its thread runs, or somebody may ask for what it has made. */
static bool is_taken(struct fuse_stream *stream)
{
	return stream->started && !(stream->ended && (stream->told || is_abandoned(stream)));
}

/*
 * Takes his place from the reader of this kind, or with NULL of any, who has asked for nothing for
 * longest, if that is long.
 */
static void give_up_idle(struct fuse_streams *streams, const struct fuse_stream_kind *kind)
{
	struct fuse_stream *idlest = NULL;

	for (unsigned i = 0; i < FUSE_STREAMS; i++) {
		struct fuse_stream *stream = &streams->slots[i];

		if (!is_taken(stream) || (kind && stream->kind != kind))
			continue;
		/* It is about to end. */
		if (is_abandoned(stream))
			return;
		if (!idlest || idle_ms(stream) > idle_ms(idlest))
			idlest = stream;
	}
	if (idlest && idle_ms(idlest) > PATIENCE_CROWDED_MS)
		give_up(idlest);
}

/* For another one of this kind. NULL: there is none at the moment. */
static struct fuse_stream *find_free(
	struct fuse_streams *streams, const struct fuse_stream_kind *kind)
{
	struct fuse_stream *found = NULL;
	unsigned same = 0;

	if (atomic_load(&streams->ending))
		return NULL;
	for (unsigned i = 0; i < FUSE_STREAMS; i++) {
		if (!is_taken(&streams->slots[i]))
			found = &streams->slots[i];
		else if (streams->slots[i].kind == kind)
			same++;
	}
	if (found && same < kind->count_max)
		return found;
	give_up_idle(streams, found ? kind : NULL);
	return NULL;
}

bool fuse_stream_has_room(struct fuse_streams *streams, const struct fuse_stream_kind *kind)
{
	bool has_room;

	pthread_mutex_lock(&streams->lock);
	has_room = find_free(streams, kind) != NULL;
	pthread_mutex_unlock(&streams->lock);
	return has_room;
}

static void join(struct fuse_stream *stream)
{
	if (stream->started)
		pthread_join(stream->thread, NULL);
	stream->started = false;
}

static int begin(struct fuse_stream *stream, uint64_t token)
{
	join(stream);
	stream->token = 0;
	if (!stream->bytes)
		stream->bytes = malloc(BUFFER_SIZE);
	if (!stream->bytes)
		return -ENOMEM;
	stream->ended = stream->told = false;
	stream->offset = stream->used = 0;
	atomic_store(&stream->given_up, false);
	atomic_store(&stream->asked_ms, now_ms());
	if (pthread_create(&stream->thread, NULL, stream_main, stream))
		return -ENOMEM;
	stream->started = true;
	stream->token = token;
	return 0;
}

int fuse_stream_begin(struct fuse_streams *streams, uint64_t token,
	const struct fuse_stream_kind *kind, void *arg)
{
	struct fuse_stream *stream;
	int err = -EBUSY;

	pthread_mutex_lock(&streams->lock);
	stream = find_free(streams, kind);
	if (stream) {
		stream->kind = kind;
		stream->arg = arg;
		err = begin(stream, token);
	}
	pthread_mutex_unlock(&streams->lock);
	return err;
}

/* Up to this offset it has arrived. */
static void drop_before(struct fuse_stream *stream, uint64_t offset)
{
	size_t dropped = (size_t)(offset - stream->offset);

	stream->used -= dropped;
	stream->offset = offset;
	memmove(stream->bytes, stream->bytes + dropped, stream->used);
	if (dropped)
		pthread_cond_signal(&stream->room);
}

static ssize_t read_some(struct fuse_stream *stream, uint64_t offset, char *buffer, size_t size)
{
	size_t given;
	bool is_last;

	atomic_store(&stream->asked_ms, now_ms());
	if (offset == FUSE_FRONT_STREAM_GIVE_UP) {
		give_up(stream);
		return 0;
	}
	if (offset < stream->offset || offset - stream->offset > stream->used || !size)
		return -EINVAL;
	drop_before(stream, offset);
	given = stream->used < size - 1 ? stream->used : size - 1;
	is_last = stream->ended && given == stream->used;
	stream->told = is_last;
	if (is_last && stream->error)
		return stream->error;
	buffer[0] = is_last ? FUSE_FRONT_STREAM_LAST : FUSE_FRONT_STREAM_MORE;
	memcpy(buffer + 1, stream->bytes, given);
	return (ssize_t)given + 1;
}

ssize_t fuse_stream_read(struct fuse_streams *streams, const struct fuse_stream_request *request,
	char *buffer, size_t size)
{
	struct fuse_stream *stream;
	ssize_t rc = -ENODATA;

	pthread_mutex_lock(&streams->lock);
	stream = find(streams, request->token);
	if (stream)
		rc = read_some(stream, request->offset, buffer, size);
	pthread_mutex_unlock(&streams->lock);
	return rc;
}

/* ---- life ------------------------------------------------------------------------------------ */

void fuse_streams_init(struct fuse_streams *streams)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&streams->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	for (unsigned i = 0; i < FUSE_STREAMS; i++) {
		streams->slots[i].all = streams;
		pthread_cond_init(&streams->slots[i].room, &attr);
	}
	pthread_condattr_destroy(&attr);
}

void fuse_streams_drain(struct fuse_streams *streams)
{
	pthread_mutex_lock(&streams->lock);
	atomic_store(&streams->ending, true);
	for (unsigned i = 0; i < FUSE_STREAMS; i++)
		pthread_cond_signal(&streams->slots[i].room);
	pthread_mutex_unlock(&streams->lock);
	/* Nobody begins any more. */
	for (unsigned i = 0; i < FUSE_STREAMS; i++)
		join(&streams->slots[i]);
}

void fuse_streams_fini(struct fuse_streams *streams)
{
	fuse_streams_drain(streams);
	for (unsigned i = 0; i < FUSE_STREAMS; i++) {
		pthread_cond_destroy(&streams->slots[i].room);
		free(streams->slots[i].bytes);
	}
	pthread_mutex_destroy(&streams->lock);
}
