/* SPDX-License-Identifier: MIT */
/* fetch.c - see fetch.h. */
#include "fetch.h"

#include "huge_map.h"

#define SLOW_US 4u /* a record on average: one of a group of 32 read from the disk is enough */
#define ASK_GROUPS 16u
#define ASK_SIZE 4096u /* bytes from a record's beginning; large values have a readahead of their
			  own */
#define ASK_AROUND 65536u /* bytes around it, where there is memory for all of the log */

/* Groups of this thread's for which the kernel will be asked. */
static __thread unsigned ask_groups;

/*
 * A disk takes 64 KiB in the time of three or four single pages, and who reads a part of a file
 * that was written block by block will come back for what lies beside. That is for logs that are
 * small beside memory: a larger one would be read many times over.
 */
static void ask(struct kv *kv, uint64_t address, bool around)
{
	struct segments *segments = &kv->segments;
	const struct segment *segment = segments->table[segments_slot(segments, address)];
	const uint8_t *map = segment ? atomic_load_explicit(&segment->map, memory_order_acquire) :
				       NULL;
	uint32_t offset = segments_offset(segments, address);
	uint32_t end = offset + ASK_SIZE;

	if (around) {
		end = (end + ASK_AROUND - 1) & ~(ASK_AROUND - 1);
		offset &= ~(ASK_AROUND - 1);
	}
	if (end > segments->size)
		end = segments->size;
	if (map)
		kv->env->map_advise(map + offset, end - offset, ENV_ADVICE_WILLNEED);
}

uint64_t fetch_group(struct kv *kv, const uint64_t *addresses, size_t count)
{
	uint64_t begun_us = kv->env->clock_us(kv->env);
	bool around = huge_map_fits(kv);
	size_t i;

	if (!ask_groups)
		return begun_us;
	for (i = 0; i < count; i++) {
		if (addresses[i])
			ask(kv, addresses[i], around);
	}
	ask_groups--;
	return begun_us;
}

void fetch_done(struct kv *kv, uint64_t begun_us, size_t count)
{
	if (kv->env->clock_us(kv->env) - begun_us > (uint64_t)SLOW_US * count)
		ask_groups = ASK_GROUPS;
}
