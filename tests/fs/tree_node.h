/* SPDX-License-Identifier: MIT */
/* tree_node.h - what the parts of the model share: chance, failures, the names of things. */
#ifndef TREE_NODE_H
#define TREE_NODE_H

#include "tree_model.h"

/* Less than the limit. */
uint64_t model_chance(struct model *model, uint64_t limit);

void model_fail(struct model *model, const char *what, int64_t expected, int64_t actual);
void model_expect(struct model *model, const char *what, int64_t expected, int64_t actual);

static inline bool is_directory(const struct model_node *node)
{
	return S_ISDIR(node->mode);
}

static inline bool is_file(const struct model_node *node)
{
	return S_ISREG(node->mode);
}

void model_node_init(struct model *model, unsigned at, const struct kvfs_attr *attr);
void model_node_fini(struct model_node *node);

/* Some names are long, some have odd bytes. */
const char *model_name(unsigned name);
const char *model_xattr_name(unsigned which);
/* The value of an attribute that has this size. */
void model_xattr_bytes(uint8_t *value, int size);

#endif
