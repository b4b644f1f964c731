/* SPDX-License-Identifier: MIT */
/*
 * scrub_files_test.c - the scrub looks at files as well: one that is damaged, cut off, taken away
 * or replaced while the store is open is said, once, and made anew where the store knows what it
 * held.
 */
#include "kv_fixture.h"

#include <pthread.h>

#include "checkpoint.h"
#include "scrub.h"

#define KEYS 300u
#define VALUE_SIZE 12000u
#define PASS_STEPS_MAX 1000u

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %u", number);
}

static void open_store(struct fixture *fixture)
{
	struct kv_open_options options = {.flags = KV_OPEN_INLINE,
					  .resident_size = 1,
					  .scrub_interval_s = 3600,
					  .report = fixture_hear,
					  .report_arg = fixture};

	fixture->errors = fixture->warnings = 0;
	assert_int_equal(kv_open(fixture->env, STORE_PATH, &options, &fixture->kv), 0);
}

/* A store with all of its files, which has been opened again. */
static void make_store(struct fixture *fixture)
{
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		must_put_filled(fixture, i % 2, key, VALUE_SIZE, i);
	}
	assert_int_equal(kv_snapshot_create(fixture->kv, "kept", NULL), 0);
	for (unsigned i = 0; i < KEYS / 2; i++) {
		key_of(i, key);
		must_put_filled(fixture, i % 2, key, VALUE_SIZE, KEYS + i);
	}
	must_close(fixture);
	open_store(fixture);
	checkpoint_finish(fixture->kv);
}

static void must_have_all(struct fixture *fixture)
{
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		must_have_filled(fixture, i % 2, key, VALUE_SIZE, i < KEYS / 2 ? KEYS + i : i);
	}
}

static void run_pass(struct fixture *fixture)
{
	_Atomic uint64_t *passes = &fixture->kv->scrub.passes;
	uint64_t before = atomic_load(passes);

	for (unsigned steps = 0; atomic_load(passes) == before; steps++) {
		assert_true(steps < PASS_STEPS_MAX);
		sim_env_advance_us(fixture->sim, scrub_pause_us(fixture->kv));
		pthread_mutex_lock(&fixture->kv->maintain.lock);
		scrub_step(fixture->kv);
		pthread_mutex_unlock(&fixture->kv->maintain.lock);
	}
}

/* One pass finds one thing, of which `words` are said; another finds nothing new. */
static void must_find_once(struct fixture *fixture, const char *words)
{
	uint64_t damaged = stats_of(fixture).damaged, findings = stats_of(fixture).scrub_findings;
	unsigned errors = fixture->errors;

	run_pass(fixture);
	assert_int_equal(fixture->errors, errors + 1);
	if (!strstr(fixture->last_error, words))
		fail_msg("\"%s\" does not say \"%s\"", fixture->last_error, words);
	assert_int_equal(stats_of(fixture).scrub_findings, findings + 1);
	assert_int_equal(stats_of(fixture).damaged, damaged + 1);
	run_pass(fixture);
	assert_int_equal(fixture->errors, errors + 1);
	assert_int_equal(stats_of(fixture).scrub_findings, findings + 1);
	assert_int_equal(stats_of(fixture).damaged, damaged + 1);
	must_have_all(fixture);
}

/* What was made anew is whole: a check, opening and another check find nothing. */
static void must_be_mended(struct fixture *fixture)
{
	must_check_clean(fixture);
	must_close(fixture);
	open_store(fixture);
	assert_int_equal(fixture->errors + fixture->warnings, 0);
	must_check_clean(fixture);
	assert_int_equal(kv_snapshot_delete(fixture->kv, "kept", NULL), 0);
	must_have_all(fixture);
}

static void must_unlink(struct fixture *fixture, const char *name)
{
	assert_int_equal(fixture->env->unlink(fixture->kv->dir, name), 0);
}

static void count_finding(void *arg, enum kv_severity severity, const char *message)
{
	(void)severity;
	(void)message;
	++*(unsigned *)arg;
}

static uint64_t check_findings(struct fixture *fixture)
{
	uint64_t findings = 0;
	unsigned said = 0;

	assert_int_equal(kv_check(fixture->kv, count_finding, &said, NULL, NULL, &findings), 0);
	assert_int_equal(findings, said);
	return findings;
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void test_nothing_to_find(void **state)
{
	struct fixture *fixture = *state;

	run_pass(fixture); /* of a store that has no segment on the disk, nor a snapshot */
	assert_int_equal(fixture->errors + fixture->warnings, 0);
	make_store(fixture);
	for (unsigned round = 0; round < 3; round++) {
		run_pass(fixture);
		assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
		run_pass(fixture);
		assert_int_equal(kv_checkpoint(fixture->kv), 0);
	}
	assert_int_equal(fixture->errors + fixture->warnings, 0);
	assert_int_equal(stats_of(fixture).scrub_findings, 0);
	must_be_mended(fixture);
}

/* Header, its copy, the superblock's copy, and the zeros behind. */
static void test_header(void **state)
{
	static const unsigned places[] = {20, 1024 + 40, 2048 + 30, 4000};
	struct fixture *fixture = *state;
	char name[16];

	make_store(fixture);
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(name, sizeof(name), "seg-%08x", i);
		assert_int_equal(sim_env_flip(fixture->sim, name, places[i], 3), 0);
		must_find_once(fixture, name);
		assert_int_equal(check_findings(fixture), i + 1);
	}
	assert_non_null(strstr(fixture->last_error, "repair"));
}

static void test_segment_missing(void **state)
{
	struct fixture *fixture = *state;

	make_store(fixture);
	must_unlink(fixture, "seg-00000001");
	must_find_once(fixture, "seg-00000001: the scrub found no such file");
	assert_int_equal(check_findings(fixture), 1);
}

/* One that is whole, but of another place of the log. */
static void test_segment_replaced(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t bytes[SEGMENT_SIZE];
	struct env_file *file;

	make_store(fixture);
	assert_int_equal(fixture->env->file_open(fixture->kv->dir, "seg-00000002", ENV_READ_ONLY,
						 &file), 0);
	assert_int_equal(fixture->env->file_read(file, bytes, sizeof(bytes), 0), 0);
	fixture->env->file_close(file);
	must_unlink(fixture, "seg-00000001");
	assert_int_equal(sim_env_put_file(fixture->sim, "seg-00000001", bytes, sizeof(bytes)), 0);
	must_find_once(fixture, "seg-00000001: the scrub found no such file, or another");
}

static void test_super(void **state)
{
	struct fixture *fixture = *state;

	make_store(fixture);
	assert_int_equal(sim_env_flip(fixture->sim, "super", 3000, 1), 0);
	must_find_once(fixture, "super: the scrub found the superblock damaged");
	assert_int_equal(check_findings(fixture), 1);
}

static void test_super_missing(void **state)
{
	struct fixture *fixture = *state;

	make_store(fixture);
	must_unlink(fixture, "super");
	must_find_once(fixture, "super: the scrub found the superblock missing");
}

static void test_manifest(void **state)
{
	struct fixture *fixture = *state;

	make_store(fixture);
	assert_int_equal(sim_env_flip(fixture->sim, "manifest", 50, 1), 0);
	must_find_once(fixture, "manifest: the scrub found it");
	assert_int_equal(sim_env_flip(fixture->sim, "manifest", FORMAT_MANIFEST_PAGE_SIZE + 9, 1), 0);
	must_find_once(fixture, "written anew");
	assert_int_equal(sim_env_resize(fixture->sim, "manifest", 100), 0);
	must_find_once(fixture, "written anew");
	must_unlink(fixture, "manifest");
	must_find_once(fixture, "written anew");
	/* What is freed now is taken out of the file that has the name. */
	assert_int_equal(kv_snapshot_delete(fixture->kv, "kept", NULL), 0);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_true(stats_of(fixture).emptied_segments > 0);
	assert_int_equal(kv_snapshot_create(fixture->kv, "kept", NULL), 0);
	must_be_mended(fixture);
}

/* An older file takes the name: nothing in it is damaged, but the store writes to the other one. */
static void test_manifest_replaced(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t bytes[FORMAT_MANIFEST_COPIES * FORMAT_MANIFEST_PAGE_SIZE];
	struct env_file *file;

	make_store(fixture);
	assert_int_equal(fixture->env->file_open(fixture->kv->dir, "manifest", ENV_READ_ONLY, &file), 0);
	assert_int_equal(fixture->env->file_read(file, bytes, sizeof(bytes), 0), 0);
	fixture->env->file_close(file);
	assert_int_equal(kv_snapshot_delete(fixture->kv, "kept", NULL), 0);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(kv_snapshot_create(fixture->kv, "kept", NULL), 0);
	must_unlink(fixture, "manifest");
	assert_int_equal(sim_env_put_file(fixture->sim, "manifest", bytes, sizeof(bytes)), 0);
	must_find_once(fixture, "manifest: the scrub found it");
	must_be_mended(fixture);
}

/* Said once; and again and again it is tried. */
static void test_manifest_cannot_be_written(void **state)
{
	struct fixture *fixture = *state;

	make_store(fixture);
	must_unlink(fixture, "manifest");
	sim_env_set_capacity(fixture->sim, 1);
	must_find_once(fixture, "could not be written anew: No space left on device");
	sim_env_set_capacity(fixture->sim, 1 << 30);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 1);
	must_be_mended(fixture);
}

static void test_snapshots(void **state)
{
	struct fixture *fixture = *state;
	struct kv_view *view;

	make_store(fixture);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(sim_env_flip(fixture->sim, "snapshots", 30, 1), 0);
	must_find_once(fixture, "snapshots: the scrub found it missing or damaged; it was written anew");
	assert_int_equal(sim_env_resize(fixture->sim, "snapshots", 10), 0);
	must_find_once(fixture, "written anew");
	must_unlink(fixture, "snapshots");
	must_find_once(fixture, "written anew");
	assert_int_equal(kv_snapshot_open(fixture->kv, "kept", &view), 0);
	kv_view_close(view);
	must_be_mended(fixture);
}

static void test_checkpoint(void **state)
{
	struct fixture *fixture = *state;

	make_store(fixture);
	assert_true(fixture->kv->checkpoint_there);
	assert_int_equal(sim_env_flip(fixture->sim, "checkpoint", 100, 1), 0);
	must_find_once(fixture, "checkpoint: the scrub found it damaged, or replaced; it is removed");
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	assert_int_equal(sim_env_flip(fixture->sim, "checkpoint", 70000, 1), 0);
	must_find_once(fixture, "it is removed");
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	assert_int_equal(sim_env_resize(fixture->sim, "checkpoint", 70000), 0);
	must_find_once(fixture, "it is removed");
	/* Without any it is not missed. */
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	must_unlink(fixture, "checkpoint");
	run_pass(fixture);
	assert_int_equal(fixture->errors, 3);
	must_be_mended(fixture);
}

/* Nothing is given up before there is something better: freeing goes on without a list's name. */
static void test_manifest_missing_and_full(void **state)
{
	struct fixture *fixture = *state;
	char key[16];

	make_store(fixture);
	must_unlink(fixture, "manifest");
	sim_env_set_capacity(fixture->sim, 1);
	must_find_once(fixture, "could not be written anew");
	assert_int_equal(kv_snapshot_delete(fixture->kv, "kept", NULL), 0);
	for (unsigned i = 0; i < KEYS / 2; i++) {
		key_of(i, key);
		must_delete(fixture, i % 2, key);
	}
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_true(stats_of(fixture).emptied_segments > 0);
	assert_int_equal(stats_of(fixture).failed, 0);
}

/* The power fails at every step of making it anew: no segment is missed without cause. */
static void test_manifest_while_power_fails(void **state)
{
	const unsigned fates = full_or_quick(2, 1);

	for (unsigned cut = 1; cut < 14; cut++) {
		for (unsigned fate = 0; fate < fates; fate++) {
			struct fixture *fixture = fixture_begin(state, fate);

			make_store(fixture);
			assert_int_equal(kv_snapshot_delete(fixture->kv, "kept", NULL), 0);
			assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
			must_unlink(fixture, "manifest");
			assert_int_equal(fixture->env->dir_sync(fixture->kv->dir), 0);
			sim_env_cut_at(fixture->sim, sim_env_steps(fixture->sim) + cut);
			run_pass(fixture);
			sim_env_cut(fixture->sim);
			assert_true(kv_close(fixture->kv) <= 0);
			assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ANY), 0);
			open_store(fixture);
			assert_int_equal(fixture->errors, 0);
			must_have_all(fixture);
			fixture_teardown(state);
		}
	}
}

/* A file from before takes the name: whole, and wrong. */
static void replace_with_older(struct fixture *fixture, const char *name)
{
	const uint8_t *bytes;
	uint64_t size;
	uint8_t *older;

	make_store(fixture);
	assert_int_equal(kv_snapshot_create(fixture->kv, "one", NULL), 0);
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	bytes = sim_env_bytes(fixture->sim, name, &size);
	assert_non_null(bytes);
	older = malloc(size);
	memcpy(older, bytes, size);
	assert_int_equal(kv_snapshot_delete(fixture->kv, "one", NULL), 0);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	must_unlink(fixture, name);
	assert_int_equal(sim_env_put_file(fixture->sim, name, older, size), 0);
	free(older);
	must_find_once(fixture, name);
	must_be_mended(fixture);
}

static void test_older_snapshots(void **state)
{
	replace_with_older(*state, "snapshots");
}

static void test_older_checkpoint(void **state)
{
	replace_with_older(*state, "checkpoint");
}

static void test_checkpoint_cannot_be_removed(void **state)
{
	struct fixture *fixture = *state;

	make_store(fixture);
	assert_int_equal(sim_env_flip(fixture->sim, "checkpoint", 70000, 1), 0);
	sim_env_fail(fixture->sim, SIM_FAULT_UNLINK, 1, 1000, -EPERM);
	must_find_once(fixture, "it cannot be removed");
	sim_env_fail(fixture->sim, SIM_FAULT_UNLINK, 0, 0, 0);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 1);
	must_be_mended(fixture);
}

/* To free it somebody else's file would be taken, or the store would fail. */
static void test_nameless_is_not_freed(void **state)
{
	struct fixture *fixture = *state;
	char key[16];

	make_store(fixture);
	must_unlink(fixture, "seg-00000001");
	must_find_once(fixture, "seg-00000001");
	assert_int_equal(kv_snapshot_delete(fixture->kv, "kept", NULL), 0);
	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		must_delete(fixture, i % 2, key);
	}
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_true(stats_of(fixture).emptied_segments > 0);
	assert_int_equal(stats_of(fixture).failed, 0);
	assert_true(fixture->kv->segments.table[1]->id != 0);
}

/* What a disk cannot give once is not damaged; what it could not give for a while is found whole again. */
static void test_reads_that_fail(void **state)
{
	struct fixture *fixture = *state;

	make_store(fixture);
	for (unsigned nth = 1; nth < 12; nth++) {
		sim_env_fail(fixture->sim, SIM_FAULT_READ, nth, 1, -EIO);
		run_pass(fixture);
	}
	sim_env_fail(fixture->sim, SIM_FAULT_READ, 0, 0, 0);
	/* The lists and the checkpoint are made anew without asking twice. */
	assert_false(fixture->kv->super_damaged);
	run_pass(fixture);
	must_check_clean(fixture);
	sim_env_fail(fixture->sim, SIM_FAULT_READ, 1, 1000, -EIO);
	run_pass(fixture);
	assert_true(check_findings(fixture) > 0);
	sim_env_fail(fixture->sim, SIM_FAULT_READ, 0, 0, 0);
	run_pass(fixture);
	must_check_clean(fixture);
}

/* That no file can be opened says nothing of the files. */
static void test_no_descriptor(void **state)
{
	struct fixture *fixture = *state;

	make_store(fixture);
	must_unlink(fixture, "seg-00000001");
	sim_env_set_opens_max(fixture->sim, sim_env_opens(fixture->sim));
	run_pass(fixture);
	assert_int_equal(fixture->errors, 0);
	sim_env_set_opens_max(fixture->sim, 0);
	must_find_once(fixture, "seg-00000001");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_nothing_to_find),
		INLINE_TEST(test_header),
		INLINE_TEST(test_segment_missing),
		INLINE_TEST(test_segment_replaced),
		INLINE_TEST(test_super),
		INLINE_TEST(test_super_missing),
		INLINE_TEST(test_manifest),
		INLINE_TEST(test_manifest_replaced),
		INLINE_TEST(test_manifest_cannot_be_written),
		INLINE_TEST(test_snapshots),
		INLINE_TEST(test_checkpoint),
		INLINE_TEST(test_manifest_missing_and_full),
		cmocka_unit_test(test_manifest_while_power_fails),
		INLINE_TEST(test_older_snapshots),
		INLINE_TEST(test_older_checkpoint),
		INLINE_TEST(test_checkpoint_cannot_be_removed),
		INLINE_TEST(test_nameless_is_not_freed),
		INLINE_TEST(test_reads_that_fail),
		INLINE_TEST(test_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
