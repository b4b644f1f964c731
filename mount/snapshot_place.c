/* SPDX-License-Identifier: MIT */
/* snapshot_place.c - see snapshot.h. */
#include "snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "fuse_front.h"
#include "message.h"
#include "mount_table.h"
#include "status.h"

#define DIRECTORY_NAME ".snapshots"
/* A directory of that name that is the user's own has a number that is an inode's. */
#define INO_MAX ((UINT64_C(1) << 48) - 1)

static bool is_mount(const char *path)
{
	return getxattr(path, FUSE_FRONT_STATUS_XATTR, NULL, 0) >= 0;
}

/*
 * The highest directory above `path` that is on the same file system. NULL: no memory, or it is
 * gone.
 */
static char *root_of(const char *path)
{
	char *root = realpath(path, NULL), *parent = NULL, *slash;
	struct stat here, above;

	if (!root || stat(root, &here))
		goto fail;
	while (strcmp(root, "/")) {
		parent = strdup(root);
		if (!parent)
			goto fail;
		slash = strrchr(parent, '/');
		slash[slash == parent] = '\0';
		if (stat(parent, &above) || above.st_dev != here.st_dev)
			break;
		free(root);
		root = parent;
		parent = NULL;
	}
	free(parent);
	return root;
fail:
	free(root);
	return NULL;
}

static int find_directory(struct snapshot_place *place)
{
	struct stat st;

	if (asprintf(&place->directory, "%s/" DIRECTORY_NAME, place->root) < 0) {
		place->directory = NULL;
		return -ENOMEM;
	}
	if (!lstat(place->directory, &st) && (uint64_t)st.st_ino > INO_MAX)
		return 0;
	message(KV_ERROR, "%s: this mount does not show snapshots (-o nosnapdir, or -o snapshot=)",
		place->root);
	return -ENOENT;
}

int snapshot_place_find(const char *path, struct snapshot_place *out)
{
	struct mount_entry entry = {0};
	char *real = realpath(path, NULL);
	int rc = 0;

	*out = (struct snapshot_place){.path = path};
	if (is_mount(path))
		out->root = root_of(path);
	else if (real && !mount_table_of(real, status_is_mount_of, &entry) &&
		is_mount(entry.directory))
		out->root = root_of(entry.directory);
	else
		goto out; /* a store, or nothing at all, as whoever opens it will say */
	rc = out->root ? find_directory(out) : -ENOMEM;
out:
	mount_entry_fini(&entry);
	free(real);
	if (rc)
		snapshot_place_fini(out);
	return rc;
}

void snapshot_place_fini(struct snapshot_place *place)
{
	free(place->root);
	free(place->directory);
}

int snapshot_check_name(const char *name)
{
	const char *why = NULL;

	if (!*name)
		why = "a snapshot's name is not empty";
	else if (strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		why = "not a name for a snapshot: it is one as for a file";
	else if (strlen(name) > KVFS_NAME_MAX)
		why = "a snapshot's name has 255 bytes at most";
	if (why)
		message(KV_ERROR, "%s: %s", name, why);
	return why ? -EINVAL : 0;
}

void snapshot_print_name(const char *name)
{
	for (; *name; name++) {
		if (*name == '\\')
			fputs("\\\\", stdout);
		else if (*name == '\n')
			fputs("\\n", stdout);
		else
			putchar(*name);
	}
}
