/* SPDX-License-Identifier: MIT */
/*
 * file_users.h - which processes have files open, mapped, or run them; as far as the asker may
 * know, and the asker aside.
 */
#ifndef FILE_USERS_H
#define FILE_USERS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Gives each process and file once: the path as the process has it. Files of one file system, by
 * number.
 */
typedef void file_user_fn(void *arg, pid_t pid, const char *program, const char *path);
void file_users_find(
	dev_t device, const uint64_t *inos, size_t count, file_user_fn *each, void *arg);

#endif
