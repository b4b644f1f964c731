/* SPDX-License-Identifier: MIT */
/*
 * iterator.c - all keys of a keyspace, hashed or ordered, in the order of their hashes.
 *
 * The iterator's place is a number in the range of the hash's top 32 bits. The index is ordered by it, through growth as well, and a
 * key never moves in that order, whatever happens to its record: so what is there all the time comes exactly once, no
 * matter what compaction and writers do, nothing is held up, and the only state is a number. The alternative, a pass over the log, would read a store that is not
 * in memory in sequence; but a record that moves meanwhile would be met twice or never, unless segments not yet visited
 * were kept from compaction.
 *
 * Records of a stretch of the index are asked for some ahead of being looked at.
 */
#include <errno.h>
#include <stdlib.h>

#include "fetch.h"
#include "read.h"
#include "value.h"

#define AHEAD 32u /* records asked for before they are needed */

struct kv_iterator {
	struct kv *kv;
	unsigned keyspace;
	unsigned flags;
	uint64_t place; /* the next hash to look at; INDEX_PLACE_END: over */
	uint64_t addresses[INDEX_STRETCH_MAX];
	struct kv_entry entries[INDEX_STRETCH_MAX];
};

int kv_iterator_open(struct kv *kv, unsigned keyspace, unsigned flags, struct kv_iterator **out)
{
	struct kv_iterator *iterator;

	if (keyspace >= kv->info.keyspace_count || flags & ~KV_ITERATE_KEYS)
		return -EINVAL;
	iterator = malloc(sizeof(*iterator));
	if (!iterator)
		return -ENOMEM;
	iterator->kv = kv;
	iterator->keyspace = keyspace;
	iterator->flags = flags;
	iterator->place = 0;
	*out = iterator;
	return 0;
}

void kv_iterator_close(struct kv_iterator *iterator)
{
	free(iterator);
}

static inline void prefetch(const struct kv_iterator *iterator, size_t i)
{
	const struct segments *segments = &iterator->kv->segments;
	uint64_t address = iterator->addresses[i];
	const uint8_t *record = segments_base(segments, segments_slot(segments, address)) +
				segments_offset(segments, address);

	/* Header and short key, often in one line; if values are wanted, the beginning of one too. */
	__builtin_prefetch(record);
	__builtin_prefetch(record + (iterator->flags & KV_ITERATE_KEYS ? 32 : 64));
}

/* True: there is an entry at this address. A page that cannot be read is zeros, and its record has no key. */
static inline bool resolve(const struct kv_iterator *iterator, uint64_t address,
			   struct kv_entry *entry)
{
	struct kv *kv = iterator->kv;
	const struct format_record *record = segments_record(&kv->segments, address);

	if (__builtin_expect(!record, 0)) {
		/* Damaged: whose it was nobody can say. */
		*entry = (struct kv_entry){.status = -EIO};
		return true;
	}
	if (record->keyspace != iterator->keyspace && record->key_size)
		return false;
	entry->key.data = record->key;
	entry->key.size = record->key_size;
	entry->value = (struct kv_slice){NULL, 0};
	entry->seq = record->seq;
	if (!record->key_size)
		entry->status = -EIO;
	else if (iterator->flags & KV_ITERATE_KEYS)
		entry->status = read_make_readable(kv, record, address);
	else
		entry->status = read_value(kv, record, address, &entry->value);
	return true;
}

static size_t resolve_stretch(struct kv_iterator *iterator, size_t candidates)
{
	uint64_t begun_us = fetch_group(iterator->kv, iterator->addresses, candidates);
	size_t count = 0, i;

	for (i = 0; i < AHEAD && i < candidates; i++)
		prefetch(iterator, i);
	for (i = 0; i < candidates; i++) {
		if (i + AHEAD < candidates)
			prefetch(iterator, i + AHEAD);
		count += resolve(iterator, iterator->addresses[i], &iterator->entries[count]);
	}
	fetch_done(iterator->kv, begun_us, candidates);
	return count;
}

int kv_iterator_read(struct kv_iterator *iterator, const struct kv_entry **entries, size_t *count)
{
	size_t found = 0;

	value_forget();
	while (!found) {
		if (iterator->place == INDEX_PLACE_END)
			return -ENOENT;
		found = index_stretch(&iterator->kv->index, &iterator->place, iterator->addresses);
		found = resolve_stretch(iterator, found);
	}
	*entries = iterator->entries;
	*count = found;
	return 0;
}
