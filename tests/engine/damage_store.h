/* SPDX-License-Identifier: MIT */
/*
 * damage_store.h - small stores of several kinds, of which a test knows all that they hold: what a
 * damaged one still shows of it, and where on the disk each part of it stands.
 */
#ifndef DAMAGE_STORE_H
#define DAMAGE_STORE_H

#include "damage_said.h"
#include "kv_fixture.h"
#include "store_image.h"

#define DAMAGE_KEYS_MAX 400u
#define DAMAGE_BATCH 3u /* keys a batch */
#define DAMAGE_PATH STORE_PATH

struct damage_kind {
	const char *name;
	unsigned keys;
	enum kv_hash hash;
	enum kv_compress compress;
	bool checkpoint; /* the log behind it is short */
	bool cold;       /* parts were moved by compaction */
	bool snapshot;   /* one sees what was overwritten and deleted since */
	bool killed;     /* the store was not closed */
};

extern const struct damage_kind damage_kinds[];

/* The one of this name; fails the test if there is none. */
const struct damage_kind *damage_kind_named(const char *name);

struct damage_store {
	const struct damage_kind *kind;
	struct store_image image;
	/* The batches that put each key, and that changed it again; 0: none. */
	uint64_t seqs[2][DAMAGE_KEYS_MAX];
	uint64_t marked_seq; /* of a store that was not closed: so much is known to be durable */
	uint32_t last_slot;  /* of the log's end */
};

void damage_store_make(struct damage_store *store, const struct damage_kind *kind);
void damage_store_free(struct damage_store *store);

/* ---- what it shows --------------------------------------------------------------------------- */

enum { DAMAGE_NOW, DAMAGE_SNAPSHOT, DAMAGE_VIEWS };

/*
 * For each key, and the large value behind them, which of its states is shown: 0, none; 1, what was
 * put first; 2, what became of that. Anything else fails the test.
 */
struct damage_seen {
	uint8_t states[DAMAGE_VIEWS][DAMAGE_KEYS_MAX + 1];
	unsigned missing; /* states that are older than they were in the whole store */
	bool no_snapshot;
};

void damage_look(
	const struct damage_store *store, struct fixture *fixture, struct damage_seen *seen);
/*
 * Fails the test if anything is missing that no message named. replayed: from the log, without a
 * checkpoint, and so past what is damaged: else an older state may be out of reach as well.
 */
void damage_must_be_said(const struct damage_store *store, const struct damage_seen *seen,
	const struct damage_said *said, bool replayed);
/* Fails the test if `after` shows less of anything than `before`, but for a batch that was cut. */
void damage_must_not_be_worse(const struct damage_store *store, const struct damage_seen *before,
	const struct damage_seen *after, const struct damage_said *said);

#endif
