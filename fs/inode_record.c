/* SPDX-License-Identifier: MIT */
/*
 * inode_record.c - encodes and validates stored inodes.
 */
#include "inode_record.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define INODE_VERSION 1u
#define NSEC_PER_SEC 1000000000u

struct inode_head {
	uint8_t version;
	uint8_t contents;
	uint16_t reserved;
	uint32_t mode, nlink, uid, gid;
	uint32_t xattr_list_size;
	uint64_t size;
	uint64_t blocks;
	uint64_t link;
	int64_t seconds[4];
	uint32_t nanoseconds[4];
	uint32_t flags;
	uint32_t reserved2;
};
_Static_assert(sizeof(struct inode_head) == INODE_HEAD_SIZE, "on disk");
_Static_assert(offsetof(struct inode_head, mode) == 4, "on disk");
_Static_assert(offsetof(struct inode_head, size) == 24, "on disk");
_Static_assert(offsetof(struct inode_head, link) == 40, "on disk");
_Static_assert(offsetof(struct inode_head, seconds) == 48, "on disk");
_Static_assert(offsetof(struct inode_head, nanoseconds) == 80, "on disk");
_Static_assert(offsetof(struct inode_head, flags) == 96, "on disk");

void inode_key_encode(uint64_t ino, uint8_t key[INODE_KEY_SIZE])
{
	ino = htobe64(ino);
	memcpy(key, &ino, sizeof(ino));
}

int inode_key_decode(struct kv_slice key, uint64_t *ino)
{
	uint64_t number;

	if (key.size != sizeof(number))
		return -EIO;
	memcpy(&number, key.data, sizeof(number));
	number = be64toh(number);
	if (number < KVFS_ROOT_INO || number > INODE_INO_MAX)
		return -EIO;
	*ino = number;
	return 0;
}

static void time_encode(struct inode_head *head, unsigned which, const struct timespec *time)
{
	head->seconds[which] = (int64_t)htole64((uint64_t)time->tv_sec);
	head->nanoseconds[which] = htole32((uint32_t)time->tv_nsec);
}

void inode_record_encode(const struct inode *inode, uint8_t out[INODE_HEAD_SIZE])
{
	struct inode_head head = {
		.version = INODE_VERSION,
		.contents = (uint8_t)inode->contents,
		.mode = htole32(inode->mode),
		.nlink = htole32(inode->nlink),
		.uid = htole32(inode->uid),
		.gid = htole32(inode->gid),
		.xattr_list_size = htole32(inode->xattr_list_size),
		.size = htole64(inode->size),
		.blocks = htole64(inode->blocks),
		.link = htole64(S_ISDIR(inode->mode) ? inode->parent : inode->rdev),
		.flags = htole32(inode->flags),
	};

	time_encode(&head, 0, &inode->atime);
	time_encode(&head, 1, &inode->mtime);
	time_encode(&head, 2, &inode->ctime);
	time_encode(&head, 3, &inode->btime);
	memcpy(out, &head, sizeof(head));
}

/* Does the kind of contents, and the body with it, suit the type of file? */
static bool contents_valid(const struct inode *inode)
{
	switch (inode->mode & S_IFMT) {
	case S_IFREG:
		if (inode->contents == INODE_INLINE)
			return inode->body.size <= inode->size && !inode->blocks;
		return inode->contents == INODE_EXTENTS && !inode->body.size;
	case S_IFLNK:
		return inode->contents == INODE_TARGET && inode->body.size &&
		       inode->body.size == inode->size && inode->size <= KVFS_SYMLINK_MAX;
	case S_IFDIR:
		return inode->contents == INODE_NONE && !inode->body.size && inode->parent &&
		       inode->parent <= INODE_INO_MAX;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return inode->contents == INODE_NONE && !inode->body.size;
	default:
		return false;
	}
}

static struct timespec time_decode(const struct inode_head *head, unsigned which)
{
	return (struct timespec){
		.tv_sec = (time_t)le64toh((uint64_t)head->seconds[which]),
		.tv_nsec = (long)le32toh(head->nanoseconds[which]),
	};
}

int inode_record_decode(uint64_t ino, struct kv_slice value, struct inode *out)
{
	struct inode_head head;
	uint64_t link;

	if (value.size < sizeof(head) || value.size - sizeof(head) > INODE_BODY_MAX)
		return -EIO;
	memcpy(&head, value.data, sizeof(head));
	link = le64toh(head.link);
	struct inode inode = {
		.ino = ino,
		.contents = head.contents,
		.mode = le32toh(head.mode),
		.nlink = le32toh(head.nlink),
		.uid = le32toh(head.uid),
		.gid = le32toh(head.gid),
		.xattr_list_size = le32toh(head.xattr_list_size),
		.flags = le32toh(head.flags),
		.size = le64toh(head.size),
		.blocks = le64toh(head.blocks),
		.atime = time_decode(&head, 0),
		.mtime = time_decode(&head, 1),
		.ctime = time_decode(&head, 2),
		.btime = time_decode(&head, 3),
		.body = {(const uint8_t *)value.data + sizeof(head), value.size - sizeof(head)},
	};
	if (S_ISDIR(inode.mode))
		inode.parent = link;
	else
		inode.rdev = link;
	if (head.version != INODE_VERSION || head.reserved || head.reserved2 ||
		(inode.flags & ~INODE_FLAGS) || inode.size > (uint64_t)KVFS_FILE_SIZE_MAX ||
		inode.blocks > (uint64_t)KVFS_FILE_SIZE_MAX / 4096 || !contents_valid(&inode))
		return -EIO;
	for (unsigned i = 0; i < 4; i++)
		if (le32toh(head.nanoseconds[i]) >= NSEC_PER_SEC)
			return -EIO;
	*out = inode;
	return 0;
}
