/* SPDX-License-Identifier: MIT */
/*
 * iterator.c - all keys of a keyspace, hashed or ordered, in the order of their hashes.
 *
 * The iterator's place is a number in the range of the hash's top 31 bits. The index is ordered by
 * it, through growth as well, and a key never moves in that order, whatever happens to its record:
 * so what is there all the time comes exactly once, no matter what compaction and writers do,
 * nothing is held up, and the only state is a number. The alternative, a pass over the log, would
 * read a store that is not in memory in sequence; but a record that moves meanwhile would be met
 * twice or never, unless segments not yet visited were kept from compaction.
 *
 * Records of a stretch of the index are asked for some ahead of being looked at.
 *
 * On a view each stretch is taken twice: of the newest records those that the view sees, and then
 * the versions with the same hashes, whose index is in the same order. A record becomes a version
 * before it ceases to be the newest, so none is missed; one that does so between the two is met
 * twice, which its hash and number tell.
 */
#include <errno.h>
#include <stdlib.h>

#include "fetch.h"
#include "read.h"
#include "value.h"
#include "version.h"
#include "view.h"

#define AHEAD 32u /* records asked for before they are needed */
/* Stretches of a table that is nearly empty are taken together, up to so many entries. */
#define TOGETHER 256u
#define ENTRIES_MAX (TOGETHER + INDEX_STRETCH_MAX)

struct given {
	uint64_t hash, seq;
};

struct kv_iterator {
	struct kv *kv;
	const struct kv_view *view; /* NULL: as it is now */
	unsigned keyspace;
	unsigned flags;
	uint64_t place; /* the next hash to look at; INDEX_PLACE_END: over */
	uint64_t versions_place, versions_to; /* of the versions behind what was given out last */
	struct given given[INDEX_STRETCH_MAX]; /* on a view: newest records of these hashes */
	size_t given_count;
	uint64_t addresses[ENTRIES_MAX];
	struct kv_entry entries[ENTRIES_MAX];
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
	iterator->view = NULL;
	iterator->keyspace = keyspace;
	iterator->flags = flags;
	iterator->place = 0;
	iterator->versions_place = iterator->versions_to = 0;
	*out = iterator;
	return 0;
}

int kv_iterator_open_view(const struct kv_view *view, unsigned keyspace, unsigned flags,
			  struct kv_iterator **out)
{
	int error = kv_iterator_open(view->kv, keyspace, flags, out);

	if (!error)
		(*out)->view = view;
	return error;
}

void kv_iterator_close(struct kv_iterator *iterator)
{
	free(iterator);
}

/* Where segments are: the same for all records of a stretch, and told the compiler so. */
struct places {
	_Atomic(const uint8_t *) *bases;
	unsigned shift, reach;
	uint32_t mask;
};

/* Where the record is, with its segment's flags in the lowest bits; asks for it. */
static inline uintptr_t locate(const struct places *places, uint64_t address)
{
	uintptr_t base = (uintptr_t)atomic_load_explicit(&places->bases[address >> places->shift],
							 memory_order_acquire);
	uintptr_t record = base + ((uint32_t)(address << 3) & places->mask);

	__builtin_prefetch((const void *)record);
	__builtin_prefetch((const void *)(record + places->reach));
	return record;
}

/* A record that cannot be read from where it stands without further ado. True: as resolve. */
static __attribute__((noinline)) bool resolve_slowly(const struct kv_iterator *iterator,
						     uint64_t address, struct kv_entry *entry)
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
	else if (iterator->view)
		entry->status = read_value_then(iterator->view, record, address, &entry->value);
	else
		entry->status = read_value(kv, record, address, &entry->value);
	return true;
}

/*
 * True: there is an entry at this address. A page that cannot be read is zeros, and its record has
 * no key.
 */
static inline bool resolve(const struct kv_iterator *iterator, uintptr_t located, uint64_t address,
			   struct kv_entry *entry)
{
	const struct format_record *record =
		(const struct format_record *)(located & ~SEGMENT_FLAGS);
	const struct segments *segments = &iterator->kv->segments;

	/*
	 * No key is sought here that would tell a record from what an address that lies leads to.
	 */
	if (located & SEGMENT_FLAGS &&
	    (located & SEGMENT_UNVERIFIED ||
	     !read_is_at_hand(segments, located, record, segments_offset(segments, address),
			      true) ||
	     !record->key_size))
		return resolve_slowly(iterator, address, entry);
	if (__builtin_expect(record->flags & (FORMAT_RECORD_ZSTD | FORMAT_RECORD_LARGE), 0))
		return resolve_slowly(iterator, address, entry);
	if (record->keyspace != iterator->keyspace)
		return false;
	entry->status = 0;
	entry->seq = record->seq;
	entry->key = (struct kv_slice){record->key, record->key_size};
	entry->value = (struct kv_slice){NULL, 0};
	if (!(iterator->flags & KV_ITERATE_KEYS))
		entry->value = (struct kv_slice){format_record_value(record), record->value_size};
	return true;
}

static size_t resolve_stretch(struct kv_iterator *iterator, size_t candidates)
{
	uint64_t begun_us = fetch_group(iterator->kv, iterator->addresses, candidates);
	const struct segments *segments = &iterator->kv->segments;
	const struct places places = {
		.bases = segments->bases,
		.shift = segments->shift,
		.mask = segments->size - 1,
		/*
		 * Header and short key, often in one line; if values are wanted, the beginning of
		 * one too.
		 */
		.reach = iterator->flags & KV_ITERATE_KEYS ? 32 : 64,
	};
	const uint64_t *addresses = iterator->addresses;
	uintptr_t located[AHEAD];
	size_t count = 0, i;

	for (i = 0; i < AHEAD && i < candidates; i++)
		located[i] = locate(&places, addresses[i]);
	for (i = 0; i < candidates; i++) {
		uintptr_t record = located[i % AHEAD];

		if (i + AHEAD < candidates)
			located[i % AHEAD] = locate(&places, addresses[i + AHEAD]);
		count += resolve(iterator, record, addresses[i], &iterator->entries[count]);
	}
	fetch_done(iterator->kv, begun_us, candidates);
	return count;
}

/* ---- on a view ------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct kv_iterator *iterator, const struct kv_entry *entry)
{
	return keyhash_of(&iterator->kv->keyhash, iterator->keyspace, entry->key.data,
			  entry->key.size);
}

/* Keeps, of the newest records, those that the view sees. Out: how many are left. */
static size_t leave_newer(struct kv_iterator *iterator, size_t count)
{
	size_t left = 0, i;

	iterator->given_count = 0;
	for (i = 0; i < count; i++) {
		const struct kv_entry *entry = &iterator->entries[i];

		/* Whose one was that cannot be read nobody can say, nor who saw it. */
		if (entry->key.size && entry->seq > iterator->view->seq)
			continue;
		if (entry->key.size)
			iterator->given[iterator->given_count++] =
				(struct given){hash_of(iterator, entry), entry->seq};
		iterator->entries[left++] = *entry;
	}
	return left;
}

static bool was_given(const struct kv_iterator *iterator, uint64_t hash, uint64_t seq)
{
	size_t i;

	for (i = 0; i < iterator->given_count; i++) {
		if (iterator->given[i].seq == seq && iterator->given[i].hash == hash)
			return true;
	}
	return false;
}

/*
 * Keeps, of the versions, those that were not met as newest records and have hashes of this
 * stretch.
 */
static size_t leave_given(struct kv_iterator *iterator, size_t count)
{
	size_t left = 0, i;

	for (i = 0; i < count; i++) {
		const struct kv_entry *entry = &iterator->entries[i];
		uint64_t hash = entry->key.size ? hash_of(iterator, entry) : 0;

		if (entry->key.size && (index_fingerprint(hash) >= iterator->versions_to ||
					was_given(iterator, hash, entry->seq)))
			continue;
		iterator->entries[left++] = *entry;
	}
	return left;
}

/* Nothing more is found: that was all, unless a part of the index could not be read. */
static int end_of(const struct kv_iterator *iterator)
{
	return atomic_load(&iterator->kv->index.failed) ? -EIO : -ENOENT;
}

/* The next versions of the stretch. */
static size_t read_versions(struct kv_iterator *iterator)
{
	struct versions *versions = &iterator->kv->versions;
	size_t chains = index_stretch(&versions->index, &iterator->versions_place,
				      iterator->addresses);
	size_t count = 0, i;

	for (i = 0; i < chains; i++) {
		uint64_t address =
			version_seen(iterator->kv, iterator->addresses[i], iterator->view->seq);

		if (address)
			iterator->addresses[count++] = address;
	}
	return leave_given(iterator, resolve_stretch(iterator, count));
}

static size_t read_newest(struct kv_iterator *iterator)
{
	size_t count;

	iterator->versions_place = iterator->place;
	count = index_stretch(&iterator->kv->index, &iterator->place, iterator->addresses);
	iterator->versions_to = iterator->place;
	return leave_newer(iterator, resolve_stretch(iterator, count));
}

static int read_in_view(struct kv_iterator *iterator, size_t *found)
{
	do {
		if (iterator->versions_place < iterator->versions_to)
			*found = read_versions(iterator);
		else if (iterator->place != INDEX_PLACE_END)
			*found = read_newest(iterator);
		else
			return end_of(iterator);
	} while (!*found);
	return 0;
}

int kv_iterator_read(struct kv_iterator *iterator, const struct kv_entry **entries, size_t *count)
{
	size_t found = 0;
	int error;

	value_forget();
	error = iterator->view ? read_in_view(iterator, &found) : 0;
	if (error)
		return error;
	while (!found) {
		if (iterator->place == INDEX_PLACE_END)
			return end_of(iterator);
		do
			found += index_stretch(&iterator->kv->index, &iterator->place,
					       iterator->addresses + found);
		while (found < TOGETHER && iterator->place != INDEX_PLACE_END);
		if (found)
			found = resolve_stretch(iterator, found);
	}
	*entries = iterator->entries;
	*count = found;
	return 0;
}
