/* SPDX-License-Identifier: MIT */
/*
 * check_tree.c - checks names. Entries come sorted by directory, so a directory's size and link
 * count are summed up while its entries pass by. Files with several names are counted in a table;
 * everything else is a bit per inode.
 */
#include <errno.h>

#include "check.h"
#include "entry.h"
#include "keyspaces.h"

/* The directory whose entries are passing by. */
struct group {
	uint64_t ino; /* 0: none yet */
	uint64_t size;
	uint64_t subdirs;
};

/* 1 the first time that this inode is found, then 0; -ENOMEM */
static int check_seen(struct check *check, uint64_t ino)
{
	int first = number_set_add(&check->seen, ino);

	if (first > 0)
		check->inodes++;
	return first;
}

/* Reads an inode; a damaged one is a finding, and `missing`. */
static int check_read(
	struct check *check, const struct check_place *place, struct inode *out, bool *missing)
{
	int err = inode_get(check->fs, place->ino, out);

	*missing = err;
	if (err == -ENOENT)
		check_finding(check, place, "it has a name but no record");
	else if (err == -EIO)
		check_finding(check, place, "its record cannot be read");
	else
		return err;
	/* A record that cannot be read is there all the same. */
	if (err == -EIO)
		err = check_seen(check, place->ino);
	return err < 0 && err != -ENOENT ? err : 0;
}

static void check_group(struct check *check, const struct group *group)
{
	struct check_place place = {.ino = group->ino};
	struct inode inode;
	int err;

	if (!group->ino)
		return;
	err = inode_get(check->fs, group->ino, &inode);
	if (err && check_is_damage(check, err))
		check_finding(check, &place, "it has entries but no record");
	if (err)
		return;
	if (!S_ISDIR(inode.mode))
		check_finding(check, &place, "it has entries but is no directory");
	else if (inode.size != group->size)
		check_finding(check, &place, "its size is %llu, its entries come to %llu",
			(unsigned long long)inode.size, (unsigned long long)group->size);
	else if (inode.nlink != 2 + group->subdirs)
		check_finding(check, &place, "its link count is %u, it has %llu subdirectories",
			inode.nlink, (unsigned long long)group->subdirs);
}

/* A directory that says it has entries, or subdirectories, must have some. */
static int check_empty(
	struct check *check, const struct check_place *place, const struct inode *inode)
{
	struct kv_cursor *cursor;
	struct dirent_key key;
	struct dirent entry;
	int err;

	if (!inode->size && inode->nlink == 2)
		return 0;
	err = scratch_cursor(check->inner, KEYSPACE_DIRENT, &cursor);
	if (err)
		return err;
	dirent_key_place(inode->ino, 0, &key);
	err = kv_cursor_seek(cursor, key.bytes, key.size);
	if (err && err != -ENOENT)
		return err;
	if (err || dirent_key_decode(kv_cursor_key(cursor), &entry) || entry.parent != inode->ino)
		check_finding(check, place, "it is empty, but its size is %llu, its link count %u",
			(unsigned long long)inode->size, inode->nlink);
	return 0;
}

static int check_directory(
	struct check *check, const struct check_place *place, const struct inode *inode, bool first)
{
	uint64_t *parent;

	if (!first || inode->ino == KVFS_ROOT_INO)
		check_finding(check, place, "it is a directory with more than one name");
	if (inode->parent != place->parent && inode->ino != KVFS_ROOT_INO)
		check_finding(
			check, place, "its \"..\" is %llu", (unsigned long long)inode->parent);
	if (!first)
		return 0;
	parent = number_table_at(&check->parents, inode->ino);
	if (!parent)
		return -ENOMEM;
	*parent = place->parent;
	return check_empty(check, place, inode);
}

static int check_file(
	struct check *check, const struct check_place *place, const struct inode *inode, bool first)
{
	uint64_t *links;

	if (!inode->nlink)
		check_finding(check, place, "it has a name but its link count is 0");
	if (first && inode->nlink <= 1)
		return 0;
	links = number_table_at(&check->links, inode->ino);
	if (!links)
		return -ENOMEM;
	/* One that should have a single name was not counted when that came by. */
	*links += !first && inode->nlink <= 1 && !*links ? 2 : 1;
	return 0;
}

/* The inode that an entry names. */
static int check_named(struct check *check, const struct check_place *place, uint32_t type)
{
	struct inode inode;
	bool missing;
	int first, err = check_read(check, place, &inode, &missing);

	if (err || missing)
		return err;
	first = check_seen(check, inode.ino);
	if (first < 0)
		return first;
	if ((inode.mode & S_IFMT) != type)
		check_finding(check, place, "its entry says type %o, it is %o", type >> 12,
			(inode.mode & S_IFMT) >> 12);
	if (S_ISDIR(inode.mode))
		err = check_directory(check, place, &inode, first);
	else
		err = check_file(check, place, &inode, first);
	return !err && first ? check_inode(check, place, &inode) : err;
}

/* The entry under the cursor. In a read section. */
static int check_entry(struct check *check, struct kv_cursor *cursor, struct group *group)
{
	struct check_place place = {0};
	struct kv_slice value;
	struct dirent entry;
	int err;

	if (dirent_key_decode(kv_cursor_key(cursor), &entry)) {
		check_finding(check, NULL, "the key of a directory entry makes no sense");
		return 0;
	}
	if (entry.parent != group->ino) {
		check_group(check, group);
		*group = (struct group){.ino = entry.parent};
	}
	group->size += dirent_size(entry.name_size);
	place.parent = entry.parent;
	place.name = entry.name;
	place.name_size = entry.name_size;
	err = kv_cursor_value(cursor, &value);
	if (!err)
		err = dirent_value_decode(value, &entry);
	if (err) {
		if (check_is_damage(check, err))
			check_finding(check, &place, "the entry cannot be read");
		return 0;
	}
	place.ino = entry.ino;
	group->subdirs += S_ISDIR(entry.type);
	if (!dirent_hash_matches(check->fs->name_secret, &entry))
		check_finding(check, &place, "its entry has the hash of another name");
	return check_named(check, &place, entry.type);
}

static int check_entries(struct check *check)
{
	struct group group = {0};
	struct kv_cursor *cursor;
	int err = scratch_cursor(check->outer, KEYSPACE_DIRENT, &cursor);

	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		err = check_step(check);
		if (err)
			return err;
		kv_read_begin(check->fs->kv);
		err = check_entry(check, cursor, &group);
		kv_read_end(check->fs->kv);
		if (err)
			return err;
	}
	check_group(check, &group);
	return err == -ENOENT ? 0 : err;
}

static int check_root(struct check *check)
{
	struct check_place place = {.ino = KVFS_ROOT_INO};
	struct inode inode;
	bool missing;
	int first, err;

	kv_read_begin(check->fs->kv);
	err = check_read(check, &place, &inode, &missing);
	if (!err && !missing) {
		first = check_seen(check, inode.ino);
		if (inode.parent != KVFS_ROOT_INO)
			check_finding(check, &place, "the root's \"..\" is %llu",
				(unsigned long long)inode.parent);
		err = first < 0 ? first : check_empty(check, &place, &inode);
		if (!err)
			err = check_inode(check, &place, &inode);
	}
	kv_read_end(check->fs->kv);
	return err;
}

static void check_links(struct check *check)
{
	for (size_t i = 0; i < check->links.capacity; i++) {
		const struct number_slot *slot = &check->links.slots[i];
		struct check_place place = {.ino = slot->key - 1};
		struct inode inode;
		int err;

		if (!slot->key)
			continue;
		kv_read_begin(check->fs->kv);
		err = inode_get(check->fs, place.ino, &inode);
		kv_read_end(check->fs->kv);
		if (err)
			(void)check_is_damage(check, err);
		else if (inode.nlink != slot->value)
			check_finding(check, &place, "its link count is %u, it has %llu names",
				inode.nlink, (unsigned long long)slot->value);
	}
}

/* Everything on the way from here up is settled: it leads to `end`. */
static void settle_way(struct check *check, uint64_t ino, uint64_t end)
{
	uint64_t *parent;

	while (ino != KVFS_ROOT_INO && (parent = number_table_find(&check->parents, ino)) &&
		*parent != end) {
		ino = *parent;
		*parent = end;
	}
}

/* Does this directory lead to the root? 0 as a parent stands for "known not to". */
static void check_way(struct check *check, uint64_t start)
{
	struct check_place place = {.ino = start};
	uint64_t ino = start;

	for (size_t steps = 0; ino != KVFS_ROOT_INO; steps++) {
		uint64_t *parent = number_table_find(&check->parents, ino);

		if (!parent || !*parent || steps > check->parents.used) {
			check_finding(check, &place, "its parents do not lead to the root");
			settle_way(check, start, 0);
			return;
		}
		ino = *parent;
	}
	settle_way(check, start, KVFS_ROOT_INO);
}

int check_tree(struct check *check)
{
	int err = check_root(check);

	if (!err)
		err = check_entries(check);
	if (err)
		return err;
	check_links(check);
	for (size_t i = 0; i < check->parents.capacity; i++)
		if (check->parents.slots[i].key)
			check_way(check, check->parents.slots[i].key - 1);
	return 0;
}
