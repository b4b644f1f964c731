/* SPDX-License-Identifier: MIT */
/* recover.c - see recover.h. */
#include "recover.h"

#include <errno.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "checkpoint_vouch.h"
#include "log.h"
#include "log_rest.h"
#include "loss.h"
#include "manifest.h"
#include "preread.h"
#include "replay.h"
#include "segment_file.h"
#include "snapshot.h"
#include "stray.h"

struct loaded {
	struct segment **segments; /* by rising id */
	size_t count, capacity;
};

struct listing {
	struct kv *kv;
	struct loaded *loaded;
};

/* ---- finding the segments -------------------------------------------------------------------- */

/* Why a segment's file is none that can be used; and that it is passed over. 0, or the error */
static int report_unusable(struct kv *kv, const char *name, uint32_t slot, int error)
{
	char text[STRAY_TEXT_SIZE];
	struct format_segment header;
	enum stray_kind kind;

	if (error == -EPROTONOSUPPORT) {
		store_report(kv, KV_ERROR,
			     "%s: the segment was written by a newer version; use that version",
			     name);
		return error;
	}
	if (!stray_read(kv->env, kv->dir, &kv->super_block, slot, &kind, &header) &&
	    (kind == STRAY_MISNAMED || kind == STRAY_FOREIGN)) {
		stray_tell(kind, &header, &kv->super_block, text);
		store_report(kv, KV_ERROR, "%s: %s; %s", name, text,
			     kv->info.read_only ? "it is passed over, a repair sees to it"
						: "a repair sees to it");
	} else {
		store_report(
			kv, KV_ERROR, "%s: %s", name,
			kv->info.read_only
				? "the segment's header is lost, and with it what it held"
				: "the segment is damaged; a repair, or opening read-only, brings back the rest");
	}
	kv->lost_segments += kv->info.read_only;
	return kv->info.read_only ? 0 : error;
}

/* Somebody has put it there; the segment, if there was one, is somewhere else. */
static int report_no_file(struct kv *kv, const char *name, int error)
{
	store_report(kv, KV_ERROR, "%s: %s%s", name,
		     error == -ELOOP ? "a symbolic link, which is not followed" : "no regular file",
		     kv->info.read_only ? "; it is passed over" :
		     error == -ELOOP	? "" :
					  "; a repair moves it away");
	kv->lost_segments += kv->info.read_only;
	return kv->info.read_only ? 0 : error;
}

static int load_one(void *arg, const char *name)
{
	struct listing *listing = arg;
	struct loaded *loaded = listing->loaded;
	struct kv *kv = listing->kv;
	int64_t slot = format_segment_slot(name);
	struct segment *segment;
	int error;

	if (slot < 0) {
		/* Of a checkpoint that a crash has cut short: its space may be wanted. */
		if (!kv->info.read_only && !strcmp(name, FORMAT_CHECKPOINT_NEW_NAME))
			(void)kv->env->unlink(kv->dir, name);
		slot = format_free_slot(name);
		/* One that cannot be opened is not missed. */
		if (slot >= 0)
			(void)segment_load_free(&kv->segments, (uint32_t)slot, kv->info.read_only);
		return 0;
	}
	error = segment_load(&kv->segments, (uint32_t)slot, kv->info.read_only, &segment);
	if (error == -EUCLEAN || error == -EPROTONOSUPPORT ||
	    (error == -EIO && kv->info.read_only))
		return report_unusable(kv, name, (uint32_t)slot, error);
	if (!error && (segment->header_damaged || segment->missing))
		store_report(kv, KV_ERROR, "%s: the segment's %s", name,
			     segment->missing ? "end is missing"
					      : "header is damaged; its copy is used");
	if (env_is_no_file(error))
		return report_no_file(kv, name, error);
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
			store_report(kv, KV_ERROR,
				     "two segment files, slots %u and %u, are number %llu "
				     "of the log; remove the one that is a copy",
				     loaded->segments[i - 1]->slot, loaded->segments[i]->slot,
				     (unsigned long long)loaded->segments[i]->id);
			return -EUCLEAN;
		}
	}
	return 0;
}

/* ---- the end of the log ---------------------------------------------------------------------- */

/* Prepared segments that the crash left behind the end of the log. */
static int drop_empty(struct kv *kv, struct loaded *loaded)
{
	int error = 0;

	while (loaded->count > 1 && !loaded->segments[loaded->count - 1]->covered &&
	       replay_finds_nothing(kv, loaded->segments[loaded->count - 1]) && !error) {
		struct segment *segment = loaded->segments[--loaded->count];

		if (kv->info.read_only)
			kv->damaged_spares += segment->header_damaged || segment->missing;
		else
			error = segment_erase(&kv->segments, segment);
		/* Back again behind later segments it would be a hole in the log. */
		if (!error)
			error = segment_sync_name(&kv->segments, segment);
		if (!error)
			segment_release(&kv->segments, segment);
	}
	return error;
}

/*
 * Overwrites what a crash left behind the end, so that it can never be taken for what comes to
 * stand before it.
 */
static int erase_behind(struct kv *kv, struct segment *segment, uint32_t end)
{
	uint32_t first = end & ~(ENV_DIRECT_ALIGN - 1), last;
	const uint8_t *behind = segment->buffer + end;
	size_t size = kv->segments.size - end;

	/* All zeros: the first byte is one, and each is like the one before it. */
	if (!size || (!behind[0] && !memcmp(behind, behind + 1, size - 1)))
		return 0;
	/* What is zeros may have no space on the disk. */
	while (!behind[size - 1])
		size--;
	last = (end + (uint32_t)size + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1);
	memset(segment->buffer + end, 0, size);
	return kv->env->file_write(segment->file, segment->buffer + first, last - first, first,
				   true);
}

/*
 * What a killed process wrote may be in the page cache only, and if a sync of it has failed the
 * kernel takes it for written: to sync it is not enough. So what no MARK vouches for is written
 * again.
 */
static int write_again(struct kv *kv, struct segment *segment, uint32_t end)
{
	uint32_t first = segment->sure & ~(ENV_DIRECT_ALIGN - 1);
	uint32_t last = (end + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1);

	if (first >= last)
		return kv->env->file_sync(segment->file);
	return kv->env->file_write(segment->file, segment->buffer + first, last - first, first,
				   true);
}

/* Appends go on behind the last record of this segment, which is in its buffer again. */
static int resume(struct kv *kv, struct segment *segment, uint32_t end)
{
	int error = erase_behind(kv, segment, end);
	uint32_t limit;

	if (error)
		return error;
	/* Of what stands there nothing is left: it may give it back. */
	limit = log_restore(kv, segment, end);
	log_go_on(kv, segment, end);
	kv->log.hot.limit = limit;
	return 0;
}

static int begin_segment(struct kv *kv)
{
	struct segment *segment;
	int error = segment_prepare(&kv->segments, kv->log.next_id, &segment);

	/*
	 * Of a log without other segments the next one, prepared and never used, would else be all
	 * that a power failure may leave: then this one would be missed.
	 */
	if (!error)
		error = segment_sync_name(&kv->segments, segment);
	if (error)
		return error;
	kv->log.next_id += FORMAT_SEGMENT_ID_STEP;
	log_go_on(kv, segment, FORMAT_SEGMENT_HEADER_SIZE);
	store_add(&kv->log_bytes, FORMAT_SEGMENT_HEADER_SIZE);
	index_touch(&kv->index);
	return 0;
}

/*
 * What cannot be read now may be there again later, so nothing goes by what is left but a reader,
 * who changes nothing, and a repair, which gives it up.
 */
static bool passes_over_unreadable(const struct kv *kv)
{
	return kv->info.read_only || kv->checkpoint_fate >= CHECKPOINT_REMOVED;
}

/* Of the segment that was replayed a part could not be read, which was taken for zeros. */
static int judge_unreadable(struct kv *kv, struct segment *segment)
{
	bool passed_over = passes_over_unreadable(kv);
	char name[FORMAT_SEGMENT_NAME_SIZE];

	format_segment_name(segment->slot, name);
	store_report(kv, KV_ERROR, "%s: a part of it cannot be read%s", name,
		     passed_over ? "" :
				   "; opening read-only shows the rest, a repair gives it up");
	/* Also where that was taken for the log's end. */
	if (!segment->damaged)
		store_add(&kv->damaged, 1);
	segment->damaged = true;
	return passed_over ? 0 : -EIO;
}

/* Into its buffer, to be appended to or closed. */
static int resume_segment(struct kv *kv, struct segment *segment)
{
	return segment_resume(&kv->segments, segment, passes_over_unreadable(kv));
}

/* Replays a segment from its map; what was cut off is in a buffer. */
static int replay_mapped(struct replay *replay, bool last, uint32_t *end, enum replay_end *how)
{
	struct kv *kv = replay->kv;
	int error;

	replay->base = segments_base(&kv->segments, replay->segment->slot);
	if (replay->segment->buffer) {
		error = replay_segment(replay, last, end, how);
		return !error && replay->segment->unreadable
			       ? judge_unreadable(kv, replay->segment)
			       : error;
	}
	kv->env->map_advise(replay->base, kv->segments.size, ENV_ADVICE_SEQUENTIAL);
	error = replay_segment(replay, last, end, how);
	if (!error && kv->env->map_failed(replay->base, kv->segments.size))
		error = judge_unreadable(kv, replay->segment);
	kv->env->map_advise(replay->base, kv->segments.size, ENV_ADVICE_RANDOM);
	return error;
}

static int replay_nth(struct replay *replay, size_t nth, bool last, uint32_t *end,
		      enum replay_end *how)
{
	int error;

	if (!replay->validator)
		return replay_mapped(replay, last, end, how);
	validator_enter(replay->validator, nth);
	error = replay_mapped(replay, last, end, how);
	validator_leave(replay->validator);
	return error;
}

/*
 * Closes a segment to which nothing is appended any more, so that from now on what is missing in it
 * is damage.
 */
static int close_on_disk(struct kv *kv, struct segment *segment, uint32_t end)
{
	uint32_t first = end & ~(ENV_DIRECT_ALIGN - 1), behind = end + FORMAT_RECORD_HEADER_SIZE;
	int error;

	if (!segment->buffer) {
		error = resume_segment(kv, segment);
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
	error = kv->env->file_write(
		segment->file, segment->buffer + first,
		(behind - first + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1), first, true);
	store_add(&kv->log_bytes, FORMAT_RECORD_HEADER_SIZE);
	segment->end = behind;
out:
	segment->written = kv->segments.size;
	segment->sealed = true;
	return error;
}

/*
 * A killed process may have closed the newest cold segment in the page cache only, and a checkpoint
 * will go by that END. So its last block is written again. The others were durable before the next
 * one was begun.
 */
static int write_end_again(struct kv *kv, const struct segment *segment)
{
	uint8_t blocks[2 * ENV_DIRECT_ALIGN]; /* an END may stand in two */
	uint32_t first = (segment->end - FORMAT_RECORD_HEADER_SIZE) & ~(ENV_DIRECT_ALIGN - 1);
	uint32_t last = (segment->end + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1);
	int error = kv->env->file_read(segment->file, blocks, last - first, first);

	return error ? error
		     : kv->env->file_write(segment->file, blocks, last - first, first, true);
}

/* Once nobody looks at their maps any more. */
static int close_open_ended(struct kv *kv, const struct loaded *loaded)
{
	size_t i;
	int error = 0;

	for (i = 0; i < loaded->count && !error; i++) {
		if (loaded->segments[i]->open_ended)
			error = close_on_disk(kv, loaded->segments[i], loaded->segments[i]->end);
	}
	return error;
}

/* The last segment of the log's end, or the last cold one: either may come behind the other. */
static size_t last_of(const struct loaded *loaded, bool cold)
{
	size_t i = loaded->count;

	while (i-- > 0) {
		if (format_segment_is_cold(loaded->segments[i]->id) == cold)
			return i;
	}
	return SIZE_MAX;
}

static int go_on(struct kv *kv, struct segment *segment, enum replay_end how, bool followed)
{
	int error;

	if (!segment)
		return begin_segment(kv);
	if (how == REPLAY_CLOSED && !followed && !segment->damaged) {
		log_rest(kv, segment, segment->end);
		return 0;
	}
	/* Its end is to be seen to, and it may be appended to. */
	error = segment->buffer ? 0 : resume_segment(kv, segment);
	if (!error)
		error = write_again(kv, segment, segment->end);
	if (error)
		return error;
	/* One that is damaged is closed: it can then be emptied. */
	if (how != REPLAY_SEALED && !followed && !segment->damaged)
		return resume(kv, segment, segment->end);
	if (how != REPLAY_SEALED) {
		error = close_on_disk(kv, segment, segment->end);
		if (error)
			return error;
	}
	segment->sealed = true;
	return begin_segment(kv);
}

static int replay_all(struct kv *kv, struct loaded *loaded)
{
	struct preread *preread = preread_new(kv, loaded->segments, loaded->count);
	struct replay replay = {
		.kv = kv, .last_seq = kv->checkpoint_seq, .newest_seq = kv->checkpoint_seq,
		.validator = validator_new(kv, loaded->segments, loaded->count)};
	enum replay_end hot_how = REPLAY_SEALED;
	struct segment *hot = NULL, *cold = NULL;
	size_t i, hot_last = last_of(loaded, false), cold_last = last_of(loaded, true);
	int error = 0;

	for (i = 0; i < loaded->count && !error; i++) {
		enum replay_end how = REPLAY_SEALED;
		uint32_t end = 0;

		replay.segment = loaded->segments[i];
		if (replay.segment->complete)
			end = replay.segment->end;
		else
			error = replay_nth(&replay, i, i == hot_last || i == cold_last, &end, &how);
		replay.segment->end = end;
		if (i == hot_last) {
			hot = replay.segment;
			hot_how = how;
		} else {
			replay.segment->open_ended = replay_is_cold(&replay) && how == REPLAY_OPEN;
		}
		if (replay_is_cold(&replay))
			cold = replay.segment;
	}
	validator_free(replay.validator);
	preread_free(preread);
	if (!error && !kv->info.read_only && cold && !cold->complete && !cold->open_ended)
		error = write_end_again(kv, cold);
	if (!error && !kv->info.read_only)
		error = close_open_ended(kv, loaded);
	if (error)
		return error;
	/* What was replaced, or deleted, could not be looked up in it: neither index is right. */
	if (atomic_load(&kv->index.failed))
		return -ESTALE;
	if (replay.last_seq > replay.newest_seq)
		replay.newest_seq = replay.last_seq;
	atomic_store(&kv->log.last_seq, replay.newest_seq);
	atomic_store(&kv->sync.durable_seq, replay.newest_seq);
	kv->log.hot.marked_seq = replay.marked_seq;
	return kv->info.read_only ? 0 : go_on(kv, hot, hot_how, hot_last + 1 < loaded->count);
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

/* ---- without its checkpoint ------------------------------------------------------------------ */

#define ROOM_FILES 2u

/*
 * Free files enough to empty damaged segments, one after the other: the log may have to go on in a
 * new segment, and the copies of one may take a little more than that; then it is free itself.
 * Where there is no room those that were there stay.
 */
static int take_room(struct kv *kv)
{
	uint32_t unused = segments_count_unused(&kv->segments);
	int error = segments_keep_free(&kv->segments, ROOM_FILES);

	if (error)
		segments_drop_free(&kv->segments, unused, &kv->log.lock);
	return error;
}

/*
 * Durably, before anything of the log is changed: the replay takes an older record where the newest
 * is damaged, and may take that for a torn end and erase it. To the checkpoint, which has the
 * newest, copies of the older ones would be changes that came after it.
 */
static int remove_checkpoint(struct kv *kv)
{
	int error = kv->checkpoint_fate == CHECKPOINT_REMOVED_WITH_ROOM ? take_room(kv) : 0;

	if (!error)
		error = kv->env->unlink(kv->dir, FORMAT_CHECKPOINT_NAME);
	if (error == -ENOENT)
		return 0;
	return error ? error : kv->env->dir_sync(kv->dir);
}

static int judge_loss(struct kv *kv)
{
	int error;

	if (kv->passed_over_bytes || kv->missing_segments || kv->lost_segments)
		loss_found(kv);
	error = loss_settle(kv);
	return env_is_short(error) ? 0 : error;
}

int recover(struct kv *kv)
{
	struct loaded loaded = {0};
	struct listing listing = {kv, &loaded};
	int error = loss_recall(kv);

	if (!error)
		error = kv->env->dir_list(kv->dir, load_one, &listing);
	/*
	 * A process that was killed may have left names that are not durable: segments count on
	 * theirs from here on.
	 */
	if (!error && !kv->info.read_only)
		error = kv->env->dir_sync(kv->dir);
	if (error)
		goto out;
	if (loaded.count)
		qsort(loaded.segments, loaded.count, sizeof(*loaded.segments), by_id);
	error = check_ids(kv, &loaded);
	if (!error && kv->checkpoint_fate >= CHECKPOINT_REMOVED) {
		error = checkpoint_vouch(kv);
		if (!error)
			error = remove_checkpoint(kv);
	}
	if (error)
		goto out;
	error = snapshots_load(kv, loaded.segments, loaded.count);
	if (!error && kv->checkpoint_fate < CHECKPOINT_REMOVED)
		error = checkpoint_open(kv);
	if (!error)
		error = snapshots_look_for(kv, loaded.segments, loaded.count);
	if (!error)
		error = drop_empty(kv, &loaded);
	/* Numbers have no gap: those that were not used are used now. */
	if (!error && loaded.count)
		number_on(kv, &loaded);
	if (!error)
		error = manifest_judge(kv, loaded.segments, loaded.count);
	if (!error)
		error = replay_all(kv, &loaded);
	if (!error)
		error = judge_loss(kv);
	if (!error)
		error = snapshots_settle(kv);
	atomic_store(&kv->checkpoints.behind_from, -kv->recovered_bytes);
out:
	checkpoint_vouch_fini(kv);
	free(loaded.segments);
	return error;
}
