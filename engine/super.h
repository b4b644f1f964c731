/* SPDX-License-Identifier: MIT */
/*
 * super.h - finding a store's superblock: in its file, or, if that is damaged, in one of the copies
 * that segments have.
 */
#ifndef SUPER_H
#define SUPER_H

#include "env.h"
#include "format.h"

/*
 * file: of the superblock, or NULL. *damaged: it is not valid, and what is in `out` is a copy. One
 * that not all segments agree with is none. Of one that says it is newer FORMAT.md tells when that
 * is damage.
 * *why, on an error: for people. 0, -EMEDIUMTYPE, -EPROTONOSUPPORT, -EUCLEAN, -EIO, and what
 * opening is refused with (env_open_was_refused)
 */
int super_read(struct kv_env *env, struct env_dir *dir, struct env_file *file,
	       struct format_super *out, bool *damaged, const char **why);

#endif
