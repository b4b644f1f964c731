/* SPDX-License-Identifier: MIT */
/*
 * check.h - a check of a whole file system, and what its parts share. Changes wait
 * meanwhile, reading goes on. One thread.
 */
#ifndef CHECK_H
#define CHECK_H

#include "fs.h"
#include "inode.h"
#include "number_table.h"

struct check {
	struct kvfs *fs;
	const char *snapshot; /* that fs shows; NULL: what is there now */
	kv_report_fn *report;
	void *report_arg;
	kv_progress_fn *progress; /* may be NULL */
	void *progress_arg;
	uint64_t total_bytes; /* what the progress was last told */
	uint64_t steps;       /* records looked at, for the progress */
	uint64_t findings;
	uint64_t inodes;             /* records of inodes that were found: `seen` that exist */
	struct number_table seen;    /* inodes */
	struct number_table links;   /* names found of an inode that should have, or has, several */
	struct number_table parents; /* directory -> its parent */
	struct number_table shares;  /* shared piece -> references that were found */
	bool any_shares;             /* an inode says that it has references */
	int error; /* of what was not looked at, without being damaged */
	struct scratch *outer, *inner; /* cursors for a walk and for a walk inside it */
};

/* Where something was found: an inode, and one of its names if one is known. */
struct check_place {
	uint64_t ino;
	uint64_t parent;  /* 0: none */
	const char *name; /* not terminated */
	size_t name_size;
};

void check_finding(struct check *check, const struct check_place *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Is a record that gives this error damaged? For want of memory it is not: the check fails. */
bool check_is_damage(struct check *check, int err);
#define CHECK_SHOWN_SIZE (4 * 255u + 1)

/* A name of up to 255 bytes as findings show it. */
void check_show(const char *name, size_t size, char text[CHECK_SHOWN_SIZE]);
/* Counts a record that was looked at. -ECANCELED: the caller has enough. */
KV_MUST_CHECK int check_step(struct check *check);

/* All that the records say of each other. */
KV_MUST_CHECK int check_records(struct check *check);
/* The same in each snapshot. */
KV_MUST_CHECK int check_snapshots(struct check *check);

/* Names: entries, link counts, directories, and with each inode what belongs to it. */
KV_MUST_CHECK int check_tree(struct check *check);
/* Checks what belongs to one inode: pieces, attributes, a note if it needs one. */
KV_MUST_CHECK int check_inode(
	struct check *check, const struct check_place *place, const struct inode *inode);
/* Notes of what is to be freed, and their inodes. */
KV_MUST_CHECK int check_orphans(struct check *check);
/* Pieces and attributes that belong to nothing. */
KV_MUST_CHECK int check_owners(struct check *check);

/* References, and what they refer to. After check_owners. */
KV_MUST_CHECK int check_shares(struct check *check);

#endif
