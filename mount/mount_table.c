/* SPDX-License-Identifier: MIT */
/*
 * mount_table.c - reading mountinfo, this process's and others' (see mount_table.h).
 *
 * A line: id parent major:minor root DIRECTORY options [tag...] - TYPE SOURCE OPTIONS; proc(5).
 * Blanks and the like in a field are written as \ and three octal digits.
 */
#include "mount_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define OWN_TABLE "/proc/self/mountinfo"

static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
			text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
				       (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

/* What the options of a FUSE mount say of who mounted it. */
static unsigned long user_of(char *options)
{
	char *save = NULL, *option;

	for (option = strtok_r(options, ",", &save); option; option = strtok_r(NULL, ",", &save)) {
		if (!strncmp(option, "user_id=", strlen("user_id=")))
			return strtoul(option + strlen("user_id="), NULL, 10);
	}
	return 0;
}

/* Points into the line, which it cuts up. False: not a line of the table. */
static bool line_parse(char *line, struct mount_entry *entry)
{
	char *save = NULL, *field;
	unsigned i, major = 0, minor = 0;

	line[strcspn(line, "\n")] = '\0';
	field = strtok_r(line, " ", &save);
	entry->id = field ? strtoul(field, NULL, 10) : 0;
	for (i = 1; field && i < 5; i++) {
		field = strtok_r(NULL, " ", &save);
		if (field && i == 2 && sscanf(field, "%u:%u", &major, &minor) != 2)
			return false;
	}
	entry->device = makedev(major, minor);
	entry->directory = field;
	while (field && strcmp(field, "-"))
		field = strtok_r(NULL, " ", &save);
	entry->type = strtok_r(NULL, " ", &save);
	entry->source = entry->type ? strtok_r(NULL, " ", &save) : NULL;
	if (!entry->source)
		return false;
	field = strtok_r(NULL, " ", &save);
	entry->user = field ? user_of(field) : 0;
	unescape(entry->directory);
	unescape(entry->source);
	return true;
}

static int entry_copy(const struct mount_entry *entry, struct mount_entry *out)
{
	struct mount_entry copy = {strdup(entry->directory), strdup(entry->type),
		strdup(entry->source), entry->id, entry->user, entry->device};

	if (!copy.directory || !copy.type || !copy.source) {
		mount_entry_fini(&copy);
		return -ENOMEM;
	}
	*out = copy;
	return 0;
}

/*
 * What is looked for: the mount with this number, which is on this directory; or the first of ours
 * with the source; or the first of what is, or was, mounted there: its device's number alone may be
 * another's by now.
 */
struct wanted {
	const char *directory, *source;
	unsigned long id;
	const struct mount_entry *same;
	bool (*is_it)(const struct mount_entry *entry, const char *source);
	bool only; /* -ENOTUNIQ where a second one is met */
};

static bool is_wanted(const struct wanted *wanted, const struct mount_entry *entry)
{
	if (wanted->directory)
		return entry->id == wanted->id && !strcmp(entry->directory, wanted->directory);
	if (wanted->same)
		return entry->device == wanted->same->device &&
		       !strcmp(entry->type, wanted->same->type) &&
		       !strcmp(entry->source, wanted->same->source);
	return !strcmp(entry->type, MOUNT_TABLE_TYPE) && !strcmp(entry->source, wanted->source) &&
	       wanted->is_it(entry, wanted->source);
}

static int table_find(const char *path, const struct wanted *wanted, struct mount_entry *out)
{
	FILE *table = fopen(path, "re");
	struct mount_entry entry, found = {0};
	char *line = NULL;
	size_t size = 0;
	int rc = -ENOENT;

	if (!table)
		return -errno;
	while (getline(&line, &size, table) > 0) {
		if (!line_parse(line, &entry) || !is_wanted(wanted, &entry))
			continue;
		if (wanted->only && !rc) {
			rc = -ENOTUNIQ;
			break;
		}
		rc = entry_copy(&entry, &found);
		if (rc || !wanted->only)
			break;
	}
	free(line);
	fclose(table);
	if (rc == 0)
		*out = found;
	else
		mount_entry_fini(&found);
	return rc;
}

/*
 * The number of the mount that a path is in, which is what the kernel would unmount: what is on top
 * the order of the table does not say, as mounts can be moved. What is opened so asks no server.
 */
static int id_of_path(const char *path, unsigned long *id)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), rc = -ENOENT;
	char name[64], line[128];
	FILE *info;

	if (fd < 0)
		return -errno;
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
	info = fopen(name, "re");
	if (!info)
		rc = -errno;
	while (info && rc && fgets(line, sizeof(line), info)) {
		if (!strncmp(line, "mnt_id:", strlen("mnt_id:"))) {
			*id = strtoul(line + strlen("mnt_id:"), NULL, 10);
			rc = 0;
		}
	}
	if (info)
		fclose(info);
	close(fd);
	return rc;
}

int mount_table_at(const char *directory, struct mount_entry *out)
{
	struct wanted wanted = {.directory = directory};
	int rc = id_of_path(directory, &wanted.id);

	return rc ? rc : table_find(OWN_TABLE, &wanted, out);
}

int mount_table_of(const char *source,
	bool (*is_it)(const struct mount_entry *entry, const char *source), struct mount_entry *out)
{
	return table_find(OWN_TABLE, &(struct wanted){.source = source, .is_it = is_it}, out);
}

int mount_table_only(const char *source,
	bool (*is_it)(const struct mount_entry *entry, const char *source), struct mount_entry *out)
{
	return table_find(OWN_TABLE, &(struct wanted){.source = source, .is_it = is_it, .only = true}, out);
}

int mount_table_elsewhere(const struct mount_entry *gone, pid_t *pid, struct mount_entry *out)
{
	const struct wanted wanted = {.same = gone};
	int rc = table_find(OWN_TABLE, &wanted, out);
	DIR *processes = opendir("/proc");
	const struct dirent *entry;
	char table[64];

	*pid = 0;
	while (rc && processes && (entry = readdir(processes))) {
		*pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (*pid <= 0)
			continue;
		snprintf(table, sizeof(table), "/proc/%d/mountinfo", (int)*pid);
		rc = table_find(table, &wanted, out);
	}
	if (processes)
		closedir(processes);
	return rc ? -ENOENT : 0;
}

bool mount_entry_is_topmost(const struct mount_entry *entry)
{
	unsigned long id;

	return !id_of_path(entry->directory, &id) && id == entry->id;
}

bool mount_entry_is_trusted(const struct mount_entry *entry, const char *source)
{
	struct stat st;

	return !entry->user || (!stat(source, &st) && entry->user == st.st_uid);
}

void mount_entry_fini(struct mount_entry *entry)
{
	free(entry->directory);
	free(entry->type);
	free(entry->source);
}

int mount_path(const char *path, char **out)
{
	char *parent = NULL, *copy, *name, *slash;
	int rc = 0;

	*out = realpath(path, NULL);
	if (*out)
		return 0;
	if (errno != ENOTCONN && errno != ECONNABORTED && errno != EIO)
		return -errno;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	for (slash = copy + strlen(copy); slash > copy + 1 && slash[-1] == '/'; slash--)
		slash[-1] = '\0';
	slash = strrchr(copy, '/');
	name = slash ? slash + 1 : copy;
	if (slash)
		*slash = '\0';
	parent = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);
	if (!parent)
		rc = -errno;
	else if (asprintf(out, "%s/%s", strcmp(parent, "/") ? parent : "", name) < 0)
		rc = -ENOMEM;
	free(parent);
	free(copy);
	return rc;
}
