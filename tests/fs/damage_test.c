/* SPDX-License-Identifier: MIT */
/*
 * damage_test.c - small file systems of several kinds, whose stores are damaged: a byte is flipped,
 * a file cut off or taken away. What can be had before the repair is right, or refused and named by
 * inode or name; what kv_repair and kvfs_repair leave is clean, nothing is worse than it was, and
 * whatever is not as it was has been named.
 *
 *	fs_damage_test KIND
 *
 * Here and there; with KVFS_TEST_LONG in the environment every single byte and size, with
 * KVFS_TEST_QUICK fewer.
 */
#include "fixture.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keyspaces.h"
#include "store_image.h"

#define FILES 12u
#define COPIES 2u
#define FILES_MAX (FILES + COPIES)
#define SIZE_MAX_BYTES 3000u
#define PATH "store"
#define SNAPSHOT "before"

static const struct kind {
	const char *name;
	enum kv_compress compress;
	bool snapshot;   /* one sees what was changed and removed since */
	bool shared;     /* there are copies by reference */
	bool orphan;     /* a file without a name was in use */
	bool checkpoint; /* a record that cannot be read is known to be there */
	bool killed;     /* the store was not closed */
} kinds[] = {
	{.name = "plain", .orphan = true},
	{.name = "snapshot", .snapshot = true, .checkpoint = true, .compress = KV_COMPRESS_INLINE},
	{.name = "shared", .shared = true, .checkpoint = true},
	{.name = "killed", .shared = true, .orphan = true, .killed = true},
	{0},
};

static const struct kind *kind;
static uint64_t inodes[FILES_MAX], directory;

/* What is being damaged, for who has to repeat it. */
static struct {
	const char *name;
	uint64_t at;
	const char *how;
} where;

/* ---- what there is ------------------------------------------------------------------------ */

enum view { NOW, BEFORE, VIEWS };

static unsigned count_files(void)
{
	return kind->shared ? FILES_MAX : FILES;
}

/* Whose contents the file has. */
static unsigned source_of(unsigned number)
{
	return number < FILES ? number : 3 + 4 * (number - FILES);
}

static uint32_t size_of(unsigned number)
{
	static const uint32_t sizes[] = {0, 100, 700, SIZE_MAX_BYTES};

	return sizes[source_of(number) % 4];
}

/* 1: as it was first; 2: written over; 0: removed. */
static unsigned version_of(unsigned number, enum view view)
{
	if (!kind->snapshot || view == BEFORE)
		return 1;
	return number >= FILES ? 1 : number % 6 == 5 ? 0 : number % 3 == 1 ? 2 : 1;
}

static void fill(uint8_t *data, unsigned number, unsigned version)
{
	for (uint32_t i = 0; i < size_of(number); i++)
		data[i] = (uint8_t)((source_of(number) + 1) * 131 + i * 7 + (i >> 8) +
				    version * 29);
}

static bool has_link(unsigned number)
{
	return number < FILES && number % 4 == 1;
}

static bool has_note(unsigned number)
{
	return number < FILES && number % 5 == 1;
}

static uint64_t parent_of(unsigned number)
{
	return number % 3 ? KVFS_ROOT_INO : directory;
}

static void name_of(unsigned number, bool link, char name[32])
{
	snprintf(name, 32, "%s %u", link ? "link" : "file", number);
}

static void write_file(struct fixture *store, unsigned number, unsigned version)
{
	uint8_t data[SIZE_MAX_BYTES];

	fill(data, number, version);
	if (size_of(number))
		assert_int_equal(kvfs_write(store->fs, inodes[number], data, size_of(number), 0, 0),
			size_of(number));
}

static void make_file(struct fixture *store, unsigned number)
{
	struct kvfs_attr attr;
	char name[32];

	name_of(number, false, name);
	inodes[number] = fixture_mkfile(store, parent_of(number), name);
	if (number < FILES)
		write_file(store, number, 1);
	else
		assert_int_equal(kvfs_copy(store->fs, inodes[source_of(number)], 0, inodes[number],
					 0, size_of(number)),
			size_of(number));
	name_of(number, true, name);
	if (has_link(number))
		assert_int_equal(kvfs_link(store->fs, inodes[number], directory, name, &attr), 0);
	if (has_note(number))
		assert_int_equal(
			kvfs_setxattr(store->fs, inodes[number], "user.note", "value", 5, 0), 0);
}

/* What the snapshot does not see. */
static void change_file(struct fixture *store, unsigned number)
{
	char name[32];

	if (version_of(number, NOW) == 2)
		write_file(store, number, 2);
	if (version_of(number, NOW))
		return;
	name_of(number, false, name);
	assert_int_equal(kvfs_unlink(store->fs, parent_of(number), name), 0);
	name_of(number, true, name);
	if (has_link(number))
		assert_int_equal(kvfs_unlink(store->fs, directory, name), 0);
}

static void make_orphan(struct fixture *store)
{
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "orphan");

	fixture_write(store, ino, "nobody will miss this", 0);
	kvfs_hold(store->fs, ino, 1);
	assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, "orphan"), 0);
}

static void make_tree(struct fixture *store)
{
	struct kv_stats stats;

	directory = fixture_mkdir(store, KVFS_ROOT_INO, "directory");
	for (unsigned i = 0; i < count_files(); i++)
		make_file(store, i);
	kv_stats(kvfs_kv(store->fs), &stats);
	assert_int_equal(stats.keys[KEYSPACE_SHARED], kind->shared ? 2 * COPIES : 0);
	if (kind->snapshot)
		assert_int_equal(kvfs_snapshot_create(store->fs, SNAPSHOT), 0);
	for (unsigned i = 0; i < count_files(); i++)
		change_file(store, i);
	if (kind->orphan)
		make_orphan(store);
	if (kind->checkpoint)
		assert_int_equal(kv_checkpoint(kvfs_kv(store->fs)), 0);
	assert_int_equal(kvfs_sync(store->fs), 0);
	/* With this comes what vouches for all before. */
	(void)fixture_mkdir(store, KVFS_ROOT_INO, "last");
	assert_int_equal(kvfs_sync(store->fs), 0);
}

static void make_image(struct store_image *image)
{
	struct kvfs_create_options create = {
		.segment_size = 2 << 20, .compress = kind->compress};
	struct fixture store = {.path = PATH, .open.kv.flags = KV_OPEN_INLINE};
	struct sim_env *sim;

	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 7}, &sim), 0);
	store.env = sim_env_table(sim);
	assert_int_equal(kvfs_create(store.env, PATH, &create, NULL, NULL), 0);
	fixture_open(&store);
	make_tree(&store);
	fixture_assert_clean(&store);
	if (kind->killed) {
		sim_env_cut(sim);
		(void)!kvfs_close(store.fs);
	} else {
		fixture_close(&store);
	}
	assert_int_equal(sim_env_power_on(sim, SIM_LOSS_NONE), 0);
	store_image_take(image, sim, PATH);
	sim_env_free(sim);
}

/* ---- what is left of it ------------------------------------------------------------------- */

enum state {
	RIGHT,
	REFUSED, /* an error, or no such name */
	HOLED,   /* zeros in the place of some bytes, or of the end */
	OLDER,   /* as it was at some time */
};

/* Of a file. */
enum aspect { CONTENTS, NAME, LINK, NOTE, ASPECTS };

struct seen {
	uint8_t files[VIEWS][FILES_MAX][ASPECTS]; /* enum state */
	uint8_t directory[VIEWS];
	bool no_snapshot;
};

static bool has_holes(const uint8_t *found, ssize_t size, const uint8_t *expected)
{
	for (ssize_t i = 0; i < size; i++)
		if (found[i] && found[i] != expected[i])
			return false;
	return true;
}

static enum state look_at_contents(struct kvfs *fs, unsigned number, unsigned version)
{
	uint8_t expected[SIZE_MAX_BYTES], found[SIZE_MAX_BYTES + 1];
	ssize_t size = kvfs_read(fs, inodes[number], found, sizeof(found), 0);

	if (size < 0) {
		assert_true(size == -EIO || size == -ENOENT);
		return version || size == -EIO ? REFUSED : RIGHT;
	}
	fill(expected, number, version);
	if (version && size == size_of(number) && memcmp(found, expected, (size_t)size) == 0)
		return RIGHT;
	fill(expected, number, 1);
	if (version != 1 && size == size_of(number) && memcmp(found, expected, (size_t)size) == 0)
		return OLDER;
	if (!size)
		return OLDER;
	assert_true(size <= size_of(number));
	if (!has_holes(found, size, expected)) {
		fill(expected, number, 2);
		assert_true(has_holes(found, size, expected));
	}
	return HOLED;
}

static enum state look_at_name(struct kvfs *fs, uint64_t parent, const char *name, uint64_t ino)
{
	struct kvfs_attr attr;
	int err = kvfs_lookup(fs, parent, name, &attr);

	assert_true(!err || err == -ENOENT || err == -EIO);
	if (!err && ino)
		assert_int_equal(attr.ino, ino);
	if (!ino)
		return err == -ENOENT ? RIGHT : err ? REFUSED : OLDER;
	return err ? REFUSED : RIGHT;
}

static enum state look_at_note(struct kvfs *fs, unsigned number)
{
	char value[8];
	ssize_t size = kvfs_getxattr(fs, inodes[number], "user.note", value, sizeof(value));

	assert_true(size < 0 || (size == 5 && memcmp(value, "value", 5) == 0));
	return size < 0 ? REFUSED : RIGHT;
}

static void look_at_file(struct kvfs *fs, unsigned number, enum view view, uint8_t *out)
{
	unsigned version = version_of(number, view);
	uint64_t ino = version ? inodes[number] : 0;
	char name[32];

	out[CONTENTS] = look_at_contents(fs, number, version);
	name_of(number, false, name);
	out[NAME] = look_at_name(fs, parent_of(number), name, ino);
	name_of(number, true, name);
	if (has_link(number))
		out[LINK] = look_at_name(fs, directory, name, ino);
	if (has_note(number) && version)
		out[NOTE] = look_at_note(fs, number);
}

static void look(struct fixture *store, struct seen *seen)
{
	struct kvfs *views[VIEWS] = {store->fs, NULL};

	*seen = (struct seen){0};
	if (kind->snapshot) {
		int err = kvfs_snapshot_open(store->fs, SNAPSHOT, &views[BEFORE]);

		assert_true(!err || err == -ENOENT || err == -EIO);
		seen->no_snapshot = err;
	}
	for (unsigned view = 0; view < VIEWS; view++) {
		if (!views[view])
			continue;
		for (unsigned i = 0; i < count_files(); i++)
			look_at_file(views[view], i, view, seen->files[view][i]);
		seen->directory[view] =
			look_at_name(views[view], KVFS_ROOT_INO, "directory", directory);
	}
	if (views[BEFORE])
		assert_int_equal(kvfs_close(views[BEFORE]), 0);
}

/* Of one that was removed nothing can be lost. */
static bool is_whole(const struct seen *seen, enum view view, unsigned number)
{
	for (unsigned aspect = 0; aspect < ASPECTS && version_of(number, view); aspect++)
		if (seen->files[view][number][aspect])
			return false;
	return true;
}

/* ---- what was said of it ------------------------------------------------------------------ */

/* Does a line name the inode or one of the names, as of this view? */
static bool line_names(const char *line, size_t size, uint64_t ino, unsigned number, enum view view)
{
	char text[2048], words[4][48];
	unsigned count = 0;

	snprintf(text, sizeof(text), "%.*s", (int)size, line);
	if (view == BEFORE && !strstr(text, "snapshot \"" SNAPSHOT "\""))
		return false;
	snprintf(words[count++], sizeof(words[0]), "inode %llu", (unsigned long long)ino);
	if (ino == directory) {
		strcpy(words[count++], "\"directory\"");
	} else {
		snprintf(words[count++], sizeof(words[0]), "\"file %u\"", number);
		snprintf(words[count++], sizeof(words[0]), "\"link %u\"", number);
	}
	for (unsigned i = 0; i < count; i++) {
		const char *at = strstr(text, words[i]);

		if (at && !isdigit((unsigned char)at[strlen(words[i])]))
			return true;
	}
	return false;
}

static bool is_named(const struct findings *said, uint64_t ino, unsigned number, enum view view)
{
	const char *line = said->text;

	while (*line) {
		size_t size = strcspn(line, "\n");

		if (line_names(line, size, ino, number, view))
			return true;
		line += size + (line[size] == '\n');
	}
	return false;
}

/* A record is, and what it replaced may be shown. */
static bool is_passed_over(const struct findings *said)
{
	return strstr(said->text, "what they held is lost") ||
	       strstr(said->text, "bytes of the file are missing") ||
	       strstr(said->text, "with it what");
}

/*
 * Without a checkpoint a record that cannot be read is not known to be there, and nobody knows
 * whose it was: that it is passed over, and where it stood, is all there is to say.
 */
static bool is_excused(const struct findings *said)
{
	return !kind->checkpoint && is_passed_over(said);
}

static void must_be_named(const struct seen *seen, const struct findings *said, const char *when)
{
	if (seen->no_snapshot && !strstr(said->text, "snapshot"))
		fail_msg("%s the snapshot is lost, and nobody has said so:\n%s", when, said->text);
	if (is_excused(said))
		return;
	for (unsigned view = 0; view < VIEWS; view++) {
		if (seen->directory[view] && !is_named(said, directory, 0, view))
			fail_msg("%s the directory is lost in view %u, and was not named:\n%s",
				when, view, said->text);
		for (unsigned i = 0; i < count_files(); i++) {
			if (!is_whole(seen, view, i) && !is_named(said, inodes[i], i, view))
				fail_msg("%s file %u, inode %llu, is not as it was in view %u, and "
					 "was not named:\n%s",
					when, i, (unsigned long long)inodes[i], view, said->text);
		}
	}
}

/* ---- judging ------------------------------------------------------------------------------ */

enum how { FLIPPED, CUT, GONE };

static void damage(struct sim_env *sim, const char *name, uint64_t at, enum how how)
{
	static const char *const words[] = {"flipped", "cut off", "gone"};

	where.name = name;
	where.at = at;
	where.how = words[how];
	if (how == FLIPPED)
		assert_int_equal(sim_env_flip(sim, name, at, at % 8), 0);
	else if (how == CUT)
		assert_int_equal(sim_env_resize(sim, name, at), 0);
}

/* Zeros, or an older state, are shown where a record was passed over, and that was said. */
static void must_not_be_wrong(const struct seen *seen, const struct findings *said)
{
	for (unsigned view = 0; view < VIEWS; view++)
		for (unsigned i = 0; i < count_files(); i++)
			for (unsigned aspect = 0; aspect < ASPECTS; aspect++)
				if (seen->files[view][i][aspect] > REFUSED && !is_passed_over(said))
					fail_msg("file %u, inode %llu, has wrong contents, or a "
						 "name, in view %u:\n%s",
						i, (unsigned long long)inodes[i], view, said->text);
}

/* Files of which something is not as it was, in any view. */
static unsigned count_lost(const struct seen *seen)
{
	unsigned lost = 0;

	for (unsigned i = 0; i < count_files(); i++)
		lost += !is_whole(seen, NOW, i) || !is_whole(seen, BEFORE, i);
	return lost + (seen->directory[NOW] || seen->directory[BEFORE]);
}

/* One record, which a copy may share; but one of them is for all names in snapshots. */
static unsigned lost_max(enum how how, const struct findings *said)
{
	if (how != FLIPPED || strstr(said->text, "the secret of the name hash is lost"))
		return UINT_MAX;
	return kind->shared ? 2 : 1;
}

/* As it is: what cannot be had is refused, and a check names it. False: nothing can be had. */
static bool judge_before(
	struct fixture *store, enum how how, struct seen *seen, struct findings *said)
{
	bool whole = true;
	uint64_t findings;

	store->open = (struct kvfs_open_options){
		.kv = {.flags = KV_OPEN_INLINE | KV_OPEN_READ_ONLY,
			.report = fixture_gather,
			.report_arg = said}};
	if (kvfs_open(store->env, PATH, &store->open, &store->fs)) {
		/* The root, or what it takes to find names: that was said, and a check goes on. */
		assert_true(said->count > 0);
		whole = false;
		store->open.repairs = true;
		if (kvfs_open(store->env, PATH, &store->open, &store->fs)) {
			assert_int_not_equal(how, FLIPPED);
			return false;
		}
	}
	assert_int_equal(kvfs_check(store->fs, fixture_gather, said, NULL, NULL, &findings), 0);
	look(store, seen);
	must_not_be_wrong(seen, said);
	must_be_named(seen, said, "before the repair");
	assert_true(!whole || count_lost(seen) <= lost_max(how, said));
	fixture_close(store);
	return true;
}

/* What is left is of a snapshot, which nobody changes. */
static void must_be_of_snapshot(const struct findings *left)
{
	static const char words[] = "snapshot \"" SNAPSHOT "\": ";

	for (const char *line = left->text; *line; line = strchr(line, '\n') + 1)
		if (strncmp(line, words, strlen(words)) != 0)
			fail_msg("left after the repair:\n%s", left->text);
}

static void repair_store(
	struct fixture *store, struct findings *said, struct kv_repair_report *report)
{
	assert_int_equal(kv_repair(store->env, PATH, fixture_gather, said, report), 0);
	assert_int_equal(report->remaining, 0);
}

/* False: there is nothing left. */
static bool repair_files(struct fixture *store, struct findings *said)
{
	struct findings left = {0};
	uint64_t mended, count;

	store->open = (struct kvfs_open_options){
		.kv = {.flags = KV_OPEN_INLINE, .report = fixture_gather, .report_arg = said},
		.repairs = true};
	if (kvfs_open(store->env, PATH, &store->open, &store->fs))
		return false;
	assert_int_equal(kvfs_repair(store->fs, fixture_gather, said, &mended), 0);
	assert_int_equal(kvfs_check(store->fs, fixture_gather, &left, NULL, NULL, &count), 0);
	must_be_of_snapshot(&left);
	for (const char *line = left.text; *line; line = strchr(line, '\n') + 1)
		fixture_gather(said, KV_ERROR, line);
	assert_int_equal(kvfs_repair(store->fs, fixture_gather, &left, &mended), 0);
	assert_int_equal(mended, 0);
	return true;
}

/*
 * What was there is there (and what was removed may be, if that was said), but for one batch whose
 * end was cut off: its other records can be had by a checkpoint alone. The file that it made, or
 * changed, is not looked at any further.
 */
static void must_not_be_worse(const struct seen *before, struct seen *after, enum how how,
	const struct findings *said)
{
	unsigned worse = 0;

	for (unsigned i = 0; i < count_files(); i++) {
		bool any = false;

		for (unsigned view = 0; view < VIEWS; view++)
			for (unsigned aspect = 0; aspect < ASPECTS; aspect++)
				any |= version_of(i, view) && after->files[view][i][aspect] &&
				       !before->files[view][i][aspect];
		worse += any;
		for (unsigned view = 0; view < VIEWS && any; view++)
			memset(after->files[view][i], RIGHT, ASPECTS);
	}
	for (unsigned view = 0; view < VIEWS; view++) {
		worse += after->directory[view] && !before->directory[view];
		after->directory[view] = before->directory[view] ? after->directory[view] : RIGHT;
	}
	if (strstr(said->text, "and with it the batch that they begin in") && how == CUT)
		assert_true(worse <= 1);
	else if (!strstr(said->text, "the secret of the name hash is lost"))
		assert_int_equal(worse, 0);
}

static void judge(const struct store_image *image, const char *name, uint64_t at, enum how how)
{
	struct fixture store = {.path = PATH};
	struct findings said = {0}, again = {0};
	struct kv_repair_report report, second;
	struct sim_env *sim = store_image_mount(image, PATH);
	struct seen before, after;
	bool any;

	store.env = sim_env_table(sim);
	damage(sim, name, at, how);
	any = judge_before(&store, how, &before, &said);
	repair_store(&store, &said, &report);
	if (repair_files(&store, &said)) {
		look(&store, &after);
		if (any)
			must_not_be_worse(&before, &after, how, &said);
		must_be_named(&after, &said, "after the repair");
		assert_true(count_lost(&after) <= (report.lost_bytes ? lost_max(how, &said) : 0));
		fixture_close(&store);
		repair_store(&store, &again, &second);
		assert_int_equal(second.mended, 0);
	} else {
		/* Its only segment has lost its header, or is not there. */
		assert_int_not_equal(how, FLIPPED);
		assert_true(strstr(said.text, "lost") || strstr(said.text, "missing"));
	}
	assert_int_equal(sim_env_power_on(sim, SIM_LOSS_NONE), 0);
	sim_env_free(sim);
	where.name = NULL; /* nothing failed */
}

static uint64_t next_place(const struct store_image_file *file, uint64_t at)
{
	if (getenv("KVFS_TEST_LONG"))
		return store_image_next(file, at);
	return at + (at < 100 ? 17 : file->used / 60 + 101) * (getenv("KVFS_TEST_QUICK") ? 5 : 1);
}

static void test_flips(void **state)
{
	struct store_image image = {0};

	make_image(&image);
	for (unsigned i = 0; i < image.count; i++) {
		const struct store_image_file *file = &image.files[i];

		for (uint64_t at = 0; at < file->used; at = next_place(file, at))
			judge(&image, file->name, at, FLIPPED);
	}
	store_image_free(&image);
}

static void test_truncations(void **state)
{
	struct store_image image = {0};

	make_image(&image);
	for (unsigned i = 0; i < image.count; i++) {
		const struct store_image_file *file = &image.files[i];

		for (uint64_t size = 0; size < file->used; size = next_place(file, size))
			judge(&image, file->name, size, CUT);
	}
	store_image_free(&image);
}

static void test_removals(void **state)
{
	struct store_image image = {0};

	make_image(&image);
	for (unsigned i = 0; i < image.count; i++) {
		struct store_image_file *file = &image.files[i], whole = *file;

		strcpy(file->name, "other");
		judge(&image, whole.name, 0, GONE);
		strcpy(file->name, whole.name);
	}
	store_image_free(&image);
}

static int say_where(void **state)
{
	if (where.name)
		print_error("%s store, %s %s at %llu\n", kind->name, where.name, where.how,
			(unsigned long long)where.at);
	return 0;
}

#define TEST(test) cmocka_unit_test_teardown(test, say_where)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_flips),
		TEST(test_truncations),
		TEST(test_removals),
	};

	kind = kinds;
	while (kind->name && argc > 1 && strcmp(kind->name, argv[1]) != 0)
		kind++;
	if (!kind->name) {
		print_error("there is no kind of store named %s\n", argv[1]);
		return 1;
	}
	return cmocka_run_group_tests_name(kind->name, tests, NULL, NULL);
}
