/* SPDX-License-Identifier: MIT */
/* crash_kv.h - the scripts of the engine's crash runs. */
#ifndef CRASH_KV_H
#define CRASH_KV_H

#include <stdbool.h>
#include <stdint.h>

enum crash_kv_kind {
	CRASH_KV_PUT,    /* `count` commits of one put each, keys from `key` on */
	CRASH_KV_DELETE, /* likewise */
	CRASH_KV_BATCH,  /* one commit of `count` changes in both keyspaces, every fifth a deletion
			  */
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
	uint64_t checkpoint_interval; /* bytes; 0: the store's own */
	uint64_t capacity;            /* of the disk, in bytes: changes may be refused; 0: plenty */
	uint64_t quota;               /* the same, but the disk does not say so */
};

#endif
