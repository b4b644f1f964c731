/* SPDX-License-Identifier: MIT */
/*
 * namespace.c - looking names up, and giving them: to new files and to files there are.
 */
#include <errno.h>
#include <string.h>

#include "acl.h"
#include "entry.h"
#include "inode.h"
#include "orphan.h"

/*
 * There is no such entry: because there cannot be any? An inode keeps its type, and its number is
 * never another's; one that is gone is -ENOENT as well. So what was seen to be a directory need not
 * be read again: every new name is first looked up in vain.
 */
static int entry_missing(struct kvfs *fs, uint64_t parent_ino)
{
	_Atomic uint64_t *known = &fs->directories[parent_ino % FS_DIRECTORIES];
	struct inode parent;
	int err;

	if (atomic_load_explicit(known, memory_order_relaxed) == parent_ino)
		return -ENOENT;
	err = inode_get(fs, parent_ino, &parent);
	if (err)
		return err;
	if (!S_ISDIR(parent.mode))
		return -ENOTDIR;
	atomic_store_explicit(known, parent_ino, memory_order_relaxed);
	return -ENOENT;
}

static int lookup_inode(struct kvfs *fs, uint64_t parent_ino, const struct dirent_key *key,
	uint64_t *ino, struct inode *out)
{
	struct dirent entry;
	int err = entry_get(fs, key, &entry);

	if (err)
		return err == -ENOENT ? entry_missing(fs, parent_ino) : err;
	*ino = entry.ino;
	/*
	 * Whoever looks a name up will hold the inode: the hold's line is asked for while the inode
	 * is read.
	 */
	hold_prefetch(&fs->holds, entry.ino);
	err = inode_get(fs, entry.ino, out);
	return err == -ENOENT ? -ESTALE : err;
}

/* An entry whose inode is not there is about to go; once nobody can be changing it, it is damage.
 */
static int lookup_settled(
	struct kvfs *fs, uint64_t parent_ino, const struct dirent_key *key, struct inode *out)
{
	uint64_t ino = 0;
	int err;

	stripe_lock_shared(fs->stripes, parent_ino);
	kv_read_begin(fs->kv);
	err = lookup_inode(fs, parent_ino, key, &ino, out);
	kv_read_end(fs->kv);
	stripe_unlock_shared(fs->stripes, parent_ino);
	return err == -ESTALE ? fs_damaged(fs, ino, "it has a name but no record") : err;
}

static int lookup_dot(struct kvfs *fs, uint64_t ino, bool parent, struct inode *out)
{
	int err = inode_get(fs, ino, out);

	if (!err && !S_ISDIR(out->mode))
		err = -ENOTDIR;
	if (!err && parent)
		err = inode_get(fs, out->parent, out);
	return err;
}

int kvfs_lookup(struct kvfs *fs, uint64_t parent_ino, const char *name, struct kvfs_attr *out)
{
	struct dirent_key key;
	struct inode inode;
	uint64_t ino;
	int err = entry_key(fs, parent_ino, name, &key);

	if (err)
		return err;
	kv_read_begin(fs->kv);
	if (name_is_dot(name) || name_is_dotdot(name))
		err = lookup_dot(fs, parent_ino, name_is_dotdot(name), &inode);
	else
		err = lookup_inode(fs, parent_ino, &key, &ino, &inode);
	if (!err)
		inode_attr(&inode, out);
	kv_read_end(fs->kv);
	if (err != -ESTALE)
		return err;
	err = lookup_settled(fs, parent_ino, &key, &inode);
	if (!err)
		inode_attr(&inode, out);
	return err;
}

/* Can this name be given in this directory? */
static int entry_free(struct change *change, const struct dirent_key *key)
{
	struct dirent entry;
	int err = entry_get(change->fs, key, &entry);

	if (!err)
		return -EEXIST;
	return err == -ENOENT ? 0 : err;
}

static int new_key(
	const struct kvfs *fs, uint64_t parent_ino, const char *name, struct dirent_key *out)
{
	int err = entry_key(fs, parent_ino, name, out);

	if (!err && (name_is_dot(name) || name_is_dotdot(name)))
		err = -EEXIST;
	return err;
}

/* The properties of a new file, apart from its place. */
struct template
{
	const struct kvfs_caller *caller;
	mode_t mode;
	uint64_t rdev;
	struct kv_slice target; /* symlinks */
};

/* Fills the batch. */
static int create_entry(struct change *change, const struct template *template, uint64_t ino,
	uint64_t parent_ino, const struct dirent_key *key, struct inode *out)
{
	bool is_directory = S_ISDIR(template->mode);
	struct inode parent;
	int err = directory_load(change, parent_ino, &parent);

	if (!err)
		err = entry_free(change, key);
	if (!err && is_directory && parent.nlink >= KVFS_LINK_MAX)
		err = -EMLINK;
	if (err)
		return err;
	change->grows = true;
	inode_init(out, ino, template->mode, &parent, template->caller, change->now);
	out->rdev = template->rdev;
	if (S_ISLNK(template->mode)) {
		out->contents = INODE_TARGET;
		out->body = template->target;
		out->size = template->target.size;
	}
	directory_changed(&parent, (int64_t)entry_cost(key), is_directory, change->now);
	err = acl_inherit(change, &parent, template->caller->umask, out);
	if (!err)
		err = inode_put(change, out);
	if (!err)
		err = entry_put(change, key, out);
	return err ? err : inode_put(change, &parent);
}

static int create(struct kvfs *fs, const struct template *template, uint64_t parent_ino,
	const char *name, struct kvfs_attr *out)
{
	struct change change;
	struct dirent_key key;
	struct inode inode;
	uint64_t ino;
	int err = new_key(fs, parent_ino, name, &key);

	if (!err)
		err = change_begin(fs, &change);
	if (err)
		return err;
	err = number_next(&fs->numbers, &ino);
	if (err)
		goto out;
	change_lock(&change, &parent_ino, 1);
	err = create_entry(&change, template, ino, parent_ino, &key, &inode);
	if (!err)
		err = change_commit(&change);
	if (!err)
		inode_attr(&inode, out);
out:
	change_end(&change);
	return err;
}

int kvfs_mknod(struct kvfs *fs, const struct kvfs_caller *caller, uint64_t parent_ino,
	const char *name, mode_t mode, uint64_t rdev, struct kvfs_attr *out)
{
	struct template template = {caller, mode & (S_IFMT | 07777), 0, {NULL, 0}};

	switch (mode & S_IFMT) {
	case 0:
		template.mode |= S_IFREG;
		break;
	case S_IFCHR:
	case S_IFBLK:
		template.rdev = rdev;
		break;
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return -EINVAL;
	}
	return create(fs, &template, parent_ino, name, out);
}

int kvfs_mkdir(struct kvfs *fs, const struct kvfs_caller *caller, uint64_t parent_ino,
	const char *name, mode_t mode, struct kvfs_attr *out)
{
	struct template template = {caller, S_IFDIR | (mode & 07777), 0, {NULL, 0}};

	return create(fs, &template, parent_ino, name, out);
}

int kvfs_symlink(struct kvfs *fs, const struct kvfs_caller *caller, const char *target,
	uint64_t parent_ino, const char *name, struct kvfs_attr *out)
{
	struct kvfs_caller owner = {.uid = caller->uid, .gid = caller->gid};
	size_t size = strnlen(target, KVFS_SYMLINK_MAX + 1);
	struct template template = {&owner, S_IFLNK | 0777, 0, {target, size}};

	if (!size)
		return -ENOENT;
	if (size > KVFS_SYMLINK_MAX)
		return -ENAMETOOLONG;
	return create(fs, &template, parent_ino, name, out);
}

/* Fills the batch. */
static int create_nameless(struct change *change, const struct kvfs_caller *caller, mode_t mode,
	uint64_t ino, uint64_t parent_ino, struct inode *out)
{
	struct inode parent;
	int err = directory_load(change, parent_ino, &parent);

	if (err)
		return err;
	change->grows = true;
	inode_init(out, ino, mode, &parent, caller, change->now);
	out->nlink = 0;
	out->parent = 0;
	out->flags = INODE_LINKABLE;
	err = acl_inherit(change, &parent, caller->umask, out);
	if (!err)
		err = inode_put(change, out);
	return err ? err : orphan_put(change, ino);
}

int kvfs_tmpfile(struct kvfs *fs, const struct kvfs_caller *caller, uint64_t parent_ino,
	mode_t mode, struct kvfs_attr *out)
{
	struct change change;
	struct inode inode;
	uint64_t ino;
	int err;

	if (mode & S_IFMT && !S_ISREG(mode))
		return -EINVAL;
	err = change_begin(fs, &change);
	if (err)
		return err;
	err = number_next(&fs->numbers, &ino);
	if (err)
		goto out;
	change_lock(&change, &parent_ino, 1);
	err = create_nameless(&change, caller, S_IFREG | (mode & 07777), ino, parent_ino, &inode);
	if (!err)
		err = change_commit(&change);
	if (err)
		goto out;
	/* Nobody else knows the number yet. */
	hold_add(&fs->holds, ino, 1);
	(void)hold_mark(&fs->holds, ino, true);
	inode_attr(&inode, out);
out:
	change_end(&change);
	return err;
}

/* Fills the batch. */
static int link_entry(struct change *change, uint64_t ino, uint64_t parent_ino,
	const struct dirent_key *key, struct inode *out)
{
	struct inode parent;
	int err = directory_load(change, parent_ino, &parent);

	if (!err)
		err = inode_load(change, ino, out);
	if (!err && S_ISDIR(out->mode))
		err = -EPERM;
	if (!err)
		err = entry_free(change, key);
	if (!err && !out->nlink && !(out->flags & INODE_LINKABLE))
		err = -ENOENT;
	if (!err && out->nlink >= KVFS_LINK_MAX)
		err = -EMLINK;
	if (err)
		return err;
	change->grows = true;
	if (!out->nlink++ && !(out->flags & INODE_TRIM))
		err = orphan_delete(change, ino);
	out->flags &= ~(unsigned)INODE_LINKABLE;
	out->ctime = change->now;
	if (out->nlink == 1)
		out->parent = parent_ino;
	directory_changed(&parent, (int64_t)entry_cost(key), 0, change->now);
	if (!err)
		err = inode_put(change, out);
	if (!err)
		err = entry_put(change, key, out);
	return err ? err : inode_put(change, &parent);
}

int kvfs_link(
	struct kvfs *fs, uint64_t ino, uint64_t parent_ino, const char *name, struct kvfs_attr *out)
{
	struct change change;
	struct dirent_key key;
	struct inode inode;
	int err = new_key(fs, parent_ino, name, &key);

	if (!err)
		err = change_begin(fs, &change);
	if (err)
		return err;
	change_lock(&change, (uint64_t[]){parent_ino, ino}, 2);
	err = link_entry(&change, ino, parent_ino, &key, &inode);
	if (!err)
		err = change_commit(&change);
	if (!err) {
		(void)hold_mark(&fs->holds, ino, false);
		inode_attr(&inode, out);
	}
	change_end(&change);
	return err;
}

ssize_t kvfs_readlink(struct kvfs *fs, uint64_t ino, char *buffer, size_t size)
{
	struct inode inode;
	ssize_t result;

	kv_read_begin(fs->kv);
	result = inode_get(fs, ino, &inode);
	if (!result && inode.contents != INODE_TARGET)
		result = -EINVAL;
	if (!result && inode.body.size > size)
		result = -ERANGE;
	if (!result) {
		memcpy(buffer, inode.body.data, inode.body.size);
		result = (ssize_t)inode.body.size;
	}
	kv_read_end(fs->kv);
	if (result > 0)
		inode_accessed(fs, &inode);
	return result;
}
