/* SPDX-License-Identifier: MIT */
/*
 * mount.c - kvfs mount, and mount.kvfs as mount(8) calls it. Exit codes: mount(8).
 *
 * What can be said about the arguments is said here, before a process is started. A directory that
 * is not empty is accepted with a remark, as what is in it comes back with the unmount; mount(8)
 * asks no one either. A directory on which a store is mounted already is not: that is a mistake far
 * more often than a wish.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "message.h"
#include "mount_options.h"
#include "mount_table.h"
#include "options.h"
#include "serve.h"
#include "status.h"

#define FUSE_DEVICE "/dev/fuse"

struct mount_call {
	const char *store, *directory; /* as given */
	struct mount_options options;
	bool foreground, announce, fake;
};

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool empty = true;

	if (!dir)
		return true; /* we cannot tell, and do not need to */
	while (empty && (entry = readdir(dir)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	closedir(dir);
	return empty;
}

/* Whether a store, or a server that has died, is in the way on this path. */
static int check_mounted(const char *path)
{
	char lines[FUSE_FRONT_STATUS_SIZE_MAX + 1];
	struct mount_entry entry;
	ssize_t answer;

	if (mount_table_at(path, &entry))
		return 0;
	answer = status_read_mount(path, lines, sizeof(lines));
	if (answer == -ENOTCONN || answer == -ECONNABORTED)
		message(KV_ERROR,
			"%s: the process that served the mount here has died. First run: %s %s",
			path, strcmp(entry.type, MOUNT_TABLE_TYPE) ? "umount" : "kvfs umount",
			path);
	else if (!strcmp(entry.type, MOUNT_TABLE_TYPE))
		message(KV_ERROR, "%s: %s is mounted here already. First run: kvfs umount %s", path,
			entry.source, path);
	else
		answer = 0;
	mount_entry_fini(&entry);
	return answer ? -EBUSY : 0;
}

static int check_directory(const char *path)
{
	struct stat st;
	int rc = check_mounted(path);

	/*
	 * Whatever is then looked up from the root waits for a server that looks up things itself.
	 */
	if (!strcmp(path, "/")) {
		message(KV_ERROR, "/: is the root of all; nothing can be mounted on it");
		return -EINVAL;
	}
	if (rc)
		return rc;
	if (stat(path, &st)) {
		rc = -errno;
		message(KV_ERROR, "%s: cannot be reached: %s", path, message_error(rc));
		return rc;
	}
	if (!S_ISDIR(st.st_mode)) {
		message(KV_ERROR, "%s: not a directory; a store can be mounted only on a directory",
			path);
		return -ENOTDIR;
	}
	if (!is_empty(path))
		message(KV_WARNING, "%s: not empty; what is in it cannot be seen until the unmount",
			path);
	return 0;
}

/* The mount point as an absolute path, if a store can be mounted there. */
static int find_directory(const char *directory, char **out)
{
	char *path = NULL;
	int rc = mount_path(directory, &path);

	if (rc == -ENOENT)
		message(KV_ERROR,
			"%s: there is no such directory to mount on. To make it: mkdir %s",
			directory, directory);
	else if (rc)
		message(KV_ERROR, "%s: cannot be reached: %s", directory, message_error(rc));
	else
		rc = check_directory(path);
	if (rc)
		free(path);
	else
		*out = path;
	return rc;
}

static int find_store(const char *store, char **out)
{
	*out = realpath(store, NULL);
	if (*out)
		return 0;
	if (errno == ENOENT)
		message(KV_ERROR, "%s: there is no such store. To make one: kvfs mkfs %s", store,
			store);
	else
		message(KV_ERROR, "%s: cannot be reached: %s", store, strerror(errno));
	return -EINVAL;
}

/* A change of the flags of a mount that is there; what the store was opened with stays. */
static int remount(const struct mount_call *call)
{
	const unsigned long flags = call->options.flags | MS_REMOUNT;

	if (mount(NULL, call->directory, NULL, flags, NULL)) {
		message(KV_ERROR, "%s: cannot be remounted: %s", call->directory, strerror(errno));
		return MOUNT_FAILED;
	}
	return MOUNT_OK;
}

/* Are these two the same, or is the first below the second? Both are absolute, without links. */
static bool is_inside(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	return !strncmp(path, directory, length) && (!path[length] || path[length] == '/');
}

static int do_mount(const struct mount_call *call)
{
	struct serve_request request = {
		.options = &call->options,
		.foreground = call->foreground,
		.announce = call->announce,
	};
	char *store = NULL, *directory = NULL;
	int code = MOUNT_FAILED;

	if (call->options.remount)
		return call->fake ? MOUNT_OK : remount(call);
	if (find_store(call->store, &store) || find_directory(call->directory, &directory))
		goto out;
	if (access(FUSE_DEVICE, R_OK | W_OK)) {
		message(KV_ERROR, "%s: %s. %s", FUSE_DEVICE, strerror(errno),
			errno == EACCES ? "Root can give access: chmod 666 " FUSE_DEVICE
					: "Is the kernel's fuse module there? (modprobe fuse)");
		goto out;
	}
	if (is_inside(directory, store)) {
		message(KV_ERROR, "%s: is the store%s; it cannot be mounted on itself", directory,
			strcmp(directory, store) ? " or in it" : "");
		goto out;
	}
	request.store = store;
	request.directory = directory;
	code = call->fake ? MOUNT_OK : serve(&request);
out:
	free(directory);
	free(store);
	return code;
}

static int mount_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"foreground", no_argument, NULL, 'f'},
		{"options", required_argument, NULL, 'o'},
		{"read-only", no_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct mount_call call = {.announce = true};
	int letter, code = MOUNT_USAGE;

	mount_options_init(&call.options);
	while ((letter = options_next(&mount_command, argc, argv, ":fo:rh", names)) != -1) {
		if (letter == 'f')
			call.foreground = true;
		else if (mount_options_parse(&call.options, letter == 'r' ? "ro" : optarg, false))
			goto out;
	}
	options_arguments(&mount_command, argc, 2, 2);
	call.store = argv[optind];
	call.directory = argv[optind + 1];
	code = do_mount(&call);
out:
	mount_options_fini(&call.options);
	return code;
}

/* mount.kvfs STORE DIR [-sfnvrwN] [-t TYPE] [-o OPTIONS]: the arguments may come first or last. */
int mount_helper_run(int argc, char **argv)
{
	struct mount_call call = {.announce = false};
	const char *lists[16];
	unsigned list_count = 0, i;
	bool sloppy = false;
	int letter, code = MOUNT_USAGE;

	mount_options_init(&call.options);
	while ((letter = options_next(&mount_command, argc, argv, ":sfnvrwN:t:o:h", NULL)) != -1) {
		if (letter == 's')
			sloppy = true;
		else if (letter == 'f')
			call.fake = true;
		else if (letter == 'v')
			call.announce = true;
		else if (letter == 'r' || letter == 'w' || letter == 'o') {
			if (list_count == sizeof(lists) / sizeof(lists[0]))
				options_fail(&mount_command, "too many options");
			lists[list_count++] = letter == 'o' ? optarg : letter == 'r' ? "ro" : "rw";
		}
	}
	options_arguments(&mount_command, argc, 2, 2);
	call.store = argv[optind];
	call.directory = argv[optind + 1];
	for (i = 0; i < list_count; i++) {
		if (mount_options_parse(&call.options, lists[i], sloppy))
			goto out;
	}
	code = do_mount(&call);
out:
	mount_options_fini(&call.options);
	return code;
}

const struct command mount_command = {
	.name = "mount",
	.arguments = "[-f] [-r] [-o OPTIONS] STORE DIR",
	.summary = "Mounts a store on a directory",
	.details =
		"  -f, --foreground       stay in the foreground, say on the terminal what "
		"happens\n"
		"  -r, --read-only        the same as -o ro\n"
		"  -o, --options OPTIONS  options with commas between them:\n"
		"\n"
		"  ro, rw                          whether it can be changed\n"
		"  relatime, noatime, strictatime  when reading updates times (default: relatime)\n"
		"  snapshot=NAME                   shows this snapshot, read-only, instead of the tree\n"
		"                                  as it is\n"
		"  snapdir, nosnapdir              whether .snapshots in the root shows the snapshots\n"
		"                                  (default: snapdir)\n"
		"  acl, noacl                      whether access control lists count (default: acl)\n"
		"  commit=SECONDS                  at most so much is lost in a crash (default: "
		"1);\n"
		"                                  never what fsync or kvfs sync had made durable\n"
		"  scrub=RATE                      how fast the store is read through and verified in the\n"
		"                                  background, in bytes a second (default: 16M, an eighth\n"
		"                                  of it while the store is used); none: not at all\n"
		"  scrub_interval=SECONDS          from the beginning of one pass to the next (default:\n"
		"                                  604800, a week)\n"
		"  sync, dirsync                   every change, or every change of names, is "
		"durable\n"
		"                                  when the call that makes it returns\n"
		"  allow_other                     other users may enter (for ordinary users only "
		"if\n"
		"                                  /etc/fuse.conf has user_allow_other)\n"
		"  io_uring, no_io_uring           insist on FUSE over io_uring, or do not use it\n"
		"                                  (default: where the kernel has it)\n"
		"  confine, no_confine             whether the serving process gives up all rights "
		"that it\n"
		"                                  does not need (default: confine)\n"
		"  fsname=NAME, subtype=NAME       what the mount table shows\n"
		"  and those of mount(8) for every file system: nosuid, nodev, noexec, noauto, "
		"user,\n"
		"  _netdev, x-*, defaults and so on\n",
	.usage_code = MOUNT_USAGE,
	.run = mount_run,
};
