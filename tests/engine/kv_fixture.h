/* SPDX-License-Identifier: MIT */
/*
 * kv_fixture.h - a store on a simulated disk, for tests of what kv.h promises.
 *
 * Keyspace 0 is hashed, keyspace 1 ordered as well. Functions that start with must_ fail the test.
 */
#ifndef KV_FIXTURE_H
#define KV_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv.h"
#include "sim_env.h"

#define HASHED 0u
#define ORDERED 1u
#define STORE_PATH "store"
#define SEGMENT_SIZE (1u << 20)

struct fixture {
	struct sim_env *sim;
	struct kv_env *env;
	struct kv *kv;        /* NULL: closed */
	uint64_t checkpoint_interval; /* of what is opened from now on */
	unsigned errors;      /* reported by the store since it was opened */
	unsigned warnings;    /* likewise */
	char last_error[512]; /* the newest of them */
};

extern const struct kv_create_options fixture_create_options;

/* A disk with a new store: open, with its own thread, or inline; or only the disk. */
int fixture_setup(void **state);
int fixture_setup_inline(void **state);
int fixture_setup_empty(void **state);
/* Closes the store if it is open, and finds that nothing of it is left open. */
int fixture_teardown(void **state);

/* The same again and again in one test, each time with another fate: inline. */
struct fixture *fixture_begin(void **state, unsigned fate);
/* What the disk loses from here on follows from this number: 0 changes nothing. */
void fixture_set_fate(struct fixture *fixture, unsigned fate);
void fixture_hear(void *arg, enum kv_severity severity, const char *message);
int fixture_open(struct fixture *fixture, unsigned flags);
void must_open(struct fixture *fixture, unsigned flags);
void must_close(struct fixture *fixture);
/* The power fails now; the store is closed and opened again. */
void must_crash(struct fixture *fixture, enum sim_loss loss, unsigned flags);

void must_put(struct fixture *fixture, unsigned keyspace, const char *key, const char *value);
void must_delete(struct fixture *fixture, unsigned keyspace, const char *key);
void must_have(struct fixture *fixture, unsigned keyspace, const char *key, const char *value);
void must_lack(struct fixture *fixture, unsigned keyspace, const char *key);
void must_sync(struct fixture *fixture);
void must_check_clean(struct fixture *fixture);
struct kv_stats stats_of(struct fixture *fixture);

/* The first of two numbers, or with KVFS_TEST_QUICK in the environment the second. */
unsigned full_or_quick(unsigned full, unsigned quick);

/* Bytes that follow from a number. */
void fill_bytes(uint8_t *bytes, size_t size, uint64_t seed);
void must_put_filled(
	struct fixture *fixture, unsigned keyspace, const char *key, size_t size, uint64_t seed);
void must_have_filled(
	struct fixture *fixture, unsigned keyspace, const char *key, size_t size, uint64_t seed);
/* The same for a key that may be lost: 0, or what kv_get says. */
int have_filled(
	struct fixture *fixture, unsigned keyspace, const char *key, size_t size, uint64_t seed);

/*
 * Keys by number, [from, to), in no order of theirs; even ones hashed, odd ones ordered; each with
 * a value that tells its number and a round.
 */
void numbered_key(char key[16], unsigned number);
void numbered_value(char value[128], unsigned number, unsigned round);
void must_put_range(struct fixture *fixture, unsigned from, unsigned to, unsigned round);
void must_have_range(struct fixture *fixture, unsigned from, unsigned to, unsigned round);

/*
 * Puts until it is refused, with this error: keys of four bytes, ordered, which are numbers from 0
 * on; how many. Values have FILL_SIZE_MAX bytes at most, which follow from the number.
 */
#define FILL_SIZE_MAX 20000u
unsigned fill_disk(struct fixture *fixture, size_t size, int error);
/* Those of [from, to), of FILL_SIZE_MAX bytes each. */
void must_have_filled_disk(struct fixture *fixture, unsigned from, unsigned to);

#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
#define INLINE_TEST(test)                                                                          \
	cmocka_unit_test_setup_teardown(test, fixture_setup_inline, fixture_teardown)
#define EMPTY_TEST(test)                                                                           \
	cmocka_unit_test_setup_teardown(test, fixture_setup_empty, fixture_teardown)

#endif
