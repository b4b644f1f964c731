/* SPDX-License-Identifier: MIT */
/*
 * handle.c - files by handle instead of by name, as servers of network file systems use them
 *
 *	handle get PATH			prints the handle of a file, in hexadecimal digits
 *	handle cat DIRECTORY HANDLE	prints what is in the file of that handle, on the file system of DIRECTORY
 *	handle parent DIRECTORY HANDLE	prints the inode number of the directory above that of the handle
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HANDLE_MAX MAX_HANDLE_SZ

static struct file_handle *handle_new(void)
{
	struct file_handle *handle = calloc(1, sizeof(*handle) + HANDLE_MAX);

	if (!handle)
		err(1, "calloc");
	handle->handle_bytes = HANDLE_MAX;
	return handle;
}

static void get(const char *path)
{
	struct file_handle *handle = handle_new();
	unsigned i;
	int mount;

	if (name_to_handle_at(AT_FDCWD, path, handle, &mount, 0))
		err(1, "%s", path);
	printf("%x:", (unsigned)handle->handle_type);
	for (i = 0; i < handle->handle_bytes; i++)
		printf("%02x", handle->f_handle[i]);
	putchar('\n');
	free(handle);
}

static int handle_open(const char *directory, const char *text, int flags)
{
	int fd, mount = open(directory, O_RDONLY | O_DIRECTORY);
	struct file_handle *handle = handle_new();
	char *digits;
	unsigned byte;

	if (mount < 0)
		err(1, "%s", directory);
	handle->handle_type = (int)strtoul(text, &digits, 16);
	if (*digits++ != ':' || strlen(digits) / 2 > HANDLE_MAX)
		errx(2, "%s is no handle", text);
	for (handle->handle_bytes = 0; sscanf(digits, "%2x", &byte) == 1; digits += 2)
		handle->f_handle[handle->handle_bytes++] = (unsigned char)byte;
	fd = open_by_handle_at(mount, handle, flags);
	if (fd < 0)
		err(1, "%s", text);
	close(mount);
	free(handle);
	return fd;
}

static void cat(const char *directory, const char *text)
{
	int fd = handle_open(directory, text, O_RDONLY);
	char buffer[65536];
	ssize_t size;

	while ((size = read(fd, buffer, sizeof(buffer))) > 0)
		fwrite(buffer, 1, (size_t)size, stdout);
	if (size < 0)
		err(1, "read");
	close(fd);
}

static void parent(const char *directory, const char *text)
{
	int fd = handle_open(directory, text, O_RDONLY | O_DIRECTORY);
	struct stat st;

	if (fstatat(fd, "..", &st, 0))
		err(1, "..");
	printf("%llu\n", (unsigned long long)st.st_ino);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "get"))
		get(argv[2]);
	else if (argc == 4 && !strcmp(argv[1], "cat"))
		cat(argv[2], argv[3]);
	else if (argc == 4 && !strcmp(argv[1], "parent"))
		parent(argv[2], argv[3]);
	else
		errx(2, "usage: handle get PATH | cat DIRECTORY HANDLE | parent DIRECTORY HANDLE");
	return 0;
}
