/* SPDX-License-Identifier: MIT */
/*
 * del.c - kvfs del: removes keys, and with -r whole directories, without a mount.
 */
#include <stdbool.h>
#include <sys/stat.h>

#include "command.h"
#include "options.h"
#include "store.h"
#include "walk.h"

static int remove_file(void *arg, const struct walk_entry *entry)
{
	if (S_ISDIR(entry->attr->mode))
		return 0;
	return kvfs_unlink(arg, entry->parent_ino, entry->name);
}

static int remove_directory(void *arg, const struct walk_entry *entry)
{
	return kvfs_rmdir(arg, entry->parent_ino, entry->name);
}

static int refuse(void *arg, const char *path, int rc)
{
	return rc;
}

static int remove_tree(struct kvfs *fs, uint64_t parent_ino, const char *name, uint64_t ino)
{
	const struct walk all = {
		.fs = fs,
		.recursive = true,
		.visit = remove_file,
		.leave = remove_directory,
		.failed = refuse,
		.arg = fs,
	};
	int rc = walk(&all, "", ino);

	return rc ? rc : kvfs_rmdir(fs, parent_ino, name);
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
	if (!S_ISDIR(attr.mode))
		return kvfs_unlink(fs, parent.ino, name);
	if (!recursive)
		return kvfs_rmdir(fs, parent.ino, name);
	return remove_tree(fs, parent.ino, name, attr.ino);
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
