/* SPDX-License-Identifier: MIT */
/*
 * soak_watch.h - what a process with a store takes of memory, descriptors and disk, sampled into
 * the shared model while it lives; and, when it is dead, the judgement whether that stays flat:
 * within a long life, and over many. Or judged by itself when it is at rest.
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

/* The same at a moment when nobody works and nothing is left to be given back. */
struct soak_rest {
	uint64_t heap_bytes;   /* that somebody has from malloc; 0 with a sanitizer */
	uint64_t memory_bytes; /* anonymous */
	uint64_t disk_bytes;   /* the files in the store's directory, whoever knows of them */
	uint64_t needed_bytes; /* by the head: nobody may keep anything else */
	uint32_t descriptors, files;
};

/*
 * Waits until the store has given back what it does not need. NULL, or what it has not given back,
 * as all messages here.
 */
const char *soak_watch_rest(struct kv *kv, const char *directory, uint32_t segment_bytes,
	struct soak_rest *out);
/* The same store at rest twice, with work in between. */
const char *soak_watch_compare(const struct soak_rest *before, const struct soak_rest *after);

/* Takes in a life that is over. NULL, or what did not stay flat; a message until the next call. */
const char *soak_watch_judge(struct soak_watch *watch, const struct soak_model *model);

#endif
