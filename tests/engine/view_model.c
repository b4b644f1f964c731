/* SPDX-License-Identifier: MIT */
/* view_model.c - see view_model.h. */
#include "view_model.h"

unsigned below(struct model *model, uint64_t bound)
{
	return (unsigned)sim_random_below(&model->random, bound);
}

size_t key_name(unsigned key, char name[16])
{
	return (size_t)snprintf(name, 16, "key-%03u", key);
}

const struct state *state_at(const struct history *history, uint64_t seq)
{
	for (unsigned i = history->count; i-- > 0;)
		if (history->states[i].seq <= seq)
			return history->states[i].present ? &history->states[i] : NULL;
	return NULL;
}

void remember(struct model *model, unsigned keyspace, unsigned key, uint64_t seq,
	bool present, const void *bytes, size_t size)
{
	struct history *history = &model->histories[keyspace][key];
	struct state state = {.seq = seq, .present = present, .size = size};

	if (history->count == history->capacity) {
		history->capacity = 2 * history->capacity + 8;
		history->states =
			realloc(history->states, history->capacity * sizeof(*history->states));
		assert_non_null(history->states);
	}
	state.bytes = malloc(size + 1);
	assert_non_null(state.bytes);
	if (size)
		memcpy(state.bytes, bytes, size);
	history->states[history->count++] = state;
}

void remember_snapshot(struct model *model, struct snapshot snapshot)
{
	if (model->snapshot_count == model->snapshot_capacity) {
		model->snapshot_capacity = 2 * model->snapshot_capacity + 8;
		model->snapshots = realloc(model->snapshots,
			model->snapshot_capacity * sizeof(*model->snapshots));
		assert_non_null(model->snapshots);
	}
	model->snapshots[model->snapshot_count++] = snapshot;
}

struct snapshot *find_snapshot(struct model *model, unsigned name)
{
	for (unsigned i = model->snapshot_count; i-- > 0;)
		if (model->snapshots[i].name == name && model->snapshots[i].deleted == UINT64_MAX)
			return &model->snapshots[i];
	return NULL;
}

void forget_after(struct model *model, uint64_t seq)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < KEYSPACES * KEYS; i++) {
		struct history *history = &model->histories[i / KEYS][i % KEYS];

		while (history->count && history->states[history->count - 1].seq > seq)
			free(history->states[--history->count].bytes);
	}
	for (unsigned i = 0; i < model->snapshot_count; i++) {
		struct snapshot snapshot = model->snapshots[i];

		if (snapshot.created > seq)
			continue;
		if (snapshot.deleted > seq)
			snapshot.deleted = UINT64_MAX;
		model->snapshots[kept++] = snapshot;
	}
	model->snapshot_count = kept;
}

void model_free(struct model *model)
{
	for (unsigned i = 0; i < KEYSPACES * KEYS; i++) {
		struct history *history = &model->histories[i / KEYS][i % KEYS];

		while (history->count)
			free(history->states[--history->count].bytes);
		free(history->states);
	}
	free(model->snapshots);
	free(model);
}
