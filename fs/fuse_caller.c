/* SPDX-License-Identifier: MIT */
/*
 * fuse_caller.c - see fuse_caller.h
 */
#include "fuse_caller.h"

#include "fuse_snapshot.h"

#include <unistd.h>

#define GROUPS_MAX 1024 /* of a process that are looked at */

struct kvfs_caller fuse_caller(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct kvfs_caller){.uid = ctx->uid,
		.gid = ctx->gid,
		.umask = ctx->umask,
		.privileged = ctx->uid == 0};
}

bool fuse_caller_is_master(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return ctx->uid == 0 || ctx->uid == geteuid();
}

static bool is_member(fuse_req_t req, gid_t gid)
{
	gid_t groups[GROUPS_MAX];
	int i, count;

	if (fuse_req_ctx(req)->gid == gid)
		return true;
	count = fuse_req_getgroups(req, GROUPS_MAX, groups);
	for (i = 0; i < count && i < GROUPS_MAX; i++) {
		if (groups[i] == gid)
			return true;
	}
	return false;
}

bool fuse_caller_loses_sgid(fuse_req_t req, const struct kvfs_attr *attr)
{
	return attr->mode & S_ISGID && fuse_req_ctx(req)->uid != 0 && !is_member(req, attr->gid);
}

bool fuse_caller_may_write(fuse_req_t req, const struct kvfs_attr *attr)
{
	uid_t uid = fuse_req_ctx(req)->uid;

	return uid == 0 || uid == attr->uid || attr->mode & S_IWOTH ||
	       (attr->mode & S_IWGRP && is_member(req, attr->gid));
}
