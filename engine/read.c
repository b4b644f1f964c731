/* SPDX-License-Identifier: MIT */
/*
 * read.c - point reads: no locks, no copies, one cache miss for a key that is not there and two for one that is.
 */
#include <errno.h>

#include "epoch.h"
#include "lookup.h"
#include "read.h"
#include "readahead.h"
#include "value.h"
#include "view.h"

#define TOUCH_STRIDE 4096u /* the smallest page */

void kv_read_begin(struct kv *kv)
{
	(void)kv;
	epoch_enter();
}

void kv_read_end(struct kv *kv)
{
	(void)kv;
	epoch_leave();
}

/* Threads spread over the stripes; two that share one lose a count now and then, which costs less than a lock. */
static struct counters *counters_of(struct kv *kv)
{
	static _Atomic unsigned next;
	static __thread unsigned stripe;

	if (!stripe)
		stripe = 1 + atomic_fetch_add(&next, 1) % STORE_STRIPES;
	return &kv->counters[stripe - 1];
}

/*
 * An unreadable page reads as zeros, and a damaged record, or part of the hash index, could have been the one: what looks
 * absent may only be lost.
 */
static int absent(struct kv *kv, const struct lookup *lookup, uint64_t address)
{
	if (lookup->damaged) {
		store_damaged(kv, lookup->damaged);
		return -EIO;
	}
	if (atomic_load_explicit(&kv->index.failed, memory_order_relaxed) ||
	    (address && segments_failed(&kv->segments, address)))
		return -EIO;
	return -ENOENT;
}

struct find {
	struct lookup lookup;
	uint64_t address; /* the last one looked at */
};

static inline bool find_match(void *arg, uint64_t address)
{
	struct find *find = arg;

	find->address = address;
	/* The value's lines come with the header's, and not only when that has said how long it is. */
	read_prefetch_rest(find->lookup.segments, address);
	return lookup_match(&find->lookup, address);
}

static inline bool find_match_head(void *arg, uint64_t address)
{
	struct find *find = arg;

	find->address = address;
	return lookup_match_head(&find->lookup, address);
}

static inline __attribute__((always_inline)) int
find_with(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t hash,
	  index_match_fn *match, const struct format_record **out, uint64_t *address)
{
	struct find find = {{&kv->segments, key, key_size, keyspace, NULL, 0}, 0};
	struct counters *counters = counters_of(kv);

	store_add(&counters->gets, 1);
	if (!index_lookup(&kv->index, hash, match, &find))
		return absent(kv, &find.lookup, find.address);
	store_add(&counters->hits, 1);
	*out = find.lookup.record;
	*address = find.address;
	return 0;
}

static inline int find_hashed(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
			      uint64_t hash, const struct format_record **out, uint64_t *address)
{
	return find_with(kv, keyspace, key, key_size, hash, find_match, out, address);
}

static int find_record(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		       const struct format_record **out, uint64_t *address)
{
	if (keyspace >= kv->info.keyspace_count || !key_size || key_size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	return find_hashed(kv, keyspace, key, key_size,
			   keyhash_of(&kv->keyhash, keyspace, key, key_size), out, address);
}

int read_find(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t hash,
	      const struct format_record **out, uint64_t *address)
{
	return find_hashed(kv, keyspace, key, key_size, hash, out, address);
}

int read_find_head(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t hash,
		   const struct format_record **out, uint64_t *address)
{
	return find_with(kv, keyspace, key, key_size, hash, find_match_head, out, address);
}

/* Is all of the record in the page that its header is in, and that the lookup has read? */
static inline bool is_in_one_page(const struct format_record *record)
{
	uintptr_t start = (uintptr_t)record;

	return start / TOUCH_STRIDE == (start + format_record_length(record) - 1) / TOUCH_STRIDE;
}

/*
 * A page of a map that cannot be read turns into zeros when it is touched. So all of the record's are touched before
 * anybody trusts them, and if that went wrong somewhere in the segment, the record has to prove itself.
 */
static int prove_readable(struct kv *kv, const struct format_record *record, uint64_t address)
{
	struct segments *segments = &kv->segments;
	const struct segment *segment = segments->table[segments_slot(segments, address)];
	const uint8_t *map = atomic_load_explicit(&segment->map, memory_order_acquire);
	const volatile uint8_t *bytes = (const volatile uint8_t *)record;
	uint64_t length = format_record_length(record), offset;

	if (!map)
		return 0;
	for (offset = 0; offset < length; offset += TOUCH_STRIDE)
		(void)bytes[offset];
	(void)bytes[length - 1];
	if (!segments->env->map_failed(map, segments->size))
		return 0;
	if (segment_validate(segments, segment, map, segments_offset(segments, address)) > 0)
		return 0;
	store_report(kv, KV_ERROR, "segment %u, offset %u: a value in keyspace %s cannot be read",
		     segment->slot, segments_offset(segments, address),
		     store_keyspace_name(kv, record->keyspace));
	store_add(&kv->damaged, 1);
	return -EIO;
}

static inline int make_readable(struct kv *kv, const struct format_record *record, uint64_t address)
{
	if (record->value_size >= READAHEAD_VALUE_MIN)
		readahead_value(kv, address, record);
	return is_in_one_page(record) ? 0 : prove_readable(kv, record, address);
}

int read_make_readable(struct kv *kv, const struct format_record *record, uint64_t address)
{
	return is_in_one_page(record) ? 0 : prove_readable(kv, record, address);
}

int read_value(struct kv *kv, const struct format_record *record, uint64_t address,
	       struct kv_slice *value)
{
	int error = make_readable(kv, record, address);

	return error ? error : value_also(kv, record, value);
}

int read_value_then(const struct kv_view *view, const struct format_record *record,
		    uint64_t address, struct kv_slice *value)
{
	int error = make_readable(view->kv, record, address);

	return error ? error : value_then(view, record, value);
}

int read_record(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		const struct format_record **out)
{
	const struct format_record *record;
	uint64_t address;
	int error = find_hashed(kv, keyspace, key, key_size,
				keyhash_of(&kv->keyhash, keyspace, key, key_size), &record,
				&address);

	if (!error)
		error = make_readable(kv, record, address);
	if (!error)
		*out = record;
	return error;
}

int kv_get(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
	   struct kv_slice *value)
{
	uint64_t begun_ns = timing_begin(&kv->timing, KV_OPERATION_GET), address;
	const struct format_record *record;
	int error = find_record(kv, keyspace, key, key_size, &record, &address);

	if (!error)
		error = make_readable(kv, record, address);
	if (!error)
		error = value_of(kv, record, value);
	timing_end(&kv->timing, KV_OPERATION_GET, begun_ns);
	return error;
}

int kv_get_seq(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
	       struct kv_slice *value, uint64_t *seq)
{
	const struct format_record *record;
	uint64_t address;
	int error = find_record(kv, keyspace, key, key_size, &record, &address);

	if (!error)
		error = make_readable(kv, record, address);
	if (!error)
		error = value_of(kv, record, value);
	if (!error)
		*seq = record->seq;
	return error;
}

static void prefetch_record(void *arg, uint64_t address)
{
	struct kv *kv = arg;
	const struct segment *segment = kv->segments.table[segments_slot(&kv->segments, address)];
	uint64_t offset = segments_offset(&kv->segments, address);
	const uint8_t *map = segment ? atomic_load(&segment->map) : NULL;

	if (map && segment_has_head(&kv->segments, segment, address))
		return;
	if (map)
		kv->env->map_advise(map + (offset & ~(uint64_t)(TOUCH_STRIDE - 1)), TOUCH_STRIDE,
				    ENV_ADVICE_WILLNEED);
	else
		read_prefetch(&kv->segments, address);
}

void kv_prefetch(struct kv *kv, unsigned keyspace, const void *key, size_t key_size)
{
	if (keyspace >= kv->info.keyspace_count || !key_size || key_size > KV_KEY_SIZE_MAX)
		return;
	epoch_enter();
	index_peek(&kv->index, keyhash_of(&kv->keyhash, keyspace, key, key_size), prefetch_record,
		   kv);
	epoch_leave();
}

int kv_contains(struct kv *kv, unsigned keyspace, const void *key, size_t key_size)
{
	uint64_t begun_ns = timing_begin(&kv->timing, KV_OPERATION_GET), address;
	const struct format_record *record;
	int error;

	if (keyspace >= kv->info.keyspace_count || !key_size || key_size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	epoch_enter();
	/* Neither the value nor its lines are wanted. */
	error = read_find_head(kv, keyspace, key, key_size,
			       keyhash_of(&kv->keyhash, keyspace, key, key_size), &record,
			       &address);
	epoch_leave();
	timing_end(&kv->timing, KV_OPERATION_GET, begun_ns);
	return error;
}
