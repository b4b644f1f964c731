/* SPDX-License-Identifier: MIT */
/*
 * kv.h - an embedded, crash-safe key-value store: the public interface of libkv.
 *
 * A store is a directory with a log of segments and, in memory, a hash index over it (and an
 * ordered index for the keyspaces that ask for one). Keys and values are any bytes; a key lives in
 * one of the store's keyspaces.
 *
 * Conventions
 *   Errors      0 or a negative errno. An out parameter is written only on success. One that is a
 *               sequence number may be NULL.
 *   Threads     Every function may be called from any thread at any time, unless it says otherwise.
 *               A batch, a cursor, an iterator and a stream belong to one thread at a time.
 *   Lifetimes   What kv_get and a cursor return points into the store's memory and lives until the
 *               calling thread's kv_read_end. A read section delays the giving back of memory, so
 *               keep it short: no waiting inside, and no kv_sync or kv_close.
 *               What was opened or made is closed or freed by its own function, which NULL is fine
 *               for, before kv_close.
 *   Order       Batches are numbered 1, 2, 3... in commit order: the sequence number. After a crash
 *               the store holds the batches 1..n for some n that is at least what was synced.
 *   Files       An open store has up to two open files and one map for each segment: RLIMIT_NOFILE
 *               and, beyond 65,000 segments, vm.max_map_count bound its size. Larger segments need
 *               fewer.
 *   Failure     After a failed write or sync the store is poisoned: reads go on, every change is
 *               refused with -EROFS until the store is opened again (the failing call gets -EIO).
 *   Signals     The first kv_open takes SIGBUS, to make an error of a page that cannot be read. A
 *               thread that reads must not have it blocked, or the fault ends the process; who
 *               takes it afterwards passes on what is not his own.
 *   Upkeep      Statistics, check and repair, pruning, expiry: kv_upkeep.h, which comes with this
 *               header.
 *
 * A first program: engine/example.c.
 */
#ifndef KV_H
#define KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KV_API __attribute__((visibility("default")))
#define KV_MUST_CHECK __attribute__((warn_unused_result))

struct kv;	  /* an open store */
struct kv_batch;  /* changes that become visible, and durable, together */
struct kv_cursor; /* a place in an ordered keyspace */
struct kv_stream; /* a value on its way in */
struct kv_iterator; /* a pass over a whole keyspace */
struct kv_view;	  /* the store as it was at one moment */
struct kv_env;	  /* the world underneath: files and clock. Always NULL, the operating system,
		     but for tests */

#define KV_KEY_SIZE_MAX 65535u /* bytes; a key has at least one byte */
#define KV_KEYSPACES_MAX 14u
#define KV_LARGE_VALUE_SIZE_MAX ((uint64_t)1 << 32) /* bytes */
#define KV_KEYSPACE_NAME_MAX 15u
#define KV_SNAPSHOT_NAME_MAX 255u /* bytes */
#define KV_SNAPSHOTS_MAX 65534u /* 16 bits tell them apart, and the store and their list */

/* Bytes that somebody else owns. */
struct kv_slice {
	const void *data;
	size_t size; /* bytes */
};

/* ---- making a store ------------------------------------------------------------------------- */

enum kv_hash { KV_HASH_XXH3 = 1, KV_HASH_BLAKE2B = 2 };
/*
 * When values are compressed, with zstd: never; as they are written; or in the background, once
 * they have not changed for a while, with dictionaries trained from them. A value that would not
 * become smaller stays as it is.
 */
enum kv_compress { KV_COMPRESS_NONE = 0, KV_COMPRESS_INLINE = 1, KV_COMPRESS_BACKGROUND = 2 };

struct kv_keyspace_spec {
	const char *name; /* 1..KV_KEYSPACE_NAME_MAX bytes, no other's */
	bool ordered;	  /* cursors work; costs about 28 bytes of memory a key */
};

struct kv_create_options {
	const struct kv_keyspace_spec *keyspaces; /* keyspace number = position */
	unsigned keyspace_count;		  /* 1..KV_KEYSPACES_MAX */
	enum kv_hash hash;			  /* 0: KV_HASH_XXH3 */
	enum kv_compress compress;
	int compress_level;    /* zstd level; 0: 1, in the background 3 */
	uint32_t segment_size; /* bytes, a power of two, 1 MiB..1 GiB; 0: 16 MiB, less on
				  a disk of less than 512 MiB, or with less than 128 MiB
				  available; 2 MiB at least */
	uint64_t application;  /* whose store it is: returned by kv_info, never interpreted */
};

/* Severity of a message, as in syslog(3). */
enum kv_severity { KV_ERROR = 3, KV_WARNING = 4, KV_INFO = 6 };

/*
 * Receives messages for people: one line, no newline. Any thread; must not call the store. Where
 * one is taken NULL drops the messages, unless it says otherwise.
 */
typedef void kv_report_fn(void *arg, enum kv_severity severity, const char *message);

/*
 * Makes what a process has one of for all its stores (its ring), for a process that then forbids
 * itself to make any; without, it is made when it is needed. What cannot be had is done without.
 */
KV_API void kv_env_prepare(void);

/*
 * Makes a store in `path`: a directory that does not exist (its parent does) or is empty.
 * Durable on return. Errors, each of which is reported: -EEXIST not empty, -EINVAL options, -EFBIG
 * segments larger than the process may make files (RLIMIT_FSIZE), and those of mkdir(2), open(2)
 * and write(2).
 */
KV_API KV_MUST_CHECK int kv_create(struct kv_env *env, const char *path,
				   const struct kv_create_options *options, kv_report_fn *report,
				   void *report_arg);

/*
 * May a file of this name be a store's? For whoever takes a store away again: any other file in the
 * directory is somebody else's.
 */
KV_API bool kv_is_file_name(const char *name);

/* ---- opening --------------------------------------------------------------------------------- */

#define KV_OPEN_READ_ONLY (1u << 0) /* nothing is written; changes get -EROFS */
/*
 * No thread of the store's own: callers do the background work, only kv_sync and kv_close make
 * anything durable, and only kv_sync samples the clock (kv_time_of).
 */
#define KV_OPEN_INLINE (1u << 1)

#define KV_SCRUB_NEVER UINT64_MAX

struct kv_open_options {
	unsigned flags;
	unsigned commit_interval_ms; /* at most this old is what a crash loses; 0: 1000 */
	uint64_t resident_size;	     /* bytes of newest log kept in memory besides the page
					cache; 0: default */
	uint64_t checkpoint_interval; /* bytes of log after which the next checkpoint is written;
					 0: by the size of what is written */
	/*
	 * The scrub reads the store through in the background and verifies each record, also those
	 * that nobody reads, and each file. Damage is reported and counted in kv_stats.
	 * scrub_rate: bytes a second, an eighth of that while the store is used; 0: 16 MiB;
	 * KV_SCRUB_NEVER: no scrub.
	 * scrub_interval_s: from the beginning of one pass to the next, and from opening to the
	 * first, which begins after ten minutes at the latest; 0: a week.
	 */
	uint64_t scrub_rate;
	unsigned scrub_interval_s;
	kv_report_fn *report;
	void *report_arg;
};

/*
 * Opens a store, recovers it after a crash. The store is locked until kv_close: one process for
 * writing, or any number for reading. options: NULL for the defaults.
 * Damage that was met and skipped is reported and counted in kv_stats; the rest is there.
 * Errors: -EBUSY locked by another process, -ENOENT, -ENOTDIR, -EMEDIUMTYPE not a store,
 * -EPROTONOSUPPORT of a newer format, -EUCLEAN damaged beyond opening, -EFBIG for writing, where
 * its segments are larger than the process may make files (RLIMIT_FSIZE), -EIO, -ENOMEM, and those
 * of open(2). Each is reported.
 */
KV_API KV_MUST_CHECK int kv_open(struct kv_env *env, const char *path,
				 const struct kv_open_options *options, struct kv **out);

/*
 * Syncs, and closes. The store is freed in every case; the result is that of the last sync.
 * No other call may be under way, and nothing of the store's be open. NULL is fine.
 */
KV_API int kv_close(struct kv *kv);

struct kv_info {
	uint8_t uuid[16];
	uint64_t application;
	enum kv_hash hash;
	enum kv_compress compress;
	int compress_level;
	uint32_t segment_size; /* bytes */
	uint32_t batch_size_max; /* bytes a batch may take in the log */
	uint32_t value_size_max; /* bytes of a value in a batch, and of one that kv_get returns */
	unsigned keyspace_count;
	bool read_only;
	struct {
		char name[KV_KEYSPACE_NAME_MAX + 1];
		bool ordered;
	} keyspaces[KV_KEYSPACES_MAX];
};

KV_API void kv_info(const struct kv *kv, struct kv_info *out);

/* ---- reading --------------------------------------------------------------------------------- */

/*
 * Opens a read section of this thread; sections nest. What is read inside keeps its place until the
 * outermost kv_read_end. Costs a few nanoseconds, never waits.
 */
KV_API void kv_read_begin(struct kv *kv);
KV_API void kv_read_end(struct kv *kv);

/*
 * The newest committed value of a key. Call inside a read section; the value points into the store
 * (a compressed one into memory of this thread, until the thread's next kv_get or kv_cursor_value).
 * Errors: -ENOENT, -EIO the record is damaged (reported), -EINVAL keyspace or key size, -EFBIG over
 * value_size_max: see kv_read. A value that is kept in pieces is put together in memory of this
 * thread, until its next kv_get as well.
 */
KV_API KV_MUST_CHECK int kv_get(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
				struct kv_slice *value);

/*
 * As kv_get for whoever looks at `size` bytes of the value from `offset` on, and not at the rest,
 * which may be on the disk, or unreadable. The slice is the whole value. Of a large value that
 * costs less, again and again, than all of it does.
 */
KV_API KV_MUST_CHECK int kv_get_part(struct kv *kv, unsigned keyspace, const void *key,
				     size_t key_size, size_t offset, size_t size,
				     struct kv_slice *value);

/* As kv_get, and the number of the batch that put it: the entry's version. */
KV_API KV_MUST_CHECK int kv_get_seq(struct kv *kv, unsigned keyspace, const void *key,
				    size_t key_size, struct kv_slice *value, uint64_t *seq);

/* A key and what the store has for it. */
struct kv_entry {
	struct kv_slice key;
	struct kv_slice value; /* if status is 0 */
	uint64_t seq;	       /* of the batch that put it: the entry's version; if status is 0 */
	int status;	       /* 0, or an error of kv_get's */
};

/*
 * Reads many keys of a keyspace at once: the caller gives each entry its key and gets the rest.
 * What costs a look-up its time, waiting for memory, is done for all of them together: 2 to 4 times
 * as fast as one by one. Call inside a read section; values as those of kv_get, but compressed ones
 * stay until the thread's next reading call.
 */
KV_API void kv_multi_get(struct kv *kv, unsigned keyspace, struct kv_entry *entries, size_t count);

/*
 * Is there such a key? 0 or -ENOENT; the value is not looked at. Needs no read section. -EINVAL,
 * -EIO as kv_get
 */
KV_API KV_MUST_CHECK int kv_contains(struct kv *kv, unsigned keyspace, const void *key,
				     size_t key_size);

/*
 * Says that a key will soon be read or written over. What is not in memory is asked of the disk,
 * without waiting for it; of a large value the beginning at most. Needs no read section.
 */
KV_API void kv_prefetch(struct kv *kv, unsigned keyspace, const void *key, size_t key_size);

/* ---- changing -------------------------------------------------------------------------------- */

/*
 * A batch may be committed, and then filled again, any number of times; it keeps its memory.
 * -ENOMEM
 */
KV_API KV_MUST_CHECK int kv_batch_new(struct kv *kv, struct kv_batch **out);
KV_API void kv_batch_free(struct kv_batch *batch);
/* Empties it, of changes and conditions. */
KV_API void kv_batch_reset(struct kv_batch *batch);

/*
 * Adds a change; key and value are copied (but see kv_batch_put_lent). Within a batch the last
 * change of a key wins. Errors: -EINVAL keyspace or key size, -EFBIG value over value_size_max,
 * -E2BIG batch over batch_size_max, -ENOMEM. After an error the batch is as it was before the call.
 */
KV_API KV_MUST_CHECK int kv_batch_put(struct kv_batch *batch, unsigned keyspace, const void *key,
				      size_t key_size, const void *value, size_t value_size);
/* The value is the concatenation of `count` parts. */
KV_API KV_MUST_CHECK int kv_batch_putv(struct kv_batch *batch, unsigned keyspace, const void *key,
				       size_t key_size, const struct kv_slice *parts,
				       unsigned count);
/*
 * The value is not copied yet: it must stay as it is until kv_commit or kv_batch_reset. One copy
 * less for large values.
 */
KV_API KV_MUST_CHECK int kv_batch_put_lent(struct kv_batch *batch, unsigned keyspace,
					   const void *key, size_t key_size, const void *value,
					   size_t value_size);
/* Deleting a key that is not there is no error. */
KV_API KV_MUST_CHECK int kv_batch_delete(struct kv_batch *batch, unsigned keyspace, const void *key,
					 size_t key_size);
/*
 * Marks the batch as one that frees more than it takes (an unlink, a truncation): on a full disk it
 * may use the reserve that is kept so that deleting always works. Cleared by kv_commit and
 * kv_batch_reset.
 */
KV_API void kv_batch_set_frees(struct kv_batch *batch);
/*
 * Conditions: the batch is committed only if, at that moment, each of these keys is as expected;
 * otherwise nothing is changed, the batch is kept, and kv_commit returns -EEXIST (a key is there
 * that should not be) or -ESTALE (anything else). Expected is the state before the batch. seq: what
 * kv_get_seq said; 0: there is no such key. Expecting a value compares its bytes under the commit
 * lock: for small ones. Errors as kv_batch_put.
 */
KV_API KV_MUST_CHECK int kv_batch_expect(struct kv_batch *batch, unsigned keyspace, const void *key,
					 size_t key_size, uint64_t seq);
KV_API KV_MUST_CHECK int kv_batch_expect_value(struct kv_batch *batch, unsigned keyspace,
					       const void *key, size_t key_size, const void *value,
					       size_t value_size);
/* How many changes are in it; a key that is changed twice counts twice. */
KV_API size_t kv_batch_count(const struct kv_batch *batch);

/*
 * Makes the batch's changes visible to every reader, one after the other, and to recovery at once
 * or not at all; empties the batch. The sequence number is for kv_sync. An empty batch gets the
 * number of the last commit. Memory speed; waits only when the disk cannot keep up.
 * Errors: -EROFS read-only or poisoned; -ENOSPC disk full, -EDQUOT over a quota, -EFBIG a segment
 * is larger than the process may make files (that ignores SIGXFSZ), -EMFILE and -ENFILE too many
 * open files, -ENOMEM (of all these: nothing changed, the batch is kept); -EEXIST, -ESTALE a
 * condition does not hold (see kv_batch_expect); -EIO.
 */
KV_API KV_MUST_CHECK int kv_commit(struct kv *kv, struct kv_batch *batch, uint64_t *seq);

/*
 * One change, committed. kv_put takes values to KV_LARGE_VALUE_SIZE_MAX; those over value_size_max
 * as a stream does. Errors: as kv_batch_put and kv_commit; -EFBIG.
 */
KV_API KV_MUST_CHECK int kv_put(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
				const void *value, size_t value_size, uint64_t *seq);
KV_API KV_MUST_CHECK int kv_delete(struct kv *kv, unsigned keyspace, const void *key,
				   size_t key_size, uint64_t *seq);

/* ---- large values ---------------------------------------------------------------------------- */

/*
 * Values up to KV_LARGE_VALUE_SIZE_MAX, read and changed in part. A value over value_size_max, and
 * one that was streamed or changed in part once it has more than some 64 KiB, is kept in pieces of
 * 64 KiB: changing a part appends the pieces that it touches, and parts that were never written
 * read as zeros and take no space. All else treats such a value like any other: batches put over it
 * and delete it, cursors come upon it, kv_contains knows it. Its pieces are deleted in the
 * background, some at a time.
 */

/* The value's size in bytes. Needs no read section. Errors as kv_get; never -EFBIG. */
KV_API KV_MUST_CHECK int kv_value_size(struct kv *kv, unsigned keyspace, const void *key,
				       size_t key_size, uint64_t *size);
/*
 * Copies up to `size` bytes of the value from `offset` on; *done: how many there were, 0 behind the
 * end. All of them are of one and the same state of the value, whoever changes it meanwhile. Is a
 * read section of its own: read gigabytes in calls of a few MiB, or deleted data is kept waiting.
 * Errors as kv_get; never -EFBIG.
 */
KV_API KV_MUST_CHECK int kv_read(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
				 uint64_t offset, void *buffer, size_t size, size_t *done);

/*
 * A value as it was when it was opened: without copies, part by part. Lives on the stack; needs no
 * closing.
 */
struct kv_value {
	uint64_t size; /* bytes */
	/* The store's. */
	struct kv *kv;
	const struct kv_view *view; /* NULL: as it is now */
	const void *record, *data;
};
/* Call inside a read section, which the value is then for. Errors as kv_read. */
KV_API KV_MUST_CHECK int kv_value_open(struct kv *kv, unsigned keyspace, const void *key,
				       size_t key_size, struct kv_value *out);
/*
 * What stands at `offset`: at least one byte, at most to the end of the piece; empty behind the
 * value's end. The slice is valid until the end of the read section, or the thread's next call
 * where values are compressed. A value that is replaced or deleted meanwhile stays readable to its
 * end. Errors: -ESTALE what was asked for has been changed in place (kv_write, kv_resize) since:
 * open it again; -EIO, -ENOMEM.
 */
KV_API KV_MUST_CHECK int kv_value_part(const struct kv_value *value, uint64_t offset,
				       struct kv_slice *part);

/*
 * Writes a part of a value, atomically; what lies between its end and the offset becomes a hole. A
 * key that is not there gets a value. Only the pieces that are touched are written; concurrent
 * changes of one value are ordered, none is lost. Errors: as kv_commit, -EINVAL, -EFBIG beyond
 * KV_LARGE_VALUE_SIZE_MAX, -E2BIG the pieces do not fit in a batch: write less than value_size_max
 * / 2 at a time, or stream.
 */
KV_API KV_MUST_CHECK int kv_write(struct kv *kv, unsigned keyspace, const void *key,
				  size_t key_size, uint64_t offset, const void *data, size_t size,
				  uint64_t *seq);
/* Cuts the value off, or adds a hole at its end, atomically. Errors as kv_write, -ENOENT. */
KV_API KV_MUST_CHECK int kv_resize(struct kv *kv, unsigned keyspace, const void *key,
				   size_t key_size, uint64_t size, uint64_t *seq);

/*
 * A stream puts a value that is not in memory as a whole. Nothing of it is visible, and after a
 * crash nothing of it is there, until the commit makes all of it the key's value at once. It takes
 * 64 KiB of memory. Any number may be open, for the same key too. -EINVAL keyspace or key size,
 * -EROFS, -ENOMEM
 */
KV_API KV_MUST_CHECK int kv_stream_open(struct kv *kv, unsigned keyspace, const void *key,
					size_t key_size, struct kv_stream **out);
/*
 * Errors: as kv_commit; after one only kv_stream_abort is left, but where the value would be larger
 * than KV_LARGE_VALUE_SIZE_MAX, -EFBIG changes nothing.
 */
KV_API KV_MUST_CHECK int kv_stream_append(struct kv_stream *stream, const void *data, size_t size);
/* Frees the stream if it returns 0; after an error it may be tried again, or aborted. */
KV_API KV_MUST_CHECK int kv_stream_commit(struct kv_stream *stream, uint64_t *seq);
/* Gives the stream up, and its pieces back. */
KV_API void kv_stream_abort(struct kv_stream *stream);

/* ---- durability ------------------------------------------------------------------------------ */

/* The newest committed sequence number, and the newest one known to be durable. */
KV_API uint64_t kv_last_seq(const struct kv *kv);
KV_API uint64_t kv_durable_seq(const struct kv *kv);

/*
 * Returns when everything up to `seq` is on stable storage. Callers share syncs. Errors: -EIO,
 * -EINVAL there is no such batch yet.
 */
KV_API KV_MUST_CHECK int kv_sync(struct kv *kv, uint64_t seq);

/*
 * Calls done(waiter, status) once everything up to waiter->seq is durable (status 0) or never will
 * be (an error of kv_sync's). The caller owns the waiter and leaves it alone until then. `done`
 * runs on the store's flushing thread, or at once on this one if there is nothing to wait for or
 * the store has no threads (KV_OPEN_INLINE): it must not wait, and must not call kv_sync or
 * kv_close.
 */
struct kv_waiter {
	uint64_t seq;
	void (*done)(struct kv_waiter *waiter, int status);
	struct kv_waiter *next; /* the store's */
};
KV_API void kv_sync_notify(struct kv *kv, struct kv_waiter *waiter);

/* ---- ordered keyspaces ----------------------------------------------------------------------- */

/*
 * A cursor walks an ordered keyspace in the order of memcmp (a shorter key before its extensions).
 * It survives every concurrent change: a move goes to the nearest key in its direction that is
 * there at that moment. The key is the cursor's own copy, valid until its next move; the value
 * needs the read section in which it was asked for. Moves return 0, -ENOENT beyond the last key
 * (the cursor is then nowhere, and next and prev return -ENOENT until it is placed again), -ENOMEM;
 * -EIO for good where the index cannot be loaded: a store that is opened again makes it anew.
 * Opening: -EINVAL no ordered keyspace, -ENOMEM, -EIO as of moves.
 */
KV_API KV_MUST_CHECK int kv_cursor_open(struct kv *kv, unsigned keyspace, struct kv_cursor **out);
KV_API void kv_cursor_close(struct kv_cursor *cursor);
/*
 * From now on the cursor knows only the keys in [from, to) (a size of 0: no bound), or those that
 * start with the prefix: beyond them it is nowhere, first and last are theirs. The cursor is
 * nowhere until it is placed. -EINVAL key sizes, -ENOMEM
 */
KV_API KV_MUST_CHECK int kv_cursor_set_range(struct kv_cursor *cursor, const void *from,
					     size_t from_size, const void *to, size_t to_size);
KV_API KV_MUST_CHECK int kv_cursor_set_prefix(struct kv_cursor *cursor, const void *prefix,
					      size_t prefix_size);
KV_API KV_MUST_CHECK int kv_cursor_first(struct kv_cursor *cursor);
KV_API KV_MUST_CHECK int kv_cursor_last(struct kv_cursor *cursor);
/* To the first key that is not less than this one. */
KV_API KV_MUST_CHECK int kv_cursor_seek(struct kv_cursor *cursor, const void *key, size_t key_size);
KV_API KV_MUST_CHECK int kv_cursor_next(struct kv_cursor *cursor);
KV_API KV_MUST_CHECK int kv_cursor_prev(struct kv_cursor *cursor);
/* No data, and size 0, where the cursor is nowhere. */
KV_API struct kv_slice kv_cursor_key(const struct kv_cursor *cursor);
/*
 * The value as kv_get; -ENOENT when the key was deleted since the cursor came here, or the cursor
 * is nowhere.
 */
KV_API KV_MUST_CHECK int kv_cursor_value(struct kv_cursor *cursor, struct kv_slice *value);

/*
 * Gives out 1..max entries, from the one that the cursor stands on; it then stands on the first
 * that was not given out, or nowhere. Keys deleted meanwhile are left out. Much faster than steps,
 * because records are fetched ahead. Call inside a read section; keys and values live as those of
 * kv_multi_get, but the key of an entry that cannot be read (its status says why) lives until the
 * cursor's next move. Errors: -ENOENT the cursor is nowhere, or all was deleted to the end;
 * -ENOMEM, -EIO as of moves.
 */
KV_API KV_MUST_CHECK int kv_cursor_read(struct kv_cursor *cursor, struct kv_entry *entries,
					size_t max, size_t *count);

/* ---- positions and counts -------------------------------------------------------------------- */

/* Keys in a keyspace of any kind. -EINVAL */
KV_API KV_MUST_CHECK int kv_count(struct kv *kv, unsigned keyspace, uint64_t *count);
/*
 * Of an ordered keyspace, without walking: how many keys are less than this one, which need not be
 * there; how many are in [from, to) (a size of 0: no bound). -EINVAL, -EIO the index cannot be
 * loaded
 */
KV_API KV_MUST_CHECK int kv_rank(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
				 uint64_t *rank);
KV_API KV_MUST_CHECK int kv_count_range(struct kv *kv, unsigned keyspace, const void *from,
					size_t from_size, const void *to, size_t to_size,
					uint64_t *count);
/* To the key that has exactly `position` keys before it, within the cursor's bounds: a move. */
KV_API KV_MUST_CHECK int kv_cursor_select(struct kv_cursor *cursor, uint64_t position);

/* ---- passes over everything ------------------------------------------------------------------ */

#define KV_ITERATE_KEYS (1u << 0) /* values are not wanted */

/*
 * An iterator gives out all entries of a keyspace, hashed or ordered, in no particular order, in
 * constant memory. It holds nothing up. A key that is there from beginning to end comes exactly
 * once, with a value that it had meanwhile; one that is put or deleted meanwhile comes or not; one
 * that is deleted and put again may come twice. flags: KV_ITERATE_KEYS. -EINVAL keyspace or flags,
 * -ENOMEM
 */
KV_API KV_MUST_CHECK int kv_iterator_open(struct kv *kv, unsigned keyspace, unsigned flags,
					  struct kv_iterator **out);
KV_API void kv_iterator_close(struct kv_iterator *iterator);
/*
 * The next entries, some dozens to hundreds: the array is the iterator's, until its next read.
 * Call inside a read section, which may end between two calls; keys and values live as those of
 * kv_multi_get. The status of an entry that cannot be read is -EIO; its key may be empty. -ENOENT:
 * that was all. -EIO: that was not, but a part of the index cannot be read.
 */
KV_API KV_MUST_CHECK int kv_iterator_read(struct kv_iterator *iterator,
					  const struct kv_entry **entries, size_t *count);

/* ---- views and snapshots --------------------------------------------------------------------- */

/*
 * A view is the store as it was when the view was opened, for good: what is put and deleted later
 * does not show in it. It costs nothing to open, holds nobody up, and reads what has not changed as
 * fast as the store itself; what is overwritten or deleted meanwhile stays in the log until no view
 * needs it. While there is none, nothing is kept. Any number of threads may use a view at once.
 * -ENOMEM
 */
KV_API KV_MUST_CHECK int kv_view_open(struct kv *kv, struct kv_view **out);
/* No cursor or iterator on it may be open. */
KV_API void kv_view_close(struct kv_view *view);
/* The newest batch that it shows. */
KV_API uint64_t kv_view_seq(const struct kv_view *view);

/*
 * As kv_get, kv_multi_get, kv_contains, kv_value_size, kv_read, kv_value_open, of the store as it
 * was. Never -ESTALE.
 */
KV_API KV_MUST_CHECK int kv_view_get(const struct kv_view *view, unsigned keyspace, const void *key,
				     size_t key_size, struct kv_slice *value);
KV_API void kv_view_multi_get(const struct kv_view *view, unsigned keyspace,
			      struct kv_entry *entries, size_t count);
KV_API KV_MUST_CHECK int kv_view_contains(const struct kv_view *view, unsigned keyspace,
					  const void *key, size_t key_size);
KV_API KV_MUST_CHECK int kv_view_value_size(const struct kv_view *view, unsigned keyspace,
					    const void *key, size_t key_size, uint64_t *size);
KV_API KV_MUST_CHECK int kv_view_read(const struct kv_view *view, unsigned keyspace,
				      const void *key, size_t key_size, uint64_t offset,
				      void *buffer, size_t size, size_t *done);
KV_API KV_MUST_CHECK int kv_view_value_open(const struct kv_view *view, unsigned keyspace,
					    const void *key, size_t key_size,
					    struct kv_value *out);

/*
 * A cursor on a view, for the calls of any other cursor; it knows the keys that were there. A view
 * counts no positions: kv_cursor_select walks to them. Passing over keys that came later takes time
 * as if they were there.
 */
KV_API KV_MUST_CHECK int kv_cursor_open_view(const struct kv_view *view, unsigned keyspace,
					     struct kv_cursor **out);

/* An iterator on a view gives out what was there then, each key exactly once. */
KV_API KV_MUST_CHECK int kv_iterator_open_view(const struct kv_view *view, unsigned keyspace,
					       unsigned flags, struct kv_iterator **out);

/*
 * What has been overwritten or deleted since: gives `each` every key of a keyspace that the view
 * has, and of which `to` does not see the same record. `to`: a later view, or NULL for the store as
 * it is; what is changed meanwhile may be among them. Keys that came since are not. It takes as
 * long as there are records that views and snapshots keep, whatever the size of the store. In no
 * order, each key once; the key is there until `each` returns, which runs in a read section: it
 * must not change the store, nor wait. What it returns, if it is not 0, ends it and is returned.
 * -EINVAL, -EIO
 */
typedef int kv_key_fn(void *arg, struct kv_slice key);
KV_API KV_MUST_CHECK int kv_view_changes(const struct kv_view *view, const struct kv_view *to,
					 unsigned keyspace, kv_key_fn *each, void *arg);

/*
 * A snapshot is a view with a name that lasts until it is deleted, through closing and crashes. A
 * name has 1..KV_SNAPSHOT_NAME_MAX bytes. Creating and deleting one are commits, with their numbers
 * and speed whatever the size of the store, and durable as other commits are.
 */
struct kv_snapshot {
	const char *name; /* while it is looked at: the store's, or the caller's own */
	uint64_t seq;	  /* the newest batch that it shows: the one that created it */
	uint64_t time_us; /* when, since 1970 */
};

/*
 * -EEXIST the name is taken, -EINVAL it is none, -EMFILE there are KV_SNAPSHOTS_MAX (or too many
 * open files), and as kv_commit
 */
KV_API KV_MUST_CHECK int kv_snapshot_create(struct kv *kv, const char *name, uint64_t *seq);
/*
 * What it alone has kept becomes free space, in the background. Views of it stay. -ENOENT, -EINVAL,
 * and as kv_commit
 */
KV_API KV_MUST_CHECK int kv_snapshot_delete(struct kv *kv, const char *name, uint64_t *seq);
/* -ENOENT, -EINVAL, -ENOMEM */
KV_API KV_MUST_CHECK int kv_snapshot_open(struct kv *kv, const char *name, struct kv_view **out);
/* What the list says of one; out->name is `name`. -ENOENT, -EINVAL */
KV_API KV_MUST_CHECK int kv_snapshot_stat(struct kv *kv, const char *name, struct kv_snapshot *out);
/*
 * Gives those that there are now to each(arg, snapshot), in the order of names; non-zero stops it
 * and is returned. -ENOMEM
 */
typedef int kv_snapshot_fn(void *arg, const struct kv_snapshot *snapshot);
KV_API KV_MUST_CHECK int kv_snapshot_list(struct kv *kv, kv_snapshot_fn *each, void *arg);

#ifdef __cplusplus
}
#endif

#include "kv_upkeep.h"
#endif
