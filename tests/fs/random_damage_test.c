/* SPDX-License-Identifier: MIT */
/*
 * random_damage_test.c - a tree of many files whose store is damaged in many places at once. What
 * kv_repair and kvfs_repair leave a check finds nothing in. A file none of whose records was hit is
 * as it was, in a snapshot too; of any other each block is one that it had, or zeros of which a
 * message names the inode, or it cannot be read, or it is gone and a message said that something
 * is.
 *
 * Which records were hit follows from comparing the store's files with what they were. The same
 * rounds each time, for some seconds; with KVFS_TEST_LONG in the environment others each time, for
 * minutes. KVFS_TEST_SEED repeats a run, KVFS_TEST_ROUND one round of it.
 */
#include "fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "damage_mix.h"
#include "keyspaces.h"

#define PATH "store"
#define SNAPSHOT "before"
#define DIRECTORIES 40u
#define FILES_MAX 3000u
#define BLOCK 512u /* of contents: each tells whose it is */
#define SIZE_MAX_BYTES (300u << 10)
#define INODES_MAX (1u << 13)

static struct file {
	uint64_t ino;
	uint32_t size;
	unsigned source;   /* number of the file whose contents it has */
	unsigned versions; /* 1 or 2: it was written over */
	bool attribute;
} files[FILES_MAX];
static unsigned files_count;

static uint64_t run_seed;
static unsigned round_now;
static struct store_image image;
static struct damage_mix mix;
static bool touched[INODES_MAX]; /* inodes of which a record was hit; 0: what belongs to all */
static struct findings said;     /* by the file system's repair */

/* ---- the tree -------------------------------------------------------------------------------- */

static void fill(uint8_t *block, unsigned source, unsigned version, uint32_t number)
{
	struct sim_random random = {(uint64_t)source << 40 | (uint64_t)version << 32 | number};

	for (unsigned i = 0; i < BLOCK; i += 8) {
		uint64_t word = sim_random_next(&random);

		memcpy(block + i, &word, 8);
	}
}

static void write_file(struct fixture *store, unsigned number, unsigned version)
{
	static uint8_t data[SIZE_MAX_BYTES + BLOCK];
	const struct file *file = &files[number];

	for (uint32_t i = 0; i * BLOCK < file->size; i++)
		fill(data + (size_t)i * BLOCK, number, version, i);
	if (file->size)
		assert_int_equal(
			kvfs_write(store->fs, file->ino, data, file->size, 0, 0), file->size);
}

static uint32_t size_of(unsigned number)
{
	static const uint32_t sizes[] = {0, 100, 700, 1500, 5000, 200, 900};

	return number % 100 == 7 ? SIZE_MAX_BYTES - number : sizes[number % 7];
}

static void copy_file(struct fixture *store, unsigned from, unsigned to)
{
	struct file *file = &files[to];

	file->size = files[from].size;
	file->source = from;
	for (uint32_t at = 0; at < file->size;) {
		ssize_t done =
			kvfs_copy(store->fs, files[from].ino, at, file->ino, at, file->size - at);

		assert_true(done > 0);
		at += (uint32_t)done;
	}
}

static void make_tree(struct fixture *store)
{
	uint64_t directories[DIRECTORIES] = {KVFS_ROOT_INO};
	struct kvfs_attr attr;
	char name[32];

	for (unsigned i = 1; i < DIRECTORIES; i++) {
		snprintf(name, sizeof(name), "directory %u", i);
		directories[i] = fixture_mkdir(store, directories[i / 3], name);
	}
	for (unsigned i = 0; i < files_count; i++) {
		struct file *file = &files[i];

		snprintf(name, sizeof(name), "file %u", i);
		file->ino = fixture_mkfile(store, directories[i % DIRECTORIES], name);
		file->size = size_of(i);
		file->source = i;
		file->versions = 1;
		/* Large ones are shared by others. */
		if (i % 100 == 8)
			copy_file(store, i - 1, i);
		else
			write_file(store, i, 0);
		if (i % 9 == 1) {
			snprintf(name, sizeof(name), "link %u", i);
			assert_int_equal(
				kvfs_link(store->fs, file->ino, directories[i % 7], name, &attr),
				0);
		}
		file->attribute = i % 11 == 1;
		if (file->attribute)
			assert_int_equal(
				kvfs_setxattr(store->fs, file->ino, "user.note", "value", 5, 0), 0);
	}
	assert_int_equal(kvfs_snapshot_create(store->fs, SNAPSHOT), 0);
	for (unsigned i = 3; i < files_count; i += 13) {
		if (i % 100 == 7 || i % 100 == 8)
			continue;
		files[i].versions = 2;
		write_file(store, i, 1);
	}
}

static void make_image(void)
{
	struct kvfs_create_options create = {.segment_size = 2 << 20};
	struct fixture store = {.path = PATH, .open.kv.flags = KV_OPEN_INLINE};
	struct kv_prune_options prune = {.garbage_percent = 1};
	struct sim_env *sim;

	assert_int_equal(sim_env_new(&(struct sim_options){.seed = run_seed}, &sim), 0);
	store.env = sim_env_table(sim);
	assert_int_equal(kvfs_create(store.env, PATH, &create, NULL, NULL), 0);
	fixture_open(&store);
	make_tree(&store);
	assert_int_equal(kv_prune(kvfs_kv(store.fs), &prune, NULL, NULL, NULL), 0);
	fixture_assert_clean(&store);
	fixture_close(&store);
	store_image_take(&image, sim, PATH);
	assert_int_equal(sim_env_power_on(sim, SIM_LOSS_NONE), 0);
	sim_env_free(sim);
}

/* ---- what was hit ---------------------------------------------------------------------------- */

/* From here on nothing in a segment is certain: it may be taken for torn. */
struct hits {
	uint32_t slot;
	bool any, torn;
	bool bare; /* one that says where the log ends, or until when a version was the newest */
	bool second;
};

static void touch(const struct format_record *record)
{
	uint64_t ino = 0;

	if (format_record_is_bare(record))
		return;
	if ((record->keyspace == KEYSPACE_INODE || record->keyspace == KEYSPACE_EXTENT ||
		    record->keyspace == KEYSPACE_XATTR || record->keyspace == KEYSPACE_ORPHAN) &&
		record->key_size >= 8) {
		for (unsigned i = 0; i < 8; i++)
			ino = ino << 8 | record->key[i];
		assert_true(ino < INODES_MAX);
		touched[ino] = true;
	} else if (record->keyspace == KEYSPACE_SHARED || record->keyspace == KEYSPACE_META ||
		   record->keyspace == FORMAT_KEYSPACE_ENGINE) {
		touched[0] = true;
	}
}

static void note_hit(void *arg, const struct store_image_record *at)
{
	struct hits *hits = arg;
	uint32_t from = at->offset - (at->led ? FORMAT_RECORD_HEADER_SIZE : 0);
	bool hit = damage_mix_hits(&mix, &image, at->file, from, at->batch_end, true) ||
		   damage_mix_hits(&mix, &image, at->file, 0, 64, true);

	if (hits->slot != at->slot)
		*hits = (struct hits){.slot = at->slot, .second = hits->second};
	if (hits->second ? hits->any || hit : hit) {
		touch(at->record);
		hits->any |= hits->second;
	}
	hits->bare |= hit && format_record_is_bare(at->record);
}

/* With a mark that was hit: what is behind the first damage may be taken for a torn end. */
static void find_touched(void)
{
	struct hits hits = {.slot = UINT32_MAX};
	bool marks = false;

	memset(touched, 0, sizeof(touched));
	for (unsigned i = 0; i < image.count; i++)
		marks |= format_segment_slot(image.files[i].name) >= 0 &&
			 damage_mix_hits(&mix, &image, i,
				 image.files[i].used - FORMAT_RECORD_HEADER_SIZE,
				 image.files[i].used, true);
	hits.second = marks;
	store_image_records(&image, note_hit, &hits);
}

/* ---- judging --------------------------------------------------------------------------------- */

static bool is_named(const struct file *file)
{
	char name[32];

	snprintf(name, sizeof(name), "inode %" PRIu64, file->ino);
	return strstr(said.text, name) != NULL;
}

static bool is_of(const struct file *file, const uint8_t *bytes, size_t size, uint32_t number,
	unsigned version)
{
	uint8_t block[BLOCK];

	fill(block, file->source, version, number);
	return !memcmp(block, bytes, size);
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, size - 1);
}

/* `versions`: that it may have; the last one is what it should have. */
static void judge_contents(struct kvfs *fs, unsigned number, unsigned versions, bool whole)
{
	static uint8_t found[SIZE_MAX_BYTES + 1];
	const struct file *file = &files[number];
	ssize_t size = kvfs_read(fs, file->ino, found, sizeof(found), 0);

	if (size < 0) {
		if (whole || (size != -EIO && size != -ENOENT && size != -EISDIR))
			fail_msg("file %u, inode %" PRIu64 ": %zd", number, file->ino, size);
		return;
	}
	if (whole)
		assert_int_equal(size, file->size);
	for (uint32_t at = 0; at < (size_t)size; at += BLOCK) {
		size_t count = (size_t)size - at < BLOCK ? (size_t)size - at : BLOCK;

		if (is_of(file, found + at, count, at / BLOCK, versions - 1))
			continue;
		if (!whole && versions > 1 && is_of(file, found + at, count, at / BLOCK, 0))
			continue;
		if (!whole && is_zero(found + at, count) && (is_named(file) || touched[0]))
			continue;
		fail_msg("file %u, inode %" PRIu64 ", at %u: other bytes, %s", number, file->ino,
			at, whole ? "and nothing of it was hit" : "that no message names");
	}
}

static void judge_files(struct kvfs *fs, bool snapshot)
{
	for (unsigned i = 0; i < files_count; i++) {
		const struct file *file = &files[i];
		bool whole = !touched[file->ino] &&
			     (!touched[0] || (!snapshot && file->source == i && i % 100 != 7));
		char value[8];

		judge_contents(fs, i, snapshot ? 1 : file->versions, whole);
		if (whole && file->attribute)
			assert_int_equal(kvfs_getxattr(fs, file->ino, "user.note", value, 8), 5);
	}
}

struct heard {
	unsigned count;
	char last[512];
};

static void hear(void *arg, enum kv_severity severity, const char *message)
{
	struct heard *heard = arg;

	if (severity == KV_INFO)
		return;
	heard->count++;
	snprintf(heard->last, sizeof(heard->last), "%s", message);
}

/* Lines that are of the snapshot, which stays as it is. */
static unsigned of_snapshots(const char *text)
{
	static const char start[] = "snapshot \"";
	unsigned count = 0;

	for (; *text; text = strchr(text, '\n') + 1)
		count += !strncmp(text, start, sizeof(start) - 1);
	return count;
}

/* All its records were hit, and opening says that nothing is left. */
static void judge_empty(const struct heard *heard)
{
	assert_non_null(strstr(heard->last, "there is nothing in the store"));
	for (unsigned i = 0; i < files_count; i++)
		assert_true(touched[files[i].ino]);
}

static void judge_repaired(struct fixture *store, const struct heard *heard)
{
	static struct findings left;
	struct kv_repair_report report;
	struct heard opening = {0};
	struct kvfs *before;
	uint64_t mended, count;
	int result;

	store->open.repairs = true;
	store->open.kv.flags = KV_OPEN_INLINE;
	store->open.kv.report = hear;
	store->open.kv.report_arg = &opening;
	result = kvfs_open(store->env, PATH, &store->open, &store->fs);
	if (result == -EUCLEAN) {
		judge_empty(&opening);
		return;
	}
	assert_int_equal(result, 0);
	said = left = (struct findings){0};
	assert_int_equal(kvfs_check(store->fs, fixture_gather, &said, NULL, NULL, &count), 0);
	assert_true(!count || heard->count);
	assert_int_equal(kvfs_repair(store->fs, fixture_gather, &said, &mended), 0);
	assert_int_equal(kvfs_check(store->fs, fixture_gather, &left, NULL, NULL, &count), 0);
	if (count != of_snapshots(left.text))
		fail_msg("left after the repair:\n%s", left.text);
	judge_files(store->fs, false);
	result = kvfs_snapshot_open(store->fs, SNAPSHOT, &before);
	if (!result) {
		judge_files(before, true);
		kvfs_close(before);
	} else if (!touched[0]) {
		fail_msg("the snapshot is gone: %d", result);
	}
	fixture_close(store);
	assert_int_equal(kv_repair(store->env, PATH, NULL, NULL, &report), 0);
	assert_int_equal(report.mended + report.remaining, 0);
	fixture_open(store);
	assert_int_equal(kvfs_repair(store->fs, fixture_gather, &said, &mended), 0);
	assert_int_equal(mended, 0);
	fixture_close(store);
}

static void judge(void)
{
	struct fixture store = {.path = PATH, .open.kv.flags = KV_OPEN_INLINE | KV_OPEN_READ_ONLY};
	struct sim_env *sim = damage_mix_mount(&mix, PATH, true);
	struct kv_repair_report report;
	struct heard heard = {0};
	uint64_t findings;

	store.env = sim_env_table(sim);
	find_touched();
	/* As it is: an error, or what is there. */
	if (!kvfs_open(store.env, PATH, &store.open, &store.fs)) {
		assert_int_equal(kvfs_check(store.fs, hear, &heard, NULL, NULL, &findings), 0);
		fixture_close(&store);
	}
	heard.count = 0;
	if (damage_mix_has_super(&mix, &image)) {
		assert_int_equal(kv_repair(store.env, PATH, hear, &heard, &report), 0);
		assert_int_equal(report.remaining, 0);
		assert_int_equal(sim_env_power_on(sim, SIM_LOSS_ALL), 0);
		judge_repaired(&store, &heard);
	} else {
		assert_true(kv_repair(store.env, PATH, hear, &heard, &report) != 0);
	}
	assert_int_equal(sim_env_power_on(sim, SIM_LOSS_NONE), 0);
	sim_env_free(sim);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_rounds(void **state)
{
	const char *one = getenv("KVFS_TEST_ROUND");
	bool quick = getenv("KVFS_TEST_QUICK"), lasting = getenv("KVFS_TEST_LONG");
	unsigned first = one ? (unsigned)strtoul(one, NULL, 10) : 1;
	double until;

	files_count = quick ? 500 : FILES_MAX;
	make_image();
	until = now_s() + (lasting ? 1200 : quick ? 1 : 6);
	for (round_now = first; round_now == first || (!one && now_s() < until); round_now++) {
		damage_mix_make(
			&mix, &image, run_seed * 1000003 + round_now, DAMAGE_ALL & ~DAMAGE_PAGES);
		judge();
		damage_mix_free(&mix);
	}
	print_message("%u rounds of %u files\n", round_now - first, files_count);
	round_now = 0;
	store_image_free(&image);
}

static int say_where(void **state)
{
	if (round_now)
		print_error("KVFS_TEST_SEED=%" PRIu64 " KVFS_TEST_ROUND=%u:%s\n", run_seed,
			round_now, mix.what);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_rounds, say_where)};
	const char *given = getenv("KVFS_TEST_SEED");

	if (given)
		run_seed = strtoull(given, NULL, 10);
	else
		run_seed = getenv("KVFS_TEST_LONG") ? (uint64_t)time(NULL) : 1;
	print_message("KVFS_TEST_SEED=%" PRIu64 "\n", run_seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
