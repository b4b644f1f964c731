/* SPDX-License-Identifier: MIT */
/*
 * check.c - kvfs check: reads and verifies everything; changes nothing but with --repair. Exit
 * codes: fsck(8).
 *
 * Findings go to the standard output, one a line; progress to a terminal. An interruption ends the
 * check, not the process, so that the store is closed as usual.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "message.h"
#include "options.h"
#include "progress.h"
#include "store.h"

#define CHECK_CLEAN 0
#define CHECK_MENDED 1
#define CHECK_FINDINGS 4
#define CHECK_FAILED 8
#define CHECK_USAGE 16
#define CHECK_CANCELLED 32

static void on_finding(void *arg, enum kv_severity severity, const char *text)
{
	progress_clear(arg);
	if (severity != KV_INFO)
		printf("%s\n", text);
}

static int interrupted(const char *path)
{
	message(KV_ERROR, "%s: the check was interrupted; nothing has been changed", path);
	return CHECK_CANCELLED;
}

static int check_store(struct kvfs *fs, const char *path)
{
	struct progress progress;
	uint64_t findings = 0;
	int rc;

	progress_init(&progress, "checked");
	rc = kvfs_check(fs, on_finding, &progress, progress_show, &progress, &findings);
	progress_clear(&progress);
	if (progress_interrupted())
		return interrupted(path);
	if (rc) {
		message(KV_ERROR, "%s: the check could not be finished: %s", path,
			message_error(rc));
		return CHECK_FAILED;
	}
	if (findings) {
		printf("%s: %" PRIu64 " finding%s\n", path, findings, findings == 1 ? "" : "s");
		return CHECK_FINDINGS;
	}
	printf("%s: clean\n", path);
	return CHECK_CLEAN;
}

static void on_repair(void *arg, enum kv_severity severity, const char *text)
{
	printf("%s\n", text);
}

/*
 * What a check finds before the repair: which files cannot be read, or not as they were, is known
 * only while what speaks of them is there. Of a store that cannot be opened as it is the repair
 * tells.
 */
static void find_before(const char *path)
{
	char *real = realpath(path, NULL);
	struct kvfs_open_options options;
	struct progress progress;
	uint64_t findings = 0;
	struct kvfs *fs;
	int rc;

	store_options(path, true, &options);
	options.kv.report = NULL;
	options.repairs = true;
	if (real && !kvfs_open(NULL, real, &options, &fs)) {
		progress_init(&progress, "checked");
		rc = kvfs_check(fs, on_finding, &progress, progress_show, &progress, &findings);
		progress_clear(&progress);
		if (rc && !progress_interrupted())
			message(KV_WARNING,
				"%s: the check before the repair could not be finished (%s): not all files that it changes are named",
				path, message_error(rc));
		(void)kvfs_close(fs);
	}
	free(real);
	if (findings)
		printf("%s: %" PRIu64 " finding%s before the repair\n", path, findings,
			findings == 1 ? "" : "s");
}

/* What the store's own repair has left is made to agree. 0, CHECK_MENDED or CHECK_FAILED */
static int repair_tree(struct kvfs *fs, const char *path)
{
	uint64_t mended = 0;
	int rc = kvfs_repair(fs, on_repair, NULL, &mended);

	if (rc)
		message(KV_ERROR, "%s: the files cannot be repaired: %s", path, message_error(rc));
	else if (mended)
		printf("%s: %" PRIu64 " thing%s of the files mended\n", path, mended,
			mended == 1 ? "" : "s");
	return rc ? CHECK_FAILED : mended ? CHECK_MENDED : CHECK_CLEAN;
}

/* 0, CHECK_MENDED or CHECK_FAILED */
static int repair_store(const char *path)
{
	/* a link to a store is one, but none in it is followed */
	char *real = realpath(path, NULL);
	struct kv_repair_report report;
	int rc = kv_repair(NULL, real ? real : path, on_repair, NULL, &report);

	free(real);
	if (rc == -EBUSY)
		message(KV_ERROR, "%s: in use; it can be repaired when it is not mounted", path);
	else if (rc == -ENOENT)
		message(KV_ERROR, "%s: there is no such store", path);
	else if (rc == -EMEDIUMTYPE || rc == -ENOTDIR)
		message(KV_ERROR, "%s: not a kvfs store", path);
	else if (rc)
		message(KV_ERROR, "%s: cannot be repaired: %s", path, message_error(rc));
	if (rc)
		return CHECK_FAILED;
	if (report.mended)
		printf("%s: %" PRIu64 " damaged places mended; %" PRIu64
		       " bytes of the log are lost\n",
			path, report.mended, report.lost_bytes);
	return report.mended ? CHECK_MENDED : CHECK_CLEAN;
}

static int check_run(int argc, char **argv)
{
	static const struct option names[] = {{"repair", no_argument, NULL, 'R'},
		{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	struct kvfs_open_options options;
	struct kvfs *fs;
	bool repair = false;
	const char *path;
	int rc, code, letter, mended = 0;

	/* -a, -p, -y, -n, -f, -C: fsck(8) may pass them on; there is nothing to decide here */
	while ((letter = options_next(&check_command, argc, argv, ":apynfC::h", names)) != -1)
		repair = repair || letter == 'R';
	options_arguments(&check_command, argc, 1, 1);
	path = argv[optind];
	if (store_confine(path, NULL))
		return CHECK_FAILED;
	progress_catch_signals();
	if (repair) {
		find_before(path);
		if (progress_interrupted())
			return interrupted(path);
		/* each of its steps may be interrupted */
		progress_release_signals();
		mended = repair_store(path);
		progress_catch_signals();
	}
	if (mended == CHECK_FAILED)
		return mended;
	store_options(path, !repair, &options);
	options.repairs = repair;
	rc = store_open(path, &options, &fs);
	if (rc)
		return mended | (rc == -EUCLEAN ? CHECK_FINDINGS | CHECK_FAILED : CHECK_FAILED);
	if (repair)
		mended |= repair_tree(fs, path);
	code = check_store(fs, path);
	if (store_close(path, fs))
		code |= CHECK_FAILED;
	return code | mended;
}

const struct command check_command = {
	.name = "check",
	.arguments = "[--repair] STORE",
	.summary = "Reads and verifies everything in a store; changes nothing unless told to",
	.details =
		"  --repair  brings back what can be, and says what is lost; the store must not be\n"
		"            mounted. Files without a name get one in lost+found. Can be run\n"
		"            again. Copy a store that matters before\n"
		"\n"
		"exit codes: 0 clean, 1 mended (added to the others), 4 there are findings, 8 could not be checked, 16 wrong "
		"usage,\n"
		"32 interrupted\n",
	.usage_code = CHECK_USAGE,
	.unwritten_code = CHECK_FAILED,
	.run = check_run,
};
