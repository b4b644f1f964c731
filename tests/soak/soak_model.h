/* SPDX-License-Identifier: MIT */
/*
 * soak_model.h - what the store should hold, in memory that survives the process that uses the
 * store.
 *
 * Pairs: one key in the hashed keyspace and one in the ordered keyspace, always changed by one
 * batch; each pair belongs to one writer. A change gives both keys the pair's next version; every
 * SOAK_DELETE_EACH-th version is a deletion. The value follows from key and version. A version is
 * never used twice, not even one that a crash has undone:
 *
 *   base < first                what the store held when it was opened last; the first version
 *                               begun since
 *   synced <= done <= tried     known to be durable, committed, begun
 *
 * After a crash the store must have `base` or one of the versions from `first` to `tried`, at least
 * `synced`, and the same for both keys of a pair.
 *
 * Counters: changed by several threads at once, each on the condition that nobody else was faster.
 * Large values: soak_large.h. Snapshots: soak_snapshot.h.
 *
 * Threads: any; a process that is killed leaves each field as it was, so the order of the stores
 * matters where it is said.
 */
#ifndef SOAK_MODEL_H
#define SOAK_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOAK_HASHED 0u /* keyspaces */
#define SOAK_ORDERED 1u
#define SOAK_LARGE 2u

#define SOAK_DELETE_EACH 5u
#define SOAK_VALUE_MAX (192u << 10)
#define SOAK_KEY_SIZE 16u
#define SOAK_COUNTERS 16u
#define SOAK_LARGE_VALUES 16u
#define SOAK_SNAPSHOTS 2u /* at once */
#define SOAK_SAMPLES_MAX 2048u

struct soak_pair {
	_Atomic uint32_t base, first, tried, done, synced;
};

struct soak_counter {
	_Atomic uint64_t tried, done, synced; /* increments */
};

enum soak_snapshot_state { SOAK_NONE, SOAK_BEING_MADE, SOAK_THERE, SOAK_BEING_DELETED };

struct soak_snapshot {
	_Atomic uint32_t state;  /* enum soak_snapshot_state */
	_Atomic uint32_t number; /* in its name */
};

/* What a process took at one moment. soak_watch.h */
struct soak_sample {
	uint64_t memory_bytes;             /* anonymous */
	uint64_t disk_bytes, needed_bytes; /* by the head and snapshots */
	uint32_t descriptors, files;
};

struct soak_large;

struct soak_model {
	uint32_t pairs;
	_Atomic bool stopping; /* the parent asks for a clean end */
	_Atomic bool working;  /* the store is open, and was compared */
	_Atomic bool failed;
	_Atomic uint64_t changes, conditions, conflicts, large_changes, reads, walks, prunes;
	_Atomic uint64_t snapshots_taken, snapshots_read;
	struct soak_counter counters[SOAK_COUNTERS];
	_Atomic uint32_t sample_count; /* of this life */
	struct soak_sample samples[SOAK_SAMPLES_MAX];
	struct soak_pair *pair;   /* [pairs] */
	struct soak_large *large; /* [SOAK_LARGE_VALUES] */
	struct soak_snapshot snapshots[SOAK_SNAPSHOTS];
	uint32_t *versions[SOAK_SNAPSHOTS]; /* [pairs] each: what the snapshot shows */
};

/* Memory shared with children; NULL: there is none. */
struct soak_model *soak_model_new(uint32_t pairs);

/* SplitMix64. */
uint64_t soak_random(uint64_t *state);
uint64_t soak_mix(uint64_t x);

void soak_key(uint32_t pair, unsigned half, uint8_t key[SOAK_KEY_SIZE]);
/* The pair and half whose key this is; false: nobody's. */
bool soak_key_parse(const struct soak_model *model, const void *key, size_t size, uint32_t *pair,
	unsigned *half);
/* The size of the value; 0: this version is a deletion. */
size_t soak_value(uint32_t pair, unsigned half, uint32_t version, uint8_t *value);
/*
 * The version that a value says it is, if it is that version's value in each byte. False: it is
 * not.
 */
bool soak_value_version(
	uint32_t pair, unsigned half, const uint8_t *value, size_t size, uint32_t *version);

static inline bool soak_is_deletion(uint32_t version)
{
	return version % SOAK_DELETE_EACH == 0;
}

/*
 * May a pair have this version (0: be absent), if it had `from` or a later one, and `to` was the
 * last that was begun?
 */
bool soak_pair_allows(const struct soak_pair *pair, uint32_t from, uint32_t to, uint32_t version);
/* This is what the store has, from here on. False: it must not. */
bool soak_pair_settle(struct soak_pair *pair, uint32_t version);

#endif
