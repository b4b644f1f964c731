/* SPDX-License-Identifier: MIT */
/*
 * store.c - opening a store for a command (see store.h).
 *
 * What the store reports while it opens is kept back: where the reason for a failure is a plain
 * one, one clear line takes its place; otherwise it is shown.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "confine.h"
#include "directory.h"
#include "fuse_front.h"
#include "message.h"
#include "mount_table.h"
#include "progress.h"

#define REPORTS_MAX 32u
#define BUSY_MS_MAX 5000
#define BUSY_PAUSE_MS 20u

struct reports {
	pthread_mutex_t lock; /* protects all that follows; a leaf */
	kv_report_fn *next;   /* takes over once the store is open */
	void *next_arg;
	bool opening;
	unsigned count, lost;
	enum kv_severity severity[REPORTS_MAX];
	char *text[REPORTS_MAX];
};

static struct reports reports = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void reports_collect(void *arg, enum kv_severity severity, const char *text)
{
	bool pass = false;

	pthread_mutex_lock(&reports.lock);
	if (!reports.opening) {
		pass = true;
	} else if (reports.count == REPORTS_MAX) {
		reports.lost++;
	} else {
		reports.severity[reports.count] = severity;
		reports.text[reports.count++] = strdup(text);
	}
	pthread_mutex_unlock(&reports.lock);
	if (pass && reports.next)
		reports.next(reports.next_arg, severity, text);
}

/* Passes on what was kept back, or drops it. No other thread is in the store by now. */
static void reports_release(bool pass)
{
	unsigned i;

	for (i = 0; i < reports.count; i++) {
		if (pass && reports.next && reports.text[i])
			reports.next(reports.next_arg, reports.severity[i], reports.text[i]);
		free(reports.text[i]);
	}
	if (pass && reports.lost)
		message(KV_WARNING, "%u more messages like these", reports.lost);
	reports.count = reports.lost = 0;
}

/*
 * The mount that has the store open, if it is one that we see. It is not asked: it may be about to
 * end.
 */
static bool find_mount(const char *path, struct mount_entry *entry)
{
	char *real = realpath(path, NULL);
	bool found = real && !mount_table_of(real, mount_entry_is_trusted, entry);

	free(real);
	return found;
}

static void explain_busy(const char *path)
{
	struct mount_entry entry;

	if (find_mount(path, &entry)) {
		message(KV_ERROR,
			"%s: in use: it is mounted on %s. Use it there, or run: kvfs umount %s",
			path, entry.directory, entry.directory);
		mount_entry_fini(&entry);
	} else {
		message(KV_ERROR, "%s: in use by another process, which has it open", path);
	}
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Opens, and waits a little while another has it open: a command that is about to end, or a mount
 * that umount(8) has taken away and whose process still writes. A mount that is there will stay.
 */
static int open_patiently(
	const char *path, const struct kvfs_open_options *options, struct kvfs **out)
{
	const struct timespec pause = {.tv_nsec = BUSY_PAUSE_MS * 1000000L};
	struct mount_entry entry;
	int64_t until_ms = now_ms() + BUSY_MS_MAX;
	int rc = kvfs_open(NULL, path, options, out);

	while (rc == -EBUSY && now_ms() < until_ms) {
		if (find_mount(path, &entry)) {
			mount_entry_fini(&entry);
			break;
		}
		nanosleep(&pause, NULL);
		reports_release(false);
		rc = kvfs_open(NULL, path, options, out);
	}
	return rc;
}

/* A link to a store is as good as the store; inside it, none is followed. */
static int open_resolved(
	const char *path, const struct kvfs_open_options *options, struct kvfs **out)
{
	char *real = realpath(path, NULL);
	int rc = open_patiently(real ? real : path, options, out);

	free(real);
	return rc;
}

/* True: this is all there is to say. */
static bool explain(const char *path, int rc)
{
	switch (rc) {
	case -EBUSY:
		explain_busy(path);
		return true;
	case -ENOENT:
		message(KV_ERROR, "%s: there is no such store. To make one: kvfs mkfs %s", path,
			path);
		return true;
	case -ENOTDIR:
		message(KV_ERROR, "%s: not a kvfs store (a store is a directory)", path);
		return true;
	case -EMEDIUMTYPE:
		if (getxattr(path, FUSE_FRONT_STATUS_XATTR, NULL, 0) >= 0)
			message(KV_ERROR,
				"%s: not a store, but where one is mounted; use the files in it",
				path);
		else
			message(KV_ERROR, "%s: not a kvfs store", path);
		return true;
	case -EPROTONOSUPPORT:
		message(KV_ERROR,
			"%s: made by a newer kvfs than this one (%s); a newer program is needed",
			path, KVFS_VERSION);
		return true;
	case -EACCES:
	case -EPERM:
		message(KV_ERROR, "%s: no permission: only its owner and root may open a store",
			path);
		return true;
	case -EUCLEAN:
		message(KV_ERROR, "%s: damaged so that it cannot be opened", path);
		return false;
	case -EFBIG: /* the report has the numbers */
		return false;
	case -EROFS:
		message(KV_ERROR,
			"%s: on a read-only file system: it cannot be changed; a mount needs -o ro",
			path);
		return true;
	case -ENOTCONN:
	case -ECONNABORTED:
		message(KV_ERROR, "%s: the process that served the mount here has died. First run: "
			"kvfs umount %s", path, path);
		return true;
	default:
		message(KV_ERROR, "%s: cannot be opened: %s", path, message_error(rc));
		return false;
	}
}

void store_options(const char *path, bool read_only, struct kvfs_open_options *options)
{
	*options = (struct kvfs_open_options){
		.kv = {.flags = read_only ? KV_OPEN_READ_ONLY : 0,
			.report = message_report,
			.report_arg = (void *)path},
		.atime = read_only ? KVFS_NOATIME : KVFS_RELATIME,
	};
}

/* Who may write in the directory can put other files in the place of the store's. */
static void warn_of_others(const char *path)
{
	struct stat st;

	if (!stat(path, &st) && st.st_mode & (S_IWGRP | S_IWOTH))
		message(KV_WARNING,
			"%s: others may write in this directory; to make it private: chmod 700 %s",
			path, path);
}

int store_confine(const char *path, const char *made)
{
	struct stat st;
	int rc = stat(path, &st) ? 0 : confine(path, made);

	if (rc)
		message(KV_ERROR, "%s: this process cannot give up its rights: %s", path,
			message_error(rc));
	return rc;
}

int store_open(const char *path, const struct kvfs_open_options *options, struct kvfs **out)
{
	struct kvfs_open_options own = *options;
	bool pass;
	int rc;

	reports.next = options->kv.report;
	reports.next_arg = options->kv.report_arg;
	reports.opening = true;
	own.kv.report = reports_collect;
	own.kv.report_arg = NULL;
	rc = open_resolved(path, &own, out);
	pass = rc == 0 || !explain(path, rc);
	pthread_mutex_lock(&reports.lock);
	reports.opening = false;
	pthread_mutex_unlock(&reports.lock);
	reports_release(pass);
	if (!rc)
		warn_of_others(path);
	return rc;
}

int store_open_confined(const char *path, bool read_only, struct kvfs **out)
{
	struct kvfs_open_options options;
	int rc;

	store_options(path, read_only, &options);
	rc = store_confine(path, NULL);
	return rc ? rc : store_open(path, &options, out);
}

int store_show(const char *path, struct kvfs *fs, const char *snapshot, struct kvfs **out)
{
	int rc = 0;

	if (snapshot)
		rc = kvfs_snapshot_open(fs, snapshot, out);
	else
		*out = fs;
	if (rc == -ENOENT)
		message(KV_ERROR, "%s: there is no snapshot %s (see: kvfs snapshot list)", path,
			snapshot);
	else if (rc)
		message(KV_ERROR, "%s: snapshot %s cannot be opened: %s", path, snapshot,
			message_error(rc));
	return rc;
}

void store_explain_key(const char *path, const struct kvfs *fs, const char *key, int rc)
{
	uint64_t limit = kvfs_size_limit(fs);

	if (!key[strspn(key, "/")])
		message(KV_ERROR, "\"%s\" is the root directory of the store", key);
	else if (rc == -ENOSPC && limit)
		message(KV_ERROR,
			"%s: %s: the store may hold %" PRIu64
			" bytes (kvfs limit %s SIZE changes that)",
			key, message_error(rc), limit, path);
	else
		message(KV_ERROR, "%s: %s%s", key, message_error(rc),
			rc == -ENOTEMPTY ? " (-r removes all that is in it)" : "");
}

int store_close(const char *path, struct kvfs *fs)
{
	int rc = kvfs_close(fs);

	if (rc)
		message(KV_ERROR, "%s: the last changes could not be written: %s", path,
			message_error(rc));
	return rc;
}

static int stop_at_first(void *arg, const char *name)
{
	return -ENOTEMPTY;
}

void store_trim(char *path)
{
	size_t length = strlen(path);

	while (length > 1 && path[length - 1] == '/')
		path[--length] = '\0';
}

int store_check_empty(const char *path)
{
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc;

	if (directory < 0)
		return -errno;
	rc = directory_each(directory, stop_at_first, NULL);
	close(directory);
	return rc;
}

int store_create(const char *path, const struct kvfs_create_options *options,
	kv_report_fn *report, void *report_arg)
{
	int before = store_check_empty(path), rc;

	if (before && before != -ENOENT)
		return before == -ENOTEMPTY ? -EEXIST : before;
	rc = kvfs_create(NULL, path, options, report, report_arg);
	if (!rc && progress_interrupted())
		rc = -ECANCELED;
	/* With these it is somebody else's, who was faster. */
	if (rc && rc != -EEXIST && rc != -EBUSY)
		store_remove(path, before == -ENOENT);
	return rc;
}

/* What is not a store's, somebody else has put there. */
static int remove_file(void *arg, const char *name)
{
	if (!kv_is_file_name(name))
		return 0;
	return unlinkat(*(const int *)arg, name, 0) ? -errno : 0;
}

void store_remove(const char *path, bool directory)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int rc = fd < 0 ? -errno : directory_each(fd, remove_file, &fd);

	if (fd >= 0)
		close(fd);
	if (!rc && directory && rmdir(path))
		rc = -errno;
	/* Where there is no directory, nothing was made. */
	if (rc && rc != -ENOENT && rc != -ENOTDIR)
		message(KV_WARNING, "%s: what was made is left there: %s", path, message_error(rc));
}

struct kvfs_caller store_caller(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return (struct kvfs_caller){
		.uid = geteuid(), .gid = getegid(), .umask = mask, .privileged = geteuid() == 0};
}
