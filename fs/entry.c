/* SPDX-License-Identifier: MIT */
/*
 * entry.c - reading and writing directory entries.
 */
#include "entry.h"

#include <errno.h>

#include "inode.h"
#include "record.h"

int name_valid(const char *name, size_t *out)
{
	size_t size = strnlen(name, KVFS_NAME_MAX + 1);

	if (size > KVFS_NAME_MAX)
		return -ENAMETOOLONG;
	if (!size || memchr(name, '/', size))
		return -EINVAL;
	*out = size;
	return 0;
}

bool name_is_dot(const char *name)
{
	return name[0] == '.' && !name[1];
}

bool name_is_dotdot(const char *name)
{
	return name[0] == '.' && name[1] == '.' && !name[2];
}

int entry_key(const struct kvfs *fs, uint64_t parent, const char *name, struct dirent_key *out)
{
	size_t size;
	int err = name_valid(name, &size);

	if (!err)
		dirent_key_encode(fs->name_secret, parent, name, size, out);
	return err;
}

int entry_get(struct kvfs *fs, const struct dirent_key *key, struct dirent *out)
{
	struct kv_slice value;
	struct dirent parent;
	int err = record_get(fs, KEYSPACE_DIRENT, key->bytes, key->size, &value);

	if (err)
		return err;
	err = dirent_value_decode(value, out);
	if (!err)
		return 0;
	if (dirent_key_decode((struct kv_slice){key->bytes, key->size}, &parent))
		parent.parent = 0;
	return fs_damaged(fs, parent.parent, "one of its entries makes no sense");
}

int entry_put(struct change *change, const struct dirent_key *key, const struct inode *inode)
{
	uint8_t value[DIRENT_VALUE_SIZE];

	dirent_value_encode(inode->ino, inode->mode, value);
	return kv_batch_put(
		change->batch, KEYSPACE_DIRENT, key->bytes, key->size, value, sizeof(value));
}

int entry_delete(struct change *change, const struct dirent_key *key)
{
	return kv_batch_delete(change->batch, KEYSPACE_DIRENT, key->bytes, key->size);
}

int directory_load(struct change *change, uint64_t ino, struct inode *out)
{
	int err = inode_load(change, ino, out);

	if (err)
		return err;
	if (!S_ISDIR(out->mode))
		return -ENOTDIR;
	return out->nlink ? 0 : -ENOENT;
}

void directory_changed(struct inode *directory, int64_t size, int subdirs, struct timespec now)
{
	/* A size that damage has made too small must not wrap around. */
	if (size < 0 && directory->size < (uint64_t)-size)
		directory->size = 0;
	else
		directory->size += (uint64_t)size;
	directory->nlink += (uint32_t)subdirs;
	directory->mtime = directory->ctime = now;
}
