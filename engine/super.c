/* SPDX-License-Identifier: MIT */
/* super.c - see super.h. */
#include "super.h"

#include <errno.h>

struct search {
	struct kv_env *env;
	struct env_dir *dir;
	struct format_super *out;
	bool found;
};

/* -EUCLEAN: segments of more than one store */
static int look_into(void *arg, const char *name)
{
	struct search *search = arg;
	struct format_super super;
	uint8_t page[FORMAT_SEGMENT_HEADER_SIZE];
	struct env_file *file;
	int error;

	if (format_segment_slot(name) < 0 ||
	    search->env->file_open(search->dir, name, ENV_READ_ONLY, &file))
		return 0;
	error = search->env->file_read(file, page, sizeof(page), 0);
	search->env->file_close(file);
	if (error || format_page_super(page, &super))
		return 0;
	if (search->found && memcmp(super.uuid, search->out->uuid, sizeof(super.uuid)) != 0)
		return -EUCLEAN;
	search->found = true;
	*search->out = super;
	return 0;
}

int super_read(struct kv_env *env, struct env_dir *dir, struct env_file *file,
	       struct format_super *out, bool *damaged, const char **why)
{
	struct search search = {.env = env, .dir = dir, .out = out};
	int searched, error = file ? env->file_read(file, out, sizeof(*out), 0) : -EMEDIUMTYPE;

	*damaged = false;
	*why = "it has no superblock";
	if (error == -ENODATA) {
		*why = "its superblock is too short";
		error = -EMEDIUMTYPE;
	} else if (!error) {
		error = format_super_validate(out, why);
	}
	if (!error || error == -EPROTONOSUPPORT)
		return error;
	searched = env->dir_list(dir, look_into, &search);
	if (searched == -EUCLEAN) {
		*why = "its superblock is missing or damaged, and its segments are of two stores";
		return searched;
	}
	if (!search.found)
		return error;
	*damaged = true;
	return 0;
}
