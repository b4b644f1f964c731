/* SPDX-License-Identifier: MIT */
/* scrub_memory.c - see scrub_memory.h. */
#include "scrub_memory.h"

#include <stdlib.h>

#define STEP_BYTES ((uint32_t)1 << 20)
#define BLOCK ((uint32_t)ENV_DIRECT_ALIGN)

static uint32_t block_begin(uint32_t offset)
{
	return offset & ~(BLOCK - 1);
}

static uint32_t block_end(uint32_t offset)
{
	return block_begin(offset + BLOCK - 1);
}

/* Bytes from `from` on in which two stretches of memory differ: [*from, *to) becomes them. */
static bool differ(const uint8_t *a, const uint8_t *b, uint32_t *from, uint32_t *to)
{
	if (memcmp(a + *from, b + *from, *to - *from) == 0)
		return false;
	while (a[*from] == b[*from])
		++*from;
	while (a[*to - 1] == b[*to - 1])
		--*to;
	return true;
}

static void mend(struct kv *kv, struct segment *segment, uint32_t from, uint32_t to,
		 uint32_t settled)
{
	uint32_t first = block_begin(from), last = block_end(to);
	char name[FORMAT_SEGMENT_NAME_SIZE];
	int error = 0;

	if (last > settled)
		last = settled;
	if (first < last)
		error = kv->env->file_write(segment->file, segment->buffer + first, last - first,
					    first, true);
	store_add(&kv->damaged, 1);
	store_add(&kv->scrub.findings, 1);
	format_segment_name(segment->slot, name);
	store_report(kv, KV_ERROR,
		     "%s: the scrub found bytes that are not as they were written, or cannot be "
		     "read, from offset %u to %u; %s%s",
		     name, from, to,
		     error ? "they could not be written again: "
			   : "as they are in memory too, they were written again",
		     error ? strerror(-error) : "");
}

void scrub_compare(struct kv *kv, struct segment *segment, uint32_t from, uint32_t to,
		   uint32_t settled)
{
	uint8_t *bytes = aligned_alloc(BLOCK, STEP_BYTES);
	uint32_t at, size, first, last;

	for (at = block_begin(from); bytes && at < to; at += size) {
		size = block_end(to) - at < STEP_BYTES ? block_end(to) - at : STEP_BYTES;
		first = from > at ? from - at : 0;
		last = to - at < size ? to - at : size;
		if (kv->env->file_read(segment->file, bytes, size, at) ||
		    differ(segment->buffer + at, bytes, &first, &last))
			mend(kv, segment, at + first, at + last, settled);
	}
	free(bytes);
}
