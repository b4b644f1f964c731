/* SPDX-License-Identifier: MIT */
/*
 * snapshot_clone.c - kvfs snapshot clone: a new store with what a snapshot has.
 */
#include "snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "options.h"
#include "progress.h"
#include "store.h"

/* True: it is mounted, and that was said. */
static bool is_mounted(const char *path, const char *advice)
{
	struct snapshot_place place;
	bool mounted;

	if (snapshot_place_find(path, &place))
		return true;
	mounted = place.root;
	if (mounted)
		message(KV_ERROR, "%s: in use: it is mounted on %s. %s", path, place.root, advice);
	snapshot_place_fini(&place);
	return mounted;
}

static int clone_shown(const char *path, struct kvfs *fs, const char *name, const char *target)
{
	struct progress progress;
	struct kvfs *snapshot;
	int rc = kvfs_snapshot_open(fs, name, &snapshot);

	if (rc) {
		snapshot_explain(path, name, rc);
		return 1;
	}
	progress_init(&progress, "copied");
	rc = kvfs_clone(snapshot, NULL, target, progress_show, &progress);
	progress_clear(&progress);
	(void)kvfs_close(snapshot);
	if (rc == -EEXIST || rc == -ENOTEMPTY)
		message(KV_ERROR, "%s: there is something already", target);
	else if (rc == -ECANCELED)
		message(KV_ERROR,
			"%s: interrupted; what is there is no file system and can be removed",
			target);
	else if (rc)
		message(KV_ERROR, "%s: %s", target, message_error(rc));
	return rc ? 1 : 0;
}

static int clone_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct kvfs_open_options options;
	const char *path, *name;
	struct kvfs *fs;
	int code;

	while (options_next(&snapshot_clone_command, argc, argv, ":h", names) != -1)
		;
	options_arguments(&snapshot_clone_command, argc, 3, 3);
	path = argv[optind];
	name = argv[optind + 1];
	if (snapshot_check_name(name) ||
		is_mounted(path, "Unmount it, or copy the snapshot's directory in .snapshots "
				 "into another store"))
		return 1;
	progress_catch_signals();
	store_options(path, true, &options);
	if (store_open(path, &options, &fs))
		return 1;
	code = clone_shown(path, fs, name, argv[optind + 2]);
	return store_close(path, fs) ? 1 : code;
}

const struct command snapshot_clone_command = {
	.name = "snapshot clone",
	.arguments = "STORE NAME NEW-STORE",
	.summary = "Makes a new store with what a snapshot has",
	.details = "  The store is not mounted meanwhile.\n",
	.usage_code = 2,
	.run = clone_run,
};
