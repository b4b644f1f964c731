/* SPDX-License-Identifier: MIT */
/*
 * apply.h - what a record in the log means to the indexes: the one place where commit, recovery and
 * compaction change them. Called with the log's lock, or before there is anyone else.
 */
#ifndef APPLY_H
#define APPLY_H

#include "store.h"

/* Makes room so that applying `count` records with keys of `key_bytes` in all cannot fail. -ENOMEM */
int apply_reserve(struct kv *kv, uint64_t count, const uint64_t keys[FORMAT_KEYSPACES],
		  uint64_t key_bytes);
/* -ENOMEM only where index_insert says so, or without a reservation. */
int apply_record(struct kv *kv, const struct format_record *record, uint64_t address, uint64_t hash);

#endif
