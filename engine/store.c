/* SPDX-License-Identifier: MIT */
/* store.c - opening and closing a store; messages and failure. */
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "brake.h"
#include "checkpoint.h"
#include "checkpoint_save.h"
#include "checkpoint_vouch.h"
#include "cold.h"
#include "compact_copied.h"
#include "dictionary.h"
#include "large.h"
#include "log.h"
#include "log_rest.h"
#include "maintain.h"
#include "manifest.h"
#include "recover.h"
#include "reserve.h"
#include "scrub.h"
#include "snapshot.h"
#include "super.h"
#include "sync.h"
#include "times.h"
#include "trim.h"
#include "version.h"
#include "view.h"

#define COMMIT_INTERVAL_MS_DEFAULT 1000u
#define RESIDENT_SIZE_MAX ((uint64_t)256 << 20)
#define RESIDENT_MEMORY_SHARE 64
#define WARM_MEMORY_SHARE 4

/* ---- messages and failure -------------------------------------------------------------------- */

void store_report(struct kv *kv, enum kv_severity severity, const char *format, ...)
{
	char text[512];
	va_list args;

	if (!kv->report)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	kv->report(kv->report_arg, severity, text);
}

void store_report_at(struct kv *kv, const struct format_record *record, const char *format, ...)
{
	uint64_t address = segments_find(&kv->segments, record);
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (address)
		store_report(kv, KV_ERROR, "segment %u, offset %u: %s",
			     segments_slot(&kv->segments, address),
			     segments_offset(&kv->segments, address), text);
	else
		store_report(kv, KV_ERROR, "%s", text);
}

void store_damaged(struct kv *kv, uint64_t address)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];

	store_add(&kv->damaged, 1);
	format_segment_name(segments_slot(&kv->segments, address), name);
	store_report(kv, KV_ERROR,
		     "%s: the record at offset %u is damaged; the rest stays readable", name,
		     segments_offset(&kv->segments, address));
}

int store_poison(struct kv *kv, int error, const char *what)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&kv->failed, &none, error)) {
		store_report(kv, KV_ERROR,
			     "%s: %s; the store is read-only until it is opened again", what,
			     strerror(-error));
		sync_kick(kv);
		maintain_kick(kv);
	}
	return -EIO;
}

const char *store_keyspace_name(const struct kv *kv, unsigned keyspace)
{
	if (keyspace < KV_KEYSPACES_MAX)
		return kv->info.keyspaces[keyspace].name;
	return keyspace == FORMAT_KEYSPACE_LARGE ? "large" : "kv";
}

/* ---- opening --------------------------------------------------------------------------------- */

static uint64_t memory_size(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t resident_size_default(void)
{
	uint64_t size = memory_size() / RESIDENT_MEMORY_SHARE;

	return size < RESIDENT_SIZE_MAX ? size : RESIDENT_SIZE_MAX;
}

static void fill_info(struct kv *kv, const struct format_super *super, bool read_only)
{
	struct kv_info *info = &kv->info;
	unsigned i;

	memcpy(info->uuid, super->uuid, sizeof(info->uuid));
	info->application = super->application;
	info->hash = super->hash;
	info->compress = super->compress;
	info->compress_level = super->compress_level;
	info->segment_size = super->segment_size;
	info->batch_size_max = log_batch_size_max(super->segment_size);
	info->value_size_max =
		info->batch_size_max - (uint32_t)format_record_size(KV_KEY_SIZE_MAX, 0);
	info->keyspace_count = super->keyspace_count;
	info->read_only = read_only;
	for (i = 0; i < super->keyspace_count; i++) {
		memcpy(info->keyspaces[i].name, super->keyspaces[i].name,
		       sizeof(info->keyspaces[i].name));
		info->keyspaces[i].ordered = super->keyspaces[i].flags & FORMAT_KEYSPACE_ORDERED;
	}
}

/* Of one who was killed while he made the store it may be in the page cache alone. */
static int sync_super(struct kv *kv, const char *path)
{
	int error = kv->env->file_sync(kv->super);

	if (error)
		store_report(kv, KV_ERROR, "%s: its superblock (%s) cannot be synced: %s", path,
			     FORMAT_SUPER_NAME, strerror(-error));
	return error;
}

/* What is written behind the limit would be lost, and the store poisoned. */
static int check_limit(struct kv *kv, const char *path)
{
	uint64_t max = kv->env->file_size_max(kv->env);

	if (kv->super_block.segment_size <= max)
		return 0;
	store_report(kv, KV_ERROR,
		     "%s: files may have %" PRIu64
		     " bytes at most here (ulimit -f), a segment of this store has %" PRIu32
		     "; to write to it, raise that limit",
		     path, max, kv->super_block.segment_size);
	return -EFBIG;
}

/* Opens, locks and reads the superblock. */
static int open_super(struct kv *kv, const char *path, bool read_only)
{
	const char *why = NULL;
	bool damaged = false;
	int error;

	error = kv->env->dir_open(kv->env, path, &kv->dir);
	if (error) {
		store_report(kv, KV_ERROR, "%s: cannot be opened: %s", path, strerror(-error));
		return error;
	}
	error = kv->env->file_open(kv->dir, FORMAT_SUPER_NAME, read_only ? ENV_READ_ONLY : 0,
				   &kv->super);
	if (error == -ENOENT) {
		error = super_read(kv->env, kv->dir, NULL, &kv->super_block, &damaged, &why);
		if (error && error != -EMEDIUMTYPE && error != -EUCLEAN) {
			store_report(kv, KV_ERROR, "%s: its superblock (%s) is missing: %s: %s",
				     path, FORMAT_SUPER_NAME, why, strerror(-error));
			return error;
		}
		store_report(
			kv, KV_ERROR,
			error ? "%s: is not a store: it has no superblock"
			      : "%s: its superblock (%s) is missing; there is a copy, and a repair brings it back",
			path, FORMAT_SUPER_NAME);
		return error ? -EMEDIUMTYPE : -EUCLEAN;
	}
	if (env_is_no_file(error))
		why = "its superblock (" FORMAT_SUPER_NAME ") is no regular file";
	if (!error)
		error = kv->env->file_lock(kv->super, !read_only);
	if (error == -EBUSY) {
		store_report(kv, KV_ERROR, "%s: is in use by another process", path);
		return error;
	}
	if (!error)
		error = super_read(kv->env, kv->dir, kv->super, &kv->super_block, &damaged, &why);
	kv->super_damaged = damaged;
	if (!error && damaged)
		store_report(kv, KV_ERROR,
			     "%s: the superblock is damaged; a copy is used. A repair mends it",
			     path);
	if (error)
		store_report(kv, KV_ERROR, "%s: is not a store that can be opened: %s", path,
			     why ? why : strerror(-error));
	if (!error && !read_only)
		error = check_limit(kv, path);
	if (!error && !read_only)
		error = sync_super(kv, path);
	return error;
}

static int init_parts(struct kv *kv, const struct format_super *super, uint64_t resident_size)
{
	unsigned i;
	int error;

	keyhash_init(&kv->keyhash, super->hash, super->secret);
	error = timing_init(&kv->timing);
	if (error)
		return error;
	error = segments_init(&kv->segments, kv->env, kv->dir, super,
			      resident_size ? resident_size : resident_size_default());
	if (!error)
		error = index_init(&kv->index);
	if (!error)
		error = versions_init(&kv->versions);
	for (i = 0; i < super->keyspace_count && !error; i++) {
		if (kv->info.keyspaces[i].ordered)
			error = order_new(&kv->order_of[i]);
	}
	if (!error)
		error = order_new(&kv->order_of[FORMAT_KEYSPACE_LARGE]);
	if (!error)
		error = dictionaries_new(kv);
	return error;
}

static void kv_free(struct kv *kv)
{
	unsigned i;

	checkpoint_save_abandon(kv);
	checkpoint_stop(kv);
	checkpoint_vouch_fini(kv);
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		order_free(kv->order_of[i]);
	dictionaries_free(kv);
	compact_copied_forget(kv);
	large_fini(&kv->large);
	scrub_fini(kv);
	index_fini(&kv->index);
	versions_fini(&kv->versions);
	snapshots_fini(&kv->snapshots);
	views_fini(&kv->views);
	segments_fini(&kv->segments);
	log_fini(&kv->log);
	sync_fini(&kv->sync);
	maintain_fini(&kv->maintain);
	timing_fini(&kv->timing);
	if (kv->manifest)
		kv->env->file_close(kv->manifest);
	if (kv->super)
		kv->env->file_close(kv->super);
	if (kv->dir)
		kv->env->dir_close(kv->dir);
	free(kv);
}

/* The maintainer may wait for the flusher, not the other way round. */
static void stop_threads(struct kv *kv)
{
	maintain_stop(kv);
	sync_stop(kv);
}

static int start_threads(struct kv *kv)
{
	int error = sync_start(kv);

	if (!error)
		error = maintain_start(kv);
	if (error)
		stop_threads(kv);
	return error;
}

/* -ESTALE: there is a checkpoint, but it must be done without. */
static int open_with(struct kv_env *env, const char *path, const struct kv_open_options *options,
		     enum checkpoint_fate fate, struct kv **out)
{
	bool read_only = options->flags & KV_OPEN_READ_ONLY;
	uint64_t started_us;
	struct kv *kv;
	int error;

	kv = aligned_alloc(64, (sizeof(*kv) + 63) & ~(size_t)63);
	if (!kv)
		return -ENOMEM;
	memset(kv, 0, sizeof(*kv));
	kv->env = env ? env : env_system();
	kv->report = options->report;
	kv->report_arg = options->report_arg;
	kv->warm_size = memory_size() / WARM_MEMORY_SHARE;
	kv->inline_maintenance = options->flags & KV_OPEN_INLINE;
	kv->checkpoint_fate = fate;
	kv->checkpoint_interval = options->checkpoint_interval;
	kv->commit_interval_us =
		(uint64_t)(options->commit_interval_ms ? options->commit_interval_ms :
							 COMMIT_INTERVAL_MS_DEFAULT) *
		1000;
	kv->compaction.raw_at_us = 1;
	log_init(&kv->log);
	sync_init(&kv->sync);
	large_init(&kv->large);
	brake_init(kv);
	scrub_init(kv, options->scrub_rate, options->scrub_interval_s);
	maintain_init(&kv->maintain);
	started_us = kv->env->clock_us(kv->env);

	error = open_super(kv, path, read_only);
	if (error)
		goto out;
	fill_info(kv, &kv->super_block, read_only);
	error = init_parts(kv, &kv->super_block, options->resident_size);
	if (!error)
		error = recover(kv);
	if (!error)
		error = checkpoint_start(kv);
	/* What was too much when the last process ended is too much now; and so with what lacked. */
	if (!error && !read_only) {
		(void)brake_check(kv);
		reserve_judge(kv);
	}
	times_init(kv);
	if (!error && !read_only && (atomic_load(&kv->damaged) || fate != CHECKPOINT_USED))
		error = large_settle(kv);
	/* A segment that is missing is not missed again by the next one who opens the store. */
	if (!error && !kv->large.spared_count && !kv->loss_unmarked)
		error = manifest_settle(kv);
	if (!error && !read_only && !kv->inline_maintenance)
		error = start_threads(kv);
	if (error && error != -ESTALE &&
	    !(fate == CHECKPOINT_REMOVED_WITH_ROOM && env_is_short(error)))
		store_report(kv, KV_ERROR, "%s: cannot be opened: %s", path, strerror(-error));
	if (error)
		goto out;
	kv->open_us = kv->env->clock_us(kv->env) - started_us;
	*out = kv;
	return 0;
out:
	kv_free(kv);
	return error;
}

int kv_open(struct kv_env *env, const char *path, const struct kv_open_options *options,
	    struct kv **out)
{
	static const struct kv_open_options defaults;
	int error = open_with(env, path, options ? options : &defaults, CHECKPOINT_USED, out);

	if (error == -ESTALE) {
		error = open_with(env, path, options ? options : &defaults, CHECKPOINT_IGNORED,
				  out);
		/* Of the checkpoint, which was said. */
		if (!error) {
			store_add(&(*out)->damaged, 1);
			(*out)->checkpoint_damaged = (*out)->info.read_only;
		}
	}
	return error;
}

int store_open_anew(struct kv_env *env, const char *path, const struct kv_open_options *options,
		    enum checkpoint_fate fate, struct kv **out)
{
	return open_with(env, path, options, fate, out);
}

int kv_close(struct kv *kv)
{
	int error = 0;

	if (!kv)
		return 0;
	stop_threads(kv);
	/* Looks into the index, for which it has to be there, or to come. */
	if (!kv->inline_maintenance && times_due_us(kv) != UINT64_MAX)
		times_sample(kv);
	checkpoint_stop(kv);
	if (!kv->info.read_only)
		error = atomic_load(&kv->failed) ? -EIO : sync_wait(kv, kv_last_seq(kv));
	/* Copies follow no number: they may be all that a sync has not seen. */
	if (!error && !kv->info.read_only &&
	    (log_mark(kv) || atomic_load(&kv->sync.durable_bytes) <
				     atomic_load(&kv->log.hot.appended_bytes)))
		error = sync_flush(kv);
	if (!error && !kv->info.read_only)
		error = cold_close(kv);
	if (!error && !kv->info.read_only)
		trim_close(kv);
	if (!error)
		checkpoint_write(kv);
	if (!error && !kv->info.read_only)
		error = log_close(kv);
	/* Where it cannot be, nothing but that segment's loss goes unnoticed. */
	if (!error && !kv->info.read_only)
		(void)manifest_close(kv);
	kv_free(kv);
	return error;
}

/* ---- durability ------------------------------------------------------------------------------ */

uint64_t kv_last_seq(const struct kv *kv)
{
	return atomic_load_explicit(&kv->log.last_seq, memory_order_acquire);
}

uint64_t kv_durable_seq(const struct kv *kv)
{
	return atomic_load_explicit(&kv->sync.durable_seq, memory_order_acquire);
}

int kv_sync(struct kv *kv, uint64_t seq)
{
	uint64_t begun_ns;
	int error;

	if (kv->inline_maintenance && !times_due_us(kv))
		times_sample(kv);
	if (kv_durable_seq(kv) >= seq)
		return 0;
	if (!log_has_number(kv, seq))
		return -EINVAL;
	begun_ns = timing_begin_always(&kv->timing);
	error = sync_wait(kv, seq);
	timing_end(&kv->timing, KV_OPERATION_SYNC, begun_ns);
	return error;
}

void kv_sync_notify(struct kv *kv, struct kv_waiter *waiter)
{
	sync_notify(kv, waiter);
}

void kv_info(const struct kv *kv, struct kv_info *out)
{
	*out = kv->info;
}
