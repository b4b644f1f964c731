/* SPDX-License-Identifier: MIT */
/*
 * repair_names.c - see repair.h: segments' files that are under wrong names, or of another store;
 * and names under which there is no file at all, but a directory or a symlink.
 *
 * Each renaming is durable before the next one, and leaves a directory that a repair can begin
 * with: what has to make way for another takes the name of a segment that there is not, and is
 * misnamed as before.
 */
#include "repair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manifest.h"
#include "stray.h"

#define LOST_OF_MAX 10 /* of a name: "checkpoint" is the longest */
#define LOST_NAME_SIZE (5u + LOST_OF_MAX + 5u)

struct entry {
	uint32_t slot;	     /* of its name */
	uint32_t slot_found; /* of the name that it was found under */
	enum stray_kind kind;
	bool aside; /* it has another name now */
	struct format_segment header;
};

struct listing {
	struct repair *repair;
	struct entry *entries;
	size_t count;
};

static int list_names(struct listing *listing)
{
	struct repair_slots names = {0};
	int error = repair_list(listing->repair, &names);
	size_t i;

	listing->entries = error ? NULL : calloc(names.count + 1, sizeof(*listing->entries));
	if (!error && !listing->entries)
		error = -ENOMEM;
	for (i = 0; i < names.count && !error; i++)
		listing->entries[listing->count++] =
			(struct entry){.slot = names.slots[i], .slot_found = names.slots[i]};
	free(names.slots);
	return error;
}

static int read_headers(struct listing *listing)
{
	struct repair *repair = listing->repair;
	char name[FORMAT_SEGMENT_NAME_SIZE];
	size_t i;
	int error = 0;

	for (i = 0; i < listing->count && !error; i++) {
		struct entry *entry = &listing->entries[i];

		error = stray_read(repair->env, repair->dir, &repair->super, entry->slot,
				   &entry->kind, &entry->header);
		if (!error)
			continue;
		format_segment_name(entry->slot, name);
		repair_say(repair, KV_ERROR, "%s: cannot be repaired: %s", name,
			   error == -ELOOP ? "a symbolic link, which is not followed; put the "
					     "file that it leads to in its place, or remove it" :
					     strerror(-error));
	}
	return error;
}

/* Who has the name of this slot; NULL: nobody. */
static struct entry *holder_of(struct listing *listing, uint32_t slot)
{
	size_t i;

	for (i = 0; i < listing->count; i++) {
		if (listing->entries[i].slot == slot && !listing->entries[i].aside)
			return &listing->entries[i];
	}
	return NULL;
}

static int move(struct repair *repair, const char *from, const char *to)
{
	int error = repair->env->rename(repair->dir, from, to);

	return error ? error : repair->env->dir_sync(repair->dir);
}

/* ---- aside ----------------------------------------------------------------------------------- */

/* A name under which nothing is looked for, and nothing is. */
static int lost_name(struct repair *repair, const char *of, char name[LOST_NAME_SIZE])
{
	struct env_file *file;
	unsigned number;
	int error;

	for (number = 0; number < 1000; number++) {
		snprintf(name, LOST_NAME_SIZE, "lost-%.*s.%u", LOST_OF_MAX, of, number);
		error = repair->env->file_open(repair->dir, name, ENV_READ_ONLY, &file);
		if (error == -ENOENT)
			return 0;
		if (!error)
			repair->env->file_close(file);
		else if (env_open_was_refused(error))
			return error;
	}
	return -EEXIST;
}

static int move_aside(struct repair *repair, const char *name, const char *of, const char *why)
{
	char lost[LOST_NAME_SIZE];
	int error = lost_name(repair, of, lost);

	if (!error)
		error = move(repair, name, lost);
	if (error)
		return error;
	repair->result.mended++;
	repair_say(repair, KV_ERROR, "%s: %s; the file is %s now", name, why, lost);
	return 0;
}

/* A directory, or a symlink, in the place of one that the store can do without. */
static int set_types_aside(struct repair *repair)
{
	static const char *const names[] = {
		FORMAT_CHECKPOINT_NAME, FORMAT_MANIFEST_NAME, FORMAT_SNAPSHOTS_NAME,
		FORMAT_LOSS_NAME};
	struct env_file *file;
	unsigned i;
	int error = 0;

	for (i = 0; i < sizeof(names) / sizeof(names[0]) && !error; i++) {
		int opened = repair->env->file_open(repair->dir, names[i], ENV_READ_ONLY, &file);

		if (!opened)
			repair->env->file_close(file);
		if (env_is_no_file(opened))
			error = move_aside(repair, names[i], names[i], "no regular file");
	}
	return error;
}

static int set_aside(struct repair *repair, struct entry *entry, const char *why)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];
	int error;

	format_segment_name(entry->slot, name);
	error = move_aside(repair, name, name + strlen("seg-"), why);
	entry->aside = !error;
	return error;
}

static int set_lost_aside(struct repair *repair, struct entry *entry)
{
	char why[STRAY_TEXT_SIZE];
	int error;

	/* All that it held: what is left of the file may be less. */
	snprintf(why, sizeof(why), "its header is lost, and with it what its %u bytes held",
		 repair->super.segment_size);
	repair->result.lost_bytes += repair->super.segment_size;
	error = repair_mark(repair);
	return error ? error : set_aside(repair, entry, why);
}

/* If a whole header is of another store, one of this store has to be there. */
static int judge_foreign(struct listing *listing)
{
	struct repair *repair = listing->repair;
	const struct entry *foreign = NULL;
	char name[FORMAT_SEGMENT_NAME_SIZE], text[STRAY_TEXT_SIZE];
	size_t i;

	for (i = 0; i < listing->count; i++) {
		const struct entry *entry = &listing->entries[i];

		if (entry->kind == STRAY_NONE || entry->kind == STRAY_MISNAMED)
			return 0;
		if (entry->kind == STRAY_FOREIGN)
			foreign = entry;
	}
	if (!foreign)
		return 0;
	format_segment_name(foreign->slot, name);
	stray_tell(STRAY_FOREIGN, &foreign->header, &repair->super, text);
	repair_say(repair, KV_ERROR,
		   "%s: %s, and no segment is of this one: perhaps %s is the wrong one; nothing is "
		   "done",
		   name, text, FORMAT_SUPER_NAME);
	return -EUCLEAN;
}

static int set_others_aside(struct listing *listing)
{
	struct repair *repair = listing->repair;
	char text[STRAY_TEXT_SIZE];
	size_t i;
	int error = 0;

	for (i = 0; i < listing->count && !error; i++) {
		struct entry *entry = &listing->entries[i];

		if (entry->kind == STRAY_LOST) {
			error = set_lost_aside(repair, entry);
		} else if (entry->kind == STRAY_NO_FILE) {
			error = set_aside(repair, entry, "no regular file");
		} else if (entry->kind == STRAY_FOREIGN) {
			stray_tell(entry->kind, &entry->header, &repair->super, text);
			error = set_aside(repair, entry, text);
		}
	}
	return error;
}

/* ---- their own names ------------------------------------------------------------------------- */

/* Of several that say they are the same, the newest comes first. */
static struct entry *next_misnamed(struct listing *listing)
{
	struct entry *next = NULL;
	size_t i;

	for (i = 0; i < listing->count; i++) {
		struct entry *entry = &listing->entries[i];

		if (entry->kind == STRAY_MISNAMED && !entry->aside &&
		    (!next || entry->header.id > next->header.id))
			next = entry;
	}
	return next;
}

/* To the name of a segment that there is not. */
static int make_way(struct listing *listing, struct entry *holder)
{
	char from[FORMAT_SEGMENT_NAME_SIZE], to[FORMAT_SEGMENT_NAME_SIZE];
	uint32_t slot = 0;
	int error;

	while (slot == holder->header.slot || holder_of(listing, slot))
		slot++;
	format_segment_name(holder->slot, from);
	format_segment_name(slot, to);
	error = move(listing->repair, from, to);
	if (!error)
		holder->slot = slot;
	return error;
}

static int name_rightly(struct listing *listing, struct entry *entry)
{
	struct repair *repair = listing->repair;
	struct entry *holder = holder_of(listing, entry->header.slot);
	char name[FORMAT_SEGMENT_NAME_SIZE], own[FORMAT_SEGMENT_NAME_SIZE];
	char found[FORMAT_SEGMENT_NAME_SIZE], why[STRAY_TEXT_SIZE];
	int error = 0;

	format_segment_name(entry->slot, name);
	format_segment_name(entry->slot_found, found);
	format_segment_name(entry->header.slot, own);
	if (holder && holder->kind == STRAY_NONE) {
		snprintf(why, sizeof(why), "is %s of %s, which is there",
			 holder->header.salt == entry->header.salt ? "a copy" : "another state",
			 own);
		return set_aside(repair, entry, why);
	}
	if (!manifest_allows(repair->env, repair->dir, repair->super.uuid, entry->header.id,
			     entry->header.salt)) {
		snprintf(why, sizeof(why), "is a copy of %s, which was emptied since", own);
		return set_aside(repair, entry, why);
	}
	if (holder)
		error = make_way(listing, holder);
	if (!error)
		error = move(repair, name, own);
	if (error)
		return error;
	entry->slot = entry->header.slot;
	entry->kind = STRAY_NONE;
	repair->result.mended++;
	repair_say(repair, KV_WARNING, "%s: was under another name, %s; it has its own again", own,
		   found);
	return 0;
}

int repair_names(struct repair *repair)
{
	struct listing listing = {.repair = repair};
	struct entry *entry;
	int error = list_names(&listing);

	if (!error)
		error = read_headers(&listing);
	if (!error)
		error = judge_foreign(&listing);
	if (!error)
		error = set_types_aside(repair);
	if (!error)
		error = set_others_aside(&listing);
	while (!error && (entry = next_misnamed(&listing)))
		error = name_rightly(&listing, entry);
	free(listing.entries);
	return error;
}
