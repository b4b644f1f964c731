/* SPDX-License-Identifier: MIT */
/* checkpoint_order.c - see checkpoint_order.h. */
#include "checkpoint_order.h"

#include <errno.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "checkpoint_version.h"
#include "epoch.h"

#define FEW_CHANGES 256u /* are done while writers wait */
#define CHANGES_SIZE_MAX ((uint64_t)32 << 20)

struct checkpoint_change {
	struct checkpoint_change *next;
	uint64_t address; /* 0: delete */
	uint16_t key_size;
	uint8_t key[];
};

/* ---- changes that wait ------------------------------------------------------------------------- */

void checkpoint_orders_init(struct checkpoint_orders *orders, struct kv *kv,
			    const struct checkpoint_file *file, const _Atomic bool *stopping)
{
	unsigned i;

	orders->kv = kv;
	orders->file = file;
	orders->stopping = stopping;
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		orders->changes[i].end = &orders->changes[i].first;
}

/* The list, which begins anew. With the lock. */
static struct checkpoint_change *take_changes(struct checkpoint_orders *orders, unsigned keyspace)
{
	struct checkpoint_changes *changes = &orders->changes[keyspace];
	struct checkpoint_change *first = changes->first;

	changes->first = NULL;
	changes->end = &changes->first;
	changes->count = 0;
	return first;
}

static uint64_t change_size(const struct checkpoint_change *change)
{
	return sizeof(*change) + change->key_size;
}

/* Frees them, and says how much that was. */
static uint64_t free_changes(struct checkpoint_change *change)
{
	uint64_t size = 0;

	while (change) {
		struct checkpoint_change *next = change->next;

		size += change_size(change);
		free(change);
		change = next;
	}
	return size;
}

void checkpoint_orders_fini(struct checkpoint_orders *orders)
{
	unsigned i;

	for (i = 0; i < FORMAT_KEYSPACES; i++)
		free_changes(take_changes(orders, i));
}

int checkpoint_orders_defer(struct checkpoint_orders *orders, unsigned keyspace, const void *key,
			    size_t key_size, uint64_t address)
{
	struct checkpoint_changes *changes = &orders->changes[keyspace];
	struct checkpoint_change *change = malloc(sizeof(*change) + key_size);

	if (!change)
		return -ENOMEM;
	change->next = NULL;
	change->address = address;
	change->key_size = (uint16_t)key_size;
	memcpy(change->key, key, key_size);
	*changes->end = change;
	changes->end = &change->next;
	changes->count++;
	atomic_fetch_add(&orders->changes_size, change_size(change));
	return 0;
}

bool checkpoint_orders_are_full(const struct checkpoint_orders *orders)
{
	return atomic_load_explicit(&orders->changes_size, memory_order_relaxed) >
	       CHANGES_SIZE_MAX;
}

static int read_change(struct checkpoint_orders *orders, struct checkpoint_reader *reader,
		       uint8_t *key)
{
	struct kv *kv = orders->kv;
	struct format_checkpoint_change change;
	bool ghost;
	int error = checkpoint_reader_read(reader, &change, sizeof(change));

	if (error)
		return error;
	ghost = change.keyspace >= FORMAT_CHECKPOINT_GHOST;
	if (!change.key_size || (!ghost && !kv->order_of[change.keyspace]))
		return -EUCLEAN;
	error = checkpoint_reader_read(reader, key, change.key_size);
	if (!error && ghost)
		return versions_load_ghost(kv, change.keyspace - FORMAT_CHECKPOINT_GHOST, key,
					   change.key_size, change.address);
	/* Of a segment that is gone: a later change says what it is now. */
	if (error || (change.address && !checkpoint_covers(kv, change.address)))
		return error;
	return checkpoint_orders_defer(orders, change.keyspace, key, change.key_size,
				       change.address);
}

int checkpoint_orders_read(struct checkpoint_orders *orders)
{
	struct checkpoint_reader *reader = NULL;
	uint8_t *key = malloc(KV_KEY_SIZE_MAX);
	int error = key ? checkpoint_reader_new(orders->file, FORMAT_CHECKPOINT_ORDER_CHANGES,
						&reader) :
			  -ENOMEM;

	while (!error && reader->left)
		error = read_change(orders, reader, key);
	free(key);
	free(reader);
	return error;
}

static int do_changes(struct order *order, const struct checkpoint_change *change)
{
	int error = 0;

	for (; change && !error; change = change->next) {
		if (change->address)
			error = order_put(order, change->key, change->key_size, change->address);
		else if (order_delete(order, change->key, change->key_size) == -EINVAL)
			error = -EINVAL;
	}
	return error;
}

/* ---- from the section -------------------------------------------------------------------------- */

/* Where the reading of an ordered index is. */
struct order_reader {
	struct checkpoint_reader *reader;
	size_t key_size; /* 0: before the first one */
	uint64_t address; /* 0: of a segment that went while it was saved; a change says what it is now */
	uint8_t key[KV_KEY_SIZE_MAX], rest[KV_KEY_SIZE_MAX];
};

/* Is what the new key has behind their shared bytes above what the old one has there? */
static bool is_rising(const struct order_reader *reader, size_t shared, size_t rest)
{
	size_t old = reader->key_size - shared;
	int order = memcmp(reader->rest, reader->key + shared, old < rest ? old : rest);

	return order > 0 || (!order && rest > old);
}

static int read_entry(struct kv *kv, struct order_reader *reader)
{
	struct format_checkpoint_entry entry;
	int error = checkpoint_reader_read(reader->reader, &entry, sizeof(entry));

	if (error)
		return error;
	if (entry.shared > reader->key_size || !entry.rest ||
	    (size_t)entry.shared + entry.rest > KV_KEY_SIZE_MAX)
		return -EUCLEAN;
	error = checkpoint_reader_read(reader->reader, reader->rest, entry.rest);
	if (error)
		return error;
	if (!is_rising(reader, entry.shared, entry.rest))
		return -EUCLEAN;
	memcpy(reader->key + entry.shared, reader->rest, entry.rest);
	reader->key_size = (size_t)entry.shared + entry.rest;
	reader->address = checkpoint_covers(kv, entry.address) ? entry.address : 0;
	return 0;
}

static int read_order(struct checkpoint_orders *orders, unsigned keyspace)
{
	struct order *order = orders->kv->order_of[keyspace];
	struct order_reader *reader = malloc(sizeof(*reader));
	int error = -ENOMEM;

	if (!reader)
		return error;
	reader->key_size = 0;
	error = checkpoint_reader_new(orders->file, FORMAT_CHECKPOINT_ORDERS + keyspace,
				      &reader->reader);
	if (error)
		goto out;
	while (!error && reader->reader->left) {
		if (atomic_load_explicit(orders->stopping, memory_order_relaxed))
			error = -ECANCELED;
		if (!error)
			error = read_entry(orders->kv, reader);
		if (!error && reader->address)
			error = order_put(order, reader->key, reader->key_size, reader->address);
	}
	free(reader->reader);
out:
	free(reader);
	return error;
}

/* From now on it is changed like any other. With the lock. */
static void let_go(struct checkpoint_orders *orders, unsigned keyspace)
{
	atomic_fetch_and_explicit(&orders->kv->orders_loading, ~(1u << keyspace),
				  memory_order_release);
}

/* Does what waits, most of it while more comes, and lets go of the index. */
static int catch_up(struct checkpoint_orders *orders, unsigned keyspace)
{
	struct kv *kv = orders->kv;
	struct order *order = kv->order_of[keyspace];
	bool last = false;
	int error = 0;

	while (!last && !error) {
		struct checkpoint_change *changes;

		pthread_mutex_lock(&kv->log.lock);
		last = orders->changes[keyspace].count <= FEW_CHANGES;
		changes = take_changes(orders, keyspace);
		if (last) {
			error = do_changes(order, changes);
			if (!error && order_count(order) != atomic_load(&kv->keys[keyspace]))
				error = -EUCLEAN;
			if (!error)
				let_go(orders, keyspace);
		}
		pthread_mutex_unlock(&kv->log.lock);
		if (!last)
			error = do_changes(order, changes);
		atomic_fetch_sub(&orders->changes_size, free_changes(changes));
	}
	return error;
}

/* ---- without it -------------------------------------------------------------------------------- */

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

/* From the hash index and the records: slower, but always possible as long as these can be read. */
static int rebuild_order(struct checkpoint_orders *orders, unsigned keyspace)
{
	struct rebuild rebuild = {orders, keyspace};
	struct kv *kv = orders->kv;
	struct order *order;
	int error = order_new(&order);

	if (error)
		return error;
	checkpoint_damaged(kv, "an ordered index cannot be read; it is made anew from the records");
	/* What waits is in the hash index already. Writers and compaction wait for us. */
	epoch_enter();
	pthread_mutex_lock(&kv->log.lock);
	order_free(kv->order_of[keyspace]);
	kv->order_of[keyspace] = order;
	atomic_fetch_sub(&orders->changes_size, free_changes(take_changes(orders, keyspace)));
	error = index_each(&kv->index, add_to_order, &rebuild);
	if (!error)
		let_go(orders, keyspace);
	pthread_mutex_unlock(&kv->log.lock);
	epoch_leave();
	return error;
}

/* ---- one after the other ------------------------------------------------------------------------- */

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

int checkpoint_orders_load(struct checkpoint_orders *orders, unsigned keyspace)
{
	int error = read_order(orders, keyspace);

	if (!error)
		error = catch_up(orders, keyspace);
	return error && error != -ECANCELED ? rebuild_order(orders, keyspace) : error;
}
