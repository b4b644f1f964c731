/* SPDX-License-Identifier: MIT */
/*
 * tree_operations.c - the model's operations: each works out what should happen, does it to the
 * store, compares the result and then does it to the model.
 */
#include "tree_node.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

/* ---- nodes ----------------------------------------------------------------------------------- */

static unsigned node_count(const struct model *model)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_NODES; i++)
		count += model->nodes[i].ino != 0;
	return count;
}

static unsigned node_free(const struct model *model)
{
	unsigned i = 0;

	while (model->nodes[i].ino)
		i++;
	return i;
}

/* A random node of those that the filter takes. */
static unsigned pick(struct model *model, bool (*filter)(const struct model_node *node))
{
	for (unsigned tries = 0; tries < 1000; tries++) {
		unsigned i = (unsigned)model_chance(model, MODEL_NODES);

		if (model->nodes[i].ino && filter(&model->nodes[i]))
			return i;
	}
	return 0;
}

static bool any(const struct model_node *node)
{
	return true;
}

static bool named(const struct model_node *node)
{
	return node->nlink;
}

static bool named_directory(const struct model_node *node)
{
	return is_directory(node) && node->nlink;
}

static bool directory_empty(const struct model_node *node)
{
	for (unsigned i = 0; i < MODEL_NAMES; i++)
		if (node->names[i])
			return false;
	return true;
}

/* A name of this node went. */
static void node_unlink(struct model *model, unsigned at)
{
	struct model_node *node = &model->nodes[at];

	if (is_directory(node)) {
		model->nodes[node->parent].nlink--;
		node->nlink = 0;
	} else {
		node->nlink--;
	}
	if (!node->nlink && !node->holds)
		model_node_fini(node);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void create(struct model *model)
{
	unsigned parent = pick(model, is_directory), name = (unsigned)model_chance(model, MODEL_NAMES);
	static const mode_t types[] = {
		S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO};
	mode_t mode = types[model_chance(model, 7)] | (mode_t)model_chance(model, 01000);
	struct kvfs *fs = model->store->fs;
	struct kvfs_attr attr;
	int expected = 0, err;

	if (node_count(model) >= MODEL_NODES - 2)
		return;
	if (!model->nodes[parent].nlink)
		expected = -ENOENT;
	else if (model->nodes[parent].names[name])
		expected = -EEXIST;
	if (S_ISDIR(mode))
		err = kvfs_mkdir(
			fs, &fixture_root, model->nodes[parent].ino, model_name(name), mode, &attr);
	else if (S_ISLNK(mode))
		err = kvfs_symlink(fs, &fixture_root, model_name(name), model->nodes[parent].ino,
			model_name(name), &attr);
	else
		err = kvfs_mknod(
			fs, &fixture_root, model->nodes[parent].ino, model_name(name), mode, 0, &attr);
	model_expect(model, "create", expected, err);
	if (err)
		return;
	unsigned at = node_free(model);
	model_node_init(model, at, &attr);
	if (S_ISLNK(mode))
		memcpy(model->nodes[at].data, model_name(name), attr.size);
	else if (S_ISDIR(mode))
		mode |= model->nodes[parent].mode & S_ISGID;
	if (!S_ISLNK(mode))
		model_expect(model, "mode", (int64_t)mode, attr.mode);
	model_expect(model, "nlink", S_ISDIR(mode) ? 2 : 1, attr.nlink);
	model->nodes[at].parent = parent;
	model->nodes[parent].names[name] = at + 1;
	model->nodes[parent].nlink += S_ISDIR(mode);
}

static void tmpfile_make(struct model *model)
{
	unsigned parent = pick(model, named_directory), at;
	struct kvfs_attr attr;

	if (node_count(model) >= MODEL_NODES - 2)
		return;
	model_expect(model, "tmpfile", 0,
		kvfs_tmpfile(
			model->store->fs, &fixture_root, model->nodes[parent].ino, 0600, &attr));
	at = node_free(model);
	model_node_init(model, at, &attr);
	model->nodes[at].holds = 1;
	model->nodes[at].parent = MODEL_NODES; /* marks it as one that may be linked */
}

static void link_make(struct model *model)
{
	unsigned parent = pick(model, is_directory), name = (unsigned)model_chance(model, MODEL_NAMES);
	unsigned at = pick(model, any);
	struct model_node *node = &model->nodes[at];
	struct kvfs_attr attr;
	int expected = 0;

	if (!model->nodes[parent].nlink)
		expected = -ENOENT;
	else if (is_directory(node))
		expected = -EPERM;
	else if (model->nodes[parent].names[name])
		expected = -EEXIST;
	else if (!node->nlink && node->parent != MODEL_NODES)
		expected = -ENOENT;
	model_expect(model, "link", expected,
		kvfs_link(model->store->fs, node->ino, model->nodes[parent].ino, model_name(name),
			&attr));
	if (expected)
		return;
	node->nlink++;
	node->parent = 0;
	model_expect(model, "nlink", node->nlink, attr.nlink);
	model->nodes[parent].names[name] = at + 1;
}

static void remove_name(struct model *model, bool directory)
{
	unsigned parent = pick(model, is_directory), name = (unsigned)model_chance(model, MODEL_NAMES);
	unsigned at = model->nodes[parent].names[name];
	struct model_node *node = at ? &model->nodes[at - 1] : NULL;
	uint64_t parent_ino = model->nodes[parent].ino;
	int expected = 0, err;

	if (!node)
		expected = -ENOENT;
	else if (directory && !is_directory(node))
		expected = -ENOTDIR;
	else if (!directory && is_directory(node))
		expected = -EISDIR;
	else if (directory && !directory_empty(node))
		expected = -ENOTEMPTY;
	err = directory ? kvfs_rmdir(model->store->fs, parent_ino, model_name(name))
			: kvfs_unlink(model->store->fs, parent_ino, model_name(name));
	model_expect(model, directory ? "rmdir" : "unlink", expected, err);
	if (err)
		return;
	model->nodes[parent].names[name] = 0;
	node_unlink(model, at - 1);
}

static bool is_below(const struct model *model, unsigned at, unsigned above)
{
	while (at && at != above)
		at = model->nodes[at].parent;
	return at == above;
}

static int rename_expected(const struct model *model, const unsigned parents[2], unsigned from,
	unsigned to, unsigned flags)
{
	const struct model_node *moved = from ? &model->nodes[from - 1] : NULL;
	const struct model_node *other = to ? &model->nodes[to - 1] : NULL;

	if (!model->nodes[parents[0]].nlink || !model->nodes[parents[1]].nlink || !moved ||
		(flags & RENAME_EXCHANGE && !other))
		return -ENOENT;
	if (other && flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (moved == other)
		return 0;
	if (is_directory(moved) && is_below(model, parents[1], from - 1))
		return -EINVAL;
	if (!other)
		return 0;
	if (flags & RENAME_EXCHANGE)
		return is_directory(other) && is_below(model, parents[0], to - 1) ? -EINVAL : 0;
	if (is_directory(moved) != is_directory(other))
		return is_directory(moved) ? -ENOTDIR : -EISDIR;
	return is_directory(other) && !directory_empty(other) ? -ENOTEMPTY : 0;
}

static void moved_to(struct model *model, unsigned at, unsigned from, unsigned to)
{
	struct model_node *node = &model->nodes[at];

	if (!is_directory(node))
		return;
	model->nodes[from].nlink--;
	model->nodes[to].nlink++;
	node->parent = to;
}

static void rename_name(struct model *model)
{
	unsigned parents[2] = {pick(model, is_directory), pick(model, is_directory)};
	unsigned names[2] = {
		(unsigned)model_chance(model, MODEL_NAMES), (unsigned)model_chance(model, MODEL_NAMES)};
	static const unsigned flag_choices[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	unsigned flags = flag_choices[model_chance(model, 4)];
	unsigned *from = &model->nodes[parents[0]].names[names[0]];
	unsigned *to = &model->nodes[parents[1]].names[names[1]];
	unsigned moved = *from, other = *to;
	int expected = rename_expected(model, parents, moved, other, flags);
	int err = kvfs_rename(model->store->fs, NULL, model->nodes[parents[0]].ino,
		model_name(names[0]), model->nodes[parents[1]].ino, model_name(names[1]), flags);

	model_expect(model, "rename", expected, err);
	if (err || moved == other)
		return;
	*to = moved;
	*from = flags & RENAME_EXCHANGE ? other : 0;
	moved_to(model, moved - 1, parents[0], parents[1]);
	if (other && flags & RENAME_EXCHANGE)
		moved_to(model, other - 1, parents[1], parents[0]);
	else if (other)
		node_unlink(model, other - 1);
}

/* Offsets and sizes that like the edges of blocks and chunks. */
static uint64_t edge(struct model *model, uint64_t limit)
{
	static const uint64_t units[] = {1, 512, 2048, 4096, 65536};
	uint64_t unit = units[model_chance(model, 5)];
	uint64_t at = model_chance(model, limit / unit + 1) * unit;

	if (!model_chance(model, 4))
		at += model_chance(model, 3);
	else if (at && !model_chance(model, 4))
		at -= 1;
	return at < limit ? at : limit;
}

static void file_write(struct model *model)
{
	struct model_node *node = &model->nodes[pick(model, is_file)];
	uint64_t limits[] = {3000, 20000, MODEL_FILE_MAX};
	uint64_t limit = limits[model_chance(model, 3)];
	uint64_t offset = edge(model, limit), size = edge(model, limit - offset);
	bool append = !model_chance(model, 4);
	uint8_t *data = model->buffer;

	if (!is_file(node))
		return;
	if (append)
		offset = node->size;
	if (size > MODEL_FILE_MAX - offset)
		size = MODEL_FILE_MAX - offset;
	for (uint64_t i = 0; i < size; i++)
		data[i] = (uint8_t)(model->step + i * 7 + (i >> 12) + 1);
	model_expect(model, "write", (int64_t)size,
		kvfs_write(model->store->fs, node->ino, data, size,
			append ? (int64_t)model_chance(model, 1000) : (int64_t)offset,
			append ? KVFS_WRITE_APPEND : 0));
	memcpy(node->data + offset, data, size);
	if (size && offset + size > node->size)
		node->size = offset + size;
}

static void file_truncate(struct model *model)
{
	struct model_node *node = &model->nodes[pick(model, any)];
	struct kvfs_attr attr = {.size = edge(model, model_chance(model, 2) ? 5000 : MODEL_FILE_MAX)};
	int expected = is_file(node) ? 0 : is_directory(node) ? -EISDIR : -EINVAL;

	model_expect(model, "truncate", expected,
		kvfs_setattr(model->store->fs, node->ino, &attr, KVFS_SET_SIZE, &attr));
	if (expected)
		return;
	if (attr.size < node->size)
		memset(node->data + attr.size, 0, node->size - attr.size);
	node->size = attr.size;
}

static void file_punch(struct model *model)
{
	struct model_node *node = &model->nodes[pick(model, is_file)];
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	int mode = modes[model_chance(model, 6)];
	uint64_t offset = edge(model, MODEL_FILE_MAX - 1);
	uint64_t size = 1 + edge(model, MODEL_FILE_MAX - offset - 1), end = offset + size;

	if (!is_file(node))
		return;
	model_expect(model, "fallocate", 0,
		kvfs_fallocate(model->store->fs, node->ino, mode, (int64_t)offset, (int64_t)size));
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > node->size)
		node->size = end;
	if (end > node->size)
		end = node->size;
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && offset < end)
		memset(node->data + offset, 0, end - offset);
}

static void file_read(struct model *model)
{
	struct model_node *node = &model->nodes[pick(model, is_file)];
	uint64_t offset = edge(model, MODEL_FILE_MAX), size = edge(model, MODEL_FILE_MAX);
	uint64_t there = offset < node->size ? node->size - offset : 0;
	uint8_t *data = model->buffer;

	if (!is_file(node))
		return;
	model_expect(model, "read", (int64_t)(there < size ? there : size),
		kvfs_read(model->store->fs, node->ino, data, size, (int64_t)offset));
	model_expect(model, "bytes read", 0,
		memcmp(data, node->data + offset, there < size ? there : size));
}

static void attributes_set(struct model *model)
{
	struct model_node *node = &model->nodes[pick(model, any)];
	struct kvfs_attr attr = {
		.mode = (uint32_t)model_chance(model, 010000), .uid = (uint32_t)model_chance(model, 9)};
	unsigned set = model_chance(model, 2) ? KVFS_SET_MODE : KVFS_SET_UID;

	model_expect(model, "setattr", 0, kvfs_setattr(model->store->fs, node->ino, &attr, set, &attr));
	if (set == KVFS_SET_UID) {
		node->uid = attr.uid;
		if (!is_directory(node))
			node->mode &= ~(uint32_t)(S_ISUID | (node->mode & S_IXGRP ? S_ISGID : 0));
	} else {
		node->mode = (node->mode & S_IFMT) | (attr.mode & 07777);
	}
	model_expect(model, "mode", node->mode, attr.mode);
}

static void xattr_set(struct model *model)
{
	struct model_node *node = &model->nodes[pick(model, any)];
	unsigned which = (unsigned)model_chance(model, MODEL_XATTRS);
	int size = (int)model_chance(model, 3000), flags = (int)model_chance(model, 3), expected = 0;
	uint8_t value[3000];

	model_xattr_bytes(value, size);
	if (flags == XATTR_CREATE && node->xattrs[which] >= 0)
		expected = -EEXIST;
	if (flags == XATTR_REPLACE && node->xattrs[which] < 0)
		expected = -ENODATA;
	model_expect(model, "setxattr", expected,
		kvfs_setxattr(model->store->fs, node->ino, model_xattr_name(which), value, (size_t)size,
			flags));
	if (!expected)
		node->xattrs[which] = size;
}

static void xattr_remove(struct model *model)
{
	struct model_node *node = &model->nodes[pick(model, any)];
	unsigned which = (unsigned)model_chance(model, MODEL_XATTRS);

	model_expect(model, "removexattr", node->xattrs[which] < 0 ? -ENODATA : 0,
		kvfs_removexattr(model->store->fs, node->ino, model_xattr_name(which)));
	node->xattrs[which] = -1;
}

static void hold(struct model *model)
{
	struct model_node *node = &model->nodes[pick(model, named)];

	kvfs_hold(model->store->fs, node->ino, 1);
	node->holds++;
}

static void release(struct model *model)
{
	struct model_node *node = &model->nodes[pick(model, any)];

	if (!node->holds)
		return;
	kvfs_release(model->store->fs, node->ino, 1);
	if (!--node->holds && !node->nlink) {
		struct kvfs_attr attr;

		model_expect(model, "released inode", -ENOENT,
			kvfs_getattr(model->store->fs, node->ino, &attr));
		model_node_fini(node);
	}
}

void model_step(struct model *model)
{
	static void (*const others[])(struct model *) = {create, create, create, link_make,
		rename_name, rename_name, rename_name, file_write, file_write, file_write,
		file_write, file_truncate, file_punch, file_punch, file_read, attributes_set,
		xattr_set, xattr_remove, hold, release, release, tmpfile_make};
	uint64_t which = model_chance(model, 2 + sizeof(others) / sizeof(*others));

	model->step++;
	if (which < 2)
		remove_name(model, which == 1);
	else
		others[which - 2](model);
}
