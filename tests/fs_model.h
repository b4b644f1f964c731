/* SPDX-License-Identifier: MIT */
/*
 * fs_model.h - what a file system of a few names must hold, in plain memory: no test framework, so
 * that the crash simulator and the fuzzer use it.
 *
 * Paths have one or two names. An operation is done to the model, which says whether it can be
 * done, and to the store. Threads: one.
 */
#ifndef FS_MODEL_H
#define FS_MODEL_H

#include "kvfs.h"

#define FS_MODEL_NAMES 6u
#define FS_MODEL_NODES 40u
#define FS_MODEL_XATTRS 2u
#define FS_MODEL_SNAPSHOTS 2u
#define FS_MODEL_FILE_MAX 300000u /* bytes */

enum fs_op_kind {
	FS_OP_CREATE,
	FS_OP_MKDIR,
	FS_OP_SYMLINK,  /* to a target of `size` bytes */
	FS_OP_LINK,     /* path, new name: other */
	FS_OP_RENAME,   /* path to other, which is replaced */
	FS_OP_EXCHANGE, /* path with other */
	FS_OP_UNLINK,
	FS_OP_RMDIR,
	FS_OP_WRITE,
	FS_OP_TRUNCATE, /* to `size` */
	FS_OP_PUNCH,    /* a hole of `size` at `offset` */
	FS_OP_SETXATTR, /* number `offset`, a value of `size` */
	FS_OP_REMOVEXATTR,
	FS_OP_CHMOD,   /* to `size` */
	FS_OP_HOLD,    /* as an open file, until the next HOLD, or until the store is closed */
	FS_OP_TMPFILE, /* a file without a name, held */
	FS_OP_LINK_HELD,
	FS_OP_WRITE_HELD,
	FS_OP_SNAPSHOT, /* the number of a snapshot: `path` by its lowest bit */
	FS_OP_SNAPSHOT_DELETE,
	FS_OP_ROLLBACK,
	FS_OP_COPY, /* 4 times `size` bytes of path from `offset` to other: fs_copy_range */
	FS_OP_KINDS,
	/* of what is held: nothing that is chosen, but what a refused ROLLBACK has done */
	FS_OP_LET_GO = FS_OP_KINDS
};

#define FS_PATH(first, second) ((uint8_t)(((first) + 1) * 16 + (second)))
#define FS_TOP(name) ((uint8_t)(name))

struct fs_op {
	uint8_t kind;
	uint8_t path, other; /* FS_TOP or FS_PATH of names below FS_MODEL_NAMES */
	uint32_t offset, size;
	uint64_t stamp; /* from which the bytes follow */
	uint64_t limit; /* COPY: no more bytes than these; 0: all */
};

struct fs_node {
	uint64_t size; /* bytes of data, or of a symlink's target */
	uint8_t *data; /* FS_MODEL_FILE_MAX bytes, zeros behind `size`; NULL: all zeros */
	uint32_t mode; /* 0: free */
	uint32_t nlink;
	bool never_named; /* FS_OP_TMPFILE: may get a name; one that lost its last may not */
	struct {
		uint32_t size; /* 0: not there */
		uint64_t stamp;
	} xattrs[FS_MODEL_XATTRS];
	uint8_t entries[FS_MODEL_NAMES]; /* directories: node, 0: none */
};

struct fs_model {
	struct fs_node nodes[FS_MODEL_NODES]; /* [0] is the root */
	unsigned held;                        /* node; 0: none */
	/* NULL: there is none; these have none themselves */
	struct fs_model *snapshots[FS_MODEL_SNAPSHOTS];
};

void fs_model_init(struct fs_model *model);
void fs_model_fini(struct fs_model *model);
/* *to has been initialised. Ends the program if there is no memory. */
void fs_model_copy(struct fs_model *to, const struct fs_model *from);
/* No more nodes: what makes one is not to be tried. */
bool fs_model_is_full(const struct fs_model *model);
/* Does it if it can be done. False: nothing has changed. */
bool fs_model_apply(struct fs_model *model, const struct fs_op *op);
/*
 * A copy is done in steps, each of which is a commit. The bytes that the steps up to the one in
 * which byte `done` is copied have copied; 0: that is the last one, or it is no copy.
 */
uint64_t fs_model_copy_step(const struct fs_model *model, const struct fs_op *op, uint64_t done);
/* The store was closed: what was held is let go. */
void fs_model_closed(struct fs_model *model);
/* An operation of any eight bytes or more, within bounds. */
struct fs_op fs_op_from(const uint8_t bytes[8], uint64_t stamp);

/*
 * The same done to a store, whose held file is in *held_ino (0: none). 0 or a negative errno; then
 * `limit` says how much of a COPY was done.
 */
int fs_op_do(struct fs_op *op, struct kvfs *fs, uint64_t *held_ino);
/* Is the store as the model says? NULL, or what is not. */
const char *fs_model_compare(const struct fs_model *model, struct kvfs *fs);

#endif
