/* SPDX-License-Identifier: MIT */
/*
 * order_model.h - what an ordered index is compared with: a sorted array of the same entries, and
 * keys of many shapes to fill both with.
 */
#ifndef ORDER_MODEL_H
#define ORDER_MODEL_H

#include "order_node.h"
#include "order_seed.h"

struct entry {
	uint8_t *key;
	size_t size;
	uint64_t address;
};

struct model {
	struct entry *entries;
	size_t count, room;
};

void model_fini(struct model *model);
/* Where the key is, or belongs. */
size_t model_find(const struct model *model, const void *bytes, size_t size, bool *exact);
void model_insert(
	struct model *model, size_t at, const void *bytes, size_t size, uint64_t address);
void model_remove(struct model *model, size_t at);

/* ---- keys ---------------------------------------------------------------------------------- */

enum shape { SHORT, BINARY, DECIMAL, SHARED, STAIRS, LONG, NAMES, ZEROS, SHAPES };

extern uint8_t key[ORDER_KEY_SIZE_MAX + 1];

/* Puts another one into `key`; its size. */
size_t make_key(enum shape shape);

/* ---- steps, and what has to be the same after them ------------------------------------------ */

/* Of the key that is in `key`. */
void step_put(struct order *order, struct model *model, size_t size);
void step_delete(struct order *order, struct model *model, size_t size);

/* A move of the walk returned `ret`: it stands on the model's entry `at`, if there is one. */
void compare_walk(
	const struct model *model, size_t at, int ret, const struct order_walk *walk);
/*
 * What a walk takes at once is what the model has from `at` on, in whatever room there is, and the
 * walk stands on the last of it. Returns how many.
 */
size_t compare_take(struct order_walk *walk, const struct model *model, size_t at);
void compare_all(struct order *order, const struct model *model);

#endif
