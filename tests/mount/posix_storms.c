/* SPDX-License-Identifier: MIT */
/*
 * posix_storms.c - many processes at once in the same directories: whatever they do to each other, the
 * tree stays a tree
 */
#include "posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4

/* Each of two processes moves its directory into the other's at the same time. Both cannot succeed: neither
 * would be reachable any more. */
static void move_into_other(void *arg)
{
	int own = *(int *)arg, i;
	char from[16], to[32];

	snprintf(from, sizeof(from), "%d", own);
	for (i = 0; i < (posix_quick ? 1000 : 10000); i++) {
		snprintf(to, sizeof(to), "%d/deep/%d", !own, own);
		if (rename(from, to)) {
			if (errno != EINVAL && errno != ENOENT)
				FAIL("rename into the other: %s", strerror(errno));
			continue;
		}
		OK(rename(to, from));
	}
}

static void move_into_each_other(void)
{
	pid_t children[2];
	int i, numbers[2];

	OK(mkdir("0", 0755));
	OK(mkdir("1", 0755));
	OK(mkdir("0/deep", 0755));
	OK(mkdir("1/deep", 0755));
	for (i = 0; i < 2; i++) {
		numbers[i] = i;
		children[i] = child_start(move_into_other, &numbers[i]);
	}
	for (i = 0; i < 2; i++)
		child_wait(children[i]);
	for (i = 0; i < 2; i++) {
		SAME(file_stat(i ? "1" : "0").st_nlink, 3);
		SAME(file_stat(i ? "1/deep" : "0/deep").st_nlink, 2);
		SAME(file_stat(i ? "1/.." : "0/..").st_ino, file_stat(".").st_ino);
		SAME(file_stat(i ? "1/deep/.." : "0/deep/..").st_ino, file_stat(i ? "1" : "0").st_ino);
	}
}

/* Nodes of a tree are moved to any place by all, exchanged, and tried to be removed. */
#define NODES 12

static void path_of(char *path, size_t size, unsigned *seed)
{
	unsigned i, depth = 1 + random_next(seed) % 4;
	size_t used = 0;

	for (i = 0; i < depth; i++)
		used += snprintf(path + used, size - used, "%sn%u", i ? "/" : "",
			random_next(seed) % NODES);
}

static void shuffle(void *arg)
{
	unsigned seed = *(unsigned *)arg * 1000;
	int i, result, rounds = posix_quick ? 3000 : 20000;
	char from[64], to[64];

	for (i = 0; i < rounds; i++) {
		path_of(from, sizeof(from), &seed);
		path_of(to, sizeof(to), &seed);
		switch (random_next(&seed) % 8) {
		case 0:
			result = mkdir(to, 0755);
			break;
		case 1:
			result = rmdir(from);
			break;
		case 2:
			result = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE);
			break;
		case 3:
			result = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
			break;
		default:
			result = rename(from, to);
		}
		if (result && errno != ENOENT && errno != EEXIST && errno != ENOTEMPTY &&
			errno != EINVAL)
			FAIL("%s to %s: %s", from, to, strerror(errno));
	}
}

/* Every directory's link count and ".." are those of where it is. Returns the number of directories below. */
static unsigned tree_verify(const char *path, ino_t parent)
{
	char below[1024];
	struct stat st = file_stat(path);
	unsigned count = 0, subdirectories = 0;
	struct dirent *entry;
	DIR *dir = opendir(path);

	TRUE(dir);
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".")) {
			SAME(entry->d_ino, st.st_ino);
		} else if (!strcmp(entry->d_name, "..")) {
			SAME(entry->d_ino, parent);
		} else {
			TRUE(snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) <
				(int)sizeof(below));
			SAME(entry->d_ino, file_stat(below).st_ino);
			count += 1 + tree_verify(below, st.st_ino);
			subdirectories++;
		}
	}
	OK(closedir(dir));
	SAME(st.st_nlink, 2 + subdirectories);
	return count;
}

static void shuffle_a_tree(void)
{
	unsigned i, numbers[WORKERS];
	pid_t children[WORKERS];
	char name[16];

	OK(mkdir("tree", 0755));
	OK(chdir("tree"));
	for (i = 0; i < NODES; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		OK(mkdir(name, 0755));
	}
	for (i = 0; i < WORKERS; i++) {
		numbers[i] = i + 1;
		children[i] = child_start(shuffle, &numbers[i]);
	}
	for (i = 0; i < WORKERS; i++)
		child_wait(children[i]);
	OK(chdir(".."));
	TRUE(tree_verify("tree", file_stat(".").st_ino) > 0);
}

/* All create, link, rename and unlink the same few names; each name and each link is accounted for. */
#define NAMES 10

static void fight(void *arg)
{
	unsigned seed = *(unsigned *)arg * 1000;
	int i, fd, result, rounds = posix_quick ? 2000 : 15000;
	char from[16], to[16], own[16];

	snprintf(own, sizeof(own), "own%u", *(unsigned *)arg);
	for (i = 0; i < rounds; i++) {
		snprintf(from, sizeof(from), "f%u", random_next(&seed) % NAMES);
		snprintf(to, sizeof(to), "f%u", random_next(&seed) % NAMES);
		switch (random_next(&seed) % 6) {
		case 0:
			fd = open(to, O_CREAT | O_RDWR | O_APPEND, 0644);
			if (fd >= 0) {
				SAME(write(fd, "0123456789abcdef", 16), 16);
				OK(close(fd));
			}
			result = fd;
			break;
		case 1:
			result = unlink(from);
			break;
		case 2:
			result = link(from, to);
			break;
		case 3: /* out of the others' reach, and back */
			result = rename(from, own);
			if (!result)
				OK(rename(own, to));
			break;
		case 4:
			result = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE);
			break;
		default:
			result = rename(from, to);
		}
		if (result < 0 && errno != ENOENT && errno != EEXIST)
			FAIL("%s to %s: %s", from, to, strerror(errno));
	}
	result = unlink(own); /* renaming one link over another leaves both */
	TRUE(!result || errno == ENOENT);
}

static void fight_for_names(void)
{
	unsigned i, j, links, numbers[WORKERS];
	pid_t children[WORKERS];
	struct stat stats[NAMES];
	char name[16];

	for (i = 0; i < WORKERS; i++) {
		numbers[i] = i + 1;
		children[i] = child_start(fight, &numbers[i]);
	}
	for (i = 0; i < WORKERS; i++)
		child_wait(children[i]);
	memset(stats, 0, sizeof(stats));
	for (i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		if (file_exists(name))
			stats[i] = file_stat(name);
	}
	for (i = 0; i < NAMES; i++) {
		if (!stats[i].st_nlink)
			continue;
		for (links = j = 0; j < NAMES; j++)
			links += stats[j].st_nlink && stats[j].st_ino == stats[i].st_ino;
		SAME(stats[i].st_nlink, links);
		SAME(stats[i].st_size % 16, 0);
	}
}

/* A reader that opens a directory by one of two names that are exchanged all the time always finds one, whole. */
static void exchange_forever(void *arg)
{
	(void)arg;
	for (;;)
		OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
}

static void never_without_a_name(void)
{
	int i, rounds = posix_quick ? 1000 : 10000;
	char text[2] = "";
	pid_t child;

	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	file_put("a/file", "a");
	file_put("b/file", "b");
	child = child_start(exchange_forever, NULL);
	for (i = 0; i < rounds; i++) {
		int fd = OK(open("a/file", O_RDONLY));

		SAME(read(fd, text, 2), 1);
		TRUE(text[0] == 'a' || text[0] == 'b');
		OK(close(fd));
		OK(access("b", F_OK));
	}
	OK(kill(child, SIGKILL));
	OK(waitpid(child, NULL, 0));
}

const struct posix_case posix_storm_cases[] = {
	{"move_into_each_other", move_into_each_other},
	{"shuffle_a_tree", shuffle_a_tree},
	{"fight_for_names", fight_for_names},
	{"never_without_a_name", never_without_a_name},
	{NULL, NULL},
};
