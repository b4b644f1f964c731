/* SPDX-License-Identifier: MIT */
/*
 * kv_model.h - what a store must hold: a plain table of a few keys, and the batches since it was
 * last known.
 *
 * Keys are numbers here; kv_model_key gives their bytes: of all lengths, but short ones from the
 * 65th on, in pairs of which one is the other's prefix. A value is its size and a stamp that no
 * other value has; kv_model_value gives its bytes.
 */
#ifndef KV_MODEL_H
#define KV_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KV_MODEL_KEYSPACES 2u /* 0 is hashed, 1 is ordered as well */
#ifndef KV_MODEL_KEYS /* tests/crash/small.h */
#define KV_MODEL_KEYS 64u
#endif
#define KV_MODEL_SNAPSHOTS 4u

struct kv_model_change {
	uint8_t keyspace;
	uint16_t key;
	bool present; /* put, or deleted */
	uint32_t size;
	uint64_t stamp;
	uint64_t seq; /* of the batch, which kv_model_commit fills in */
};

struct kv_model;
struct kv_model_state; /* of all keys, at one moment */

int kv_model_new(struct kv_model **out);
void kv_model_free(struct kv_model *model);

/* A batch was committed with this number, which must be the next one. -ENOMEM, -EINVAL */
int kv_model_commit(struct kv_model *model, uint64_t seq, const struct kv_model_change *changes,
	unsigned count);
/* As the batch with this number, a snapshot was taken, or deleted. -ENOMEM, -EINVAL */
int kv_model_change_snapshot(struct kv_model *model, uint64_t seq, unsigned snapshot, bool taken);
void kv_model_synced(struct kv_model *model, uint64_t seq);
uint64_t kv_model_last(const struct kv_model *model);
uint64_t kv_model_durable(const struct kv_model *model);
/* Nothing after `seq` has happened: such batches are the lost ones, until the next call. */
void kv_model_forget_after(struct kv_model *model, uint64_t seq);
size_t kv_model_lost_count(const struct kv_model *model);
/* The nth lost batch, from 0. Out: its changes; or the snapshot it took or deleted, -1: none. */
const struct kv_model_change *kv_model_lost(
	const struct kv_model *model, size_t nth, unsigned *count, int *snapshot);
/* The key's value after all batches; valid until the next commit. NULL: the key is not there. */
const struct kv_model_change *kv_model_get(
	const struct kv_model *model, unsigned keyspace, unsigned key);
/* What all keys were when a snapshot was taken, to be looked at in place of what they are now. NULL: there is none. */
const struct kv_model_state *kv_model_snapshot(const struct kv_model *model, unsigned snapshot);
/* The batch that took it; 0: it is not there. */
uint64_t kv_model_snapshot_seq(const struct kv_model *model, unsigned snapshot);
const struct kv_model_state *kv_model_now(const struct kv_model *model);
const struct kv_model_change *kv_model_state_get(
	const struct kv_model_state *state, unsigned keyspace, unsigned key);

/* The key's bytes, which stay, and their number (at most 65,535). */
size_t kv_model_key(unsigned key, const uint8_t **bytes);
/* Key numbers in the order of their bytes. */
const uint16_t *kv_model_sorted(void);
void kv_model_value(const struct kv_model_change *change, uint8_t *bytes);

#endif
