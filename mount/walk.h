/* SPDX-License-Identifier: MIT */
/*
 * walk.h - all that is below a directory of a store, however deep: no level takes stack, and one
 * that is far from the top keeps only those of a page of its entries that are still to come.
 */
#ifndef WALK_H
#define WALK_H

#include <kvfs.h>

struct walk_entry {
	const char *path; /* from the root, valid during the call; `name` is its end */
	const char *name;
	uint64_t parent_ino;
	const struct kvfs_attr *attr; /* unless asked for, only ino and the type in mode */
};

struct walk {
	struct kvfs *fs;
	bool with_attr;
	bool recursive;
	/* An entry, before what is in it. What it returns, if it is not 0, ends the walk */
	int (*visit)(void *arg, const struct walk_entry *entry);
	/* A directory behind all that is in it; attr is NULL. May be NULL */
	int (*leave)(void *arg, const struct walk_entry *entry);
	/* A directory that cannot be read, or read any further: what it returns, as `visit` */
	int (*failed)(void *arg, const char *path, int rc);
	void *arg;
};

/*
 * `path` is how the directory is called, without slashes around it: "" for the root. What was
 * visited may be removed. Returns what ended it, or -ENOMEM.
 */
int walk(const struct walk *walk, const char *path, uint64_t ino)
	__attribute__((warn_unused_result));

#endif
