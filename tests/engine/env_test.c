/* SPDX-License-Identifier: MIT */
/*
 * env_test.c - the contract of env.h, asked of the operating system and of the simulated disk
 * alike. What only one of them does: env_system_test.c, sim_env_test.c.
 */
#include "env_world.h"

#include <errno.h>
#include <string.h>

static void test_directory(void **state)
{
	struct world *world = *state;
	struct env_dir *dir;

	assert_int_equal(world->env->dir_create(world->env, world->path), -EEXIST);
	assert_int_equal(world->env->dir_open(world->env, "/nonexistent/store", &dir), -ENOENT);
}

static void test_names(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	struct env_file *file, *other;

	assert_int_equal(env->file_open(world->dir, "a", 0, &other), -ENOENT);
	file = file_make(world, "a", FILE_SIZE);
	assert_int_equal(env->file_open(world->dir, "a", ENV_CREATE, &other), -EEXIST);
	assert_int_equal(env->file_open(world->dir, "x/a", ENV_CREATE, &other), -EINVAL);
	assert_int_equal(env->file_open(world->dir, "", ENV_CREATE, &other), -EINVAL);
	assert_int_equal(env->rename(world->dir, "a", "b"), 0);
	assert_int_equal(env->rename(world->dir, "a", "b"), -ENOENT);
	assert_int_equal(env->file_open(world->dir, "a", 0, &other), -ENOENT);
	assert_int_equal(env->unlink(world->dir, "b"), 0);
	assert_int_equal(env->unlink(world->dir, "b"), -ENOENT);
	env->file_close(file);
}

struct listing {
	unsigned count;
	bool a, b;
};

static int list_entry(void *arg, const char *name)
{
	struct listing *listing = arg;

	listing->count++;
	listing->a |= strcmp(name, "a") == 0;
	listing->b |= strcmp(name, "b") == 0;
	return 0;
}

static int list_stop(void *arg, const char *name)
{
	return -ECANCELED;
}

static void test_list(void **state)
{
	struct world *world = *state;
	struct listing listing = {0};

	world->env->file_close(file_make(world, "a", 10));
	world->env->file_close(file_make(world, "b", 10));
	assert_int_equal(world->env->dir_list(world->dir, list_entry, &listing), 0);
	assert_int_equal(listing.count, 2);
	assert_true(listing.a && listing.b);
	assert_int_equal(world->env->dir_list(world->dir, list_stop, NULL), -ECANCELED);
}

/*
 * Space that was given back reads as zeros and is there again when it is asked for; the size stays.
 */
static void test_space_given_back(void **state)
{
	enum { SIZE = 2 * FILE_SIZE, KEPT = FILE_SIZE / 2, MORE = FILE_SIZE, NEARLY = 65536 };
	struct world *world = *state;
	struct kv_env *env = world->env;
	struct env_file *file = file_make(world, "a", SIZE);
	uint64_t size, full, less, more;
	char bytes[8];
	int result;

	assert_int_equal(env->file_write(file, "contents", 8, 0, false), 0);
	assert_int_equal(env->file_write(file, "contents", 8, SIZE - 8, true), 0);
	assert_int_equal(env->file_allocated(file, &full), 0);
	assert_true(full >= SIZE);
	result = env->file_release(file, KEPT);
	if (result == -EOPNOTSUPP) {
		env->file_close(file);
		skip();
	}
	assert_int_equal(result, 0);
	assert_int_equal(env->file_allocated(file, &less), 0);
	assert_true(less >= KEPT && less <= full - (SIZE - KEPT) + NEARLY);
	assert_int_equal(env->file_restore(file, MORE), 0);
	assert_int_equal(env->file_allocated(file, &more), 0);
	assert_true(more >= less + MORE - KEPT - NEARLY && more < full);
	assert_int_equal(env->file_restore(file, SIZE), 0);
	assert_int_equal(env->file_allocated(file, &more), 0);
	assert_true(more >= SIZE);
	assert_int_equal(env->file_size(file, &size), 0);
	assert_int_equal(size, SIZE);
	assert_int_equal(env->file_read(file, bytes, 8, 0), 0);
	assert_memory_equal(bytes, "contents", 8);
	assert_int_equal(env->file_read(file, bytes, 8, SIZE - 8), 0);
	assert_memory_equal(bytes, "\0\0\0\0\0\0\0\0", 8);
	env->file_close(file);
}

static void test_size(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	struct env_file *file = file_make(world, "a", FILE_SIZE);
	uint64_t size, avail, total;
	char bytes[16];

	assert_int_equal(env->file_size(file, &size), 0);
	assert_int_equal(size, FILE_SIZE);
	assert_int_equal(env->file_write(file, "contents", 8, 0, false), 0);
	assert_int_equal(env->file_allocate(file, 2 * FILE_SIZE), 0);
	assert_int_equal(env->file_read(file, bytes, 8, 0), 0);
	assert_memory_equal(bytes, "contents", 8);
	assert_int_equal(env->file_read(file, bytes, 8, 2 * FILE_SIZE - 8), 0);
	assert_memory_equal(bytes, "\0\0\0\0\0\0\0\0", 8);
	assert_int_equal(env->file_truncate(file, 4), 0);
	assert_int_equal(env->file_read(file, bytes, 8, 0), -ENODATA);
	assert_int_equal(env->file_read(file, bytes, 4, 0), 0);
	assert_int_equal(env->dir_space(world->dir, &avail, &total), 0);
	assert_true(avail > 0 && avail <= total);
	env->file_close(file);
}

static void test_write_and_map(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	struct env_file *file = file_make(world, "a", FILE_SIZE);
	struct sim_random random = {1};
	const void *map;
	void *buffer;
	char back[100];

	assert_int_equal(env->buffer_new(env, FILE_SIZE, &buffer), 0);
	assert_int_equal((uintptr_t)buffer % ENV_DIRECT_ALIGN, 0);
	assert_int_equal(env->file_map(file, FILE_SIZE, &map), 0);
	for (unsigned i = 0; i < 500; i++) {
		size_t unit = i % 2 ? ENV_DIRECT_ALIGN : 1;
		size_t size = unit * (1 + sim_random_below(&random, 100000 / unit));
		size_t position = unit * sim_random_below(&random, (FILE_SIZE - size) / unit);

		for (size_t k = 0; k < size; k++)
			((uint8_t *)buffer)[position + k] = (uint8_t)sim_random_next(&random);
		assert_int_equal(env->file_write(file, (char *)buffer + position, size, position,
					 i % 3 == 0),
			0);
		assert_memory_equal((const char *)map + position, (char *)buffer + position, size);
	}
	assert_memory_equal(map, buffer, FILE_SIZE);
	assert_int_equal(env->file_read(file, back, sizeof(back), 5000), 0);
	assert_memory_equal(back, (char *)buffer + 5000, sizeof(back));
	for (int advice = ENV_ADVICE_RANDOM; advice <= ENV_ADVICE_POPULATE; advice++)
		env->map_advise((const char *)map + 5000, 10000, (enum env_advice)advice);
	assert_memory_equal(map, buffer, FILE_SIZE);
	assert_false(env->map_failed(map, FILE_SIZE));
	env->file_unmap(file, map, FILE_SIZE);
	env->buffer_free(env, buffer, FILE_SIZE);
	env->file_close(file);
}

static void test_lock(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	struct env_file *one = file_make(world, "a", 10), *two, *three;

	assert_int_equal(env->file_open(world->dir, "a", 0, &two), 0);
	assert_int_equal(env->file_open(world->dir, "a", ENV_READ_ONLY, &three), 0);
	assert_int_equal(env->file_lock(one, true), 0);
	assert_int_equal(env->file_lock(two, true), -EBUSY);
	assert_int_equal(env->file_lock(three, false), -EBUSY);
	env->file_close(one);
	assert_int_equal(env->file_lock(three, false), 0);
	assert_int_equal(env->file_lock(two, false), 0);
	assert_int_equal(env->file_lock(two, true), -EBUSY);
	env->file_close(three);
	assert_int_equal(env->file_lock(two, true), 0);
	env->file_close(two);
}

static void test_read_only(void **state)
{
	struct world *world = *state;
	struct env_file *file;

	world->env->file_close(file_make(world, "a", 10));
	assert_int_equal(world->env->file_open(world->dir, "a", ENV_READ_ONLY, &file), 0);
	assert_true(world->env->file_write(file, "x", 1, 0, false) < 0);
	assert_true(world->env->file_truncate(file, 0) < 0);
	world->env->file_close(file);
}

static void test_clock_and_random(void **state)
{
	struct world *world = *state;
	uint8_t one[64] = {0}, two[64] = {0};
	uint64_t before = world->env->clock_us(world->env);

	assert_int_equal(world->env->random(world->env, one, sizeof(one)), 0);
	assert_int_equal(world->env->random(world->env, two, sizeof(two)), 0);
	assert_memory_not_equal(one, two, sizeof(one));
	assert_true(world->env->clock_us(world->env) >= before);
}

#define BOTH(test)                                                                                 \
	{"system: " #test, test, system_setup, system_teardown, NULL},                             \
	{                                                                                          \
		"simulated: " #test, test, sim_setup, sim_teardown, NULL                           \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_directory),
		BOTH(test_names),
		BOTH(test_list),
		BOTH(test_size),
		BOTH(test_space_given_back),
		BOTH(test_write_and_map),
		BOTH(test_lock),
		BOTH(test_read_only),
		BOTH(test_clock_and_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
