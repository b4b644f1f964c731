/* SPDX-License-Identifier: MIT */
/* checkpoint_order_save.c - see checkpoint_order_save.h. */
#include "checkpoint_order_save.h"

#include <errno.h>
#include <stdlib.h>

#define ROOM_STEP 65536u /* bytes */

int order_saving_init(struct order_saving *saving, struct kv *kv, struct checkpoint_stream *stream,
		      struct journal *changes)
{
	memset(saving, 0, sizeof(*saving));
	saving->kv = kv;
	saving->stream = stream;
	saving->changes = changes;
	saving->last = malloc(KV_KEY_SIZE_MAX);
	return saving->last ? 0 : -ENOMEM;
}

void order_saving_fini(struct order_saving *saving)
{
	order_walk_free(saving->walk);
	free(saving->last);
	free(saving->fences);
}

static int add_fence(struct order_saving *saving, const uint8_t *key, size_t key_size)
{
	struct format_checkpoint_fence fence = {.chunk = saving->stream->chunk,
						.offset = (uint16_t)saving->stream->used,
						.key_size = (uint16_t)key_size,
						.keyspace = (uint8_t)saving->keyspace};
	size_t need = saving->fences_size + sizeof(fence) + key_size, room = saving->fences_room;
	uint8_t *fences;

	while (room < need)
		room = room * 2 + ROOM_STEP;
	if (room > saving->fences_room) {
		fences = realloc(saving->fences, room);
		if (!fences)
			return -ENOMEM;
		saving->fences = fences;
		saving->fences_room = room;
	}
	memcpy(saving->fences + saving->fences_size, &fence, sizeof(fence));
	memcpy(saving->fences + saving->fences_size + sizeof(fence), key, key_size);
	saving->fences_size = need;
	return 0;
}

static size_t shared_size(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
	size_t size = 0, most = a_size < b_size ? a_size : b_size;

	for (; size + 8 <= most; size += 8) {
		uint64_t a_word, b_word;

		memcpy(&a_word, a + size, 8);
		memcpy(&b_word, b + size, 8);
		if (a_word != b_word)
			return size + (unsigned)__builtin_ctzll(a_word ^ b_word) / 8;
	}
	while (size < most && a[size] == b[size])
		size++;
	return size;
}

/*
 * An entry of which a word of the key is left, as nearly all are, in three stores: what stands
 * behind it in the chunk is overwritten by what comes next, or was never used. False: nothing was
 * done.
 */
static inline bool put_short(struct order_saving *saving,
			     const struct format_checkpoint_entry *entry, const uint8_t *key)
{
	struct checkpoint_stream *stream = saving->stream;
	uint8_t *to = stream->bytes + stream->used;
	uint64_t word;

	if (entry->rest > sizeof(word) || entry->shared > ORDER_WALK_KEY_WORDS - sizeof(word) ||
	    stream->used + sizeof(*entry) + sizeof(word) >= sizeof(stream->bytes))
		return false;
	memcpy(&word, key + entry->shared, sizeof(word));
	memcpy(to, entry, sizeof(*entry));
	memcpy(to + sizeof(*entry), &word, sizeof(word));
	memcpy(saving->last + entry->shared, &word, sizeof(word));
	stream->used += sizeof(*entry) + entry->rest;
	return true;
}

static int put_entry(struct order_saving *saving)
{
	size_t key_size, shared = 0;
	const uint8_t *key = order_walk_key(saving->walk, &key_size);
	struct format_checkpoint_entry entry = {.address = order_walk_address(saving->walk)};
	int error = 0;

	if (saving->fenced == saving->stream->chunk + 1)
		shared = shared_size(saving->last, saving->last_size, key, key_size);
	else
		error = add_fence(saving, key, key_size);
	saving->fenced = saving->stream->chunk + 1;
	entry.shared = (uint16_t)shared;
	entry.rest = (uint16_t)(key_size - shared);
	saving->last_size = key_size;
	if (!error && put_short(saving, &entry, key))
		return 0;
	if (!error)
		error = checkpoint_stream_put(saving->stream, &entry, sizeof(entry));
	if (!error)
		error = checkpoint_stream_put(saving->stream, key + shared, key_size - shared);
	memcpy(saving->last + shared, key + shared, key_size - shared);
	return error;
}

/*
 * Begins saving an ordered index: from here on its changes are noted, and what was before, the walk
 * sees.
 */
static int begin_order(struct order_saving *saving)
{
	struct kv *kv = saving->kv;
	int error = order_walk_new(kv->order_of[saving->keyspace], &saving->walk);

	if (error)
		return error;
	pthread_mutex_lock(&kv->log.lock);
	kv->order_changes = saving->changes;
	kv->orders_noted |= 1u << saving->keyspace;
	pthread_mutex_unlock(&kv->log.lock);
	saving->last_size = 0;
	saving->fenced = 0;
	checkpoint_stream_begin(saving->stream, FORMAT_CHECKPOINT_ORDERS + saving->keyspace);
	return order_walk_first(saving->walk);
}

static int end_order(struct order_saving *saving)
{
	order_walk_free(saving->walk);
	saving->walk = NULL;
	saving->keyspace++;
	return checkpoint_stream_end(saving->stream);
}

int order_saving_step(struct order_saving *saving, unsigned chunks)
{
	int error = 0;

	while (chunks && !error && saving->keyspace < FORMAT_KEYSPACES) {
		uint32_t chunk = saving->stream->chunk;

		if (!saving->kv->order_of[saving->keyspace]) {
			saving->keyspace++;
			continue;
		}
		error = saving->walk ? order_walk_next(saving->walk) : begin_order(saving);
		if (!error)
			error = put_entry(saving);
		else if (error == -ENOENT)
			error = end_order(saving);
		chunks -= saving->stream->chunk != chunk;
	}
	return error ? error : saving->keyspace == FORMAT_KEYSPACES;
}
