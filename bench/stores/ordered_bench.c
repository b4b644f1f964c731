/* SPDX-License-Identifier: MIT */
/*
 * ordered_bench - ordered sets beside each other: `bench/engine seeds` runs it
 *
 *	ordered_bench list
 *	ordered_bench SET DIR ENTRIES
 *
 * Lines as those of store_bench. Results are checked: entry n is the key at position n.
 */
#include "measure.h"
#include "ordered.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define RANGE 100u
#define SLOW_COUNT 50u /* ranks by walking */
#define READS 500000u

static const struct ordered_ops *const sets[] = {
	&ordered_kv,
#ifdef WITH_CPP
	&ordered_set,
	&ordered_counted,
#endif
};

struct run {
	const struct ordered_ops *ops;
	struct ordered *set;
	uint64_t entries;
	struct entry_shuffle shuffle;
	uint64_t random, sum;
};

typedef int run_step(struct run *run, uint64_t number);

static int step_insert(struct run *run, uint64_t number)
{
	struct entry_key key;

	entry_key(entry_shuffled(&run->shuffle, number), &key);
	return run->ops->insert(run->set, &key);
}

static int step_insert_ascending(struct run *run, uint64_t number)
{
	struct entry_key key;

	entry_key(number, &key);
	return run->ops->insert(run->set, &key);
}

static int step_remove(struct run *run, uint64_t number)
{
	struct entry_key key;

	entry_key(entry_shuffled(&run->shuffle, number), &key);
	return run->ops->remove(run->set, &key);
}

static int step_rank(struct run *run, uint64_t number)
{
	uint64_t entry = entry_pick(&run->random, run->entries), rank;
	struct entry_key key;
	int err;

	entry_key(entry, &key);
	err = run->ops->rank(run->set, &key, &rank);
	return err ? err : rank == entry ? 0 : -EILSEQ;
}

static int is_entry(uint64_t entry, const struct entry_key *got)
{
	struct entry_key want;

	entry_key(entry, &want);
	return memcmp(want.text, got->text, ENTRY_KEY_SIZE) ? -EILSEQ : 0;
}

static int step_select(struct run *run, uint64_t number)
{
	uint64_t entry = entry_pick(&run->random, run->entries);
	struct entry_key got;
	int err = run->ops->select(run->set, entry, &got);

	return err ? err : is_entry(entry, &got);
}

static int step_first(struct run *run, uint64_t number)
{
	struct entry_key got;
	int err = run->ops->first(run->set, &got);

	return err ? err : is_entry(0, &got);
}

static int step_last(struct run *run, uint64_t number)
{
	struct entry_key got;
	int err = run->ops->last(run->set, &got);

	return err ? err : is_entry(run->entries - 1, &got);
}

static int step_range_by_position(struct run *run, uint64_t number)
{
	return run->ops->range_by_position(
		run->set, entry_pick(&run->random, run->entries), RANGE, &run->sum);
}

static int step_range_by_key(struct run *run, uint64_t number)
{
	struct entry_key key;

	entry_key(entry_pick(&run->random, run->entries), &key);
	return run->ops->range_by_key(run->set, &key, RANGE, &run->sum);
}

static int repeat(struct run *run, const char *work, run_step *step, uint64_t count)
{
	struct latency *latency = calloc(1, sizeof(*latency));
	uint64_t start_ns = latency_now_ns(), cpu_ns = measure_cpu_ns(), last = latency_ticks();
	int err = latency ? 0 : -ENOMEM;

	for (uint64_t i = 0; !err && i < count; i++) {
		uint64_t now;

		err = step(run, i);
		now = latency_ticks();
		latency_add(latency, now - last);
		last = now;
	}
	if (!err) {
		measure_print(work, "rate", (double)count / measure_seconds_since(start_ns));
		measure_print(work, "p50_ns", latency_percentile_ns(latency, 0.5));
		measure_print(work, "p99_ns", latency_percentile_ns(latency, 0.99));
		measure_print(work, "p999_ns", latency_percentile_ns(latency, 0.999));
		measure_print(work, "cpu_ns", (double)(measure_cpu_ns() - cpu_ns) / (double)count);
	} else {
		fprintf(stderr, "ordered_bench: %s: %s: error %d\n", run->ops->name, work, -err);
	}
	free(latency);
	return err;
}

static int open_set(struct run *run, const char *dir, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return run->ops->open(path, &run->set);
}

static int run_random(struct run *run)
{
	uint64_t before = measure_memory_bytes(), used, walks = run->ops->slow_rank ? SLOW_COUNT : READS;
	int err = repeat(run, "insert_random", step_insert, run->entries);

	if (err)
		return err;
	used = run->ops->memory ? run->ops->memory(run->set) : measure_memory_bytes() - before;
	measure_print("memory", "bytes_per_key", (double)used / (double)run->entries);
	err = repeat(run, "rank", step_rank, walks);
	if (!err)
		err = repeat(run, "select", step_select, walks);
	if (!err)
		err = repeat(run, "first", step_first, READS);
	if (!err)
		err = repeat(run, "last", step_last, READS);
	if (!err)
		err = repeat(run, "range_100_by_position", step_range_by_position,
			walks == READS ? READS / 10 : walks);
	if (!err)
		err = repeat(run, "range_100_by_key", step_range_by_key, READS / 10);
	run->shuffle = entry_shuffle(run->entries, 5);
	if (!err)
		err = repeat(run, "remove_random", step_remove, run->entries);
	return err;
}

static int run_bulk(struct run *run)
{
	struct entry_key *keys = malloc(run->entries * sizeof(*keys));
	uint64_t start_ns;
	int err;

	if (!keys)
		return -ENOMEM;
	for (uint64_t i = 0; i < run->entries; i++)
		entry_key(i, &keys[i]);
	start_ns = latency_now_ns();
	err = run->ops->insert_bulk(run->set, keys, (unsigned)run->entries);
	if (!err)
		measure_print("insert_bulk", "rate",
			(double)run->entries / measure_seconds_since(start_ns));
	free(keys);
	return err;
}

static int run_all(struct run *run, const char *dir)
{
	int err = open_set(run, dir, "random");

	if (err)
		return err;
	err = run_random(run);
	run->ops->close(run->set);
	if (!err)
		err = open_set(run, dir, "ascending");
	if (err)
		return err;
	err = repeat(run, "insert_ascending", step_insert_ascending, run->entries);
	run->ops->close(run->set);
	if (!err)
		err = open_set(run, dir, "bulk");
	if (err)
		return err;
	err = run_bulk(run);
	run->ops->close(run->set);
	return err;
}

int main(int argc, char **argv)
{
	struct run run = {.random = 1};
	int err;

	for (unsigned i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		if (argc == 2 && !strcmp(argv[1], "list"))
			printf("%s\t%s\n", sets[i]->name, sets[i]->about);
		else if (argc == 4 && !strcmp(sets[i]->name, argv[1]))
			run.ops = sets[i];
	}
	if (argc == 2)
		return 0;
	if (!run.ops || !(run.entries = strtoull(argv[3], NULL, 10))) {
		fprintf(stderr, "usage: ordered_bench list | SET DIR ENTRIES\n");
		return 2;
	}
	latency_init();
	run.shuffle = entry_shuffle(run.entries, 3);
	err = run_all(&run, argv[2]);
	if (err)
		fprintf(stderr, "ordered_bench: %s: %s\n", argv[1], strerror(-err));
	return err ? 1 : 0;
}
