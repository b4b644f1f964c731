/* SPDX-License-Identifier: MIT */
/*
 * limit.c - kvfs limit: shows or changes how much a store may hold, mounted or not.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "command.h"
#include "fuse_front.h"
#include "message.h"
#include "mount_table.h"
#include "options.h"
#include "status.h"
#include "store.h"

static void print_limit(uint64_t bytes)
{
	if (bytes)
		printf("%" PRIu64 "\n", bytes);
	else
		printf("none\n");
}

/* -ENODATA: it is no mount of ours. `wanted` NULL: show it. */
static int limit_of_mount(const char *directory, const uint64_t *wanted)
{
	char text[24];
	ssize_t length = getxattr(directory, FUSE_FRONT_LIMIT_XATTR, text, sizeof(text) - 1);

	if (length < 0)
		return -ENODATA;
	text[length] = '\0';
	if (!wanted) {
		print_limit(strtoull(text, NULL, 10));
		return 0;
	}
	length = snprintf(text, sizeof(text), "%" PRIu64, *wanted);
	return setxattr(directory, FUSE_FRONT_LIMIT_XATTR, text, (size_t)length, 0) ? -errno : 0;
}

static int limit_of_store(const char *path, const uint64_t *wanted)
{
	struct kvfs *fs;
	int rc, rc_close;

	rc = store_open_confined(path, !wanted, &fs);
	if (rc)
		return 1;
	if (wanted)
		rc = kvfs_set_size_limit(fs, *wanted);
	else
		print_limit(kvfs_size_limit(fs));
	if (rc)
		message(KV_ERROR, "%s: %s", path, message_error(rc));
	rc_close = store_close(path, fs);
	return rc || rc_close ? 1 : 0;
}

/* A mount, a store that is mounted, or a store that nobody has open. */
static int limit_of(const char *path, const uint64_t *wanted)
{
	struct mount_entry entry;
	char *real = realpath(path, NULL);
	int rc = limit_of_mount(path, wanted);

	if (rc == -ENODATA && real && !mount_table_of(real, status_is_mount_of, &entry)) {
		rc = limit_of_mount(entry.directory, wanted);
		mount_entry_fini(&entry);
	}
	free(real);
	if (rc == -ENODATA)
		return limit_of_store(path, wanted);
	if (rc)
		message(KV_ERROR, "%s: %s", path, message_error(rc));
	return rc ? 1 : 0;
}

static int limit_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	uint64_t bytes = 0;
	const char *text;

	while (options_next(&limit_command, argc, argv, ":h", names) != -1)
		;
	options_arguments(&limit_command, argc, 1, 2);
	text = argv[optind + 1];
	if (text && strcmp(text, "none") && (options_size(text, &bytes) || !bytes))
		options_fail(&limit_command, "%s: neither a size, as 500M or 10G, nor none", text);
	if (limit_of(argv[optind], text ? &bytes : NULL))
		return 1;
	return fflush(stdout) ? 1 : 0;
}

const struct command limit_command = {
	.name = "limit",
	.arguments = "STORE|DIR [SIZE|none]",
	.summary = "Shows, or changes, how much a store may hold",
	.details =
		"  SIZE counts contents, names and attributes, as they lie in the store; a store\n"
		"  that holds more already keeps it, and grows no further.\n",
	.usage_code = 2,
	.run = limit_run,
};
