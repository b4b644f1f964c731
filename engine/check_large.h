/* SPDX-License-Identifier: MIT */
/*
 * check_large.h - do headers of large values and pieces belong to each other? Headers are collected
 * on the way through the log, then all pieces are walked once.
 */
#ifndef CHECK_LARGE_H
#define CHECK_LARGE_H

#include "store.h"

struct check_header;

struct check_large {
	struct check_header *headers;
	size_t count, capacity;
};

/* A newest record with FORMAT_RECORD_LARGE. -ENOMEM */
int check_large_add(struct check_large *large, const struct format_record *record,
		    uint64_t address);
/* Compares, with the log's lock. -ENOMEM */
int check_large_compare(struct check_large *large, struct kv *kv,
			void (*finding)(void *arg, const char *message), void *arg);
void check_large_fini(struct check_large *large);

#endif
