/* SPDX-License-Identifier: MIT */
/*
 * mount_options.h - the options behind -o: kvfs's own, and those that every file system takes
 * (mount(8)).
 */
#ifndef MOUNT_OPTIONS_H
#define MOUNT_OPTIONS_H

#include <stdbool.h>

#include "fuse_front.h"
#include "kvfs.h"
#include "session.h"

struct mount_options {
	bool read_only;
	bool remount;
	unsigned commit_interval_ms; /* 0: default */
	uint64_t scrub_rate; /* as of kv_open_options, as the next */
	unsigned scrub_interval_s;
	enum kvfs_atime atime;
	enum fuse_front_sync sync;
	enum session_transport transport;
	bool allow_other, acl, debug;
	bool confine; /* the server gives up what it does not need */
	bool snapdir; /* there is a directory .snapshots */
	unsigned long flags;    /* MS_*, as mount(2) */
	char *fsname, *subtype; /* NULL: default */
	char *snapshot; /* show this one, read-only; NULL: the tree as it is */
	char *security; /* context= and the like for the kernel, comma-separated; may be NULL */
};

void mount_options_init(struct mount_options *options);
void mount_options_fini(struct mount_options *options);

/*
 * Takes a comma-separated list; a later option wins over an earlier one. An option that is not
 * known or has a bad value is reported and -EINVAL; with `sloppy`, those that are not known are
 * ignored.
 */
int mount_options_parse(struct mount_options *options, const char *list, bool sloppy)
	__attribute__((warn_unused_result));

/* The list for libfuse. NULL: out of memory. The caller frees. */
char *mount_options_fuse(const struct mount_options *options) __attribute__((warn_unused_result));

#endif
