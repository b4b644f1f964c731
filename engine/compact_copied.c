/* SPDX-License-Identifier: MIT */
/* compact_copied.c - see compact_copied.h. */
#include "compact_copied.h"

#include <stdlib.h>

#include "keyhash.h"
#include "lookup.h"

#define CAPACITY_MIN 1024u

struct copy {
	uint64_t hash;
	uint64_t address;
};

static bool is_copy(const struct format_record *record)
{
	const unsigned flags = FORMAT_RECORD_TOMBSTONE | FORMAT_RECORD_RELOCATED;

	return !format_record_is_bare(record) && (record->flags & flags) == flags;
}

static uint64_t hash_of(const struct kv *kv, const struct format_record *record)
{
	return keyhash_of(&kv->keyhash, record->keyspace, record->key, record->key_size);
}

static bool add(struct copied *copied, uint64_t hash, uint64_t address, uint64_t length)
{
	struct copy *copies = copied->copies;

	if (copied->count == copied->capacity) {
		copied->capacity = copied->capacity ? copied->capacity * 2 : CAPACITY_MIN;
		copies = realloc(copies, copied->capacity * sizeof(*copies));
		if (!copies)
			return false;
		copied->copies = copies;
	}
	copies[copied->count++] = (struct copy){hash, address};
	copied->bytes += length;
	return true;
}

/* False: no memory. Behind damage nothing is looked for. */
static bool look_into(struct kv *kv, const struct segment *segment, uint32_t end)
{
	const uint8_t *base = segments_base(&kv->segments, segment->slot);
	uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE;
	int64_t length;

	for (; offset < end; offset += (uint32_t)length) {
		const struct format_record *record = (const struct format_record *)(base + offset);

		length = segment_validate(&kv->segments, segment, base, offset);
		if (length <= 0)
			break;
		if (is_copy(record) &&
		    !add(&kv->compaction.copied, hash_of(kv, record),
			 segments_address(&kv->segments, segment->slot, offset),
			 (uint64_t)length))
			return false;
	}
	return true;
}

/* The log's segment before the one with this id, or NULL. */
static const struct segment *segment_before(const struct kv *kv, uint64_t id)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);
	const struct segment *before = NULL;

	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = kv->segments.table[slot];

		if (segment && segment->id && segment->id < id && !segment->emptied &&
		    !format_segment_is_cold(segment->id) &&
		    (!before || segment->id > before->id))
			before = segment;
	}
	return before;
}

static int compare(const void *a, const void *b)
{
	const struct copy *left = a, *right = b;

	return left->hash < right->hash ? -1 : left->hash > right->hash;
}

void compact_copied_forget(struct kv *kv)
{
	struct copied *copied = &kv->compaction.copied;

	free(copied->copies);
	copied->copies = NULL;
	copied->count = copied->capacity = 0;
	copied->bytes = 0;
	copied->known = false;
}

void compact_copied_look(struct kv *kv)
{
	struct copied *copied = &kv->compaction.copied;
	const struct segment *last, *before;
	uint32_t end;
	bool all;

	if (copied->known)
		return;
	pthread_mutex_lock(&kv->log.lock);
	last = kv->log.hot.active;
	end = kv->log.hot.offset;
	pthread_mutex_unlock(&kv->log.lock);
	before = segment_before(kv, last->id);
	copied->last_id = last->id;
	copied->before_id = before ? before->id : 0;
	all = (!before || look_into(kv, before, before->end)) && look_into(kv, last, end);
	if (!all || !copied->count) {
		compact_copied_forget(kv);
	} else {
		qsort(copied->copies, copied->count, sizeof(struct copy), compare);
		copied->looks++;
	}
	copied->known = all;
}

void compact_copied_emptied(struct kv *kv, const struct segment *segment)
{
	const struct copied *copied = &kv->compaction.copied;

	if (segment->id == copied->last_id || segment->id == copied->before_id)
		compact_copied_forget(kv);
}

bool compact_copied_any(const struct kv *kv)
{
	return kv->compaction.copied.count;
}

/* Is it still the segment that was looked into, and does it stay? */
static bool stays(const struct copied *copied, const struct segment *segment)
{
	return segment && !segment->emptied &&
	       (segment->id == copied->last_id || segment->id == copied->before_id);
}

static bool is_same(const struct format_record *copy, const struct format_record *tombstone)
{
	return copy->seq == tombstone->seq &&
	       lookup_same_owner(copy, tombstone->keyspace, tombstone->key_size) &&
	       lookup_same_key(copy->key, tombstone->key, tombstone->key_size);
}

/* The first of those with such a hash, or of those behind. */
static size_t first_of(const struct copied *copied, uint64_t hash)
{
	size_t from = 0, to = copied->count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (copied->copies[middle].hash < hash)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

bool compact_copied_has(const struct kv *kv, const struct segment *victim,
			const struct format_record *tombstone, uint64_t hash)
{
	const struct copied *copied = &kv->compaction.copied;
	const struct segments *segments = &kv->segments;
	size_t i = first_of(copied, hash);

	for (; i < copied->count && copied->copies[i].hash == hash; i++) {
		uint64_t address = copied->copies[i].address;
		uint32_t slot = segments_slot(segments, address);
		const struct segment *segment = segments->table[slot];

		if (stays(copied, segment) && segment->id > victim->id &&
		    is_same((const void *)(segments_base(segments, slot) +
					   segments_offset(segments, address)), tombstone))
			return true;
	}
	return false;
}

uint64_t compact_copied_bytes(struct kv *kv, struct segment *segment)
{
	const struct copied *copied = &kv->compaction.copied;
	const uint8_t *base = segments_base(&kv->segments, segment->slot);
	uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE;
	int64_t length;

	if (segment->copied_look == copied->looks)
		return segment->copied_bytes;
	segment->copied_look = copied->looks;
	segment->copied_bytes = 0;
	kv->env->map_advise(base, segment->end, ENV_ADVICE_WILLNEED);
	for (; segment->tombstone_bytes && offset < segment->end; offset += (uint32_t)length) {
		const struct format_record *record = (const struct format_record *)(base + offset);

		length = segment_validate(&kv->segments, segment, base, offset);
		if (length <= 0)
			break;
		if (!format_record_is_bare(record) && record->flags & FORMAT_RECORD_TOMBSTONE &&
		    compact_copied_has(kv, segment, record, hash_of(kv, record)))
			segment->copied_bytes += (uint32_t)length;
	}
	return segment->copied_bytes;
}
