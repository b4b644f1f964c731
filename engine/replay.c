/* SPDX-License-Identifier: MIT */
/* replay.c - see replay.h. */
#include "replay.h"

#include <errno.h>

#include "apply.h"
#include "checkpoint_vouch.h"
#include "dictionary.h"
#include "lookup.h"

static const struct format_record *record_ptr(const struct replay *replay, uint32_t offset)
{
	return (const struct format_record *)(replay->base + offset);
}

/* The length of a valid record, as segment_validate says it. */
static int64_t record_at(struct replay *replay, uint32_t offset)
{
	const struct segments *segments = &replay->kv->segments;

	if (replay->validator && !replay->strayed && offset >= replay->valid_end)
		replay->valid_end = validator_await(replay->validator, offset);
	/* Its page may have become unreadable since, and is zeros: no record looks like that. */
	if (offset < replay->valid_end &&
	    format_record_plausible(record_ptr(replay, offset), segments->size - offset,
				    segments->keyspace_count))
		return (int64_t)format_record_length(record_ptr(replay, offset));
	return segment_validate(segments, replay->segment, replay->base, offset);
}

static bool seq_follows(const struct replay *replay, const struct format_record *record)
{
	if (record->flags & FORMAT_RECORD_RELOCATED)
		return true;
	if (replay->torn && record->seq == replay->last_seq)
		return true;
	return replay->first ? record->seq > replay->last_seq :
			       record->seq == replay->last_seq + 1;
}

/*
 * The whole batch at an offset: the offset behind it, or 0 if there is none. Out: the records, and
 * where it showed that there is none.
 */
static uint32_t batch_at(struct replay *replay, uint32_t offset, uint64_t *count,
			 uint32_t *broken)
{
	const struct format_record *first = record_ptr(replay, offset);

	*count = 0;
	for (;;) {
		int64_t length = record_at(replay, offset);
		const struct format_record *record = record_ptr(replay, offset);

		*broken = offset;
		if (length <= 0)
			return 0;
		if (format_record_is_bare(record))
			return *count ? 0 : offset + (uint32_t)length;
		if (*count ? record->seq != first->seq : !seq_follows(replay, record))
			return 0;
		offset += (uint32_t)length;
		++*count;
		if (!(record->flags & FORMAT_RECORD_MORE))
			return offset;
	}
}

/* ---- what comes next ------------------------------------------------------------------------- */

/*
 * Each record waits for memory three times, and each wait is for an address that the one before it
 * brought: the bucket of its key, the bit that says whether what it replaces was validated, and
 * that record. So, unless the validator has done so, all three are asked for while records before
 * it are applied. Nothing here is believed: what is met has not been validated.
 */
#define PEEK_AHEAD (REPLAY_AHEAD / 2)

static uint64_t hash_of(const struct replay *replay, const struct format_record *record)
{
	return keyhash_of(&replay->kv->keyhash, record->keyspace, record->key, record->key_size);
}

/* Asks for the buckets of the next records, as many as there is room for. */
static void ask_ahead(struct replay *replay)
{
	struct replay_ahead *ahead = &replay->ahead;
	const struct segments *segments = &replay->kv->segments;

	while (ahead->asked - ahead->applied < REPLAY_AHEAD) {
		const struct format_record *record = record_ptr(replay, ahead->offset);
		struct replay_next *next = &ahead->next[ahead->asked % REPLAY_AHEAD];

		if (!format_record_plausible(record, segments->size - ahead->offset,
					     segments->keyspace_count))
			return;
		next->offset = ahead->offset;
		ahead->offset += (uint32_t)format_record_length(record);
		if (format_record_is_bare(record))
			continue;
		next->hash = hash_of(replay, record);
		index_prefetch(&replay->kv->index, next->hash);
		ahead->asked++;
	}
}

/* Before a record at this offset is applied: its key's hash. */
static uint64_t look_ahead(struct replay *replay, uint32_t offset)
{
	struct replay_ahead *ahead = &replay->ahead;
	const struct replay_next *next;

	/* Damage was passed over. */
	if (ahead->offset <= offset)
		*ahead = (struct replay_ahead){.offset = offset};
	ask_ahead(replay);
	while (ahead->peeked != ahead->asked && ahead->peeked - ahead->applied < PEEK_AHEAD)
		index_peek(&replay->kv->index, ahead->next[ahead->peeked++ % REPLAY_AHEAD].hash,
			   lookup_prefetch_unverified, &replay->kv->segments);
	if (ahead->applied == ahead->peeked)
		return hash_of(replay, record_ptr(replay, offset));
	next = &ahead->next[ahead->applied++ % REPLAY_AHEAD];
	return next->offset == offset ? next->hash : hash_of(replay, record_ptr(replay, offset));
}

/* ---- batches --------------------------------------------------------------------------------- */

static int apply_one(struct replay *replay, const struct format_record *record, uint32_t offset)
{
	struct kv *kv = replay->kv;
	uint64_t address = segments_address(&kv->segments, replay->segment->slot, offset);
	struct validator_finding found = {0};

	/*
	 * Also behind valid_end, which stays where it is while a batch is applied that is longer
	 * than the ring: what is taken gives the second thread room to go on.
	 */
	if (!replay->validator || replay->strayed ||
	    !validator_take(replay->validator, offset, &found))
		found.hash = look_ahead(replay, offset);
	/* Without its lead, which was damaged, at most the checkpoint knows who may see it. */
	if (record->flags & FORMAT_RECORD_OLD) {
		uint64_t until = replay->until ? replay->until : checkpoint_vouched_end(kv, address);

		return until ? apply_old(kv, record, address, found.hash, until) : 0;
	}
	return found.old ? apply_replacing(kv, record, address, found.hash, found.old,
					   found.old_length)
			 : apply_record(kv, record, address, found.hash);
}

static int apply_batch(struct replay *replay, uint32_t offset, uint64_t count)
{
	struct kv *kv = replay->kv;
	int error = index_reserve(&kv->index, count);

	while (count-- && !error) {
		const struct format_record *record = record_ptr(replay, offset);

		error = apply_one(replay, record, offset);
		/* Copies stand before and behind what was committed when they were. */
		if (!(record->flags & FORMAT_RECORD_RELOCATED)) {
			replay->first = false;
			replay->last_seq = record->seq;
		}
		dictionary_note(replay->segment, record);
		if (record->seq > replay->segment->newest_seq)
			replay->segment->newest_seq = record->seq;
		offset += (uint32_t)format_record_length(record);
	}
	kv->recovered_batches++;
	replay->torn = false;
	return error;
}

/* The next offset from which on records are valid again, or the segment's size. */
static uint32_t resync(struct replay *replay, uint32_t offset)
{
	const struct segments *segments = &replay->kv->segments;

	return segment_search(segments, replay->segment, replay->base, offset, segments->size,
			      &replay->search_budget);
}

/* The MARK with the highest number at or behind an offset. */
static void find_mark(struct replay *replay, uint32_t offset)
{
	replay->mark_known = true;
	while ((offset = resync(replay, offset)) < replay->kv->segments.size) {
		const struct format_record *record = record_ptr(replay, offset);

		/* Both say in a cold segment that what stands before them was durable. */
		if ((record->flags & FORMAT_RECORD_MARK && record->seq >= replay->mark_seq) ||
		    (replay_is_cold(replay) && record->flags & FORMAT_RECORD_END)) {
			replay->mark_seq = record->seq;
			replay->mark_offset = offset;
		}
		offset += (uint32_t)format_record_length(record);
	}
}

/* Is what stands at the offset of a batch that was damaged before, and that counts as the last? */
static bool goes_on(const struct replay *replay, uint32_t offset)
{
	const struct format_record *record = record_ptr(replay, offset);

	return replay->torn && record->seq == replay->last_seq &&
	       !(record->flags & FORMAT_RECORD_RELOCATED);
}

/*
 * Does a record behind the offset, or a checkpoint, say that what belongs here was durable? count:
 * records of its batch that are whole.
 */
static bool was_durable(struct replay *replay, uint32_t offset, uint64_t count)
{
	uint64_t seq = replay->last_seq + !(count && goes_on(replay, offset));

	if (offset < replay->segment->vouched)
		return true;
	if (!replay->mark_known)
		find_mark(replay, offset);
	return replay->mark_offset > offset &&
	       (replay_is_cold(replay) || replay->mark_seq >= seq);
}

/*
 * From an offset at which no whole batch is, though there was one, on past what is damaged:
 * `broken`. The batch's other records are as they were, and count.
 */
static int skip_damage(struct replay *replay, uint32_t *offset, uint64_t count, uint32_t broken)
{
	int error = count ? apply_batch(replay, *offset, count) : 0;
	uint32_t next = resync(replay, broken + FORMAT_RECORD_ALIGN);
	char name[FORMAT_SEGMENT_NAME_SIZE];

	format_segment_name(replay->segment->slot, name);
	store_report(
		replay->kv, KV_ERROR,
		"%s: %u bytes at offset %u are damaged; what they held is lost, and what it "
		"replaced may be back; the rest stays readable",
		name, next - broken, broken);
	store_add(&replay->kv->damaged, 1);
	replay->kv->passed_over_bytes += next - broken;
	replay->segment->damaged = true;
	replay->first = true; /* numbers are missing */
	/* What is found from here on need not be what the validator came to, record by record. */
	replay->strayed = true;
	replay->valid_end = 0;
	replay->until = 0;
	replay->torn = true;
	*offset = next;
	return error;
}

/*
 * Neither batch nor END. Out: until when the record behind it was its key's newest; 0: it does not
 * say.
 */
static uint64_t take_bare(struct replay *replay, const struct format_record *record)
{
	if (record->flags & FORMAT_RECORD_OLD) {
		/* It may be of a batch that is gone, and no other is to have its number. */
		if (record->seq > replay->newest_seq)
			replay->newest_seq = record->seq;
		return record->seq;
	}
	/* A MARK's number may be of a batch whose segment is gone. */
	if (record->seq > replay->last_seq)
		replay->last_seq = record->seq;
	return 0;
}

static bool is_end(const struct replay *replay, uint32_t offset)
{
	return record_ptr(replay, offset)->flags == FORMAT_RECORD_END;
}

static bool is_closed(const struct replay *replay, uint32_t offset)
{
	return record_ptr(replay, offset)->flags == FORMAT_RECORD_CLOSED;
}

/*
 * What comes to stand in a CLOSED's place is first written as far as its block goes, and nothing
 * else before that is durable (log.c): so if anything was, and it was torn, it shows there.
 */
static bool is_zero_to_block_end(const struct replay *replay, uint32_t offset)
{
	for (; offset % ENV_DIRECT_ALIGN; offset++) {
		if (replay->base[offset])
			return false;
	}
	return true;
}

/* Of a record that stands alone. */
static void note_mark(struct replay *replay, uint32_t offset)
{
	const struct format_record *record = record_ptr(replay, offset);

	if (!(record->flags & FORMAT_RECORD_MARK))
		return;
	replay->marks[0] = replay->marks[1];
	replay->marks[1] = replay->marks[2];
	replay->marks[2] = offset;
	if (!replay_is_cold(replay))
		replay->marked_seq = record->seq;
}

/* Nothing is known yet of the replay's segment. */
static void begin(struct replay *replay, uint32_t start)
{
	replay->first = true;
	replay->until = 0;
	replay->torn = false;
	replay->search_budget = SEGMENT_SEARCH_BUDGET(&replay->kv->segments);
	replay->mark_known = false;
	replay->mark_offset = 0;
	replay->mark_seq = 0;
	replay->marks[0] = replay->marks[1] = replay->marks[2] = start;
	replay->ahead = (struct replay_ahead){0};
	replay->valid_end = 0;
	replay->strayed = false;
}

int replay_segment(struct replay *replay, bool last, uint32_t *end, enum replay_end *how)
{
	uint32_t start = replay->segment->covered ? replay->segment->covered :
						    FORMAT_SEGMENT_HEADER_SIZE;
	uint32_t offset = start, next, broken;
	bool hot_last = last && !replay_is_cold(replay);
	struct kv *kv = replay->kv;
	uint64_t count;
	int error;

	begin(replay, start);
	*how = REPLAY_OPEN;
	while (offset + FORMAT_RECORD_HEADER_SIZE <= kv->segments.size) {
		next = batch_at(replay, offset, &count, &broken);
		if (!next) {
			if (last && !was_durable(replay, offset, count))
				break;
			error = skip_damage(replay, &offset, count, broken);
			if (error)
				return error;
			continue;
		}
		if (hot_last && !count && is_closed(replay, offset)) {
			/* Else what was to take its place was torn, and is to be erased. */
			if (is_zero_to_block_end(replay, next))
				*how = REPLAY_CLOSED;
			break;
		}
		if (is_end(replay, offset)) {
			*how = REPLAY_SEALED;
			offset = next;
			break;
		}
		if (!count)
			note_mark(replay, offset);
		error = count ? apply_batch(replay, offset, count) : 0;
		if (error)
			return error;
		replay->until = count ? 0 : take_bare(replay, record_ptr(replay, offset));
		offset = next;
	}
	/*
	 * A flush that ended before a MARK began after the MARK before the one before it was
	 * appended. Copies follow no number, so nothing nearer to the MARK is certain.
	 */
	replay->segment->sure = replay->marks[0];
	if (replay->segment->newest_seq > replay->newest_seq)
		replay->newest_seq = replay->segment->newest_seq;
	*end = offset;
	/* The header counts as well, where a checkpoint has not counted it. */
	if (!replay->segment->covered)
		start = 0;
	store_add(&kv->log_bytes, offset - start);
	kv->recovered_bytes += offset - start;
	return 0;
}

bool replay_finds_nothing(struct kv *kv, struct segment *segment)
{
	struct replay replay = {.kv = kv, .segment = segment,
				.base = segments_base(&kv->segments, segment->slot), .first = true,
				.search_budget = SEGMENT_SEARCH_BUDGET(&kv->segments)};
	uint32_t broken;
	uint64_t count;

	return !batch_at(&replay, FORMAT_SEGMENT_HEADER_SIZE, &count, &broken) &&
	       !was_durable(&replay, FORMAT_SEGMENT_HEADER_SIZE, count) &&
	       !(segment->map && kv->env->map_failed(segment->map, kv->segments.size));
}

void replay_ask(struct replay *replay, struct kv *kv, struct segment *segment)
{
	*replay = (struct replay){.kv = kv, .segment = segment,
				  .base = segments_base(&kv->segments, segment->slot),
				  .search_budget = SEGMENT_SEARCH_BUDGET(&kv->segments)};
}

bool replay_is_vouched_for(struct replay *replay, uint32_t offset, uint64_t seq)
{
	replay->last_seq = seq;
	return was_durable(replay, offset, 0);
}
