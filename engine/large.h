/* SPDX-License-Identifier: MIT */
/*
 * large.h - values that are larger than one record, or are changed in parts: a header record in the
 * key's own place, pieces in the hidden keyspace.
 *
 *   large_header   bytes of header and keys
 *   large_read     kv_read, kv_value_*: from header to pieces
 *   large_write    kv_write, kv_resize
 *   stream         kv_stream_*, and large puts
 *   large_free     pieces that nobody needs any more
 *   large_settle   intents that damage has left behind
 *
 * Invariants
 *   A header is changed by one batch together with every piece that changes. So pieces that are not
 *   newer than a header are those that belong to it, and a reader needs no lock to know whether
 *   what it has put together is one value.
 *   A piece that is there belongs to the header that names it, or there is an intent for its id:
 *   written before the first piece of a stream, and in the batch that replaces, deletes or shortens
 *   the value. The last deletion of a piece takes the intent with it. So whatever a crash leaves is
 *   found again.
 *   Pieces of a replaced value go only after a grace period: who has read the old header reads the
 *   old value to its end.
 */
#ifndef LARGE_H
#define LARGE_H

#include "batch.h"
#include "large_header.h"
#include "store.h"

#define LARGE_KEYSPACE FORMAT_KEYSPACE_LARGE

void large_init(struct large *large);
void large_fini(struct large *large);
/* Values up to this size are written as one record where there is a choice. */
#define LARGE_SMALL_MAX ((uint64_t)1 << LARGE_SHIFT)

/* ---- reading: large_read.c ------------------------------------------------------------------- */

/*
 * A header record's whole value in value_memory; as it is now, if it has been changed since. -EFBIG
 * over value_size_max, -ENOENT deleted meanwhile, -EIO, -ENOMEM
 */
int large_assemble(struct kv *kv, const struct format_record *header, struct kv_slice *value);
/* As large_assemble, for a view that sees this header. -EFBIG, -EIO, -ENOMEM */
int large_assemble_then(const struct kv_view *view, const struct format_record *header,
			struct kv_slice *value);
/* Decodes the header record; -EIO, reported, if it is none. */
int large_decode(struct kv *kv, const struct format_record *record, struct large_header *out);

/* ---- writing --------------------------------------------------------------------------------- */

/* A random id that no value has. */
int large_new_id(struct kv *kv, uint64_t *id);
/* Adds the header record of a key to a batch. */
int large_put_header(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		     const struct large_header *header);

/*
 * A key whose newest record must have this number (0: there must be none) when a batch is
 * committed; see kv_batch.check.
 */
struct large_expect {
	unsigned keyspace;
	const void *key;
	size_t key_size;
	uint64_t seq;
};
int large_check_expected(struct kv *kv, const void *arg);

/*
 * The whole of a value, streamed; with expect (or NULL), which costs -EAGAIN where it is
 * disappointed.
 */
int stream_open(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		struct kv_stream **out);
int stream_commit(struct kv_stream *stream, const struct large_expect *expect, uint64_t *seq);
/* kv_put of a value over value_size_max. */
int stream_put(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
	       const void *value, size_t value_size, uint64_t *seq);
/* Is the id that of a stream that is still open? */
bool stream_is_open(struct kv *kv, uint64_t id);

/* ---- freeing: large_free.c ------------------------------------------------------------------- */

/*
 * The intents for what committing the batch would leave without a header, as a batch that goes
 * behind it. Called with the log's lock; *out is valid until that is let go. -ENOMEM
 */
int large_doom(struct kv *kv, const struct kv_batch *batch, const struct kv_batch **out);
/* At most so many bytes. */
static inline uint64_t large_doom_size_max(const struct kv_batch *batch)
{
	return batch->count * format_record_size(LARGE_INTENT_KEY_SIZE, 0);
}
/* The batch of large_doom has been committed. Called with the log's lock. */
void large_condemn(struct kv *kv);
/* There is something to free, or a stream that has ended. Any thread. */
void large_wake(struct kv *kv);
/* After a step: is there more to free, and room in the log for doing so? */
static inline bool large_has_more(const struct kv *kv)
{
	return atomic_load(&kv->large.awake) && !kv->large.retry_at_us;
}
/* One step of freeing, if there is anything to free. The maintainer's. */
void large_step(struct kv *kv);
/* The maintainer's, on a full disk: all that can be freed now. True: there was something. */
bool large_free_now(struct kv *kv);
/*
 * Frees everything that waits, on any thread that holds no lock; others who want to maintain are
 * served between two steps.
 */
void large_free_all(struct kv *kv);
/* A step for a store without a maintainer. The caller holds no lock. */
void large_step_inline(struct kv *kv);
/*
 * Called before anything is freed, where opening has come upon damage: an intent that condemns a
 * value whose header is there frees none of it, and is deleted, durably. Where that is refused it is
 * a matter of this opening, until large_spared_fini(). -ENOMEM, -EIO
 */
int large_settle(struct kv *kv);
/* Was it so? Then the intent alone goes. */
bool large_is_spared(const struct large *large, uint64_t id);
void large_spared_fini(struct large *large);
/* How long the maintainer may sleep before the next one: UINT64_MAX if nothing is under way. */
uint64_t large_pause_us(const struct kv *kv);

#endif
