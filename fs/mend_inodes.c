/* SPDX-License-Identifier: MIT */
/*
 * mend_inodes.c - repairs what inodes say of themselves (link counts, sizes, blocks, parents,
 * attributes), shared contents, and notes of what is to be freed.
 */
#include <errno.h>

#include "mend.h"
#include "orphan.h"
#include "piece.h"
#include "record.h"
#include "share.h"
#include "xattr_record.h"

/* ---- pieces of contents, and what is shared -------------------------------------------------- */

/* Does the reference lead to something? In a read section. */
static int follow(struct mend *mend, struct extent_place at, uint64_t *id)
{
	struct share_reference reference;
	struct kv_slice bytes;
	int err = share_find(mend->fs, at.ino, at.chunk, &reference);

	if (!err)
		err = share_get(mend->fs, at.ino, at.chunk, &bytes);
	if (!err)
		*id = reference.id;
	return err;
}

/* A piece that cannot be read, or a reference that leads nowhere. */
static int remove_piece(struct mend *mend, struct extent_place at)
{
	uint8_t key[EXTENT_KEY_SIZE];
	uint64_t offset = at.chunk * EXTENT_CHUNK_SIZE;

	if (at.slot >= EXTENT_SLOT_BLOCK && at.slot < EXTENT_SLOT_BLOCK + EXTENT_BLOCKS)
		offset += (at.slot - EXTENT_SLOT_BLOCK) * EXTENT_BLOCK_SIZE;
	mend_say(mend, "inode %llu: up to %u bytes of contents from offset %llu on are lost",
		(unsigned long long)at.ino, extent_size_max(at.slot), (unsigned long long)offset);
	extent_key_encode(at, key);
	return mend_delete(mend, KEYSPACE_EXTENT, key, sizeof(key));
}

static int mend_piece(struct mend *mend, struct extent_place at)
{
	uint64_t id = 0, *users;
	size_t size;
	int err;

	kv_read_begin(mend->fs->kv);
	err = at.slot == EXTENT_SLOT_REFERENCE ? follow(mend, at, &id)
					       : piece_size(mend->fs, at, &size);
	kv_read_end(mend->fs->kv);
	if (err == -ENOENT || err == -EIO)
		return remove_piece(mend, at);
	if (err || at.slot != EXTENT_SLOT_REFERENCE)
		return err;
	users = number_table_at(&mend->users, id);
	if (!users)
		return -ENOMEM;
	++*users;
	return 0;
}

static int walk_pieces(struct mend *mend)
{
	struct extent_place place;
	struct kv_cursor *cursor;
	int err = scratch_cursor(mend->scratch, KEYSPACE_EXTENT, &cursor);

	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		if (extent_key_decode(kv_cursor_key(cursor), &place))
			continue;
		err = mend_piece(mend, place);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

static int mend_users(struct mend *mend, uint64_t id, uint64_t users)
{
	uint8_t key[SHARE_KEY_SIZE], counted[SHARE_COUNT_SIZE];
	struct kv_slice value;
	uint64_t found = 0;
	int err;

	share_key_encode(id, SHARE_COUNT, key);
	kv_read_begin(mend->fs->kv);
	err = kv_get(mend->fs->kv, KEYSPACE_SHARED, key, sizeof(key), &value);
	if (!err)
		err = share_count_decode(value, &found);
	kv_read_end(mend->fs->kv);
	if (!err && found == users)
		return 0;
	mend_say(mend, "shared contents %llu: %llu users are counted", (unsigned long long)id,
		(unsigned long long)users);
	share_count_encode(users, counted);
	return mend_put(mend, KEYSPACE_SHARED, key, sizeof(key), counted, sizeof(counted));
}

/* Ids of records that nobody refers to. */
static int find_unused(struct mend *mend, struct changed *unused)
{
	struct kv_iterator *iterator;
	const struct kv_entry *entries;
	size_t count;
	uint64_t id;
	int err = kv_iterator_open(mend->fs->kv, KEYSPACE_SHARED, KV_ITERATE_KEYS, &iterator);

	if (err)
		return err;
	kv_read_begin(mend->fs->kv);
	while (!err && !(err = kv_iterator_read(iterator, &entries, &count))) {
		for (size_t i = 0; i < count && !err; i++) {
			if (entries[i].key.size != SHARE_KEY_SIZE ||
				inode_key_decode(
					(struct kv_slice){entries[i].key.data, INODE_KEY_SIZE},
					&id))
				continue;
			if (!number_table_find(&mend->users, id))
				err = changed_add(unused, id);
		}
	}
	kv_read_end(mend->fs->kv);
	kv_iterator_close(iterator);
	return err == -ENOENT ? 0 : err;
}

int mend_shares(struct mend *mend)
{
	struct changed unused = {0};
	uint8_t key[SHARE_KEY_SIZE];
	int err = walk_pieces(mend);

	for (size_t i = 0; i < mend->users.capacity && !err; i++)
		if (mend->users.slots[i].key)
			err = mend_users(
				mend, mend->users.slots[i].key - 1, mend->users.slots[i].value);
	if (!err)
		err = find_unused(mend, &unused);
	for (size_t i = 0; i < unused.count && !err; i++) {
		mend_say(mend, "shared contents %llu: nobody uses them; removed",
			(unsigned long long)unused.inos[i]);
		share_key_encode(unused.inos[i], SHARE_BYTES, key);
		err = mend_delete(mend, KEYSPACE_SHARED, key, sizeof(key));
		share_key_encode(unused.inos[i], SHARE_COUNT, key);
		if (!err)
			err = mend_delete(mend, KEYSPACE_SHARED, key, sizeof(key));
	}
	changed_fini(&unused);
	return err;
}

/* ---- inodes ---------------------------------------------------------------------------------- */

static uint64_t table_value(const struct number_table *table, uint64_t key)
{
	const uint64_t *value = number_table_find(table, key);

	return value ? *value : 0;
}

/* Sets a field, and says whether that was needed. */
#define SET(field, value) ((field) == (value) ? false : ((field) = (value), true))

static bool mend_counts(struct mend *mend, struct inode *inode)
{
	uint64_t names = table_value(&mend->names, inode->ino);
	bool changed;

	if (!S_ISDIR(inode->mode))
		return names && SET(inode->nlink, (uint32_t)names);
	/* To be freed. What has no name, and is not, has got one by now. */
	if (!names && !inode->nlink)
		return false;
	changed = SET(inode->nlink, 2 + (uint32_t)table_value(&mend->subdirs, inode->ino));
	changed |= SET(inode->size, table_value(&mend->sizes, inode->ino));
	if (inode->ino == KVFS_ROOT_INO)
		changed |= SET(inode->parent, KVFS_ROOT_INO);
	else if (names)
		changed |= SET(inode->parent, table_value(&mend->parents, inode->ino));
	return changed;
}

/* Where the chunk's bytes end, in the file. */
static uint64_t chunk_end(const struct chunk *chunk)
{
	uint64_t base = chunk->number * EXTENT_CHUNK_SIZE,
		 end = chunk->whole ? chunk->whole_size : 0;

	for (unsigned block = 0; block < EXTENT_BLOCKS; block++)
		if (chunk->overlaid >> block & 1 && end < (block + 1) * EXTENT_BLOCK_SIZE)
			end = (block + 1) * EXTENT_BLOCK_SIZE;
	return base + end;
}

/*
 * A piece without bytes, behind the end of the file. The change's read section is closed meanwhile:
 * a commit may wait for room, and making room for who is reading.
 */
static int remove_empty(struct mend *mend, uint64_t ino, uint64_t chunk)
{
	uint8_t key[EXTENT_KEY_SIZE];
	int err;

	mend_say(mend, "inode %llu: an empty piece of contents behind its end, removed",
		(unsigned long long)ino);
	extent_key_encode((struct extent_place){ino, chunk, EXTENT_SLOT_CHUNK}, key);
	kv_read_end(mend->fs->kv);
	err = mend_delete(mend, KEYSPACE_EXTENT, key, sizeof(key));
	kv_read_begin(mend->fs->kv);
	return err;
}

/*
 * A record that cannot be read stays as it is: that is damage of the store, which its own check
 * reports.
 */
static int mend_pieces(struct mend *mend, struct inode *inode, bool *changed)
{
	uint64_t blocks = 0, end = inode->size;
	struct piece_walk walk;
	struct chunk chunk;
	int err;

	if (inode->contents != INODE_EXTENTS)
		return 0;
	err = piece_walk_start(mend->fs, mend->scratch, inode->ino, 0, false, &walk);
	while (!err && !(err = piece_walk_next(&walk, &chunk))) {
		uint64_t base = chunk.number * EXTENT_CHUNK_SIZE, chunk_last = chunk_end(&chunk);
		uint32_t inside = end <= base                      ? 0
				  : end - base < EXTENT_CHUNK_SIZE ? (uint32_t)(end - base)
								   : EXTENT_CHUNK_SIZE;

		if (!inside && chunk_last == base && !(inode->flags & INODE_TRIM)) {
			err = remove_empty(mend, inode->ino, chunk.number);
			continue;
		}
		blocks += chunk_blocks(&chunk);
		if (chunk.shared)
			*changed |= SET(inode->flags, inode->flags | INODE_SHARES);
		if (chunk.whole && chunk.overlaid)
			*changed |= SET(inode->flags, inode->flags | INODE_MIXED);
		if (!(inode->flags & INODE_TRIM) && ((chunk.whole && chunk.whole_size > inside) ||
							    chunk.overlaid & ~chunk_mask(inside)))
			end = chunk_last;
	}
	if (err != -ENOENT)
		return err == -EIO ? 0 : err;
	*changed |= SET(inode->blocks, blocks);
	*changed |= SET(inode->size, end);
	return 0;
}

static int mend_attributes(struct mend *mend, struct inode *inode, bool *changed)
{
	uint8_t prefix[INODE_KEY_SIZE];
	struct kv_cursor *cursor;
	struct kv_slice name;
	uint64_t owner;
	uint32_t size = 0;
	int err = scratch_cursor(mend->scratch, KEYSPACE_XATTR, &cursor);

	inode_key_encode(inode->ino, prefix);
	if (!err)
		err = kv_cursor_set_prefix(cursor, prefix, sizeof(prefix));
	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor))
		if (!xattr_key_decode(kv_cursor_key(cursor), &owner, &name))
			size += (uint32_t)name.size + 1;
	*changed |= SET(inode->xattr_list_size, size);
	return err == -ENOENT ? 0 : err;
}

int mend_find_note(struct mend *mend, uint64_t ino)
{
	uint8_t key[INODE_KEY_SIZE];
	struct kv_slice value;
	uint64_t noted;
	int err;

	inode_key_encode(ino, key);
	kv_read_begin(mend->fs->kv);
	err = record_get(mend->fs, KEYSPACE_ORPHAN, key, sizeof(key), &value);
	if (!err)
		err = orphan_record_decode((struct kv_slice){key, sizeof(key)}, value, &noted);
	kv_read_end(mend->fs->kv);
	return err == -EIO ? -ENOENT : err;
}

/* A file that is to be trimmed is noted, or nobody does it. */
static int mend_note(struct mend *mend, const struct inode *inode, bool *changed)
{
	int err;

	if (!(inode->flags & INODE_TRIM))
		return 0;
	err = mend_find_note(mend, inode->ino);
	if (err != -ENOENT)
		return err;
	*changed = true;
	return orphan_put(&mend->change, inode->ino);
}

static int mend_inode(struct mend *mend, struct inode *inode)
{
	bool changed = mend_counts(mend, inode);
	int err = mend_pieces(mend, inode, &changed);

	if (!err)
		err = mend_attributes(mend, inode, &changed);
	if (!err)
		err = mend_note(mend, inode, &changed);
	if (err || !changed)
		return err;
	mend_say(mend,
		"inode %llu: its size, counts or parent are put right (%u links, %llu bytes)",
		(unsigned long long)inode->ino, inode->nlink, (unsigned long long)inode->size);
	err = inode->body.size ? inode_put_body(&mend->change, inode, &inode->body, 1)
			       : inode_put(&mend->change, inode);
	return err ? err : change_commit(&mend->change);
}

int mend_inodes(struct mend *mend)
{
	int err = 0;

	for (size_t i = 0; i < mend->inos.count && !err; i++) {
		struct inode inode;

		change_lock(&mend->change, &mend->inos.inos[i], 1);
		err = inode_load(&mend->change, mend->inos.inos[i], &inode);
		if (!err)
			err = mend_inode(mend, &inode);
		else if (err == -ENOENT || err == -EIO)
			err = 0;
		change_unlock(&mend->change);
	}
	return err;
}

/* ---- notes ----------------------------------------------------------------------------------- */

int mend_orphans(struct mend *mend)
{
	struct kv_cursor *cursor;
	int err = scratch_cursor(mend->scratch, KEYSPACE_ORPHAN, &cursor);

	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		struct kv_slice key = kv_cursor_key(cursor), value;
		struct inode inode;
		uint64_t ino = 0;

		kv_read_begin(mend->fs->kv);
		err = kv_cursor_value(cursor, &value);
		if (!err)
			err = orphan_record_decode(key, value, &ino);
		kv_read_end(mend->fs->kv);
		if (!err)
			err = mend_look(mend, ino, &inode);
		if (err == -ENOMEM)
			return err;
		if (!err && (!inode.nlink || inode.flags & INODE_TRIM))
			continue;
		mend_say(mend, "inode %llu: it is not to be freed; the note is removed",
			(unsigned long long)ino);
		err = mend_delete(mend, KEYSPACE_ORPHAN, key.data, key.size);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}
