/* SPDX-License-Identifier: MIT */
/*
 * soak_model.h - what the store should hold, in memory that survives the process that uses the store.
 *
 * Keys come in pairs that are always changed by one batch; each pair belongs to one writer. A change gives both keys of a
 * pair its next version; every SOAK_DELETE_EACH-th version is a deletion. The value follows from key and version.
 *
 *   synced <= done <= tried     the version known to be durable, committed, begun
 *
 * After a crash the store must have one of the versions from synced to tried, the same for both keys of a pair.
 */
#ifndef SOAK_MODEL_H
#define SOAK_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOAK_DELETE_EACH 5u
#define SOAK_SNAPSHOTS 3u
#define SOAK_VALUE_MAX (192u << 10)
#define SOAK_KEY_SIZE 16u

struct soak_pair {
	_Atomic uint32_t tried, done, synced;
};

enum soak_snapshot_state { SOAK_NONE, SOAK_BEING_MADE, SOAK_THERE, SOAK_BEING_DELETED };

struct soak_snapshot {
	_Atomic uint32_t state; /* enum soak_snapshot_state */
	_Atomic uint32_t number; /* in its name */
};

struct soak_model {
	uint32_t pairs;
	_Atomic bool stopping;	 /* the parent asks for a clean end */
	_Atomic bool failed;
	_Atomic uint64_t changes, reads, snapshots_made, snapshots_read, prunes;
	_Atomic uint64_t memory_bytes; /* of the child, lately */
	_Atomic uint32_t next_snapshot;
	struct soak_snapshot snapshots[SOAK_SNAPSHOTS];
	struct soak_pair *pair;		       /* [pairs] */
	uint32_t *versions[SOAK_SNAPSHOTS];    /* [pairs] each: what the snapshot holds */
};

/* Memory shared with children. NULL: there is none. */
struct soak_model *soak_model_new(uint32_t pairs);

void soak_key(uint32_t pair, unsigned half, uint8_t key[SOAK_KEY_SIZE]);
/* The size of the value; 0: this version is a deletion. */
size_t soak_value(uint32_t pair, unsigned half, uint32_t version, uint8_t *value);
/* The version that a value says it is, if it is that version's value in each byte. False: it is not. */
bool soak_value_version(uint32_t pair, unsigned half, const uint8_t *value, size_t size,
	uint32_t *version);

static inline bool soak_is_deletion(uint32_t version)
{
	return version % SOAK_DELETE_EACH == 0;
}

#endif
