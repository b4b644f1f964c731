/* SPDX-License-Identifier: MIT */
/* fuzz_manifest.c - the list of segments: any bytes, and any bytes with the right checksum. */
#include <stdlib.h>

#include "format.h"
#include "fuzz.h"

static void validate(const struct format_manifest_page *page, const uint8_t uuid[16])
{
	const struct format_manifest *header = &page->header;

	if (format_manifest_validate(page, uuid) < 0)
		return;
	/* What was accepted can be walked as it is. */
	if (memcmp(header->uuid, uuid, 16) != 0 || header->count > FORMAT_MANIFEST_ENTRIES_MAX ||
		format_segment_is_cold(header->top))
		abort();
	for (uint32_t i = 0; i < header->count; i++)
		if (page->entries[i].id == 0 ||
			(i > 0 && page->entries[i].id <= page->entries[i - 1].id))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Alone, so that a read beyond it is seen. */
	struct format_manifest_page *page = calloc(1, sizeof(*page));
	uint8_t uuid[16] = {0}, own[16];

	if (!page)
		return 0;
	memcpy(page, data, size < sizeof(*page) ? size : sizeof(*page));
	validate(page, uuid);
	memcpy(own, page->header.uuid, sizeof(own));
	validate(page, own);
	if (page->header.count <= FORMAT_MANIFEST_ENTRIES_MAX)
		format_manifest_seal(page);
	validate(page, own);
	free(page);
	return 0;
}
