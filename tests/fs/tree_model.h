/* SPDX-License-Identifier: MIT */
/*
 * tree_model.h - a plain model of a file system in memory, and a driver that does the same random
 * operations to it and to a store and compares what they say.
 */
#ifndef TREE_MODEL_H
#define TREE_MODEL_H

#include "fixture.h"

#define MODEL_NODES 128u
#define MODEL_NAMES 24u
#define MODEL_FILE_MAX 400000u /* bytes: several chunks */
#define MODEL_XATTRS 3u

struct model_node {
	uint64_t ino; /* 0: free */
	uint32_t mode, nlink, uid;
	unsigned holds;
	unsigned parent;          /* directories */
	uint64_t size;            /* bytes of data, or of the symlink's target */
	uint8_t *data;            /* MODEL_FILE_MAX bytes, zeros behind `size` */
	int xattrs[MODEL_XATTRS]; /* value sizes; -1: not there. The bytes are made from the size.
				   */
	unsigned names[MODEL_NAMES]; /* directories: name -> node + 1, or 0 */
};

struct model {
	struct fixture *store;
	uint64_t seed, random;
	unsigned long step;
	bool (*broken)(void *arg); /* NULL, or: may operations fail by now? */
	void *broken_arg;
	jmp_buf stop;                         /* where a failure leads then */
	struct model_node nodes[MODEL_NODES]; /* [0] is the root */
	uint8_t buffer[MODEL_FILE_MAX + 1];
};

struct model *model_new(struct fixture *store, uint64_t seed);
void model_free(struct model *model);
/* One random operation on both; fails the test, naming seed and step, if they differ. */
void model_step(struct model *model);
/* The store was closed and opened: what only holds kept alive is gone. */
void model_reopened(struct model *model);
/* Compares the whole trees. */
void model_compare(struct model *model);

#endif
