/* SPDX-License-Identifier: MIT */
/*
 * segment.h - the segments that the log is made of: the table from addresses to bytes, and each
 * segment's life.
 *
 *   prepared   header durable, then the name, a tail buffer attached          segment_prepare
 *   active     the log appends to the buffer                                  (log.c)
 *   sealed     full; its bytes are written and durable, the buffer stays      (log.c)
 *   mapped     the buffer was given back, readers use the file's map          segment_map
 *   free       renamed out of the log; waits to be prepared again             segment_erase, segment_release
 *
 * A file has a segment's name only while its header is whole: a header that a crash tore is never
 * in the log, and one in the log that is not valid is damage.
 *
 * segment_file.h has what is done to these files as such: names, and those that are free.
 *
 * An address is a slot and an offset in units of 8 bytes. A slot is a position in the table and
 * names the file; an id is the segment's place in the log.
 *
 * Threads: readers, inside an epoch, use segments_record alone. All else belongs to whoever holds
 * the log's lock or, before a segment is active and after it is sealed, to the maintainer.
 */
#ifndef SEGMENT_H
#define SEGMENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "env.h"
#include "format.h"
#include "heads.h"
#include "index.h"

#define SEGMENT_VALUE_BITS 1024u
#define SEGMENT_BLOCK_BITS 256u

struct segment {
	_Atomic uint64_t id; /* 0: free */
	uint64_t salt;
	uint32_t slot;
	uint32_t end;	  /* offset behind the last record, once sealed */
	uint64_t end_seq;   /* the last batch before that, once it is full; as the next, stored
			       under the log's lock */
	uint64_t end_bytes; /* log.hot.appended_bytes then */
	uint64_t said_seq;  /* the newest number that something in it says, once it is full; 0:
			       none, or not known; under the log's lock. log_keep_number */
	uint32_t written; /* offset up to which the file has the buffer's bytes; the flusher's */
	_Atomic bool sealed; /* complete and durable; the flusher's */
	struct env_file *file;
	uint8_t *buffer;	      /* segment_size bytes, or NULL; changed under the log's
					 lock */
	_Atomic(const uint8_t *) map; /* or NULL; changed under the log's lock */
	_Atomic(struct heads *) heads; /* of a mapped one's large records, or NULL; entered
					  before the map */
	/*
	 * Of a mapped one, what the disk was asked for (readahead.c): the large value that begins
	 * in a part of the segment; all that is in a larger part.
	 */
	_Atomic uint64_t asked_values[SEGMENT_VALUE_BITS / 64];
	_Atomic uint64_t asked_blocks[SEGMENT_BLOCK_BITS / 64];
	struct segment *next;	      /* in the log */
	_Atomic uint64_t *verified;   /* NULL: all of it. A bit per 8 bytes: a record begins
					 here, and is valid */
	bool sound;		      /* all records in it have been validated; changed under the
					 log's lock */
	uint32_t sure;		      /* offset up to which MARKs vouch that it is on the disk;
					 the replay's */
	bool open_ended;	      /* no record says where it ends, though nothing will
					 follow; the replay's */
	bool complete;		      /* the checkpoint's part is all there is */
	uint32_t covered;	      /* offset up to which a checkpoint speaks for it; 0: it
					 does not */
	uint32_t vouched;	      /* offset up to which a checkpoint that is not used says that
					 it is on the disk; the replay's */
	_Atomic uint64_t live_bytes;  /* of records that are their key's newest */
	uint64_t tombstone_bytes;     /* under the log's lock */
	bool listed;		      /* has a segment's name; the maintainer's */
	bool size_unsure;	      /* free, and from before the store was opened; likewise */
	_Atomic uint32_t hole;	      /* bytes at the file's end without space on the disk, or
					 not known to have any; the maintainer's, counted by
					 anyone */
	_Atomic uint64_t rename;      /* number of the last rename of its file */
	uint64_t newest_seq;	      /* about: of its youngest record; 0: not known yet; the
					 maintainer's */
	uint64_t born;		      /* counts preparations and loads; the maintainer's */
	uint64_t seen_us;	      /* when it was first found sealed; the maintainer's */
	uint64_t dictionaries[4];     /* numbers of those that values in it name, as bits; the
					 maintainer's */
	uint32_t damaged_bytes;	      /* found by the scrub; the maintainer's */
	uint64_t gained;	      /* bytes of garbage that compaction has passed in it; the
					 maintainer's */
	uint32_t longest;	      /* record in it, once it is sealed and somebody had to know;
					 0: nobody had; the maintainer's */
	uint32_t leads;		      /* bytes before copies in it that snapshots need, as far
					 as they were made since it was opened; the
					 maintainer's */
	uint32_t copied_bytes;	      /* of its tombstones, copied already, as of the look with
					 this number; the maintainer's */
	unsigned copied_look;
	uint64_t snapshots_seq;	      /* of its youngest record of a snapshot; under the log's
					 lock */
	bool settled;		      /* compressing it is not worth while; the maintainer's */
	bool raw;		      /* cold, with values that were not tried to compress; the
					 maintainer's */
	bool emptied;		      /* nothing in it is needed; the maintainer's */
	bool held;		      /* ... but it stays until the list of snapshots is saved;
					 the maintainer's */
	bool kept;		      /* and nobody looks at it, but a checkpoint names it;
					 likewise */
	bool named;		      /* the durable checkpoint speaks of it: it stays; the
					 maintainer's */
	bool leaving;		      /* about to be freed; the maintainer's */
	bool named_next;	      /* and one that is being written; likewise */
	bool cold;		      /* it is worth being read in and was not yet; the
					 maintainer's */
	uint32_t missing;	      /* bytes at the file's end, of one that was cut off */
	bool header_damaged;	      /* the page of its header is not as it was written; changed
					 under the log's lock */
	bool name_lost;		      /* another file, or none, has its name; likewise */
	bool damaged;		      /* something in it was passed over when it was replayed */
	bool unreadable;	      /* holds needed records that cannot be read: never freed;
					 the maintainer's */
};

struct segments {
	struct kv_env *env;
	struct env_dir *dir;
	uint8_t uuid[16];
	const struct format_super *super; /* of which each header page has a copy */
	uint32_t size;	    /* bytes of a segment */
	unsigned shift;	    /* log2(size) - 3 */
	uint32_t slots_max;
	unsigned keyspace_count;
	_Atomic(const uint8_t *) *bases; /* [slots_max]; stored with release, loaded with acquire */
	_Atomic(struct segment *) *table; /* [slots_max]; entered by the maintainer, removed
					     under the log's lock */
	_Atomic uint64_t renames;	 /* of files, and removals, so far */
	_Atomic uint64_t renames_synced; /* those that are durable */
	_Atomic uint32_t mapped;      /* segments without a buffer */
	_Atomic uint32_t count;	      /* slots in use, from 0; some may be free */
	uint32_t covered_slots;	      /* a checkpoint was opened that may speak of slots below */

	pthread_mutex_t pool_lock;    /* innermost rank */
	uint8_t **pool;		      /* buffers that wait; protected by pool_lock */
	uint32_t pool_count, pool_capacity;
	uint32_t buffers;	      /* allocated in all; protected by pool_lock */
	uint64_t births;	      /* the maintainer's */
	bool refused;		      /* space, at the last attempt, and none was given back
					 since; the maintainer's */
	uint32_t buffers_max;	      /* the maintainer's bound for residents */
	_Atomic uint64_t heads_size;  /* bytes, of all segments; stored by the maintainer */
};

/* The superblock stays the caller's, and where it is. */
int segments_init(struct segments *segments, struct kv_env *env, struct env_dir *dir,
		  const struct format_super *super, uint64_t resident_size);
void segments_fini(struct segments *segments);

static inline uint64_t segments_address(const struct segments *segments, uint32_t slot,
					uint32_t offset)
{
	return (uint64_t)slot << segments->shift | offset >> 3;
}

static inline uint32_t segments_slot(const struct segments *segments, uint64_t address)
{
	return (uint32_t)(address >> segments->shift);
}

static inline uint32_t segments_offset(const struct segments *segments, uint64_t address)
{
	return (uint32_t)(address << 3) & (segments->size - 1);
}

/*
 * bases holds where a segment's bytes are, NULL if nothing is there; its lowest bits are what a
 * reader has to know of them: their records were not all validated when the store was opened (or
 * might be none: a checkpoint spoke of the slot), they are a file's map.
 */
#define SEGMENT_UNVERIFIED ((uintptr_t)1)
#define SEGMENT_MAPPED ((uintptr_t)2)
/*
 * Unverified in that an address may lie; but all that stands there was valid, so that checking
 * bounds is enough to read.
 */
#define SEGMENT_SOUND ((uintptr_t)4)
#define SEGMENT_FLAGS (SEGMENT_UNVERIFIED | SEGMENT_MAPPED | SEGMENT_SOUND)

static inline uintptr_t segments_flagged_base(const struct segments *segments, uint32_t slot)
{
	return (uintptr_t)atomic_load_explicit(&segments->bases[slot], memory_order_acquire);
}

/* For those who validate, or only ask for it to come into the cache. */
static inline const uint8_t *segments_base(const struct segments *segments, uint32_t slot)
{
	return (const uint8_t *)(segments_flagged_base(segments, slot) & ~SEGMENT_FLAGS);
}

/* The record, validated now if it was not before; NULL: there is no valid one. */
const struct format_record *segments_verify(const struct segments *segments, uint64_t address);

/* The record at an address of an index. NULL: it is damaged. */
static inline const struct format_record *segments_record(const struct segments *segments,
							  uint64_t address)
{
	uintptr_t base = segments_flagged_base(segments, segments_slot(segments, address));

	if (__builtin_expect(base & SEGMENT_UNVERIFIED, 0))
		return segments_verify(segments, address);
	return (const struct format_record *)((base & ~SEGMENT_FLAGS) +
					      segments_offset(segments, address));
}

/*
 * The same for those who look at header and key alone: of a large record in a map without touching
 * the map, where its segment remembers them. Inside an epoch or under the log's lock.
 */
static inline const struct format_record *segments_head(const struct segments *segments,
							uint64_t address)
{
	const struct segment *segment = segments->table[segments_slot(segments, address)];
	const struct heads *heads =
		segment ? atomic_load_explicit(&segment->heads, memory_order_acquire) : NULL;
	const struct format_record *head = NULL;

	if (__builtin_expect(heads != NULL, 0))
		head = heads_find(heads, segments_offset(segments, address));
	return head ? head : segments_record(segments, address);
}

static inline bool segment_has_head(const struct segments *segments, const struct segment *segment,
				    uint64_t address)
{
	const struct heads *heads = atomic_load_explicit(&segment->heads, memory_order_acquire);

	return heads && heads_find(heads, segments_offset(segments, address));
}

/*
 * For messages: the address of these bytes of a record. 0: they stand in no segment (where none
 * has a record). Inside an epoch or under the log's lock.
 */
uint64_t segments_find(const struct segments *segments, const void *bytes);
/* Has a page of the segment at this address become unreadable? */
bool segments_failed(const struct segments *segments, uint64_t address);

/*
 * A free slot's file, or a new one, allocated, with a durable header and a buffer. env_is_short,
 * -ENOMEM, -EIO
 */
int segment_prepare(struct segments *segments, uint64_t id, struct segment **out);
/* An existing segment: header read, or its copy, and checked. -EUCLEAN, -EPROTONOSUPPORT */
int segment_load(struct segments *segments, uint32_t slot, bool read_only, struct segment **out);
/*
 * For a sealed segment whose buffer is given up: what will be asked most often about its large
 * values stays in memory.
 */
void segment_keep_heads(struct segments *segments, struct segment *segment);
/*
 * Maps the file of a sealed segment; then, under the log's lock, makes readers use the map. The
 * buffer is to be given back after the epoch.
 */
int segment_map(struct segments *segments, struct segment *segment, const uint8_t **map);
uint8_t *segment_use_map(struct segments *segments, struct segment *segment, const uint8_t *map);
/*
 * Validates what a checkpoint spoke of, in these bytes that are to be its buffer, all at once: are
 * all its records as they should be?
 */
bool segment_prove(const struct segments *segments, struct segment *segment,
		   const uint8_t *buffer);
/* It was. Under the log's lock. */
void segment_set_sound(struct segments *segments, struct segment *segment);
/* From here on its records are validated when they are first read. Before anybody reads. -ENOMEM */
int segment_cover(struct segments *segments, struct segment *segment, uint32_t covered);
/* Takes that back. */
void segment_uncover(struct segments *segments, struct segment *segment);
/* A record that was validated, or has just been appended. */
static inline void segment_mark_verified(struct segment *segment, uint32_t offset)
{
	if (__builtin_expect(segment->verified != NULL, 0))
		atomic_fetch_or_explicit(&segment->verified[offset >> 9],
					 (uint64_t)1 << (offset >> 3 & 63), memory_order_relaxed);
}
/*
 * The way back: under the log's lock readers use a buffer with the file's bytes. The map is to be
 * unmapped after the epoch.
 */
const uint8_t *segment_use_buffer(struct segments *segments, struct segment *segment,
				  uint8_t *buffer);
/*
 * A buffer with what the file has below `end`, and zeros to the end of that block: the rest is
 * still to be written.
 */
int segment_fetch_tail(struct segments *segments, const struct segment *segment, uint32_t end,
		       uint8_t **buffer);
/*
 * The same, reading them, before anybody else reads, for a segment that is to be appended to again.
 * In parts: what cannot be read is zeros. -ENOMEM, or what reading says
 */
int segment_resume(struct segments *segments, struct segment *segment, bool in_parts);
/*
 * Makes the slot free in memory, under the log's lock, when it is so on disk (segment_erase) and no
 * reader can reach it any more.
 */
void segment_release(struct segments *segments, struct segment *segment);

int segments_take_buffer(struct segments *segments, uint8_t **out);
void segments_give_buffer(struct segments *segments, uint8_t *buffer);
/* Is there one that was used before? */
bool segments_have_buffer(struct segments *segments);

/*
 * How a segment's bytes are validated record by record: at an offset, the record's length, 0 at the
 * end of the room.
 */
static inline int64_t segment_validate(const struct segments *segments,
				       const struct segment *segment, const uint8_t *base,
				       uint32_t offset)
{
	return format_record_validate((const struct format_record *)(base + offset),
				      segments->size - offset, segment->salt,
				      segments->keyspace_count);
}

/*
 * The next offset below `end` at which a record is valid, or `end`. What is tried is taken from the
 * budget, which bounds the search where each of many bytes looks like the start of a long record.
 */
#define SEGMENT_SEARCH_BUDGET(segments) ((uint64_t)(segments)->size * 16)
uint32_t segment_search(const struct segments *segments, const struct segment *segment,
			const uint8_t *base, uint32_t offset, uint32_t end, uint64_t *budget);

#endif
