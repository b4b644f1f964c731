/* SPDX-License-Identifier: MIT */
/*
 * version_sweep.c - see version.h: versions that no view needs any more are looked for and dropped,
 * and their numbers given out again a grace period later.
 */
#include <stdlib.h>

#include "epoch.h"
#include "lookup.h"
#include "maintain.h"
#include "version.h"
#include "version_table.h"
#include "view.h"

#define STEP_VERSIONS VERSION_BLOCK /* looked at without letting go of the lock: some 10 us */
#define SKIP_BLOCKS 256u  /* passed over, likewise */
#define STEPS 16u	  /* in a row */
#define PAUSE_US 100u	  /* until the next ones */

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

/* Versions that end behind `from`, and at `to` at the latest, may not be needed any more. */
static void want(struct versions *versions, uint64_t from, uint64_t to)
{
	if (!versions->wanted_to || from < versions->wanted_from)
		versions->wanted_from = from;
	if (to > versions->wanted_to)
		versions->wanted_to = to;
}

/*
 * A version that this view alone saw ends behind it, and not behind the next view.
 */
void version_let_go(struct kv *kv, uint64_t seq)
{
	if (atomic_load_explicit(&kv->versions.newest_end, memory_order_relaxed) > seq)
		want(&kv->versions, seq, views_next(&kv->views, seq));
}

void version_sweep_whole(struct kv *kv)
{
	want(&kv->versions, 0, UINT64_MAX);
	atomic_store(&kv->versions.sweep_wanted, true);
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

static bool is_garbage(const struct kv *kv, const struct version *version)
{
	return version_length(version) &&
	       !views_any_in(&kv->views, version_begin(version), version_end(version));
}

/* Are there versions in the block with this number that the sweep is about? */
static bool is_concerned(const struct versions *versions, uint32_t number)
{
	return version_block_ends_in(versions, number, versions->sweep_from, versions->sweep_to);
}

static void begin_sweep(struct versions *versions)
{
	atomic_store(&versions->sweep_wanted, false);
	versions->sweep_from = versions->wanted_from;
	versions->sweep_to = versions->wanted_to;
	versions->wanted_from = versions->wanted_to = 0;
	versions->sweep_next = 1;
}

static void skip_blocks(struct versions *versions)
{
	unsigned skipped;

	for (skipped = 0; skipped < SKIP_BLOCKS && versions->sweep_next < versions->used &&
			  !is_concerned(versions, versions->sweep_next);
	     skipped++)
		versions->sweep_next = version_block_end(versions, versions->sweep_next);
}

static void sweep_block(struct kv *kv)
{
	struct versions *versions = &kv->versions;
	uint32_t number = versions->sweep_next, stop = version_block_end(versions, number);
	struct version_ends left = {0, 0};

	for (; number < stop; number++) {
		const struct version *version = version_at(versions, number);

		if (is_garbage(kv, version))
			version_drop(kv, number);
		if (version_length(version))
			version_ends_widen(&left, version_end(version));
	}
	*version_ends_at(versions, versions->sweep_next) = left;
	versions->swept += stop - versions->sweep_next;
	versions->sweep_next = stop;
}

static void sweep_some(struct kv *kv)
{
	struct versions *versions = &kv->versions;

	if (!versions->sweep_next)
		begin_sweep(versions);
	else if (is_concerned(versions, versions->sweep_next))
		sweep_block(kv);
	else
		skip_blocks(versions);
	if (versions->sweep_next < versions->used)
		return;
	versions->sweep_next = 0;
	note_ghosts(versions);
}

struct ahead {
	uint64_t hashes[STEP_VERSIONS], addresses[STEP_VERSIONS];
	unsigned count;
};

/* Gathers what the next step will drop, if it has to look at records for that. */
static void gather_ahead(struct kv *kv, struct ahead *ahead)
{
	struct versions *versions = &kv->versions;
	uint32_t number = versions->sweep_next, stop;

	ahead->count = 0;
	if (!number || !versions->any_ghost || !is_concerned(versions, number))
		return;
	for (stop = version_block_end(versions, number); number < stop; number++) {
		const struct version *version = version_at(versions, number);

		if (!is_garbage(kv, version))
			continue;
		ahead->hashes[ahead->count] = version_hash(version);
		ahead->addresses[ahead->count++] = version_address(version);
	}
}

/*
 * Touches those records, so that they come into the cache, or from the disk, while nobody waits for
 * the lock.
 */
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

			next = (uint32_t)version_hash(version);
			atomic_store_explicit(&version->hash, versions->free,
					      memory_order_relaxed);
			versions->free = retired;
			versions->free_count++;
		}
		pthread_mutex_unlock(&kv->log.lock);
	}
}
