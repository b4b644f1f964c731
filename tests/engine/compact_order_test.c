/* SPDX-License-Identifier: MIT */
/*
 * compact_order_test.c - what must be durable before what, when compaction copies and frees, and
 * what happens when a step of that fails. The store has no thread of its own: each step is taken
 * here, and the power fails between any two.
 */
#include "kv_fixture.h"

#include <limits.h>
#include <pthread.h>
#include <unistd.h>

#include "checkpoint.h"
#include "cold.h"
#include "compact.h"
#include "segment_file.h"
#include "snapshot.h"
#include "store.h"

#define ROUNDS 40u
#define SOME_ROUNDS 12u
#define ROUND_KEYS 9u
#define VALUE 90000u
#define STAYING 20000u
#define READ_MS 200u

/* ---- the names of segments, as they change --------------------------------------------------- */

static struct {
	struct kv *kv;
	unsigned freed;   /* so many left the log */
	unsigned pending; /* and are not durable there */
	/* what leaves was emptied long ago: copies of others may stand behind its own */
	bool put_off;
	bool fails; /* the next sync of names after one has left */
	struct sim_env *sim;
	int (*rename)(struct env_dir *dir, const char *from, const char *to);
	int (*dir_sync)(struct env_dir *dir);
	/* of the list of segments: the disk is full from this one on */
	unsigned list_writes, list_full_at;
	int (*file_write)(
		struct env_file *file, const void *data, size_t size, uint64_t position, bool sync);
} names;

static int watched_rename(struct env_dir *dir, const char *from, const char *to)
{
	const struct kv *kv = names.kv;

	if (!strncmp(from, "seg-", 4) && !strncmp(to, "free-", 5)) {
		/* What made it garbage is durable, and so are the copies. */
		assert_true(kv->sync.durable_bytes >= kv->compaction.emptied_bytes);
		assert_true(names.put_off || !kv->cold.active ||
			    kv->cold.active->written == kv->cold.offset);
		names.freed++;
		names.pending++;
		if (names.fails)
			sim_env_fail(names.sim, SIM_FAULT_DIR_SYNC, 1, 1, -EIO);
	}
	return names.rename(dir, from, to);
}

static int watched_dir_sync(struct env_dir *dir)
{
	int error = names.dir_sync(dir);

	if (!error)
		names.pending = 0;
	return error;
}

/* What stood there is gone. */
static int watched_write(
	struct env_file *file, const void *data, size_t size, uint64_t position, bool sync)
{
	static const uint8_t zeros[64];

	if (file != names.kv->manifest || ++names.list_writes < names.list_full_at)
		return names.file_write(file, data, size, position, sync);
	assert_int_equal(names.file_write(file, zeros, sizeof(zeros), position, false), 0);
	return -ENOSPC;
}

/* From here on. */
static void watch(struct fixture *fixture)
{
	struct kv_env *env = sim_env_table(fixture->sim);

	memset(&names, 0, sizeof(names));
	names.kv = fixture->kv;
	names.list_full_at = UINT_MAX;
	names.sim = fixture->sim;
	names.rename = env->rename;
	names.dir_sync = env->dir_sync;
	names.file_write = env->file_write;
	env->file_write = watched_write;
	env->rename = watched_rename;
	env->dir_sync = watched_dir_sync;
}

static void unwatch(struct fixture *fixture)
{
	struct kv_env *env = sim_env_table(fixture->sim);

	env->file_write = names.file_write;
	env->rename = names.rename;
	env->dir_sync = names.dir_sync;
}

/* ---- something to compact -------------------------------------------------------------------- */

static void put_numbered(
	struct fixture *fixture, const char *name, unsigned number, size_t size, uint64_t seed)
{
	char key[30];

	snprintf(key, sizeof(key), "%s %u", name, number);
	must_put_filled(fixture, HASHED, key, size, seed);
}

/*
 * As many segments as rounds, of which one short record each is needed, and all the rest is garbage
 * that nobody has looked for. Without `stays`: garbage throughout.
 */
static void make_garbage(struct fixture *fixture, unsigned rounds, bool stays)
{
	struct kv_view *views[ROUNDS];
	unsigned round, i;

	for (round = 0; round < rounds; round++) {
		for (i = 0; i < ROUND_KEYS; i++)
			put_numbered(fixture, "key", i, VALUE, round * 100 + i);
		if (stays)
			put_numbered(fixture, "stays", round, STAYING, round);
		assert_int_equal(kv_view_open(fixture->kv, &views[round]), 0);
	}
	must_sync(fixture);
	for (i = 0; i < ROUND_KEYS; i++)
		put_numbered(fixture, "key", i, 1000, i);
	for (round = 0; round < rounds; round++)
		kv_view_close(views[round]);
}

static void must_have_it(struct fixture *fixture, unsigned rounds, bool stays)
{
	char key[30];
	unsigned i;

	for (i = 0; stays && i < rounds; i++) {
		snprintf(key, sizeof(key), "stays %u", i);
		must_have_filled(fixture, HASHED, key, STAYING, i);
	}
	for (i = 0; i < ROUND_KEYS; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_have_filled(fixture, HASHED, key, 1000, i);
	}
	must_check_clean(fixture);
}

/* No checkpoint is made but on demand. */
static int setup(void **state)
{
	struct fixture *fixture;
	int error = fixture_setup_empty(state);

	if (error)
		return error;
	fixture = *state;
	error = kv_create(fixture->env, STORE_PATH, &fixture_create_options, NULL, NULL);
	fixture->checkpoint_interval = (uint64_t)1 << 40;
	return error ? error : fixture_open(fixture, KV_OPEN_INLINE);
}

#define ORDER_TEST(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

/* ---- the list of snapshots ------------------------------------------------------------------- */

/*
 * It never knows of a batch that the log could still lose; and it is there after a power failure.
 */
static void test_list_comes_after_the_log(void **state)
{
	static const enum sim_loss losses[] = {SIM_LOSS_ALL, SIM_LOSS_NONE, SIM_LOSS_ANY};
	struct fixture *fixture = *state;
	char name[20];
	uint64_t seq;
	unsigned i;

	for (i = 0; i < 3; i++) {
		put_numbered(fixture, "key", i, 3000, i);
		snprintf(name, sizeof(name), "snapshot %u", i);
		assert_int_equal(kv_snapshot_create(fixture->kv, name, &seq), 0);
		assert_true(kv_durable_seq(fixture->kv) < seq);
		assert_int_equal(snapshots_save_all(fixture->kv), 0);
		assert_true(kv_durable_seq(fixture->kv) >= seq);
		must_crash(fixture, losses[i], KV_OPEN_INLINE);
		assert_true(atomic_load(&fixture->kv->snapshots.saved_seq) >= seq);
	}
}

/* Cold segments are replayed before what stood behind them: the list must not depend on that. */
static void test_list_comes_before_cold_copies(void **state)
{
	struct fixture *fixture = *state;
	struct kv *kv = fixture->kv;
	uint64_t seq;

	make_garbage(fixture, ROUNDS, true);
	assert_int_equal(kv_snapshot_create(kv, "one", &seq), 0);
	assert_true(atomic_load(&kv->snapshots.saved_seq) < seq);
	compact_step(kv);
	assert_non_null(kv->cold.active);
	assert_true(atomic_load(&kv->relocated_bytes) > 0);
	assert_true(atomic_load(&kv->snapshots.saved_seq) >= seq);
}

/* ---- freeing --------------------------------------------------------------------------------- */

static void test_order_of_freeing(void **state)
{
	struct fixture *fixture = *state;
	unsigned stays, i;

	for (stays = 0; stays < 2; stays++) {
		make_garbage(fixture, ROUNDS, stays);
		watch(fixture);
		for (i = 0; i < 10; i++) {
			compact_step(fixture->kv);
			/* Before the next one's tombstones may go. */
			assert_int_equal(names.pending, 0);
		}
		assert_true(names.freed > ROUNDS / 4);
		unwatch(fixture);
		must_have_it(fixture, ROUNDS, stays);
		must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
		must_have_it(fixture, ROUNDS, stays);
	}
}

static void *compact(void *arg)
{
	compact_step(arg);
	return NULL;
}

/* Who reads a record that is copied meanwhile reads it to its end. */
static void test_readers_are_waited_for(void **state)
{
	struct fixture *fixture = *state;
	uint8_t expected[STAYING];
	struct kv_slice value;
	pthread_t thread;
	unsigned ms;

	make_garbage(fixture, ROUNDS, true);
	fill_bytes(expected, sizeof(expected), 0);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, HASHED, "stays 0", 7, &value), 0);
	watch(fixture);
	assert_int_equal(pthread_create(&thread, NULL, compact, fixture->kv), 0);
	/* Whoever does not wait has time to do harm. */
	for (ms = 0; ms < READ_MS; ms++) {
		usleep(1000);
		assert_int_equal(atomic_load(&fixture->kv->victims), 0);
	}
	assert_memory_equal(value.data, expected, sizeof(expected));
	kv_read_end(fixture->kv);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&fixture->kv->victims) > 0);
	unwatch(fixture);
}

/* ---- steps that fail ------------------------------------------------------------------------- */

static void must_be_final(struct fixture *fixture)
{
	assert_true(atomic_load(&fixture->kv->failed) != 0);
	assert_int_equal(kv_put(fixture->kv, HASHED, "x", 1, "y", 1, NULL), -EROFS);
	unwatch(fixture);
	assert_int_equal(kv_close(fixture->kv), -EIO);
	fixture->kv = NULL;
	must_open(fixture, KV_OPEN_INLINE);
	must_have_it(fixture, ROUNDS, true);
}

static void test_failures_are_final(void **state)
{
	struct fixture *fixture = *state;

	make_garbage(fixture, ROUNDS, true);
	must_sync(fixture);
	watch(fixture);
	/* Names that are not durable may come back. */
	names.fails = true;
	compact_step(fixture->kv);
	assert_true(names.freed > 0);
	must_be_final(fixture);
	make_garbage(fixture, ROUNDS, true);
	must_sync(fixture);
	watch(fixture);
	/* A copy that did not reach the disk is not there. */
	sim_env_fail(fixture->sim, SIM_FAULT_SYNC, 1, 1000, -EIO);
	compact_step(fixture->kv);
	sim_env_fail(fixture->sim, SIM_FAULT_SYNC, 0, 0, 0);
	assert_int_equal(names.freed, 0);
	must_be_final(fixture);
}

/* ---- no room for the list of segments -------------------------------------------------------- */

static unsigned whole_lists(struct fixture *fixture)
{
	struct format_manifest_page page;
	unsigned copy, whole = 0;
	const uint8_t *bytes;
	uint64_t size;

	bytes = sim_env_bytes(fixture->sim, FORMAT_MANIFEST_NAME, &size);
	assert_non_null(bytes);
	for (copy = 0; copy < FORMAT_MANIFEST_COPIES; copy++) {
		assert_true(size >= (copy + 1) * sizeof(page));
		memcpy(&page, bytes + copy * sizeof(page), sizeof(page));
		whole += !format_manifest_validate(&page, fixture->kv->segments.uuid);
	}
	return whole;
}

/* Nothing was freed, and all else goes on. */
static void must_be_put_off(struct fixture *fixture)
{
	assert_int_equal(names.freed, 0);
	assert_int_equal(atomic_load(&fixture->kv->failed), 0);
	assert_true(fixture->kv->compaction.free_at_us > 0);
	must_put(fixture, HASHED, "goes", "on");
	must_sync(fixture);
}

static void step_later(struct fixture *fixture)
{
	sim_env_advance_us(fixture->sim, 2000000);
	compact_step(fixture->kv);
}

/*
 * One that failed half-way leaves a copy that is whole; the next attempt begins with the other one.
 */
static void test_no_room_to_write_the_list(void **state)
{
	struct fixture *fixture = *state;
	unsigned attempt;

	for (attempt = 0; attempt < 2; attempt++) {
		make_garbage(fixture, ROUNDS, true);
		must_sync(fixture);
		watch(fixture);
		names.list_full_at = attempt + 1;
		compact_step(fixture->kv);
		must_be_put_off(fixture);
		assert_int_equal(whole_lists(fixture), 1);
		/* Again, in the same place. */
		step_later(fixture);
		must_be_put_off(fixture);
		assert_int_equal(whole_lists(fixture), 1);
		must_have_it(fixture, ROUNDS, true);
		names.list_full_at = UINT_MAX;
		names.put_off = true;
		step_later(fixture);
		assert_true(names.freed > 0);
		assert_int_equal(whole_lists(fixture), 2);
		unwatch(fixture);
		must_have_it(fixture, ROUNDS, true);
		must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
		must_have_it(fixture, ROUNDS, true);
	}
	assert_int_equal(fixture->errors, 0);
}

static void must_have_no_list(struct fixture *fixture)
{
	uint64_t size;

	assert_null(sim_env_bytes(fixture->sim, FORMAT_MANIFEST_NAME, &size));
}

/*
 * Somebody has removed it, and the disk is full: the same; and such a store can be opened. What was
 * begun is not taken for one.
 */
static void test_no_room_to_make_the_list(void **state)
{
	struct fixture *fixture = *state;
	uint64_t avail, total, full, findings;

	make_garbage(fixture, ROUNDS, false);
	must_sync(fixture);
	assert_int_equal(fixture->env->dir_space(fixture->kv->dir, &avail, &total), 0);
	full = total - avail - FORMAT_MANIFEST_COPIES * FORMAT_MANIFEST_PAGE_SIZE;
	assert_int_equal(fixture->env->unlink(fixture->kv->dir, FORMAT_MANIFEST_NAME), 0);
	sim_env_set_capacity(fixture->sim, full);
	must_crash(fixture, SIM_LOSS_NONE, KV_OPEN_INLINE);
	watch(fixture);
	compact_step(fixture->kv);
	must_be_put_off(fixture);
	must_have_no_list(fixture);
	/* Nor one with a name that is not durable. */
	sim_env_set_capacity(fixture->sim, total);
	sim_env_fail(fixture->sim, SIM_FAULT_DIR_SYNC, 1, 1, -ENOSPC);
	step_later(fixture);
	must_be_put_off(fixture);
	must_have_no_list(fixture);
	sim_env_set_capacity(fixture->sim, full);
	unwatch(fixture);
	must_crash(fixture, SIM_LOSS_NONE, KV_OPEN_INLINE);
	/* That there is none is all that a check has to say. */
	assert_int_equal(kv_check(fixture->kv, fixture_hear, fixture, NULL, NULL, &findings), 0);
	assert_int_equal(findings, 1);
	sim_env_set_capacity(fixture->sim, total);
	watch(fixture);
	step_later(fixture);
	assert_true(names.freed > 0);
	assert_int_equal(whole_lists(fixture), 2);
	unwatch(fixture);
	must_have_it(fixture, ROUNDS, false);
}

/* ---- no room for the list of snapshots ------------------------------------------------------- */

static int (*open_file)(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out);

static int open_but_lists(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out)
{
	bool is_list = flags & ENV_CREATE && !strcmp(name, FORMAT_SNAPSHOTS_NEW_NAME);

	return is_list ? -ENOSPC : open_file(dir, name, flags, out);
}

/*
 * What says that a snapshot was deleted is not freed while the file still lists it: it would be
 * back.
 */
static void test_deleted_snapshot_is_not_back(void **state)
{
	struct fixture *fixture = *state;
	struct kv_snapshot found;
	unsigned steps = 0;
	int result;

	must_put(fixture, HASHED, "a", "key");
	assert_int_equal(kv_snapshot_create(fixture->kv, "snapshot", NULL), 0);
	assert_int_equal(snapshots_save_all(fixture->kv), 0);
	assert_int_equal(kv_snapshot_delete(fixture->kv, "snapshot", NULL), 0);
	make_garbage(fixture, ROUNDS, true);
	open_file = fixture->env->file_open;
	fixture->env->file_open = open_but_lists;
	pthread_mutex_lock(&fixture->kv->maintain.lock);
	do
		result = compact_demand(fixture->kv, 10, UINT64_MAX);
	while (result > 0 && steps++ < 1000);
	pthread_mutex_unlock(&fixture->kv->maintain.lock);
	assert_int_equal(result, 0);
	fixture->env->file_open = open_file;
	assert_true(atomic_load(&fixture->kv->victims) > ROUNDS / 2);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	assert_int_equal(kv_snapshot_stat(fixture->kv, "snapshot", &found), -ENOENT);
	must_have_it(fixture, ROUNDS, true);
}

/* ---- names that come back -------------------------------------------------------------------- */

#define FEW_ROUNDS 6u
#define TURNS 6u /* of each step: which names come back is chance */

/* Until a step has done what is wanted. */
static void compact_until(struct fixture *fixture, bool (*is_done)(struct kv *kv))
{
	struct kv *kv = fixture->kv;
	unsigned steps = 0;

	pthread_mutex_lock(&kv->maintain.lock);
	while (!is_done(kv)) {
		assert_true(compact_demand(kv, 10, UINT64_MAX) >= 0);
		assert_true(steps++ < 1000);
	}
	pthread_mutex_unlock(&kv->maintain.lock);
}

static bool has_kept(struct kv *kv)
{
	return kv->compaction.kept_bytes > 0;
}

static bool has_new_copies(struct kv *kv)
{
	const struct segment *active = kv->cold.active;

	return active && active->rename > atomic_load(&kv->segments.renames_synced) &&
	       kv->cold.offset > active->written;
}

/*
 * The power fails, names come back or not, and nothing is missed: neither a segment that is gone
 * for good, nor one that never was there.
 */
static void must_miss_nothing(struct fixture *fixture, enum sim_loss loss, unsigned rounds)
{
	must_crash(fixture, loss, KV_OPEN_INLINE);
	if (fixture->errors)
		fail_msg("%s", fixture->last_error);
	must_have_it(fixture, rounds, true);
}

/* Given up for the space of what it names: it does not come back to name what is gone. */
static void test_checkpoint_given_up(void **state)
{
	struct fixture *fixture = *state;
	unsigned step, turn;
	bool ended = false;

	for (step = 1; !ended; step++) {
		for (turn = 0; turn < TURNS; turn++) {
			make_garbage(fixture, FEW_ROUNDS, true);
			assert_int_equal(kv_checkpoint(fixture->kv), 0);
			compact_until(fixture, has_kept);
			sim_env_cut_at(fixture->sim, sim_env_steps(fixture->sim) + step);
			pthread_mutex_lock(&fixture->kv->maintain.lock);
			(void)checkpoint_discard(fixture->kv);
			pthread_mutex_unlock(&fixture->kv->maintain.lock);
			ended = !sim_env_is_cut(fixture->sim);
			must_miss_nothing(fixture, SIM_LOSS_ANY, FEW_ROUNDS);
		}
	}
	assert_true(step > 4);
}

/* One that is kept for the checkpoint, and one whose freeing was put off. */
static bool keeps_both(const struct kv *kv)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);
	bool named = false, unnamed = false;

	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = kv->segments.table[slot];

		named |= segment && segment->kept && segment->named;
		unnamed |= segment && segment->kept && !segment->named;
	}
	return named && unnamed;
}

static int (*rename_file)(struct env_dir *dir, const char *from, const char *to);

static int rename_in_vain(struct env_dir *dir, const char *from, const char *to)
{
	if (!strcmp(to, FORMAT_CHECKPOINT_NAME))
		sim_env_fail(names.sim, SIM_FAULT_DIR_SYNC, 1, 1, -EIO);
	return rename_file(dir, from, to);
}

/*
 * The one before it may be back while its name is not durable: what that names is not freed with
 * what was put off.
 */
static void test_checkpoint_without_a_name(void **state)
{
	struct fixture *fixture = *state;
	unsigned step, turn, i;
	bool ended = false;

	for (step = 1; !ended; step++) {
		for (turn = 0; turn < TURNS; turn++) {
			make_garbage(fixture, FEW_ROUNDS, true);
			assert_int_equal(kv_checkpoint(fixture->kv), 0);
			watch(fixture);
			names.list_full_at = 1;
			make_garbage(fixture, FEW_ROUNDS, true);
			must_sync(fixture);
			for (i = 0; i < 20 && !keeps_both(fixture->kv); i++)
				compact_step(fixture->kv);
			assert_true(keeps_both(fixture->kv));
			unwatch(fixture);
			rename_file = fixture->env->rename;
			fixture->env->rename = rename_in_vain;
			assert_int_equal(kv_checkpoint(fixture->kv), -EIO);
			fixture->env->rename = rename_file;
			sim_env_advance_us(fixture->sim, 2000000);
			sim_env_cut_at(fixture->sim, sim_env_steps(fixture->sim) + step);
			compact_step(fixture->kv);
			ended = !sim_env_is_cut(fixture->sim);
			must_miss_nothing(fixture, SIM_LOSS_ANY, FEW_ROUNDS);
		}
	}
	assert_true(step > 4);
}

/* Emptied segments stay for want of room for the list, and copies go to a new one from here on. */
static void put_off_freeing(struct fixture *fixture, unsigned rounds)
{
	make_garbage(fixture, rounds, true);
	must_sync(fixture);
	watch(fixture);
	names.list_full_at = 1;
	compact_step(fixture->kv);
	unwatch(fixture);
	assert_true(fixture->kv->compaction.free_at_us > 0);
	pthread_mutex_lock(&fixture->kv->maintain.lock);
	assert_int_equal(cold_close(fixture->kv), 0);
	pthread_mutex_unlock(&fixture->kv->maintain.lock);
}

/* What was put off is freed now; the power fails at this step. True: it was over before. */
static bool free_until(struct fixture *fixture, unsigned rounds, unsigned step)
{
	bool over;

	sim_env_advance_us(fixture->sim, 2000000);
	sim_env_cut_at(fixture->sim, sim_env_steps(fixture->sim) + step);
	compact_step(fixture->kv);
	over = !sim_env_is_cut(fixture->sim);
	must_miss_nothing(fixture, SIM_LOSS_ALL, rounds);
	return over;
}

/* The list of segments does not speak of one that the disk may still lose with its name. */
static void test_list_names_what_is_durable(void **state)
{
	struct fixture *fixture = *state;
	bool over = false;
	unsigned step;

	for (step = 1; !over; step++) {
		put_off_freeing(fixture, SOME_ROUNDS);
		compact_until(fixture, has_new_copies);
		over = free_until(fixture, SOME_ROUNDS, step);
	}
	assert_true(step > 4);
}

/* The log's last segment was begun, and nothing in it is durable. */
static void begin_tail(struct fixture *fixture)
{
	const struct log_tail *tail = &fixture->kv->log.hot;
	unsigned puts = 0;

	while (tail->active->written > FORMAT_SEGMENT_HEADER_SIZE) {
		assert_true(puts < 100);
		put_numbered(fixture, "key", ROUND_KEYS, VALUE, puts++);
	}
}

/*
 * Nor of one in which nothing is durable yet: where nothing is in the last one either, the next
 * opening takes both for segments that were prepared and not used.
 */
static void test_list_names_what_was_used(void **state)
{
	struct fixture *fixture = *state;

	put_off_freeing(fixture, ROUNDS);
	begin_tail(fixture);
	compact_until(fixture, has_new_copies);
	assert_int_equal(segments_sync_names(&fixture->kv->segments), 0);
	assert_int_equal(fixture->kv->log.hot.active->written, FORMAT_SEGMENT_HEADER_SIZE);
	/* Behind the two copies of the list. */
	assert_false(free_until(fixture, ROUNDS, 3));
}

/* ---- damage ---------------------------------------------------------------------------------- */

static bool has_freed(struct kv *kv)
{
	return atomic_load(&kv->victims) > 0;
}

/*
 * What they were made of is gone: damage in the last of the copies is said, and not taken for an
 * end that was torn.
 */
static void test_damaged_copy(void **state)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];
	struct fixture *fixture = *state;
	uint32_t offset;

	make_garbage(fixture, FEW_ROUNDS, true);
	compact_until(fixture, has_freed);
	assert_non_null(fixture->kv->cold.active);
	format_segment_name(fixture->kv->cold.active->slot, name);
	offset = fixture->kv->cold.offset - STAYING / 2;
	sim_env_cut(fixture->sim);
	kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	assert_int_equal(sim_env_flip(fixture->sim, name, offset, 3), 0);
	must_open(fixture, KV_OPEN_INLINE);
	assert_true(fixture->errors > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ORDER_TEST(test_list_comes_after_the_log),
		ORDER_TEST(test_list_comes_before_cold_copies),
		ORDER_TEST(test_order_of_freeing),
		ORDER_TEST(test_readers_are_waited_for),
		ORDER_TEST(test_failures_are_final),
		ORDER_TEST(test_no_room_to_write_the_list),
		ORDER_TEST(test_no_room_to_make_the_list),
		ORDER_TEST(test_deleted_snapshot_is_not_back),
		ORDER_TEST(test_checkpoint_given_up),
		ORDER_TEST(test_checkpoint_without_a_name),
		ORDER_TEST(test_list_names_what_is_durable),
		ORDER_TEST(test_list_names_what_was_used),
		ORDER_TEST(test_damaged_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
