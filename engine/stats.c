/* SPDX-License-Identifier: MIT */
/*
 * stats.c - kv_stats: what a store holds, has done and takes, read while it works.
 *
 * Threads: any. Each counter is exact; those of one answer need not be of the same moment.
 */
#include "store.h"

#include <string.h>

#include "checkpoint.h"
#include "dictionary.h"
#include "reserve.h"
#include "segment_file.h"
#include "version.h"

uint64_t kv_live_bytes(const struct kv *kv)
{
	return atomic_load_explicit(&kv->live_bytes, memory_order_relaxed);
}

void kv_set_timing(struct kv *kv, bool on)
{
	atomic_store_explicit(&kv->timing.off, !on, memory_order_relaxed);
}

static void count_disk(struct kv *kv, struct kv_stats *out)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count);
	uint64_t total, needed, reserve = (uint64_t)reserve_wanted(kv) * segments->size;

	out->disk_bytes = FORMAT_SUPER_SIZE;
	if (kv->env->dir_space(kv->dir, &out->avail_bytes, &total))
		out->avail_bytes = 0;
	pthread_mutex_lock(&kv->log.lock);
	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = segments->table[slot];

		if (!segment)
			continue;
		out->disk_bytes += segments->size - atomic_load(&segment->hole);
		if (segment->id)
			out->segments++;
	}
	out->tombstone_bytes = kv->tombstone_bytes;
	needed = atomic_load(&kv->live_bytes) + out->tombstone_bytes +
		 out->segments * FORMAT_SEGMENT_HEADER_SIZE;
	pthread_mutex_unlock(&kv->log.lock);
	out->capacity_bytes = out->avail_bytes + out->disk_bytes;
	/* What the files hold beyond what is needed comes back by itself when it is wanted. */
	if (out->disk_bytes > needed)
		out->avail_bytes += out->disk_bytes - needed;
	out->reserve_bytes = out->avail_bytes < reserve ? out->avail_bytes : reserve;
	out->avail_bytes -= out->reserve_bytes;
	pthread_mutex_lock(&segments->pool_lock);
	out->memory_resident_bytes = (uint64_t)segments->buffers * segments->size;
	pthread_mutex_unlock(&segments->pool_lock);
}

static void count_views(struct kv *kv, struct kv_stats *out)
{
	out->versions = atomic_load(&kv->versions.count);
	out->kept_bytes = atomic_load(&kv->versions.kept_bytes);
	pthread_mutex_lock(&kv->log.lock);
	out->views = kv->views.open;
	out->snapshots = kv->snapshots.count;
	out->memory_versions_bytes = out->versions || out->views || out->snapshots ?
					     versions_memory(&kv->versions) :
					     0;
	pthread_mutex_unlock(&kv->log.lock);
}

void kv_stats(struct kv *kv, struct kv_stats *out)
{
	uint64_t misses = 0;
	unsigned i;

	memset(out, 0, sizeof(*out));
	count_disk(kv, out);
	count_views(kv, out);
	for (i = 0; i < kv->info.keyspace_count; i++) {
		out->keys[i] = atomic_load(&kv->keys[i]);
		if (kv->order_of[i])
			out->memory_order_bytes += order_memory(kv->order_of[i]);
	}
	out->memory_order_bytes += order_memory(kv->order_of[FORMAT_KEYSPACE_LARGE]);
	for (i = 0; i < STORE_STRIPES; i++) {
		out->gets += atomic_load(&kv->counters[i].gets);
		misses += atomic_load(&kv->counters[i].misses);
	}
	/* Read while they count, the misses may be ahead. */
	out->hits = out->gets > misses ? out->gets - misses : 0;
	out->pieces = atomic_load(&kv->keys[FORMAT_KEYSPACE_LARGE]);
	out->live_bytes = atomic_load(&kv->live_bytes);
	out->condemned_bytes = atomic_load(&kv->large.condemned_bytes);
	out->log_bytes = atomic_load(&kv->log_bytes);
	out->memory_index_bytes = atomic_load(&kv->index.memory);
	out->puts = atomic_load(&kv->puts);
	out->deletes = atomic_load(&kv->deletes);
	out->batches = atomic_load(&kv->batches);
	out->appended_bytes = atomic_load(&kv->appended_bytes);
	out->relocated_bytes = atomic_load(&kv->relocated_bytes);
	out->emptied_segments = atomic_load(&kv->victims);
	out->compact_us = atomic_load(&kv->compact_us);
	out->written_bytes = atomic_load(&kv->written_bytes);
	for (i = 0; i < KV_OPERATIONS; i++)
		timing_summary(&kv->timing, i, &out->latencies[i]);
	out->compressed_raw_bytes = atomic_load(&kv->compressed_raw_bytes);
	out->compressed_bytes = atomic_load(&kv->compressed_bytes);
	out->dictionaries = dictionary_count(kv);
	out->flushes = atomic_load(&kv->flushes);
	out->syncs = atomic_load(&kv->syncs);
	out->synced_batches = atomic_load(&kv->synced_batches);
	out->waits = atomic_load(&kv->waits);
	out->scrubs = atomic_load(&kv->scrub.passes);
	out->scrubbed_bytes = atomic_load(&kv->scrub.bytes);
	out->scrub_findings = atomic_load(&kv->scrub.findings);
	out->brakes = atomic_load(&kv->brake.waits);
	out->brake_us = atomic_load(&kv->brake.waited_us);
	out->damaged = atomic_load(&kv->damaged);
	out->records_lost = atomic_load(&kv->records_lost);
	out->failed = atomic_load(&kv->failed) != 0;
	out->recovered_batches = kv->recovered_batches;
	out->recovered_bytes = kv->recovered_bytes;
	out->checkpoints = atomic_load(&kv->checkpoints.written);
	out->checkpoint_seq = atomic_load(&kv->checkpoints.seq);
	out->checkpoint_bytes = atomic_load(&kv->checkpoints.bytes);
	out->checkpoint_us = atomic_load(&kv->checkpoints.took_us);
	out->behind_bytes = checkpoint_behind(kv);
	out->emptied_bytes = atomic_load(&kv->compaction.kept_bytes);
	out->open_us = kv->open_us;
	out->last_seq = kv_last_seq(kv);
	out->durable_seq = kv_durable_seq(kv);
}
