/* SPDX-License-Identifier: MIT */
/*
 * store.h - a file system in a fresh directory, for tests: made, opened again, checked and removed.
 */
#ifndef STORE_H
#define STORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kvfs.h"

struct store {
	char path[64];
	struct kvfs *fs;
	struct kvfs_create_options create;
	struct kvfs_open_options open;
};

extern const struct kvfs_caller store_root; /* uid and gid 0, no umask */

/* For cmocka: a struct store in *state, with an empty file system that is open. */
int store_setup(void **state);
/* The same, with these options. */
int store_setup_with(void **state, const struct kvfs_create_options *create);
/* Checks it, closes it, removes it. */
int store_teardown(void **state);
/* The same without the check. */
int store_remove(void **state);

void store_close(struct store *store);
void store_open(struct store *store);
void store_reopen(struct store *store);
/* Fails the test if a check finds anything. */
void store_assert_clean(struct store *store);

/* What every test does. */
uint64_t store_mkdir(struct store *store, uint64_t parent, const char *name);
uint64_t store_mkfile(struct store *store, uint64_t parent, const char *name);
struct kvfs_attr store_attr(struct store *store, uint64_t ino);
/* The inode number, or a negative errno. */
int64_t store_lookup(struct store *store, uint64_t parent, const char *name);

#endif
