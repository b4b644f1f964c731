/* SPDX-License-Identifier: MIT */
/* checkpoint_vouch.c - what a checkpoint that is not used knows: see checkpoint_vouch.h. */
#include <errno.h>
#include <stdlib.h>

#include "checkpoint_vouch.h"

bool checkpoint_knows(const struct kv *kv, const struct format_checkpoint_segment *entry)
{
	const struct segment *segment = entry->slot < atomic_load(&kv->segments.count) ?
						kv->segments.table[entry->slot] :
						NULL;

	return segment && entry->id && segment->id == entry->id && segment->salt == entry->salt &&
	       !segment->covered && entry->state <= FORMAT_CHECKPOINT_EMPTIED &&
	       entry->end >= FORMAT_SEGMENT_HEADER_SIZE && entry->end <= kv->segments.size &&
	       entry->end % FORMAT_RECORD_ALIGN == 0 && entry->live_bytes <= entry->end &&
	       entry->tombstone_bytes <= entry->end;
}

/* What is damaged in it is not known any more, and no reason to stop. */
static int unless_damaged(int error)
{
	return env_open_was_refused(error) ? error : 0;
}

static int vouch_for_segments(struct kv *kv, const struct checkpoint_file *file)
{
	struct format_checkpoint_segment entry;
	struct checkpoint_reader *reader;
	uint32_t i;
	int error = checkpoint_reader_new(file, FORMAT_CHECKPOINT_SEGMENTS, &reader);

	if (error)
		return error;
	for (i = 0; i < file->header.segment_count && !error; i++) {
		error = checkpoint_reader_read(reader, &entry, sizeof(entry));
		if (!error && checkpoint_knows(kv, &entry))
			kv->segments.table[entry.slot]->vouched = entry.end;
	}
	free(reader);
	return error;
}

int checkpoint_vouch_for_segments(struct kv *kv, const struct checkpoint_file *file)
{
	return unless_damaged(vouch_for_segments(kv, file));
}

/* ---- old versions ---------------------------------------------------------------------------- */

struct vouching {
	struct kv *kv;
	struct vouched_version *versions;
	size_t count, capacity;
};

static bool is_vouched_for(const struct kv *kv, uint64_t address)
{
	uint32_t slot = segments_slot(&kv->segments, address);
	const struct segment *segment =
		slot < atomic_load(&kv->segments.count) ? kv->segments.table[slot] : NULL;

	return segment && segments_offset(&kv->segments, address) < segment->vouched;
}

/* Also one that was let go of since: until when it was the newest never changes. */
static int take(struct vouching *vouching, const struct format_checkpoint_version *version)
{
	if (!version->length || !version->end || !is_vouched_for(vouching->kv, version->address))
		return 0;
	if (vouching->count == vouching->capacity) {
		size_t capacity = vouching->capacity * 2 + 64;
		struct vouched_version *versions =
			realloc(vouching->versions, capacity * sizeof(*versions));

		if (!versions)
			return -ENOMEM;
		vouching->versions = versions;
		vouching->capacity = capacity;
	}
	vouching->versions[vouching->count++] =
		(struct vouched_version){version->address, version->end};
	return 0;
}

static int read_versions(struct vouching *vouching, const struct checkpoint_file *file)
{
	struct format_checkpoint_version version;
	struct checkpoint_reader *reader;
	int error = checkpoint_reader_new(file, FORMAT_CHECKPOINT_VERSIONS, &reader);

	if (error)
		return error;
	while (reader->left && !error) {
		error = checkpoint_reader_read(reader, &version, sizeof(version));
		if (!error)
			error = take(vouching, &version);
	}
	free(reader);
	return error;
}

static int read_changes(struct vouching *vouching, const struct checkpoint_file *file)
{
	struct format_checkpoint_version_change change;
	struct checkpoint_reader *reader;
	int error = checkpoint_reader_new(file, FORMAT_CHECKPOINT_VERSION_CHANGES, &reader);

	if (error)
		return error;
	while (reader->left && !error) {
		error = checkpoint_reader_read(reader, &change, sizeof(change));
		if (!error)
			error = take(vouching, &change.version);
	}
	free(reader);
	return error;
}

static int by_address(const void *a, const void *b)
{
	const struct vouched_version *left = a, *right = b;

	return left->address < right->address ? -1 : left->address > right->address;
}

static int vouch_for_versions(struct kv *kv, const struct checkpoint_file *file)
{
	struct vouching vouching = {.kv = kv};
	int changes, error = read_versions(&vouching, file);

	if (!env_open_was_refused(error)) {
		changes = read_changes(&vouching, file);
		error = error && !env_open_was_refused(changes) ? error : changes;
	}
	if (env_open_was_refused(error)) {
		free(vouching.versions);
		return error;
	}
	if (vouching.count)
		qsort(vouching.versions, vouching.count, sizeof(*vouching.versions), by_address);
	kv->vouched_versions = vouching.versions;
	kv->vouched_count = vouching.count;
	return error;
}

uint64_t checkpoint_vouched_end(const struct kv *kv, uint64_t address)
{
	const struct vouched_version wanted = {.address = address}, *found;

	if (!kv->vouched_count)
		return 0;
	found = bsearch(&wanted, kv->vouched_versions, kv->vouched_count, sizeof(wanted),
			by_address);
	return found ? found->end : 0;
}

void checkpoint_vouch_fini(struct kv *kv)
{
	free(kv->vouched_versions);
	kv->vouched_versions = NULL;
	kv->vouched_count = 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int vouch(struct kv *kv)
{
	struct checkpoint_file file;
	int versions, error = checkpoint_file_open(&file, kv->env, kv->dir, kv->segments.uuid);

	if (error)
		return error;
	error = vouch_for_segments(kv, &file);
	if (!env_open_was_refused(error)) {
		versions = vouch_for_versions(kv, &file);
		error = error && !env_open_was_refused(versions) ? error : versions;
	}
	checkpoint_file_close(&file);
	return error;
}

int checkpoint_vouch(struct kv *kv)
{
	int error = vouch(kv);

	/* What could not be read once is read again before it is given up. */
	if (error == -EIO) {
		checkpoint_vouch_fini(kv);
		error = vouch(kv);
	}
	return unless_damaged(error);
}
