/* SPDX-License-Identifier: MIT */
/*
 * view.h - moments of the store that somebody reads: the array of them, and reading as of one.
 *
 * Threads: the array belongs to whoever holds the log's lock. A view does not change: any number of
 * threads use it.
 */
#ifndef VIEW_H
#define VIEW_H

#include "store.h"

struct kv_view {
	struct kv *kv;
	uint64_t seq;
};

void views_fini(struct views *views);
/* Room for one more. -ENOMEM */
int views_reserve(struct views *views);
/* Adds a reader of this moment, and takes one away: true if that was the last. */
void views_add(struct views *views, uint64_t seq);
bool views_remove(struct views *views, uint64_t seq);
/* Does somebody read a moment in [from, to)? */
bool views_any_in(const struct views *views, uint64_t from, uint64_t to);

/* The first moment behind this one that somebody reads; UINT64_MAX: there is none. */
uint64_t views_next(const struct views *views, uint64_t seq);

static inline bool views_any(const struct kv *kv)
{
	return __builtin_expect(
		atomic_load_explicit(&kv->views.newest, memory_order_relaxed) != 0, 0);
}

/* A view of a moment that is being read already. Called with the log's lock. -ENOMEM */
int view_new(struct kv *kv, uint64_t seq, struct kv_view **out);

/*
 * Is the record at this address not there (0), or newer than the view, which then needs a version?
 * Inside a read section.
 */
static inline bool view_is_behind(const struct kv_view *view, uint64_t address)
{
	const struct format_record *record =
		address ? segments_head(&view->kv->segments, address) : NULL;

	return !record || record->seq > view->seq;
}

/*
 * The record of a key as of the view, and where it stands; in any keyspace. Inside a read section.
 * -ENOENT, -EIO
 */
int view_find(const struct kv_view *view, unsigned keyspace, const void *key, size_t key_size,
	      uint64_t hash, const struct format_record **out, uint64_t *address);
/* As view_find, where all of the record can be read. */
int view_record(const struct kv_view *view, unsigned keyspace, const void *key, size_t key_size,
		const struct format_record **out);

#endif
