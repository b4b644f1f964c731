/* SPDX-License-Identifier: MIT */
/* fuzz_checkpoint.c - a checkpoint's header: any bytes, and any bytes with a right checksum. */
#include <stdlib.h>

#include "format.h"
#include "fuzz.h"

/* What was accepted can be read: each section is inside the chunks, and the file's size can be computed. */
static void check_section(const struct format_checkpoint *header,
	const struct format_checkpoint_section *section)
{
	uint64_t end;

	if (__builtin_mul_overflow(section->chunk, (uint64_t)FORMAT_CHECKPOINT_CHUNK, &end) ||
		__builtin_add_overflow(end, section->size, &end) ||
		end > header->chunks * FORMAT_CHECKPOINT_CHUNK)
		abort();
}

static void validate(const struct format_checkpoint *header, const uint8_t uuid[16])
{
	uint64_t size;

	if (format_checkpoint_validate(header, uuid) < 0)
		return;
	if (memcmp(header->uuid, uuid, 16) != 0)
		abort();
	if (__builtin_mul_overflow(header->chunks, FORMAT_CHECKPOINT_CHUNK + (uint64_t)8, &size) ||
		size > INT64_MAX)
		abort();
	check_section(header, &header->segments);
	check_section(header, &header->index);
	for (unsigned i = 0; i < FORMAT_KEYSPACES; i++)
		check_section(header, &header->orders[i]);
	if (header->segments.size < header->segment_count * sizeof(struct format_checkpoint_segment))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct format_checkpoint *header = calloc(1, sizeof(*header));
	uint8_t uuid[16] = {0};

	if (!header)
		return 0;
	memcpy(header, data, size < sizeof(*header) ? size : sizeof(*header));
	validate(header, uuid);
	format_checkpoint_seal(header);
	validate(header, uuid);
	/* Its own store's. */
	validate(header, header->uuid);
	free(header);
	return 0;
}
