/* SPDX-License-Identifier: MIT */
/*
 * sim_names.h - the directory of the simulated disk: what programs see, what the medium has, and
 * the changes between.
 *
 * Threads: none; the disk (sim_env.c) serializes.
 */
#ifndef SIM_NAMES_H
#define SIM_NAMES_H

#include <stdbool.h>

#include "sim_file.h"

#define SIM_NAME_SIZE_MAX 32u /* bytes, with the NUL */
#define SIM_NAMES_MAX 1024u

struct sim_name {
	char text[SIM_NAME_SIZE_MAX];
	struct sim_file *file;
};

struct sim_name_table {
	struct sim_name entries[SIM_NAMES_MAX];
	unsigned count;
};

struct sim_name_change; /* a creation, renaming or removal that no dir_sync has covered */

struct sim_names {
	struct sim_name_table live, durable;
	struct sim_name_change *changes; /* oldest first */
	struct sim_name_change **changes_end;
};

void sim_names_init(struct sim_names *names);
void sim_names_fini(struct sim_names *names);

/* 0, -EINVAL or -ENAMETOOLONG */
int sim_name_check(const char *text);
/* The file that programs see under this name, or NULL. */
struct sim_file *sim_names_find(const struct sim_names *names, const char *text);

/* Changes that the power may undo until sim_names_sync; the names are valid and the old one exists.
 * -ENOMEM, -ENOSPC */
int sim_names_create(struct sim_names *names, const char *text, struct sim_file *file);
int sim_names_rename(struct sim_names *names, const char *from, const char *to);
int sim_names_unlink(struct sim_names *names, const char *text);
void sim_names_sync(struct sim_names *names);
/* The power fails and comes back: each change is kept or not, in any combination. */
void sim_names_lose(struct sim_names *names, enum sim_loss loss, struct sim_random *random);
/* Has the file a name, for programs or on the medium? */
bool sim_names_hold(const struct sim_names *names, const struct sim_file *file);

#endif
