/* SPDX-License-Identifier: MIT */
/*
 * example.c - a first program with libkvfs: notes in a store, without a mount.
 *
 *	cc example.c $(pkg-config --cflags --libs libkvfs) -o note
 *	./note STORE NAME [TEXT]
 *
 * Adds a line to a note, which is made if it is not there, and prints it. A mount, or kvfs get,
 * shows the same file; the store is made by kvfs mkfs, and is not mounted meanwhile.
 */
#include <errno.h>
#include <kvfs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void tell(void *arg, enum kv_severity severity, const char *message)
{
	(void)arg;
	if (severity <= KV_WARNING)
		fprintf(stderr, "%s\n", message);
}

/* Finds the note, or makes it in the root. */
static int find_or_make(struct kvfs *fs, const char *name, struct kvfs_attr *note)
{
	const struct kvfs_caller caller = {.uid = geteuid(), .gid = getegid()};
	int error = kvfs_lookup(fs, KVFS_ROOT_INO, name, note);

	if (error == -ENOENT)
		error = kvfs_mknod(fs, &caller, KVFS_ROOT_INO, name, S_IFREG | 0644, 0, note);
	return error;
}

static int add_line(struct kvfs *fs, const struct kvfs_attr *note, const char *text)
{
	char line[1000];
	int length = snprintf(line, sizeof(line), "%s\n", text);
	ssize_t written;

	if (length >= (int)sizeof(line))
		return -EMSGSIZE;
	/* All of it or nothing; the offset does not matter. */
	written = kvfs_write(fs, note->ino, line, (size_t)length, 0, KVFS_WRITE_APPEND);
	return written < 0 ? (int)written : 0;
}

static int print(struct kvfs *fs, const struct kvfs_attr *note)
{
	char buffer[4096];
	int64_t offset = 0;
	ssize_t size;

	while ((size = kvfs_read(fs, note->ino, buffer, sizeof(buffer), offset)) > 0) {
		fwrite(buffer, 1, (size_t)size, stdout);
		offset += size;
	}
	return (int)size;
}

int main(int argc, char **argv)
{
	const struct kvfs_open_options options = {.kv = {.report = tell}};
	struct kvfs_attr note;
	struct kvfs *fs;
	int error, close_error;

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: note STORE NAME [TEXT]\n");
		return 2;
	}
	error = kvfs_open(NULL, argv[1], &options, &fs);
	if (!error) {
		error = find_or_make(fs, argv[2], &note);
		if (!error && argc == 4)
			error = add_line(fs, &note, argv[3]);
		if (!error)
			error = print(fs, &note);
		/* Makes everything durable; kv_sync(kvfs_kv(fs), ...) would earlier. */
		close_error = kvfs_close(fs);
		error = error ? error : close_error;
	}
	if (error)
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-error));
	return error ? 1 : 0;
}
