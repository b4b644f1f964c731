/* SPDX-License-Identifier: MIT */
/*
 * old_files.h - removes the regular files of a tree that have not been written to for long, in a
 * store or under a mount.
 *
 * Directories stay, also those that become empty, and so do links, devices and the like. What
 * cannot be removed is said, and the rest goes on.
 */
#ifndef KVFS_MOUNT_OLD_FILES_H
#define KVFS_MOUNT_OLD_FILES_H

#include <kvfs.h>

struct old_files {
	struct timespec before; /* files with an mtime before this */
	bool dry_run;		/* nothing is removed: paths go to the standard output */
	/* Out */
	uint64_t count, bytes; /* of files that were removed, or would be */
	uint64_t failed;       /* files and directories that were not looked at or removed; each
				  has been said */
	/* Its own, of a walk under a mount. */
	unsigned depth;
	char *path; /* of what is looked at; one for all levels, which may be thousands */
	size_t path_room;
};

/* "90s", "15m", "12h", "30d", "8w", "1y": so long ago. -EINVAL, -ERANGE */
int old_files_age(const char *text, struct timespec *before) __attribute__((warn_unused_result));

/*
 * Path: below the store's root or the mount. -ECANCELED: a signal has come (progress.h); -ENOENT,
 * -ENOMEM...
 */
int old_files_in_store(struct old_files *old, struct kvfs *fs, const char *path)
	__attribute__((warn_unused_result));
int old_files_in_mount(struct old_files *old, const char *directory, const char *path)
	__attribute__((warn_unused_result));

#endif
