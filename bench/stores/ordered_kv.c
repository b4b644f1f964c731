/* SPDX-License-Identifier: MIT */
/*
 * ordered_kv.c - an ordered keyspace as a set: keys with empty values, through the public
 * interface.
 */
#include "ordered.h"

#include <errno.h>
#include <kv.h>
#include <stdlib.h>

#define BULK 1000u /* of a commit */

struct ordered {
	struct kv *kv;
	struct kv_cursor *cursor;
	struct kv_batch *batch;
};

static void set_close(struct ordered *set)
{
	kv_cursor_close(set->cursor);
	kv_batch_free(set->batch);
	if (set->kv && kv_close(set->kv))
		abort();
	free(set);
}

static int set_open(const char *path, struct ordered **out)
{
	struct kv_keyspace_spec keyspace = {.name = "bench", .ordered = true};
	struct kv_create_options options = {.keyspaces = &keyspace, .keyspace_count = 1};
	struct kv_open_options open_options = {0};
	struct ordered *set = calloc(1, sizeof(*set));
	int err;

	if (!set)
		return -ENOMEM;
	err = kv_create(NULL, path, &options, NULL, NULL);
	if (!err)
		err = kv_open(NULL, path, &open_options, &set->kv);
	if (!err)
		err = kv_cursor_open(set->kv, 0, &set->cursor);
	if (!err)
		err = kv_batch_new(set->kv, &set->batch);
	if (err)
		set_close(set);
	else
		*out = set;
	return err;
}

static int insert(struct ordered *set, const struct entry_key *key)
{
	return kv_put(set->kv, 0, key->text, ENTRY_KEY_SIZE, "", 0, NULL);
}

static int insert_bulk(struct ordered *set, const struct entry_key *keys, unsigned count)
{
	int err = 0;

	for (unsigned i = 0; !err && i < count; i++) {
		err = kv_batch_put(set->batch, 0, keys[i].text, ENTRY_KEY_SIZE, "", 0);
		if (!err && (i % BULK == BULK - 1 || i + 1 == count))
			err = kv_commit(set->kv, set->batch, NULL);
	}
	return err;
}

static int erase(struct ordered *set, const struct entry_key *key)
{
	return kv_delete(set->kv, 0, key->text, ENTRY_KEY_SIZE, NULL);
}

static int rank(struct ordered *set, const struct entry_key *key, uint64_t *out)
{
	return kv_rank(set->kv, 0, key->text, ENTRY_KEY_SIZE, out);
}

static int key_out(struct ordered *set, int err, struct entry_key *out)
{
	if (!err)
		memcpy(out->text, kv_cursor_key(set->cursor).data, ENTRY_KEY_SIZE);
	return err;
}

static int select_at(struct ordered *set, uint64_t position, struct entry_key *out)
{
	return key_out(set, kv_cursor_select(set->cursor, position), out);
}

static int first(struct ordered *set, struct entry_key *out)
{
	return key_out(set, kv_cursor_first(set->cursor), out);
}

static int last(struct ordered *set, struct entry_key *out)
{
	return key_out(set, kv_cursor_last(set->cursor), out);
}

static int walk(struct ordered *set, int err, unsigned count, uint64_t *sum)
{
	while (!err && count--) {
		*sum += ordered_see(kv_cursor_key(set->cursor).data);
		err = kv_cursor_next(set->cursor);
	}
	return err == -ENOENT ? 0 : err;
}

static int range_by_position(struct ordered *set, uint64_t position, unsigned count, uint64_t *sum)
{
	return walk(set, kv_cursor_select(set->cursor, position), count, sum);
}

static int range_by_key(
	struct ordered *set, const struct entry_key *from, unsigned count, uint64_t *sum)
{
	return walk(set, kv_cursor_seek(set->cursor, from->text, ENTRY_KEY_SIZE), count, sum);
}

static uint64_t memory(struct ordered *set)
{
	struct kv_stats stats;

	kv_stats(set->kv, &stats);
	return stats.memory_index_bytes + stats.memory_order_bytes;
}

const struct ordered_ops ordered_kv = {
	.name = "kv",
	.about = "our engine: ordered keyspace, a commit per change; memory of both indexes",
	.open = set_open,
	.close = set_close,
	.insert = insert,
	.insert_bulk = insert_bulk,
	.remove = erase,
	.rank = rank,
	.select = select_at,
	.first = first,
	.last = last,
	.range_by_position = range_by_position,
	.range_by_key = range_by_key,
	.memory = memory,
};
