/* SPDX-License-Identifier: MIT */
/*
 * kv_repair_list_test.c - the list of snapshots, and that of segments, damaged in a store of little
 * else: found, and whole again after a repair, or an opening for writing.
 */
#include "kv_fixture.h"

#include "format.h"

#define SNAPSHOT "snapshot"

static void count_finding(void *arg, enum kv_severity severity, const char *message)
{
	++*(unsigned *)arg;
}

static void must_have_snapshot(struct fixture *fixture)
{
	struct kv_snapshot snapshot;

	assert_int_equal(kv_snapshot_stat(fixture->kv, SNAPSHOT, &snapshot), 0);
}

static uint64_t findings_of(struct fixture *fixture)
{
	unsigned heard = 0;
	uint64_t findings;

	assert_int_equal(kv_check(fixture->kv, count_finding, &heard, NULL, NULL, &findings), 0);
	assert_int_equal(heard, findings);
	return findings;
}

static unsigned errors_of_opening(struct fixture *fixture, unsigned flags)
{
	unsigned errors;

	must_open(fixture, flags);
	errors = fixture->errors;
	must_close(fixture);
	return errors;
}

/*
 * A damaged list of snapshots is found, and is whole again after a repair, or an opening for
 * writing, also where the log has none and no change of the list will come.
 */
static void damaged_list(void **state, bool repairs)
{
	static const uint8_t bytes[] = "any bytes";
	struct kv_repair_report report;
	struct fixture *fixture;
	unsigned heard = 0;

	fixture_setup(state);
	fixture = *state;
	must_close(fixture);
	assert_int_equal(sim_env_put_file(fixture->sim, "snapshots", bytes, sizeof(bytes)), 0);
	assert_int_equal(errors_of_opening(fixture, KV_OPEN_READ_ONLY), 1);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->errors, 1);
	assert_int_equal(findings_of(fixture), 1);
	must_close(fixture);
	if (repairs) {
		assert_int_equal(
			kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
		assert_int_equal(report.mended, 1);
		assert_int_equal(report.lost_bytes + report.remaining, 0);
		assert_true(heard > 0);
		assert_int_equal(
			kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
		assert_int_equal(report.mended, 0);
	} else {
		assert_int_equal(errors_of_opening(fixture, 0), 1);
	}
	assert_int_equal(errors_of_opening(fixture, KV_OPEN_READ_ONLY), 0);
	must_open(fixture, 0);
	must_check_clean(fixture);
	fixture_teardown(state);
}

static void test_damaged_list_repaired(void **state)
{
	damaged_list(state, true);
}

static void test_damaged_list_opened(void **state)
{
	damaged_list(state, false);
}

static int (*open_file)(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out);

static int refusing_open(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out)
{
	return strcmp(name, FORMAT_SNAPSHOTS_NEW_NAME) ? open_file(dir, name, flags, out) : -ENOSPC;
}

/* Where there is no room to write it anew the store opens, and it is found until there is. */
static void test_damaged_list_stays(void **state)
{
	static const uint8_t bytes[] = "any bytes";
	struct fixture *fixture;

	fixture_setup(state);
	fixture = *state;
	must_close(fixture);
	assert_int_equal(sim_env_put_file(fixture->sim, "snapshots", bytes, sizeof(bytes)), 0);
	open_file = fixture->env->file_open;
	fixture->env->file_open = refusing_open;
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(findings_of(fixture), 1);
	assert_int_equal(kv_snapshot_create(fixture->kv, SNAPSHOT, NULL), 0);
	fixture->env->file_open = open_file;
	must_close(fixture);
	assert_int_equal(errors_of_opening(fixture, 0), 1);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->errors, 0);
	must_have_snapshot(fixture);
	must_check_clean(fixture);
	fixture_teardown(state);
}

#define SECOND_COPY FORMAT_MANIFEST_PAGE_SIZE

static const struct manifest_damage {
	uint64_t positions[2]; /* of damaged bytes, if not 0 */
	bool missing;
	unsigned findings;
} manifest_damages[] = {
	{{1}, false, 1},
	{{SECOND_COPY + 30}, false, 1},
	{{offsetof(struct format_manifest, zero)}, false, 1},
	{{1, SECOND_COPY + 1}, false, 1},
	{{0}, true, 1},
	/* A power failure while it was written leaves the same. */
	{{offsetof(struct format_manifest, top)}, false, 0},
	{{offsetof(struct format_manifest, generation) + 1}, false, 0},
	{{SECOND_COPY + offsetof(struct format_manifest, check)}, false, 0},
};

static void damage_manifest(struct fixture *fixture, const struct manifest_damage *damage)
{
	struct env_dir *dir;

	for (unsigned i = 0; i < 2; i++)
		if (damage->positions[i])
			assert_int_equal(sim_env_flip(fixture->sim, FORMAT_MANIFEST_NAME,
						 damage->positions[i], 3),
				0);
	if (!damage->missing)
		return;
	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(fixture->env->unlink(dir, FORMAT_MANIFEST_NAME), 0);
	assert_int_equal(fixture->env->dir_sync(dir), 0);
	fixture->env->dir_close(dir);
}

/*
 * A damaged list of segments, or one of its copies, is said, found unless a power failure may have
 * left it so, and whole again after a repair, or an opening for writing.
 */
static void damaged_manifest(void **state, const struct manifest_damage *damage, bool repairs)
{
	struct kv_repair_report report;
	struct fixture *fixture;
	unsigned heard = 0;

	fixture_setup(state);
	fixture = *state;
	must_put(fixture, HASHED, "key", "value");
	must_close(fixture);
	damage_manifest(fixture, damage);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->warnings, 1);
	assert_int_equal(findings_of(fixture), damage->findings);
	must_close(fixture);
	if (repairs) {
		assert_int_equal(
			kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
		assert_int_equal(report.mended, 1);
		assert_int_equal(report.lost_bytes + report.remaining, 0);
		assert_true(heard > 0);
	} else {
		must_open(fixture, 0);
		must_check_clean(fixture);
		must_close(fixture);
	}
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
	assert_int_equal(report.mended, 0);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->warnings + fixture->errors, 0);
	must_have(fixture, HASHED, "key", "value");
	must_check_clean(fixture);
	fixture_teardown(state);
}

static void test_damaged_manifest(void **state)
{
	for (unsigned i = 0; i < sizeof(manifest_damages) / sizeof(manifest_damages[0]); i++) {
		damaged_manifest(state, &manifest_damages[i], true);
		damaged_manifest(state, &manifest_damages[i], false);
	}
}

/* A file with these bytes stands for a directory. */
static const uint8_t directory[] = "a directory";
static struct sim_env *types_sim;
static int (*unlink_file)(struct env_dir *dir, const char *name);

static bool is_directory(const char *name)
{
	uint64_t size;
	const uint8_t *bytes = sim_env_bytes(types_sim, name, &size);

	return bytes && size == sizeof(directory) && memcmp(bytes, directory, size) == 0;
}

static int typed_open(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out)
{
	return is_directory(name) ? -EINVAL : open_file(dir, name, flags, out);
}

static int typed_unlink(struct env_dir *dir, const char *name)
{
	return is_directory(name) ? -EISDIR : unlink_file(dir, name);
}

/* What a directory is in the place of is named; a repair moves it away, and that is all. */
static void test_directories(void **state)
{
	static const struct {
		const char *name, *aside;
	} files[] = {{FORMAT_CHECKPOINT_NAME, "lost-checkpoint.0"},
		{FORMAT_SNAPSHOTS_NAME, "lost-snapshots.0"},
		{FORMAT_MANIFEST_NAME, "lost-manifest.0"}};
	struct kv_repair_report report;
	struct fixture *fixture;
	unsigned heard = 0;

	fixture_setup(state);
	fixture = *state;
	must_put(fixture, HASHED, "key", "value");
	must_close(fixture);
	types_sim = fixture->sim;
	open_file = fixture->env->file_open;
	unlink_file = fixture->env->unlink;
	fixture->env->file_open = typed_open;
	fixture->env->unlink = typed_unlink;
	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		assert_int_equal(sim_env_put_file(fixture->sim, files[i].name, directory,
					 sizeof(directory)),
			0);
		must_open(fixture, KV_OPEN_READ_ONLY);
		assert_int_equal(fixture->errors, 1);
		assert_non_null(strstr(fixture->last_error, files[i].name));
		assert_non_null(strstr(fixture->last_error, "no regular file"));
		assert_int_equal(findings_of(fixture), 1);
		must_close(fixture);
		assert_int_equal(
			kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
		assert_true(report.mended > 0);
		assert_int_equal(report.lost_bytes + report.remaining, 0);
		assert_true(is_directory(files[i].aside));
		assert_int_equal(
			kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
		assert_int_equal(report.mended, 0);
		must_open(fixture, 0);
		assert_int_equal(fixture->errors + fixture->warnings, 0);
		must_have(fixture, HASHED, "key", "value");
		must_check_clean(fixture);
		must_close(fixture);
	}
	fixture_teardown(state);
}

/* Not the superblock, which would have to be locked: that one is named, and stays. */
static void test_directory_for_super(void **state)
{
	struct kv_repair_report report;
	struct fixture *fixture;
	unsigned heard = 0;

	fixture_setup(state);
	fixture = *state;
	must_close(fixture);
	types_sim = fixture->sim;
	open_file = fixture->env->file_open;
	fixture->env->file_open = typed_open;
	assert_int_equal(sim_env_put_file(fixture->sim, FORMAT_SUPER_NAME, directory,
				 sizeof(directory)),
		0);
	assert_int_equal(fixture_open(fixture, 0), -EINVAL);
	assert_non_null(strstr(fixture->last_error, "(super) is no regular file"));
	assert_int_equal(
		kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), -EINVAL);
	assert_int_equal(heard, 1);
	assert_true(is_directory(FORMAT_SUPER_NAME));
	fixture_teardown(state);
}

static void take_away(struct fixture *fixture, const char *name)
{
	struct env_dir *dir;

	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(fixture->env->unlink(dir, name), 0);
	assert_int_equal(fixture->env->dir_sync(dir), 0);
	fixture->env->dir_close(dir);
}

static void must_show(struct fixture *fixture, unsigned keys)
{
	static uint8_t expected[20000];
	struct kv_slice value;
	struct kv_view *view;

	assert_int_equal(kv_snapshot_open(fixture->kv, SNAPSHOT, &view), 0);
	kv_read_begin(fixture->kv);
	for (unsigned key = 0; key < keys; key++) {
		fill_bytes(expected, sizeof(expected), key);
		assert_int_equal(kv_view_get(view, HASHED, &key, sizeof(key), &value), 0);
		assert_int_equal(value.size, sizeof(expected));
		assert_memory_equal(value.data, expected, sizeof(expected));
	}
	kv_read_end(fixture->kv);
	kv_view_close(view);
}

/*
 * The list is taken away of a store in which compaction has moved what the snapshot keeps: that is
 * said, and shown all the same, before a repair and behind it.
 */
static void take_list_away(void **state, bool with_checkpoint)
{
	struct kv_prune_options prune = {.garbage_percent = 1};
	static uint8_t value[20000];
	struct kv_repair_report report;
	struct fixture *fixture;
	unsigned heard = 0;

	fixture_setup_inline(state);
	fixture = *state;
	for (unsigned i = 0; i < 120; i++) {
		unsigned key = i % 60;

		fill_bytes(value, sizeof(value), i);
		assert_int_equal(kv_put(fixture->kv, HASHED, &key, sizeof(key), value,
					 sizeof(value), NULL), 0);
		/* Between them there is what need not be kept. */
		must_put_filled(fixture, HASHED, "often", sizeof(value), i);
		if (i == 59)
			assert_int_equal(kv_snapshot_create(fixture->kv, SNAPSHOT, NULL), 0);
	}
	assert_int_equal(kv_prune(fixture->kv, &prune, NULL, NULL, NULL), 0);
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	must_close(fixture);
	take_away(fixture, FORMAT_SNAPSHOTS_NAME);
	if (with_checkpoint)
		take_away(fixture, FORMAT_CHECKPOINT_NAME);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->errors, !with_checkpoint);
	assert_int_equal(findings_of(fixture), !with_checkpoint);
	must_show(fixture, 60);
	must_close(fixture);
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
	assert_int_equal(report.mended > 0, !with_checkpoint);
	assert_int_equal(heard > 0, !with_checkpoint);
	assert_int_equal(report.remaining, 0);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(fixture->errors, 0);
	must_show(fixture, 60);
	must_check_clean(fixture);
	fixture_teardown(state);
}

static void test_list_taken_away(void **state)
{
	take_list_away(state, false);
}

/* Then nobody knows that there was one. */
static void test_list_and_checkpoint_taken_away(void **state)
{
	take_list_away(state, true);
}

static void hear_missing(void *arg, enum kv_severity severity, const char *message)
{
	*(unsigned *)arg += strstr(message, "seg-00000000: missing") != NULL;
}

/*
 * Of a store that was closed the checkpoint, which a repair removes, or else the list of segments
 * knows that it had this last one.
 */
static void take_last_away(void **state, bool checkpoint)
{
	struct kv_repair_report report;
	struct fixture *fixture;
	unsigned heard = 0;

	fixture_setup(state);
	fixture = *state;
	must_put(fixture, HASHED, "key", "value");
	if (checkpoint)
		assert_int_equal(kv_checkpoint(fixture->kv), 0);
	must_close(fixture);
	take_away(fixture, "seg-00000000");
	assert_int_equal(errors_of_opening(fixture, KV_OPEN_READ_ONLY), 1);
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, hear_missing, &heard, &report), 0);
	assert_int_equal(heard, 1);
	assert_int_equal(report.mended, 1);
	assert_int_equal(report.remaining, 0);
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, hear_missing, &heard, &report), 0);
	assert_int_equal(heard, 1);
	assert_int_equal(report.mended, 0);
	fixture_teardown(state);
}

static void test_last_segment(void **state)
{
	take_last_away(state, true);
}

static void test_last_segment_without_checkpoint(void **state)
{
	take_last_away(state, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_damaged_list_repaired),
		cmocka_unit_test(test_damaged_list_opened),
		cmocka_unit_test(test_damaged_list_stays),
		cmocka_unit_test(test_damaged_manifest),
		cmocka_unit_test(test_directories),
		cmocka_unit_test(test_directory_for_super),
		cmocka_unit_test(test_last_segment),
		cmocka_unit_test(test_last_segment_without_checkpoint),
		cmocka_unit_test(test_list_taken_away),
		cmocka_unit_test(test_list_and_checkpoint_taken_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
