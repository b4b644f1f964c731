/* SPDX-License-Identifier: MIT */
/*
 * small.h - the engine in small, for crash_growth: the compiler includes this before each of its
 * files, which take these sizes for their own. The code is the same, and some hundred keys do with
 * it what takes millions otherwise: indexes grow again and again, to twice their size and then in
 * steps of a fifth; trees have levels of branches; a checkpoint has up to 20 chunks.
 */
#ifndef SMALL_H
#define SMALL_H

/* A table begins with 16 buckets, and grows when it has 102 entries. */
#define INDEX_REACH 15u
#define INDEX_FINGERPRINT_BITS 23u
#define DOUBLE_BELOW ((uint64_t)8 << 10)
#define INDEX_CHUNK_SIZE 4096u
#define FORMAT_CHECKPOINT_CHUNK 4096u
#define ORDER_CHILDREN_MAX 8u
#define VERSION_CHUNK ((uint32_t)256)
/* A step of a checkpoint that brings a growth to its end. */
#define SETTLE_BUCKETS 1u
#define SETTLE_STAYS 8u

/* As many as the model has in each keyspace. */
#define KV_MODEL_KEYS 1024u

#endif
