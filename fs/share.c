/* SPDX-License-Identifier: MIT */
/* share.c - see share.h. */
#include "share.h"

#include <errno.h>
#include <stdlib.h>

#include "record.h"

#define TALLIES_FIRST 64u

static struct extent_place place_of(uint64_t ino, uint64_t chunk)
{
	return (struct extent_place){ino, chunk, EXTENT_SLOT_REFERENCE};
}

int share_find(struct kvfs *fs, uint64_t ino, uint64_t chunk, struct share_reference *out)
{
	uint8_t key[EXTENT_KEY_SIZE];
	struct kv_slice value;
	int err;

	extent_key_encode(place_of(ino, chunk), key);
	err = record_get(fs, KEYSPACE_EXTENT, key, sizeof(key), &value);
	if (err)
		return err;
	if (share_reference_decode(value, out))
		return fs_damaged(fs, ino, "a reference to contents makes no sense");
	return 0;
}

int share_get(struct kvfs *fs, uint64_t ino, uint64_t chunk, struct kv_slice *out)
{
	struct share_reference reference;
	uint8_t key[SHARE_KEY_SIZE];
	struct kv_slice value;
	int err = share_find(fs, ino, chunk, &reference);

	if (err)
		return err;
	share_key_encode(reference.id, SHARE_BYTES, key);
	err = record_get(fs, KEYSPACE_SHARED, key, sizeof(key), &value);
	if (err == -ENOENT || (!err && value.size < reference.size))
		return fs_damaged(fs, ino, "shared contents are missing");
	if (!err)
		*out = (struct kv_slice){value.data, reference.size};
	return err;
}

/* ---- changes --------------------------------------------------------------------------------- */

/* Adds or takes away references. */
static int tally(struct change *change, uint64_t id, int64_t difference)
{
	struct scratch *scratch = change->scratch;

	if (scratch->tally_count == scratch->tally_capacity) {
		size_t capacity = scratch->tally_capacity ? scratch->tally_capacity * 2
							  : TALLIES_FIRST;
		struct share_tally *tallies =
			realloc(scratch->tallies, capacity * sizeof(*tallies));

		if (!tallies)
			return -ENOMEM;
		scratch->tallies = tallies;
		scratch->tally_capacity = capacity;
	}
	scratch->tallies[scratch->tally_count++] = (struct share_tally){id, difference};
	return 0;
}

int share_new(struct change *change, uint64_t id, const void *data, size_t size)
{
	uint8_t key[SHARE_KEY_SIZE];

	share_key_encode(id, SHARE_BYTES, key);
	return kv_batch_put(change->batch, KEYSPACE_SHARED, key, sizeof(key), data, size);
}

static int put_reference(
	struct change *change, uint64_t ino, uint64_t chunk, struct share_reference reference)
{
	uint8_t key[EXTENT_KEY_SIZE], value[SHARE_REFERENCE_SIZE];

	extent_key_encode(place_of(ino, chunk), key);
	share_reference_encode(reference, value);
	return kv_batch_put(change->batch, KEYSPACE_EXTENT, key, sizeof(key), value, sizeof(value));
}

int share_add(struct change *change, uint64_t ino, uint64_t chunk, struct share_reference reference)
{
	int err = put_reference(change, ino, chunk, reference);

	return err ? err : tally(change, reference.id, 1);
}

int share_drop(struct change *change, uint64_t ino, uint64_t chunk)
{
	struct share_reference reference;
	uint8_t key[EXTENT_KEY_SIZE];
	int found = share_find(change->fs, ino, chunk, &reference), err;

	/* A reference that makes no sense goes as well: it must not make a file undeletable. */
	if (found && found != -EIO)
		return found;
	extent_key_encode(place_of(ino, chunk), key);
	err = kv_batch_delete(change->batch, KEYSPACE_EXTENT, key, sizeof(key));
	return err || found ? err : tally(change, reference.id, -1);
}

int share_cut(struct change *change, uint64_t ino, uint64_t chunk, uint32_t size)
{
	struct share_reference reference;
	int err = share_find(change->fs, ino, chunk, &reference);

	if (err || reference.size <= size)
		return err;
	reference.size = size;
	return put_reference(change, ino, chunk, reference);
}

/* ---- counts ---------------------------------------------------------------------------------- */

static int tally_compare(const void *left, const void *right)
{
	const struct share_tally *one = left, *two = right;

	return one->id < two->id ? -1 : one->id > two->id;
}

/* The number of references as the records have it; 0 if there is none. In a read section. */
static int count_get(struct kvfs *fs, uint64_t id, uint64_t *out)
{
	uint8_t key[SHARE_KEY_SIZE];
	struct kv_slice value;
	int err;

	share_key_encode(id, SHARE_COUNT, key);
	err = record_error(kv_get(fs->kv, KEYSPACE_SHARED, key, sizeof(key), &value));
	if (err == -ENOENT) {
		*out = 0;
		return 0;
	}
	if (err)
		return err;
	return share_count_decode(value, out);
}

static int count_put(struct change *change, uint64_t id, uint64_t count)
{
	uint8_t key[SHARE_KEY_SIZE], value[SHARE_COUNT_SIZE];
	int err;

	share_key_encode(id, SHARE_COUNT, key);
	if (count) {
		share_count_encode(count, value);
		return kv_batch_put(
			change->batch, KEYSPACE_SHARED, key, sizeof(key), value, sizeof(value));
	}
	err = kv_batch_delete(change->batch, KEYSPACE_SHARED, key, sizeof(key));
	share_key_encode(id, SHARE_BYTES, key);
	return err ? err : kv_batch_delete(change->batch, KEYSPACE_SHARED, key, sizeof(key));
}

/*
 * A count that damage has made too small frees nothing: bytes that nobody refers to are better than
 * references to bytes that are gone.
 */
static int settle_one(struct change *change, uint64_t id, int64_t difference)
{
	uint64_t count;
	int err = count_get(change->fs, id, &count);

	if (err || !difference)
		return err;
	/* Or has made the one of before the newest. */
	if (difference < 0 && change->fs->doubtful)
		return 0;
	if (difference < 0 && count < (uint64_t)-difference) {
		fs_report_damage(change->fs, id, "shared contents have more users than counted");
		return 0;
	}
	return count_put(change, id, count + (uint64_t)difference);
}

/* Where they come from the disk, they come together. */
static void count_prefetch(struct kvfs *fs, const struct share_tally *tallies, size_t count)
{
	uint8_t key[SHARE_KEY_SIZE];

	for (size_t i = 0; i < count; i++) {
		share_key_encode(tallies[i].id, SHARE_COUNT, key);
		kv_prefetch(fs->kv, KEYSPACE_SHARED, key, sizeof(key));
	}
}

int share_settle(struct change *change)
{
	struct scratch *scratch = change->scratch;
	size_t i = 0, count = scratch->tally_count;
	int err = 0;

	scratch->tally_count = 0;
	qsort(scratch->tallies, count, sizeof(*scratch->tallies), tally_compare);
	kv_read_begin(change->fs->kv);
	count_prefetch(change->fs, scratch->tallies, count);
	while (!err && i < count) {
		uint64_t id = scratch->tallies[i].id;
		int64_t difference = 0;

		for (; i < count && scratch->tallies[i].id == id; i++)
			difference += scratch->tallies[i].difference;
		err = settle_one(change, id, difference);
	}
	kv_read_end(change->fs->kv);
	return err;
}
