/* SPDX-License-Identifier: MIT */
/*
 * repair.c - kv_repair: brings back of a damaged store what can be brought back.
 *
 * First the files, one by one, while nobody has the store open: the superblock, the segments'
 * headers and the manifest from their copies; files that are too short get their size again, with
 * zeros; segments under wrong names get their own, and what is none of the log, or has lost its
 * header for good, is renamed, out of the way. Then the log is replayed as a whole, without a
 * checkpoint, which passes over what is damaged in it and tells of it; and segments that hold such
 * bytes are emptied by compaction, so that the store has none any more. That takes room, which is
 * made sure of first: where there is none the log stays as it is, and so does the checkpoint, by
 * which newer records may be known to be damaged than the replay would show.
 *
 * Nothing that can be read is given up, every step is one that a crash may interrupt, and a store
 * that is whole is not changed.
 */
#include "repair.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "loss.h"
#include "maintain.h"
#include "manifest.h"
#include "store.h"
#include "super.h"

#define STEPS_MAX 1000000u

/* What was cut off of a segment's file, and perhaps was a part of the log. */
struct cut {
	uint32_t slot;
	uint64_t bytes;
};

void repair_say(struct repair *repair, enum kv_severity severity, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (repair->report)
		repair->report(repair->report_arg, severity, text);
}

/* ---- what is lost ---------------------------------------------------------------------------- */

int repair_mark(struct repair *repair)
{
	struct env_dir *dir;
	int error;

	if (repair->marked)
		return 0;
	error = repair->env->dir_open(repair->env, repair->path, &dir);
	if (error)
		return error;
	error = loss_mark(repair->env, dir);
	repair->env->dir_close(dir);
	repair->marked = !error;
	/* On a full disk what can be brought back is worth more. */
	return env_is_full(error) ? 0 : error;
}

/* ---- the superblock -------------------------------------------------------------------------- */

static int super_open(struct repair *repair)
{
	int error = repair->env->file_open(repair->dir, FORMAT_SUPER_NAME, 0, &repair->super_file);

	/* A new file is empty, and so not valid, until the superblock is written to it. */
	if (error == -ENOENT) {
		struct format_super super;
		const char *why;
		bool damaged;

		error = super_read(repair->env, repair->dir, NULL, &super, &damaged, &why);
		if (!error)
			error = repair->env->file_open(repair->dir, FORMAT_SUPER_NAME, ENV_CREATE,
						       &repair->super_file);
		if (!error)
			error = repair->env->dir_sync(repair->dir);
	}
	return error ? error : repair->env->file_lock(repair->super_file, true);
}

static int open_and_lock(struct repair *repair)
{
	int error = super_open(repair);

	if (env_is_no_file(error))
		repair_say(repair, KV_ERROR,
			   "%s: no regular file; move it away, and a repair writes it from a copy",
			   FORMAT_SUPER_NAME);
	return error;
}

static int mend_super(struct repair *repair)
{
	struct kv_env *env = repair->env;
	const char *why;
	bool damaged;
	int error =
		super_read(env, repair->dir, repair->super_file, &repair->super, &damaged, &why);

	if (error) {
		repair_say(repair, KV_ERROR, "%s: is not a store that can be repaired: %s",
			   repair->path, why);
		return error;
	}
	if (!damaged)
		return 0;
	error = env->file_allocate(repair->super_file, sizeof(repair->super));
	if (!error)
		error = env->file_write(repair->super_file, &repair->super, sizeof(repair->super),
					0, false);
	if (!error)
		error = env->file_sync(repair->super_file);
	if (error)
		return error;
	repair->result.mended++;
	repair_say(repair, KV_WARNING, "%s: was damaged; written again from a copy",
		   FORMAT_SUPER_NAME);
	return 0;
}

/* ---- segments' files ------------------------------------------------------------------------- */

/* Does the log, or the segment, end before the file does? Then behind it nothing was written. */
static bool ends_within(struct repair *repair, const uint8_t *base, uint64_t size, uint64_t salt)
{
	uint64_t offset = FORMAT_SEGMENT_HEADER_SIZE;
	bool ended = false;
	int64_t length;

	do {
		const struct format_record *record = (const struct format_record *)(base + offset);

		length = format_record_validate(record, size - offset, salt,
						repair->super.keyspace_count);
		if (length > 0) {
			ended = record->flags & FORMAT_RECORD_END && format_record_is_bare(record);
			offset += (uint64_t)length;
		}
	} while (length > 0);
	/* A full segment has no room for an END. */
	return ended || offset + FORMAT_RECORD_HEADER_SIZE > repair->super.segment_size;
}

static int note_cut(struct repair *repair, uint32_t slot, uint64_t bytes)
{
	struct cut *cuts = realloc(repair->cuts, (repair->cuts_count + 1) * sizeof(*cuts));

	if (!cuts)
		return -ENOMEM;
	cuts[repair->cuts_count++] = (struct cut){slot, bytes};
	repair->cuts = cuts;
	return 0;
}

/*
 * Gives the file its full size again: what was cut off is zeros, which replaying takes for what
 * they are: damage, or the log's end.
 */
static int lengthen(struct repair *repair, struct env_file *file, const char *name,
		    const struct format_segment *header, uint64_t size)
{
	uint64_t bytes = repair->super.segment_size - size;
	const void *map;
	bool ended;
	int error = repair->env->file_map(file, size, &map);

	if (error)
		return error;
	ended = ends_within(repair, map, size, header->salt);
	repair->env->file_unmap(file, map, size);
	if (!ended)
		error = note_cut(repair, header->slot, bytes);
	if (!error && !ended)
		error = repair_mark(repair);
	if (!error)
		error = repair->env->file_allocate(file, repair->super.segment_size);
	if (!error)
		error = repair->env->file_sync(file);
	if (error)
		return error;
	repair->result.mended++;
	repair_say(repair, KV_ERROR, "%s: its last %llu bytes are missing%s", name,
		   (unsigned long long)bytes,
		   ended ? "; nothing was in them"
			 : "; what they held is lost, and with it the batch that they begin in");
	return 0;
}

static int mend_header(struct repair *repair, struct env_file *file, const char *name,
		       const uint8_t *page, const struct format_segment *header)
{
	uint8_t whole[FORMAT_SEGMENT_HEADER_SIZE];
	int error;

	format_page_fill(whole, header, &repair->super);
	if (!memcmp(page, whole, sizeof(whole)))
		return 0;
	error = repair->env->file_write(file, whole, sizeof(whole), 0, false);
	if (!error)
		error = repair->env->file_sync(file);
	if (error)
		return error;
	repair->result.mended++;
	repair_say(repair, KV_WARNING, "%s: its header was damaged; written again from its copy",
		   name);
	return 0;
}

static int mend_opened(struct repair *repair, struct env_file *file, const char *name,
		       uint32_t slot)
{
	uint8_t page[FORMAT_SEGMENT_HEADER_SIZE] = {0};
	struct format_segment header;
	uint64_t size;
	int error = repair->env->file_size(file, &size);

	if (!error && size >= sizeof(page))
		error = repair->env->file_read(file, page, sizeof(page), 0);
	if (error)
		return error;
	error = format_page_header(page, repair->super.uuid, slot, repair->super.segment_size,
				   &header);
	if (!error && size < repair->super.segment_size)
		error = lengthen(repair, file, name, &header, size);
	return error ? error : mend_header(repair, file, name, page, &header);
}

static int note_name(void *arg, const char *name)
{
	struct repair_slots *found = arg;
	int64_t slot = format_segment_slot(name);

	if (slot < 0)
		return 0;
	if (found->count == found->capacity) {
		size_t capacity = found->capacity * 2 + 64;
		uint32_t *slots = realloc(found->slots, capacity * sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		found->slots = slots;
		found->capacity = capacity;
	}
	found->slots[found->count++] = (uint32_t)slot;
	return 0;
}

int repair_list(struct repair *repair, struct repair_slots *out)
{
	return repair->env->dir_list(repair->dir, note_name, out);
}

static int mend_segments(struct repair *repair)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];
	struct repair_slots names = {0};
	struct env_file *file;
	int error = repair_list(repair, &names);
	size_t i;

	for (i = 0; i < names.count && !error; i++) {
		format_segment_name(names.slots[i], name);
		error = repair->env->file_open(repair->dir, name, 0, &file);
		if (!error) {
			error = mend_opened(repair, file, name, names.slots[i]);
			repair->env->file_close(file);
		}
		if (error)
			repair_say(repair, KV_ERROR, "%s: cannot be repaired: %s", name,
				   strerror(-error));
	}
	free(names.slots);
	return error;
}

static int mend_manifest(struct repair *repair)
{
	bool mended;
	int error = manifest_mend(repair->env, repair->dir, repair->super.uuid, &mended);

	if (error || !mended)
		return error;
	repair->result.mended++;
	repair_say(repair, KV_WARNING,
		   "%s: one of its copies was damaged; written again from the other",
		   FORMAT_MANIFEST_NAME);
	return 0;
}

static int mend_files(struct repair *repair)
{
	int error = repair->env->dir_open(repair->env, repair->path, &repair->dir);

	if (error)
		return error;
	error = open_and_lock(repair);
	if (!error)
		error = mend_super(repair);
	if (!error)
		error = repair_names(repair);
	if (!error)
		error = mend_segments(repair);
	if (!error)
		error = mend_manifest(repair);
	if (repair->super_file)
		repair->env->file_close(repair->super_file);
	repair->env->dir_close(repair->dir);
	return error;
}

/* ---- the log --------------------------------------------------------------------------------- */

static void pass_on(void *arg, enum kv_severity severity, const char *text)
{
	struct repair *repair = arg;

	if (severity != KV_INFO)
		repair_say(repair, severity, "%s", text);
}

/* As pass_on; is it of the segment that the checkpoint misses? Then that is known without it. */
static void pass_on_of_log(void *arg, enum kv_severity severity, const char *text)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];
	struct repair *repair = arg;

	format_segment_name(repair->missing_slot, name);
	if (severity != KV_INFO && !strncmp(text, name, strlen(name)))
		repair->missing_id = 0;
	pass_on(arg, severity, text);
}

static void keep_quiet(void *arg, enum kv_severity severity, const char *text)
{
}

/* What nobody knows any more once the checkpoint is gone. */
static void note_checkpoint(struct repair *repair, struct kv *kv)
{
	repair->checkpoint_damaged |= atomic_load(&kv->checkpoint_damaged);
	repair->checkpoint_there = kv->checkpoint_there;
	repair->missing_id = kv->missing_id;
	repair->missing_slot = kv->missing_slot;
}

static int look_at_checkpoint(struct repair *repair)
{
	struct kv_open_options options = {.flags = KV_OPEN_READ_ONLY, .report = keep_quiet};
	struct kv *kv;
	int error = kv_open(repair->env, repair->path, &options, &kv);

	if (error)
		return error;
	note_checkpoint(repair, kv);
	return kv_close(kv);
}

/* Counts what a check finds of the store as it is. */
static int findings_of(struct repair *repair, uint64_t *findings, kv_report_fn *report)
{
	struct kv_open_options options = {
		.flags = KV_OPEN_READ_ONLY, .report = keep_quiet};
	struct kv *kv;
	int error = kv_open(repair->env, repair->path, &options, &kv);

	if (error)
		return error;
	error = kv_check(kv, report, repair, NULL, NULL, findings);
	note_checkpoint(repair, kv);
	return kv_close(kv) || error ? error : 0;
}

static bool any_damaged(struct kv *kv)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);

	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = kv->segments.table[slot];

		if (segment && segment->id && segment->damaged && !segment->unreadable)
			return true;
	}
	return false;
}

/* Copies what is valid in damaged segments elsewhere, and frees them. */
static int empty_damaged(struct kv *kv)
{
	unsigned steps;
	int result = 1;

	for (steps = 0; steps < STEPS_MAX && any_damaged(kv) && (result > 0 || result == -EAGAIN);
	     steps++) {
		if (result == -EAGAIN || atomic_load(&kv->log.spare_wanted))
			maintain_round(kv);
		pthread_mutex_lock(&kv->maintain.lock);
		result = compact_demand(kv, COMPACT_DAMAGED, UINT64_MAX);
		pthread_mutex_unlock(&kv->maintain.lock);
	}
	return result < 0 ? result : 0;
}

/*
 * What was cut off, where replaying took it for the log's end, and may have put an END there: what
 * it has passed over it has counted.
 */
static uint64_t cut_bytes(const struct repair *repair, const struct kv *kv)
{
	uint64_t bytes = 0, size = kv->segments.size;
	size_t i;

	for (i = 0; i < repair->cuts_count; i++) {
		const struct cut *cut = &repair->cuts[i];
		const struct segment *segment = cut->slot < atomic_load(&kv->segments.count) ?
							kv->segments.table[cut->slot] :
							NULL;

		if (!segment || !segment->id || !segment->damaged || segment->end < size)
			bytes += cut->bytes;
	}
	return bytes;
}

/*
 * What the log says without the checkpoint, but for what that vouches for. Are records lost? May it
 * be done without room: is there no segment that has to be emptied, and what the checkpoint knows
 * not gone with it? Changes nothing.
 */
static int look_at_log(struct repair *repair, bool *lost, bool *can)
{
	struct kv_open_options options = {.flags = KV_OPEN_READ_ONLY, .report = keep_quiet};
	struct kv *kv;
	int error =
		store_open_anew(repair->env, repair->path, &options, CHECKPOINT_IGNORED, &kv);

	if (error)
		return error;
	*lost = atomic_load(&kv->records_lost) || repair->missing_id;
	*can = !any_damaged(kv) && kv->checkpoint_there == repair->checkpoint_there;
	return kv_close(kv);
}

/* Where there is no room to empty segments none of them may be damaged. */
static int open_log(struct repair *repair, bool can, struct kv **out)
{
	struct kv_open_options options = {
		.flags = KV_OPEN_INLINE, .report = pass_on_of_log, .report_arg = repair};
	int error = store_open_anew(repair->env, repair->path, &options,
				    CHECKPOINT_REMOVED_WITH_ROOM, out);

	if (!env_is_short(error))
		return error;
	if (can)
		return store_open_anew(repair->env, repair->path, &options, CHECKPOINT_REMOVED,
				       out);
	repair_say(repair, KV_ERROR,
		   "there is no room for a copy of what is whole in damaged segments: they stay as "
		   "they are, until there is");
	return error;
}

static void say_missing(struct repair *repair)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];

	format_segment_name(repair->missing_slot, name);
	repair->result.mended++;
	repair_say(repair, KV_ERROR, "%s: missing; what it alone held is lost", name);
}

static int mend_log(struct repair *repair)
{
	struct kv *kv;
	bool lost = false, can = false;
	int closed, error = look_at_log(repair, &lost, &can);

	/* The checkpoint, which may be all that knows, goes before the log is replayed. */
	if (!error && lost)
		error = repair_mark(repair);
	if (!error)
		error = open_log(repair, can, &kv);
	if (error)
		return error;
	if (repair->checkpoint_damaged) {
		repair->result.mended++;
		repair_say(repair, KV_WARNING,
			   "%s: was damaged; removed, as it can be done without",
			   FORMAT_CHECKPOINT_NAME);
	}
	if (repair->missing_id)
		say_missing(repair);
	repair->result.mended += atomic_load(&kv->damaged);
	repair->result.lost_bytes += kv->passed_over_bytes + cut_bytes(repair, kv);
	error = empty_damaged(kv);
	closed = kv_close(kv);
	return error ? error : closed;
}

int kv_repair(struct kv_env *env, const char *path, kv_report_fn *report, void *report_arg,
	      struct kv_repair_report *out)
{
	struct repair repair = {.env = env ? env : env_system(), .path = path, .report = report,
				.report_arg = report_arg};
	uint64_t findings = 0;
	int error = mend_files(&repair);

	if (!error && !repair.result.mended)
		error = findings_of(&repair, &findings, keep_quiet);
	else if (!error)
		error = look_at_checkpoint(&repair);
	if (!error && (findings || repair.result.mended)) {
		error = mend_log(&repair);
		if (!error)
			error = findings_of(&repair, &repair.result.remaining, pass_on);
	}
	/* The mark of a clean close, for example. */
	if (!error && findings && !repair.result.mended && !repair.result.remaining) {
		repair.result.mended++;
		repair_say(&repair, KV_WARNING,
			   "what was damaged held nothing, and is not there any more");
	}
	free(repair.cuts);
	if (error)
		return error;
	*out = repair.result;
	return 0;
}
