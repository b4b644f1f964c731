/* SPDX-License-Identifier: MIT */
/*
 * large_fixture.h - what tests of values in pieces have in common: such values, and their pieces
 * counted. Keys are of the hashed keyspace.
 */
#ifndef LARGE_FIXTURE_H
#define LARGE_FIXTURE_H

#include "kv_fixture.h"

#define PIECE 65536u
#define BIG (3u << 20)	 /* three segments: over value_size_max */
#define PATIENCE 120000u /* milliseconds */

/* The caller frees them. */
uint8_t *bytes_of(size_t size, uint64_t seed);

int put(struct fixture *fixture, const char *key, const void *value, size_t size);
int write_at(
	struct fixture *fixture, const char *key, uint64_t offset, const void *data, size_t size);
int resize(struct fixture *fixture, const char *key, uint64_t size);
/* Puts the value as a stream, so many bytes at a time. */
void stream_all(
	struct fixture *fixture, const char *key, const uint8_t *value, size_t size, size_t step);

uint64_t size_of(struct fixture *fixture, const char *key);
/* All of the value, by kv_read in odd steps, and by its parts. */
void must_read(struct fixture *fixture, const char *key, const uint8_t *expected, size_t size);

uint64_t pieces_of(struct fixture *fixture);
/*
 * Waits until there are so many. The store frees what it has to; a store without a thread does some
 * at each commit, so that "tick" is put into the ordered keyspace.
 */
void must_have_pieces(struct fixture *fixture, uint64_t count);

#endif
