/* SPDX-License-Identifier: MIT */
/*
 * replay.h - one segment's records, batch by batch, to the indexes: what is whole and in its place
 * counts.
 *
 * Which batches these are says FORMAT.md, Validity: each record valid, numbers that follow each
 * other, the last record of a batch without MORE. What comes instead is the end of the log, or
 * damage, which is reported and passed over.
 *
 * Threads: the one that opens the store, before anybody else knows of it.
 */
#ifndef REPLAY_H
#define REPLAY_H

#include "store.h"
#include "validator.h"

#define REPLAY_AHEAD 32u /* records */

/*
 * What is asked for before its turn comes: of the next records' keys the index's buckets, then what
 * they replace.
 */
struct replay_ahead {
	uint32_t offset; /* of the first record that was not looked at */
	unsigned asked, peeked, applied; /* records of the segment */
	struct replay_next {
		uint64_t hash;
		uint32_t offset;
	} next[REPLAY_AHEAD];
};

/*
 * `segment` and `base` are set by the caller for each segment; what follows `marked_seq` is about
 * that one alone.
 */
struct replay {
	struct kv *kv;
	struct segment *segment;
	const uint8_t *base;
	struct validator *validator; /* or NULL */
	uint64_t last_seq;   /* of the batches that were committed */
	uint64_t newest_seq; /* of copies as well */
	uint64_t marked_seq; /* of the last MARK of the log's end */
	uint32_t valid_end; /* a record that the one before it led to, from the first one on, is
			       valid if it begins before this */
	bool strayed; /* damage was passed over: no record is known to be one of those */
	bool first; /* no batch of this segment was applied yet */
	uint64_t until; /* of the record behind it, says a bare one; 0: none does */
	bool torn;  /* what follows may be the rest of the last one */
	uint64_t search_budget; /* of this segment */
	uint32_t marks[3];	/* offsets of the last ones that were met, the oldest first */
	bool mark_known;	/* the last MARK of this segment was looked for */
	uint32_t mark_offset;
	uint64_t mark_seq;
	struct replay_ahead ahead;
};

enum replay_end {
	REPLAY_OPEN,   /* no record says so */
	REPLAY_SEALED, /* an END */
	REPLAY_CLOSED, /* a CLOSED: nothing was written behind it */
};

static inline bool replay_is_cold(const struct replay *replay)
{
	return format_segment_is_cold(replay->segment->id);
}

/*
 * Replays `segment`, whose bytes are at `base`, behind what a checkpoint says of it. In the last
 * one of the log's end, and the last cold one, what is not whole may be what a crash has torn off:
 * those before them were durable when they were begun. Out: where its records end (before a
 * CLOSED), and what says so. -ENOMEM
 */
int replay_segment(struct replay *replay, bool last, uint32_t *end, enum replay_end *how);

/*
 * Nothing was ever durable in it: damage at its beginning alone, or what cannot be read, does not
 * make it one that was not used.
 */
bool replay_finds_nothing(struct kv *kv, struct segment *segment);

/* For the questions that come next: of this segment, from its beginning to its end. */
void replay_ask(struct replay *replay, struct kv *kv, struct segment *segment);
/*
 * Does a record behind the offset, or a checkpoint, say that what was damaged there was durable?
 * seq: the last number before it.
 */
bool replay_is_vouched_for(struct replay *replay, uint32_t offset, uint64_t seq);

#endif
