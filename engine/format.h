/* SPDX-License-Identifier: MIT */
/*
 * format.h - every byte that a store has on disk, drawn, encoded and validated. FORMAT.md says why.
 *
 * Nothing outside format.c interprets these bytes, but for the fields of a record that was
 * validated. All integers are little-endian. Decoders accept any bytes and read nothing beyond the
 * size they are given.
 */
#ifndef FORMAT_H
#define FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kv.h"

#define FORMAT_VERSION 1u
#define FORMAT_SEGMENT_SIZE_MIN (1u << 20)
#define FORMAT_SEGMENT_SIZE_MAX (1u << 30)
#define FORMAT_SEGMENT_SIZE_DEFAULT (16u << 20)

/* A store's directory: the superblock, and segments named by their slot. */
#define FORMAT_SUPER_NAME "super"
#define FORMAT_LOSS_NAME "loss" /* empty: that it is there says all (loss.h) */
#define FORMAT_SEGMENT_NAME_SIZE 16 /* bytes, with the NUL */

/* ---- superblock -------------------------------------------------------------------------------
 *
 * Written once by kv_create, and never again.
 *
 * 0       8       16      20      24                40                    72
 * +-------+-------+-------+-------+-----------------+---------------------+
 * | magic | check |version|segsize| uuid            | secret of the hash  |
 * +-------+--+--+-+--+--+-+-------+-----------------+---------------------+
 * | applicat.|hash|compr|level|ks | keyspaces: 16 x (name, 15 bytes and NUL; flags) ... zeros to 4096
 * check: XXH3-64 of the 4096 bytes with check as zero.
 */
#define FORMAT_SUPER_SIZE 4096u
#define FORMAT_KEYSPACE_ORDERED 1u

/*
 * Keyspaces by number: the user's, as the superblock lists them, and two of the engine's that every
 * store has.
 */
#define FORMAT_KEYSPACES 16u
#define FORMAT_KEYSPACE_LARGE 14u  /* pieces of large values; ordered */
#define FORMAT_KEYSPACE_ENGINE 15u /* the engine's own records */
static_assert(KV_KEYSPACES_MAX == FORMAT_KEYSPACE_LARGE, "users' keyspaces come first");

struct format_super {
	uint64_t magic;
	uint64_t check;
	uint32_t version;
	uint32_t segment_size; /* bytes */
	uint8_t uuid[16];
	uint8_t secret[32];
	uint64_t application;
	uint8_t hash;		/* enum kv_hash */
	uint8_t compress;	/* enum kv_compress */
	int8_t compress_level;
	uint8_t keyspace_count;
	uint8_t reserved[4];
	struct {
		char name[KV_KEYSPACE_NAME_MAX + 1];
		uint8_t flags;
	} keyspaces[FORMAT_KEYSPACES];
	uint8_t zeros[FORMAT_SUPER_SIZE - 88 - 17 * FORMAT_KEYSPACES];
};
static_assert(sizeof(struct format_super) == FORMAT_SUPER_SIZE, "superblock size");
static_assert(offsetof(struct format_super, keyspaces) == 88, "superblock layout");

/* The bytes of the superblock that are in use: the rest is zeros. */
#define FORMAT_SUPER_USED 512u
static_assert(offsetof(struct format_super, zeros) <= FORMAT_SUPER_USED, "superblock's copy");

void format_super_seal(struct format_super *super);
/*
 * 0, -EMEDIUMTYPE no superblock, -EPROTONOSUPPORT newer, -EUCLEAN damaged; *why says it for people.
 */
int format_super_validate(const struct format_super *super, const char **why);
/* Is its check right by this version's rules, whatever version it says? */
bool format_super_is_sealed(const struct format_super *super);

/* ---- segment ----------------------------------------------------------------------------------
 *
 * 0       8       16      20      24                40      48      56
 * +-------+-------+-------+-------+-----------------+-------+-------+-------+-------- - - -
 * | magic | check |version| kind  | uuid of store   | id    |slot|sz| salt  | zeros to 4096, then records
 * +-------+-------+-------+-------+-----------------+-------+-------+-------+-------- - - -
 * id: the segment's place in the log; kind follows from it. salt: random, drawn anew for each use
 * of the file, and part of every record's check, so that what an earlier life left in the file is
 * never taken for a record of this one. The id would not do: one whose segment a crash undid is
 * given out again, perhaps to the same file.
 * check: XXH3-64 of the 64 bytes with check as zero.
 */
#define FORMAT_SEGMENT_HEADER_SIZE 4096u
#define FORMAT_SEGMENT_LOG 1u
#define FORMAT_SEGMENT_COLD 2u /* copies made by compaction */
/*
 * Numbers of segments at the log's end are multiples of this; those between them are for cold
 * segments.
 */
#define FORMAT_SEGMENT_ID_STEP 65536u
#define FORMAT_SEGMENT_ID_MAX ((uint64_t)1 << 62)

struct format_segment {
	uint64_t magic;
	uint64_t check;
	uint32_t version;
	uint32_t kind;
	uint8_t uuid[16];
	uint64_t id;
	uint32_t slot;
	uint32_t size; /* bytes of the file */
	uint64_t salt;
};
static_assert(sizeof(struct format_segment) == 64, "segment header size");

void format_segment_name(uint32_t slot, char name[FORMAT_SEGMENT_NAME_SIZE]);
static inline bool format_segment_is_cold(uint64_t id)
{
	return id % FORMAT_SEGMENT_ID_STEP;
}

/* The name of the slot's file while it is not in the log. */
void format_free_name(uint32_t slot, char name[FORMAT_SEGMENT_NAME_SIZE]);
/* The slot a file's name stands for, or -EINVAL. */
int64_t format_segment_slot(const char *name);
int64_t format_free_slot(const char *name);
void format_segment_seal(struct format_segment *header, const uint8_t uuid[16], uint64_t id,
			 uint32_t slot, uint32_t size, uint64_t salt);
/* 0, -EPROTONOSUPPORT newer, -EUCLEAN anything else that is not this store's slot. */
int format_segment_validate(const struct format_segment *header, const uint8_t uuid[16],
			    uint32_t slot, uint32_t size);

/*
 * The page that the header takes: the header, a copy of it, and the superblock's first bytes, each
 * in a sector of its own, zeros between them. So neither a bad sector nor the loss of the
 * superblock makes a store unreadable.
 */
#define FORMAT_SEGMENT_COPY_AT 1024u
#define FORMAT_SEGMENT_SUPER_AT 2048u

void format_page_fill(uint8_t page[FORMAT_SEGMENT_HEADER_SIZE], const struct format_segment *header,
		      const struct format_super *super);
/* The header or its copy, whichever is valid. Errors as format_segment_validate's. */
int format_page_header(const uint8_t page[FORMAT_SEGMENT_HEADER_SIZE], const uint8_t uuid[16],
		       uint32_t slot, uint32_t size, struct format_segment *out);
/* The same, whichever store's and slot's it is. */
int format_page_any(const uint8_t page[FORMAT_SEGMENT_HEADER_SIZE], struct format_segment *out);
/* The superblock from its copy; -EPROTONOSUPPORT it says that it is newer, -EUCLEAN */
int format_page_super(const uint8_t page[FORMAT_SEGMENT_HEADER_SIZE], struct format_super *out);

/* ---- checkpoint -------------------------------------------------------------------------------
 *
 * The state of both indexes at one place of the log, so that only what stands behind it is
 * replayed.
 *
 * 0        4096 zeros 65536                      65536 * (1 + chunks)
 * +--------+- - - - -+---------------------------+-------------------------------+
 * | header |         | chunks of 65,536 bytes    | for each of them: sum, section|
 * +--------+- - - - -+---------------------------+-------------------------------+
 * A section's bytes are those of its chunks, in the order of the file; the last one is filled up
 * with zeros. Chunks of several sections may alternate, because what changes while an index is
 * being saved is written in between.
 * sum: XXH3-64 of a chunk. check: XXH3-64 of the 4096 bytes with check as zero.
 */
#define FORMAT_CHECKPOINT_NAME "checkpoint"
#define FORMAT_CHECKPOINT_NEW_NAME "checkpoint.new"
#ifndef FORMAT_CHECKPOINT_CHUNK /* tests/crash/small.h */
#define FORMAT_CHECKPOINT_CHUNK 65536u
#endif
#define FORMAT_CHECKPOINT_HEADER_SIZE 4096u

enum format_checkpoint_part {
	FORMAT_CHECKPOINT_SEGMENTS,
	FORMAT_CHECKPOINT_BUCKETS,	  /* of index.h as they stood in memory, each part at
					     another moment... */
	FORMAT_CHECKPOINT_BUCKET_CHANGES, /* ...and what was stored in them from then on */
	FORMAT_CHECKPOINT_ORDER_CHANGES,  /* likewise for the ordered indexes */
	FORMAT_CHECKPOINT_FENCES,	  /* where to begin reading in the ordered indexes */
	FORMAT_CHECKPOINT_VERSIONS,	  /* what snapshots see, by number, from 0... */
	FORMAT_CHECKPOINT_VERSION_CHANGES, /* ...and what became of it from then on */
	FORMAT_CHECKPOINT_GHOSTS,	  /* struct format_checkpoint_change */
	FORMAT_CHECKPOINT_ORDERS = 8,	  /* + keyspace */
	FORMAT_CHECKPOINT_VERSION_BUCKETS = 24, /* of the index of versions, likewise */
	FORMAT_CHECKPOINT_VERSION_BUCKET_CHANGES,
	FORMAT_CHECKPOINT_SECTIONS = 32,
};

struct format_checkpoint {
	uint64_t magic;
	uint64_t check;
	uint32_t version;
	uint32_t segment_count;
	uint8_t uuid[16];
	uint64_t last_seq;
	uint64_t log_bytes, live_bytes, tombstone_bytes;
	uint64_t keys[FORMAT_KEYSPACES];
	uint64_t index_buckets, index_entries;
	uint64_t chunks;
	uint64_t table_check; /* XXH3-64 of what follows the chunks */
	uint64_t sizes[FORMAT_CHECKPOINT_SECTIONS]; /* bytes */
	uint64_t snapshots_seq;	 /* of the last change of their list; the file of that knows it */
	uint64_t versions;	 /* 0: there are none, whatever the sections say */
	uint64_t version_numbers; /* all are below */
	uint64_t version_buckets, version_entries;
	uint8_t zeros[FORMAT_CHECKPOINT_HEADER_SIZE - 144 - 8 * FORMAT_KEYSPACES -
		      8 * FORMAT_CHECKPOINT_SECTIONS];
};
static_assert(sizeof(struct format_checkpoint) == FORMAT_CHECKPOINT_HEADER_SIZE, "header size");

struct format_checkpoint_chunk {
	uint64_t sum;
	uint32_t section;
	uint32_t zero;
};
static_assert(sizeof(struct format_checkpoint_chunk) == 16, "chunk size");

/*
 * A segment counts as the one that is meant if slot, id and salt agree. `end` is the offset up to
 * which its records are in the checkpoint.
 */
#define FORMAT_CHECKPOINT_OPEN 0u    /* may be appended to behind its end */
#define FORMAT_CHECKPOINT_SEALED 1u  /* nothing comes any more */
#define FORMAT_CHECKPOINT_EMPTIED 2u /* nothing in it is needed; it may be gone */

struct format_checkpoint_segment {
	uint64_t id, salt;
	uint32_t slot;
	uint32_t end;
	uint64_t live_bytes, tombstone_bytes, newest_seq;
	uint64_t dictionaries[4]; /* numbers of those that its values name, as bits */
	uint32_t state;
	uint32_t zero;
};
static_assert(sizeof(struct format_checkpoint_segment) == 88, "segment entry size");

/* A store of a slot in the buckets. */
struct format_checkpoint_slot {
	uint64_t number; /* eight to a bucket */
	uint64_t entry;
};
static_assert(sizeof(struct format_checkpoint_slot) == 16, "slot size");

/* In an ordered index, in rising order: bytes shared with the key before, further bytes. */
struct format_checkpoint_entry {
	uint16_t shared, rest; /* bytes of the key */
	uint32_t zero;
	uint64_t address;
	uint8_t key[];
};
static_assert(sizeof(struct format_checkpoint_entry) == 16, "entry size");

/* A record that is not its key's newest any more: it was, between two batches. */
struct format_checkpoint_version {
	uint64_t address;
	uint64_t begin, end; /* batches */
	uint64_t hash;	     /* of the key */
	uint32_t older;	     /* number of the next version of the key; 0: none */
	uint32_t length;     /* bytes in the log; 0: this number is not in use */
};
static_assert(sizeof(struct format_checkpoint_version) == 40, "version size");

struct format_checkpoint_version_change {
	uint64_t number;
	struct format_checkpoint_version version;
};
static_assert(sizeof(struct format_checkpoint_version_change) == 48, "version change size");

/* A change of an ordered index: in the order in which they were made. */
#define FORMAT_CHECKPOINT_GHOST FORMAT_KEYSPACES /* + keyspace: of its ghosts, keys that have
						    versions alone */

struct format_checkpoint_change {
	uint16_t key_size; /* bytes */
	uint8_t keyspace;
	uint8_t zeros[5];
	uint64_t address; /* 0: deleted */
	uint8_t key[];
};
static_assert(sizeof(struct format_checkpoint_change) == 16, "change size");

/*
 * For each chunk of an ordered index in which an entry begins: the first one's place and key. That
 * entry shares nothing with the one before it.
 */
struct format_checkpoint_fence {
	uint32_t chunk; /* of the section, from 0 */
	uint16_t offset;
	uint16_t key_size; /* bytes */
	uint8_t keyspace;
	uint8_t zeros[7];
	uint8_t key[];
};
static_assert(sizeof(struct format_checkpoint_fence) == 16, "fence size");

static inline uint64_t format_checkpoint_chunks_of(uint64_t size)
{
	return size / FORMAT_CHECKPOINT_CHUNK + (size % FORMAT_CHECKPOINT_CHUNK != 0);
}

void format_checkpoint_seal(struct format_checkpoint *header);
/*
 * 0, -EPROTONOSUPPORT newer, -EUCLEAN anything else that is not this store's, with as many chunks
 * as the sections need.
 */
int format_checkpoint_validate(const struct format_checkpoint *header, const uint8_t uuid[16]);
uint64_t format_sum(const void *bytes, size_t size);

/* ---- snapshots --------------------------------------------------------------------------------
 *
 * The list of all snapshots after the batch `seq`, so that opening knows them before it comes upon
 * what they see.
 *
 * 0       8       16      20      24                40      48      56       64
 * +-------+-------+-------+-------+-----------------+-------+-------+--------+-------- - - -
 * | magic | check |version| count | uuid of store   | seq   |entries| zeros  | count x 272: seq (8), time (8), size of name, name
 * +-------+-------+-------+-------+-----------------+-------+-------+--------+-------- - - -
 * check: XXH3-64 of the 64 bytes with check as zero; entries: of all entries. Names rise. In the
 * log a snapshot is a record of the engine's keyspace, key 's' and its name, value its time: it
 * sees what its own batch left.
 */
#define FORMAT_SNAPSHOTS_NAME "snapshots"
#define FORMAT_SNAPSHOTS_NEW_NAME "snapshots.new"
#define FORMAT_SNAPSHOT_KEY 's'
#define FORMAT_SNAPSHOTS_MAX 65535u /* in a list; no more than KV_SNAPSHOTS_MAX are made */

struct format_snapshots {
	uint64_t magic;
	uint64_t check;
	uint32_t version;
	uint32_t count;
	uint8_t uuid[16];
	uint64_t seq;
	uint64_t entries_check;
	uint64_t zero;
};
static_assert(sizeof(struct format_snapshots) == 64, "snapshots header size");

struct format_snapshot {
	uint64_t seq;
	uint64_t time_us; /* since 1970 */
	uint8_t name_size;
	char name[KV_SNAPSHOT_NAME_MAX]; /* zeros behind */
};
static_assert(sizeof(struct format_snapshot) == 272, "snapshot entry size");

static inline uint64_t format_snapshots_size(uint32_t count)
{
	return sizeof(struct format_snapshots) + (uint64_t)count * sizeof(struct format_snapshot);
}

/* Seals header and entries, which stand together. */
void format_snapshots_seal(struct format_snapshots *header);
/* 0, -EPROTONOSUPPORT newer, -EUCLEAN anything else that is not this store's list. */
int format_snapshots_validate(const struct format_snapshots *header, uint64_t size,
			      const uint8_t uuid[16]);
/* Is this a name that a snapshot may have? */
bool format_snapshot_name_valid(const char *name, size_t size);

/* ---- manifest ---------------------------------------------------------------------------------
 *
 * The segments that were in the log when one was last freed, or the store was closed, so that one
 * that is missing is missed.
 * Two copies of a page, which are written one after the other, so that one of them is whole at any
 * moment; the higher generation counts.
 *
 * 0       8       16      20      24                40          48      56      64
 * +-------+-------+-------+-------+-----------------+-----------+-------+-------+-------- - - -
 * | magic | check |version| count | uuid of store   |generation | top   | zeros | count x 24: id (8), salt (8), slot (4), 0 (4)
 * +-------+-------+-------+-------+-----------------+-----------+-------+-------+-------- - - -
 * check: XXH3-64 of the header with that of the entries in its place. top: all segments at the
 * log's end with ids up to this one are listed or were freed, as far as there was room; behind it
 * none was freed: their ids have no gap. Ids rise.
 */
#define FORMAT_MANIFEST_NAME "manifest"
#define FORMAT_MANIFEST_NEW_NAME "manifest.new"
#define FORMAT_MANIFEST_PAGE_SIZE 8192u
#define FORMAT_MANIFEST_COPIES 2u

struct format_manifest {
	uint64_t magic;
	uint64_t check;
	uint32_t version;
	uint32_t count;
	uint8_t uuid[16];
	uint64_t generation;
	uint64_t top;
	uint64_t zero;
};
static_assert(sizeof(struct format_manifest) == 64, "manifest header size");

struct format_manifest_entry {
	uint64_t id, salt;
	uint32_t slot;
	uint32_t zero;
};
static_assert(sizeof(struct format_manifest_entry) == 24, "manifest entry size");

#define FORMAT_MANIFEST_ENTRIES_MAX                                                                \
	((FORMAT_MANIFEST_PAGE_SIZE - sizeof(struct format_manifest)) /                            \
	 sizeof(struct format_manifest_entry))

struct format_manifest_page {
	struct format_manifest header;
	struct format_manifest_entry entries[FORMAT_MANIFEST_ENTRIES_MAX];
	uint8_t zeros[16];
};
static_assert(sizeof(struct format_manifest_page) == FORMAT_MANIFEST_PAGE_SIZE,
	      "manifest page size");

/* Fills in magic, version and check. */
void format_manifest_seal(struct format_manifest_page *page);
/* 0, or -EUCLEAN: not a list of this store's segments. */
int format_manifest_validate(const struct format_manifest_page *page, const uint8_t uuid[16]);

/* ---- record -----------------------------------------------------------------------------------
 *
 * 0       8  9    16      20  22 23 24
 * +-------+--+----+-------+---+--+--+-----+-------+------------------------+
 * | check |fl|seq | value |key|ks| 0| key | value | zeros to a multiple of 8 |
 * +-------+--+----+-------+---+--+--+-----+-------+------------------------+
 * fl: flags; seq: the batch's number, 7 bytes; value, key: sizes in bytes; ks: keyspace.
 * check: XXH3-64 of bytes 16.. to the value's end, combined with flags, seq and the segment's salt,
 * so that a record moves to another segment, or out of its batch, without being hashed again.
 * Records of a batch stand together in one segment, all but the last with MORE. MARK, END and OLD
 * alone are records without key and value: MARK says that everything up to its seq is durable, END
 * that the segment is full, OLD that the record behind it, a copy with OLD, was its key's newest
 * until the batch with this number.
 */
#define FORMAT_RECORD_HEADER_SIZE 24u
#define FORMAT_RECORD_ALIGN 8u

#define FORMAT_RECORD_MORE (1u << 0)
#define FORMAT_RECORD_TOMBSTONE (1u << 1)
#define FORMAT_RECORD_ZSTD (1u << 2)
#define FORMAT_RECORD_RELOCATED (1u << 3) /* moved here by compaction; seq is the original's */
#define FORMAT_RECORD_MARK (1u << 4)
#define FORMAT_RECORD_END (1u << 5)
/* Bare: in the last segment of a store that was closed; what is next appended takes its place. */
#define FORMAT_RECORD_CLOSED (FORMAT_RECORD_MARK | FORMAT_RECORD_END)
#define FORMAT_RECORD_OLD (1u << 6) /* a copy that was not its key's newest; or, bare, until when
				       the next one was */
#define FORMAT_RECORD_LARGE (1u << 7) /* the value is the header of a large one: large_header.h */
#define FORMAT_RECORD_FLAGS 0xffu

struct format_record {
	uint64_t check;
	uint64_t flags : 8;
	uint64_t seq : 56;
	uint32_t value_size; /* bytes, as stored */
	uint16_t key_size;   /* bytes */
	uint8_t keyspace;
	uint8_t zero;
	uint8_t key[];
};
static_assert(sizeof(struct format_record) == FORMAT_RECORD_HEADER_SIZE, "record header size");
static_assert(offsetof(struct format_record, value_size) == 16, "check covers from here");

/*
 * A key's bytes, as memcpy: what is short, as usual, without a call, in two words that may overlap.
 */
static inline void format_key_copy(uint8_t *to, const uint8_t *from, size_t size)
{
	uint64_t first, last;

	if (__builtin_expect(size - 8 > 8, 0)) {
		memcpy(to, from, size);
		return;
	}
	memcpy(&first, from, 8);
	memcpy(&last, from + size - 8, 8);
	memcpy(to, &first, 8);
	memcpy(to + size - 8, &last, 8);
}

static inline uint64_t format_record_size(size_t key_size, uint64_t value_size)
{
	return (FORMAT_RECORD_HEADER_SIZE + key_size + value_size + (FORMAT_RECORD_ALIGN - 1)) &
	       ~(uint64_t)(FORMAT_RECORD_ALIGN - 1);
}

static inline uint64_t format_record_length(const struct format_record *record)
{
	return format_record_size(record->key_size, record->value_size);
}

static inline const uint8_t *format_record_value(const struct format_record *record)
{
	return record->key + record->key_size;
}

/* The part of the check that does not depend on where the record stands. */
uint64_t format_record_body_hash(const struct format_record *record);

/* The same, for a record whose value stands elsewhere. */
uint64_t format_record_split_hash(const struct format_record *record, const void *value);

/* A bijective mixer (the finalizer of MurmurHash3): each input bit changes half of the output's. */
static inline uint64_t format_mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

/* The number that turns a body hash into a check, and back: flags, sequence number and segment. */
static inline uint64_t format_record_place(const struct format_record *record, uint64_t salt)
{
	return format_mix(((uint64_t)record->seq << 8 | record->flags) + salt) ^ salt;
}

/* MARK, END, or OLD alone. */
static inline bool format_record_is_bare(const struct format_record *record)
{
	return !record->key_size;
}

/* Seals bare records. */
void format_record_seal_bare(struct format_record *record, uint64_t seq, uint8_t flags,
			     uint64_t salt);

/*
 * Is there a valid record in these bytes? Its length, 0 if the room is too small for any record, or
 * -EUCLEAN. Validated: sizes within `room`, flags, keyspace (one of the user's `keyspace_count`, or
 * the engine's), key presence, padding, check.
 */
int64_t format_record_validate(const struct format_record *record, uint64_t room, uint64_t salt,
			       unsigned keyspace_count);
/*
 * The batch with which what this tombstone deletes ceased to be visible: its own, or the earlier
 * one that it names.
 */
uint64_t format_tombstone_since(const struct format_record *record);
/* All of that but the check and the padding: what costs nothing to look at. */
bool format_record_plausible(const struct format_record *record, uint64_t room,
			     unsigned keyspace_count);

#endif
