/* SPDX-License-Identifier: MIT */
/*
 * power_files.c - a mount whose power fails, by the writers of crash_writer.c and their judge
 *
 * The marks are the ledger (crash_ledger.h), but for what only grows. After a power failure the ledger is made what it was when it
 * came, and the store mounted, judged, changed a little, and judged again.
 *
 * Environment: KVFS, CRASH_WRITER, the programs.
 */
#include "power_subject.h"

#include "crash_ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DISK_SIZE ((size_t)128 << 20)
#define MARKS_SIZE offsetof(struct ledger, stopping)
#define SEGMENT_SIZE "2M"
#define WRITERS "4"
#define GO_ON "20" /* changes of a writer, after it was judged */
#define ARGUMENTS_MAX 8u
#define PATIENCE_S 1000 /* for what comes soon; only ever a way out of waiting for ever */
#define TURNS_S 200	/* looks in a second */

static struct ledger *ledger; /* shared with all who write */
static struct ledger *whole;  /* as the work left it */
static char store_path[4300], mount_point[4300], ledger_path[4300], output_path[4300], seed_text[24];

static void pause_a_moment(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000000 / TURNS_S}, NULL);
}

static void names_make(const struct power_place *place)
{
	snprintf(store_path, sizeof(store_path), "%s/store", place->volume);
	snprintf(mount_point, sizeof(mount_point), "%s/files", place->directory);
	snprintf(ledger_path, sizeof(ledger_path), "%s/ledger", place->directory);
	snprintf(output_path, sizeof(output_path), "%s/output", place->directory);
	snprintf(seed_text, sizeof(seed_text), "%" PRIu64, place->seed);
}

/* ---- programs -------------------------------------------------------------------------------- */

/* What programs said since output_forget. */
static void output_show(void)
{
	char line[512];
	FILE *file = fopen(output_path, "r");

	while (file && fgets(line, sizeof(line), file))
		fputs(line, stderr);
	if (file)
		fclose(file);
}

static void output_forget(void)
{
	unlink(output_path);
}

/* Begins the program that a variable of the environment names. Its process, or -1 */
static pid_t begin(const char *variable, const char *const arguments[])
{
	const char *program = getenv(variable);
	const char *all[ARGUMENTS_MAX + 2] = {program};
	pid_t process;
	int output;

	for (unsigned i = 0; i < ARGUMENTS_MAX && arguments[i]; i++)
		all[i + 1] = arguments[i];
	if (!program)
		fprintf(stderr, "%s is not set\n", variable);
	process = program ? fork() : -1;
	if (process)
		return process;
	output = open(output_path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
	dup2(output, 1);
	dup2(output, 2);
	execv(program, (char *const *)all);
	_exit(127);
}

/* 0: it has ended well */
static int end(pid_t process, const char *what)
{
	int status;

	if (process > 0 && waitpid(process, &status, 0) == process && !status)
		return 0;
	fprintf(stderr, "%s failed; what was said:\n", what);
	output_show();
	return -1;
}

static int run_kvfs(const char *command, const char *operand)
{
	const char *const arguments[] = {command, operand, NULL};

	return end(begin("KVFS", arguments), command);
}

static int run_writer(const char *command, const char *number, const char *count)
{
	const char *const arguments[] = {command, mount_point, ledger_path, seed_text, number, count, NULL};

	return end(begin("CRASH_WRITER", arguments), command);
}

/* ---- the mount ------------------------------------------------------------------------------- */

static bool is_mounted(void)
{
	char above[sizeof(mount_point) + 4];
	struct stat here, there;

	snprintf(above, sizeof(above), "%s/..", mount_point);
	return !stat(mount_point, &here) && !stat(above, &there) && here.st_dev != there.st_dev;
}

/* The serving process; -1, said on stderr */
static pid_t files_mount(void)
{
	const char *const arguments[] = {"mount", store_path, mount_point, "-f", NULL};
	pid_t server = begin("KVFS", arguments);

	for (unsigned i = 0; server > 0 && i < PATIENCE_S * TURNS_S; i++) {
		if (is_mounted())
			return server;
		if (waitpid(server, NULL, WNOHANG))
			break;
		pause_a_moment();
	}
	fprintf(stderr, "mounting the store failed; what was said:\n");
	output_show();
	return -1;
}

static int files_unmount(pid_t server)
{
	int error = run_kvfs("umount", mount_point);

	return end(server, "kvfs mount") || error ? -1 : 0;
}

/* As it is, and whoever is in there. */
static void files_kill(pid_t server)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	umount2(mount_point, MNT_DETACH);
}

/* ---- the subject ----------------------------------------------------------------------------- */

static void *marks(const struct power_place *place)
{
	names_make(place);
	ledger = ledger_open(ledger_path);
	return ledger;
}

static int prepare(const struct power_place *place)
{
	static const char *const compressions[] = {"none", "inline", "background"};
	const char *const arguments[] = {"mkfs", "-s", SEGMENT_SIZE, "-c", compressions[place->seed % 3], store_path, NULL};
	pid_t server;

	if (mkdir(mount_point, 0700) || end(begin("KVFS", arguments), "mkfs"))
		return -1;
	server = files_mount();
	if (server < 0)
		return -1;
	if (run_writer("verify", WRITERS, NULL)) { /* which makes their directories */
		files_kill(server);
		return -1;
	}
	return files_unmount(server);
}

static uint64_t changes_done(void)
{
	uint64_t done[WRITERS_MAX], sum = 0;

	ledger_done(ledger, done);
	for (unsigned i = 0; i < WRITERS_MAX; i++)
		sum += done[i];
	return sum;
}

static int work(const struct power_place *place)
{
	const char *const arguments[] = {"load", mount_point, ledger_path, seed_text, WRITERS, NULL};
	pid_t server = files_mount(), writers;
	int error;

	if (server < 0)
		return -1;
	writers = begin("CRASH_WRITER", arguments);
	for (unsigned i = 0; changes_done() < place->steps && i < PATIENCE_S * TURNS_S; i++)
		pause_a_moment();
	atomic_store(&ledger->stopping, true);
	error = end(writers, "the load");
	files_kill(server);
	return error;
}

static int ledger_restore(const void *known)
{
	if (!whole) {
		whole = malloc(sizeof(*whole));
		if (!whole)
			return -1;
		memcpy(whole, ledger, sizeof(*whole));
		atomic_store(&whole->stopping, false);
	}
	memcpy(ledger, whole, sizeof(*ledger));
	memcpy(ledger, known, MARKS_SIZE);
	return 0;
}

static int judge(const struct power_place *place, const void *known, bool *empty)
{
	pid_t server;
	int error;

	*empty = false;
	output_forget();
	if (ledger_restore(known))
		return -1;
	server = files_mount();
	if (server < 0)
		return -1;
	error = run_writer("verify", WRITERS, NULL);
	if (!error)
		error = run_writer("run", "0", GO_ON);
	if (!error)
		error = run_writer("verify", WRITERS, NULL);
	if (error)
		files_kill(server);
	else
		error = files_unmount(server);
	return error ? error : run_kvfs("check", store_path);
}

const struct power_subject power_files = {
	.name = "files",
	.disk_size = DISK_SIZE,
	.marks_size = MARKS_SIZE,
	.marks = marks,
	.prepare = prepare,
	.work = work,
	.judge = judge,
};
