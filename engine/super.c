/* SPDX-License-Identifier: MIT */
/* super.c - see super.h. */
#include "super.h"

#include <errno.h>

struct search {
	struct kv_env *env;
	struct env_dir *dir;
	struct format_super *out;
};

/* 1: found */
static int look_into(void *arg, const char *name)
{
	const struct search *search = arg;
	uint8_t page[FORMAT_SEGMENT_HEADER_SIZE];
	struct env_file *file;
	int error;

	if (format_segment_slot(name) < 0 ||
	    search->env->file_open(search->dir, name, ENV_READ_ONLY, &file))
		return 0;
	error = search->env->file_read(file, page, sizeof(page), 0);
	search->env->file_close(file);
	return !error && !format_page_super(page, search->out);
}

int super_read(struct kv_env *env, struct env_dir *dir, struct env_file *file,
	       struct format_super *out, bool *damaged, const char **why)
{
	struct search search = {env, dir, out};
	int found, error = file ? env->file_read(file, out, sizeof(*out), 0) : -EMEDIUMTYPE;

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
	found = env->dir_list(dir, look_into, &search);
	if (found <= 0)
		return error;
	*damaged = true;
	return 0;
}
