/* SPDX-License-Identifier: MIT */
/*
 * validator.c - see validator.h.
 *
 * What it finds goes through a ring, a few hundred under one stay in the lock. That is also what
 * keeps the two threads near to each other: what the one has validated is in the cache, which both
 * share, when the other applies it, and most of what it found in the index is still so. Neither
 * waits for one that waits for it: who finds the ring full and what he needs beyond it does that
 * himself.
 *
 * What is looked for in the index, and the records there, wait for memory, and each wait is for an
 * address that the one before it brought. So that is done for many keys in turns. It is also what
 * either of the two can do: the thread leaves it to the replayer while the ring is emptier than
 * full, for then it is the slower one.
 */
#include "validator.h"

#include <pthread.h>
#include <stdlib.h>

#include "epoch.h"
#include "keyhash.h"
#include "lookup.h"
#include "worker.h"

#define RING 4096u	      /* entries */
#define TELL 512u	      /* entries... */
#define TURN 64u	      /* entries whose keys are looked up together */
#define NEXT 16u	      /* entries that the replayer asks for buckets ahead */
#define TELL_SIZE (1u << 20)  /* ...or bytes, after which the other one hears of it */
#define ASK_SIZE (1u << 20)   /* bytes that the disk is asked for at once... */
#define ASK_AHEAD (32u << 20) /* ...so far ahead */
#define SEGMENTS_MIN 2u	      /* to be replayed, for a thread to be worth while */

struct validator_entry {
	struct validator_finding finding;
	uint32_t offset;
	uint32_t nth : 31;
	uint32_t looked_up : 1;
};

struct validator {
	struct kv *kv;
	struct segment *const *segments;
	size_t count;
	pthread_t thread;

	pthread_mutex_t lock;	/* no other is taken under it */
	pthread_cond_t moved;	/* any of what it protects, up to `ends` */
	size_t nth;		/* segment that the thread is at; stored by it */
	uint32_t offset;	/* what begins before it there is valid; likewise */
	uint64_t head;		/* entries told of; likewise */
	bool full;		/* it waits for room; likewise */
	uint64_t tail;		/* entries taken; stored by the replayer */
	size_t left;		/* segments that he is done with; likewise */
	bool stopping;		/* likewise */
	uint32_t *ends;		/* [count] its offset there at last, for segments before nth */

	/* The thread's */
	uint64_t written;	/* entries */
	uint64_t looked_up;	/* of them, or left to the replayer */
	bool leaving;		/* the next ones are left to him */
	uint64_t done;		/* bytes of segments, up to where it is */
	size_t asked_nth;	/* the disk was asked up to this segment... */
	uint32_t asked_offset;	/* ... and offset */
	uint64_t asked;		/* bytes of segments, up to there */

	/* The replayer's */
	size_t turn;		/* segment that he is at... */
	const uint8_t *base;	/* ... and its bytes */
	uint64_t taken, known;	/* entries; those that are known are taken without the lock */

	struct validator_entry ring[RING];
};

static bool is_replayed(const struct segment *segment)
{
	return !segment->complete;
}

static uint32_t first_offset(const struct segment *segment)
{
	return segment->covered ? segment->covered : FORMAT_SEGMENT_HEADER_SIZE;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void ask_next(struct validator *validator)
{
	const struct segments *segments = &validator->kv->segments;
	const struct segment *segment = validator->segments[validator->asked_nth];
	const uint8_t *base = segments_base(segments, segment->slot);
	uint32_t left = segments->size - validator->asked_offset;
	uint32_t size = left < ASK_SIZE ? left : ASK_SIZE;

	if (!is_replayed(segment)) {
		validator->asked_nth++;
		return;
	}
	if (!segment->buffer && validator->asked_offset + size > first_offset(segment))
		segments->env->map_advise(base + validator->asked_offset, size,
					  ENV_ADVICE_WILLNEED);
	validator->asked += size;
	validator->asked_offset += size;
	if (validator->asked_offset == segments->size) {
		validator->asked_offset = 0;
		validator->asked_nth++;
	}
}

static void ask_ahead(struct validator *validator, uint32_t offset)
{
	while (validator->asked_nth < validator->count &&
	       validator->asked < validator->done + offset + ASK_AHEAD)
		ask_next(validator);
}

static bool is_wanted(const struct validator *validator, size_t nth)
{
	return !validator->stopping && validator->left <= nth;
}

/*
 * Says how far it came, and waits until there is room. False: nobody wants to know of this segment
 * any more.
 */
static bool tell(struct validator *validator, size_t nth, uint32_t offset)
{
	bool wanted;

	pthread_mutex_lock(&validator->lock);
	validator->nth = nth;
	validator->offset = offset;
	validator->head = validator->written;
	pthread_cond_broadcast(&validator->moved);
	validator->full = validator->head - validator->tail > RING - TELL;
	while (validator->full && is_wanted(validator, nth)) {
		pthread_cond_wait(&validator->moved, &validator->lock);
		validator->full = validator->head - validator->tail > RING / 2;
	}
	validator->full = false;
	validator->leaving = validator->head - validator->tail < RING / 2;
	wanted = is_wanted(validator, nth);
	pthread_mutex_unlock(&validator->lock);
	return wanted;
}

static struct validator_entry *entry_at(struct validator *validator, uint64_t number)
{
	return &validator->ring[number % RING];
}

static const struct format_record *record_of(const struct validator *validator,
					     const struct validator_entry *entry)
{
	const struct segments *segments = &validator->kv->segments;
	uint32_t slot = validator->segments[entry->nth]->slot;

	return (const struct format_record *)(segments_base(segments, slot) + entry->offset);
}

/*
 * As lookup_match_head. A record that nobody has validated yet is validated here, and that is noted
 * nowhere: what is replaced is looked at once, and the note is a line of memory of its own.
 */
static inline bool match_once(void *arg, uint64_t address)
{
	struct lookup *lookup = arg;
	const struct segments *segments = lookup->segments;
	uint32_t slot = segments_slot(segments, address),
		 offset = segments_offset(segments, address);
	const uint8_t *base = segments_base(segments, slot);

	if (!(segments_flagged_base(segments, slot) & SEGMENT_UNVERIFIED))
		return lookup_match_head(arg, address);
	if (!base || segment_validate(segments, segments->table[slot], base, offset) <= 0)
		return lookup_judge(lookup, address, NULL);
	return lookup_judge(lookup, address, (const struct format_record *)(base + offset));
}

static void look_up(struct validator *validator, struct validator_entry *entry)
{
	struct kv *kv = validator->kv;
	const struct format_record *record = record_of(validator, entry);
	struct lookup lookup = {&kv->segments, record->key, record->key_size,
				record->keyspace, NULL, 0};
	uint64_t old = index_lookup(&kv->index, entry->finding.hash, match_once, &lookup);

	entry->looked_up = true;
	if (!old || lookup.record->seq > record->seq)
		return;
	entry->finding.old = old;
	entry->finding.old_length = (uint32_t)format_record_length(lookup.record);
}

/* What the keys of these entries, which are nobody else's, lead to at present. */
static void look_up_turn(struct validator *validator, uint64_t from, uint64_t to)
{
	struct kv *kv = validator->kv;
	uint64_t i;

	epoch_enter();
	for (i = from; i != to; i++)
		index_peek(&kv->index, entry_at(validator, i)->finding.hash, lookup_prefetch_lines,
			   &kv->segments);
	for (i = from; i != to; i++)
		look_up(validator, entry_at(validator, i));
	epoch_leave();
}

static void look_up_last(struct validator *validator)
{
	if (!validator->leaving)
		look_up_turn(validator, validator->looked_up, validator->written);
	validator->looked_up = validator->written;
}

static void enter(struct validator *validator, const struct format_record *record, size_t nth,
		  uint32_t offset)
{
	struct kv *kv = validator->kv;
	uint64_t hash = keyhash_of(&kv->keyhash, record->keyspace, record->key, record->key_size);

	*entry_at(validator, validator->written++) = (struct validator_entry){
		.finding.hash = hash, .offset = offset, .nth = (uint32_t)nth};
	if (!validator->leaving)
		index_prefetch(&kv->index, hash);
	if (validator->written - validator->looked_up == TURN)
		look_up_last(validator);
}

/* Returns where it ended. */
static uint32_t validate(struct validator *validator, size_t nth)
{
	const struct segments *segments = &validator->kv->segments;
	const struct segment *segment = validator->segments[nth];
	const uint8_t *base = segments_base(segments, segment->slot);
	uint32_t offset = first_offset(segment), told = offset;
	uint64_t told_written = validator->written;
	int64_t length;

	ask_ahead(validator, offset);
	while ((length = segment_validate(segments, segment, base, offset)) > 0) {
		const struct format_record *record = (const struct format_record *)(base + offset);

		if (!format_record_is_bare(record))
			enter(validator, record, nth, offset);
		else if (record->flags == FORMAT_RECORD_END)
			break;
		offset += (uint32_t)length;
		if (validator->written - told_written < TELL && offset - told < TELL_SIZE)
			continue;
		look_up_last(validator);
		if (!tell(validator, nth, offset))
			break;
		ask_ahead(validator, offset);
		told = offset;
		told_written = validator->written;
	}
	look_up_last(validator);
	validator->done += segments->size;
	return offset;
}

static void *run(void *arg)
{
	struct validator *validator = arg;
	bool stopping = false;
	size_t nth;

	for (nth = 0; nth < validator->count && !stopping; nth++) {
		uint32_t end = 0;

		if (is_replayed(validator->segments[nth]))
			end = validate(validator, nth);
		pthread_mutex_lock(&validator->lock);
		validator->ends[nth] = end;
		stopping = validator->stopping;
		pthread_mutex_unlock(&validator->lock);
		tell(validator, nth + 1, 0);
	}
	return NULL;
}

/* ---- the replayer ---------------------------------------------------------------------------- */

static size_t count_replayed(struct segment *const *segments, size_t count)
{
	size_t replayed = 0, i;

	for (i = 0; i < count; i++)
		replayed += is_replayed(segments[i]);
	return replayed;
}

static void validator_delete(struct validator *validator)
{
	pthread_cond_destroy(&validator->moved);
	pthread_mutex_destroy(&validator->lock);
	free(validator->ends);
	free(validator);
}

struct validator *validator_new(struct kv *kv, struct segment *const *segments, size_t count)
{
	struct validator *validator;

	if (kv->inline_maintenance || count_replayed(segments, count) < SEGMENTS_MIN)
		return NULL;
	validator = calloc(1, sizeof(*validator));
	if (!validator)
		return NULL;
	validator->kv = kv;
	validator->segments = segments;
	validator->count = count;
	pthread_mutex_init(&validator->lock, NULL);
	pthread_cond_init(&validator->moved, NULL);
	validator->ends = calloc(count, sizeof(*validator->ends));
	if (!validator->ends || worker_thread(&validator->thread, run, validator)) {
		validator_delete(validator);
		return NULL;
	}
	return validator;
}

void validator_free(struct validator *validator)
{
	if (!validator)
		return;
	pthread_mutex_lock(&validator->lock);
	validator->stopping = true;
	pthread_cond_broadcast(&validator->moved);
	pthread_mutex_unlock(&validator->lock);
	pthread_join(validator->thread, NULL);
	validator_delete(validator);
}

void validator_enter(struct validator *validator, size_t nth)
{
	validator->turn = nth;
	validator->base = segments_base(&validator->kv->segments, validator->segments[nth]->slot);
}

void validator_leave(struct validator *validator)
{
	pthread_mutex_lock(&validator->lock);
	validator->left = validator->turn + 1;
	/*
	 * Then all that was told of is of this segment, or one before: there is room for the next
	 * one, whatever was taken.
	 */
	if (validator->nth < validator->left)
		validator->tail = validator->taken = validator->known = validator->head;
	pthread_cond_broadcast(&validator->moved);
	while (validator->nth < validator->left)
		pthread_cond_wait(&validator->moved, &validator->lock);
	pthread_mutex_unlock(&validator->lock);
}

/* Under the lock. */
static void give_room(struct validator *validator)
{
	validator->tail = validator->taken;
	if (validator->full && validator->head - validator->tail <= RING / 2)
		pthread_cond_broadcast(&validator->moved);
}

uint32_t validator_await(struct validator *validator, uint32_t offset)
{
	uint32_t end;

	pthread_mutex_lock(&validator->lock);
	give_room(validator);
	while (validator->nth == validator->turn && validator->offset <= offset &&
	       !(validator->full && validator->head - validator->tail > RING / 2))
		pthread_cond_wait(&validator->moved, &validator->lock);
	end = validator->nth > validator->turn ? validator->ends[validator->turn] :
						 validator->offset;
	validator->known = validator->head;
	pthread_mutex_unlock(&validator->lock);
	return end;
}

static void take(struct validator *validator)
{
	validator->taken++;
	if (validator->taken % TELL)
		return;
	pthread_mutex_lock(&validator->lock);
	give_room(validator);
	pthread_mutex_unlock(&validator->lock);
}

/*
 * What the thread has left to the replayer, of the entries that come next; and asks for the buckets
 * of those behind them.
 */
static void look_up_next(struct validator *validator)
{
	uint64_t from = validator->taken, to = from, i;

	while (to != validator->known && to - from < TURN && !entry_at(validator, to)->looked_up)
		to++;
	for (i = to; i != validator->known && i - to < TURN; i++)
		index_prefetch(&validator->kv->index, entry_at(validator, i)->finding.hash);
	look_up_turn(validator, from, to);
}

/*
 * Of an entry that comes soon: the bucket, and the record, which the other processor has read; and
 * one behind it, which the other has written.
 */
static void ask_for(struct validator *validator, uint64_t number)
{
	const struct validator_entry *entry = entry_at(validator, number);

	__builtin_prefetch(entry_at(validator, number + NEXT));
	index_prefetch(&validator->kv->index, entry->finding.hash);
	__builtin_prefetch(validator->base + entry->offset);
}

bool validator_take(struct validator *validator, uint32_t offset, struct validator_finding *out)
{
	while (validator->taken != validator->known) {
		const struct validator_entry *entry = entry_at(validator, validator->taken);
		bool passed = entry->nth < validator->turn ||
			      (entry->nth == validator->turn && entry->offset < offset);

		if (!passed && (entry->nth != validator->turn || entry->offset != offset))
			return false;
		if (!passed && !entry->looked_up)
			look_up_next(validator);
		*out = entry->finding;
		if (validator->known - validator->taken > NEXT)
			ask_for(validator, validator->taken + NEXT);
		take(validator);
		if (!passed)
			return true;
	}
	return false;
}
