/* SPDX-License-Identifier: MIT */
/*
 * change_model.c - which change comes next, and what it does to the model
 */
#include "change_model.h"
#include "pattern.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 4096u /* the smallest any kernel has */

void model_init(struct model *model, uint64_t seed)
{
	unsigned i;

	memset(model, 0, sizeof(*model));
	model->seed = seed;
	for (i = 0; i < MODEL_FILES; i++) {
		model->files[i].bytes = calloc(1, MODEL_FILE_SIZE_MAX);
		if (!model->files[i].bytes)
			err(2, "memory");
	}
}

void model_fini(struct model *model)
{
	unsigned i;

	for (i = 0; i < MODEL_FILES; i++)
		free(model->files[i].bytes);
}

void model_file_path(unsigned file, char path[32])
{
	snprintf(path, 32, "d%u/file%02u", file % MODEL_DIRECTORIES, file);
}

void model_toggle_path(unsigned toggle, char path[32])
{
	snprintf(path, 32, "toggle%u", toggle);
}

uint64_t model_bytes_seed(const struct model *model, const struct change *change)
{
	return model->seed + change->number;
}

static const enum change_kind kinds[32] = {CHANGE_CREATE, CHANGE_CREATE, CHANGE_WRITE, CHANGE_WRITE,
	CHANGE_WRITE, CHANGE_WRITE, CHANGE_WRITE, CHANGE_WRITE, CHANGE_WRITE, CHANGE_WRITE,
	CHANGE_WRITE, CHANGE_WRITE, CHANGE_APPEND, CHANGE_APPEND, CHANGE_APPEND, CHANGE_TRUNCATE,
	CHANGE_TRUNCATE, CHANGE_RENAME, CHANGE_RENAME, CHANGE_EXCHANGE, CHANGE_UNLINK,
	CHANGE_UNLINK, CHANGE_MARK, CHANGE_MARK, CHANGE_TOGGLE, CHANGE_TOGGLE, CHANGE_SYNC,
	CHANGE_SYNC, CHANGE_SYNC, CHANGE_SYNC, CHANGE_SYNC, CHANGE_SYNC};

/* Where a write goes: inside, across the end, or behind it; small mostly. */
static void pick_range(const struct model_file *file, uint64_t random, struct change *change)
{
	size_t size_max = random % 16 ? 4000 : MODEL_WRITE_SIZE_MAX;
	size_t reach = file->size + (random % 5 ? 1 : 40000);

	if (reach > MODEL_FILE_SIZE_MAX - MODEL_WRITE_SIZE_MAX)
		reach = MODEL_FILE_SIZE_MAX - MODEL_WRITE_SIZE_MAX;
	change->size = 1 + (random >> 8) % size_max;
	change->position = (random >> 32) % reach;
	change->durable = (random >> 28) % 16 == 0;
	/* the kernel cuts a write in two where its first page ends, unless it begins with that page
	 */
	if (change->position % PAGE_BYTES + change->size > PAGE_BYTES)
		change->position -= change->position % PAGE_BYTES;
}

struct change model_next(const struct model *model)
{
	uint64_t random = pattern_number(model->seed, model->done * 2);
	uint64_t more = pattern_number(model->seed, model->done * 2 + 1);
	struct change change = {
		.kind = kinds[random % 32],
		.number = model->done,
		.file = (random >> 8) % MODEL_FILES,
		.other = (random >> 24) % MODEL_FILES,
	};
	const struct model_file *file = &model->files[change.file];

	if (change.kind == CHANGE_SYNC || change.kind == CHANGE_TOGGLE)
		return change;
	if (!file->exists)
		change.kind = CHANGE_CREATE;
	else if (change.kind == CHANGE_CREATE)
		change.kind = CHANGE_WRITE;
	if (change.kind == CHANGE_RENAME && change.other == change.file)
		change.kind = CHANGE_UNLINK;
	if (change.kind == CHANGE_EXCHANGE &&
		(change.other == change.file || !model->files[change.other].exists))
		change.kind = CHANGE_WRITE;
	pick_range(file, more, &change);
	if (change.kind == CHANGE_APPEND) {
		change.position = file->size;
		if (change.position % PAGE_BYTES + change.size > PAGE_BYTES)
			change.size = PAGE_BYTES - change.position % PAGE_BYTES;
		if (file->size + change.size > MODEL_FILE_SIZE_MAX)
			change.kind = CHANGE_TRUNCATE;
	}
	if (change.kind == CHANGE_TRUNCATE)
		change.position %= file->size + 5000;
	return change;
}

static void file_clear(struct model_file *file)
{
	memset(file->bytes, 0, file->size);
	file->exists = false;
	file->size = 0;
	file->mark = 0;
}

static void file_write(struct model *model, const struct change *change)
{
	struct model_file *file = &model->files[change->file];

	pattern_fill(file->bytes + change->position, change->size, model_bytes_seed(model, change),
		change->position);
	if (file->size < change->position + change->size)
		file->size = change->position + change->size;
}

static void file_truncate(struct model_file *file, size_t size)
{
	if (size < file->size)
		memset(file->bytes + size, 0, file->size - size);
	file->size = size;
}

static void files_swap(struct model_file *a, struct model_file *b)
{
	struct model_file old = *a;

	*a = *b;
	*b = old;
}

void model_apply(struct model *model, const struct change *change)
{
	struct model_file *file = &model->files[change->file];
	struct model_file *other = &model->files[change->other];

	switch (change->kind) {
	case CHANGE_CREATE:
		file->exists = true;
		break;
	case CHANGE_WRITE:
	case CHANGE_APPEND:
		file_write(model, change);
		break;
	case CHANGE_TRUNCATE:
		file_truncate(file, change->position);
		break;
	case CHANGE_RENAME:
		file_clear(other);
		files_swap(file, other);
		break;
	case CHANGE_EXCHANGE:
		files_swap(file, other);
		break;
	case CHANGE_UNLINK:
		file_clear(file);
		break;
	case CHANGE_MARK:
		file->mark = change->number + 1;
		break;
	case CHANGE_TOGGLE:
		model->toggles[change->file % MODEL_TOGGLES] ^= true;
		break;
	case CHANGE_SYNC:
		break;
	}
	model->done++;
}
