/* SPDX-License-Identifier: MIT */
/*
 * umount.c - kvfs umount, also as umount(8) calls it: ends a mount and waits until the store is
 * closed.
 *
 * The process that serves the mount is known from the mount itself (status.h). A descriptor for it
 * is taken while the mount still answers; it becomes readable when the process has ended, and with
 * it all is on the disk. With -f nobody asks: a question to a server that stands still ends with
 * that, and until then the one who asks cannot be killed, and uses the mount.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "message.h"
#include "mount_table.h"
#include "options.h"
#include "serve.h"
#include "status.h"

#define PATIENCE_MS 3000
#define ELSEWHERE_MS (10 * PATIENCE_MS) /* for who has the mount elsewhere, perhaps for a moment */
#define BUSY_TRIES 50u /* somebody may only have been passing by: df, a program that looks at all
			  mounts, one that just ends */
#define BUSY_PAUSE_NS 20000000

extern char **environ;

static bool is_kvfs(pid_t pid)
{
	char path[64], name[32] = "";
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = read(fd, name, sizeof(name) - 1);
	close(fd);
	return length > 0 && !strcmp(name, SERVE_PROCESS_NAME "\n");
}

/*
 * A descriptor of the process that serves the mount, or -1: then there is nobody to wait for that
 * we know.
 */
static int server_open(const char *directory)
{
	char lines[FUSE_FRONT_STATUS_SIZE_MAX + 1];
	uint64_t pid;
	int fd;

	if (status_read_mount(directory, lines, sizeof(lines)) < 0 ||
		!status_number(lines, "pid", &pid))
		return -1;
	fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	/* it tells its number as it sees it, which in a container is another's here */
	if (fd >= 0 && !is_kvfs((pid_t)pid)) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * A bind mount, or a mount namespace that was made meanwhile, as of a container, may still have
 * what is not mounted here any more: then the server goes on. Says what is waited for, at first;
 * or that it is no use.
 */
static bool goes_on_elsewhere(const struct mount_entry *gone, unsigned waited_ms)
{
	bool first = waited_ms == PATIENCE_MS, in_vain;
	struct mount_entry other;
	pid_t pid;

	if (mount_table_elsewhere(gone, &pid, &other)) {
		if (first)
			message(KV_INFO, "%s: unmounted; waiting until everything is written",
				gone->directory);
		return false;
	}
	in_vain = !pid || waited_ms >= ELSEWHERE_MS;
	if (in_vain && pid)
		message(KV_WARNING,
			"%s: unmounted here, but process %d has it in a mount namespace of its own, at %s: the store stays open until that has ended",
			gone->directory, (int)pid, other.directory);
	else if (in_vain)
		message(KV_WARNING,
			"%s: unmounted, but it is also mounted at %s: the store stays open until that is unmounted, too",
			gone->directory, other.directory);
	else if (first)
		message(KV_INFO,
			"%s: unmounted here; waiting for process %d, which has it in a mount namespace of its own",
			gone->directory, (int)pid);
	mount_entry_fini(&other);
	return in_vain;
}

static void server_wait(const struct mount_entry *gone, int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};
	unsigned waited_ms = 0;
	int rc;

	do {
		rc = poll(&pollfd, 1, PATIENCE_MS);
		waited_ms += PATIENCE_MS;
	} while ((rc == 0 || (rc < 0 && errno == EINTR)) && !goes_on_elsewhere(gone, waited_ms));
	close(fd);
}

/* Users without privileges have a helper for it that belongs to root. */
static int release_by_helper(const char *directory, bool lazy)
{
	char *const argv[] = {(char *)"fusermount3", (char *)(lazy ? "-uz" : "-u"), (char *)"--",
		(char *)directory, NULL};
	int status;
	pid_t pid;
	int rc = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (rc) {
		message(KV_ERROR, "fusermount3: %s", strerror(rc));
		return MOUNT_SYSTEM;
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return MOUNT_SYSTEM;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? MOUNT_OK : MOUNT_FAILED;
}

static int umount_patiently(const char *directory, int flags)
{
	const struct timespec pause = {.tv_nsec = BUSY_PAUSE_NS};
	int rc = umount2(directory, flags);

	for (unsigned i = 0; rc && errno == EBUSY && i < BUSY_TRIES; i++) {
		nanosleep(&pause, NULL);
		rc = umount2(directory, flags);
	}
	return rc;
}

static int release(const char *directory, bool lazy, bool force)
{
	int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0) | (force ? MNT_FORCE : 0);

	if (geteuid() != 0)
		return release_by_helper(directory, lazy);
	if (!umount_patiently(directory, flags))
		return MOUNT_OK;
	if (errno == EBUSY)
		message(KV_ERROR, "%s: in use. What uses it is shown by: fuser -vm %s", directory,
			directory);
	else
		message(KV_ERROR, "%s: cannot be unmounted: %s", directory, strerror(errno));
	return MOUNT_FAILED;
}

/*
 * Writes back what was stored into maps of files, and syncs the store. What could not be written
 * back is lost, which the kernel tells once, so it is said here. Where the store could not write,
 * it tells itself that it has failed; the fsync fails also where only the root is damaged.
 */
static bool sync_loses(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool loses;

	if (fd < 0) /* not ours to look into */
		return false;
	loses = syncfs(fd);
	if (loses)
		message(KV_ERROR,
			"%s: not all that was stored into maps of files could be written back: %s",
			directory, strerror(errno));
	(void)!fsync(fd);
	close(fd);
	return loses;
}

/* What a store that has failed could not write is lost when its mount ends. */
static bool has_failed(const char *directory)
{
	char lines[FUSE_FRONT_STATUS_SIZE_MAX + 1];
	uint64_t failed = 0;

	return status_read_mount(directory, lines, sizeof(lines)) > 0 &&
	       status_number(lines, "failed", &failed) && failed;
}

/* Ends a mount and waits for its server, and tells of what went with it. */
static int end(const struct mount_entry *entry)
{
	const char *directory = entry->directory;
	int server = server_open(directory);
	bool loses = sync_loses(directory), failed = has_failed(directory);
	int code = release(directory, false, false);

	if (code == MOUNT_OK && server >= 0)
		server_wait(entry, server);
	else if (server >= 0)
		close(server);
	if (code == MOUNT_OK && failed)
		message(KV_ERROR,
			"%s: unmounted, but its store had failed: what was written last is lost",
			directory);
	return code == MOUNT_OK && (loses || failed) ? MOUNT_FAILED : code;
}

/*
 * The mount that `name` means: its directory, or the store that has no other. ask: the server which
 * store it has, and wait until it says so. What is wrong is said, but not -ENOTUNIQ.
 */
static int find(const char *name, bool ask, struct mount_entry *entry)
{
	char *path = NULL;
	int rc = mount_path(name, &path);

	if (rc) {
		message(KV_ERROR, "%s: %s", name, message_error(rc));
		return rc;
	}
	rc = mount_table_at(path, entry);
	if (rc == -ENOENT)
		rc = mount_table_only(
			path, ask ? status_is_mount_of : mount_entry_is_trusted, entry);
	if (rc == -ENOENT) {
		message(KV_ERROR, "%s: nothing is mounted here", name);
	} else if (rc && rc != -ENOTUNIQ) {
		message(KV_ERROR, "%s: %s", name, message_error(rc));
	} else if (!rc && strncmp(entry->type, "fuse", 4)) {
		message(KV_ERROR, "%s: not a kvfs mount (its type is %s); see umount(8)", name,
			entry->type);
		mount_entry_fini(entry);
		rc = -EINVAL;
	} else if (!rc && !mount_entry_is_topmost(entry)) {
		message(KV_ERROR,
			"%s: %s does not lead to its mount; is something else mounted over it?",
			name, entry->directory);
		mount_entry_fini(entry);
		rc = -EBUSY;
	}
	free(path);
	return rc;
}

static int umount_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"lazy", no_argument, NULL, 'l'},
		{"force", no_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool lazy = false, force = false;
	struct mount_entry entry;
	int letter, code, rc;

	/* -n, -r, -v, -t and -N are what umount(8) may pass on */
	while ((letter = options_next(&umount_command, argc, argv, ":lfnrvt:N:h", names)) != -1) {
		lazy = lazy || letter == 'l';
		force = force || letter == 'f';
	}
	options_arguments(&umount_command, argc, 1, 1);
	rc = find(argv[optind], !lazy && !force, &entry);
	if (rc == -ENOTUNIQ)
		options_fail(&umount_command, "%s: it has several mounts; DIR says which is meant",
			argv[optind]);
	if (rc)
		return MOUNT_FAILED;
	code = lazy || force ? release(entry.directory, lazy, force) : end(&entry);
	mount_entry_fini(&entry);
	return code;
}

const struct command umount_command = {
	.name = "umount",
	.arguments = "[-l] [-f] STORE|DIR",
	.summary = "Ends a mount, and waits until everything is written and the store is closed",
	.details =
		"  -l, --lazy   take it out of the tree now, end it when nobody uses it any more;\n"
		"               does not wait\n"
		"  -f, --force  for root: also if the process that serves it does not answer;\n"
		"               does not wait\n",
	.usage_code = MOUNT_USAGE,
	.run = umount_run,
};
