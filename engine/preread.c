/* SPDX-License-Identifier: MIT */
/* preread.c - see preread.h. */
#include "preread.h"

#include <pthread.h>
#include <stdlib.h>

#include "huge_map.h"
#include "worker.h"

#define REPLAYED_MIN 2u	    /* segments: less is over before a thread has begun */
#define REPLAYED_SHARE 64u  /* of the log at least: a few pages are read sooner by themselves */
#define RECORD_MAX 4096u    /* bytes of one on average: large ones are replaced without a look at
			       much else */
#define PIECE_SIZE HUGE_MAP_SIZE /* bytes that are read between two looks whether it is over */

struct preread {
	struct kv *kv;
	struct segment *const *segments;
	size_t count;
	pthread_t thread;
	_Atomic bool stopping;
};

static const uint8_t *map_of(const struct segment *segment)
{
	return segment->buffer ? NULL : atomic_load(&segment->map);
}

static void read_in(struct preread *preread, const uint8_t *map)
{
	const struct kv *kv = preread->kv;
	uint32_t offset, piece;

	for (offset = 0; offset < kv->segments.size && !atomic_load(&preread->stopping);
	     offset += piece) {
		piece = kv->segments.size - offset < PIECE_SIZE ? kv->segments.size - offset
								: PIECE_SIZE;
		kv->env->map_advise(map + offset, piece, ENV_ADVICE_POPULATE);
	}
}

/* What is replayed is come to in order anyway. */
static void *run(void *arg)
{
	struct preread *preread = arg;
	size_t i = preread->count;

	while (i-- > 0) {
		if (preread->segments[i]->covered && map_of(preread->segments[i]))
			read_in(preread, map_of(preread->segments[i]));
	}
	return NULL;
}

/* As far as the checkpoint knows. */
static uint64_t keys_known(const struct kv *kv)
{
	uint64_t keys = 0;
	unsigned i;

	for (i = 0; i < FORMAT_KEYSPACES; i++)
		keys += atomic_load(&kv->keys[i]);
	return keys;
}

static bool is_worth_while(const struct kv *kv, struct segment *const *segments, size_t count)
{
	size_t replayed = 0, i;

	for (i = 0; i < count; i++)
		replayed += !segments[i]->complete;
	if (replayed < REPLAYED_MIN || replayed < count / REPLAYED_SHARE ||
	    (uint64_t)count * kv->segments.size > kv->warm_size)
		return false;
	return atomic_load(&kv->log_bytes) <= keys_known(kv) * RECORD_MAX;
}

/* Before anybody looks at them: what has been read in small pages stays so. */
static void make_huge(struct kv *kv, struct segment *const *segments, size_t count)
{
	size_t i;

	/* Of a reader nobody looks later whether they do well (huge_map_watch). */
	if (kv->info.read_only ||
	    atomic_load(&kv->log_bytes) > keys_known(kv) * HUGE_MAP_RECORD_MAX)
		return;
	for (i = 0; i < count; i++) {
		if (segments[i]->covered && map_of(segments[i]))
			huge_map_make(kv, map_of(segments[i]));
	}
}

struct preread *preread_new(struct kv *kv, struct segment *const *segments, size_t count)
{
	struct preread *preread;

	if (kv->inline_maintenance || !is_worth_while(kv, segments, count))
		return NULL;
	preread = calloc(1, sizeof(*preread));
	if (!preread)
		return NULL;
	preread->kv = kv;
	preread->segments = segments;
	preread->count = count;
	make_huge(kv, segments, count);
	if (worker_thread(&preread->thread, run, preread)) {
		free(preread);
		return NULL;
	}
	return preread;
}

void preread_free(struct preread *preread)
{
	if (!preread)
		return;
	atomic_store(&preread->stopping, true);
	pthread_join(preread->thread, NULL);
	free(preread);
}
