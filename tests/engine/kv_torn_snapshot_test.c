/* SPDX-License-Identifier: MIT */
/*
 * kv_torn_snapshot_test.c - the power fails, and behind a torn record stands a whole one that says
 * something of a snapshot: it is as lost as the rest. The log alone says which snapshots there are:
 * there is neither a list of them nor a checkpoint, and there are cold segments.
 */
#include "kv_fixture.h"

#include "format.h"
#include "store_image.h"

#define SNAPSHOT "snapshot"
#define VALUE_SIZE 20000u
#define ROUNDS 120u

static void put_value(struct fixture *fixture, const char *key)
{
	static const uint8_t value[VALUE_SIZE];

	assert_int_equal(
		kv_put(fixture->kv, HASHED, key, strlen(key), value, sizeof(value), NULL), 0);
}

static void put_values(struct fixture *fixture, const char *key, unsigned times)
{
	while (times--)
		put_value(fixture, key);
}

static void must_take(struct fixture *fixture)
{
	assert_int_equal(kv_snapshot_create(fixture->kv, SNAPSHOT, NULL), 0);
}

static void begin(struct fixture *fixture)
{
	struct kv_prune_options options = {.garbage_percent = 1};
	char key[16];

	for (unsigned i = 0; i < ROUNDS; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		put_value(fixture, key);
		put_value(fixture, "often");
	}
	assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
}

struct place {
	char name[FORMAT_SEGMENT_NAME_SIZE];
	uint32_t offset;
	bool found;
};

static void find_gap(void *arg, const struct store_image_record *at)
{
	struct place *place = arg;

	if (at->record->key_size != 3 || memcmp(at->record->key, "gap", 3) != 0)
		return;
	format_segment_name(at->slot, place->name);
	place->offset = at->offset;
	place->found = true;
}

/* Of what was not synced all but a part of one record has reached the disk. */
static void crash_and_tear(struct fixture *fixture)
{
	struct place place = {.found = false};
	struct store_image image;

	sim_env_cut(fixture->sim);
	(void)!kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	store_image_take(&image, fixture->sim, STORE_PATH);
	assert_null(store_image_find(&image, FORMAT_SNAPSHOTS_NAME));
	assert_null(store_image_find(&image, FORMAT_CHECKPOINT_NAME));
	store_image_records(&image, find_gap, &place);
	store_image_free(&image);
	assert_true(place.found);
	assert_int_equal(
		sim_env_flip(fixture->sim, place.name, place.offset + VALUE_SIZE / 2, 1), 0);
}

/* One that is durable stays, whatever was to become of it. */
static void test_taken_again(void **state)
{
	struct fixture *fixture = *state;
	struct kv_snapshot snapshot;
	uint64_t seq;

	begin(fixture);
	assert_int_equal(kv_snapshot_create(fixture->kv, SNAPSHOT, &seq), 0);
	must_put(fixture, HASHED, "before", "1");
	must_sync(fixture);
	put_value(fixture, "gap");
	assert_int_equal(kv_snapshot_delete(fixture->kv, SNAPSHOT, NULL), 0);
	must_take(fixture);
	put_values(fixture, "behind", 10);
	crash_and_tear(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(fixture->errors, 0);
	must_have(fixture, HASHED, "before", "1");
	must_lack(fixture, HASHED, "behind");
	assert_int_equal(kv_snapshot_stat(fixture->kv, SNAPSHOT, &snapshot), 0);
	assert_int_equal(snapshot.seq, seq);
	must_check_clean(fixture);
}

/* One of the lost future leaves nothing: no number that the next checkpoint would take over. */
static void test_of_lost_future(void **state)
{
	struct fixture *fixture = *state;
	struct kv_snapshot snapshot;

	begin(fixture);
	must_put(fixture, HASHED, "before", "1");
	must_sync(fixture);
	put_value(fixture, "gap");
	put_values(fixture, "behind", 10);
	must_take(fixture);
	put_values(fixture, "behind", 10);
	crash_and_tear(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(fixture->errors, 0);
	assert_int_equal(kv_snapshot_stat(fixture->kv, SNAPSHOT, &snapshot), -ENOENT);
	must_put(fixture, HASHED, "next", "1");
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(fixture->errors, 0);
	must_check_clean(fixture);
}

/* ---- where a segment begins ------------------------------------------------------------------ */

#define FILLS_MAX 60u

struct beginning {
	uint32_t snapshot_slot; /* that of the newest record that takes it */
	uint32_t before_slot;   /* of what is durable */
	uint32_t mark;		/* the first one of the snapshot's segment; 0: none */
	uint64_t first_seq;	/* likewise of its records */
	bool fill_first;
	bool found;
};

static void find_slots(void *arg, const struct store_image_record *at)
{
	struct beginning *beginning = arg;
	const struct format_record *record = at->record;

	if (record->keyspace == FORMAT_KEYSPACE_ENGINE && record->key_size > strlen(SNAPSHOT) &&
		record->key[0] == 's') {
		beginning->snapshot_slot = at->slot;
		beginning->found = true;
	}
	if (record->key_size == 6 && !memcmp(record->key, "before", 6))
		beginning->before_slot = at->slot;
}

static void find_first(void *arg, const struct store_image_record *at)
{
	struct beginning *beginning = arg;
	const struct format_record *record = at->record;

	if (at->slot != beginning->snapshot_slot)
		return;
	if (at->offset == FORMAT_SEGMENT_HEADER_SIZE) {
		beginning->first_seq = record->seq;
		beginning->fill_first = record->key_size == 4 && !memcmp(record->key, "fill", 4);
	}
	if (record->flags & FORMAT_RECORD_MARK && !beginning->mark)
		beginning->mark = at->offset;
}

/* The power fails; the first record of the last segment is torn, its first MARK too if wanted. */
static bool crash_and_tear_first(struct fixture *fixture, bool mark)
{
	uint64_t durable = kv_durable_seq(fixture->kv);
	struct beginning beginning = {.found = false};
	char name[FORMAT_SEGMENT_NAME_SIZE];
	struct store_image image;

	sim_env_cut(fixture->sim);
	(void)!kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	store_image_take(&image, fixture->sim, STORE_PATH);
	store_image_records(&image, find_slots, &beginning);
	store_image_records(&image, find_first, &beginning);
	store_image_free(&image);
	if (!beginning.found || beginning.snapshot_slot == beginning.before_slot ||
		!beginning.fill_first || beginning.first_seq <= durable)
		return false;
	format_segment_name(beginning.snapshot_slot, name);
	assert_int_equal(sim_env_flip(fixture->sim, name,
				 FORMAT_SEGMENT_HEADER_SIZE + VALUE_SIZE / 2, 1),
		0);
	if (mark && beginning.mark)
		assert_int_equal(sim_env_flip(fixture->sim, name, beginning.mark + 8, 1), 0);
	return true;
}

static bool torn_first(void **state, unsigned fills, bool taken, bool mark)
{
	struct kv_snapshot snapshot;
	struct fixture *fixture;
	uint64_t seq = 0;
	bool torn;

	fixture_setup_inline(state);
	fixture = *state;
	begin(fixture);
	if (taken)
		assert_int_equal(kv_snapshot_create(fixture->kv, SNAPSHOT, &seq), 0);
	must_put(fixture, HASHED, "before", "1");
	must_sync(fixture);
	put_values(fixture, "fill", fills);
	if (taken)
		assert_int_equal(kv_snapshot_delete(fixture->kv, SNAPSHOT, NULL), 0);
	must_take(fixture);
	put_values(fixture, "behind", 12);
	torn = crash_and_tear_first(fixture, mark);
	if (torn) {
		must_open(fixture, KV_OPEN_INLINE);
		assert_int_equal(fixture->errors, 0);
		must_have(fixture, HASHED, "before", "1");
		assert_int_equal(kv_snapshot_stat(fixture->kv, SNAPSHOT, &snapshot),
			taken ? 0 : -ENOENT);
		if (taken)
			assert_int_equal(snapshot.seq, seq);
		must_check_clean(fixture);
	}
	fixture_teardown(state);
	return torn;
}

/* The torn record is the first of its segment, behind which a MARK speaks of the one before. */
static void test_first_of_segment(void **state)
{
	unsigned torn = 0;

	for (unsigned fills = 1; fills < FILLS_MAX; fills++)
		for (unsigned how = 0; how < 4; how++)
			torn += torn_first(state, fills, how & 1, how & 2);
	assert_true(torn >= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_taken_again),
		INLINE_TEST(test_of_lost_future),
		cmocka_unit_test(test_first_of_segment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
