/* SPDX-License-Identifier: MIT */
/*
 * soak_work.c - see soak_work.h. All of it runs in a process that is about to be killed: what it
 * has to say it leaves in the model.
 */
#include "soak_work.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "soak_large.h"
#include "soak_snapshot.h"
#include "soak_watch.h"

#define SYNC_EACH 200u /* changes of a writer */
#define RESIDENT_BYTES (32u << 20)
#define COUNTING_THREADS 2u
#define LARGE_THREADS 2u
#define PRUNE_MS_MAX 4000u    /* between two */
#define SNAPSHOT_MS_MAX 1500u /* between two changes of one */
#define STEADY_HURRY 10u      /* so often as often, in a life that is judged for what it leaves */
#define CHECK_EACH 16u        /* lives */
#define THREADS_MAX (SOAK_WRITERS_MAX + COUNTING_THREADS + LARGE_THREADS + 5u)

static const struct soak_options *options;
static struct soak_model *model;

/*
 * Shared by who changes a pair, exclusively by who takes a snapshot: the model's copy is of that
 * moment.
 */
static pthread_rwlock_t changing;

struct worker {
	pthread_t thread;
	struct kv *kv;
	unsigned number; /* among those that do the same */
	uint64_t random;
};

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "soak: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	atomic_store(&model->failed, true);
	_exit(1);
}

static void must(int error, const char *what)
{
	if (error)
		fail("%s: %s", what, strerror(-error));
}

static void report(void *arg, enum kv_severity severity, const char *message)
{
	(void)arg;
	if (severity <= KV_WARNING)
		fprintf(stderr, "soak: store: %s\n", message);
}

/* What is done that often in an ordinary life. */
static unsigned pause_ms(unsigned max_ms)
{
	if (options->steady)
		return max_ms / STEADY_HURRY;
	return options->life_ms && options->life_ms < max_ms ? options->life_ms : max_ms;
}

/* Dozes in small doses, so as not to hold up a clean end. */
static void doze(unsigned ms)
{
	for (; ms >= 10 && !atomic_load(&model->stopping); ms -= 10)
		usleep(10000);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

/* The version that stands in a value; 0: there is none. In a read section. */
static uint32_t version_of(uint32_t pair, unsigned half, int error, const struct kv_slice *value)
{
	uint32_t version;

	if (error == -ENOENT)
		return 0;
	if (error)
		fail("pair %u: get: %s", pair, strerror(-error));
	if (!soak_value_version(pair, half, value->data, value->size, &version))
		fail("pair %u: %zu bytes that nobody wrote", pair, value->size);
	return version;
}

static uint32_t version_in_store(struct kv *kv, uint32_t pair, unsigned half)
{
	uint8_t key[SOAK_KEY_SIZE];
	struct kv_slice value;

	soak_key(pair, half, key);
	return version_of(pair, half, kv_get(kv, half, key, sizeof(key), &value), &value);
}

static void change_pair(struct kv *kv, struct kv_batch *batch, uint32_t pair, uint64_t *seq)
{
	static __thread uint8_t value[SOAK_VALUE_MAX + 8];
	struct soak_pair *entry = &model->pair[pair];
	uint32_t version = atomic_load(&entry->tried) + 1;
	uint8_t key[SOAK_KEY_SIZE];
	unsigned half;

	atomic_store(&entry->tried, version);
	for (half = 0; half < 2; half++) {
		size_t size = soak_value(pair, half, version, value);

		soak_key(pair, half, key);
		must(size ? kv_batch_put(batch, half, key, sizeof(key), value, size)
			  : kv_batch_delete(batch, half, key, sizeof(key)),
			"filling a batch");
	}
	must(kv_commit(kv, batch, seq), "commit");
	atomic_store(&entry->done, version);
	atomic_fetch_add(&model->changes, 1);
}

static void *write_pairs(void *arg)
{
	struct worker *worker = arg;
	uint32_t changed[SYNC_EACH];
	struct kv_batch *batch;
	unsigned count = 0, i;
	uint64_t seq = 0;

	must(kv_batch_new(worker->kv, &batch), "batch");
	while (!atomic_load(&model->stopping)) {
		/* Half of the changes fall on an eighth of the pairs. */
		uint64_t random = soak_random(&worker->random);
		uint32_t share = random & 1 ? model->pairs : model->pairs / 8;
		uint32_t pair =
			(uint32_t)(random >> 8) % (share / options->writers) * options->writers +
			worker->number;

		pthread_rwlock_rdlock(&changing);
		change_pair(worker->kv, batch, pair, &seq);
		pthread_rwlock_unlock(&changing);
		changed[count++] = pair;
		if (count < SYNC_EACH)
			continue;
		must(kv_sync(worker->kv, seq), "sync");
		for (i = 0; i < count; i++)
			atomic_store(&model->pair[changed[i]].synced,
				atomic_load(&model->pair[changed[i]].done));
		count = 0;
	}
	kv_batch_free(batch);
	return NULL;
}

static void *read_pairs(void *arg)
{
	struct worker *worker = arg;

	while (!atomic_load(&model->stopping)) {
		uint32_t pair = (uint32_t)soak_random(&worker->random) % model->pairs;
		struct soak_pair *entry = &model->pair[pair];
		uint32_t from = atomic_load(&entry->done), version, to;

		kv_read_begin(worker->kv);
		version = version_in_store(worker->kv, pair, pair & 1);
		to = atomic_load(&entry->tried);
		kv_read_end(worker->kv);
		if (!soak_pair_allows(entry, from, to, version))
			fail("pair %u: read version %u between %u and %u", pair, version, from, to);
		atomic_fetch_add(&model->reads, 1);
	}
	return NULL;
}

/* An entry of a pass over everything is a pair's, and what the value says is a version of it. */
static void meet(unsigned half, const struct kv_entry *entry)
{
	unsigned found_half;
	uint32_t pair, version;

	if (entry->status)
		fail("a pass met an error: %s", strerror(-entry->status));
	if (!half && entry->key.size == sizeof(uint32_t)) /* a counter */
		return;
	if (!soak_key_parse(model, entry->key.data, entry->key.size, &pair, &found_half) ||
		half != found_half)
		fail("a pass met a key of %zu bytes that nobody wrote", entry->key.size);
	version = version_of(pair, half, 0, &entry->value);
	if (version > atomic_load(&model->pair[pair].tried))
		fail("pair %u: a pass met version %u", pair, version);
}

/* Everything in the order of keys. Returns the number of entries. */
static uint64_t walk_ordered(struct kv *kv)
{
	uint8_t before[SOAK_KEY_SIZE] = {0};
	struct kv_entry entries[64];
	struct kv_cursor *cursor;
	uint64_t met = 0;
	size_t count, i;
	int error;

	must(kv_cursor_open(kv, SOAK_ORDERED, &cursor), "cursor");
	error = kv_cursor_first(cursor);
	while (!error) {
		kv_read_begin(kv);
		error = kv_cursor_read(cursor, entries, 64, &count);
		for (i = 0; !error && i < count; i++, met++) {
			meet(1, &entries[i]);
			if (met && memcmp(before, entries[i].key.data, SOAK_KEY_SIZE) >= 0)
				fail("a cursor met keys out of order");
			memcpy(before, entries[i].key.data, SOAK_KEY_SIZE);
		}
		kv_read_end(kv);
	}
	if (error != -ENOENT)
		must(error, "a cursor's read");
	kv_cursor_close(cursor);
	return met;
}

static uint64_t walk_hashed(struct kv *kv)
{
	const struct kv_entry *entries;
	struct kv_iterator *iterator;
	uint64_t met = 0;
	size_t count, i;
	int error;

	must(kv_iterator_open(kv, SOAK_HASHED, 0, &iterator), "iterator");
	do {
		kv_read_begin(kv);
		error = kv_iterator_read(iterator, &entries, &count);
		for (i = 0; !error && i < count; i++, met++)
			meet(0, &entries[i]);
		kv_read_end(kv);
	} while (!error);
	if (error != -ENOENT)
		must(error, "an iterator's read");
	kv_iterator_close(iterator);
	return met;
}

static void *walk(void *arg)
{
	struct worker *worker = arg;

	while (!atomic_load(&model->stopping)) {
		(void)walk_ordered(worker->kv);
		(void)walk_hashed(worker->kv);
		atomic_fetch_add(&model->walks, 1);
		doze(500);
	}
	return NULL;
}

/* ---- counters -------------------------------------------------------------------------------- */

/* The counter's value; *seq: its version, 0: it is not there yet. */
static uint64_t counter_in_store(struct kv *kv, uint32_t number, uint64_t *seq)
{
	struct kv_slice slice;
	uint64_t value = 0;
	int error;

	*seq = 0;
	kv_read_begin(kv);
	error = kv_get_seq(kv, SOAK_HASHED, &number, sizeof(number), &slice, seq);
	if (!error && slice.size == sizeof(value))
		memcpy(&value, slice.data, sizeof(value));
	kv_read_end(kv);
	if (error ? error != -ENOENT : !value)
		fail("counter %u: get: %s", number, strerror(-error));
	return value;
}

/* Adds one, if nobody else does meanwhile. */
static bool try_to_count(struct kv *kv, struct kv_batch *batch, uint32_t number, bool by_value)
{
	struct soak_counter *counter = &model->counters[number];
	uint64_t seq, value = counter_in_store(kv, number, &seq), next = value + 1;
	int error;

	must(seq && by_value ? kv_batch_expect_value(batch, SOAK_HASHED, &number, sizeof(number),
				       &value, sizeof(value))
			     : kv_batch_expect(batch, SOAK_HASHED, &number, sizeof(number), seq),
		"expecting");
	must(kv_batch_put(batch, SOAK_HASHED, &number, sizeof(number), &next, sizeof(next)),
		"filling a batch");
	atomic_fetch_add(&counter->tried, 1);
	error = kv_commit(kv, batch, NULL);
	if (error == -ESTALE || error == -EEXIST) {
		atomic_fetch_sub(&counter->tried, 1);
		kv_batch_reset(batch);
		atomic_fetch_add(&model->conflicts, 1);
		return false;
	}
	must(error, "commit on a condition");
	atomic_fetch_add(&counter->done, 1);
	atomic_fetch_add(&model->conditions, 1);
	return true;
}

static void *count_up(void *arg)
{
	struct worker *worker = arg;
	uint64_t done[SOAK_COUNTERS], random;
	struct kv_batch *batch;
	unsigned round, i;

	must(kv_batch_new(worker->kv, &batch), "batch");
	for (round = 0; !atomic_load(&model->stopping); round++) {
		random = soak_random(&worker->random);
		while (!try_to_count(worker->kv, batch, (uint32_t)(random % SOAK_COUNTERS),
			       random >> 32 & 1) &&
			!atomic_load(&model->stopping))
			;
		if (round % SYNC_EACH || worker->number)
			continue;
		for (i = 0; i < SOAK_COUNTERS; i++)
			done[i] = atomic_load(&model->counters[i].done);
		must(kv_sync(worker->kv, kv_last_seq(worker->kv)), "sync");
		for (i = 0; i < SOAK_COUNTERS; i++)
			atomic_store(&model->counters[i].synced, done[i]);
	}
	kv_batch_free(batch);
	return NULL;
}

static void verify_counter(struct kv *kv, uint32_t number)
{
	struct soak_counter *counter = &model->counters[number];
	uint64_t seq, value = counter_in_store(kv, number, &seq);
	uint64_t from = atomic_load(&counter->synced), to = atomic_load(&counter->tried);

	if (value < from || value > to)
		fail("counter %u: %llu, not from %llu to %llu", number, (unsigned long long)value,
			(unsigned long long)from, (unsigned long long)to);
	atomic_store(&counter->tried, value);
	atomic_store(&counter->done, value);
	atomic_store(&counter->synced, value);
}

/* ---- large values ---------------------------------------------------------------------------- */

static void *write_large(void *arg)
{
	struct worker *worker = arg;
	unsigned share = SOAK_LARGE_VALUES / LARGE_THREADS;
	uint64_t seq = 0;

	while (!atomic_load(&model->stopping)) {
		uint32_t value = (uint32_t)soak_random(&worker->random) % share * LARGE_THREADS +
				 worker->number;
		struct soak_large *large = &model->large[value];

		must(soak_large_change(model, worker->kv, value, &worker->random, &seq),
			"changing a large value");
		atomic_fetch_add(&model->large_changes, 1);
		if (atomic_load(&large->done) - atomic_load(&large->folded) < SOAK_JOURNAL)
			continue;
		must(kv_sync(worker->kv, seq), "sync");
		soak_large_fold(large, atomic_load(&large->done));
	}
	return NULL;
}

/* ---- pruning --------------------------------------------------------------------------------- */

/* Some are given up half-way. */
static int prune_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	uint64_t *give_up_at = arg;

	(void)total_bytes;
	return atomic_load(&model->stopping) || done_bytes > *give_up_at;
}

static void *prune(void *arg)
{
	struct worker *worker = arg;

	while (!atomic_load(&model->stopping)) {
		uint64_t random = soak_random(&worker->random);
		uint64_t give_up_at = random % 4 ? UINT64_MAX : 1u << 20;
		struct kv_prune_options how = {.garbage_percent = 1 + (unsigned)(random >> 8) % 60};
		int error;

		doze((unsigned)(random >> 32) % pause_ms(PRUNE_MS_MAX));
		error = kv_prune(worker->kv, &how, prune_progress, &give_up_at, NULL);
		if (error != -ECANCELED)
			must(error, "prune");
		atomic_fetch_add(&model->prunes, 1);
	}
	return NULL;
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void *take_snapshots(void *arg)
{
	struct worker *worker = arg;

	while (!atomic_load(&model->stopping)) {
		uint64_t random = soak_random(&worker->random);
		unsigned slot = (unsigned)random % SOAK_SNAPSHOTS;
		const char *wrong;

		doze((unsigned)(random >> 32) % pause_ms(SNAPSHOT_MS_MAX));
		if (atomic_load(&model->snapshots[slot].state) == SOAK_NONE) {
			pthread_rwlock_wrlock(&changing);
			wrong = soak_snapshot_take(model, worker->kv, slot);
			pthread_rwlock_unlock(&changing);
		} else if (random >> 16 & 1) {
			wrong = soak_snapshot_verify(model, worker->kv, slot);
		} else {
			wrong = soak_snapshot_delete(model, worker->kv, slot);
		}
		if (wrong)
			fail("snapshot %u %s", slot, wrong);
	}
	return NULL;
}

/* ---- verifying ------------------------------------------------------------------------------- */

/* Everything that the store has is what the model says, and nothing else is there. */
static void verify_all(struct kv *kv)
{
	uint64_t keys = 0, counters = 0, seq;
	const char *wrong;
	uint32_t i;

	for (i = 0; i < model->pairs; i++) {
		uint32_t first, second;

		kv_read_begin(kv);
		first = version_in_store(kv, i, 0);
		second = version_in_store(kv, i, 1);
		kv_read_end(kv);
		if (first != second)
			fail("pair %u: versions %u and %u of one batch", i, first, second);
		if (!soak_pair_settle(&model->pair[i], first))
			fail("pair %u: version %u, not one of %u to %u since %u", i, first,
				atomic_load(&model->pair[i].synced),
				atomic_load(&model->pair[i].tried),
				atomic_load(&model->pair[i].base));
		keys += first != 0;
	}
	for (i = 0; i < SOAK_COUNTERS; i++) {
		verify_counter(kv, i);
		counters += counter_in_store(kv, i, &seq) != 0;
	}
	for (i = 0; i < SOAK_LARGE_VALUES; i++) {
		wrong = soak_large_verify(model, kv, i);
		if (wrong)
			fail("large value %u %s", i, wrong);
	}
	wrong = soak_snapshot_settle(model, kv);
	if (wrong)
		fail("a snapshot %s", wrong);
	if (walk_ordered(kv) != keys || walk_hashed(kv) != keys + counters)
		fail("there are keys that are not the model's");
}

static void check(struct kv *kv)
{
	uint64_t findings = 0;

	must(kv_check(kv, report, NULL, NULL, NULL, &findings), "check");
	if (findings)
		fail("the store's own check has %llu findings", (unsigned long long)findings);
}

/* ---- a life ---------------------------------------------------------------------------------- */

static struct kv *open_store(void)
{
	struct kv_open_options how = {.resident_size = RESIDENT_BYTES, .report = report};
	struct kv *kv;

	must(kv_open(NULL, options->directory, &how, &kv), "open");
	return kv;
}

/* All that was done is durable now; and conditions have lost nothing. */
static void settle_closed(void)
{
	uint32_t i;

	for (i = 0; i < model->pairs; i++)
		atomic_store(&model->pair[i].synced, atomic_load(&model->pair[i].done));
	for (i = 0; i < SOAK_COUNTERS; i++)
		atomic_store(&model->counters[i].synced, atomic_load(&model->counters[i].done));
	for (i = 0; i < SOAK_LARGE_VALUES; i++)
		soak_large_fold(&model->large[i], atomic_load(&model->large[i].done));
}

static unsigned start(struct worker *workers, unsigned count, unsigned more, struct kv *kv,
	uint64_t life, void *(*run)(void *))
{
	unsigned i;

	for (i = 0; i < more; i++) {
		struct worker *worker = &workers[count + i];

		worker->kv = kv;
		worker->number = i;
		worker->random = soak_mix(soak_mix(options->seed) + life) + count + i;
		if (pthread_create(&worker->thread, NULL, run, worker))
			fail("no thread");
	}
	return count + more;
}

/* Writers hold the lock nearly all the time: who wants it for a snapshot comes first. */
static void prefer_snapshots(void)
{
	pthread_rwlockattr_t attributes;

	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&changing, &attributes);
	pthread_rwlockattr_destroy(&attributes);
}

/* All that is done at once. Returns the number of threads. */
static unsigned start_all(struct worker *workers, struct kv *kv, uint64_t life)
{
	unsigned count = 0;

	count = start(workers, count, options->writers, kv, life, write_pairs);
	count = start(workers, count, COUNTING_THREADS, kv, life, count_up);
	count = start(workers, count, LARGE_THREADS, kv, life, write_large);
	count = start(workers, count, 1, kv, life, read_pairs);
	count = start(workers, count, 1, kv, life, walk);
	count = start(workers, count, 1, kv, life, prune);
	return start(workers, count, 1, kv, life, take_snapshots);
}

static void join_all(struct worker *workers, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++)
		pthread_join(workers[i].thread, NULL);
}

void soak_life(
	const struct soak_options *life_options, struct soak_model *life_model, uint64_t life)
{
	static struct worker workers[THREADS_MAX];
	unsigned count;
	struct kv *kv;

	options = life_options;
	model = life_model;
	kv = open_store();
	verify_all(kv);
	if (life % CHECK_EACH == CHECK_EACH - 1)
		check(kv);
	prefer_snapshots();
	atomic_store(&model->working, true);
	count = start_all(workers, kv, life);
	while (!atomic_load(&model->stopping)) {
		soak_watch_sample(model, kv, options->directory);
		usleep(SOAK_SAMPLE_MS * 1000);
	}
	join_all(workers, count);
	must(kv_close(kv), "close");
	settle_closed();
	_exit(0);
}

/* Nobody works; what only snapshots need is garbage, and all garbage goes. */
static void come_to_rest(struct kv *kv, struct soak_rest *out)
{
	static const struct kv_prune_options all = {.garbage_percent = 1};
	const char *wrong;
	unsigned slot;

	for (slot = 0; slot < SOAK_SNAPSHOTS; slot++) {
		if (atomic_load(&model->snapshots[slot].state) != SOAK_THERE)
			continue;
		wrong = soak_snapshot_delete(model, kv, slot);
		if (wrong)
			fail("snapshot %u %s", slot, wrong);
	}
	must(kv_prune(kv, &all, NULL, NULL, NULL), "prune");
	wrong = soak_watch_rest(kv, options->directory, options->segment_bytes, out);
	if (wrong)
		fail("at rest %s", wrong);
}

static void work_for(struct kv *kv, unsigned seconds, uint64_t part)
{
	static struct worker workers[THREADS_MAX];
	unsigned count;

	atomic_store(&model->stopping, false);
	count = start_all(workers, kv, part);
	sleep(seconds);
	atomic_store(&model->stopping, true);
	join_all(workers, count);
}

void soak_steady_life(const struct soak_options *life_options, struct soak_model *life_model)
{
	struct soak_rest early, late;
	const char *wrong;
	struct kv *kv;

	options = life_options;
	model = life_model;
	kv = open_store();
	verify_all(kv);
	prefer_snapshots();
	work_for(kv, options->seconds / 3, 0);
	come_to_rest(kv, &early);
	work_for(kv, options->seconds - options->seconds / 3, 1);
	come_to_rest(kv, &late);
	wrong = soak_watch_compare(&early, &late);
	if (wrong)
		fail("between two rests %s", wrong);
	must(kv_close(kv), "close");
	settle_closed();
	_exit(0);
}

void soak_finish(const struct soak_options *finish_options, struct soak_model *finish_model)
{
	struct soak_rest rest;
	struct kv *kv;

	options = finish_options;
	model = finish_model;
	kv = open_store();
	verify_all(kv);
	check(kv);
	come_to_rest(kv, &rest);
	must(kv_close(kv), "close");
	_exit(0);
}

int soak_create(const struct soak_options *create_options)
{
	static const struct kv_keyspace_spec keyspaces[] = {
		{"hashed", false}, {"ordered", true}, {"large", false}};
	struct kv_create_options how = {.keyspaces = keyspaces,
		.keyspace_count = 3,
		.segment_size = create_options->segment_bytes,
		.compress = create_options->compress};

	return kv_create(NULL, create_options->directory, &how, report, NULL);
}
