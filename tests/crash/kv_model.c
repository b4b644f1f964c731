/* SPDX-License-Identifier: MIT */
/* kv_model.c - what a store must hold: a plain table of a few keys, and the batches since it was
 * last known. */
#include "kv_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim_file.h"

#define PART 32u    /* bytes of a value that are random, or not */
#define LETTERS 23u

enum snapshot_change {
	SNAPSHOT_NONE,
	SNAPSHOT_TAKEN,
	SNAPSHOT_DELETED,
};

struct batch {
	unsigned count;
	struct kv_model_change *changes;
	enum snapshot_change change;
	unsigned snapshot;
};

struct kv_model_state {
	struct kv_model_change keys[KV_MODEL_KEYSPACES][KV_MODEL_KEYS];
};

struct moment {
	struct kv_model_state state;
	bool taken[KV_MODEL_SNAPSHOTS];
	struct kv_model_state snapshots[KV_MODEL_SNAPSHOTS];
};

struct kv_model {
	struct moment base; /* after base_seq batches */
	struct moment now;
	uint64_t base_seq, durable_seq;
	struct batch *batches; /* base_seq + 1 and on */
	size_t count, capacity;
};

int kv_model_new(struct kv_model **out)
{
	struct kv_model *model = calloc(1, sizeof(*model));

	if (!model)
		return -ENOMEM;
	*out = model;
	return 0;
}

void kv_model_free(struct kv_model *model)
{
	if (!model)
		return;
	for (size_t i = 0; i < model->count; i++)
		free(model->batches[i].changes);
	free(model->batches);
	free(model);
}

uint64_t kv_model_last(const struct kv_model *model)
{
	return model->base_seq + model->count;
}

uint64_t kv_model_durable(const struct kv_model *model)
{
	return model->durable_seq;
}

static void apply(struct moment *moment, const struct batch *batch)
{
	for (unsigned i = 0; i < batch->count; i++) {
		const struct kv_model_change *change = &batch->changes[i];

		moment->state.keys[change->keyspace][change->key] = *change;
	}
	if (batch->change == SNAPSHOT_NONE)
		return;
	moment->taken[batch->snapshot] = batch->change == SNAPSHOT_TAKEN;
	moment->snapshots[batch->snapshot] = moment->state;
}

static int make_room(struct kv_model *model)
{
	size_t capacity = model->capacity > 0 ? 2 * model->capacity : 64;
	struct batch *batches;

	if (model->count < model->capacity)
		return 0;
	batches = realloc(model->batches, capacity * sizeof(*batches));
	if (!batches)
		return -ENOMEM;
	model->batches = batches;
	model->capacity = capacity;
	return 0;
}

/* Takes the batch's changes. */
static int append(struct kv_model *model, uint64_t seq, struct batch batch)
{
	if (seq != kv_model_last(model) + 1) {
		free(batch.changes);
		return -EINVAL;
	}
	if (!batch.changes || make_room(model) < 0) {
		free(batch.changes);
		return -ENOMEM;
	}
	model->batches[model->count++] = batch;
	apply(&model->now, &batch);
	return 0;
}

int kv_model_commit(
	struct kv_model *model, uint64_t seq, const struct kv_model_change *changes, unsigned count)
{
	struct batch batch = {.count = count, .changes = malloc((count + 1) * sizeof(*changes))};

	if (batch.changes && count > 0)
		memcpy(batch.changes, changes, count * sizeof(*changes));
	return append(model, seq, batch);
}

int kv_model_change_snapshot(struct kv_model *model, uint64_t seq, unsigned snapshot, bool taken)
{
	struct batch batch = {.changes = malloc(1),
		.change = taken ? SNAPSHOT_TAKEN : SNAPSHOT_DELETED,
		.snapshot = snapshot};

	return append(model, seq, batch);
}

void kv_model_synced(struct kv_model *model, uint64_t seq)
{
	if (seq > model->durable_seq)
		model->durable_seq = seq;
}

void kv_model_forget_after(struct kv_model *model, uint64_t seq)
{
	for (size_t i = 0; i < model->count; i++) {
		if (model->base_seq + i + 1 <= seq)
			apply(&model->base, &model->batches[i]);
		free(model->batches[i].changes);
	}
	model->base_seq = seq;
	model->count = 0;
	model->now = model->base;
}

const struct kv_model_change *kv_model_get(
	const struct kv_model *model, unsigned keyspace, unsigned key)
{
	return kv_model_state_get(&model->now.state, keyspace, key);
}

const struct kv_model_change *kv_model_state_get(
	const struct kv_model_state *state, unsigned keyspace, unsigned key)
{
	const struct kv_model_change *change = &state->keys[keyspace][key];

	return change->present ? change : NULL;
}

const struct kv_model_state *kv_model_now(const struct kv_model *model)
{
	return &model->now.state;
}

const struct kv_model_state *kv_model_snapshot(const struct kv_model *model, unsigned snapshot)
{
	return model->now.taken[snapshot] ? &model->now.snapshots[snapshot] : NULL;
}

/* ---- bytes -------------------------------------------------------------------------------------
 */

static void fill_on(uint8_t *bytes, size_t size, struct sim_random *random)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = sim_random_next(random);

		memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
	}
}

static void fill(uint8_t *bytes, size_t size, uint64_t seed)
{
	fill_on(bytes, size, &(struct sim_random){seed});
}

static size_t make_key(unsigned key, uint8_t *bytes)
{
	static const uint16_t sizes[] = {1, 8, 16, 20, 7, 64, 255, 3, 1000, 12, 30, 65000};
	size_t size = sizes[key / 2 % (sizeof(sizes) / sizeof(sizes[0]))];

	/* An odd number's key is its even neighbour's with something behind it. */
	bytes[0] = (uint8_t)(key / 2 * 37);
	fill(bytes + 1, size - 1, key / 2);
	if (key % 2 == 0)
		return size;
	fill(bytes + size, key / 2 + 1, key);
	return size + key / 2 + 1;
}

/* Each is made once: most of a run's time is comparing. */
size_t kv_model_key(unsigned key, uint8_t *bytes)
{
	static struct {
		uint8_t *bytes;
		size_t size;
	} made[KV_MODEL_KEYS];
	size_t size;

	if (made[key].bytes) {
		memcpy(bytes, made[key].bytes, made[key].size);
		return made[key].size;
	}
	size = make_key(key, bytes);
	made[key].bytes = malloc(size);
	if (made[key].bytes) {
		memcpy(made[key].bytes, bytes, size);
		made[key].size = size;
	}
	return size;
}

static int key_compare(const void *a, const void *b)
{
	static uint8_t one[65536], two[65536];
	size_t one_size = kv_model_key(*(const uint8_t *)a, one);
	size_t two_size = kv_model_key(*(const uint8_t *)b, two);
	int result = memcmp(one, two, one_size < two_size ? one_size : two_size);

	return result != 0 ? result : one_size < two_size ? -1 : one_size > two_size;
}

const uint8_t *kv_model_sorted(void)
{
	static uint8_t sorted[KV_MODEL_KEYS];

	if (sorted[0] == sorted[1]) {
		for (unsigned i = 0; i < KV_MODEL_KEYS; i++)
			sorted[i] = (uint8_t)i;
		qsort(sorted, KV_MODEL_KEYS, 1, key_compare);
	}
	return sorted;
}

/* Half of it is the same in all: what compresses values has something to find. */
void kv_model_value(const struct kv_model_change *change, uint8_t *bytes)
{
	static uint8_t letters[LETTERS + PART]; /* by turns */
	struct sim_random random = {change->stamp};

	for (size_t i = 0; letters[0] == 0 && i < sizeof(letters); i++)
		letters[sizeof(letters) - 1 - i] = (uint8_t)('a' + (sizeof(letters) - 1 - i) % LETTERS);
	for (size_t at = 0; at < change->size; at += PART) {
		size_t size = change->size - at < PART ? change->size - at : PART;

		if (at % (2 * PART))
			memcpy(bytes + at, letters + at % LETTERS, size);
		else
			fill_on(bytes + at, size, &random);
	}
}
