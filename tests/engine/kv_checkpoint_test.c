/* SPDX-License-Identifier: MIT */
/*
 * kv_checkpoint_test.c - opening from a checkpoint: it is used, what came after it is not lost, and
 * whatever is wrong with it costs time at most.
 */
#include "format.h"
#include "kv_fixture.h"

#include <pthread.h>

#define KEYS 6000u
#define FILE_NAME "checkpoint"

/* How many keys a cursor meets, in rising order. */
static unsigned walk(struct fixture *fixture)
{
	struct kv_cursor *cursor;
	char last[32] = "";
	unsigned count = 0;
	int error;

	assert_int_equal(kv_cursor_open(fixture->kv, ORDERED, &cursor), 0);
	for (error = kv_cursor_first(cursor); !error; error = kv_cursor_next(cursor)) {
		struct kv_slice key = kv_cursor_key(cursor);
		char text[32] = "";

		memcpy(text, key.data, key.size);
		assert_true(strcmp(last, text) < 0);
		strcpy(last, text);
		count++;
	}
	assert_int_equal(error, -ENOENT);
	kv_cursor_close(cursor);
	return count;
}

static uint64_t replayed(struct fixture *fixture)
{
	return stats_of(fixture).recovered_bytes;
}

static void test_used(void **state)
{
	struct fixture *fixture = *state;

	must_put_range(fixture, 0, KEYS, 1);
	must_close(fixture);
	must_open(fixture, 0);
	assert_true(replayed(fixture) < 4096);
	must_have_range(fixture, 0, KEYS, 1);
	assert_int_equal(walk(fixture), KEYS / 2);
	must_lack(fixture, HASHED, "nothing");
	must_check_clean(fixture);
}

static void test_read_only(void **state)
{
	struct fixture *fixture = *state;

	must_put_range(fixture, 0, KEYS, 1);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_true(replayed(fixture) < 4096);
	assert_int_equal(walk(fixture), KEYS / 2);
	must_have_range(fixture, 0, KEYS, 1);
	must_check_clean(fixture);
}

/* Changes of every kind behind the checkpoint, and a crash. */
static void test_log_behind(void **state)
{
	struct fixture *fixture = *state;
	char key[32];

	must_put_range(fixture, 0, KEYS, 1);
	must_close(fixture);
	must_open(fixture, 0);
	must_put_range(fixture, 0, 500, 2);
	must_put_range(fixture, KEYS, KEYS + 300, 1);
	for (unsigned i = 500; i < 900; i++) {
		numbered_key(key, i);
		must_delete(fixture, i & 1, key);
	}
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	assert_in_range(replayed(fixture), 1000, 400000);
	must_have_range(fixture, 0, 500, 2);
	must_have_range(fixture, 900, KEYS, 1);
	must_have_range(fixture, KEYS, KEYS + 300, 1);
	for (unsigned i = 500; i < 900; i++) {
		numbered_key(key, i);
		must_lack(fixture, i & 1, key);
	}
	assert_int_equal(walk(fixture), KEYS / 2 - 200 + 150);
	must_check_clean(fixture);
	/* And once more, from the same one. */
	must_put_range(fixture, 500, 600, 3);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	must_have_range(fixture, 500, 600, 3);
	must_have_range(fixture, 0, 500, 2);
	must_check_clean(fixture);
}

/* Overwriting everything makes compaction free what the checkpoint speaks of. */
static void test_outlived(void **state)
{
	struct fixture *fixture = *state;

	must_put_range(fixture, 0, KEYS, 1);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	for (unsigned round = 2; round < 10; round++)
		must_put_range(fixture, 0, KEYS, round);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	must_have_range(fixture, 0, KEYS, 9);
	assert_int_equal(walk(fixture), KEYS / 2);
	must_check_clean(fixture);
	must_close(fixture);
	must_open(fixture, 0);
	assert_true(replayed(fixture) < 4096);
	must_have_range(fixture, 0, KEYS, 9);
	must_check_clean(fixture);
}

/* On a full disk the file is the first thing to go. */
static void test_full_disk(void **state)
{
	struct fixture *fixture = *state;
	char key[32], value[1000];
	struct kv_stats stats;
	uint64_t size;
	unsigned i;
	int error = 0;

	must_put_range(fixture, 0, KEYS, 1);
	must_close(fixture);
	assert_non_null(sim_env_bytes(fixture->sim, FILE_NAME, &size));
	must_open(fixture, KV_OPEN_INLINE);
	kv_stats(fixture->kv, &stats);
	sim_env_set_capacity(fixture->sim, stats.disk_bytes + size + SEGMENT_SIZE);
	memset(value, 'v', sizeof(value));
	for (i = 0; i < 20000 && !error; i++) {
		sprintf(key, "full-%u", i);
		error = kv_put(fixture->kv, HASHED, key, strlen(key), value, sizeof(value), NULL);
	}
	assert_int_equal(error, -ENOSPC);
	assert_null(sim_env_bytes(fixture->sim, FILE_NAME, &size));
	must_have_range(fixture, 0, KEYS, 1);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	must_have_range(fixture, 0, KEYS, 1);
	must_check_clean(fixture);
}

/* Many times closed with a little more: the indexes grow in between. */
static void test_again_and_again(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned round = 0; round < 12; round++) {
		must_put_range(fixture, round * 4000, (round + 1) * 4000, 1);
		must_close(fixture);
		must_open(fixture, round & 1 ? KV_OPEN_INLINE : 0);
	}
	must_have_range(fixture, 0, 48000, 1);
	assert_int_equal(walk(fixture), 24000);
	must_check_clean(fixture);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/*
 * A byte of header, segments, buckets, entries, sums: whatever it is, all is there, or the answer
 * is an error.
 */
static void test_flipped(void **state)
{
	struct fixture *fixture = *state;
	uint64_t size, position;
	unsigned flips = 0, few = full_or_quick(1, 7);

	must_put_range(fixture, 0, KEYS, 1);
	must_close(fixture);
	assert_non_null(sim_env_bytes(fixture->sim, FILE_NAME, &size));
	for (position = 0; position < size;
		position += position < 600 ? 11 * few : size * few / 23) {
		char key[32];
		struct kv_slice value;
		unsigned missing = 0;

		if (!sim_env_bytes(fixture->sim, FILE_NAME, &size)) {
			/* It was thrown away, as it should. */
			must_open(fixture, 0);
			must_put_range(fixture, 0, KEYS, 1);
			must_close(fixture);
		}
		assert_int_equal(sim_env_flip(fixture->sim, FILE_NAME, position, flips++ % 8), 0);
		must_open(fixture, KV_OPEN_INLINE);
		kv_read_begin(fixture->kv);
		for (unsigned i = 0; i < KEYS; i += 7) {
			int error;

			numbered_key(key, i);
			error = kv_get(fixture->kv, i & 1, key, strlen(key), &value);
			assert_true(error == 0 || error == -EIO);
			missing += error != 0;
		}
		kv_read_end(fixture->kv);
		if (missing)
			assert_true(fixture->errors > 0);
		must_close(fixture);
		must_open(fixture, 0);
		must_have_range(fixture, 0, 50, 1);
		assert_int_equal(walk(fixture), KEYS / 2);
		must_close(fixture);
	}
	must_open(fixture, 0);
	must_have_range(fixture, 0, KEYS, 1);
	must_check_clean(fixture);
}

static void test_truncated(void **state)
{
	struct fixture *fixture = *state;
	static const uint64_t sizes[] = {0, 1, 4095, 4096, 65536, 200000, 1000000};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		must_put_range(fixture, 0, KEYS, i);
		must_close(fixture);
		assert_int_equal(sim_env_resize(fixture->sim, FILE_NAME, sizes[i]), 0);
		must_open(fixture, 0);
		must_have_range(fixture, 0, KEYS, i);
		assert_int_equal(walk(fixture), KEYS / 2);
		must_check_clean(fixture);
	}
}

/* A record that no replay has looked at is validated when it is read. */
static void test_record_damaged(void **state)
{
	struct fixture *fixture = *state;
	const uint8_t *bytes, *found;
	struct kv_slice value;
	const char *wanted = "value 40 of round 1";
	uint64_t size;
	char key[32];

	must_put_range(fixture, 0, KEYS, 1);
	must_close(fixture);
	bytes = sim_env_bytes(fixture->sim, "seg-00000000", &size);
	found = memmem(bytes, size, wanted, strlen(wanted));
	assert_non_null(found);
	assert_int_equal(
		sim_env_flip(fixture->sim, "seg-00000000", (uint64_t)(found - bytes), 2), 0);
	must_open(fixture, 0);
	assert_int_equal(fixture->errors, 0);
	must_have_range(fixture, 0, 40, 1);
	must_have_range(fixture, 41, KEYS, 1);
	numbered_key(key, 40);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, 40 & 1, key, strlen(key), &value), -EIO);
	kv_read_end(fixture->kv);
	assert_true(fixture->errors > 0);
	/* It can be written again. */
	must_put(fixture, 40 & 1, key, "new");
	must_have(fixture, 40 & 1, key, "new");
}

/* The power fails at any step of closing: the old checkpoint, the new one, or none. */
static void test_crash_while_writing(void **state)
{
	struct fixture *fixture = *state;
	static const enum sim_loss losses[] = {SIM_LOSS_ALL, SIM_LOSS_ANY, SIM_LOSS_NONE};

	must_put_range(fixture, 0, KEYS, 0);
	for (unsigned step = 1; step < 40; step += full_or_quick(1, 5)) {
		must_put_range(fixture, 0, 2500, step);
		must_sync(fixture);
		sim_env_cut_at(fixture->sim, sim_env_steps(fixture->sim) + step);
		(void)kv_close(fixture->kv);
		fixture->kv = NULL;
		assert_int_equal(sim_env_power_on(fixture->sim, losses[step % 3]), 0);
		sim_env_cut_at(fixture->sim, 0);
		must_open(fixture, step & 1 ? KV_OPEN_INLINE : 0);
		must_have_range(fixture, 0, 2500, step);
		must_have_range(fixture, 2500, KEYS, 0);
		assert_int_equal(walk(fixture), KEYS / 2);
		must_check_clean(fixture);
	}
}

/*
 * Closing takes a sample of the clock, which looks into an index of which most may not be loaded
 * yet.
 */
static void test_closed_while_loading(void **state)
{
	struct fixture *fixture = *state;
	unsigned rounds = full_or_quick(40, 10);

	for (unsigned i = 0; i < 60000; i++)
		assert_int_equal(kv_put(fixture->kv, HASHED, &i, sizeof(i), "v", 1, NULL), 0);
	must_close(fixture);
	for (unsigned round = 0; round < rounds; round++) {
		char key[32];

		must_open(fixture, 0);
		numbered_key(key, round);
		must_put(fixture, ORDERED, key, "value");
		must_close(fixture);
	}
	must_open(fixture, 0);
	for (unsigned i = 0; i < 60000; i++)
		assert_int_equal(kv_contains(fixture->kv, HASHED, &i, sizeof(i)), 0);
	assert_int_equal(walk(fixture), rounds);
	must_check_clean(fixture);
}

/* What a crash has left of one that was being saved takes no space any longer than it has to. */
static void test_cut_short_is_removed(void **state)
{
	struct fixture *fixture = *state;
	uint64_t size;

	must_put(fixture, HASHED, "key", "value");
	must_close(fixture);
	assert_int_equal(
		sim_env_put_file(fixture->sim, "checkpoint.new", "what there is of it", 20), 0);
	must_open(fixture, KV_OPEN_READ_ONLY);
	must_close(fixture);
	assert_non_null(sim_env_bytes(fixture->sim, "checkpoint.new", &size));
	must_open(fixture, 0);
	assert_null(sim_env_bytes(fixture->sim, "checkpoint.new", &size));
	must_have(fixture, HASHED, "key", "value");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_used),
		FIXTURE_TEST(test_read_only),
		FIXTURE_TEST(test_log_behind),
		FIXTURE_TEST(test_outlived),
		FIXTURE_TEST(test_again_and_again),
		FIXTURE_TEST(test_full_disk),
		FIXTURE_TEST(test_flipped),
		FIXTURE_TEST(test_truncated),
		FIXTURE_TEST(test_record_damaged),
		FIXTURE_TEST(test_crash_while_writing),
		FIXTURE_TEST(test_closed_while_loading),
		FIXTURE_TEST(test_cut_short_is_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
