/* SPDX-License-Identifier: MIT */
/* recover.c - see recover.h. */
#include "recover.h"

#include <errno.h>
#include <stdlib.h>

#include "apply.h"
#include "checkpoint.h"
#include "dictionary.h"
#include "log.h"
#include "segment_file.h"
#include "snapshot.h"

struct loaded {
	struct segment **segments; /* by rising id */
	size_t count, capacity;
};

struct listing {
	struct kv *kv;
	struct loaded *loaded;
};

/* ---- finding the segments -------------------------------------------------------------------- */

static int load_one(void *arg, const char *name)
{
	struct listing *listing = arg;
	struct loaded *loaded = listing->loaded;
	struct kv *kv = listing->kv;
	int64_t slot = format_segment_slot(name);
	struct segment *segment;
	int error;

	if (slot < 0) {
		slot = format_free_slot(name);
		/* One that cannot be opened is not missed. */
		if (slot >= 0)
			(void)segment_load_free(&kv->segments, (uint32_t)slot, kv->info.read_only);
		return 0;
	}
	error = segment_load(&kv->segments, (uint32_t)slot, kv->info.read_only, &segment);
	if (error == -EUCLEAN || error == -EPROTONOSUPPORT) {
		bool passed_over = error == -EUCLEAN && kv->info.read_only;

		store_report(kv, KV_ERROR, "%s: %s", name,
			     error == -EPROTONOSUPPORT ?
				     "the segment was written by a newer version; use that version" :
			     passed_over ?
				     "the segment's header is lost, and with it what it held" :
				     "the segment is damaged; a repair, or opening read-only, brings back the rest");
		kv->lost_segments += passed_over;
		return passed_over ? 0 : error;
	}
	if (!error && (segment->header_damaged || segment->missing))
		store_report(kv, KV_ERROR, "%s: the segment's %s", name,
			     segment->missing ? "end is missing" : "header is damaged; its copy is used");
	if (error) {
		store_report(kv, KV_ERROR, "%s: cannot be read: %s", name, strerror(-error));
		return error;
	}
	if (loaded->count == loaded->capacity) {
		size_t capacity = loaded->capacity * 2 + 16;
		struct segment **segments =
			realloc(loaded->segments, capacity * sizeof(*segments));

		if (!segments)
			return -ENOMEM;
		loaded->segments = segments;
		loaded->capacity = capacity;
	}
	loaded->segments[loaded->count++] = segment;
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct segment *const *left = a, *const *right = b;

	return (*left)->id < (*right)->id ? -1 : (*left)->id > (*right)->id;
}

static int check_ids(struct kv *kv, const struct loaded *loaded)
{
	size_t i;

	for (i = 1; i < loaded->count; i++) {
		if (loaded->segments[i]->id == loaded->segments[i - 1]->id) {
			store_report(kv, KV_ERROR, "two segment files, slots %u and %u, are number %llu "
				     "of the log; remove the one that is a copy",
				     loaded->segments[i - 1]->slot, loaded->segments[i]->slot,
				     (unsigned long long)loaded->segments[i]->id);
			return -EUCLEAN;
		}
	}
	return 0;
}

/* ---- replaying ------------------------------------------------------------------------------- */

struct replay {
	struct kv *kv;
	struct segment *segment;
	const uint8_t *base;
	uint64_t last_seq;   /* of the batches that were committed */
	uint64_t newest_seq; /* of copies as well */
	uint64_t marked_seq; /* of the last MARK of the log's end */
	bool first; /* no batch of this segment was applied yet */
	uint64_t until; /* of the record behind it, says a bare one; 0: none does */
	bool torn;  /* what follows may be the rest of the last one */
	uint64_t search_budget; /* of this segment */
	uint32_t marks[3];	/* offsets of the last ones that were met, the oldest first */
	bool mark_known;	/* the last MARK of this segment was looked for */
	uint32_t mark_offset;
	uint64_t mark_seq;
};

static bool is_cold(const struct replay *replay)
{
	return format_segment_is_cold(replay->segment->id);
}

static int64_t record_at(const struct replay *replay, uint32_t offset)
{
	return segment_validate(&replay->kv->segments, replay->segment, replay->base, offset);
}

static const struct format_record *record_ptr(const struct replay *replay, uint32_t offset)
{
	return (const struct format_record *)(replay->base + offset);
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
 * The whole batch at an offset: the offset behind it, or 0 if there is none. Out: the records, and where it showed that
 * there is none.
 */
static uint32_t batch_at(const struct replay *replay, uint32_t offset, uint64_t *count,
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

static int apply_one(struct replay *replay, const struct format_record *record, uint32_t offset)
{
	struct kv *kv = replay->kv;
	uint64_t address = segments_address(&kv->segments, replay->segment->slot, offset);
	uint64_t hash = keyhash_of(&kv->keyhash, record->keyspace, record->key, record->key_size);

	/* Without its lead, which was damaged, nobody knows who may see it. */
	if (record->flags & FORMAT_RECORD_OLD)
		return replay->until ? apply_old(kv, record, address, hash, replay->until) : 0;
	return apply_record(kv, record, address, hash);
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
		    (is_cold(replay) && record->flags & FORMAT_RECORD_END)) {
			replay->mark_seq = record->seq;
			replay->mark_offset = offset;
		}
		offset += (uint32_t)format_record_length(record);
	}
}

/* Does a record behind the offset say that what belongs here was durable? */
static bool was_durable(struct replay *replay, uint32_t offset)
{
	if (!replay->mark_known)
		find_mark(replay, offset);
	return replay->mark_offset > offset &&
	       (is_cold(replay) || replay->mark_seq > replay->last_seq);
}

/*
 * From an offset at which no whole batch is, though there was one, on past what is damaged: `broken`. The batch's other records
 * are as they were, and count.
 */
static int skip_damage(struct replay *replay, uint32_t *offset, uint64_t count, uint32_t broken)
{
	int error = count ? apply_batch(replay, *offset, count) : 0;
	uint32_t next = resync(replay, broken + FORMAT_RECORD_ALIGN);
	char name[FORMAT_SEGMENT_NAME_SIZE];

	format_segment_name(replay->segment->slot, name);
	store_report(replay->kv, KV_ERROR,
		     "%s: %u bytes at offset %u are damaged; what they held is lost, the rest stays "
		     "readable",
		     name, next - broken, broken);
	store_add(&replay->kv->damaged, 1);
	replay->kv->passed_over_bytes += next - broken;
	replay->segment->damaged = true;
	replay->first = true; /* numbers are missing */
	replay->until = 0;
	replay->torn = true;
	*offset = next;
	return error;
}

/* Neither batch nor END. Out: until when the record behind it was its key's newest; 0: it does not say. */
static uint64_t take_bare(struct replay *replay, const struct format_record *record)
{
	if (record->flags & FORMAT_RECORD_OLD)
		return record->seq;
	/* A MARK's number may be of a batch whose segment is gone. */
	if (record->seq > replay->last_seq)
		replay->last_seq = record->seq;
	return 0;
}

static void note_mark(struct replay *replay, uint32_t offset)
{
	replay->marks[0] = replay->marks[1];
	replay->marks[1] = replay->marks[2];
	replay->marks[2] = offset;
}

/* Replays one segment. Out: where its records end, and whether it was closed by an END. */
static int replay_segment(struct replay *replay, bool last, uint32_t *end, bool *closed)
{
	uint32_t start = replay->segment->covered ? replay->segment->covered :
						    FORMAT_SEGMENT_HEADER_SIZE;
	uint32_t offset = start, next, broken;
	struct kv *kv = replay->kv;
	uint64_t count;
	int error;

	last |= is_cold(replay); /* nobody waited for its end */
	replay->first = true;
	replay->until = 0;
	replay->torn = false;
	replay->search_budget = SEGMENT_SEARCH_BUDGET(&kv->segments);
	replay->mark_known = false;
	replay->mark_offset = 0;
	replay->mark_seq = 0;
	replay->marks[0] = replay->marks[1] = replay->marks[2] = start;
	*closed = false;
	while (offset + FORMAT_RECORD_HEADER_SIZE <= kv->segments.size) {
		next = batch_at(replay, offset, &count, &broken);
		if (!next) {
			if (last && !was_durable(replay, offset))
				break;
			error = skip_damage(replay, &offset, count, broken);
			if (error)
				return error;
			continue;
		}
		if (record_ptr(replay, offset)->flags & FORMAT_RECORD_END) {
			*closed = true;
			offset = next;
			break;
		}
		if (!count && record_ptr(replay, offset)->flags & FORMAT_RECORD_MARK)
			note_mark(replay, offset);
		if (!count && !is_cold(replay) && record_ptr(replay, offset)->flags & FORMAT_RECORD_MARK)
			replay->marked_seq = record_ptr(replay, offset)->seq;
		error = count ? apply_batch(replay, offset, count) : 0;
		if (error)
			return error;
		replay->until = count ? 0 : take_bare(replay, record_ptr(replay, offset));
		offset = next;
	}
	/*
	 * A flush that ended before a MARK began after the MARK before the one before it was appended. Copies follow no number, so
	 * nothing nearer to the MARK is certain.
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

/* ---- the end of the log ---------------------------------------------------------------------- */

/* Nothing was ever durable in it: damage at its beginning alone does not make it one that was not used. */
static bool is_empty(struct kv *kv, struct segment *segment)
{
	struct replay replay = {.kv = kv, .segment = segment,
				.base = segments_base(&kv->segments, segment->slot), .first = true,
				.search_budget = SEGMENT_SEARCH_BUDGET(&kv->segments)};
	uint32_t broken;
	uint64_t count;

	return !batch_at(&replay, FORMAT_SEGMENT_HEADER_SIZE, &count, &broken) &&
	       !was_durable(&replay, FORMAT_SEGMENT_HEADER_SIZE);
}

/* Prepared segments that the crash left behind the end of the log. */
static int drop_empty(struct kv *kv, struct loaded *loaded)
{
	int error = 0;

	while (loaded->count > 1 && !loaded->segments[loaded->count - 1]->covered &&
	       is_empty(kv, loaded->segments[loaded->count - 1]) && !error) {
		struct segment *segment = loaded->segments[--loaded->count];

		error = kv->info.read_only ? 0 : segment_erase(&kv->segments, segment);
		/* Back again behind later segments it would be a hole in the log. */
		if (!error)
			error = segment_sync_name(&kv->segments, segment);
		if (!error)
			segment_release(&kv->segments, segment);
	}
	return error;
}

/* Overwrites what a crash left behind the end, so that it can never be taken for what comes to stand before it. */
static int erase_behind(struct kv *kv, struct segment *segment, uint32_t end)
{
	uint32_t first = end & ~(ENV_DIRECT_ALIGN - 1);
	const uint8_t *behind = segment->buffer + end;
	size_t size = kv->segments.size - end;

	/* All zeros: the first byte is one, and each is like the one before it. */
	if (!size || (!behind[0] && !memcmp(behind, behind + 1, size - 1)))
		return 0;
	memset(segment->buffer + end, 0, kv->segments.size - end);
	return kv->env->file_write(segment->file, segment->buffer + first, kv->segments.size - first,
				   first, true);
}

/*
 * What a killed process wrote may be in the page cache only, and if a sync of it has failed the kernel takes it for written:
 * to sync it is not enough. So what no MARK vouches for is written again.
 */
static int write_again(struct kv *kv, struct segment *segment, uint32_t end)
{
	uint32_t first = segment->sure & ~(ENV_DIRECT_ALIGN - 1);
	uint32_t last = (end + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1);

	if (!segment->buffer || first >= last)
		return kv->env->file_sync(segment->file);
	return kv->env->file_write(segment->file, segment->buffer + first, last - first, first, true);
}

/* Appends go on behind the last record of this segment, which is in its buffer again. */
static int resume(struct kv *kv, struct segment *segment, uint32_t end)
{
	int error = erase_behind(kv, segment, end);

	if (error)
		return error;
	segment->written = end;
	kv->log.hot.active = kv->log.hot.flushing = segment;
	kv->log.hot.offset = end;
	return 0;
}

static int begin_segment(struct kv *kv)
{
	struct segment *segment;
	int error = segment_prepare(&kv->segments, kv->log.next_id, &segment);

	if (error)
		return error;
	kv->log.next_id += FORMAT_SEGMENT_ID_STEP;
	kv->log.hot.active = kv->log.hot.flushing = segment;
	kv->log.hot.offset = FORMAT_SEGMENT_HEADER_SIZE;
	store_add(&kv->log_bytes, FORMAT_SEGMENT_HEADER_SIZE);
	return 0;
}

/* Replays a segment from its map. */
static int replay_mapped(struct replay *replay, bool last, uint32_t *end, bool *closed)
{
	struct kv *kv = replay->kv;
	int error;

	replay->base = segments_base(&kv->segments, replay->segment->slot);
	if (replay->segment->buffer)
		return replay_segment(replay, last, end, closed);
	kv->env->map_advise(replay->base, kv->segments.size, ENV_ADVICE_SEQUENTIAL);
	error = replay_segment(replay, last, end, closed);
	if (!error && kv->env->map_failed(replay->base, kv->segments.size))
		error = -EIO;
	kv->env->map_advise(replay->base, kv->segments.size, ENV_ADVICE_RANDOM);
	return error;
}

/* The last segment of a store that is to be written goes into a buffer first: it may be appended to. */
static int replay_resumed(struct replay *replay, uint32_t *end, bool *closed)
{
	struct segments *segments = &replay->kv->segments;
	int error = segment_resume(segments, replay->segment);

	if (error)
		return error;
	replay->base = replay->segment->buffer;
	return replay_segment(replay, true, end, closed);
}

/* Closes a segment to which nothing is appended any more, so that from now on what is missing in it is damage. */
static int close_on_disk(struct kv *kv, struct segment *segment, uint32_t end)
{
	uint32_t first = end & ~(ENV_DIRECT_ALIGN - 1), behind = end + FORMAT_RECORD_HEADER_SIZE;
	int error;

	if (!segment->buffer) {
		error = segment_resume(&kv->segments, segment);
		if (error)
			return error;
	}
	error = erase_behind(kv, segment, end);
	/* Durable before the END that says so. */
	if (!error)
		error = write_again(kv, segment, end);
	if (error || behind > kv->segments.size)
		goto out;
	format_record_seal_bare((struct format_record *)(segment->buffer + end), 0,
				FORMAT_RECORD_END, segment->salt);
	error = kv->env->file_write(segment->file, segment->buffer + first,
				    (behind - first + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1),
				    first, true);
	store_add(&kv->log_bytes, FORMAT_RECORD_HEADER_SIZE);
	segment->end = behind;
out:
	segment->written = kv->segments.size;
	segment->sealed = true;
	return error;
}

/* The last segment of the log's end: behind it only cold ones may come. */
static size_t last_hot(const struct loaded *loaded)
{
	size_t i = loaded->count;

	while (i-- > 0) {
		if (!format_segment_is_cold(loaded->segments[i]->id))
			return i;
	}
	return SIZE_MAX;
}

static int go_on(struct kv *kv, struct segment *segment, uint32_t end, bool closed, bool followed)
{
	int error;

	if (!segment)
		return begin_segment(kv);
	error = write_again(kv, segment, end);
	if (error)
		return error;
	/* One that is damaged is closed: it can then be emptied. */
	if (!closed && !followed && !segment->damaged)
		return resume(kv, segment, end);
	if (!closed) {
		error = close_on_disk(kv, segment, end);
		if (error)
			return error;
	}
	segment->sealed = true;
	return begin_segment(kv);
}

static int replay_all(struct kv *kv, struct loaded *loaded)
{
	struct replay replay = {
		.kv = kv, .last_seq = kv->checkpoint_seq, .newest_seq = kv->checkpoint_seq};
	struct segment *hot = NULL;
	size_t i, hot_last = last_hot(loaded);
	bool hot_closed = true;
	int error = 0;

	for (i = 0; i < loaded->count && !error; i++) {
		uint32_t end = 0;
		bool closed = true;

		replay.segment = loaded->segments[i];
		if (replay.segment->complete)
			end = replay.segment->end;
		else if (i == hot_last && !kv->info.read_only)
			error = replay_resumed(&replay, &end, &closed);
		else
			error = replay_mapped(&replay, i == hot_last, &end, &closed);
		replay.segment->end = end;
		if (i == hot_last) {
			hot = replay.segment;
			hot_closed = closed;
		} else if (is_cold(&replay) && !closed && !error && !kv->info.read_only) {
			error = close_on_disk(kv, replay.segment, end);
		}
	}
	if (error)
		return error;
	if (replay.last_seq > replay.newest_seq)
		replay.newest_seq = replay.last_seq;
	atomic_store(&kv->log.last_seq, replay.newest_seq);
	atomic_store(&kv->sync.durable_seq, replay.newest_seq);
	kv->log.hot.marked_seq = replay.marked_seq;
	if (kv->info.read_only)
		return 0;
	return go_on(kv, hot, hot ? hot->end : 0, hot_closed, hot_last + 1 < loaded->count);
}

/* New numbers are higher than all that are there. */
static void number_on(struct kv *kv, const struct loaded *loaded)
{
	uint64_t last_id = loaded->segments[loaded->count - 1]->id;
	size_t i;

	kv->log.next_id = (last_id / FORMAT_SEGMENT_ID_STEP + 1) * FORMAT_SEGMENT_ID_STEP;
	for (i = 0; i < loaded->count; i++) {
		if (format_segment_is_cold(loaded->segments[i]->id))
			kv->cold.last_id = loaded->segments[i]->id;
	}
}

int recover(struct kv *kv)
{
	struct loaded loaded = {0};
	struct listing listing = {kv, &loaded};
	int error = kv->env->dir_list(kv->dir, load_one, &listing);

	/* A process that was killed may have left names that are not durable: segments count on theirs from here on. */
	if (!error && !kv->info.read_only)
		error = kv->env->dir_sync(kv->dir);
	if (error)
		goto out;
	if (loaded.count)
		qsort(loaded.segments, loaded.count, sizeof(*loaded.segments), by_id);
	error = check_ids(kv, &loaded);
	if (error)
		goto out;
	if (loaded.count)
		number_on(kv, &loaded);
	error = snapshots_load(kv, loaded.segments, loaded.count);
	if (!error)
		error = checkpoint_open(kv);
	if (!error)
		error = drop_empty(kv, &loaded);
	if (!error)
		error = replay_all(kv, &loaded);
	if (!error)
		error = snapshots_settle(kv);
	atomic_store(&kv->checkpoints.behind_from, -kv->recovered_bytes);
out:
	free(loaded.segments);
	return error;
}
