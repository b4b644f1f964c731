/* SPDX-License-Identifier: MIT */
/*
 * damage_said.h - what the messages of opening, of a check and of a repair name as damaged: the
 * other end of what they promise, which is that nothing is gone that was not said.
 */
#ifndef DAMAGE_SAID_H
#define DAMAGE_SAID_H

#include <stdbool.h>
#include <stdint.h>

#include "kv.h"

#define DAMAGE_RANGES_MAX 2048u

struct damage_said {
	struct damage_range {
		uint32_t slot;
		uint64_t from, end; /* in the segment */
		bool lost;          /* and what they held is */
		bool cut;           /* with the file's end */
	} ranges[DAMAGE_RANGES_MAX];
	unsigned ranges_count;
	unsigned count;     /* of messages, information aside */
	bool snapshot_lost; /* one is of a state that is lost */
	bool missing; /* segments of the log are, of which only the number is known */
	bool index_part; /* of the checkpoint's index one cannot be read */
	unsigned large_parts; /* pieces, or some of a large value, are all that is there */
	uint64_t segment_size;
	char last[512];
};

/* For arg: a struct damage_said, which knows the size of segments. */
void damage_hear(void *arg, enum kv_severity severity, const char *message);
/* Is one of these bytes named? */
bool damage_named(const struct damage_said *said, uint32_t slot, uint64_t from, uint64_t end);
/* Bytes that are named as lost, each once. */
uint64_t damage_lost_bytes(const struct damage_said *said);
/* Is something of this segment's end said to be cut off? The position; UINT64_MAX: nothing is. */
uint64_t damage_cut(const struct damage_said *said, uint32_t slot);

#endif
