/* SPDX-License-Identifier: MIT */
/*
 * inode.h - reading and writing inodes, for the files of the core.
 */
#ifndef INODE_H
#define INODE_H

#include "change.h"
#include "inode_record.h"

/*
 * The inode as it is now. Inside a read section; out->body lives until the thread's next read of
 * the store. Errors: -ENOENT, -EIO.
 */
KV_MUST_CHECK int inode_get(struct kvfs *fs, uint64_t ino, struct inode *out);

/*
 * The attributes of up to INODE_MANY_MAX inodes at once, which is much faster than one by one.
 * Inside a read section; each status is 0 or as of inode_get.
 */
#define INODE_MANY_MAX 32u
void inode_get_attrs(struct kvfs *fs, const uint64_t *inos, unsigned count, struct kvfs_attr *attrs,
	int *statuses);

/* An inode to change it: its stripe is locked; out->body is a copy that lives until the commit. */
KV_MUST_CHECK int inode_load(struct change *change, uint64_t ino, struct inode *out);
/*
 * The same for the last inode that an operation reads, of all that it reads from the store: the
 * body is not copied, and lives until the commit ends the read section.
 */
KV_MUST_CHECK int inode_load_last(struct change *change, uint64_t ino, struct inode *out);

/* A new inode in this directory, whose group and set-gid bit it may inherit. */
void inode_init(struct inode *inode, uint64_t ino, mode_t mode, const struct inode *parent,
	const struct kvfs_caller *caller, struct timespec now);

/* Adds the inode to the batch; with _body, its body is the concatenation of up to INODE_PARTS_MAX
 * parts. */
#define INODE_PARTS_MAX 4u
KV_MUST_CHECK int inode_put(struct change *change, const struct inode *inode);
KV_MUST_CHECK int inode_put_body(struct change *change, const struct inode *inode,
	const struct kv_slice *parts, unsigned count);
KV_MUST_CHECK int inode_delete(struct change *change, uint64_t ino);

/*
 * Keeps a held inode without a name in memory instead of the store; false if that cannot be. Then
 * inode_get finds it there, until the last hold goes or it is put, which makes it an orphan in the
 * store.
 */
bool inode_keep(struct kvfs *fs, const struct inode *inode);

/* A count that damage has made too small must not wrap around. */
static inline void inode_add_blocks(struct inode *inode, int blocks)
{
	if (blocks < 0 && inode->blocks < (uint64_t)-blocks)
		inode->blocks = 0;
	else
		inode->blocks += (uint64_t)(int64_t)blocks;
}

void inode_attr(const struct inode *inode, struct kvfs_attr *out);

/* Clears the set-id bits, and the file capabilities, as a write or a change of owner does. */
KV_MUST_CHECK int inode_kill_suidgid(struct change *change, struct inode *inode);

/* Updates atime after a read, if the mount's rule asks for it; a failure is nobody's concern. */
void inode_accessed(struct kvfs *fs, const struct inode *inode);

#endif
