/* SPDX-License-Identifier: MIT */
/*
 * kv_compare.h - is a store what the model says: by key and in order, as it is now and in each snapshot?
 */
#ifndef KV_COMPARE_H
#define KV_COMPARE_H

#include "kv.h"
#include "kv_model.h"

#define KV_COMPARE_NAME "snapshot %u" /* names of snapshots */

/* 0, or what crash_fail gives. */
int kv_compare(struct kv *kv, const struct kv_model *model);

#endif
