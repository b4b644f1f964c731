/* SPDX-License-Identifier: MIT */
/* damage_said.c - see damage_said.h. */
#include "damage_said.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void note(struct damage_said *said, const struct damage_range *range)
{
	assert_true(said->ranges_count < DAMAGE_RANGES_MAX);
	assert_true(range->from < range->end && range->end <= said->segment_size);
	said->ranges[said->ranges_count++] = *range;
}

void damage_hear(void *arg, enum kv_severity severity, const char *message)
{
	struct damage_said *said = arg;
	struct damage_range range = {
		.lost = strstr(message, "held is lost") != NULL, .end = said->segment_size};
	unsigned long long size, from;

	if (severity == KV_INFO)
		return;
	said->count++;
	snprintf(said->last, sizeof(said->last), "%s", message);
	if (sscanf(message, "seg-%8x: %llu bytes at offset %llu are damaged", &range.slot, &size,
		    &from) == 3) {
		range.from = from;
		range.end = from + size;
		note(said, &range);
	} else if (sscanf(message, "seg-%8x: its last %llu bytes are missing", &range.slot,
			   &size) == 2 ||
		   sscanf(message, "seg-%8x: the last %llu bytes of the file are missing",
			   &range.slot, &size) == 2) {
		range.from = said->segment_size - size;
		range.cut = true;
		note(said, &range);
	} else if (sscanf(message, "seg-%8x: its header is lost, and with it what its %llu bytes",
			   &range.slot, &size) == 2) {
		assert_int_equal(size, said->segment_size);
		range.lost = true;
		note(said, &range);
	} else if (sscanf(message, "seg-%8x: ", &range.slot) == 1 &&
		   strstr(message, "the segment's header is lost")) {
		note(said, &range);
	} else if (sscanf(message, "seg-%8x: ", &range.slot) == 1 &&
		   (strstr(message, ": missing") ||
			   strstr(message, "of this store under another name"))) {
		range.lost = false;
		note(said, &range);
	} else if (strstr(message, "of the log are missing") ||
		   strstr(message, "segments' files cannot be used") ||
		   strstr(message, "a segment that is missing now is not missed")) {
		said->missing = true;
	} else if (strstr(message, "a part of the index cannot be read")) {
		said->index_part = true;
	} else if (strstr(message, "pieces are there") ||
		   strstr(message, "belongs to no header")) {
		said->large_parts++;
	} else if (strstr(message, "is of a state that is lost")) {
		said->snapshot_lost = true;
	}
}

bool damage_named(const struct damage_said *said, uint32_t slot, uint64_t from, uint64_t end)
{
	for (unsigned i = 0; i < said->ranges_count; i++) {
		const struct damage_range *range = &said->ranges[i];

		if (range->slot == slot && range->from < end && from < range->end)
			return true;
	}
	return false;
}

uint64_t damage_cut(const struct damage_said *said, uint32_t slot)
{
	for (unsigned i = 0; i < said->ranges_count; i++) {
		if (said->ranges[i].slot == slot && said->ranges[i].cut)
			return said->ranges[i].from;
	}
	return UINT64_MAX;
}

static int by_place(const void *a, const void *b)
{
	const struct damage_range *left = a, *right = b;

	if (left->slot != right->slot)
		return left->slot < right->slot ? -1 : 1;
	return (left->from > right->from) - (left->from < right->from);
}

uint64_t damage_lost_bytes(const struct damage_said *said)
{
	struct damage_range ranges[DAMAGE_RANGES_MAX];
	uint64_t bytes = 0, end = 0;
	unsigned i;

	memcpy(ranges, said->ranges, sizeof(ranges));
	qsort(ranges, said->ranges_count, sizeof(ranges[0]), by_place);
	for (i = 0; i < said->ranges_count; i++) {
		const struct damage_range *range = &ranges[i];

		if (!i || ranges[i - 1].slot != range->slot)
			end = 0;
		if (!range->lost || range->end <= end)
			continue;
		bytes += range->end - (range->from > end ? range->from : end);
		end = range->end;
	}
	return bytes;
}
