/* SPDX-License-Identifier: MIT */
/* huge_map.c - see huge_map.h. */
#include "huge_map.h"

#define READS_MAX 4u /* times that the log may be read in, before there is no memory for it */

bool huge_map_fits(const struct kv *kv)
{
	return atomic_load(&kv->log_bytes) < kv->warm_size;
}

void huge_map_make(struct kv *kv, const uint8_t *map)
{
	if (kv->maintain.small)
		return;
	kv->env->map_advise(map, kv->segments.size, ENV_ADVICE_HUGE);
	if (!kv->maintain.huge)
		kv->maintain.faults = kv->env->map_faults(kv->env);
	kv->maintain.huge = true;
}

/* Bytes that maps have read since there are huge ones, if all faults were theirs. */
static uint64_t huge_bytes_read(const struct kv *kv)
{
	return (kv->env->map_faults(kv->env) - kv->maintain.faults) * HUGE_MAP_SIZE;
}

void huge_map_watch(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count);
	uint64_t was_there = atomic_load(&kv->log_bytes) + atomic_load(&kv->appended_bytes) +
			     atomic_load(&kv->relocated_bytes);
	bool pressed;

	if (!kv->maintain.huge)
		return;
	pressed = huge_bytes_read(kv) > READS_MAX * was_there + kv->warm_size / READS_MAX;
	if (huge_map_fits(kv) && !pressed)
		return;
	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];
		const uint8_t *map = segment ? atomic_load(&segment->map) : NULL;

		if (map)
			kv->env->map_advise(map, segments->size, ENV_ADVICE_SMALL);
	}
	kv->maintain.huge = false;
	kv->maintain.small = pressed;
}
