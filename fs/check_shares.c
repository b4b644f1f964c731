/* SPDX-License-Identifier: MIT */
/*
 * check_shares.c - checks that references lead to shared pieces, that these count them rightly, and
 * that none is kept that nobody refers to. All pieces are walked, but only where there is something
 * shared.
 */
#include <errno.h>

#include "check.h"
#include "record.h"
#include "share.h"

/* The reference under the cursor. In a read section. */
static int check_reference(struct check *check, struct extent_place at)
{
	struct check_place place = {.ino = at.ino};
	struct share_reference reference;
	struct kv_slice bytes;
	uint64_t *count;
	int err = share_find(check->fs, at.ino, at.chunk, &reference);

	if (!err)
		err = share_get(check->fs, at.ino, at.chunk, &bytes);
	if (err) {
		if (check_is_damage(check, err))
			check_finding(check, &place, "what chunk %llu refers to cannot be read",
				(unsigned long long)at.chunk);
		return 0;
	}
	count = number_table_at(&check->shares, reference.id);
	if (!count)
		return -ENOMEM;
	++*count;
	return 0;
}

static int check_references(struct check *check)
{
	struct extent_place place;
	struct kv_cursor *cursor;
	int err = scratch_cursor(check->outer, KEYSPACE_EXTENT, &cursor);

	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		err = check_step(check);
		if (err)
			return err;
		if (extent_key_decode(kv_cursor_key(cursor), &place) ||
			place.slot != EXTENT_SLOT_REFERENCE)
			continue;
		kv_read_begin(check->fs->kv);
		err = check_reference(check, place);
		kv_read_end(check->fs->kv);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

static void check_count(struct check *check, uint64_t id, uint64_t references)
{
	uint8_t key[SHARE_KEY_SIZE];
	struct kv_slice value;
	uint64_t count = 0;
	int err;

	share_key_encode(id, SHARE_COUNT, key);
	kv_read_begin(check->fs->kv);
	err = record_get(check->fs, KEYSPACE_SHARED, key, sizeof(key), &value);
	if (!err)
		err = share_count_decode(value, &count);
	kv_read_end(check->fs->kv);
	if (err && check_is_damage(check, err))
		check_finding(check, NULL, "shared contents %llu: the number of users is missing",
			(unsigned long long)id);
	else if (!err && count != references)
		check_finding(check, NULL, "shared contents %llu have %llu users, %llu are counted",
			(unsigned long long)id, (unsigned long long)references,
			(unsigned long long)count);
}

int check_shares(struct check *check)
{
	struct kv_stats stats;
	uint64_t pieces = 0, records;
	int err;

	/* A snapshot's keys are not counted by the store. */
	kv_stats(check->fs->kv, &stats);
	records = check->fs->view ? 0 : stats.keys[KEYSPACE_SHARED];
	if (!records && !check->any_shares)
		return 0;
	err = check_references(check);
	if (err)
		return err;
	for (size_t i = 0; i < check->shares.capacity; i++) {
		const struct number_slot *slot = &check->shares.slots[i];

		if (!slot->key)
			continue;
		check_count(check, slot->key - 1, slot->value);
		pieces++;
	}
	if (!check->fs->view && records != 2 * pieces)
		check_finding(check, NULL,
			"there are %llu records of shared contents instead of %llu",
			(unsigned long long)records, (unsigned long long)(2 * pieces));
	return 0;
}
