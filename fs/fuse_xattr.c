/* SPDX-License-Identifier: MIT */
/*
 * fuse_xattr.c - extended attributes.
 *
 * The kernel has checked who may use which namespace. What it leaves to the file system: "trusted."
 * is shown to the privileged only, and names under "system." have a meaning that the file system
 * must know. Of these there are access control lists, which the core knows, and the status of the
 * mount (fuse_front.h); all others are not supported. The same is the answer for a missing SELinux
 * label.
 */
#include "fuse_buffer.h"
#include "fuse_caller.h"
#include "fuse_clone.h"
#include "fuse_diff.h"
#include "fuse_handlers.h"
#include "fuse_rollback.h"
#include "fuse_snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TRUSTED_PREFIX "trusted."
#define SELINUX_NAME "security.selinux"
#define LIST_PREFIX "system.posix_acl_"
#define ACCESS_LIST_NAME LIST_PREFIX "access"
#define PRUNE_MS 10

static bool has_prefix(const char *name, const char *prefix)
{
	return !strncmp(name, prefix, strlen(prefix));
}

/* With -o noacl the kernel passes lists on as it does any attribute. */
static bool is_refused(fuse_req_t req, const char *name)
{
	return !fuse_front_of(req)->options.acl && has_prefix(name, LIST_PREFIX);
}

/* A decimal number from somebody who may say how the mount is served. -EPERM, -EINVAL */
static int number_of(fuse_req_t req, const char *value, size_t size, uint64_t *out)
{
	uint64_t number = 0;
	size_t i;

	if (!fuse_caller_is_master(req))
		return -EPERM;
	for (i = 0; i < size; i++) {
		if (value[i] < '0' || value[i] > '9' || number > UINT64_MAX / 10 - 1)
			return -EINVAL;
		number = number * 10 + (uint64_t)(value[i] - '0');
	}
	*out = number;
	return size ? 0 : -EINVAL;
}

static int limit_set(fuse_req_t req, const char *value, size_t size)
{
	uint64_t bytes;
	int rc = number_of(req, value, size, &bytes);

	return rc ? rc : kvfs_set_size_limit(fuse_front_of(req)->fs, bytes);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int is_late(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	return now_ms() >= *(const int64_t *)arg;
}

/* A little at a time: whoever waits for this thread waits no longer than for the disk. */
static int prune_some(fuse_req_t req, const char *value, size_t size)
{
	int64_t until_ms = now_ms() + PRUNE_MS;
	struct kv_prune_options options;
	uint64_t percent;
	int rc = number_of(req, value, size, &percent);

	if (rc)
		return rc;
	options = (struct kv_prune_options){
		.garbage_percent = percent < 100 ? (unsigned)percent : 100};
	rc = kv_prune(kvfs_kv(fuse_front_of(req)->fs), &options, is_late, &until_ms, NULL);
	return rc == -ECANCELED ? -EINPROGRESS : rc;
}

void fuse_xattr_set(
	fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct fuse_node node = fuse_node_of(req, ino);
	struct kvfs_attr attr;
	int rc = -EOPNOTSUPP;

	if (!strcmp(name, FUSE_FRONT_LIMIT_XATTR)) {
		fuse_reply_status(req, limit_set(req, value, size));
		return;
	}
	if (!strcmp(name, FUSE_FRONT_PRUNE_XATTR)) {
		fuse_reply_status(req, prune_some(req, value, size));
		return;
	}
	if (!strcmp(name, FUSE_FRONT_ROLLBACK_XATTR)) {
		rc = -EPERM;
		if (fuse_caller_is_master(req))
			rc = fuse_rollback_start(fuse_front_of(req), value, size);
		fuse_reply_status(req, rc);
		return;
	}
	if (!strcmp(name, ACCESS_LIST_NAME) && !kvfs_getattr(node.fs, node.ino, &attr) &&
		fuse_caller_loses_sgid(req, &attr))
		flags |= KVFS_XATTR_KILL_SGID;
	if (fuse_is_snapshots(ino))
		rc = -EPERM;
	else if (!is_refused(req, name))
		rc = kvfs_setxattr(node.fs, node.ino, name, value, size, flags);
	fuse_reply_inode_changed(req, rc);
}

/* rc: the length that is there, or a negative errno */
static void reply_bytes(fuse_req_t req, const char *buffer, size_t size, ssize_t rc)
{
	if (rc < 0)
		fuse_reply_status(req, (int)rc);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)rc);
	else if ((size_t)rc > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, buffer, (size_t)rc);
}

static void reply_status_xattr(fuse_req_t req, size_t size)
{
	const struct fuse_front_options *options = &fuse_front_of(req)->options;
	char *buffer = fuse_buffer_thread(FUSE_FRONT_STATUS_SIZE_MAX);
	ssize_t rc = -ENODATA;

	if (!buffer)
		rc = -ENOMEM;
	else if (options->status)
		rc = options->status(options->status_arg, buffer, FUSE_FRONT_STATUS_SIZE_MAX);
	/* it grows between the question for its size and the one for its value */
	if (rc >= 0 && size == 0)
		rc = FUSE_FRONT_STATUS_SIZE_MAX;
	reply_bytes(req, buffer, size, rc);
}

static void reply_limit(fuse_req_t req, size_t size)
{
	char text[24];
	int length = snprintf(text, sizeof(text), "%" PRIu64,
		kvfs_size_limit(fuse_front_of(req)->fs));

	reply_bytes(req, text, size, length);
}

static void reply_rollback(fuse_req_t req, size_t size)
{
	struct fuse_front *front = fuse_front_of(req);
	char text[sizeof(front->rollback.text)];
	ssize_t length = fuse_rollback_state(front, text, sizeof(text));

	/* it may be longer when it is asked for itself */
	reply_bytes(req, text, size, length >= 0 && !size ? (ssize_t)sizeof(text) : length);
}

static void reply_snapshot(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	const struct fuse_snapshot *snapshot = fuse_snapshot_of(fuse_front_of(req), ino);
	char text[24];
	int length = -ENODATA;

	if (snapshot)
		length = snprintf(text, sizeof(text), "%" PRIu64,
			(uint64_t)snapshot->time.tv_sec * 1000000 +
				(uint64_t)snapshot->time.tv_nsec / 1000);
	reply_bytes(req, text, size, length);
}

typedef int stream_begin_fn(
	struct fuse_front *front, uint64_t token, uint64_t about, uint64_t root);

/* The length that is there to be read changes all the time: it is as if it were the greatest. */
static void reply_stream(fuse_req_t req, fuse_ino_t ino, const char *numbers, size_t size,
	stream_begin_fn *begin)
{
	struct fuse_front *front = fuse_front_of(req);
	char *buffer = fuse_buffer_thread(KVFS_XATTR_SIZE_MAX);
	struct fuse_stream_request request = {0};
	ssize_t rc = -EINVAL;

	if (size > KVFS_XATTR_SIZE_MAX)
		size = KVFS_XATTR_SIZE_MAX;
	if (!fuse_caller_is_master(req))
		rc = -EPERM;
	else if (!buffer)
		rc = -ENOMEM;
	else if (!size)
		rc = KVFS_XATTR_SIZE_MAX;
	else if (fuse_stream_parse(numbers, &request))
		rc = fuse_stream_read(&front->streams, &request, buffer, size);
	if (rc == -ENODATA && !request.offset) {
		rc = begin(front, request.token, request.about, ino);
		if (!rc)
			rc = fuse_stream_read(&front->streams, &request, buffer, size);
	}
	reply_bytes(req, buffer, size, rc);
}

void fuse_xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct fuse_node node = fuse_node_of(req, ino);
	char *buffer = NULL;
	ssize_t rc;

	if (!strcmp(name, FUSE_FRONT_STATUS_XATTR)) {
		reply_status_xattr(req, size);
		return;
	}
	if (!strcmp(name, FUSE_FRONT_LIMIT_XATTR)) {
		reply_limit(req, size);
		return;
	}
	if (!strcmp(name, FUSE_FRONT_ROLLBACK_XATTR)) {
		reply_rollback(req, size);
		return;
	}
	if (!strcmp(name, FUSE_FRONT_SNAPSHOT_XATTR)) {
		reply_snapshot(req, ino, size);
		return;
	}
	if (has_prefix(name, FUSE_FRONT_DIFF_XATTR ".")) {
		reply_stream(
			req, ino, name + strlen(FUSE_FRONT_DIFF_XATTR), size, fuse_diff_begin);
		return;
	}
	if (has_prefix(name, FUSE_FRONT_CLONE_XATTR ".")) {
		reply_stream(
			req, ino, name + strlen(FUSE_FRONT_CLONE_XATTR), size, fuse_clone_begin);
		return;
	}
	if (is_refused(req, name)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	if (size) {
		buffer = fuse_buffer_thread(size);
		if (!buffer) {
			fuse_reply_err(req, ENOMEM);
			return;
		}
	}
	rc = kvfs_getxattr(node.fs, node.ino, name, buffer, size);
	if (rc == -ENODATA && !strcmp(name, SELINUX_NAME))
		rc = -EOPNOTSUPP;
	reply_bytes(req, buffer, size, rc);
}

/*
 * Takes the names that only the privileged see out of a list; returns the length of what is left.
 */
static ssize_t list_hide_trusted(char *list, size_t size)
{
	size_t from = 0, to = 0;

	while (from < size) {
		size_t length = strnlen(list + from, size - from - 1) + 1;

		if (!has_prefix(list + from, TRUSTED_PREFIX)) {
			memmove(list + to, list + from, length);
			to += length;
		}
		from += length;
	}
	return (ssize_t)to;
}

/* Also for the question of the size the list itself is needed: that of what will be shown. */
void fuse_xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct fuse_node node = fuse_node_of(req, ino);
	ssize_t rc = fuse_is_snapshots(ino) ? 0 : kvfs_listxattr(node.fs, node.ino, NULL, 0);
	char *buffer = NULL;

	if (rc > 0) {
		size_t there = (size_t)rc;

		buffer = fuse_buffer_thread(there);
		rc = buffer ? kvfs_listxattr(node.fs, node.ino, buffer, there) : -ENOMEM;
	}
	if (rc > 0 && fuse_req_ctx(req)->uid != 0)
		rc = list_hide_trusted(buffer, (size_t)rc);
	reply_bytes(req, buffer, size, rc);
}

void fuse_xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct fuse_node node = fuse_node_of(req, ino);
	int rc = -EOPNOTSUPP;

	if (fuse_is_snapshots(ino))
		rc = -EPERM;
	else if (!is_refused(req, name))
		rc = kvfs_removexattr(node.fs, node.ino, name);
	fuse_reply_inode_changed(req, rc);
}
