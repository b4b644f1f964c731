/* SPDX-License-Identifier: MIT */
/*
 * store.h - struct kv: what an open store consists of, and how its parts meet. Private to engine/.
 *
 * Locks, in the order in which they are taken (DESIGN.md has the table):
 *   0 maintain.lock the maintainer's work
 *   1 sync.lock     callbacks that wait for a sync
 *   2 log.lock      the commit lock: tail, sequence numbers, both indexes' writers
 *   3 segments.pool_lock, large.lock; the gate of each ordered index (order_node.h)
 * maintain.lock alone is held across I/O, but that kv_check holds log.lock while it reads the log.
 * Who waits for room in a full log does so on a condition of log.lock, which lets go of it.
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
#include "timing.h"
#include "order.h"
#include "segment.h"

#define STORE_STRIPES 16u /* of counters that readers bump, against false sharing */

/*
 * An end of the log where records are appended. All but `flushing` is protected by log.lock. log.c
 */
struct log_tail {
	struct segment *active;
	uint32_t offset;		/* in active, of the next record */
	uint32_t limit;			/* no record but an END ends behind it; 0: the tail
					   rests. log_rest.c */
	uint32_t spare_at;		/* who ends behind it while there is no spare thinks of
					   one; half of `limit` at most. log.c */
	bool trimmed;			/* the file has no space far behind it, and gets it when
					   that is wanted */
	uint64_t marked_seq;		/* known to be durable when the last MARK was appended */
	uint64_t begun_seq;		/* log.last_seq when `active` was begun; 0: it says the
					   newest number by itself. log_keep_number */
	_Atomic uint64_t appended_bytes; /* in all, since it was opened */
	_Atomic uint64_t appended_max;	 /* beyond it who commits waits a little; the
					    maintainer's. brake.c */
	_Atomic uint64_t written_bytes;	/* of them; stored by the flusher */
	_Atomic uint32_t unsealed;	/* segments before `active` that are not durable yet */
	struct segment *flushing;	/* the oldest segment with unwritten bytes; the flusher's */
	bool closed;			/* a CLOSED stands where its unwritten bytes go; the
					   flusher's */
};

/*
 * What is appended. In this order: where a full disk has no room for all, a spare segment is for
 * its purpose and those behind it.
 */
enum log_purpose {
	LOG_ANY,
	LOG_FREES,  /* more than it takes, unless snapshots keep it */
	LOG_COPIES, /* that space comes of for sure: and the deletion of a snapshot */
};

/* The log: its end (log.c), and the segments that come next (log_spare.c). */
struct log {
	pthread_mutex_t lock;
	pthread_cond_t room;	   /* a spare came, or will not */
	struct log_tail hot;	   /* what is committed */
	struct segment *spares;	   /* prepared, linked by `next`, rising ids; protected by lock */
	unsigned spare_count;	   /* protected by lock */
	enum log_purpose spare_for; /* this, and what is behind it; protected by lock */
	bool starved;		   /* the reserve is in use: only what frees is appended; protected
				      by lock */
	uint32_t sought_to;	   /* then: up to where in the tail compaction has been asked
				      before; protected by lock */
	unsigned spares_target;	   /* more when segments fill up fast; protected by lock */
	_Atomic bool spare_wanted; /* stored under lock */
	unsigned spare_waiters;	   /* who waits for one; protected by lock */
	bool freeing_waits;	   /* one that frees waits for a spare; protected by lock */
	bool attempting;	   /* to prepare one; protected by lock */
	uint64_t spare_attempts;   /* that have ended; protected by lock */
	uint64_t spare_awaited;	   /* the last attempt that somebody waits for; protected by lock */
	_Atomic int spare_error;   /* of the last attempt */
	uint64_t next_id;	   /* the maintainer's */
	_Atomic uint64_t last_seq; /* stored under lock */
	uint64_t switched_us;	   /* when the last segment was full; protected by lock */
	uint64_t looked_us; /* when somebody last thought of a spare... ; protected by lock */
	uint32_t looked_offset;	   /* ... and hot.offset then; likewise */
	uint64_t dirty_since_us;   /* when the oldest unsynced batch came; protected by lock */
};

/* A thread of the store's own, woken when there is something for it. worker.c */
struct worker {
	sem_t kick;
	_Atomic bool kicked;
	_Atomic bool stopping;
	bool running;
	pthread_t thread;
};

/* Where threads sleep until a round of flushing is over. */
struct sync_bed {
	_Alignas(64) _Atomic uint32_t word; /* the futex: changes when somebody may have to get
					       up */
	_Atomic uint32_t sleepers;
	_Atomic uint32_t waiters; /* who has come for the round, asleep or not; a hint */
};

/* Who makes it durable, and who waits for that. sync.c */
struct sync {
	_Atomic uint64_t state;	      /* the number of the newest round, and whether someone is
					 the flusher */
	_Atomic uint64_t covered_seq; /* what the newest round makes durable; stored by the
					 flusher */
	_Atomic uint64_t durable_seq; /* stored by the flusher */
	_Atomic uint64_t durable_bytes; /* so much of log.hot.appended_bytes; copies at the log's
					   end have no number of their own. Stored by the flusher */
	struct sync_bed beds[2];      /* for even and odd rounds */
	uint32_t company;	      /* who shared the last round; the flusher's, as the next
					 two */
	uint32_t alone;		      /* so many rounds are not waited with */
	uint64_t flush_us;	      /* that the last round took */
	pthread_mutex_t lock;
	struct kv_waiter *waiters;    /* protected by lock */
	struct worker worker;
	_Atomic bool resting;	      /* the worker sleeps until it is kicked */
};

/* Since when nothing has changed, and what has been done about that. trim.c */
struct rest {
	uint64_t activity;
	uint64_t since_us;
	unsigned depth; /* 2: nothing is left to be given back */
};

/* Who prepares segments, frees them, and gives memory back. maintain.c */
struct maintain {
	pthread_mutex_t lock; /* held at work, outermost rank */
	bool warming;	      /* some segment may be cold; protected by lock */
	uint64_t warm_at_us;  /* not before; protected by lock */
	bool huge;	      /* some maps are of huge pages; protected by lock, as the next ones */
	bool small;	      /* and are not to be any more */
	uint64_t faults;      /* in maps, of the process, when maps became huge */
	_Atomic unsigned prunes; /* under way, by callers of kv_prune */
	struct rest rest;     /* protected by lock */
	struct worker worker;
};

/* The segment that takes the copies of what compaction keeps; the maintainer's. cold.c */
struct cold {
	struct segment *active; /* or NULL. Its `end` is behind the copies that count */
	uint32_t offset;	/* of the next copy */
	uint64_t last_id;
};

/* How far the store has been read through, and what was found. The maintainer's. scrub.c */
struct scrub {
	uint64_t rate;		/* bytes a second; 0: never */
	uint64_t interval_us;
	uint64_t begun_us;	/* the pass under way; 0: there is none */
	uint64_t at_us;		/* the next step */
	uint64_t first_id;	/* where the pass began */
	bool turned;		/* it has come to the log's end, and goes on at its beginning */
	uint64_t id, born;	/* of the segment that it stands in; all from where it began, or
				   turned, to there are done */
	uint32_t offset;	/* of the next record there */
	uint32_t damaged_bytes, damaged_offset; /* there; where the first of them are */
	uint64_t search_budget; /* there, for getting over damage */
	uint8_t *resident;	/* its pages: was it in memory before? NULL: not known */
	uint32_t resident_pages;
	const struct segment *tail; /* the log's last one, as of this step, and how far it is
				       durable */
	uint32_t tail_end;
	uint64_t operations;	/* of the store, at the last step */
	uint64_t chunk;		/* of the checkpoint: the next one to read */
	uint64_t checkpoint_check; /* of the one that is read: its header's */
	bool checkpoint_stays;	/* a damaged one, which cannot be removed */
	_Atomic uint64_t passes, bytes, findings;
};

/* Where those sleep whom compaction cannot keep up with. brake.c */
struct brake {
	_Atomic uint32_t word; /* the futex: changes with log.hot.appended_max */
	_Atomic uint32_t sleepers;
	_Atomic uint64_t waits, waited_us;
};

#define COMPACTION_EMPTIED_MAX 16u

/* Copies of tombstones of victims that were not emptied. compact_copied.h */
struct copied {
	struct copy *copies; /* sorted by their hashes */
	size_t count, capacity;
	uint64_t bytes; /* of all of them */
	uint64_t last_id, before_id; /* the segments that they are in */
	unsigned looks;	     /* so far that have found any */
	bool known;	     /* there are no others in the log's last two segments */
};

/* What compaction is at; the maintainer's. compact.c */
struct compaction {
	struct segment *victim; /* that is being emptied, or NULL */
	uint32_t offset;	/* of the next record to look at */
	uint32_t asked;		/* offset up to which the disk was asked for it */
	const struct heads *heads; /* what to find the victim's needed records by, or NULL: by
				      reading all of it */
	bool oldest;		/* no older segment is left */
	bool as_is;		/* its values are copied as they stand, to be compressed later */
	uint64_t gained;	/* garbage bytes passed, since the store was opened */
	uint64_t freed;		/* of them, in segments that are freed */
	uint64_t told;		/* of them, writers have heard of */
	uint64_t search_budget; /* of this victim, for getting over damage */
	/* Nothing in them is needed any more, once the copies are durable. */
	struct segment *emptied[COMPACTION_EMPTIED_MAX];
	unsigned emptied_count;
	uint64_t emptied_bytes; /* log.hot.appended_bytes when the last of them was */
	_Atomic uint64_t kept_bytes; /* of segments that only wait for the next checkpoint */
	uint64_t retry_at_us;	/* there was no room for copies; 0: there was */
	uint64_t free_at_us;	/* there was none to free what was emptied; 0: there was */
	uint64_t resume_at_us;	/* the next step; the rate limit */
	uint64_t look_at_us;	/* for segments that are garbage throughout */
	uint64_t looked_live_bytes; /* that there were at the last look */
	uint64_t raw_at_us;	/* the next look for segments to compress; 0: there may be some */
	struct copied copied;
};

/* What is being written to, and freed from, the pieces of large values. stream.c, large_free.c */
struct large {
	pthread_mutex_t lock;	   /* innermost rank */
	struct kv_stream *streams; /* open; protected by lock */
	/*
	 * Of the batch that is being committed: intents, and what they condemn; protected by
	 * log.lock
	 */
	struct kv_batch *doomed;
	uint64_t doomed_pieces, doomed_bytes;
	uint64_t condemned_pieces; /* and not deleted yet, since the store was opened; protected
				      by log.lock */
	_Atomic uint64_t condemned_bytes; /* about, as values compress; stored under log.lock */
	_Atomic bool awake;	   /* there may be something to free */
	/* The maintainer's */
	struct order_walk *walk;
	struct kv_batch *deletions;
	struct condemned *condemned;
	uint64_t next_id;	   /* the intents from here on come next */
	uint64_t ripe_seq;	   /* intents up to here condemn what no reader can see any more */
	uint64_t retry_at_us;	   /* there was no room for deletions; 0: there was */
	/* Values that an intent condemns by mistake, rising; from opening on. large_settle.c */
	uint64_t *spared;
	size_t spared_count;
};

/* When the next sample of the clock is due; the flushing thread's, and kv_close's. times.c */
struct times {
	uint64_t sampled_seq; /* nothing but samples was committed since */
	uint64_t due_us;      /* the env's monotonic clock; 0: nothing is to be sampled */
};

/* A moment of the store that somebody reads. */
struct view_point {
	uint64_t seq;
	unsigned references;
};

/* The moments of all views and snapshots, by rising seq. Protected by log.lock. view.c */
struct views {
	struct view_point *points;
	unsigned count, capacity;
	uint64_t open;		 /* views */
	_Atomic uint64_t newest; /* 0: there is none */
};

#ifndef VERSION_CHUNK /* tests/crash/small.h */
#define VERSION_CHUNK ((uint32_t)1 << 18) /* versions */
#endif
#define VERSION_CHUNKS 1024u

/* Records that are kept for views alone. Stored under log.lock. version.c */
struct versions {
	struct index index; /* hash -> number of the youngest version of a key */
	_Atomic(struct version *) chunks[VERSION_CHUNKS];
	uint32_t used, room;	   /* numbers that were ever given out, and there is memory for */
	uint32_t free, free_count; /* a list */
	uint32_t retired;	   /* a list: readers may still look at them */
	_Atomic uint64_t count, kept_bytes;
	_Atomic uint64_t newest_end; /* the last batch that made a record one: no view from there
					on has any */
	/* Keys of which only versions are there, and perhaps some more. NULL: none was ever */
	_Atomic(struct order *) ghosts[FORMAT_KEYSPACES];
	_Atomic uint64_t ghosts_added; /* pairs as the trees themselves */
	bool any_ghost;		       /* since a sweep last found none */
	_Atomic bool sweep_wanted;     /* some may not be needed any more */
	uint64_t wanted_from, wanted_to; /* those which end behind the one, up to the other; 0,
					    0: none */
	uint64_t sweep_from, sweep_to; /* the same, of the sweep under way */
	uint64_t swept;		       /* that sweeps have looked at */
	uint32_t sweep_next;	       /* number to look at; 0: no sweep is under way */
	struct version_saving *saving; /* or NULL. checkpoint_version.c */
};

struct snapshot {
	uint64_t seq, time_us;
	char name[KV_SNAPSHOT_NAME_MAX + 1];
};

/* All snapshots, by name. Protected by log.lock. snapshot.c */
struct snapshots {
	struct snapshot **list;
	unsigned count, capacity;
	struct snapshot **prepared; /* memory for the one that is being committed; who takes it
				       leaves NULL */
	_Atomic uint64_t changed_seq; /* the newest batch that changed the list; stored under
					 log.lock */
	_Atomic uint64_t saved_seq; /* the file has it as it was after this batch; the
				       maintainer's */
	_Atomic bool damaged; /* the file, and it was not replaced yet; the maintainer's */
	bool missed;   /* the checkpoint knows of changes that the file does not; by recovery */
	bool unlisted; /* there is no file; likewise */
};

/* What is known of checkpoints. The maintainer's, but for what statistics show. checkpoint_due.c */
struct checkpoints {
	/*
	 * Position in the log of the last one, in bytes since the store was opened; before zero,
	 * modulo 2^64, by what was replayed and would be again.
	 */
	_Atomic uint64_t behind_from;
	uint64_t position_bytes; /* the same, of one that is not durable yet */
	uint64_t resume_at_us;	 /* the next step, or look */
	uint64_t retry_at_us;	 /* after a failure */
	uint64_t wait_from_us;	 /* since then the last step waits for the log; 0: it does not */
	uint64_t kept_at_us;	 /* when one was last begun */
	uint64_t check;		 /* of the header of the one that is there */
	_Atomic uint64_t written, seq, bytes, took_us; /* how many; of the last one */
};

struct counters {
	_Alignas(64) _Atomic uint64_t gets;
	_Atomic uint64_t misses; /* of them: the rarer outcome */
};

/* What becomes of the one that is there when a store is opened. */
enum checkpoint_fate {
	CHECKPOINT_USED,
	CHECKPOINT_IGNORED, /* as if there were none */
	CHECKPOINT_REMOVED, /* before anything of the log is changed */
	CHECKPOINT_REMOVED_WITH_ROOM, /* likewise, if damaged segments can then be emptied */
};

struct kv {
	struct kv_env *env;
	struct env_dir *dir;
	struct env_file *super;
	struct format_super super_block; /* what it says, or its copy */
	_Atomic bool super_damaged;
	_Atomic bool checkpoint_damaged;
	unsigned lost_segments; /* that are passed over: their headers are lost, or not what their
				   names say, or they are no files */
	unsigned damaged_spares; /* whose headers are, or their ends missing, and that are passed
				    over: they hold nothing; by recovery */
	uint32_t missing_segments; /* that should be there; by recovery */
	uint64_t missing_id;	   /* of the one that the checkpoint missed; by recovery */
	uint32_t missing_slot;	   /* likewise */
	struct env_file *manifest; /* the list of segments, open to be written; the
				      maintainer's, as the next */
	uint64_t manifest_generation;
	uint64_t manifest_written; /* the newest that both copies were given */
	unsigned manifest_first;   /* the copy to begin with: the other one is whole */
	uint64_t manifest_last_id; /* of the log's last segment that it lists */
	bool manifest_stale;	   /* it misses some, or is not whole, and that is known */
	_Atomic bool manifest_damaged; /* not by a power failure, and not written anew yet */
	uint64_t passed_over_bytes; /* that are damaged, by the replay */
	_Atomic bool records_lost;  /* by this opening, or one before (loss.h) */
	bool loss_unmarked;	    /* by this one, and not durably yet; the maintainer's */
	struct kv_info info;
	bool inline_maintenance;
	uint64_t warm_size; /* bytes: a log up to this size is kept in the page cache as far as
			       that is free */
	uint64_t commit_interval_us;
	kv_report_fn *report;
	void *report_arg;

	struct keyhash keyhash;
	struct segments segments;
	struct index index;
	struct order *order_of[FORMAT_KEYSPACES]; /* NULL: not ordered; see store_order */
	struct checkpoint *checkpoint; /* that is being loaded, or NULL. checkpoint.c */
	_Atomic unsigned orders_loading; /* ordered indexes that are not there yet, a bit each;
					    cleared under log.lock */
	_Atomic unsigned orders_failed; /* and could not be loaded: a bit each */
	enum checkpoint_fate checkpoint_fate;
	/* What a checkpoint that was removed knew, by address; while the store is opened. */
	struct vouched_version *vouched_versions;
	size_t vouched_count;
	bool checkpoint_there;	       /* the file, of whatever age; the maintainer's */
	_Atomic bool indexes_whole;    /* all there: stored by the loader when it ends */
	uint64_t checkpoint_interval;  /* bytes of log; 0: as it sees fit */
	struct checkpoint_save *checkpoint_save; /* that is being written, or NULL; under
						    maintain.lock */
	struct checkpoints checkpoints;
	struct journal *order_changes; /* of ordered indexes that are being saved; with the next,
					  under log.lock */
	uint32_t orders_noted;	       /* which: a bit per keyspace, and one more for its ghosts */
	uint64_t checkpoint_seq;       /* that was opened from; 0: none was */
	struct log log;
	struct sync sync;
	struct maintain maintain;
	struct cold cold;
	struct dictionaries *dictionaries;
	struct compaction compaction;
	struct brake brake;
	struct scrub scrub;
	struct large large;
	struct times times;
	struct versions versions;
	struct snapshots snapshots;
	struct views views; /* here, because of its last field: each change looks at that and at
			       `replacing` */
	uint64_t tombstone_bytes; /* in the log; protected by log.lock */
	_Atomic int failed; /* the errno that poisoned the store, or 0 */
	_Atomic bool replacing; /* the last change found an older record; a hint, stored under
				   log.lock */

	/* Statistics; the first group is written under log.lock */
	_Atomic uint64_t keys[FORMAT_KEYSPACES];
	_Atomic uint64_t puts, deletes, batches, appended_bytes, relocated_bytes, waits;
	_Atomic uint64_t log_bytes, live_bytes;
	_Atomic uint64_t flushes, syncs, synced_batches, damaged;
	_Atomic uint64_t victims, compact_us; /* the maintainer's */
	_Atomic uint64_t compressed_raw_bytes, compressed_bytes; /* the maintainer's */
	uint64_t recovered_batches, recovered_bytes, open_us;
	_Atomic uint64_t written_bytes; /* of segments; by the flusher and the maintainer */
	struct timing timing;
	struct counters counters[STORE_STRIPES];
};

/* kv_open from the log alone: not CHECKPOINT_USED. As recover(), which see, says. */
int store_open_anew(struct kv_env *env, const char *path, const struct kv_open_options *options,
		    enum checkpoint_fate fate, struct kv **out)
	__attribute__((warn_unused_result));
__attribute__((format(printf, 3, 4))) void store_report(struct kv *kv, enum kv_severity severity,
							const char *format, ...);
/*
 * An error of this record, behind where it stands: "segment 7, offset 4096: ". Inside an epoch or
 * under the log's lock.
 */
__attribute__((format(printf, 3, 4), cold)) void
store_report_at(struct kv *kv, const struct format_record *record, const char *format, ...);
/* A keyspace's name, for messages. */
const char *store_keyspace_name(const struct kv *kv, unsigned keyspace);
/* Counts and reports a record that is not valid. */
void store_damaged(struct kv *kv, uint64_t address);
/* No change is possible any more until the store is opened again. Returns -EIO. */
int store_poison(struct kv *kv, int error, const char *what);

static inline void store_add(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer at a time: no locked instruction needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* So many bytes more, or less, at this address are needed. Called with the log's lock. */
static inline void store_account(struct kv *kv, uint64_t address, int64_t bytes)
{
	struct segment *segment = kv->segments.table[segments_slot(&kv->segments, address)];

	store_add(&segment->live_bytes, (uint64_t)bytes);
	store_add(&kv->live_bytes, (uint64_t)bytes);
}

#endif
