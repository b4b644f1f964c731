/* SPDX-License-Identifier: MIT */
/*
 * soak_watch.h - what a process with a store takes of memory, descriptors and disk, sampled into
 * the shared model while it lives; and, when it is dead, the judgement whether that stays flat:
 * within a long life, and over many.
 */
#ifndef SOAK_WATCH_H
#define SOAK_WATCH_H

#include "kv.h"
#include "soak_model.h"

#define SOAK_SAMPLE_MS 100u

/* One sample, of this process; at most SOAK_SAMPLES_MAX in a life. */
void soak_watch_sample(struct soak_model *model, struct kv *kv, const char *directory);

/* The peaks of the lives so far; the parent's. */
struct soak_watch {
	uint32_t segment_bytes;
	bool is_short; /* too short to judge the disk */
	bool lives_are_short;
	unsigned lives;
	struct soak_sample early; /* peaks of the first lives */
	struct soak_sample peak;  /* of all */
	struct soak_sample last;  /* of the last life */
	double amplification;	  /* the most on the disk over the most that was needed */
};

/* Takes in a life that is over. NULL, or what did not stay flat; a message until the next call. */
const char *soak_watch_judge(struct soak_watch *watch, const struct soak_model *model);

#endif
