/* SPDX-License-Identifier: MIT */
/*
 * condition.h - what a batch expects of the store: kept beside its changes, judged under the commit
 * lock, where nothing can change between the judgement and the changes.
 */
#ifndef CONDITION_H
#define CONDITION_H

#include "store.h"

struct condition {
	uint64_t hash; /* of the key */
	uint64_t seq;  /* of the record expected; 0: no such key */
	size_t at;     /* of the key in bytes, with the value behind it */
	size_t key_size;
	size_t value_size;
	uint8_t keyspace;
	bool by_value; /* the value is expected, whatever its number */
};

struct conditions {
	struct condition *list;
	unsigned count, capacity;
	uint8_t *bytes;
	size_t used, room;
};

void conditions_fini(struct conditions *conditions);
/* Under the commit lock. 0, -EEXIST, -ESTALE, or an error of reading */
int conditions_judge(struct kv *kv, const struct conditions *conditions);

#endif
