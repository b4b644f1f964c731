/* SPDX-License-Identifier: MIT */
/*
 * kv_view_test.c - views and snapshots, one promise at a time; kv_view_model_test.c has them all at
 * once.
 */
#include <stdatomic.h>

#include "format.h"
#include "kv_fixture.h"

static struct kv_view *must_view(struct fixture *fixture)
{
	struct kv_view *view;

	assert_int_equal(kv_view_open(fixture->kv, &view), 0);
	return view;
}

static struct kv_view *must_open_snapshot(struct fixture *fixture, const char *name)
{
	struct kv_view *view;

	assert_int_equal(kv_snapshot_open(fixture->kv, name, &view), 0);
	return view;
}

static void must_snapshot(struct fixture *fixture, const char *name)
{
	assert_int_equal(kv_snapshot_create(fixture->kv, name, NULL), 0);
}

static void view_must_have(struct fixture *fixture, const struct kv_view *view, unsigned keyspace,
	const char *key, const char *value)
{
	struct kv_slice found;
	uint64_t size;

	kv_read_begin(fixture->kv);
	assert_int_equal(kv_view_get(view, keyspace, key, strlen(key), &found), 0);
	assert_int_equal(found.size, strlen(value));
	assert_memory_equal(found.data, value, found.size);
	kv_read_end(fixture->kv);
	assert_int_equal(kv_view_contains(view, keyspace, key, strlen(key)), 0);
	assert_int_equal(kv_view_value_size(view, keyspace, key, strlen(key), &size), 0);
	assert_int_equal(size, strlen(value));
}

static void view_must_lack(
	struct fixture *fixture, const struct kv_view *view, unsigned keyspace, const char *key)
{
	struct kv_slice found;

	kv_read_begin(fixture->kv);
	assert_int_equal(kv_view_get(view, keyspace, key, strlen(key), &found), -ENOENT);
	kv_read_end(fixture->kv);
	assert_int_equal(kv_view_contains(view, keyspace, key, strlen(key)), -ENOENT);
}

static void test_view_stays(void **state)
{
	struct fixture *fixture = *state;
	struct kv_view *empty = must_view(fixture), *view;

	for (unsigned keyspace = 0; keyspace < 2; keyspace++) {
		must_put(fixture, keyspace, "kept", "1");
		must_put(fixture, keyspace, "changed", "1");
		must_put(fixture, keyspace, "deleted", "1");
	}
	view = must_view(fixture);
	assert_int_equal(kv_view_seq(view), kv_last_seq(fixture->kv));
	for (unsigned keyspace = 0; keyspace < 2; keyspace++) {
		must_put(fixture, keyspace, "changed", "two");
		must_put(fixture, keyspace, "changed", "three");
		must_delete(fixture, keyspace, "deleted");
		must_put(fixture, keyspace, "new", "2");
		view_must_have(fixture, view, keyspace, "kept", "1");
		view_must_have(fixture, view, keyspace, "changed", "1");
		view_must_have(fixture, view, keyspace, "deleted", "1");
		view_must_lack(fixture, view, keyspace, "new");
		view_must_lack(fixture, empty, keyspace, "kept");
		view_must_lack(fixture, empty, keyspace, "deleted");
		must_have(fixture, keyspace, "changed", "three");
		must_lack(fixture, keyspace, "deleted");
		must_put(fixture, keyspace, "deleted", "again");
		view_must_have(fixture, view, keyspace, "deleted", "1");
	}
	assert_int_equal(stats_of(fixture).views, 2);
	assert_int_equal(stats_of(fixture).versions, 4);
	assert_true(stats_of(fixture).kept_bytes > 0);
	must_check_clean(fixture);
	kv_view_close(view);
	kv_view_close(empty);
	kv_view_close(NULL);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(stats_of(fixture).versions, 0);
	assert_int_equal(stats_of(fixture).kept_bytes, 0);
	must_check_clean(fixture);
}

/* While nobody looks nothing is kept. */
static void test_no_views_keep_nothing(void **state)
{
	struct fixture *fixture = *state;

	must_put(fixture, ORDERED, "a", "1");
	kv_view_close(must_view(fixture));
	must_put(fixture, ORDERED, "a", "2");
	must_delete(fixture, ORDERED, "a");
	assert_int_equal(stats_of(fixture).versions, 0);
	assert_int_equal(stats_of(fixture).memory_versions_bytes, 0);
}

static void test_arguments(void **state)
{
	struct fixture *fixture = *state;
	char name[KV_SNAPSHOT_NAME_MAX + 2];
	struct kv_view *view = must_view(fixture);
	struct kv_cursor *cursor;
	struct kv_slice value;

	kv_read_begin(fixture->kv);
	assert_int_equal(kv_view_get(view, 2, "k", 1, &value), -EINVAL);
	assert_int_equal(kv_view_get(view, 0, "", 0, &value), -EINVAL);
	kv_read_end(fixture->kv);
	assert_int_equal(kv_cursor_open_view(view, HASHED, &cursor), -EINVAL);
	kv_view_close(view);
	assert_int_equal(kv_snapshot_create(fixture->kv, "", NULL), -EINVAL);
	memset(name, 'n', sizeof(name));
	name[KV_SNAPSHOT_NAME_MAX + 1] = 0;
	assert_int_equal(kv_snapshot_create(fixture->kv, name, NULL), -EINVAL);
	name[KV_SNAPSHOT_NAME_MAX] = 0;
	must_snapshot(fixture, name);
	assert_int_equal(kv_snapshot_create(fixture->kv, name, NULL), -EEXIST);
	assert_int_equal(kv_snapshot_open(fixture->kv, "none", &view), -ENOENT);
	assert_int_equal(kv_snapshot_delete(fixture->kv, "none", NULL), -ENOENT);
	assert_int_equal(kv_snapshot_delete(fixture->kv, name, NULL), 0);
	assert_int_equal(kv_snapshot_delete(fixture->kv, name, NULL), -ENOENT);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

struct names {
	char text[256];
	unsigned count;
	uint64_t last_seq;
};

static int add_name(void *arg, const struct kv_snapshot *snapshot)
{
	struct names *names = arg;

	strcat(names->text, snapshot->name);
	strcat(names->text, " ");
	names->count++;
	names->last_seq = snapshot->seq;
	assert_true(snapshot->time_us > 0);
	return names->count == 3 ? 77 : 0;
}

static void test_list(void **state)
{
	struct fixture *fixture = *state;
	struct names names = {.count = 0};
	uint64_t seq;

	assert_int_equal(kv_snapshot_list(fixture->kv, add_name, &names), 0);
	assert_int_equal(names.count, 0);
	must_snapshot(fixture, "b");
	assert_int_equal(kv_snapshot_create(fixture->kv, "ab", &seq), 0);
	assert_int_equal(seq, kv_last_seq(fixture->kv));
	assert_int_equal(kv_snapshot_list(fixture->kv, add_name, &names), 0);
	assert_string_equal(names.text, "ab b ");
	must_snapshot(fixture, "a");
	must_snapshot(fixture, "z");
	names = (struct names){.count = 0};
	assert_int_equal(kv_snapshot_list(fixture->kv, add_name, &names), 77);
	assert_string_equal(names.text, "a ab b ");
	assert_int_equal(stats_of(fixture).snapshots, 4);
}

static void must_see_first_state(struct fixture *fixture)
{
	struct kv_view *view = must_open_snapshot(fixture, "first");

	for (unsigned keyspace = 0; keyspace < 2; keyspace++) {
		view_must_have(fixture, view, keyspace, "changed", "1");
		view_must_have(fixture, view, keyspace, "deleted", "1");
		view_must_lack(fixture, view, keyspace, "new");
	}
	kv_view_close(view);
}

static void take_first(struct fixture *fixture)
{
	for (unsigned keyspace = 0; keyspace < 2; keyspace++) {
		must_put(fixture, keyspace, "changed", "1");
		must_put(fixture, keyspace, "deleted", "1");
	}
	must_snapshot(fixture, "first");
	for (unsigned keyspace = 0; keyspace < 2; keyspace++) {
		must_put(fixture, keyspace, "changed", "2");
		must_delete(fixture, keyspace, "deleted");
		must_put(fixture, keyspace, "new", "2");
	}
}

static void test_snapshot_lasts(void **state)
{
	struct fixture *fixture = *state;

	take_first(fixture);
	must_see_first_state(fixture);
	must_close(fixture);
	must_open(fixture, 0);
	must_see_first_state(fixture);
	must_check_clean(fixture);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	must_see_first_state(fixture);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	must_see_first_state(fixture);
	assert_int_equal(kv_snapshot_create(fixture->kv, "second", NULL), -EROFS);
	assert_int_equal(kv_snapshot_delete(fixture->kv, "first", NULL), -EROFS);
}

/* A list from a future that is lost does not hide what comes now. */
static void test_list_of_future(void **state)
{
	struct fixture *fixture = *state;
	union {
		struct format_snapshots header;
		uint8_t bytes[sizeof(struct format_snapshots) + sizeof(struct format_snapshot)];
	} file = {.header = {.count = 1, .seq = 1000}};
	struct format_snapshot *entry = (struct format_snapshot *)(&file.header + 1);
	const struct format_super *super;
	struct kv_view *view;
	uint64_t size;

	must_put(fixture, HASHED, "a", "1");
	must_close(fixture);
	super = (const struct format_super *)sim_env_bytes(fixture->sim, FORMAT_SUPER_NAME, &size);
	memcpy(file.header.uuid, super->uuid, 16);
	*entry = (struct format_snapshot){.seq = 999, .name_size = 6, .name = "future"};
	format_snapshots_seal(&file.header);
	assert_int_equal(
		sim_env_put_file(fixture->sim, FORMAT_SNAPSHOTS_NAME, file.bytes, sizeof(file)), 0);
	must_open(fixture, 0);
	assert_int_equal(fixture->errors, 1);
	assert_int_equal(kv_snapshot_open(fixture->kv, "future", &view), -ENOENT);
	must_snapshot(fixture, "now");
	must_put(fixture, HASHED, "a", "2");
	for (unsigned round = 0; round < 2; round++) {
		view = must_open_snapshot(fixture, "now");
		view_must_have(fixture, view, HASHED, "a", "1");
		kv_view_close(view);
		must_close(fixture);
		must_open(fixture, 0);
		assert_int_equal(fixture->errors, 0);
	}
}

/* A view of a snapshot outlives it. */
static void test_delete_while_open(void **state)
{
	struct fixture *fixture = *state;
	struct kv_view *view;

	take_first(fixture);
	view = must_open_snapshot(fixture, "first");
	assert_int_equal(kv_snapshot_delete(fixture->kv, "first", NULL), 0);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	view_must_have(fixture, view, HASHED, "deleted", "1");
	view_must_have(fixture, view, ORDERED, "changed", "1");
	kv_view_close(view);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(stats_of(fixture).versions, 0);
	must_close(fixture);
	must_open(fixture, 0);
	assert_int_equal(kv_snapshot_open(fixture->kv, "first", &view), -ENOENT);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(stats_of(fixture).versions, 0);
	must_check_clean(fixture);
}

#define VALUES 400u
#define VALUE_SIZE 10000u

static void put_values(struct fixture *fixture, unsigned stamp)
{
	for (unsigned key = 0; key < VALUES; key++) {
		char name[16];

		snprintf(name, sizeof(name), "key-%03u", key);
		must_put_filled(fixture, key % 2, name, VALUE_SIZE, stamp * VALUES + key);
	}
}

static void view_must_have_values(
	struct fixture *fixture, const struct kv_view *view, unsigned stamp)
{
	static uint8_t expected[VALUE_SIZE + 8];

	for (unsigned key = 0; key < VALUES; key++) {
		struct kv_slice found;
		char name[16];

		snprintf(name, sizeof(name), "key-%03u", key);
		fill_bytes(expected, VALUE_SIZE, stamp * VALUES + key);
		kv_read_begin(fixture->kv);
		assert_int_equal(kv_view_get(view, key % 2, name, strlen(name), &found), 0);
		assert_int_equal(found.size, VALUE_SIZE);
		assert_memory_equal(found.data, expected, VALUE_SIZE);
		kv_read_end(fixture->kv);
	}
}

static void must_see_values(struct fixture *fixture, const char *name, unsigned stamp)
{
	struct kv_view *view = must_open_snapshot(fixture, name);

	view_must_have_values(fixture, view, stamp);
	kv_view_close(view);
}

/*
 * What a snapshot keeps is garbage with it, and comes back from the disk; until then it moves, and
 * stays.
 */
static void test_space(void **state)
{
	struct fixture *fixture = *state;
	struct kv_prune_options options = {.garbage_percent = 1};
	uint64_t kept;

	put_values(fixture, 1);
	must_snapshot(fixture, "one");
	put_values(fixture, 2);
	must_snapshot(fixture, "two");
	put_values(fixture, 3);
	put_values(fixture, 4);
	assert_int_equal(stats_of(fixture).versions, 2 * VALUES);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
		must_see_values(fixture, "one", 1);
		must_see_values(fixture, "two", 2);
		must_check_clean(fixture);
		must_close(fixture);
		must_open(fixture, 0);
		must_check_clean(fixture);
		assert_int_equal(stats_of(fixture).versions, 2 * VALUES);
		must_see_values(fixture, "two", 2);
		must_see_values(fixture, "one", 1);
	}
	kept = stats_of(fixture).log_bytes;
	assert_int_equal(kv_snapshot_delete(fixture->kv, "one", NULL), 0);
	assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
	assert_int_equal(stats_of(fixture).versions, VALUES);
	assert_true(stats_of(fixture).log_bytes < kept - VALUES * VALUE_SIZE * 3 / 4);
	must_see_values(fixture, "two", 2);
	assert_int_equal(kv_snapshot_delete(fixture->kv, "two", NULL), 0);
	assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
	assert_true(stats_of(fixture).log_bytes < VALUES * VALUE_SIZE + 3 * SEGMENT_SIZE);
	must_check_clean(fixture);
}

static int (*rename_file)(struct env_dir *dir, const char *from, const char *to);
static atomic_bool list_refused; /* asked by the store's threads */

static int rename_but_list(struct env_dir *dir, const char *from, const char *to)
{
	return strcmp(to, FORMAT_SNAPSHOTS_NAME) || !list_refused ? rename_file(dir, from, to)
								  : -EIO;
}

/*
 * While the file of the snapshots cannot be written, what the log says of them stays where it
 * stands: a copy of it would come behind what replaced what they see. Garbage elsewhere is given
 * back, and all of it when the file can be written again.
 */
static void test_list_cannot_be_written(void **state)
{
	struct fixture *fixture = *state;
	struct kv_prune_options options = {.garbage_percent = 1};
	struct kv_view *view;
	uint64_t stuck;

	must_close(fixture);
	rename_file = sim_env_table(fixture->sim)->rename;
	sim_env_table(fixture->sim)->rename = rename_but_list;
	list_refused = true;
	must_open(fixture, 0);
	put_values(fixture, 1);
	must_snapshot(fixture, "one");
	for (unsigned stamp = 2; stamp <= 5; stamp++)
		put_values(fixture, stamp);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
		must_see_values(fixture, "one", 1);
		must_crash(fixture, SIM_LOSS_ALL, 0);
		must_see_values(fixture, "one", 1);
		must_check_clean(fixture);
	}
	assert_int_equal(kv_snapshot_delete(fixture->kv, "one", NULL), 0);
	put_values(fixture, 6);
	assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	assert_int_equal(kv_snapshot_open(fixture->kv, "one", &view), -ENOENT);
	stuck = stats_of(fixture).log_bytes;
	list_refused = false;
	put_values(fixture, 7);
	assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
	assert_true(stats_of(fixture).log_bytes < stuck);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	assert_int_equal(kv_snapshot_open(fixture->kv, "one", &view), -ENOENT);
	must_check_clean(fixture);
}

/* ---- cursors --------------------------------------------------------------------------------- */

static void must_walk(struct kv_cursor *cursor, int (*start)(struct kv_cursor *),
	int (*move)(struct kv_cursor *), const char *expected)
{
	char text[64] = "";
	int result;

	for (result = start(cursor); !result; result = move(cursor))
		strncat(text, kv_cursor_key(cursor).data, kv_cursor_key(cursor).size);
	assert_int_equal(result, -ENOENT);
	assert_string_equal(text, expected);
}

static void must_read(struct fixture *fixture, struct kv_cursor *cursor, const char *expected)
{
	struct kv_entry entries[3];
	char text[64] = "";
	size_t count;

	assert_int_equal(kv_cursor_first(cursor), 0);
	kv_read_begin(fixture->kv);
	while (!kv_cursor_read(cursor, entries, 3, &count))
		for (size_t i = 0; i < count; i++) {
			assert_int_equal(entries[i].status, 0);
			assert_int_equal(entries[i].value.size, 1);
			assert_memory_equal(entries[i].value.data, "1", 1);
			strncat(text, entries[i].key.data, entries[i].key.size);
		}
	kv_read_end(fixture->kv);
	assert_string_equal(text, expected);
}

static void test_cursor(void **state)
{
	struct fixture *fixture = *state;
	struct kv_cursor *cursor;
	struct kv_view *view;
	char key[2] = "?";

	for (key[0] = 'a'; key[0] <= 'z'; key[0]++)
		if (key[0] % 2)
			must_put(fixture, ORDERED, key, "1");
	view = must_view(fixture);
	for (key[0] = 'a'; key[0] <= 'z'; key[0]++) {
		if (key[0] % 3 == 0)
			must_delete(fixture, ORDERED, key);
		else if (key[0] % 5 == 0)
			must_put(fixture, ORDERED, key, "22");
		if (key[0] % 9 == 0)
			must_put(fixture, ORDERED, key, "333");
	}
	assert_int_equal(kv_cursor_open_view(view, ORDERED, &cursor), 0);
	assert_int_equal(kv_cursor_next(cursor), -ENOENT);
	must_walk(cursor, kv_cursor_first, kv_cursor_next, "acegikmoqsuwy");
	must_walk(cursor, kv_cursor_last, kv_cursor_prev, "ywusqomkigeca");
	must_read(fixture, cursor, "acegikmoqsuwy");
	assert_int_equal(kv_cursor_seek(cursor, "h", 1), 0);
	assert_memory_equal(kv_cursor_key(cursor).data, "i", 1);
	assert_int_equal(kv_cursor_prev(cursor), 0);
	assert_memory_equal(kv_cursor_key(cursor).data, "g", 1);
	assert_int_equal(kv_cursor_select(cursor, 4), 0);
	assert_memory_equal(kv_cursor_key(cursor).data, "i", 1);
	assert_int_equal(kv_cursor_select(cursor, 13), -ENOENT);
	assert_int_equal(kv_cursor_set_range(cursor, "f", 1, "p", 1), 0);
	must_walk(cursor, kv_cursor_first, kv_cursor_next, "gikmo");
	must_walk(cursor, kv_cursor_last, kv_cursor_prev, "omkig");
	must_read(fixture, cursor, "gikmo");
	kv_cursor_close(cursor);
	kv_view_close(view);
}

/* The cursor stands, and what it has before and behind it is deleted. */
static void test_cursor_under_change(void **state)
{
	struct fixture *fixture = *state;
	struct kv_cursor *cursor;
	struct kv_view *view;
	struct kv_slice value;

	for (char key[2] = "a"; key[0] <= 'h'; key[0]++)
		must_put(fixture, ORDERED, key, "1");
	view = must_view(fixture);
	assert_int_equal(kv_cursor_open_view(view, ORDERED, &cursor), 0);
	assert_int_equal(kv_cursor_seek(cursor, "d", 1), 0);
	for (char key[2] = "a"; key[0] <= 'h'; key[0]++)
		must_delete(fixture, ORDERED, key);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_cursor_value(cursor, &value), 0);
	kv_read_end(fixture->kv);
	assert_int_equal(kv_cursor_next(cursor), 0);
	assert_memory_equal(kv_cursor_key(cursor).data, "e", 1);
	must_put(fixture, ORDERED, "f", "2");
	must_put(fixture, ORDERED, "ee", "2");
	assert_int_equal(kv_cursor_next(cursor), 0);
	assert_memory_equal(kv_cursor_key(cursor).data, "f", 1);
	must_delete(fixture, ORDERED, "f");
	assert_int_equal(kv_cursor_prev(cursor), 0);
	assert_memory_equal(kv_cursor_key(cursor).data, "e", 1);
	must_walk(cursor, kv_cursor_first, kv_cursor_next, "abcdefgh");
	kv_cursor_close(cursor);
	kv_view_close(view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_view_stays),
		FIXTURE_TEST(test_no_views_keep_nothing),
		FIXTURE_TEST(test_arguments),
		FIXTURE_TEST(test_list),
		FIXTURE_TEST(test_snapshot_lasts),
		FIXTURE_TEST(test_list_of_future),
		FIXTURE_TEST(test_delete_while_open),
		FIXTURE_TEST(test_space),
		FIXTURE_TEST(test_list_cannot_be_written),
		FIXTURE_TEST(test_cursor),
		FIXTURE_TEST(test_cursor_under_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
