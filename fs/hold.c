/* SPDX-License-Identifier: MIT */
/*
 * hold.c - counts of held inodes: linear probing with backward-shift deletion, so that tables never
 * fill up with the marks of what is gone and shrink again when most is released.
 */
#include "hold.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 64u
#define BLOCK 4u /* numbers in a row */
#define SPARES_MAX 4u /* of a shard: as many as the kernel remembers at once of what is removed
			 one after the other */
#define ROOM_STEP 64u

struct hold_kept {
	struct hold_kept *next; /* of the shard's spares, if it is one */
	size_t size, room;      /* bytes: of the record, and that there is room for */
	uint8_t bytes[];
};

/*
 * Files that were made one after the other are mostly looked up and let go of one after the other:
 * their entries are neighbours, in blocks of some lines of memory.
 */
static uint64_t hold_hash(uint64_t ino)
{
	return ino / BLOCK * UINT64_C(0x9e3779b97f4a7c15);
}

static struct hold_shard *hold_shard(struct hold_table *table, uint64_t ino)
{
	return &table->shards[hold_hash(ino) >> 58];
}
_Static_assert(HOLD_SHARDS == 1u << (64 - 58), "the top bits of the hash");

static size_t hold_home(size_t capacity, uint64_t ino)
{
	return (size_t)((hold_hash(ino) >> 20) * BLOCK + ino % BLOCK) & (capacity - 1);
}

/* The inode's entry, or the free one where it would be. Needs a free entry. */
static struct hold_entry *hold_slot(struct hold_shard *shard, uint64_t ino)
{
	struct hold_entry *entries = shard->entries;
	size_t mask = shard->capacity - 1, at = hold_home(mask + 1, ino);

	while (entries[at].ino && entries[at].ino != ino)
		at = (at + 1) & mask;
	return &entries[at];
}

static struct hold_entry *hold_find(struct hold_shard *shard, uint64_t ino)
{
	struct hold_entry *entry;

	if (!shard->capacity)
		return NULL;
	entry = hold_slot(shard, ino);
	return entry->ino ? entry : NULL;
}

static bool hold_resize(struct hold_shard *shard, size_t capacity)
{
	struct hold_entry *entries = shard->entries;
	size_t count = shard->capacity;
	struct hold_entry *resized = calloc(capacity, sizeof(*resized));

	if (!resized)
		return false;
	shard->entries = resized;
	shard->capacity = capacity;
	for (size_t i = 0; i < count; i++)
		if (entries[i].ino)
			*hold_slot(shard, entries[i].ino) = entries[i];
	free(entries);
	return true;
}

/*
 * Memory for a record: mostly what the last one that went had. Whoever removes many files allocates
 * nothing.
 */
static struct hold_kept *kept_new(struct hold_shard *shard, size_t size)
{
	struct hold_kept *kept = shard->spares;
	size_t room = (size + ROOM_STEP - 1) & ~(size_t)(ROOM_STEP - 1);

	if (kept) {
		shard->spares = kept->next;
		shard->spare_count--;
		if (kept->room >= size)
			return kept;
		free(kept);
	}
	kept = malloc(sizeof(*kept) + room);
	if (kept)
		kept->room = room;
	return kept;
}

static void kept_free(struct hold_table *table, struct hold_shard *shard, struct hold_entry *entry)
{
	struct hold_kept *kept = entry->kept;

	if (!kept)
		return;
	entry->kept = NULL;
	atomic_fetch_sub_explicit(&table->kept_bytes, kept->room, memory_order_relaxed);
	if (shard->spare_count == SPARES_MAX) {
		free(kept);
		return;
	}
	kept->next = shard->spares;
	shard->spares = kept;
	shard->spare_count++;
}

/* Closes the gap: what was pushed past it by a collision moves back. */
static void hold_erase(struct hold_shard *shard, struct hold_entry *entry)
{
	size_t mask = shard->capacity - 1;
	size_t gap = (size_t)(entry - shard->entries);

	for (size_t at = (gap + 1) & mask; shard->entries[at].ino; at = (at + 1) & mask) {
		size_t home = hold_home(mask + 1, shard->entries[at].ino);

		if (((at - home) & mask) >= ((at - gap) & mask)) {
			shard->entries[gap] = shard->entries[at];
			gap = at;
		}
	}
	shard->entries[gap] = (struct hold_entry){0};
	shard->used--;
	if (shard->capacity > CAPACITY_MIN && shard->used * 8 < shard->capacity)
		(void)hold_resize(shard, shard->capacity / 2);
}

void hold_table_init(struct hold_table *table)
{
	*table = (struct hold_table){0};
	atomic_init(&table->kept_bytes, 0);
	for (unsigned i = 0; i < HOLD_SHARDS; i++)
		pthread_mutex_init(&table->shards[i].lock, NULL);
}

void hold_table_fini(struct hold_table *table)
{
	for (unsigned i = 0; i < HOLD_SHARDS; i++) {
		struct hold_shard *shard = &table->shards[i];

		for (size_t at = 0; at < shard->capacity; at++)
			free(shard->entries[at].kept);
		while (shard->spares) {
			struct hold_kept *spare = shard->spares;

			shard->spares = spare->next;
			free(spare);
		}
		free(shard->entries);
		pthread_mutex_destroy(&shard->lock);
	}
}

void hold_prefetch(struct hold_table *table, uint64_t ino)
{
	struct hold_shard *shard = hold_shard(table, ino);
	struct hold_entry *entries = atomic_load_explicit(&shard->entries, memory_order_relaxed);
	size_t capacity = atomic_load_explicit(&shard->capacity, memory_order_relaxed);

	/* The two may be of different moments: no more than the address is computed. */
	__builtin_prefetch((const void *)((uintptr_t)entries +
					  hold_home(capacity, ino) * sizeof(*entries)));
}

void hold_add(struct hold_table *table, uint64_t ino, uint64_t count)
{
	struct hold_shard *shard = hold_shard(table, ino);
	struct hold_entry *entry;

	if (!count)
		return;
	pthread_mutex_lock(&shard->lock);
	if ((shard->used + 1) * 4 > shard->capacity * 3 &&
		!hold_resize(shard, shard->capacity ? shard->capacity * 2 : CAPACITY_MIN) &&
		shard->used + 1 >= shard->capacity) {
		/* Freeing something too early would be worse than too late. */
		shard->lost = true;
	} else {
		entry = hold_slot(shard, ino);
		if (!entry->ino) {
			*entry = (struct hold_entry){.ino = ino};
			shard->used++;
		}
		entry->count += count;
	}
	pthread_mutex_unlock(&shard->lock);
}

bool hold_remove(struct hold_table *table, uint64_t ino, uint64_t count)
{
	struct hold_shard *shard = hold_shard(table, ino);
	struct hold_entry *entry;
	bool freeable = false;

	pthread_mutex_lock(&shard->lock);
	entry = hold_find(shard, ino);
	if (entry && entry->count > count) {
		entry->count -= count;
	} else if (entry) {
		freeable = entry->orphan && !entry->kept && !shard->lost;
		kept_free(table, shard, entry);
		hold_erase(shard, entry);
	}
	pthread_mutex_unlock(&shard->lock);
	return freeable;
}

bool hold_is_held(struct hold_table *table, uint64_t ino)
{
	struct hold_shard *shard = hold_shard(table, ino);
	bool held;

	pthread_mutex_lock(&shard->lock);
	held = shard->lost || hold_find(shard, ino);
	pthread_mutex_unlock(&shard->lock);
	return held;
}

bool hold_mark(struct hold_table *table, uint64_t ino, bool orphan)
{
	struct hold_shard *shard = hold_shard(table, ino);
	struct hold_entry *entry;
	bool held;

	pthread_mutex_lock(&shard->lock);
	entry = hold_find(shard, ino);
	if (entry)
		entry->orphan = orphan;
	held = entry || shard->lost;
	pthread_mutex_unlock(&shard->lock);
	return held;
}

/* False: no memory. */
static bool keep(struct hold_table *table, struct hold_shard *shard, struct hold_entry *entry,
	const struct kv_slice *parts, unsigned count)
{
	struct hold_kept *kept;
	size_t size = 0;

	for (unsigned i = 0; i < count; i++)
		size += parts[i].size;
	kept = kept_new(shard, size);
	if (!kept)
		return false;
	kept_free(table, shard, entry);
	kept->size = 0;
	for (unsigned i = 0; i < count; i++) {
		if (parts[i].size)
			memcpy(kept->bytes + kept->size, parts[i].data, parts[i].size);
		kept->size += parts[i].size;
	}
	entry->kept = kept;
	entry->orphan = true;
	atomic_fetch_add_explicit(&table->kept_bytes, kept->room, memory_order_relaxed);
	return true;
}

bool hold_keep(
	struct hold_table *table, uint64_t ino, const struct kv_slice *parts, unsigned count)
{
	struct hold_shard *shard = hold_shard(table, ino);
	struct hold_entry *entry;
	bool is_kept;

	if (atomic_load_explicit(&table->kept_bytes, memory_order_relaxed) >= HOLD_KEPT_MAX)
		return false;
	pthread_mutex_lock(&shard->lock);
	/* Where a hold was lost there may be other holders. */
	entry = shard->lost ? NULL : hold_find(shard, ino);
	is_kept = entry && keep(table, shard, entry, parts, count);
	pthread_mutex_unlock(&shard->lock);
	return is_kept;
}

size_t hold_kept(struct hold_table *table, uint64_t ino, void *record, size_t size)
{
	struct hold_shard *shard = hold_shard(table, ino);
	struct hold_entry *entry;
	size_t copied = 0;

	pthread_mutex_lock(&shard->lock);
	entry = hold_find(shard, ino);
	if (entry && entry->kept && entry->kept->size <= size) {
		copied = entry->kept->size;
		memcpy(record, entry->kept->bytes, copied);
	}
	pthread_mutex_unlock(&shard->lock);
	return copied;
}

bool hold_is_kept(struct hold_table *table, uint64_t ino)
{
	struct hold_shard *shard = hold_shard(table, ino);
	struct hold_entry *entry;
	bool kept;

	pthread_mutex_lock(&shard->lock);
	entry = hold_find(shard, ino);
	kept = entry && entry->kept;
	pthread_mutex_unlock(&shard->lock);
	return kept;
}

void hold_drop(struct hold_table *table, uint64_t ino)
{
	struct hold_shard *shard = hold_shard(table, ino);
	struct hold_entry *entry;

	pthread_mutex_lock(&shard->lock);
	entry = hold_find(shard, ino);
	if (entry)
		kept_free(table, shard, entry);
	pthread_mutex_unlock(&shard->lock);
}

void hold_drop_wrong(
	struct hold_table *table, bool (*is_wrong)(void *arg, uint64_t ino), void *arg)
{
	for (unsigned i = 0; i < HOLD_SHARDS; i++) {
		struct hold_shard *shard = &table->shards[i];

		pthread_mutex_lock(&shard->lock);
		for (size_t at = 0; at < shard->capacity; at++) {
			struct hold_entry *entry = &shard->entries[at];

			if (entry->ino && entry->kept && is_wrong(arg, entry->ino)) {
				kept_free(table, shard, entry);
				entry->orphan = false;
			}
		}
		pthread_mutex_unlock(&shard->lock);
	}
}
