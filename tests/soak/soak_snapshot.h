/* SPDX-License-Identifier: MIT */
/*
 * soak_snapshot.h - snapshots with what they must show: the version of each pair at the moment when
 * they were taken.
 *
 * A snapshot is noted before it is made and before it is deleted; after a crash one in between may
 * be there or not, and is deleted. One that is there shows what it showed, in every life until it
 * is deleted.
 *
 * Threads: one. While one is taken nobody changes a pair: the caller's lock.
 */
#ifndef SOAK_SNAPSHOT_H
#define SOAK_SNAPSHOT_H

#include "kv.h"
#include "soak_model.h"

/* All return NULL, or what is wrong. */
const char *soak_snapshot_take(struct soak_model *model, struct kv *kv, unsigned slot);
const char *soak_snapshot_delete(struct soak_model *model, struct kv *kv, unsigned slot);
const char *soak_snapshot_verify(struct soak_model *model, struct kv *kv, unsigned slot);
/* After opening: those in between are deleted, the others verified. */
const char *soak_snapshot_settle(struct soak_model *model, struct kv *kv);

#endif
