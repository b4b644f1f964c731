/* SPDX-License-Identifier: MIT */
/*
 * sync.c - kvfs sync: makes durable what was done under a mount, which sync(1) and syncfs(2) do not
 * reach.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "command.h"
#include "fuse_front.h"
#include "message.h"
#include "mount_table.h"
#include "options.h"
#include "status.h"

/*
 * Writes back what is in the kernel alone (maps of files), and then syncs all that the store has.
 */
static int sync_mount(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int rc = fd < 0 || syncfs(fd) || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	if (rc)
		message(KV_ERROR, "%s: %s", path, message_error(rc));
	return rc;
}

/* A mount, or the store of one. A store that nobody has mounted is durable as it is. */
static int sync_one(const char *path)
{
	char lines[FUSE_FRONT_STATUS_SIZE_MAX + 1];
	struct mount_entry entry;
	char *real = NULL;
	int rc = mount_path(path, &real);
	ssize_t answer = rc ? rc : status_read_mount(real, lines, sizeof(lines));

	if (rc) {
		message(KV_ERROR, "%s: %s", path, message_error(rc));
	} else if (answer == -ENOTCONN || answer == -ECONNABORTED) {
		rc = (int)answer;
		message(KV_ERROR, "%s: the process that served the mount here has died", path);
	} else if (answer >= 0) {
		rc = sync_mount(real);
	} else if (!mount_table_of(real, status_is_mount_of, &entry)) {
		rc = sync_mount(entry.directory);
		mount_entry_fini(&entry);
	} else {
		rc = -EINVAL;
		message(KV_ERROR, "%s: nothing of kvfs is mounted here", path);
	}
	free(real);
	return rc;
}

static int sync_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int code = 0;

	while (options_next(&sync_command, argc, argv, ":h", names) != -1)
		;
	options_arguments(&sync_command, argc, 1, 0);
	for (argv += optind; *argv; argv++) {
		if (sync_one(*argv))
			code = 1;
	}
	return code;
}

const struct command sync_command = {
	.name = "sync",
	.arguments = "STORE|DIR...",
	.summary = "Makes durable what was done under a mount",
	.details =
		"  sync(1) and syncfs(2) do not reach a FUSE file system; this does, as fsync(2) does.\n",
	.usage_code = 2,
	.run = sync_run,
};
