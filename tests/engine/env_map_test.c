/* SPDX-License-Identifier: MIT */
/*
 * env_map_test.c - a page that cannot be read is zeros and a flag, not the end of the process.
 *
 * One test in a process of its own: the signal handler is the process's, and cmocka puts its own
 * back after each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "env_map.h"
#include "worker.h"

#define FILE_SIZE (4u << 20)
#define LEFT_SIZE (FILE_SIZE / 2 + 8192) /* ends in the middle of what may be a huge page */

static sigjmp_buf before_fault;

static void handle_foreign(int number)
{
	siglongjmp(before_fault, 1);
}

static void *read_last(void *map)
{
	return ((volatile const char *)map)[FILE_SIZE - 1] ? map : NULL;
}

/* The engine's own threads, where whoever opens a store has all signals blocked. */
static void must_read_in_own_thread(const void *map)
{
	struct worker worker = {0};
	sigset_t all, before, after;

	sigfillset(&all);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
	worker_init(&worker);
	assert_int_equal(worker_start(&worker, read_last, (void *)map), 0);
	worker_stop(&worker);
	worker_fini(&worker);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, &after), 0);
	assert_true(sigismember(&after, SIGBUS));
	assert_true(env_map_failed(map));
}

static void test_unreadable_pages(void **state)
{
	struct sigaction action = {.sa_handler = handle_foreign};
	FILE *stream = tmpfile(), *other = tmpfile();
	const void *map, *whole;
	volatile const char *foreign;

	assert_non_null(stream);
	assert_non_null(other);
	assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
	assert_int_equal(ftruncate(fileno(stream), FILE_SIZE), 0);
	assert_int_equal(ftruncate(fileno(other), FILE_SIZE), 0);
	assert_int_equal(pwrite(fileno(stream), "contents", 8, 0), 8);
	assert_int_equal(pwrite(fileno(stream), "the end", 8, LEFT_SIZE - 8), 8);
	assert_int_equal(env_map_open(fileno(other), FILE_SIZE, &whole), 0);
	assert_int_equal(env_map_open(fileno(stream), FILE_SIZE, &map), 0);
	foreign = mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED, fileno(stream), 0);
	assert_true(foreign != MAP_FAILED);

	/* Where the kernel can map a huge page, and asked to, whether it does or not. */
	assert_int_equal((uintptr_t)map % ENV_MAP_HUGE, 0);
	assert_int_equal((uintptr_t)whole % ENV_MAP_HUGE, 0);
	(void)madvise((void *)map, FILE_SIZE, MADV_HUGEPAGE);
	env_map_populate((void *)map, FILE_SIZE);
	assert_memory_equal(map, "contents", 8);

	/*
	 * The file shrinks under the map: zeros and a flag; what is left stays readable, also of
	 * the same huge page. Who only reads ahead does not come upon what is missing.
	 */
	assert_int_equal(ftruncate(fileno(stream), LEFT_SIZE), 0);
	env_map_populate((void *)map, FILE_SIZE);
	assert_false(env_map_failed(map));
	for (size_t i = LEFT_SIZE; i < FILE_SIZE; i += 1000)
		assert_int_equal(((volatile const char *)map)[i], 0);
	assert_true(env_map_failed(map));
	assert_false(env_map_failed(whole));
	assert_memory_equal(map, "contents", 8);
	assert_memory_equal((const char *)map + LEFT_SIZE - 8, "the end", 8);

	/* A fault outside of our maps is for the handler that was there before. */
	if (sigsetjmp(before_fault, 1) == 0) {
		(void)foreign[FILE_SIZE - 1];
		fail_msg("the fault went to nobody");
	}
	env_map_close(map, FILE_SIZE);

	/* A new map starts without blame. */
	assert_int_equal(env_map_open(fileno(stream), FILE_SIZE / 2, &map), 0);
	assert_false(env_map_failed(map));
	env_map_close(map, FILE_SIZE / 2);

	assert_int_equal(env_map_open(fileno(stream), FILE_SIZE, &map), 0);
	must_read_in_own_thread(map);
	env_map_close(map, FILE_SIZE);
	env_map_close(whole, FILE_SIZE);
	munmap((void *)foreign, FILE_SIZE);
	fclose(stream);
	fclose(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_unreadable_pages)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
