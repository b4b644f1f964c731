/* SPDX-License-Identifier: MIT */
/* apply.c - see apply.h. */
#include "apply.h"

#include "checkpoint.h"
#include "lookup.h"

int apply_reserve(struct kv *kv, uint64_t count, const uint64_t keys[FORMAT_KEYSPACES],
		  uint64_t key_bytes)
{
	int error = index_reserve(&kv->index, count);
	unsigned i;

	for (i = 0; i < kv->info.keyspace_count && !error; i++) {
		if (keys[i] && kv->order_of[i])
			error = order_reserve(kv->order_of[i], keys[i], key_bytes);
	}
	if (keys[FORMAT_KEYSPACE_LARGE] && !error)
		error = order_reserve(kv->order_of[FORMAT_KEYSPACE_LARGE],
				      keys[FORMAT_KEYSPACE_LARGE], key_bytes);
	return error;
}

/* While a checkpoint's ordered indexes are not loaded only replay changes anything. */
static int put_in_order(struct kv *kv, const struct format_record *record, uint64_t address)
{
	struct order *order = kv->order_of[record->keyspace];

	if (!order)
		return 0;
	if (__builtin_expect(atomic_load_explicit(&kv->orders_loading, memory_order_relaxed), 0))
		return checkpoint_defer(kv, record, address);
	return order_put(order, record->key, record->key_size, address);
}

static int delete_in_order(struct kv *kv, const struct format_record *record)
{
	struct order *order = kv->order_of[record->keyspace];

	if (!order)
		return 0;
	if (__builtin_expect(atomic_load_explicit(&kv->orders_loading, memory_order_relaxed), 0))
		return checkpoint_defer(kv, record, 0);
	return order_delete(order, record->key, record->key_size);
}

static void mark_verified(struct kv *kv, uint64_t address)
{
	segment_mark_verified(kv->segments.table[segments_slot(&kv->segments, address)],
			      segments_offset(&kv->segments, address));
}

static void account(struct kv *kv, uint64_t address, int64_t bytes)
{
	struct segment *segment = kv->segments.table[segments_slot(&kv->segments, address)];

	store_add(&segment->live_bytes, (uint64_t)bytes);
	store_add(&kv->live_bytes, (uint64_t)bytes);
}

static int apply_put(struct kv *kv, const struct format_record *record, uint64_t address,
		     uint64_t hash, uint64_t old, const struct format_record *old_record,
		     struct index_place *place)
{
	int error;

	mark_verified(kv, address);
	account(kv, address, (int64_t)format_record_length(record));
	if (old) {
		account(kv, old, -(int64_t)format_record_length(old_record));
		index_replace(place, address);
	} else {
		error = index_insert_at(&kv->index, place, hash, address);
		if (error)
			return error;
		store_add(&kv->keys[record->keyspace], 1);
	}
	/* Last: a cursor that comes upon the key finds its value. */
	return put_in_order(kv, record, address);
}

static int apply_delete(struct kv *kv, const struct format_record *record, uint64_t old,
			const struct format_record *old_record, struct index_place *place)
{
	if (!old)
		return 0;
	account(kv, old, -(int64_t)format_record_length(old_record));
	index_remove(&kv->index, place);
	store_add(&kv->keys[record->keyspace], (uint64_t)-1);
	return delete_in_order(kv, record);
}

int apply_record(struct kv *kv, const struct format_record *record, uint64_t address, uint64_t hash)
{
	struct lookup lookup = {&kv->segments, record->key, record->key_size, record->keyspace, NULL, 0};
	struct index_place place;
	uint64_t old = index_find(&kv->index, hash, lookup_match_head, &lookup, &place);

	bool stale = old && lookup.record->seq > record->seq;

	if (atomic_load_explicit(&kv->replacing, memory_order_relaxed) != (old != 0))
		atomic_store_explicit(&kv->replacing, old != 0, memory_order_relaxed);
	if (record->flags & FORMAT_RECORD_TOMBSTONE) {
		kv->segments.table[segments_slot(&kv->segments, address)]->tombstone_bytes +=
			format_record_length(record);
		kv->tombstone_bytes += format_record_length(record);
		return stale ? 0 : apply_delete(kv, record, old, lookup.record, &place);
	}
	if (stale)
		return 0;
	return apply_put(kv, record, address, hash, old, lookup.record, &place);
}

static inline bool is_address(void *arg, uint64_t address)
{
	return address == *(const uint64_t *)arg;
}

int apply_move(struct kv *kv, const struct format_record *copy, uint64_t hash, uint64_t from,
	       uint64_t from_length, uint64_t to)
{
	struct order *order = kv->order_of[copy->keyspace];
	struct index_place place;

	if (!index_find(&kv->index, hash, is_address, &from, &place))
		return 0;
	mark_verified(kv, to);
	account(kv, to, (int64_t)format_record_length(copy));
	account(kv, from, -(int64_t)from_length);
	index_replace(&place, to);
	return order ? order_set_address(order, copy->key, copy->key_size, from, to) : 0;
}

bool apply_is_newest(struct kv *kv, uint64_t address, uint64_t hash)
{
	return index_lookup(&kv->index, hash, is_address, &address);
}
