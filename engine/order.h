/* SPDX-License-Identifier: MIT */
/*
 * order.h - the ordered index of one keyspace: a B+ tree of keys in memory, with counted subtrees.
 *
 * An entry is a key (1..65,535 bytes) and the log address of its newest record (below 2^48). Keys
 * compare by memcmp, a prefix before its extensions.
 *
 * Threads: the functions under "writers" are called by one thread at a time (the store's commit
 * lock), beside any number of readers, which may call theirs at any time. A change is seen by every
 * reader as soon as its call returned.
 */
#ifndef ORDER_H
#define ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct order;

#define ORDER_KEY_SIZE_MAX 65535u
#define ORDER_ADDRESS_MAX ((UINT64_C(1) << 48) - 1)

int order_new(struct order **out);
/* No other call may be under way, and no walk open. */
void order_free(struct order *order);

/* ---- writers ------------------------------------------------------------------------------ */

/*
 * Adds the key or gives it another address. Ascending (and descending) keys are recognised and
 * packed: a load in order needs nothing else. Errors: -ENOMEM, -EINVAL key size or address; nothing
 * changed.
 */
int order_put(struct order *order, const void *key, size_t key_size, uint64_t address);
/* Needs no memory. -ENOENT */
int order_delete(struct order *order, const void *key, size_t key_size);
/*
 * Gives a key another address if it still has the old one: one descent and one store, needs no
 * memory. Errors: -ENOENT no such key, -ESTALE it has another address (nothing changed), -EINVAL
 * address.
 */
int order_set_address(struct order *order, const void *key, size_t key_size, uint64_t old_address,
	uint64_t new_address);
/*
 * Makes room for `count` more puts, of `key_bytes` bytes of keys together, so that they cannot fail
 * with -ENOMEM. It is address space until it is used. A later reserve does not add to an earlier
 * one: each speaks of what comes after it.
 */
int order_reserve(struct order *order, size_t count, size_t key_bytes);

/* ---- readers ------------------------------------------------------------------------------ */

/* The address of a key; -ENOENT. */
int order_get(struct order *order, const void *key, size_t key_size, uint64_t *address);
/* How many keys are less than this one, which need not be there. */
uint64_t order_rank(struct order *order, const void *key, size_t key_size);
/* How many keys are in [from, to). */
uint64_t order_count_range(
	struct order *order, const void *from, size_t from_size, const void *to, size_t to_size);
uint64_t order_count(const struct order *order);
uint64_t order_memory(const struct order *order); /* bytes */

/* ---- walks -------------------------------------------------------------------------------- */

/*
 * A walk stands on an entry and steps to its neighbours. It keeps a private copy of the leaf it is
 * in, so that a step is a few nanoseconds without a lock, and sees by the leaf's version when that
 * copy is out of date: every move goes to the entry that is nearest in its direction at that
 * moment. A walk belongs to one thread at a time.
 *
 * Moves return 0; -ENOENT there is no such entry: the walk is then nowhere, and next and prev
 * return -ENOENT until it is placed again; -ENOMEM (for keys over 253 bytes only) the walk stays
 * where it is.
 */
struct order_walk;

int order_walk_new(struct order *order, struct order_walk **out);
void order_walk_free(struct order_walk *walk);
int order_walk_first(struct order_walk *walk);
int order_walk_last(struct order_walk *walk);
/* The key given may be the walk's own. */
int order_walk_at_least(struct order_walk *walk, const void *key, size_t key_size);
int order_walk_above(struct order_walk *walk, const void *key, size_t key_size);
int order_walk_below(struct order_walk *walk, const void *key, size_t key_size);
/* To the entry with exactly `position` keys before it. */
int order_walk_select(struct order_walk *walk, uint64_t position);
int order_walk_next(struct order_walk *walk);
int order_walk_prev(struct order_walk *walk);
/*
 * The entry it stands on: a copy, valid until the next move; NULL and 0 when the walk is nowhere.
 * So many bytes of it may be read, in words, however short it is.
 */
#define ORDER_WALK_KEY_WORDS 512u
const void *order_walk_key(const struct order_walk *walk, size_t *key_size);
uint64_t order_walk_address(const struct order_walk *walk);
/*
 * The walk's entry and those behind it, as far as they are in its copy of the leaf, and up to `max`
 * and to what is left of `room` bytes: key i is put at keys + starts[i] and ends at starts[i + 1],
 * with starts[0] given. The walk then stands on the last one. Returns how many; 0 also if the copy
 * is out of date, or the next key is too long for a node. All were so in the tree at one moment
 * inside the call.
 */
size_t order_walk_take(struct order_walk *walk, size_t max, uint8_t *keys, size_t room,
	size_t *starts, uint64_t *addresses);
/*
 * Is the entry, address and all, still as the tree has it? False also when its leaf has changed
 * elsewhere.
 */
bool order_walk_is_current(const struct order_walk *walk);

/* ---- self-knowledge ----------------------------------------------------------------------- */

/*
 * Verifies the tree's own invariants; the number of violations, each said through `report`, or
 * -ENOMEM. Writers wait until it is done.
 */
int64_t order_verify(
	struct order *order, void (*report)(void *arg, const char *message), void *arg);

#endif
