/* SPDX-License-Identifier: MIT */
/* apply.c - see apply.h. */
#include "apply.h"

#include "checkpoint.h"
#include "large_header.h"
#include "lookup.h"
#include "snapshot.h"
#include "version.h"
#include "view.h"

/*
 * Is the keyspace's ordered index not loaded completely yet? Then changes of stretches that are not
 * there wait.
 */
static inline bool is_loading(const struct kv *kv, unsigned keyspace)
{
	unsigned loading = atomic_load_explicit(&kv->orders_loading, memory_order_relaxed);

	return __builtin_expect(loading, 0) && loading & 1u << keyspace;
}

int apply_reserve(struct kv *kv, uint64_t count, const uint64_t keys[FORMAT_KEYSPACES],
		  uint64_t key_bytes)
{
	int error = index_reserve(&kv->index, count);
	unsigned i;

	if (views_any(kv) && !error)
		error = version_reserve(kv, count, key_bytes);
	for (i = 0; i < kv->info.keyspace_count && !error; i++) {
		if (keys[i] && kv->order_of[i])
			error = order_reserve(kv->order_of[i], keys[i], key_bytes);
	}
	if (keys[FORMAT_KEYSPACE_LARGE] && !error)
		error = order_reserve(kv->order_of[FORMAT_KEYSPACE_LARGE],
				      keys[FORMAT_KEYSPACE_LARGE], key_bytes);
	return error;
}

static int put_in_order(struct kv *kv, const struct format_record *record, uint64_t address)
{
	struct order *order = kv->order_of[record->keyspace];

	if (!order)
		return 0;
	if (is_loading(kv, record->keyspace))
		return checkpoint_defer(kv, record, address);
	if (__builtin_expect(kv->order_changes != NULL, 0))
		checkpoint_note(kv, record, address);
	return order_put(order, record->key, record->key_size, address);
}

static int delete_in_order(struct kv *kv, const struct format_record *record)
{
	struct order *order = kv->order_of[record->keyspace];

	if (!order)
		return 0;
	if (is_loading(kv, record->keyspace))
		return checkpoint_defer(kv, record, 0);
	if (__builtin_expect(kv->order_changes != NULL, 0))
		checkpoint_note(kv, record, 0);
	return order_delete(order, record->key, record->key_size);
}

static void mark_verified(struct kv *kv, uint64_t address)
{
	segment_mark_verified(kv->segments.table[segments_slot(&kv->segments, address)],
			      segments_offset(&kv->segments, address));
}

static int apply_put(struct kv *kv, const struct format_record *record, uint64_t address,
		     uint64_t hash, uint64_t old, uint64_t old_length, struct index_place *place)
{
	int error;

	mark_verified(kv, address);
	store_account(kv, address, (int64_t)format_record_length(record));
	if (old) {
		store_account(kv, old, -(int64_t)old_length);
		index_replace(place, address);
	} else {
		error = index_insert_at(&kv->index, place, hash, address);
		if (error)
			return error;
		store_add(&kv->keys[record->keyspace], 1);
	}
	/* The ordered index comes last: a cursor that comes upon the key then finds its value. */
	return put_in_order(kv, record, address);
}

static int apply_delete(struct kv *kv, const struct format_record *record, uint64_t old,
			uint64_t old_length, struct index_place *place)
{
	if (!old)
		return 0;
	store_account(kv, old, -(int64_t)old_length);
	index_remove(&kv->index, place);
	store_add(&kv->keys[record->keyspace], (uint64_t)-1);
	return delete_in_order(kv, record);
}

static inline bool is_address(void *arg, uint64_t address)
{
	return address == *(const uint64_t *)arg;
}

/*
 * Was the record at this address, which is damaged, the key's? If its header and key, as they
 * stand, say so: then what comes now takes its place, and nobody is told any more that the key may
 * be lost. Not where a view might want it, nor for what compaction has moved, which may be older.
 * What it takes stays accounted: its length is not certain.
 */
static __attribute__((noinline)) bool
is_damaged_old(struct kv *kv, const struct format_record *record, uint64_t damaged, uint64_t hash,
	       struct index_place *place)
{
	const uint8_t *base = segments_base(&kv->segments, segments_slot(&kv->segments, damaged));
	uint32_t offset = segments_offset(&kv->segments, damaged);
	const struct format_record *old;

	if (!base || views_any(kv) || (record->flags & FORMAT_RECORD_RELOCATED) ||
	    offset + FORMAT_RECORD_HEADER_SIZE + record->key_size > kv->segments.size)
		return false;
	old = (const struct format_record *)(base + offset);
	return old->key_size == record->key_size && old->keyspace == record->keyspace &&
	       !memcmp(old->key, record->key, record->key_size) &&
	       index_find(&kv->index, hash, is_address, &damaged, place);
}

static int replace_damaged(struct kv *kv, const struct format_record *record, uint64_t address,
			   struct index_place *place)
{
	if (record->flags & FORMAT_RECORD_TOMBSTONE) {
		index_remove(&kv->index, place);
		store_add(&kv->keys[record->keyspace], (uint64_t)-1);
		return delete_in_order(kv, record);
	}
	mark_verified(kv, address);
	store_account(kv, address, (int64_t)format_record_length(record));
	index_replace(place, address);
	return put_in_order(kv, record, address);
}

/*
 * Called before the key's newest record changes. What was the newest is kept if a view sees it, and
 * so is a record that turns out to be older. A tombstone that replay, or compaction, comes upon
 * late ends what has come to stand before it.
 */
static int keep_for_views(struct kv *kv, const struct format_record *record, uint64_t address,
			  uint64_t hash, uint64_t old, const struct format_record *old_record)
{
	bool tombstone = record->flags & FORMAT_RECORD_TOMBSTONE;
	bool stale = old && old_record->seq > record->seq;
	uint64_t end = tombstone ? format_tombstone_since(record) : record->seq;
	int error = 0;

	/* Nobody looks for an intent through a view. */
	if (record->keyspace == FORMAT_KEYSPACE_LARGE && record->key_size == LARGE_INTENT_KEY_SIZE)
		return 0;
	if (tombstone && (stale || !old || (record->flags & FORMAT_RECORD_RELOCATED)))
		version_cut(kv, record, hash);
	if (stale)
		return tombstone ? 0 : apply_old(kv, record, address, hash, old_record->seq);
	if (old && views_any_in(&kv->views, old_record->seq, end))
		error = version_keep(kv, old_record, old, hash, end);
	return tombstone && old && !error ? version_haunt(kv, record, hash) : error;
}

/* Nobody reads the engine's own records through a view. */
static int apply_special(struct kv *kv, const struct format_record *record, uint64_t address,
			 uint64_t hash, uint64_t old, const struct format_record *old_record)
{
	if (record->keyspace == FORMAT_KEYSPACE_ENGINE)
		return snapshot_apply(kv, record, address);
	return keep_for_views(kv, record, address, hash, old, old_record);
}

static inline void note_replacing(struct kv *kv, uint64_t old)
{
	if (atomic_load_explicit(&kv->replacing, memory_order_relaxed) != (old != 0))
		atomic_store_explicit(&kv->replacing, old != 0, memory_order_relaxed);
}

static void account_tombstone(struct kv *kv, const struct format_record *record, uint64_t address)
{
	uint64_t length = format_record_length(record);

	kv->segments.table[segments_slot(&kv->segments, address)]->tombstone_bytes += length;
	kv->tombstone_bytes += length;
}

int apply_record(struct kv *kv, const struct format_record *record, uint64_t address, uint64_t hash)
{
	struct lookup lookup = {&kv->segments, record->key, record->key_size,
				record->keyspace, NULL, 0};
	struct index_place place;
	uint64_t old = index_find(&kv->index, hash, lookup_match_head, &lookup, &place);
	uint64_t old_length = old ? format_record_length(lookup.record) : 0;
	bool stale = old && lookup.record->seq > record->seq, damaged = false;
	int error;

	note_replacing(kv, old);
	if (__builtin_expect(views_any(kv) | (record->keyspace == FORMAT_KEYSPACE_ENGINE), 0)) {
		error = apply_special(kv, record, address, hash, old, lookup.record);
		if (error)
			return error;
	}
	if (__builtin_expect(!old && lookup.damaged, 0))
		damaged = is_damaged_old(kv, record, lookup.damaged, hash, &place);
	if (record->flags & FORMAT_RECORD_TOMBSTONE) {
		account_tombstone(kv, record, address);
		if (damaged)
			return replace_damaged(kv, record, address, &place);
		return stale ? 0 : apply_delete(kv, record, old, old_length, &place);
	}
	if (stale)
		return 0;
	if (__builtin_expect(damaged, 0))
		return replace_damaged(kv, record, address, &place);
	return apply_put(kv, record, address, hash, old, old_length, &place);
}

int apply_replacing(struct kv *kv, const struct format_record *record, uint64_t address,
		    uint64_t hash, uint64_t old, uint32_t old_length)
{
	struct index_place place;

	/*
	 * An address stands for the same record for ever: if the index leads to it, that record is
	 * the key's newest.
	 */
	if (views_any(kv) || record->keyspace == FORMAT_KEYSPACE_ENGINE ||
	    !index_find(&kv->index, hash, is_address, &old, &place))
		return apply_record(kv, record, address, hash);
	note_replacing(kv, old);
	if (!(record->flags & FORMAT_RECORD_TOMBSTONE))
		return apply_put(kv, record, address, hash, old, old_length, &place);
	account_tombstone(kv, record, address);
	return apply_delete(kv, record, old, old_length, &place);
}

int apply_committed(struct kv *kv, const struct format_record *record, uint64_t address,
		    uint64_t hash)
{
	struct lookup lookup = {&kv->segments, record->key, record->key_size,
				record->keyspace, NULL, 0};
	struct index_place place;
	uint64_t old = index_find(&kv->index, hash, lookup_match_head, &lookup, &place);
	int64_t length = (int64_t)format_record_length(record);

	if (__builtin_expect(lookup.damaged != 0, 0))
		return apply_record(kv, record, address, hash);
	note_replacing(kv, old);
	mark_verified(kv, address);
	store_account(kv, address, length);
	if (old) {
		store_account(kv, old, -(int64_t)format_record_length(lookup.record));
		index_replace(&place, address);
		return 0;
	}
	store_add(&kv->keys[record->keyspace], 1);
	return index_insert_at(&kv->index, &place, hash, address);
}

int apply_old(struct kv *kv, const struct format_record *record, uint64_t address, uint64_t hash,
	      uint64_t end)
{
	struct lookup lookup = {&kv->segments, record->key, record->key_size,
				record->keyspace, NULL, 0};
	int error;

	if (!views_any_in(&kv->views, record->seq, end))
		return 0;
	mark_verified(kv, address);
	error = version_keep(kv, record, address, hash, end);
	if (!error && !index_lookup(&kv->index, hash, lookup_match_head, &lookup))
		error = version_haunt(kv, record, hash);
	return error;
}

int apply_move(struct kv *kv, const struct format_record *copy, uint64_t hash, uint64_t from,
	       uint64_t from_length, uint64_t to)
{
	struct order *order = kv->order_of[copy->keyspace];
	struct index_place place;

	mark_verified(kv, to);
	if (!index_find(&kv->index, hash, is_address, &from, &place)) {
		(void)version_move(kv, hash, from, to, format_record_length(copy));
		return 0;
	}
	store_account(kv, to, (int64_t)format_record_length(copy));
	store_account(kv, from, -(int64_t)from_length);
	index_replace(&place, to);
	if (order && __builtin_expect(kv->order_changes != NULL, 0))
		checkpoint_note(kv, copy, to);
	return order ? order_set_address(order, copy->key, copy->key_size, from, to) : 0;
}

bool apply_is_newest(struct kv *kv, uint64_t address, uint64_t hash)
{
	return index_lookup(&kv->index, hash, is_address, &address);
}
