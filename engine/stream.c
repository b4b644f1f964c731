/* SPDX-License-Identifier: MIT */
/*
 * stream.c - a value written front to back, of which nothing is visible until it is committed.
 * Memory: one piece, and what the log holds anyway.
 *
 * The first batch of pieces carries an intent for the stream's id, the last one puts the header and
 * deletes the intent: a crash in between leaves pieces that the intent finds again. While the
 * stream is open its id is on a list that the freeing of pieces looks at.
 *
 * Threads: a stream belongs to one at a time.
 */
#include <errno.h>
#include <stdlib.h>

#include "large.h"

#define BATCH_SIZE ((size_t)256 << 10) /* bytes committed at once */

struct kv_stream {
	struct kv *kv;
	struct kv_stream *next; /* protected by large.lock */
	struct kv_batch *batch; /* of pieces whose values are lent until the next commit */
	uint8_t *buffer;	/* one piece */
	size_t filled;		/* of it */
	uint64_t id, size;	/* bytes appended in all */
	uint32_t pieces;	/* that went into batches */
	bool started;		/* its intent is committed, or in the batch */
	bool failed;
	unsigned keyspace;
	size_t key_size;
	uint8_t key[];
};

static const size_t piece_size = (size_t)1 << LARGE_SHIFT;

/* ---- life ------------------------------------------------------------------------------------ */

static void enlist(struct kv_stream *stream)
{
	struct large *large = &stream->kv->large;

	pthread_mutex_lock(&large->lock);
	stream->next = large->streams;
	large->streams = stream;
	pthread_mutex_unlock(&large->lock);
}

static void delist(struct kv_stream *stream)
{
	struct large *large = &stream->kv->large;
	struct kv_stream **link;

	pthread_mutex_lock(&large->lock);
	for (link = &large->streams; *link != stream; link = &(*link)->next)
		;
	*link = stream->next;
	pthread_mutex_unlock(&large->lock);
}

bool stream_is_open(struct kv *kv, uint64_t id)
{
	const struct kv_stream *stream;

	pthread_mutex_lock(&kv->large.lock);
	for (stream = kv->large.streams; stream && stream->id != id; stream = stream->next)
		;
	pthread_mutex_unlock(&kv->large.lock);
	return stream;
}

static void stream_free(struct kv_stream *stream)
{
	kv_batch_free(stream->batch);
	free(stream->buffer);
	free(stream);
}

int stream_open(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		struct kv_stream **out)
{
	struct kv_stream *stream = calloc(1, sizeof(*stream) + key_size);
	int error = -ENOMEM;

	if (!stream)
		return -ENOMEM;
	stream->kv = kv;
	stream->keyspace = keyspace;
	stream->key_size = key_size;
	memcpy(stream->key, key, key_size);
	stream->buffer = malloc(piece_size);
	if (!stream->buffer)
		goto out;
	error = kv_batch_new(kv, &stream->batch);
	if (!error)
		error = large_new_id(kv, &stream->id);
	if (error)
		goto out;
	enlist(stream);
	*out = stream;
	return 0;
out:
	stream_free(stream);
	return error;
}

int kv_stream_open(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		   struct kv_stream **out)
{
	if (keyspace >= kv->info.keyspace_count || !key_size || key_size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	if (kv->info.read_only)
		return -EROFS;
	return stream_open(kv, keyspace, key, key_size, out);
}

void kv_stream_abort(struct kv_stream *stream)
{
	if (!stream)
		return;
	delist(stream);
	if (stream->started)
		large_wake(stream->kv);
	stream_free(stream);
}

/* ---- appending ------------------------------------------------------------------------------- */

static int flush(struct kv_stream *stream)
{
	int error = kv_commit(stream->kv, stream->batch, NULL);

	if (error)
		kv_batch_reset(stream->batch);
	return error;
}

/* A piece goes into the batch; its bytes stay where they are until the next flush. */
static int add_piece(struct kv_stream *stream, const void *bytes, size_t size)
{
	uint8_t key[LARGE_PIECE_KEY_SIZE];
	int error = 0;

	if (!stream->started) {
		large_intent_key(stream->id, key);
		error = batch_put(stream->batch, LARGE_KEYSPACE, key, LARGE_INTENT_KEY_SIZE, NULL,
				  0);
		stream->started = true;
	}
	large_piece_key(stream->id, stream->pieces, key);
	if (!error)
		error = batch_put_lent(stream->batch, LARGE_KEYSPACE, key, sizeof(key), bytes,
				       size);
	stream->pieces++;
	if (!error && stream->batch->size >= BATCH_SIZE)
		error = flush(stream);
	return error;
}

/* The buffered piece is full and there is more: it will not be a small value. */
static int add_buffer(struct kv_stream *stream)
{
	int error = add_piece(stream, stream->buffer, piece_size);

	stream->filled = 0;
	return error ? error : flush(stream);
}

static int append(struct kv_stream *stream, const uint8_t *data, size_t size)
{
	int error = 0;

	while (size && !error) {
		size_t part =
			piece_size - stream->filled < size ? piece_size - stream->filled : size;

		if (!part) {
			error = add_buffer(stream);
			continue;
		}
		/* What may turn out to be the whole value stays in the buffer. */
		if (part == piece_size && (stream->started || size > part)) {
			error = add_piece(stream, data, part);
		} else {
			memcpy(stream->buffer + stream->filled, data, part);
			stream->filled += part;
		}
		data += part;
		size -= part;
	}
	/* The caller's bytes are his again. */
	return error ? error : flush(stream);
}

int kv_stream_append(struct kv_stream *stream, const void *data, size_t size)
{
	int error;

	if (stream->failed)
		return -EIO;
	if (size > KV_LARGE_VALUE_SIZE_MAX - stream->size)
		return -EFBIG;
	error = append(stream, data, size);
	if (error)
		stream->failed = true;
	else
		stream->size += size;
	return error;
}

/* ---- committing ------------------------------------------------------------------------------ */

static int fill_last(struct kv_stream *stream)
{
	struct large_header header = {.id = stream->id, .size = stream->size, .shift = LARGE_SHIFT,
				      .full = true};
	uint8_t key[LARGE_PIECE_KEY_SIZE];
	int error = 0;

	if (!stream->started)
		return batch_put(stream->batch, stream->keyspace, stream->key, stream->key_size,
				 stream->buffer, stream->filled);
	if (stream->filled) {
		large_piece_key(stream->id, stream->pieces, key);
		error = batch_put_lent(stream->batch, LARGE_KEYSPACE, key, sizeof(key),
				       stream->buffer, stream->filled);
	}
	if (!error)
		error = large_put_header(stream->batch, stream->keyspace, stream->key,
					 stream->key_size, &header);
	large_intent_key(stream->id, key);
	if (!error)
		error = batch_delete(stream->batch, LARGE_KEYSPACE, key, LARGE_INTENT_KEY_SIZE);
	return error;
}

int stream_commit(struct kv_stream *stream, const struct large_expect *expect, uint64_t *seq)
{
	struct kv_batch *batch = stream->batch;
	int error;

	if (stream->failed)
		return -EIO;
	error = fill_last(stream);
	batch->check = expect ? large_check_expected : NULL;
	batch->check_arg = expect;
	if (!error)
		error = kv_commit(stream->kv, batch, seq);
	if (error) {
		kv_batch_reset(batch);
		return error;
	}
	delist(stream);
	stream_free(stream);
	return 0;
}

int kv_stream_commit(struct kv_stream *stream, uint64_t *seq)
{
	return stream_commit(stream, NULL, seq);
}

int stream_put(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
	       const void *value, size_t value_size, uint64_t *seq)
{
	struct kv_stream *stream;
	int error = kv_stream_open(kv, keyspace, key, key_size, &stream);

	if (error)
		return error;
	error = kv_stream_append(stream, value, value_size);
	if (!error)
		error = kv_stream_commit(stream, seq);
	if (error)
		kv_stream_abort(stream);
	return error;
}
