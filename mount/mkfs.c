/* SPDX-License-Identifier: MIT */
/*
 * mkfs.c - kvfs mkfs: makes a store. Never overwrites anything. Exit codes: mkfs(8).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "kvfs.h"
#include "message.h"
#include "options.h"
#include "progress.h"
#include "store.h"

#define MKFS_FAILED 1
#define SEGMENT_SIZE_MIN (2u << 20)
#define SEGMENT_SIZE_MAX (1u << 30)
#define SIZE_LIMIT_MIN (1u << 20) /* who says less has forgotten the unit */

#define REASON_SIZE 512u

static void parse_hash(const char *text, struct kvfs_create_options *options)
{
	if (!strcmp(text, "xxh3"))
		options->hash = KV_HASH_XXH3;
	else if (!strcmp(text, "blake2b"))
		options->hash = KV_HASH_BLAKE2B;
	else
		options_fail(&mkfs_command, "--hash %s: neither xxh3 nor blake2b", text);
}

static void parse_compress(const char *text, struct kvfs_create_options *options)
{
	size_t length = strcspn(text, ":");
	char *end;
	long level;

	options->compress_level = 0; /* the engine's default */
	if (!strcmp(text, "none")) {
		options->compress = KV_COMPRESS_NONE;
		return;
	}
	if (length == 6 && !strncmp(text, "inline", length))
		options->compress = KV_COMPRESS_INLINE;
	else if (length == 10 && !strncmp(text, "background", length))
		options->compress = KV_COMPRESS_BACKGROUND;
	else
		options_fail(&mkfs_command,
			"--compress %s: neither none, inline[:LEVEL] nor background[:LEVEL]", text);
	if (!text[length])
		return;
	level = strtol(text + length + 1, &end, 10);
	if (end == text + length + 1 || *end || level < 1 || level > 19)
		options_fail(
			&mkfs_command, "--compress %s: the level is a number from 1 to 19", text);
	options->compress_level = (int)level;
}

static void parse_segment_size(const char *text, struct kvfs_create_options *options)
{
	uint64_t bytes;

	if (options_size(text, &bytes) || bytes < SEGMENT_SIZE_MIN || bytes > SEGMENT_SIZE_MAX ||
		bytes & (bytes - 1))
		options_fail(&mkfs_command,
			"--segment-size %s: must be a power of two from 2M to 1G", text);
	options->segment_size = (uint32_t)bytes;
}

static void parse_size_limit(const char *text, struct kvfs_create_options *options)
{
	if (options_size(text, &options->size_limit) || !options->size_limit)
		options_fail(
			&mkfs_command, "--size-limit %s: must be a size, as 500M or 10G", text);
	if (options->size_limit < SIZE_LIMIT_MIN)
		options_fail(&mkfs_command,
			"--size-limit %s: these are bytes, and too few; 10G are 10 GiB", text);
}

/* The last thing that is said of why it fails. */
static void keep_report(void *arg, enum kv_severity severity, const char *text)
{
	if (severity != KV_INFO)
		snprintf(arg, REASON_SIZE, "%s", text);
}

static void explain(const char *path, int rc, const char *reason)
{
	switch (rc) {
	case -EEXIST:
		message(KV_ERROR, "%s: not empty. A store is made in a new or an empty directory",
			path);
		break;
	case -ENOENT:
		message(KV_ERROR, "%s: the directory that is to hold the store does not exist",
			path);
		break;
	case -ENOTDIR:
		message(KV_ERROR, "%s: there is something that is not a directory", path);
		break;
	case -ECANCELED:
		message(KV_ERROR, "%s: interrupted; nothing was made", path);
		break;
	case -ENOSPC:
	case -EDQUOT:
		message(KV_ERROR, "%s: %s: a store takes four times its --segment-size, which is 2M at least",
			path, message_error(rc));
		break;
	default:
		if (*reason)
			message(KV_ERROR, "%s", reason);
		else
			message(KV_ERROR, "%s: cannot be made: %s", path, message_error(rc));
	}
}

static int mkfs_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"hash", required_argument, NULL, 'H'},
		{"compress", required_argument, NULL, 'c'},
		{"segment-size", required_argument, NULL, 's'},
		{"size-limit", required_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct kvfs_create_options options = {
		.compress = KV_COMPRESS_BACKGROUND, .root_uid = geteuid(), .root_gid = getegid()};
	char reason[REASON_SIZE] = "";
	const char *path;
	int letter, rc;

	while ((letter = options_next(&mkfs_command, argc, argv, ":H:c:s:l:h", names)) != -1) {
		if (letter == 'H')
			parse_hash(optarg, &options);
		else if (letter == 'c')
			parse_compress(optarg, &options);
		else if (letter == 'l')
			parse_size_limit(optarg, &options);
		else
			parse_segment_size(optarg, &options);
	}
	options_arguments(&mkfs_command, argc, 1, 1);
	path = argv[optind];
	if (!*path)
		options_fail(&mkfs_command, "the store's name is empty");
	store_trim(argv[optind]);
	umask(077);
	progress_catch_signals();
	rc = store_create(path, &options, keep_report, reason);
	if (rc) {
		explain(path, rc, reason);
		return MKFS_FAILED;
	}
	/* one that was there already may be open to others */
	if (chmod(path, 0700))
		message(KV_WARNING, "%s: cannot be made private: %s", path, strerror(errno));
	return 0;
}

const struct command mkfs_command = {
	.name = "mkfs",
	.arguments =
		"[--hash HASH] [--compress HOW] [--segment-size SIZE] [--size-limit SIZE] STORE",
	.summary = "Makes a store: a directory that is new, or empty",
	.details =
		"  -H, --hash xxh3|blake2b             what places keys (default: xxh3)\n"
		"  -c, --compress none|inline[:LEVEL]|background[:LEVEL]\n"
		"                                      whether values are compressed with zstd, when "
		"they\n"
		"                                      are written or later (default: background)\n"
		"  -s, --segment-size SIZE             size of the log's files, a power of two\n"
		"                                      from 2M to 1G (default: 16M, less\n"
		"                                      on a small disk)\n"
		"  -l, --size-limit SIZE               the most the store may hold (kvfs limit "
		"changes it)\n",
	.usage_code = MKFS_FAILED,
	.run = mkfs_run,
};
