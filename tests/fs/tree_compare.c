/* SPDX-License-Identifier: MIT */
/* tree_compare.c - the whole of a store beside the model of it. */
#include "tree_node.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Data must not be called a hole; what is called a hole reads as zeros. */
static void compare_holes(struct model *model, const struct model_node *node)
{
	int64_t at = 0;

	while ((uint64_t)at < node->size) {
		int64_t data = kvfs_seek(model->store->fs, node->ino, at, SEEK_DATA);
		int64_t end = data == -ENXIO ? (int64_t)node->size : data;

		if (end < at || (uint64_t)end > node->size)
			model_fail(model, "SEEK_DATA", at, data);
		for (int64_t i = at; i < end; i++)
			if (node->data[i])
				model_fail(model, "data in a hole", 0, i);
		if (data == -ENXIO)
			return;
		at = kvfs_seek(model->store->fs, node->ino, data, SEEK_HOLE);
		if (at <= data || (uint64_t)at > node->size)
			model_fail(model, "SEEK_HOLE", data, at);
	}
}

static void compare_contents(struct model *model, const struct model_node *node)
{
	static uint8_t data[MODEL_FILE_MAX + 1];

	if (S_ISLNK(node->mode)) {
		model_expect(model, "readlink", (int64_t)node->size,
			kvfs_readlink(model->store->fs, node->ino, (char *)data, sizeof(data)));
	} else if (is_file(node)) {
		model_expect(model, "read all", (int64_t)node->size,
			kvfs_read(model->store->fs, node->ino, data, sizeof(data), 0));
		compare_holes(model, node);
	} else {
		return;
	}
	model_expect(model, "contents", 0, memcmp(data, node->data, node->size));
}

static void compare_xattrs(struct model *model, const struct model_node *node)
{
	int64_t list_size = 0;
	char list[200];

	for (unsigned i = 0; i < MODEL_XATTRS; i++) {
		uint8_t expected[3000], value[3000];

		model_expect(model, "getxattr", node->xattrs[i] < 0 ? -ENODATA : node->xattrs[i],
			kvfs_getxattr(model->store->fs, node->ino, model_xattr_name(i), value,
				sizeof(value)));
		if (node->xattrs[i] < 0)
			continue;
		list_size += (int64_t)strlen(model_xattr_name(i)) + 1;
		model_xattr_bytes(expected, node->xattrs[i]);
		model_expect(model, "xattr", 0, memcmp(value, expected, (size_t)node->xattrs[i]));
	}
	model_expect(model, "listxattr", list_size,
		kvfs_listxattr(model->store->fs, node->ino, list, sizeof(list)));
}

struct compare_listing {
	struct model *model;
	const struct model_node *node;
	uint64_t cookie;
	unsigned count, burst;
};

static int compare_entry(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct compare_listing *listing = arg;
	const struct model_node *node = listing->node;

	/* Stops now and then, to go on from the cookie. */
	if (listing->burst++ == 5)
		return 1;
	listing->cookie = cookie;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	for (unsigned i = 0; i < MODEL_NAMES; i++) {
		if (!node->names[i] || strcmp(name, model_name(i)))
			continue;
		model_expect(listing->model, "listed ino",
			(int64_t)listing->model->nodes[node->names[i] - 1].ino, (int64_t)attr->ino);
		listing->count++;
		return 0;
	}
	model_fail(listing->model, name, 0, 1);
	return 0;
}

static void compare_directory(struct model *model, const struct model_node *node)
{
	struct compare_listing listing = {.model = model, .node = node};
	unsigned count = 0;

	do {
		listing.burst = 0;
		model_expect(model, "readdir", 0,
			kvfs_readdir(model->store->fs, node->ino, listing.cookie,
				model_chance(model, 2), compare_entry, &listing));
	} while (listing.burst > 5);
	for (unsigned i = 0; i < MODEL_NAMES; i++) {
		unsigned at = node->names[i];

		count += at != 0;
		model_expect(model, "lookup", at ? (int64_t)model->nodes[at - 1].ino : -ENOENT,
			fixture_lookup(model->store, node->ino, model_name(i)));
	}
	model_expect(model, "entries", count, listing.count);
	if (node->nlink)
		model_expect(model, "..", (int64_t)model->nodes[node->parent].ino,
			fixture_lookup(model->store, node->ino, ".."));
}

void model_compare(struct model *model)
{
	for (unsigned i = 0; i < MODEL_NODES; i++) {
		struct model_node *node = &model->nodes[i];
		struct kvfs_attr attr;

		if (!node->ino)
			continue;
		model_expect(model, "getattr", 0, kvfs_getattr(model->store->fs, node->ino, &attr));
		model_expect(model, "mode", node->mode, attr.mode);
		model_expect(model, "nlink", node->nlink, attr.nlink);
		model_expect(model, "uid", node->uid, attr.uid);
		if (is_directory(node))
			compare_directory(model, node);
		else
			model_expect(model, "size", (int64_t)node->size, (int64_t)attr.size);
		compare_contents(model, node);
		compare_xattrs(model, node);
	}
}
