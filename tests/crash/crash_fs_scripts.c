/* SPDX-License-Identifier: MIT */
/* crash_fs_scripts.c - the file system's scripts: each short, and each about one thing that a crash could spoil. */
#include "crash_fs.h"

#define OP(operation, to, second, at, bytes)                                                       \
	{                                                                                          \
		CRASH_FS_OP,                                                                       \
		{                                                                                  \
			.kind = FS_OP_##operation, .path = to, .other = second, .offset = at,     \
			.size = bytes, .stamp = __LINE__                                           \
		}                                                                                  \
	}
#define SYNC                                                                                       \
	{                                                                                          \
		.kind = CRASH_FS_SYNC                                                              \
	}
#define REOPEN                                                                                     \
	{                                                                                          \
		.kind = CRASH_FS_REOPEN                                                            \
	}
#define RANDOM(count)                                                                              \
	{                                                                                          \
		CRASH_FS_RANDOM, { .size = count }                                                 \
	}
#define END                                                                                        \
	{                                                                                          \
		.kind = CRASH_FS_END                                                               \
	}

static const struct crash_fs_step names[] = {
	OP(MKDIR, FS_TOP(0), 0, 0, 0),
	SYNC,
	OP(CREATE, FS_TOP(1), 0, 0, 0),
	OP(CREATE, FS_PATH(0, 1), 0, 0, 0),
	OP(WRITE, FS_TOP(1), 0, 0, 100),
	SYNC,
	OP(RENAME, FS_TOP(1), FS_PATH(0, 1), 0, 0),
	SYNC,
	OP(LINK, FS_PATH(0, 1), FS_TOP(5), 0, 0),
	OP(SYMLINK, FS_TOP(2), 0, 0, 300),
	SYNC,
	OP(MKDIR, FS_TOP(3), 0, 0, 0),
	OP(EXCHANGE, FS_TOP(3), FS_PATH(0, 1), 0, 0),
	SYNC,
	OP(RENAME, FS_TOP(0), FS_TOP(4), 0, 0),
	OP(RMDIR, FS_PATH(4, 1), 0, 0, 0),
	SYNC,
	OP(UNLINK, FS_TOP(3), 0, 0, 0),
	OP(UNLINK, FS_TOP(5), 0, 0, 0),
	OP(UNLINK, FS_TOP(2), 0, 0, 0),
	SYNC,
	OP(RMDIR, FS_TOP(4), 0, 0, 0),
	END,
};

static const struct crash_fs_step contents[] = {
	OP(CREATE, FS_TOP(0), 0, 0, 0),
	OP(WRITE, FS_TOP(0), 0, 0, 3000),
	SYNC,
	OP(WRITE, FS_TOP(0), 0, 2000, 150000),
	SYNC,
	OP(WRITE, FS_TOP(0), 0, 100000, 7),
	OP(TRUNCATE, FS_TOP(0), 0, 0, 70001),
	SYNC,
	OP(TRUNCATE, FS_TOP(0), 0, 0, 250000),
	OP(SETXATTR, FS_TOP(0), 0, 0, 50),
	SYNC,
	OP(PUNCH, FS_TOP(0), 0, 1000, 60000),
	OP(SETXATTR, FS_TOP(0), 0, 1, 50000),
	SYNC,
	OP(CHMOD, FS_TOP(0), 0, 0, 0600),
	OP(REMOVEXATTR, FS_TOP(0), 0, 0, 0),
	OP(WRITE, FS_TOP(0), 0, 249999, 40000),
	SYNC,
	OP(SETXATTR, FS_TOP(0), 0, 1, 9),
	OP(TRUNCATE, FS_TOP(0), 0, 0, 0),
	REOPEN,
	OP(WRITE, FS_TOP(0), 0, 5, 5),
	END,
};

static const struct crash_fs_step orphans[] = {
	OP(CREATE, FS_TOP(0), 0, 0, 0),
	OP(WRITE, FS_TOP(0), 0, 0, 200000),
	OP(SETXATTR, FS_TOP(0), 0, 0, 700),
	SYNC,
	OP(HOLD, FS_TOP(0), 0, 0, 0),
	OP(UNLINK, FS_TOP(0), 0, 0, 0),
	SYNC,
	OP(WRITE_HELD, 0, 0, 190000, 100000),
	SYNC,
	OP(TMPFILE, 0, 0, 0, 0),
	SYNC,
	OP(WRITE_HELD, 0, 0, 0, 90000),
	OP(LINK_HELD, FS_TOP(1), 0, 0, 0),
	SYNC,
	OP(CREATE, FS_TOP(2), 0, 0, 0),
	OP(HOLD, FS_TOP(2), 0, 0, 0),
	OP(RENAME, FS_TOP(1), FS_TOP(2), 0, 0),
	SYNC,
	OP(WRITE_HELD, 0, 0, 0, 50),
	REOPEN,
	OP(HOLD, FS_TOP(2), 0, 0, 0),
	OP(UNLINK, FS_TOP(2), 0, 0, 0),
	SYNC,
	END,
};

/* Everything that a file can be changes, comes and goes between the snapshot and the way back. */
static const struct crash_fs_step snapshots[] = {
	OP(MKDIR, FS_TOP(0), 0, 0, 0),
	OP(CREATE, FS_PATH(0, 1), 0, 0, 0),
	OP(WRITE, FS_PATH(0, 1), 0, 0, 200000),
	OP(SETXATTR, FS_PATH(0, 1), 0, 0, 700),
	OP(CREATE, FS_TOP(1), 0, 0, 0),
	OP(WRITE, FS_TOP(1), 0, 0, 900),
	OP(SNAPSHOT, 0, 0, 0, 0),
	SYNC,
	OP(WRITE, FS_PATH(0, 1), 0, 70000, 9000),
	OP(RENAME, FS_TOP(1), FS_PATH(0, 2), 0, 0),
	OP(UNLINK, FS_PATH(0, 2), 0, 0, 0),
	SYNC,
	OP(SNAPSHOT, 1, 0, 0, 0),
	OP(UNLINK, FS_PATH(0, 1), 0, 0, 0),
	OP(RMDIR, FS_TOP(0), 0, 0, 0),
	OP(CREATE, FS_TOP(0), 0, 0, 0),
	OP(WRITE, FS_TOP(0), 0, 5, 100000),
	SYNC,
	OP(ROLLBACK, 0, 0, 0, 0),
	OP(CREATE, FS_TOP(3), 0, 0, 0),
	SYNC,
	OP(SNAPSHOT_DELETE, 0, 0, 0, 0),
	OP(ROLLBACK, 1, 0, 0, 0),
	REOPEN,
	OP(WRITE, FS_PATH(0, 1), 0, 0, 10),
	OP(SNAPSHOT_DELETE, 1, 0, 0, 0),
	END,
};

/*
 * Hardly anything but going back and forth between two trees that have no bytes in common, so most
 * crashes are within that: who opens the store finishes it, and the power fails there again.
 */
static const struct crash_fs_step rollbacks[] = {
	OP(MKDIR, FS_TOP(0), 0, 0, 0),
	OP(CREATE, FS_TOP(1), 0, 0, 0),
	OP(CREATE, FS_TOP(2), 0, 0, 0),
	OP(CREATE, FS_PATH(0, 0), 0, 0, 0),
	OP(CREATE, FS_PATH(0, 1), 0, 0, 0),
	OP(WRITE, FS_TOP(1), 0, 0, 300000),
	OP(WRITE, FS_TOP(2), 0, 0, 300000),
	OP(WRITE, FS_PATH(0, 0), 0, 0, 300000),
	OP(WRITE, FS_PATH(0, 1), 0, 0, 300000),
	OP(SETXATTR, FS_TOP(1), 0, 1, 50000),
	OP(SNAPSHOT, 0, 0, 0, 0),
	OP(UNLINK, FS_TOP(1), 0, 0, 0),
	OP(UNLINK, FS_PATH(0, 0), 0, 0, 0),
	OP(UNLINK, FS_PATH(0, 1), 0, 0, 0),
	OP(RMDIR, FS_TOP(0), 0, 0, 0),
	OP(CREATE, FS_TOP(0), 0, 0, 0),
	OP(WRITE, FS_TOP(0), 0, 0, 300000),
	OP(WRITE, FS_TOP(2), 0, 0, 300000),
	OP(MKDIR, FS_TOP(1), 0, 0, 0),
	OP(CREATE, FS_PATH(1, 0), 0, 0, 0),
	OP(WRITE, FS_PATH(1, 0), 0, 0, 300000),
	OP(SNAPSHOT, 1, 0, 0, 0),
	OP(ROLLBACK, 0, 0, 0, 0),
	OP(HOLD, FS_TOP(1), 0, 0, 0),
	OP(UNLINK, FS_TOP(1), 0, 0, 0),
	OP(ROLLBACK, 1, 0, 0, 0),
	OP(ROLLBACK, 0, 0, 0, 0),
	OP(ROLLBACK, 1, 0, 0, 0),
	REOPEN,
	OP(ROLLBACK, 0, 0, 0, 0),
	OP(TMPFILE, 0, 0, 0, 0),
	OP(WRITE_HELD, 0, 0, 0, 90000),
	OP(ROLLBACK, 1, 0, 0, 0),
	OP(ROLLBACK, 0, 0, 0, 0),
	END,
};

/* The stamp says where a copy goes (fs_copy_range): 1 to the same place, 3 one chunk on. */
#define COPY(from, to, at, bytes, mark)                                                            \
	{                                                                                          \
		CRASH_FS_OP,                                                                       \
		{                                                                                  \
			.kind = FS_OP_COPY, .path = from, .other = to, .offset = at,               \
			.size = bytes, .stamp = mark                                               \
		}                                                                                  \
	}

static const struct crash_fs_step copies[] = {
	OP(CREATE, FS_TOP(0), 0, 0, 0),
	OP(CREATE, FS_TOP(1), 0, 0, 0),
	OP(WRITE, FS_TOP(0), 0, 0, 180000),
	SYNC,
	COPY(FS_TOP(0), FS_TOP(1), 0, 45000, 1),
	SYNC,
	COPY(FS_TOP(1), FS_TOP(1), 0, 16384, 3),
	OP(WRITE, FS_TOP(0), 0, 70000, 10),
	SYNC,
	OP(TRUNCATE, FS_TOP(1), 0, 0, 30000),
	OP(CREATE, FS_TOP(2), 0, 0, 0),
	COPY(FS_TOP(0), FS_TOP(2), 65536, 28616, 1),
	SYNC,
	/* The first chunk by reference, the rest by bytes: two commits. */
	COPY(FS_TOP(0), FS_TOP(1), 0, 30000, 1),
	SYNC,
	OP(UNLINK, FS_TOP(0), 0, 0, 0),
	SYNC,
	OP(WRITE, FS_TOP(2), 0, 0, 150000),
	OP(PUNCH, FS_TOP(1), 0, 0, 20000),
	REOPEN,
	OP(UNLINK, FS_TOP(1), 0, 0, 0),
	OP(UNLINK, FS_TOP(2), 0, 0, 0),
	END,
};

/* Shared chunks come, go, and are shared by others between the snapshot and the way back. */
static const struct crash_fs_step snapshot_copies[] = {
	OP(CREATE, FS_TOP(0), 0, 0, 0),
	OP(CREATE, FS_TOP(1), 0, 0, 0),
	OP(WRITE, FS_TOP(0), 0, 0, 180000),
	COPY(FS_TOP(0), FS_TOP(1), 0, 45000, 1),
	OP(SNAPSHOT, 0, 0, 0, 0),
	SYNC,
	OP(CREATE, FS_TOP(2), 0, 0, 0),
	COPY(FS_TOP(1), FS_TOP(2), 0, 45000, 1),
	COPY(FS_TOP(0), FS_TOP(2), 65536, 28616, 1),
	OP(UNLINK, FS_TOP(1), 0, 0, 0),
	SYNC,
	OP(ROLLBACK, 0, 0, 0, 0),
	OP(UNLINK, FS_TOP(0), 0, 0, 0),
	OP(WRITE, FS_TOP(1), 0, 0, 100),
	SYNC,
	OP(ROLLBACK, 0, 0, 0, 0),
	REOPEN,
	OP(SNAPSHOT_DELETE, 0, 0, 0, 0),
	OP(UNLINK, FS_TOP(0), 0, 0, 0),
	OP(UNLINK, FS_TOP(1), 0, 0, 0),
	END,
};

/* Little disk, of which as much is wanted as there is, by files and by what snapshots keep of them. */
static const struct crash_fs_step full[] = {
	OP(MKDIR, FS_TOP(0), 0, 0, 0),
	OP(CREATE, FS_TOP(1), 0, 0, 0),
	OP(CREATE, FS_PATH(0, 0), 0, 0, 0),
	OP(CREATE, FS_PATH(0, 1), 0, 0, 0),
	OP(CREATE, FS_PATH(0, 2), 0, 0, 0),
	OP(WRITE, FS_TOP(1), 0, 0, 300000),
	OP(WRITE, FS_PATH(0, 0), 0, 0, 300000),
	OP(SETXATTR, FS_TOP(1), 0, 1, 50000),
	OP(SNAPSHOT, 0, 0, 0, 0),
	OP(WRITE, FS_TOP(1), 0, 0, 300000),
	OP(WRITE, FS_PATH(0, 1), 0, 0, 300000),
	SYNC,
	OP(WRITE, FS_PATH(0, 2), 0, 0, 300000),
	OP(WRITE, FS_TOP(1), 0, 0, 300000),
	OP(SNAPSHOT, 1, 0, 0, 0),
	OP(WRITE, FS_PATH(0, 0), 0, 0, 300000),
	OP(WRITE, FS_PATH(0, 1), 0, 0, 300000),
	OP(WRITE, FS_PATH(0, 2), 0, 0, 300000),
	OP(CREATE, FS_TOP(2), 0, 0, 0),
	OP(WRITE, FS_TOP(2), 0, 0, 300000),
	OP(SETXATTR, FS_TOP(2), 0, 1, 50000),
	OP(ROLLBACK, 0, 0, 0, 0),
	OP(WRITE, FS_TOP(1), 0, 0, 300000),
	SYNC,
	OP(SNAPSHOT_DELETE, 0, 0, 0, 0),
	OP(TRUNCATE, FS_PATH(0, 0), 0, 0, 70000),
	OP(WRITE, FS_TOP(1), 0, 0, 300000),
	OP(RENAME, FS_TOP(1), FS_PATH(0, 0), 0, 0),
	OP(UNLINK, FS_PATH(0, 1), 0, 0, 0),
	REOPEN,
	OP(CREATE, FS_TOP(3), 0, 0, 0),
	OP(WRITE, FS_TOP(3), 0, 0, 300000),
	OP(WRITE, FS_PATH(0, 0), 0, 0, 300000),
	OP(SNAPSHOT_DELETE, 1, 0, 0, 0),
	OP(UNLINK, FS_PATH(0, 0), 0, 0, 0),
	OP(WRITE, FS_TOP(3), 0, 0, 300000),
	OP(TRUNCATE, FS_TOP(3), 0, 0, 0),
	OP(WRITE, FS_TOP(3), 0, 0, 300000),
	SYNC,
	RANDOM(40),
	END,
};

static const struct crash_fs_step life[] = {RANDOM(100), REOPEN, RANDOM(50), END};
static const struct crash_fs_step life_long[] = {RANDOM(700), REOPEN, RANDOM(300), END};

const struct crash_fs_script crash_fs_names = {.steps = names};
const struct crash_fs_script crash_fs_contents = {.steps = contents};
const struct crash_fs_script crash_fs_orphans = {.steps = orphans};
const struct crash_fs_script crash_fs_snapshots = {.steps = snapshots};
const struct crash_fs_script crash_fs_rollbacks = {.steps = rollbacks};
const struct crash_fs_script crash_fs_copies = {.steps = copies};
const struct crash_fs_script crash_fs_snapshot_copies = {.steps = snapshot_copies};
const struct crash_fs_script crash_fs_full = {.steps = full, .capacity = 8 << 20};
const struct crash_fs_script crash_fs_random = {.steps = life};
const struct crash_fs_script crash_fs_random_long = {.steps = life_long};
