/* SPDX-License-Identifier: MIT */
/*
 * get.c - kvfs get: writes values to the standard output, without a mount.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "command.h"
#include "message.h"
#include "options.h"
#include "store.h"

#define PIECE_SIZE (1u << 20)

static int write_all(const char *data, size_t size)
{
	while (size) {
		ssize_t done = write(STDOUT_FILENO, data, size);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			data += done;
			size -= (size_t)done;
		}
	}
	return 0;
}

static int get_one(const char *store, struct kvfs *fs, const char *key, char *buffer)
{
	struct kvfs_attr attr;
	int64_t offset = 0;
	ssize_t size;
	int rc = kvfs_resolve(fs, key, true, &attr);

	if (!rc && S_ISDIR(attr.mode))
		rc = -EISDIR;
	while (!rc) {
		size = kvfs_read(fs, attr.ino, buffer, PIECE_SIZE, offset);
		if (size < 0) {
			rc = (int)size;
			break;
		}
		if (size == 0)
			return 0;
		rc = write_all(buffer, (size_t)size);
		if (rc) {
			message(KV_ERROR, "standard output: %s", message_error(rc));
			return rc;
		}
		offset += size;
	}
	store_explain_key(store, fs, key, rc);
	return rc;
}

/* The exit code. */
static int get_all(const char *store, struct kvfs *fs, char **keys, char *buffer)
{
	int code = 0;

	for (; *keys; keys++) {
		if (get_one(store, fs, *keys, buffer))
			code = 1;
	}
	return code;
}

static int get_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"snapshot", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	const char *store, *snapshot = NULL;
	struct kvfs *fs, *shown;
	char *buffer;
	int code;

	while (options_next(&get_command, argc, argv, ":s:h", names) != -1)
		snapshot = optarg;
	options_arguments(&get_command, argc, 2, 0);
	store = argv[optind];
	buffer = malloc(PIECE_SIZE);
	if (!buffer || store_open_confined(store, true, &fs)) {
		free(buffer);
		return 1;
	}
	shown = NULL;
	code = store_show(store, fs, snapshot, &shown)
		       ? 1
		       : get_all(store, shown, argv + optind + 1, buffer);
	if (shown != fs)
		(void)kvfs_close(shown);
	if (store_close(store, fs))
		code = 1;
	free(buffer);
	return code;
}

const struct command get_command = {
	.name = "get",
	.arguments = "[--snapshot NAME] STORE KEY...",
	.summary = "Writes the values of keys, one after the other, to the standard output",
	.details = "  -s, --snapshot NAME  as they were in this snapshot\n",
	.usage_code = 2,
	.run = get_run,
};
