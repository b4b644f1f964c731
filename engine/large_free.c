/* SPDX-License-Identifier: MIT */
/*
 * large_free.c - pieces that nobody needs any more: finds out which, when a batch is committed, and
 * deletes them in the background, some at a time, as any other records are deleted.
 *
 * The intents in the hidden keyspace are the work list, in order; nothing else has to be
 * remembered, and nothing has to be done after a crash but to go on. An intent is looked at
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
#define STEP_VALUES 64u	 /* of so many values */
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
	large_spared_fini(large);
}

void large_wake(struct kv *kv)
{
	atomic_store(&kv->large.awake, true);
	if (!kv->inline_maintenance)
		maintain_kick(kv);
}

/* ---- what a batch condemns ------------------------------------------------------------------- */

/* The large value that is the newest of the record's key, if the record ends it. */
static bool condemns(struct kv *kv, const struct format_record *record,
		     const struct batch_entry *entry, struct large_header *old)
{
	struct lookup lookup = {&kv->segments, record->key, record->key_size,
				record->keyspace, NULL, 0};
	const void *value = entry->value ? entry->value : format_record_value(record);
	struct large_header new;

	if (!index_lookup(&kv->index, entry->hash, lookup_match, &lookup) ||
	    !(lookup.record->flags & FORMAT_RECORD_LARGE))
		return false;
	if (large_header_decode(format_record_value(lookup.record), lookup.record->value_size, old))
		return false;
	if (!(record->flags & FORMAT_RECORD_LARGE))
		return true;
	return !large_header_decode(value, record->value_size, &new) && new.id != old->id;
}

static void count_doomed(struct large *large, const struct large_header *header)
{
	uint64_t pieces = large_header_count(header), bytes = pieces << header->shift;

	large->doomed_pieces += pieces;
	large->doomed_bytes += bytes < header->size ? bytes : header->size;
}

int large_doom(struct kv *kv, const struct kv_batch *batch, const struct kv_batch **out)
{
	struct large *large = &kv->large;
	uint8_t key[LARGE_INTENT_KEY_SIZE];
	struct large_header old;
	size_t offset = 0;
	unsigned i;
	int error = large->doomed ? 0 : kv_batch_new(kv, &large->doomed);

	if (error)
		return error;
	kv_batch_reset(large->doomed);
	large->doomed_pieces = large->doomed_bytes = 0;
	for (i = 0; i < batch->count && !error; i++) {
		const struct format_record *record = batch_record(batch, offset);

		offset += batch_stride(record, &batch->entries[i]);
		if (record->keyspace >= KV_KEYSPACES_MAX ||
		    !condemns(kv, record, &batch->entries[i], &old))
			continue;
		count_doomed(large, &old);
		large_intent_key(old.id, key);
		error = batch_put(large->doomed, LARGE_KEYSPACE, key, sizeof(key), NULL, 0);
	}
	if (error)
		return error;
	batch_finish(large->doomed);
	*out = large->doomed;
	return 0;
}

void large_condemn(struct kv *kv)
{
	struct large *large = &kv->large;

	large->condemned_pieces += large->doomed_pieces;
	store_add(&large->condemned_bytes, large->doomed_bytes);
	large_wake(kv);
}

/* Counts freed pieces, and in proportion the bytes that they took. */
static void count_freed(struct kv *kv, uint64_t pieces)
{
	struct large *large = &kv->large;
	uint64_t bytes;

	pthread_mutex_lock(&kv->log.lock);
	bytes = atomic_load(&large->condemned_bytes);
	if (pieces < large->condemned_pieces) {
		bytes -= bytes / large->condemned_pieces * pieces;
		large->condemned_pieces -= pieces;
	} else {
		bytes = large->condemned_pieces = 0;
	}
	atomic_store(&large->condemned_bytes, bytes);
	pthread_mutex_unlock(&kv->log.lock);
}

/* ---- one batch of deletions ------------------------------------------------------------------ */

/* A value, and the intent that condemns pieces of it. */
struct condemned_value {
	uint64_t id;
	uint64_t intent_seq;
	bool last; /* the batch has the last of them */
};

struct condemned_piece {
	unsigned value; /* its number below */
	uint32_t piece;
};

/* What is to be freed, and what must still hold when the deletions are committed. */
struct condemned {
	struct condemned_value values[STEP_VALUES];
	unsigned value_count;
	struct condemned_piece pieces[STEP_PIECES];
	unsigned count;
	/* For one value alone: only the pieces that its header does not name are freed. */
	bool has_owner;
	unsigned keyspace;
	size_t key_size;
	uint8_t key[KV_KEY_SIZE_MAX];
};

static uint64_t newest_seq(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
			   const struct format_record **out)
{
	struct lookup lookup = {&kv->segments, key, key_size, keyspace, NULL, 0};

	if (!index_lookup(&kv->index, keyhash_of(&kv->keyhash, keyspace, key, key_size),
			  lookup_match, &lookup))
		return 0;
	*out = lookup.record;
	return lookup.record->seq;
}

/* The header that says which pieces of the one value are needed, if there is one. */
static bool find_owner(struct kv *kv, const struct condemned *condemned,
		       struct large_header *header)
{
	const struct format_record *record;

	return condemned->has_owner &&
	       newest_seq(kv, condemned->keyspace, condemned->key, condemned->key_size, &record) &&
	       (record->flags & FORMAT_RECORD_LARGE) &&
	       !large_header_decode(format_record_value(record), record->value_size, header) &&
	       header->id == condemned->values[0].id;
}

/*
 * Are the intents still there, and does the header still name none of these pieces? Under the log's
 * lock.
 */
static int still_condemned(struct kv *kv, const void *arg)
{
	const struct condemned *condemned = arg;
	const struct format_record *record;
	struct large_header header;
	uint8_t key[LARGE_INTENT_KEY_SIZE];
	unsigned i;

	for (i = 0; i < condemned->value_count; i++) {
		large_intent_key(condemned->values[i].id, key);
		if (newest_seq(kv, LARGE_KEYSPACE, key, sizeof(key), &record) !=
		    condemned->values[i].intent_seq)
			return -EAGAIN;
	}
	if (!find_owner(kv, condemned, &header))
		return 0;
	for (i = 0; i < condemned->count; i++) {
		if (large_header_has(&header, condemned->pieces[i].piece))
			return -EAGAIN;
	}
	return 0;
}

/*
 * The next pieces of a value that are not needed. 1: these are the last ones; 0: there is no room
 * for more in the batch
 */
static int collect_value(struct kv *kv, struct condemned *condemned, unsigned value)
{
	struct order_walk *walk = kv->large.walk;
	struct large_header header;
	bool owned = find_owner(kv, condemned, &header);
	uint8_t key[LARGE_PIECE_KEY_SIZE];
	uint64_t id;
	uint32_t piece;
	int error;

	if (large_is_spared(&kv->large, condemned->values[value].id))
		return 1;
	large_piece_key(condemned->values[value].id, 0, key);
	error = order_walk_at_least(walk, key, sizeof(key));
	for (; !error; error = order_walk_next(walk)) {
		size_t size;
		const void *found = order_walk_key(walk, &size);

		if (!large_piece_decode(found, size, &id, &piece) ||
		    id != condemned->values[value].id)
			return 1;
		if (owned && large_header_has(&header, piece))
			continue;
		if (condemned->count == STEP_PIECES)
			return 0;
		condemned->pieces[condemned->count++] = (struct condemned_piece){value, piece};
	}
	return error == -ENOENT ? 1 : error;
}

static int collect(struct kv *kv, struct condemned *condemned)
{
	unsigned i;
	int last = 1;

	condemned->count = 0;
	for (i = 0; i < condemned->value_count && last == 1; i++) {
		last = collect_value(kv, condemned, i);
		condemned->values[i].last = last == 1;
	}
	/* Values behind one that is not done have to wait. */
	condemned->value_count = i;
	return last < 0 ? last : 0;
}

static int fill_deletions(struct kv *kv, const struct condemned *condemned)
{
	struct kv_batch *batch = kv->large.deletions;
	uint8_t key[LARGE_PIECE_KEY_SIZE];
	unsigned i;
	int error = 0;

	kv_batch_reset(batch);
	for (i = 0; i < condemned->count && !error; i++) {
		const struct condemned_piece *piece = &condemned->pieces[i];
		const struct condemned_value *value = &condemned->values[piece->value];

		large_piece_key(value->id, piece->piece, key);
		error = batch_delete_since(batch, LARGE_KEYSPACE, key, sizeof(key),
					   value->intent_seq);
	}
	for (i = 0; i < condemned->value_count && !error; i++) {
		large_intent_key(condemned->values[i].id, key);
		if (condemned->values[i].last)
			error = batch_delete(batch, LARGE_KEYSPACE, key, LARGE_INTENT_KEY_SIZE);
	}
	batch->check = still_condemned;
	batch->check_arg = condemned;
	batch->never_waits = true;
	kv_batch_set_frees(batch);
	return error;
}

static int free_some(struct kv *kv, struct condemned *condemned)
{
	int error;

	epoch_enter();
	error = collect(kv, condemned);
	epoch_leave();
	if (!error)
		error = fill_deletions(kv, condemned);
	if (!error)
		error = kv_commit(kv, kv->large.deletions, NULL);
	if (!error && !condemned->has_owner)
		count_freed(kv, condemned->count);
	return error;
}

/* ---- which intents --------------------------------------------------------------------------- */

/*
 * Takes an intent into the batch. One that leaves some pieces to a header is worked at alone. True:
 * the batch takes no more.
 */
static bool take_intent(struct kv *kv, uint64_t id, const struct format_record *record,
			struct condemned *condemned)
{
	struct kv_slice owner;

	if (stream_is_open(kv, id) || value_of(kv, record, &owner))
		return false;
	if (owner.size > 1 && condemned->value_count)
		return true;
	condemned->values[condemned->value_count++] =
		(struct condemned_value){.id = id, .intent_seq = record->seq};
	kv->large.next_id = id + 1;
	condemned->has_owner = owner.size > 1;
	if (!condemned->has_owner)
		return condemned->value_count == STEP_VALUES;
	condemned->keyspace = *(const uint8_t *)owner.data;
	condemned->key_size = owner.size - 1 < KV_KEY_SIZE_MAX ? owner.size - 1 : KV_KEY_SIZE_MAX;
	memcpy(condemned->key, (const uint8_t *)owner.data + 1, condemned->key_size);
	return true;
}

/* The next intents that can be worked at, of ids from this one on. Inside a read section. */
static int find_intents_from(struct kv *kv, uint64_t from, struct condemned *condemned)
{
	struct order_walk *walk = kv->large.walk;
	uint8_t key[LARGE_INTENT_KEY_SIZE];
	uint64_t id;
	int error;

	condemned->value_count = 0;
	large_intent_key(from, key);
	error = order_walk_at_least(walk, key, sizeof(key));
	for (; !error; error = order_walk_next(walk)) {
		const struct format_record *record;
		size_t size;
		const void *found = order_walk_key(walk, &size);

		if (!large_intent_decode(found, size, &id))
			return 0;
		if (!read_record(kv, LARGE_KEYSPACE, found, size, &record) &&
		    take_intent(kv, id, record, condemned))
			return 0;
	}
	return error == -ENOENT ? 0 : error;
}

/* Round and round, so that none waits behind others that keep coming. */
static int find_intents(struct kv *kv, struct condemned *condemned)
{
	uint64_t from = kv->large.next_id;
	int error = find_intents_from(kv, from, condemned);

	if (error || condemned->value_count || !from)
		return error;
	return find_intents_from(kv, 0, condemned);
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

static uint64_t newest_of(const struct condemned *condemned)
{
	uint64_t newest = 0;
	unsigned i;

	for (i = 0; i < condemned->value_count; i++) {
		if (condemned->values[i].intent_seq > newest)
			newest = condemned->values[i].intent_seq;
	}
	return newest;
}

static int step(struct kv *kv)
{
	struct large *large = &kv->large;
	int error = prepare(kv);

	if (error)
		return error;
	/* Stored before the search, so that what is condemned from here on is not overlooked. */
	atomic_store(&large->awake, false);
	epoch_enter();
	error = find_intents(kv, large->condemned);
	epoch_leave();
	if (!error && !large->condemned->value_count)
		return 0;
	atomic_store(&large->awake, true);
	if (error)
		return error;
	/* After this, everybody who read a header that these intents condemn is done with it. */
	if (newest_of(large->condemned) > large->ripe_seq) {
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
