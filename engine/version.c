/* SPDX-License-Identifier: MIT */
/* version.c - see version.h: chains of versions, what is added to them and taken away. */
#include "version.h"

#include <errno.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "lookup.h"
#include "read.h"
#include "version_table.h"
#include "view.h"

#define GHOST_ADDRESS 1u   /* a ghost's record is found by its hash */
#define VERSION_CHUNK_SIZE                                                                         \
	((size_t)VERSION_CHUNK * sizeof(struct version) +                                          \
	 (size_t)VERSION_CHUNK / VERSION_BLOCK * sizeof(struct version_ends))

int versions_init(struct versions *versions)
{
	versions->used = 1; /* 0 is none */
	return index_init(&versions->index);
}

void versions_fini(struct versions *versions)
{
	unsigned i;

	index_fini(&versions->index);
	for (i = 0; i < VERSION_CHUNKS; i++)
		free(atomic_load(&versions->chunks[i]));
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		order_free(atomic_load(&versions->ghosts[i]));
}

/* ---- room ------------------------------------------------------------------------------------ */

static int reserve_ghosts(struct kv *kv, unsigned keyspace, uint64_t count, uint64_t key_bytes)
{
	struct versions *versions = &kv->versions;
	struct order *ghosts = atomic_load(&versions->ghosts[keyspace]);
	int error;

	if (!ghosts) {
		error = order_new(&ghosts);
		if (error)
			return error;
		atomic_store_explicit(&versions->ghosts[keyspace], ghosts, memory_order_release);
	}
	return order_reserve(ghosts, count, key_bytes);
}

int version_table_extend(struct versions *versions, uint64_t numbers)
{
	while (versions->room < numbers) {
		uint32_t chunk = versions->room / VERSION_CHUNK;
		struct version *memory =
			chunk < VERSION_CHUNKS ? calloc(1, VERSION_CHUNK_SIZE) : NULL;

		if (!memory)
			return -ENOMEM;
		atomic_store_explicit(&versions->chunks[chunk], memory, memory_order_release);
		versions->room += VERSION_CHUNK;
	}
	return 0;
}

static int reserve_versions(struct versions *versions, uint64_t count)
{
	int error = index_reserve(&versions->index, count);

	if (!error && versions->free_count < count)
		error = version_table_extend(versions,
					     versions->used + count - versions->free_count);
	return error;
}

int version_reserve(struct kv *kv, uint64_t count, uint64_t key_bytes)
{
	int error = reserve_versions(&kv->versions, count);
	unsigned i;

	for (i = 0; i < kv->info.keyspace_count && !error; i++) {
		if (kv->order_of[i])
			error = reserve_ghosts(kv, i, count, key_bytes);
	}
	return error;
}

static uint32_t take_number(struct versions *versions)
{
	uint32_t number = versions->free;

	if (!number)
		return versions->used++;
	versions->free = (uint32_t)version_hash(version_at(versions, number));
	versions->free_count--;
	return number;
}

/* ---- chains ---------------------------------------------------------------------------------- */

struct chain {
	struct lookup lookup;
	const struct versions *versions;
	struct index_place place;
	uint32_t youngest; /* 0: there are none */
};

static inline bool chain_match(void *arg, uint64_t number)
{
	struct chain *chain = arg;

	return lookup_match(&chain->lookup, version_address(version_at(chain->versions, number)));
}

static inline bool chain_match_head(void *arg, uint64_t number)
{
	struct chain *chain = arg;

	return lookup_match_head(&chain->lookup,
				 version_address(version_at(chain->versions, number)));
}

static struct chain find_chain(struct kv *kv, const struct format_record *record, uint64_t hash)
{
	struct chain chain = {.lookup = {&kv->segments, record->key, record->key_size,
					 record->keyspace, NULL, 0},
			      .versions = &kv->versions};

	chain.youngest = (uint32_t)index_find(&kv->versions.index, hash, chain_match_head, &chain,
					      &chain.place);
	return chain;
}

/* Which chain has a version in it? Without a look at records. */
struct member {
	const struct versions *versions;
	uint32_t number;
	uint64_t address; /* if not 0, the member is the one with this address */
};

static inline bool member_match(void *arg, uint64_t number)
{
	struct member *member = arg;
	uint32_t at;

	for (at = (uint32_t)number; at; at = version_older(version_at(member->versions, at))) {
		if (member->address
			    ? version_address(version_at(member->versions, at)) == member->address
			    : at == member->number) {
			member->number = at;
			return true;
		}
	}
	return false;
}

/* Notes that a version has changed, for a checkpoint that is being saved. */
static inline void note(struct kv *kv, uint32_t number)
{
	if (__builtin_expect(kv->versions.saving != NULL, 0))
		checkpoint_note_version(kv, number);
}

static void account(struct kv *kv, uint64_t address, int64_t bytes)
{
	store_account(kv, address, bytes);
	store_add(&kv->versions.kept_bytes, (uint64_t)bytes);
}

static void move(struct kv *kv, uint32_t number, uint64_t to, uint64_t length)
{
	struct version *version = version_at(&kv->versions, number);

	account(kv, to, (int64_t)length);
	account(kv, version_address(version), -(int64_t)version_length(version));
	atomic_store_explicit(&version->length, (uint32_t)length, memory_order_relaxed);
	atomic_store_explicit(&version->address, to, memory_order_release);
	note(kv, number);
}

/* ---- keeping --------------------------------------------------------------------------------- */

static int enter(struct kv *kv, struct chain *chain, uint32_t younger, uint32_t number)
{
	struct versions *versions = &kv->versions;

	if (younger) {
		atomic_store_explicit(&version_at(versions, younger)->older, number,
				      memory_order_release);
		note(kv, younger);
		return 0;
	}
	if (chain->youngest) {
		index_replace(&chain->place, number);
		return 0;
	}
	return index_insert(&versions->index, version_hash(version_at(versions, number)), number);
}

/*
 * Readers look at it too, so what is true already is not stored again: only replay finds anything
 * to change.
 */
static void end_by(struct kv *kv, uint32_t number, uint64_t end)
{
	struct version *version = version_at(&kv->versions, number);

	if (version_end(version) <= end)
		return;
	atomic_store_explicit(&version->end, end, memory_order_relaxed);
	version_ends_widen(version_ends_at(&kv->versions, number), end);
	note(kv, number);
}

static void fill(struct version *version, const struct format_record *record, uint64_t address,
		 uint64_t hash, uint64_t end, uint32_t older)
{
	atomic_store_explicit(&version->address, address, memory_order_relaxed);
	atomic_store_explicit(&version->begin, (uint64_t)record->seq, memory_order_relaxed);
	atomic_store_explicit(&version->end, end, memory_order_relaxed);
	atomic_store_explicit(&version->hash, hash, memory_order_relaxed);
	atomic_store_explicit(&version->length, (uint32_t)format_record_length(record),
			      memory_order_relaxed);
	atomic_store_explicit(&version->older, older, memory_order_relaxed);
}

int version_keep(struct kv *kv, const struct format_record *record, uint64_t address, uint64_t hash,
		 uint64_t end)
{
	struct versions *versions = &kv->versions;
	uint32_t younger = 0, older, number;
	struct version *version;
	struct chain chain;
	/* Already done, but for what is replayed. */
	int error = reserve_versions(versions, 1);

	if (error)
		return error;
	chain = find_chain(kv, record, hash);
	for (older = chain.youngest; older; older = version_older(version)) {
		version = version_at(versions, older);
		if (version_begin(version) <= record->seq)
			break;
		younger = older;
	}
	if (older && version_begin(version) == record->seq) {
		move(kv, older, address, format_record_length(record));
		end_by(kv, older, end);
		return 0;
	}
	/* The log may be replayed in an order in which neither neighbour knew of this one. */
	if (younger && version_begin(version_at(versions, younger)) < end)
		end = version_begin(version_at(versions, younger));
	if (older)
		end_by(kv, older, record->seq);
	number = take_number(versions);
	fill(version_at(versions, number), record, address, hash, end, older);
	version_ends_widen(version_ends_at(versions, number), end);
	note(kv, number);
	account(kv, address, (int64_t)format_record_length(record));
	store_add(&versions->count, 1);
	if (end > atomic_load_explicit(&versions->newest_end, memory_order_relaxed))
		atomic_store(&versions->newest_end, end);
	return enter(kv, &chain, younger, number);
}

int version_ghost_put(struct kv *kv, unsigned keyspace, const void *key, size_t key_size)
{
	/* Already done, but for what is replayed or loaded. */
	int error = reserve_ghosts(kv, keyspace, 1, key_size);

	if (error)
		return error;
	if (__builtin_expect(kv->order_changes != NULL, 0))
		checkpoint_note_ghost(kv, keyspace, key, key_size, GHOST_ADDRESS);
	kv->versions.any_ghost = true;
	return order_put(atomic_load(&kv->versions.ghosts[keyspace]), key, key_size, GHOST_ADDRESS);
}

void version_ghost_delete(struct kv *kv, unsigned keyspace, const void *key, size_t key_size)
{
	struct order *ghosts = atomic_load(&kv->versions.ghosts[keyspace]);

	if (!ghosts)
		return;
	if (__builtin_expect(kv->order_changes != NULL, 0))
		checkpoint_note_ghost(kv, keyspace, key, key_size, 0);
	(void)order_delete(ghosts, key, key_size);
}

int version_haunt(struct kv *kv, const struct format_record *record, uint64_t hash)
{
	int error;

	/* Pieces of large values are found by their keys alone. */
	if (record->keyspace >= KV_KEYSPACES_MAX || !kv->order_of[record->keyspace] ||
	    !find_chain(kv, record, hash).youngest)
		return 0;
	error = version_ghost_put(kv, record->keyspace, record->key, record->key_size);
	/* Counted before the key goes: whoever misses the key looks here again. */
	atomic_fetch_add(&kv->versions.ghosts_added, 1);
	return error;
}

/* ---- dropping -------------------------------------------------------------------------------- */

/* Drops the ghost of a key that has lost its last version. */
static void drop_ghost(struct kv *kv, const struct version *version)
{
	const struct format_record *record;

	if (!kv->versions.any_ghost)
		return;
	record = segments_head(&kv->segments, version_address(version));
	/* A version whose record is damaged stays in the table, and is no key's. */
	if (record && record->key_size)
		version_ghost_delete(kv, record->keyspace, record->key, record->key_size);
}

void version_drop(struct kv *kv, uint32_t number)
{
	struct versions *versions = &kv->versions;
	struct version *version = version_at(versions, number);
	struct member member = {versions, number, 0};
	uint32_t older = version_older(version), at;
	struct index_place place;

	at = (uint32_t)index_find(&versions->index, version_hash(version), member_match, &member,
				  &place);
	/*
	 * If what was loaded was not true, the version cannot be found. It stays, because something
	 * may lead to it.
	 */
	if (!at)
		return;
	if (at == number && older) {
		index_replace(&place, older);
	} else if (at == number) {
		index_remove(&versions->index, &place);
		drop_ghost(kv, version);
	} else {
		while (version_older(version_at(versions, at)) != number)
			at = version_older(version_at(versions, at));
		atomic_store_explicit(&version_at(versions, at)->older, older,
				      memory_order_release);
		note(kv, at);
	}
	account(kv, version_address(version), -(int64_t)version_length(version));
	store_add(&versions->count, (uint64_t)-1);
	atomic_store_explicit(&version->length, 0, memory_order_relaxed);
	/* A reader who stands on it finds his way on until the epoch is over. */
	atomic_store_explicit(&version->hash, versions->retired, memory_order_relaxed);
	versions->retired = number;
	note(kv, number);
}

void version_cut(struct kv *kv, const struct format_record *tombstone, uint64_t hash)
{
	struct chain chain = find_chain(kv, tombstone, hash);
	uint64_t end = format_tombstone_since(tombstone);
	uint32_t at, older;

	for (at = chain.youngest; at; at = older) {
		struct version *version = version_at(&kv->versions, at);

		older = version_older(version);
		if (version_begin(version) >= tombstone->seq || version_end(version) <= end)
			continue;
		end_by(kv, at, end);
		if (!views_any_in(&kv->views, version_begin(version), version_end(version)))
			version_drop(kv, at);
	}
}

bool version_move(struct kv *kv, uint64_t hash, uint64_t from, uint64_t to, uint64_t to_length)
{
	struct member member = {&kv->versions, 0, from};
	struct index_place place;

	if (!index_find(&kv->versions.index, hash, member_match, &member, &place))
		return false;
	move(kv, member.number, to, to_length);
	return true;
}

/* ---- readers --------------------------------------------------------------------------------- */

int version_unreadable(struct kv *kv, uint64_t address)
{
	store_add(&kv->damaged, 1);
	store_report(
		kv, KV_ERROR, "segment %u, offset %u: a record that a snapshot needs is damaged",
		segments_slot(&kv->segments, address), segments_offset(&kv->segments, address));
	return -EIO;
}

int version_find(struct kv *kv, uint64_t seq, unsigned keyspace, const void *key, size_t key_size,
		 uint64_t hash, const struct format_record **out, uint64_t *address)
{
	struct versions *versions = &kv->versions;
	struct chain chain = {.lookup = {&kv->segments, key, key_size, keyspace, NULL, 0},
			      .versions = versions};
	const struct version *version;
	uint64_t number = index_lookup(&versions->index, hash, chain_match, &chain);

	if (!number && chain.lookup.damaged)
		return version_unreadable(kv, chain.lookup.damaged);
	for (; number; number = version_older(version)) {
		version = version_at(versions, number);
		if (version_begin(version) <= seq)
			break;
	}
	if (!number || version_end(version) <= seq)
		return -ENOENT;
	*address = version_address(version);
	/* If what was loaded was not true, this may be another record: then this view sees none. */
	if (!lookup_match(&chain.lookup, *address) ||
	    chain.lookup.record->seq != version_begin(version))
		return version_unreadable(kv, *address);
	*out = chain.lookup.record;
	return 0;
}

uint64_t version_seen(struct kv *kv, uint64_t number, uint64_t seq)
{
	const struct version *version;

	for (; number; number = version_older(version)) {
		version = version_at(&kv->versions, number);
		if (version_begin(version) <= seq)
			return version_end(version) > seq ? version_address(version) : 0;
	}
	return 0;
}

/* The youngest version of what is probably the key. */
struct peek {
	const struct versions *versions;
	uint64_t number;
};

static void peek_version(void *arg, uint64_t number)
{
	struct peek *peek = arg;

	peek->number = number;
	__builtin_prefetch(version_at(peek->versions, number));
}

void version_fetch(struct kv *kv, uint64_t seq, const uint64_t *hashes, uint64_t *addresses,
		   size_t count)
{
	struct versions *versions = &kv->versions;
	struct peek peeks[VERSION_FETCH_MAX];
	size_t i;

	assert(count <= VERSION_FETCH_MAX);
	for (i = 0; i < count; i++)
		index_prefetch(&versions->index, hashes[i]);
	for (i = 0; i < count; i++) {
		peeks[i] = (struct peek){versions, 0};
		index_peek(&versions->index, hashes[i], peek_version, &peeks[i]);
	}
	for (i = 0; i < count; i++) {
		uint64_t number = peeks[i].number;

		while (number && version_begin(version_at(versions, number)) > seq)
			number = version_older(version_at(versions, number));
		if (!number)
			continue;
		addresses[i] = version_address(version_at(versions, number));
		read_prefetch(&kv->segments, addresses[i]);
	}
}

bool version_holds(struct kv *kv, uint64_t address, uint64_t hash, uint64_t *end)
{
	struct versions *versions = &kv->versions;
	struct member member = {versions, 0, address};

	/* Whoever saw that the address is not the newest any more also sees this count. */
	if (!atomic_load_explicit(&versions->count, memory_order_relaxed) ||
	    !index_lookup(&versions->index, hash, member_match, &member))
		return false;
	*end = version_end(version_at(versions, member.number));
	return true;
}

/* ---- statistics ------------------------------------------------------------------------------ */

uint64_t versions_memory(const struct versions *versions)
{
	uint64_t bytes = atomic_load(&versions->index.memory) +
			 (uint64_t)(versions->used - 1) * sizeof(struct version);
	unsigned i;

	for (i = 0; i < FORMAT_KEYSPACES; i++) {
		struct order *ghosts = atomic_load(&versions->ghosts[i]);

		bytes += ghosts ? order_memory(ghosts) : 0;
	}
	return bytes;
}

