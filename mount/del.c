/* SPDX-License-Identifier: MIT */
/*
 * del.c - kvfs del: removes keys, and with -r whole directories, without a mount.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "options.h"
#include "page.h"
#include "store.h"

static int empty_directory(struct kvfs *fs, uint64_t ino);

static int remove_tree(
	struct kvfs *fs, uint64_t parent_ino, const char *name, uint64_t ino, bool directory)
{
	int rc;

	if (!directory)
		return kvfs_unlink(fs, parent_ino, name);
	rc = empty_directory(fs, ino);
	return rc ? rc : kvfs_rmdir(fs, parent_ino, name);
}

static int empty_directory(struct kvfs *fs, uint64_t ino)
{
	struct page *page = calloc(1, sizeof(*page));
	unsigned i;
	int rc = page ? 0 : -ENOMEM;

	while (!rc) {
		rc = page_next(fs, ino, false, page);
		if (page->count == 0)
			break;
		for (i = 0; !rc && i < page->count; i++)
			rc = remove_tree(fs, ino, page->entries[i].name, page->entries[i].attr.ino,
				S_ISDIR(page->entries[i].attr.mode));
	}
	free(page);
	return rc;
}

static int del_one(struct kvfs *fs, const char *key, bool recursive)
{
	char name[KVFS_NAME_MAX + 1];
	struct kvfs_attr parent, attr;
	int rc = kvfs_resolve_parent(fs, key, NULL, &parent, name);

	if (!rc)
		rc = kvfs_lookup(fs, parent.ino, name, &attr);
	if (rc)
		return rc;
	if (S_ISDIR(attr.mode) && !recursive)
		return kvfs_rmdir(fs, parent.ino, name);
	return remove_tree(fs, parent.ino, name, attr.ino, S_ISDIR(attr.mode));
}

static int del_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"recursive", no_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool recursive = false;
	struct kvfs *fs;
	const char *store;
	int i, rc, code = 0;

	while (options_next(&del_command, argc, argv, ":rh", names) != -1)
		recursive = true;
	options_arguments(&del_command, argc, 2, 0);
	store = argv[optind];
	if (store_open_confined(store, false, &fs))
		return 1;
	for (i = optind + 1; i < argc; i++) {
		rc = del_one(fs, argv[i], recursive);
		if (rc) {
			store_explain_key(store, fs, argv[i], rc);
			code = 1;
		}
	}
	if (store_close(store, fs))
		code = 1;
	return code;
}

const struct command del_command = {
	.name = "del",
	.arguments = "[-r] STORE KEY...",
	.summary = "Removes keys, and directories that are empty",
	.details = "  -r, --recursive  directories with all that is in them\n",
	.usage_code = 2,
	.run = del_run,
};
