/* SPDX-License-Identifier: MIT */
/* fetch.c - see fetch.h. */
#include "fetch.h"

#define SLOW_US 4u /* a record on average: one of a group of 32 read from the disk is enough */
#define ASK_GROUPS 16u
#define ASK_SIZE 4096u /* bytes from a record's beginning; large values have a readahead of their own */

/* Groups of this thread's for which the kernel will be asked. */
static __thread unsigned ask_groups;

static void ask(struct kv *kv, uint64_t address)
{
	struct segments *segments = &kv->segments;
	const struct segment *segment = segments->table[segments_slot(segments, address)];
	const uint8_t *map = segment ? atomic_load_explicit(&segment->map, memory_order_acquire) :
				       NULL;
	uint32_t offset = segments_offset(segments, address);
	uint32_t size = segments->size - offset;

	if (map)
		kv->env->map_advise(map + offset, size < ASK_SIZE ? size : ASK_SIZE,
				    ENV_ADVICE_WILLNEED);
}

uint64_t fetch_group(struct kv *kv, const uint64_t *addresses, size_t count)
{
	uint64_t begun_us = kv->env->clock_us(kv->env);
	size_t i;

	if (!ask_groups)
		return begun_us;
	for (i = 0; i < count; i++) {
		if (addresses[i])
			ask(kv, addresses[i]);
	}
	ask_groups--;
	return begun_us;
}

void fetch_done(struct kv *kv, uint64_t begun_us, size_t count)
{
	if (kv->env->clock_us(kv->env) - begun_us > (uint64_t)SLOW_US * count)
		ask_groups = ASK_GROUPS;
}
