/* SPDX-License-Identifier: MIT */
/* view.c - see view.h. */
#include "view.h"

#include <errno.h>
#include <stdlib.h>

#include "epoch.h"
#include "read.h"
#include "value.h"
#include "version.h"

/* ---- the array ------------------------------------------------------------------------------- */

void views_fini(struct views *views)
{
	free(views->points);
}

/* The first point at or behind a moment. */
static unsigned find_point(const struct views *views, uint64_t seq)
{
	unsigned low = 0, high = views->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (views->points[middle].seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void set_newest(struct views *views)
{
	atomic_store_explicit(&views->newest,
			      views->count ? views->points[views->count - 1].seq : 0,
			      memory_order_relaxed);
}

int views_reserve(struct views *views)
{
	unsigned capacity = views->capacity * 2 + 8;
	struct view_point *points;

	if (views->count < views->capacity)
		return 0;
	points = realloc(views->points, capacity * sizeof(*points));
	if (!points)
		return -ENOMEM;
	views->points = points;
	views->capacity = capacity;
	return 0;
}

void views_add(struct views *views, uint64_t seq)
{
	unsigned i = find_point(views, seq);

	if (i < views->count && views->points[i].seq == seq) {
		views->points[i].references++;
		return;
	}
	memmove(views->points + i + 1, views->points + i,
		(views->count - i) * sizeof(*views->points));
	views->points[i] = (struct view_point){seq, 1};
	views->count++;
	set_newest(views);
}

bool views_remove(struct views *views, uint64_t seq)
{
	unsigned i = find_point(views, seq);

	if (--views->points[i].references)
		return false;
	views->count--;
	memmove(views->points + i, views->points + i + 1,
		(views->count - i) * sizeof(*views->points));
	set_newest(views);
	return true;
}

bool views_any_in(const struct views *views, uint64_t from, uint64_t to)
{
	unsigned i = find_point(views, from);

	return i < views->count && views->points[i].seq < to;
}

uint64_t views_next(const struct views *views, uint64_t seq)
{
	unsigned i = find_point(views, seq + 1);

	return i < views->count ? views->points[i].seq : UINT64_MAX;
}

/* ---- views ----------------------------------------------------------------------------------- */

int view_new(struct kv *kv, uint64_t seq, struct kv_view **out)
{
	struct kv_view *view;
	int error = views_reserve(&kv->views);

	if (error)
		return error;
	view = malloc(sizeof(*view));
	if (!view)
		return -ENOMEM;
	*view = (struct kv_view){kv, seq};
	views_add(&kv->views, seq);
	kv->views.open++;
	*out = view;
	return 0;
}

int kv_view_open(struct kv *kv, struct kv_view **out)
{
	int error;

	pthread_mutex_lock(&kv->log.lock);
	error = view_new(kv, atomic_load_explicit(&kv->log.last_seq, memory_order_relaxed), out);
	pthread_mutex_unlock(&kv->log.lock);
	return error;
}

void kv_view_close(struct kv_view *view)
{
	struct kv *kv;
	uint64_t seq;
	bool last;

	if (!view)
		return;
	kv = view->kv;
	seq = view->seq;
	pthread_mutex_lock(&kv->log.lock);
	last = views_remove(&kv->views, seq);
	if (last)
		version_let_go(kv, seq);
	kv->views.open--;
	pthread_mutex_unlock(&kv->log.lock);
	free(view);
	if (last)
		version_wake(kv, seq);
}

uint64_t kv_view_seq(const struct kv_view *view)
{
	return view->seq;
}

/* ---- reading --------------------------------------------------------------------------------- */

int view_find(const struct kv_view *view, unsigned keyspace, const void *key, size_t key_size,
	      uint64_t hash, const struct format_record **out, uint64_t *address)
{
	struct kv *kv = view->kv;
	const struct format_record *record;
	int error;

	version_prefetch(kv, hash);
	error = read_find(kv, keyspace, key, key_size, hash, &record, address);
	if (!error && record->seq <= view->seq) {
		*out = record;
		return 0;
	}
	/* What was the newest at that moment became a version before anything took its place. */
	if (!error || error == -ENOENT)
		error = version_find(kv, view->seq, keyspace, key, key_size, hash, out, address);
	/* The key may have been in a part of the index that could not be loaded. */
	if (error == -ENOENT && atomic_load_explicit(&kv->index.failed, memory_order_relaxed))
		error = -EIO;
	return error;
}

int view_record(const struct kv_view *view, unsigned keyspace, const void *key, size_t key_size,
		const struct format_record **out)
{
	const struct format_record *record;
	uint64_t address;
	int error = view_find(view, keyspace, key, key_size,
			      keyhash_of(&view->kv->keyhash, keyspace, key, key_size), &record,
			      &address);

	if (!error)
		error = read_make_readable(view->kv, record, address);
	if (!error)
		*out = record;
	return error;
}

static bool is_key(const struct kv_view *view, unsigned keyspace, size_t key_size)
{
	return keyspace < view->kv->info.keyspace_count && key_size && key_size <= KV_KEY_SIZE_MAX;
}

int kv_view_get(const struct kv_view *view, unsigned keyspace, const void *key, size_t key_size,
		struct kv_slice *value)
{
	const struct format_record *record;
	int error;

	if (!is_key(view, keyspace, key_size))
		return -EINVAL;
	error = view_record(view, keyspace, key, key_size, &record);
	if (error)
		return error;
	value_forget();
	return value_then(view, record, value);
}

int kv_view_contains(const struct kv_view *view, unsigned keyspace, const void *key,
		     size_t key_size)
{
	const struct format_record *record;
	uint64_t address;
	int error;

	if (!is_key(view, keyspace, key_size))
		return -EINVAL;
	epoch_enter();
	error = view_find(view, keyspace, key, key_size,
			  keyhash_of(&view->kv->keyhash, keyspace, key, key_size), &record,
			  &address);
	epoch_leave();
	return error;
}
