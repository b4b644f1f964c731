/* SPDX-License-Identifier: MIT */
/*
 * expire.c - kv_expire: deletes what has not been changed since a given time.
 *
 * One pass over the keyspace: what the iterator gives out is judged inside a read section and
 * noted, and deleted outside, where a commit may wait. Each deletion expects the record that was
 * judged, so an entry that is changed meanwhile stays.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "times.h"

#define BATCH_COUNT 256u

struct old_entry {
	uint64_t seq;
	size_t key_at, key_size; /* in expiry.keys */
};

struct expiry {
	struct kv *kv;
	unsigned keyspace;
	uint64_t seq_max; /* what is younger stays */
	uint64_t expired;
	struct kv_batch *batch;
	/* Noted, not deleted yet. */
	struct old_entry *list;
	size_t count, capacity;
	uint8_t *keys;
	size_t keys_used, keys_room;
	uint64_t seen; /* entries */
};

/* ---- noting ---------------------------------------------------------------------------------- */

static int make_room(struct expiry *expiry, size_t key_size)
{
	size_t capacity = expiry->capacity ? expiry->capacity * 2 : BATCH_COUNT;
	size_t room = expiry->keys_room ? expiry->keys_room : BATCH_COUNT * 32;
	struct old_entry *list;
	uint8_t *keys;

	if (expiry->count == expiry->capacity) {
		list = realloc(expiry->list, capacity * sizeof(*list));
		if (!list)
			return -ENOMEM;
		expiry->list = list;
		expiry->capacity = capacity;
	}
	while (room - expiry->keys_used < key_size)
		room *= 2;
	if (room > expiry->keys_room) {
		keys = realloc(expiry->keys, room);
		if (!keys)
			return -ENOMEM;
		expiry->keys = keys;
		expiry->keys_room = room;
	}
	return 0;
}

static int note(struct expiry *expiry, const struct kv_entry *entry)
{
	int error = make_room(expiry, entry->key.size);

	if (error)
		return error;
	memcpy(expiry->keys + expiry->keys_used, entry->key.data, entry->key.size);
	expiry->list[expiry->count++] =
		(struct old_entry){entry->seq, expiry->keys_used, entry->key.size};
	expiry->keys_used += entry->key.size;
	return 0;
}

/* The next stretch of the keyspace. -ENOENT: that was all */
static int note_stretch(struct expiry *expiry, struct kv_iterator *iterator)
{
	const struct kv_entry *entries;
	size_t i, count;
	int error;

	expiry->count = 0;
	expiry->keys_used = 0;
	kv_read_begin(expiry->kv);
	error = kv_iterator_read(iterator, &entries, &count);
	for (i = 0; !error && i < count; i++) {
		/* An entry that cannot be read has no age: it is left to kv_check. */
		if (!entries[i].status && entries[i].seq <= expiry->seq_max)
			error = note(expiry, &entries[i]);
	}
	kv_read_end(expiry->kv);
	if (!error)
		expiry->seen += count;
	return error;
}

/* ---- deleting -------------------------------------------------------------------------------- */

static int add(struct expiry *expiry, const struct old_entry *old)
{
	const uint8_t *key = expiry->keys + old->key_at;
	int error = kv_batch_delete(expiry->batch, expiry->keyspace, key, old->key_size);

	return error ? error :
		       kv_batch_expect(expiry->batch, expiry->keyspace, key, old->key_size,
				       old->seq);
}

/* Out: how many of them the batch took. */
static int fill(struct expiry *expiry, const struct old_entry *from, size_t count, size_t *taken)
{
	int error = 0;

	kv_batch_reset(expiry->batch);
	kv_batch_set_frees(expiry->batch);
	for (*taken = 0; *taken < count && *taken < BATCH_COUNT; ++*taken) {
		error = add(expiry, &from[*taken]);
		if (error)
			break;
	}
	return error == -E2BIG && *taken ? 0 : error;
}

static int delete_some(struct expiry *expiry, const struct old_entry *from, size_t count,
		       size_t *taken)
{
	int error = fill(expiry, from, count, taken);

	if (!error)
		error = kv_commit(expiry->kv, expiry->batch, NULL);
	if (!error)
		expiry->expired += *taken;
	return error;
}

/* Some entries were changed since they were noted, so each is deleted by itself. */
static int delete_singly(struct expiry *expiry, const struct old_entry *from, size_t count)
{
	size_t i, taken;
	int error = 0;

	for (i = 0; i < count && !error; i++) {
		error = delete_some(expiry, &from[i], 1, &taken);
		if (error == -ESTALE)
			error = 0;
	}
	return error;
}

static int delete_noted(struct expiry *expiry)
{
	size_t at, taken;
	int error = 0;

	for (at = 0; at < expiry->count && !error; at += taken) {
		error = delete_some(expiry, &expiry->list[at], expiry->count - at, &taken);
		if (error == -ESTALE)
			error = delete_singly(expiry, &expiry->list[at], taken);
	}
	return error;
}

/* ---- the pass -------------------------------------------------------------------------------- */

static int pass(struct expiry *expiry, struct kv_iterator *iterator, kv_progress_fn *progress,
		void *progress_arg)
{
	uint64_t total = 0;
	int error = kv_count(expiry->kv, expiry->keyspace, &total), result;

	while (!error) {
		error = note_stretch(expiry, iterator);
		if (error)
			break;
		error = delete_noted(expiry);
		if (!error && progress) {
			result = progress(progress_arg, expiry->seen < total ? expiry->seen : total,
					  total);
			error = result ? -ECANCELED : 0;
		}
	}
	return error == -ENOENT ? 0 : error;
}

int kv_expire(struct kv *kv, unsigned keyspace, uint64_t before_us, kv_progress_fn *progress,
	      void *progress_arg, uint64_t *expired)
{
	struct expiry expiry = {.kv = kv, .keyspace = keyspace};
	struct kv_iterator *iterator = NULL;
	int error;

	if (kv->info.read_only)
		return -EROFS;
	if (keyspace >= kv->info.keyspace_count)
		return -EINVAL;
	error = times_seq_before(kv, before_us, &expiry.seq_max);
	if (!error && expiry.seq_max) {
		error = kv_iterator_open(kv, keyspace, KV_ITERATE_KEYS, &iterator);
		if (!error)
			error = kv_batch_new(kv, &expiry.batch);
		if (!error)
			error = pass(&expiry, iterator, progress, progress_arg);
		kv_batch_free(expiry.batch);
		kv_iterator_close(iterator);
	}
	free(expiry.list);
	free(expiry.keys);
	if (expired)
		*expired = expiry.expired;
	return error;
}
