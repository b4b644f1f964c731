/* SPDX-License-Identifier: MIT */
/* crash_fs.h - the scripts of the file system's crash runs. */
#ifndef CRASH_FS_H
#define CRASH_FS_H

#include <stdint.h>

#include "fs_model.h"

enum crash_fs_kind {
	CRASH_FS_OP,
	CRASH_FS_SYNC,
	CRASH_FS_REOPEN,
	CRASH_FS_RANDOM, /* `op.size` operations by chance */
	CRASH_FS_END,
};

struct crash_fs_step {
	enum crash_fs_kind kind;
	struct fs_op op;
};

struct crash_fs_script {
	const struct crash_fs_step *steps; /* up to CRASH_FS_END */
	uint64_t capacity; /* of the disk, in bytes: changes may be refused; 0: plenty */
};

/* crash_fs_scripts.c */
extern const struct crash_fs_script crash_fs_names, crash_fs_contents, crash_fs_orphans,
	crash_fs_snapshots, crash_fs_rollbacks, crash_fs_copies, crash_fs_snapshot_copies,
	crash_fs_full, crash_fs_random, crash_fs_random_long;

#endif
