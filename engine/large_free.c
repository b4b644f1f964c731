/* SPDX-License-Identifier: MIT */
/*
 * large_free.c - pieces that nobody needs any more: finds out which, when a batch is committed, and deletes them in the
 * background, some at a time, as any other records are deleted.
 *
 * The intents in the hidden keyspace are the work list, in order; nothing else has to be remembered, and nothing has to be
 * done after a crash but to go on. An intent is looked at
 *   not at all      while the stream of its id is open
 *   not yet         until a grace period after its commit is over, if it condemns a whole value
 * and each batch of deletions is committed on the condition that what was read is still so.
 *
 * Threads: large_doom under the log's lock, large_wake any, all else the maintainer.
 */
#include <errno.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "epoch.h"
#include "large.h"
#include "lookup.h"
#include "read.h"
#include "maintain.h"
#include "value.h"

#define STEP_PIECES 128u /* deleted in one batch: some 60 us under the log's lock */
#define PAUSE_US 100u	 /* between two steps */
#define RETRY_US 10000u	 /* when there was no room in the log */

void large_init(struct large *large)
{
	pthread_mutex_init(&large->lock, NULL);
	/* Whatever was left when the store was closed. */
	atomic_store(&large->awake, true);
}

void large_fini(struct large *large)
{
	pthread_mutex_destroy(&large->lock);
	order_walk_free(large->walk);
	kv_batch_free(large->doomed);
	kv_batch_free(large->deletions);
	free(large->condemned);
}

void large_wake(struct kv *kv)
{
	atomic_store(&kv->large.awake, true);
	if (!kv->inline_maintenance)
		maintain_kick(kv);
}

/* ---- what a batch condemns ------------------------------------------------------------------- */

/* The id of the large value that is the newest of the record's key, if the record ends it. */
static bool condemns(struct kv *kv, const struct format_record *record,
		     const struct batch_entry *entry, uint64_t *id)
{
	struct lookup lookup = {&kv->segments, record->key, record->key_size, record->keyspace, NULL, 0};
	const void *value = entry->value ? entry->value : format_record_value(record);
	struct large_header old, new;

	if (!index_lookup(&kv->index, entry->hash, lookup_match, &lookup) ||
	    !(lookup.record->flags & FORMAT_RECORD_LARGE))
		return false;
	if (large_header_decode(format_record_value(lookup.record), lookup.record->value_size, &old))
		return false;
	*id = old.id;
	if (!(record->flags & FORMAT_RECORD_LARGE))
		return true;
	return !large_header_decode(value, record->value_size, &new) && new.id != old.id;
}

int large_doom(struct kv *kv, const struct kv_batch *batch, const struct kv_batch **out)
{
	struct large *large = &kv->large;
	uint8_t key[LARGE_INTENT_KEY_SIZE];
	size_t offset = 0;
	uint64_t id;
	unsigned i;
	int error = large->doomed ? 0 : kv_batch_new(kv, &large->doomed);

	if (error)
		return error;
	kv_batch_reset(large->doomed);
	for (i = 0; i < batch->count && !error; i++) {
		const struct format_record *record = batch_record(batch, offset);

		offset += batch_stride(record, &batch->entries[i]);
		if (record->keyspace >= KV_KEYSPACES_MAX ||
		    !condemns(kv, record, &batch->entries[i], &id))
			continue;
		large_intent_key(id, key);
		error = batch_put(large->doomed, LARGE_KEYSPACE, key, sizeof(key), NULL, 0);
	}
	if (error)
		return error;
	batch_finish(large->doomed);
	*out = large->doomed;
	return 0;
}

/* ---- one batch of deletions ------------------------------------------------------------------ */

/* What is to be freed, and what has to be so still when the deletions are committed. */
struct condemned {
	uint64_t id;
	uint64_t intent_seq;
	bool has_owner; /* only what the header does not name */
	unsigned keyspace;
	size_t key_size;
	uint8_t key[KV_KEY_SIZE_MAX];
	uint32_t pieces[STEP_PIECES];
	unsigned count;
};

static uint64_t newest_seq(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
			   const struct format_record **out)
{
	struct lookup lookup = {&kv->segments, key, key_size, keyspace, NULL, 0};

	if (!index_lookup(&kv->index, keyhash_of(&kv->keyhash, keyspace, key, key_size), lookup_match,
			  &lookup))
		return 0;
	*out = lookup.record;
	return lookup.record->seq;
}

/* The header that says which pieces of the id are needed, if there is one. */
static bool find_owner(struct kv *kv, const struct condemned *condemned, struct large_header *header)
{
	const struct format_record *record;

	return condemned->has_owner &&
	       newest_seq(kv, condemned->keyspace, condemned->key, condemned->key_size, &record) &&
	       (record->flags & FORMAT_RECORD_LARGE) &&
	       !large_header_decode(format_record_value(record), record->value_size, header) &&
	       header->id == condemned->id;
}

/* Is the intent still there, and does the header still name none of these pieces? Under the log's lock. */
static int still_condemned(struct kv *kv, const void *arg)
{
	const struct condemned *condemned = arg;
	const struct format_record *record;
	struct large_header header;
	uint8_t key[LARGE_INTENT_KEY_SIZE];
	unsigned i;

	large_intent_key(condemned->id, key);
	if (newest_seq(kv, LARGE_KEYSPACE, key, sizeof(key), &record) != condemned->intent_seq)
		return -EAGAIN;
	if (!find_owner(kv, condemned, &header))
		return 0;
	for (i = 0; i < condemned->count; i++) {
		if (large_header_has(&header, condemned->pieces[i]))
			return -EAGAIN;
	}
	return 0;
}

/* The next pieces of the id that are not needed. 1: these are the last ones */
static int collect(struct kv *kv, struct condemned *condemned)
{
	struct order_walk *walk = kv->large.walk;
	struct large_header header;
	bool owned = find_owner(kv, condemned, &header);
	uint8_t key[LARGE_PIECE_KEY_SIZE];
	uint64_t id;
	uint32_t piece;
	int error;

	condemned->count = 0;
	large_piece_key(condemned->id, 0, key);
	error = order_walk_at_least(walk, key, sizeof(key));
	for (; !error; error = order_walk_next(walk)) {
		size_t size;
		const void *found = order_walk_key(walk, &size);

		if (!large_piece_decode(found, size, &id, &piece) || id != condemned->id)
			return 1;
		if (owned && large_header_has(&header, piece))
			continue;
		if (condemned->count == STEP_PIECES)
			return 0;
		condemned->pieces[condemned->count++] = piece;
	}
	return error == -ENOENT ? 1 : error;
}

static int fill_deletions(struct kv *kv, const struct condemned *condemned, bool last)
{
	struct kv_batch *batch = kv->large.deletions;
	uint8_t key[LARGE_PIECE_KEY_SIZE];
	unsigned i;
	int error = 0;

	kv_batch_reset(batch);
	for (i = 0; i < condemned->count && !error; i++) {
		large_piece_key(condemned->id, condemned->pieces[i], key);
		error = batch_delete(batch, LARGE_KEYSPACE, key, sizeof(key));
	}
	large_intent_key(condemned->id, key);
	if (!error && last)
		error = batch_delete(batch, LARGE_KEYSPACE, key, LARGE_INTENT_KEY_SIZE);
	batch->check = still_condemned;
	batch->check_arg = condemned;
	batch->never_waits = true;
	kv_batch_set_frees(batch);
	return error;
}

static int free_some(struct kv *kv, struct condemned *condemned)
{
	int last, error;

	epoch_enter();
	last = collect(kv, condemned);
	epoch_leave();
	if (last < 0)
		return last;
	error = fill_deletions(kv, condemned, last);
	return error ? error : kv_commit(kv, kv->large.deletions, NULL);
}

/* ---- which intent ---------------------------------------------------------------------------- */

/* Takes an intent's record apart. False: it is not one that can be worked at now. */
static bool read_intent(struct kv *kv, uint64_t id, const struct format_record *record,
			struct condemned *condemned)
{
	struct kv_slice owner;

	if (stream_is_open(kv, id) || value_of(kv, record, &owner))
		return false;
	condemned->id = id;
	condemned->intent_seq = record->seq;
	condemned->has_owner = owner.size > 1;
	if (!condemned->has_owner)
		return true;
	condemned->keyspace = *(const uint8_t *)owner.data;
	condemned->key_size = owner.size - 1 < KV_KEY_SIZE_MAX ? owner.size - 1 : KV_KEY_SIZE_MAX;
	memcpy(condemned->key, (const uint8_t *)owner.data + 1, condemned->key_size);
	return true;
}

/* The first intent that can be worked at; 1, 0 if there is none. Inside a read section. */
static int find_intent(struct kv *kv, struct condemned *condemned)
{
	struct order_walk *walk = kv->large.walk;
	uint8_t key[LARGE_INTENT_KEY_SIZE];
	uint64_t id;
	int error;

	large_intent_key(0, key);
	error = order_walk_at_least(walk, key, sizeof(key));
	for (; !error; error = order_walk_next(walk)) {
		const struct format_record *record;
		size_t size;
		const void *found = order_walk_key(walk, &size);

		if (!large_intent_decode(found, size, &id))
			return 0;
		if (!read_record(kv, LARGE_KEYSPACE, found, size, &record) &&
		    read_intent(kv, id, record, condemned))
			return 1;
	}
	return error == -ENOENT ? 0 : error;
}

/* Memory for the work, once there is any. */
static int prepare(struct kv *kv)
{
	struct large *large = &kv->large;
	int error = 0;

	if (!large->walk)
		error = order_walk_new(store_order(kv, LARGE_KEYSPACE), &large->walk);
	if (!error && !large->deletions)
		error = kv_batch_new(kv, &large->deletions);
	if (!error && !large->condemned && !(large->condemned = malloc(sizeof(*large->condemned))))
		error = -ENOMEM;
	return error;
}

static int step(struct kv *kv)
{
	struct large *large = &kv->large;
	int found, error = prepare(kv);

	if (error)
		return error;
	/* Before the search: who condemns something from here on is not overlooked. */
	atomic_store(&large->awake, false);
	epoch_enter();
	found = find_intent(kv, large->condemned);
	epoch_leave();
	if (!found)
		return 0;
	atomic_store(&large->awake, true);
	if (found < 0)
		return found;
	/* Who read the header of what this intent condemns is done with it after this. */
	if (large->condemned->intent_seq > large->ripe_seq) {
		large->ripe_seq = kv_last_seq(kv);
		epoch_wait();
	}
	return free_some(kv, large->condemned);
}

void large_step(struct kv *kv)
{
	struct large *large = &kv->large;
	int error;

	if (!atomic_load(&large->awake) || kv->info.read_only || atomic_load(&kv->failed))
		return;
	error = step(kv);
	large->retry_at_us = error ? kv->env->clock_us(kv->env) + RETRY_US : 0;
}

bool large_free_now(struct kv *kv)
{
	struct large *large = &kv->large;
	bool any = false;

	while (atomic_load(&large->awake) && !atomic_load(&kv->failed)) {
		large_step(kv);
		/* A step that finds nothing puts it to sleep. */
		if (large->retry_at_us || !atomic_load(&large->awake))
			break;
		any = true;
	}
	return any;
}

void large_free_all(struct kv *kv)
{
	bool more;

	do {
		pthread_mutex_lock(&kv->maintain.lock);
		large_step(kv);
		more = atomic_load(&kv->large.awake) && !kv->large.retry_at_us &&
		       !atomic_load(&kv->failed);
		pthread_mutex_unlock(&kv->maintain.lock);
	} while (more);
}

void large_step_inline(struct kv *kv)
{
	pthread_mutex_lock(&kv->maintain.lock);
	large_step(kv);
	pthread_mutex_unlock(&kv->maintain.lock);
}

uint64_t large_pause_us(const struct kv *kv)
{
	uint64_t now_us;

	if (!atomic_load(&kv->large.awake))
		return UINT64_MAX;
	if (!kv->large.retry_at_us)
		return PAUSE_US;
	now_us = kv->env->clock_us(kv->env);
	return kv->large.retry_at_us > now_us ? kv->large.retry_at_us - now_us : PAUSE_US;
}
