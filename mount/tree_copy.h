/* SPDX-License-Identifier: MIT */
/*
 * tree_copy.h - copying a directory tree that the kernel shows into a file system of ours that
 * nobody has mounted.
 */
#ifndef TREE_COPY_H
#define TREE_COPY_H

#include "kvfs.h"

struct tree_copy {
	struct kvfs *to;
	kv_progress_fn *progress; /* after each piece; gets bytes done and `total_bytes` */
	void *progress_arg;
	uint64_t done_bytes, total_bytes;
	const char *at; /* out, on an error: the name it happened at, in its directory */
	/* The copy's own. */
	void *links; /* files with several names that have been met */
	unsigned depth;
	char name[KVFS_NAME_MAX + 1];
	char *buffer;
};

/*
 * Everything below a directory, and the directory's attributes to the root: contents (holes stay
 * holes), types, links, owners, rights, access lists, extended attributes, times. Nobody changes it
 * meanwhile. What the caller may not read is an error; -ENAMETOOLONG: deeper than
 * DIRECTORY_DEPTH_MAX. The descriptor stays the caller's.
 */
int tree_copy(struct tree_copy *copy, int directory) __attribute__((warn_unused_result));

#endif
