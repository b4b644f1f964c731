/* SPDX-License-Identifier: MIT */
/*
 * mount_stream.h - a long answer of the process that serves a mount (fuse_front.h), part by part.
 *
 * Signals (progress.h) end it. For root and whoever serves the mount.
 */
#ifndef MOUNT_STREAM_H
#define MOUNT_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mount_stream;

/*
 * root: a descriptor of the directory that is asked about, which stays the caller's. about: what
 * the answer needs to know. -EPERM, -EOPNOTSUPP the server is an older one, and as mount_stream_next
 */
int mount_stream_open(int root, const char *attribute, uint64_t about, struct mount_stream **out)
	__attribute__((warn_unused_result));
/*
 * Waits for the next part, which is there until the next call. Returns its size; 0: that was all.
 * -ECANCELED by a signal; -ENODATA: the server does not go on, as nothing was asked for long; and
 * what the answer says
 */
ssize_t mount_stream_next(struct mount_stream *stream, const char **part)
	__attribute__((warn_unused_result));
/*
 * Whether the server answers this caller, before anything is done for it: 0, -EPERM, -EOPNOTSUPP
 */
int mount_stream_may_open(int root, const char *attribute) __attribute__((warn_unused_result));
/* NULL is fine. The server goes on no more. */
void mount_stream_close(struct mount_stream *stream);

#endif
