/* SPDX-License-Identifier: MIT */
/* file_users.c - see file_users.h: /proc/PID/fd and /proc/PID/maps. */
#include "file_users.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PATH_SIZE 4096u
#define FILES_MAX 64u /* of one process that are told of */

struct search {
	dev_t device;
	const uint64_t *inos;
	size_t count;
	file_user_fn *each;
	void *arg;
	pid_t pid;
	char program[32];
	uint64_t told[FILES_MAX]; /* of this process */
	size_t told_count;
};

static bool has(const uint64_t *inos, size_t count, uint64_t ino)
{
	for (size_t i = 0; i < count; i++) {
		if (inos[i] == ino)
			return true;
	}
	return false;
}

static void meet(struct search *search, uint64_t ino, const char *path)
{
	if (!has(search->inos, search->count, ino) || has(search->told, search->told_count, ino) ||
		search->told_count == FILES_MAX)
		return;
	search->told[search->told_count++] = ino;
	search->each(search->arg, search->pid, search->program, path);
}

static void look_at_descriptors(struct search *search)
{
	char directory[32], name[320], path[PATH_SIZE];
	struct dirent *entry;
	struct statx st;
	ssize_t size;
	DIR *dir;

	snprintf(directory, sizeof(directory), "/proc/%d/fd", (int)search->pid);
	dir = opendir(directory);
	while (dir && (entry = readdir(dir))) {
		snprintf(name, sizeof(name), "%s/%s", directory, entry->d_name);
		/* What the kernel knows: other file systems' servers, which may not answer, are not asked. */
		if (statx(AT_FDCWD, name, AT_STATX_DONT_SYNC, STATX_INO, &st) ||
			makedev(st.stx_dev_major, st.stx_dev_minor) != search->device)
			continue;
		size = readlink(name, path, sizeof(path) - 1);
		path[size > 0 ? size : 0] = '\0';
		meet(search, st.stx_ino, path);
	}
	if (dir)
		closedir(dir);
}

/* Lines of: addresses, rights, offset, major:minor, inode, path. */
static void look_at_maps(struct search *search)
{
	char name[32], *line = NULL;
	unsigned high, low;
	unsigned long long ino;
	size_t size = 0;
	int at;
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%d/maps", (int)search->pid);
	file = fopen(name, "re");
	while (file && getline(&line, &size, file) > 0) {
		at = 0;
		if (sscanf(line, "%*s %*s %*s %x:%x %llu %n", &high, &low, &ino, &at) < 3 || !at ||
			makedev(high, low) != search->device)
			continue;
		line[strcspn(line, "\n")] = '\0';
		meet(search, ino, line + at);
	}
	free(line);
	if (file)
		fclose(file);
}

static void read_program(struct search *search)
{
	char name[32];
	FILE *file;

	snprintf(search->program, sizeof(search->program), "?");
	snprintf(name, sizeof(name), "/proc/%d/comm", (int)search->pid);
	file = fopen(name, "re");
	if (file && fgets(search->program, sizeof(search->program), file))
		search->program[strcspn(search->program, "\n")] = '\0';
	if (file)
		fclose(file);
}

void file_users_find(
	dev_t device, const uint64_t *inos, size_t count, file_user_fn *each, void *arg)
{
	struct search search = {
		.device = device, .inos = inos, .count = count, .each = each, .arg = arg};
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		search.pid = (pid_t)atoi(entry->d_name);
		if (search.pid == getpid())
			continue;
		search.told_count = 0;
		read_program(&search);
		look_at_descriptors(&search);
		look_at_maps(&search);
	}
	if (dir)
		closedir(dir);
}
