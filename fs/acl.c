/* SPDX-License-Identifier: MIT */
/*
 * acl.c - see acl.h. Lists are worked on as the bytes that they are stored as.
 */
#include "acl.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "xattr.h"

#define ACL_VERSION 2u
#define ACL_HEADER_SIZE sizeof(uint32_t)

enum acl_tag {
	ACL_USER_OBJ = 0x01,
	ACL_USER = 0x02,
	ACL_GROUP_OBJ = 0x04,
	ACL_GROUP = 0x08,
	ACL_MASK = 0x10,
	ACL_OTHER = 0x20,
};

struct acl_entry {
	uint16_t tag;
	uint16_t perm;
	uint32_t id;
};

static size_t entry_count(struct kv_slice acl)
{
	return (acl.size - ACL_HEADER_SIZE) / sizeof(struct acl_entry);
}

static struct acl_entry entry_get(struct kv_slice acl, size_t i)
{
	struct acl_entry entry;

	memcpy(&entry, (const uint8_t *)acl.data + ACL_HEADER_SIZE + i * sizeof(entry),
		sizeof(entry));
	entry.tag = le16toh(entry.tag);
	entry.perm = le16toh(entry.perm);
	entry.id = le32toh(entry.id);
	return entry;
}

static void perm_set(uint8_t *acl, size_t i, unsigned perm)
{
	uint16_t stored = htole16((uint16_t)perm);

	memcpy(acl + ACL_HEADER_SIZE + i * sizeof(struct acl_entry) +
			offsetof(struct acl_entry, perm),
		&stored, sizeof(stored));
}

enum acl_kind acl_kind(const char *name)
{
	if (!strcmp(name, ACL_ACCESS))
		return ACL_KIND_ACCESS;
	return strcmp(name, ACL_DEFAULT) ? ACL_KIND_NONE : ACL_KIND_DEFAULT;
}

/* Tags come in rising order, each of the unnamed ones at most once. */
int acl_check(struct kv_slice acl)
{
	unsigned seen = 0, last = 0;
	uint32_t version;
	size_t i;

	if (acl.size < ACL_HEADER_SIZE ||
		(acl.size - ACL_HEADER_SIZE) % sizeof(struct acl_entry) != 0)
		return -EINVAL;
	if (acl.size > ACL_SIZE_MAX)
		return -ENOSPC;
	memcpy(&version, acl.data, sizeof(version));
	if (le32toh(version) != ACL_VERSION)
		return -EINVAL;
	for (i = 0; i < entry_count(acl); i++) {
		struct acl_entry entry = entry_get(acl, i);
		bool named = entry.tag == ACL_USER || entry.tag == ACL_GROUP;

		if (!entry.tag || entry.tag & (entry.tag - 1) || entry.tag > ACL_OTHER ||
			entry.perm > 7 || entry.tag < last || (entry.tag == last && !named))
			return -EINVAL;
		seen |= entry.tag;
		last = entry.tag;
	}
	if ((seen & ACL_USER_OBJ) && (seen & ACL_GROUP_OBJ) && (seen & ACL_OTHER) &&
		(!(seen & (ACL_USER | ACL_GROUP)) || seen & ACL_MASK))
		return 0;
	return -EINVAL;
}

bool acl_mode(struct kv_slice acl, uint32_t *permissions)
{
	uint32_t mode = 0, group = 0;
	bool minimal = true;
	size_t i;

	for (i = 0; i < entry_count(acl); i++) {
		struct acl_entry entry = entry_get(acl, i);

		switch ((enum acl_tag)entry.tag) {
		case ACL_USER_OBJ:
			mode |= (uint32_t)entry.perm << 6;
			break;
		case ACL_GROUP_OBJ:
			group = entry.perm;
			break;
		case ACL_MASK:
			group = entry.perm;
			minimal = false;
			break;
		case ACL_OTHER:
			mode |= entry.perm;
			break;
		case ACL_USER:
		case ACL_GROUP:
			minimal = false;
			break;
		}
	}
	*permissions = mode | group << 3;
	return minimal;
}

/*
 * Puts a mode's permissions in the entries that stand for them; with `bound`, only takes away what
 * the mode has not. Returns the permissions that the list gives then.
 */
static uint32_t mode_apply(uint8_t *bytes, size_t size, uint32_t mode, bool bound)
{
	struct kv_slice acl = {bytes, size};
	size_t i, count = entry_count(acl), group = count;
	uint32_t permissions;

	for (i = 0; i < count; i++) {
		struct acl_entry entry = entry_get(acl, i);
		unsigned shift = entry.tag == ACL_USER_OBJ ? 6 : 0;

		/* A mask, which comes later, is the group of the mode. */
		if (entry.tag == ACL_GROUP_OBJ || entry.tag == ACL_MASK)
			group = i;
		if (entry.tag == ACL_USER_OBJ || entry.tag == ACL_OTHER)
			perm_set(bytes, i, mode >> shift & 7 & (bound ? entry.perm : 7u));
	}
	if (group < count)
		perm_set(bytes, group, mode >> 3 & 7 & (bound ? entry_get(acl, group).perm : 7u));
	(void)acl_mode(acl, &permissions);
	return permissions;
}

/* Copies an inode's list. 0: it has none; else its size */
static ssize_t acl_get(
	struct kvfs *fs, const struct inode *inode, const char *name, uint8_t bytes[ACL_SIZE_MAX])
{
	struct kv_slice value;
	int err;

	if (!inode->xattr_list_size)
		return 0;
	err = xattr_value(fs, inode->ino, name, &value);
	if (err)
		return err == -ENODATA ? 0 : err;
	if (acl_check(value))
		return fs_damaged(fs, inode->ino, "its access control list makes no sense");
	memcpy(bytes, value.data, value.size);
	return (ssize_t)value.size;
}

int acl_chmod(struct change *change, struct inode *inode)
{
	uint8_t bytes[ACL_SIZE_MAX];
	ssize_t size = acl_get(change->fs, inode, ACL_ACCESS, bytes);

	if (size <= 0)
		return (int)size;
	mode_apply(bytes, (size_t)size, inode->mode, false);
	return xattr_put(change, inode, ACL_ACCESS, (struct kv_slice){bytes, (size_t)size});
}

int acl_inherit(
	struct change *change, const struct inode *parent, mode_t umask, struct inode *inode)
{
	uint8_t bytes[ACL_SIZE_MAX];
	struct kv_slice acl = {bytes, 0};
	uint32_t permissions;
	ssize_t size = 0;
	int err = 0;

	if (!S_ISLNK(inode->mode))
		size = acl_get(change->fs, parent, ACL_DEFAULT, bytes);
	if (size < 0)
		return (int)size;
	if (!size) {
		inode->mode &= ~(umask & 0777u);
		return 0;
	}
	acl.size = (size_t)size;
	if (S_ISDIR(inode->mode))
		err = xattr_put(change, inode, ACL_DEFAULT, acl);
	if (err)
		return err;
	permissions = mode_apply(bytes, acl.size, inode->mode, true);
	inode->mode = (inode->mode & ~0777u) | permissions;
	return acl_mode(acl, &permissions) ? 0 : xattr_put(change, inode, ACL_ACCESS, acl);
}
