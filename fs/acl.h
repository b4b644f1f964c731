/* SPDX-License-Identifier: MIT */
/*
 * acl.h - POSIX access control lists (POSIX 1003.1e draft 17, as Linux has them): what they mean
 * for a mode, and the other way round. They are the extended attributes system.posix_acl_access and
 * _default; the kernel checks permissions against them.
 *
 *   0       4      6      8          12
 *   +-------+------+------+----------+- - -
 *   | 2     | tag  | perm | id       | the next entry
 *   +-------+------+------+----------+- - -
 *
 * Little-endian. One entry each for the owner, the owning group and others; any number for named
 * users and groups, and then a mask, which bounds those and the owning group and is what a mode
 * shows as the group's permissions.
 */
#ifndef ACL_H
#define ACL_H

#include "inode.h"

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define ACL_SIZE_MAX 4096u /* bytes: 511 entries */

enum acl_kind { ACL_KIND_NONE, ACL_KIND_ACCESS, ACL_KIND_DEFAULT };

/* Which of the two an attribute of this name is. */
enum acl_kind acl_kind(const char *name);

/* -EINVAL for bytes that are no list, -ENOSPC for more than ACL_SIZE_MAX. */
KV_MUST_CHECK int acl_check(struct kv_slice acl);

/* The permissions that a valid list gives, 0777 at most. Is that all that it says? */
bool acl_mode(struct kv_slice acl, uint32_t *permissions);

/* Makes the access list of an inode, if it has one, agree with its new mode (chmod). Fills the
 * batch, but for the inode. */
KV_MUST_CHECK int acl_chmod(struct change *change, struct inode *inode);

/*
 * Gives a new inode what its directory's default list says: the permissions of its mode are cut to
 * the list, and lists are added. Without a default list the umask applies. Fills the batch, but for
 * the inode.
 */
KV_MUST_CHECK int acl_inherit(
	struct change *change, const struct inode *parent, mode_t umask, struct inode *inode);

#endif
