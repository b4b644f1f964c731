/* SPDX-License-Identifier: MIT */
/* tree_model.c - see tree_model.h; tree_operations.c and tree_compare.c have the steps. */
#include "tree_node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t model_chance(struct model *model, uint64_t limit)
{
	/* splitmix64, by Sebastiano Vigna */
	uint64_t z = (model->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31)) % limit;
}

void model_fail(struct model *model, const char *what, int64_t expected, int64_t actual)
{
	if (model->broken && model->broken(model->broken_arg))
		longjmp(model->stop, 1);
	fail_msg("%s: expected %lld, got %lld (KVFS_TEST_SEED=%llu, step %lu)", what,
		(long long)expected, (long long)actual, (unsigned long long)model->seed,
		model->step);
}

void model_expect(struct model *model, const char *what, int64_t expected, int64_t actual)
{
	if (expected != actual)
		model_fail(model, what, expected, actual);
}

const char *model_name(unsigned name)
{
	static char names[MODEL_NAMES][300];

	if (!names[name][0]) {
		snprintf(names[name], sizeof(names[name]), name % 3 ? "name-%u" : "%u \n\xff*",
			name);
		if (name % 8 == 7)
			memset(names[name] + strlen(names[name]), 'x', 255 - strlen(names[name]));
	}
	return names[name];
}

const char *model_xattr_name(unsigned which)
{
	static const char *const names[MODEL_XATTRS] = {"user.a", "user.longer-name", "trusted.t"};

	return names[which];
}

void model_xattr_bytes(uint8_t *value, int size)
{
	for (int i = 0; i < size; i++)
		value[i] = (uint8_t)(size * 31 + i);
}

void model_node_init(struct model *model, unsigned at, const struct kvfs_attr *attr)
{
	struct model_node *node = &model->nodes[at];

	*node = (struct model_node){
		.ino = attr->ino,
		.mode = attr->mode,
		.nlink = attr->nlink,
		.uid = attr->uid,
		.size = attr->size,
		.data = calloc(1, MODEL_FILE_MAX),
	};
	assert_non_null(node->data);
	for (unsigned i = 0; i < MODEL_XATTRS; i++)
		node->xattrs[i] = -1;
}

void model_node_fini(struct model_node *node)
{
	free(node->data);
	*node = (struct model_node){0};
}

struct model *model_new(struct fixture *store, uint64_t seed)
{
	struct model *model = calloc(1, sizeof(*model));
	struct kvfs_attr root = fixture_attr(store, KVFS_ROOT_INO);

	assert_non_null(model);
	model->store = store;
	model->seed = model->random = seed;
	model_node_init(model, 0, &root);
	return model;
}

void model_free(struct model *model)
{
	for (unsigned i = 0; i < MODEL_NODES; i++)
		free(model->nodes[i].data);
	free(model);
}

void model_reopened(struct model *model)
{
	for (unsigned i = 0; i < MODEL_NODES; i++) {
		struct model_node *node = &model->nodes[i];
		struct kvfs_attr attr;

		node->holds = 0;
		if (!node->ino || node->nlink)
			continue;
		model_expect(model, "orphan after opening", -ENOENT,
			kvfs_getattr(model->store->fs, node->ino, &attr));
		model_node_fini(node);
	}
}
