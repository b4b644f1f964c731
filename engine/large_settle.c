/* SPDX-License-Identifier: MIT */
/*
 * large_settle.c - intents that damage has left behind: what deletes an intent, or its value's
 * header, stands in a record of its own, and where that alone is lost the intent condemns pieces
 * that a header names. Then the header is right.
 *
 * An intent does not say whose value it condemns, so all the log is searched for the header: only
 * where opening has come upon damage, and there are intents.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apply.h"
#include "checkpoint.h"
#include "epoch.h"
#include "large.h"
#include "log_rest.h"
#include "sync.h"

struct settling {
	uint64_t *ids; /* of values that intents condemn, rising */
	bool *named;   /* of each: there is its header */
	size_t count, capacity;
};

static int add_id(struct settling *settling, uint64_t id)
{
	if (settling->count == settling->capacity) {
		size_t capacity = settling->capacity * 2 + 64;
		uint64_t *ids = realloc(settling->ids, capacity * sizeof(*ids));

		if (!ids)
			return -ENOMEM;
		settling->ids = ids;
		settling->capacity = capacity;
	}
	settling->ids[settling->count++] = id;
	return 0;
}

/* Does it condemn all of a value? One that names a header goes by that. */
static bool is_for_whole(struct kv *kv, uint64_t address)
{
	const struct format_record *intent = segments_record(&kv->segments, address);

	return intent && !intent->value_size;
}

/* Inside a read section. */
static int collect(struct kv *kv, struct order_walk *walk, struct settling *settling)
{
	uint8_t first[LARGE_INTENT_KEY_SIZE];
	int error;

	large_intent_key(0, first);
	error = order_walk_at_least(walk, first, sizeof(first));
	for (; !error; error = order_walk_next(walk)) {
		size_t size;
		const void *key = order_walk_key(walk, &size);
		uint64_t id;

		if (!large_intent_decode(key, size, &id))
			return 0;
		if (is_for_whole(kv, order_walk_address(walk)))
			error = add_id(settling, id);
		if (error)
			return error;
	}
	return error == -ENOENT ? 0 : error;
}

static int by_id(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static void look_at(struct kv *kv, const struct format_record *record, uint64_t address,
		    struct settling *settling)
{
	struct large_header header;
	const uint64_t *found;

	if (!(record->flags & FORMAT_RECORD_LARGE) ||
	    large_header_decode(format_record_value(record), record->value_size, &header))
		return;
	found = bsearch(&header.id, settling->ids, settling->count, sizeof(*found), by_id);
	if (found && apply_is_newest(kv, address,
				     keyhash_of(&kv->keyhash, record->keyspace, record->key,
						record->key_size)))
		settling->named[found - settling->ids] = true;
}

static void search(struct kv *kv, const struct segment *segment, struct settling *settling)
{
	struct segments *segments = &kv->segments;
	const uint8_t *base = segments_base(segments, segment->slot);
	uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE;
	uint64_t budget = SEGMENT_SEARCH_BUDGET(segments);

	while (base && offset < segment->end) {
		int64_t length = segment_validate(segments, segment, base, offset);

		if (length <= 0) {
			offset = segment_search(segments, segment, base,
						offset + FORMAT_RECORD_ALIGN, segment->end,
						&budget);
			continue;
		}
		look_at(kv, (const struct format_record *)(base + offset),
			segments_address(segments, segment->slot, offset), settling);
		offset += (uint32_t)length;
	}
}

static void search_all(struct kv *kv, struct settling *settling)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);

	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = kv->segments.table[slot];

		if (segment && segment->id)
			search(kv, segment, settling);
	}
}

/* Those which are named, in the place of all. */
static void spare(struct kv *kv, struct settling *settling)
{
	struct large *large = &kv->large;
	size_t i, count = 0;

	for (i = 0; i < settling->count; i++) {
		if (settling->named[i])
			settling->ids[count++] = settling->ids[i];
	}
	if (count) {
		large->spared = settling->ids;
		large->spared_count = count;
		settling->ids = NULL;
		store_add(&kv->damaged, 1);
		store_report(kv, KV_WARNING,
			     "%zu large values were to be freed, by what is left of a damaged batch; "
			     "they stay",
			     count);
	}
}

/* ---- the intents that are wrong ---------------------------------------------------------------- */

#define DELETED_AT_ONCE 64u

static int delete_some(struct kv *kv, struct kv_batch *batch, size_t from)
{
	const struct large *large = &kv->large;
	uint8_t key[LARGE_INTENT_KEY_SIZE];
	size_t i;
	int error = 0;

	kv_batch_reset(batch);
	for (i = from; i < large->spared_count && i < from + DELETED_AT_ONCE && !error; i++) {
		large_intent_key(large->spared[i], key);
		error = batch_delete(batch, LARGE_KEYSPACE, key, sizeof(key));
	}
	kv_batch_set_frees(batch);
	return error ? error : kv_commit(kv, batch, NULL);
}

static int delete_spared(struct kv *kv)
{
	struct kv_batch *batch;
	size_t from;
	int error = kv_batch_new(kv, &batch);

	if (error)
		return error;
	for (from = 0; from < kv->large.spared_count && !error; from += DELETED_AT_ONCE)
		error = delete_some(kv, batch, from);
	kv_batch_free(batch);
	return error ? error : sync_wait(kv, kv_last_seq(kv));
}

/*
 * Durably, before anything else: the damage may not be seen when the store is opened again, and then
 * nobody would doubt them. No thread is there yet that would make room.
 */
static int forget_spared(struct kv *kv)
{
	bool inline_maintenance = kv->inline_maintenance;
	int error = log_rests(kv) ? log_wake(kv) : 0;

	kv->inline_maintenance = true;
	if (!error)
		error = delete_spared(kv);
	kv->inline_maintenance = inline_maintenance;
	if (atomic_load(&kv->failed))
		return -EIO;
	if (error) {
		store_report(kv, KV_WARNING,
			     "what was to free them cannot be deleted: %s; until the store is opened "
			     "again no checkpoint is written",
			     strerror(-error));
		return 0;
	}
	large_spared_fini(&kv->large);
	return 0;
}

void large_spared_fini(struct large *large)
{
	free(large->spared);
	large->spared = NULL;
	large->spared_count = 0;
}

bool large_is_spared(const struct large *large, uint64_t id)
{
	return large->spared_count && bsearch(&id, large->spared, large->spared_count,
					      sizeof(*large->spared), by_id);
}

int large_settle(struct kv *kv)
{
	struct settling settling = {0};
	struct order_walk *walk;
	int error = order_walk_new(store_order(kv, LARGE_KEYSPACE), &walk);

	if (error)
		return error;
	epoch_enter();
	error = collect(kv, walk, &settling);
	epoch_leave();
	order_walk_free(walk);
	if (!error && settling.count) {
		settling.named = calloc(settling.count, sizeof(*settling.named));
		error = settling.named ? 0 : -ENOMEM;
	}
	if (!error && settling.count) {
		epoch_enter();
		search_all(kv, &settling);
		epoch_leave();
		spare(kv, &settling);
	}
	free(settling.ids);
	free(settling.named);
	return !error && kv->large.spared_count ? forget_spared(kv) : error;
}
