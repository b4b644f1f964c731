/* SPDX-License-Identifier: MIT */
/* env_system_test.c - the operating system behind env.h: modes, what is no file, locks. */
#include "env_world.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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
 * A process has lost its descriptors, but its ring is still there, as while the disk has not
 * answered its last write: nobody else gets the lock. Closing the file gives it back at once all
 * the same.
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		SYSTEM(test_system_lock_outlives), /* first: its child must not share our ring */
		SYSTEM(test_system_modes),
		SYSTEM(test_system_umask),
		SYSTEM(test_system_lock_replaced),
		SYSTEM(test_system_not_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
