/* SPDX-License-Identifier: MIT */
/*
 * crash_tree.h - a writer's tree as it is in a file system, beside what it should be
 */
#ifndef CRASH_TREE_H
#define CRASH_TREE_H

#include "change_model.h"

/* Reads all of it; names that no change makes, or what cannot be read, end the program. */
void tree_load(const char *path, struct model *tree);
/* Says how they differ, or returns false. */
bool tree_differs(const struct model *tree, const struct model *model, char what[192]);
/* A number for all that is in it, not 0. */
uint64_t tree_hash(const struct model *tree);

#endif
