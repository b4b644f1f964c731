/* SPDX-License-Identifier: MIT */
/*
 * read.c - point reads: no locks, no copies, one cache miss for a key that is not there and two for
 * one that is.
 */
#include <errno.h>

#include "epoch.h"
#include "keyhash_inline.h"
#include "lookup.h"
#include "read.h"
#include "readahead.h"
#include "value.h"
#include "view.h"

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

/*
 * Threads spread over the stripes; two that share one lose a count now and then, which costs less
 * than a lock.
 */
static __thread __attribute__((tls_model("initial-exec")))
size_t stripe; /* where its counters are in a struct kv; 0: not chosen yet */

static __attribute__((noinline)) void take_stripe(void)
{
	static _Atomic unsigned next;

	stripe = offsetof(struct kv, counters) +
		 atomic_fetch_add(&next, 1) % STORE_STRIPES * sizeof(struct counters);
}

static inline struct counters *counters_at(struct kv *kv, size_t offset)
{
	return (struct counters *)(void *)((char *)kv + offset);
}

static inline struct counters *counters_of(struct kv *kv)
{
	if (__builtin_expect(!stripe, 0))
		take_stripe();
	return counters_at(kv, stripe);
}

/*
 * An unreadable page reads as zeros, and a damaged record, or part of the hash index, could have
 * been the one: what looks absent may only be lost.
 */
static __attribute__((noinline)) int doubtful(struct kv *kv, uint64_t damaged, uint64_t address)
{
	if (damaged) {
		store_damaged(kv, damaged);
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
	uintptr_t base;	  /* of its segment, with what is to be known of that */
};

static inline __attribute__((always_inline)) bool find_match(void *arg, uint64_t address)
{
	struct find *find = arg;
	const struct segments *segments = find->lookup.segments;
	uintptr_t base = segments_flagged_base(segments, segments_slot(segments, address));
	const uint8_t *record = (const uint8_t *)(base & ~SEGMENT_FLAGS) +
				segments_offset(segments, address);

	find->address = address;
	find->base = base;
	/*
	 * The value's lines come with the header's, and not only when that has said how long it is.
	 */
	__builtin_prefetch(record + 64);
	__builtin_prefetch(record + 128);
	if (__builtin_expect(base & SEGMENT_UNVERIFIED, 0))
		record = (const uint8_t *)segments_verify(segments, address);
	return lookup_judge(&find->lookup, address, (const struct format_record *)record);
}

static inline __attribute__((always_inline)) bool find_match_head(void *arg, uint64_t address)
{
	struct find *find = arg;

	find->address = address;
	return lookup_match_head(&find->lookup, address);
}

static inline __attribute__((always_inline)) int
find_with(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t hash,
	  index_match_fn *match, struct find *find)
{
	struct counters *counters = counters_of(kv);

	*find = (struct find){.lookup = {&kv->segments, key, key_size, keyspace, NULL, 0}};
	store_add(&counters->gets, 1);
	if (__builtin_expect(index_lookup(&kv->index, hash, match, find) != 0, 1))
		return 0;
	store_add(&counters->misses, 1);
	/* Only a record that was looked at can have been damaged, or in a page that is. */
	if (__builtin_expect(find->address |
				     atomic_load_explicit(&kv->index.failed, memory_order_relaxed),
			     0))
		return doubtful(kv, find->lookup.damaged, find->address);
	return -ENOENT;
}

static inline bool is_key(const struct kv *kv, unsigned keyspace, size_t key_size)
{
	return keyspace < kv->info.keyspace_count && key_size - 1 < KV_KEY_SIZE_MAX;
}

static inline __attribute__((always_inline)) int
find_key(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, index_match_fn *match,
	 struct find *find)
{
	if (!is_key(kv, keyspace, key_size))
		return -EINVAL;
	return find_with(kv, keyspace, key, key_size,
			 keyhash_of(&kv->keyhash, keyspace, key, key_size), match, find);
}

static inline int found(int error, const struct find *find, const struct format_record **out,
			uint64_t *address)
{
	if (error)
		return error;
	*out = find->lookup.record;
	*address = find->address;
	return 0;
}

int read_find(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t hash,
	      const struct format_record **out, uint64_t *address)
{
	struct find find;

	return found(find_with(kv, keyspace, key, key_size, hash, find_match, &find), &find, out,
		     address);
}

int read_find_head(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		   uint64_t hash, const struct format_record **out, uint64_t *address)
{
	struct find find;

	return found(find_with(kv, keyspace, key, key_size, hash, find_match_head, &find), &find,
		     out, address);
}

/*
 * A page of a map that cannot be read turns into zeros when it is touched. So all that is wanted of
 * a record, bytes [from, to) of it, is touched before anybody trusts it, and if that went wrong
 * somewhere in the segment, the record has to prove itself.
 */
static int prove_readable(struct kv *kv, const struct format_record *record, uint64_t address,
			  uint64_t from, uint64_t to)
{
	struct segments *segments = &kv->segments;
	const struct segment *segment = segments->table[segments_slot(segments, address)];
	const uint8_t *map = atomic_load_explicit(&segment->map, memory_order_acquire);
	const volatile uint8_t *bytes = (const volatile uint8_t *)record;
	uint64_t offset;

	if (!map)
		return 0;
	for (offset = from; offset < to; offset += READ_PAGE)
		(void)bytes[offset];
	(void)bytes[to - 1];
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
	return read_make_readable(kv, record, address);
}

/* The same for a part of the value alone, of which some is there. */
static int make_part_readable(struct kv *kv, const struct format_record *record, uint64_t address,
			      uint64_t offset, uint64_t size)
{
	uint64_t from =
		(uint64_t)(record->key - (const uint8_t *)record) + record->key_size + offset;

	readahead_part(kv, address, record);
	return prove_readable(kv, record, address, from, from + size);
}

int read_make_readable(struct kv *kv, const struct format_record *record, uint64_t address)
{
	if (read_is_in_one_page(record))
		return 0;
	return prove_readable(kv, record, address, 0, format_record_length(record));
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
	int error = read_find(kv, keyspace, key, key_size,
			      keyhash_of(&kv->keyhash, keyspace, key, key_size), &record, &address);

	if (!error)
		error = make_readable(kv, record, address);
	if (!error)
		*out = record;
	return error;
}

static int value_found(struct kv *kv, const struct find *find, struct kv_slice *value)
{
	int error = 0;

	if (find->base & SEGMENT_MAPPED)
		error = make_readable(kv, find->lookup.record, find->address);
	return error ? error : value_of(kv, find->lookup.record, value);
}

int kv_get_part(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, size_t offset,
		size_t size, struct kv_slice *value)
{
	const struct format_record *record;
	struct find find;
	int error = find_key(kv, keyspace, key, key_size, find_match, &find);

	if (error)
		return error;
	record = find.lookup.record;
	if (size > record->value_size || offset > record->value_size - size)
		size = offset < record->value_size ? record->value_size - offset : 0;
	/* Whatever is not as it will be read is needed as a whole. */
	if (!(find.base & SEGMENT_MAPPED) || size >= READAHEAD_VALUE_MIN || !size ||
	    record->flags & (FORMAT_RECORD_ZSTD | FORMAT_RECORD_LARGE))
		return value_found(kv, &find, value);
	error = make_part_readable(kv, record, find.address, offset, size);
	return error ? error : value_of(kv, record, value);
}

/* ---- the hot paths ---------------------------------------------------------------------------
 *
 * A key whose record, if there is one, is in a buffer or in one page of a map, is looked for
 * without a loop, and without a call if it is short: while a look-up waits for memory the processor
 * goes on into its caller and the next look-up, as far as its window of some 200 instructions
 * reaches, and two that wait at the same time take half as long. All else takes the long way, from
 * the beginning.
 */

enum quick {
	QUICK_FOUND,
	QUICK_ABSENT,
	QUICK_UNSURE,
};

static inline __attribute__((always_inline)) enum quick
find_hashed(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t hash,
	    bool value_wanted, const struct format_record **out)
{
	const struct format_record *record;
	struct counters *counters;
	uint32_t offset;
	uint64_t address;
	uintptr_t base;
	bool absent;

	address = index_probe(&kv->index, hash, &absent);
	counters = counters_at(kv, stripe);
	if (!address) {
		if (!absent || atomic_load_explicit(&kv->index.failed, memory_order_relaxed))
			return QUICK_UNSURE;
		store_add(&counters->gets, 1);
		store_add(&counters->misses, 1);
		return QUICK_ABSENT;
	}
	base = segments_flagged_base(&kv->segments, segments_slot(&kv->segments, address));
	offset = segments_offset(&kv->segments, address);
	record = (const struct format_record *)((base & ~SEGMENT_FLAGS) + offset);
	if (value_wanted) {
		/*
		 * The value's lines come with the header's, and not only when that has said how
		 * long it is.
		 */
		__builtin_prefetch((const uint8_t *)record + 64);
		__builtin_prefetch((const uint8_t *)record + 128);
	}
	if (base & SEGMENT_FLAGS &&
	    !read_is_at_hand(&kv->segments, base, record, offset, value_wanted))
		return QUICK_UNSURE;
	if (__builtin_expect(!lookup_same_owner(record, keyspace, key_size) ||
				     !lookup_same_key(record->key, key, key_size), 0))
		return QUICK_UNSURE;
	store_add(&counters->gets, 1);
	*out = record;
	return QUICK_FOUND;
}

static inline __attribute__((always_inline)) enum quick
find_quickly(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, bool value_wanted,
	     const struct format_record **out)
{
	if (__builtin_expect(keyspace >= kv->info.keyspace_count ||
				     !keyhash_is_short(&kv->keyhash, key_size) || !stripe, 0))
		return QUICK_UNSURE;
	return find_hashed(kv, keyspace, key, key_size,
			   keyhash_short(&kv->keyhash, keyspace, key, key_size), value_wanted, out);
}

static __attribute__((noinline)) int get_slowly(struct kv *kv, unsigned keyspace, const void *key,
						size_t key_size, struct kv_slice *value)
{
	struct find find;
	int error = find_key(kv, keyspace, key, key_size, find_match, &find);

	return error ? error : value_found(kv, &find, value);
}

/* A longer key takes a call for its hash, and no other. */
static __attribute__((noinline)) int get_long(struct kv *kv, unsigned keyspace, const void *key,
					      size_t key_size, struct kv_slice *value)
{
	const struct format_record *record;
	enum quick quick;

	if (__builtin_expect(!is_key(kv, keyspace, key_size) || !stripe, 0))
		return get_slowly(kv, keyspace, key, key_size, value);
	quick = find_hashed(kv, keyspace, key, key_size,
			    keyhash_of(&kv->keyhash, keyspace, key, key_size), true, &record);
	if (quick == QUICK_ABSENT)
		return -ENOENT;
	if (__builtin_expect(quick == QUICK_UNSURE, 0))
		return get_slowly(kv, keyspace, key, key_size, value);
	return value_of(kv, record, value);
}

static __attribute__((noinline)) int get_timed(struct kv *kv, unsigned keyspace, const void *key,
					       size_t key_size, struct kv_slice *value)
{
	uint64_t begun_ns = timing_begin_sample(&kv->timing, KV_OPERATION_GET);
	int error = get_slowly(kv, keyspace, key, key_size, value);

	timing_end(&kv->timing, KV_OPERATION_GET, begun_ns);
	return error;
}

int kv_get(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
	   struct kv_slice *value)
{
	const struct format_record *record;
	enum quick quick;

	if (timing_is_due(KV_OPERATION_GET))
		return get_timed(kv, keyspace, key, key_size, value);
	quick = find_quickly(kv, keyspace, key, key_size, true, &record);
	if (quick == QUICK_ABSENT)
		return -ENOENT;
	if (__builtin_expect(quick == QUICK_UNSURE, 0))
		return key_size > KEYHASH_SHORT_MAX ?
			       get_long(kv, keyspace, key, key_size, value) :
			       get_slowly(kv, keyspace, key, key_size, value);
	if (__builtin_expect(record->flags & (FORMAT_RECORD_ZSTD | FORMAT_RECORD_LARGE), 0))
		return value_of(kv, record, value);
	value->data = record->key + key_size;
	value->size = record->value_size;
	return 0;
}

int kv_get_seq(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
	       struct kv_slice *value, uint64_t *seq)
{
	struct find find;
	int error = find_key(kv, keyspace, key, key_size, find_match, &find);

	if (!error)
		error = value_found(kv, &find, value);
	if (!error && seq)
		*seq = find.lookup.record->seq;
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
		kv->env->map_advise(map + (offset & ~(uint64_t)(READ_PAGE - 1)), READ_PAGE,
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

static __attribute__((noinline)) int contains_slowly(struct kv *kv, unsigned keyspace,
						     const void *key, size_t key_size)
{
	struct find find;

	/* Neither the value nor its lines are wanted. */
	return find_key(kv, keyspace, key, key_size, find_match_head, &find);
}

static __attribute__((noinline)) int contains_timed(struct kv *kv, unsigned keyspace,
						    const void *key, size_t key_size)
{
	uint64_t begun_ns = timing_begin_sample(&kv->timing, KV_OPERATION_GET);
	int error;

	epoch_enter();
	error = contains_slowly(kv, keyspace, key, key_size);
	epoch_leave();
	timing_end(&kv->timing, KV_OPERATION_GET, begun_ns);
	return error;
}

int kv_contains(struct kv *kv, unsigned keyspace, const void *key, size_t key_size)
{
	const struct format_record *record;
	enum quick quick;
	int error = 0;

	if (timing_is_due(KV_OPERATION_GET))
		return contains_timed(kv, keyspace, key, key_size);
	epoch_enter();
	quick = find_quickly(kv, keyspace, key, key_size, false, &record);
	if (quick == QUICK_ABSENT)
		error = -ENOENT;
	else if (__builtin_expect(quick == QUICK_UNSURE, 0))
		error = contains_slowly(kv, keyspace, key, key_size);
	epoch_leave();
	return error;
}
