/* SPDX-License-Identifier: MIT */
/*
 * lookup.h - from a key to its newest record: the hash index's candidates, checked against the log.
 */
#ifndef LOOKUP_H
#define LOOKUP_H

#include <string.h>

#include "prefetch.h"
#include "store.h"

#define LOOKUP_RECORD_LINES 3u

struct lookup {
	const struct segments *segments;
	const void *key;
	size_t key_size;
	unsigned keyspace;
	const struct format_record *record; /* the last one looked at; the match, if there was
					       one */
	uint64_t damaged; /* address of a record that may have been the one, or 0 */
};

/* As memcmp, without a call for the usual short keys: two words that may overlap. */
static inline bool lookup_same_key(const void *a, const void *b, size_t size)
{
	uint64_t a_first, a_last, b_first, b_last;

	if (__builtin_expect(size - 8 > 8, 0))
		return !memcmp(a, b, size);
	memcpy(&a_first, a, 8);
	memcpy(&b_first, b, 8);
	memcpy(&a_last, (const uint8_t *)a + size - 8, 8);
	memcpy(&b_last, (const uint8_t *)b + size - 8, 8);
	return !((a_first ^ b_first) | (a_last ^ b_last));
}

/*
 * Is it of this keyspace, with a key of this size? At one look; a record is the same in all these
 * bytes, or damaged.
 */
static inline bool lookup_same_owner(const struct format_record *record, unsigned keyspace,
				     size_t key_size)
{
	const struct {
		uint16_t key_size;
		uint8_t keyspace, zero;
	} want = {(uint16_t)key_size, (uint8_t)keyspace, 0};
	uint32_t is, wanted;

	memcpy(&is, &record->key_size, sizeof(is));
	memcpy(&wanted, &want, sizeof(wanted));
	return is == wanted;
}

static inline bool lookup_judge(struct lookup *lookup, uint64_t address,
				const struct format_record *record)
{
	if (__builtin_expect(!record, 0)) {
		lookup->damaged = address;
		return false;
	}
	lookup->record = record;
	return record->key_size == lookup->key_size && record->keyspace == lookup->keyspace &&
	       lookup_same_key(record->key, lookup->key, lookup->key_size);
}

static inline bool lookup_match(void *arg, uint64_t address)
{
	struct lookup *lookup = arg;

	return lookup_judge(lookup, address, segments_record(lookup->segments, address));
}

/* For those to whom the record's header says enough: see segments_head. */
static inline bool lookup_match_head(void *arg, uint64_t address)
{
	struct lookup *lookup = arg;

	return lookup_judge(lookup, address, segments_head(lookup->segments, address));
}

/*
 * Asks for a record whose key is about to be written: by name where it is in a buffer; one in a map
 * is touched, so that its page is read from the disk before, not under, the commit lock; unless its
 * head is known.
 */
static inline void lookup_prefetch(void *arg, uint64_t address)
{
	const struct segments *segments = arg;
	const struct segment *segment = segments->table[segments_slot(segments, address)];
	const uint8_t *base = segments_base(segments, segments_slot(segments, address)), *record;

	if (!base)
		return;
	record = base + segments_offset(segments, address);
	if (!segment || __builtin_expect(atomic_load_explicit(&segment->map,
							      memory_order_acquire) == NULL, 1))
		__builtin_prefetch(record);
	else if (!segment_has_head(segments, segment, address))
		(void)*(const volatile uint8_t *)record;
}

/* Asks for a record in whichever place, a short one as a whole. Nothing is touched. */
static inline void lookup_prefetch_lines(void *arg, uint64_t address)
{
	const struct segments *segments = arg;
	const uint8_t *base = segments_base(segments, segments_slot(segments, address));
	unsigned i;

	for (i = 0; base && i < LOOKUP_RECORD_LINES; i++)
		__builtin_prefetch(base + segments_offset(segments, address) + i * PREFETCH_LINE);
}

/* The same, and for the bit that says whether it was validated. */
static inline void lookup_prefetch_unverified(void *arg, uint64_t address)
{
	const struct segments *segments = arg;
	const struct segment *segment = segments->table[segments_slot(segments, address)];

	if (segment && segment->verified)
		__builtin_prefetch(
			(const void *)&segment->verified[segments_offset(segments, address) >> 9]);
	lookup_prefetch_lines(arg, address);
}

#endif
