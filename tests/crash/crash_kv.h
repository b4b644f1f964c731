/* SPDX-License-Identifier: MIT */
/* crash_kv.h - the scripts of the engine's crash runs. */
#ifndef CRASH_KV_H
#define CRASH_KV_H

#include <stdbool.h>
#include <stdint.h>

enum crash_kv_kind {
	CRASH_KV_PUT,    /* `count` commits of one put each, keys from `key` on */
	CRASH_KV_PUT_SYNC, /* likewise, each synced */
	CRASH_KV_DELETE, /* likewise */
	CRASH_KV_BATCH,  /* one commit of `count` changes in both keyspaces, every fifth a deletion
			  */
	CRASH_KV_FILL,	 /* `count` commits of puts in both keyspaces, of keys from `key` on */
	CRASH_KV_SYNC,
	CRASH_KV_NOTIFY, /* a sync whose answer comes through a callback */
	CRASH_KV_REOPEN,
	CRASH_KV_REST, /* nothing happens for a minute */
	CRASH_KV_PRUNE,
	CRASH_KV_COMPACT,  /* `count` steps of compaction, as the maintainer takes them */
	CRASH_KV_SNAPSHOT, /* takes the snapshot with the number `key`, or deletes it if it is there */
	CRASH_KV_CHECKPOINT,
	CRASH_KV_RANDOM, /* `count` operations by chance */
	CRASH_KV_END,
};

#define CRASH_KV_LARGEST UINT32_MAX /* as size: as large as the store takes */
/* So large that its record ends where a block of the disk does. */
#define CRASH_KV_TO_BLOCK (UINT32_MAX - 1)

/* What a life that nothing disturbs must have come by, or the script is not about it any more. */
enum crash_kv_reached {
	CRASH_KV_GROWING = 1,	       /* between two operations the hash index was growing */
	CRASH_KV_GREW_TWICE = 2,
	CRASH_KV_GROWING_BESIDE = 4,   /* while a checkpoint was being written */
	CRASH_KV_SAVE_LOST = 8,	       /* and one was given up for it */
	CRASH_KV_LOADED_GREW = 16,     /* from a table that a checkpoint had */
	CRASH_KV_VERSIONS_GREW = 32,   /* the index of what snapshots keep */
	CRASH_KV_BRANCHES = 64,	       /* the ordered index has branches below its root */
	CRASH_KV_CHUNKS = 128,	       /* a checkpoint had 16 chunks and more */
};

struct crash_kv_op {
	enum crash_kv_kind kind;
	unsigned key;
	unsigned count;
	uint32_t size; /* bytes of each value */
};

struct crash_script {
	const char *name;
	const struct crash_kv_op *ops; /* up to CRASH_KV_END */
	bool hash_blake2b;
	bool compress;   /* when it is written */
	bool background; /* or later */
	bool snapshots;	 /* random operations take and delete them, too */
	bool rests;	 /* time passes now and then; random operations rest, too, unless they take snapshots */
	uint32_t size_max; /* of values of random operations; 0: any */
	unsigned reaches;  /* of enum crash_kv_reached */
	uint64_t checkpoint_interval; /* bytes; 0: the store's own */
	uint64_t capacity;            /* of the disk, in bytes: changes may be refused; 0: plenty */
	uint64_t quota;               /* the same, but the disk does not say so */
};

#endif
