/* SPDX-License-Identifier: MIT */
/* heads.c - see heads.h: offsets in order, to search in, and the heads behind them. */
#include "heads.h"

#include <string.h>

#define HEAD_SIZE (FORMAT_RECORD_HEADER_SIZE + HEAD_KEY_MAX)
_Static_assert(HEAD_SIZE == 64, "a cache line");

struct heads {
	uint32_t count;
	uint32_t capacity;
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

static bool has_head(const struct format_record *record)
{
	return record->value_size >= HEAD_VALUE_MIN && record->key_size <= HEAD_KEY_MAX;
}

static uint32_t count_heads(const uint8_t *bytes, uint32_t from, uint32_t to)
{
	uint32_t count = 0;

	while (from < to) {
		const struct format_record *record = (const struct format_record *)(bytes + from);

		count += has_head(record);
		from += (uint32_t)format_record_length(record);
	}
	return count;
}

struct heads *heads_new(const uint8_t *bytes, uint32_t from, uint32_t to, size_t size_max)
{
	uint32_t count = count_heads(bytes, from, to);
	struct heads *heads;

	if (!count || size_of(count) > size_max)
		return NULL;
	heads = aligned_alloc(HEAD_SIZE, size_of(count));
	if (!heads)
		return NULL;
	heads->count = 0;
	heads->capacity = count;
	while (from < to) {
		const struct format_record *record = (const struct format_record *)(bytes + from);

		if (has_head(record)) {
			heads->offsets[heads->count] = from;
			memcpy(head_at(heads, heads->count++), record,
			       FORMAT_RECORD_HEADER_SIZE + record->key_size);
		}
		from += (uint32_t)format_record_length(record);
	}
	return heads;
}

size_t heads_size(const struct heads *heads)
{
	return heads ? size_of(heads->capacity) : 0;
}

const struct format_record *heads_find(const struct heads *heads, uint32_t offset)
{
	uint32_t first = 0, end = heads->count;

	while (first < end) {
		uint32_t middle = (first + end) / 2;

		if (heads->offsets[middle] < offset)
			first = middle + 1;
		else
			end = middle;
	}
	if (first == heads->count || heads->offsets[first] != offset)
		return NULL;
	return (const struct format_record *)head_at(heads, first);
}
