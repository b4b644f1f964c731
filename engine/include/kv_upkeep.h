/* SPDX-License-Identifier: MIT */
/*
 * kv_upkeep.h - the public interface of libkv, its second part: what a store tells of itself, and
 * how it is looked after: checkpoints, check, digests and repair, pruning, entries by age. kv.h,
 * which has the conventions, includes it.
 */
#ifndef KV_UPKEEP_H
#define KV_UPKEEP_H

#include "kv.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- self-knowledge -------------------------------------------------------------------------- */

/*
 * What is timed. Gets (and kv_contains) and commits: one in 32 or so; what waits for the disk: all.
 */
enum kv_operation {
	KV_OPERATION_GET,
	KV_OPERATION_COMMIT, /* puts and deletions are commits */
	KV_OPERATION_SYNC,   /* kv_sync, that had to wait */
	KV_OPERATION_FLUSH,  /* the writing and syncing itself, which many share */
};
#define KV_OPERATIONS 4u

/*
 * Since opening; quantiles are right within 3%. What a sample says includes reading the clock, some
 * 25 ns.
 */
struct kv_latency {
	uint64_t samples;
	uint64_t p50_ns, p99_ns, p999_ns, max_ns;
};

/* Timing is on from the start; off, it costs a countdown. */
KV_API void kv_set_timing(struct kv *kv, bool on);

struct kv_stats {
	uint64_t keys[KV_KEYSPACES_MAX]; /* keys now */
	uint64_t pieces;		 /* of large values, those that wait to be freed as well */
	uint64_t live_bytes;		 /* log bytes of the records that are the newest of their
					    key, or kept */
	uint64_t condemned_bytes;	 /* about: of them, what large values take that are being
					    freed */
	uint64_t views, snapshots;	 /* there are now; a snapshot's views count as well */
	uint64_t versions;		 /* records that are kept for them alone... */
	uint64_t kept_bytes;		 /* ...and their bytes in the log */
	uint64_t tombstone_bytes;	 /* log bytes of what says that keys were deleted */
	uint64_t log_bytes;		 /* log bytes of all records in the store */
	uint64_t disk_bytes;		 /* size of the store's files */
	uint64_t capacity_bytes; /* what the store's files take, and what the disk has free */
	uint64_t avail_bytes; /* what can still be put in: free on the disk, or garbage in the
				 store's files */
	uint64_t reserve_bytes; /* as free, but for what frees more than it takes */
	uint64_t segments;		 /* of the log */
	uint64_t memory_index_bytes, memory_order_bytes, memory_resident_bytes;
	uint64_t memory_versions_bytes;
	uint64_t puts, deletes, batches; /* since opening, as all below */
	uint64_t gets, hits;
	uint64_t appended_bytes; /* into the log by commits */
	uint64_t relocated_bytes; /* into the log by compaction */
	uint64_t emptied_segments; /* by compaction */
	uint64_t compact_us;	 /* time compaction took */
	uint64_t compressed_raw_bytes; /* of values compressed in the background... */
	uint64_t compressed_bytes;     /* ...and what they take since */
	uint64_t dictionaries;	 /* for that, in the store */
	uint64_t flushes, syncs, synced_batches; /* synced_batches / syncs: the group-commit size */
	uint64_t written_bytes; /* to the files, headers of segments aside: whole blocks, some
				   more than once */
	struct kv_latency latencies[KV_OPERATIONS];
	uint64_t waits;		 /* commits that had to wait for the disk */
	uint64_t brakes, brake_us; /* commits that waited for compaction, because the log had far
				      too much garbage; how long in all */
	uint64_t damaged;	 /* damaged records or stretches met */
	bool records_lost;	 /* this opening has passed over some, or missed segments, or one
				    before, or a repair: what they replaced may be back */
	uint64_t failed; /* 1: a write or a sync failed, and every change is refused (kv.h, Failure) */
	uint64_t scrubs, scrubbed_bytes; /* passes over the store in the background, and what
					    they verified */
	uint64_t scrub_findings; /* segments in which they found damage, or more of it, and
				    files; in `damaged` as well */
	uint64_t recovered_batches, recovered_bytes; /* replayed when opening */
	uint64_t checkpoints;	   /* written, as of the next three the last one */
	uint64_t checkpoint_seq;   /* what it holds: batches up to here; of one that was opened
				      from as well */
	uint64_t checkpoint_bytes; /* of its file */
	uint64_t checkpoint_us;	   /* how long that took */
	uint64_t behind_bytes;	   /* log that opening would have to replay after a crash now */
	uint64_t emptied_bytes;	   /* by compaction, and freed when the next checkpoint is
				      written */
	uint64_t open_us;	 /* time kv_open took */
	uint64_t last_seq, durable_seq;
};

/* Waits for nothing that the store does in the background. */
KV_API void kv_stats(struct kv *kv, struct kv_stats *out);
/* live_bytes alone, which costs a load. */
KV_API uint64_t kv_live_bytes(const struct kv *kv);

/*
 * Writes a checkpoint now, beside readers and writers: after a crash only what is committed from
 * here on is replayed. The store does that by itself whenever there is a good deal to replay.
 * Errors: as kv_commit, and -EAGAIN the store grows too fast at the moment.
 */
KV_API KV_MUST_CHECK int kv_checkpoint(struct kv *kv);

/* Called from time to time with what is done of the whole; stops the work by returning non-zero. */
typedef int kv_progress_fn(void *arg, uint64_t done_bytes, uint64_t total_bytes);

/*
 * Reads everything and verifies it: every record's checksum, and that both indexes agree with the
 * log. Findings go to `report` (not NULL). progress (may be NULL) gets the bytes done and in all,
 * and stops the check by returning non-zero. Out: the number of findings. Runs beside readers;
 * writers wait. Errors: -ENOMEM, -ECANCELED by progress.
 */
KV_API KV_MUST_CHECK int kv_check(struct kv *kv, kv_report_fn *report, void *report_arg,
				  kv_progress_fn *progress, void *progress_arg, uint64_t *findings);

#define KV_DIGEST_SIZE 32u
#define KV_DIGEST_KEY_MAX 64u

struct kv_digest_options {
	const void *key;    /* secret, kept outside the store: who does not know it cannot make a
			       digest that agrees */
	size_t key_size;    /* 0..KV_DIGEST_KEY_MAX bytes; 0: anybody can make the digest */
	size_t entries_max; /* sorted at once, 40 bytes each and what qsort(3) takes, more passes
			       behind; 0: 6 M */
};

/*
 * What a view shows (NULL: the store as it is now) as one number, BLAKE2b-256 (engine/digest.c says
 * of what). It follows from the names of the keyspaces, the keys and the values alone: copies of a
 * store have the same, however their logs lie, and a snapshot has the same for ever, whatever
 * compaction moves; anything that was changed, added or taken away shows. Reads all; holds nobody
 * up. options and progress (which gets live bytes, about) may be NULL. Errors: -EINVAL the key,
 * -EIO something cannot be read, -ENOMEM, -ECANCELED by progress.
 */
KV_API KV_MUST_CHECK int kv_digest(struct kv *kv, const struct kv_view *view,
				   const struct kv_digest_options *options,
				   kv_progress_fn *progress, void *progress_arg,
				   uint8_t digest[KV_DIGEST_SIZE]);

struct kv_repair_report {
	uint64_t mended;     /* places that were damaged and are not any more */
	uint64_t lost_bytes; /* of the log, that could not be brought back; of a file that was
				cut off all that is missing, if the log does not end before it */
	uint64_t remaining;  /* findings that are left */
};

/*
 * Repairs a store that nobody has open: the superblock and segments' headers are written again from
 * their copies, what is valid in damaged segments is moved to new ones, and segments of which
 * nothing can be read are renamed (lost-...). `report` is told what was mended and what was lost.
 * Changes nothing in a store that is whole; may be interrupted, and run again. What is lost of keys
 * that were overwritten may come back in its older state. Errors: as kv_open; -EIO where the disk
 * cannot be read: then nothing is given up.
 */
KV_API KV_MUST_CHECK int kv_repair(struct kv_env *env, const char *path, kv_report_fn *report,
				   void *report_arg, struct kv_repair_report *out);

/*
 * That records were lost (records_lost of kv_stats) is kept in mind from the opening or the repair
 * that finds it out, also where nobody could tell any more, until who uses the store says that the
 * records that are left agree with each other. What a replay passes over is found again by each
 * opening that replays it. Durable on return. -EROFS, -EIO, -ENOMEM
 */
KV_API KV_MUST_CHECK int kv_forget_loss(struct kv *kv);
/*
 * The same as if damage had been found: that records may not agree, as who uses the store knows. As
 * kv_forget_loss, and -ENOSPC; an error leaves it as it was
 */
KV_API KV_MUST_CHECK int kv_note_loss(struct kv *kv);

/* ---- pruning --------------------------------------------------------------------------------- */

struct kv_prune_options {
	/* Segments of which at least this share is garbage are emptied, 1..99 per cent; 0: 10. */
	unsigned garbage_percent;
};

struct kv_prune_report {
	uint64_t segments;     /* emptied */
	uint64_t copied_bytes; /* of them were still needed */
	uint64_t freed_bytes;  /* less log than before; 0 if others wrote more meanwhile */
	uint64_t log_bytes;    /* are left */
	uint64_t duration_us;
};

/*
 * Gives back, now, the space of what was overwritten and deleted: what the store does by itself in
 * the background only when more than half of the log is garbage; and compresses what that is worth
 * for, where the store does so. Works beside readers and writers, in constant memory, and needs two
 * segments of free disk; each segment's worth that is done stays done when it is interrupted, in
 * whatever way. Also makes everything durable. options, progress and report may be NULL; the report
 * is written in every case. Errors: -EINVAL options, -EROFS, -EIO, -ENOSPC, or what else kv_commit
 * says of it, no room for copies, -ECANCELED by progress.
 */
KV_API KV_MUST_CHECK int kv_prune(struct kv *kv, const struct kv_prune_options *options,
				  kv_progress_fn *progress, void *progress_arg,
				  struct kv_prune_report *report);

/* ---- age ------------------------------------------------------------------------------------- */

/*
 * The clock is sampled once a second while the store is written to. Times are in microseconds since
 * 1970, of the clock of the machine that wrote; one that is set back makes things look younger.
 *
 * When was batch `seq` (the version of an entry) committed? Out: after one time and at or before
 * the other; what is 2 minutes ago to the second, what is longer ago to within 3%. -EINVAL there is
 * no such batch yet, -EIO
 */
KV_API KV_MUST_CHECK int kv_time_of(struct kv *kv, uint64_t seq, uint64_t *after_us,
				    uint64_t *before_us);

/*
 * Deletes every entry of a keyspace that has not been put since `before_us`; of what is less than
 * the precision of kv_time_of away from that, nothing. Works beside readers and writers, in
 * constant memory; an entry that is put meanwhile stays. kv_prune gives back the space. progress
 * (may be NULL) gets entries instead of bytes; what is done when it stops the work stays done. Out
 * (may be NULL), also on an error: how many were deleted. Errors: -EINVAL keyspace, -ECANCELED by
 * progress, and as kv_commit.
 */
KV_API KV_MUST_CHECK int kv_expire(struct kv *kv, unsigned keyspace, uint64_t before_us,
				   kv_progress_fn *progress, void *progress_arg, uint64_t *expired);

#ifdef __cplusplus
}
#endif
#endif
