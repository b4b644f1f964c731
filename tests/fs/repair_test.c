/* SPDX-License-Identifier: MIT */
/*
 * repair_test.c - a repair brings back all that can be: records of a tree are deleted and spoilt at
 * random behind the file system's back; after a repair a check finds nothing, another repair has
 * nothing to do, and each file whose own records were left alone has its contents, wherever it has
 * its name now.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extent_record.h"
#include "inode_record.h"
#include "keyspaces.h"
#include "meta_record.h"
#include "orphan_record.h"
#include "share_record.h"
#include "sim_env.h"

#define FILES 60u
#define DIRECTORIES 6u
#define SIZE_MAX_BYTES 200000u
#define ROUNDS 12u /* KVFS_TEST_ROUNDS */

struct file {
	uint64_t ino;
	uint32_t size;
	unsigned seed; /* of its contents */
	bool lost; /* a record that holds its contents was hit */
	bool bare; /* its inode was hit: what is left is its pieces */
};

static struct file files[FILES];
static uint64_t directories[DIRECTORIES];
static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((random_state >> 33) % bound);
}

static void fill(uint8_t *data, unsigned seed, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		data[i] = (uint8_t)(seed * 131 + i * 7 + (i >> 8) + 1) | 1;
}

static void make_file(struct fixture *store, unsigned number)
{
	static const uint32_t sizes[] = {0, 100, 1900, 5000, 66000, SIZE_MAX_BYTES};
	static uint8_t data[SIZE_MAX_BYTES];
	struct file *file = &files[number];
	struct kvfs_attr attr;
	char name[32];

	snprintf(name, sizeof(name), "file %u", number);
	*file = (struct file){.size = sizes[random_below(6)], .seed = number};
	file->ino = fixture_mkfile(store, directories[random_below(DIRECTORIES)], name);
	fill(data, file->seed, file->size);
	if (file->size)
		assert_int_equal(
			kvfs_write(store->fs, file->ino, data, file->size, 0, 0), file->size);
	if (!random_below(4))
		assert_int_equal(
			kvfs_setxattr(store->fs, file->ino, "user.note", "value", 5, 0), 0);
	snprintf(name, sizeof(name), "link %u", number);
	if (!random_below(4))
		assert_int_equal(kvfs_link(store->fs, file->ino, KVFS_ROOT_INO, name, &attr), 0);
}

static void make_tree(struct fixture *store)
{
	char name[32];

	directories[0] = KVFS_ROOT_INO;
	for (unsigned i = 1; i < DIRECTORIES; i++) {
		snprintf(name, sizeof(name), "directory %u", i);
		directories[i] = fixture_mkdir(store, directories[random_below(i)], name);
	}
	for (unsigned i = 0; i < FILES; i++)
		make_file(store, i);
	fixture_assert_clean(store);
}

/* ---- damage ---------------------------------------------------------------------------------- */

struct victim {
	uint8_t key[512];
	size_t size;
};

/* Any one record of the keyspace; false: there is none. */
static bool pick(struct kv *kv, enum keyspace keyspace, struct victim *out)
{
	const struct kv_entry *entries;
	struct kv_iterator *iterator;
	uint32_t seen = 0;
	size_t count;

	assert_int_equal(kv_iterator_open(kv, keyspace, KV_ITERATE_KEYS, &iterator), 0);
	kv_read_begin(kv);
	while (!kv_iterator_read(iterator, &entries, &count)) {
		for (size_t i = 0; i < count; i++) {
			if (random_below(++seen))
				continue;
			out->size = entries[i].key.size;
			memcpy(out->key, entries[i].key.data, out->size);
		}
	}
	kv_read_end(kv);
	kv_iterator_close(iterator);
	return seen;
}

static void note_hit(enum keyspace keyspace, const struct victim *victim)
{
	uint64_t ino = 0;

	assert_int_equal(inode_key_decode((struct kv_slice){victim->key, INODE_KEY_SIZE}, &ino), 0);
	for (unsigned i = 0; i < FILES; i++) {
		if (files[i].ino != ino)
			continue;
		files[i].lost |= keyspace == KEYSPACE_EXTENT ||
				 (keyspace == KEYSPACE_INODE && files[i].size <= INODE_INLINE_MAX);
		files[i].bare |= keyspace == KEYSPACE_INODE;
	}
}

static void damage(struct fixture *store)
{
	static const enum keyspace keyspaces[] = {
		KEYSPACE_INODE, KEYSPACE_DIRENT, KEYSPACE_EXTENT, KEYSPACE_XATTR};
	enum keyspace keyspace = keyspaces[random_below(4)];
	struct kv *kv = kvfs_kv(store->fs);
	uint8_t garbage[200];
	struct victim victim;

	if (!pick(kv, keyspace, &victim))
		return;
	note_hit(keyspace, &victim);
	if (random_below(2)) {
		assert_int_equal(kv_delete(kv, keyspace, victim.key, victim.size, NULL), 0);
		return;
	}
	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (uint8_t)random_below(256);
	assert_int_equal(kv_put(kv, keyspace, victim.key, victim.size, garbage,
				 random_below(sizeof(garbage)), NULL),
		0);
}

/* ---- what is left ---------------------------------------------------------------------------- */

static void assert_contents(struct fixture *store, unsigned number, unsigned round)
{
	static uint8_t expected[SIZE_MAX_BYTES], data[SIZE_MAX_BYTES];
	const struct file *file = &files[number];
	struct kvfs_attr attr;

	if (file->lost)
		return;
	if (kvfs_getattr(store->fs, file->ino, &attr) || attr.size != file->size || !attr.nlink)
		fail_msg("round %u: file %u is not there, or not of its size", round, number);
	if (!file->bare && attr.mode != (S_IFREG | 0644))
		fail_msg("round %u: file %u has mode %o", round, number, attr.mode);
	fill(expected, file->seed, file->size);
	assert_int_equal(kvfs_read(store->fs, file->ino, data, sizeof(data), 0), file->size);
	assert_memory_equal(data, expected, file->size);
}

static void test_random(void **state)
{
	const char *rounds = getenv("KVFS_TEST_ROUNDS");
	unsigned count = rounds ? (unsigned)strtoul(rounds, NULL, 10) : ROUNDS;

	for (unsigned round = 0; round < count; round++) {
		struct fixture *store = *state;
		char when[32];

		random_state = round + 1;
		make_tree(store);
		for (unsigned hits = 1 + random_below(12); hits; hits--)
			damage(store);
		store->open.repairs = true;
		fixture_reopen(store);
		snprintf(when, sizeof(when), "round %u", round);
		fixture_assert_repaired(store, when);
		store->open.repairs = false;
		fixture_reopen(store);
		for (unsigned i = 0; i < FILES; i++)
			assert_contents(store, i, round);
		fixture_assert_clean(store);
		(void)fixture_remove(state);
		assert_int_equal(fixture_setup(state), 0);
	}
}

/*
 * A directory whose entry is lost is found again with all that is in it, and under a name that is
 * free.
 */
static void test_lost_directory(void **state)
{
	struct fixture *store = *state;
	uint64_t lost = fixture_mkdir(store, KVFS_ROOT_INO, "lost+found"), inside, mended;
	struct kv *kv = kvfs_kv(store->fs);
	struct victim victim;
	char name[32];

	directories[0] = fixture_mkdir(store, KVFS_ROOT_INO, "directory");
	inside = fixture_mkfile(store, directories[0], "inside");
	snprintf(name, sizeof(name), "#%llu", (unsigned long long)directories[0]);
	fixture_mkfile(store, lost, name);
	do
		assert_true(pick(kv, KEYSPACE_DIRENT, &victim));
	while (memcmp(victim.key + victim.size - 9, "directory", 9));
	assert_int_equal(kv_delete(kv, KEYSPACE_DIRENT, victim.key, victim.size, NULL), 0);
	assert_int_equal(kvfs_repair(store->fs, NULL, NULL, &mended), 0);
	assert_true(mended > 0);
	strcat(name, ".1");
	assert_int_equal(fixture_lookup(store, lost, name), directories[0]);
	assert_int_equal(fixture_lookup(store, directories[0], "inside"), inside);
	fixture_assert_clean(store);
}

/* ---- what the file system says of itself ----------------------------------------------------- */

static void spoil(struct fixture *store, const char *key, bool deleted)
{
	struct kv *kv = kvfs_kv(store->fs);

	if (deleted)
		assert_int_equal(kv_delete(kv, KEYSPACE_META, key, strlen(key), NULL), 0);
	else
		assert_int_equal(kv_put(kv, KEYSPACE_META, key, strlen(key), "?", 1, NULL), 0);
}

/* Each file under its own name still, and a new one has a number of its own. */
static void assert_names(struct fixture *store)
{
	struct kvfs_attr attr;
	uint64_t ino;
	char name[32];

	for (unsigned i = 0; i < FILES; i++) {
		bool found = false;

		snprintf(name, sizeof(name), "file %u", i);
		for (unsigned j = 0; j < DIRECTORIES && !found; j++)
			found = fixture_lookup(store, directories[j], name) ==
				(int64_t)files[i].ino;
		assert_true(found);
	}
	assert_int_equal(kvfs_lookup(store->fs, KVFS_ROOT_INO, "lost+found", &attr), -ENOENT);
	ino = fixture_mkfile(store, KVFS_ROOT_INO, "new");
	for (unsigned i = 0; i < FILES; i++)
		assert_int_not_equal(files[i].ino, ino);
	fixture_assert_clean(store);
}

static void test_meta(void **state)
{
	static const struct {
		const char *keys[2];
		bool deleted;
	} cases[] = {
		{{META_FORMAT_KEY}, true},
		{{META_FORMAT_KEY}, false},
		{{META_NEXT_INO_KEY}, true},
		{{META_NEXT_INO_KEY}, false},
		{{META_SIZE_LIMIT_KEY}, false},
		{{META_ROLLBACK_KEY}, false},
		{{META_FORMAT_KEY, META_NEXT_INO_KEY}, true},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *store = *state;
		uint64_t limit = 0;

		random_state = i + 1;
		make_tree(store);
		for (unsigned j = 0; j < 2 && cases[i].keys[j]; j++)
			spoil(store, cases[i].keys[j], cases[i].deleted);
		fixture_close(store);
		if (strcmp(cases[i].keys[0], META_ROLLBACK_KEY))
			assert_int_equal(
				kvfs_open(store->env, store->path, &store->open, &store->fs),
				-EUCLEAN);
		store->open.repairs = true;
		fixture_open(store);
		fixture_assert_repaired(store, cases[i].keys[0]);
		store->open.repairs = false;
		fixture_reopen(store);
		assert_int_equal(kvfs_size_limit(store->fs), limit);
		for (unsigned j = 0; j < FILES; j++)
			assert_contents(store, j, i);
		assert_names(store);
		(void)fixture_remove(state);
		assert_int_equal(fixture_setup(state), 0);
	}
}

/* ---- shared contents ------------------------------------------------------------------------- */

#define SHARERS 3u

static uint64_t keys(struct fixture *store, enum keyspace keyspace)
{
	struct kv_stats stats;

	kv_stats(kvfs_kv(store->fs), &stats);
	return stats.keys[keyspace];
}

static void make_sharers(struct fixture *store)
{
	static uint8_t data[EXTENT_CHUNK_SIZE];

	fill(data, 0, sizeof(data));
	for (unsigned i = 0; i < SHARERS; i++) {
		char name[32];
		ssize_t done;

		snprintf(name, sizeof(name), "sharer %u", i);
		files[i] = (struct file){.size = EXTENT_CHUNK_SIZE};
		files[i].ino = fixture_mkfile(store, KVFS_ROOT_INO, name);
		done = i ? kvfs_copy(store->fs, files[0].ino, 0, files[i].ino, 0, sizeof(data))
			 : kvfs_write(store->fs, files[0].ino, data, sizeof(data), 0, 0);
		assert_int_equal(done, sizeof(data));
	}
	assert_int_equal(keys(store, KEYSPACE_SHARED), 2);
}

static struct victim count_record(struct fixture *store)
{
	struct victim victim;

	do
		assert_true(pick(kvfs_kv(store->fs), KEYSPACE_SHARED, &victim));
	while (victim.key[victim.size - 1] != SHARE_COUNT);
	return victim;
}

/* Says that the shared bytes have so many users; 0: says nothing that makes sense. */
static void spoil_count(struct fixture *store, uint64_t users)
{
	struct victim victim = count_record(store);
	uint8_t count[SHARE_COUNT_SIZE];

	share_count_encode(users, count);
	assert_int_equal(kv_put(kvfs_kv(store->fs), KEYSPACE_SHARED, victim.key, victim.size, count,
				 users ? sizeof(count) : 3, NULL),
		0);
}

static void lose_count(struct fixture *store)
{
	struct victim victim = count_record(store);

	assert_int_equal(
		kv_delete(kvfs_kv(store->fs), KEYSPACE_SHARED, victim.key, victim.size, NULL), 0);
}

/* One of those who share loses its contents, and is one of them no more. */
static void lose_reference(struct fixture *store)
{
	struct kv *kv = kvfs_kv(store->fs);
	struct victim victim;

	assert_true(pick(kv, KEYSPACE_EXTENT, &victim));
	note_hit(KEYSPACE_EXTENT, &victim);
	assert_int_equal(kv_delete(kv, KEYSPACE_EXTENT, victim.key, victim.size, NULL), 0);
}

/*
 * However wrong the count was: behind a repair shared bytes are there for as long as somebody uses
 * them, and no longer.
 */
static void test_shares(void **state)
{
	static const uint64_t counts[] = {1, 2, 4, 1000, 0};
	enum {
		COUNTS = sizeof(counts) / sizeof(counts[0]),
		LOST_COUNT = COUNTS,
		LOST_REFERENCE,
		CASES,
	};

	for (unsigned i = 0; i < CASES; i++) {
		struct fixture *store = *state;

		random_state = i + 1;
		make_sharers(store);
		if (i < COUNTS)
			spoil_count(store, counts[i]);
		else
			(i == LOST_COUNT ? lose_count : lose_reference)(store);
		fixture_assert_repaired(store, "shared contents");
		for (unsigned gone = 0; gone < SHARERS; gone++) {
			char name[32];

			for (unsigned left = gone; left < SHARERS; left++)
				assert_contents(store, left, i);
			snprintf(name, sizeof(name), "sharer %u", gone);
			assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, name), 0);
			fixture_assert_clean(store);
		}
		assert_int_equal(keys(store, KEYSPACE_SHARED), 0);
		assert_int_equal(keys(store, KEYSPACE_EXTENT), 0);
	}
}

/* ---- what was to be freed -------------------------------------------------------------------- */

/* A repair that says so has freed it. */
static void test_unlinked(void **state)
{
	struct fixture *store = *state;
	struct kv *kv = kvfs_kv(store->fs);
	struct victim victim;

	make_sharers(store);
	kvfs_hold(store->fs, files[0].ino, 1);
	for (unsigned i = 0; i < SHARERS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "sharer %u", i);
		assert_int_equal(kvfs_unlink(store->fs, KVFS_ROOT_INO, name), 0);
	}
	assert_true(pick(kv, KEYSPACE_ORPHAN, &victim));
	assert_int_equal(kv_delete(kv, KEYSPACE_ORPHAN, victim.key, victim.size, NULL), 0);
	store->open.repairs = true;
	fixture_reopen(store);
	assert_true(keys(store, KEYSPACE_EXTENT) > 0);
	fixture_assert_repaired(store, "a file without a name");
	assert_int_equal(keys(store, KEYSPACE_ORPHAN), 0);
	assert_int_equal(keys(store, KEYSPACE_EXTENT), 0);
	assert_int_equal(keys(store, KEYSPACE_SHARED), 0);
	assert_int_equal(keys(store, KEYSPACE_INODE), 1); /* the root */
}

/* What a truncated file has not freed yet is freed, though the note of that is lost. */
static void test_trim(void **state)
{
	struct fixture *store = *state;
	struct kv *kv = kvfs_kv(store->fs);
	static uint8_t data[3 * EXTENT_CHUNK_SIZE];
	uint8_t key[INODE_KEY_SIZE], value[INODE_HEAD_MAX];
	struct kv_slice found;
	struct inode inode;
	uint64_t ino = fixture_mkfile(store, KVFS_ROOT_INO, "file");

	fill(data, 1, sizeof(data));
	assert_int_equal(kvfs_write(store->fs, ino, data, sizeof(data), 0, 0), sizeof(data));
	inode_key_encode(ino, key);
	kv_read_begin(kv);
	assert_int_equal(kv_get(kv, KEYSPACE_INODE, key, sizeof(key), &found), 0);
	assert_int_equal(inode_record_decode(ino, found, &inode), 0);
	kv_read_end(kv);
	inode.size = EXTENT_CHUNK_SIZE;
	inode.flags |= INODE_TRIM;
	inode.body = (struct kv_slice){NULL, 0};
	assert_int_equal(kv_put(kv, KEYSPACE_INODE, key, sizeof(key), value,
				 inode_record_encode(&inode, 0, value), NULL),
		0);
	store->open.repairs = true;
	fixture_reopen(store);
	assert_int_equal(keys(store, KEYSPACE_EXTENT), 3);
	fixture_assert_repaired(store, "a file to be trimmed");
	assert_int_equal(fixture_attr(store, ino).size, EXTENT_CHUNK_SIZE);
	assert_int_equal(keys(store, KEYSPACE_EXTENT), 1);
	assert_int_equal(keys(store, KEYSPACE_ORPHAN), 0);
}

/*
 * A file that had no name at first has one. What says so is lost, and an older record, by which it
 * is to be freed, is back with its note: the repair sees the name first.
 */
static void test_named_later(void **state)
{
	struct fixture *store = *state;
	struct kv *kv = kvfs_kv(store->fs);
	static uint8_t data[3 * EXTENT_CHUNK_SIZE];
	uint8_t key[INODE_KEY_SIZE], value[INODE_HEAD_MAX], note = ORPHAN_VALUE;
	struct kv_slice found;
	struct kvfs_attr attr;
	struct inode inode;

	assert_int_equal(
		kvfs_tmpfile(store->fs, &fixture_root, KVFS_ROOT_INO, S_IFREG | 0600, &attr), 0);
	fill(data, 1, sizeof(data));
	assert_int_equal(kvfs_write(store->fs, attr.ino, data, sizeof(data), 0, 0), sizeof(data));
	assert_int_equal(kvfs_link(store->fs, attr.ino, KVFS_ROOT_INO, "file", &attr), 0);
	kvfs_release(store->fs, attr.ino, 1);
	inode_key_encode(attr.ino, key);
	kv_read_begin(kv);
	assert_int_equal(kv_get(kv, KEYSPACE_INODE, key, sizeof(key), &found), 0);
	assert_int_equal(inode_record_decode(attr.ino, found, &inode), 0);
	kv_read_end(kv);
	inode.nlink = 0;
	assert_int_equal(kv_put(kv, KEYSPACE_INODE, key, sizeof(key), value,
				 inode_record_encode(&inode, 0, value), NULL),
		0);
	assert_int_equal(
		kv_put(kv, KEYSPACE_ORPHAN, key, sizeof(key), &note, sizeof(note), NULL), 0);
	store->open.repairs = true;
	fixture_reopen(store);
	assert_int_equal(keys(store, KEYSPACE_EXTENT), 3);
	fixture_assert_repaired(store, "a file that was named later");
	assert_int_equal(fixture_attr(store, attr.ino).nlink, 1);
	assert_int_equal(fixture_attr(store, attr.ino).size, sizeof(data));
	assert_int_equal(keys(store, KEYSPACE_EXTENT), 3);
	assert_int_equal(keys(store, KEYSPACE_ORPHAN), 0);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void ignore_report(void *arg, enum kv_severity severity, const char *message)
{
}

/*
 * The record of the next inode number is an older one: a check says so, and behind a repair no
 * number of what is there is given out again.
 */
static void test_next_ino(void **state)
{
	struct fixture *store = *state;
	static uint8_t data[EXTENT_CHUNK_SIZE];
	uint8_t value[META_NEXT_INO_SIZE];
	uint64_t ino, others[20], findings;

	fill(data, 1, sizeof(data));
	ino = fixture_mkfile(store, KVFS_ROOT_INO, "file");
	assert_int_equal(kvfs_write(store->fs, ino, data, sizeof(data), 0, 0), sizeof(data));
	meta_next_ino_encode(ino, value);
	assert_int_equal(kv_put(kvfs_kv(store->fs), KEYSPACE_META, META_NEXT_INO_KEY,
				 sizeof(META_NEXT_INO_KEY) - 1, value, sizeof(value), NULL),
		0);
	store->open.repairs = true;
	fixture_reopen(store);
	assert_int_equal(
		kvfs_check(store->fs, ignore_report, NULL, NULL, NULL, &findings), 0);
	assert_int_equal(findings, 1);
	fixture_assert_repaired(store, "the next inode number");
	store->open.repairs = false;
	fixture_reopen(store);
	for (unsigned i = 0; i < 20; i++) {
		char name[32];

		snprintf(name, sizeof(name), "other %u", i);
		others[i] = fixture_mkfile(store, KVFS_ROOT_INO, name);
		assert_true(others[i] > ino);
	}
	fixture_assert_clean(store);
	assert_int_equal(fixture_attr(store, ino).size, sizeof(data));
}

/* Somebody has made an inode with the last number that there is. */
static void test_last_number(void **state)
{
	struct fixture *store = *state;
	struct inode inode = {.ino = INODE_INO_MAX,
		.mode = S_IFREG | 0600,
		.nlink = 1,
		.contents = INODE_INLINE};
	uint8_t key[INODE_KEY_SIZE], value[INODE_HEAD_MAX];
	uint64_t mended;

	inode_key_encode(inode.ino, key);
	assert_int_equal(kv_put(kvfs_kv(store->fs), KEYSPACE_INODE, key, sizeof(key), value,
				 inode_record_encode(&inode, 0, value), NULL),
		0);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(kvfs_repair(store->fs, ignore_report, NULL, &mended), 0);
		assert_true(mended > 0);
	}
	assert_true(fixture_lookup(store, KVFS_ROOT_INO, "lost+found") > 0);
	assert_true(fixture_mkfile(store, KVFS_ROOT_INO, "file") < INODE_INO_MAX);
}

/* Or shared contents with a key that nothing has. */
static void test_shared_keys(void **state)
{
	static const char *const wrong[] = {"x", "12345678\1", "\0\0\0\0\0\0\0\2\2"};
	static const size_t sizes[] = {1, 9, 9};
	struct fixture *store = *state;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(kv_put(kvfs_kv(store->fs), KEYSPACE_SHARED, wrong[i], sizes[i],
					 "value", 5, NULL),
			0);
	fixture_assert_repaired(store, "keys of shared contents");
	assert_int_equal(keys(store, KEYSPACE_SHARED), 0);
}

/* ---- interruptions --------------------------------------------------------------------------- */

#define POWER_ROUNDS 12u
#define STEPS_MAX 400u

/*
 * A repair whose power fails at a step of the disk, and a second one after it. True: it came to its
 * end before.
 */
static bool repair_interrupted(struct fixture *store, struct sim_env *sim, unsigned step)
{
	static const enum sim_loss losses[] = {
		SIM_LOSS_ANY, SIM_LOSS_NONE, SIM_LOSS_ANY, SIM_LOSS_ALL};
	uint64_t mended;
	bool ended;
	int err;

	sim_env_cut_at(sim, sim_env_steps(sim) + step);
	err = kvfs_open(store->env, store->path, &store->open, &store->fs);
	if (!err)
		err = kvfs_repair(store->fs, ignore_report, NULL, &mended);
	ended = !sim_env_is_cut(sim);
	assert_true(ended ? !err : true);
	(void)kvfs_close(store->fs);
	store->fs = NULL;
	ended = ended && !sim_env_is_cut(sim);
	sim_env_cut_at(sim, 0);
	assert_int_equal(sim_env_power_on(sim, losses[step % 4]), 0);
	return ended;
}

static void power_round(unsigned round, unsigned step, bool *ended)
{
	struct kvfs_create_options create = {.segment_size = 4 << 20};
	struct sim_options options = {
		.seed = round * STEPS_MAX + step, .capacity = 256 << 20, .file_size_max = 8 << 20};
	struct fixture store = {.path = "store",
		.open = {.kv = {.flags = KV_OPEN_INLINE, .report = ignore_report}}};
	struct sim_env *sim;
	struct kv_stats stats;
	char when[48];

	assert_int_equal(sim_env_new(&options, &sim), 0);
	store.env = sim_env_table(sim);
	assert_int_equal(kvfs_create(store.env, store.path, &create, ignore_report, NULL), 0);
	fixture_open(&store);
	random_state = 100 + round;
	make_tree(&store);
	for (unsigned hits = 1 + random_below(12); hits; hits--)
		damage(&store);
	if (round % 3 == 0)
		spoil(&store, META_FORMAT_KEY, round % 2);
	if (round % 4 < 2)
		assert_int_equal(kv_note_loss(kvfs_kv(store.fs)), 0);
	fixture_close(&store);
	store.open.repairs = true;
	*ended = repair_interrupted(&store, sim, step);
	fixture_open(&store);
	snprintf(when, sizeof(when), "round %u, step %u", round, step);
	fixture_assert_repaired(&store, when);
	for (unsigned i = 0; i < FILES; i++)
		assert_contents(&store, i, round);
	kv_stats(kvfs_kv(store.fs), &stats);
	assert_false(stats.records_lost);
	fixture_close(&store);
	sim_env_free(sim);
}

/* Whatever of a repair the disk has kept: the next one ends it, and what was not hit is there. */
static void test_interrupted(void **state)
{
	const char *rounds = getenv("KVFS_TEST_ROUNDS");
	unsigned count = rounds ? (unsigned)strtoul(rounds, NULL, 10) : POWER_ROUNDS;

	for (unsigned round = 0; round < count; round++) {
		bool ended = false;

		/* One step of a few in each round, all of them over the rounds. */
		for (unsigned step = 1 + round % 3; !ended && step < STEPS_MAX; step += 3)
			power_round(round, step, &ended);
		assert_true(ended);
	}
}

static void test_clean(void **state)
{
	uint64_t mended;

	make_tree(*state);
	assert_int_equal(
		kvfs_repair(((struct fixture *)*state)->fs, fixture_report, NULL, &mended), 0);
	assert_int_equal(mended, 0);
	assert_int_equal(fixture_lookup(*state, KVFS_ROOT_INO, "lost+found"), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_clean, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_lost_directory, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_random, fixture_setup, fixture_remove),
		cmocka_unit_test_setup_teardown(test_meta, fixture_setup, fixture_remove),
		cmocka_unit_test_setup_teardown(test_shares, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_unlinked, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_trim, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_next_ino, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_named_later, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_last_number, fixture_setup, fixture_remove),
		cmocka_unit_test_setup_teardown(
			test_shared_keys, fixture_setup, fixture_teardown),
		cmocka_unit_test(test_interrupted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
