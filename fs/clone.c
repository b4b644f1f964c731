/* SPDX-License-Identifier: MIT */
/*
 * clone.c - a store of its own with the tree that a snapshot (or a file system that nobody changes)
 * shows.
 */
#include "clone_records.h"
#include "clone_store.h"

int kvfs_clone(struct kvfs *fs, struct kv_env *env, const char *path, kv_progress_fn *progress,
	void *progress_arg)
{
	struct clone_parameters parameters;
	struct clone_store store;
	const struct clone_sink sink = {clone_store_put, clone_store_settle, &store};
	int err;

	clone_parameters_of(fs->kv, &parameters);
	err = clone_store_open(env, path, &parameters, fs->report, fs->report_arg, &store);
	if (err)
		return err;
	store.progress = progress;
	store.progress_arg = progress_arg;
	return clone_store_close(&store, clone_records(fs, &sink));
}
