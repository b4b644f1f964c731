/* SPDX-License-Identifier: MIT */
/* crash_scripts.c - the scripts: each short, and each about one thing that a crash could spoil. */
#include "crash_scripts.h"
#include "crash_fs.h"
#include "crash_kv.h"
#include "crash_large.h"

#define PUT(key, count, size)                                                                      \
	{                                                                                          \
		CRASH_KV_PUT, key, count, size                                                     \
	}
#define DELETE(key, count)                                                                         \
	{                                                                                          \
		CRASH_KV_DELETE, key, count, 0                                                     \
	}
#define BATCH(key, count, size)                                                                    \
	{                                                                                          \
		CRASH_KV_BATCH, key, count, size                                                   \
	}
#define RANDOM(count)                                                                              \
	{                                                                                          \
		CRASH_KV_RANDOM, 0, count, 0                                                       \
	}
#define SYNC                                                                                       \
	{                                                                                          \
		CRASH_KV_SYNC, 0, 1, 0                                                             \
	}
#define NOTIFY                                                                                     \
	{                                                                                          \
		CRASH_KV_NOTIFY, 0, 1, 0                                                           \
	}
#define REOPEN                                                                                     \
	{                                                                                          \
		CRASH_KV_REOPEN, 0, 1, 0                                                           \
	}
#define REST                                                                                       \
	{                                                                                          \
		CRASH_KV_REST, 0, 1, 0                                                             \
	}
#define PRUNE                                                                                      \
	{                                                                                          \
		CRASH_KV_PRUNE, 0, 1, 0                                                            \
	}
#define COMPACT(count)                                                                             \
	{                                                                                          \
		CRASH_KV_COMPACT, 0, count, 0                                                      \
	}
#define SNAPSHOT(number)                                                                           \
	{                                                                                          \
		CRASH_KV_SNAPSHOT, number, 1, 0                                                    \
	}
#define CHECKPOINT                                                                                 \
	{                                                                                          \
		CRASH_KV_CHECKPOINT, 0, 1, 0                                                       \
	}
#define END                                                                                        \
	{                                                                                          \
		CRASH_KV_END, 0, 0, 0                                                              \
	}

static const struct crash_kv_op basic[] = {
	PUT(0, 4, 100),
	SYNC,
	PUT(0, 4, 120),
	DELETE(2, 2),
	SYNC,
	PUT(4, 3, 0),
	NOTIFY,
	DELETE(0, 8),
	PUT(1, 2, 50),
	SYNC,
	PUT(9, 2, 700),
	END,
};

static const struct crash_kv_op batches[] = {
	BATCH(0, 8, 60),
	SYNC,
	BATCH(3, 20, 300),
	BATCH(5, 2, 10),
	SYNC,
	BATCH(0, 40, 1500),
	BATCH(20, 40, 2000),
	NOTIFY,
	BATCH(30, 48, 5000),
	BATCH(1, 5, 1),
	END,
};

static const struct crash_kv_op syncs[] = {
	PUT(0, 1, 10),
	SYNC,
	PUT(1, 1, 600),
	SYNC,
	DELETE(0, 1),
	SYNC,
	PUT(2, 1, 3000),
	SYNC,
	PUT(3, 1, 480),
	SYNC,
	PUT(4, 1, 488),
	SYNC,
	PUT(5, 1, 496),
	SYNC,
	BATCH(0, 9, 100),
	SYNC,
	END,
};

static const struct crash_kv_op large[] = {
	PUT(0, 2, 200000),
	SYNC,
	PUT(2, 2, 400000),
	PUT(0, 1, CRASH_KV_LARGEST),
	SYNC,
	DELETE(2, 4),
	PUT(6, 2, 600000),
	NOTIFY,
	PUT(8, 1, 5),
	END,
};

static const struct crash_kv_op turnover[] = {
	PUT(0, 30, 60000),
	SYNC,
	PUT(5, 30, 60000),
	BATCH(0, 48, 9000),
	SYNC,
	PUT(10, 60, 30000),
	END,
};

static const struct crash_kv_op turnover_syncs[] = {
	PUT(0, 9, 100000),
	SYNC,
	PUT(9, 2, 40000),
	SYNC,
	PUT(1, 2, 40000),
	SYNC,
	PUT(3, 9, 100000),
	SYNC,
	BATCH(0, 40, 20000),
	SYNC,
	PUT(7, 9, 100000),
	SYNC,
	PUT(0, 3, 10),
	SYNC,
	END,
};

/* What was written once and stays is among what is overwritten for ever: copied to cold segments, of
 * which several are filled, torn, and closed when the store is opened. */
static const struct crash_kv_op cold[] = {
	PUT(0, 96, 40000),
	PUT(0, 30, 90000),
	PUT(10, 60, 50000),
	SYNC,
	DELETE(90, 6),
	PUT(20, 60, 60000),
	PUT(0, 90, 40000),
	REOPEN,
	PUT(8, 60, 70000),
	BATCH(0, 48, 9000),
	PUT(3, 90, 60000),
	END,
};

/*
 * Few and small ones, time and again: a crash leaves cold segments in which copies stand behind a
 * gap.
 */
static const struct crash_kv_op cold_ends[] = {
	PUT(0, 110, 900),
	PUT(58, 10, 80000),
	PUT(58, 10, 80000),
	COMPACT(8),
	PUT(0, 60, 900),
	PUT(58, 10, 80000),
	PUT(58, 4, 80000),
	COMPACT(8),
	PUT(20, 60, 900),
	PUT(58, 10, 80000),
	PUT(58, 4, 80000),
	COMPACT(8),
	PUT(0, 60, 900),
	PUT(58, 10, 80000),
	PUT(58, 4, 80000),
	COMPACT(8),
	END,
};

/* Segments fill up and are garbage soon: there are free files beside spare segments. */
static const struct crash_kv_op spares[] = {
	PUT(0, 8, 250000),
	PUT(0, 8, 250000),
	SYNC,
	PUT(0, 8, 250000),
	COMPACT(3),
	PUT(0, 8, 250000),
	SYNC,
	PUT(0, 8, 250000),
	COMPACT(3),
	PUT(0, 8, 250000),
	SYNC,
	PUT(0, 8, 250000),
	END,
};

/* On demand: a little garbage is enough. */
static const struct crash_kv_op prunes[] = {
	PUT(0, 60, 30000),
	PRUNE,
	PUT(0, 40, 40000),
	DELETE(20, 20),
	PRUNE,
	PRUNE,
	REOPEN,
	BATCH(0, 48, 20000),
	PRUNE,
	PUT(5, 20, 20000),
	DELETE(0, 64),
	PRUNE,
	PUT(0, 9, 100000),
	END,
};

/*
 * Segments that are garbage throughout go first, then those whose tombstones said so: these are the
 * oldest by then, and hide nothing unless what was freed comes back.
 */
static const struct crash_kv_op tombstones[] = {
	PUT(0, 56, 45000),
	DELETE(0, 56),
	PUT(30, 24, 45000),
	DELETE(30, 24),
	PUT(44, 9, 45000),
	SYNC,
	COMPACT(12),
	PUT(0, 2, 100),
	SYNC,
	PUT(0, 2, 5000),
	SYNC,
	PUT(0, 56, 45000),
	DELETE(0, 56),
	PUT(30, 24, 45000),
	SYNC,
	PRUNE,
	DELETE(30, 24),
	COMPACT(9),
	END,
};

/* Small values enough to train dictionaries from, of which the first ones are forgotten again. */
static const struct crash_kv_op packs[] = {
	PUT(0, 900, 1500),
	PRUNE,
	PUT(0, 600, 2000),
	SYNC,
	REOPEN,
	PRUNE,
	DELETE(0, 40),
	PUT(3, 700, 1500),
	PRUNE,
	PUT(0, 128, 100),
	PUT(0, 30, 90000),
	PRUNE,
	END,
};

static const struct crash_kv_op reopens[] = {
	PUT(0, 3, 100),
	REOPEN,
	PUT(0, 3, 100),
	SYNC,
	REOPEN,
	REOPEN,
	PUT(5, 2, 600000),
	REOPEN,
	PUT(7, 1, 600000),
	BATCH(0, 30, 500),
	REOPEN,
	DELETE(0, 20),
	REOPEN,
	PUT(0, 2, 9),
	END,
};

/* Closed in order, and then less, or more, than a block is written where that was said. */
static const struct crash_kv_op rests[] = {
	PUT(0, 2, 100),
	REOPEN,
	BATCH(0, 12, 900),
	SYNC,
	REOPEN,
	PUT(3, 1, 30),
	SYNC,
	REOPEN,
	PUT(4, 2, 200),
	NOTIFY,
	REOPEN,
	BATCH(6, 3, 3000),
	PUT(0, 1, 9),
	END,
};

/* The same, where what takes the place of that ends with its block, and more is written behind. */
static const struct crash_kv_op block_ends[] = {
	PUT(0, 2, 700),
	REOPEN,
	PUT(2, 1, CRASH_KV_TO_BLOCK),
	PUT(4, 2, 3000),
	SYNC,
	REOPEN,
	PUT(4, 1, CRASH_KV_TO_BLOCK),
	PUT(0, 4, 1500),
	SYNC,
	PUT(2, 1, CRASH_KV_TO_BLOCK),
	PUT(6, 1, 5000),
	NOTIFY,
	REOPEN,
	PUT(2, 1, CRASH_KV_TO_BLOCK),
	PUT(6, 1, 9000),
	END,
};

/* The space behind the log's end is given back, at rest and by closing, and little, or more than was left, comes behind it. */
static const struct crash_kv_op trims[] = {
	PUT(0, 4, 3000),
	REST,
	PUT(4, 2, 900),
	SYNC,
	PUT(6, 8, 30000),
	REST,
	DELETE(0, 4),
	SYNC,
	PUT(0, 3, 60000),
	REOPEN,
	PUT(1, 5, 50000),
	REST,
	REOPEN,
	DELETE(3, 3),
	SYNC,
	PUT(9, 2, 90000),
	REST,
	PUT(9, 2, 9000),
	PRUNE,
	REST,
	PUT(9, 8, 90000),
	END,
};

/* Checkpoints written, replaced, and opened from with little, much and compacted log behind them. */
static const struct crash_kv_op checkpoints[] = {
	PUT(0, 20, 20000),
	REOPEN,
	PUT(5, 3, 100),
	DELETE(7, 4),
	SYNC,
	REOPEN,
	BATCH(0, 40, 9000),
	REOPEN,
	DELETE(0, 20),
	PUT(30, 12, 30000),
	END,
};

/* Segments that it speaks of are emptied and used again. */
static const struct crash_kv_op checkpoint_turnover[] = {
	PUT(0, 30, 50000),
	REOPEN,
	PUT(0, 60, 50000),
	SYNC,
	PUT(10, 40, 50000),
	REOPEN,
	PUT(3, 60, 30000),
	REOPEN,
	PUT(1, 3, 10),
	END,
};

static const struct crash_kv_op checkpoint_life[] = {PUT(0, 20, 20000), REOPEN, RANDOM(60), REOPEN,
	RANDOM(60), REOPEN, RANDOM(20), REOPEN, END};

/* Taken, looked at by other lives, deleted, taken again under the same name; deletions and what they hide. */
static const struct crash_kv_op snapshots[] = {
	BATCH(0, 40, 100),
	SNAPSHOT(0),
	PUT(0, 6, 120),
	DELETE(3, 6),
	SYNC,
	SNAPSHOT(1),
	PUT(2, 6, 90),
	REOPEN,
	SNAPSHOT(0),
	BATCH(5, 30, 300),
	SNAPSHOT(0),
	DELETE(0, 20),
	SYNC,
	SNAPSHOT(1),
	PUT(0, 8, 10),
	REOPEN,
	SNAPSHOT(0),
	END,
};

/* What they keep is compacted, with their own records and the tombstones between: the list is written to its file. */
static const struct crash_kv_op snapshot_prunes[] = {
	PUT(0, 40, 30000),
	SNAPSHOT(0),
	PUT(0, 30, 30000),
	DELETE(5, 20),
	SNAPSHOT(1),
	PUT(0, 40, 20000),
	PRUNE,
	SNAPSHOT(2),
	PUT(10, 30, 30000),
	SNAPSHOT(0),
	PRUNE,
	REOPEN,
	DELETE(0, 30),
	PRUNE,
	SNAPSHOT(0),
	PUT(0, 30, 40000),
	SNAPSHOT(1),
	SNAPSHOT(2),
	PRUNE,
	PRUNE,
	REOPEN,
	SNAPSHOT(0),
	PRUNE,
	END,
};

/* Compaction goes on by itself, over what came before them and after, into cold segments that were begun before. */
static const struct crash_kv_op snapshot_turnover[] = {
	PUT(0, 60, 40000),
	SNAPSHOT(0),
	PUT(0, 60, 40000),
	PUT(10, 60, 50000),
	SYNC,
	SNAPSHOT(1),
	PUT(0, 90, 40000),
	SNAPSHOT(0),
	BATCH(0, 48, 9000),
	PUT(20, 60, 50000),
	SNAPSHOT(2),
	SNAPSHOT(1),
	PUT(0, 60, 40000),
	REOPEN,
	PUT(3, 60, 30000),
	END,
};

/*
 * Steps of compaction, and no prune, which would save the list first: what replaced what a snapshot
 * sees is copied in front of its record, and what a batch ended that may be lost is copied as that.
 */
static const struct crash_kv_op snapshot_compacts[] = {
	PUT(0, 60, 30000),
	PUT(0, 40, 30000),
	SYNC,
	COMPACT(6),
	SNAPSHOT(0),
	PUT(0, 40, 30000),
	PUT(10, 50, 30000),
	SYNC,
	COMPACT(9),
	BATCH(0, 32, 20000),
	COMPACT(9),
	SNAPSHOT(1),
	PUT(0, 40, 40000),
	BATCH(8, 40, 9000),
	COMPACT(20),
	SNAPSHOT(0),
	PUT(0, 30, 30000),
	COMPACT(9),
	END,
};

/* One is always being written: each change falls between two of its steps. */
static const struct crash_kv_op checkpoint_steps[] = {
	PUT(0, 40, 300),
	DELETE(10, 12),
	SYNC,
	BATCH(0, 40, 700),
	PUT(5, 30, 900),
	DELETE(0, 40),
	PUT(0, 60, 100),
	SYNC,
	REOPEN,
	PUT(3, 40, 500),
	BATCH(7, 48, 50),
	PUT(90, 30, 5000),
	END,
};

/* On demand, between changes that are not durable yet. */
static const struct crash_kv_op checkpoint_demands[] = {
	PUT(0, 6, 2000),
	CHECKPOINT,
	PUT(3, 3, 900),
	DELETE(0, 3),
	CHECKPOINT,
	CHECKPOINT,
	BATCH(0, 40, 9000),
	CHECKPOINT,
	DELETE(20, 9),
	REOPEN,
	PUT(0, 4, 100),
	END,
};

/* Compaction empties what the last one names, again and again, and the next one lets it go. */
static const struct crash_kv_op checkpoint_kept[] = {
	PUT(0, 96, 30000),
	PUT(0, 40, 60000),
	CHECKPOINT,
	PUT(10, 60, 50000),
	SYNC,
	DELETE(90, 6),
	PUT(20, 60, 60000),
	CHECKPOINT,
	PUT(0, 90, 40000),
	REOPEN,
	PUT(8, 40, 70000),
	PRUNE,
	PUT(3, 60, 30000),
	END,
};

/* A checkpoint from before them, and one for which the last of them was deleted. */
static const struct crash_kv_op snapshot_checkpoints[] = {
	PUT(0, 30, 20000),
	REOPEN,
	SNAPSHOT(0),
	PUT(0, 30, 20000),
	DELETE(9, 9),
	REOPEN,
	SNAPSHOT(1),
	PUT(5, 30, 20000),
	SNAPSHOT(0),
	SNAPSHOT(1),
	PRUNE,
	REOPEN,
	PUT(1, 20, 20000),
	SNAPSHOT(0),
	DELETE(1, 9),
	REOPEN,
	END,
};

/* What they keep is saved, changed while it is saved, moved by compaction, dropped, and saved again. */
static const struct crash_kv_op snapshot_saves[] = {
	PUT(0, 30, 20000),
	SNAPSHOT(0),
	PUT(0, 20, 20000),
	DELETE(5, 9),
	CHECKPOINT,
	DELETE(15, 5),
	SYNC,
	SNAPSHOT(1),
	PUT(3, 20, 30000),
	CHECKPOINT,
	PRUNE,
	PUT(0, 30, 30000),
	REOPEN,
	SNAPSHOT(0),
	PUT(10, 9, 9000),
	PRUNE,
	DELETE(0, 9),
	CHECKPOINT,
	SNAPSHOT(1),
	PUT(0, 12, 100),
	REOPEN,
	PRUNE,
	END,
};

/* Little disk, of which as much is wanted as there is. */
static const struct crash_kv_op full[] = {
	PUT(0, 60, 30000),
	SNAPSHOT(0),
	PUT(0, 60, 40000),
	SYNC,
	PUT(20, 60, 40000),
	DELETE(0, 10),
	SNAPSHOT(1),
	PUT(0, 60, 40000),
	SNAPSHOT(0),
	PUT(0, 60, 40000),
	COMPACT(9),
	DELETE(30, 30),
	SNAPSHOT(1),
	PUT(0, 60, 40000),
	REOPEN,
	PUT(10, 60, 40000),
	PRUNE,
	PUT(3, 60, 30000),
	END,
};

static const struct crash_kv_op full_life[] = {PUT(0, 60, 30000), RANDOM(400), END};

static const struct crash_kv_op random_life[] = {RANDOM(150), END};

static const struct crash_kv_op random_long[] = {RANDOM(1500), END};

static const struct crash_script kv_basic = {.ops = basic};
static const struct crash_script kv_batches = {.ops = batches};
static const struct crash_script kv_syncs = {.ops = syncs};
static const struct crash_script kv_large = {.ops = large};
static const struct crash_script kv_block_ends = {.ops = block_ends};
static const struct crash_script kv_tombstones = {.ops = tombstones};
static const struct crash_script kv_snapshot_compacts = {
	.ops = snapshot_compacts, .snapshots = true};
static const struct crash_script kv_full = {.ops = full, .capacity = 7 << 20};
static const struct crash_script kv_full_random = {
	.ops = full_life, .snapshots = true, .capacity = 6 << 20};
static const struct crash_script kv_quota = {.ops = full, .quota = 7 << 20};
static const struct crash_script kv_quota_random = {
	.ops = full_life, .snapshots = true, .quota = 6 << 20};
static const struct crash_script kv_quota_rests = {
	.ops = full_life, .rests = true, .quota = 6 << 20};
static const struct crash_script kv_turnover = {.ops = turnover};
static const struct crash_script kv_turnover_syncs = {.ops = turnover_syncs};
static const struct crash_script kv_cold = {.ops = cold};
static const struct crash_script kv_cold_ends = {.ops = cold_ends};
static const struct crash_script kv_spares = {.ops = spares};
static const struct crash_script kv_prunes = {.ops = prunes};
static const struct crash_script kv_packs = {.ops = packs, .background = true};
static const struct crash_script kv_random_background = {.ops = random_life, .background = true};
static const struct crash_script kv_reopens = {.ops = reopens};
static const struct crash_script kv_rests = {.ops = rests};
static const struct crash_script kv_trims = {.ops = trims, .rests = true};
static const struct crash_script kv_trims_random = {.ops = random_life, .rests = true};
static const struct crash_script kv_checkpoints = {.ops = checkpoints};
static const struct crash_script kv_checkpoint_turnover = {.ops = checkpoint_turnover};
static const struct crash_script kv_checkpoint_random = {.ops = checkpoint_life};
static const struct crash_script kv_checkpoint_steps = {
	.ops = checkpoint_steps, .checkpoint_interval = 1};
static const struct crash_script kv_checkpoint_demands = {.ops = checkpoint_demands};
static const struct crash_script kv_checkpoint_kept = {
	.ops = checkpoint_kept, .checkpoint_interval = 3 << 20};
/* As little disk is left as makes the store give up the checkpoint for what it keeps. */
static const struct crash_script kv_checkpoint_scarce = {
	.ops = checkpoint_kept, .checkpoint_interval = 1 << 20, .capacity = 40 << 20};
static const struct crash_script kv_checkpoint_always = {
	.ops = checkpoint_life, .checkpoint_interval = 1};
static const struct crash_script kv_checkpoint_background = {
	.ops = checkpoint_life, .checkpoint_interval = 1 << 20, .background = true};
static const struct crash_script kv_random = {.ops = random_life};
static const struct crash_script kv_random_zstd = {.ops = random_life, .compress = true};
static const struct crash_script kv_random_blake2b = {.ops = random_life, .hash_blake2b = true};
static const struct crash_script kv_snapshots = {.ops = snapshots};
static const struct crash_script kv_snapshot_prunes = {.ops = snapshot_prunes};
static const struct crash_script kv_snapshot_turnover = {.ops = snapshot_turnover};
static const struct crash_script kv_snapshot_checkpoints = {.ops = snapshot_checkpoints};
static const struct crash_script kv_snapshot_saves = {.ops = snapshot_saves};
static const struct crash_script kv_snapshot_steps = {.ops = snapshots, .checkpoint_interval = 1};
static const struct crash_script kv_snapshot_always = {
	.ops = checkpoint_life, .checkpoint_interval = 1, .snapshots = true};
static const struct crash_script kv_snapshot_kept = {
	.ops = snapshot_turnover, .checkpoint_interval = 3 << 20};
static const struct crash_script kv_snapshot_random = {.ops = random_life, .snapshots = true};
static const struct crash_script kv_snapshot_background = {
	.ops = random_life, .snapshots = true, .background = true};
static const struct crash_script kv_snapshot_long = {.ops = random_long, .snapshots = true};
static const struct crash_script kv_random_long = {.ops = random_long};

/* ---- large values ------------------------------------------------------------------------------
 */

#define LARGE(kind, key, offset, size)                                                             \
	{                                                                                          \
		CRASH_LARGE_##kind, key, offset, size                                              \
	}

static const struct crash_large_op streams[] = {
	LARGE(STREAM, 0, 0, 300000),
	LARGE(SYNC, 0, 0, 0),
	LARGE(STREAM, 1, 0, 70000),
	LARGE(ABORT, 0, 0, 200000),
	LARGE(STREAM, 0, 0, 400000),
	LARGE(PUT, 2, 0, 1200000),
	LARGE(SYNC, 0, 0, 0),
	LARGE(STREAM, 1, 0, 65536),
	LARGE(STREAM, 2, 0, 100),
	LARGE(CLEAR, 0, 0, 0),
	LARGE(END, 0, 0, 0),
};

static const struct crash_large_op parts[] = {
	LARGE(STREAM, 0, 0, 500000),
	LARGE(SYNC, 0, 0, 0),
	LARGE(WRITE, 0, 65000, 2000),
	LARGE(WRITE, 0, 490000, 300000),
	LARGE(SYNC, 0, 0, 0),
	LARGE(WRITE, 1, 200000, 10),
	LARGE(WRITE, 1, 0, 100000),
	LARGE(PUT, 2, 0, 100000),
	LARGE(WRITE, 2, 99000, 2000),
	LARGE(SYNC, 0, 0, 0),
	LARGE(WRITE, 0, 0, 4096),
	LARGE(CLEAR, 0, 0, 0),
	LARGE(END, 0, 0, 0),
};

static const struct crash_large_op sizes[] = {
	LARGE(STREAM, 0, 0, 700000),
	LARGE(RESIZE, 0, 0, 130000),
	LARGE(SYNC, 0, 0, 0),
	LARGE(RESIZE, 0, 0, 900000),
	LARGE(WRITE, 0, 400000, 100),
	LARGE(SYNC, 0, 0, 0),
	LARGE(RESIZE, 0, 0, 100),
	LARGE(RESIZE, 0, 0, 200000),
	LARGE(SYNC, 0, 0, 0),
	LARGE(RESIZE, 0, 0, 0),
	LARGE(CLEAR, 0, 0, 0),
	LARGE(END, 0, 0, 0),
};

/* Values of more pieces than are freed at once. */
static const struct crash_large_op deletes[] = {
	LARGE(PUT, 0, 0, 9000000),
	LARGE(PUT, 1, 0, 200000),
	LARGE(SYNC, 0, 0, 0),
	LARGE(DELETE, 0, 0, 0),
	LARGE(SYNC, 0, 0, 0),
	LARGE(PUT, 1, 0, 300),
	LARGE(SYNC, 0, 0, 0),
	LARGE(REOPEN, 0, 0, 0),
	LARGE(PUT, 2, 0, 10),
	LARGE(SYNC, 0, 0, 0),
	LARGE(CLEAR, 0, 0, 0),
	LARGE(END, 0, 0, 0),
};

/* Little disk, of which as much is wanted as there is, also by a stream that does not come to its end. */
static const struct crash_large_op large_fulls[] = {
	LARGE(PUT, 0, 0, 1500000),
	LARGE(STREAM, 1, 0, 1000000),
	LARGE(SYNC, 0, 0, 0),
	LARGE(STREAM, 2, 0, 1500000),
	LARGE(WRITE, 0, 700000, 300000),
	LARGE(PUT, 0, 0, 1800000),
	LARGE(DELETE, 1, 0, 0),
	LARGE(ABORT, 1, 0, 1000000),
	LARGE(STREAM, 1, 0, 2500000),
	LARGE(SYNC, 0, 0, 0),
	LARGE(RESIZE, 2, 0, 90000),
	LARGE(WRITE, 1, 900000, 300000),
	LARGE(STREAM, 0, 0, 2500000),
	LARGE(REOPEN, 0, 0, 0),
	LARGE(PUT, 2, 0, 2000000),
	LARGE(DELETE, 0, 0, 0),
	LARGE(PUT, 1, 0, 2000000),
	LARGE(RANDOM, 0, 0, 20),
	LARGE(CLEAR, 0, 0, 0),
	LARGE(END, 0, 0, 0),
};

static const struct crash_large_op large_life[] = {LARGE(RANDOM, 0, 0, 40), LARGE(CLEAR, 0, 0, 0),
	LARGE(END, 0, 0, 0)};

static const struct crash_large_script large_streams = {.ops = streams};
static const struct crash_large_script large_parts = {.ops = parts};
static const struct crash_large_script large_sizes = {.ops = sizes};
static const struct crash_large_script large_deletes = {.ops = deletes};
static const struct crash_large_script large_full = {.ops = large_fulls, .capacity = 6 << 20};
static const struct crash_large_script large_random = {.ops = large_life};
static const struct crash_large_script large_random_zstd = {.ops = large_life, .compress = true};

const struct crash_named crash_scripts[] = {
	{"basic", &crash_kv, &kv_basic},
	{"batches", &crash_kv, &kv_batches},
	{"syncs", &crash_kv, &kv_syncs},
	{"large", &crash_kv, &kv_large},
	{"turnover", &crash_kv, &kv_turnover},
	{"turnover-syncs", &crash_kv, &kv_turnover_syncs},
	{"cold", &crash_kv, &kv_cold},
	{"cold-ends", &crash_kv, &kv_cold_ends},
	{"spares", &crash_kv, &kv_spares},
	{"prunes", &crash_kv, &kv_prunes},
	{"tombstones", &crash_kv, &kv_tombstones},
	{"full", &crash_kv, &kv_full},
	{"full-random", &crash_kv, &kv_full_random},
	{"quota", &crash_kv, &kv_quota},
	{"quota-random", &crash_kv, &kv_quota_random},
	{"quota-rests", &crash_kv, &kv_quota_rests},
	{"packs", &crash_kv, &kv_packs},
	{"random-background", &crash_kv, &kv_random_background},
	{"reopens", &crash_kv, &kv_reopens},
	{"rests", &crash_kv, &kv_rests},
	{"block-ends", &crash_kv, &kv_block_ends},
	{"trims", &crash_kv, &kv_trims},
	{"trims-random", &crash_kv, &kv_trims_random},
	{"checkpoints", &crash_kv, &kv_checkpoints},
	{"checkpoint-turnover", &crash_kv, &kv_checkpoint_turnover},
	{"checkpoint-random", &crash_kv, &kv_checkpoint_random},
	{"checkpoint-steps", &crash_kv, &kv_checkpoint_steps},
	{"checkpoint-demands", &crash_kv, &kv_checkpoint_demands},
	{"checkpoint-kept", &crash_kv, &kv_checkpoint_kept},
	{"checkpoint-scarce", &crash_kv, &kv_checkpoint_scarce},
	{"checkpoint-always", &crash_kv, &kv_checkpoint_always},
	{"checkpoint-background", &crash_kv, &kv_checkpoint_background},
	{"random", &crash_kv, &kv_random},
	{"random-zstd", &crash_kv, &kv_random_zstd},
	{"random-blake2b", &crash_kv, &kv_random_blake2b},
	{"random-long", &crash_kv, &kv_random_long},
	{"snapshots", &crash_kv, &kv_snapshots},
	{"snapshot-prunes", &crash_kv, &kv_snapshot_prunes},
	{"snapshot-turnover", &crash_kv, &kv_snapshot_turnover},
	{"snapshot-compacts", &crash_kv, &kv_snapshot_compacts},
	{"snapshot-checkpoints", &crash_kv, &kv_snapshot_checkpoints},
	{"snapshot-saves", &crash_kv, &kv_snapshot_saves},
	{"snapshot-steps", &crash_kv, &kv_snapshot_steps},
	{"snapshot-always", &crash_kv, &kv_snapshot_always},
	{"snapshot-kept", &crash_kv, &kv_snapshot_kept},
	{"snapshot-random", &crash_kv, &kv_snapshot_random},
	{"snapshot-background", &crash_kv, &kv_snapshot_background},
	{"snapshot-long", &crash_kv, &kv_snapshot_long},
	{"large-streams", &crash_large, &large_streams},
	{"large-parts", &crash_large, &large_parts},
	{"large-sizes", &crash_large, &large_sizes},
	{"large-deletes", &crash_large, &large_deletes},
	{"large-full", &crash_large, &large_full},
	{"large-random", &crash_large, &large_random},
	{"large-random-zstd", &crash_large, &large_random_zstd},
	{"fs-names", &crash_fs, &crash_fs_names},
	{"fs-contents", &crash_fs, &crash_fs_contents},
	{"fs-orphans", &crash_fs, &crash_fs_orphans},
	{"fs-snapshots", &crash_fs, &crash_fs_snapshots},
	{"fs-rollbacks", &crash_fs, &crash_fs_rollbacks},
	{"fs-copies", &crash_fs, &crash_fs_copies},
	{"fs-snapshot-copies", &crash_fs, &crash_fs_snapshot_copies},
	{"fs-full", &crash_fs, &crash_fs_full},
	{"fs-random", &crash_fs, &crash_fs_random},
	{"fs-random-long", &crash_fs, &crash_fs_random_long},
	{0},
};
