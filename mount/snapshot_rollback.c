/* SPDX-License-Identifier: MIT */
/*
 * snapshot_rollback.c - kvfs snapshot rollback: of a store here, of a mount by the process that
 * serves it.
 */
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "file_users.h"
#include "fuse_front.h"
#include "message.h"
#include "options.h"
#include "store.h"

#define PAUSE_NS 5000000
#define BUSY_PAUSE_NS 100000000
#define BUSY_TRIES 20u /* while nobody is seen who has a file open: who had, is through with it */
#define BUSY_MAX 64u

/* ---- a mount --------------------------------------------------------------------------------- */

struct outcome {
	int rc;
	uint64_t busy[BUSY_MAX]; /* files that are open */
	size_t busy_count;
};

/*
 * Data that was stored into maps of files, and is in the kernel alone, belongs to the present tree.
 */
static int write_back(const char *root)
{
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 || syncfs(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return rc;
}

static void parse_outcome(char *text, struct outcome *out)
{
	*out = (struct outcome){.rc = (int)strtol(text, &text, 10)};
	while (*text == ' ' && out->busy_count < BUSY_MAX)
		out->busy[out->busy_count++] = strtoull(text + 1, &text, 10);
}

static int ask(const char *root, const char *request, size_t size, struct outcome *out)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	char text[2048];
	ssize_t length;

	if (setxattr(root, FUSE_FRONT_ROLLBACK_XATTR, request, size, 0))
		return -errno;
	while ((length = getxattr(root, FUSE_FRONT_ROLLBACK_XATTR, text, sizeof(text) - 1)) >= 0) {
		text[length] = '\0';
		if (strcmp(text, "running")) {
			parse_outcome(text, out);
			return out->rc;
		}
		nanosleep(&pause, NULL);
	}
	return -errno;
}

/*
 * Makes the kernel forget what nobody uses. Newer ones do so when the serving process asks; to
 * others a remount that changes nothing means it, of whoever may.
 */
static bool forget_unused(const char *root)
{
	static const struct {
		unsigned long has, flag;
	} flags[] = {{ST_RDONLY, MS_RDONLY}, {ST_NOSUID, MS_NOSUID}, {ST_NODEV, MS_NODEV},
		{ST_NOEXEC, MS_NOEXEC}, {ST_SYNCHRONOUS, MS_SYNCHRONOUS}, {ST_NOATIME, MS_NOATIME},
		{ST_NODIRATIME, MS_NODIRATIME}, {ST_RELATIME, MS_RELATIME},
		{0x2000 /* nosymfollow */, 256}};
	unsigned long all = MS_REMOUNT;
	struct statvfs st;

	if (statvfs(root, &st))
		return false;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		all |= st.f_flag & flags[i].has ? flags[i].flag : 0;
	return !mount(NULL, root, NULL, all, NULL);
}

static void print_user(void *arg, pid_t pid, const char *program, const char *path)
{
	*(bool *)arg = true;
	message(KV_ERROR, "%s: open in process %d (%s)", path, (int)pid, program);
}

static void note_user(void *arg, pid_t pid, const char *program, const char *path)
{
	*(bool *)arg = true;
}

/* Tells `each` of those that have one of the files open; false: there are none that can be seen. */
static bool find_users(
	const struct snapshot_place *place, const struct outcome *outcome, file_user_fn *each)
{
	struct stat st;
	bool found = false;

	if (!stat(place->root, &st))
		file_users_find(st.st_dev, outcome->busy, outcome->busy_count, each, &found);
	return found;
}

static void explain_busy(const struct snapshot_place *place, const struct outcome *outcome)
{
	message(KV_ERROR, "%s: files that would change or go are open; nothing was changed",
		place->path);
	if (!find_users(place, outcome, print_user))
		message(KV_ERROR, "%s: who has files open: fuser -vm %s", place->path, place->root);
}

static void explain(const struct snapshot_place *place, const char *name, const char *keep,
	const struct outcome *outcome, int rc)
{
	if (rc == -EBUSY)
		explain_busy(place, outcome);
	else if (rc == -EPERM)
		message(KV_ERROR, "%s: only root and who serves the mount may do that",
			place->path);
	else if (rc == -ENODATA || rc == -EOPNOTSUPP || rc == -ENOTCONN || rc == -ECONNABORTED)
		message(KV_ERROR,
			"%s: the mount has ended; whether the tree went back is seen there",
			place->path);
	else if (rc == -EALREADY)
		message(KV_ERROR, "%s: it is going back to a snapshot already", place->path);
	else if (rc == -ENOTRECOVERABLE)
		message(KV_ERROR,
			"%s: going back failed half way, and nothing can be read there now. "
			"Unmounted and mounted again, it is finished",
			place->path);
	else
		snapshot_explain_rollback(place->path, name, keep, rc);
}

static int roll_back_mount(const struct snapshot_place *place, const char *name, const char *keep)
{
	size_t name_size = strlen(name) + 1, keep_size = keep ? strlen(keep) + 1 : 0;
	char request[2 * (KVFS_NAME_MAX + 1)];
	const struct timespec pause = {.tv_nsec = BUSY_PAUSE_NS};
	struct outcome outcome = {0};
	int rc = write_back(place->root);

	memcpy(request, name, name_size);
	if (keep)
		memcpy(request + name_size, keep, keep_size);
	if (!rc)
		rc = ask(place->root, request, name_size + keep_size, &outcome);
	for (unsigned i = 0; i < BUSY_TRIES && rc == -EBUSY && forget_unused(place->root); i++) {
		rc = ask(place->root, request, name_size + keep_size, &outcome);
		if (rc == -EBUSY && find_users(place, &outcome, note_user))
			break;
		if (rc == -EBUSY)
			nanosleep(&pause, NULL);
	}
	if (rc)
		explain(place, name, keep, &outcome, rc);
	return rc;
}

/* ---- a store --------------------------------------------------------------------------------- */

void snapshot_explain_rollback(const char *path, const char *name, const char *keep, int rc)
{
	if (rc == -ENOSPC || rc == -EDQUOT)
		message(KV_ERROR, "%s: there is no room for what snapshot %s would bring back",
			path, name);
	else if (rc == -EEXIST && keep)
		snapshot_explain(path, keep, rc);
	else
		snapshot_explain(path, name, rc);
}

static int roll_back_store(const char *path, const char *name, const char *keep)
{
	struct kvfs *fs;
	int rc;

	rc = store_open_confined(path, false, &fs);
	if (rc)
		return rc;
	rc = kvfs_rollback(fs, name, keep);
	if (rc)
		snapshot_explain_rollback(path, name, keep, rc);
	return store_close(path, fs) ? -EIO : rc;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int roll_back(const char *path, const char *name, const char *keep)
{
	struct snapshot_place place;
	int rc;

	if (snapshot_place_find(path, &place))
		return 1;
	rc = place.root ? roll_back_mount(&place, name, keep) : roll_back_store(path, name, keep);
	snapshot_place_fini(&place);
	if (rc)
		return 1;
	if (keep)
		printf("%s: what was there is kept as snapshot %s\n", path, keep);
	return fflush(stdout) ? 1 : 0;
}

static int rollback_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"discard", no_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{"keep", required_argument, NULL, 'k'},
		{NULL, 0, NULL, 0},
	};
	const char *keep = NULL, *path, *name;
	bool discard = false;
	char before[SNAPSHOT_NAME_NOW_SIZE];
	int letter;

	while ((letter = options_next(&snapshot_rollback_command, argc, argv, ":dhk:", names)) !=
		-1) {
		if (letter == 'd')
			discard = true;
		else
			keep = optarg;
	}
	options_arguments(&snapshot_rollback_command, argc, 2, 2);
	if (discard && keep)
		options_fail(&snapshot_rollback_command, "--discard and --keep exclude each other");
	path = argv[optind];
	name = argv[optind + 1];
	if (!discard && !keep) {
		snapshot_name_now("before-rollback-", before);
		keep = before;
	}
	if (snapshot_check_name(name) || (keep && snapshot_check_name(keep)))
		return 1;
	return roll_back(path, name, discard ? NULL : keep);
}

const struct command snapshot_rollback_command = {
	.name = "snapshot rollback",
	.arguments = "[--keep NAME | --discard] STORE|DIR NAME",
	.summary = "Makes the tree what it was",
	.details =
		"  What is there now is kept as a snapshot. Under a mount it is refused while a file is\n"
		"  open whose contents would change, or that would go; all else may be in use.\n"
		"  -k, --keep NAME  under this name (default: before-rollback- and the time)\n"
		"  -d, --discard    is not kept\n",
	.usage_code = 2,
	.run = rollback_run,
};
