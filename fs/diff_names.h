/* SPDX-License-Identifier: MIT */
/*
 * diff_names.h - where the files are that differ between two moments of one store: their names, and
 * the paths of directories. Private to the comparison of two trees (diff.c).
 *
 * A directory knows its parent and nobody knows his name. So names are found in the lists of
 * directories: of those that changed, of those in which something changed, and of those above them.
 * Where the directory of a file is not known either, all lists are read, in one pass.
 *
 * One thread.
 */
#ifndef DIFF_NAMES_H
#define DIFF_NAMES_H

#include "changed.h"
#include "dirent_record.h"
#include "number_table.h"

/* A name in the later tree. */
struct diff_name {
	uint64_t ino, parent, hash;
};

struct diff_names {
	struct kvfs *old, *new; /* the earlier and the later tree */
	uint64_t old_seq;       /* the newest batch that the earlier one shows */
	kvfs_stop_fn *stop;     /* may be NULL; asked while lists are read */
	void *stop_arg;
	struct scratch *scratch;
	struct kv_cursor *cursor;     /* on the later tree's entries */
	struct diff_name *names;      /* of what is wanted, and those whose record the earlier
					 tree has not */
	size_t count, room;
	struct number_table wanted;   /* how many names of an inode are not found yet */
	uint64_t missing;             /* all of these */
	struct changed parents;       /* directories that have some of them */
	struct number_table hashes;   /* of directories' names, by inode */
	struct number_table listed;   /* a set: directories whose entries have been seen */
	bool all_listed;
	/* The directory that was asked for last; 0: none. */
	uint64_t directory;
	bool in_place;
	char *path; /* with a slash behind it, unless it is the root's; not terminated */
	size_t path_size, path_room;
};

/* -ENOMEM */
KV_MUST_CHECK int diff_names_init(struct diff_names *names, struct kvfs *old, struct kvfs *new);
void diff_names_fini(struct diff_names *names);
/* -ECANCELED: somebody wants it to stop. */
KV_MUST_CHECK int diff_names_stopped(const struct diff_names *names);

/*
 * So many names of an inode are to be found; parent: a directory that probably has one, or 0. Before
 * anything is listed. -ENOMEM
 */
KV_MUST_CHECK int diff_names_want(
	struct diff_names *names, uint64_t ino, uint64_t parent, uint64_t count);
bool diff_names_wants(const struct diff_names *names, uint64_t ino);
/* Looks at the entries of a directory, and adds to names->names. -EIO, -ENOMEM, -ECANCELED */
KV_MUST_CHECK int diff_names_list(struct diff_names *names, uint64_t directory);
/* Finds what is wanted and was not seen yet. -EIO, -ENOMEM, -ECANCELED */
KV_MUST_CHECK int diff_names_find(struct diff_names *names);
/*
 * Is the directory at the same place in both trees? If not, it went or came there, or something
 * above it did, and that is told of it. If so, names->path is its path. -EIO, -ENOMEM,
 * -ENAMETOOLONG, -ECANCELED
 */
KV_MUST_CHECK int diff_names_place(struct diff_names *names, uint64_t directory, bool *in_place);
/*
 * A name's entry. entry->name lives until the next call; inside a read section. -ENOENT, -EIO
 */
KV_MUST_CHECK int diff_names_entry(
	struct diff_names *names, const struct diff_name *name, struct dirent *entry);
/* The entry of the same name in the earlier tree. Inside a read section. -ENOENT, -EIO */
KV_MUST_CHECK int diff_names_old_entry(
	const struct diff_names *names, const struct dirent *entry, struct dirent *out);

#endif
