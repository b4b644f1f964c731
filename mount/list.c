/* SPDX-License-Identifier: MIT */
/*
 * list.c - kvfs list: names, as they come, without a mount.
 *
 * Streams: whatever a directory's size, what is in memory is one page of entries for each level of
 * depth at most.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "command.h"
#include "message.h"
#include "options.h"
#include "store.h"
#include "walk.h"

struct listing {
	struct kvfs *fs;
	bool with_attr, recursive;
	char end; /* of a line */
	int code;
};

static void fail(struct listing *listing, const char *path, int rc)
{
	message(KV_ERROR, "%s: %s", path, message_error(rc));
	listing->code = 1;
}

static void mode_text(uint32_t mode, char text[11])
{
	static const char types[] = "?pc?d?b?-?l?s???";
	static const char bits[] = "rwxrwxrwx";
	unsigned i;

	text[0] = types[(mode & S_IFMT) >> 12];
	for (i = 0; i < 9; i++)
		text[i + 1] = mode & (0400u >> i) ? bits[i] : '-';
	if (mode & S_ISUID)
		text[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		text[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		text[9] = mode & S_IXOTH ? 't' : 'T';
	text[10] = '\0';
}

static void print_attr(const struct kvfs_attr *attr)
{
	char mode[11], size[32], when[32] = "?";
	struct tm tm;

	mode_text(attr->mode, mode);
	if (S_ISCHR(attr->mode) || S_ISBLK(attr->mode))
		snprintf(size, sizeof(size), "%u, %u", major(attr->rdev), minor(attr->rdev));
	else
		snprintf(size, sizeof(size), "%" PRIu64, attr->size);
	if (localtime_r(&attr->mtime.tv_sec, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%s %3" PRIu32 " %5" PRIu32 " %5" PRIu32 " %10s %s ", mode, attr->nlink, attr->uid,
		attr->gid, size, when);
}

static void print_entry(struct listing *listing, const char *path, const struct kvfs_attr *attr)
{
	char target[KVFS_SYMLINK_MAX];
	ssize_t size;

	if (listing->with_attr)
		print_attr(attr);
	fputs(path, stdout);
	if (listing->with_attr && S_ISLNK(attr->mode)) {
		size = kvfs_readlink(listing->fs, attr->ino, target, sizeof(target));
		if (size >= 0)
			printf(" -> %.*s", (int)size, target);
	} else if (S_ISDIR(attr->mode)) {
		putchar('/');
	}
	putchar(listing->end);
}

static int list_entry(void *arg, const struct walk_entry *entry)
{
	struct listing *listing = arg;

	print_entry(listing, listing->recursive ? entry->path : entry->name, entry->attr);
	return ferror(stdout) ? -EIO : 0;
}

static int list_failed(void *arg, const char *path, int rc)
{
	fail(arg, *path ? path : "/", rc);
	return 0;
}

/* That the output cannot be written is said at the end. */
static void list_directory(struct listing *listing, const char *path, uint64_t ino)
{
	const struct walk all = {
		.fs = listing->fs,
		.with_attr = listing->with_attr,
		.recursive = listing->recursive,
		.visit = list_entry,
		.failed = list_failed,
		.arg = listing,
	};
	int rc = walk(&all, path, ino);

	if (rc && !ferror(stdout))
		fail(listing, *path ? path : "/", rc);
}

static void list_one(struct listing *listing, const char *key)
{
	struct kvfs_attr attr;
	size_t length;
	char *path;
	int rc = kvfs_resolve(listing->fs, key, false, &attr);

	if (rc) {
		fail(listing, key, rc);
		return;
	}
	if (!S_ISDIR(attr.mode)) {
		print_entry(listing, key, &attr);
		return;
	}
	while (*key == '/')
		key++;
	path = strdup(key);
	if (!path) {
		fail(listing, key, -ENOMEM);
		return;
	}
	for (length = strlen(path); length && path[length - 1] == '/'; length--)
		path[length - 1] = '\0';
	list_directory(listing, path, attr.ino);
	free(path);
}

static void list_all(struct listing *listing, char **keys)
{
	if (!*keys)
		list_one(listing, "/");
	for (; *keys; keys++)
		list_one(listing, *keys);
}

static int list_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"long", no_argument, NULL, 'l'},
		{"recursive", no_argument, NULL, 'r'},
		{"snapshot", required_argument, NULL, 's'},
		{"null", no_argument, NULL, '0'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct listing listing = {.end = '\n'};
	const char *store, *snapshot = NULL;
	struct kvfs *fs;
	int letter;

	while ((letter = options_next(&list_command, argc, argv, ":lrs:0h", names)) != -1) {
		if (letter == 'l')
			listing.with_attr = true;
		else if (letter == 'r')
			listing.recursive = true;
		else if (letter == '0')
			listing.end = '\0';
		else
			snapshot = optarg;
	}
	options_arguments(&list_command, argc, 1, 0);
	store = argv[optind];
	if (store_open_confined(store, true, &fs))
		return 1;
	if (store_show(store, fs, snapshot, &listing.fs)) {
		(void)store_close(store, fs);
		return 1;
	}
	list_all(&listing, argv + optind + 1);
	if (listing.fs != fs)
		(void)kvfs_close(listing.fs);
	if (store_close(store, fs))
		listing.code = 1;
	return listing.code;
}

const struct command list_command = {
	.name = "list",
	.arguments = "[-l] [-r] [-0] [--snapshot NAME] STORE [KEY...]",
	.summary = "Lists keys: what is in directories, by default in the root",
	.details =
		"  -l, --long       type and rights, links, owner, group, size, time of last "
		"change\n"
		"  -r, --recursive  also what is in directories below, with full paths\n"
		"  -0, --null       a NUL behind each instead of the end of a line, which names may have\n"
		"  -s, --snapshot NAME\n"
		"                   as it was in this snapshot\n",
	.usage_code = 2,
	.run = list_run,
};
