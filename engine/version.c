/* SPDX-License-Identifier: MIT */
/*
 * version.c - see version.h. Versions are numbered from 1 and never move, so that chains and the hash index name them by
 * number; a number is given out again a grace period after its version was dropped.
 */
#include "version.h"

#include <errno.h>
#include <stdlib.h>

#include "epoch.h"
#include "lookup.h"
#include "maintain.h"
#include "read.h"
#include "view.h"

#define STEP_VERSIONS 64u /* looked at without letting go of the lock: some 10 us */
#define STEPS 16u	  /* in a row */
#define PAUSE_US 100u	  /* until the next ones */
#define GHOST_ADDRESS 1u   /* a ghost's record is found by its hash */

/* All but `address` and `older` is as it was when readers could first see it. */
struct version {
	_Atomic uint64_t address;
	uint64_t begin, end; /* batches; end only changes while the log is replayed */
	uint64_t hash;		/* of the key; the next number of a list, once dropped. The writer's */
	_Atomic uint32_t older; /* the next one of the key; 0: none */
	uint32_t length;	/* bytes in the log; 0: dropped. The writer's */
};

static struct version *version_at(const struct versions *versions, uint64_t number)
{
	return atomic_load_explicit(&versions->chunks[number / VERSION_CHUNK],
				    memory_order_acquire) +
	       number % VERSION_CHUNK;
}

static uint32_t older_than(const struct version *version)
{
	return atomic_load_explicit(&version->older, memory_order_acquire);
}

static uint64_t address_of(const struct version *version)
{
	return atomic_load_explicit(&version->address, memory_order_acquire);
}

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

static int reserve_versions(struct versions *versions, uint64_t count)
{
	int error = index_reserve(&versions->index, count);

	while (!error && (uint64_t)versions->free_count + versions->room < versions->used + count) {
		uint32_t chunk = versions->room / VERSION_CHUNK;
		struct version *memory =
			chunk < VERSION_CHUNKS ? calloc(VERSION_CHUNK, sizeof(*memory)) : NULL;

		if (!memory)
			return -ENOMEM;
		atomic_store_explicit(&versions->chunks[chunk], memory, memory_order_release);
		versions->room += VERSION_CHUNK;
	}
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
	versions->free = (uint32_t)version_at(versions, number)->hash;
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

	return lookup_match(&chain->lookup, address_of(version_at(chain->versions, number)));
}

static inline bool chain_match_head(void *arg, uint64_t number)
{
	struct chain *chain = arg;

	return lookup_match_head(&chain->lookup, address_of(version_at(chain->versions, number)));
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

	for (at = (uint32_t)number; at; at = older_than(version_at(member->versions, at))) {
		if (member->address ? address_of(version_at(member->versions, at)) == member->address :
				      at == member->number) {
			member->number = at;
			return true;
		}
	}
	return false;
}

static void account(struct kv *kv, uint64_t address, int64_t bytes)
{
	store_account(kv, address, bytes);
	store_add(&kv->versions.kept_bytes, (uint64_t)bytes);
}

static void move(struct kv *kv, struct version *version, uint64_t to, uint64_t length)
{
	account(kv, to, (int64_t)length);
	account(kv, address_of(version), -(int64_t)version->length);
	version->length = (uint32_t)length;
	atomic_store_explicit(&version->address, to, memory_order_release);
}

/* ---- keeping --------------------------------------------------------------------------------- */

static int enter(struct kv *kv, struct chain *chain, uint32_t younger, uint32_t number)
{
	struct versions *versions = &kv->versions;

	if (younger) {
		atomic_store_explicit(&version_at(versions, younger)->older, number,
				      memory_order_release);
		return 0;
	}
	if (chain->youngest) {
		index_replace(&chain->place, number);
		return 0;
	}
	return index_insert(&versions->index, version_at(versions, number)->hash, number);
}

/* Readers look at it too, so what is true already is not stored again: only replay finds anything to change. */
static void end_by(struct version *version, uint64_t end)
{
	if (version->end > end)
		version->end = end;
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
	for (older = chain.youngest; older; older = older_than(version)) {
		version = version_at(versions, older);
		if (version->begin <= record->seq)
			break;
		younger = older;
	}
	if (older && version->begin == record->seq) {
		move(kv, version, address, format_record_length(record));
		end_by(version, end);
		return 0;
	}
	/* The log may be replayed in an order in which neither neighbour knew of this one. */
	if (younger && version_at(versions, younger)->begin < end)
		end = version_at(versions, younger)->begin;
	if (older)
		end_by(version, record->seq);
	number = take_number(versions);
	version = version_at(versions, number);
	atomic_store_explicit(&version->address, address, memory_order_relaxed);
	version->begin = record->seq;
	version->end = end;
	version->hash = hash;
	version->length = (uint32_t)format_record_length(record);
	atomic_store_explicit(&version->older, older, memory_order_relaxed);
	account(kv, address, version->length);
	store_add(&versions->count, 1);
	if (end > atomic_load_explicit(&versions->newest_end, memory_order_relaxed))
		atomic_store(&versions->newest_end, end);
	return enter(kv, &chain, younger, number);
}

int version_haunt(struct kv *kv, const struct format_record *record, uint64_t hash)
{
	struct order *ghosts;
	int error;

	/* Pieces of large values are found by their keys alone. */
	if (record->keyspace >= KV_KEYSPACES_MAX || !kv->order_of[record->keyspace] ||
	    !find_chain(kv, record, hash).youngest)
		return 0;
	/* Already done, but for what is replayed. */
	error = reserve_ghosts(kv, record->keyspace, 1, record->key_size);
	if (error)
		return error;
	ghosts = atomic_load(&kv->versions.ghosts[record->keyspace]);
	error = order_put(ghosts, record->key, record->key_size, GHOST_ADDRESS);
	kv->versions.any_ghost = true;
	/* Before the key goes: whoever misses it looks here again. */
	atomic_fetch_add(&kv->versions.ghosts_added, 1);
	return error;
}

/* ---- dropping -------------------------------------------------------------------------------- */

/* Of the last version of a key. */
static void drop_ghost(struct kv *kv, const struct version *version)
{
	const struct format_record *record;
	struct order *ghosts;

	if (!kv->versions.any_ghost)
		return;
	record = segments_head(&kv->segments, address_of(version));
	ghosts = record ? atomic_load(&kv->versions.ghosts[record->keyspace]) : NULL;
	/* One that stays because its record is damaged is nobody's. */
	if (ghosts && record->key_size)
		(void)order_delete(ghosts, record->key, record->key_size);
}

static void drop(struct kv *kv, uint32_t number)
{
	struct versions *versions = &kv->versions;
	struct version *version = version_at(versions, number), *younger;
	struct member member = {versions, number, 0};
	uint32_t older = older_than(version), at;
	struct index_place place;

	at = (uint32_t)index_find(&versions->index, version->hash, member_match, &member, &place);
	if (at == number && older) {
		index_replace(&place, older);
	} else if (at == number) {
		index_remove(&versions->index, &place);
		drop_ghost(kv, version);
	} else if (at) {
		do {
			younger = version_at(versions, at);
			at = older_than(younger);
		} while (at != number);
		atomic_store_explicit(&younger->older, older, memory_order_release);
	}
	account(kv, address_of(version), -(int64_t)version->length);
	store_add(&versions->count, (uint64_t)-1);
	version->length = 0;
	/* A reader who stands on it finds his way on until the epoch is over. */
	version->hash = versions->retired;
	versions->retired = number;
}

void version_cut(struct kv *kv, const struct format_record *tombstone, uint64_t hash)
{
	struct chain chain = find_chain(kv, tombstone, hash);
	uint64_t end = format_tombstone_since(tombstone);
	uint32_t at, older;

	for (at = chain.youngest; at; at = older) {
		struct version *version = version_at(&kv->versions, at);

		older = older_than(version);
		if (version->begin >= tombstone->seq || version->end <= end)
			continue;
		version->end = end;
		if (!views_any_in(&kv->views, version->begin, version->end))
			drop(kv, at);
	}
}

bool version_move(struct kv *kv, uint64_t hash, uint64_t from, uint64_t to, uint64_t to_length)
{
	struct member member = {&kv->versions, 0, from};
	struct index_place place;

	if (!index_find(&kv->versions.index, hash, member_match, &member, &place))
		return false;
	move(kv, version_at(&kv->versions, member.number), to, to_length);
	return true;
}

/* ---- readers --------------------------------------------------------------------------------- */

static int cannot_read(struct kv *kv, uint64_t address)
{
	store_add(&kv->damaged, 1);
	store_report(kv, KV_ERROR, "segment %u, offset %u: a record that a snapshot needs is damaged",
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
		return cannot_read(kv, chain.lookup.damaged);
	for (; number; number = older_than(version)) {
		version = version_at(versions, number);
		if (version->begin <= seq)
			break;
	}
	if (!number || version->end <= seq)
		return -ENOENT;
	*address = address_of(version);
	/* It may be another record of the key, if what was loaded was not true: then it is none that this view sees. */
	if (!lookup_match(&chain.lookup, *address) || chain.lookup.record->seq != version->begin)
		return cannot_read(kv, *address);
	*out = chain.lookup.record;
	return 0;
}

uint64_t version_seen(struct kv *kv, uint64_t number, uint64_t seq)
{
	const struct version *version;

	for (; number; number = older_than(version)) {
		version = version_at(&kv->versions, number);
		if (version->begin <= seq)
			return version->end > seq ? address_of(version) : 0;
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

		while (number && version_at(versions, number)->begin > seq)
			number = older_than(version_at(versions, number));
		if (!number)
			continue;
		addresses[i] = address_of(version_at(versions, number));
		read_prefetch(&kv->segments, addresses[i]);
	}
}

bool version_holds(struct kv *kv, uint64_t address, uint64_t hash, uint64_t *end)
{
	struct versions *versions = &kv->versions;
	struct member member = {versions, 0, address};

	if (!index_lookup(&versions->index, hash, member_match, &member))
		return false;
	*end = version_at(versions, member.number)->end;
	return true;
}

/* ---- sweeping -------------------------------------------------------------------------------- */

void version_wake(struct kv *kv, uint64_t seq)
{
	if (!atomic_load(&kv->versions.count) || atomic_load(&kv->versions.newest_end) <= seq ||
	    kv->info.read_only)
		return;
	atomic_store(&kv->versions.sweep_wanted, true);
	if (kv->inline_maintenance)
		version_sweep_all(kv);
	else
		maintain_kick(kv);
}

/* While there is none, nobody looks at records for their sake. */
static void note_ghosts(struct versions *versions)
{
	unsigned i;

	for (i = 0, versions->any_ghost = false; i < FORMAT_KEYSPACES; i++) {
		struct order *ghosts = atomic_load(&versions->ghosts[i]);

		versions->any_ghost |= ghosts && order_count(ghosts);
	}
}

static void sweep_some(struct kv *kv)
{
	struct versions *versions = &kv->versions;
	uint32_t stop;

	if (!versions->sweep_next) {
		atomic_store(&versions->sweep_wanted, false);
		versions->sweep_next = 1;
	}
	stop = versions->used - versions->sweep_next > STEP_VERSIONS ?
		       versions->sweep_next + STEP_VERSIONS :
		       versions->used;
	for (; versions->sweep_next < stop; versions->sweep_next++) {
		const struct version *version = version_at(versions, versions->sweep_next);

		if (version->length && !views_any_in(&kv->views, version->begin, version->end))
			drop(kv, versions->sweep_next);
	}
	if (versions->sweep_next < versions->used)
		return;
	versions->sweep_next = 0;
	note_ghosts(versions);
}

struct ahead {
	uint64_t hashes[STEP_VERSIONS], addresses[STEP_VERSIONS];
	unsigned count;
};

/* What the next step will look at, if it has to look at records at all. */
static void gather_ahead(struct kv *kv, struct ahead *ahead)
{
	struct versions *versions = &kv->versions;
	uint32_t number = versions->sweep_next ? versions->sweep_next : 1;

	ahead->count = 0;
	for (; versions->any_ghost && number < versions->used && ahead->count < STEP_VERSIONS; number++) {
		const struct version *version = version_at(versions, number);

		if (!version->length)
			continue;
		ahead->hashes[ahead->count] = version->hash;
		ahead->addresses[ahead->count++] = address_of(version);
	}
}

/* It comes into the cache, or from the disk, while nobody waits for the lock. */
static void touch_ahead(struct kv *kv)
{
	struct ahead ahead;
	unsigned i;

	epoch_enter();
	pthread_mutex_lock(&kv->log.lock);
	gather_ahead(kv, &ahead);
	pthread_mutex_unlock(&kv->log.lock);
	for (i = 0; i < ahead.count; i++)
		index_prefetch(&kv->versions.index, ahead.hashes[i]);
	for (i = 0; i < ahead.count; i++)
		lookup_prefetch(&kv->segments, ahead.addresses[i]);
	epoch_leave();
}

static bool step(struct kv *kv)
{
	struct versions *versions = &kv->versions;
	bool more;

	pthread_mutex_lock(&kv->log.lock);
	more = versions->sweep_next || atomic_load(&versions->sweep_wanted);
	if (more)
		sweep_some(kv);
	more = versions->sweep_next || atomic_load(&versions->sweep_wanted);
	pthread_mutex_unlock(&kv->log.lock);
	return more;
}

bool version_step(struct kv *kv)
{
	unsigned steps = 0;
	bool more;

	do {
		if (atomic_load_explicit(&kv->versions.count, memory_order_relaxed))
			touch_ahead(kv);
		more = step(kv);
	} while (more && ++steps < STEPS);
	return more;
}

void version_sweep_all(struct kv *kv)
{
	while (version_step(kv))
		;
}

uint64_t version_pause_us(struct kv *kv)
{
	bool more;

	pthread_mutex_lock(&kv->log.lock);
	more = kv->versions.sweep_next || atomic_load(&kv->versions.sweep_wanted);
	pthread_mutex_unlock(&kv->log.lock);
	return more ? PAUSE_US : UINT64_MAX;
}

void version_free_retired(struct kv *kv)
{
	struct versions *versions = &kv->versions;
	struct index_table *tables = index_take_retired(&versions->index);
	uint32_t retired, next;

	pthread_mutex_lock(&kv->log.lock);
	retired = versions->retired;
	versions->retired = 0;
	pthread_mutex_unlock(&kv->log.lock);
	if (!retired && !tables)
		return;
	epoch_wait();
	index_free_retired(&versions->index, tables);
	while (retired) {
		unsigned some;

		pthread_mutex_lock(&kv->log.lock);
		for (some = 0; retired && some < STEP_VERSIONS; some++, retired = next) {
			struct version *version = version_at(versions, retired);

			next = (uint32_t)version->hash;
			version->hash = versions->free;
			versions->free = retired;
			versions->free_count++;
		}
		pthread_mutex_unlock(&kv->log.lock);
	}
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

