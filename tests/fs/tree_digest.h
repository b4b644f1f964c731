/* SPDX-License-Identifier: MIT */
/*
 * tree_digest.h - one number for all that can be read of a file system: names, attributes,
 * contents, holes, targets, extended attributes. Two trees that have the same one are the same.
 */
#ifndef TREE_DIGEST_H
#define TREE_DIGEST_H

#include "fixture.h"

/* Fails the test if anything cannot be read. */
uint64_t tree_digest(struct kvfs *fs);
uint64_t tree_digest_of_snapshot(struct fixture *store, const char *name);

#endif
