/* SPDX-License-Identifier: MIT */
/*
 * large_read.c - reading values in part: from a header to its pieces, or from any value to a part
 * of it.
 *
 * A header is changed in the same batch as its pieces. So a piece that is newer than the header, or
 * is not there, says that the value was changed since the header was read (-ESTALE); pieces that
 * are not newer are the value as it was then.
 */
#include <errno.h>

#include "epoch.h"
#include "large.h"
#include "read.h"
#include "value.h"
#include "view.h"

/* Attempts of a read whose value is being changed, before it stops all changes. */
#define TRIES_MAX 32u

/* The contents of a hole. */
static const uint8_t zeros[1u << LARGE_SHIFT];

static const struct format_record *header_record(const struct kv_value *value)
{
	return value->record;
}

int large_decode(struct kv *kv, const struct format_record *record, struct large_header *out)
{
	if (!large_header_decode(format_record_value(record), record->value_size, out))
		return 0;
	store_report_at(kv, record,
			"the header of a large value in keyspace %s holds impossible values",
			kv->info.keyspaces[record->keyspace].name);
	store_add(&kv->damaged, 1);
	return -EIO;
}

/* ---- parts ----------------------------------------------------------------------------------- */

/*
 * A piece that the header names is not there, or is newer: the header is an old one, or one of the
 * two was lost.
 */
static int mismatch(const struct kv_value *value, uint64_t piece, uint64_t piece_seq)
{
	const struct format_record *header = header_record(value), *newest;
	int error;

	/* The piece is of a batch that is just being applied: its header comes last. */
	if (piece_seq > kv_last_seq(value->kv))
		return -ESTALE;
	error = value->view ? 0 :
			      read_record(value->kv, header->keyspace, header->key,
					  header->key_size, &newest);
	if (error || (!value->view && newest->seq != header->seq))
		return -ESTALE;
	/* Where the piece stood nobody knows any more. */
	store_report_at(value->kv, header,
			"the header of a large value in keyspace %s, of which piece %llu %s",
			value->kv->info.keyspaces[header->keyspace].name, (unsigned long long)piece,
			piece_seq ? "is of a state that is lost" : "is lost");
	return -EIO;
}

/* The record of a piece, as it was when the header was. */
static int find_piece(const struct kv_value *value, const struct large_header *header,
		      uint64_t piece, const struct format_record **out)
{
	const struct format_record *record;
	uint8_t key[LARGE_PIECE_KEY_SIZE];
	int error;

	large_piece_key(header->id, (uint32_t)piece, key);
	error = value->view ? view_record(value->view, LARGE_KEYSPACE, key, sizeof(key), &record) :
			      read_record(value->kv, LARGE_KEYSPACE, key, sizeof(key), &record);
	if (error == -ENOENT)
		return mismatch(value, piece, 0);
	if (error)
		return error;
	if (record->seq > header_record(value)->seq)
		return mismatch(value, piece, record->seq);
	*out = record;
	return 0;
}

static int large_part(const struct kv_value *value, uint64_t offset, struct kv_slice *part)
{
	const struct format_record *record;
	struct kv_slice bytes = {NULL, 0};
	struct large_header header;
	uint64_t piece, inside, rest;
	int error = large_decode(value->kv, value->record, &header);

	if (error)
		return error;
	piece = offset >> header.shift;
	inside = offset & (large_piece_size(&header) - 1);
	rest = large_piece_size(&header) - inside;
	if (rest > header.size - offset)
		rest = header.size - offset;
	if (large_header_has(&header, piece)) {
		error = find_piece(value, &header, piece, &record);
		if (!error)
			error = value_of(value->kv, record, &bytes);
		if (error)
			return error;
	}
	if (inside < bytes.size) {
		part->data = (const uint8_t *)bytes.data + inside;
		part->size = bytes.size - inside < rest ? bytes.size - inside : (size_t)rest;
	} else {
		part->data = zeros;
		part->size = rest < sizeof(zeros) ? (size_t)rest : sizeof(zeros);
	}
	return 0;
}

/* Opens the value as a view sees it, or, without one, as it is. */
static int open_value(struct kv *kv, const struct kv_view *view, unsigned keyspace, const void *key,
		      size_t key_size, struct kv_value *out)
{
	const struct format_record *record;
	struct kv_value value = {.kv = kv, .view = view};
	struct large_header header;
	struct kv_slice slice;
	int error;

	if (keyspace >= kv->info.keyspace_count || !key_size || key_size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	error = view ? view_record(view, keyspace, key, key_size, &record) :
		       read_record(kv, keyspace, key, key_size, &record);
	if (error)
		return error;
	value.record = record;
	if (record->flags & FORMAT_RECORD_LARGE) {
		error = large_decode(kv, record, &header);
		value.size = header.size;
	} else {
		error = value_of(kv, record, &slice);
		value.data = slice.data;
		value.size = slice.size;
	}
	if (error)
		return error;
	*out = value;
	return 0;
}

int kv_value_open(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		  struct kv_value *out)
{
	return open_value(kv, NULL, keyspace, key, key_size, out);
}

int kv_view_value_open(const struct kv_view *view, unsigned keyspace, const void *key,
		       size_t key_size, struct kv_value *out)
{
	return open_value(view->kv, view, keyspace, key, key_size, out);
}

int kv_value_part(const struct kv_value *value, uint64_t offset, struct kv_slice *part)
{
	if (offset >= value->size) {
		part->data = zeros;
		part->size = 0;
		return 0;
	}
	if (!value->data)
		return large_part(value, offset, part);
	part->data = (const uint8_t *)value->data + offset;
	part->size = value->size - offset;
	return 0;
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* Up to `size` bytes from an offset on. */
static int copy_range(const struct kv_value *value, uint64_t offset, uint8_t *buffer, size_t size,
		      size_t *done)
{
	struct kv_slice part;
	size_t copied = 0;
	int error;

	while (copied < size && offset + copied < value->size) {
		error = kv_value_part(value, offset + copied, &part);
		if (error)
			return error;
		if (part.size > size - copied)
			part.size = size - copied;
		memcpy(buffer + copied, part.data, part.size);
		copied += part.size;
	}
	*done = copied;
	return 0;
}

static int read_once(struct kv *kv, const struct kv_view *view, unsigned keyspace, const void *key,
		     size_t key_size, uint64_t offset, void *buffer, size_t size, size_t *done)
{
	struct kv_value value;
	int error;

	epoch_enter();
	error = open_value(kv, view, keyspace, key, key_size, &value);
	if (!error)
		error = copy_range(&value, offset, buffer, size, done);
	epoch_leave();
	return error;
}

int kv_read(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t offset,
	    void *buffer, size_t size, size_t *done)
{
	unsigned tries;
	int error;

	for (tries = 0; tries < TRIES_MAX; tries++) {
		error = read_once(kv, NULL, keyspace, key, key_size, offset, buffer, size, done);
		if (error != -ESTALE)
			return error;
	}
	/* Somebody changes the value faster than it can be read: he waits. */
	pthread_mutex_lock(&kv->log.lock);
	error = read_once(kv, NULL, keyspace, key, key_size, offset, buffer, size, done);
	pthread_mutex_unlock(&kv->log.lock);
	return error == -ESTALE ? -EIO : error;
}

int kv_view_read(const struct kv_view *view, unsigned keyspace, const void *key, size_t key_size,
		 uint64_t offset, void *buffer, size_t size, size_t *done)
{
	int error = read_once(view->kv, view, keyspace, key, key_size, offset, buffer, size, done);

	/* Nothing changes in a view: a store that contradicts itself is damaged. */
	return error == -ESTALE ? -EIO : error;
}

int kv_view_value_size(const struct kv_view *view, unsigned keyspace, const void *key,
		       size_t key_size, uint64_t *size)
{
	struct kv_value value;
	int error;

	epoch_enter();
	error = kv_view_value_open(view, keyspace, key, key_size, &value);
	epoch_leave();
	if (!error)
		*size = value.size;
	return error;
}

int kv_value_size(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		  uint64_t *size)
{
	const struct format_record *record;
	struct kv_value value;
	uint64_t address;
	int error;

	if (keyspace >= kv->info.keyspace_count || !key_size || key_size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	epoch_enter();
	error = read_find_head(kv, keyspace, key, key_size,
			  keyhash_of(&kv->keyhash, keyspace, key, key_size), &record, &address);
	if (error)
		goto out;
	value.size = record->value_size;
	/* The header says it: what is asked for is not read from the disk. */
	if (record->flags & (FORMAT_RECORD_LARGE | FORMAT_RECORD_ZSTD))
		error = kv_value_open(kv, keyspace, key, key_size, &value);
	if (!error)
		*size = value.size;
out:
	epoch_leave();
	return error;
}

/* ---- whole ----------------------------------------------------------------------------------- */

static int assemble(const struct kv_value *value, const struct large_header *header, uint8_t *to)
{
	uint64_t piece, pieces = large_pieces(header);
	int error = 0;

	for (piece = 0; piece < pieces && !error; piece++) {
		uint64_t offset = piece << header->shift, rest = header->size - offset;
		size_t room =
			(size_t)(rest < large_piece_size(header) ? rest : large_piece_size(header));
		const struct format_record *record;
		size_t used = 0;

		if (large_header_has(header, piece)) {
			error = find_piece(value, header, piece, &record);
			if (!error)
				error = value_copy(value->kv, record, to + offset, room, &used);
		}
		if (!error)
			memset(to + offset + used, 0, room - used);
	}
	return error;
}

/* One attempt at putting together the value with this header. The memory grows as it has to. */
static int assemble_once(const struct kv_value *value, struct kv_slice *memory,
			 struct kv_slice *out)
{
	struct large_header header;
	int error = large_decode(value->kv, value->record, &header);

	if (error)
		return error;
	if (header.size > value->kv->info.value_size_max)
		return -EFBIG;
	if (!memory->data || memory->size < header.size) {
		memory->data = value_memory((size_t)header.size);
		memory->size = (size_t)header.size;
	}
	if (!memory->data)
		return -ENOMEM;
	error = assemble(value, &header, (uint8_t *)(uintptr_t)memory->data);
	out->data = memory->data;
	out->size = (size_t)header.size;
	return error;
}

int large_assemble_then(const struct kv_view *view, const struct format_record *record,
			struct kv_slice *out)
{
	struct kv_value value = {.kv = view->kv, .view = view, .record = record};
	struct kv_slice memory = {NULL, 0}, slice;
	int error = assemble_once(&value, &memory, &slice);

	if (!error)
		*out = slice;
	return error == -ESTALE ? -EIO : error;
}

int large_assemble(struct kv *kv, const struct format_record *record, struct kv_slice *out)
{
	struct kv_value value = {.kv = kv, .record = record};
	struct kv_slice memory = {NULL, 0}, slice;
	bool locked = false;
	unsigned tries;
	int error;

	for (tries = 1;; tries++) {
		error = assemble_once(&value, &memory, &slice);
		/*
		 * Nobody changes anything while we have the lock: a store that contradicts itself
		 * is damaged.
		 */
		if (error == -ESTALE && locked)
			error = -EIO;
		if (error != -ESTALE)
			break;
		if (tries == TRIES_MAX) {
			pthread_mutex_lock(&kv->log.lock);
			locked = true;
		}
		/* The value as it is now, whatever it is now. */
		error = read_record(kv, record->keyspace, record->key, record->key_size, &record);
		value.record = record;
		if (!error && !(record->flags & FORMAT_RECORD_LARGE))
			error = value_also(kv, record, &slice);
		else if (!error)
			continue;
		break;
	}
	if (locked)
		pthread_mutex_unlock(&kv->log.lock);
	if (!error)
		*out = slice;
	return error;
}
