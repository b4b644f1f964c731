/* SPDX-License-Identifier: MIT */
/*
 * mend.h - a repair of a whole file system, and what its parts share. Nobody else uses the file
 * system meanwhile.
 *
 * The records are made to agree with each other: what names exist decides link counts, sizes of
 * directories and parents; what has no way from the root any more is given a name in lost+found;
 * what says nothing without a record that is gone is deleted. Each step is a batch that leaves
 * nothing worse than it was, so an interrupted repair is simply begun again. One thread.
 */
#ifndef MEND_H
#define MEND_H

#include "changed.h"
#include "inode.h"
#include "number_table.h"

struct mend {
	struct kvfs *fs;
	kv_report_fn *report;
	void *report_arg;
	uint64_t mended;
	struct scratch *scratch; /* cursors for walks */
	struct change change;
	/* By what the names say; made anew by mend_names. */
	struct number_table names;   /* inode -> how many it has */
	struct number_table sizes;   /* directory -> bytes of its entries */
	struct number_table subdirs; /* directory -> how many */
	struct number_table parents; /* directory -> its parent */
	struct number_table users;   /* shared contents -> references */
	bool any_moved;		     /* entries, to their right keys */
	struct changed inos;	     /* all that have a record */
	uint64_t most;		     /* the highest number, also of shared contents */
};

/* Forgets what mend_names has counted. */
void mend_forget_names(struct mend *mend);
/* Says that something was put right, and how. */
void mend_say(struct mend *mend, const char *format, ...) __attribute__((format(printf, 2, 3)));

KV_MUST_CHECK int mend_put(struct mend *mend, enum keyspace keyspace, const void *key,
	size_t key_size, const void *value, size_t size);
KV_MUST_CHECK int mend_delete(
	struct mend *mend, enum keyspace keyspace, const void *key, size_t key_size);
/* The inode, without its body. -ENOENT: none that can be read */
KV_MUST_CHECK int mend_look(struct mend *mend, uint64_t ino, struct inode *out);
/* A new record, of now. */
KV_MUST_CHECK int mend_make(struct mend *mend, struct inode *inode);

/*
 * Mends what the file system says of itself: called first of all, and again for the next number
 * when all inodes are known.
 */
KV_MUST_CHECK int mend_meta(struct mend *mend);
KV_MUST_CHECK int mend_next_ino(struct mend *mend);
/* Inodes that have entries, contents or attributes but no record; what belongs to none. */
KV_MUST_CHECK int mend_owners(struct mend *mend);
/* Entries that name nothing; then counts them. */
KV_MUST_CHECK int mend_names(struct mend *mend);
/* Gives names to what has no way from the root. */
KV_MUST_CHECK int mend_lost(struct mend *mend);
/* Pieces of contents that cannot be read, references that lead nowhere, counts of references. */
KV_MUST_CHECK int mend_shares(struct mend *mend);
/* Mends what inodes say of themselves, and the notes of what is to be freed. */
KV_MUST_CHECK int mend_inodes(struct mend *mend);
KV_MUST_CHECK int mend_orphans(struct mend *mend);
/*
 * Is it noted that something of the inode is to be freed? 0, or -ENOENT: not so that anybody would
 * understand it
 */
KV_MUST_CHECK int mend_find_note(struct mend *mend, uint64_t ino);

#endif
