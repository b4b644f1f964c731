/* SPDX-License-Identifier: MIT */
/*
 * inode_record.h - an inode as it is stored. Key: its number, 8 bytes, big-endian. Value,
 * little-endian:
 *
 *   0       1        2      4      6       14
 *   +-------+--------+------+------+-------+-- - -                -+-- - -
 *   |version|contents|fields| mode | ctime | what `fields` names   | body
 *   +-------+--------+------+------+-------+-- - -                -+-- - -
 *
 * Most inodes are small files of one owner that never had a second name: a field is there only if
 * it is not what it usually is, and `fields` says which are, in this order:
 *
 *   bit  field                                                         bytes   not there
 *   0    mtime                                                         8, 12   as ctime
 *   1    btime                                                         8, 12   as mtime
 *   2    atime                                                         8, 12   as btime
 *   3    size                                                          8       that of the body
 *   4    blocks, of 4 KiB that hold data in keyspace extent            8       0
 *   5    link: a device's number; of all else the parent               8       0
 *   6    nlink                                                         4       1, of directories 2
 *   7    uid                                                           4       0
 *   8    gid                                                           4       as uid
 *   9    bytes of the list of xattr names as listxattr returns it      4       0: there are none
 *   10   flags                                                         4       0
 *   11   wide times: 12 bytes each, seconds (signed) and nanoseconds. Otherwise a time is 8 bytes,
 *        seconds << 30 | nanoseconds, which is enough until the year 2514; wide if one of them does
 *        not fit
 *   12   and up: 0
 *
 *   body        inline contents (the file from offset 0; what is missing up to the size is a hole)
 * or the target of a symlink: one record is enough for a small file
 *
 * The parent of what is no directory is a hint: a directory that has, or had, a name of it. 0: none is
 * known.
 */
#ifndef INODE_RECORD_H
#define INODE_RECORD_H

#include <time.h>

#include "kvfs.h"

#define INODE_KEY_SIZE 8u      /* bytes */
#define INODE_HEAD_MAX 98u     /* bytes: what comes before the body, at most */
#define INODE_BODY_MAX 4096u   /* bytes the format allows */
#define INODE_INLINE_MAX 2048u /* bytes: contents that end behind this go to extents */
#define INODE_INO_MAX ((UINT64_C(1) << 48) - 1) /* the 16 bits above are the mount's */

enum inode_contents {
	INODE_NONE = 0,    /* directories, fifos, sockets, devices */
	INODE_INLINE = 1,  /* in the body */
	INODE_EXTENTS = 2, /* in keyspace extent */
	INODE_TARGET = 3,  /* a symlink's target, in the body */
};

#define INODE_MIXED (1u << 0) /* a chunk may have both its chunk piece and block pieces */
#define INODE_TRIM (1u << 1)  /* pieces beyond the size may be left: an orphan record says so too  \
			       */
#define INODE_LINKABLE (1u << 2) /* made without a name: may be given one though nlink is 0 */
#define INODE_SHARES (1u << 3)   /* a chunk's piece may be a reference */
#define INODE_OF_PIECES (INODE_MIXED | INODE_TRIM | INODE_SHARES)
#define INODE_FLAGS (INODE_OF_PIECES | INODE_LINKABLE)

struct inode {
	uint64_t ino;
	enum inode_contents contents;
	uint32_t mode, nlink, uid, gid;
	uint32_t xattr_list_size; /* bytes */
	uint32_t flags;           /* INODE_* */
	uint64_t size;            /* bytes */
	uint64_t blocks;          /* of 4 KiB */
	uint64_t parent;          /* of what is no directory a hint; 0: none */
	uint64_t rdev;            /* devices */
	struct timespec atime, mtime, ctime, btime;
	struct kv_slice body; /* somebody else's memory */
};

void inode_key_encode(uint64_t ino, uint8_t key[INODE_KEY_SIZE]);
/* -EIO: no such bytes are ever written. */
KV_MUST_CHECK int inode_key_decode(struct kv_slice key, uint64_t *ino);

/*
 * Writes what comes before a body of so many bytes (inode->body is not looked at), and returns its
 * length.
 */
size_t inode_record_encode(
	const struct inode *inode, uint64_t body_size, uint8_t head[INODE_HEAD_MAX]);
/* out->body points into `value`. -EIO: no such bytes are ever written, and *out is anything. */
KV_MUST_CHECK int inode_record_decode(uint64_t ino, struct kv_slice value, struct inode *out);

#endif
