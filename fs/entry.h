/* SPDX-License-Identifier: MIT */
/*
 * entry.h - reading and writing directory entries, for the files of the core.
 */
#ifndef ENTRY_H
#define ENTRY_H

#include "change.h"
#include "dirent_record.h"
#include "inode_record.h"

/*
 * Is this a valid name for an entry? Errors: -EINVAL empty or with '/', -ENAMETOOLONG. "." and ".."
 * pass.
 */
KV_MUST_CHECK int name_valid(const char *name, size_t *size);
bool name_is_dot(const char *name);
bool name_is_dotdot(const char *name);

/* The key of a name in a directory; as name_valid. */
KV_MUST_CHECK int entry_key(
	const struct kvfs *fs, uint64_t parent, const char *name, struct dirent_key *out);

/* Reads an entry (ino and type only), in a read section. -ENOENT, -EIO */
KV_MUST_CHECK int entry_get(struct kvfs *fs, const struct dirent_key *key, struct dirent *out);
KV_MUST_CHECK int entry_put(
	struct change *change, const struct dirent_key *key, const struct inode *inode);
KV_MUST_CHECK int entry_delete(struct change *change, const struct dirent_key *key);

/* The bytes that an entry with this key adds to the size of its directory. */
static inline uint64_t entry_cost(const struct dirent_key *key)
{
	return dirent_size(key->size - DIRENT_PREFIX_SIZE);
}

/* A directory that may get entries: -ENOENT, -ENOTDIR. Its stripe is locked. */
KV_MUST_CHECK int directory_load(struct change *change, uint64_t ino, struct inode *out);
/*
 * Notes that the directory's entries changed: what `size` and `subdirs` gain or lose, and the time.
 */
void directory_changed(struct inode *directory, int64_t size, int subdirs, struct timespec now);

#endif
