/* SPDX-License-Identifier: MIT */
/* sim_env_test.c - the simulated disk of the tests: what it loses, when it fails. */
#include "env_world.h"

#include <errno.h>
#include <string.h>

static void test_sim_sync_survives(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;

	for (unsigned round = 0; round < 200; round++) {
		struct env_file *file = file_make(world, "a", 4096);
		uint64_t size;

		assert_int_equal(env->file_write(file, "synced", 6, 0, false), 0);
		assert_int_equal(env->file_write(file, "synced", 6, 600, true), 0);
		assert_int_equal(env->file_write(file, "lost", 4, 1024, false), 0);
		env->file_close(file);
		env->dir_close(world->dir);
		assert_int_equal(sim_env_power_on(world->sim, SIM_LOSS_ANY), 0);
		assert_memory_equal(sim_env_bytes(world->sim, "a", &size), "synced", 6);
		assert_memory_equal(sim_env_bytes(world->sim, "a", &size) + 600, "synced", 6);
		assert_int_equal(size, 4096);
		assert_int_equal(env->dir_open(env, world->path, &world->dir), 0);
		assert_int_equal(env->unlink(world->dir, "a"), 0);
		assert_int_equal(env->dir_sync(world->dir), 0);
	}
}

/* Of a write that was not synced every outcome must be seen: none, all, some sectors, garbage. */
static void test_sim_unsynced_varies(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	unsigned none = 0, all = 0, some = 0, garbage = 0, no_name = 0;
	uint8_t data[4096];

	memset(data, 'x', sizeof(data));
	for (unsigned round = 0; round < 200; round++) {
		struct env_file *file;
		const uint8_t *bytes;
		unsigned sectors = 0, torn = 0;
		uint64_t size;

		assert_int_equal(env->file_open(world->dir, "a", ENV_CREATE, &file), 0);
		assert_int_equal(env->file_allocate(file, sizeof(data)), 0);
		assert_int_equal(env->file_sync(file), 0);
		assert_int_equal(env->file_write(file, data, sizeof(data), 0, false), 0);
		env->file_close(file);
		env->dir_close(world->dir);
		assert_int_equal(sim_env_power_on(world->sim, SIM_LOSS_ANY), 0);
		assert_int_equal(env->dir_open(env, world->path, &world->dir), 0);
		bytes = sim_env_bytes(world->sim, "a", &size);
		no_name += !bytes;
		if (!bytes)
			continue;
		for (unsigned i = 0; i < sizeof(data); i += SIM_SECTOR_SIZE) {
			bool whole = memcmp(bytes + i, bytes + i + 1, SIM_SECTOR_SIZE - 1) == 0;

			assert_true(!whole || bytes[i] == 0 || bytes[i] == 'x');
			torn += !whole;
			sectors += whole && bytes[i] == 'x';
		}
		garbage += torn > 0;
		none += sectors + torn == 0;
		all += sectors == sizeof(data) / SIM_SECTOR_SIZE;
		some += sectors > 0 && sectors < sizeof(data) / SIM_SECTOR_SIZE;
		assert_int_equal(env->unlink(world->dir, "a"), 0);
		assert_int_equal(env->dir_sync(world->dir), 0);
	}
	assert_true(none > 5 && all > 5 && some > 5 && garbage > 5 && no_name > 5);
}

/* Of a block that was synced and is written again nothing changes but what the writer changed. */
static void test_sim_rewritten_keeps(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	struct env_file *file = file_make(world, "a", 4096);
	unsigned changed = 0;
	uint8_t data[4096];
	uint64_t size;

	memset(data, 'x', sizeof(data));
	for (unsigned round = 0; round < 100; round++) {
		const uint8_t *bytes;

		assert_int_equal(env->file_write(file, data, 1000, 0, true), 0);
		assert_int_equal(env->file_write(file, data, sizeof(data), 0, false), 0);
		env->file_close(file);
		env->dir_close(world->dir);
		assert_int_equal(sim_env_power_on(world->sim, SIM_LOSS_ANY), 0);
		bytes = sim_env_bytes(world->sim, "a", &size);
		assert_memory_equal(bytes, data, 1000);
		for (unsigned i = 1000; i < sizeof(data); i++)
			changed += bytes[i] != 0 && bytes[i] != 'x';
		assert_int_equal(env->dir_open(env, world->path, &world->dir), 0);
		assert_int_equal(env->unlink(world->dir, "a"), 0);
		file = file_make(world, "a", 4096);
	}
	assert_true(changed > 0);
	env->file_close(file);
}

/* What is given back is there or zeros. */
static void test_sim_released_has_no_garbage(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	unsigned there = 0, gone = 0;
	uint8_t data[8192];

	memset(data, 'x', sizeof(data));
	for (unsigned round = 0; round < 100; round++) {
		struct env_file *file = file_make(world, "a", sizeof(data));
		const uint8_t *bytes;
		uint64_t size;

		assert_int_equal(env->file_write(file, data, sizeof(data), 0, true), 0);
		assert_int_equal(env->file_release(file, 4096), 0);
		env->file_close(file);
		env->dir_close(world->dir);
		assert_int_equal(sim_env_power_on(world->sim, SIM_LOSS_ANY), 0);
		bytes = sim_env_bytes(world->sim, "a", &size);
		for (unsigned i = 4096; i < sizeof(data); i++) {
			assert_true(bytes[i] == 0 || bytes[i] == 'x');
			there += bytes[i] == 'x';
			gone += bytes[i] == 0;
		}
		assert_int_equal(env->dir_open(env, world->path, &world->dir), 0);
		assert_int_equal(env->unlink(world->dir, "a"), 0);
		assert_int_equal(env->dir_sync(world->dir), 0);
	}
	assert_true(there > 0 && gone > 0);
}

static void test_sim_cut(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	struct env_file *file = file_make(world, "a", 4096);
	char back[6];

	sim_env_cut_at(world->sim, sim_env_steps(world->sim) + 2);
	assert_int_equal(env->file_write(file, "first", 5, 0, true), 0);
	assert_int_equal(env->file_write(file, "second", 6, 512, true), -EIO);
	assert_true(sim_env_is_cut(world->sim));
	assert_int_equal(env->file_write(file, "third", 5, 1024, true), -EIO);
	assert_int_equal(env->file_read(file, back, 5, 0), -EIO);
	assert_int_equal(env->unlink(world->dir, "a"), -EIO);
	env->file_close(file);
	env->dir_close(world->dir);
	assert_int_equal(sim_env_power_on(world->sim, SIM_LOSS_ANY), 0);
	assert_int_equal(env->dir_open(env, world->path, &world->dir), 0);
	assert_int_equal(env->file_open(world->dir, "a", 0, &file), 0);
	assert_int_equal(env->file_read(file, back, 5, 0), 0);
	assert_memory_equal(back, "first", 5);
	env->file_close(file);
}

static void test_sim_faults(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	struct env_file *file = file_make(world, "a", 8192);
	const void *map;
	char back[8];

	sim_env_fail(world->sim, SIM_FAULT_WRITE, 2, 1, -EIO);
	assert_int_equal(env->file_write(file, "one", 3, 0, false), 0);
	assert_int_equal(env->file_write(file, "two", 3, 512, false), -EIO);
	assert_int_equal(env->file_write(file, "two", 3, 512, false), 0);
	sim_env_fail(world->sim, SIM_FAULT_SYNC, 1, 1, -EIO);
	assert_int_equal(env->file_sync(file), -EIO);
	assert_int_equal(env->file_sync(file), 0);
	sim_env_fail(world->sim, SIM_FAULT_MAP, 1, 2, -ENOMEM);
	assert_int_equal(env->file_map(file, 8192, &map), -ENOMEM);
	assert_int_equal(env->file_map(file, 8192, &map), -ENOMEM);
	assert_int_equal(env->file_map(file, 8192, &map), 0);
	assert_false(env->map_failed(map, 8192));
	assert_int_equal(sim_env_fail_page(world->sim, "a", 512), 0);
	assert_true(env->map_failed(map, 8192));
	assert_int_equal(env->file_read(file, back, 3, 0), -EIO);
	assert_int_equal(env->file_read(file, back, 3, 4096), 0);
	env->file_unmap(file, map, 8192);
	sim_env_set_capacity(world->sim, 10000);
	assert_int_equal(env->file_allocate(file, 20000), -ENOSPC);
	assert_int_equal(env->file_allocate(file, 10000), 0);
	env->file_close(file);
}

/* What a failed sync has lost no later sync brings back. */
static void test_sim_failed_sync_loses(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	unsigned lost = 0;

	for (unsigned round = 0; round < 50; round++) {
		struct env_file *file = file_make(world, "a", 4096);
		uint64_t size;

		assert_int_equal(env->file_write(file, "bytes", 5, 0, false), 0);
		sim_env_fail(world->sim, SIM_FAULT_SYNC, 1, 1, -EIO);
		assert_int_equal(env->file_sync(file), -EIO);
		assert_int_equal(env->file_sync(file), 0);
		env->file_close(file);
		env->dir_close(world->dir);
		assert_int_equal(sim_env_power_on(world->sim, SIM_LOSS_ALL), 0);
		lost += memcmp(sim_env_bytes(world->sim, "a", &size), "bytes", 5) != 0;
		assert_int_equal(env->dir_open(env, world->path, &world->dir), 0);
		assert_int_equal(env->unlink(world->dir, "a"), 0);
		assert_int_equal(env->dir_sync(world->dir), 0);
	}
	assert_true(lost > 0);
}

/*
 * A program that dies loses nothing, but what it had not synced is still not safe from the power.
 */
static void test_sim_program_dies(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	struct env_file *file;
	uint64_t size;

	assert_int_equal(env->file_open(world->dir, "a", ENV_CREATE, &file), 0);
	assert_int_equal(env->file_write(file, "bytes", 5, 0, true), 0);
	assert_int_equal(env->file_write(file, "other", 5, 0, false), 0);
	env->file_close(file);
	env->dir_close(world->dir);
	assert_int_equal(sim_env_power_on(world->sim, SIM_LOSS_NONE), 0);
	assert_memory_equal(sim_env_bytes(world->sim, "a", &size), "other", 5);
	assert_int_equal(sim_env_power_on(world->sim, SIM_LOSS_ALL), 0);
	assert_null(sim_env_bytes(world->sim, "a", &size));
	assert_int_equal(env->dir_open(env, world->path, &world->dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SIM(test_sim_sync_survives),
		SIM(test_sim_unsynced_varies),
		SIM(test_sim_rewritten_keeps),
		SIM(test_sim_released_has_no_garbage),
		SIM(test_sim_cut),
		SIM(test_sim_faults),
		SIM(test_sim_failed_sync_loses),
		SIM(test_sim_program_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
