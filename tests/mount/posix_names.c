/* SPDX-License-Identifier: MIT */
/*
 * posix_names.c - names and paths: which bytes, how long, how deep, and what a path resolves to
 */
#include "posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A name of one byte, or, where that byte alone is special, of two. */
static void byte_name(unsigned byte, char name[3])
{
	name[0] = byte;
	name[1] = byte == '.' ? 'x' : 0;
	name[2] = 0;
}

static void every_byte(void)
{
	unsigned byte, seen[256] = {0};
	struct dirent *entry;
	char name[3];
	DIR *dir;

	for (byte = 1; byte < 256; byte++) {
		byte_name(byte, name);
		if (byte != '/')
			file_put(name, name);
	}
	dir = opendir(".");
	TRUE(dir);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			seen[(unsigned char)entry->d_name[0]]++;
	closedir(dir);
	for (byte = 1; byte < 256; byte++) {
		byte_name(byte, name);
		if (byte == '/')
			continue;
		SAME(seen[byte], 1);
		TEXT(name, name);
		OK(unlink(name));
		TRUE(!file_exists(name));
	}
}

/* Names are bytes: no case folding, no normal forms, no reserved words. */
static void names_are_bytes(void)
{
	static const char *const names[] = {"a", "A", "\xc3\xa9", "e\xcc\x81", "\xff\xfe", "...",
		" ", "a ", " a", "a\n", "-", "*", "\\", "con", ".a", "a.", ".fuse_hidden", "\x7f",
		"\x01"};
	size_t i, count = sizeof(names) / sizeof(names[0]);

	for (i = 0; i < count; i++) {
		TRUE(!file_exists(names[i]));
		file_put(names[i], names[i]);
	}
	for (i = 0; i < count; i++)
		TEXT(names[i], names[i]);
}

static void name_length(void)
{
	char longest[256], too_long[257];

	memset(longest, 'n', 255);
	longest[255] = 0;
	memset(too_long, 'n', 256);
	too_long[256] = 0;

	file_put(longest, "long");
	TEXT(longest, "long");
	OK(rename(longest, "short"));
	OK(rename("short", longest));
	OK(link(longest, "other"));
	OK(unlink(longest));
	OK(mkdir(longest, 0755));
	OK(rmdir(longest));
	OK(symlink("other", longest));
	OK(unlink(longest));

	FAILS(open(too_long, O_RDONLY), ENAMETOOLONG);
	FAILS(open(too_long, O_CREAT | O_WRONLY, 0644), ENAMETOOLONG);
	FAILS(mkdir(too_long, 0755), ENAMETOOLONG);
	FAILS(mknod(too_long, S_IFREG | 0644, 0), ENAMETOOLONG);
	FAILS(symlink("other", too_long), ENAMETOOLONG);
	FAILS(link("other", too_long), ENAMETOOLONG);
	FAILS(rename("other", too_long), ENAMETOOLONG);
	FAILS(rename(too_long, "other"), ENAMETOOLONG);
	FAILS(unlink(too_long), ENAMETOOLONG);
	FAILS(rmdir(too_long), ENAMETOOLONG);
	FAILS(truncate(too_long, 0), ENAMETOOLONG);
	FAILS(access(too_long, F_OK), ENAMETOOLONG);
	TEXT("other", "long");
}

/* The kernel takes paths of PATH_MAX bytes, the NUL included; what lies deeper is reached step by
 * step. */
static void path_length(void)
{
	char path[PATH_MAX + 1];
	int depth, size = 0;

	/* 31 directories of 127 bytes and their slashes: 3968; then a file's name to 4095 */
	for (depth = 0; depth < 31; depth++) {
		memset(path + size, 'a' + depth % 26, 127);
		path[size + 127] = 0;
		OK(mkdir(path, 0755));
		path[size + 127] = '/';
		size += 128;
	}
	memset(path + size, 'f', PATH_MAX - size);
	path[4095] = 0;
	SAME(strlen(path), PATH_MAX - 1);
	file_put(path, "deep");
	TEXT(path, "deep");
	path[4095] = 'f';
	path[4096] = 0;
	FAILS(open(path, O_RDONLY), ENAMETOOLONG);
	FAILS(open(path, O_CREAT | O_WRONLY, 0644), ENAMETOOLONG);
}

/* Deeper than a path can say: built and taken down by descriptors. */
static void deep_tree(void)
{
	int depth, next, depth_max = posix_quick ? 600 : 3000;
	int here = OK(open(".", O_RDONLY | O_DIRECTORY));
	struct stat top, back;

	OK(fstat(here, &top));
	for (depth = 0; depth < depth_max; depth++) {
		OK(mkdirat(here, "down", 0755));
		next = OK(openat(here, "down", O_RDONLY | O_DIRECTORY));
		close(here);
		here = next;
	}
	close(OK(openat(here, "bottom", O_CREAT | O_WRONLY, 0644)));
	OK(unlinkat(here, "bottom", 0));
	for (depth = 0; depth < depth_max; depth++) {
		next = OK(openat(here, "..", O_RDONLY | O_DIRECTORY));
		OK(unlinkat(next, "down", AT_REMOVEDIR));
		close(here);
		here = next;
	}
	OK(fstat(here, &back));
	SAME(back.st_ino, top.st_ino);
	SAME(back.st_nlink, 2);
	close(here);
}

static void symlinks(void)
{
	char target[PATH_MAX + 1], read_back[PATH_MAX + 1];

	file_put("file", "text");
	OK(mkdir("dir", 0755));
	OK(symlink("../file", "dir/link"));
	TEXT("dir/link", "text");
	SAME(file_stat("dir/link").st_size, 7);
	SAME(file_stat("dir/link").st_mode, S_IFLNK | 0777);
	SAME(readlink("dir/link", read_back, sizeof(read_back)), 7);
	SAME(readlink("dir/link", read_back, 3), 3);
	FAILS(readlink("file", read_back, sizeof(read_back)), EINVAL);

	OK(symlink("nothing", "dangling"));
	FAILS(open("dangling", O_RDONLY), ENOENT);
	FAILS(open("dangling", O_RDONLY | O_NOFOLLOW), ELOOP);
	FAILS(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	FAILS(symlink("x", "dangling"), EEXIST);
	close(OK(open("dangling", O_CREAT | O_WRONLY, 0644)));
	TRUE(file_exists("nothing"));

	OK(symlink("loop_b", "loop_a"));
	OK(symlink("loop_a", "loop_b"));
	FAILS(open("loop_a", O_RDONLY), ELOOP);
	FAILS(mkdir("loop_a/x", 0755), ELOOP);
	OK(unlink("loop_a"));

	memset(target, 't', PATH_MAX);
	target[PATH_MAX - 1] = 0;
	OK(symlink(target, "long"));
	SAME(readlink("long", read_back, sizeof(read_back)), PATH_MAX - 1);
	TRUE(!memcmp(target, read_back, PATH_MAX - 1));
	target[PATH_MAX - 1] = 't';
	target[PATH_MAX] = 0;
	FAILS(symlink(target, "longer"), ENAMETOOLONG);
	FAILS(symlink("", "empty"), ENOENT);
}

static void path_errors(void)
{
	file_put("file", "text");
	OK(mkdir("dir", 0755));
	FAILS(open("", O_RDONLY), ENOENT);
	FAILS(open("nothing/x", O_RDONLY), ENOENT);
	FAILS(open("file/x", O_RDONLY), ENOTDIR);
	FAILS(open("file/", O_RDONLY), ENOTDIR);
	FAILS(mkdir("file/x", 0755), ENOTDIR);
	FAILS(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
	FAILS(open("file", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	FAILS(open("dir", O_WRONLY), EISDIR);
	FAILS(open("dir", O_RDWR | O_CREAT, 0644), EISDIR);
	FAILS(open("new/", O_CREAT | O_WRONLY, 0644), EISDIR);
	FAILS(mkdir("dir", 0755), EEXIST);
	FAILS(mkdir("file", 0755), EEXIST);
	FAILS(mkdir("nothing/x", 0755), ENOENT);
	FAILS(mknod("file", S_IFREG | 0644, 0), EEXIST);
	FAILS(rmdir("nothing"), ENOENT);
	FAILS(rmdir("file"), ENOTDIR);
	FAILS(rmdir("dir/."), EINVAL);
	FAILS(rmdir("dir/.."), ENOTEMPTY);
	FAILS(unlink("dir"), EISDIR);
	FAILS(unlink("nothing"), ENOENT);
	FAILS(unlink("file/"), ENOTDIR);
	OK(mkdir("made/", 0755));
	OK(rmdir("made/"));
	file_put("dir/x", "x");
	FAILS(rmdir("dir"), ENOTEMPTY);
	TEXT("dir//./../dir///x", "x");
}

const struct posix_case posix_name_cases[] = {
	{"every_byte", every_byte},
	{"names_are_bytes", names_are_bytes},
	{"name_length", name_length},
	{"path_length", path_length},
	{"deep_tree", deep_tree},
	{"symlinks", symlinks},
	{"path_errors", path_errors},
	{NULL, NULL},
};
