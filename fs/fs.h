/* SPDX-License-Identifier: MIT */
/*
 * fs.h - an open file system: the store and what is shared between operations on it.
 */
#ifndef FS_H
#define FS_H

#include <errno.h>
#include <stdatomic.h>

#include "hold.h"
#include "kvfs.h"
#include "number.h"
#include "reaper.h"
#include "scratch.h"
#include "stripe.h"

#define FS_DIRECTORIES 64u

/* Bits of meta_lost. */
#define META_LOST_FORMAT (1u << 0)
#define META_LOST_NEXT_INO (1u << 1)
#define META_LOST_LIMIT (1u << 2)
#define META_LOST_ROLLBACK (1u << 3)

struct kvfs {
	struct kv *kv;
	struct kv_view *view; /* of a snapshot: what is read, and nothing is changed; NULL: the
				 head */
	uint64_t name_secret; /* seed of the name hash */
	enum kvfs_atime atime;
	bool nodiratime;
	_Atomic uint64_t orphaned_ns; /* when a file that was held lost its last name; a hint */
	_Atomic uint64_t waited_ns;   /* from when on somebody may wait for space (limit.c) */
	bool read_only;
	_Atomic bool doubtful; /* damage has taken records (doubt.h) */
	bool borrows; /* the store is another's: this is a snapshot that he opened */
	unsigned meta_lost; /* records of meta that cannot be read, for a repair: META_LOST_... */
	_Atomic uint64_t size_limit; /* bytes; 0: none (limit.h) */
	size_t write_size_max; /* bytes of contents that surely fit one batch */
	kv_report_fn *report;  /* may be NULL */
	void *report_arg;
	struct number_source numbers;
	struct scratch_pool scratch;
	struct hold_table holds;
	_Atomic uint64_t directories[FS_DIRECTORIES]; /* some inodes that are, or were,
							 directories; a hint (namespace.c) */
	bool frees_behind; /* the reaper may be used */
	struct reaper reaper;
	struct stripe_table *stripes; /* NULL: a snapshot, which needs no locks */
	pthread_mutex_t share_lock;  /* rank 5: counts of references, from reading to commit */
	pthread_mutex_t rename_lock; /* rank 1: which directory is whose parent (see DESIGN.md) */
};

/* Memory for one, all zeros, or NULL. */
struct kvfs *fs_new(void);

/* A message for people, about damage in the records of inode `ino`. */
void fs_report_damage(struct kvfs *fs, uint64_t ino, const char *what);

/*
 * As fs_report_damage, and gives the error for it. Inline, so that the compiler sees that it never
 * is 0.
 */
static inline int fs_damaged(struct kvfs *fs, uint64_t ino, const char *what)
{
	fs_report_damage(fs, ino, what);
	return -EIO;
}

#endif
