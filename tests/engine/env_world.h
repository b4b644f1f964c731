/* SPDX-License-Identifier: MIT */
/*
 * env_world.h - a directory to test the contract of env.h in: of the operating system, or on the
 * simulated disk.
 */
#ifndef ENV_WORLD_H
#define ENV_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "env.h"
#include "sim_env.h"

#define FILE_SIZE (1u << 20)

struct world {
	struct kv_env *env;
	struct sim_env *sim; /* NULL: the operating system */
	char path[512];
	struct env_dir *dir;
};

int system_setup(void **state);
int system_teardown(void **state);
int sim_setup(void **state);
int sim_teardown(void **state);

#define SYSTEM(test) cmocka_unit_test_setup_teardown(test, system_setup, system_teardown)
#define SIM(test) cmocka_unit_test_setup_teardown(test, sim_setup, sim_teardown)

/* A file of that size, durable, name and all. */
struct env_file *file_make(struct world *world, const char *name, uint64_t size);

#endif
