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
#define TIME_NSEC_BITS 30u
#define TIME_SECONDS_MAX ((INT64_C(1) << (64 - TIME_NSEC_BITS)) - 1) /* of a narrow one */

enum inode_field {
	FIELD_MTIME = 1u << 0,
	FIELD_BTIME = 1u << 1,
	FIELD_ATIME = 1u << 2,
	FIELD_SIZE = 1u << 3,
	FIELD_BLOCKS = 1u << 4,
	FIELD_LINK = 1u << 5,
	FIELD_NLINK = 1u << 6,
	FIELD_UID = 1u << 7,
	FIELD_GID = 1u << 8,
	FIELD_XATTRS = 1u << 9,
	FIELD_FLAGS = 1u << 10,
	FIELD_WIDE = 1u << 11,
};
#define FIELDS_ALL (FIELD_WIDE * 2 - 1)
#define FIELDS_OF_TIMES (FIELD_MTIME | FIELD_BTIME | FIELD_ATIME | FIELD_WIDE)

struct inode_fixed {
	uint8_t version;
	uint8_t contents;
	uint16_t fields;
	uint16_t mode;
};
_Static_assert(sizeof(struct inode_fixed) == 6, "on disk");
_Static_assert(offsetof(struct inode_fixed, mode) == 4, "on disk");
_Static_assert(INODE_HEAD_MAX == sizeof(struct inode_fixed) + 4 * 12 + 3 * 8 + 5 * 4, "all fields");

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

static bool time_narrow(const struct timespec *time)
{
	return time->tv_sec >= 0 && time->tv_sec <= TIME_SECONDS_MAX;
}

static bool time_equal(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static uint32_t usual_nlink(uint32_t mode)
{
	return S_ISDIR(mode) ? 2 : 1;
}

static bool is_device(uint32_t mode)
{
	return S_ISCHR(mode) || S_ISBLK(mode);
}

static uint64_t inode_link(const struct inode *inode)
{
	return is_device(inode->mode) ? inode->rdev : inode->parent;
}

/* Which fields this inode needs. */
static unsigned fields_of(const struct inode *inode, uint64_t body_size)
{
	unsigned fields = 0;

	if (!time_equal(&inode->mtime, &inode->ctime))
		fields |= FIELD_MTIME;
	if (!time_equal(&inode->btime, &inode->mtime))
		fields |= FIELD_BTIME;
	if (!time_equal(&inode->atime, &inode->btime))
		fields |= FIELD_ATIME;
	if (!time_narrow(&inode->ctime) || !time_narrow(&inode->mtime) ||
		!time_narrow(&inode->btime) || !time_narrow(&inode->atime))
		fields |= FIELD_WIDE;
	fields |= inode->size != body_size ? FIELD_SIZE : 0;
	fields |= inode->blocks ? FIELD_BLOCKS : 0;
	fields |= inode_link(inode) ? FIELD_LINK : 0;
	fields |= inode->nlink != usual_nlink(inode->mode) ? FIELD_NLINK : 0;
	fields |= inode->uid ? FIELD_UID : 0;
	fields |= inode->gid != inode->uid ? FIELD_GID : 0;
	fields |= inode->xattr_list_size ? FIELD_XATTRS : 0;
	fields |= inode->flags ? FIELD_FLAGS : 0;
	return fields;
}

static uint8_t *put_32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static uint8_t *put_64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static uint8_t *put_time(uint8_t *at, unsigned fields, const struct timespec *time)
{
	if (fields & FIELD_WIDE)
		return put_32(put_64(at, (uint64_t)time->tv_sec), (uint32_t)time->tv_nsec);
	return put_64(at, (uint64_t)time->tv_sec << TIME_NSEC_BITS | (uint64_t)time->tv_nsec);
}

size_t inode_record_encode(
	const struct inode *inode, uint64_t body_size, uint8_t head[INODE_HEAD_MAX])
{
	unsigned fields = fields_of(inode, body_size);
	struct inode_fixed fixed = {
		.version = INODE_VERSION,
		.contents = (uint8_t)inode->contents,
		.fields = htole16((uint16_t)fields),
		.mode = htole16((uint16_t)inode->mode),
	};
	uint8_t *at = head + sizeof(fixed);

	memcpy(head, &fixed, sizeof(fixed));
	at = put_time(at, fields, &inode->ctime);
	if (fields & FIELD_MTIME)
		at = put_time(at, fields, &inode->mtime);
	if (fields & FIELD_BTIME)
		at = put_time(at, fields, &inode->btime);
	if (fields & FIELD_ATIME)
		at = put_time(at, fields, &inode->atime);
	if (fields & FIELD_SIZE)
		at = put_64(at, inode->size);
	if (fields & FIELD_BLOCKS)
		at = put_64(at, inode->blocks);
	if (fields & FIELD_LINK)
		at = put_64(at, inode_link(inode));
	if (fields & FIELD_NLINK)
		at = put_32(at, inode->nlink);
	if (fields & FIELD_UID)
		at = put_32(at, inode->uid);
	if (fields & FIELD_GID)
		at = put_32(at, inode->gid);
	if (fields & FIELD_XATTRS)
		at = put_32(at, inode->xattr_list_size);
	if (fields & FIELD_FLAGS)
		at = put_32(at, inode->flags);
	return (size_t)(at - head);
}

/* Does the kind of contents, and the body with it, suit the type of file? */
static bool contents_valid(const struct inode *inode)
{
	/* Only regular files have pieces, and what there is to say of them. */
	if (!S_ISREG(inode->mode) && (inode->blocks || inode->flags & INODE_OF_PIECES))
		return false;
	switch (inode->mode & S_IFMT) {
	case S_IFREG:
		if (inode->contents == INODE_INLINE)
			return inode->body.size <= inode->size && !inode->blocks;
		return inode->contents == INODE_EXTENTS && !inode->body.size;
	case S_IFLNK:
		return inode->contents == INODE_TARGET && inode->body.size &&
		       inode->body.size == inode->size && inode->size <= KVFS_SYMLINK_MAX;
	case S_IFDIR:
		return inode->contents == INODE_NONE && !inode->body.size && inode->parent;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return inode->contents == INODE_NONE && !inode->body.size;
	default:
		return false;
	}
}

/* How many of the lowest four bits are set: a digit for each number that they can be. */
static unsigned count(unsigned bits)
{
	return (unsigned)(UINT64_C(0x4332322132212110) >> (bits & 15) * 4) & 15;
}

/* How long the head is. */
static size_t head_size(unsigned fields)
{
	size_t time_size = fields & FIELD_WIDE ? 12 : 8;
	unsigned times = count(fields & (FIELD_MTIME | FIELD_BTIME | FIELD_ATIME));
	unsigned wide = count(fields / FIELD_SIZE & 7);
	unsigned narrow = count(fields / FIELD_NLINK) + (fields / FIELD_FLAGS & 1);

	return sizeof(struct inode_fixed) + time_size * (1 + times) + 8 * wide + 4 * narrow;
}

static uint32_t get_32(const uint8_t **at)
{
	uint32_t value;

	memcpy(&value, *at, sizeof(value));
	*at += sizeof(value);
	return le32toh(value);
}

static uint64_t get_64(const uint8_t **at)
{
	uint64_t value;

	memcpy(&value, *at, sizeof(value));
	*at += sizeof(value);
	return le64toh(value);
}

static struct timespec get_time(const uint8_t **at, unsigned fields)
{
	struct timespec time;
	uint64_t bits = get_64(at);

	if (fields & FIELD_WIDE) {
		time.tv_sec = (time_t)bits;
		time.tv_nsec = (long)get_32(at);
	} else {
		time.tv_sec = (time_t)(bits >> TIME_NSEC_BITS);
		time.tv_nsec = (long)(bits & ((1u << TIME_NSEC_BITS) - 1));
	}
	return time;
}

/*
 * Each inode has one form: a field that is there says something else than its absence would. Those
 * that are not there need no look for that, and most are not. False: one of them says nothing.
 */
static bool get_times(const uint8_t **at, unsigned fields, struct inode *inode)
{
	bool ok = true;

	inode->ctime = inode->mtime = get_time(at, fields);
	if (fields & FIELD_MTIME) {
		inode->mtime = get_time(at, fields);
		ok &= !time_equal(&inode->mtime, &inode->ctime);
	}
	inode->btime = inode->mtime;
	if (fields & FIELD_BTIME) {
		inode->btime = get_time(at, fields);
		ok &= !time_equal(&inode->btime, &inode->mtime);
	}
	inode->atime = inode->btime;
	if (fields & FIELD_ATIME) {
		inode->atime = get_time(at, fields);
		ok &= !time_equal(&inode->atime, &inode->btime);
	}
	if (fields & FIELD_WIDE)
		ok &= !time_narrow(&inode->ctime) || !time_narrow(&inode->mtime) ||
		      !time_narrow(&inode->btime) || !time_narrow(&inode->atime);
	return ok;
}

/* The same of numbers. */
static bool get_numbers(const uint8_t **at, unsigned fields, struct inode *inode)
{
	bool ok = true;

	inode->size = inode->body.size;
	inode->blocks = inode->parent = inode->rdev = 0;
	inode->nlink = usual_nlink(inode->mode);
	inode->uid = inode->gid = inode->xattr_list_size = inode->flags = 0;
	if (!(fields & ~FIELDS_OF_TIMES))
		return true;
	if (fields & FIELD_SIZE)
		ok &= (inode->size = get_64(at)) != inode->body.size;
	if (fields & FIELD_BLOCKS)
		ok &= (inode->blocks = get_64(at)) != 0;
	if (fields & FIELD_LINK) {
		uint64_t link = get_64(at);

		if (is_device(inode->mode))
			inode->rdev = link;
		else
			inode->parent = link;
		ok &= link != 0;
	}
	if (fields & FIELD_NLINK)
		ok &= (inode->nlink = get_32(at)) != usual_nlink(inode->mode);
	if (fields & FIELD_UID)
		ok &= (inode->uid = inode->gid = get_32(at)) != 0;
	if (fields & FIELD_GID)
		ok &= (inode->gid = get_32(at)) != inode->uid;
	if (fields & FIELD_XATTRS)
		ok &= (inode->xattr_list_size = get_32(at)) != 0;
	if (fields & FIELD_FLAGS)
		ok &= (inode->flags = get_32(at)) != 0;
	return ok;
}

static bool time_valid(const struct timespec *time)
{
	return (unsigned long)time->tv_nsec < NSEC_PER_SEC;
}

static bool inode_valid(const struct inode *inode)
{
	return !(inode->flags & ~INODE_FLAGS) && inode->parent <= INODE_INO_MAX &&
	       inode->size <= (uint64_t)KVFS_FILE_SIZE_MAX &&
	       inode->blocks <= (uint64_t)KVFS_FILE_SIZE_MAX / 4096 && contents_valid(inode) &&
	       time_valid(&inode->atime) && time_valid(&inode->mtime) &&
	       time_valid(&inode->ctime) && time_valid(&inode->btime);
}

int inode_record_decode(uint64_t ino, struct kv_slice value, struct inode *out)
{
	struct inode_fixed fixed;
	const uint8_t *at = value.data;
	unsigned fields;
	size_t head;

	if (value.size < sizeof(fixed))
		return -EIO;
	memcpy(&fixed, at, sizeof(fixed));
	at += sizeof(fixed);
	fields = le16toh(fixed.fields);
	head = head_size(fields);
	if (fixed.version != INODE_VERSION || fields & ~FIELDS_ALL || value.size < head ||
		value.size - head > INODE_BODY_MAX)
		return -EIO;
	out->ino = ino;
	out->contents = fixed.contents;
	out->mode = le16toh(fixed.mode);
	out->body = (struct kv_slice){(const uint8_t *)value.data + head, value.size - head};
	if (!get_times(&at, fields, out) || !get_numbers(&at, fields, out) || !inode_valid(out))
		return -EIO;
	return 0;
}
