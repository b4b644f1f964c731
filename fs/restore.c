/* SPDX-License-Identifier: MIT */
/*
 * restore.c - see restore.h.
 *
 * The inodes to look at are those with a newer record (changed.h), and those that are gone: each of
 * these was named in the snapshot by a directory that has changed since, or is gone too, or by an
 * orphan record. So it begins with the former and the latter, and what a directory had and the head
 * has no inode for follows. Of each, everything that has its number as the beginning of its key is
 * compared.
 */
#include "restore.h"

#include <stdlib.h>
#include <string.h>

#include "changed.h"
#include "dirent_record.h"
#include "inode_record.h"
#include "keyspaces.h"
#include "number_table.h"
#include "record.h"
#include "share.h"

#define VALUE_SIZE_MAX KVFS_XATTR_SIZE_MAX
#define RECORD_OVERHEAD 64u /* bytes that a record takes beside key and value, at most */
#define BATCH_RECORDS_MAX 512u

struct restore {
	struct kvfs *fs;
	struct kvfs *snapshot;
	struct scratch *now, *was; /* cursors on both */
	struct kv_batch *batch;
	size_t batch_bytes;
	struct changed todo;
	struct number_table seen; /* a set: they are in todo, or have been */
	struct number_table shares; /* a set: shared pieces that have been looked at */
	struct restore_survey *survey; /* NULL: it is done */
	uint8_t value[VALUE_SIZE_MAX]; /* as it was */
};

/* ---- one record ------------------------------------------------------------------------------ */

static int commit(struct restore *restore)
{
	int err;

	if (!kv_batch_count(restore->batch))
		return 0;
	err = kv_commit(restore->fs->kv, restore->batch, NULL);
	restore->batch_bytes = 0;
	return err;
}

static int add(struct restore *restore, enum keyspace keyspace, struct kv_slice key, bool is_there,
	size_t size)
{
	size_t bytes = RECORD_OVERHEAD + key.size + size;

	if (restore->survey) {
		restore->survey->bytes += bytes;
		return 0;
	}
	restore->batch_bytes += bytes;
	if (!is_there)
		return kv_batch_delete(restore->batch, keyspace, key.data, key.size);
	return kv_batch_put(
		restore->batch, keyspace, key.data, key.size, restore->value, size);
}

static int tell(struct restore *restore, enum keyspace keyspace, struct kv_slice key,
	const struct kv_slice *was, const struct kv_slice *now)
{
	const struct restore_survey *survey = restore->survey;

	return survey && survey->differs ? survey->differs(survey->arg, keyspace, key, was, now)
					 : 0;
}

/* In a read section. */
static int compare(struct restore *restore, enum keyspace keyspace, struct kv_slice key)
{
	struct kv_slice was = {NULL, 0}, now;
	size_t size = 0;
	bool differs;
	int err_was = record_get(restore->snapshot, keyspace, key.data, key.size, &was), err;

	if (err_was && err_was != -ENOENT)
		return err_was;
	if (!err_was) {
		if (was.size > VALUE_SIZE_MAX)
			return -EIO;
		size = was.size;
		if (size)
			memcpy(restore->value, was.data, size);
	}
	err = record_error(kv_get(restore->fs->kv, keyspace, key.data, key.size, &now));
	/* A damaged record has to go in any case. */
	if (err && err != -ENOENT && err != -EIO)
		return err;
	if (err_was && err == -ENOENT)
		return 0;
	differs = err_was || err || now.size != size ||
		  (size && memcmp(now.data, restore->value, size) != 0);
	/*
	 * Also where it is what it was: whatever changes about an inode changes its record
	 * (changed.h), by which who goes back to a later snapshot will go.
	 */
	if (!differs && keyspace != KEYSPACE_INODE)
		return 0;
	was = (struct kv_slice){restore->value, size};
	err = differs ? tell(restore, keyspace, key, err_was ? NULL : &was, err ? NULL : &now) : 0;
	return err ? err : add(restore, keyspace, key, !err_was, size);
}

static int restore_record(struct restore *restore, enum keyspace keyspace, struct kv_slice key)
{
	int err;

	kv_read_begin(restore->fs->kv);
	err = compare(restore, keyspace, key);
	kv_read_end(restore->fs->kv);
	if (err || restore->survey)
		return err;
	if (kv_batch_count(restore->batch) < BATCH_RECORDS_MAX &&
		restore->batch_bytes + VALUE_SIZE_MAX < restore->fs->write_size_max)
		return 0;
	return commit(restore);
}

/* ---- shared pieces --------------------------------------------------------------------------- */

static int restore_share(struct restore *restore, uint64_t id)
{
	uint8_t key[SHARE_KEY_SIZE];
	int added = number_set_add(&restore->shares, id), err = added < 0 ? added : 0;

	for (unsigned kind = SHARE_BYTES; added > 0 && kind <= SHARE_COUNT && !err; kind++) {
		share_key_encode(id, kind, key);
		err = restore_record(
			restore, KEYSPACE_SHARED, (struct kv_slice){key, sizeof(key)});
	}
	return err;
}

/* The shared piece of a reference that the snapshot has may be gone. */
static int follow_reference(struct restore *restore, struct kv_slice key)
{
	struct share_reference reference;
	struct extent_place place;
	int err;

	if (extent_key_decode(key, &place) || place.slot != EXTENT_SLOT_REFERENCE)
		return 0;
	kv_read_begin(restore->fs->kv);
	err = share_find(restore->snapshot, place.ino, place.chunk, &reference);
	kv_read_end(restore->fs->kv);
	if (err)
		return err == -ENOENT ? 0 : err;
	return restore_share(restore, reference.id);
}

/* Restores shared pieces that were made, or got another number of references, since. */
static int restore_shares(struct restore *restore)
{
	struct changed changed;
	int err = changed_find(
		restore->fs, KEYSPACE_SHARED, kv_view_seq(restore->snapshot->view), &changed);

	if (err)
		return err;
	for (size_t i = 0; i < changed.count && !err; i++)
		err = restore_share(restore, changed.inos[i]);
	changed_fini(&changed);
	return err;
}

/* ---- one inode ------------------------------------------------------------------------------- */

static int push(struct restore *restore, uint64_t ino)
{
	int added = number_set_add(&restore->seen, ino);

	return added > 0 ? changed_add(&restore->todo, ino) : added;
}

/* An entry that the snapshot has: if its inode is gone, that comes back as well. */
static int follow(struct restore *restore, struct kv_cursor *cursor)
{
	uint8_t key[INODE_KEY_SIZE];
	struct kv_slice value;
	struct dirent entry;
	bool gone = false;
	int err;

	kv_read_begin(restore->fs->kv);
	err = record_error(kv_cursor_value(cursor, &value));
	if (!err && dirent_value_decode(value, &entry))
		err = fs_damaged(restore->fs, 0, "an entry of a snapshot makes no sense");
	if (!err) {
		inode_key_encode(entry.ino, key);
		err = kv_contains(restore->fs->kv, KEYSPACE_INODE, key, sizeof(key));
		gone = err == -ENOENT;
	}
	kv_read_end(restore->fs->kv);
	return gone ? push(restore, entry.ino) : err;
}

/* Goes through the present records with keys that begin so. */
static int restore_present(
	struct restore *restore, enum keyspace keyspace, const uint8_t *prefix, size_t size)
{
	struct kv_cursor *cursor;
	int err = scratch_cursor(restore->now, keyspace, &cursor);

	if (!err)
		err = kv_cursor_set_prefix(cursor, prefix, size);
	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		err = restore_record(restore, keyspace, kv_cursor_key(cursor));
		if (!err && keyspace == KEYSPACE_EXTENT)
			err = follow_reference(restore, kv_cursor_key(cursor));
		if (err)
			break;
	}
	return err == -ENOENT ? 0 : err;
}

/* Goes through the snapshot's records that are not there any more. */
static int restore_missing(
	struct restore *restore, enum keyspace keyspace, const uint8_t *prefix, size_t size)
{
	struct kv_cursor *cursor;
	int err = scratch_cursor(restore->was, keyspace, &cursor);

	if (!err)
		err = kv_cursor_set_prefix(cursor, prefix, size);
	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		struct kv_slice key = kv_cursor_key(cursor);

		err = kv_contains(restore->fs->kv, keyspace, key.data, key.size);
		if (err == -ENOENT)
			err = restore_record(restore, keyspace, key);
		if (!err && keyspace == KEYSPACE_DIRENT)
			err = follow(restore, cursor);
		if (!err && keyspace == KEYSPACE_EXTENT)
			err = follow_reference(restore, key);
		if (err)
			break;
	}
	return err == -ENOENT ? 0 : err;
}

static int restore_inode(struct restore *restore, uint64_t ino)
{
	static const enum keyspace single[] = {KEYSPACE_INODE, KEYSPACE_ORPHAN};
	static const enum keyspace many[] = {KEYSPACE_EXTENT, KEYSPACE_XATTR, KEYSPACE_DIRENT};
	uint8_t key[INODE_KEY_SIZE];
	int err = 0;

	inode_key_encode(ino, key);
	for (unsigned i = 0; i < sizeof(single) / sizeof(*single) && !err; i++)
		err = restore_record(restore, single[i], (struct kv_slice){key, sizeof(key)});
	for (unsigned i = 0; i < sizeof(many) / sizeof(*many) && !err; i++) {
		err = restore_present(restore, many[i], key, sizeof(key));
		if (!err)
			err = restore_missing(restore, many[i], key, sizeof(key));
	}
	return err;
}

/*
 * Files that were held without a name: those that have been freed since come back, to be freed
 * again. What they shared with others (counts of references, say) is then as it was, and does not
 * have to be told apart.
 */
static int push_orphans(struct restore *restore)
{
	struct kv_cursor *cursor;
	uint64_t ino;
	int err = scratch_cursor(restore->was, KEYSPACE_ORPHAN, &cursor);

	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		struct kv_slice key = kv_cursor_key(cursor);

		if (inode_key_decode(key, &ino))
			return fs_damaged(restore->fs, 0, "a note of a snapshot makes no sense");
		err = kv_contains(restore->fs->kv, KEYSPACE_INODE, key.data, key.size);
		if (err == -ENOENT)
			err = push(restore, ino);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int restore_all(struct restore *restore)
{
	struct changed changed;
	int err = changed_find(
		restore->fs, KEYSPACE_INODE, kv_view_seq(restore->snapshot->view), &changed);

	if (err)
		return err;
	for (size_t i = 0; i < changed.count && !err; i++)
		err = push(restore, changed.inos[i]);
	changed_fini(&changed);
	if (!err)
		err = push_orphans(restore);
	for (size_t i = 0; i < restore->todo.count && !err; i++)
		err = restore_inode(restore, restore->todo.inos[i]);
	if (!err)
		err = restore_shares(restore);
	return err ? err : commit(restore);
}

int restore(struct kvfs *fs, struct kvfs *snapshot, struct restore_survey *survey)
{
	struct restore *restore = calloc(1, sizeof(*restore));
	int err;

	if (!restore)
		return -ENOMEM;
	restore->fs = fs;
	restore->snapshot = snapshot;
	restore->survey = survey;
	if (survey)
		survey->bytes = 0;
	err = scratch_take(&fs->scratch, &restore->now);
	if (err)
		goto out;
	err = scratch_take(&snapshot->scratch, &restore->was);
	if (!err) {
		err = scratch_batch(restore->now, &restore->batch);
		if (!err)
			err = restore_all(restore);
		scratch_give(restore->was);
	}
	scratch_give(restore->now);
out:
	changed_fini(&restore->todo);
	number_table_fini(&restore->seen);
	number_table_fini(&restore->shares);
	free(restore);
	return err;
}
