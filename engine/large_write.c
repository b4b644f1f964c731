/* SPDX-License-Identifier: MIT */
/*
 * large_write.c - a part of a value is changed: the pieces that it touches and the header, in one
 * batch.
 *
 * Nothing is locked while the batch is put together. It is committed on the condition that the
 * key's record is still the one that was read, and put together again if it is not. A value that
 * grows out of one record is cut into pieces first, by a stream under the same condition, which
 * changes nothing that a reader could see.
 */
#include <errno.h>
#include <stdlib.h>

#include "epoch.h"
#include "large.h"
#include "lookup.h"

#define CONVERT_STEP ((size_t)256 << 10)
/* Attempts that meet a value that is just being changed, before a change stops all others. */
#define STALE_MAX 32u

/* One attempt at changing a value. The first fields say what is wanted. */
struct edit {
	struct kv *kv;
	unsigned keyspace;
	const void *key;
	size_t key_size;
	int (*prepare)(struct edit *edit); /* inside a read section */
	uint64_t offset;		   /* of the data, or the new size */
	struct kv_slice data;

	struct kv_value old; /* only inside the read section */
	uint64_t old_size;
	uint64_t seq;	     /* of the record that was found; 0: none */
	bool is_large;
	bool dropped; /* pieces that nobody needs any more */
	struct large_header header; /* what it shall be */
	uint8_t *map;		    /* its map, in full */
	struct kv_batch *batch;
	uint8_t *buffers[3]; /* pieces of which a part stays, until the commit */
	unsigned buffer_count;
};

/* ---- what both need -------------------------------------------------------------------------- */

int large_new_id(struct kv *kv, uint64_t *id)
{
	return kv->env->random(kv->env, id, sizeof(*id));
}

int large_put_header(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		     const struct large_header *header)
{
	size_t size = LARGE_HEADER_SIZE + (header->full ? 0 : header->map_size);
	uint8_t fixed[256], *bytes = size <= sizeof(fixed) ? fixed : malloc(size);
	int error;

	if (!bytes)
		return -ENOMEM;
	large_header_encode(header, bytes);
	error = batch_put_raw(batch, keyspace, key, key_size, bytes, size, FORMAT_RECORD_LARGE);
	if (bytes != fixed)
		free(bytes);
	return error;
}

int large_check_expected(struct kv *kv, const void *arg)
{
	const struct large_expect *expect = arg;
	struct lookup lookup = {&kv->segments, expect->key, expect->key_size,
				expect->keyspace, NULL, 0};
	uint64_t hash = keyhash_of(&kv->keyhash, expect->keyspace, expect->key, expect->key_size);
	uint64_t seq =
		index_lookup(&kv->index, hash, lookup_match, &lookup) ? lookup.record->seq : 0;

	return seq == expect->seq ? 0 : -EAGAIN;
}

static void edit_fini(struct edit *edit)
{
	unsigned i;

	for (i = 0; i < edit->buffer_count; i++)
		free(edit->buffers[i]);
	free(edit->map);
	kv_batch_free(edit->batch);
}

/* A buffer of one piece, zeros. */
static uint8_t *edit_buffer(struct edit *edit)
{
	uint8_t *buffer = calloc(1, large_piece_size(&edit->header));

	if (buffer)
		edit->buffers[edit->buffer_count++] = buffer;
	return buffer;
}

/*
 * Reads the header, and makes a map for as many pieces as there will be. A value of one record
 * counts as a large one whose first piece is all of it. Inside a read section.
 */
static int edit_load(struct edit *edit, uint64_t size_min)
{
	int error = kv_value_open(edit->kv, edit->keyspace, edit->key, edit->key_size, &edit->old);
	struct large_header header = {.shift = LARGE_SHIFT, .full = true};
	uint64_t pieces;

	if (error && error != -ENOENT)
		return error;
	if (!error) {
		edit->old_size = edit->old.size;
		edit->seq = ((const struct format_record *)edit->old.record)->seq;
		edit->is_large = !edit->old.data;
	}
	error = edit->is_large ? large_decode(edit->kv, edit->old.record, &header) :
				 large_new_id(edit->kv, &header.id);
	if (error)
		return error;
	edit->header = header;
	edit->header.size = edit->old_size > size_min ? edit->old_size : size_min;
	pieces = large_pieces(&edit->header);
	edit->map = malloc(large_map_size(pieces) + 1);
	if (!edit->map)
		return -ENOMEM;
	large_map_fill(&header, pieces, edit->map);
	if (!edit->is_large && edit->old_size)
		edit->map[0] |= 1;
	return kv_batch_new(edit->kv, &edit->batch);
}

static bool edit_has(const struct edit *edit, uint64_t piece)
{
	return edit->map[piece / 8] >> piece % 8 & 1;
}

static int edit_put_piece(struct edit *edit, uint64_t piece, const void *bytes, size_t size)
{
	uint8_t key[LARGE_PIECE_KEY_SIZE];

	large_piece_key(edit->header.id, (uint32_t)piece, key);
	edit->map[piece / 8] |= (uint8_t)(1u << piece % 8);
	return batch_put_lent(edit->batch, LARGE_KEYSPACE, key, sizeof(key), bytes, size);
}

/*
 * Reads what the old value has in this piece into a buffer of the piece's size; *used: how much
 * that is. Inside the read section.
 */
static int edit_read_piece(struct edit *edit, uint64_t piece, uint8_t *buffer, size_t *used)
{
	uint64_t offset = piece << edit->header.shift,
		 end = offset + large_piece_size(&edit->header);
	struct kv_slice part;
	int error;

	if (end > edit->old_size)
		end = edit->old_size;
	*used = 0;
	while (offset < end) {
		error = kv_value_part(&edit->old, offset, &part);
		if (error)
			return error;
		if (part.size > end - offset)
			part.size = (size_t)(end - offset);
		memcpy(buffer + *used, part.data, part.size);
		*used += part.size;
		offset += part.size;
	}
	return 0;
}

/* ---- values of one record -------------------------------------------------------------------- */

/*
 * The value as it is, in pieces. It is the same value: only -EAGAIN tells, where there was no other
 * error.
 */
static int convert(struct edit *edit)
{
	struct large_expect expect = {edit->keyspace, edit->key, edit->key_size, edit->seq};
	uint8_t *buffer = malloc(CONVERT_STEP);
	struct kv_stream *stream = NULL;
	uint64_t offset = 0;
	size_t done;
	int error = -ENOMEM;

	if (!buffer)
		return error;
	error = stream_open(edit->kv, edit->keyspace, edit->key, edit->key_size, &stream);
	while (!error && offset < edit->old_size) {
		error = kv_read(edit->kv, edit->keyspace, edit->key, edit->key_size, offset, buffer,
				CONVERT_STEP, &done);
		if (!error && !done)
			error = -EAGAIN;
		if (!error) {
			error = kv_stream_append(stream, buffer, done);
			offset += done;
		}
	}
	/* Read in steps, and yet one value: its record is still the same. */
	if (!error)
		error = stream_commit(stream, &expect, NULL);
	if (error)
		kv_stream_abort(stream);
	free(buffer);
	return error ? error : -EAGAIN;
}

/* The first `size` bytes of the value, zeros behind its end, changed and put as one record. */
static int edit_small(struct edit *edit, uint64_t size, uint64_t offset,
		      const struct kv_slice *data)
{
	uint8_t *buffer = edit_buffer(edit);
	size_t used;
	int error;

	if (!buffer)
		return -ENOMEM;
	error = edit_read_piece(edit, 0, buffer, &used);
	if (error)
		return error;
	if (data)
		memcpy(buffer + offset, data->data, data->size);
	return batch_put_lent(edit->batch, edit->keyspace, edit->key, edit->key_size, buffer, size);
}

static bool is_small(const struct edit *edit, uint64_t size)
{
	return !edit->is_large && size <= LARGE_SMALL_MAX;
}

/* Must the value be cut into pieces before anything else? */
static bool must_convert(const struct edit *edit)
{
	return !edit->is_large && edit->old_size > large_piece_size(&edit->header);
}

/* ---- kv_write -------------------------------------------------------------------------------- */

/* A piece of which only a part is written. */
static int merge_piece(struct edit *edit, uint64_t piece, size_t from, size_t to,
		       const uint8_t *data)
{
	uint8_t *buffer = edit_buffer(edit);
	size_t used = 0;
	int error = 0;

	if (!buffer)
		return -ENOMEM;
	if (edit_has(edit, piece))
		error = edit_read_piece(edit, piece, buffer, &used);
	if (error)
		return error;
	memcpy(buffer + from, data, to - from);
	return edit_put_piece(edit, piece, buffer, to > used ? to : used);
}

static int write_pieces(struct edit *edit, uint64_t offset, const uint8_t *data, size_t size)
{
	uint64_t piece_size = large_piece_size(&edit->header), end = offset + size, piece;
	int error = 0;

	/* A value that was one record becomes the first piece, unless that is written anyway. */
	if (!edit->is_large && edit->old_size && offset >= piece_size)
		error = merge_piece(edit, 0, 0, 0, data);
	for (piece = offset >> edit->header.shift; piece << edit->header.shift < end && !error;
	     piece++) {
		uint64_t start = piece << edit->header.shift;
		size_t from = offset > start ? (size_t)(offset - start) : 0;
		size_t to = (size_t)(end - start < piece_size ? end - start : piece_size);
		const uint8_t *bytes = data + (start + from - offset);

		/* Nothing of the old piece stays. */
		if (!from && (to == piece_size || end >= edit->old_size || !edit_has(edit, piece)))
			error = edit_put_piece(edit, piece, bytes, to);
		else
			error = merge_piece(edit, piece, from, to, bytes);
	}
	return error;
}

static int prepare_write(struct edit *edit)
{
	int error = edit_load(edit, edit->offset + edit->data.size);

	if (error)
		return error;
	if (is_small(edit, edit->header.size))
		return edit_small(edit, edit->header.size, edit->offset, &edit->data);
	if (must_convert(edit))
		return -EXDEV;
	return write_pieces(edit, edit->offset, edit->data.data, edit->data.size);
}

/*
 * Commits what was prepared, or does what must be done before. -EAGAIN: once more, from the start
 */
static int finish(struct edit *edit, int error, uint64_t *seq)
{
	struct large_expect expect = {edit->keyspace, edit->key, edit->key_size, edit->seq};

	if (error == -EXDEV)
		error = convert(edit);
	if (!error && !is_small(edit, edit->header.size))
		error = large_put_header(edit->batch, edit->keyspace, edit->key, edit->key_size,
					 &edit->header);
	if (!error) {
		edit->batch->check = large_check_expected;
		edit->batch->check_arg = &expect;
		error = kv_commit(edit->kv, edit->batch, seq);
	}
	if (!error && edit->dropped)
		large_wake(edit->kv);
	edit_fini(edit);
	return error;
}

/* Attempts, until one has met no other change. */
static int change(const struct edit *wanted, uint64_t *seq)
{
	unsigned stale = 0;
	int error;

	do {
		struct edit edit = *wanted;
		bool alone = stale == STALE_MAX;

		if (alone)
			pthread_mutex_lock(&edit.kv->log.lock);
		epoch_enter();
		error = edit.prepare(&edit);
		epoch_leave();
		if (alone)
			pthread_mutex_unlock(&edit.kv->log.lock);
		/* Nobody changed anything meanwhile: a store that contradicts itself is damaged. */
		if (error == -ESTALE) {
			error = alone ? -EIO : -EAGAIN;
			stale += !alone;
		}
		if (!error)
			large_map_use(&edit.header, edit.map);
		error = finish(&edit, error, seq);
	} while (error == -EAGAIN);
	return error;
}

static int check_arguments(const struct kv *kv, unsigned keyspace, size_t key_size)
{
	if (keyspace >= kv->info.keyspace_count || !key_size || key_size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	return kv->info.read_only ? -EROFS : 0;
}

int kv_write(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t offset,
	     const void *data, size_t size, uint64_t *seq)
{
	int error = check_arguments(kv, keyspace, key_size);

	if (error)
		return error;
	if (offset > KV_LARGE_VALUE_SIZE_MAX || size > KV_LARGE_VALUE_SIZE_MAX - offset)
		return -EFBIG;
	if (!size) {
		if (seq)
			*seq = kv_last_seq(kv);
		return 0;
	}
	return change(&(struct edit){.kv = kv,
				     .keyspace = keyspace,
				     .key = key,
				     .key_size = key_size,
				     .prepare = prepare_write,
				     .offset = offset,
				     .data = {data, size}},
		      seq);
}

/* ---- kv_resize ------------------------------------------------------------------------------- */

/*
 * The pieces behind the new end are not needed any more: whoever frees them asks the header which.
 */
static int put_intent(struct edit *edit)
{
	uint8_t key[LARGE_INTENT_KEY_SIZE], keyspace = (uint8_t)edit->keyspace;
	struct kv_slice owner[2] = {{&keyspace, 1}, {edit->key, edit->key_size}};

	large_intent_key(edit->header.id, key);
	return batch_putv(edit->batch, LARGE_KEYSPACE, key, sizeof(key), owner, 2);
}

static int shorten(struct edit *edit, uint64_t size)
{
	uint64_t piece_size = large_piece_size(&edit->header),
		 old_pieces = large_pieces(&edit->header);
	uint64_t last = size >> edit->header.shift, piece = last + !!(size % piece_size);
	uint8_t *buffer;
	size_t used;
	int error = 0;

	for (; piece < old_pieces; piece++) {
		edit->dropped |= edit_has(edit, piece);
		edit->map[piece / 8] &= (uint8_t)~(1u << piece % 8);
	}
	if (size % piece_size && edit_has(edit, last)) {
		/* Bytes that are cut off must not come back when the value grows again. */
		buffer = edit_buffer(edit);
		if (!buffer)
			return -ENOMEM;
		error = edit_read_piece(edit, last, buffer, &used);
		if (!error)
			error = edit_put_piece(edit, last, buffer, (size_t)(size % piece_size));
	}
	if (!error && edit->dropped)
		error = put_intent(edit);
	edit->header.size = size;
	kv_batch_set_frees(edit->batch);
	return error;
}

static int prepare_resize(struct edit *edit)
{
	uint64_t size = edit->offset;
	int error = edit_load(edit, size);

	if (error)
		return error;
	if (!edit->seq)
		return -ENOENT;
	if (is_small(edit, size)) {
		edit->header.size = size;
		return edit_small(edit, size, 0, NULL);
	}
	if (must_convert(edit))
		return -EXDEV;
	if (size < edit->old_size)
		return shorten(edit, size);
	/* A value that was one record becomes the first piece. */
	return !edit->is_large && edit->old_size ? merge_piece(edit, 0, 0, 0, edit->map) : 0;
}

int kv_resize(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t size,
	      uint64_t *seq)
{
	int error = check_arguments(kv, keyspace, key_size);

	if (error)
		return error;
	if (size > KV_LARGE_VALUE_SIZE_MAX)
		return -EFBIG;
	return change(&(struct edit){.kv = kv,
				     .keyspace = keyspace,
				     .key = key,
				     .key_size = key_size,
				     .prepare = prepare_resize,
				     .offset = size},
		      seq);
}
