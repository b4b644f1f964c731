/* SPDX-License-Identifier: MIT */
/*
 * status.h - what a store tells about itself: lines of "name value", the same from an open store
 * and, through an extended attribute, from the process that serves a mount.
 *
 * A name with a dot belongs to a group: "keys.inode 12". A value reaches to the end of its line; \
 * and line ends in it are written as \\ and \n.
 */
#ifndef STATUS_H
#define STATUS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "kvfs.h"
#include "mount_table.h"

struct status_mount {
	const char *directory, *transport;
	const char *store_id; /* see status_store_id */
};

/*
 * What tells one store's directory from all others, wherever it is moved to: its device and its
 * inode, as a text. "": it is not there.
 */
#define STATUS_STORE_ID_SIZE 48u
void status_store_id(const char *store, char text[STATUS_STORE_ID_SIZE]);

/* Writes the lines, terminated; mount may be NULL. The length, or -ENOSPC. */
ssize_t status_write(struct kvfs *fs, const char *store, const struct status_mount *mount,
	char *buffer, size_t size);

/* Reads the lines of the mount that `path` is in. -ENODATA: it is not in one. */
ssize_t status_read_mount(const char *path, char *buffer, size_t size);

/*
 * Does this mount serve the store that is at `store` now? Also true where it cannot be asked, but
 * only of a mount that is trusted (mount_table.h). The name that the mount table has for it says
 * less: a store may have been moved, and another one made where it was.
 */
bool status_is_mount_of(const struct mount_entry *entry, const char *store);

/* A value as a number; false: there is no such line. */
bool status_number(const char *lines, const char *name, uint64_t *value);

void status_print(const char *lines, FILE *out);
/*
 * In quotes. A byte that is not of a UTF-8 character becomes \udcXX, which is how Python writes it
 * and reads it back.
 */
void status_print_json_string(const char *text, FILE *out);
void status_print_json(const char *lines, FILE *out);

#endif
