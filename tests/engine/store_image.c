/* SPDX-License-Identifier: MIT */
/* store_image.c - see store_image.h. */
#include "store_image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZEROS_AT_ONCE 251u
#define CAPACITY (64u << 20)     /* of a disk, beside what the files take */
#define FILE_SIZE_MAX (4u << 20) /* what every disk takes */

struct taking {
	struct store_image *image;
	struct sim_env *sim;
};

static int take_file(void *arg, const char *name)
{
	struct taking *taking = arg;
	struct store_image_file *file = &taking->image->files[taking->image->count++];
	const uint8_t *bytes = sim_env_bytes(taking->sim, name, &file->size);

	assert_true(taking->image->count <= STORE_IMAGE_FILES_MAX);
	assert_non_null(bytes);
	snprintf(file->name, sizeof(file->name), "%s", name);
	file->bytes = malloc(file->size + 1);
	assert_non_null(file->bytes);
	memcpy(file->bytes, bytes, file->size);
	file->used = file->size;
	while (file->used > 0 && !bytes[file->used - 1])
		file->used--;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct store_image_file *)a)->name,
		((const struct store_image_file *)b)->name);
}

void store_image_take(struct store_image *image, struct sim_env *sim, const char *path)
{
	struct taking taking = {image, sim};
	struct kv_env *env = sim_env_table(sim);
	struct env_dir *dir;

	image->count = 0;
	assert_int_equal(env->dir_open(env, path, &dir), 0);
	assert_int_equal(env->dir_list(dir, take_file, &taking), 0);
	env->dir_close(dir);
	qsort(image->files, image->count, sizeof(image->files[0]), by_name);
}

void store_image_free(struct store_image *image)
{
	for (unsigned i = 0; i < image->count; i++)
		free(image->files[i].bytes);
	image->count = 0;
}

struct sim_env *store_image_mount(const struct store_image *image, const char *path)
{
	struct sim_options options = {.seed = 7, .capacity = CAPACITY};
	struct sim_env *sim;

	for (unsigned i = 0; i < image->count; i++) {
		uint64_t size = image->files[i].size;

		options.capacity += 2 * size;
		if (2 * size > options.file_size_max)
			options.file_size_max = 2 * size;
	}
	/* Small ones all have the same, which the disk keeps for the next one. */
	if (options.file_size_max < FILE_SIZE_MAX)
		options.file_size_max = FILE_SIZE_MAX;
	assert_int_equal(sim_env_new(&options, &sim), 0);
	assert_int_equal(sim_env_make_dir(sim, path), 0);
	for (unsigned i = 0; i < image->count; i++) {
		const struct store_image_file *file = &image->files[i];

		assert_int_equal(sim_env_put_file(sim, file->name, file->bytes, file->used), 0);
		assert_int_equal(sim_env_resize(sim, file->name, file->size), 0);
	}
	return sim;
}

uint64_t store_image_next(const struct store_image_file *file, uint64_t at)
{
	static const uint8_t zeros[ZEROS_AT_ONCE + 16];

	if (at >= 8 && at + ZEROS_AT_ONCE + 8 <= file->size &&
		memcmp(file->bytes + at - 8, zeros, ZEROS_AT_ONCE + 16) == 0)
		return at + ZEROS_AT_ONCE;
	return at + 1;
}

const struct store_image_file *store_image_find(const struct store_image *image, const char *name)
{
	for (unsigned i = 0; i < image->count; i++) {
		if (strcmp(image->files[i].name, name) == 0)
			return &image->files[i];
	}
	return NULL;
}

/* Of the record at the offset, which is valid, as those of its batch are. */
static uint32_t batch_end(const struct store_image_file *file, uint32_t offset)
{
	const struct format_record *record;

	do {
		record = (const struct format_record *)(file->bytes + offset);
		offset += (uint32_t)format_record_length(record);
	} while (record->flags & FORMAT_RECORD_MORE);
	return offset;
}

static void each_of_segment(const struct store_image *image, unsigned number,
	store_image_each_fn *each, void *arg)
{
	const struct store_image_file *file = &image->files[number];
	struct store_image_record at = {.file = number, .offset = FORMAT_SEGMENT_HEADER_SIZE};
	struct format_segment header;
	bool led = false;

	memcpy(&header, file->bytes, sizeof(header));
	assert_int_equal(format_segment_slot(file->name), header.slot);
	at.slot = header.slot;
	at.cold = format_segment_is_cold(header.id);
	while (at.offset < file->size) {
		const struct format_record *record =
			(const struct format_record *)(file->bytes + at.offset);
		int64_t length = format_record_validate(
			record, file->size - at.offset, header.salt, FORMAT_KEYSPACES);

		if (length <= 0)
			return;
		at.record = record;
		at.length = (uint32_t)length;
		at.batch_end = batch_end(file, at.offset);
		at.led = led;
		each(arg, &at);
		led = format_record_is_bare(record) && (record->flags & FORMAT_RECORD_OLD);
		at.offset += (uint32_t)length;
	}
}

void store_image_records(const struct store_image *image, store_image_each_fn *each, void *arg)
{
	for (unsigned i = 0; i < image->count; i++) {
		if (format_segment_slot(image->files[i].name) >= 0)
			each_of_segment(image, i, each, arg);
	}
}
