/* SPDX-License-Identifier: MIT */
/*
 * read.h - the steps of a point read, for those who take them for many keys at once. Inside a read
 * section.
 */
#ifndef READ_H
#define READ_H

#include "store.h"

#define READ_PAGE 4096u /* bytes; the smallest page */

/* The newest record of a key, whose hash this is, and where it stands. -ENOENT, -EIO */
int read_find(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t hash,
	      const struct format_record **out, uint64_t *address);

/* As read_find, where only header and key are looked at. */
int read_find_head(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		   uint64_t hash, const struct format_record **out, uint64_t *address);

/*
 * The same as the first for a key in any keyspace, the engine's own as well; all of the record can
 * be read.
 */
int read_record(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		const struct format_record **out);

/*
 * The value of a record that was found, beside those that this thread has got since its last
 * value_forget. -EIO, -ENOMEM
 */
int read_value(struct kv *kv, const struct format_record *record, uint64_t address,
	       struct kv_slice *value);

/* The same as of a view that sees the record. */
int read_value_then(const struct kv_view *view, const struct format_record *record,
		    uint64_t address, struct kv_slice *value);

/* Can all of the record be read, key and value? -EIO */
int read_make_readable(struct kv *kv, const struct format_record *record, uint64_t address);

/*
 * Asks for a record that will be looked at soon: header, key and a small value. Returns where it
 * is, with the flags of its segment's base in the lowest bits, for the same read section.
 */
static inline uintptr_t read_prefetch(const struct segments *segments, uint64_t address)
{
	uintptr_t base = segments_flagged_base(segments, segments_slot(segments, address));
	uintptr_t record = base + segments_offset(segments, address);

	__builtin_prefetch((const void *)record);
	__builtin_prefetch((const void *)(record + 64));
	return record;
}

/* Is all of the record in the page that its header is in, and that the lookup has read? */
static inline bool read_is_in_one_page(const struct format_record *record)
{
	uintptr_t start = (uintptr_t)record;

	return start / READ_PAGE == (start + format_record_length(record) - 1) / READ_PAGE;
}

/* Of what is valid throughout: is there room for a record as long as it says that it is? */
static inline bool read_is_within(const struct segments *segments,
				  const struct format_record *record, uint32_t offset)
{
	return offset + FORMAT_RECORD_HEADER_SIZE <= segments->size &&
	       offset + format_record_length(record) <= segments->size;
}

/*
 * Can a record be read from where it stands, with nothing else to be looked at? Of a map as far as
 * one page reaches: if it has a key, all of that page is there; and where headers are kept, a large
 * record is not to be touched for less than its value.
 */
static inline bool read_is_at_hand(const struct segments *segments, uintptr_t base,
				   const struct format_record *record, uint32_t offset,
				   bool value_wanted)
{
	if (base & SEGMENT_MAPPED && !value_wanted &&
	    atomic_load_explicit(&segments->heads_size, memory_order_relaxed))
		return false;
	if (base & SEGMENT_UNVERIFIED &&
	    !(base & SEGMENT_SOUND && read_is_within(segments, record, offset)))
		return false;
	return !(base & SEGMENT_MAPPED) || !value_wanted || read_is_in_one_page(record);
}

#endif
