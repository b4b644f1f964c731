/* SPDX-License-Identifier: MIT */
/*
 * fixture.h - a file system in a fresh directory, for tests: made, opened again, checked and
 * removed.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kvfs.h"

struct fixture {
	struct kv_env *env; /* NULL: the operating system */
	char path[64];
	struct kvfs *fs;
	struct kvfs_create_options create;
	struct kvfs_open_options open;
};

/* Prints warnings and errors. */
void fixture_report(void *arg, enum kv_severity severity, const char *message);

extern const struct kvfs_caller fixture_root; /* uid and gid 0, no umask */

/* For cmocka: a struct fixture in *state, with an empty file system that is open. */
int fixture_setup(void **state);
/* The same, with these options. */
int fixture_setup_with(void **state, const struct kvfs_create_options *create);
/* Checks it, closes it, removes it. */
int fixture_teardown(void **state);
/* The same without the check. */
int fixture_remove(void **state);
/* The same for one that is closed. */
void fixture_forget(void **state);
/* Removes what is in a closed store's directory. */
void fixture_empty(struct fixture *store);

void fixture_close(struct fixture *store);
void fixture_open(struct fixture *store);
void fixture_reopen(struct fixture *store);
/* Fails the test if a check finds anything. */
void fixture_assert_clean(struct fixture *store);
/*
 * Repairs: a check then finds nothing, and another repair has nothing to do. `when` is said where
 * that is not so.
 */
void fixture_assert_repaired(struct fixture *store, const char *when);

/* What is found, a line each. */
struct findings {
	unsigned count;
	char text[1 << 20];
};

/* For arg: a struct findings. */
void fixture_gather(void *arg, enum kv_severity severity, const char *message);

/* What every test does. */
uint64_t fixture_mkdir(struct fixture *store, uint64_t parent, const char *name);
uint64_t fixture_mkfile(struct fixture *store, uint64_t parent, const char *name);
struct kvfs_attr fixture_attr(struct fixture *store, uint64_t ino);
/* The inode number, or a negative errno. */
int64_t fixture_lookup(struct fixture *store, uint64_t parent, const char *name);
void fixture_write(struct fixture *store, uint64_t ino, const char *text, int64_t offset);
/* How many snapshots there are. */
unsigned fixture_snapshots(struct fixture *store);

#endif
