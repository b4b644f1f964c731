/* SPDX-License-Identifier: MIT */
/* compact_copy.c - see compact_copy.h. */
#include "compact_copy.h"

#include <errno.h>

#include "apply.h"
#include "cold.h"
#include "compact_copied.h"
#include "dictionary.h"
#include "epoch.h"
#include "log.h"
#include "lookup.h"
#include "snapshot.h"
#include "version.h"
#include "view.h"

#define RUN_RECORDS 32u /* whose places in the index come into the cache at once */
/*
 * Under the lock for so many of them at a time: less than a microsecond, in which nobody who waits
 * falls asleep.
 */
#define LOCKED_RECORDS 8u
#define RUN_BYTES ((uint32_t)32 << 10)
#define READ_AHEAD ((uint32_t)1 << 20)
#define SPARSE_DIVISOR 4u /* of a victim: if less than this part is needed, the rest is not read */

struct item {
	const struct format_record *record; /* or, before it is known to be needed, its head
					       alone */
	struct format_record *copy; /* in the cold segment, or NULL */
	uint64_t hash;
	uint64_t address, copy_address;
	uint64_t end; /* the batch with which it ceased to be its key's newest; 0: it is */
	uint32_t offset;
	bool needed;
};

struct run {
	struct item items[RUN_RECORDS];
	unsigned count;
	uint32_t end; /* offset behind the last record */
};

/* ---- what is needed -------------------------------------------------------------------------- */

/*
 * Must a tombstone go on saying that its key was deleted? Not if the key is there again, unless a
 * view sees that it was not.
 */
static bool tombstone_is_needed(struct kv *kv, const struct item *item, bool locked)
{
	const struct format_record *record = item->record;
	struct lookup lookup = {&kv->segments, record->key, record->key_size,
				record->keyspace, NULL, 0};

	if (kv->compaction.oldest ||
	    compact_copied_has(kv, kv->compaction.victim, record, item->hash))
		return false;
	if (!index_lookup(&kv->index, item->hash, lookup_match, &lookup))
		return true;
	if (!views_any(kv))
		return false;
	return !locked || views_any_in(&kv->views, record->seq, lookup.record->seq);
}

/*
 * Does a key, or a view, need the value? In this order: a record is kept before it ceases to be the
 * newest.
 */
static bool value_is_needed(struct kv *kv, struct item *item)
{
	item->end = 0;
	return apply_is_newest(kv, item->address, item->hash) ||
	       version_holds(kv, item->address, item->hash, &item->end);
}

static void judge(struct kv *kv, struct run *run, unsigned from)
{
	unsigned i;

	epoch_enter();
	for (i = from; i < run->count; i++) {
		struct item *item = &run->items[i];

		if (item->record->flags & FORMAT_RECORD_TOMBSTONE)
			item->needed = tombstone_is_needed(kv, item, false);
		else
			item->needed = value_is_needed(kv, item);
	}
	epoch_leave();
}

/* ---- reading the victim ---------------------------------------------------------------------- */

static void add_item(struct kv *kv, struct run *run, const struct format_record *record,
		     uint32_t offset)
{
	struct item *item = &run->items[run->count++];

	item->record = record;
	item->copy = NULL;
	item->end = 0;
	item->offset = offset;
	item->address = segments_address(&kv->segments, kv->compaction.victim->slot, offset);
	item->hash = keyhash_of(&kv->keyhash, record->keyspace, record->key, record->key_size);
	index_prefetch(&kv->index, item->hash);
}

/* The next records; their places in the index are on their way into the cache. */
static void gather(struct kv *kv, const uint8_t *base, uint32_t stop, struct run *run)
{
	struct compaction *compaction = &kv->compaction;
	struct segment *victim = compaction->victim;
	uint32_t offset = compaction->offset, start = offset;

	run->count = 0;
	while (run->count < RUN_RECORDS && offset < stop && offset - start < RUN_BYTES) {
		const struct format_record *record = (const struct format_record *)(base + offset);
		int64_t length = segment_validate(&kv->segments, victim, base, offset);

		if (length <= 0) {
			/*
			 * Damaged since it was opened. What can be saved is; the rest was reported.
			 */
			offset = segment_search(&kv->segments, victim, base,
						offset + FORMAT_RECORD_ALIGN, victim->end,
						&compaction->search_budget);
			continue;
		}
		if (!format_record_is_bare(record))
			add_item(kv, run, record, offset);
		offset += (uint32_t)length;
	}
	run->end = offset;
}

/* The same, of the heads from one offset on. */
static void gather_heads(struct kv *kv, uint32_t from, uint32_t stop, struct run *run)
{
	const struct heads *heads = kv->compaction.heads;
	uint32_t number = heads_from(heads, from), offset;
	const struct format_record *head;

	run->count = 0;
	run->end = stop;
	for (; (head = heads_get(heads, number, &offset)) && offset < stop; number++) {
		if (run->count == RUN_RECORDS || offset - from >= RUN_BYTES) {
			run->end = offset;
			return;
		}
		add_item(kv, run, head, offset);
	}
}

/*
 * From the item with this number on. What is needed is read, and left where it is if it turns out
 * to be damaged; with it the segment, which a tombstone is no reason for that anybody else would
 * see.
 */
static void decide(struct kv *kv, struct run *run, unsigned from)
{
	struct segment *victim = kv->compaction.victim;
	const uint8_t *base = segments_base(&kv->segments, victim->slot);
	unsigned i;

	judge(kv, run, from);
	for (i = from; i < run->count; i++) {
		struct item *item = &run->items[i];
		const void *record = base + item->offset;

		if (!item->needed || item->record == record)
			continue;
		item->needed = segment_validate(&kv->segments, victim, base, item->offset) > 0;
		if (item->needed)
			item->record = record;
		else
			victim->unreadable = true;
	}
}

static void ask(struct kv *kv, uint32_t from, uint32_t to)
{
	const uint8_t *map = atomic_load(&kv->compaction.victim->map);

	from &= ~(ENV_DIRECT_ALIGN - 1);
	kv->env->map_advise(map + from, to - from, ENV_ADVICE_WILLNEED);
}

/* Asks for what will be needed of these bytes of the victim, going by what is needed now. */
static void ask_for_needed(struct kv *kv, uint32_t from, uint32_t to)
{
	struct run run;
	unsigned i;

	for (; from < to; from = run.end) {
		gather_heads(kv, from, to, &run);
		judge(kv, &run, 0);
		for (i = 0; i < run.count; i++) {
			const struct item *item = &run.items[i];

			if (item->needed)
				ask(kv, item->offset,
				    item->offset + (uint32_t)format_record_length(item->record));
		}
	}
}

/*
 * The next stretch of a victim that is read through its map is asked for while this one is worked
 * on.
 */
static void read_ahead(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	const struct segment *victim = compaction->victim;
	uint32_t to = compaction->offset + 2 * READ_AHEAD;

	if (!atomic_load(&victim->map) || compaction->asked >= victim->end ||
	    compaction->offset + READ_AHEAD < compaction->asked)
		return;
	if (to > victim->end)
		to = victim->end;
	if (compaction->heads)
		ask_for_needed(kv, compaction->asked, to);
	else
		ask(kv, compaction->asked, to);
	compaction->asked = to;
}

const struct heads *compact_heads(const struct segment *victim)
{
	const struct heads *heads = atomic_load_explicit(&victim->heads, memory_order_acquire);

	return heads && heads_complete(heads) && atomic_load(&victim->map) &&
			       atomic_load(&victim->live_bytes) < victim->end / SPARSE_DIVISOR ?
		       heads :
		       NULL;
}

/* ---- copying --------------------------------------------------------------------------------- */

/* Bytes before the copy: until when it was the newest is said by a record of its own. */
static uint32_t lead_size(const struct item *item)
{
	return item->end ? FORMAT_RECORD_HEADER_SIZE : 0;
}

/* The lead, if there is to be one, at the place of both; and where the copy itself is to stand. */
static uint8_t *put_lead(struct item *item, uint8_t *at, uint64_t salt)
{
	if (!item->end)
		return at;
	format_record_seal_bare((struct format_record *)at, item->end, FORMAT_RECORD_OLD, salt);
	item->copy_address += FORMAT_RECORD_HEADER_SIZE >> 3;
	return at + FORMAT_RECORD_HEADER_SIZE;
}

static unsigned copy_flags(const struct item *item)
{
	unsigned flags = item->record->flags & ~(FORMAT_RECORD_MORE | FORMAT_RECORD_OLD) & 0xff;

	return flags | FORMAT_RECORD_RELOCATED | (item->end ? FORMAT_RECORD_OLD : 0);
}

static void make_copy(struct kv *kv, struct item *item, uint8_t *to, uint64_t salt)
{
	const struct format_record *record = item->record;
	struct format_record *copy = (struct format_record *)to;

	memcpy(to, record, format_record_length(record));
	copy->flags = copy_flags(item);
	copy->check ^= format_record_place(record, kv->compaction.victim->salt) ^
		       format_record_place(copy, salt);
	item->copy = copy;
}

/*
 * Compresses a value on its way into the cold segment, straight to its place: false if that would
 * not make the record shorter. What it takes less is given back.
 */
static bool make_packed_copy(struct kv *kv, struct item *item, uint8_t *to, uint64_t salt)
{
	const struct format_record *record = item->record;
	struct format_record *copy = (struct format_record *)to;
	uint64_t length = format_record_length(record), packed_length;
	size_t head = FORMAT_RECORD_HEADER_SIZE + record->key_size, size;
	const struct dictionary_choice *choice;
	struct ZSTD_CCtx_s *encoder;

	if (kv->info.compress != KV_COMPRESS_BACKGROUND || !dictionary_may_compress(record) ||
	    length < head + FORMAT_RECORD_ALIGN)
		return false;
	encoder = dictionary_encoder(kv);
	choice = dictionary_choice(kv, record->keyspace);
	size = encoder ? compress_value(encoder, choice->number, choice->cdict,
					format_record_value(record), record->value_size, to + head,
					length - FORMAT_RECORD_ALIGN - head) :
			 0;
	if (!size)
		return false;
	memcpy(to, record, head);
	copy->value_size = (uint32_t)size;
	copy->flags = copy_flags(item) | FORMAT_RECORD_ZSTD;
	packed_length = format_record_length(copy);
	memset(to + head + size, 0, packed_length - head - size);
	copy->check = format_record_body_hash(copy) ^ format_record_place(copy, salt);
	cold_shorten(kv, length - packed_length);
	store_add(&kv->compressed_raw_bytes, record->value_size);
	store_add(&kv->compressed_bytes, size);
	item->copy = copy;
	return true;
}

static void copy_item(struct kv *kv, struct item *item, uint64_t length)
{
	struct segment *cold = kv->cold.active;
	uint8_t *at = put_lead(item, cold_append(kv, length, &item->copy_address), cold->salt);

	cold->leads += lead_size(item);
	if (kv->compaction.as_is)
		cold->raw |= dictionary_may_compress(item->record);
	if (kv->compaction.as_is || !make_packed_copy(kv, item, at, cold->salt))
		make_copy(kv, item, at, cold->salt);
	dictionary_note(cold, item->copy);
	if (item->record->seq > cold->newest_seq)
		cold->newest_seq = item->record->seq;
}

/*
 * Copies values to the cold segment, where there is one. What is decided once that segment is open
 * stays right where it counts: whatever makes it wrong is appended behind it. So it is decided anew
 * when another one was opened. -EIO
 */
static int copy_cold(struct kv *kv, struct run *run)
{
	unsigned i = 0;
	int error;

	while (i < run->count) {
		struct item *item = &run->items[i];
		uint64_t length = lead_size(item) + format_record_length(item->record);
		uint64_t id = kv->cold.last_id;

		if (!item->needed || (item->record->flags & FORMAT_RECORD_TOMBSTONE)) {
			i++;
			continue;
		}
		error = cold_reserve(kv, length);
		if (error == -EAGAIN || env_is_short(error) || error == -ENOMEM)
			return 0;
		if (error)
			return error;
		if (kv->cold.last_id != id) {
			decide(kv, run, i);
			continue;
		}
		copy_item(kv, item, length);
		i++;
	}
	return 0;
}

/* Copies a record to the log's end. Called with the lock. -EAGAIN: no room now */
static int copy_hot(struct kv *kv, struct item *item, bool for_space)
{
	uint64_t keys[FORMAT_KEYSPACES] = {0}, length = format_record_length(item->record);
	int error = log_try_reserve(kv, lead_size(item) + length, for_space ? LOG_COPIES : LOG_ANY);
	uint8_t *at;

	if (error)
		return error;
	keys[item->record->keyspace] = 1;
	error = apply_reserve(kv, 1, keys, item->record->key_size);
	if (error)
		return error;
	at = log_append(kv, lead_size(item) + length, &item->copy_address);
	kv->log.hot.active->leads += lead_size(item);
	make_copy(kv, item, put_lead(item, at, kv->log.hot.active->salt),
		  kv->log.hot.active->salt);
	dictionary_note(kv->log.hot.active, item->copy);
	store_add(&kv->relocated_bytes, length);
	if (item->end)
		return apply_move(kv, item->copy, item->hash, item->address, length,
				  item->copy_address);
	return apply_record(kv, item->copy, item->copy_address, item->hash);
}

/* Called with the lock. */
static int settle(struct kv *kv, struct item *item, bool for_space)
{
	if (!item->copy) {
		if (item->record->flags & FORMAT_RECORD_TOMBSTONE ?
			    !tombstone_is_needed(kv, item, true) :
			    !value_is_needed(kv, item))
			return 0;
		return copy_hot(kv, item, for_space);
	}
	store_add(&kv->relocated_bytes, format_record_length(item->copy));
	return apply_move(kv, item->copy, item->hash, item->address,
			  format_record_length(item->record), item->copy_address);
}

/* As many as go under the lock at once, from *i on, which is moved behind them. */
static int settle_some(struct kv *kv, struct run *run, unsigned *i, bool for_space)
{
	unsigned settled = 0;
	int error = 0;

	pthread_mutex_lock(&kv->log.lock);
	if (kv->cold.active)
		cold_publish(kv);
	for (; *i < run->count && !error && settled < LOCKED_RECORDS; ++*i) {
		if (!run->items[*i].needed)
			continue;
		error = settle(kv, &run->items[*i], for_space);
		settled++;
	}
	pthread_mutex_unlock(&kv->log.lock);
	return error;
}

/* Out: the offset up to which the victim is done. */
static int settle_run(struct kv *kv, struct run *run, bool for_space)
{
	struct compaction *compaction = &kv->compaction;
	unsigned i = 0;
	int error = 0;

	while (i < run->count && !error)
		error = settle_some(kv, run, &i, for_space);
	if (!error)
		compaction->offset = run->end;
	/* From the one that had no room; copies behind it that were made are the truth already. */
	else if (error == -EAGAIN)
		compaction->offset = run->items[i - 1].offset;
	return error;
}

static bool any_needed(const struct run *run)
{
	unsigned i;

	for (i = 0; i < run->count; i++) {
		if (run->items[i].needed)
			return true;
	}
	return false;
}

int compact_copy(struct kv *kv, uint32_t bytes, bool for_space)
{
	struct compaction *compaction = &kv->compaction;
	struct segment *victim = compaction->victim;
	const uint8_t *base = segments_base(&kv->segments, victim->slot);
	uint32_t stop = victim->end - compaction->offset > bytes ? compaction->offset + bytes :
								   victim->end;
	/*
	 * What is replayed before the record of a snapshot that sees what it replaced must not be
	 * copied unless the file has it.
	 */
	bool cold = !for_space && !snapshots_save_all(kv);
	struct run run;
	int error = 0;

	read_ahead(kv);
	while (compaction->offset < stop && !error) {
		if (compaction->heads)
			gather_heads(kv, compaction->offset, stop, &run);
		else
			gather(kv, base, stop, &run);
		decide(kv, &run, 0);
		if (!any_needed(&run)) {
			compaction->offset = run.end;
			continue;
		}
		error = cold ? copy_cold(kv, &run) : 0;
		if (!error)
			error = settle_run(kv, &run, for_space);
	}
	return error;
}
