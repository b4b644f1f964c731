/* SPDX-License-Identifier: MIT */
/*
 * view_model.h - a model that remembers every state of every key, and when snapshots came and went:
 * what a view has to show, and whether a store's views and snapshots do.
 */
#ifndef VIEW_MODEL_H
#define VIEW_MODEL_H

#include "kv_fixture.h"

#define KEYSPACES 2u
#define KEYS 40u
#define VIEWS 6u
#define NAMES 8u
#define LARGE_MAX 300000u

struct state {
	uint64_t seq;
	bool present;
	uint8_t *bytes;
	size_t size;
};

/* All states of a key, by rising seq. */
struct history {
	struct state *states;
	unsigned count, capacity;
};

struct snapshot {
	unsigned name;
	uint64_t created, deleted; /* batches; deleted: UINT64_MAX if it was not */
};

struct model {
	struct fixture *fixture;
	struct sim_random random;
	struct history histories[KEYSPACES][KEYS];
	struct kv_view *views[VIEWS];
	struct snapshot *snapshots;
	unsigned snapshot_count, snapshot_capacity;
	uint64_t stamp;
	unsigned flags;
	uint8_t scratch[LARGE_MAX];
};

unsigned below(struct model *model, uint64_t bound);
/* Of a key, and of a snapshot; its size. */
size_t key_name(unsigned key, char name[16]);

/* What the key was when batch `seq` was the last one, or NULL. */
const struct state *state_at(const struct history *history, uint64_t seq);
void remember(struct model *model, unsigned keyspace, unsigned key, uint64_t seq, bool present,
	const void *bytes, size_t size);
void remember_snapshot(struct model *model, struct snapshot snapshot);
/* The snapshot that has the name now, or NULL. */
struct snapshot *find_snapshot(struct model *model, unsigned name);
/* Nothing after `seq` has happened. */
void forget_after(struct model *model, uint64_t seq);
void model_free(struct model *model);

/* ---- comparing (view_compare.c) ------------------------------------------------------------- */

/* The view shows what there was at its moment, by every way of reading. */
void must_be_as_then(struct model *model, const struct kv_view *view);
/* All that there is: the views, the snapshots, and now. */
void must_be_all(struct model *model);

#endif
