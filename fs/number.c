/* SPDX-License-Identifier: MIT */
/*
 * number.c - gives out inode numbers.
 */
#include "number.h"

#include <errno.h>

#include "inode_record.h"
#include "keyspaces.h"
#include "meta_record.h"

/* So many may have been reserved by records that are lost: a thousand of them. */
#define NUMBER_MARGIN ((uint64_t)1024 * NUMBER_STEP)

uint64_t number_beyond(uint64_t next)
{
	uint64_t most = INODE_INO_MAX - 2 * NUMBER_STEP;

	if (next >= most)
		return next;
	return most - next > NUMBER_MARGIN ? next + NUMBER_MARGIN : most;
}

void number_source_init(struct number_source *source, struct kv *kv, uint64_t next)
{
	source->kv = kv;
	atomic_init(&source->next, next);
	atomic_init(&source->limit, next);
	pthread_mutex_init(&source->lock, NULL);
}

void number_source_fini(struct number_source *source)
{
	pthread_mutex_destroy(&source->lock);
}

/* Reserves up to and including this number. */
static int number_reserve(struct number_source *source, uint64_t ino)
{
	uint8_t value[META_NEXT_INO_SIZE];
	uint64_t limit;
	int err = 0;

	pthread_mutex_lock(&source->lock);
	limit = atomic_load_explicit(&source->limit, memory_order_relaxed);
	if (ino < limit)
		goto out;
	limit = ino + NUMBER_STEP;
	if (limit > INODE_INO_MAX) {
		err = -ENOSPC;
		goto out;
	}
	meta_next_ino_encode(limit, value);
	err = kv_put(source->kv, KEYSPACE_META, META_NEXT_INO_KEY, sizeof(META_NEXT_INO_KEY) - 1,
		value, sizeof(value), NULL);
	if (!err)
		/* pairs with number_next: who sees the limit may use the numbers */
		atomic_store_explicit(&source->limit, limit, memory_order_release);
out:
	pthread_mutex_unlock(&source->lock);
	return err;
}

int number_next(struct number_source *source, uint64_t *out)
{
	uint64_t ino = atomic_fetch_add_explicit(&source->next, 1, memory_order_relaxed);
	int err = 0;

	/* pairs with number_reserve */
	if (ino >= atomic_load_explicit(&source->limit, memory_order_acquire))
		err = number_reserve(source, ino);
	if (!err)
		*out = ino;
	return err;
}
