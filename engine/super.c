/* SPDX-License-Identifier: MIT */
/* super.c - see super.h. */
#include "super.h"

#include <errno.h>

struct search {
	struct kv_env *env;
	struct env_dir *dir;
	const struct format_super *newer; /* what says that it is, and may be damaged; NULL */
	struct format_super *out;
	bool found;
	bool found_newer; /* a copy that says so as well */
};

/* -EUCLEAN: segments of more than one store; or what opening is refused with */
static int look_into(void *arg, const char *name)
{
	struct search *search = arg;
	struct format_super super;
	uint8_t page[FORMAT_SEGMENT_HEADER_SIZE];
	struct env_file *file;
	int error;

	if (format_segment_slot(name) < 0)
		return 0;
	error = search->env->file_open(search->dir, name, ENV_READ_ONLY, &file);
	if (error)
		return env_open_was_refused(error) ? error : 0;
	error = search->env->file_read(file, page, sizeof(page), 0);
	search->env->file_close(file);
	if (!error)
		error = format_page_super(page, &super);
	search->found_newer |= error == -EPROTONOSUPPORT;
	if (error)
		return 0;
	/* Another store's tells nothing of this one's version. */
	if (search->newer && memcmp(super.uuid, search->newer->uuid, sizeof(super.uuid)) != 0)
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
	struct format_super super;
	struct search search = {.env = env, .dir = dir, .out = out};
	int searched, error = file ? env->file_read(file, &super, sizeof(super), 0) : -EMEDIUMTYPE;

	*damaged = false;
	*why = "it has no superblock";
	if (error == -ENODATA) {
		*why = "its superblock is too short";
		error = -EMEDIUMTYPE;
	} else if (!error) {
		error = format_super_validate(&super, why);
		if (!error)
			*out = super;
	}
	/* A version is raised in the copies first: one of this version tells of damage. */
	if (error == -EPROTONOSUPPORT)
		search.newer = &super;
	if (!error || (search.newer && format_super_is_sealed(&super)))
		return error;
	searched = env->dir_list(dir, look_into, &search);
	if (searched == -EUCLEAN) {
		*why = "its superblock is missing or damaged, and its segments are of two stores";
		return searched;
	}
	/* Nobody knows whether there is a copy, or of how many stores. */
	if (searched) {
		*why = "its superblock cannot be read, nor the files that have a copy";
		return searched;
	}
	if (!search.found || (search.newer && search.found_newer))
		return error;
	*damaged = true;
	return 0;
}
