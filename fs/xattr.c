/* SPDX-License-Identifier: MIT */
/*
 * xattr.c - extended attributes: one record each, and the size of their list in the inode. Two of
 * them, access control lists, have a meaning (acl.h).
 */
#include "xattr.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "acl.h"
#include "record.h"
#include "xattr_record.h"

#define LIST_SIZE_MAX 65536u /* bytes: what listxattr can return */
#define CAPABILITY "security.capability"

/* Whether the name can be one, and how long it is. */
static int name_valid(const char *name, size_t *size)
{
	static const char *const prefixes[] = {"user.", "trusted.", "security."};
	size_t name_size = strnlen(name, KVFS_XATTR_NAME_MAX + 1);

	if (!name_size || name_size > KVFS_XATTR_NAME_MAX)
		return -ERANGE;
	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		size_t prefix_size = strlen(prefixes[i]);

		if (strncmp(name, prefixes[i], prefix_size))
			continue;
		if (name_size == prefix_size)
			return -EINVAL;
		*size = name_size;
		return 0;
	}
	*size = name_size;
	return acl_kind(name) ? 0 : -EOPNOTSUPP;
}

static int key_encode(uint64_t ino, const char *name, struct xattr_key *key)
{
	size_t size;
	int err = name_valid(name, &size);

	if (!err)
		xattr_key_encode(ino, name, size, key);
	return err;
}

static int xattr_contains(struct kvfs *fs, const struct xattr_key *key)
{
	return record_exists(fs, KEYSPACE_XATTR, key->bytes, key->size);
}

static size_t list_size(const struct xattr_key *key)
{
	return key->size - XATTR_PREFIX_SIZE + 1;
}

/*
 * Most stores hold no attribute at all, and yet are asked for one before the first write to each
 * file (security.capability) and by `ls -l`: no need to look anywhere.
 */
static bool xattrs_none(struct kvfs *fs)
{
	uint64_t count;

	return !fs->view && !kv_count(fs->kv, KEYSPACE_XATTR, &count) && !count;
}

int xattr_value(struct kvfs *fs, uint64_t ino, const char *name, struct kv_slice *value)
{
	struct xattr_key key;
	int err = key_encode(ino, name, &key);

	if (!err && xattrs_none(fs))
		err = -ENODATA;
	else if (!err)
		err = record_get(fs, KEYSPACE_XATTR, key.bytes, key.size, value);
	return err == -ENOENT ? -ENODATA : err;
}

ssize_t kvfs_getxattr(struct kvfs *fs, uint64_t ino, const char *name, void *buffer, size_t size)
{
	struct kv_slice value;
	ssize_t result;

	kv_read_begin(fs->kv);
	result = xattr_value(fs, ino, name, &value);
	if (!result && size && size < value.size) {
		result = -ERANGE;
	} else if (!result) {
		if (size && value.size)
			memcpy(buffer, value.data, value.size);
		result = (ssize_t)value.size;
	}
	kv_read_end(fs->kv);
	return result;
}

/* Fills the batch, but for the inode. */
static int set_value(struct change *change, struct inode *inode, const struct xattr_key *key,
	struct kv_slice value, int flags)
{
	int err = xattr_contains(change->fs, key);

	if (err && err != -ENOENT)
		return err;
	if (!err && flags & XATTR_CREATE)
		return -EEXIST;
	if (err && flags & XATTR_REPLACE)
		return -ENODATA;
	if (err) {
		if (inode->xattr_list_size + list_size(key) > LIST_SIZE_MAX)
			return -ENOSPC;
		inode->xattr_list_size += (uint32_t)list_size(key);
	}
	change->grows = true;
	inode->ctime = change->now;
	return kv_batch_put(
		change->batch, KEYSPACE_XATTR, key->bytes, key->size, value.data, value.size);
}

/* -ENODATA: there is none of this name. */
static int remove_value(struct change *change, struct inode *inode, const struct xattr_key *key)
{
	int err = xattr_contains(change->fs, key);

	if (err)
		return err == -ENOENT ? -ENODATA : err;
	/* A size that damage has made too small must not wrap around. */
	inode->xattr_list_size -= list_size(key) < inode->xattr_list_size ? (uint32_t)list_size(key)
									  : inode->xattr_list_size;
	return kv_batch_delete(change->batch, KEYSPACE_XATTR, key->bytes, key->size);
}

int xattr_put(struct change *change, struct inode *inode, const char *name, struct kv_slice value)
{
	struct xattr_key key;
	int err = key_encode(inode->ino, name, &key);

	return err ? err : set_value(change, inode, &key, value, 0);
}

/* An access list is also the mode, and one that says no more than a mode is not kept. */
static int set_access_list(struct change *change, struct inode *inode, const struct xattr_key *key,
	struct kv_slice value, int flags)
{
	uint32_t permissions;
	bool minimal = acl_mode(value, &permissions);
	int err;

	inode->mode = (inode->mode & ~0777u) | permissions;
	if (flags & KVFS_XATTR_KILL_SGID)
		inode->mode &= ~(uint32_t)S_ISGID;
	if (!minimal)
		return set_value(change, inode, key, value, flags);
	inode->ctime = change->now;
	err = remove_value(change, inode, key);
	return err == -ENODATA ? 0 : err;
}

static int set_list(struct change *change, struct inode *inode, enum acl_kind kind,
	const struct xattr_key *key, struct kv_slice value, int flags)
{
	int err;

	if (S_ISLNK(inode->mode))
		return -EOPNOTSUPP;
	if (kind == ACL_KIND_DEFAULT && !S_ISDIR(inode->mode))
		return -EACCES;
	err = acl_check(value);
	if (err)
		return err;
	return kind == ACL_KIND_ACCESS ? set_access_list(change, inode, key, value, flags)
				       : set_value(change, inode, key, value, flags);
}

int kvfs_setxattr(
	struct kvfs *fs, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
	enum acl_kind kind = acl_kind(name);
	struct kv_slice bytes = {value, size};
	struct change change;
	struct xattr_key key;
	struct inode inode;
	int err = key_encode(ino, name, &key);

	if (err)
		return err;
	if (flags & ~(XATTR_CREATE | XATTR_REPLACE | KVFS_XATTR_KILL_SGID))
		return -EINVAL;
	if (size > KVFS_XATTR_SIZE_MAX)
		return -E2BIG;
	err = change_begin(fs, &change);
	if (err)
		return err;
	change_lock(&change, &ino, 1);
	err = inode_load(&change, ino, &inode);
	if (!err)
		err = kind ? set_list(&change, &inode, kind, &key, bytes, flags)
			   : set_value(&change, &inode, &key, bytes, flags);
	if (!err)
		err = inode_put(&change, &inode);
	if (!err)
		err = change_commit(&change);
	change_end(&change);
	return err;
}

int kvfs_removexattr(struct kvfs *fs, uint64_t ino, const char *name)
{
	struct change change;
	struct xattr_key key;
	struct inode inode;
	int err = key_encode(ino, name, &key);

	if (err)
		return err;
	err = change_begin(fs, &change);
	if (err)
		return err;
	change_lock(&change, &ino, 1);
	kv_batch_set_frees(change.batch);
	err = inode_load(&change, ino, &inode);
	if (!err)
		err = remove_value(&change, &inode, &key);
	/* An access control list that is not there says what the mode says: it is gone already. */
	if (err == -ENODATA && acl_kind(name)) {
		err = 0;
		goto out;
	}
	inode.ctime = change.now;
	if (!err)
		err = inode_put(&change, &inode);
	if (!err)
		err = change_commit(&change);
out:
	change_end(&change);
	return err;
}

/* The next name of the inode, from the cursor's place on. -ENOENT: there is none. */
static int next_name(struct kvfs *fs, struct kv_cursor *cursor, uint64_t ino, struct kv_slice *name)
{
	uint64_t owner;

	if (xattr_key_decode(kv_cursor_key(cursor), &owner, name))
		return fs_damaged(fs, ino, "an attribute's name makes no sense");
	return owner == ino ? 0 : -ENOENT;
}

static ssize_t list_names(
	struct kvfs *fs, struct kv_cursor *cursor, uint64_t ino, char *buffer, size_t size)
{
	struct xattr_key place;
	struct kv_slice name;
	size_t used = 0;
	int err;

	xattr_key_encode(ino, "", 0, &place);
	err = kv_cursor_seek(cursor, place.bytes, place.size);
	while (!err && !(err = next_name(fs, cursor, ino, &name))) {
		if (size && name.size + 1 > size - used)
			return -ERANGE;
		if (size) {
			memcpy(buffer + used, name.data, name.size);
			buffer[used + name.size] = '\0';
		}
		used += name.size + 1;
		err = kv_cursor_next(cursor);
	}
	return err == -ENOENT ? (ssize_t)used : err;
}

ssize_t kvfs_listxattr(struct kvfs *fs, uint64_t ino, char *buffer, size_t size)
{
	struct scratch *scratch;
	struct kv_cursor *cursor;
	struct inode inode;
	ssize_t result;

	kv_read_begin(fs->kv);
	result = inode_get(fs, ino, &inode);
	kv_read_end(fs->kv);
	if (result || !inode.xattr_list_size)
		return result;
	result = scratch_take(&fs->scratch, &scratch);
	if (result)
		return result;
	result = scratch_cursor(scratch, KEYSPACE_XATTR, &cursor);
	if (!result)
		result = list_names(fs, cursor, ino, buffer, size);
	scratch_give(scratch);
	return result;
}

int xattr_erase(struct change *change, uint64_t ino)
{
	struct kv_cursor *cursor;
	struct xattr_key place;
	struct kv_slice name;
	int err = scratch_cursor(change->scratch, KEYSPACE_XATTR, &cursor);

	if (err)
		return err;
	xattr_key_encode(ino, "", 0, &place);
	err = kv_cursor_seek(cursor, place.bytes, place.size);
	while (!err && !(err = next_name(change->fs, cursor, ino, &name))) {
		struct kv_slice key = kv_cursor_key(cursor);

		err = kv_batch_delete(change->batch, KEYSPACE_XATTR, key.data, key.size);
		if (!err)
			err = kv_cursor_next(cursor);
	}
	return err == -ENOENT ? 0 : err;
}

int xattr_drop_capability(struct change *change, struct inode *inode)
{
	struct xattr_key key;
	int err;

	if (!inode->xattr_list_size)
		return 0;
	xattr_key_encode(inode->ino, CAPABILITY, sizeof(CAPABILITY) - 1, &key);
	err = remove_value(change, inode, &key);
	return err == -ENODATA ? 0 : err;
}
