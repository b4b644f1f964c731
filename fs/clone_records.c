/* SPDX-License-Identifier: MIT */
/*
 * clone_records.c - see clone_records.h. Records go as they are, in the order of their keys, with
 * the inode numbers and the secret of the name hash that they were made with. What has no name is
 * left behind.
 */
#include "clone_records.h"

#include <errno.h>
#include <string.h>

#include "dirent_record.h"
#include "inode.h"
#include "meta_record.h"
#include "number_table.h"
#include "record.h"
#include "share.h"

struct walk {
	struct kvfs *from;
	const struct clone_sink *sink;
	struct scratch *scratch;
	uint64_t owner; /* the last inode asked for, and whether it is copied */
	bool owner_copied;
	struct number_table shares; /* shared piece -> references that were copied */
};

static int put(
	struct walk *walk, enum keyspace keyspace, struct kv_slice key, struct kv_slice value)
{
	return walk->sink->put(walk->sink->arg, keyspace, key, value);
}

static int settle(struct walk *walk)
{
	return walk->sink->settle(walk->sink->arg);
}

static int copy_inode(struct walk *walk, uint64_t ino)
{
	uint8_t key[INODE_KEY_SIZE];
	struct kv_slice value;
	int err;

	inode_key_encode(ino, key);
	err = record_get(walk->from, KEYSPACE_INODE, key, sizeof(key), &value);
	return err ? err : put(walk, KEYSPACE_INODE, (struct kv_slice){key, sizeof(key)}, value);
}

/* Has the inode that a key begins with a name? */
static int is_copied(struct walk *walk, struct kv_slice key, bool *copied)
{
	struct inode inode;
	uint64_t ino;
	int err = inode_key_decode((struct kv_slice){key.data, INODE_KEY_SIZE}, &ino);

	if (err || key.size < INODE_KEY_SIZE)
		return fs_damaged(walk->from, 0, "a record's key makes no sense");
	if (ino != walk->owner) {
		err = inode_get(walk->from, ino, &inode);
		if (err && err != -ENOENT)
			return err;
		walk->owner = ino;
		walk->owner_copied = !err && inode.nlink;
	}
	*copied = walk->owner_copied;
	return 0;
}

/*
 * Entries bring their inodes with them; one with several names is put several times, which changes
 * nothing.
 */
static int copy_entry(struct walk *walk, const struct kv_entry *entry)
{
	struct dirent dirent;

	if (dirent_value_decode(entry->value, &dirent))
		return fs_damaged(walk->from, 0, "an entry makes no sense");
	return copy_inode(walk, dirent.ino);
}

/*
 * The first reference brings the bytes with it. What counts are references that are copied: some
 * files are not.
 */
static int copy_share(struct walk *walk, struct kv_slice key)
{
	struct share_reference reference;
	uint8_t share_key[SHARE_KEY_SIZE];
	struct extent_place place;
	struct kv_slice bytes;
	uint64_t *count;
	int err;

	if (extent_key_decode(key, &place) || place.slot != EXTENT_SLOT_REFERENCE)
		return 0;
	err = share_find(walk->from, place.ino, place.chunk, &reference);
	if (err)
		return err;
	count = number_table_at(&walk->shares, reference.id);
	if (!count)
		return -ENOMEM;
	if (++*count > 1)
		return 0;
	share_key_encode(reference.id, SHARE_BYTES, share_key);
	err = record_get(walk->from, KEYSPACE_SHARED, share_key, sizeof(share_key), &bytes);
	return err ? err : put(walk, KEYSPACE_SHARED,
				   (struct kv_slice){share_key, sizeof(share_key)}, bytes);
}

static int copy_counts(struct walk *walk)
{
	uint8_t key[SHARE_KEY_SIZE], value[SHARE_COUNT_SIZE];
	int err = 0;

	for (size_t i = 0; i < walk->shares.capacity && !err; i++) {
		const struct number_slot *slot = &walk->shares.slots[i];

		if (!slot->key)
			continue;
		share_key_encode(slot->key - 1, SHARE_COUNT, key);
		share_count_encode(slot->value, value);
		err = put(walk, KEYSPACE_SHARED, (struct kv_slice){key, sizeof(key)},
			(struct kv_slice){value, sizeof(value)});
		if (!err)
			err = settle(walk);
	}
	return err;
}

static int copy_record(struct walk *walk, enum keyspace keyspace, struct kv_cursor *cursor)
{
	struct kv_entry entry = {.key = kv_cursor_key(cursor)};
	bool copied;
	int err;

	kv_read_begin(walk->from->kv);
	err = is_copied(walk, entry.key, &copied);
	if (!err && copied) {
		err = record_error(kv_cursor_value(cursor, &entry.value));
		if (!err)
			err = put(walk, keyspace, entry.key, entry.value);
		if (!err && keyspace == KEYSPACE_DIRENT)
			err = copy_entry(walk, &entry);
		if (!err && keyspace == KEYSPACE_EXTENT)
			err = copy_share(walk, entry.key);
	}
	kv_read_end(walk->from->kv);
	return err;
}

static int copy_keyspace(struct walk *walk, enum keyspace keyspace)
{
	struct kv_cursor *cursor;
	int err = scratch_cursor(walk->scratch, keyspace, &cursor);

	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		err = copy_record(walk, keyspace, cursor);
		if (!err)
			err = settle(walk);
		if (err)
			return err == -ENOENT ? -EIO : err;
	}
	return err == -ENOENT ? 0 : err;
}

/*
 * The next inode number is the store's, of now: a number that the snapshot's future has seen is
 * used for nothing else.
 */
static int copy_meta(struct walk *walk)
{
	static const char *const names[] = {
		META_NEXT_INO_KEY, META_SIZE_LIMIT_KEY, META_FORMAT_KEY};
	struct kv_slice value;
	int err = 0;

	kv_read_begin(walk->from->kv);
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names) && !err; i++) {
		struct kv_slice key = {names[i], strlen(names[i])};

		err = record_error(
			kv_get(walk->from->kv, KEYSPACE_META, key.data, key.size, &value));
		if (!err)
			err = put(walk, KEYSPACE_META, key, value);
		else if (err == -ENOENT && !strcmp(names[i], META_SIZE_LIMIT_KEY))
			err = 0;
	}
	kv_read_end(walk->from->kv);
	return err;
}

static int copy_all(struct walk *walk)
{
	static const enum keyspace keyspaces[] = {
		KEYSPACE_DIRENT, KEYSPACE_EXTENT, KEYSPACE_XATTR, KEYSPACE_ORPHAN};
	int err;

	kv_read_begin(walk->from->kv);
	err = copy_inode(walk, KVFS_ROOT_INO);
	kv_read_end(walk->from->kv);
	for (unsigned i = 0; i < sizeof(keyspaces) / sizeof(*keyspaces) && !err; i++)
		err = copy_keyspace(walk, keyspaces[i]);
	if (!err)
		err = copy_counts(walk);
	return err ? err : copy_meta(walk);
}

int clone_records(struct kvfs *from, const struct clone_sink *sink)
{
	struct walk walk = {.from = from, .sink = sink};
	int err;

	/* In a clone nobody would know. */
	if (from->doubtful) {
		if (from->report)
			from->report(from->report_arg, KV_ERROR,
				"no clone is made where records may not agree, as some were lost to "
				"damage: repair the store (kvfs check --repair); of a snapshot from "
				"before the repair, copy the files");
		return -EUCLEAN;
	}
	err = scratch_take(&from->scratch, &walk.scratch);
	if (err)
		return err;
	err = copy_all(&walk);
	number_table_fini(&walk.shares);
	scratch_give(walk.scratch);
	return err;
}
