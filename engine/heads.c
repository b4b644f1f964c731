/* SPDX-License-Identifier: MIT */
/* heads.c - see heads.h: offsets in order, to search in, and the heads behind them. */
#include "heads.h"

#include <string.h>

#define GUESS_REACH 8u /* entries: two lines of memory */
#define AHEAD_RECORDS 8u
#define HEAD_SIZE (FORMAT_RECORD_HEADER_SIZE + HEAD_KEY_MAX)
_Static_assert(HEAD_SIZE == 64, "a cache line");

struct heads {
	uint32_t count;
	uint32_t capacity;
	bool complete;
	uint32_t offsets[]; /* [capacity], rising; then, aligned, a head for each */
};

static size_t offsets_size(uint32_t capacity)
{
	return (sizeof(struct heads) + capacity * sizeof(uint32_t) + HEAD_SIZE - 1) / HEAD_SIZE *
	       HEAD_SIZE;
}

static size_t size_of(uint32_t capacity)
{
	return offsets_size(capacity) + (size_t)capacity * HEAD_SIZE;
}

static uint8_t *head_at(const struct heads *heads, uint32_t i)
{
	return (uint8_t *)heads + offsets_size(heads->capacity) + (size_t)i * HEAD_SIZE;
}

/* What a segment's records are like. */
struct census {
	uint32_t keyed;	/* that have a key */
	uint32_t fit;	/* of them, whose key fits a head */
	uint32_t large;	/* of these, whose value has a page to itself */
};

static bool is_large(const struct format_record *record)
{
	return record->value_size >= HEAD_VALUE_MIN;
}

static bool fits(const struct format_record *record)
{
	return record->key_size && record->key_size <= HEAD_KEY_MAX;
}

/*
 * Each header is a line that was written a while ago, and says where the next one is. Writers
 * repeat themselves, as with a block and its file's attributes by turns. So the last few records
 * tell where the next few will begin.
 */
struct ahead {
	uint32_t past[AHEAD_RECORDS]; /* offsets, a ring */
	unsigned at;
};

static void look_ahead(struct ahead *ahead, const uint8_t *bytes, uint32_t from)
{
	uint32_t *oldest = &ahead->past[ahead->at++ % AHEAD_RECORDS];

	/* Beyond the segment's end nothing happens. */
	if (*oldest)
		__builtin_prefetch(bytes + from + (from - *oldest));
	*oldest = from;
}

/*
 * False: this is no chain of records from the first byte to the last, as where something in it is
 * damaged.
 */
static bool take_census(const uint8_t *bytes, uint32_t from, uint32_t to, struct census *census)
{
	struct ahead ahead = {0};

	*census = (struct census){0};
	while (from < to) {
		const struct format_record *record = (const struct format_record *)(bytes + from);
		uint64_t length;

		look_ahead(&ahead, bytes, from);
		if (to - from < FORMAT_RECORD_HEADER_SIZE)
			return false;
		length = format_record_length(record);
		if (length > to - from)
			return false;
		census->keyed += !format_record_is_bare(record);
		census->fit += fits(record);
		census->large += fits(record) && is_large(record);
		from += (uint32_t)length;
	}
	return true;
}

static void fill(struct heads *heads, const uint8_t *bytes, uint32_t from, uint32_t to, bool all)
{
	struct ahead ahead = {0};

	while (from < to) {
		const struct format_record *record = (const struct format_record *)(bytes + from);

		look_ahead(&ahead, bytes, from);
		if (fits(record) && (all || is_large(record))) {
			heads->offsets[heads->count] = from;
			memcpy(head_at(heads, heads->count++), record,
			       FORMAT_RECORD_HEADER_SIZE + record->key_size);
		}
		from += (uint32_t)format_record_length(record);
	}
}

struct heads *heads_new(const uint8_t *bytes, uint32_t from, uint32_t to, size_t size_max)
{
	struct census census;
	struct heads *heads;
	uint32_t count;
	bool all;

	if (!take_census(bytes, from, to, &census))
		return NULL;
	all = census.keyed && (to - from) / census.keyed >= HEAD_AVERAGE_MIN;
	count = all ? census.fit : census.large;
	if (all && size_of(count) > size_max) {
		all = false;
		count = census.large;
	}
	if (!count || size_of(count) > size_max)
		return NULL;
	heads = aligned_alloc(HEAD_SIZE, size_of(count));
	if (!heads)
		return NULL;
	heads->count = 0;
	heads->capacity = count;
	heads->complete = count == census.keyed;
	fill(heads, bytes, from, to, all);
	return heads;
}

size_t heads_size(const struct heads *heads)
{
	return heads ? size_of(heads->capacity) : 0;
}

/*
 * Narrows the search to a few entries where records are of one size, as those of a file that was
 * written block by block are: there it is known where the offset would be.
 */
static void guess(const struct heads *heads, uint32_t offset, uint32_t *first, uint32_t *end)
{
	const uint32_t *offsets = heads->offsets;
	uint32_t last = heads->count - 1, low, high;
	uint64_t at;

	if (offset <= offsets[0] || offset >= offsets[last])
		return;
	at = (uint64_t)(offset - offsets[0]) * last / (offsets[last] - offsets[0]);
	low = at > GUESS_REACH ? (uint32_t)at - GUESS_REACH : 0;
	high = at + GUESS_REACH < last ? (uint32_t)at + GUESS_REACH : last;
	if (offsets[low] <= offset)
		*first = low;
	if (offsets[high] >= offset)
		*end = high + 1;
}

uint32_t heads_from(const struct heads *heads, uint32_t offset)
{
	uint32_t first = 0, end = heads->count;

	guess(heads, offset, &first, &end);
	while (first < end) {
		uint32_t middle = (first + end) / 2;

		if (heads->offsets[middle] < offset)
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

const struct format_record *heads_find(const struct heads *heads, uint32_t offset)
{
	uint32_t number = heads_from(heads, offset);

	if (number == heads->count || heads->offsets[number] != offset)
		return NULL;
	return (const struct format_record *)head_at(heads, number);
}

bool heads_complete(const struct heads *heads)
{
	return heads->complete;
}

const struct format_record *heads_get(const struct heads *heads, uint32_t number, uint32_t *offset)
{
	if (number >= heads->count)
		return NULL;
	*offset = heads->offsets[number];
	return (const struct format_record *)head_at(heads, number);
}
