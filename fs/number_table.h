/* SPDX-License-Identifier: MIT */
/*
 * number_table.h - a table from numbers to numbers, and sets of numbers in it: what a check keeps
 * in memory about millions of inodes. A set costs about four bits a number where numbers are dense.
 * One thread.
 */
#ifndef NUMBER_TABLE_H
#define NUMBER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct number_slot {
	uint64_t key; /* plus one; 0 is free */
	uint64_t value;
};

struct number_table {
	struct number_slot *slots;
	size_t capacity; /* a power of two, or 0 */
	size_t used;
};

void number_table_fini(struct number_table *table);
/* The key's value, 0 if it is new; valid until the next call. NULL: no memory. */
uint64_t *number_table_at(struct number_table *table, uint64_t key);
/* As number_table_at, without making an entry. NULL: there is none. */
uint64_t *number_table_find(const struct number_table *table, uint64_t key);
/* The highest key, 0 if there is none. */
uint64_t number_table_max(const struct number_table *table);

/* Tables used as sets. 1 if it is new, 0 if it was there, -ENOMEM */
int number_set_add(struct number_table *set, uint64_t number);
bool number_set_has(const struct number_table *set, uint64_t number);
/* The highest number, 0 if there is none. */
uint64_t number_set_max(const struct number_table *set);

#endif
