/* SPDX-License-Identifier: MIT */
/* checkpoint_version.c - see checkpoint_version.h. */
#include "checkpoint_version.h"

#include <errno.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "checkpoint_buckets.h"
#include "version.h"
#include "version_table.h"
#include "view.h"

#define CHUNK_VERSIONS (FORMAT_CHECKPOINT_CHUNK / (uint32_t)sizeof(struct version))

/* ---- saving the table ------------------------------------------------------------------------ */

/* A store that comes meanwhile may be seen or not: it is noted. */
static struct format_checkpoint_version copy_version(const struct version *version)
{
	return (struct format_checkpoint_version){
		.address = version_address(version),
		.begin = version_begin(version),
		.end = version_end(version),
		.hash = version_hash(version),
		.older = version_older(version),
		.length = version_length(version),
	};
}

void checkpoint_note_version(struct kv *kv, uint32_t number)
{
	struct version_saving *saving = kv->versions.saving;
	struct format_checkpoint_version_change change = {.number = number};

	if (number >= saving->saved)
		return;
	change.version = copy_version(version_at(&kv->versions, number));
	journal_append(saving->changes, &change, sizeof(change));
}

/* Which numbers come next. Out: how many; false: there are more behind them. */
static bool take_numbers(struct version_saving *saving, struct kv *kv, uint32_t *count)
{
	uint32_t left;
	bool last;

	pthread_mutex_lock(&kv->log.lock);
	kv->versions.saving = saving;
	left = kv->versions.used - saving->saved;
	last = left <= *count;
	if (last)
		*count = left;
	/* Everything that changes from here on is noted. */
	saving->saved = last ? UINT32_MAX : saving->saved + *count;
	pthread_mutex_unlock(&kv->log.lock);
	return last;
}

int version_saving_step(struct version_saving *saving, struct kv *kv,
			struct checkpoint_stream *stream, unsigned chunks)
{
	uint32_t number = saving->saved, count = chunks * CHUNK_VERSIONS;
	bool last;
	int error = 0;

	if (!saving->begun)
		checkpoint_stream_begin(stream, FORMAT_CHECKPOINT_VERSIONS);
	saving->begun = true;
	last = take_numbers(saving, kv, &count);
	for (; count && !error; count--, number++) {
		struct format_checkpoint_version version =
			copy_version(version_at(&kv->versions, number));

		error = checkpoint_stream_put(stream, &version, sizeof(version));
	}
	if (!error && last)
		error = checkpoint_stream_end(stream);
	return error ? error : last;
}

void version_saving_end(struct kv *kv)
{
	kv->versions.saving = NULL;
}

/* ---- saving the ghosts ----------------------------------------------------------------------- */

void checkpoint_note_ghost(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
			   uint64_t address)
{
	struct format_checkpoint_change change = {
		.key_size = (uint16_t)key_size,
		.keyspace = (uint8_t)(FORMAT_CHECKPOINT_GHOST + keyspace),
		.address = address};

	if (!(kv->orders_noted & 1u << change.keyspace))
		return;
	journal_append(kv->order_changes, &change, sizeof(change));
	journal_append(kv->order_changes, key, key_size);
}

/*
 * Begins saving the next keyspace's ghosts: from here on its changes are noted. -ENOENT: there is
 * none.
 */
static int begin_ghosts(struct ghost_saving *saving)
{
	struct kv *kv = saving->kv;
	struct order *ghosts;
	int error = -ENOENT;

	pthread_mutex_lock(&kv->log.lock);
	kv->order_changes = saving->changes;
	kv->orders_noted |= 1u << (FORMAT_CHECKPOINT_GHOST + saving->keyspace);
	ghosts = atomic_load(&kv->versions.ghosts[saving->keyspace]);
	pthread_mutex_unlock(&kv->log.lock);
	if (ghosts)
		error = order_walk_new(ghosts, &saving->walk);
	return error ? error : order_walk_first(saving->walk);
}

static int put_ghost(struct ghost_saving *saving)
{
	size_t key_size;
	const void *key = order_walk_key(saving->walk, &key_size);
	struct format_checkpoint_change change = {
		.key_size = (uint16_t)key_size,
		.keyspace = (uint8_t)(FORMAT_CHECKPOINT_GHOST + saving->keyspace),
		.address = order_walk_address(saving->walk)};
	int error = checkpoint_stream_put(saving->stream, &change, sizeof(change));

	return error ? error : checkpoint_stream_put(saving->stream, key, key_size);
}

int ghost_saving_step(struct ghost_saving *saving, unsigned chunks)
{
	int error = 0;

	if (!saving->begun)
		checkpoint_stream_begin(saving->stream, FORMAT_CHECKPOINT_GHOSTS);
	saving->begun = true;
	while (chunks && !error && saving->keyspace < KV_KEYSPACES_MAX) {
		uint32_t chunk = saving->stream->chunk;

		error = saving->walk ? order_walk_next(saving->walk) : begin_ghosts(saving);
		if (!error) {
			error = put_ghost(saving);
		} else if (error == -ENOENT) {
			order_walk_free(saving->walk);
			saving->walk = NULL;
			saving->keyspace++;
			error = 0;
		}
		chunks -= saving->stream->chunk != chunk;
	}
	if (error || saving->keyspace < KV_KEYSPACES_MAX)
		return error;
	error = checkpoint_stream_end(saving->stream);
	return error ? error : 1;
}

void ghost_saving_fini(struct ghost_saving *saving)
{
	order_walk_free(saving->walk);
}

/* ---- loading the table ----------------------------------------------------------------------- */

/* A table in memory that is being taken over. */
struct loading {
	struct kv *kv;
	const struct checkpoint_file *file;
	uint32_t numbers;
	/*
	 * A bit for each number, so that the index's order costs no misses: it is in use, and
	 * nothing has led to it yet.
	 */
	uint64_t *unled;
	uint64_t links; /* that have, in all */
};

static int read_table(const struct loading *loading)
{
	struct versions *versions = &loading->kv->versions;
	struct checkpoint_reader *reader;
	uint64_t left =
		loading->file->header.sizes[FORMAT_CHECKPOINT_VERSIONS] / sizeof(struct version);
	uint64_t number = 0;
	int error = checkpoint_reader_new(loading->file, FORMAT_CHECKPOINT_VERSIONS, &reader);

	if (error)
		return error;
	while (left && !error) {
		uint64_t part = left < VERSION_CHUNK ? left : VERSION_CHUNK;

		error = checkpoint_reader_read(reader, (void *)version_at(versions, number),
					       part * sizeof(struct version));
		number += part;
		left -= part;
	}
	free(reader);
	return error;
}

static int read_table_changes(const struct loading *loading)
{
	struct versions *versions = &loading->kv->versions;
	struct format_checkpoint_version_change change;
	struct checkpoint_reader *reader;
	int error =
		checkpoint_reader_new(loading->file, FORMAT_CHECKPOINT_VERSION_CHANGES, &reader);

	if (error)
		return error;
	while (reader->left && !error) {
		error = checkpoint_reader_read(reader, &change, sizeof(change));
		if (!error && (!change.number || change.number >= loading->numbers))
			error = -EUCLEAN;
		if (!error)
			memcpy((void *)version_at(versions, change.number), &change.version,
			       sizeof(change.version));
	}
	free(reader);
	return error;
}

/* Each version has one place: in the index, or behind one younger. */
static int lead_to(struct loading *loading, uint64_t number)
{
	uint64_t bit = (uint64_t)1 << number % 64, *word = &loading->unled[number / 64];

	if (number >= loading->numbers || !(*word & bit))
		return -EUCLEAN;
	*word &= ~bit;
	loading->links++;
	return 0;
}

static int lead_from_index(void *arg, uint64_t number)
{
	return lead_to(arg, number);
}

static int take_version(struct loading *loading, const struct version *version)
{
	struct kv *kv = loading->kv;
	struct versions *versions = &kv->versions;
	uint64_t begin = version_begin(version), end = version_end(version);
	uint32_t length = version_length(version);

	if (length % FORMAT_RECORD_ALIGN || length > kv->segments.size || begin >= end ||
	    end > loading->file->header.last_seq ||
	    !checkpoint_covers(kv, version_address(version)))
		return -EUCLEAN;
	store_add(&versions->count, 1);
	store_add(&versions->kept_bytes, length);
	if (end > atomic_load_explicit(&versions->newest_end, memory_order_relaxed))
		atomic_store(&versions->newest_end, end);
	/* The version was kept for a view, or its snapshot has been deleted since. */
	if (!kv->info.read_only && !views_any_in(&kv->views, begin, end))
		version_sweep_whole(kv);
	return 0;
}

/* Chains go back in time. */
static int take_links(struct loading *loading)
{
	struct versions *versions = &loading->kv->versions;
	uint32_t number;
	int error = 0;

	for (number = 1; number < loading->numbers && !error; number++) {
		const struct version *version = version_at(versions, number);
		uint32_t older = version_length(version) ? version_older(version) : 0;

		if (!older)
			continue;
		error = lead_to(loading, older);
		if (!error && version_begin(version_at(versions, older)) >= version_begin(version))
			error = -EUCLEAN;
	}
	return error;
}

static int take_table(struct loading *loading)
{
	struct versions *versions = &loading->kv->versions;
	uint32_t number;
	int error = 0;

	versions->used = loading->numbers;
	for (number = 1; number < loading->numbers && !error; number++) {
		struct version *version = version_at(versions, number);

		if (version_length(version)) {
			loading->unled[number / 64] |= (uint64_t)1 << number % 64;
			version_ends_widen(version_ends_at(versions, number), version_end(version));
			error = take_version(loading, version);
			continue;
		}
		atomic_store_explicit(&version->hash, versions->free, memory_order_relaxed);
		versions->free = number;
		versions->free_count++;
	}
	if (!error && atomic_load(&versions->count) != loading->file->header.versions)
		error = -EUCLEAN;
	return error;
}

static bool is_number(struct kv *kv, uint64_t number)
{
	return number < kv->versions.used;
}

static int read_buckets(void *arg, uint64_t chunk, struct index_bucket *out)
{
	return checkpoint_buckets_read(arg, chunk, out);
}

static int load_index(struct loading *loading)
{
	const struct format_checkpoint *header = &loading->file->header;
	struct index *index = &loading->kv->versions.index;
	struct checkpoint_buckets buckets;
	int error = checkpoint_buckets_init(&buckets, loading->kv, loading->file,
					    FORMAT_CHECKPOINT_VERSION_BUCKETS, is_number);

	if (error)
		return error;
	index_fini(index);
	error = index_load(index, header->version_buckets, header->version_entries,
			   header->sizes[FORMAT_CHECKPOINT_VERSION_BUCKETS], read_buckets,
			   &buckets);
	if (!error) {
		(void)index_load_some(index, UINT64_MAX);
		error = atomic_load(&index->failed) ? -EUCLEAN : 0;
	}
	if (!error)
		error = index_each(index, lead_from_index, loading);
	if (!error && loading->links != header->versions)
		error = -EUCLEAN;
	checkpoint_buckets_fini(&buckets);
	return error;
}

/* ---- loading the ghosts ---------------------------------------------------------------------- */

int versions_load_ghost(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
			uint64_t address)
{
	if (keyspace >= kv->info.keyspace_count || !kv->order_of[keyspace])
		return -EUCLEAN;
	/* The last versions went while it was saved. */
	if (!atomic_load(&kv->versions.count))
		return 0;
	if (address)
		return version_ghost_put(kv, keyspace, key, key_size);
	version_ghost_delete(kv, keyspace, key, key_size);
	return 0;
}

static int read_ghosts(struct loading *loading)
{
	struct format_checkpoint_change ghost;
	struct checkpoint_reader *reader = NULL;
	uint8_t *key = malloc(KV_KEY_SIZE_MAX);
	int error = key ? checkpoint_reader_new(loading->file, FORMAT_CHECKPOINT_GHOSTS, &reader) :
			  -ENOMEM;

	while (!error && reader->left) {
		error = checkpoint_reader_read(reader, &ghost, sizeof(ghost));
		if (!error && (!ghost.key_size || ghost.keyspace < FORMAT_CHECKPOINT_GHOST))
			error = -EUCLEAN;
		if (!error)
			error = checkpoint_reader_read(reader, key, ghost.key_size);
		if (!error)
			error = versions_load_ghost(loading->kv,
						    ghost.keyspace - FORMAT_CHECKPOINT_GHOST, key,
						    ghost.key_size, ghost.address);
	}
	free(key);
	free(reader);
	return error;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Checked before memory is taken for the versions: each number was saved, or noted. */
static bool is_plausible(const struct format_checkpoint *header)
{
	uint64_t saved = header->sizes[FORMAT_CHECKPOINT_VERSIONS] / sizeof(struct version);
	uint64_t noted = header->sizes[FORMAT_CHECKPOINT_VERSION_CHANGES] /
			 sizeof(struct format_checkpoint_version_change);

	return header->version_numbers <= (uint64_t)VERSION_CHUNK * VERSION_CHUNKS &&
	       saved <= header->version_numbers && header->version_numbers <= saved + noted + 1 &&
	       header->versions < header->version_numbers;
}

int versions_forget(struct kv *kv)
{
	versions_fini(&kv->versions);
	memset(&kv->versions, 0, sizeof(kv->versions));
	return versions_init(&kv->versions);
}

int versions_load(struct kv *kv, const struct checkpoint_file *file)
{
	struct loading loading = {
		.kv = kv, .file = file, .numbers = (uint32_t)file->header.version_numbers};
	int error;

	if (!file->header.versions)
		return 0;
	if (!is_plausible(&file->header))
		return -EUCLEAN;
	loading.unled = calloc(loading.numbers / 64 + 1, sizeof(uint64_t));
	error = loading.unled ? version_table_extend(&kv->versions, loading.numbers) : -ENOMEM;
	if (!error)
		error = read_table(&loading);
	if (!error)
		error = read_table_changes(&loading);
	if (!error)
		error = take_table(&loading);
	if (!error)
		error = take_links(&loading);
	if (!error)
		error = load_index(&loading);
	if (!error)
		error = read_ghosts(&loading);
	free(loading.unled);
	if (error) {
		int again = versions_forget(kv);

		return again ? again : error;
	}
	return 0;
}
