/* SPDX-License-Identifier: MIT */
/*
 * fs_model.c - see fs_model.h: the model. fs_model_store.c does the same to a store and compares.
 */
#include "fs_model.h"

#include <stdlib.h>
#include <string.h>

#include "fs_model_bytes.h"

static void *must_have(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

void fs_model_init(struct fs_model *model)
{
	memset(model, 0, sizeof(*model));
	model->nodes[0].mode = S_IFDIR | 0755;
	model->nodes[0].nlink = 2;
}

void fs_model_fini(struct fs_model *model)
{
	for (unsigned i = 0; i < FS_MODEL_NODES; i++)
		free(model->nodes[i].data);
	for (unsigned i = 0; i < FS_MODEL_SNAPSHOTS; i++) {
		if (model->snapshots[i])
			fs_model_fini(model->snapshots[i]);
		free(model->snapshots[i]);
	}
}

/* The tree alone; what `to` had is somebody else's by now. */
static void copy_tree(struct fs_model *to, const struct fs_model *from)
{
	*to = *from;
	memset(to->snapshots, 0, sizeof(to->snapshots));
	for (unsigned i = 0; i < FS_MODEL_NODES; i++) {
		if (!from->nodes[i].data)
			continue;
		to->nodes[i].data = must_have(malloc(FS_MODEL_FILE_MAX));
		memcpy(to->nodes[i].data, from->nodes[i].data, FS_MODEL_FILE_MAX);
	}
}

static struct fs_model *snapshot_of(const struct fs_model *model)
{
	struct fs_model *snapshot = must_have(malloc(sizeof(*snapshot)));

	copy_tree(snapshot, model);
	fs_model_closed(snapshot);
	return snapshot;
}

void fs_model_copy(struct fs_model *to, const struct fs_model *from)
{
	fs_model_fini(to);
	copy_tree(to, from);
	for (unsigned i = 0; i < FS_MODEL_SNAPSHOTS; i++) {
		if (from->snapshots[i])
			to->snapshots[i] = snapshot_of(from->snapshots[i]);
	}
}

/* ---- nodes and names ------------------------------------------------------------------------- */

struct place {
	unsigned dir; /* node of the directory */
	unsigned name;
	unsigned node; /* 0: nothing there */
};

/* Where the path leads; false: its directory is none. */
static bool find(const struct fs_model *model, uint8_t path, struct place *out)
{
	unsigned first = path >> 4;

	out->dir = first ? model->nodes[0].entries[first - 1] : 0;
	out->name = path & 15;
	if (first && (!out->dir || !S_ISDIR(model->nodes[out->dir].mode)))
		return false;
	out->node = model->nodes[out->dir].entries[out->name];
	return true;
}

static unsigned node_new(struct fs_model *model, uint32_t mode)
{
	for (unsigned i = 1; i < FS_MODEL_NODES; i++) {
		if (model->nodes[i].mode)
			continue;
		model->nodes[i] = (struct fs_node){.mode = mode};
		return i;
	}
	return 0;
}

bool fs_model_is_full(const struct fs_model *model)
{
	for (unsigned i = 1; i < FS_MODEL_NODES; i++)
		if (!model->nodes[i].mode)
			return false;
	return true;
}

static void drop_if_gone(struct fs_model *model, unsigned node)
{
	struct fs_node *gone = &model->nodes[node];

	if (!node || gone->nlink || model->held == node)
		return;
	free(gone->data);
	memset(gone, 0, sizeof(*gone));
}

static bool is_empty(const struct fs_node *dir)
{
	for (unsigned i = 0; i < FS_MODEL_NAMES; i++)
		if (dir->entries[i])
			return false;
	return true;
}

static void enter(struct fs_model *model, const struct place *place, unsigned node)
{
	bool dir = S_ISDIR(model->nodes[node].mode);

	model->nodes[place->dir].entries[place->name] = (uint8_t)node;
	model->nodes[place->dir].nlink += dir;
	model->nodes[node].nlink += dir ? 2 : 1;
	model->nodes[node].never_named = false;
}

static void leave(struct fs_model *model, const struct place *place)
{
	bool dir = S_ISDIR(model->nodes[place->node].mode);

	model->nodes[place->dir].entries[place->name] = 0;
	model->nodes[place->dir].nlink -= dir;
	model->nodes[place->node].nlink -= dir ? 2 : 1;
	drop_if_gone(model, place->node);
}

/* ---- operations ------------------------------------------------------------------------------ */

static bool make(struct fs_model *model, const struct fs_op *op)
{
	static const uint32_t modes[] = {
		[FS_OP_CREATE] = S_IFREG | 0644,
		[FS_OP_MKDIR] = S_IFDIR | 0755,
		[FS_OP_SYMLINK] = S_IFLNK | 0777,
	};
	struct place place;
	unsigned node;

	if (!find(model, op->path, &place) || place.node)
		return false;
	node = node_new(model, modes[op->kind]);
	if (!node)
		return false;
	enter(model, &place, node);
	if (op->kind == FS_OP_SYMLINK) {
		model->nodes[node].size = fs_target_size(op->size);
		model->nodes[node].data = must_have(calloc(1, FS_MODEL_FILE_MAX));
		fs_target(model->nodes[node].data, op->size, op->stamp);
	}
	return true;
}

static bool make_link(struct fs_model *model, const struct fs_op *op)
{
	struct place from, to;

	if (!find(model, op->path, &from) || !from.node || !find(model, op->other, &to) ||
		to.node || S_ISDIR(model->nodes[from.node].mode))
		return false;
	enter(model, &to, from.node);
	return true;
}

/* Would the node be in itself there? */
static bool is_inside(const struct place *place, unsigned node)
{
	return place->dir == node;
}

static bool may_replace(const struct fs_model *model, unsigned node, unsigned old)
{
	bool dir = S_ISDIR(model->nodes[node].mode);

	if (!old)
		return true;
	return dir == S_ISDIR(model->nodes[old].mode) && (!dir || is_empty(&model->nodes[old]));
}

static bool make_rename(struct fs_model *model, const struct fs_op *op)
{
	struct place from, to;
	unsigned node;

	if (!find(model, op->path, &from) || !from.node || !find(model, op->other, &to) ||
		is_inside(&to, from.node))
		return false;
	if (from.node == to.node)
		return true;
	if (!may_replace(model, from.node, to.node) || (to.node && is_inside(&from, to.node)))
		return false;
	if (to.node)
		leave(model, &to);
	node = from.node;
	/* Entered first, so that it is not dropped in between. */
	enter(model, &to, node);
	leave(model, &from);
	return true;
}

static bool exchange(struct fs_model *model, const struct fs_op *op)
{
	struct place one, two;

	if (!find(model, op->path, &one) || !one.node || !find(model, op->other, &two) ||
		!two.node || is_inside(&two, one.node) || is_inside(&one, two.node))
		return false;
	if (one.node == two.node)
		return true;
	model->nodes[one.dir].nlink -= S_ISDIR(model->nodes[one.node].mode);
	model->nodes[two.dir].nlink -= S_ISDIR(model->nodes[two.node].mode);
	model->nodes[one.dir].entries[one.name] = (uint8_t)two.node;
	model->nodes[two.dir].entries[two.name] = (uint8_t)one.node;
	model->nodes[one.dir].nlink += S_ISDIR(model->nodes[two.node].mode);
	model->nodes[two.dir].nlink += S_ISDIR(model->nodes[one.node].mode);
	return true;
}

static bool take_away(struct fs_model *model, const struct fs_op *op)
{
	struct place place;
	bool dir = op->kind == FS_OP_RMDIR;

	if (!find(model, op->path, &place) || !place.node ||
		dir != S_ISDIR(model->nodes[place.node].mode) ||
		(dir && !is_empty(&model->nodes[place.node])))
		return false;
	leave(model, &place);
	return true;
}

static void need_data(struct fs_node *node)
{
	if (!node->data)
		node->data = must_have(calloc(1, FS_MODEL_FILE_MAX));
}

static bool write_to(struct fs_node *node, const struct fs_op *op)
{
	if (!op->size)
		return true;
	need_data(node);
	fs_bytes(node->data + op->offset, op->size, op->stamp);
	if (node->size < op->offset + op->size)
		node->size = op->offset + op->size;
	return true;
}

static bool change_file(struct fs_model *model, const struct fs_op *op)
{
	struct place place;
	struct fs_node *node;
	uint64_t end = (uint64_t)op->offset + op->size;

	if (!find(model, op->path, &place) || !place.node ||
		!S_ISREG(model->nodes[place.node].mode))
		return false;
	node = &model->nodes[place.node];
	if (op->kind == FS_OP_WRITE)
		return write_to(node, op);
	need_data(node);
	if (op->kind == FS_OP_TRUNCATE) {
		if (op->size < node->size)
			memset(node->data + op->size, 0, node->size - op->size);
		node->size = op->size;
		return true;
	}
	if (!op->size)
		return false;
	if (op->offset < node->size)
		memset(node->data + op->offset, 0,
			(end < node->size ? end : node->size) - op->offset);
	return true;
}

/* The two files of a copy. False: they are not there. */
static bool copied_files(struct fs_model *model, const struct fs_op *op, struct fs_node **source,
	struct fs_node **target)
{
	struct place from, to;

	if (!find(model, op->path, &from) || !from.node || !find(model, op->other, &to) ||
		!to.node || !S_ISREG(model->nodes[from.node].mode) ||
		!S_ISREG(model->nodes[to.node].mode))
		return false;
	*source = &model->nodes[from.node];
	*target = &model->nodes[to.node];
	return true;
}

static bool copy_range(struct fs_model *model, const struct fs_op *op)
{
	struct fs_copy_range range;
	struct fs_node *source, *target;

	if (!copied_files(model, op, &source, &target))
		return false;
	range = fs_copy_range(op, source->size);
	if (!range.size)
		return true;
	if (source == target && fs_copy_overlaps(range))
		return false;
	need_data(source);
	need_data(target);
	memcpy(target->data + range.to, source->data + range.from, range.size);
	if (target->size < range.to + range.size)
		target->size = range.to + range.size;
	return true;
}

/* A step ends at a chunk's end where chunks can be shared, otherwise behind so many bytes. */
#define CHUNK ((uint64_t)64 << 10)
#define COPY_BYTES_MAX ((uint64_t)256 << 10)

uint64_t fs_model_copy_step(const struct fs_model *model, const struct fs_op *op, uint64_t done)
{
	struct fs_copy_range range;
	struct fs_node *source, *target;
	uint64_t step;

	if (op->kind != FS_OP_COPY ||
		!copied_files((struct fs_model *)model, op, &source, &target))
		return 0;
	range = fs_copy_range(op, source->size);
	step = range.from % CHUNK == range.to % CHUNK ? CHUNK - (range.from + done) % CHUNK :
							 COPY_BYTES_MAX;
	return done + step < range.size ? done + step : 0;
}

static bool change_attributes(struct fs_model *model, const struct fs_op *op)
{
	unsigned which = op->offset % FS_MODEL_XATTRS;
	struct place place;
	struct fs_node *node;

	if (!find(model, op->path, &place) || !place.node)
		return false;
	node = &model->nodes[place.node];
	if (S_ISLNK(node->mode))
		return false;
	if (op->kind == FS_OP_CHMOD) {
		node->mode = (node->mode & S_IFMT) | (op->size & 0777);
		return true;
	}
	if (op->kind == FS_OP_REMOVEXATTR && !node->xattrs[which].size)
		return false;
	node->xattrs[which].size = op->kind == FS_OP_SETXATTR ? fs_xattr_size(op->size) : 0;
	node->xattrs[which].stamp = op->stamp;
	return true;
}

static void hold(struct fs_model *model, unsigned node)
{
	unsigned old = model->held;

	model->held = node;
	drop_if_gone(model, old);
}

static bool hold_path(struct fs_model *model, const struct fs_op *op)
{
	struct place place;

	if (!find(model, op->path, &place) || !place.node ||
		!S_ISREG(model->nodes[place.node].mode))
		return false;
	hold(model, place.node);
	return true;
}

static bool hold_new(struct fs_model *model)
{
	if (fs_model_is_full(model))
		return false;
	hold(model, node_new(model, S_IFREG | 0600));
	model->nodes[model->held].never_named = true;
	return true;
}

static bool link_held(struct fs_model *model, const struct fs_op *op)
{
	struct place to;

	if (!model->held || !find(model, op->path, &to) || to.node)
		return false;
	if (!model->nodes[model->held].nlink && !model->nodes[model->held].never_named)
		return false;
	enter(model, &to, model->held);
	return true;
}

/* Making, deleting and going back. */
static bool change_snapshot(struct fs_model *model, const struct fs_op *op)
{
	unsigned number = op->path % FS_MODEL_SNAPSHOTS;
	struct fs_model *snapshot = model->snapshots[number];
	struct fs_model *kept[FS_MODEL_SNAPSHOTS];

	if ((op->kind == FS_OP_SNAPSHOT) == !!snapshot)
		return false;
	if (op->kind == FS_OP_SNAPSHOT) {
		model->snapshots[number] = snapshot_of(model);
		return true;
	}
	if (op->kind == FS_OP_SNAPSHOT_DELETE) {
		fs_model_fini(snapshot);
		free(snapshot);
		model->snapshots[number] = NULL;
		return true;
	}
	memcpy(kept, model->snapshots, sizeof(kept));
	memset(model->snapshots, 0, sizeof(model->snapshots));
	fs_model_fini(model);
	copy_tree(model, snapshot);
	memcpy(model->snapshots, kept, sizeof(kept));
	return true;
}

bool fs_model_apply(struct fs_model *model, const struct fs_op *op)
{
	switch (op->kind) {
	case FS_OP_CREATE:
	case FS_OP_MKDIR:
	case FS_OP_SYMLINK:
		return make(model, op);
	case FS_OP_LINK:
		return make_link(model, op);
	case FS_OP_RENAME:
		return make_rename(model, op);
	case FS_OP_EXCHANGE:
		return exchange(model, op);
	case FS_OP_UNLINK:
	case FS_OP_RMDIR:
		return take_away(model, op);
	case FS_OP_WRITE:
	case FS_OP_TRUNCATE:
	case FS_OP_PUNCH:
		return change_file(model, op);
	case FS_OP_SETXATTR:
	case FS_OP_REMOVEXATTR:
	case FS_OP_CHMOD:
		return change_attributes(model, op);
	case FS_OP_HOLD:
		return hold_path(model, op);
	case FS_OP_TMPFILE:
		return hold_new(model);
	case FS_OP_LINK_HELD:
		return link_held(model, op);
	case FS_OP_WRITE_HELD:
		return model->held && write_to(&model->nodes[model->held], op);
	case FS_OP_SNAPSHOT:
	case FS_OP_SNAPSHOT_DELETE:
	case FS_OP_ROLLBACK:
		return change_snapshot(model, op);
	case FS_OP_COPY:
		return copy_range(model, op);
	case FS_OP_LET_GO:
		hold(model, 0);
		return true;
	default:
		return false;
	}
}

void fs_model_closed(struct fs_model *model)
{
	hold(model, 0);
}

struct fs_op fs_op_from(const uint8_t bytes[8], uint64_t stamp)
{
	static const uint32_t offsets[] = {1, 100, 4096, 65536},
			      sizes[] = {100, 5000, 70000, 150000};
	unsigned first = bytes[1] >> 4, other = bytes[2] >> 4;
	uint32_t offset = (uint32_t)(bytes[3] | bytes[4] << 8),
		 size = (uint32_t)(bytes[5] | bytes[6] << 8);

	return (struct fs_op){
		.kind = bytes[0] % FS_OP_KINDS,
		/* Half of all paths have one name. */
		.path = first < 8 ? FS_TOP((bytes[1] & 15) % FS_MODEL_NAMES)
				  : FS_PATH((first - 8) % FS_MODEL_NAMES,
					    (bytes[1] & 15) % FS_MODEL_NAMES),
		.other = other < 8 ? FS_TOP((bytes[2] & 15) % FS_MODEL_NAMES)
				   : FS_PATH((other - 8) % FS_MODEL_NAMES,
					     (bytes[2] & 15) % FS_MODEL_NAMES),
		.offset = offset * offsets[bytes[7] & 3] % (FS_MODEL_FILE_MAX / 2),
		.size = size % sizes[bytes[7] >> 2 & 3],
		.stamp = stamp,
	};
}
