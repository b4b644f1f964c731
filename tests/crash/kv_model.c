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
#define NOISE_WORDS 1024u
#define WORD_STEP 0x9e3779b97f4a7c15u
#define KEY_SIZE_MAX 65536u
#define KEYS_MIXED 64u /* the others are short */

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
	uint64_t seq;
};

struct kv_model_state {
	struct kv_model_change keys[KV_MODEL_KEYSPACES][KV_MODEL_KEYS];
};

struct moment {
	struct kv_model_state state;
	uint64_t taken[KV_MODEL_SNAPSHOTS]; /* the batch that took it; 0: it is not there */
	struct kv_model_state snapshots[KV_MODEL_SNAPSHOTS];
};

struct kv_model {
	struct moment base; /* after base_seq batches */
	struct moment now;
	uint64_t base_seq, durable_seq;
	struct batch *batches; /* base_seq + 1 and on */
	size_t count, capacity;
	struct batch *lost; /* when something was forgotten last: from lost_first on */
	size_t lost_first, lost_count, lost_capacity;
};

int kv_model_new(struct kv_model **out)
{
	struct kv_model *model = calloc(1, sizeof(*model));

	if (!model)
		return -ENOMEM;
	*out = model;
	return 0;
}

static void free_lost(struct kv_model *model)
{
	for (size_t i = 0; i < model->lost_count; i++)
		free(model->lost[model->lost_first + i].changes);
	model->lost_count = 0;
}

void kv_model_free(struct kv_model *model)
{
	if (!model)
		return;
	free_lost(model);
	for (size_t i = 0; i < model->count; i++)
		free(model->batches[i].changes);
	free(model->lost);
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
	moment->taken[batch->snapshot] = batch->change == SNAPSHOT_TAKEN ? batch->seq : 0;
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

	for (unsigned i = 0; batch.changes && i < count; i++) {
		batch.changes[i] = changes[i];
		batch.changes[i].seq = seq;
	}
	return append(model, seq, batch);
}

int kv_model_change_snapshot(struct kv_model *model, uint64_t seq, unsigned snapshot, bool taken)
{
	struct batch batch = {.changes = malloc(1),
		.seq = seq,
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
	struct batch *batches = model->batches;
	size_t kept, count = model->count, capacity = model->capacity;

	free_lost(model);
	for (kept = 0; kept < count && model->base_seq + kept + 1 <= seq; kept++) {
		apply(&model->base, &batches[kept]);
		free(batches[kept].changes);
	}
	/* The two change places: nothing has to be allocated. */
	model->batches = model->lost;
	model->capacity = model->lost_capacity;
	model->lost = batches;
	model->lost_capacity = capacity;
	model->lost_first = kept;
	model->lost_count = count - kept;
	model->base_seq = seq;
	model->count = 0;
	model->now = model->base;
}

size_t kv_model_lost_count(const struct kv_model *model)
{
	return model->lost_count;
}

const struct kv_model_change *kv_model_lost(
	const struct kv_model *model, size_t nth, unsigned *count, int *snapshot)
{
	const struct batch *batch = &model->lost[model->lost_first + nth];

	*count = batch->count;
	*snapshot = batch->change == SNAPSHOT_NONE ? -1 : (int)batch->snapshot;
	return batch->changes;
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

uint64_t kv_model_snapshot_seq(const struct kv_model *model, unsigned snapshot)
{
	return model->now.taken[snapshot];
}

const struct kv_model_state *kv_model_snapshot(const struct kv_model *model, unsigned snapshot)
{
	return model->now.taken[snapshot] ? &model->now.snapshots[snapshot] : NULL;
}

/* ---- bytes -------------------------------------------------------------------------------------
 */

static void fill(uint8_t *bytes, size_t size, uint64_t seed)
{
	struct sim_random random = {seed};

	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = sim_random_next(&random);

		memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
	}
}

static size_t make_key(unsigned key, uint8_t *bytes)
{
	static const uint16_t sizes[] = {1, 8, 16, 20, 7, 64, 255, 3, 1000, 12, 30, 65000};
	size_t size = sizes[key / 2 % (sizeof(sizes) / sizeof(sizes[0]))], more = key / 2 + 1;

	if (key >= KEYS_MIXED) {
		size = 9 + key / 2 % 40;
		more = 1 + key / 2 % 6;
	}

	/* An odd number's key is its even neighbour's with something behind it. */
	bytes[0] = (uint8_t)(key / 2 * 37);
	fill(bytes + 1, size - 1, key / 2);
	if (key % 2 == 0)
		return size;
	fill(bytes + size, more, key);
	return size + more;
}

/* Each is made once: most of a run's time is comparing. */
size_t kv_model_key(unsigned key, const uint8_t **bytes)
{
	static struct {
		uint8_t *bytes;
		size_t size;
	} made[KV_MODEL_KEYS];

	static uint8_t scratch[KEY_SIZE_MAX];

	if (!made[key].bytes) {
		made[key].size = make_key(key, scratch);
		made[key].bytes = malloc(made[key].size);
		if (!made[key].bytes)
			abort();
		memcpy(made[key].bytes, scratch, made[key].size);
	}
	*bytes = made[key].bytes;
	return made[key].size;
}

static int key_compare(const void *a, const void *b)
{
	const uint8_t *one, *two;
	size_t one_size = kv_model_key(*(const uint16_t *)a, &one);
	size_t two_size = kv_model_key(*(const uint16_t *)b, &two);
	int result = memcmp(one, two, one_size < two_size ? one_size : two_size);

	return result != 0 ? result : one_size < two_size ? -1 : one_size > two_size;
}

const uint16_t *kv_model_sorted(void)
{
	static uint16_t sorted[KV_MODEL_KEYS];

	if (sorted[0] == sorted[1]) {
		for (unsigned i = 0; i < KV_MODEL_KEYS; i++)
			sorted[i] = (uint16_t)i;
		qsort(sorted, KV_MODEL_KEYS, sizeof(sorted[0]), key_compare);
	}
	return sorted;
}

/* What all values have in common: letters by turns, and noise. */
struct material {
	uint8_t letters[LETTERS + PART];
	uint64_t noise[NOISE_WORDS];
};

static const struct material *material(void)
{
	static struct material made;

	if (made.noise[0] == 0) {
		for (size_t i = 0; i < sizeof(made.letters); i++)
			made.letters[i] = (uint8_t)('a' + i % LETTERS);
		fill((uint8_t *)made.noise, sizeof(made.noise), 1);
	}
	return &made;
}

/* Half of it is the same in all: what compresses values has something to find. */
void kv_model_value(const struct kv_model_change *change, uint8_t *bytes)
{
	const struct material *from = material();
	uint64_t word = sim_random_next(&(struct sim_random){change->stamp});
	uint64_t part[PART / sizeof(word)];

	for (size_t at = 0; at < change->size; at += PART) {
		size_t size = change->size - at < PART ? change->size - at : PART;

		if (at % (2 * PART)) {
			memcpy(bytes + at, from->letters + at % LETTERS, size);
			continue;
		}
		for (size_t i = 0; i < PART / sizeof(word); i++, word += WORD_STEP)
			part[i] = word ^ from->noise[(at / sizeof(word) + i) % NOISE_WORDS];
		memcpy(bytes + at, part, size);
	}
}
