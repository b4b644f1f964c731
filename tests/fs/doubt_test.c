/* SPDX-License-Identifier: MIT */
/*
 * doubt_test.c - the newest record of something is damaged in the log, and the one before it is
 * back: what an opening for changes makes of that, and every one behind it, until a repair.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "inode_record.h"
#include "keyspaces.h"
#include "meta_record.h"
#include "share_record.h"
#include "sim_env.h"
#include "store_image.h"

#define PATH "store"
#define SIZE 200000u

/* The newest record of a key. */
struct wanted {
	enum keyspace keyspace;
	const void *key;
	size_t size;
	uint64_t seq;
	char name[FORMAT_SEGMENT_NAME_SIZE];
	uint32_t offset;
};

static void find_newest(void *arg, const struct store_image_record *at)
{
	struct wanted *wanted = arg;

	if (at->record->keyspace != wanted->keyspace || at->record->key_size != wanted->size ||
		memcmp(at->record->key, wanted->key, wanted->size) != 0 ||
		at->record->seq < wanted->seq || format_record_is_bare(at->record))
		return;
	wanted->seq = at->record->seq;
	wanted->offset = at->offset;
	format_segment_name(at->slot, wanted->name);
}

static struct sim_env *sim;

static void begin(struct fixture *store)
{
	struct kvfs_create_options create = {.segment_size = 4 << 20};
	*store = (struct fixture){.path = PATH, .open.kv.flags = KV_OPEN_INLINE};
	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 1}, &sim), 0);
	store->env = sim_env_table(sim);
	assert_int_equal(kvfs_create(store->env, PATH, &create, NULL, NULL), 0);
	fixture_open(store);
}

static void end(struct fixture *store)
{
	fixture_close(store);
	assert_int_equal(sim_env_power_on(sim, SIM_LOSS_NONE), 0);
	sim_env_free(sim);
}

/* The newest record of the key, in the closed store, and no checkpoint tells of it. */
static void damage(struct fixture *store, enum keyspace keyspace, const void *key, size_t size)
{
	struct wanted wanted = {.keyspace = keyspace, .key = key, .size = size};
	struct store_image image;
	struct env_dir *dir;

	store_image_take(&image, sim, PATH);
	store_image_records(&image, find_newest, &wanted);
	store_image_free(&image);
	assert_true(wanted.seq > 0);
	assert_int_equal(sim_env_flip(sim, wanted.name, wanted.offset + 20, 1), 0);
	assert_int_equal(store->env->dir_open(store->env, PATH, &dir), 0);
	(void)store->env->unlink(dir, FORMAT_CHECKPOINT_NAME);
	store->env->dir_close(dir);
}

/* Closes the store, where a mark behind it says that it was durable. */
static void lose(struct fixture *store, enum keyspace keyspace, const void *key, size_t size)
{
	fixture_close(store);
	damage(store, keyspace, key, size);
}

static void lose_inode(struct fixture *store, uint64_t ino)
{
	uint8_t key[INODE_KEY_SIZE];

	inode_key_encode(ino, key);
	lose(store, KEYSPACE_INODE, key, sizeof(key));
}

/* Also what says that it is not to be freed any more. */
static void lose_both(struct fixture *store, uint64_t ino)
{
	uint8_t key[INODE_KEY_SIZE];

	inode_key_encode(ino, key);
	lose(store, KEYSPACE_INODE, key, sizeof(key));
	damage(store, KEYSPACE_ORPHAN, key, sizeof(key));
}

static void ignore(void *arg, enum kv_severity severity, const char *message)
{
}

static void repair_unchecked(struct fixture *store)
{
	struct kv_repair_report report;
	uint64_t mended;

	fixture_close(store);
	assert_int_equal(kv_repair(store->env, PATH, ignore, NULL, &report), 0);
	store->open.repairs = true;
	fixture_open(store);
	assert_int_equal(kvfs_repair(store->fs, ignore, NULL, &mended), 0);
	store->open.repairs = false;
	fixture_reopen(store);
}

/* The tree as a repair leaves it, in which a check finds nothing. */
static void repair(struct fixture *store)
{
	repair_unchecked(store);
	fixture_assert_clean(store);
}

static uint64_t findings_of(struct fixture *store)
{
	uint64_t findings;

	assert_int_equal(kvfs_check(store->fs, ignore, NULL, NULL, NULL, &findings), 0);
	return findings;
}

static void write_file(struct fixture *store, uint64_t ino, uint8_t byte)
{
	static uint8_t data[SIZE];

	memset(data, byte, SIZE);
	assert_int_equal(kvfs_write(store->fs, ino, data, SIZE, 0, 0), SIZE);
}

static void must_have(struct fixture *store, uint64_t ino, uint8_t byte)
{
	static uint8_t data[SIZE + 1];

	assert_int_equal(kvfs_read(store->fs, ino, data, sizeof(data), 0), SIZE);
	assert_int_equal(data[0], byte);
	assert_memory_equal(data, data + 1, SIZE - 1);
}

/* Numbers of before are not given out again, by this opening or another. */
static void test_next_number(void **state)
{
	struct fixture store;
	uint64_t first, other;

	begin(&store);
	first = fixture_mkfile(&store, KVFS_ROOT_INO, "first");
	write_file(&store, first, 'a');
	lose(&store, KEYSPACE_META, META_NEXT_INO_KEY, sizeof(META_NEXT_INO_KEY) - 1);
	for (unsigned round = 0; round < 3; round++) {
		char name[16];

		fixture_open(&store);
		assert_true(findings_of(&store) > 0);
		snprintf(name, sizeof(name), "other %u", round);
		other = fixture_mkfile(&store, KVFS_ROOT_INO, name);
		assert_true(other > first);
		write_file(&store, other, 'b');
		must_have(&store, first, 'a');
		fixture_close(&store);
	}
	fixture_open(&store);
	repair(&store);
	must_have(&store, first, 'a');
	assert_true(fixture_mkfile(&store, KVFS_ROOT_INO, "last") > other);
	end(&store);
}

/* A file that had no name at first. */
static uint64_t make_named_later(struct fixture *store)
{
	struct kvfs_attr attr;

	assert_int_equal(
		kvfs_tmpfile(store->fs, &fixture_root, KVFS_ROOT_INO, S_IFREG | 0600, &attr), 0);
	write_file(store, attr.ino, 'a');
	assert_int_equal(kvfs_link(store->fs, attr.ino, KVFS_ROOT_INO, "file", &attr), 0);
	kvfs_release(store->fs, attr.ino, 1);
	fixture_mkfile(store, KVFS_ROOT_INO, "behind");
	return attr.ino;
}

/* By its older record it is to be freed. */
static void test_named_later(void **state)
{
	struct fixture store;
	uint64_t ino;

	begin(&store);
	ino = make_named_later(&store);
	lose_both(&store, ino);
	for (unsigned round = 0; round < 2; round++) {
		fixture_open(&store);
		assert_true(findings_of(&store) > 0);
		fixture_close(&store);
	}
	fixture_open(&store);
	repair(&store);
	must_have(&store, ino, 'a');
	assert_int_equal(fixture_attr(&store, ino).nlink, 1);
	end(&store);
}

/* The store's own repair is done, and that of the files is not: the doubt stays. */
static void test_interrupted_repair(void **state)
{
	struct kv_repair_report report;
	struct fixture store;
	uint64_t ino;

	begin(&store);
	ino = make_named_later(&store);
	lose_both(&store, ino);
	assert_int_equal(kv_repair(store.env, PATH, ignore, NULL, &report), 0);
	assert_true(report.lost_bytes > 0);
	for (unsigned round = 0; round < 2; round++) {
		fixture_open(&store);
		assert_true(findings_of(&store) > 0);
		fixture_close(&store);
	}
	fixture_open(&store);
	repair(&store);
	must_have(&store, ino, 'a');
	fixture_reopen(&store);
	fixture_assert_clean(&store);
	end(&store);
}

/* By its older record a file has one name, and loses that. */
static void test_other_name(void **state)
{
	struct fixture store;
	struct kvfs_attr attr;
	uint64_t ino;

	for (unsigned held = 0; held < 2; held++) {
		begin(&store);
		ino = fixture_mkfile(&store, KVFS_ROOT_INO, "one");
		write_file(&store, ino, 'a');
		assert_int_equal(kvfs_link(store.fs, ino, KVFS_ROOT_INO, "two", &attr), 0);
		kvfs_release(store.fs, ino, 1);
		fixture_mkfile(&store, KVFS_ROOT_INO, "behind");
		lose_inode(&store, ino);
		fixture_open(&store);
		assert_int_equal(fixture_attr(&store, ino).nlink, 1);
		kvfs_hold(store.fs, ino, held);
		assert_int_equal(kvfs_unlink(store.fs, KVFS_ROOT_INO, "one"), 0);
		kvfs_release(store.fs, ino, held);
		must_have(&store, ino, 'a');
		fixture_reopen(&store);
		must_have(&store, ino, 'a');
		repair(&store);
		assert_int_equal(fixture_lookup(&store, KVFS_ROOT_INO, "one"), -ENOENT);
		assert_int_equal(fixture_lookup(&store, KVFS_ROOT_INO, "two"), (int64_t)ino);
		assert_int_equal(fixture_attr(&store, ino).nlink, 1);
		must_have(&store, ino, 'a');
		end(&store);
	}
}

/* What has no other name is freed by the repair, and not before. */
static void test_unlinked(void **state)
{
	struct kvfs_attr attr;
	struct fixture store;
	uint64_t ino, other;

	begin(&store);
	ino = fixture_mkfile(&store, KVFS_ROOT_INO, "mine");
	other = make_named_later(&store);
	write_file(&store, ino, 'b');
	lose_inode(&store, other);
	fixture_open(&store);
	assert_int_equal(kvfs_unlink(store.fs, KVFS_ROOT_INO, "mine"), 0);
	assert_int_equal(kvfs_getattr(store.fs, ino, &attr), 0);
	repair(&store);
	assert_int_equal(kvfs_getattr(store.fs, ino, &attr), -ENOENT);
	assert_int_equal(fixture_lookup(&store, KVFS_ROOT_INO, "lost+found"), -ENOENT);
	end(&store);
}

static int drop(void *arg, const void *bytes, size_t size)
{
	return 0;
}

/* A clone would have no doubt. */
static void test_clone(void **state)
{
	struct fixture store;
	struct kvfs *snapshot;

	begin(&store);
	lose_both(&store, make_named_later(&store));
	fixture_open(&store);
	assert_int_equal(kvfs_send(store.fs, drop, NULL), -EUCLEAN);
	assert_int_equal(kvfs_snapshot_create(store.fs, "snapshot"), 0);
	assert_int_equal(kvfs_snapshot_open(store.fs, "snapshot", &snapshot), 0);
	assert_int_equal(kvfs_send(snapshot, drop, NULL), -EUCLEAN);
	kvfs_close(snapshot);
	/* What is in the snapshot is not mended. */
	repair_unchecked(&store);
	assert_int_equal(kvfs_send(store.fs, drop, NULL), 0);
	assert_int_equal(kvfs_view_open(store.fs, &snapshot), 0);
	assert_int_equal(kvfs_send(snapshot, drop, NULL), 0);
	kvfs_close(snapshot);
	assert_int_equal(kvfs_snapshot_open(store.fs, "snapshot", &snapshot), 0);
	assert_int_equal(kvfs_send(snapshot, drop, NULL), -EUCLEAN);
	kvfs_close(snapshot);
	assert_int_equal(kvfs_snapshot_delete(store.fs, "snapshot"), 0);
	assert_int_equal(kvfs_snapshot_create(store.fs, "snapshot"), 0);
	assert_int_equal(kvfs_snapshot_open(store.fs, "snapshot", &snapshot), 0);
	assert_int_equal(kvfs_send(snapshot, drop, NULL), 0);
	kvfs_close(snapshot);
	assert_int_equal(kvfs_send(store.fs, drop, NULL), 0);
	end(&store);
}

static bool is_doubtful(struct fixture *store)
{
	struct kv_stats stats;

	kv_stats(kvfs_kv(store->fs), &stats);
	return stats.records_lost;
}

/* Going back brings what a snapshot has of it, in doubt, and behind the repair as well. */
static void test_snapshot_of_before(void **state)
{
	struct fixture store;
	uint64_t ino;

	begin(&store);
	ino = make_named_later(&store);
	assert_int_equal(kvfs_snapshot_create(store.fs, "snapshot"), 0);
	lose_both(&store, ino);
	for (unsigned round = 0; round < 3; round++) {
		fixture_open(&store);
		fixture_mkfile(&store, KVFS_ROOT_INO, "later");
		assert_int_equal(kvfs_rollback(store.fs, "snapshot", NULL), 0);
		fixture_reopen(&store);
		assert_true(is_doubtful(&store));
		/* Of the snapshot a check goes on finding it. */
		if (round)
			repair_unchecked(&store);
		assert_true(is_doubtful(&store) == !round);
		must_have(&store, ino, 'a');
		fixture_close(&store);
	}
	fixture_open(&store);
	assert_int_equal(kvfs_snapshot_delete(store.fs, "snapshot"), 0);
	fixture_assert_clean(&store);
	end(&store);
}

static int (*open_file)(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out);

static int no_room_for_mark(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out)
{
	if (!strcmp(name, FORMAT_LOSS_NAME) && flags & ENV_CREATE)
		return -ENOSPC;
	return open_file(dir, name, flags, out);
}

/* Where that is refused nothing has come back. */
static void test_refused_return(void **state)
{
	struct fixture store;
	uint64_t ino;

	begin(&store);
	ino = make_named_later(&store);
	assert_int_equal(kvfs_snapshot_create(store.fs, "snapshot"), 0);
	lose_both(&store, ino);
	fixture_open(&store);
	repair_unchecked(&store);
	open_file = store.env->file_open;
	store.env->file_open = no_room_for_mark;
	assert_int_equal(kvfs_rollback(store.fs, "snapshot", NULL), -ENOSPC);
	store.env->file_open = open_file;
	assert_false(is_doubtful(&store));
	fixture_reopen(&store);
	assert_false(is_doubtful(&store));
	must_have(&store, ino, 'a');
	assert_int_equal(kvfs_snapshot_delete(store.fs, "snapshot"), 0);
	fixture_assert_clean(&store);
	end(&store);
}

/* Numbers that only a snapshot has, of which the record is lost, are not given out again. */
static void test_number_of_snapshot(void **state)
{
	struct fixture store;
	uint64_t ino;

	begin(&store);
	do
		ino = fixture_mkfile(&store, KVFS_ROOT_INO, "file");
	while (ino < 5000 && !kvfs_unlink(store.fs, KVFS_ROOT_INO, "file"));
	assert_int_equal(kvfs_snapshot_create(store.fs, "snapshot"), 0);
	assert_int_equal(kvfs_unlink(store.fs, KVFS_ROOT_INO, "file"), 0);
	lose(&store, KEYSPACE_META, META_NEXT_INO_KEY, sizeof(META_NEXT_INO_KEY) - 1);
	fixture_open(&store);
	repair(&store);
	assert_true(fixture_mkfile(&store, KVFS_ROOT_INO, "new") > ino);
	end(&store);
}

/* That of the only record of how many share something. */
static size_t count_key(struct fixture *store, uint8_t key[SHARE_KEY_SIZE])
{
	struct kv_iterator *iterator;
	const struct kv_entry *entries;
	size_t count, size = 0;

	assert_int_equal(
		kv_iterator_open(kvfs_kv(store->fs), KEYSPACE_SHARED, KV_ITERATE_KEYS, &iterator),
		0);
	kv_read_begin(kvfs_kv(store->fs));
	while (!size && !kv_iterator_read(iterator, &entries, &count))
		for (size_t i = 0; i < count && !size; i++) {
			const uint8_t *bytes = entries[i].key.data;

			if (bytes[entries[i].key.size - 1] != SHARE_COUNT)
				continue;
			size = entries[i].key.size;
			memcpy(key, bytes, size);
		}
	kv_read_end(kvfs_kv(store->fs));
	kv_iterator_close(iterator);
	assert_int_equal(size, SHARE_KEY_SIZE);
	return size;
}

/* More share contents than the record of their number says. */
static void test_sharers(void **state)
{
	struct fixture store;
	uint8_t key[SHARE_KEY_SIZE];
	uint64_t inos[4];
	size_t size;

	begin(&store);
	for (unsigned i = 0; i < 4; i++) {
		char name[16];

		snprintf(name, sizeof(name), "file %u", i);
		inos[i] = fixture_mkfile(&store, KVFS_ROOT_INO, name);
		if (!i)
			write_file(&store, inos[i], 'a');
		else
			assert_int_equal(
				kvfs_copy(store.fs, inos[0], 0, inos[i], 0, SIZE), SIZE);
	}
	size = count_key(&store, key);
	lose(&store, KEYSPACE_SHARED, key, size);
	for (unsigned i = 0; i < 3; i++) {
		char name[16];

		fixture_open(&store);
		snprintf(name, sizeof(name), "file %u", i);
		assert_int_equal(kvfs_unlink(store.fs, KVFS_ROOT_INO, name), 0);
		must_have(&store, inos[3], 'a');
		fixture_close(&store);
	}
	fixture_open(&store);
	repair(&store);
	must_have(&store, inos[3], 'a');
	assert_int_equal(kvfs_unlink(store.fs, KVFS_ROOT_INO, "file 3"), 0);
	fixture_assert_clean(&store);
	end(&store);
}

/* It was gone back to a snapshot, and changed since. */
static void test_gone_back(void **state)
{
	struct fixture store;
	uint64_t ino;

	begin(&store);
	ino = fixture_mkfile(&store, KVFS_ROOT_INO, "file");
	write_file(&store, ino, 'a');
	assert_int_equal(kvfs_snapshot_create(store.fs, "snapshot"), 0);
	write_file(&store, ino, 'b');
	assert_int_equal(kvfs_rollback(store.fs, "snapshot", NULL), 0);
	must_have(&store, ino, 'a');
	write_file(&store, ino, 'c');
	lose(&store, KEYSPACE_META, META_ROLLBACK_KEY, sizeof(META_ROLLBACK_KEY) - 1);
	fixture_open(&store);
	must_have(&store, ino, 'c');
	repair(&store);
	must_have(&store, ino, 'c');
	end(&store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_gone_back),
		cmocka_unit_test(test_interrupted_repair),
		cmocka_unit_test(test_named_later),
		cmocka_unit_test(test_next_number),
		cmocka_unit_test(test_number_of_snapshot),
		cmocka_unit_test(test_other_name),
		cmocka_unit_test(test_refused_return),
		cmocka_unit_test(test_sharers),
		cmocka_unit_test(test_snapshot_of_before),
		cmocka_unit_test(test_unlinked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
