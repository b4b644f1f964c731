/* SPDX-License-Identifier: MIT */
/*
 * snapshot_rollback.c - kvfs snapshot rollback and clone: for stores that are not mounted. Under a mount, programs hold
 * what would be taken from under them.
 */
#include "snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static int roll_back(const char *path, const char *name, const char *keep)
{
	struct kvfs_open_options options;
	struct kvfs *fs;
	int rc;

	store_options(path, false, &options);
	if (store_open(path, &options, &fs))
		return 1;
	rc = kvfs_rollback(fs, name, keep);
	if (rc == -ENOSPC)
		message(KV_ERROR, "%s: there is no room for what snapshot %s would bring back",
			path, name);
	else if (rc == -EEXIST)
		snapshot_explain(path, keep, rc);
	else if (rc)
		snapshot_explain(path, name, rc);
	else if (keep)
		printf("%s: what was there is kept as snapshot %s\n", path, keep);
	return store_close(path, fs) || rc || fflush(stdout) ? 1 : 0;
}

static int rollback_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"discard", no_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{"keep", required_argument, NULL, 'k'},
		{NULL, 0, NULL, 0},
	};
	const char *keep = NULL, *path, *name;
	bool discard = false;
	time_t now = time(NULL);
	char before[48];
	struct tm tm;
	int letter;

	while ((letter = options_next(&snapshot_rollback_command, argc, argv, ":dhk:", names)) != -1) {
		if (letter == 'd')
			discard = true;
		else
			keep = optarg;
	}
	options_arguments(&snapshot_rollback_command, argc, 2, 2);
	if (discard && keep)
		options_fail(&snapshot_rollback_command, "--discard and --keep exclude each other");
	path = argv[optind];
	name = argv[optind + 1];
	if (!discard && !keep) {
		gmtime_r(&now, &tm);
		strftime(before, sizeof(before), "before-rollback-%Y-%m-%dT%H:%M:%SZ", &tm);
		keep = before;
	}
	if (snapshot_check_name(name) || (keep && snapshot_check_name(keep)))
		return 1;
	if (is_mounted(path, "A tree cannot go back under those who use it; first run: kvfs umount"))
		return 1;
	return roll_back(path, name, discard ? NULL : keep);
}

/* ---- clone ------------------------------------------------------------------------------------ */

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

const struct command snapshot_rollback_command = {
	.name = "snapshot rollback",
	.arguments = "[--keep NAME | --discard] STORE NAME",
	.summary = "Makes the tree what it was",
	.details =
		"  The store is not mounted meanwhile. What is there now is kept as a snapshot.\n"
		"  -k, --keep NAME  under this name (default: before-rollback- and the time)\n"
		"  -d, --discard    is not kept\n",
	.usage_code = 2,
	.run = rollback_run,
};

const struct command snapshot_clone_command = {
	.name = "snapshot clone",
	.arguments = "STORE NAME NEW-STORE",
	.summary = "Makes a new store with what a snapshot has",
	.details = "  The store is not mounted meanwhile.\n",
	.usage_code = 2,
	.run = clone_run,
};
