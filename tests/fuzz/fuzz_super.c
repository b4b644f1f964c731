/* SPDX-License-Identifier: MIT */
/* fuzz_super.c - the superblock: any bytes, and any bytes with a right checksum. */
#include <stdlib.h>

#include "format.h"
#include "fuzz.h"

static void validate(const struct format_super *super)
{
	const char *why = NULL;
	int result = format_super_validate(super, &why);

	if (result == 0) {
		/* What was accepted is usable as it is. */
		if (super->keyspace_count < 1 || super->keyspace_count > KV_KEYSPACES_MAX)
			abort();
		if (super->segment_size < FORMAT_SEGMENT_SIZE_MIN ||
			super->segment_size > FORMAT_SEGMENT_SIZE_MAX)
			abort();
		for (unsigned i = 0; i < super->keyspace_count; i++)
			if (!memchr(super->keyspaces[i].name, 0, KV_KEYSPACE_NAME_MAX + 1))
				abort();
	} else if (!why || why[0] == '\0') {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct format_super *super = calloc(1, sizeof(*super));

	if (!super)
		return 0;
	memcpy(super, data, size < sizeof(*super) ? size : sizeof(*super));
	validate(super);
	format_super_seal(super);
	validate(super);
	free(super);
	return 0;
}
