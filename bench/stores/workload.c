/* SPDX-License-Identifier: MIT */
/*
 * workload.c - the workloads, by the steps that measure.c repeats.
 *
 * Entries 0..n-1 exist, those from 2n on never do. Versions: 0 after loading, 1 by `mixed`, 2 by
 * `overwrite`. What is read is checked, so a store cannot be fast by being wrong.
 */
#include "workload.h"

#include "measure.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH 100u
#define SCAN 100u
#define READS_MIN 200000u
#define READS_MAX 2000000u
#define ITERATE_SECONDS 0.1    /* at least, for small stores */
#define UNSYNCED 1000u         /* puts between the last sync and the kill */
#define SPACE_REST_MIN 100000u /* entries */
#define SPACE_REST_S 6u

struct order {
	const struct workload *workload;
	struct entry_shuffle shuffle;
	uint64_t base; /* the first entry */
	unsigned version;
};

static size_t value_size(const struct worker *worker)
{
	return ((const struct order *)worker->measure->arg)->workload->setup.value_size;
}

static uint64_t entries(const struct worker *worker)
{
	return ((const struct order *)worker->measure->arg)->workload->setup.entries;
}

static int put_entry(struct worker *worker, uint64_t entry, unsigned version)
{
	struct entry_key key;

	entry_key(entry, &key);
	return worker->ops->put(
		worker->session, &key, entry_value(entry, version, value_size(worker)));
}

static int step_put(struct worker *worker, uint64_t number)
{
	const struct order *order = worker->measure->arg;

	return put_entry(worker, order->base + worker->first + number, order->version);
}

static int step_put_shuffled(struct worker *worker, uint64_t number)
{
	const struct order *order = worker->measure->arg;

	return put_entry(
		worker, entry_shuffled(&order->shuffle, worker->first + number), order->version);
}

static int step_batch(struct worker *worker, uint64_t number)
{
	const struct order *order = worker->measure->arg;
	struct store_change changes[BATCH];
	uint64_t entry = order->base + (worker->first + number) * BATCH;

	for (unsigned i = 0; i < BATCH; i++, entry++) {
		entry_key(entry, &changes[i].key);
		changes[i].value = entry_value(entry, order->version, value_size(worker));
	}
	return worker->ops->batch(worker->session, changes, BATCH);
}

static int step_delete_shuffled(struct worker *worker, uint64_t number)
{
	const struct order *order = worker->measure->arg;
	struct entry_key key;

	entry_key(entry_shuffled(&order->shuffle, worker->first + number), &key);
	return worker->ops->delete (worker->session, &key);
}

static int check_value(const struct worker *worker, uint64_t entry, struct slice value)
{
	if (entry_value_is(entry, 0, value_size(worker), value) ||
		entry_value_is(entry, 1, value_size(worker), value))
		return 0;
	fprintf(stderr, "%s: a wrong value\n", worker->ops->name);
	return -EILSEQ;
}

static int get_entry(struct worker *worker, uint64_t entry)
{
	struct entry_key key;
	struct slice value;
	int err;

	entry_key(entry, &key);
	err = worker->ops->get(worker->session, &key, &value);
	return err ? err : check_value(worker, entry, value);
}

/* One by one where the store has no call for many. */
static int step_get_many(struct worker *worker, uint64_t number)
{
	struct entry_key keys[STORE_MANY];
	struct slice values[STORE_MANY];
	uint64_t picked[STORE_MANY];
	int err = 0;

	for (unsigned i = 0; i < STORE_MANY; i++) {
		picked[i] = entry_pick(&worker->random, entries(worker));
		if (worker->ops->get_many)
			entry_key(picked[i], &keys[i]);
		else
			err = err ? err : get_entry(worker, picked[i]);
	}
	if (!worker->ops->get_many)
		return err;
	err = worker->ops->get_many(worker->session, keys, values, STORE_MANY);
	for (unsigned i = 0; !err && i < STORE_MANY; i++)
		err = check_value(worker, picked[i], values[i]);
	return err;
}

static int step_get(struct worker *worker, uint64_t number)
{
	return get_entry(worker, entry_pick(&worker->random, entries(worker)));
}

static int step_get_in_order(struct worker *worker, uint64_t number)
{
	return get_entry(worker, number % entries(worker));
}

static int step_miss(struct worker *worker, uint64_t number)
{
	struct entry_key key;
	struct slice value;
	int err;

	/* between the others in order, so that a tree cannot tell from its ends */
	entry_key_absent(entry_pick(&worker->random, entries(worker)), &key);
	err = worker->ops->get(worker->session, &key, &value);
	return err == -ENOENT ? 0 : err ? err : -EEXIST;
}

static int step_contains(struct worker *worker, uint64_t number)
{
	struct entry_key key;
	bool there = number & 1;
	int err;

	entry_key_with(
		entry_pick(&worker->random, entries(worker)), there ? 0 : ENTRY_ABSENT, &key);
	err = worker->ops->contains(worker->session, &key);
	if (err == -ENOENT)
		return there ? -ENODATA : 0;
	return err ? err : there ? 0 : -EEXIST;
}

static int step_mixed(struct worker *worker, uint64_t number)
{
	uint64_t entry = entry_pick(&worker->random, entries(worker));
	int err;

	if (entry_pick(&worker->random, 5) == 0)
		return put_entry(worker, entry, 1);
	err = worker->ops->read_begin ? worker->ops->read_begin(worker->session) : 0;
	if (err)
		return err;
	err = get_entry(worker, entry);
	if (worker->ops->read_end)
		worker->ops->read_end(worker->session);
	return err;
}

static int step_scan(struct worker *worker, uint64_t number)
{
	struct store_seen seen = {0};
	struct entry_key key;
	uint64_t entry = entry_pick(&worker->random, entries(worker)),
		 left = entries(worker) - entry;
	int err;

	entry_key(entry, &key);
	err = worker->ops->scan(worker->session, &key, SCAN, &seen);
	worker->sum += seen.sum;
	return err ? err : seen.count == (left < SCAN ? left : SCAN) ? 0 : -ENODATA;
}

/* ---- sets ------------------------------------------------------------------------------------ */

static int workload_open(struct workload *workload)
{
	int err = workload->ops->open(workload->ops, &workload->setup, &workload->store);

	if (err)
		return err;
	return workload->ops->session_open(workload->store, &workload->session);
}

static int workload_close(struct workload *workload)
{
	struct store *store = workload->store;

	if (workload->session)
		workload->ops->session_close(workload->session);
	workload->session = NULL;
	workload->store = NULL;
	return workload->ops->close(store);
}

static int run(struct workload *workload, struct measure measure)
{
	return measure_run(workload->store, workload->session, &measure);
}

static uint64_t read_count(const struct workload *workload)
{
	uint64_t count = workload->setup.entries;

	return count < READS_MIN ? READS_MIN : count > READS_MAX ? READS_MAX : count;
}

static uint64_t disk_bytes(const char *path)
{
	char command[4200];
	unsigned long long kib = 0;
	FILE *pipe;

	snprintf(command, sizeof(command), "du -sk '%s'", path);
	pipe = popen(command, "r");
	if (pipe && fscanf(pipe, "%llu", &kib) != 1)
		kib = 0;
	if (pipe)
		pclose(pipe);
	return kib * 1024;
}

static void remove_copy(const char *path)
{
	char command[4200];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	if (system(command))
		fprintf(stderr, "%s stays\n", path);
}

/* Runs what may leave a copy behind, and prints how long it took. */
static int with_copy(
	struct workload *workload, const char *work, int (*function)(struct store *, const char *))
{
	char path[4096 + 8];
	uint64_t start_ns, cpu_ns;
	int err;

	if (!function)
		return 0;
	snprintf(path, sizeof(path), "%s.copy", workload->setup.path);
	cpu_ns = measure_cpu_ns();
	start_ns = latency_now_ns();
	err = function(workload->store, path);
	if (!err) {
		measure_print(work, "seconds", measure_seconds_since(start_ns));
		measure_print(work, "cpu_seconds", (double)(measure_cpu_ns() - cpu_ns) / 1e9);
	}
	remove_copy(path);
	return err;
}

static int sync_printed(struct workload *workload, const char *work)
{
	uint64_t start_ns = latency_now_ns();
	int err = workload->ops->sync(workload->session);

	if (!err)
		measure_print(work, "sync_seconds", measure_seconds_since(start_ns));
	return err;
}

static int iterate(struct workload *workload, const char *work, bool values)
{
	struct store_seen seen = {0};
	uint64_t memory = measure_memory_bytes(), start_ns = latency_now_ns(), rounds = 0;
	double seconds = 0;
	int err = 0;

	if (!workload->ops->iterate)
		return 0;
	for (; !err && seconds < ITERATE_SECONDS; rounds++) {
		err = workload->ops->iterate(workload->session, values, &seen);
		seconds = measure_seconds_since(start_ns);
	}
	if (err)
		return err;
	if (seen.count != rounds * workload->setup.entries) {
		fprintf(stderr, "%s: %s saw %llu of %llu\n", workload->ops->name, work,
			(unsigned long long)seen.count,
			(unsigned long long)(rounds * workload->setup.entries));
		return -ENODATA;
	}
	measure_print(work, "rate", (double)seen.count / seconds);
	measure_print(work, "grown_bytes",
		measure_memory_bytes() > memory ? (double)(measure_memory_bytes() - memory) : 0);
	return 0;
}

static int load(struct workload *workload, const char *work)
{
	struct order order = {.workload = workload};
	uint64_t memory = measure_memory_bytes(), count = workload->setup.entries;
	int err = run(workload, (struct measure){.work = work,
					.step = step_put,
					.arg = &order,
					.count = count,
					.flush = true});

	if (!err)
		err = sync_printed(workload, work);
	if (!err && workload->ops->settle)
		err = workload->ops->settle(workload->store);
	if (err)
		return err;
	measure_print("space", "memory_bytes_per_key",
		(double)(measure_memory_bytes() - memory) / (double)count);
	if (workload->ops->index_bytes)
		measure_print("space", "index_bytes_per_key",
			(double)workload->ops->index_bytes(workload->store) / (double)count);
	measure_print("space", "disk_bytes_per_key_at_once",
		(double)disk_bytes(workload->setup.path) / (double)count);
	if (count < SPACE_REST_MIN)
		return 0;
	/*
	 * What is kept for a writer who goes on, or is still being compacted, is none of the
	 * data's.
	 */
	sleep(SPACE_REST_S);
	measure_print("space", "disk_bytes_per_key_at_rest",
		(double)disk_bytes(workload->setup.path) / (double)count);
	return 0;
}

static int reads(struct workload *workload)
{
	struct order order = {.workload = workload};
	uint64_t count = read_count(workload);
	double limit = workload->seconds;
	int err;

	err = run(workload, (struct measure){.work = "get_hit",
				    .step = step_get,
				    .arg = &order,
				    .count = count,
				    .seconds = limit,
				    .reads = true,
				    .sampled = true});
	if (!err)
		err = run(workload, (struct measure){.work = "get_64_at_once",
					    .step = step_get_many,
					    .arg = &order,
					    .count = count / STORE_MANY,
					    .weight = STORE_MANY,
					    .seconds = limit,
					    .reads = true});
	if (!err)
		err = run(workload, (struct measure){.work = "get_in_order",
					    .step = step_get_in_order,
					    .arg = &order,
					    .count = count,
					    .seconds = limit,
					    .reads = true,
					    .sampled = true});
	if (!err)
		err = run(workload, (struct measure){.work = "get_hit_2t",
					    .step = step_get,
					    .arg = &order,
					    .threads = 2,
					    .count = 2 * count,
					    .seconds = limit,
					    .reads = true,
					    .sampled = true});
	if (!err)
		err = run(workload, (struct measure){.work = "get_miss",
					    .step = step_miss,
					    .arg = &order,
					    .count = count,
					    .seconds = limit,
					    .reads = true,
					    .sampled = true});
	if (!err)
		err = run(workload, (struct measure){.work = "contains",
					    .step = step_contains,
					    .arg = &order,
					    .count = count,
					    .seconds = limit,
					    .reads = true,
					    .sampled = true});
	if (!err)
		err = iterate(workload, "iterate_keys", false);
	if (!err)
		err = iterate(workload, "iterate_values", true);
	if (!err && workload->ops->scan)
		err = run(workload, (struct measure){.work = "scan_100",
					    .step = step_scan,
					    .arg = &order,
					    .count = count / 4,
					    .seconds = limit});
	return err;
}

static int reopen(struct workload *workload)
{
	uint64_t start_ns = latency_now_ns();
	struct entry_key key;
	struct slice value;
	int err = workload_close(workload);

	if (err)
		return err;
	measure_print("close", "seconds", measure_seconds_since(start_ns));
	start_ns = latency_now_ns();
	err = workload_open(workload);
	if (err)
		return err;
	measure_print("open_clean", "seconds", measure_seconds_since(start_ns));
	entry_key(workload->setup.entries / 2, &key);
	if (workload->ops->read_begin)
		err = workload->ops->read_begin(workload->session);
	if (!err)
		err = workload->ops->get(workload->session, &key, &value);
	if (workload->ops->read_end)
		workload->ops->read_end(workload->session);
	if (!err)
		measure_print("open_clean", "first_get_seconds", measure_seconds_since(start_ns));
	return err;
}

static int changes(struct workload *workload)
{
	uint64_t count = workload->setup.entries;
	struct order order = {
		.workload = workload, .shuffle = entry_shuffle(count, 7), .version = 2};
	int err;

	err = run(workload, (struct measure){.work = "mixed",
				    .step = step_mixed,
				    .arg = &order,
				    .count = read_count(workload),
				    .seconds = workload->seconds,
				    .flush = true});
	if (!err)
		err = run(workload, (struct measure){.work = "overwrite",
					    .step = step_put_shuffled,
					    .arg = &order,
					    .count = count,
					    .flush = true});
	if (!err)
		err = sync_printed(workload, "overwrite");
	if (!err)
		err = with_copy(workload, "prune", workload->ops->prune);
	if (!err)
		measure_print("prune", "disk_bytes_per_key_after",
			(double)disk_bytes(workload->setup.path) / (double)count);
	order.shuffle = entry_shuffle(count, 11);
	if (!err)
		err = run(workload, (struct measure){.work = "delete",
					    .step = step_delete_shuffled,
					    .arg = &order,
					    .count = count,
					    .flush = true});
	return err;
}

/* A snapshot that is a record in the log is as durable as other records; a copy is what it is. */
static int snapshot(struct workload *workload)
{
	uint64_t start_ns = latency_now_ns();
	int err = with_copy(workload, "snapshot", workload->ops->snapshot);

	if (err || !workload->ops->snapshot_drop)
		return err;
	err = workload->ops->sync(workload->session);
	measure_print("snapshot", "durable_seconds", measure_seconds_since(start_ns));
	return err ? err : workload->ops->snapshot_drop(workload->store);
}

static int set_main(struct workload *workload)
{
	struct order order = {.workload = workload};
	int err = load(workload, "put_seq");

	if (!err)
		err = reads(workload);
	if (!err)
		err = snapshot(workload);
	if (!err)
		err = reopen(workload);
	if (!err)
		err = run(workload, (struct measure){.work = "get_reopened",
					    .step = step_get,
					    .arg = &order,
					    .count = read_count(workload),
					    .seconds = workload->seconds,
					    .reads = true,
					    .sampled = true});
	if (!err)
		err = changes(workload);
	return err;
}

static int set_random(struct workload *workload)
{
	uint64_t count = workload->setup.entries;
	struct order order = {
		.workload = workload, .shuffle = entry_shuffle(count, 3), .base = count};
	int err = run(workload, (struct measure){.work = "put_random",
					.step = step_put_shuffled,
					.arg = &order,
					.count = count,
					.flush = true});

	if (!err)
		err = sync_printed(workload, "put_random");
	if (!err)
		err = run(workload, (struct measure){.work = "put_batch_100",
					    .step = step_batch,
					    .arg = &order,
					    .count = (count + BATCH) / 2 / BATCH + 1,
					    .weight = BATCH,
					    .flush = true});
	return err;
}

static int set_durable(struct workload *workload)
{
	static const struct {
		unsigned threads;
		const char *work;
	} cases[] = {
		{1, "durable_1t"}, {4, "durable_4t"}, {16, "durable_16t"}, {64, "durable_64t"}};
	struct order order = {.workload = workload};
	int err = 0;

	for (unsigned i = 0; !err && i < sizeof(cases) / sizeof(cases[0]); i++) {
		order.base = (uint64_t)(i + 1) << 32;
		err = run(workload, (struct measure){.work = cases[i].work,
					    .step = step_put,
					    .arg = &order,
					    .threads = cases[i].threads,
					    .count = 1u << 24,
					    .seconds = workload->seconds});
	}
	order.base = 0;
	if (!err)
		err = run(workload, (struct measure){.work = "durable_batch_100",
					    .step = step_batch,
					    .arg = &order,
					    .count = 1u << 20,
					    .weight = BATCH,
					    .seconds = workload->seconds});
	return err;
}

static int set_large(struct workload *workload)
{
	struct order order = {.workload = workload};
	int err = run(workload, (struct measure){.work = "large_put",
					.step = step_put,
					.arg = &order,
					.count = workload->setup.entries,
					.flush = true});

	if (!err)
		err = sync_printed(workload, "large_put");
	if (!err)
		err = run(workload, (struct measure){.work = "large_get",
					    .step = step_get,
					    .arg = &order,
					    .count = 4 * workload->setup.entries,
					    .seconds = workload->seconds,
					    .reads = true});
	if (!err)
		measure_print("large_put", "disk_bytes_per_key",
			(double)disk_bytes(workload->setup.path) / (double)workload->setup.entries);
	return err;
}

/* Ends the process. */
static int set_load(struct workload *workload)
{
	struct order order = {.workload = workload};
	int err = run(workload, (struct measure){.work = "load",
					.step = step_put,
					.arg = &order,
					.count = workload->setup.entries,
					.flush = true});

	if (!err)
		err = workload->ops->sync(workload->session);
	order.base = workload->setup.entries;
	if (!err)
		err = run(workload, (struct measure){.work = "unsynced",
					    .step = step_put,
					    .arg = &order,
					    .count = UNSYNCED,
					    .flush = true});
	if (!err)
		raise(SIGKILL);
	return err;
}

/* The directory is as a killed process left it; `start_ns` is before the store was opened. */
static int set_killed(struct workload *workload, uint64_t start_ns)
{
	struct order order = {.workload = workload};

	measure_print("open_killed", "seconds", measure_seconds_since(start_ns));
	/* what was synced must be there */
	return run(workload, (struct measure){.work = "get_killed",
				     .step = step_get,
				     .arg = &order,
				     .count = 1000,
				     .reads = true});
}

int workload_run(struct workload *workload, const char *set)
{
	static const struct {
		const char *name;
		int (*run)(struct workload *workload);
	} sets[] = {
		{"main", set_main},
		{"random", set_random},
		{"durable", set_durable},
		{"large", set_large},
		{"load", set_load},
		{"killed", NULL},
	};
	uint64_t start_ns = latency_now_ns();
	unsigned i = 0;
	int err;

	while (i < sizeof(sets) / sizeof(sets[0]) && strcmp(sets[i].name, set))
		i++;
	if (i == sizeof(sets) / sizeof(sets[0]))
		return -ENOENT;
	workload->setup.durable = sets[i].run == set_durable;
	err = workload_open(workload);
	if (!err)
		err = sets[i].run ? sets[i].run(workload) : set_killed(workload, start_ns);
	if (workload->store) {
		int closed = workload_close(workload);

		err = err ? err : closed;
	}
	return err;
}
