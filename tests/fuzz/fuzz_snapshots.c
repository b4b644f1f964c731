/* SPDX-License-Identifier: MIT */
/* fuzz_snapshots.c - the list of snapshots: any bytes, and any bytes with right checksums. */
#include <stdlib.h>

#include "format.h"
#include "fuzz.h"

static void validate(const struct format_snapshots *header, size_t size, const uint8_t uuid[16])
{
	const struct format_snapshot *entries = (const struct format_snapshot *)(header + 1);

	if (format_snapshots_validate(header, size, uuid) < 0)
		return;
	if (memcmp(header->uuid, uuid, 16) != 0 || size != format_snapshots_size(header->count))
		abort();
	/* What was accepted can be taken over as it is. */
	for (uint32_t i = 0; i < header->count; i++) {
		if (strnlen(entries[i].name, sizeof(entries[i].name)) != entries[i].name_size)
			abort();
		if (entries[i].seq == 0 || entries[i].seq > header->seq)
			abort();
		if (i > 0 &&
			memcmp(entries[i - 1].name, entries[i].name, KV_SNAPSHOT_NAME_MAX) >= 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct format_snapshots *header;
	uint8_t uuid[16] = {0};

	if (size > 65536)
		return 0;
	/* Exactly as many bytes as there are, so that a read beyond them is seen. */
	header = malloc(size + 1);
	if (!header)
		return 0;
	memcpy(header, data, size);
	validate(header, size, uuid);
	if (size >= sizeof(*header)) {
		uint8_t own[16];

		memcpy(own, header->uuid, sizeof(own));
		validate(header, size, own);
		/* As many entries as there are, whatever it says. */
		header->count =
			(uint32_t)((size - sizeof(*header)) / sizeof(struct format_snapshot));
		format_snapshots_seal(header);
		validate(header, size, own);
	}
	free(header);
	return 0;
}
