/* SPDX-License-Identifier: MIT */
/*
 * read.h - the steps of a point read, for those who take them for many keys at once. Inside a read section.
 */
#ifndef READ_H
#define READ_H

#include "store.h"

/* The newest record of a key, whose hash this is, and where it stands. -ENOENT, -EIO */
int read_find(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t hash,
	      const struct format_record **out, uint64_t *address);

/* The same, where header and key are all that is looked at. */
int read_find_head(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t hash,
		   const struct format_record **out, uint64_t *address);

/* The same as the first for a key in any keyspace, the engine's own as well; all of the record can be read. */
int read_record(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		const struct format_record **out);

/*
 * The value of a record that was found, beside those that this thread has got since its last value_forget. -EIO, -ENOMEM
 */
int read_value(struct kv *kv, const struct format_record *record, uint64_t address,
	       struct kv_slice *value);

/* The same as of a view that sees the record. */
int read_value_then(const struct kv_view *view, const struct format_record *record,
		    uint64_t address, struct kv_slice *value);

/* Can all of the record be read, key and value? -EIO */
int read_make_readable(struct kv *kv, const struct format_record *record, uint64_t address);

/*
 * Asks for a record that will be looked at soon: header, key and a small value. Returns where it is, with the flags of its segment's
 * base in the lowest bits, for the same read section.
 */
static inline uintptr_t read_prefetch(const struct segments *segments, uint64_t address)
{
	uintptr_t base = segments_flagged_base(segments, segments_slot(segments, address));
	uintptr_t record = base + segments_offset(segments, address);

	__builtin_prefetch((const void *)record);
	__builtin_prefetch((const void *)(record + 64));
	return record;
}

/* Asks for what is behind the header of a record that is looked at next. */
static inline void read_prefetch_rest(const struct segments *segments, uint64_t address)
{
	const uint8_t *record = segments_base(segments, segments_slot(segments, address)) +
				segments_offset(segments, address);

	__builtin_prefetch(record + 64);
	__builtin_prefetch(record + 128);
}

#endif
