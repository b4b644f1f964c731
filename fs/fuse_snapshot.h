/* SPDX-License-Identifier: MIT */
/*
 * fuse_snapshot.h - node ids of snapshots, and the directory .snapshots that the front end makes up
 * in the root.
 *
 * A node id is an inode number with the number of the snapshot it is read through in the 16 bits
 * above it: 0 the head, SNAPSHOTS_NUMBER the directory itself. A snapshot keeps its number while
 * there is one of its name and while the kernel knows any of its inodes.
 *
 * A snapshot is open, for reading, from the first lookup of it until the kernel has forgotten all
 * of it (`holds`). Whoever is asked something about a node may use it without a lock: the kernel
 * does not forget what it asks about.
 */
#ifndef FUSE_SNAPSHOT_H
#define FUSE_SNAPSHOT_H

#include "fuse_reply.h"

#include <stdatomic.h>

#define FUSE_NODE_SHIFT 48
#define FUSE_NODE_INO_MAX ((UINT64_C(1) << FUSE_NODE_SHIFT) - 1)
#define SNAPSHOTS_NUMBER 0xffffu
#define SNAPSHOTS_INO (((uint64_t)SNAPSHOTS_NUMBER << FUSE_NODE_SHIFT) | KVFS_ROOT_INO)
#define SNAPSHOTS_NAME ".snapshots"

struct fuse_snapshot {
	char *name;
	struct kvfs *fs; /* NULL: not open. Protected by the table's lock, but for who holds a
			    node of it */
	struct timespec time;
	unsigned number;
	bool deleted; /* it has no name any more; protected by the table's lock */
	_Atomic uint64_t holds; /* lookups that the kernel remembers; rises from 0 under the
				   table's lock */
};

/* What a node id means. */
struct fuse_node {
	struct kvfs *fs;
	uint64_t ino;	/* in it */
	uint64_t above; /* to be added to its inode numbers for node ids */
};

/* -ENOMEM. With false, there is no such directory. */
int fuse_snapshots_init(struct fuse_front *front, bool shown) __attribute__((warn_unused_result));
void fuse_snapshots_fini(struct fuse_front *front);

/*
 * The one that this node is in; NULL: of the head, of .snapshots, or of nothing that the kernel
 * knows.
 */
static inline struct fuse_snapshot *fuse_snapshot_of(struct fuse_front *front, uint64_t node)
{
	/* pairs with snapshot_add */
	return front->snapshots.table ? atomic_load_explicit(
						&front->snapshots.table[node >> FUSE_NODE_SHIFT],
						memory_order_acquire)
				      : NULL;
}

static inline struct fuse_node fuse_node_in(struct fuse_front *front, uint64_t node)
{
	struct fuse_snapshot *snapshot;

	if (__builtin_expect(node > FUSE_NODE_INO_MAX, 0)) {
		snapshot = fuse_snapshot_of(front, node);
		if (snapshot && snapshot->fs)
			return (struct fuse_node){snapshot->fs, node & FUSE_NODE_INO_MAX,
				node & ~FUSE_NODE_INO_MAX};
	}
	/* The core knows nothing of .snapshots: -ENOENT. */
	return (struct fuse_node){front->fs, node, 0};
}

static inline struct fuse_node fuse_node_of(fuse_req_t req, fuse_ino_t node)
{
	return fuse_node_in(fuse_front_of(req), node);
}

static inline bool fuse_is_snapshots(fuse_ino_t node)
{
	return node == SNAPSHOTS_INO;
}

/* Is it the name of the directory itself? */
bool fuse_snapshots_is_name(struct fuse_front *front, fuse_ino_t parent, const char *name);

/* Count a node that the kernel learns of, and one that it forgets. */
void fuse_node_hold(struct fuse_front *front, uint64_t node, uint64_t count);
void fuse_node_release(struct fuse_front *front, uint64_t node, uint64_t count);

/*
 * The file system of the snapshot that a node is in, which stays open until the node is released;
 * NULL: it is in none that is open. For whoever does not hold a node of it already.
 */
struct kvfs *fuse_snapshots_keep(struct fuse_front *front, uint64_t node);

/*
 * The directory itself; names in it. Found ones are held, with their node id in attr. Errors: as of
 * the core.
 */
int fuse_snapshots_attr(struct fuse_front *front, struct kvfs_attr *out);
int fuse_snapshots_lookup(struct fuse_front *front, const char *name, struct kvfs_attr *out);
int fuse_snapshots_create(struct fuse_front *front, const char *name, struct kvfs_attr *out);
int fuse_snapshots_delete(struct fuse_front *front, const char *name);
/* A snapshot has been made by another way than here. */
void fuse_snapshots_learn(struct fuse_front *front, const char *name);
/* As kvfs_readdir, with node ids, and always without attributes. */
int fuse_snapshots_readdir(
	struct fuse_front *front, uint64_t cookie, kvfs_entry_fn *entry, void *arg);

#endif
