/* SPDX-License-Identifier: MIT */
/*
 * number_table.c - a table from numbers to numbers: open addressing, linear. A set is a table whose
 * values are masks of 64 neighbours.
 */
#include "number_table.h"

#include <errno.h>
#include <stdlib.h>

#define CAPACITY_MIN 1024u

static struct number_slot *table_slot(const struct number_table *table, uint64_t key)
{
	size_t mask = table->capacity - 1;
	size_t at = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 16) & mask;

	while (table->slots[at].key && table->slots[at].key != key)
		at = (at + 1) & mask;
	return &table->slots[at];
}

static bool table_grow(struct number_table *table)
{
	struct number_table grown = {NULL, table->capacity ? table->capacity * 2 : CAPACITY_MIN, 0};

	grown.slots = calloc(grown.capacity, sizeof(*grown.slots));
	if (!grown.slots)
		return false;
	for (size_t i = 0; i < table->capacity; i++)
		if (table->slots[i].key)
			*table_slot(&grown, table->slots[i].key) = table->slots[i];
	grown.used = table->used;
	free(table->slots);
	*table = grown;
	return true;
}

void number_table_fini(struct number_table *table)
{
	free(table->slots);
}

uint64_t *number_table_at(struct number_table *table, uint64_t key)
{
	struct number_slot *slot;

	if (table->used * 4 >= table->capacity * 3 && !table_grow(table))
		return NULL;
	slot = table_slot(table, key + 1);
	if (!slot->key) {
		slot->key = key + 1;
		table->used++;
	}
	return &slot->value;
}

uint64_t *number_table_find(const struct number_table *table, uint64_t key)
{
	struct number_slot *slot;

	if (!table->capacity)
		return NULL;
	slot = table_slot(table, key + 1);
	return slot->key ? &slot->value : NULL;
}

uint64_t number_table_max(const struct number_table *table)
{
	uint64_t most = 0;

	for (size_t i = 0; i < table->capacity; i++)
		if (table->slots[i].key > most)
			most = table->slots[i].key;
	return most ? most - 1 : 0;
}

int number_set_add(struct number_table *set, uint64_t number)
{
	uint64_t *mask = number_table_at(set, number / 64);
	uint64_t bit = UINT64_C(1) << number % 64;

	if (!mask)
		return -ENOMEM;
	if (*mask & bit)
		return 0;
	*mask |= bit;
	return 1;
}

bool number_set_has(const struct number_table *set, uint64_t number)
{
	uint64_t *mask = number_table_find(set, number / 64);

	return mask && *mask & UINT64_C(1) << number % 64;
}

uint64_t number_set_max(const struct number_table *set)
{
	uint64_t group = number_table_max(set);
	const uint64_t *mask = number_table_find(set, group);

	return mask && *mask ? group * 64 + 63 - (unsigned)__builtin_clzll(*mask) : 0;
}
