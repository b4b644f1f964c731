/* SPDX-License-Identifier: MIT */
/*
 * snapshot_bench - what snapshots cost: taking them, reading at one beside reading what is there
 * now, writing while one is there, and getting its space back.
 *
 *	snapshot_bench DIR ENTRIES VALUE_SIZE
 *
 * Lines as those of store_bench; ns are of processor time. DIR must not exist. Every value that is
 * read is checked.
 */
#include "entry.h"
#include "latency.h"
#include "measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kv.h"

#define KEYSPACES 2u /* hashed, ordered */
#define SNAPSHOTS 2000u
#define READS 1000000u
#define MANY 64u

struct bench {
	struct kv *kv;
	uint64_t entries;
	size_t value_size;
	struct entry_shuffle shuffle;
};

static uint64_t thread_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void print_each(const char *work, const char *name, uint64_t begun_ns, uint64_t count)
{
	measure_print(work, name, (double)(thread_ns() - begun_ns) / (double)count);
}

/* ---- changes --------------------------------------------------------------------------------- */

static int put_all(struct bench *bench, unsigned version, const char *work)
{
	uint64_t i, begun_ns = thread_ns();
	int error = 0;

	for (i = 0; i < bench->entries * KEYSPACES && !error; i++) {
		uint64_t entry = entry_shuffled(&bench->shuffle, i / KEYSPACES);
		struct slice value = entry_value(entry, version, bench->value_size);
		struct entry_key key;

		entry_key(entry, &key);
		error = kv_put(bench->kv, i % KEYSPACES, key.text, ENTRY_KEY_SIZE, value.data,
			value.size, NULL);
	}
	print_each(work, "cpu_ns", begun_ns, i);
	return error;
}

static void name_of(unsigned number, char name[16])
{
	snprintf(name, 16, "%u", number);
}

/* Each is taken behind a change, so that it is a moment of its own. */
static int take_many(struct bench *bench)
{
	static struct latency latency;
	struct entry_key key;
	char name[16];
	unsigned i;
	int error = 0;

	for (i = 0; i < SNAPSHOTS && !error; i++) {
		struct slice value = entry_value(i % bench->entries, 1, bench->value_size);
		uint64_t begun_ticks;

		entry_key(i % bench->entries, &key);
		error = kv_put(
			bench->kv, 0, key.text, ENTRY_KEY_SIZE, value.data, value.size, NULL);
		name_of(i, name);
		begun_ticks = latency_ticks();
		if (!error)
			error = kv_snapshot_create(bench->kv, name, NULL);
		latency_add(&latency, latency_ticks() - begun_ticks);
		if (!i)
			measure_print("snapshot_create", "first_ns",
				latency_ns(latency_ticks() - begun_ticks));
	}
	measure_print("snapshot_create", "p50_ns", latency_percentile_ns(&latency, 0.50));
	measure_print("snapshot_create", "p99_ns", latency_percentile_ns(&latency, 0.99));
	memset(&latency, 0, sizeof(latency));
	for (i = 0; i < SNAPSHOTS && !error; i++) {
		uint64_t begun_ticks = latency_ticks();

		name_of(i, name);
		error = kv_snapshot_delete(bench->kv, name, NULL);
		latency_add(&latency, latency_ticks() - begun_ticks);
	}
	measure_print("snapshot_delete", "p50_ns", latency_percentile_ns(&latency, 0.50));
	measure_print("snapshot_delete", "p99_ns", latency_percentile_ns(&latency, 0.99));
	return error;
}

static int open_many(struct bench *bench)
{
	uint64_t begun_ns = thread_ns();
	struct kv_view *view;
	unsigned i;
	int error = 0;

	for (i = 0; i < READS && !error; i++) {
		error = kv_view_open(bench->kv, &view);
		if (!error)
			kv_view_close(view);
	}
	print_each("view_open_close", "cpu_ns", begun_ns, READS);
	return error;
}

/* ---- reading: at a view, or as it is now ----------------------------------------------------- */

static int get_each(struct bench *bench, const struct kv_view *view, unsigned version)
{
	uint64_t random = 1, i;
	int error = 0;

	for (i = 0; i < READS && !error; i++) {
		uint64_t entry = entry_pick(&random, bench->entries);
		struct kv_slice value;
		struct entry_key key;

		entry_key(entry, &key);
		kv_read_begin(bench->kv);
		error = view ? kv_view_get(view, 0, key.text, ENTRY_KEY_SIZE, &value)
			     : kv_get(bench->kv, 0, key.text, ENTRY_KEY_SIZE, &value);
		if (!error && !entry_value_is(entry, version, bench->value_size,
				      (struct slice){value.data, value.size}))
			error = -EIO;
		kv_read_end(bench->kv);
	}
	return error;
}

static int get_many(struct bench *bench, const struct kv_view *view, unsigned version)
{
	struct kv_entry entries[MANY];
	struct entry_key keys[MANY];
	uint64_t numbers[MANY], random = 1, i;
	unsigned j;
	int error = 0;

	for (i = 0; i < READS / MANY && !error; i++) {
		for (j = 0; j < MANY; j++) {
			numbers[j] = entry_pick(&random, bench->entries);
			entry_key(numbers[j], &keys[j]);
			entries[j].key = (struct kv_slice){keys[j].text, ENTRY_KEY_SIZE};
		}
		kv_read_begin(bench->kv);
		if (view)
			kv_view_multi_get(view, 0, entries, MANY);
		else
			kv_multi_get(bench->kv, 0, entries, MANY);
		for (j = 0; j < MANY && !error; j++) {
			struct slice value = {entries[j].value.data, entries[j].value.size};

			error = entries[j].status;
			if (!error &&
				!entry_value_is(numbers[j], version, bench->value_size, value))
				error = -EIO;
		}
		kv_read_end(bench->kv);
	}
	return error;
}

static int read_along(struct bench *bench, const struct kv_view *view, unsigned version)
{
	struct kv_entry entries[MANY];
	struct kv_cursor *cursor;
	uint64_t seen = 0;
	size_t i, count;
	int error = view ? kv_cursor_open_view(view, 1, &cursor)
			 : kv_cursor_open(bench->kv, 1, &cursor);

	if (error)
		return error;
	error = kv_cursor_first(cursor);
	while (!error) {
		kv_read_begin(bench->kv);
		error = kv_cursor_read(cursor, entries, MANY, &count);
		for (i = 0; !error && i < count; i++, seen++) {
			struct slice value = {entries[i].value.data, entries[i].value.size};

			error = entries[i].status;
			if (!error && !entry_value_is(seen, version, bench->value_size, value))
				error = -EIO;
		}
		kv_read_end(bench->kv);
	}
	kv_cursor_close(cursor);
	return error != -ENOENT ? error : seen == bench->entries ? 0 : -EIO;
}

static int read_all(
	struct bench *bench, const struct kv_view *view, unsigned version, const char *where)
{
	uint64_t begun_ns = thread_ns();
	char name[64];
	int error = get_each(bench, view, version);

	snprintf(name, sizeof(name), "get_%s", where);
	print_each(name, "cpu_ns", begun_ns, READS);
	begun_ns = thread_ns();
	if (!error)
		error = get_many(bench, view, version);
	snprintf(name, sizeof(name), "multi_get_%s", where);
	print_each(name, "cpu_ns", begun_ns, READS);
	begun_ns = thread_ns();
	if (!error)
		error = read_along(bench, view, version);
	snprintf(name, sizeof(name), "cursor_read_%s", where);
	print_each(name, "cpu_ns", begun_ns, bench->entries);
	return error;
}

/* ---- the course of things -------------------------------------------------------------------- */

static void print_space(struct bench *bench, const char *when)
{
	struct kv_stats stats;

	kv_stats(bench->kv, &stats);
	measure_print(when, "log_bytes", (double)stats.log_bytes);
	measure_print(when, "kept_bytes", (double)stats.kept_bytes);
	measure_print(when, "memory_versions_bytes", (double)stats.memory_versions_bytes);
}

static int give_back(struct bench *bench)
{
	uint64_t begun_ns = latency_now_ns();
	int error = kv_snapshot_delete(bench->kv, "bench", NULL);

	if (!error)
		error = kv_prune(bench->kv, NULL, NULL, NULL, NULL);
	measure_print("delete_and_prune", "seconds", measure_seconds_since(begun_ns));
	return error;
}

static int run(struct bench *bench)
{
	struct kv_view *view;
	int error = put_all(bench, 1, "put");

	if (!error)
		error = put_all(bench, 1, "overwrite");
	if (!error)
		error = take_many(bench);
	if (!error)
		error = open_many(bench);
	if (!error)
		error = kv_prune(bench->kv, NULL, NULL, NULL, NULL);
	if (!error)
		error = kv_snapshot_create(bench->kv, "bench", NULL);
	if (!error)
		error = kv_snapshot_open(bench->kv, "bench", &view);
	if (error)
		return error;
	error = read_all(bench, NULL, 1, "now");
	if (!error)
		error = read_all(bench, view, 1, "snapshot");
	print_space(bench, "before");
	if (!error)
		error = put_all(bench, 2, "overwrite_kept");
	print_space(bench, "kept");
	if (!error)
		error = put_all(bench, 3, "overwrite_again");
	if (!error)
		error = read_all(bench, NULL, 3, "now_overwritten");
	if (!error)
		error = read_all(bench, view, 1, "snapshot_overwritten");
	kv_view_close(view);
	if (!error)
		error = give_back(bench);
	print_space(bench, "after");
	return error;
}

static void report(void *arg, enum kv_severity severity, const char *message)
{
	if (severity != KV_INFO)
		fprintf(stderr, "snapshot_bench: %s\n", message);
}

int main(int argc, char **argv)
{
	struct kv_keyspace_spec keyspaces[KEYSPACES] = {{"hashed", false}, {"ordered", true}};
	struct kv_create_options create = {.keyspaces = keyspaces, .keyspace_count = KEYSPACES};
	struct kv_open_options options = {.report = report};
	struct bench bench;
	int error;

	if (argc != 4) {
		fprintf(stderr, "usage: snapshot_bench DIR ENTRIES VALUE_SIZE\n");
		return 2;
	}
	latency_init();
	bench.entries = strtoull(argv[2], NULL, 10);
	bench.value_size = strtoull(argv[3], NULL, 10);
	bench.shuffle = entry_shuffle(bench.entries, 3);
	error = entry_init();
	if (!error)
		error = kv_create(NULL, argv[1], &create, report, NULL);
	if (!error)
		error = kv_open(NULL, argv[1], &options, &bench.kv);
	if (!error) {
		error = run(&bench);
		kv_close(bench.kv);
	}
	if (error)
		fprintf(stderr, "snapshot_bench: %s\n", strerror(-error));
	return error != 0;
}
