/* SPDX-License-Identifier: MIT */
/*
 * kv_compress_test.c - compression in the background: what it saves, that every value comes back,
 * what becomes of dictionaries.
 */
#include "kv_fixture.h"
#include "cold.h"
#include "compact.h"
#include "log_spare.h"
#include "store.h"
#include "survey.h"

#define KEYS 12000u
#define SECOND_US ((uint64_t)1000000)
#define STEPS_MAX 100000u
#define ROUNDS_MAX 100u

static const char *const words[] = {
	"segment", "record", "the", "value", "of", "a", "store", "index"};

/* A value like those of programs: the same words in another order. */
static size_t make_value(char *out, size_t room, unsigned key, unsigned kind)
{
	unsigned state = key * 2654435761u + kind;
	size_t used =
		(size_t)snprintf(out, room, "{\"kind\": %u, \"id\": %u, \"text\": \"", kind, key);

	while (used < room - 20) {
		state = state * 1103515245u + 12345u;
		used += (size_t)snprintf(out + used, room - used, "%s ",
			words[(state >> 16) % (sizeof(words) / sizeof(words[0]))]);
		if (state >> 16 & 1 && used > room / 2)
			break;
	}
	return used;
}

static void put(struct fixture *fixture, unsigned key, unsigned kind)
{
	char value[160];
	size_t size = make_value(value, sizeof(value), key, kind);

	assert_int_equal(kv_put(fixture->kv, key % 2, &key, sizeof(key), value, size, NULL), 0);
}

static void must_hold(struct fixture *fixture, unsigned key, unsigned kind)
{
	struct kv_slice found;
	char value[160];
	size_t size = make_value(value, sizeof(value), key, kind);

	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, key % 2, &key, sizeof(key), &found), 0);
	assert_int_equal(found.size, size);
	assert_memory_equal(found.data, value, size);
	kv_read_end(fixture->kv);
}

static void make(struct fixture *fixture, unsigned flags)
{
	struct kv_create_options options = fixture_create_options;

	options.compress = KV_COMPRESS_BACKGROUND;
	assert_int_equal(kv_create(fixture->env, STORE_PATH, &options, fixture_hear, fixture), 0);
	must_open(fixture, flags);
}

static struct kv_stats prune(struct fixture *fixture)
{
	struct kv_stats stats;

	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	kv_stats(fixture->kv, &stats);
	return stats;
}

static void must_hold_all(struct fixture *fixture, unsigned kind)
{
	for (unsigned key = 0; key < KEYS; key++)
		must_hold(fixture, key, kind);
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
}

static void compress_all(struct fixture *fixture, unsigned flags)
{
	struct kv_stats stats;

	make(fixture, flags);
	for (unsigned key = 0; key < KEYS; key++)
		put(fixture, key, 1);
	stats = prune(fixture);
	assert_true(stats.dictionaries >= 2); /* one for each keyspace */
	assert_true(stats.compressed_raw_bytes > 2 * stats.compressed_bytes);
	assert_true(stats.compressed_raw_bytes > KEYS / 3 * 100);
	must_hold_all(fixture, 1);

	must_crash(fixture, SIM_LOSS_ALL, flags);
	must_hold_all(fixture, 1);
	/*
	 * What is compressed is left alone; and what comes anew takes the dictionaries there are.
	 */
	for (unsigned key = 0; key < KEYS; key += 2)
		put(fixture, key, 1);
	stats = prune(fixture);
	assert_int_equal(stats.dictionaries, 2);
	must_hold_all(fixture, 1);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	must_hold_all(fixture, 1);
}

static void test_background(void **state)
{
	compress_all(*state, 0);
}

static void test_background_inline(void **state)
{
	compress_all(*state, KV_OPEN_INLINE);
}

/* The first segment's name, and offset in it, of a dictionary's record. */
static uint64_t find_dictionary(struct fixture *fixture, char name[FORMAT_SEGMENT_NAME_SIZE])
{
	struct format_segment header;
	uint64_t size;

	for (uint32_t slot = 0; slot < 100; slot++) {
		const uint8_t *bytes;

		format_segment_name(slot, name);
		bytes = sim_env_bytes(fixture->sim, name, &size);
		if (!bytes)
			continue;
		memcpy(&header, bytes, sizeof(header));
		for (uint64_t at = FORMAT_SEGMENT_HEADER_SIZE; at < size;) {
			const struct format_record *record = (const void *)(bytes + at);
			int64_t length = format_record_validate(
				record, size - at, header.salt, FORMAT_KEYSPACES);

			if (length <= 0)
				break;
			if (record->keyspace == FORMAT_KEYSPACE_ENGINE && record->key_size == 2 &&
				record->key[0] == 'd')
				return at;
			at += (uint64_t)length;
		}
	}
	fail_msg("there is no dictionary");
	return 0;
}

/*
 * A dictionary is damaged, and then another one is trained: what was compressed with the first is
 * an error for good, and never other bytes.
 */
static void test_dictionary_lost(void **state)
{
	char name[FORMAT_SEGMENT_NAME_SIZE], value[160];
	struct fixture *fixture = *state;
	unsigned lost = 0;
	uint64_t at;

	make(fixture, KV_OPEN_INLINE);
	for (unsigned key = 0; key < KEYS; key++)
		put(fixture, key, 1);
	prune(fixture);
	must_close(fixture);
	at = find_dictionary(fixture, name);
	assert_int_equal(sim_env_flip(fixture->sim, name, at + 100, 3), 0);
	must_open(fixture, KV_OPEN_INLINE);
	for (unsigned key = KEYS; key < 2 * KEYS; key++)
		put(fixture, key, 2);
	for (unsigned key = 0; key < KEYS; key += 3)
		put(fixture, key, 1);
	prune(fixture);
	for (unsigned key = 0; key < KEYS; key++) {
		size_t size = make_value(value, sizeof(value), key, 1);
		struct kv_slice found;
		int result;

		kv_read_begin(fixture->kv);
		result = kv_get(fixture->kv, key % 2, &key, sizeof(key), &found);
		if (!result) {
			assert_int_equal(found.size, size);
			assert_memory_equal(found.data, value, size);
		} else {
			assert_int_equal(result, -EIO);
			/* No other dictionary is taken for it. */
			assert_non_null(strstr(fixture->last_error, "cannot be read"));
			lost++;
		}
		kv_read_end(fixture->kv);
	}
	assert_true(lost > 0);
	for (unsigned key = KEYS; key < 2 * KEYS; key++)
		must_hold(fixture, key, 2);
}

/* Values that dictionaries help nothing stay as they are, and are not tried again and again. */
static void test_incompressible(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats, again;
	uint8_t value[500];

	make(fixture, 0);
	for (unsigned key = 0; key < KEYS / 2; key++) {
		fill_bytes(value, sizeof(value), key);
		assert_int_equal(
			kv_put(fixture->kv, HASHED, &key, sizeof(key), value, sizeof(value), NULL),
			0);
	}
	stats = prune(fixture);
	assert_int_equal(stats.dictionaries, 0);
	assert_int_equal(stats.compressed_bytes, 0);
	again = prune(fixture);
	assert_int_equal(again.relocated_bytes, stats.relocated_bytes);
	must_check_clean(fixture);
}

/* A dictionary goes when the last value that needs it has gone. */
static void test_dictionaries_go(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats;

	make(fixture, 0);
	for (unsigned key = 0; key < KEYS; key++)
		put(fixture, key, 1);
	stats = prune(fixture);
	assert_int_equal(stats.dictionaries, 2);
	for (unsigned round = 0; round < 4; round++) {
		/* Another kind of value altogether: the old dictionaries do not help any more. */
		for (unsigned key = 0; key < KEYS; key++) {
			char value[160];

			for (unsigned i = 0; i < sizeof(value); i++)
				value[i] =
					(char)(i % 5 ? "0123456789abcdef"[(key * 7 +
										  i * (key % 13) +
										  round) %
									  16]
						     : (char)(200 + i % 17));
			assert_int_equal(kv_put(fixture->kv, key % 2, &key, sizeof(key), value,
						 sizeof(value), NULL),
				0);
		}
		stats = prune(fixture);
		assert_true(stats.dictionaries <= 6);
	}
	for (unsigned key = 0; key < KEYS; key++)
		put(fixture, key, 2);
	prune(fixture);
	must_hold_all(fixture, 2);
	must_crash(fixture, SIM_LOSS_ANY, 0);
	must_hold_all(fixture, 2);
}

/* ---- a stream of writes ---------------------------------------------------------------------- */

/* Some stay, so that there is something to copy in each segment. */
static void write_stream(struct fixture *fixture)
{
	for (unsigned kind = 0; kind < 6; kind++) {
		for (unsigned key = 0; key < KEYS; key++) {
			if (key % 8 == 0 && kind)
				continue;
			put(fixture, key, key % 8 ? kind : 5);
		}
	}
}

/* Segments with values that were copied as they are, and perhaps are to be compressed. */
static unsigned raw_segments(struct fixture *fixture)
{
	struct segments *segments = &fixture->kv->segments;
	unsigned raw = 0;

	for (uint32_t slot = 0; slot < atomic_load(&segments->count); slot++) {
		const struct segment *segment = segments->table[slot];

		raw += segment && segment->id && segment->raw && !segment->settled &&
		       !segment->emptied;
	}
	return raw;
}

/* The stream goes on: a segment has just been filled, as fast as the one before. */
static void go_on(struct kv *kv)
{
	pthread_mutex_lock(&kv->log.lock);
	kv->log.spares_target = LOG_SPARES_MAX;
	kv->log.switched_us = kv->env->clock_us(kv->env);
	pthread_mutex_unlock(&kv->log.lock);
}

/* In the maintainer's place, amidst a stream. */
static void step_amidst(struct fixture *fixture, uint64_t us)
{
	sim_env_advance_us(fixture->sim, us);
	go_on(fixture->kv);
	compact_step(fixture->kv);
}

static struct kv *held; /* whose maintainer's lock this thread has */

static void hold(struct kv *kv)
{
	pthread_mutex_lock(&kv->maintain.lock);
	held = kv;
}

static void let_go(void)
{
	if (held)
		pthread_mutex_unlock(&held->maintain.lock);
	held = NULL;
}

/* Also after an assertion that failed in between. */
static int teardown(void **state)
{
	let_go();
	return fixture_teardown(state);
}

/* With the maintainer's lock from here on: until it has nothing to copy any more. */
static void compact_amidst(struct fixture *fixture)
{
	unsigned steps = 0;

	hold(fixture->kv);
	do {
		step_amidst(fixture, SECOND_US / 100);
		assert_true(++steps < STEPS_MAX);
	} while (fixture->kv->compaction.victim || steps < 100);
	assert_true(atomic_load(&fixture->kv->relocated_bytes) > 0);
}

/*
 * Until values stand in the open cold segment as they were. What the maintainer does while they are
 * written depends on when it comes to it, and where cold segments cannot be opened copies go to
 * the log's end.
 */
static void stream_until_raw(struct fixture *fixture)
{
	const struct segment *active;
	unsigned rounds = 0;

	do {
		let_go();
		assert_true(++rounds < ROUNDS_MAX);
		write_stream(fixture);
		compact_amidst(fixture);
		active = fixture->kv->cold.active;
	} while (!active || !active->raw);
}

/*
 * What is overwritten as fast as it goes may be copied as it is meanwhile. A prune leaves nothing
 * of it that way, wherever it has been copied to.
 */
static void test_stream(void **state)
{
	struct fixture *fixture = *state;
	uint64_t raw_bytes = 0;
	char value[160];

	make(fixture, 0);
	stream_until_raw(fixture);
	let_go();
	for (unsigned key = 0; key < KEYS; key++)
		raw_bytes += make_value(value, sizeof(value), key, 5);
	/* Some 0.9 of what the values alone were; 1.3 as they were written, with their headers. */
	assert_true(prune(fixture).live_bytes < raw_bytes / 8 * 9);
	hold(fixture->kv);
	assert_int_equal(raw_segments(fixture), 0);
	let_go();
	must_hold_all(fixture, 5);
	must_crash(fixture, SIM_LOSS_ANY, 0);
	must_check_clean(fixture);
}

/* Once the stream is over they are compressed without anybody asking for it, and not before. */
static void test_stream_ends(void **state)
{
	struct fixture *fixture = *state;
	struct segment *active;
	uint64_t compressed;
	unsigned steps = 0;

	make(fixture, 0);
	stream_until_raw(fixture);
	active = fixture->kv->cold.active;
	/* Not where only what was there before is asked for. */
	while (compact_demand(fixture->kv, 100, 0) > 0)
		assert_true(++steps < STEPS_MAX);
	assert_ptr_equal(fixture->kv->cold.active, active);
	assert_int_equal(cold_close(fixture->kv), 0);
	compressed = atomic_load(&fixture->kv->compressed_raw_bytes);
	for (steps = 0; steps < 100; steps++)
		step_amidst(fixture, 6 * SECOND_US);
	assert_int_equal(atomic_load(&fixture->kv->compressed_raw_bytes), compressed);
	assert_true(raw_segments(fixture) > 0);
	while (raw_segments(fixture)) {
		sim_env_advance_us(fixture->sim, 6 * SECOND_US);
		compact_step(fixture->kv);
		assert_true(++steps < STEPS_MAX);
	}
	assert_true(atomic_load(&fixture->kv->compressed_raw_bytes) > compressed);
	let_go();
	must_hold_all(fixture, 5);
}

/* Not where little is left of the disk: what is compressed makes room. */
static void test_stream_on_full_disk(void **state)
{
	struct fixture *fixture = *state;

	make(fixture, 0);
	sim_env_set_capacity(fixture->sim, (uint64_t)60 * SEGMENT_SIZE);
	write_stream(fixture);
	compact_amidst(fixture);
	assert_true(log_is_streaming(fixture->kv));
	assert_int_equal(raw_segments(fixture), 0);
	let_go();
	must_hold_all(fixture, 5);
}

/* Nor beside somebody who prunes, and would have to do it again. */
static void test_stream_beside_prune(void **state)
{
	struct fixture *fixture = *state;

	make(fixture, 0);
	atomic_fetch_add(&fixture->kv->maintain.prunes, 1);
	write_stream(fixture);
	compact_amidst(fixture);
	assert_int_equal(raw_segments(fixture), 0);
	atomic_fetch_sub(&fixture->kv->maintain.prunes, 1);
	let_go();
	must_hold_all(fixture, 5);
}

/* Garbage, so that what was put before stands in full segments. */
static void fill_segments(struct fixture *fixture, unsigned count)
{
	for (unsigned i = 0; i < count * (SEGMENT_SIZE / 1000); i++)
		must_put_filled(fixture, HASHED, "filler", 1000, i);
	must_sync(fixture);
}

/* A few values that were copied as they are do not make their segment worth rewriting. */
static void test_mixed_segment(void **state)
{
	struct fixture *fixture = *state;
	struct segment *mixed;
	unsigned rounds = 0;

	make(fixture, 0);
	for (unsigned key = 0; key < KEYS / 2; key++)
		put(fixture, key, 1);
	fill_segments(fixture, 2);
	prune(fixture);
	hold(fixture->kv);
	mixed = fixture->kv->cold.active;
	assert_true(mixed && !mixed->raw && mixed->end > SEGMENT_SIZE / 4);
	let_go();
	/* Where dead segments are freed first there may be too little to do for the others. */
	do {
		let_go();
		assert_true(++rounds < ROUNDS_MAX);
		for (unsigned key = KEYS / 2; key < KEYS / 2 + 200; key++)
			put(fixture, key, 1);
		fill_segments(fixture, 6);
		compact_amidst(fixture);
		assert_ptr_equal(fixture->kv->cold.active, mixed);
	} while (!mixed->raw);
	assert_int_equal(cold_close(fixture->kv), 0);
	assert_in_range(survey_segment(fixture->kv, mixed), 1, 124);
	let_go();
	for (unsigned key = 0; key < KEYS / 2 + 200; key++)
		must_hold(fixture, key, 1);
}

#define STREAM_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup_empty, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EMPTY_TEST(test_background),
		EMPTY_TEST(test_background_inline),
		EMPTY_TEST(test_incompressible),
		EMPTY_TEST(test_dictionary_lost),
		EMPTY_TEST(test_dictionaries_go),
		STREAM_TEST(test_stream),
		STREAM_TEST(test_stream_ends),
		STREAM_TEST(test_stream_on_full_disk),
		STREAM_TEST(test_stream_beside_prune),
		STREAM_TEST(test_mixed_segment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
