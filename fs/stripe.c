/* SPDX-License-Identifier: MIT */
/*
 * stripe.c - locks for inodes. Writers are preferred, so that readers of a busy file cannot starve
 * them; no thread takes a stripe that it already holds.
 */
#include "stripe.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static unsigned stripe_number(uint64_t ino)
{
	/* Fibonacci hashing: neighbours in number are far apart, and none shares a stripe. */
	return (unsigned)((ino * UINT64_C(0x9e3779b97f4a7c15)) >> 54);
}
_Static_assert(STRIPE_COUNT == 1u << (64 - 54), "the top bits of the product");

int stripe_table_new(struct stripe_table **out)
{
	struct stripe_table *table = aligned_alloc(64, sizeof(*table));
	pthread_rwlockattr_t attr;

	if (!table)
		return -ENOMEM;
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	for (unsigned i = 0; i < STRIPE_COUNT; i++)
		pthread_rwlock_init(&table->stripes[i].lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	atomic_init(&table->paused, false);
	pthread_mutex_init(&table->pause_lock, NULL);
	*out = table;
	return 0;
}

void stripe_table_free(struct stripe_table *table)
{
	if (!table)
		return;
	for (unsigned i = 0; i < STRIPE_COUNT; i++)
		pthread_rwlock_destroy(&table->stripes[i].lock);
	pthread_mutex_destroy(&table->pause_lock);
	free(table);
}

/* Inserts in order, unless it is there. */
static void set_add(struct stripe_set *set, unsigned number)
{
	unsigned place = set->count;

	while (place && set->numbers[place - 1] >= number)
		place--;
	if (place < set->count && set->numbers[place] == number)
		return;
	for (unsigned i = set->count; i > place; i--)
		set->numbers[i] = set->numbers[i - 1];
	set->numbers[place] = (uint16_t)number;
	set->count++;
}

static bool set_has(const struct stripe_set *set, unsigned number)
{
	for (unsigned i = 0; i < set->count; i++)
		if (set->numbers[i] == number)
			return true;
	return false;
}

static void set_lock(struct stripe_table *table, const struct stripe_set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		pthread_rwlock_wrlock(&table->stripes[set->numbers[i]].lock);
}

static void set_unlock(struct stripe_table *table, const struct stripe_set *set)
{
	for (unsigned i = set->count; i; i--)
		pthread_rwlock_unlock(&table->stripes[set->numbers[i - 1]].lock);
}

/* To be asked once a stripe is held: stripe_pause has either waited for it, or is seen here. */
static bool is_paused(struct stripe_table *table)
{
	return atomic_load_explicit(&table->paused, memory_order_relaxed);
}

void stripe_lock(
	struct stripe_table *table, const uint64_t *inos, unsigned count, struct stripe_set *out)
{
	assert(count <= STRIPE_SET_MAX);
	out->count = 0;
	for (unsigned i = 0; i < count; i++)
		set_add(out, stripe_number(inos[i]));
	set_lock(table, out);
	while (is_paused(table)) {
		set_unlock(table, out);
		/* Until the pause is over. */
		pthread_mutex_lock(&table->pause_lock);
		pthread_mutex_unlock(&table->pause_lock);
		set_lock(table, out);
	}
}

/*
 * A caller who does not wait may take stripes in any order. A pause needs no look here: it waits
 * for the stripes that are held before it goes on.
 */
bool stripe_extend(
	struct stripe_table *table, const uint64_t *inos, unsigned count, struct stripe_set *set)
{
	struct stripe_set more = {.count = 0};

	assert(set->count && set->count + count <= STRIPE_SET_MAX);
	for (unsigned i = 0; i < count; i++) {
		unsigned number = stripe_number(inos[i]);

		if (set_has(set, number) || set_has(&more, number))
			continue;
		if (pthread_rwlock_trywrlock(&table->stripes[number].lock)) {
			set_unlock(table, &more);
			return false;
		}
		set_add(&more, number);
	}
	for (unsigned i = 0; i < more.count; i++)
		set_add(set, more.numbers[i]);
	return true;
}

bool stripe_trylock(struct stripe_table *table, uint64_t ino, struct stripe_set *out)
{
	unsigned number = stripe_number(ino);

	if (pthread_rwlock_trywrlock(&table->stripes[number].lock))
		return false;
	if (is_paused(table)) {
		pthread_rwlock_unlock(&table->stripes[number].lock);
		return false;
	}
	out->count = 1;
	out->numbers[0] = (uint16_t)number;
	return true;
}

void stripe_unlock(struct stripe_table *table, struct stripe_set *set)
{
	set_unlock(table, set);
	set->count = 0;
}

void stripe_lock_shared(struct stripe_table *table, uint64_t ino)
{
	if (table)
		pthread_rwlock_rdlock(&table->stripes[stripe_number(ino)].lock);
}

void stripe_unlock_shared(struct stripe_table *table, uint64_t ino)
{
	if (table)
		pthread_rwlock_unlock(&table->stripes[stripe_number(ino)].lock);
}

void stripe_pause(struct stripe_table *table)
{
	pthread_mutex_lock(&table->pause_lock);
	atomic_store_explicit(&table->paused, true, memory_order_relaxed);
	/*
	 * Holders of a stripe are waited for; whoever takes one later comes after this and sees the
	 * flag.
	 */
	for (unsigned i = 0; i < STRIPE_COUNT; i++) {
		pthread_rwlock_wrlock(&table->stripes[i].lock);
		pthread_rwlock_unlock(&table->stripes[i].lock);
	}
}

void stripe_resume(struct stripe_table *table)
{
	atomic_store_explicit(&table->paused, false, memory_order_relaxed);
	pthread_mutex_unlock(&table->pause_lock);
}
