/* SPDX-License-Identifier: MIT */
/*
 * env_dir.h - the part of env_system that is about directories and names in them; env.h says what
 * each function does.
 *
 * Threads: any; a directory has no state but its descriptor, which never changes.
 */
#ifndef ENV_DIR_H
#define ENV_DIR_H

#include "env.h"

struct env_dir {
	int fd;
};

int env_dir_create(struct kv_env *env, const char *path);
int env_dir_open(struct kv_env *env, const char *path, struct env_dir **out);
void env_dir_close(struct env_dir *dir);
int env_dir_sync(struct env_dir *dir);
int env_dir_list(struct env_dir *dir, int (*entry)(void *arg, const char *name), void *arg);
int env_dir_space(struct env_dir *dir, uint64_t *avail_bytes, uint64_t *total_bytes);
int env_rename(struct env_dir *dir, const char *from, const char *to);
int env_unlink(struct env_dir *dir, const char *name);

/* It names something in a directory, and nothing in another one. */
bool env_name_is_valid(const char *name);

#endif
