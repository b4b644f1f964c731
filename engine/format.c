/* SPDX-License-Identifier: MIT */
/* format.c - encoding and validating what format.h draws. Pure functions over bytes. */
#include "format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "checksum.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is read in place");

/* As bytes: 0x8b, "kvsup", CR, LF: a text-mode copy breaks it visibly. */
#define SUPER_MAGIC 0x0a0d7075736b768bull
#define SEGMENT_MAGIC 0x0a0d6765736b768bull
/* As bytes: 0x8b, "kvsnp", CR, LF. */
#define SNAPSHOTS_MAGIC 0x0a0d706e73766b8bull
#define MANIFEST_MAGIC 0x0a0d666e6d766b8bull
#define CHECKPOINT_MAGIC 0x0a0d706b636b768bull

static uint64_t super_check(const struct format_super *super)
{
	struct format_super copy = *super;

	copy.check = 0;
	return XXH3_64bits(&copy, sizeof(copy));
}

void format_super_seal(struct format_super *super)
{
	super->magic = SUPER_MAGIC;
	super->version = FORMAT_VERSION;
	super->check = super_check(super);
}

bool format_super_is_sealed(const struct format_super *super)
{
	return super->check == super_check(super);
}

static bool segment_size_valid(uint32_t size)
{
	return size >= FORMAT_SEGMENT_SIZE_MIN && size <= FORMAT_SEGMENT_SIZE_MAX &&
	       !(size & (size - 1));
}

static bool super_fields_valid(const struct format_super *super)
{
	unsigned i;

	if (!segment_size_valid(super->segment_size))
		return false;
	if (super->hash != KV_HASH_XXH3 && super->hash != KV_HASH_BLAKE2B)
		return false;
	if (super->compress > KV_COMPRESS_BACKGROUND)
		return false;
	if (super->keyspace_count < 1 || super->keyspace_count > KV_KEYSPACES_MAX)
		return false;
	for (i = 0; i < super->keyspace_count; i++) {
		if (!super->keyspaces[i].name[0] ||
		    !memchr(super->keyspaces[i].name, 0, sizeof(super->keyspaces[i].name)) ||
		    (super->keyspaces[i].flags & ~FORMAT_KEYSPACE_ORDERED))
			return false;
	}
	return true;
}

int format_super_validate(const struct format_super *super, const char **why)
{
	if (super->magic != SUPER_MAGIC) {
		*why = "it has no kv superblock";
		return -EMEDIUMTYPE;
	}
	/* The version comes before the check: a newer format may compute that in another way. */
	if (super->version > FORMAT_VERSION) {
		*why = "it was made by a newer version; use that version";
		return -EPROTONOSUPPORT;
	}
	if (!format_super_is_sealed(super)) {
		*why = "its superblock is damaged (wrong checksum)";
		return -EUCLEAN;
	}
	if (!super_fields_valid(super)) {
		*why = "its superblock holds impossible values";
		return -EUCLEAN;
	}
	return 0;
}

void format_segment_name(uint32_t slot, char name[FORMAT_SEGMENT_NAME_SIZE])
{
	snprintf(name, FORMAT_SEGMENT_NAME_SIZE, "seg-%08x", slot);
}

void format_free_name(uint32_t slot, char name[FORMAT_SEGMENT_NAME_SIZE])
{
	snprintf(name, FORMAT_SEGMENT_NAME_SIZE, "free-%08x", slot);
}

static int64_t slot_behind(const char *prefix, const char *name)
{
	size_t length = strlen(prefix);
	char digits[9];
	uint32_t slot;

	if (strncmp(name, prefix, length) || strlen(name) != length + 8)
		return -EINVAL;
	slot = (uint32_t)strtoul(name + length, NULL, 16);
	snprintf(digits, sizeof(digits), "%08x", slot);
	return strcmp(digits, name + length) ? -EINVAL : (int64_t)slot;
}

int64_t format_segment_slot(const char *name)
{
	return slot_behind("seg-", name);
}

int64_t format_free_slot(const char *name)
{
	return slot_behind("free-", name);
}

static uint64_t segment_check(const struct format_segment *header)
{
	struct format_segment copy = *header;

	copy.check = 0;
	return XXH3_64bits(&copy, sizeof(copy));
}

void format_segment_seal(struct format_segment *header, const uint8_t uuid[16], uint64_t id,
			 uint32_t slot, uint32_t size, uint64_t salt)
{
	memset(header, 0, sizeof(*header));
	header->magic = SEGMENT_MAGIC;
	header->version = FORMAT_VERSION;
	header->kind = format_segment_is_cold(id) ? FORMAT_SEGMENT_COLD : FORMAT_SEGMENT_LOG;
	memcpy(header->uuid, uuid, 16);
	header->id = id;
	header->slot = slot;
	header->size = size;
	header->salt = salt;
	header->check = segment_check(header);
}

static bool segment_id_valid(const struct format_segment *header)
{
	return header->id && header->id < FORMAT_SEGMENT_ID_MAX &&
	       header->kind == (format_segment_is_cold(header->id) ? FORMAT_SEGMENT_COLD :
								     FORMAT_SEGMENT_LOG);
}

int format_segment_validate(const struct format_segment *header, const uint8_t uuid[16],
			    uint32_t slot, uint32_t size)
{
	if (header->magic != SEGMENT_MAGIC)
		return -EUCLEAN;
	if (header->version > FORMAT_VERSION)
		return -EPROTONOSUPPORT;
	if (header->check != segment_check(header) || !segment_id_valid(header) ||
	    memcmp(header->uuid, uuid, 16) || header->slot != slot || header->size != size)
		return -EUCLEAN;
	return 0;
}

void format_page_fill(uint8_t page[FORMAT_SEGMENT_HEADER_SIZE], const struct format_segment *header,
		      const struct format_super *super)
{
	memset(page, 0, FORMAT_SEGMENT_HEADER_SIZE);
	memcpy(page, header, sizeof(*header));
	memcpy(page + FORMAT_SEGMENT_COPY_AT, header, sizeof(*header));
	memcpy(page + FORMAT_SEGMENT_SUPER_AT, super, FORMAT_SUPER_USED);
}

int format_page_header(const uint8_t page[FORMAT_SEGMENT_HEADER_SIZE], const uint8_t uuid[16],
		       uint32_t slot, uint32_t size, struct format_segment *out)
{
	struct format_segment header;
	int error, copy_error;

	memcpy(&header, page, sizeof(header));
	error = format_segment_validate(&header, uuid, slot, size);
	if (error) {
		memcpy(&header, page + FORMAT_SEGMENT_COPY_AT, sizeof(header));
		copy_error = format_segment_validate(&header, uuid, slot, size);
		/* Two that both say so, or one with nothing beside it, are of a newer version. */
		if (copy_error)
			return error == -EPROTONOSUPPORT ? error : copy_error;
	}
	*out = header;
	return 0;
}

int format_page_any(const uint8_t page[FORMAT_SEGMENT_HEADER_SIZE], struct format_segment *out)
{
	static const uint32_t places[] = {0, FORMAT_SEGMENT_COPY_AT};
	struct format_segment header;
	unsigned i;

	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		memcpy(&header, page + places[i], sizeof(header));
		if (format_segment_validate(&header, header.uuid, header.slot, header.size))
			continue;
		*out = header;
		return 0;
	}
	return -EUCLEAN;
}

int format_page_super(const uint8_t page[FORMAT_SEGMENT_HEADER_SIZE], struct format_super *out)
{
	struct format_super super = {0};
	const char *why;
	int error;

	memcpy(&super, page + FORMAT_SEGMENT_SUPER_AT, FORMAT_SUPER_USED);
	error = format_super_validate(&super, &why);
	if (error)
		return error == -EPROTONOSUPPORT ? error : -EUCLEAN;
	*out = super;
	return 0;
}

uint64_t format_record_body_hash(const struct format_record *record)
{
	return checksum(&record->value_size, FORMAT_RECORD_HEADER_SIZE - 16 +
						     (size_t)record->key_size + record->value_size);
}

uint64_t format_record_split_hash(const struct format_record *record, const void *value)
{
	return checksum_split(&record->value_size,
			      FORMAT_RECORD_HEADER_SIZE - 16 + (size_t)record->key_size, value,
			      record->value_size);
}

void format_record_seal_bare(struct format_record *record, uint64_t seq, uint8_t flags,
			     uint64_t salt)
{
	memset(record, 0, sizeof(*record));
	record->seq = seq;
	record->flags = flags;
	record->check = format_record_body_hash(record) ^ format_record_place(record, salt);
}

static bool keyspace_valid(unsigned keyspace, unsigned keyspace_count)
{
	return keyspace < keyspace_count ||
	       (keyspace >= KV_KEYSPACES_MAX && keyspace < FORMAT_KEYSPACES);
}

static bool record_shape_valid(const struct format_record *record, unsigned keyspace_count)
{
	if ((record->flags & ~FORMAT_RECORD_FLAGS) || record->zero)
		return false;
	if (format_record_is_bare(record))
		return (record->flags == FORMAT_RECORD_MARK || record->flags == FORMAT_RECORD_END ||
			record->flags == FORMAT_RECORD_CLOSED ||
			record->flags == FORMAT_RECORD_OLD) &&
		       !record->value_size && !record->keyspace;
	if (record->flags & (FORMAT_RECORD_MARK | FORMAT_RECORD_END))
		return false;
	if ((record->flags & FORMAT_RECORD_OLD) &&
	    (!(record->flags & FORMAT_RECORD_RELOCATED) ||
	     (record->flags & (FORMAT_RECORD_TOMBSTONE | FORMAT_RECORD_MORE))))
		return false;
	if ((record->flags & FORMAT_RECORD_TOMBSTONE) &&
	    ((record->value_size && (record->keyspace != FORMAT_KEYSPACE_LARGE ||
				     record->value_size != sizeof(uint64_t))) ||
	     (record->flags & (FORMAT_RECORD_ZSTD | FORMAT_RECORD_LARGE))))
		return false;
	if ((record->flags & FORMAT_RECORD_LARGE) &&
	    ((record->flags & FORMAT_RECORD_ZSTD) || record->keyspace >= KV_KEYSPACES_MAX))
		return false;
	return keyspace_valid(record->keyspace, keyspace_count) && record->seq;
}

uint64_t format_tombstone_since(const struct format_record *record)
{
	uint64_t since;

	if (record->value_size != sizeof(since))
		return record->seq;
	memcpy(&since, format_record_value(record), sizeof(since));
	return since < record->seq ? since : record->seq;
}

bool format_record_plausible(const struct format_record *record, uint64_t room,
			     unsigned keyspace_count)
{
	return room >= FORMAT_RECORD_HEADER_SIZE && format_record_length(record) <= room &&
	       record_shape_valid(record, keyspace_count);
}

int64_t format_record_validate(const struct format_record *record, uint64_t room, uint64_t salt,
			       unsigned keyspace_count)
{
	uint64_t length, used;

	if (room < FORMAT_RECORD_HEADER_SIZE)
		return 0;
	if (!format_record_plausible(record, room, keyspace_count))
		return -EUCLEAN;
	length = format_record_length(record);
	if (record->check !=
	    (format_record_body_hash(record) ^ format_record_place(record, salt)))
		return -EUCLEAN;
	for (used = FORMAT_RECORD_HEADER_SIZE + record->key_size + (uint64_t)record->value_size;
	     used < length; used++) {
		if (((const uint8_t *)record)[used])
			return -EUCLEAN;
	}
	return (int64_t)length;
}

/* ---- checkpoint ------------------------------------------------------------------------------ */

static uint64_t checkpoint_check(const struct format_checkpoint *header)
{
	struct format_checkpoint copy = *header;

	copy.check = 0;
	return XXH3_64bits(&copy, sizeof(copy));
}

void format_checkpoint_seal(struct format_checkpoint *header)
{
	header->magic = CHECKPOINT_MAGIC;
	header->version = FORMAT_VERSION;
	header->check = checkpoint_check(header);
}

/* Is each section made up of whole entries? */
static bool checkpoint_sizes_valid(const struct format_checkpoint *header)
{
	const uint64_t *sizes = header->sizes;

	return sizes[FORMAT_CHECKPOINT_SEGMENTS] ==
		       header->segment_count * sizeof(struct format_checkpoint_segment) &&
	       sizes[FORMAT_CHECKPOINT_BUCKET_CHANGES] % sizeof(struct format_checkpoint_slot) == 0 &&
	       sizes[FORMAT_CHECKPOINT_VERSION_BUCKET_CHANGES] %
			       sizeof(struct format_checkpoint_slot) == 0 &&
	       sizes[FORMAT_CHECKPOINT_VERSIONS] % sizeof(struct format_checkpoint_version) == 0 &&
	       sizes[FORMAT_CHECKPOINT_VERSION_CHANGES] %
			       sizeof(struct format_checkpoint_version_change) == 0;
}

int format_checkpoint_validate(const struct format_checkpoint *header, const uint8_t uuid[16])
{
	uint64_t chunks = 0;
	unsigned i;

	if (header->magic != CHECKPOINT_MAGIC || header->check != checkpoint_check(header))
		return -EUCLEAN;
	if (header->version > FORMAT_VERSION)
		return -EPROTONOSUPPORT;
	if (header->version != FORMAT_VERSION || memcmp(header->uuid, uuid, sizeof(header->uuid)))
		return -EUCLEAN;
	for (i = 0; i < FORMAT_CHECKPOINT_SECTIONS; i++)
		chunks += format_checkpoint_chunks_of(header->sizes[i]);
	/* At most 32 times 2^48: no overflow. */
	if (header->chunks >> 40 || chunks != header->chunks || !checkpoint_sizes_valid(header))
		return -EUCLEAN;
	return 0;
}

uint64_t format_sum(const void *bytes, size_t size)
{
	return XXH3_64bits(bytes, size);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static uint64_t snapshots_check(const struct format_snapshots *header)
{
	struct format_snapshots copy = *header;

	copy.check = 0;
	return XXH3_64bits(&copy, sizeof(copy));
}

static uint64_t entries_check(const struct format_snapshots *header)
{
	return XXH3_64bits(header + 1, (size_t)header->count * sizeof(struct format_snapshot));
}

void format_snapshots_seal(struct format_snapshots *header)
{
	header->magic = SNAPSHOTS_MAGIC;
	header->version = FORMAT_VERSION;
	header->entries_check = entries_check(header);
	header->check = snapshots_check(header);
}

bool format_snapshot_name_valid(const char *name, size_t size)
{
	return size && size <= KV_SNAPSHOT_NAME_MAX && !memchr(name, 0, size);
}

static bool snapshot_valid(const struct format_snapshot *entry, uint64_t last_seq)
{
	unsigned i;

	if (!entry->seq || entry->seq > last_seq ||
	    !format_snapshot_name_valid(entry->name, entry->name_size))
		return false;
	for (i = entry->name_size; i < sizeof(entry->name); i++) {
		if (entry->name[i])
			return false;
	}
	return true;
}

int format_snapshots_validate(const struct format_snapshots *header, uint64_t size,
			      const uint8_t uuid[16])
{
	const struct format_snapshot *entries = (const struct format_snapshot *)(header + 1);
	uint32_t i;

	if (size < sizeof(*header) || header->magic != SNAPSHOTS_MAGIC ||
	    header->check != snapshots_check(header))
		return -EUCLEAN;
	if (header->version > FORMAT_VERSION)
		return -EPROTONOSUPPORT;
	if (header->version != FORMAT_VERSION || header->zero ||
	    header->count > FORMAT_SNAPSHOTS_MAX || size != format_snapshots_size(header->count) ||
	    memcmp(header->uuid, uuid, 16) || header->entries_check != entries_check(header))
		return -EUCLEAN;
	for (i = 0; i < header->count; i++) {
		if (!snapshot_valid(&entries[i], header->seq))
			return -EUCLEAN;
		if (i && memcmp(entries[i - 1].name, entries[i].name, sizeof(entries[i].name)) >= 0)
			return -EUCLEAN;
	}
	return 0;
}

/* ---- manifest -------------------------------------------------------------------------------- */

static uint64_t manifest_check(const struct format_manifest_page *page)
{
	struct format_manifest copy = page->header;

	copy.check = XXH3_64bits(page->entries, copy.count * sizeof(page->entries[0]));
	return XXH3_64bits(&copy, sizeof(copy));
}

void format_manifest_seal(struct format_manifest_page *page)
{
	page->header.magic = MANIFEST_MAGIC;
	page->header.version = FORMAT_VERSION;
	page->header.check = manifest_check(page);
}

static bool manifest_header_valid(const struct format_manifest *header, const uint8_t uuid[16])
{
	return header->magic == MANIFEST_MAGIC && header->version == FORMAT_VERSION &&
	       header->count <= FORMAT_MANIFEST_ENTRIES_MAX && !header->zero &&
	       header->top < FORMAT_SEGMENT_ID_MAX && !format_segment_is_cold(header->top) &&
	       !memcmp(header->uuid, uuid, 16);
}

int format_manifest_validate(const struct format_manifest_page *page, const uint8_t uuid[16])
{
	uint32_t i;

	if (!manifest_header_valid(&page->header, uuid) ||
	    page->header.check != manifest_check(page))
		return -EUCLEAN;
	for (i = 0; i < page->header.count; i++) {
		const struct format_manifest_entry *entry = &page->entries[i];

		if (!entry->id || entry->id >= FORMAT_SEGMENT_ID_MAX || entry->zero ||
		    (i && entry->id <= entry[-1].id))
			return -EUCLEAN;
	}
	return 0;
}
