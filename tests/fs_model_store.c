/* SPDX-License-Identifier: MIT */
/* fs_model_store.c - a model's operations done to a store, and the two compared. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs_model.h"
#include "fs_model_bytes.h"

static const struct kvfs_caller caller = {.privileged = true};
static const char *const xattr_names[FS_MODEL_XATTRS] = {"user.one", "user.two"};

static const char *name_of(unsigned name)
{
	static char names[FS_MODEL_NAMES][KVFS_NAME_MAX + 1];

	if (!names[name][0]) {
		memset(names[name], 'x', name == FS_MODEL_NAMES - 1 ? KVFS_NAME_MAX : 1 + name);
		names[name][0] = (char)('a' + name);
	}
	return names[name];
}

/* ---- doing ----------------------------------------------------------------------------------- */

static int find_dir(struct kvfs *fs, uint8_t path, uint64_t *ino)
{
	struct kvfs_attr attr = {.ino = KVFS_ROOT_INO};
	unsigned first = path >> 4;
	int error = first ? kvfs_lookup(fs, KVFS_ROOT_INO, name_of(first - 1), &attr) : 0;

	*ino = attr.ino;
	return error;
}

static int find(struct kvfs *fs, uint8_t path, struct kvfs_attr *attr)
{
	uint64_t dir;
	int error = find_dir(fs, path, &dir);

	return error ? error : kvfs_lookup(fs, dir, name_of(path & 15), attr);
}

static int write_to(struct kvfs *fs, uint64_t ino, const struct fs_op *op)
{
	static uint8_t bytes[FS_MODEL_FILE_MAX];
	uint32_t done = 0;

	fs_bytes(bytes, op->size, op->stamp);
	while (done < op->size) {
		ssize_t part = kvfs_write(fs, ino, bytes + done, op->size - done,
			(int64_t)op->offset + done, 0);

		if (part <= 0)
			return part < 0 ? (int)part : -EIO;
		done += (uint32_t)part;
	}
	return 0;
}

static int copy_range(struct fs_op *op, struct kvfs *fs)
{
	struct kvfs_attr from, to;
	struct fs_copy_range range;
	uint64_t done = 0;
	int error = find(fs, op->path, &from);

	if (!error)
		error = find(fs, op->other, &to);
	if (error)
		return error;
	if (!S_ISREG(from.mode) || !S_ISREG(to.mode))
		return -EINVAL;
	range = fs_copy_range(op, from.size);
	while (done < range.size) {
		ssize_t part = kvfs_copy(fs, from.ino, (int64_t)(range.from + done), to.ino,
			(int64_t)(range.to + done), range.size - done);

		if (part <= 0) {
			op->limit = done;
			return part < 0 ? (int)part : -EIO;
		}
		done += (uint64_t)part;
	}
	return 0;
}

/* What makes or takes away names. */
static int do_name(const struct fs_op *op, struct kvfs *fs)
{
	uint64_t dir, other_dir;
	const char *name = name_of(op->path & 15), *other = name_of(op->other & 15);
	uint8_t target[4096] = {0};
	struct kvfs_attr attr;
	int error = find_dir(fs, op->path, &dir);

	if (error)
		return error;
	switch (op->kind) {
	case FS_OP_CREATE:
		return kvfs_mknod(fs, &caller, dir, name, S_IFREG | 0644, 0, &attr);
	case FS_OP_MKDIR:
		return kvfs_mkdir(fs, &caller, dir, name, 0755, &attr);
	case FS_OP_SYMLINK:
		fs_target(target, op->size, op->stamp);
		return kvfs_symlink(fs, &caller, (const char *)target, dir, name, &attr);
	case FS_OP_UNLINK:
		return kvfs_unlink(fs, dir, name);
	case FS_OP_RMDIR:
		return kvfs_rmdir(fs, dir, name);
	default:
		break;
	}
	error = find_dir(fs, op->other, &other_dir);
	if (error)
		return error;
	if (op->kind != FS_OP_LINK)
		return kvfs_rename(fs, NULL, dir, name, other_dir, other,
			op->kind == FS_OP_EXCHANGE ? RENAME_EXCHANGE : 0);
	error = kvfs_lookup(fs, dir, name, &attr);
	return error ? error : kvfs_link(fs, attr.ino, other_dir, other, &attr);
}

/* What changes the node that has a name. */
static int do_node(const struct fs_op *op, struct kvfs *fs, uint64_t *held_ino)
{
	static uint8_t value[KVFS_XATTR_SIZE_MAX];
	struct kvfs_attr attr, change = {.size = op->size, .mode = op->size & 0777};
	int error = find(fs, op->path, &attr);

	if (error)
		return error;
	if (S_ISLNK(attr.mode))
		return -ELOOP; /* as a path that is followed no further */
	switch (op->kind) {
	case FS_OP_WRITE:
		return S_ISREG(attr.mode) ? write_to(fs, attr.ino, op) : -EISDIR;
	case FS_OP_TRUNCATE:
		return kvfs_setattr(fs, attr.ino, &change, KVFS_SET_SIZE, &attr);
	case FS_OP_PUNCH:
		return kvfs_fallocate(fs, attr.ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			op->offset, op->size);
	case FS_OP_SETXATTR:
		fs_bytes(value, fs_xattr_size(op->size), op->stamp);
		return kvfs_setxattr(fs, attr.ino, xattr_names[op->offset % FS_MODEL_XATTRS], value,
			fs_xattr_size(op->size), 0);
	case FS_OP_REMOVEXATTR:
		return kvfs_removexattr(fs, attr.ino, xattr_names[op->offset % FS_MODEL_XATTRS]);
	case FS_OP_CHMOD:
		return kvfs_setattr(fs, attr.ino, &change, KVFS_SET_MODE, &attr);
	default:
		break;
	}
	if (!S_ISREG(attr.mode))
		return -EISDIR;
	kvfs_hold(fs, attr.ino, 1);
	if (*held_ino)
		kvfs_release(fs, *held_ino, 1);
	*held_ino = attr.ino;
	return 0;
}

static int do_held(const struct fs_op *op, struct kvfs *fs, uint64_t *held_ino)
{
	struct kvfs_attr attr;
	uint64_t dir;
	int error;

	if (op->kind == FS_OP_TMPFILE) {
		error = kvfs_tmpfile(fs, &caller, KVFS_ROOT_INO, 0600, &attr);
		if (error)
			return error;
		if (*held_ino)
			kvfs_release(fs, *held_ino, 1);
		*held_ino = attr.ino;
		return 0;
	}
	if (!*held_ino)
		return -EBADF;
	if (op->kind == FS_OP_WRITE_HELD)
		return write_to(fs, *held_ino, op);
	error = find_dir(fs, op->path, &dir);
	return error ? error : kvfs_link(fs, *held_ino, dir, name_of(op->path & 15), &attr);
}

static const char *snapshot_name(unsigned number)
{
	static const char *const names[FS_MODEL_SNAPSHOTS] = {"one", "two"};

	return names[number % FS_MODEL_SNAPSHOTS];
}

/* Nothing may be held while the tree goes back. */
static int roll_back(struct kvfs *fs, const char *name, uint64_t *held_ino)
{
	struct kvfs *snapshot;
	int error = kvfs_snapshot_open(fs, name, &snapshot);

	/*
	 * Where there is none, nothing happens; else what is held is let go of, whatever becomes of
	 * the rest.
	 */
	if (error == -ENOENT)
		return error;
	if (!error)
		(void)kvfs_close(snapshot);
	if (*held_ino)
		kvfs_release(fs, *held_ino, 1);
	*held_ino = 0;
	return error ? error : kvfs_rollback(fs, name, NULL);
}

static int do_snapshot(const struct fs_op *op, struct kvfs *fs, uint64_t *held_ino)
{
	const char *name = snapshot_name(op->path);

	if (op->kind == FS_OP_SNAPSHOT)
		return kvfs_snapshot_create(fs, name);
	if (op->kind == FS_OP_SNAPSHOT_DELETE)
		return kvfs_snapshot_delete(fs, name);
	return roll_back(fs, name, held_ino);
}

int fs_op_do(struct fs_op *op, struct kvfs *fs, uint64_t *held_ino)
{
	switch (op->kind) {
	case FS_OP_TMPFILE:
	case FS_OP_LINK_HELD:
	case FS_OP_WRITE_HELD:
		return do_held(op, fs, held_ino);
	case FS_OP_WRITE:
	case FS_OP_TRUNCATE:
	case FS_OP_PUNCH:
	case FS_OP_SETXATTR:
	case FS_OP_REMOVEXATTR:
	case FS_OP_CHMOD:
	case FS_OP_HOLD:
		return do_node(op, fs, held_ino);
	case FS_OP_SNAPSHOT:
	case FS_OP_SNAPSHOT_DELETE:
	case FS_OP_ROLLBACK:
		return do_snapshot(op, fs, held_ino);
	case FS_OP_COPY:
		return copy_range(op, fs);
	default:
		return do_name(op, fs);
	}
}

/* ---- comparing ------------------------------------------------------------------------------- */

struct compare {
	const struct fs_model *model;
	struct kvfs *fs;
	const struct fs_node *dir;
	unsigned dir_seen;    /* names of the directory, as bits */
	uint64_t inos[FS_MODEL_NODES]; /* 0: not met yet */
	const char *difference;
};

static const char *compare_dir(struct compare *compare, unsigned node, uint64_t ino);

static const char *compare_contents(struct compare *compare, const struct fs_node *node, uint64_t ino)
{
	static uint8_t bytes[FS_MODEL_FILE_MAX + 1];
	ssize_t size;

	if (S_ISLNK(node->mode))
		size = kvfs_readlink(compare->fs, ino, (char *)bytes, sizeof(bytes));
	else
		size = kvfs_read(compare->fs, ino, bytes, sizeof(bytes), 0);
	if (size < 0)
		return "contents cannot be read";
	if ((uint64_t)size != node->size)
		return "contents end elsewhere";
	for (uint64_t i = 0; i < node->size && !node->data; i++)
		if (bytes[i])
			return "a hole has contents";
	return node->data && memcmp(bytes, node->data, node->size) ? "other contents" : NULL;
}

static const char *compare_xattrs(struct compare *compare, const struct fs_node *node, uint64_t ino)
{
	static uint8_t bytes[KVFS_XATTR_SIZE_MAX], expected[KVFS_XATTR_SIZE_MAX];

	for (unsigned i = 0; i < FS_MODEL_XATTRS; i++) {
		ssize_t size = kvfs_getxattr(compare->fs, ino, xattr_names[i], bytes, sizeof(bytes));

		if (!node->xattrs[i].size && size == -ENODATA)
			continue;
		if (size != (ssize_t)node->xattrs[i].size)
			return "an extended attribute is not as it was";
		fs_bytes(expected, node->xattrs[i].size, node->xattrs[i].stamp);
		if (memcmp(bytes, expected, node->xattrs[i].size))
			return "another extended attribute";
	}
	return NULL;
}

static const char *compare_node(struct compare *compare, unsigned at, const struct kvfs_attr *attr)
{
	const struct fs_node *node = &compare->model->nodes[at];
	const char *difference = NULL;

	if (compare->inos[at])
		return compare->inos[at] == attr->ino ? NULL : "a link is a file of its own";
	compare->inos[at] = attr->ino;
	if (attr->mode != node->mode)
		return "another mode";
	if (attr->nlink != node->nlink)
		return "another number of links";
	if (!S_ISDIR(node->mode)) {
		if (attr->size != node->size)
			return "another size";
		difference = compare_contents(compare, node, attr->ino);
	}
	if (!difference && !S_ISLNK(node->mode))
		difference = compare_xattrs(compare, node, attr->ino);
	return difference || !S_ISDIR(node->mode) ? difference : compare_dir(compare, at, attr->ino);
}

static int compare_entry(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct compare *compare = arg;
	unsigned i = 0;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	while (i < FS_MODEL_NAMES && strcmp(name, name_of(i)))
		i++;
	if (i == FS_MODEL_NAMES || !compare->dir->entries[i] || (compare->dir_seen >> i & 1))
		compare->difference = "a name too many";
	compare->dir_seen |= i < FS_MODEL_NAMES ? 1u << i : 0;
	return 0;
}

static const char *compare_dir(struct compare *compare, unsigned at, uint64_t ino)
{
	const struct fs_node *dir = &compare->model->nodes[at];
	const char *difference = NULL;
	struct kvfs_attr attr;

	compare->dir = dir;
	compare->dir_seen = 0;
	if (kvfs_readdir(compare->fs, ino, 0, false, compare_entry, compare))
		return "a directory cannot be listed";
	if (compare->difference)
		return compare->difference;
	for (unsigned i = 0; i < FS_MODEL_NAMES; i++)
		if (dir->entries[i] && !(compare->dir_seen >> i & 1))
			return "a name is missing";
	for (unsigned i = 0; i < FS_MODEL_NAMES && !difference; i++) {
		if (!dir->entries[i])
			continue;
		if (kvfs_lookup(compare->fs, ino, name_of(i), &attr))
			return "a name leads nowhere";
		difference = compare_node(compare, dir->entries[i], &attr);
	}
	return difference;
}

/* A small file that lost its last name while it was held may live on in memory only. */
static bool may_be_in_memory(const struct fs_model *model)
{
	const struct fs_node *held = &model->nodes[model->held];

	return model->held && !held->nlink && !held->never_named;
}

/* Every file has an inode and no inode is left over. */
static const char *compare_count(struct compare *compare)
{
	struct kvfs_statfs found;
	uint64_t count = 0, used;

	for (unsigned i = 0; i < FS_MODEL_NODES; i++)
		count += compare->model->nodes[i].mode != 0;
	if (kvfs_statfs(compare->fs, &found))
		return "it cannot be counted";
	used = found.files - found.files_free;
	if (used == count || (used + 1 == count && may_be_in_memory(compare->model)))
		return NULL;
	return "another number of inodes";
}

static const char *compare_tree(const struct fs_model *model, struct kvfs *fs)
{
	struct compare compare = {.model = model, .fs = fs};
	struct kvfs_attr attr;
	const char *difference;

	if (kvfs_getattr(fs, KVFS_ROOT_INO, &attr))
		return "there is no root";
	difference = compare_node(&compare, 0, &attr);
	return difference || kvfs_is_snapshot(fs) ? difference : compare_count(&compare);
}

static const char *compare_snapshot(const struct fs_model *model, struct kvfs *fs, unsigned number)
{
	const char *difference;
	struct kvfs *snapshot;
	int error = kvfs_snapshot_open(fs, snapshot_name(number), &snapshot);

	if (error == -ENOENT)
		return model->snapshots[number] ? "a snapshot is missing" : NULL;
	if (error)
		return "a snapshot cannot be opened";
	difference = model->snapshots[number] ? compare_tree(model->snapshots[number], snapshot) :
						"a snapshot too many";
	(void)kvfs_close(snapshot);
	return difference;
}

const char *fs_model_compare(const struct fs_model *model, struct kvfs *fs)
{
	const char *difference = compare_tree(model, fs);

	for (unsigned i = 0; i < FS_MODEL_SNAPSHOTS && !difference; i++)
		difference = compare_snapshot(model, fs, i);
	return difference;
}
