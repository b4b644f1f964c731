/* SPDX-License-Identifier: MIT */
/* stray.c - see stray.h. */
#include "stray.h"

#include <errno.h>
#include <stdio.h>

#include "segment_file.h"

#define UUID_TEXT_SIZE 33u

/*
 * Of a disk that gives nothing now nothing is to be given up; of one that cannot give this page it
 * is as good as damaged.
 */
static bool gives_more(struct kv_env *env, struct env_file *file)
{
	uint8_t next[FORMAT_SEGMENT_HEADER_SIZE];

	return !env->file_read(file, next, sizeof(next), FORMAT_SEGMENT_HEADER_SIZE);
}

static int read_page(struct kv_env *env, struct env_dir *dir, uint32_t slot,
		     uint8_t page[FORMAT_SEGMENT_HEADER_SIZE])
{
	char name[FORMAT_SEGMENT_NAME_SIZE];
	struct env_file *file;
	int error;

	format_segment_name(slot, name);
	error = env->file_open(dir, name, ENV_READ_ONLY, &file);
	if (error)
		return error;
	error = segment_file_read_page(env, file, page);
	if (error == -ENODATA || (error == -EIO && gives_more(env, file)))
		error = 0;
	env->file_close(file);
	return error;
}

int stray_read(struct kv_env *env, struct env_dir *dir, const struct format_super *super,
	       uint32_t slot, enum stray_kind *kind, struct format_segment *header)
{
	uint8_t page[FORMAT_SEGMENT_HEADER_SIZE] = {0};
	int error = read_page(env, dir, slot, page);

	if (error == -EINVAL) {
		*kind = STRAY_NO_FILE;
		return 0;
	}
	if (error)
		return error;
	error = format_page_header(page, super->uuid, slot, super->segment_size, header);
	if (error && error != -EUCLEAN)
		return error;
	if (!error)
		*kind = STRAY_NONE;
	else if (format_page_any(page, header))
		*kind = STRAY_LOST;
	else if (memcmp(header->uuid, super->uuid, sizeof(header->uuid)) != 0 ||
		 header->size != super->segment_size)
		*kind = STRAY_FOREIGN;
	else
		*kind = STRAY_MISNAMED;
	return 0;
}

static void uuid_tell(const uint8_t uuid[16], char text[UUID_TEXT_SIZE])
{
	unsigned i;

	for (i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", uuid[i]);
}

void stray_tell(enum stray_kind kind, const struct format_segment *header,
		const struct format_super *super, char text[STRAY_TEXT_SIZE])
{
	char its[UUID_TEXT_SIZE], ours[UUID_TEXT_SIZE], name[FORMAT_SEGMENT_NAME_SIZE];

	if (kind == STRAY_MISNAMED) {
		format_segment_name(header->slot, name);
		snprintf(text, STRAY_TEXT_SIZE, "is %s of this store under another name", name);
		return;
	}
	uuid_tell(header->uuid, its);
	uuid_tell(super->uuid, ours);
	snprintf(text, STRAY_TEXT_SIZE, "is of another store, %s; this one is %s", its, ours);
}
