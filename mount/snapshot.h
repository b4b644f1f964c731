/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - the commands behind kvfs snapshot, and where they work: in a store, or under a
 * mount, where snapshots are directories.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "command.h"

struct snapshot_place {
	const char *path; /* as given */
	char *root;	  /* of the mount; NULL: a store that nobody has mounted */
	char *directory;  /* .snapshots in it */
};

/*
 * A mount, anything in one, a store that is mounted, or a store. What is wrong was said. Freed by
 * snapshot_place_fini.
 */
int snapshot_place_find(const char *path, struct snapshot_place *out)
	__attribute__((warn_unused_result));
void snapshot_place_fini(struct snapshot_place *place);

/* "1 name, no slash": what is wrong with a name is said. */
int snapshot_check_name(const char *name) __attribute__((warn_unused_result));

/* The time, to the microsecond: a name that rises with it. `prefix` has 20 bytes at most. */
#define SNAPSHOT_NAME_NOW_SIZE 64
void snapshot_name_now(const char *prefix, char name[SNAPSHOT_NAME_NOW_SIZE]);

/* On a line of its own whatever is in it: \ and line ends are \\ and \n. */
void snapshot_print_name(const char *name);

/* As kvfs_rollback and so on; -ENOENT and -EEXIST are about the snapshot of this name. */
void snapshot_explain(const char *path, const char *name, int rc);

/* The same of kvfs_rollback; keep may be NULL. */
void snapshot_explain_rollback(const char *path, const char *name, const char *keep, int rc);

/* The same of what could not be made at `target`. Nothing, for 0. */
void snapshot_explain_clone(const char *target, int rc);

extern const struct command snapshot_clone_command;
extern const struct command snapshot_create_command;
extern const struct command snapshot_delete_command;
extern const struct command snapshot_diff_command;
extern const struct command snapshot_list_command;
extern const struct command snapshot_rollback_command;

#endif
