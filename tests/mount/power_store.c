/* SPDX-License-Identifier: MIT */
/*
 * power_store.c - a store that is changed step by step, and judged: it must be what it was after one of them
 *
 * Step 1 makes the store, each later one is a batch and what else it brings: a sync, a snapshot, a prune, closing and opening again.
 * All of it follows from the seed and the step's number, so what the store must hold after any step can be worked out.
 */
#include "power_subject.h"

#include "kv.h"
#include "pattern.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define DISK_SIZE ((size_t)48 << 20)
#define KEYSPACES 2u
#define KEYS 160u      /* of each */
#define CHANGES_MAX 6u /* of a step */
#define VALUE_SIZE_MAX 120000u
#define COUNT_KEY "count"      /* in keyspace 0: the number of the step, changed by each */
#define SNAPSHOT_EVERY 23u     /* steps */
#define SNAPSHOT_LASTS 92u     /* steps, a multiple of that */
#define PRUNE_EVERY 120u
#define REOPEN_EVERY 170u
#define GO_ON 5u /* steps, after it was judged */

/* The step that begins, and the one up to which all is promised. */
struct marks {
	_Atomic uint64_t begun, kept;
};

static struct marks *marks;

/* Which step changed a key last; 0: it is not there. */
struct model {
	uint64_t seed;
	uint64_t put_by[KEYSPACES][KEYS];
	unsigned change[KEYSPACES][KEYS]; /* which change of that step */
};

struct change {
	unsigned keyspace, key;
	size_t size; /* bytes; 0: the key is deleted */
};

static int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return -1;
}

/* ---- what a step is -------------------------------------------------------------------------- */

static uint64_t step_number(uint64_t seed, uint64_t step, unsigned which)
{
	return pattern_number(seed, step * 64 + which);
}

static unsigned step_changes(uint64_t seed, uint64_t step)
{
	return 1 + (unsigned)(step_number(seed, step, 0) % CHANGES_MAX);
}

static struct change step_change(uint64_t seed, uint64_t step, unsigned i)
{
	uint64_t number = step_number(seed, step, 1 + i), kind = number >> 8 & 31;
	struct change change = {
		.keyspace = (unsigned)(number % KEYSPACES),
		.key = (unsigned)((number >> 16) % KEYS),
		.size = 1 + (number >> 32) % 2000,
	};

	if (kind < 6)
		change.size = 0;
	else if (kind == 6)
		change.size = 1 + (number >> 32) % VALUE_SIZE_MAX;
	return change;
}

static bool is_snapshot_step(uint64_t step)
{
	return step % SNAPSHOT_EVERY == 0;
}

static void model_apply(struct model *model, uint64_t step)
{
	for (unsigned i = 0; i < step_changes(model->seed, step); i++) {
		struct change change = step_change(model->seed, step, i);

		model->put_by[change.keyspace][change.key] = change.size ? step : 0;
		model->change[change.keyspace][change.key] = i;
	}
}

static void model_init(struct model *model, uint64_t seed, uint64_t steps)
{
	memset(model, 0, sizeof(*model));
	model->seed = seed;
	for (uint64_t step = 2; step <= steps; step++)
		model_apply(model, step);
}

static void value_fill(unsigned char *value, const struct change *change, uint64_t seed, uint64_t step, unsigned i)
{
	pattern_fill(value, change->size, step_number(seed, step, 32 + i), 0);
}

static size_t key_make(unsigned key, char out[32])
{
	return (size_t)snprintf(out, 32, "%u-of-all-the-keys", key * 7919 % 1000);
}

/* ---- work ------------------------------------------------------------------------------------ */

struct work {
	const char *path;
	uint64_t seed;
	struct kv *kv;
	struct kv_batch *batch;
	unsigned complaints;
	char complaint[512]; /* the first */
	unsigned char value[VALUE_SIZE_MAX];
};

static void hear(void *arg, enum kv_severity severity, const char *message)
{
	struct work *work = arg;

	if (severity > KV_WARNING)
		return;
	if (!work->complaints++)
		snprintf(work->complaint, sizeof(work->complaint), "%s", message);
}

static int work_open(struct work *work)
{
	struct kv_open_options options = {
		.commit_interval_ms = 30, .checkpoint_interval = 1 << 20, .report = hear, .report_arg = work};
	int error = kv_open(NULL, work->path, &options, &work->kv);

	if (!error)
		error = kv_batch_new(work->kv, &work->batch);
	return error;
}

static int work_close(struct work *work)
{
	struct kv *kv = work->kv;

	kv_batch_free(work->batch);
	work->batch = NULL;
	work->kv = NULL;
	return kv_close(kv);
}

static int step_commit(struct work *work, uint64_t step, uint64_t *seq)
{
	int error = kv_batch_put(work->batch, 0, COUNT_KEY, strlen(COUNT_KEY), &step, sizeof(step));
	char key[32];

	for (unsigned i = 0; !error && i < step_changes(work->seed, step); i++) {
		struct change change = step_change(work->seed, step, i);
		size_t size = key_make(change.key, key);

		value_fill(work->value, &change, work->seed, step, i);
		error = change.size ? kv_batch_put(work->batch, change.keyspace, key, size, work->value, change.size)
				    : kv_batch_delete(work->batch, change.keyspace, key, size);
	}
	return error ? error : kv_commit(work->kv, work->batch, seq);
}

/* Snapshots are named by their steps. */
static int step_snapshots(struct work *work, uint64_t step)
{
	char name[32];
	int error;

	snprintf(name, sizeof(name), "%" PRIu64, step);
	error = kv_snapshot_create(work->kv, name, NULL);
	if (error || step <= SNAPSHOT_LASTS)
		return error;
	snprintf(name, sizeof(name), "%" PRIu64, step - SNAPSHOT_LASTS);
	return kv_snapshot_delete(work->kv, name, NULL);
}

/* One step after the first, and what it brings. */
static int work_step(struct work *work, uint64_t step)
{
	uint64_t seq = 0;
	int error = step_commit(work, step, &seq);

	if (!error && is_snapshot_step(step))
		error = step_snapshots(work, step);
	if (!error && step % PRUNE_EVERY == 0)
		error = kv_prune(work->kv, NULL, NULL, NULL, NULL);
	if (!error && step % REOPEN_EVERY == 0) {
		error = work_close(work);
		if (!error)
			atomic_store(&marks->kept, step);
		if (!error)
			error = work_open(work);
	} else if (!error && step_number(work->seed, step, 63) % 3 == 0) {
		error = kv_sync(work->kv, seq);
		if (!error)
			atomic_store(&marks->kept, step);
	}
	return error;
}

static int work_create(struct work *work)
{
	static const struct kv_keyspace_spec keyspaces[] = {{"hashed", false}, {"ordered", true}};
	struct kv_create_options options = {.keyspaces = keyspaces,
					    .keyspace_count = KEYSPACES,
					    .compress = KV_COMPRESS_BACKGROUND,
					    .segment_size = 1 << 20};

	return kv_create(NULL, work->path, &options, hear, work);
}

static const char *path_of(const struct power_place *place)
{
	static char path[4200];

	snprintf(path, sizeof(path), "%s/store", place->volume);
	return path;
}

static int store_work(const struct power_place *place)
{
	static struct work work;
	uint64_t step = 1;
	int error;

	work = (struct work){.path = path_of(place), .seed = place->seed};
	atomic_store(&marks->begun, 1);
	error = work_create(&work);
	if (!error)
		atomic_store(&marks->kept, 1);
	if (!error)
		error = work_open(&work);
	while (!error && step < place->steps) {
		atomic_store(&marks->begun, ++step);
		error = work_step(&work, step);
	}
	if (error)
		return fail("step %" PRIu64 ": %s", step, strerror(-error));
	return work.complaints ? fail("the store complains: %s", work.complaint) : 0;
}

/* ---- judging --------------------------------------------------------------------------------- */

static int get(struct work *work, const struct kv_view *view, unsigned keyspace, const char *key, size_t size,
	       struct kv_slice *value)
{
	return view ? kv_view_get(view, keyspace, key, size, value) : kv_get(work->kv, keyspace, key, size, value);
}

/* Called in a read section. */
static int compare_key(struct work *work, const struct kv_view *view, const struct model *model, unsigned keyspace,
		       unsigned key)
{
	uint64_t step = model->put_by[keyspace][key];
	unsigned i = model->change[keyspace][key];
	struct kv_slice value;
	struct change change;
	char name[32];
	int error = get(work, view, keyspace, name, key_make(key, name), &value);

	if (!step)
		return error == -ENOENT ? 0 : fail("%s is there, or cannot be read (%d)", name, error);
	if (error)
		return fail("%s: %s", name, strerror(-error));
	change = step_change(work->seed, step, i);
	value_fill(work->value, &change, work->seed, step, i);
	if (value.size != change.size || memcmp(value.data, work->value, change.size))
		return fail("%s has another value than that of step %" PRIu64, name, step);
	return 0;
}

/* All keys, and that there are no others. */
static int compare(struct work *work, const struct kv_view *view, const struct model *model)
{
	uint64_t present[KEYSPACES] = {1, 0}, count;
	int result = 0;

	kv_read_begin(work->kv);
	for (unsigned i = 0; !result && i < KEYSPACES * KEYS; i++) {
		result = compare_key(work, view, model, i % KEYSPACES, i / KEYSPACES);
		present[i % KEYSPACES] += model->put_by[i % KEYSPACES][i / KEYSPACES] != 0;
	}
	kv_read_end(work->kv);
	for (unsigned keyspace = 0; !result && !view && keyspace < KEYSPACES; keyspace++) {
		result = kv_count(work->kv, keyspace, &count);
		/* before the first batch there is no count */
		if (!result && count != present[keyspace] && (count || keyspace || present[0] != 1))
			result = fail("%" PRIu64 " keys in keyspace %u, expected %" PRIu64, count, keyspace,
				      present[keyspace]);
	}
	return result;
}

static int read_count(struct work *work, const struct kv_view *view, uint64_t *out)
{
	struct kv_slice value;
	int error;

	kv_read_begin(work->kv);
	error = get(work, view, 0, COUNT_KEY, strlen(COUNT_KEY), &value);
	if (!error && value.size == sizeof(*out))
		memcpy(out, value.data, sizeof(*out));
	else if (!error)
		error = -EINVAL;
	kv_read_end(work->kv);
	return error;
}

struct snapshots {
	struct work *work;
	uint64_t found; /* step of the store itself */
	unsigned seen;
};

static int judge_snapshot(void *arg, const struct kv_snapshot *snapshot)
{
	struct snapshots *snapshots = arg;
	uint64_t step = strtoull(snapshot->name, NULL, 10), count = 0;
	struct kv_view *view;
	struct model model;
	int error = kv_snapshot_open(snapshots->work->kv, snapshot->name, &view);

	if (error)
		return fail("snapshot %s: %s", snapshot->name, strerror(-error));
	snapshots->seen++;
	error = read_count(snapshots->work, view, &count);
	model_init(&model, snapshots->work->seed, step);
	if (error || count != step || step > snapshots->found || step + SNAPSHOT_LASTS < snapshots->found)
		error = fail("snapshot %s of step %" PRIu64 " in step %" PRIu64 ", error %d", snapshot->name, count,
			     snapshots->found, error);
	else if (compare(snapshots->work, view, &model))
		error = fail("... in snapshot %s", snapshot->name);
	kv_view_close(view);
	return error;
}

/* Those that there must be. The one that the newest step makes may not be there yet, and the one that it deletes may be there still. */
static int judge_snapshots(struct work *work, uint64_t found)
{
	struct snapshots snapshots = {.work = work, .found = found};
	uint64_t least = 0;
	int error = kv_snapshot_list(work->kv, judge_snapshot, &snapshots);

	for (uint64_t step = SNAPSHOT_EVERY; step < found; step += SNAPSHOT_EVERY)
		least += step + SNAPSHOT_LASTS > found;
	if (!error && (snapshots.seen < least || snapshots.seen > least + 2))
		error = fail("%u snapshots in step %" PRIu64 ", expected %" PRIu64, snapshots.seen, found, least);
	return error;
}

static int judge_contents(struct work *work, uint64_t begun, uint64_t kept, uint64_t *found)
{
	uint64_t findings = 0;
	struct model model;
	int error = read_count(work, NULL, found);

	if (error == -ENOENT) {
		*found = 1;
		error = 0;
	}
	if (error || *found < kept || *found > begun)
		return fail("step %" PRIu64 " is there, error %d", *found, error);
	model_init(&model, work->seed, *found);
	if (compare(work, NULL, &model) || judge_snapshots(work, *found))
		return -1;
	error = kv_check(work->kv, hear, work, NULL, NULL, &findings);
	return error || findings ? fail("the check finds %" PRIu64 ", error %d: %s", findings, error, work->complaint) : 0;
}

static int go_on(struct work *work, uint64_t found)
{
	uint64_t seq = 0;
	int error = 0;

	for (uint64_t step = found + 1; !error && step <= found + GO_ON; step++)
		error = step_commit(work, step, &seq);
	if (!error)
		error = kv_sync(work->kv, seq);
	return error ? fail("going on: %s", strerror(-error)) : 0;
}

/* May a store whose making was cut short say this? */
static bool is_unmade(int error)
{
	return error == -ENOENT || error == -EMEDIUMTYPE || error == -EUCLEAN;
}

static int store_judge(const struct power_place *place, const void *known, bool *empty)
{
	static struct work work;
	uint64_t begun = ((const uint64_t *)known)[0], kept = ((const uint64_t *)known)[1], found = 0;
	int error, closed;

	work = (struct work){.path = path_of(place), .seed = place->seed};
	error = work_open(&work);
	*empty = error && !kept && is_unmade(error);
	if (*empty)
		return 0;
	if (error) {
		error = fail("opening: %s (%s)", strerror(-error), work.complaint);
	} else {
		error = judge_contents(&work, begun, kept, &found);
		if (!error && work.complaints)
			error = fail("the store complains: %s", work.complaint);
		if (!error)
			error = go_on(&work, found);
	}
	closed = work_close(&work);
	if (!error && closed)
		error = fail("closing: %s", strerror(-closed));
	if (error)
		fprintf(stderr, "%" PRIu64 " steps begun, %" PRIu64 " promised\n", begun, kept);
	return error;
}

static void *store_marks(const struct power_place *place)
{
	void *memory = mmap(NULL, sizeof(*marks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	marks = memory == MAP_FAILED ? NULL : memory;
	return marks;
}

const struct power_subject power_store = {
	.name = "store",
	.disk_size = DISK_SIZE,
	.marks_size = sizeof(struct marks),
	.marks = store_marks,
	.work = store_work,
	.judge = store_judge,
};
