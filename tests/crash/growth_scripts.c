/* SPDX-License-Identifier: MIT */
/*
 * growth_scripts.c - the scripts of crash_growth, in which indexes grow: of an engine with the
 * sizes of small.h.
 *
 * The hash index holds the keys of both keyspaces: it grows at 102 entries, 204, 409, 819, and then
 * with each fifth more; where one is saved meanwhile, an eighth later. A batch of FILL puts 24 keys
 * in each keyspace. Puts one by one, each synced, lead over these marks: a growth from n buckets
 * goes on with the next n / 4 of them, and the power fails at all their steps.
 */
#include "crash_kv.h"
#include "crash_scripts.h"

#define FILL(key, count, size) {CRASH_KV_FILL, key, count, size}
#define PUT(key, count, size) {CRASH_KV_PUT, key, count, size}
#define PUT_SYNC(key, count, size) {CRASH_KV_PUT_SYNC, key, count, size}
#define DELETE(key, count) {CRASH_KV_DELETE, key, count, 0}
#define RANDOM(count) {CRASH_KV_RANDOM, 0, count, 0}
#define SYNC {CRASH_KV_SYNC, 0, 1, 0}
#define REOPEN {CRASH_KV_REOPEN, 0, 1, 0}
#define PRUNE {CRASH_KV_PRUNE, 0, 1, 0}
#define COMPACT(count) {CRASH_KV_COMPACT, 0, count, 0}
#define SNAPSHOT(number) {CRASH_KV_SNAPSHOT, number, 1, 0}
#define CHECKPOINT {CRASH_KV_CHECKPOINT, 0, 1, 0}
#define END {CRASH_KV_END, 0, 0, 0}

/* To twice the size, four times, then in steps of a fifth; made, or loaded and grown on. */
static const struct crash_kv_op growth[] = {
	FILL(64, 2, 20),
	PUT_SYNC(112, 14, 20),
	FILL(119, 1, 20),
	PUT(143, 42, 20),
	PUT_SYNC(164, 14, 300),
	DELETE(64, 20),
	FILL(171, 4, 20),
	PUT_SYNC(267, 44, 20),
	CHECKPOINT,
	REOPEN,
	FILL(289, 8, 20),
	PUT_SYNC(481, 40, 20),
	CHECKPOINT,
	FILL(501, 2, 9),
	PUT(549, 20, 9),
	PUT_SYNC(559, 44, 100),
	END,
};

/* Branches split and merge, and what is saved of them has parts that begin in any chunk. */
static const struct crash_kv_op ordered[] = {
	FILL(0, 12, 9),
	SYNC,
	CHECKPOINT,
	FILL(300, 12, 0),
	SYNC,
	FILL(590, 15, 12),
	CHECKPOINT,
	REOPEN,
	DELETE(100, 500),
	SYNC,
	CHECKPOINT,
	FILL(950, 4, 12),
	REOPEN,
	DELETE(0, 600),
	FILL(100, 9, 5),
	SYNC,
	END,
};

/* One is always being written: the index grows in each of its phases. */
static const struct crash_kv_op steps[] = {
	FILL(64, 2, 20),
	PUT_SYNC(112, 30, 20),
	PUT(127, 60, 20),
	PUT_SYNC(157, 50, 60),
	FILL(182, 3, 20),
	DELETE(64, 20),
	PUT_SYNC(254, 100, 20),
	REOPEN,
	FILL(304, 7, 20),
	PUT_SYNC(472, 120, 20),
	END,
};

/* So many at once that a growth cannot wait for the checkpoint, which is given up for it. */
static const struct crash_kv_op lost[] = {
	FILL(64, 8, 100),
	SYNC,
	FILL(256, 9, 100),
	FILL(64, 4, 700),
	FILL(472, 9, 20),
	SYNC,
	FILL(64, 4, 700),
	FILL(688, 7, 20),
	REOPEN,
	FILL(856, 7, 20),
	CHECKPOINT,
	END,
};

/* What they keep has an index of its own, which grows; compaction moves what both name. */
static const struct crash_kv_op snapshot_growth[] = {
	FILL(64, 4, 2000),
	SNAPSHOT(0),
	FILL(64, 2, 2000),
	PUT_SYNC(112, 20, 2000),
	PUT(122, 40, 2000),
	CHECKPOINT,
	FILL(142, 6, 3000),
	COMPACT(6),
	SNAPSHOT(1),
	FILL(64, 4, 1500),
	PUT_SYNC(160, 40, 20),
	COMPACT(9),
	CHECKPOINT,
	REOPEN,
	SNAPSHOT(0),
	FILL(280, 3, 900),
	PRUNE,
	PUT(64, 50, 3000),
	SNAPSHOT(1),
	PUT_SYNC(350, 30, 900),
	PRUNE,
	REOPEN,
	END,
};

static const struct crash_kv_op life[] = {
	FILL(64, 2, 60), RANDOM(100), CHECKPOINT, FILL(200, 3, 20), RANDOM(200), END};

static const struct crash_script growth_plain = {
	.ops = growth,
	.reaches = CRASH_KV_GROWING | CRASH_KV_GREW_TWICE | CRASH_KV_LOADED_GREW,
};
static const struct crash_script growth_ordered = {
	.ops = ordered,
	.reaches = CRASH_KV_GREW_TWICE | CRASH_KV_BRANCHES | CRASH_KV_CHUNKS,
};
static const struct crash_script growth_steps = {
	.ops = steps,
	.checkpoint_interval = 1,
	.reaches = CRASH_KV_GROWING | CRASH_KV_GREW_TWICE | CRASH_KV_GROWING_BESIDE,
};
static const struct crash_script growth_lost = {
	.ops = lost,
	.checkpoint_interval = 1,
	.reaches = CRASH_KV_GREW_TWICE | CRASH_KV_SAVE_LOST | CRASH_KV_CHUNKS,
};
static const struct crash_script growth_snapshots = {
	.ops = snapshot_growth,
	.reaches = CRASH_KV_GREW_TWICE | CRASH_KV_VERSIONS_GREW,
};
static const struct crash_script growth_snapshot_steps = {
	.ops = snapshot_growth,
	.checkpoint_interval = 1,
	.reaches = CRASH_KV_GREW_TWICE | CRASH_KV_VERSIONS_GREW,
};
static const struct crash_script growth_random = {
	.ops = life,
	.snapshots = true,
	.size_max = 300,
	.reaches = CRASH_KV_GREW_TWICE,
};
static const struct crash_script growth_random_steps = {
	.ops = life,
	.snapshots = true,
	.size_max = 300,
	.checkpoint_interval = 1,
	.reaches = CRASH_KV_GREW_TWICE,
};

const struct crash_named crash_scripts[] = {
	{"growth", &crash_kv, &growth_plain},
	{"growth-ordered", &crash_kv, &growth_ordered},
	{"growth-steps", &crash_kv, &growth_steps},
	{"growth-lost", &crash_kv, &growth_lost},
	{"growth-snapshots", &crash_kv, &growth_snapshots},
	{"growth-snapshot-steps", &crash_kv, &growth_snapshot_steps},
	{"growth-random", &crash_kv, &growth_random},
	{"growth-random-steps", &crash_kv, &growth_random_steps},
	{0},
};
