/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - kvfs snapshot: finds the command behind it (those that are not here:
 * snapshot_diff.c, snapshot_rollback.c); making, deleting and listing snapshots, of a store or
 * under a mount.
 */
#include "snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "fuse_front.h"
#include "message.h"
#include "options.h"
#include "status.h"
#include "store.h"

static const struct option help_only[] = {
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

void snapshot_explain(const char *path, const char *name, int rc)
{
	if (rc == -ENOENT)
		message(KV_ERROR, "%s: there is no snapshot %s", path, name);
	else if (rc == -EEXIST)
		message(KV_ERROR, "%s: there is a snapshot %s already", path, name);
	else
		message(KV_ERROR, "%s: snapshot %s: %s", path, name, message_error(rc));
}

/* ---- making and deleting --------------------------------------------------------------------- */

/* Makes durable what was done under the mount. */
static int sync_directory(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return rc;
}

static int change_one(const struct snapshot_place *place, const char *name, bool create)
{
	char *path;
	int rc;

	if (asprintf(&path, "%s/%s", place->directory, name) < 0)
		return -ENOMEM;
	rc = (create ? mkdir(path, 0755) : rmdir(path)) ? -errno : 0;
	free(path);
	return rc;
}

static int change_mount(const struct snapshot_place *place, char **names, bool create)
{
	int rc, code = 0;

	for (; *names; names++) {
		rc = change_one(place, *names, create);
		if (rc) {
			snapshot_explain(place->path, *names, rc);
			code = 1;
		}
	}
	rc = sync_directory(place->directory);
	if (rc)
		message(KV_ERROR, "%s: %s", place->path, message_error(rc));
	return rc ? 1 : code;
}

static int change_store(const char *path, char **names, bool create)
{
	struct kvfs *fs;
	int rc, code = 0;

	if (store_open_confined(path, false, &fs))
		return 1;
	for (; *names; names++) {
		rc = create ? kvfs_snapshot_create(fs, *names) : kvfs_snapshot_delete(fs, *names);
		if (rc) {
			snapshot_explain(path, *names, rc);
			code = 1;
		}
	}
	return store_close(path, fs) ? 1 : code;
}

static int change(const char *path, char **names, bool create)
{
	struct snapshot_place place;
	char **name;
	int code;

	for (name = names; *name; name++) {
		if (snapshot_check_name(*name))
			return 1;
	}
	if (snapshot_place_find(path, &place))
		return 1;
	code = place.root ? change_mount(&place, names, create) : change_store(path, names, create);
	snapshot_place_fini(&place);
	return code;
}

void snapshot_name_now(const char *prefix, char name[SNAPSHOT_NAME_NOW_SIZE])
{
	struct timespec now;
	char second[24];
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(second, sizeof(second), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(name, SNAPSHOT_NAME_NOW_SIZE, "%s%s.%06ldZ", prefix, second, now.tv_nsec / 1000);
}

static int create_run(int argc, char **argv)
{
	char now[SNAPSHOT_NAME_NOW_SIZE], *names[] = {now, NULL};
	int code;

	while (options_next(&snapshot_create_command, argc, argv, ":h", help_only) != -1)
		;
	options_arguments(&snapshot_create_command, argc, 1, 2);
	if (argv[optind + 1])
		return change(argv[optind], argv + optind + 1, true);
	snapshot_name_now("", now);
	code = change(argv[optind], names, true);
	if (!code)
		puts(now);
	return code || fflush(stdout) ? 1 : 0;
}

static int delete_run(int argc, char **argv)
{
	while (options_next(&snapshot_delete_command, argc, argv, ":h", help_only) != -1)
		;
	options_arguments(&snapshot_delete_command, argc, 2, 0);
	return change(argv[optind], argv + optind + 1, false);
}

/* ---- listing --------------------------------------------------------------------------------- */

struct row {
	char *name;
	struct timespec time;
};

struct rows {
	struct row *rows;
	size_t count, room;
};

static int rows_add(void *arg, const struct kvfs_snapshot *snapshot)
{
	struct rows *rows = arg;
	struct row row = {strdup(snapshot->name), snapshot->time};

	if (row.name && rows->count == rows->room) {
		size_t room = rows->room * 2 + 16;
		struct row *more = realloc(rows->rows, room * sizeof(*more));

		if (more) {
			rows->rows = more;
			rows->room = room;
		}
	}
	if (!row.name || rows->count == rows->room) {
		free(row.name);
		return -ENOMEM;
	}
	rows->rows[rows->count++] = row;
	return 0;
}

static void rows_fini(struct rows *rows)
{
	while (rows->count)
		free(rows->rows[--rows->count].name);
	free(rows->rows);
}

/* The mount's .snapshots has the names, and each says when it was taken. */
static int rows_of_mount(const struct snapshot_place *place, struct rows *rows)
{
	DIR *dir = opendir(place->directory);
	struct dirent *entry;
	int rc = dir ? 0 : -errno;

	while (!rc && (entry = readdir(dir))) {
		char *path, text[24];
		ssize_t length;
		uint64_t us;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (asprintf(&path, "%s/%s", place->directory, entry->d_name) < 0) {
			rc = -ENOMEM;
			break;
		}
		length = getxattr(path, FUSE_FRONT_SNAPSHOT_XATTR, text, sizeof(text) - 1);
		free(path);
		if (length < 0)
			continue; /* deleted by now */
		text[length] = '\0';
		us = strtoull(text, NULL, 10);
		rc = rows_add(rows, &(struct kvfs_snapshot){entry->d_name,
					    {(time_t)(us / 1000000), (long)(us % 1000000) * 1000}});
	}
	if (dir)
		closedir(dir);
	return rc;
}

static int rows_of_store(const char *path, struct rows *rows)
{
	struct kvfs *fs;
	int rc, rc_close;

	rc = store_open_confined(path, true, &fs);
	if (rc)
		return 1;
	rc = kvfs_snapshot_list(fs, rows_add, rows);
	rc_close = store_close(path, fs);
	return rc ? rc : rc_close ? 1 : 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *left = a, *right = b;

	if (left->time.tv_sec != right->time.tv_sec)
		return left->time.tv_sec < right->time.tv_sec ? -1 : 1;
	if (left->time.tv_nsec != right->time.tv_nsec)
		return left->time.tv_nsec < right->time.tv_nsec ? -1 : 1;
	return strcmp(left->name, right->name);
}

static void print_rows(const struct rows *rows)
{
	char when[40];
	struct tm tm;
	size_t i;

	for (i = 0; i < rows->count; i++) {
		localtime_r(&rows->rows[i].time.tv_sec, &tm);
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
		printf("%s.%03ld  ", when, rows->rows[i].time.tv_nsec / 1000000);
		snapshot_print_name(rows->rows[i].name);
		putchar('\n');
	}
}

static void print_rows_json(const struct rows *rows)
{
	char when[40];
	struct tm tm;
	size_t i;

	putchar('[');
	for (i = 0; i < rows->count; i++) {
		gmtime_r(&rows->rows[i].time.tv_sec, &tm);
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
		fputs(i ? ",\n  {\"name\": " : "\n  {\"name\": ", stdout);
		status_print_json_string(rows->rows[i].name, stdout);
		printf(", \"time\": \"%s.%06ldZ\"}", when, rows->rows[i].time.tv_nsec / 1000);
	}
	puts(rows->count ? "\n]" : "]");
}

static int list(const char *path, bool json)
{
	struct rows rows = {NULL, 0, 0};
	struct snapshot_place place;
	int rc;

	if (snapshot_place_find(path, &place))
		return 1;
	rc = place.root ? rows_of_mount(&place, &rows) : rows_of_store(path, &rows);
	if (rc < 0)
		message(KV_ERROR, "%s: %s", path, message_error(rc));
	if (!rc) {
		if (rows.count)
			qsort(rows.rows, rows.count, sizeof(*rows.rows), compare_rows);
		if (json)
			print_rows_json(&rows);
		else
			print_rows(&rows);
		rc = fflush(stdout);
	}
	rows_fini(&rows);
	snapshot_place_fini(&place);
	return rc ? 1 : 0;
}

static int list_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool json = false;

	while (options_next(&snapshot_list_command, argc, argv, ":jh", names) != -1)
		json = true;
	options_arguments(&snapshot_list_command, argc, 1, 1);
	return list(argv[optind], json);
}

/* ---- the commands ---------------------------------------------------------------------------- */

const struct command snapshot_create_command = {
	.name = "snapshot create",
	.arguments = "STORE|DIR [NAME]",
	.summary = "Keeps the whole tree as it is now, under a name",
	.details =
		"  Without a NAME the time is one, and is printed. Takes no longer for a large store.\n",
	.usage_code = 2,
	.run = create_run,
};

const struct command snapshot_delete_command = {
	.name = "snapshot delete",
	.arguments = "STORE|DIR NAME...",
	.summary = "Deletes snapshots, whose space comes back in the background",
	.usage_code = 2,
	.run = delete_run,
};

const struct command snapshot_list_command = {
	.name = "snapshot list",
	.arguments = "[--json] STORE|DIR",
	.summary = "Lists snapshots and when they were taken, the oldest first",
	.details = "  -j, --json  as a JSON array\n",
	.usage_code = 2,
	.run = list_run,
};

static const struct command *const commands[] = {
	&snapshot_create_command,
	&snapshot_list_command,
	&snapshot_delete_command,
	&snapshot_diff_command,
	&snapshot_rollback_command,
	&snapshot_clone_command,
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const char *verb_of(const struct command *command)
{
	return strchr(command->name, ' ') + 1;
}

static void snapshot_help(FILE *out)
{
	size_t i;

	fprintf(out, "usage: kvfs snapshot COMMAND STORE|DIR ...\n\n");
	for (i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s %s\n", verb_of(commands[i]), commands[i]->summary);
	fprintf(out, "\nkvfs snapshot COMMAND --help says more. Under a mount, snapshots are the\n"
		     "directories in .snapshots of its root.\n");
}

static int snapshot_run(int argc, char **argv)
{
	size_t i;

	if (argc < 2) {
		snapshot_help(stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		snapshot_help(stdout);
		return 0;
	}
	for (i = 0; i < COMMANDS; i++) {
		if (!strcmp(argv[1], verb_of(commands[i])))
			return commands[i]->run(argc - 1, argv + 1);
	}
	message(KV_ERROR, "snapshot %s: there is no such command (see: kvfs snapshot --help)",
		argv[1]);
	return 2;
}

const struct command snapshot_command = {
	.name = "snapshot",
	.arguments = "create|list|delete|diff|rollback|clone STORE|DIR ...",
	.summary = "Keeps the tree as it was, to look at and go back to",
	.details =
		"  kvfs snapshot --help lists the commands, kvfs snapshot COMMAND --help says more.\n",
	.usage_code = 2,
	.run = snapshot_run,
};
