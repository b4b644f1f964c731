/* SPDX-License-Identifier: MIT */
/*
 * kv_repair_names_test.c - segments' files that were copied, moved or swapped, or are of another
 * store: opening says what they are, and a repair brings all back, whatever cuts it short.
 */
#include "kv_fixture.h"

#include "format.h"
#include "store_image.h"

#define KEYS 300u
#define VALUE_SIZE 20000u

static const char *const names[] = {
	"seg-00000000", "seg-00000001", "seg-00000002", "seg-00000003", "seg-00000004"};
static const char other_name[] = "seg-00000009";

static void make_image(struct store_image *image)
{
	struct fixture *fixture;
	void *state = NULL;
	char key[16];

	fixture_setup_inline(&state);
	fixture = state;
	for (unsigned i = 0; i < KEYS; i++) {
		numbered_key(key, i);
		must_put_filled(fixture, i % 2, key, VALUE_SIZE, i);
	}
	must_close(fixture);
	store_image_take(image, fixture->sim, STORE_PATH);
	fixture_teardown(&state);
}

static void mount_image(struct fixture *fixture, const struct store_image *image)
{
	*fixture = (struct fixture){.sim = store_image_mount(image, STORE_PATH)};
	fixture->env = sim_env_table(fixture->sim);
}

static void unmount(struct fixture *fixture)
{
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	sim_env_free(fixture->sim);
}

/* Each of these files gets the name of the next one, and the last one that of the first. */
static void rotate(struct store_image *image, const char *const *which, unsigned count)
{
	const struct store_image_file *found[8];

	for (unsigned i = 0; i < count; i++)
		found[i] = store_image_find(image, which[i]);
	for (unsigned i = 0; i < count; i++)
		strcpy((char *)found[i]->name, which[(i + 1) % count]);
}

struct heard {
	const char *pattern; /* that is waited for, or NULL */
	unsigned matched;
};

static void hear(void *arg, enum kv_severity severity, const char *message)
{
	struct heard *heard = arg;

	heard->matched += heard->pattern && strstr(message, heard->pattern);
}

/* Opening says it; for writing it goes no further. */
static void must_say(struct fixture *fixture, const char *pattern)
{
	for (unsigned flags = 0; flags <= KV_OPEN_READ_ONLY; flags += KV_OPEN_READ_ONLY) {
		struct heard heard = {pattern, 0};
		struct kv_open_options options = {
			.flags = flags | KV_OPEN_INLINE, .report = hear, .report_arg = &heard};
		struct kv *kv;
		int result = kv_open(fixture->env, STORE_PATH, &options, &kv);

		assert_int_equal(result, flags ? 0 : -EUCLEAN);
		if (!result)
			assert_int_equal(kv_close(kv), 0);
		if (!heard.matched)
			fail_msg("opening does not say \"%s\"", pattern);
	}
}

static int repair(struct fixture *fixture, const char *pattern, struct kv_repair_report *report)
{
	struct heard heard = {pattern, 0};
	int result = kv_repair(fixture->env, STORE_PATH, hear, &heard, report);

	if (pattern && !heard.matched)
		fail_msg("a repair does not say \"%s\"", pattern);
	return result;
}

/* All that was there but for so many keys, and nothing more for a repair to do. */
static void must_be_whole(struct fixture *fixture, unsigned missing)
{
	struct kv_repair_report report;
	struct kv_slice found;
	char key[16];

	assert_int_equal(kv_repair(fixture->env, STORE_PATH, NULL, NULL, &report), 0);
	assert_int_equal(report.mended + report.remaining, 0);
	must_open(fixture, KV_OPEN_INLINE);
	must_check_clean(fixture);
	for (unsigned i = 0; i < KEYS; i++) {
		numbered_key(key, i);
		kv_read_begin(fixture->kv);
		if (kv_get(fixture->kv, i % 2, key, strlen(key), &found) == -ENOENT)
			missing--;
		else
			must_have_filled(fixture, i % 2, key, VALUE_SIZE, i);
		kv_read_end(fixture->kv);
	}
	assert_int_equal(missing, 0);
	must_close(fixture);
}

static bool is_there(struct fixture *fixture, const char *name)
{
	uint64_t size;

	return sim_env_bytes(fixture->sim, name, &size) != NULL;
}

static void put_copy(
	struct fixture *fixture, const struct store_image *image, const char *from, const char *to)
{
	const struct store_image_file *file = store_image_find(image, from);

	assert_int_equal(sim_env_put_file(fixture->sim, to, file->bytes, file->size), 0);
}

/* Swapped, in a cycle, and moved to the name of another slot: all of it is there again. */
static void test_wrong_names(void **state)
{
	for (unsigned count = 1; count <= 5; count++) {
		struct kv_repair_report report;
		struct store_image image;
		struct fixture fixture;

		make_image(&image);
		if (count > 1)
			rotate(&image, names, count);
		else
			strcpy((char *)store_image_find(&image, names[1])->name, other_name);
		mount_image(&fixture, &image);
		must_say(&fixture, "of this store under another name");
		assert_int_equal(repair(&fixture, "has its own again", &report), 0);
		assert_int_equal(report.mended, count);
		assert_int_equal(report.lost_bytes + report.remaining, 0);
		assert_int_equal(sim_env_power_on(fixture.sim, SIM_LOSS_ALL), 0);
		must_be_whole(&fixture, 0);
		assert_false(is_there(&fixture, "lost-00000001.0"));
		unmount(&fixture);
		store_image_free(&image);
	}
}

/* The power fails at any step of that; what is lost then follows from `fate`. */
static void cut_anywhere(const struct store_image *image, unsigned fate)
{
	bool cut = true;

	for (uint64_t step = 1; cut; step++) {
		struct kv_repair_report report;
		struct fixture fixture;

		mount_image(&fixture, image);
		fixture_set_fate(&fixture, fate);
		sim_env_cut_at(fixture.sim, sim_env_steps(fixture.sim) + step);
		(void)!kv_repair(fixture.env, STORE_PATH, NULL, NULL, &report);
		cut = sim_env_is_cut(fixture.sim);
		assert_int_equal(sim_env_power_on(fixture.sim,
					 fate ? SIM_LOSS_ANY : SIM_LOSS_ALL),
			0);
		assert_int_equal(repair(&fixture, NULL, &report), 0);
		assert_int_equal(report.lost_bytes + report.remaining, 0);
		must_be_whole(&fixture, 0);
		unmount(&fixture);
	}
}

static void test_wrong_names_cut(void **state)
{
	struct store_image image;

	make_image(&image);
	rotate(&image, names, 3);
	for (unsigned fate = 0; fate < full_or_quick(4, 2); fate++)
		cut_anywhere(&image, fate);
	store_image_free(&image);
}

/* A copy beside the segment itself is no loss, and other damage is repaired beside it. */
static void test_copy(void **state)
{
	struct kv_repair_report report;
	struct store_image image;
	struct fixture fixture;

	make_image(&image);
	mount_image(&fixture, &image);
	put_copy(&fixture, &image, names[1], other_name);
	assert_int_equal(sim_env_flip(fixture.sim, names[3], 450000, 3), 0);
	must_say(&fixture, "seg-00000009: is seg-00000001 of this store under another name");
	assert_int_equal(repair(&fixture, "seg-00000009: is a copy of seg-00000001", &report), 0);
	assert_true(report.lost_bytes > 0 && report.lost_bytes < 2 * VALUE_SIZE);
	assert_int_equal(report.remaining, 0);
	assert_true(is_there(&fixture, "lost-00000009.0"));
	must_be_whole(&fixture, 1);
	unmount(&fixture);
	store_image_free(&image);
}

/* All keys are deleted, and the segments that they were in emptied. */
static void empty_segments(struct fixture *fixture)
{
	struct kv_prune_options prune = {.garbage_percent = 1};
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		numbered_key(key, i);
		must_delete(fixture, i % 2, key);
	}
	for (unsigned turn = 0; turn < 4; turn++) {
		for (unsigned i = 0; i < 2 * KEYS; i += 5) {
			numbered_key(key, KEYS + i);
			must_put_filled(fixture, HASHED, key, VALUE_SIZE, i + turn);
		}
		assert_int_equal(kv_prune(fixture->kv, &prune, NULL, NULL, NULL), 0);
	}
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(kv_prune(fixture->kv, &prune, NULL, NULL, NULL), 0);
}

/*
 * A copy of a segment that is no part of the log any more: what is deleted since must not come
 * back.
 */
static void test_copy_of_emptied(void **state)
{
	struct kv_repair_report report;
	struct fixture *fixture;
	struct store_image image;
	struct kv_slice found;
	unsigned gone = 0;
	char key[16];

	make_image(&image);
	fixture_setup_empty(state);
	fixture = *state;
	sim_env_free(fixture->sim);
	mount_image(fixture, &image);
	must_open(fixture, KV_OPEN_INLINE);
	empty_segments(fixture);
	must_close(fixture);
	while (gone < sizeof(names) / sizeof(names[0]) && is_there(fixture, names[gone]))
		gone++;
	assert_true(gone < sizeof(names) / sizeof(names[0]));
	put_copy(fixture, &image, names[gone], other_name);
	must_say(fixture, "of this store under another name");
	assert_int_equal(repair(fixture, "which was emptied since", &report), 0);
	assert_int_equal(report.lost_bytes + report.remaining, 0);
	assert_true(is_there(fixture, "lost-00000009.0"));
	must_open(fixture, KV_OPEN_INLINE);
	kv_read_begin(fixture->kv);
	for (unsigned i = 0; i < KEYS; i++) {
		numbered_key(key, i);
		assert_int_equal(kv_get(fixture->kv, i % 2, key, strlen(key), &found), -ENOENT);
	}
	kv_read_end(fixture->kv);
	must_check_clean(fixture);
	store_image_free(&image);
	fixture_teardown(state);
}

/* The same bytes as if another store had written them. */
static void put_foreign(struct fixture *fixture, const struct store_image *image, const char *from,
	const char *to)
{
	const struct store_image_file *file = store_image_find(image, from);
	struct format_segment header;
	struct format_super super;
	uint8_t *bytes = malloc(file->size);

	assert_non_null(bytes);
	memcpy(bytes, file->bytes, file->size);
	memcpy(&header, bytes, sizeof(header));
	memcpy(&super, store_image_find(image, FORMAT_SUPER_NAME)->bytes, sizeof(super));
	super.uuid[3] ^= 1;
	format_super_seal(&super);
	format_segment_seal(&header, super.uuid, header.id,
		(uint32_t)format_segment_slot(to), header.size, header.salt);
	format_page_fill(bytes, &header, &super);
	assert_int_equal(sim_env_put_file(fixture->sim, to, bytes, file->size), 0);
	free(bytes);
}

static void test_foreign(void **state)
{
	struct kv_repair_report report;
	struct store_image image;
	struct fixture fixture;

	make_image(&image);
	mount_image(&fixture, &image);
	put_foreign(&fixture, &image, names[1], other_name);
	must_say(&fixture, "seg-00000009: is of another store");
	assert_int_equal(repair(&fixture, "seg-00000009: is of another store", &report), 0);
	assert_int_equal(report.mended, 1);
	assert_int_equal(report.lost_bytes + report.remaining, 0);
	assert_true(is_there(&fixture, "lost-00000009.0"));
	must_be_whole(&fixture, 0);
	unmount(&fixture);
	store_image_free(&image);
}

/* Which of two stores it is nobody can tell any more. */
static void test_foreign_without_super(void **state)
{
	struct kv_repair_report report;
	struct store_image image;
	struct fixture fixture;

	make_image(&image);
	mount_image(&fixture, &image);
	put_foreign(&fixture, &image, names[1], "seg-00000009");
	assert_int_equal(sim_env_flip(fixture.sim, FORMAT_SUPER_NAME, 40, 2), 0);
	assert_int_equal(repair(&fixture, "segments are of two stores", &report), -EUCLEAN);
	assert_true(is_there(&fixture, other_name));
	for (unsigned i = 0; i < image.count; i++)
		assert_true(is_there(&fixture, image.files[i].name));
	unmount(&fixture);
	store_image_free(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_names),
		cmocka_unit_test(test_wrong_names_cut),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_copy_of_emptied),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_foreign_without_super),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
