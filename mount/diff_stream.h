/* SPDX-License-Identifier: MIT */
/* diff_stream.h - differences as a server tells them (FUSE_FRONT_DIFF_XATTR). */
#ifndef DIFF_STREAM_H
#define DIFF_STREAM_H

#include "diff_rows.h"
#include "mount_stream.h"

/* To the stream's end. What it has found so far stays in rows. Errors: -EPROTO; as of the stream */
int diff_stream_read(struct mount_stream *stream, struct diff_rows *rows)
	__attribute__((warn_unused_result));

#endif
