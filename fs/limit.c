/* SPDX-License-Identifier: MIT */
/* limit.c - see limit.h. The limit is a record of the keyspace meta. */
#include "limit.h"

#include <time.h>

#include "keyspaces.h"
#include "meta_record.h"
#include "record.h"

#define AWAIT_PAUSE_NS 1000000
#define AWAIT_IDLE 200u /* pauses in which nothing comes free */
#define AWAIT_PAUSES 1000u

int limit_load(struct kvfs *fs)
{
	struct kv_slice value;
	uint64_t limit = 0;
	int err = record_error(kv_get(fs->kv, KEYSPACE_META, META_SIZE_LIMIT_KEY,
		sizeof(META_SIZE_LIMIT_KEY) - 1, &value));

	if (!err)
		err = meta_size_limit_decode(value, &limit);
	if (!err)
		atomic_store(&fs->size_limit, limit);
	return err == -ENOENT ? 0 : err;
}

void limit_space(const struct kvfs *fs, uint64_t *avail_bytes, uint64_t *capacity_bytes)
{
	uint64_t limit = atomic_load(&fs->size_limit), live;

	if (!limit)
		return;
	live = kv_live_bytes(fs->kv);
	if (*capacity_bytes > limit)
		*capacity_bytes = limit;
	limit = limit > live ? limit - live : 0;
	if (*avail_bytes > limit)
		*avail_bytes = limit;
}

void limit_orphaned(struct kvfs *fs, const struct timespec *now)
{
	atomic_store_explicit(&fs->orphaned_s, now->tv_sec, memory_order_relaxed);
}

/* A holder who has not let go of a file a second after its last name went is going to keep it. */
static bool orphaned_lately(const struct kvfs *fs)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec - atomic_load_explicit(&fs->orphaned_s, memory_order_relaxed) <= 1;
}

bool kvfs_await_space(struct kvfs *fs)
{
	const struct timespec pause = {.tv_nsec = AWAIT_PAUSE_NS};
	uint64_t live = kv_live_bytes(fs->kv);
	struct kv_stats stats;
	unsigned idle = orphaned_lately(fs) ? 0 : AWAIT_IDLE - 1;

	for (unsigned i = 0; i < AWAIT_PAUSES && idle < AWAIT_IDLE && limit_reached(fs); i++) {
		kv_stats(fs->kv, &stats);
		if (!stats.keys[KEYSPACE_ORPHAN])
			return false;
		nanosleep(&pause, NULL);
		idle = kv_live_bytes(fs->kv) < live ? 0 : idle + 1;
		live = kv_live_bytes(fs->kv);
	}
	return atomic_load(&fs->size_limit) && !limit_reached(fs);
}

uint64_t kvfs_size_limit(const struct kvfs *fs)
{
	return atomic_load(&fs->size_limit);
}

int kvfs_set_size_limit(struct kvfs *fs, uint64_t bytes)
{
	uint8_t value[META_SIZE_LIMIT_SIZE];
	uint64_t seq;
	int err;

	if (fs->read_only)
		return -EROFS;
	meta_size_limit_encode(bytes, value);
	err = kv_put(fs->kv, KEYSPACE_META, META_SIZE_LIMIT_KEY, sizeof(META_SIZE_LIMIT_KEY) - 1,
		value, sizeof(value), &seq);
	if (!err)
		err = kv_sync(fs->kv, seq);
	if (!err)
		atomic_store(&fs->size_limit, bytes);
	return err;
}
