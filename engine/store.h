/* SPDX-License-Identifier: MIT */
/*
 * store.h - struct kv: what an open store consists of, and how its parts meet. Private to engine/.
 *
 * Locks, in the order in which they are taken (DESIGN.md has the table):
 *   0 sync.maintaining  the maintainer's work
 *   1 sync.lock     who flushes, who waits for it
 *   2 log.lock      the commit lock: tail, sequence numbers, both indexes' writers
 *   3 segments.pool_lock
 * None is held across I/O but for log.lock while a full log waits on its condition (which lets it go).
 */
#ifndef STORE_H
#define STORE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "env.h"
#include "index.h"
#include "keyhash.h"
#include "kv.h"
#include "order.h"
#include "segment.h"

#define STORE_STRIPES 16u /* of counters that readers bump, against false sharing */

/* The end of the log, where batches are appended. log.c */
struct log {
	pthread_mutex_t lock;
	pthread_cond_t room;	   /* a spare came, or will not */
	struct segment *active;	   /* protected by lock */
	struct segment *spare;	   /* protected by lock; prepared, comes next */
	bool spare_reserved;	   /* only for what frees: the disk is full; protected by lock */
	bool freeing_waits;	   /* one that frees waits for a spare; protected by lock */
	uint32_t tail;		   /* offset in active; protected by lock */
	bool mark_due;		   /* a sync succeeded since the last MARK; protected by lock */
	bool spare_wanted;	   /* protected by lock */
	uint64_t spare_attempts;   /* protected by lock */
	_Atomic int spare_error;   /* of the last attempt */
	uint64_t next_id;	   /* the maintainer's */
	_Atomic uint64_t last_seq; /* stored under lock */
	_Atomic uint64_t unwritten_bytes; /* appended and not yet handed to the file */
	struct segment *flushing;  /* the oldest segment with unwritten bytes; the flusher's */
	uint64_t switched_us;	   /* when active became it; protected by lock */
	uint64_t dirty_since_us;   /* when the oldest unsynced batch came; protected by lock */
};

/* Who makes it durable, and who waits for that. sync.c */
struct sync {
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool flushing;		      /* someone is the flusher; protected by lock */
	struct kv_waiter *waiters;    /* protected by lock */
	_Atomic uint64_t durable_seq; /* stored by the flusher */
	pthread_mutex_t maintaining;  /* held by the maintainer at work, outermost rank */
	sem_t kick;		      /* wakes the maintainer */
	_Atomic bool kicked;
	_Atomic bool resting;	      /* the maintainer sleeps without a deadline */
	_Atomic bool stopping;
	bool running;
	pthread_t thread;
};

/* The segment that is being emptied; the maintainer's. compact.c */
struct compaction {
	struct segment *victim; /* or NULL */
	uint32_t offset;	/* of the next record to look at */
	bool oldest;		/* no older segment is left */
	uint64_t retry_at_us;	/* there was no room for copies; 0: there was */
};

struct counters {
	_Alignas(64) _Atomic uint64_t gets;
	_Atomic uint64_t hits;
};

struct kv {
	struct kv_env *env;
	struct env_dir *dir;
	struct env_file *super;
	struct kv_info info;
	bool inline_maintenance;
	uint64_t commit_interval_us;
	kv_report_fn *report;
	void *report_arg;

	struct keyhash keyhash;
	struct segments segments;
	struct index index;
	struct order *orders[KV_KEYSPACES_MAX]; /* NULL: not ordered */
	struct log log;
	struct sync sync;
	struct compaction compaction;
	uint64_t tombstone_bytes; /* in the log; protected by log.lock */
	_Atomic int failed; /* the errno that poisoned the store, or 0 */

	/* Statistics; the first group is written under log.lock */
	_Atomic uint64_t keys[KV_KEYSPACES_MAX];
	_Atomic uint64_t puts, deletes, batches, appended_bytes, relocated_bytes, waits;
	_Atomic uint64_t log_bytes, live_bytes;
	_Atomic uint64_t flushes, syncs, synced_batches, damaged;
	uint64_t recovered_batches, recovered_bytes, open_us;
	struct counters counters[STORE_STRIPES];
};

__attribute__((format(printf, 3, 4))) void store_report(struct kv *kv, enum kv_severity severity,
							const char *format, ...);
/* No change is possible any more until the store is opened again. Returns -EIO. */
int store_poison(struct kv *kv, int error, const char *what);

static inline void store_add(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer at a time: no locked instruction needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

#endif
