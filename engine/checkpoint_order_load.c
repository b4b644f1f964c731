/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_order_load.c - stretches of ordered indexes, from a checkpoint's sections into the
 * trees; and an index that cannot be had from there, from the records: see checkpoint_order.h.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "checkpoint_stretch.h"
#include "epoch.h"
#include "lookup.h"

#define CHUNK ((uint64_t)FORMAT_CHECKPOINT_CHUNK)
#define BATCH 32u /* entries, or changes, that are done while writers wait */

/* ---- entries --------------------------------------------------------------------------------- */

/* Entries of a stretch, one after the other. */
struct decoder {
	uint8_t *bytes;
	size_t at, size;
	size_t key_size; /* 0: before the first one */
	uint64_t address;
	uint8_t key[KV_KEY_SIZE_MAX];
};

static int decode_next(struct decoder *decoder)
{
	struct format_checkpoint_entry entry;
	const uint8_t *rest;
	size_t old;

	if (decoder->size - decoder->at < sizeof(entry))
		return -EUCLEAN;
	memcpy(&entry, decoder->bytes + decoder->at, sizeof(entry));
	decoder->at += sizeof(entry);
	if (entry.shared > decoder->key_size || !entry.rest ||
	    (size_t)entry.shared + entry.rest > KV_KEY_SIZE_MAX ||
	    entry.rest > decoder->size - decoder->at)
		return -EUCLEAN;
	rest = decoder->bytes + decoder->at;
	old = decoder->key_size - entry.shared;
	/* Keys rise: what follows the shared bytes is above what stood there. */
	if (checkpoint_stretch_compare(rest, entry.rest, decoder->key + entry.shared, old) <= 0)
		return -EUCLEAN;
	memcpy(decoder->key + entry.shared, rest, entry.rest);
	decoder->key_size = (size_t)entry.shared + entry.rest;
	decoder->address = entry.address;
	decoder->at += entry.rest;
	return 0;
}

static uint64_t begin_of(const struct checkpoint_stretch *stretch)
{
	return stretch->chunk * CHUNK + stretch->offset;
}

/* The bytes of a stretch. */
static int read_stretch(const struct checkpoint_orders *orders, unsigned keyspace, uint32_t n,
			struct checkpoint_reader *reader, struct decoder *decoder)
{
	const struct checkpoint_tree *tree = &orders->trees[keyspace];
	uint64_t begin = begin_of(&tree->stretches[n]);
	uint64_t end = n + 1 < tree->count ?
			       begin_of(&tree->stretches[n + 1]) :
			       orders->file->header.sizes[FORMAT_CHECKPOINT_ORDERS + keyspace];
	int error = checkpoint_reader_seek(reader, begin);

	decoder->at = decoder->key_size = 0;
	decoder->size = end - begin;
	decoder->bytes = malloc(decoder->size + 1);
	if (!decoder->bytes)
		return -ENOMEM;
	return error ? error : checkpoint_reader_read(reader, decoder->bytes, decoder->size);
}

/* ---- a stretch ------------------------------------------------------------------------------- */

static int insert_one(struct kv *kv, struct order *order, const struct checkpoint_stretch *stretch,
		      struct decoder *decoder)
{
	bool first = !decoder->at;
	int error = decode_next(decoder);

	if (!error && first &&
	    checkpoint_stretch_compare(decoder->key, decoder->key_size, stretch->key,
				       stretch->key_size))
		error = -EUCLEAN;
	/*
	 * The address may be of a segment that was freed during the saving: a change says what it
	 * is now.
	 */
	if (error || !checkpoint_covers(kv, decoder->address))
		return error;
	return order_put(order, decoder->key, decoder->key_size, decoder->address);
}

static int insert_all(struct checkpoint_orders *orders, unsigned keyspace, uint32_t n,
		      struct decoder *decoder)
{
	struct checkpoint_tree *tree = &orders->trees[keyspace];
	const struct checkpoint_stretch *stretch = &tree->stretches[n];
	struct kv *kv = orders->kv;
	int error = 0;

	while (!error && decoder->at < decoder->size) {
		unsigned i;

		pthread_mutex_lock(&kv->log.lock);
		if (tree->failed)
			error = -EIO;
		for (i = 0; i < BATCH && !error && decoder->at < decoder->size; i++)
			error = insert_one(kv, kv->order_of[keyspace], stretch, decoder);
		pthread_mutex_unlock(&kv->log.lock);
	}
	/* Nothing of the next one. */
	if (!error && n + 1 < tree->count &&
	    checkpoint_stretch_compare(decoder->key, decoder->key_size, stretch[1].key,
				       stretch[1].key_size) >= 0)
		error = -EUCLEAN;
	return error;
}

/* Does what waits, and from then on it is changed like any other. */
static int let_in(struct checkpoint_orders *orders, unsigned keyspace, uint32_t n)
{
	struct checkpoint_tree *tree = &orders->trees[keyspace];
	struct checkpoint_stretch *stretch = &tree->stretches[n];
	struct kv *kv = orders->kv;
	bool done = false;
	int error = 0;

	while (!done && !error) {
		unsigned i;

		pthread_mutex_lock(&kv->log.lock);
		if (tree->failed)
			error = -EIO;
		for (i = 0; i < BATCH && !error && stretch->first; i++)
			error = checkpoint_stretch_catch_up(orders, kv->order_of[keyspace],
							    stretch);
		done = !error && !stretch->first;
		if (done)
			atomic_store_explicit(&stretch->state, STRETCH_PRESENT,
					      memory_order_release);
		pthread_mutex_unlock(&kv->log.lock);
	}
	return error;
}

static bool claim(struct kv *kv, struct checkpoint_stretch *stretch)
{
	bool absent;

	pthread_mutex_lock(&kv->log.lock);
	absent = atomic_load(&stretch->state) == STRETCH_ABSENT;
	if (absent)
		atomic_store(&stretch->state, STRETCH_CLAIMED);
	pthread_mutex_unlock(&kv->log.lock);
	return absent;
}

/* Loads it, or waits for who does. */
static int load_stretch(struct checkpoint_orders *orders, unsigned keyspace, uint32_t n,
			struct checkpoint_reader *reader)
{
	struct checkpoint_tree *tree = &orders->trees[keyspace];
	struct checkpoint_stretch *stretch = &tree->stretches[n];
	struct decoder *decoder;
	int error = 0;

	if (!claim(orders->kv, stretch)) {
		while (!checkpoint_stretch_is_present(stretch) && !tree->failed)
			sched_yield();
		return tree->failed ? -EIO : 0;
	}
	decoder = malloc(sizeof(*decoder));
	if (!decoder) {
		error = -ENOMEM;
	} else if (stretch->key_size) {
		error = read_stretch(orders, keyspace, n, reader, decoder);
		if (!error)
			error = insert_all(orders, keyspace, n, decoder);
		free(decoder->bytes);
	}
	free(decoder);
	if (!error)
		error = let_in(orders, keyspace, n);
	if (error)
		tree->failed = true;
	return error;
}

/* ---- on demand ------------------------------------------------------------------------------- */

static int load_alone(struct checkpoint_orders *orders, unsigned keyspace, uint32_t n)
{
	struct checkpoint_tree *tree = &orders->trees[keyspace];
	struct checkpoint_reader *reader;
	int error;

	/* Whoever builds the whole index anew waits for this count, or is seen here. */
	atomic_fetch_add(&tree->busy, 1);
	error = atomic_load(&tree->failed) ?
			-EIO :
			checkpoint_reader_new(orders->file, FORMAT_CHECKPOINT_ORDERS + keyspace,
					      &reader);
	if (!error) {
		error = load_stretch(orders, keyspace, n, reader);
		free(reader);
	}
	atomic_fetch_sub(&tree->busy, 1);
	return error;
}

int checkpoint_orders_need(struct checkpoint_orders *orders, unsigned keyspace,
			   struct kv_slice from, struct kv_slice to, bool forward)
{
	const struct checkpoint_tree *tree = &orders->trees[keyspace];
	uint32_t last = tree->count - 1, n = forward ? 0 : last, end = forward ? last : 0;

	if (from.size)
		n = checkpoint_stretch_find(tree, from.data, from.size);
	if (to.size)
		end = checkpoint_stretch_find(tree, to.data, to.size);
	for (;; n = forward ? n + 1 : n - 1) {
		if (!checkpoint_stretch_is_present(&tree->stretches[n]))
			return load_alone(orders, keyspace, n);
		if (n == end || (forward ? n > end : n < end))
			return 1;
	}
}

/* ---- without the section --------------------------------------------------------------------- */

struct rebuild {
	struct checkpoint_orders *orders;
	unsigned keyspace;
};

static int add_to_order(void *arg, uint64_t address)
{
	struct rebuild *rebuild = arg;
	struct kv *kv = rebuild->orders->kv;
	const struct format_record *record = segments_record(&kv->segments, address);

	if (!record)
		store_damaged(kv, address);
	if (atomic_load_explicit(rebuild->orders->stopping, memory_order_relaxed))
		return -ECANCELED;
	if (!record || record->keyspace != rebuild->keyspace)
		return 0;
	return order_put(kv->order_of[rebuild->keyspace], record->key, record->key_size, address);
}

/* Keys that are in no record: of a section that was not true. */
static int drop_strangers(struct kv *kv, unsigned keyspace)
{
	struct order *order = kv->order_of[keyspace];
	struct order_walk *walk;
	int error = order_walk_new(order, &walk), moved;

	if (error)
		return error;
	for (moved = order_walk_first(walk); !moved; moved = order_walk_next(walk)) {
		size_t size;
		const void *key = order_walk_key(walk, &size);
		struct lookup lookup = {&kv->segments, key, size, keyspace, NULL, 0};

		if (!index_lookup(&kv->index, keyhash_of(&kv->keyhash, keyspace, key, size),
				  lookup_match_head, &lookup))
			(void)order_delete(order, key, size);
	}
	order_walk_free(walk);
	return moved == -ENOENT ? 0 : moved;
}

/* From here on the index is changed like any other. With the log's lock. */
static void let_go(struct checkpoint_orders *orders, unsigned keyspace)
{
	atomic_fetch_and_explicit(&orders->kv->orders_loading, ~(1u << keyspace),
				  memory_order_release);
}

static int rebuild(struct checkpoint_orders *orders, unsigned keyspace)
{
	struct checkpoint_tree *tree = &orders->trees[keyspace];
	struct rebuild arg = {orders, keyspace};
	struct kv *kv = orders->kv;
	uint32_t n;
	int error = 0;

	/* Changes that nobody will make: what they say is in the hash index. */
	for (n = 0; n < tree->count && !error; n++) {
		while (tree->stretches[n].first && !error)
			error = checkpoint_stretch_catch_up(orders, kv->order_of[keyspace],
							    &tree->stretches[n]);
	}
	if (!error)
		error = index_each(&kv->index, add_to_order, &arg);
	/* A part of that index is missing as well: nobody knows which keys there are. */
	if (!error && atomic_load(&kv->index.failed))
		error = -EIO;
	if (!error && order_count(kv->order_of[keyspace]) != atomic_load(&kv->keys[keyspace]))
		error = drop_strangers(kv, keyspace);
	return error;
}

/*
 * Builds the index from the hash index and the records: slower, but possible as long as these can
 * be read.
 */
static int rebuild_order(struct checkpoint_orders *orders, unsigned keyspace, int why)
{
	struct checkpoint_tree *tree = &orders->trees[keyspace];
	struct kv *kv = orders->kv;
	int error;

	/* For want of memory it is not damaged. */
	if (why == -ENOMEM)
		store_report(kv, KV_WARNING,
			     "%s: no memory for an ordered index, which is made from the records",
			     FORMAT_CHECKPOINT_NAME);
	else
		checkpoint_damaged(
			kv, "an ordered index cannot be read; it is made anew from the records");
	atomic_store(&tree->failed, true);
	while (atomic_load(&tree->busy))
		sched_yield();
	/* Writers and compaction wait for us. */
	epoch_enter();
	pthread_mutex_lock(&kv->log.lock);
	error = rebuild(orders, keyspace);
	if (!error)
		let_go(orders, keyspace);
	pthread_mutex_unlock(&kv->log.lock);
	epoch_leave();
	return error;
}

/* ---- one after the other --------------------------------------------------------------------- */

bool checkpoint_orders_next(const struct checkpoint_orders *orders, unsigned *keyspace)
{
	const uint64_t *sizes = orders->file->header.sizes + FORMAT_CHECKPOINT_ORDERS;
	unsigned loading = atomic_load(&orders->kv->orders_loading), i, best = FORMAT_KEYSPACES;

	for (i = 0; i < FORMAT_KEYSPACES; i++) {
		if (loading & 1u << i && (best == FORMAT_KEYSPACES || sizes[i] < sizes[best]))
			best = i;
	}
	*keyspace = best;
	return best < FORMAT_KEYSPACES;
}

static int load_all(struct checkpoint_orders *orders, unsigned keyspace)
{
	const struct checkpoint_tree *tree = &orders->trees[keyspace];
	struct kv *kv = orders->kv;
	struct checkpoint_reader *reader;
	uint32_t n;
	int error =
		checkpoint_reader_new(orders->file, FORMAT_CHECKPOINT_ORDERS + keyspace, &reader);

	if (error)
		return error;
	for (n = 0; n < tree->count && !error; n++) {
		if (atomic_load_explicit(orders->stopping, memory_order_relaxed))
			error = -ECANCELED;
		else if (!checkpoint_stretch_is_present(&tree->stretches[n]))
			error = load_stretch(orders, keyspace, n, reader);
	}
	free(reader);
	if (error)
		return error;
	pthread_mutex_lock(&kv->log.lock);
	if (order_count(kv->order_of[keyspace]) != atomic_load(&kv->keys[keyspace]))
		error = -EUCLEAN;
	else
		let_go(orders, keyspace);
	pthread_mutex_unlock(&kv->log.lock);
	return error;
}

int checkpoint_orders_load(struct checkpoint_orders *orders, unsigned keyspace)
{
	int error = load_all(orders, keyspace);

	return error && error != -ECANCELED ? rebuild_order(orders, keyspace, error) : error;
}
