/* SPDX-License-Identifier: MIT */
/* kv_trim_test.c - what a store keeps on the disk when nobody writes to it, and when it is closed. */
#include "kv_fixture.h"

#include <unistd.h>

#include "maintain.h"
#include "store.h"

#define VALUE 100000u
#define PATIENCE_MS 60000u
#define LONG_AGO_US 40000000u

static void fill(struct fixture *fixture, unsigned count)
{
	char key[20];
	unsigned i;

	for (i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_put_filled(fixture, HASHED, key, VALUE, i);
	}
	must_sync(fixture);
}

static void must_have_all(struct fixture *fixture, unsigned count)
{
	char key[20];
	unsigned i;

	for (i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_have_filled(fixture, HASHED, key, VALUE, i);
	}
}

struct files {
	unsigned segments, unused;
};

static int count_file(void *arg, const char *name)
{
	struct files *files = arg;

	files->segments += !strncmp(name, "seg-", 4);
	files->unused += !strncmp(name, "free-", 5);
	return 0;
}

static struct files files_of(struct fixture *fixture)
{
	struct files files = {0};
	struct env_dir *dir;

	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(fixture->env->dir_list(dir, count_file, &files), 0);
	fixture->env->dir_close(dir);
	return files;
}

/* Closed, it is its log. */
static void test_closed(void **state)
{
	struct fixture *fixture = *state;
	struct files files;

	must_close(fixture);
	files = files_of(fixture);
	assert_int_equal(files.segments, 1);
	assert_int_equal(files.unused, 0);
	must_open(fixture, 0);
	fill(fixture, 45);
	must_close(fixture);
	files = files_of(fixture);
	/* 4.3 MiB in segments of 1 MiB; where the last one is left almost full one more may have been begun. */
	assert_in_range(files.segments, 5, 6);
	assert_int_equal(files.unused, 0);
	must_open(fixture, 0);
	must_have_all(fixture, 45);
	must_check_clean(fixture);
}

/* As if nothing had happened for a while; at its end garbage has been seen to as well, however slow that is. */
static void rest(struct fixture *fixture, unsigned segments_max)
{
	struct kv *kv = fixture->kv;
	struct kv_stats stats;
	unsigned ms = 0, depth, spares;

	do {
		pthread_mutex_lock(&kv->maintain.lock);
		depth = kv->maintain.rest.depth;
		kv->maintain.rest.since_us = kv->env->clock_us(kv->env) - LONG_AGO_US;
		pthread_mutex_unlock(&kv->maintain.lock);
		maintain_kick(kv);
		usleep(1000);
		stats = stats_of(fixture);
	} while ((depth < 2 || stats.disk_bytes > stats.segments * SEGMENT_SIZE + 4096 ||
			 stats.segments > segments_max) &&
		 ms++ < PATIENCE_MS);
	assert_int_equal(stats.disk_bytes, stats.segments * SEGMENT_SIZE + 4096);
	pthread_mutex_lock(&kv->log.lock);
	spares = kv->log.spare_count;
	pthread_mutex_unlock(&kv->log.lock);
	assert_int_equal(spares, 0);
}

/* At rest likewise; and then it goes on. */
static void test_at_rest(void **state)
{
	struct fixture *fixture = *state;
	unsigned i;

	for (i = 0; i < 3; i++) {
		fill(fixture, 45);
		must_sync(fixture);
		/* Twice what is needed at most, as garbage, and the log's end. */
		rest(fixture, 12);
		assert_in_range(stats_of(fixture).segments, 5, 12);
	}
	must_have_all(fixture, 45);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	must_have_all(fixture, 45);
	must_check_clean(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_closed),
		FIXTURE_TEST(test_at_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
