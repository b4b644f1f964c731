/* SPDX-License-Identifier: MIT */
/*
 * store.h - what a store must offer to be measured: one table of functions per set-up of a store.
 *
 * Functions return 0 or a negative errno; a store's own errors are printed by whoever met them
 * (store_fail). A function a store has no equivalent of is NULL, and its workload is left out.
 *
 * A store may gather changes as its manual recommends for speed (a transaction of many puts), but
 * only up to STORE_GROUP of them; `flush` hands over the rest and is counted with the work. In a
 * store opened as durable, put and batch return when the change is on stable storage.
 *
 * Threads: a session belongs to one thread; store-wide functions are called while no session is at
 * work.
 */
#ifndef STORE_H
#define STORE_H

#include "entry.h"

#include <stdbool.h>

#define STORE_GROUP 1000u /* changes a session may gather */
#define STORE_MANY 64u

struct store_setup {
	const char *path;  /* a directory that is there */
	uint64_t entries;  /* that the store will hold, for those who want to know beforehand */
	size_t value_size; /* bytes */
	bool durable;
};

/* Embedded in each store's own structs. */
struct store {
	const struct store_ops *ops;
};
struct session {
	struct store *store;
};

struct store_change {
	struct entry_key key;
	struct slice value;
};

/* What a walk saw; `sum` makes sure that the bytes were looked at. */
struct store_seen {
	uint64_t count, sum;
};

struct store_ops {
	const char *name;
	const char *about; /* the set-up, in a few words */

	/* Opens, or makes what is not there. */
	int (*open)(
		const struct store_ops *ops, const struct store_setup *setup, struct store **out);
	int (*close)(struct store *store);
	int (*session_open)(struct store *store, struct session **out);
	void (*session_close)(struct session *session);

	/* A value that get returned lives until read_end. Both may be NULL. */
	int (*read_begin)(struct session *session);
	void (*read_end)(struct session *session);
	/* -ENOENT: no such key */
	int (*get)(struct session *session, const struct entry_key *key, struct slice *value);
	int (*contains)(struct session *session, const struct entry_key *key);
	/* Up to STORE_MANY at once, all of which must be there; NULL: the store has only get. */
	int (*get_many)(struct session *session, const struct entry_key *keys, struct slice *values,
		unsigned count);

	int (*put)(struct session *session, const struct entry_key *key, struct slice value);
	int (*delete)(struct session *session, const struct entry_key *key);
	/* All or nothing. */
	int (*batch)(struct session *session, const struct store_change *changes, unsigned count);
	int (*flush)(struct session *session);
	/* All of the session's changes are on stable storage then. */
	int (*sync)(struct session *session);

	/* In order where the store has one. */
	int (*iterate)(struct session *session, bool values, struct store_seen *seen);
	/* Keys and values from the first key that is not less. */
	int (*scan)(struct session *session, const struct entry_key *from, unsigned count,
		struct store_seen *seen);

	/*
	 * Until the store is at rest: what it does in the background and has not done yet. Not
	 * measured.
	 */
	int (*settle)(struct store *store);
	/*
	 * Gives back the space of what was overwritten or deleted; `path` is free for a copy, if
	 * that is how.
	 */
	int (*prune)(struct store *store, const char *path);
	/* A picture of the store as it is that lasts; `path` likewise. */
	int (*snapshot)(struct store *store, const char *path);
	/* Gives it up, where it is not the copy. Not measured. */
	int (*snapshot_drop)(struct store *store);
	/* Bytes of memory that the indexes take, where the store can tell. */
	uint64_t (*index_bytes)(struct store *store);
};

/* The table with this name, or NULL. */
const struct store_ops *store_find(const char *name);
/* The tables in turn, NULL behind the last. */
const struct store_ops *store_at(unsigned number);

/* Prints what went wrong, and returns -EIO. */
int store_fail(const struct store_ops *ops, const char *what, const char *reason);

static inline void store_see(struct store_seen *seen, const void *data, size_t size)
{
	uint64_t first = 0, last = 0;

	if (size >= 8) {
		memcpy(&first, data, 8);
		memcpy(&last, (const char *)data + size - 8, 8);
	}
	seen->sum += first ^ last;
}

#endif
