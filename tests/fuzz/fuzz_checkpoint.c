/* SPDX-License-Identifier: MIT */
/* fuzz_checkpoint.c - a checkpoint's header: any bytes, and any bytes with a right checksum. */
#include <stdlib.h>

#include "format.h"
#include "fuzz.h"

/*
 * What was accepted can be read: the sections fill the chunks, and the file's size can be computed.
 */
static void validate(const struct format_checkpoint *header, const uint8_t uuid[16])
{
	uint64_t size, chunks = 0;

	if (format_checkpoint_validate(header, uuid) < 0)
		return;
	if (memcmp(header->uuid, uuid, 16) != 0)
		abort();
	if (__builtin_mul_overflow(header->chunks,
		    FORMAT_CHECKPOINT_CHUNK + sizeof(struct format_checkpoint_chunk), &size) ||
		size > INT64_MAX)
		abort();
	for (unsigned i = 0; i < FORMAT_CHECKPOINT_SECTIONS; i++)
		if (__builtin_add_overflow(
			    chunks, format_checkpoint_chunks_of(header->sizes[i]), &chunks))
			abort();
	if (chunks != header->chunks ||
		header->sizes[FORMAT_CHECKPOINT_SEGMENTS] <
			header->segment_count * sizeof(struct format_checkpoint_segment))
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
