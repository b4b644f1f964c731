/* SPDX-License-Identifier: MIT */
/*
 * allocations - how often a thread that gets, puts, overwrites and deletes asks for memory:
 * `bench/engine seeds` runs it
 *
 *	allocations DIR
 *
 * It stands before the C library's malloc and counts, on the calling thread alone, once the store
 * is warm. Lines "work TAB allocations_per_op TAB value".
 */
#include "measure.h"

#include <errno.h>
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>

#define ENTRIES 200000u
#define VALUE_SIZE 100u

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *data, size_t size);

static _Thread_local uint64_t asked;

void *malloc(size_t size)
{
	asked++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	asked++;
	return __libc_calloc(count, size);
}

void *realloc(void *data, size_t size)
{
	asked++;
	return __libc_realloc(data, size);
}

typedef int step(struct kv *kv, const struct entry_key *key, uint64_t entry);

static int step_put(struct kv *kv, const struct entry_key *key, uint64_t entry)
{
	struct slice value = entry_value(entry, 0, VALUE_SIZE);

	return kv_put(kv, 0, key->text, ENTRY_KEY_SIZE, value.data, value.size, NULL);
}

static int step_get(struct kv *kv, const struct entry_key *key, uint64_t entry)
{
	struct kv_slice value;
	int err;

	kv_read_begin(kv);
	err = kv_get(kv, 0, key->text, ENTRY_KEY_SIZE, &value);
	kv_read_end(kv);
	return err;
}

static int step_delete(struct kv *kv, const struct entry_key *key, uint64_t entry)
{
	return kv_delete(kv, 0, key->text, ENTRY_KEY_SIZE, NULL);
}

static int count(struct kv *kv, const char *work, step *function, uint64_t first)
{
	struct entry_key key;
	uint64_t before = asked;
	int err = 0;

	for (uint64_t entry = first; !err && entry < first + ENTRIES; entry++) {
		entry_key(entry, &key);
		err = function(kv, &key, entry);
	}
	if (!err && work)
		measure_print(work, "allocations_per_op", (double)(asked - before) / ENTRIES);
	return err;
}

int main(int argc, char **argv)
{
	struct kv_keyspace_spec keyspace = {.name = "bench"};
	struct kv_create_options options = {.keyspaces = &keyspace, .keyspace_count = 1};
	struct kv_open_options open_options = {0};
	struct kv *kv;
	char path[4096];
	int err;

	if (argc != 2) {
		fprintf(stderr, "usage: allocations DIR\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s/allocations.kv", argv[1]);
	err = entry_init();
	if (!err)
		err = kv_create(NULL, path, &options, NULL, NULL);
	if (!err)
		err = kv_open(NULL, path, &open_options, &kv);
	if (err) {
		fprintf(stderr, "allocations: %s\n", strerror(-err));
		return 1;
	}
	/* the first use of each may set something up */
	err = count(kv, NULL, step_put, 0);
	if (!err)
		err = count(kv, NULL, step_get, 0);
	if (!err)
		err = count(kv, "put_new", step_put, ENTRIES);
	if (!err)
		err = count(kv, "put_over", step_put, 0);
	if (!err)
		err = count(kv, "get", step_get, 0);
	if (!err)
		err = count(kv, "delete", step_delete, 0);
	if (err)
		fprintf(stderr, "allocations: %s\n", strerror(-err));
	return kv_close(kv) || err ? 1 : 0;
}
