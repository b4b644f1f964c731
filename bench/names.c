/* SPDX-License-Identifier: MIT */
/*
 * names - processor time of the core's operations on names, without a mount
 *
 * One thread makes files in one directory, looks them up, renames and removes them: each operation
 * with what a mount does around it (a lookup before, also of a name that is to be new; a question
 * for capabilities before a write; a hold of what the kernel learns of, its release behind). A line
 * per operation: its name, and microseconds of this thread's processor time. So also for callgrind
 * and perf:
 *
 *	names [-n FILES] DIRECTORY	makes DIRECTORY/names.kv, which must not be there, and leaves it
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvfs.h"

static struct kvfs *fs;
static uint64_t directory_ino;
static const struct kvfs_caller caller = {.privileged = true};

static void die(const char *what, int err)
{
	fprintf(stderr, "names: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void check(const char *what, int err)
{
	if (err)
		die(what, err);
}

static double cpu_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* What the kernel asks before it removes or renames a name that it does not know. */
static uint64_t look_up(const char *name)
{
	struct kvfs_attr attr;

	check("lookup", kvfs_lookup(fs, directory_ino, name, &attr));
	kvfs_hold(fs, attr.ino, 1);
	return attr.ino;
}

static void make(unsigned number, const char *name)
{
	struct kvfs_attr attr;

	if (kvfs_lookup(fs, directory_ino, name, &attr) != -ENOENT)
		die("lookup of a new name", -EEXIST);
	check("mknod", kvfs_mknod(fs, &caller, directory_ino, name, S_IFREG | 0644, 0, &attr));
	kvfs_hold(fs, attr.ino, 1);
	kvfs_release(fs, attr.ino, 1);
}

static void fill(unsigned number, const char *name)
{
	static char contents[1024];
	struct kvfs_attr attr;

	check("lookup", kvfs_lookup(fs, directory_ino, name, &attr));
	if (kvfs_getxattr(fs, attr.ino, "security.capability", NULL, 0) != -ENODATA)
		die("getxattr", -EIO);
	if (kvfs_write(fs, attr.ino, contents, sizeof(contents), 0, 0) != sizeof(contents))
		die("write", -EIO);
}

static void find(unsigned number, const char *name)
{
	kvfs_release(fs, look_up(name), 1);
}

static void stat_only(unsigned number, const char *name)
{
	struct kvfs_attr attr;

	check("getattr", kvfs_getattr(fs, directory_ino, &attr));
}

static void move(unsigned number, const char *name)
{
	char new_name[32];
	struct kvfs_attr attr;

	snprintf(new_name, sizeof(new_name), "moved-%08u", number);
	if (kvfs_lookup(fs, directory_ino, new_name, &attr) != -ENOENT)
		die("lookup of a new name", -EEXIST);
	check("rename", kvfs_rename(fs, NULL, directory_ino, name, directory_ino, new_name, 0));
}

static void drop(unsigned number, const char *name)
{
	uint64_t ino;
	char new_name[32];

	snprintf(new_name, sizeof(new_name), "moved-%08u", number);
	ino = look_up(new_name);
	check("unlink", kvfs_unlink(fs, directory_ino, new_name));
	kvfs_release(fs, ino, 1);
}

static int count_entry(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	++*(unsigned *)arg;
	return 0;
}

static void list(unsigned files)
{
	unsigned count = 0;
	double begun = cpu_us();

	check("readdir", kvfs_readdir(fs, directory_ino, 0, true, count_entry, &count));
	printf("list, each\t%.2f\n", (cpu_us() - begun) / (files ? files : 1));
}

static const struct
{
	const char *name;
	void (*run)(unsigned number, const char *name);
} operations[] = {
	{"create", make},
	{"write 1 KiB", fill},
	{"lookup", find},
	{"getattr", stat_only},
	{"rename", move},
	{"lookup, unlink", drop},
};

static void measure(unsigned files)
{
	for (unsigned i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		double begun = cpu_us();
		char name[32];

		for (unsigned number = 0; number < files; number++) {
			snprintf(name, sizeof(name), "file-%08u", number);
			operations[i].run(number, name);
		}
		printf("%s\t%.2f\n", operations[i].name, (cpu_us() - begun) / files);
		if (i == 3)
			list(files);
	}
}

int main(int argc, char **argv)
{
	struct kvfs_create_options create = {0};
	struct kvfs_open_options options = {.frees_behind = true};
	unsigned files = 100000;
	struct kvfs_attr attr;
	char path[4096];
	int option;

	while ((option = getopt(argc, argv, "n:")) != -1)
		if (option == 'n')
			files = (unsigned)strtoul(optarg, NULL, 10);
	if (optind + 1 != argc || !files) {
		fprintf(stderr, "usage: names [-n FILES] DIRECTORY\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s/names.kv", argv[optind]);
	check(path, kvfs_create(NULL, path, &create, NULL, NULL));
	check(path, kvfs_open(NULL, path, &options, &fs));
	check("mkdir", kvfs_mkdir(fs, &caller, KVFS_ROOT_INO, "names", 0755, &attr));
	directory_ino = attr.ino;
	measure(files);
	check("close", kvfs_close(fs));
	return 0;
}
