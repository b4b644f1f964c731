/* SPDX-License-Identifier: MIT */
/*
 * check.c - reads everything and compares: every record's checksum, each index against the log.
 *
 * The newest record of each key is the one that the hash index points to. If every record that the
 * index points to is valid and was met, and there are as many of them as the index has entries,
 * then index and log agree; likewise for the ordered indexes.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "check_large.h"
#include "epoch.h"
#include "log.h"
#include "lookup.h"
#include "version.h"

struct check {
	struct kv *kv;
	kv_report_fn *report;
	void *report_arg;
	kv_progress_fn *progress;
	void *progress_arg;
	uint64_t findings;
	uint64_t live[FORMAT_KEYSPACES];
	uint64_t live_bytes;
	uint64_t versions, kept_bytes;
	struct check_large large;
	int error; /* no memory for what was met, or to verify it */
	uint64_t done_bytes, total_bytes;
};

__attribute__((format(printf, 2, 3))) static void finding(struct check *check, const char *format,
							   ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	check->findings++;
	check->report(check->report_arg, KV_ERROR, text);
}

static void check_order(struct check *check, const struct format_record *record, uint64_t address)
{
	struct order *order = check->kv->order_of[record->keyspace];
	uint64_t found = 0;

	if (!order)
		return;
	if (order_get(order, record->key, record->key_size, &found))
		finding(check, "a key of %u bytes in keyspace %s is missing in the ordered index",
			record->key_size, store_keyspace_name(check->kv, record->keyspace));
	else if (found != address)
		finding(check,
			"a key of %u bytes in keyspace %s has an old address in the ordered index",
			record->key_size, store_keyspace_name(check->kv, record->keyspace));
}

static void check_record(struct check *check, const struct format_record *record, uint64_t address)
{
	struct kv *kv = check->kv;
	struct lookup lookup = {&kv->segments, record->key, record->key_size,
				record->keyspace, NULL, 0};
	uint64_t hash, newest, end;

	if (format_record_is_bare(record) || (record->flags & FORMAT_RECORD_TOMBSTONE))
		return;
	hash = keyhash_of(&kv->keyhash, record->keyspace, record->key, record->key_size);
	newest = index_lookup(&kv->index, hash, lookup_match, &lookup);
	if (newest != address) {
		if (version_holds(kv, address, hash, &end)) {
			check->versions++;
			check->kept_bytes += format_record_length(record);
		}
		return;
	}
	check->live[record->keyspace]++;
	check->live_bytes += format_record_length(record);
	check_order(check, record, address);
	if ((record->flags & FORMAT_RECORD_LARGE) && !check->error)
		check->error = check_large_add(&check->large, record, address);
}

/* Every record of a segment up to `end`. -ECANCELED: the caller does not want to go on */
static int check_segment(struct check *check, const struct segment *segment, uint32_t end)
{
	struct segments *segments = &check->kv->segments;
	const uint8_t *base = segments_base(segments, segment->slot);
	uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE;
	uint64_t budget = SEGMENT_SEARCH_BUDGET(segments);
	char name[FORMAT_SEGMENT_NAME_SIZE];

	format_segment_name(segment->slot, name);
	if (segment->header_damaged)
		finding(check, "%s: the header at offset 0 is damaged; its copy is used", name);
	if (segment->name_lost)
		finding(check, "%s: there is no such file any more, or another in its place", name);
	if (segment->missing)
		finding(check, "%s: the last %u bytes of the file are missing", name,
			segment->missing);
	while (offset < end) {
		int64_t length = segment_validate(segments, segment, base, offset);

		if (length <= 0) {
			uint32_t from = offset;

			offset = segment_search(segments, segment, base,
						offset + FORMAT_RECORD_ALIGN, end, &budget);
			finding(check, "%s: %u bytes at offset %u are damaged", name, offset - from,
				from);
			continue;
		}
		check_record(check, (const struct format_record *)(base + offset),
			     segments_address(segments, segment->slot, offset));
		offset += (uint32_t)length;
	}
	if (segment->map && segments->env->map_failed(base, segments->size))
		finding(check, "%s: a part of the file cannot be read", name);
	check->done_bytes += segments->size;
	if (check->progress &&
	    check->progress(check->progress_arg, check->done_bytes, check->total_bytes))
		return -ECANCELED;
	return 0;
}

/*
 * Asks the disk for the next segment from this slot on that has to be read, while another one is
 * looked through.
 */
static void read_ahead(struct kv *kv, uint32_t slot, uint32_t count)
{
	for (; slot < count; slot++) {
		const struct segment *segment = kv->segments.table[slot];
		const uint8_t *map = segment ? atomic_load(&segment->map) : NULL;

		if (!map)
			continue;
		kv->env->map_advise(map, kv->segments.size, ENV_ADVICE_WILLNEED);
		return;
	}
}

/*
 * A check has looked at everything once: what it has brought into memory is nobody's working set.
 */
static void give_back(struct kv *kv, const struct segment *segment)
{
	const uint8_t *map = atomic_load(&segment->map);

	if (map)
		kv->env->map_advise(map, kv->segments.size, ENV_ADVICE_DONTNEED);
}

static int check_segments(struct check *check)
{
	struct kv *kv = check->kv;
	uint32_t slot, count = atomic_load(&kv->segments.count);
	int error = 0;

	check->total_bytes = (uint64_t)count * kv->segments.size;
	read_ahead(kv, 0, count);
	for (slot = 0; slot < count && !error; slot++) {
		const struct segment *segment = kv->segments.table[slot];

		if (!segment || !segment->id)
			continue;
		read_ahead(kv, slot + 1, count);
		epoch_enter();
		error = check_segment(check, segment,
				      log_segment_end(&kv->log, segment));
		give_back(kv, segment);
		epoch_leave();
	}
	return error;
}

static void order_finding(void *arg, const char *message)
{
	finding(arg, "ordered index: %s", message);
}

static void verify_order(struct check *check, struct order *order)
{
	if (order_verify(order, order_finding, check) < 0)
		check->error = -ENOMEM;
}

static void large_finding(void *arg, const char *message)
{
	finding(arg, "%s", message);
}

/* What is kept for snapshots: every version is a record that was met. */
static void check_versions(struct check *check)
{
	const struct versions *versions = &check->kv->versions;
	uint64_t count = atomic_load(&versions->count);
	uint64_t kept_bytes = atomic_load(&versions->kept_bytes);
	unsigned i;

	if (check->versions != count)
		finding(check, "%llu old versions are known, the log has %llu of them",
			(unsigned long long)count, (unsigned long long)check->versions);
	for (i = 0; i < FORMAT_KEYSPACES; i++) {
		struct order *ghosts = atomic_load(&versions->ghosts[i]);

		if (ghosts)
			verify_order(check, ghosts);
	}
	if (check->kept_bytes != kept_bytes)
		finding(check, "%llu bytes of old versions are counted, the log has %llu",
			(unsigned long long)kept_bytes, (unsigned long long)check->kept_bytes);
}

static void check_totals(struct check *check)
{
	struct kv *kv = check->kv;
	uint64_t entries = atomic_load(&kv->index.entries), live = 0;
	unsigned i;

	for (i = 0; i < FORMAT_KEYSPACES; i++) {
		const char *name = store_keyspace_name(kv, i);

		live += check->live[i];
		if (check->live[i] != atomic_load(&kv->keys[i]))
			finding(check, "keyspace %s: %llu keys are counted, the log has %llu", name,
				(unsigned long long)atomic_load(&kv->keys[i]),
				(unsigned long long)check->live[i]);
		if (!kv->order_of[i])
			continue;
		verify_order(check, kv->order_of[i]);
		if (order_count(kv->order_of[i]) != check->live[i])
			finding(check, "keyspace %s: the ordered index has %llu keys, the log %llu",
				name, (unsigned long long)order_count(kv->order_of[i]),
				(unsigned long long)check->live[i]);
	}
	if (entries != live)
		finding(check, "the hash index has %llu entries, the log %llu newest records",
			(unsigned long long)entries, (unsigned long long)live);
	check_versions(check);
	if (check->live_bytes + check->kept_bytes != atomic_load(&kv->live_bytes))
		finding(check, "%llu live bytes are counted, the log has %llu",
			(unsigned long long)atomic_load(&kv->live_bytes),
			(unsigned long long)(check->live_bytes + check->kept_bytes));
}

int kv_check(struct kv *kv, kv_report_fn *report, void *report_arg, kv_progress_fn *progress,
	     void *progress_arg, uint64_t *findings)
{
	struct check check = {.kv = kv, .report = report, .report_arg = report_arg,
			      .progress = progress, .progress_arg = progress_arg};
	int error;

	checkpoint_finish(kv);
	if (kv->super_damaged)
		finding(&check, "%s: the superblock is damaged; a copy is used", FORMAT_SUPER_NAME);
	if (kv->checkpoint_damaged)
		finding(&check, "%s: damaged; opening without it brings back what it held",
			FORMAT_CHECKPOINT_NAME);
	if (kv->manifest_damaged)
		finding(&check, "%s: missing or damaged, or one of its two copies is",
			FORMAT_MANIFEST_NAME);
	if (kv->snapshots.damaged)
		finding(&check, "%s: damaged; snapshots are those that the log has",
			FORMAT_SNAPSHOTS_NAME);
	if (kv->lost_segments)
		finding(&check, "%u segments' files cannot be used: no header, or not what their names say",
			kv->lost_segments);
	if (kv->damaged_spares)
		finding(&check, "%u segments that hold nothing have a damaged header, or are too short",
			kv->damaged_spares);
	if (kv->missing_segments)
		finding(&check, "%u segments of the log are missing: what they alone held is lost",
			kv->missing_segments);
	/* Damage that opening met and skipped is still there for the walk to find. */
	pthread_mutex_lock(&kv->log.lock);
	error = check_segments(&check);
	if (!error)
		error = check.error;
	if (!error)
		error = check_large_compare(&check.large, kv, large_finding, &check);
	if (!error) {
		check_totals(&check);
		error = check.error;
	}
	pthread_mutex_unlock(&kv->log.lock);
	check_large_fini(&check.large);
	if (error)
		return error;
	*findings = check.findings;
	return 0;
}
