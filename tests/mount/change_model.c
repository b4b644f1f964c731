/* SPDX-License-Identifier: MIT */
/*
 * change_model.c - which change comes next, and what it does to the model
 */
#include "change_model.h"
#include "pattern.h"

#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES 4096u /* the smallest any kernel has */

uint64_t model_seed(uint64_t seed, unsigned writer)
{
	return seed * 1000003 + writer * 100000007ull;
}

void model_init(struct model *model, uint64_t seed)
{
	unsigned char *bytes = mmap(NULL, MODEL_FILES * MODEL_FILE_SIZE_MAX, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned i;

	if (bytes == MAP_FAILED)
		err(2, "memory");
	memset(model, 0, sizeof(*model));
	model->seed = seed;
	for (i = 0; i < MODEL_FILES; i++)
		model->files[i].bytes = bytes + i * MODEL_FILE_SIZE_MAX;
}

void model_fini(struct model *model)
{
	munmap(model->files[0].bytes, MODEL_FILES * MODEL_FILE_SIZE_MAX);
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

/* How often each of them is wanted, in 64. */
static const struct {
	enum change_kind kind;
	unsigned share;
} wanted[] = {{CHANGE_CREATE, 4}, {CHANGE_WRITE, 16}, {CHANGE_APPEND, 5}, {CHANGE_TRUNCATE, 4},
	{CHANGE_RENAME, 4}, {CHANGE_EXCHANGE, 2}, {CHANGE_UNLINK, 4}, {CHANGE_LINK, 2},
	{CHANGE_UNNAMED, 2}, {CHANGE_COPY, 3}, {CHANGE_PUNCH, 2}, {CHANGE_ZERO, 1},
	{CHANGE_EXTEND, 1}, {CHANGE_MARK, 3}, {CHANGE_TOGGLE, 3}, {CHANGE_SYNC, 8}};

static enum change_kind pick_kind(unsigned random)
{
	size_t i = 0;

	while (random >= wanted[i].share)
		random -= wanted[i++].share;
	return wanted[i].kind;
}

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

/* What the state of the names allows. */
static enum change_kind possible_kind(const struct model *model, const struct change *change)
{
	const struct model_file *file = model->names[change->file];
	const struct model_file *other = model->names[change->other];

	switch (change->kind) {
	case CHANGE_SYNC: /* every other row has few */
		return model->seed % 2 && change->other ? CHANGE_TOGGLE : CHANGE_SYNC;
	case CHANGE_TOGGLE:
		return change->kind;
	case CHANGE_UNNAMED:
		return file ? CHANGE_WRITE : CHANGE_UNNAMED;
	case CHANGE_CREATE:
		return file ? CHANGE_WRITE : CHANGE_CREATE;
	default:
		break;
	}
	if (!file)
		return CHANGE_CREATE;
	switch (change->kind) {
	case CHANGE_RENAME: /* of two names of one file does nothing */
		return other == file ? CHANGE_UNLINK : CHANGE_RENAME;
	case CHANGE_EXCHANGE:
		return other == file || !other ? CHANGE_WRITE : CHANGE_EXCHANGE;
	case CHANGE_LINK:
		return other ? CHANGE_WRITE : CHANGE_LINK;
	case CHANGE_COPY: /* in one piece where nothing stays behind it */
		return other && other != file && file->size && other->size <= file->size
			? CHANGE_COPY
			: CHANGE_WRITE;
	default:
		return change->kind;
	}
}

struct change model_next(const struct model *model)
{
	static const struct model_file none;
	uint64_t random = pattern_number(model->seed, model->done * 2);
	uint64_t more = pattern_number(model->seed, model->done * 2 + 1);
	struct change change = {
		.kind = pick_kind(random % 64),
		.number = model->done,
		.file = (random >> 8) % MODEL_FILES,
		.other = (random >> 24) % MODEL_FILES,
	};
	const struct model_file *file = model->names[change.file];

	if (!file)
		file = &none;
	change.kind = possible_kind(model, &change);
	pick_range(file, more, &change);
	switch (change.kind) {
	case CHANGE_UNNAMED:
		change.position = 0;
		break;
	case CHANGE_APPEND:
		change.position = file->size;
		if (change.position % PAGE_BYTES + change.size > PAGE_BYTES)
			change.size = PAGE_BYTES - change.position % PAGE_BYTES;
		if (file->size + change.size > MODEL_FILE_SIZE_MAX)
			change.kind = CHANGE_TRUNCATE;
		break;
	case CHANGE_PUNCH: /* larger than what is written, or few blocks would ever go */
	case CHANGE_ZERO:
		change.size *= 8;
		if (change.size > MODEL_WRITE_SIZE_MAX)
			change.size = MODEL_WRITE_SIZE_MAX;
		break;
	default:
		break;
	}
	if (change.kind == CHANGE_TRUNCATE)
		change.position %= file->size + 5000;
	return change;
}

struct model_file *model_file_free(struct model *model)
{
	struct model_file *file = model->files;

	while (file->links)
		file++;
	return file;
}

static void name_make(struct model *model, unsigned name, struct model_file *file)
{
	model->names[name] = file;
	file->links++;
}

static void name_remove(struct model *model, unsigned name)
{
	struct model_file *file = model->names[name];

	model->names[name] = NULL;
	if (!file || --file->links)
		return;
	memset(file->bytes, 0, file->size);
	file->size = 0;
	file->mark = 0;
}

static void file_grow(struct model_file *file, size_t size)
{
	if (file->size < size)
		file->size = size;
}

static void file_write(struct model *model, const struct change *change)
{
	struct model_file *file = model->names[change->file];

	pattern_fill(file->bytes + change->position, change->size, model_bytes_seed(model, change),
		change->position);
	file_grow(file, change->position + change->size);
}

static void file_truncate(struct model_file *file, size_t size)
{
	if (size < file->size)
		memset(file->bytes + size, 0, file->size - size);
	file->size = size;
}

static void file_copy(const struct model_file *file, struct model_file *other)
{
	memcpy(other->bytes, file->bytes, file->size);
	other->size = file->size;
}

/* Zeros within its size. */
static void file_zero(struct model_file *file, size_t position, size_t size)
{
	if (position < file->size)
		memset(file->bytes + position, 0,
			size < file->size - position ? size : file->size - position);
}

static void names_swap(struct model *model, unsigned a, unsigned b)
{
	struct model_file *old = model->names[a];

	model->names[a] = model->names[b];
	model->names[b] = old;
}

void model_apply(struct model *model, const struct change *change)
{
	struct model_file *file = model->names[change->file];

	switch (change->kind) {
	case CHANGE_CREATE:
		name_make(model, change->file, model_file_free(model));
		break;
	case CHANGE_UNNAMED:
		name_make(model, change->file, model_file_free(model));
		file_write(model, change);
		break;
	case CHANGE_WRITE:
	case CHANGE_APPEND:
		file_write(model, change);
		break;
	case CHANGE_TRUNCATE:
		file_truncate(file, change->position);
		break;
	case CHANGE_COPY:
		file_copy(file, model->names[change->other]);
		break;
	case CHANGE_ZERO:
		file_grow(file, change->position + change->size);
		file_zero(file, change->position, change->size);
		break;
	case CHANGE_PUNCH:
		file_zero(file, change->position, change->size);
		break;
	case CHANGE_EXTEND:
		file_grow(file, change->position + change->size);
		break;
	case CHANGE_LINK:
		name_make(model, change->other, file);
		break;
	case CHANGE_RENAME:
		name_remove(model, change->other);
		names_swap(model, change->file, change->other);
		break;
	case CHANGE_EXCHANGE:
		names_swap(model, change->file, change->other);
		break;
	case CHANGE_UNLINK:
		name_remove(model, change->file);
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
