/* SPDX-License-Identifier: MIT */
/*
 * check_snapshots.c - checks what snapshots show. What one of them keeps and nothing else has is
 * lost without a trace where its records are: that they are missing shows in what the others say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "snapshot.h"

struct names {
	char **names;
	size_t count;
};

static int note(void *arg, const struct kvfs_snapshot *snapshot)
{
	struct names *found = arg;
	char **names = realloc(found->names, (found->count + 1) * sizeof(*names));
	char *name = strdup(snapshot->name);

	if (names)
		found->names = names;
	if (!names || !name) {
		free(name);
		return -ENOMEM;
	}
	found->names[found->count++] = name;
	return 0;
}

static int check_snapshot(struct check *check, const char *name)
{
	struct check of = {
		.snapshot = name,
		.report = check->report,
		.report_arg = check->report_arg,
		.progress = check->progress,
		.progress_arg = check->progress_arg,
		.total_bytes = check->total_bytes,
	};
	int err = kvfs_snapshot_open(check->fs, name, &of.fs);

	if (!err) {
		err = check_records(&of);
		snapshot_close(of.fs);
	} else if (err == -EIO) {
		check_finding(&of, NULL, "its root cannot be read");
		err = 0;
	}
	check->findings += of.findings;
	/* deleted meanwhile */
	return err == -ENOENT ? 0 : err;
}

int check_snapshots(struct check *check)
{
	struct names found = {0};
	int err = kvfs_snapshot_list(check->fs, note, &found);
	size_t i;

	for (i = 0; i < found.count; i++) {
		if (!err)
			err = check_snapshot(check, found.names[i]);
		free(found.names[i]);
	}
	free(found.names);
	return err;
}
