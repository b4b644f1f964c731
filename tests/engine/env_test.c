/* SPDX-License-Identifier: MIT */
/*
 * env_test.c - the contract of env.h, asked of the operating system and of the simulated disk
 * alike.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "env.h"
#include "sim_env.h"

#define FILE_SIZE (1u << 20)

struct world {
	struct kv_env *env;
	struct sim_env *sim; /* NULL: the operating system */
	char path[512];
	struct env_dir *dir;
};

static void world_open(struct world *world)
{
	assert_int_equal(world->env->dir_create(world->env, world->path), 0);
	assert_int_equal(world->env->dir_open(world->env, world->path, &world->dir), 0);
}

static int system_setup(void **state)
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

static int system_teardown(void **state)
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

static int sim_setup(void **state)
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

static int sim_teardown(void **state)
{
	struct world *world = *state;

	world->env->dir_close(world->dir);
	assert_int_equal(sim_env_power_on(world->sim, SIM_LOSS_NONE), 0);
	sim_env_free(world->sim);
	free(world);
	return 0;
}

static struct env_file *file_make(struct world *world, const char *name, uint64_t size)
{
	struct env_file *file;

	assert_int_equal(
		world->env->file_open(world->dir, name, ENV_CREATE | ENV_DIRECT, &file), 0);
	assert_int_equal(world->env->file_allocate(file, size), 0);
	assert_int_equal(world->env->file_sync(file), 0);
	assert_int_equal(world->env->dir_sync(world->dir), 0);
	return file;
}

/* ---- both worlds -------------------------------------------------------------------------------
 */

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

/* Space that was given back reads as zeros and is there again when it is asked for; the size stays. */
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

/* ---- the operating system ----------------------------------------------------------------------
 */

static void test_system_modes(void **state)
{
	struct world *world = *state;
	char name[544];
	struct stat info;

	world->env->file_close(file_make(world, "a", FILE_SIZE));
	assert_int_equal(stat(world->path, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0700);
	snprintf(name, sizeof(name), "%s/a", world->path);
	assert_int_equal(stat(name, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0600);
	assert_true((uint64_t)info.st_blocks * 512 >= FILE_SIZE); /* allocated, not a hole */
}

static void test_system_not_files(void **state)
{
	struct world *world = *state;
	struct env_file *file;
	struct env_dir *dir;
	char name[544];

	world->env->file_close(file_make(world, "a", 10));
	snprintf(name, sizeof(name), "%s/link", world->path);
	assert_int_equal(symlink("a", name), 0);
	assert_int_equal(world->env->file_open(world->dir, "link", 0, &file), -ELOOP);
	snprintf(name, sizeof(name), "%s/fifo", world->path);
	assert_int_equal(mkfifo(name, 0600), 0);
	assert_int_equal(world->env->file_open(world->dir, "fifo", 0, &file), -EINVAL);
	assert_int_equal(world->env->file_open(world->dir, "fifo", ENV_READ_ONLY, &file), -EINVAL);
	assert_int_equal(world->env->file_open(world->dir, ".", ENV_READ_ONLY, &file), -EINVAL);
	snprintf(name, sizeof(name), "%s/dirlink/", world->path);
	name[strlen(name) - 1] = '\0';
	assert_int_equal(symlink(".", name), 0);
	strcat(name, "/");
	assert_int_equal(world->env->dir_open(world->env, name, &dir), -ENOTDIR);
}

static void test_system_umask(void **state)
{
	struct world *world = *state;
	mode_t before = umask(0277);
	char name[544];
	struct stat info;

	world->env->file_close(file_make(world, "a", 10));
	snprintf(name, sizeof(name), "%s/inner", world->path);
	assert_int_equal(world->env->dir_create(world->env, name), 0);
	umask(before);
	assert_int_equal(stat(name, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0700);
	assert_int_equal(rmdir(name), 0);
	snprintf(name, sizeof(name), "%s/a", world->path);
	assert_int_equal(stat(name, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0600);
}

/* Somebody puts another file in the place of the one that is locked: the lock is still there. */
static void test_system_lock_replaced(void **state)
{
	struct world *world = *state;
	struct env_file *one = file_make(world, "a", 10), *two;
	struct env_dir *dir;

	assert_int_equal(world->env->file_lock(one, true), 0);
	assert_int_equal(world->env->unlink(world->dir, "a"), 0);
	world->env->file_close(file_make(world, "a", 10));
	assert_int_equal(world->env->dir_open(world->env, world->path, &dir), 0);
	assert_int_equal(world->env->file_open(dir, "a", 0, &two), 0);
	assert_int_equal(world->env->file_lock(two, true), -EBUSY);
	assert_int_equal(world->env->file_lock(two, false), -EBUSY);
	world->env->file_close(one);
	assert_int_equal(world->env->file_lock(two, true), 0);
	world->env->file_close(two);
	world->env->dir_close(dir);
}

/* Closes all that this process has open below a path, as its end would. */
static void close_below(const char *path)
{
	char link[64], target[128];
	ssize_t length;

	for (int fd = 3; fd < 256; fd++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		length = readlink(link, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		if (strncmp(target, path, strlen(path)) == 0)
			close(fd);
	}
}

/*
 * A process has lost its descriptors, but its ring is still there, as while the disk has not answered its last write:
 * nobody else gets the lock. Closing the file gives it back at once all the same.
 */
static void test_system_lock_outlives(void **state)
{
	struct world *world = *state;
	struct env_file *file = file_make(world, "a", 10);
	struct io_uring_params params = {0};
	int fds[2], ring = (int)syscall(SYS_io_uring_setup, 1, &params), result = -EBUSY;
	char byte;
	pid_t pid;

	if (ring < 0)
		skip();
	close(ring);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		struct env_file *own;

		if (world->env->file_open(world->dir, "a", 0, &own) < 0 ||
			world->env->file_lock(own, true) < 0)
			_exit(1);
		close_below(world->path);
		if (write(fds[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(world->env->file_lock(file, true), -EBUSY);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	for (unsigned i = 0; result == -EBUSY && i < 100; i++)
		result = world->env->file_lock(file, true);
	assert_int_equal(result, 0);
	world->env->file_close(file);
	assert_int_equal(world->env->file_open(world->dir, "a", 0, &file), 0);
	assert_int_equal(world->env->file_lock(file, true), 0);
	world->env->file_close(file);
	close(fds[0]);
	close(fds[1]);
}

/* ---- the simulated disk ------------------------------------------------------------------------
 */

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

/* Of a write that was not synced every outcome must be seen: none, all, some sectors. */
static void test_sim_unsynced_varies(void **state)
{
	struct world *world = *state;
	struct kv_env *env = world->env;
	unsigned none = 0, all = 0, some = 0, no_name = 0;
	uint8_t data[4096];

	memset(data, 'x', sizeof(data));
	for (unsigned round = 0; round < 200; round++) {
		struct env_file *file;
		const uint8_t *bytes;
		unsigned sectors = 0;
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
			assert_true(bytes[i] == 0 || bytes[i] == 'x');
			assert_memory_equal(bytes + i, bytes + i + 1, SIM_SECTOR_SIZE - 1);
			sectors += bytes[i] == 'x';
		}
		none += sectors == 0;
		all += sectors == sizeof(data) / SIM_SECTOR_SIZE;
		some += sectors > 0 && sectors < sizeof(data) / SIM_SECTOR_SIZE;
		assert_int_equal(env->unlink(world->dir, "a"), 0);
		assert_int_equal(env->dir_sync(world->dir), 0);
	}
	assert_true(none > 5 && all > 5 && some > 5 && no_name > 5);
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

/* A program that dies loses nothing, but what it had not synced is still not safe from the power. */
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

#define BOTH(test)                                                                                 \
	{"system: " #test, test, system_setup, system_teardown, NULL},                             \
	{                                                                                          \
		"simulated: " #test, test, sim_setup, sim_teardown, NULL                           \
	}
#define SYSTEM(test) cmocka_unit_test_setup_teardown(test, system_setup, system_teardown)
#define SIM(test) cmocka_unit_test_setup_teardown(test, sim_setup, sim_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SYSTEM(test_system_lock_outlives), /* first: its child must not share our ring */
		BOTH(test_directory),
		BOTH(test_names),
		BOTH(test_list),
		BOTH(test_size),
		BOTH(test_space_given_back),
		BOTH(test_write_and_map),
		BOTH(test_lock),
		BOTH(test_read_only),
		BOTH(test_clock_and_random),
		SYSTEM(test_system_modes),
		SYSTEM(test_system_umask),
		SYSTEM(test_system_lock_replaced),
		SYSTEM(test_system_not_files),
		SIM(test_sim_sync_survives),
		SIM(test_sim_unsynced_varies),
		SIM(test_sim_cut),
		SIM(test_sim_faults),
		SIM(test_sim_failed_sync_loses),
		SIM(test_sim_program_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
