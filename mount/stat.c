/* SPDX-License-Identifier: MIT */
/*
 * stat.c - kvfs stat: what a store, or the process that serves a mount, tells about itself.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "fuse_front.h"
#include "message.h"
#include "mount_table.h"
#include "options.h"
#include "status.h"
#include "store.h"

#define LINES_SIZE (FUSE_FRONT_STATUS_SIZE_MAX + 1)

static int read_store(const char *path, char *lines)
{
	struct kvfs *fs;
	ssize_t length;
	int rc;

	rc = store_open_confined(path, true, &fs);
	if (rc)
		return rc;
	length = status_write(fs, path, NULL, lines, LINES_SIZE);
	rc = store_close(path, fs);
	if (length < 0) {
		message(KV_ERROR, "%s: %s", path, message_error((int)length));
		return (int)length;
	}
	return rc;
}

/* Reads the lines of a mount, of a store that is mounted, or of a store that is opened here. */
static int read_lines(const char *path, char *lines)
{
	struct mount_entry entry;
	char *real;
	ssize_t length = status_read_mount(path, lines, LINES_SIZE);

	if (length >= 0)
		return 0;
	real = realpath(path, NULL);
	if (real && !mount_table_of(real, status_is_mount_of, &entry)) {
		length = status_read_mount(entry.directory, lines, LINES_SIZE);
		mount_entry_fini(&entry);
	}
	free(real);
	return length >= 0 ? 0 : read_store(path, lines);
}

static int stat_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	char lines[LINES_SIZE];
	bool json = false;

	while (options_next(&stat_command, argc, argv, ":jh", names) != -1)
		json = true;
	options_arguments(&stat_command, argc, 1, 1);
	if (read_lines(argv[optind], lines))
		return 1;
	if (json)
		status_print_json(lines, stdout);
	else
		status_print(lines, stdout);
	return fflush(stdout) ? 1 : 0;
}

const struct command stat_command = {
	.name = "stat",
	.arguments = "[--json] STORE|DIR",
	.summary = "Shows a store's parameters and statistics; of a mounted one, as it works",
	.details = "  -j, --json  as one JSON object\n",
	.usage_code = 2,
	.run = stat_run,
};
