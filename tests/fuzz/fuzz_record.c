/* SPDX-License-Identifier: MIT */
/*
 * fuzz_record.c - segment headers and records: any bytes, at any place, with any room, and any
 * bytes with right checksums.
 *
 * Input: options, salt, the room of the first record, then the bytes.
 */
#include <stdlib.h>

#include "format.h"
#include "fuzz.h"

#define KEYSPACES 3u

struct record_input {
	uint8_t seal;
	uint64_t salt;
	uint16_t room; /* the first record's, at most */
};

static void validate_header(const uint8_t *bytes, size_t size)
{
	static const uint8_t uuid[16] = {1, 2, 3};
	struct format_segment header;

	if (size < sizeof(header))
		return;
	memcpy(&header, bytes, sizeof(header));
	(void)!format_segment_validate(&header, header.uuid, header.slot, header.size);
	format_segment_seal(
		&header, uuid, header.id >> 2 | 1, header.slot, header.size, header.salt);
	if (format_segment_validate(&header, uuid, header.slot, header.size) != 0)
		abort();
	header.id ^= 2;
	if (format_segment_validate(&header, uuid, header.slot, header.size) == 0)
		abort();
}

/* Makes the check right if the sizes leave it inside the bytes. */
static void seal(uint8_t *bytes, size_t size, uint64_t salt)
{
	struct format_record *record = (struct format_record *)bytes;

	if (size < FORMAT_RECORD_HEADER_SIZE || format_record_length(record) > size)
		return;
	record->check = format_record_body_hash(record) ^ format_record_place(record, salt);
}

static uint8_t sum; /* of what was read, so that it is read */

static void validate_at(const uint8_t *bytes, size_t room, uint64_t salt)
{
	const struct format_record *record = (const struct format_record *)bytes;
	int64_t length = format_record_validate(record, room, salt, KEYSPACES);

	if (length <= 0)
		return;
	if ((uint64_t)length > room || length % FORMAT_RECORD_ALIGN != 0 ||
		length < (int64_t)FORMAT_RECORD_HEADER_SIZE)
		abort();
	if (record->keyspace >= KEYSPACES && record->keyspace < KV_KEYSPACES_MAX)
		abort();
	if (record->keyspace >= FORMAT_KEYSPACES)
		abort();
	for (uint32_t i = 0; i < record->value_size; i++)
		sum += format_record_value(record)[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct record_input options;
	uint8_t *bytes;

	if (size > 65536)
		return 0;
	options.seal = fuzz_u8(&input);
	fuzz_bytes(&input, &options.salt, sizeof(options.salt));
	fuzz_bytes(&input, &options.room, sizeof(options.room));
	/* Exactly as many bytes as there are, so that a read beyond them is seen. */
	bytes = malloc(input.left + 1);
	if (!bytes)
		return 0;
	memcpy(bytes, input.data, input.left);
	validate_header(bytes, input.left);
	if (options.seal & 1)
		seal(bytes, input.left, options.salt);
	if (options.room <= input.left)
		validate_at(bytes, options.room, options.salt);
	for (size_t offset = 0; offset < input.left; offset += FORMAT_RECORD_ALIGN)
		validate_at(bytes + offset, input.left - offset, options.salt);
	free(bytes);
	return 0;
}
