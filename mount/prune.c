/* SPDX-License-Identifier: MIT */
/*
 * prune.c - kvfs prune: gives back, now, the space of what was overwritten and deleted, in a store
 * or under a mount; before that removes, where it is told to, files that are old.
 *
 * A mount is asked for a little of it at a time, so that whoever serves it is never held up, and an
 * interruption needs no message: nobody asks any more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "command.h"
#include "fuse_front.h"
#include "message.h"
#include "mount_table.h"
#include "old_files.h"
#include "options.h"
#include "progress.h"
#include "status.h"
#include "store.h"

#define LINES_SIZE (FUSE_FRONT_STATUS_SIZE_MAX + 1)

struct job {
	unsigned garbage_percent;
	bool by_age;
	struct old_files old;
	char **paths; /* where old files are looked for; none: everywhere */
	int path_count;
};

/* ---- old files ------------------------------------------------------------------------------- */

/* Removes old files of a store (directory is NULL) or of a mount (fs is). */
static int remove_old_at(struct job *job, struct kvfs *fs, const char *directory, const char *path)
{
	int rc = fs ? old_files_in_store(&job->old, fs, path) :
		      old_files_in_mount(&job->old, directory, path);

	if (rc && rc != -ECANCELED)
		message(KV_ERROR, "%s: %s", path, message_error(rc));
	return rc;
}

/* Goes on with the other paths after one that fails. -ECANCELED, or the last error */
static int remove_old(struct job *job, struct kvfs *fs, const char *directory, const char *name)
{
	int i, rc, result = 0;

	if (!job->path_count)
		result = remove_old_at(job, fs, directory, "");
	for (i = 0; i < job->path_count && result != -ECANCELED; i++) {
		rc = remove_old_at(job, fs, directory, job->paths[i]);
		if (rc)
			result = rc;
	}
	printf("%s: %" PRIu64 " old file%s of %.1f MiB %s\n", name, job->old.count,
		job->old.count == 1 ? "" : "s", (double)job->old.bytes / (1 << 20),
		job->old.dry_run ? "would be removed" : "removed");
	if (result == -ECANCELED)
		message(KV_ERROR, "%s: interrupted; what was done stays done", name);
	return result ? result : job->old.failed ? -EIO : 0;
}

/* ---- the report ------------------------------------------------------------------------------ */

/* Says what was done, also after an interruption. Returns the exit code. */
static int conclude(const char *path, const struct kv_prune_report *report, int rc,
	struct progress *progress)
{
	progress_clear(progress);
	if (rc == -ENOSPC || rc == -EDQUOT) {
		message(KV_ERROR, "%s: %s: what is needed of a segment is copied before the rest is "
			"freed; delete files or snapshots, or make room on the disk", path,
			message_error(rc));
		return 1;
	}
	if (rc && rc != -ECANCELED) {
		message(KV_ERROR, "%s: %s", path, message_error(rc));
		return 1;
	}
	printf("%s: %" PRIu64 " segments emptied, %.1f MiB of them kept, %.1f MiB freed, "
	       "%.1f MiB left, %.1f s\n",
		path, report->segments, (double)report->copied_bytes / (1 << 20),
		(double)report->freed_bytes / (1 << 20), (double)report->log_bytes / (1 << 20),
		(double)report->duration_us / 1e6);
	if (!rc && fflush(stdout))
		rc = -EIO;
	if (rc == -ECANCELED)
		message(KV_ERROR, "%s: interrupted; what was done stays done", path);
	return rc ? 1 : 0;
}

/* ---- a store --------------------------------------------------------------------------------- */

static int prune_store(const char *path, struct job *job)
{
	struct kv_prune_options how = {.garbage_percent = job->garbage_percent};
	struct progress progress;
	struct kv_prune_report report;
	struct kvfs *fs;
	int rc, old_rc = 0, code = 0;

	progress_init(&progress, "pruned");
	rc = store_open_confined(path, job->old.dry_run, &fs);
	if (rc)
		return 1;
	if (job->by_age)
		old_rc = remove_old(job, fs, NULL, path);
	if (!job->old.dry_run && old_rc != -ECANCELED) {
		rc = kv_prune(kvfs_kv(fs), &how, progress_show, &progress, &report);
		code = conclude(path, &report, rc, &progress);
	}
	return store_close(path, fs) || old_rc ? 1 : code;
}

/* ---- a mount --------------------------------------------------------------------------------- */

struct counts {
	uint64_t segments, emptied, relocated, log_bytes;
};

static bool count(const char *directory, struct counts *out)
{
	char *lines = malloc(LINES_SIZE);
	bool counted = lines && status_read_mount(directory, lines, LINES_SIZE) >= 0 &&
		       status_number(lines, "segments", &out->segments) &&
		       status_number(lines, "emptied_segments", &out->emptied) &&
		       status_number(lines, "relocated_bytes", &out->relocated) &&
		       status_number(lines, "log_bytes", &out->log_bytes);

	free(lines);
	return counted;
}

/* Asks a mount for a little of the work; -EINPROGRESS: there is more to do. */
static int ask(const char *directory, unsigned garbage_percent)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", garbage_percent);

	return setxattr(directory, FUSE_FRONT_PRUNE_XATTR, text, (size_t)length, 0) ? -errno : 0;
}

static int prune_mount(const char *directory, unsigned garbage_percent, struct counts before)
{
	struct progress progress;
	struct kv_prune_report report = {0};
	struct counts now = before;
	int64_t started_ms = progress_now_ms();
	uint64_t segment_bytes = before.segments ? before.log_bytes / before.segments : 0;
	int rc;

	progress_init(&progress, "pruned");
	do {
		rc = ask(directory, garbage_percent);
		if (rc != -EINPROGRESS)
			break;
		if (progress_show(&progress, (now.emptied - before.emptied) * segment_bytes,
			    before.log_bytes))
			rc = -ECANCELED;
		/* Writers go on making garbage: once round is enough. */
	} while (rc == -EINPROGRESS && count(directory, &now) &&
		 now.emptied - before.emptied < before.segments);
	if (rc == -EINPROGRESS)
		rc = 0;
	if (count(directory, &now)) {
		report.segments = now.emptied - before.emptied;
		report.copied_bytes = now.relocated - before.relocated;
		report.log_bytes = now.log_bytes;
		if (before.log_bytes > now.log_bytes)
			report.freed_bytes = before.log_bytes - now.log_bytes;
	}
	report.duration_us = (uint64_t)(progress_now_ms() - started_ms) * 1000;
	return conclude(directory, &report, rc, &progress);
}

/* -ENODATA: it is no mount of ours; else the exit code */
static int serve_mount(const char *directory, struct job *job)
{
	struct counts before;
	int rc = 0, code = 0;

	if (!count(directory, &before))
		return -ENODATA;
	if (job->by_age)
		rc = remove_old(job, NULL, directory, directory);
	if (!job->old.dry_run && rc != -ECANCELED)
		code = prune_mount(directory, job->garbage_percent, before);
	return rc ? 1 : code;
}

/* A mount, a store that is mounted, or a store that nobody has open. */
static int prune(const char *path, struct job *job)
{
	struct mount_entry entry;
	char *real = realpath(path, NULL);
	int rc = serve_mount(path, job);

	if (rc == -ENODATA && real && !mount_table_of(real, status_is_mount_of, &entry)) {
		rc = serve_mount(entry.directory, job);
		mount_entry_fini(&entry);
	}
	free(real);
	return rc == -ENODATA ? prune_store(path, job) : rc;
}

static unsigned parse_percent(const char *text)
{
	char *end;
	unsigned long percent = strtoul(text, &end, 10);

	if (end == text || *end || percent < 1 || percent > 99)
		options_fail(&prune_command, "--garbage %s: a number from 1 to 99", text);
	return (unsigned)percent;
}

static void parse_age(struct job *job, const char *text)
{
	if (old_files_age(text, &job->old.before))
		options_fail(&prune_command,
			"--older-than %s: a number and a unit: s, m, h, d, w or y", text);
	job->by_age = true;
}

static int prune_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"garbage", required_argument, NULL, 'g'},
		{"older-than", required_argument, NULL, 'o'},
		{"dry-run", no_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct job job = {.garbage_percent = 10};
	int letter;

	while ((letter = options_next(&prune_command, argc, argv, ":g:o:nh", names)) != -1) {
		if (letter == 'g')
			job.garbage_percent = parse_percent(optarg);
		else if (letter == 'o')
			parse_age(&job, optarg);
		else
			job.old.dry_run = true;
	}
	options_arguments(&prune_command, argc, 1, 0);
	if (!job.by_age && argc - optind > 1)
		options_fail(&prune_command,
			"%s: PATHs go with --older-than; without it all of the store is pruned",
			argv[optind + 1]);
	if (job.old.dry_run && !job.by_age)
		options_fail(&prune_command, "--dry-run goes with --older-than");
	job.paths = argv + optind + 1;
	job.path_count = argc - optind - 1;
	progress_catch_signals();
	return prune(argv[optind], &job);
}

const struct command prune_command = {
	.name = "prune",
	.arguments = "[--garbage PERCENT] [--older-than AGE [--dry-run]] STORE|DIR [PATH...]",
	.summary = "Gives back the space of what was overwritten and deleted, and compresses",
	.details =
		"  -g, --garbage PERCENT  of a segment of the log, from which on it is rewritten "
		"(default: 10)\n"
		"  -o, --older-than AGE   first removes files (below PATH, or all) that were not "
		"written to\n"
		"                         for so long: 90s, 15m, 12h, 30d, 8w, 1y\n"
		"  -n, --dry-run          only shows which\n",
	.usage_code = 2,
	.run = prune_run,
};
