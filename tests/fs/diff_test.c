/* SPDX-License-Identifier: MIT */
/*
 * diff_test.c - what differs between two moments is what a walk through both trees finds, and
 * finding it takes what changed and not what there is.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "diff_names.h"
#include "inode.h"
#include "tree_model.h"

#define SNAPSHOTS 4u
#define STEPS 250u

/* A line for each difference. */
struct rows {
	char **rows;
	size_t count, room;
};

static void add_row(struct rows *rows, char sign, const char *path, bool is_directory)
{
	if (rows->count == rows->room) {
		rows->room = rows->room * 2 + 64;
		rows->rows = realloc(rows->rows, rows->room * sizeof(*rows->rows));
		assert_non_null(rows->rows);
	}
	assert_true(asprintf(&rows->rows[rows->count++], "%s%s %c", path, is_directory ? "/" : "",
			    sign) > 0);
}

static int compare_rows(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_rows(struct rows *rows)
{
	if (rows->count)
		qsort(rows->rows, rows->count, sizeof(*rows->rows), compare_rows);
}

static void free_rows(struct rows *rows)
{
	while (rows->count)
		free(rows->rows[--rows->count]);
	free(rows->rows);
}

static int on_difference(void *arg, enum kvfs_difference what, const char *path, bool is_directory)
{
	add_row(arg, "+-M"[what], path, is_directory);
	return 0;
}

/* ---- the plain way --------------------------------------------------------------------------- */

struct list {
	char names[MODEL_NAMES * 4][KVFS_NAME_MAX + 1];
	unsigned count;
};

static int keep_name(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct list *list = arg;

	if (strcmp(name, ".") && strcmp(name, "..")) {
		assert_true(list->count < MODEL_NAMES * 4);
		strcpy(list->names[list->count++], name);
	}
	return 0;
}

static struct list *list_names(struct kvfs *fs, uint64_t ino)
{
	struct list *list = calloc(1, sizeof(*list));

	assert_non_null(list);
	assert_int_equal(kvfs_readdir(fs, ino, 0, false, keep_name, list), 0);
	return list;
}

static bool is_same(const struct kvfs_attr *a, const struct kvfs_attr *b)
{
	return a->size == b->size && !memcmp(&a->mtime, &b->mtime, sizeof(a->mtime)) &&
	       !memcmp(&a->ctime, &b->ctime, sizeof(a->ctime));
}

static void walk(struct kvfs *from, struct kvfs *to, uint64_t ino, const char *path, struct rows *rows);

/* A name that both have. */
static void walk_entry(struct kvfs *from, struct kvfs *to, const char *path,
	const struct kvfs_attr *was, const struct kvfs_attr *is, struct rows *rows)
{
	bool is_directory = S_ISDIR(is->mode);
	char *below;

	if ((was->mode & S_IFMT) != (is->mode & S_IFMT) || (was->ino != is->ino && is_directory)) {
		add_row(rows, '-', path, S_ISDIR(was->mode));
		add_row(rows, '+', path, is_directory);
		return;
	}
	if (was->ino != is->ino || !is_same(was, is))
		add_row(rows, 'M', path, is_directory);
	if (!is_directory)
		return;
	assert_true(asprintf(&below, "%s/", path) > 0);
	walk(from, to, is->ino, below, rows);
	free(below);
}

static void walk_name(struct kvfs *from, struct kvfs *to, uint64_t ino, const char *path,
	const char *name, struct rows *rows)
{
	struct kvfs_attr was, is;
	int err_was = kvfs_lookup(from, ino, name, &was), err_is = kvfs_lookup(to, ino, name, &is);
	char *whole;

	assert_true(asprintf(&whole, "%s%s", path, name) > 0);
	if (!err_was && !err_is)
		walk_entry(from, to, whole, &was, &is, rows);
	else if (!err_was)
		add_row(rows, '-', whole, S_ISDIR(was.mode));
	else
		add_row(rows, '+', whole, S_ISDIR(is.mode));
	free(whole);
}

/* A directory that both have at the same place. */
static void walk(struct kvfs *from, struct kvfs *to, uint64_t ino, const char *path, struct rows *rows)
{
	struct list *old = list_names(from, ino), *new = list_names(to, ino);
	struct kvfs_attr attr;

	for (unsigned i = 0; i < old->count; i++)
		walk_name(from, to, ino, path, old->names[i], rows);
	for (unsigned i = 0; i < new->count; i++)
		if (kvfs_lookup(from, ino, new->names[i], &attr))
			walk_name(from, to, ino, path, new->names[i], rows);
	free(old);
	free(new);
}

static void must_agree(struct kvfs *from, struct kvfs *to)
{
	struct rows plain = {0}, found = {0};
	struct kvfs_attr was, is;

	assert_int_equal(kvfs_getattr(from, KVFS_ROOT_INO, &was), 0);
	assert_int_equal(kvfs_getattr(to, KVFS_ROOT_INO, &is), 0);
	if (!is_same(&was, &is))
		add_row(&plain, 'M', "", true);
	walk(from, to, KVFS_ROOT_INO, "", &plain);
	assert_int_equal(kvfs_diff(from, to, on_difference, NULL, &found), 0);
	sort_rows(&plain);
	sort_rows(&found);
	for (size_t i = 0; i < plain.count && i < found.count; i++)
		assert_string_equal(found.rows[i], plain.rows[i]);
	assert_int_equal(found.count, plain.count);
	free_rows(&plain);
	free_rows(&found);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static const char *const names_of_snapshots[SNAPSHOTS] = {"first", "second", "third", "fourth"};

/* Any two, in either direction, and the tree as it is, by itself and in a view. */
static void all_must_agree(struct fixture *store, unsigned count)
{
	struct kvfs *trees[SNAPSHOTS + 2];

	for (unsigned i = 0; i < count; i++)
		assert_int_equal(kvfs_snapshot_open(store->fs, names_of_snapshots[i], &trees[i]), 0);
	assert_int_equal(kvfs_view_open(store->fs, &trees[count]), 0);
	trees[count + 1] = store->fs;
	for (unsigned i = 0; i <= count + 1; i++)
		for (unsigned k = 0; k <= count + 1; k++)
			must_agree(trees[i], trees[k]);
	for (unsigned i = 0; i <= count; i++)
		assert_int_equal(kvfs_close(trees[i]), 0);
}

static void live(struct fixture *store, uint64_t seed)
{
	struct kv_prune_options prune = {.garbage_percent = 1};
	struct model *model = model_new(store, seed);

	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		for (unsigned step = 0; step < STEPS; step++)
			model_step(model);
		assert_int_equal(kvfs_snapshot_create(store->fs, names_of_snapshots[i]), 0);
	}
	for (unsigned step = 0; step < STEPS; step++)
		model_step(model);
	all_must_agree(store, SNAPSHOTS);
	model_free(model);
	/* What is kept for snapshots has moved, and was read again. */
	assert_int_equal(kv_prune(kvfs_kv(store->fs), &prune, NULL, NULL, NULL), 0);
	all_must_agree(store, SNAPSHOTS);
	fixture_reopen(store);
	all_must_agree(store, SNAPSHOTS);
}

static void test_lives(void **state)
{
	live(*state, 1);
}

static void test_other_lives(void **state)
{
	live(*state, 2);
}

/* A directory below one that was made anew under the same name is not where it was. */
static void test_made_anew(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a"), below = fixture_mkdir(store, a, "below");
	uint64_t file = fixture_mkfile(store, below, "file");
	struct rows rows = {0};
	struct kvfs *fs;

	assert_int_equal(kvfs_snapshot_create(store->fs, names_of_snapshots[0]), 0);
	assert_int_equal(
		kvfs_rename(store->fs, NULL, KVFS_ROOT_INO, "a", KVFS_ROOT_INO, "b", 0), 0);
	fixture_mkdir(store, KVFS_ROOT_INO, "a");
	assert_int_equal(kvfs_rename(store->fs, NULL, a, "below",
				 (uint64_t)fixture_lookup(store, KVFS_ROOT_INO, "a"), "below", 0),
		0);
	assert_int_equal(kvfs_write(store->fs, file, "x", 1, 0, 0), 1);
	assert_int_equal(kvfs_snapshot_open(store->fs, names_of_snapshots[0], &fs), 0);
	must_agree(fs, store->fs);
	must_agree(store->fs, fs);
	assert_int_equal(kvfs_diff(fs, store->fs, on_difference, NULL, &rows), 0);
	sort_rows(&rows);
	assert_int_equal(rows.count, 4);
	assert_string_equal(rows.rows[0], "/ M");
	assert_string_equal(rows.rows[1], "a/ +");
	assert_string_equal(rows.rows[2], "a/ -");
	assert_string_equal(rows.rows[3], "b/ +");
	free_rows(&rows);
	assert_int_equal(kvfs_close(fs), 0);
}

/* A directory that is removed while somebody holds it is gone, whatever is left of it. */
static void remove_held(struct fixture *store, bool attribute)
{
	uint64_t directory = fixture_mkdir(store, KVFS_ROOT_INO, "directory");
	struct rows rows = {0};
	struct kvfs *first, *second;

	fixture_mkfile(store, directory, "file");
	if (attribute)
		assert_int_equal(kvfs_setxattr(store->fs, directory, "user.a", "1", 1, 0), 0);
	assert_int_equal(kvfs_snapshot_create(store->fs, names_of_snapshots[0]), 0);
	kvfs_hold(store->fs, directory, 1);
	assert_int_equal(kvfs_unlink(store->fs, directory, "file"), 0);
	assert_int_equal(kvfs_rmdir(store->fs, KVFS_ROOT_INO, "directory"), 0);
	assert_int_equal(kvfs_snapshot_create(store->fs, names_of_snapshots[1]), 0);
	all_must_agree(store, 2);
	assert_int_equal(kvfs_snapshot_open(store->fs, names_of_snapshots[0], &first), 0);
	assert_int_equal(kvfs_snapshot_open(store->fs, names_of_snapshots[1], &second), 0);
	assert_int_equal(kvfs_diff(first, second, on_difference, NULL, &rows), 0);
	sort_rows(&rows);
	assert_int_equal(rows.count, 2);
	assert_string_equal(rows.rows[0], "/ M");
	assert_string_equal(rows.rows[1], "directory/ -");
	free_rows(&rows);
	assert_int_equal(kvfs_close(first), 0);
	assert_int_equal(kvfs_close(second), 0);
	kvfs_release(store->fs, directory, 1);
	all_must_agree(store, 2);
}

static void test_removed_while_held(void **state)
{
	remove_held(*state, false);
}

static void test_attribute_removed_while_held(void **state)
{
	remove_held(*state, true);
}

/* A file that has several names, some of them in directories that did not change. */
static void test_names(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a"), b = fixture_mkdir(store, KVFS_ROOT_INO, "b");
	uint64_t file = fixture_mkfile(store, a, "one"), other = fixture_mkfile(store, a, "other");
	struct rows rows = {0};
	struct kvfs_attr attr;
	struct kvfs *fs;

	assert_int_equal(kvfs_link(store->fs, file, b, "two", &attr), 0);
	assert_int_equal(kvfs_link(store->fs, other, b, "others", &attr), 0);
	assert_int_equal(kvfs_unlink(store->fs, a, "other"), 0);
	assert_int_equal(kvfs_snapshot_create(store->fs, names_of_snapshots[0]), 0);
	assert_int_equal(kvfs_snapshot_open(store->fs, names_of_snapshots[0], &fs), 0);
	assert_int_equal(kvfs_write(store->fs, file, "x", 1, 0, 0), 1);
	assert_int_equal(kvfs_write(store->fs, other, "x", 1, 0, 0), 1);
	assert_int_equal(kvfs_diff(fs, store->fs, on_difference, NULL, &rows), 0);
	sort_rows(&rows);
	assert_int_equal(rows.count, 3);
	assert_string_equal(rows.rows[0], "a/one M");
	assert_string_equal(rows.rows[1], "b/others M");
	assert_string_equal(rows.rows[2], "b/two M");
	free_rows(&rows);
	assert_int_equal(kvfs_rename(store->fs, NULL, b, "two", a, "three", 0), 0);
	must_agree(fs, store->fs);
	assert_int_equal(kvfs_close(fs), 0);
}

/*
 * Is the file found by the directory that its inode names, or in a pass over all names? In both
 * cases it is found.
 */
static bool is_found_at_once(struct fixture *store, uint64_t ino)
{
	struct diff_names names;
	struct inode inode;
	struct kvfs *fs;
	bool at_once;

	assert_int_equal(kvfs_snapshot_open(store->fs, names_of_snapshots[0], &fs), 0);
	kv_read_begin(store->fs->kv);
	assert_int_equal(inode_get(store->fs, ino, &inode), 0);
	kv_read_end(store->fs->kv);
	assert_int_equal(diff_names_init(&names, fs, store->fs), 0);
	assert_int_equal(diff_names_want(&names, ino, inode.parent, inode.nlink), 0);
	assert_int_equal(diff_names_find(&names), 0);
	assert_int_equal(names.missing, 0);
	assert_true(names.count >= inode.nlink);
	at_once = !names.all_listed;
	diff_names_fini(&names);
	assert_int_equal(kvfs_close(fs), 0);
	return at_once;
}

static void test_hints(void **state)
{
	struct fixture *store = *state;
	uint64_t a = fixture_mkdir(store, KVFS_ROOT_INO, "a"), b = fixture_mkdir(store, KVFS_ROOT_INO, "b");
	uint64_t file = fixture_mkfile(store, a, "file");
	struct kvfs_attr link, nameless;

	assert_int_equal(kvfs_snapshot_create(store->fs, names_of_snapshots[0]), 0);
	assert_int_equal(kvfs_symlink(store->fs, &fixture_root, "file", a, "link", &link), 0);
	assert_true(is_found_at_once(store, file));
	assert_true(is_found_at_once(store, link.ino));
	assert_int_equal(kvfs_rename(store->fs, NULL, a, "file", b, "other", 0), 0);
	assert_int_equal(kvfs_rename(store->fs, NULL, b, "other", a, "link", RENAME_EXCHANGE), 0);
	assert_true(is_found_at_once(store, file));
	assert_true(is_found_at_once(store, link.ino));
	assert_int_equal(kvfs_link(store->fs, file, b, "second", &link), 0);
	assert_false(is_found_at_once(store, file));
	assert_int_equal(kvfs_unlink(store->fs, a, "link"), 0);
	assert_false(is_found_at_once(store, file));
	assert_int_equal(kvfs_rename(store->fs, NULL, b, "second", b, "only", 0), 0);
	assert_true(is_found_at_once(store, file));
	assert_int_equal(
		kvfs_tmpfile(store->fs, &fixture_root, a, S_IFREG | 0600, &nameless), 0);
	assert_int_equal(kvfs_link(store->fs, nameless.ino, b, "named", &link), 0);
	assert_true(is_found_at_once(store, nameless.ino));
	kvfs_release(store->fs, nameless.ino, 1);
}

/* A view stays what it was while the tree goes on, with a snapshot of that moment and without. */
static void test_view(void **state)
{
	struct fixture *store = *state;
	struct model *model = model_new(store, 3);
	struct rows rows = {0};
	struct kvfs *snapshot, *view, *other;

	assert_int_equal(kvfs_snapshot_create(store->fs, names_of_snapshots[0]), 0);
	for (unsigned step = 0; step < STEPS; step++)
		model_step(model);
	assert_int_equal(kvfs_snapshot_create(store->fs, names_of_snapshots[1]), 0);
	assert_int_equal(kvfs_view_open(store->fs, &view), 0);
	for (unsigned step = 0; step < STEPS; step++)
		model_step(model);
	assert_int_equal(kvfs_snapshot_open(store->fs, names_of_snapshots[1], &snapshot), 0);
	assert_int_equal(kvfs_diff(snapshot, view, on_difference, NULL, &rows), 0);
	assert_int_equal(rows.count, 0);
	must_agree(view, snapshot);
	must_agree(view, store->fs);
	assert_int_equal(kvfs_close(snapshot), 0);
	assert_int_equal(kvfs_snapshot_open(store->fs, names_of_snapshots[0], &snapshot), 0);
	must_agree(snapshot, view);
	assert_int_equal(kvfs_view_open(view, &other), -EROFS);
	assert_int_equal(kvfs_close(view), 0);
	assert_int_equal(kvfs_close(snapshot), 0);
	model_free(model);
}

struct stop {
	unsigned asked, asked_max, rows, rows_max;
};

static bool stops(void *arg)
{
	struct stop *stop = arg;

	return ++stop->asked > stop->asked_max;
}

static int counts_row(void *arg, enum kvfs_difference what, const char *path, bool is_directory)
{
	struct stop *stop = arg;

	return ++stop->rows > stop->rows_max;
}

/* Wherever it is asked to: also before anything is found. */
static void test_stopped(void **state)
{
	struct fixture *store = *state;
	struct stop all = {.asked_max = UINT_MAX, .rows_max = UINT_MAX}, stop;
	struct kvfs *fs;
	char name[16];

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		fixture_mkfile(store, KVFS_ROOT_INO, name);
	}
	assert_int_equal(kvfs_snapshot_create(store->fs, names_of_snapshots[0]), 0);
	assert_int_equal(kvfs_snapshot_open(store->fs, names_of_snapshots[0], &fs), 0);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, name), 0);
		fixture_mkfile(store, KVFS_ROOT_INO, name);
	}
	assert_int_equal(kvfs_diff(fs, store->fs, counts_row, stops, &all), 0);
	assert_int_equal(all.rows, 1001);
	assert_true(all.asked > 8);
	for (unsigned i = 0; i < all.asked; i++) {
		stop = (struct stop){.asked_max = i, .rows_max = UINT_MAX};
		assert_int_equal(kvfs_diff(fs, store->fs, counts_row, stops, &stop), -ECANCELED);
		assert_int_equal(stop.asked, i + 1);
		assert_true(i || !stop.rows);
	}
	stop = (struct stop){.asked_max = UINT_MAX, .rows_max = 10};
	assert_int_equal(kvfs_diff(fs, store->fs, counts_row, stops, &stop), -ECANCELED);
	assert_int_equal(stop.rows, 11);
	assert_int_equal(kvfs_close(fs), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lives, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_other_lives, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_made_anew, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_removed_while_held, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_attribute_removed_while_held, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_names, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_hints, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_view, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_stopped, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
