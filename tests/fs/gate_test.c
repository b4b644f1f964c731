/* SPDX-License-Identifier: MIT */
/*
 * gate_test.c - nobody is inside while the gate is closed, whoever waits comes in when it opens,
 * and nobody once it is broken.
 */
#include "fuse_gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 4u
#define ROUNDS 200u

struct scene {
	struct fuse_gate gate;
	/* Plain: whoever is inside reads, who has closed it writes. */
	unsigned left, right;
	atomic_bool over;
	atomic_uint visits, differed, refused;
};

static void *visit(void *arg)
{
	struct scene *scene = arg;

	while (!atomic_load(&scene->over)) {
		if (!fuse_gate_enter(&scene->gate)) {
			atomic_fetch_add(&scene->refused, 1);
			break;
		}
		if (scene->left != scene->right)
			atomic_fetch_add(&scene->differed, 1);
		atomic_fetch_add(&scene->visits, 1);
		fuse_gate_leave(&scene->gate);
	}
	return NULL;
}

static struct scene *scene_new(void)
{
	struct scene *scene = aligned_alloc(64, sizeof(*scene));

	assert_non_null(scene);
	memset(scene, 0, sizeof(*scene));
	fuse_gate_init(&scene->gate);
	return scene;
}

static void scene_free(struct scene *scene)
{
	fuse_gate_fini(&scene->gate);
	free(scene);
}

static void test_closed(void **state)
{
	struct scene *scene = scene_new();
	pthread_t threads[THREADS];
	unsigned before;

	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, visit, scene), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		fuse_gate_close(&scene->gate);
		before = atomic_load(&scene->visits);
		scene->left++;
		sched_yield();
		scene->right++;
		assert_int_equal(atomic_load(&scene->visits), before);
		fuse_gate_open(&scene->gate);
		/* Somebody comes in again. */
		while (atomic_load(&scene->visits) == before)
			sched_yield();
	}
	atomic_store(&scene->over, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&scene->differed), 0);
	assert_int_equal(atomic_load(&scene->refused), 0);
	scene_free(scene);
}

static void test_broken(void **state)
{
	struct scene *scene = scene_new();
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, visit, scene), 0);
	fuse_gate_close(&scene->gate);
	fuse_gate_break(&scene->gate);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&scene->refused), THREADS);
	assert_false(fuse_gate_enter(&scene->gate));
	scene_free(scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_broken),
	};

	return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
