/* SPDX-License-Identifier: MIT */
/*
 * store.h - opening a store on behalf of a person: what went wrong, where, and what to do about it.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>

#include "kvfs.h"

/* Options for a command that opens the store at `path` for a moment. */
void store_options(const char *path, bool read_only, struct kvfs_open_options *options);

/*
 * For a command that reads a store which may be hostile, and writes nothing but that, its output,
 * and a store whose directory it has made (`made`, or NULL): gives up what it does not need
 * (confine.h). Before threads. A failure was said; a store that is not there is left to store_open.
 */
int store_confine(const char *path, const char *made) __attribute__((warn_unused_result));

/* kvfs_open that explains a failure on stderr. */
int store_open(const char *path, const struct kvfs_open_options *options, struct kvfs **out)
	__attribute__((warn_unused_result));
/*
 * All of the above, for a command that opens a store with the usual options and needs nothing but
 * that.
 */
int store_open_confined(const char *path, bool read_only, struct kvfs **out)
	__attribute__((warn_unused_result));

/*
 * With a name, in *out that snapshot of `fs`, to be closed before it; without (NULL), `fs` itself.
 * What is wrong was said.
 */
int store_show(const char *path, struct kvfs *fs, const char *snapshot, struct kvfs **out)
	__attribute__((warn_unused_result));
/* Why a command on this key of an open store failed. */
void store_explain_key(const char *path, const struct kvfs *fs, const char *key, int rc);
/* kvfs_close that explains a failure. */
int store_close(const char *path, struct kvfs *fs);

/*
 * Takes the slashes from the end of the name of a new store, which would make the kernel follow a
 * link. The functions below take a path without.
 */
void store_trim(char *path);
/*
 * A place for a new store. 0: an empty directory; -ENOENT, -ENOTDIR, also for a link to one,
 * -ENOTEMPTY, and what opening gives.
 */
int store_check_empty(const char *path) __attribute__((warn_unused_result));
/*
 * kvfs_create, of which a failure leaves nothing. -ECANCELED: a signal came (progress.h), and
 * nothing was made. -EEXIST: not empty. Others: as kvfs_create
 */
int store_create(const char *path, const struct kvfs_create_options *options,
	kv_report_fn *report, void *report_arg) __attribute__((warn_unused_result));
/*
 * Takes away what this process has made of a store where nothing had been: its files, and
 * `directory`: that as well. Other files stay. What could not be taken away is said.
 */
void store_remove(const char *path, bool directory);

/*
 * The caller as the owner of what a command makes. Before the process is confined, which changes
 * its umask.
 */
struct kvfs_caller store_caller(void);

#endif
