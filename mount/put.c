/* SPDX-License-Identifier: MIT */
/*
 * put.c - kvfs put: the standard input becomes a key's value, without a mount.
 *
 * Replacing is one step: the value is written to a file without a name, which then takes the key's
 * place; an interruption at any point leaves the old value. Only where the key is a link, or has
 * other names, is the file itself written over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "message.h"
#include "options.h"
#include "store.h"

#define PIECE_SIZE (1u << 20)
#define NAME_TRIES 16

struct target {
	struct kvfs_attr parent;
	char name[KVFS_NAME_MAX + 1];
	struct kvfs_attr old; /* ino 0: there is none */
};

/* Fills the buffer unless the input ends before. */
static ssize_t read_piece(char *buffer)
{
	size_t size = 0;

	while (size < PIECE_SIZE) {
		ssize_t got = read(STDIN_FILENO, buffer + size, PIECE_SIZE - size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		size += (size_t)got;
	}
	return (ssize_t)size;
}

static int write_input(struct kvfs *fs, uint64_t ino)
{
	char *buffer = malloc(PIECE_SIZE);
	int64_t offset = 0;
	ssize_t size, done;
	int rc = buffer ? 0 : -ENOMEM;

	while (!rc) {
		size = read_piece(buffer);
		if (size <= 0) {
			rc = (int)size;
			break;
		}
		done = kvfs_write(fs, ino, buffer, (size_t)size, offset, 0);
		rc = done < 0 ? (int)done : 0;
		offset += size;
	}
	free(buffer);
	return rc;
}

static int write_over(struct kvfs *fs, uint64_t ino)
{
	const struct kvfs_attr empty = {.size = 0};
	struct kvfs_attr attr;
	int rc = kvfs_setattr(fs, ino, &empty, KVFS_SET_SIZE, &attr);

	return rc ? rc : write_input(fs, ino);
}

/* The old one's rights go over to the file that takes its place. */
static int replace(struct kvfs *fs, const struct target *target, uint64_t ino)
{
	const unsigned rights = KVFS_SET_MODE | KVFS_SET_UID | KVFS_SET_GID;
	char name[sizeof(".kvfs-put.") + 32];
	struct kvfs_attr attr;
	unsigned i;
	int rc = kvfs_setattr(fs, ino, &target->old, rights, &attr);

	if (rc)
		return rc;
	rc = -EEXIST;
	for (i = 0; rc == -EEXIST && i < NAME_TRIES; i++) {
		snprintf(name, sizeof(name), ".kvfs-put.%ld.%u", (long)getpid(), i);
		rc = kvfs_link(fs, ino, target->parent.ino, name, &attr);
	}
	if (rc)
		return rc;
	rc = kvfs_rename(fs, NULL, target->parent.ino, name, target->parent.ino, target->name, 0);
	if (rc && kvfs_unlink(fs, target->parent.ino, name))
		message(KV_WARNING, "%s: left behind", name);
	return rc;
}

static int write_new(struct kvfs *fs, const struct target *target, const struct kvfs_caller *caller)
{
	struct kvfs_attr attr;
	int rc = kvfs_tmpfile(fs, caller, target->parent.ino, S_IFREG | 0666, &attr);

	if (rc)
		return rc;
	rc = write_input(fs, attr.ino);
	if (!rc && target->old.ino)
		rc = replace(fs, target, attr.ino);
	else if (!rc)
		rc = kvfs_link(fs, attr.ino, target->parent.ino, target->name, &attr);
	kvfs_release(fs, attr.ino, 1);
	return rc;
}

static int put_one(struct kvfs *fs, const char *key, const struct kvfs_caller *caller)
{
	struct target target = {.old = {.ino = 0}};
	size_t length = strlen(key);
	int rc;

	/* as a shell's redirection says; nothing is made on the way to it */
	if (length && key[length - 1] == '/')
		return -EISDIR;
	rc = kvfs_resolve_parent(fs, key, caller, &target.parent, target.name);
	if (rc)
		return rc;
	rc = kvfs_lookup(fs, target.parent.ino, target.name, &target.old);
	if (!rc && S_ISLNK(target.old.mode)) {
		rc = kvfs_resolve(fs, key, true, &target.old);
		if (!rc && S_ISREG(target.old.mode))
			return write_over(fs, target.old.ino);
	}
	if (rc == -ENOENT)
		target.old.ino = 0;
	else if (rc)
		return rc;
	else if (S_ISDIR(target.old.mode))
		return -EISDIR;
	else if (!S_ISREG(target.old.mode))
		return -EINVAL;
	else if (target.old.nlink > 1)
		return write_over(fs, target.old.ino);
	return write_new(fs, &target, caller);
}

static int put_run(int argc, char **argv)
{
	static const struct option names[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	const struct kvfs_caller caller = store_caller();
	struct kvfs *fs;
	const char *store, *key;
	int rc;

	while (options_next(&put_command, argc, argv, ":h", names) != -1)
		;
	options_arguments(&put_command, argc, 2, 2);
	store = argv[optind];
	key = argv[optind + 1];
	if (store_open_confined(store, false, &fs))
		return 1;
	rc = put_one(fs, key, &caller);
	if (rc)
		store_explain_key(store, fs, key, rc);
	if (store_close(store, fs))
		rc = -EIO;
	return rc ? 1 : 0;
}

const struct command put_command = {
	.name = "put",
	.arguments = "STORE KEY",
	.summary = "Makes the standard input the value of a key, with the directories above it",
	.details = NULL,
	.usage_code = 2,
	.run = put_run,
};
