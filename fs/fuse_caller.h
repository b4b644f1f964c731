/* SPDX-License-Identifier: MIT */
/*
 * fuse_caller.h - who made a request, and what that says about him
 */
#ifndef FUSE_CALLER_H
#define FUSE_CALLER_H

#include "session.h"

#include <kvfs.h>

struct kvfs_caller fuse_caller(fuse_req_t req);
/* May he say how the mount is served? */
bool fuse_caller_is_master(fuse_req_t req);
/*
 * Whether the file has a set-group-ID bit that he may not leave there when he changes its bytes,
 * its owner or its permissions: he is neither privileged nor a member of its group.
 */
bool fuse_caller_loses_sgid(fuse_req_t req, const struct kvfs_attr *attr);
/*
 * Whether he owns the file, or may write to it by its mode. Entries of an access control list are
 * not looked at.
 */
bool fuse_caller_may_write(fuse_req_t req, const struct kvfs_attr *attr);

#endif
