/* SPDX-License-Identifier: MIT */
/*
 * lookup.h - from a key to its newest record: the hash index's candidates, checked against the log.
 */
#ifndef LOOKUP_H
#define LOOKUP_H

#include <string.h>

#include "store.h"

struct lookup {
	const struct segments *segments;
	const void *key;
	size_t key_size;
	unsigned keyspace;
	const struct format_record *record; /* the last one looked at; the match, if there was one */
};

static inline bool lookup_match(void *arg, uint64_t address)
{
	struct lookup *lookup = arg;
	const struct format_record *record = segments_record(lookup->segments, address);

	lookup->record = record;
	return record->key_size == lookup->key_size && record->keyspace == lookup->keyspace &&
	       !memcmp(record->key, lookup->key, lookup->key_size);
}

#endif
