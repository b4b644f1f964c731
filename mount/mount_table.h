/* SPDX-License-Identifier: MIT */
/*
 * mount_table.h - what is mounted where, as the kernel tells this process.
 */
#ifndef MOUNT_TABLE_H
#define MOUNT_TABLE_H

#include <stdbool.h>
#include <sys/types.h>

/* What mounts of ours have as their type in the table. */
#define MOUNT_TABLE_TYPE "fuse.kvfs"

struct mount_entry {
	char *directory, *type, *source;
	unsigned long id;   /* of the mount, among those that are there now */
	unsigned long user; /* who mounted it, as FUSE says; 0 where that is not said */
	dev_t device;       /* of what is mounted, wherever it is */
};

/*
 * The topmost mount on exactly this directory (absolute, without links). -ENOENT if there is none.
 * No server is asked. The entry is freed by mount_entry_fini.
 */
int mount_table_at(const char *directory, struct mount_entry *out)
	__attribute__((warn_unused_result));
/*
 * Likewise the first mount of ours of this source for which `is_it` says so. The source is where
 * the store was when it was mounted, or whatever the one who mounted it wrote there.
 */
int mount_table_of(const char *source,
	bool (*is_it)(const struct mount_entry *entry, const char *source), struct mount_entry *out)
	__attribute__((warn_unused_result));
/* Likewise the only one. -ENOTUNIQ: there are several. */
int mount_table_only(const char *source,
	bool (*is_it)(const struct mount_entry *entry, const char *source), struct mount_entry *out)
	__attribute__((warn_unused_result));
/*
 * A place where what was mounted there still is, once that mount is gone: in this mount namespace
 * (0 in `pid`), or in that of a process that may be looked at. -ENOENT: none is known.
 */
int mount_table_elsewhere(const struct mount_entry *gone, pid_t *pid, struct mount_entry *out)
	__attribute__((warn_unused_result));
/*
 * Is it what a path to its directory leads to? Something else may be mounted on top of it, or over
 * a directory above.
 */
bool mount_entry_is_topmost(const struct mount_entry *entry);
/*
 * Was it made by root, or by the owner of what is at `source` now? Anybody may call his own mount
 * as he likes. No server is asked.
 */
bool mount_entry_is_trusted(const struct mount_entry *entry, const char *source);
void mount_entry_fini(struct mount_entry *entry);

/*
 * An absolute path without links, also where the last component is a mount whose server has died.
 */
int mount_path(const char *path, char **out) __attribute__((warn_unused_result));

#endif
