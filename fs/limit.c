/* SPDX-License-Identifier: MIT */
/* limit.c - see limit.h. The limit is a record of the keyspace meta. */
#include "limit.h"

#include <time.h>

#include "keyspaces.h"
#include "meta_record.h"
#include "record.h"

#define SECOND_NS ((uint64_t)1000000000)
#define ORPHANED_NS SECOND_NS
#define AWAIT_PAUSE_NS 1000000
#define AWAIT_IDLE 200u /* pauses in which nothing comes free */
#define AWAIT_PAUSES 1000u
/* Of all that time may be waited so much, and no more than a second for all that was not. */
#define AWAIT_SHARE 16u
#define AWAIT_WINDOW_NS (AWAIT_SHARE * SECOND_NS)

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

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

void limit_orphaned(struct kvfs *fs)
{
	atomic_store_explicit(&fs->orphaned_ns, now_ns(), memory_order_relaxed);
}

/* A holder who has not let go of a file a second after its last name went is going to keep it. */
static bool orphaned_lately(const struct kvfs *fs, uint64_t now)
{
	return now < atomic_load(&fs->orphaned_ns) + ORPHANED_NS;
}

/* Who waits keeps his thread from all others, so it is not up to him how often. */
static bool may_wait(const struct kvfs *fs, uint64_t now)
{
	return atomic_load(&fs->waited_ns) <= now;
}

static void note_wait(struct kvfs *fs, uint64_t began, uint64_t ended)
{
	uint64_t least = began < AWAIT_WINDOW_NS ? 0 : began - AWAIT_WINDOW_NS;
	uint64_t old = atomic_load(&fs->waited_ns), next;

	do
		next = (old < least ? least : old) + (ended - began) * AWAIT_SHARE;
	while (!atomic_compare_exchange_weak(&fs->waited_ns, &old, next));
}

/* Until the limit is not reached any more, or it seems that this is not going to happen. */
static void await_orphans(struct kvfs *fs, bool lately)
{
	const struct timespec pause = {.tv_nsec = AWAIT_PAUSE_NS};
	uint64_t live = kv_live_bytes(fs->kv);
	unsigned idle = lately ? 0 : AWAIT_IDLE - 1;
	struct kv_stats stats;

	for (unsigned i = 0; i < AWAIT_PAUSES && idle < AWAIT_IDLE && limit_reached(fs); i++) {
		kv_stats(fs->kv, &stats);
		if (!stats.keys[KEYSPACE_ORPHAN])
			break;
		nanosleep(&pause, NULL);
		idle = kv_live_bytes(fs->kv) < live ? 0 : idle + 1;
		live = kv_live_bytes(fs->kv);
	}
}

bool kvfs_await_space(struct kvfs *fs)
{
	uint64_t began = now_ns();

	if (may_wait(fs, began)) {
		await_orphans(fs, orphaned_lately(fs, began));
		note_wait(fs, began, now_ns());
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
