/* SPDX-License-Identifier: MIT */
/* env_world.c - see env_world.h. */
#include "env_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void world_open(struct world *world)
{
	assert_int_equal(world->env->dir_create(world->env, world->path), 0);
	assert_int_equal(world->env->dir_open(world->env, world->path, &world->dir), 0);
}

int system_setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	const char *folder = getenv("TMPDIR");
	char parent[sizeof(world->path) - sizeof("/store")];

	assert_non_null(world);
	snprintf(parent, sizeof(parent), "%s/env_test.XXXXXX", folder ? folder : "/tmp");
	assert_non_null(mkdtemp(parent));
	world->env = env_system();
	snprintf(world->path, sizeof(world->path), "%s/store", parent);
	world_open(world);
	*state = world;
	return 0;
}

static int remove_entry(void *arg, const char *name)
{
	struct world *world = arg;

	return world->env->unlink(world->dir, name);
}

int system_teardown(void **state)
{
	struct world *world = *state;

	assert_int_equal(world->env->dir_list(world->dir, remove_entry, world), 0);
	world->env->dir_close(world->dir);
	rmdir(world->path);
	*strrchr(world->path, '/') = '\0';
	rmdir(world->path);
	free(world);
	return 0;
}

int sim_setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 1}, &world->sim), 0);
	world->env = sim_env_table(world->sim);
	strcpy(world->path, "store");
	world_open(world);
	*state = world;
	return 0;
}

int sim_teardown(void **state)
{
	struct world *world = *state;

	world->env->dir_close(world->dir);
	assert_int_equal(sim_env_power_on(world->sim, SIM_LOSS_NONE), 0);
	sim_env_free(world->sim);
	free(world);
	return 0;
}

struct env_file *file_make(struct world *world, const char *name, uint64_t size)
{
	struct env_file *file;

	assert_int_equal(
		world->env->file_open(world->dir, name, ENV_CREATE | ENV_DIRECT, &file), 0);
	assert_int_equal(world->env->file_allocate(file, size), 0);
	assert_int_equal(world->env->file_sync(file), 0);
	assert_int_equal(world->env->dir_sync(world->dir), 0);
	return file;
}
