/* SPDX-License-Identifier: MIT */
/*
 * posix_directories.c - listing: complete, once each, while others change the directory; and places
 * in a listing
 */
#include "posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void touch(const char *path)
{
	OK(close(OK(open(path, O_CREAT | O_WRONLY | O_EXCL, 0644))));
}

static void touch_many(const char *format, int count)
{
	char name[64];
	int i;

	for (i = 0; i < count; i++) {
		snprintf(name, sizeof(name), format, i);
		touch(name);
	}
}

static DIR *dir_open(const char *path)
{
	DIR *dir = opendir(path);

	if (!dir)
		FAIL("opendir %s: %s", path, strerror(errno));
	return dir;
}

/* The next entry, or NULL at the end. */
static struct dirent *dir_next(DIR *dir)
{
	struct dirent *entry;

	errno = 0;
	entry = readdir(dir);
	if (!entry && errno)
		FAIL("readdir: %s", strerror(errno));
	return entry;
}

/* Number N of a name keepN, or -1. */
static int kept_number(const struct dirent *entry)
{
	int number = -1;

	sscanf(entry->d_name, "keep%d", &number);
	return number;
}

/* Creates, renames and removes other names as fast as it can. */
static void change_forever(void *arg)
{
	char name[64], other[64];
	int i;

	(void)arg;
	for (i = 0;; i++) {
		snprintf(name, sizeof(name), "many/%d-come", i % 3000);
		snprintf(other, sizeof(other), "many/z%d-gone", i % 3000);
		close(OK(open(name, O_CREAT | O_WRONLY, 0644)));
		OK(rename(name, other));
		if (i % 3)
			OK(unlink(other));
	}
}

static void list_under_change(void)
{
	int i, number, round, count = posix_quick ? 5000 : 50000;
	unsigned char *seen = malloc(count);
	struct dirent *entry;
	pid_t child;
	DIR *dir;

	OK(mkdir("many", 0755));
	touch_many("many/keep%d", count);
	child = child_start(change_forever, NULL);
	for (round = 0; round < 5; round++) {
		memset(seen, 0, count);
		dir = dir_open("many");
		while ((entry = dir_next(dir))) {
			number = kept_number(entry);
			if (number < 0)
				continue;
			TRUE(number < count);
			if (seen[number]++)
				FAIL("%s listed twice", entry->d_name);
		}
		closedir(dir);
		for (i = 0; i < count; i++)
			if (!seen[i])
				FAIL("keep%d not listed", i);
	}
	kill(child, SIGKILL);
	OK(waitpid(child, NULL, 0));
	free(seen);
}

static void list_types(void)
{
	struct dirent *entry;
	unsigned found = 0;
	struct stat st;
	DIR *dir;

	touch("file");
	OK(mkdir("dir", 0755));
	OK(symlink("file", "link"));
	OK(mkfifo("fifo", 0644));
	dir = dir_open(".");
	while ((entry = dir_next(dir))) {
		OK(lstat(entry->d_name, &st));
		SAME(entry->d_ino, strcmp(entry->d_name, "..") ? st.st_ino : entry->d_ino);
		SAME(entry->d_type, (st.st_mode & S_IFMT) >> 12);
		found++;
	}
	SAME(found, 6);
	closedir(dir);
	OK(mkdir("dir/sub", 0755));
	dir = dir_open("dir/sub");
	while ((entry = dir_next(dir)))
		if (!strcmp(entry->d_name, ".."))
			SAME(entry->d_ino, file_stat("dir").st_ino);
		else
			SAME(entry->d_ino, file_stat("dir/sub").st_ino);
	closedir(dir);
}

/* From this place on a listing goes on with this name, but for names moreN, which are newer than the place. */
static void expect_at(DIR *dir, long place, const char *name)
{
	struct dirent *entry;

	seekdir(dir, place);
	do {
		entry = dir_next(dir);
		TRUE(entry);
	} while (!strncmp(entry->d_name, "more", 4));
	if (strcmp(entry->d_name, name))
		FAIL("at a place comes %s, expected %s", entry->d_name, name);
}

static void list_places(void)
{
	enum { COUNT = 3000, GONE = 1000 };
	static char names[COUNT + 2][256];
	static long places[COUNT + 3]; /* the end's as well */
	unsigned i, pick, seed = 1, count = 0;
	struct dirent *entry;
	DIR *dir;

	OK(mkdir("many", 0755));
	touch_many("many/entry%d", COUNT);
	dir = dir_open("many");
	for (;;) {
		places[count] = telldir(dir);
		entry = dir_next(dir);
		if (!entry)
			break;
		TRUE(count < COUNT + 2);
		snprintf(names[count++], sizeof(names[0]), "%s", entry->d_name);
	}
	SAME(count, COUNT + 2);
	for (i = 0; i < 100; i++) {
		pick = random_next(&seed) % count;
		expect_at(dir, places[pick], names[pick]);
	}

	/* a place stays good when what was before it, and at it, is gone, and others have come */
	for (i = 0; i < GONE; i++)
		if (names[i][0] != '.')
			OK(unlinkat(dirfd(dir), names[i], 0));
	for (i = 0; i < 100; i++) {
		pick = GONE + random_next(&seed) % (count - GONE);
		expect_at(dir, places[pick], names[pick]);
		expect_at(dir, places[2 + random_next(&seed) % (GONE - 2)], names[GONE]);
	}
	seekdir(dir, places[count]);
	TRUE(!dir_next(dir));
	touch_many("many/more%d", 500);
	for (i = 0; i < 100; i++) {
		pick = GONE + random_next(&seed) % (count - GONE);
		expect_at(dir, places[pick], names[pick]);
	}
	closedir(dir);
	dir = dir_open("many");
	for (count = 0; (entry = dir_next(dir)); count++)
		;
	rewinddir(dir);
	touch("many/new");
	rewinddir(dir);
	for (i = 0; (entry = dir_next(dir)); i++)
		;
	SAME(i, count + 1);
	closedir(dir);
}

/* As rm -r does: entries go while they are being listed. */
static void list_and_remove(void)
{
	int removed = 0, count = posix_quick ? 3000 : 20000;
	struct dirent *entry;
	DIR *dir;

	OK(mkdir("many", 0755));
	touch_many("many/entry%d", count);
	dir = dir_open("many");
	while ((entry = dir_next(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		OK(unlinkat(dirfd(dir), entry->d_name, 0));
		removed++;
	}
	closedir(dir);
	SAME(removed, count);
	OK(rmdir("many"));
}

/* A listing that began earlier may or may not show it, a new one must. */
static void list_is_current(void)
{
	struct dirent *entry;
	char name[32];
	int i, seen;
	DIR *dir;

	OK(mkdir("dir", 0755));
	for (i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "dir/%d", i);
		touch(name);
		dir = dir_open("dir");
		for (seen = 0; (entry = dir_next(dir)); seen++)
			;
		closedir(dir);
		SAME(seen, i + 3);
	}
	for (i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "dir/%d", i);
		OK(unlink(name));
		TRUE(!file_exists(name));
		dir = dir_open("dir");
		while ((entry = dir_next(dir)))
			TRUE(strcmp(entry->d_name, name + 4));
		closedir(dir);
	}
}

const struct posix_case posix_directory_cases[] = {
	{"list_under_change", list_under_change},
	{"list_types", list_types},
	{"list_places", list_places},
	{"list_and_remove", list_and_remove},
	{"list_is_current", list_is_current},
	{NULL, NULL},
};
