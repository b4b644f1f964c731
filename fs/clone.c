/* SPDX-License-Identifier: MIT */
/*
 * clone.c - a store of its own with the tree that a snapshot (or a file system that nobody changes)
 * shows.
 *
 * Records are copied as they are, in the order of their keys, with the inode numbers and the secret
 * of the name hash that they were made with. What has no name is left behind. The record that makes
 * the store a file system's comes last: a clone that was interrupted cannot be taken for one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dirent_record.h"
#include "inode.h"
#include "keyspaces.h"
#include "meta_record.h"
#include "number_table.h"
#include "record.h"
#include "share.h"

#define BATCH_RECORDS_MAX 512u

struct clone {
	struct kvfs *from;
	struct kv *to;
	struct scratch *scratch;
	struct kv_batch *batch;
	size_t batch_bytes, batch_bytes_max;
	uint64_t owner; /* the last inode asked for, and whether it is copied */
	bool owner_copied;
	struct number_table shares; /* shared piece -> references that were copied */
	kv_progress_fn *progress; /* may be NULL */
	void *progress_arg;
	uint64_t done_bytes, total_bytes;
};

static int commit(struct clone *clone)
{
	int err = kv_batch_count(clone->batch) ? kv_commit(clone->to, clone->batch, NULL) : 0;

	clone->done_bytes += clone->batch_bytes;
	clone->batch_bytes = 0;
	if (!err && clone->progress &&
		clone->progress(clone->progress_arg, clone->done_bytes, clone->total_bytes))
		err = -ECANCELED;
	return err;
}

static int put(
	struct clone *clone, enum keyspace keyspace, struct kv_slice key, struct kv_slice value)
{
	clone->batch_bytes += key.size + value.size;
	return kv_batch_put(clone->batch, keyspace, key.data, key.size, value.data, value.size);
}

static bool batch_is_full(const struct clone *clone)
{
	return kv_batch_count(clone->batch) >= BATCH_RECORDS_MAX ||
	       clone->batch_bytes + KVFS_XATTR_SIZE_MAX > clone->batch_bytes_max;
}

static int copy_inode(struct clone *clone, uint64_t ino)
{
	uint8_t key[INODE_KEY_SIZE];
	struct kv_slice value;
	int err;

	inode_key_encode(ino, key);
	err = record_get(clone->from, KEYSPACE_INODE, key, sizeof(key), &value);
	return err ? err : put(clone, KEYSPACE_INODE, (struct kv_slice){key, sizeof(key)}, value);
}

/* Has the inode that a key begins with a name? */
static int is_copied(struct clone *clone, struct kv_slice key, bool *copied)
{
	struct inode inode;
	uint64_t ino;
	int err = inode_key_decode((struct kv_slice){key.data, INODE_KEY_SIZE}, &ino);

	if (err || key.size < INODE_KEY_SIZE)
		return fs_damaged(clone->from, 0, "a record's key makes no sense");
	if (ino != clone->owner) {
		err = inode_get(clone->from, ino, &inode);
		if (err && err != -ENOENT)
			return err;
		clone->owner = ino;
		clone->owner_copied = !err && inode.nlink;
	}
	*copied = clone->owner_copied;
	return 0;
}

/*
 * Entries bring their inodes with them; one with several names is put several times, which changes
 * nothing.
 */
static int copy_entry(struct clone *clone, const struct kv_entry *entry)
{
	struct dirent dirent;

	if (dirent_value_decode(entry->value, &dirent))
		return fs_damaged(clone->from, 0, "an entry makes no sense");
	return copy_inode(clone, dirent.ino);
}

/*
 * The first reference brings the bytes with it. What counts are references that are copied: some
 * files are not.
 */
static int copy_share(struct clone *clone, struct kv_slice key)
{
	struct share_reference reference;
	uint8_t share_key[SHARE_KEY_SIZE];
	struct extent_place place;
	struct kv_slice bytes;
	uint64_t *count;
	int err;

	if (extent_key_decode(key, &place) || place.slot != EXTENT_SLOT_REFERENCE)
		return 0;
	err = share_find(clone->from, place.ino, place.chunk, &reference);
	if (err)
		return err;
	count = number_table_at(&clone->shares, reference.id);
	if (!count)
		return -ENOMEM;
	if (++*count > 1)
		return 0;
	share_key_encode(reference.id, SHARE_BYTES, share_key);
	err = record_get(clone->from, KEYSPACE_SHARED, share_key, sizeof(share_key), &bytes);
	return err ? err : put(clone, KEYSPACE_SHARED,
				   (struct kv_slice){share_key, sizeof(share_key)}, bytes);
}

static int copy_counts(struct clone *clone)
{
	uint8_t key[SHARE_KEY_SIZE], value[SHARE_COUNT_SIZE];
	int err = 0;

	for (size_t i = 0; i < clone->shares.capacity && !err; i++) {
		const struct number_slot *slot = &clone->shares.slots[i];

		if (!slot->key)
			continue;
		share_key_encode(slot->key - 1, SHARE_COUNT, key);
		share_count_encode(slot->value, value);
		err = put(clone, KEYSPACE_SHARED, (struct kv_slice){key, sizeof(key)},
			(struct kv_slice){value, sizeof(value)});
		if (!err && batch_is_full(clone))
			err = commit(clone);
	}
	return err ? err : commit(clone);
}

static int copy_record(struct clone *clone, enum keyspace keyspace, struct kv_cursor *cursor)
{
	struct kv_entry entry = {.key = kv_cursor_key(cursor)};
	bool copied;
	int err;

	kv_read_begin(clone->from->kv);
	err = is_copied(clone, entry.key, &copied);
	if (!err && copied) {
		err = record_error(kv_cursor_value(cursor, &entry.value));
		if (!err)
			err = put(clone, keyspace, entry.key, entry.value);
		if (!err && keyspace == KEYSPACE_DIRENT)
			err = copy_entry(clone, &entry);
		if (!err && keyspace == KEYSPACE_EXTENT)
			err = copy_share(clone, entry.key);
	}
	kv_read_end(clone->from->kv);
	return err;
}

static int copy_keyspace(struct clone *clone, enum keyspace keyspace)
{
	struct kv_cursor *cursor;
	int err = scratch_cursor(clone->scratch, keyspace, &cursor);

	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		err = copy_record(clone, keyspace, cursor);
		if (!err && batch_is_full(clone))
			err = commit(clone);
		if (err)
			return err == -ENOENT ? -EIO : err;
	}
	return err == -ENOENT ? commit(clone) : err;
}

/*
 * The next inode number is the store's, of now: a number that the snapshot's future has seen is
 * used for nothing else.
 */
static int copy_meta(struct clone *clone)
{
	static const char *const names[] = {
		META_NEXT_INO_KEY, META_SIZE_LIMIT_KEY, META_FORMAT_KEY};
	struct kv_slice value;
	int err = 0;

	kv_read_begin(clone->from->kv);
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names) && !err; i++) {
		struct kv_slice key = {names[i], strlen(names[i])};

		err = record_error(
			kv_get(clone->from->kv, KEYSPACE_META, key.data, key.size, &value));
		if (!err)
			err = put(clone, KEYSPACE_META, key, value);
		else if (err == -ENOENT && !strcmp(names[i], META_SIZE_LIMIT_KEY))
			err = 0;
	}
	kv_read_end(clone->from->kv);
	return err ? err : commit(clone);
}

static int copy_all(struct clone *clone)
{
	static const enum keyspace keyspaces[] = {
		KEYSPACE_DIRENT, KEYSPACE_EXTENT, KEYSPACE_XATTR, KEYSPACE_ORPHAN};
	struct kv_stats stats;
	int err;

	kv_stats(clone->from->kv, &stats);
	clone->total_bytes = stats.live_bytes;
	kv_read_begin(clone->from->kv);
	err = copy_inode(clone, KVFS_ROOT_INO);
	kv_read_end(clone->from->kv);
	for (unsigned i = 0; i < sizeof(keyspaces) / sizeof(*keyspaces) && !err; i++)
		err = copy_keyspace(clone, keyspaces[i]);
	if (!err)
		err = copy_counts(clone);
	if (!err)
		err = copy_meta(clone);
	return err ? err : kv_sync(clone->to, kv_last_seq(clone->to));
}

static int fill(struct clone *clone)
{
	struct kv_info info;
	int err = scratch_take(&clone->from->scratch, &clone->scratch);

	if (err)
		return err;
	kv_info(clone->to, &info);
	clone->batch_bytes_max = info.batch_size_max / 2;
	err = kv_batch_new(clone->to, &clone->batch);
	if (!err)
		err = copy_all(clone);
	kv_batch_free(clone->batch);
	number_table_fini(&clone->shares);
	scratch_give(clone->scratch);
	return err;
}

int kvfs_clone(struct kvfs *fs, struct kv_env *env, const char *path, kv_progress_fn *progress,
	void *progress_arg)
{
	struct kv_keyspace_spec keyspaces[KEYSPACE_COUNT] = KEYSPACE_SPECS;
	struct clone clone = {.from = fs, .progress = progress, .progress_arg = progress_arg};
	struct kv_open_options open = {.report = fs->report, .report_arg = fs->report_arg};
	struct kv_create_options create = {
		.keyspaces = keyspaces,
		.keyspace_count = KEYSPACE_COUNT,
		.application = KEYSPACES_APPLICATION,
	};
	struct kv_info info;
	int err, err_close;

	kv_info(fs->kv, &info);
	create.hash = info.hash;
	create.compress = info.compress;
	create.compress_level = info.compress_level;
	create.segment_size = info.segment_size;
	err = kv_create(env, path, &create, fs->report, fs->report_arg);
	if (!err)
		err = kv_open(env, path, &open, &clone.to);
	if (err)
		return err;
	err = fill(&clone);
	err_close = kv_close(clone.to);
	return err ? err : err_close;
}
