/* SPDX-License-Identifier: MIT */
/* checkpoint_order.c - see checkpoint_order.h. */
#include "checkpoint_order.h"

#include <errno.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "checkpoint_stretch.h"
#include "checkpoint_version.h"

#define CHANGES_SIZE_MAX ((uint64_t)32 << 20)

/* ---- stretches ------------------------------------------------------------------------------- */

void checkpoint_orders_init(struct checkpoint_orders *orders, struct kv *kv,
			    const struct checkpoint_file *file, const _Atomic bool *stopping)
{
	orders->kv = kv;
	orders->file = file;
	orders->stopping = stopping;
}

/* ---- changes that wait ----------------------------------------------------------------------- */

static uint64_t change_size(const struct checkpoint_change *change)
{
	return sizeof(*change) + change->key_size;
}

int checkpoint_stretch_catch_up(struct checkpoint_orders *orders, struct order *order,
				struct checkpoint_stretch *stretch)
{
	struct checkpoint_change *change = stretch->first;
	int error = 0;

	if (change->address)
		error = order_put(order, change->key, change->key_size, change->address);
	else if (order_delete(order, change->key, change->key_size) == -EINVAL)
		error = -EINVAL;
	stretch->first = change->next;
	if (!stretch->first)
		stretch->last = NULL;
	atomic_fetch_sub(&orders->changes_size, change_size(change));
	free(change);
	return error;
}

void checkpoint_orders_fini(struct checkpoint_orders *orders)
{
	unsigned i;

	for (i = 0; i < FORMAT_KEYSPACES; i++) {
		struct checkpoint_tree *tree = &orders->trees[i];
		uint32_t n;

		for (n = 0; n < tree->count; n++) {
			struct checkpoint_change *change = tree->stretches[n].first, *next;

			for (; change; change = next) {
				next = change->next;
				free(change);
			}
		}
		free(tree->stretches);
	}
	free(orders->fences);
}

static int defer(struct checkpoint_orders *orders, struct checkpoint_stretch *stretch,
		 const void *key, size_t key_size, uint64_t address)
{
	struct checkpoint_change *change = malloc(sizeof(*change) + key_size);

	if (!change)
		return -ENOMEM;
	change->next = NULL;
	change->address = address;
	change->key_size = (uint16_t)key_size;
	memcpy(change->key, key, key_size);
	if (stretch->last)
		stretch->last->next = change;
	else
		stretch->first = change;
	stretch->last = change;
	atomic_fetch_add(&orders->changes_size, change_size(change));
	return 0;
}

int checkpoint_orders_change(struct checkpoint_orders *orders, unsigned keyspace, const void *key,
			     size_t key_size, uint64_t address)
{
	struct checkpoint_tree *tree = &orders->trees[keyspace];
	struct checkpoint_stretch *stretch =
		&tree->stretches[checkpoint_stretch_find(tree, key, key_size)];
	struct order *order = orders->kv->order_of[keyspace];

	if (!checkpoint_stretch_is_present(stretch))
		return defer(orders, stretch, key, key_size, address);
	return address ? order_put(order, key, key_size, address) :
			 order_delete(order, key, key_size);
}

bool checkpoint_orders_are_full(const struct checkpoint_orders *orders)
{
	return atomic_load_explicit(&orders->changes_size, memory_order_relaxed) >
	       CHANGES_SIZE_MAX;
}

/* ---- what is read when the store is opened --------------------------------------------------- */

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
	/* The address may be of a segment that is gone: a later change says what it is now. */
	if (error || (change.address && !checkpoint_covers(kv, change.address)))
		return error;
	return checkpoint_orders_change(orders, change.keyspace, key, change.key_size,
					change.address);
}

static int read_changes(struct checkpoint_orders *orders)
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

/* The section in memory. */
static int read_fences(struct checkpoint_orders *orders)
{
	uint64_t size = orders->file->header.sizes[FORMAT_CHECKPOINT_FENCES];
	struct checkpoint_reader *reader;
	int error;

	orders->fences = malloc(size + 1);
	if (!orders->fences)
		return -ENOMEM;
	error = checkpoint_reader_new(orders->file, FORMAT_CHECKPOINT_FENCES, &reader);
	if (error)
		return error;
	error = checkpoint_reader_read(reader, orders->fences, size);
	free(reader);
	return error;
}

/* The fence at *at, which moves behind it. -EUCLEAN */
static int next_fence(const struct checkpoint_orders *orders, uint64_t *at,
		      struct format_checkpoint_fence *out)
{
	uint64_t left = orders->file->header.sizes[FORMAT_CHECKPOINT_FENCES] - *at;

	if (left < sizeof(*out))
		return -EUCLEAN;
	memcpy(out, orders->fences + *at, sizeof(*out));
	if (!out->key_size || out->key_size > left - sizeof(*out) ||
	    out->keyspace >= FORMAT_KEYSPACES || !orders->kv->order_of[out->keyspace])
		return -EUCLEAN;
	*at += sizeof(*out) + out->key_size;
	return 0;
}

static int count_fences(const struct checkpoint_orders *orders, uint32_t counts[FORMAT_KEYSPACES])
{
	uint64_t at = 0;
	int error = 0;

	while (!error && at < orders->file->header.sizes[FORMAT_CHECKPOINT_FENCES]) {
		struct format_checkpoint_fence fence;

		error = next_fence(orders, &at, &fence);
		if (!error)
			counts[fence.keyspace]++;
	}
	return error;
}

/* Does it stand behind the one before it, and inside the section? */
static bool follows(const struct checkpoint_orders *orders, const struct checkpoint_tree *tree,
		    unsigned keyspace, const struct checkpoint_stretch *stretch)
{
	uint64_t size = orders->file->header.sizes[FORMAT_CHECKPOINT_ORDERS + keyspace];
	const struct checkpoint_stretch *before = stretch - 1;

	if ((uint64_t)stretch->chunk * FORMAT_CHECKPOINT_CHUNK + stretch->offset >= size)
		return false;
	if (!tree->count)
		return !stretch->chunk && !stretch->offset;
	return before->chunk < stretch->chunk &&
	       checkpoint_stretch_compare(before->key, before->key_size, stretch->key,
					  stretch->key_size) < 0;
}

static int place_fences(struct checkpoint_orders *orders)
{
	uint64_t at = 0;

	while (at < orders->file->header.sizes[FORMAT_CHECKPOINT_FENCES]) {
		struct format_checkpoint_fence fence;
		struct checkpoint_stretch *stretch;
		struct checkpoint_tree *tree;
		int error = next_fence(orders, &at, &fence);

		if (error)
			return error;
		tree = &orders->trees[fence.keyspace];
		stretch = &tree->stretches[tree->count];
		stretch->key = orders->fences + at - fence.key_size;
		stretch->key_size = fence.key_size;
		stretch->offset = fence.offset;
		stretch->chunk = fence.chunk;
		if (!follows(orders, tree, fence.keyspace, stretch))
			return -EUCLEAN;
		tree->count++;
	}
	return 0;
}

/* Each tree has one stretch at least, for changes to wait in. */
static int make_stretches(struct checkpoint_orders *orders)
{
	uint32_t counts[FORMAT_KEYSPACES] = {0};
	const uint64_t *sizes = orders->file->header.sizes + FORMAT_CHECKPOINT_ORDERS;
	unsigned i;
	int error = count_fences(orders, counts);

	for (i = 0; i < FORMAT_KEYSPACES && !error; i++) {
		struct checkpoint_tree *tree = &orders->trees[i];

		if (!orders->kv->order_of[i])
			continue;
		tree->stretches = calloc((size_t)counts[i] + 1, sizeof(*tree->stretches));
		if (!tree->stretches)
			return -ENOMEM;
		if (!counts[i] && sizes[i])
			error = -EUCLEAN;
	}
	if (!error)
		error = place_fences(orders);
	for (i = 0; i < FORMAT_KEYSPACES && !error; i++)
		orders->trees[i].count += orders->trees[i].stretches && !orders->trees[i].count;
	return error;
}

int checkpoint_orders_read(struct checkpoint_orders *orders)
{
	int error = read_fences(orders);

	if (!error)
		error = make_stretches(orders);
	return error ? error : read_changes(orders);
}
