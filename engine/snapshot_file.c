/* SPDX-License-Identifier: MIT */
/*
 * snapshot_file.c - the list of snapshots as a file: see snapshot.h, and format.h for its bytes. It
 * is replaced as a whole: a new one is made durable, and then takes the name.
 */
#include <errno.h>
#include <stdlib.h>

#include "replay.h"
#include "snapshot.h"
#include "sync.h"
#include "version.h"

/* ---- loading --------------------------------------------------------------------------------- */

static int read_file(struct kv *kv, struct format_snapshots **out)
{
	struct format_snapshots *header = NULL;
	struct env_file *file;
	uint64_t size;
	int error = kv->env->file_open(kv->dir, FORMAT_SNAPSHOTS_NAME, ENV_READ_ONLY, &file);

	if (error)
		return error;
	error = kv->env->file_size(file, &size);
	if (!error && (size < sizeof(*header) || size > format_snapshots_size(FORMAT_SNAPSHOTS_MAX)))
		error = -EUCLEAN;
	if (!error && !(header = malloc(size)))
		error = -ENOMEM;
	if (!error)
		error = kv->env->file_read(file, header, size, 0);
	kv->env->file_close(file);
	if (!error)
		error = format_snapshots_validate(header, size, kv->segments.uuid);
	if (error)
		free(header);
	else
		*out = header;
	return error;
}

static int take_over(struct kv *kv, const struct format_snapshots *header)
{
	const struct format_snapshot *entries = (const struct format_snapshot *)(header + 1);
	uint32_t i;
	int error = 0;

	for (i = 0; i < header->count && !error; i++)
		error = snapshot_add(kv, NULL, entries[i].name, entries[i].name_size,
				     entries[i].seq, entries[i].time_us);
	atomic_store(&kv->snapshots.saved_seq, header->seq);
	atomic_store(&kv->snapshots.changed_seq, header->seq);
	return error;
}

/* A walk through a segment's records, as long as the log can have them. */
struct search {
	struct kv *kv;
	struct segment *segment;
	const uint8_t *base;
	uint32_t offset;
	uint64_t last_seq; /* 0: numbers may begin anywhere */
	uint64_t most_seq; /* of the log so far, from its first segment on */
	uint64_t budget;
	bool last; /* the log ends in it, with what a power failure has torn */
	struct replay replay; /* knows what was durable in it; if it is the last */
};

static bool has_number(const struct format_record *record)
{
	return !format_record_is_bare(record) && !(record->flags & FORMAT_RECORD_RELOCATED);
}

static void note_number(struct search *search, const struct format_record *record)
{
	if (has_number(record) && record->seq > search->most_seq)
		search->most_seq = record->seq;
}

/* Does the log end before this record, which was left behind by what is lost? */
static bool is_left_behind(const struct search *search, const struct format_record *record)
{
	if (!search->last)
		return false;
	if (record->flags == FORMAT_RECORD_CLOSED)
		return true;
	return search->last_seq && has_number(record) &&
	       record->seq > search->last_seq + 1;
}

/* Past what is damaged, or to the end where the log has no more. */
static void pass_over(struct search *search)
{
	const struct segments *segments = &search->kv->segments;

	if (search->last &&
	    !replay_is_vouched_for(&search->replay, search->offset, search->most_seq)) {
		search->offset = segments->size;
		return;
	}
	search->offset = segment_search(segments, search->segment, search->base,
					search->offset + FORMAT_RECORD_ALIGN, segments->size,
					&search->budget);
	search->last_seq = 0;
}

/* Its END, and the last record that has a number (0: none has). */
static int end_quickly(struct search *search, uint32_t end, uint32_t numbered)
{
	const struct segments *segments = &search->kv->segments;

	if (segment_validate(segments, search->segment, search->base, end) <= 0)
		return -EUCLEAN;
	if (!numbered)
		return 0;
	if (segment_validate(segments, search->segment, search->base, numbered) <= 0)
		return -EUCLEAN;
	note_number(search, (const struct format_record *)(search->base + numbered));
	return 0;
}

/*
 * The same for a segment of which all records are as they should be, without a look at what they
 * hold. -EUCLEAN: it is not such a one
 */
static int search_quickly(struct search *search)
{
	struct segments *segments = &search->kv->segments;
	uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE, numbered = 0;
	int error = 0;

	while (!error) {
		const struct format_record *record =
			(const struct format_record *)(search->base + offset);

		if (offset + FORMAT_RECORD_HEADER_SIZE > segments->size ||
		    !format_record_plausible(record, segments->size - offset,
					     segments->keyspace_count))
			return -EUCLEAN;
		if (record->flags == FORMAT_RECORD_END)
			return end_quickly(search, offset, numbered);
		if (record->keyspace == FORMAT_KEYSPACE_ENGINE) {
			if (segment_validate(segments, search->segment, search->base, offset) <= 0)
				return -EUCLEAN;
			error = snapshot_apply(
				search->kv, record,
				segments_address(segments, search->segment->slot, offset));
		}
		if (has_number(record))
			numbered = offset;
		offset += (uint32_t)format_record_length(record);
	}
	return error;
}

/* All that the segment's records say of snapshots. */
static int search_closely(struct search *search)
{
	struct segments *segments = &search->kv->segments;
	int error = 0;

	while (search->offset < segments->size && !error) {
		const struct format_record *record =
			(const struct format_record *)(search->base + search->offset);
		int64_t length = segment_validate(segments, search->segment, search->base,
						  search->offset);

		if (length <= 0 || is_left_behind(search, record)) {
			pass_over(search);
			continue;
		}
		if (record->keyspace == FORMAT_KEYSPACE_ENGINE)
			error = snapshot_apply(search->kv, record,
					       segments_address(segments, search->segment->slot,
								search->offset));
		if (has_number(record))
			search->last_seq = record->seq;
		note_number(search, record);
		search->offset += (uint32_t)length;
	}
	return error;
}

/* The one in which the log ends; behind it there may be some without any record. */
static const struct segment *last_of_log(
	struct kv *kv, struct segment **segments, size_t count)
{
	while (count--) {
		struct segment *segment = segments[count];

		if (!format_segment_is_cold(segment->id) && !replay_finds_nothing(kv, segment))
			return segment;
	}
	return NULL;
}

static int search_segment(struct search *search, bool last)
{
	struct kv *kv = search->kv;
	int error = -EUCLEAN;

	search->base = segments_base(&kv->segments, search->segment->slot);
	search->last = last;
	if (last)
		replay_ask(&search->replay, kv, search->segment);
	else
		error = search_quickly(search);
	if (error != -EUCLEAN)
		return error;
	search->offset = FORMAT_SEGMENT_HEADER_SIZE;
	search->last_seq = 0;
	search->budget = SEGMENT_SEARCH_BUDGET(&kv->segments);
	return search_closely(search);
}

/* Not behind the log's end: what stands there a power failure has left, of what it took. */
static int search_all(struct kv *kv, struct segment **segments, size_t count)
{
	const struct segment *last = last_of_log(kv, segments, count);
	struct search search = {.kv = kv};
	bool ended = false;
	size_t i;
	int error = 0;

	for (i = 0; i < count && !error; i++) {
		if (ended && !format_segment_is_cold(segments[i]->id))
			continue;
		search.segment = segments[i];
		ended |= segments[i] == last;
		error = search_segment(&search, segments[i] == last);
	}
	return error;
}

static int miss(struct kv *kv, struct segment **segments, size_t count)
{
	kv->snapshots.damaged = true;
	store_add(&kv->damaged, 1);
	store_report(kv, KV_ERROR,
		     "%s is not there, or an old one; the log is searched for snapshots",
		     FORMAT_SNAPSHOTS_NAME);
	return search_all(kv, segments, count);
}

static bool has_cold(struct segment **segments, size_t count)
{
	while (count && !format_segment_is_cold(segments[count - 1]->id))
		count--;
	return count;
}

int snapshots_look_for(struct kv *kv, struct segment **segments, size_t count)
{
	int error;

	if (kv->snapshots.missed)
		return miss(kv, segments, count);
	if (!kv->snapshots.unlisted || kv->checkpoint || !has_cold(segments, count))
		return 0;
	error = search_all(kv, segments, count);
	/* As ever, it is written before compaction goes on; or it was there, which a repair sees to. */
	kv->snapshots.damaged = !error && kv->snapshots.count && !kv->info.read_only &&
				kv->checkpoint_fate != CHECKPOINT_USED;
	return error;
}

int snapshots_load(struct kv *kv, struct segment **segments, size_t count)
{
	struct format_snapshots *header;
	int error = read_file(kv, &header);

	if (error == -ENOENT) {
		kv->snapshots.unlisted = true;
		return 0;
	}
	if (!error) {
		error = take_over(kv, header);
		free(header);
		return error;
	}
	/* Nothing is known of the list, which is not to be replaced by what the log still has. */
	if (env_open_was_refused(error))
		return error;
	if (error == -EPROTONOSUPPORT) {
		store_report(kv, KV_ERROR, "%s was written by a newer version; use that version",
			     FORMAT_SNAPSHOTS_NAME);
		return error;
	}
	kv->snapshots.damaged = true;
	store_add(&kv->damaged, 1);
	store_report(kv, KV_ERROR, "%s %s; the log is searched for snapshots",
		     FORMAT_SNAPSHOTS_NAME,
		     env_is_no_file(error) ? "is no regular file, which a repair moves away"
					   : "cannot be read");
	return search_all(kv, segments, count);
}

/* ---- saving ---------------------------------------------------------------------------------- */

static struct format_snapshots *make_file(struct kv *kv)
{
	struct snapshots *snapshots = &kv->snapshots;
	struct format_snapshots *header;
	struct format_snapshot *entry;
	unsigned i;

	pthread_mutex_lock(&kv->log.lock);
	header = calloc(1, format_snapshots_size(snapshots->count));
	if (header) {
		memcpy(header->uuid, kv->segments.uuid, sizeof(header->uuid));
		header->seq = atomic_load(&kv->log.last_seq);
		header->count = snapshots->count;
		entry = (struct format_snapshot *)(header + 1);
		for (i = 0; i < snapshots->count; i++, entry++) {
			const struct snapshot *snapshot = snapshots->list[i];

			entry->seq = snapshot->seq;
			entry->time_us = snapshot->time_us;
			entry->name_size = (uint8_t)strlen(snapshot->name);
			memcpy(entry->name, snapshot->name, entry->name_size);
		}
	}
	pthread_mutex_unlock(&kv->log.lock);
	if (header)
		format_snapshots_seal(header);
	return header;
}

static int write_file(struct kv *kv, const struct format_snapshots *header)
{
	struct env_file *file;
	int error;

	(void)kv->env->unlink(kv->dir, FORMAT_SNAPSHOTS_NEW_NAME);
	error = kv->env->file_open(kv->dir, FORMAT_SNAPSHOTS_NEW_NAME, ENV_CREATE, &file);
	/* the store's directory was removed: no snapshot is missing */
	if (error)
		return error == -ENOENT ? -EIO : error;
	error = kv->env->file_write(file, header, format_snapshots_size(header->count), 0, true);
	kv->env->file_close(file);
	if (!error)
		error = kv->env->rename(kv->dir, FORMAT_SNAPSHOTS_NEW_NAME, FORMAT_SNAPSHOTS_NAME);
	if (error) {
		(void)kv->env->unlink(kv->dir, FORMAT_SNAPSHOTS_NEW_NAME);
		return error;
	}
	return kv->env->dir_sync(kv->dir);
}

/* With the list as it is; nobody else is there yet, and the log is durable. */
static int replace_file(struct kv *kv)
{
	struct format_snapshots *header = make_file(kv);
	int error = header ? write_file(kv, header) : -ENOMEM;

	free(header);
	return error;
}

/* Where there is no room for it the damaged one stays, until there is or the list changes. */
static int mend_file(struct kv *kv)
{
	struct snapshots *snapshots = &kv->snapshots;
	int error = replace_file(kv);

	if (env_is_short(error)) {
		store_report(kv, KV_WARNING, "%s: %s; it stays as it is", FORMAT_SNAPSHOTS_NAME,
			     strerror(-error));
		return 0;
	}
	if (error)
		return error;
	atomic_store(&snapshots->saved_seq, atomic_load(&kv->log.last_seq));
	atomic_store(&snapshots->changed_seq, atomic_load(&kv->log.last_seq));
	snapshots->damaged = false;
	store_report(kv, KV_WARNING, "%s: written again; the log has %u snapshots",
		     FORMAT_SNAPSHOTS_NAME, snapshots->count);
	return 0;
}

int snapshots_settle(struct kv *kv)
{
	uint64_t last_seq = atomic_load(&kv->log.last_seq);
	struct snapshots *snapshots = &kv->snapshots;
	unsigned i = 0;

	while (i < snapshots->count) {
		if (snapshots->list[i]->seq <= last_seq) {
			i++;
			continue;
		}
		store_report(kv, KV_ERROR, "snapshot %s is of a state that is lost",
			     snapshots->list[i]->name);
		store_add(&kv->damaged, 1);
		snapshot_drop(kv, i);
	}
	/* Versions were kept for what the log turned out to delete. */
	if (atomic_load(&kv->versions.count) && !kv->info.read_only && kv->recovered_batches)
		version_sweep_whole(kv);
	if (snapshots->damaged)
		return kv->info.read_only ? 0 : mend_file(kv);
	if (atomic_load(&snapshots->saved_seq) <= last_seq)
		return 0;
	atomic_store(&snapshots->saved_seq, last_seq);
	atomic_store(&snapshots->changed_seq, last_seq);
	return kv->info.read_only ? 0 : replace_file(kv);
}

int snapshots_save_all(struct kv *kv)
{
	return snapshots_save(kv, atomic_load(&kv->snapshots.changed_seq));
}

static int save(struct kv *kv)
{
	struct format_snapshots *header = make_file(kv);
	int error;

	if (!header)
		return -ENOMEM;
	/* The file never knows more than the log will after a crash. */
	error = sync_wait(kv, header->seq);
	if (!error)
		error = write_file(kv, header);
	if (!error) {
		atomic_store(&kv->snapshots.saved_seq, header->seq);
		kv->snapshots.damaged = false;
	}
	free(header);
	return error;
}

int snapshots_save(struct kv *kv, uint64_t seq)
{
	return seq <= atomic_load(&kv->snapshots.saved_seq) ? 0 : save(kv);
}

bool snapshots_verify(struct kv *kv)
{
	struct snapshots *snapshots = &kv->snapshots;
	bool known = atomic_load(&snapshots->damaged);
	struct format_snapshots *header = NULL;
	int error = read_file(kv, &header);

	/* One from before somebody has put back. */
	if (!error && header->seq < atomic_load(&snapshots->saved_seq))
		error = -ESTALE;
	free(header);
	/* There is none before there is a snapshot. */
	if (!error || env_open_was_refused(error) ||
	    (error == -ENOENT && !atomic_load(&snapshots->saved_seq)))
		return true;
	snapshots->damaged = true;
	error = kv->info.read_only ? -EROFS : save(kv);
	if (known)
		return true;
	store_add(&kv->damaged, 1);
	store_report(kv, KV_ERROR, "%s: the scrub found it missing or damaged; %s%s",
		     FORMAT_SNAPSHOTS_NAME,
		     error ? "it could not be written anew: " : "it was written anew",
		     error ? strerror(-error) : "");
	return false;
}
