/* SPDX-License-Identifier: MIT */
/* snapshot.c - see snapshot.h: the list, and the calls. */
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "batch.h"
#include "version.h"
#include "view.h"

#define KEY_SIZE_MAX (1 + KV_SNAPSHOT_NAME_MAX)
/*
 * of a batch on the stack: memory from the allocator would be a third of what a snapshot waits for
 * where nothing is in the cache
 */
#define RECORD_SIZE_MAX                                                                            \
	(FORMAT_RECORD_HEADER_SIZE + KEY_SIZE_MAX + sizeof(uint64_t) + FORMAT_RECORD_ALIGN)

void snapshots_fini(struct snapshots *snapshots)
{
	unsigned i;

	for (i = 0; i < snapshots->count; i++)
		free(snapshots->list[i]);
	free(snapshots->list);
}

/* ---- the list -------------------------------------------------------------------------------- */

/* The place of the first whose name is not less. */
static unsigned find_name(const struct snapshots *snapshots, const char *name, bool *found)
{
	unsigned low = 0, high = snapshots->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (strcmp(snapshots->list[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = low < snapshots->count && !strcmp(snapshots->list[low]->name, name);
	return low;
}

static int reserve(struct snapshots *snapshots)
{
	unsigned capacity = snapshots->capacity * 2 + 8;
	struct snapshot **list;

	if (snapshots->count < snapshots->capacity)
		return 0;
	list = realloc(snapshots->list, capacity * sizeof(struct snapshot *));
	if (!list)
		return -ENOMEM;
	snapshots->list = list;
	snapshots->capacity = capacity;
	return 0;
}

void snapshot_drop(struct kv *kv, unsigned at)
{
	struct snapshots *snapshots = &kv->snapshots;
	struct snapshot *snapshot = snapshots->list[at];

	if (views_remove(&kv->views, snapshot->seq))
		version_let_go(kv, snapshot->seq);
	snapshots->count--;
	memmove(snapshots->list + at, snapshots->list + at + 1,
		(snapshots->count - at) * sizeof(struct snapshot *));
	free(snapshot);
}

int snapshot_add(struct kv *kv, struct snapshot *snapshot, const char *name, size_t name_size,
		 uint64_t seq, uint64_t time_us)
{
	struct snapshots *snapshots = &kv->snapshots;
	unsigned at;
	bool found;
	int error = reserve(snapshots);

	if (!error)
		error = views_reserve(&kv->views);
	if (!error && !snapshot && !(snapshot = malloc(sizeof(*snapshot))))
		error = -ENOMEM;
	if (error)
		return error;
	snapshot->seq = seq;
	snapshot->time_us = time_us;
	memcpy(snapshot->name, name, name_size);
	snapshot->name[name_size] = 0;
	at = find_name(snapshots, snapshot->name, &found);
	if (found && snapshots->list[at]->seq >= seq) {
		free(snapshot);
		return 0;
	}
	if (found)
		snapshot_drop(kv, at);
	memmove(snapshots->list + at + 1, snapshots->list + at,
		(snapshots->count - at) * sizeof(struct snapshot *));
	snapshots->list[at] = snapshot;
	snapshots->count++;
	views_add(&kv->views, seq);
	return 0;
}

static void forget(struct kv *kv, const char *key_name, size_t size, uint64_t seq)
{
	char name[KV_SNAPSHOT_NAME_MAX + 1];
	unsigned at;
	bool found;

	memcpy(name, key_name, size);
	name[size] = 0;
	at = find_name(&kv->snapshots, name, &found);
	if (found && kv->snapshots.list[at]->seq < seq)
		snapshot_drop(kv, at);
}

int snapshot_apply(struct kv *kv, const struct format_record *record, uint64_t address)
{
	struct snapshots *snapshots = &kv->snapshots;
	struct snapshot *prepared = NULL;
	struct segment *segment = kv->segments.table[segments_slot(&kv->segments, address)];
	const char *name = (const char *)record->key + 1;
	size_t size = record->key_size - 1u;
	uint64_t time_us = 0;

	if (record->key[0] != FORMAT_SNAPSHOT_KEY || !format_snapshot_name_valid(name, size))
		return 0;
	if (record->seq > segment->snapshots_seq)
		segment->snapshots_seq = record->seq;
	if (record->seq > atomic_load(&snapshots->changed_seq))
		atomic_store(&snapshots->changed_seq, record->seq);
	/* The file's list is that of a later moment, which includes this change. */
	if (record->seq <= atomic_load(&snapshots->saved_seq))
		return 0;
	if (record->flags & FORMAT_RECORD_TOMBSTONE) {
		forget(kv, name, size, record->seq);
		return 0;
	}
	if (record->value_size == sizeof(time_us))
		memcpy(&time_us, format_record_value(record), sizeof(time_us));
	/* A copy is of one that is in the list. */
	if (!(record->flags & FORMAT_RECORD_RELOCATED) && snapshots->prepared) {
		prepared = *snapshots->prepared;
		*snapshots->prepared = NULL;
		snapshots->prepared = NULL;
	}
	return snapshot_add(kv, prepared, name, size, record->seq, time_us);
}

/* ---- changes --------------------------------------------------------------------------------- */

struct request {
	const char *name;
	struct snapshot **prepared; /* NULL: to delete one */
};

/* With the log's lock, before the batch has a number. */
static int check_request(struct kv *kv, const void *arg)
{
	const struct request *request = arg;
	struct snapshots *snapshots = &kv->snapshots;
	bool found;
	int error;

	(void)find_name(snapshots, request->name, &found);
	if (!request->prepared)
		return found ? 0 : -ENOENT;
	if (found)
		return -EEXIST;
	if (snapshots->count >= KV_SNAPSHOTS_MAX)
		return -EMFILE;
	error = reserve(snapshots);
	if (!error)
		error = views_reserve(&kv->views);
	if (!error)
		snapshots->prepared = request->prepared;
	return error;
}

static uint64_t wall_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static int change(struct kv *kv, const struct request *request, uint64_t *seq)
{
	_Alignas(8) uint8_t bytes[RECORD_SIZE_MAX];
	size_t name_size = strlen(request->name);
	uint64_t time_us = wall_clock_us();
	struct batch_entry entries[1];
	struct kv_batch batch;
	uint8_t key[KEY_SIZE_MAX];
	int error;

	batch_init(&batch, kv, bytes, sizeof(bytes), entries, 1);
	key[0] = FORMAT_SNAPSHOT_KEY;
	memcpy(key + 1, request->name, name_size);
	batch.check = check_request;
	batch.check_arg = request;
	if (request->prepared) {
		error = batch_put_raw(&batch, FORMAT_KEYSPACE_ENGINE, key, 1 + name_size, &time_us,
				      sizeof(time_us), 0);
	} else {
		error = batch_delete(&batch, FORMAT_KEYSPACE_ENGINE, key, 1 + name_size);
		batch.purpose = LOG_COPIES;
	}
	return error ? error : batch_commit(kv, &batch, seq);
}

int kv_snapshot_create(struct kv *kv, const char *name, uint64_t *seq)
{
	struct snapshot *prepared;
	struct request request = {.name = name, .prepared = &prepared};
	int error;

	if (!format_snapshot_name_valid(name, strlen(name)))
		return -EINVAL;
	prepared = malloc(sizeof(*prepared));
	if (!prepared)
		return -ENOMEM;
	error = change(kv, &request, seq);
	pthread_mutex_lock(&kv->log.lock);
	/* Nobody else's: between the check and what takes it nothing lets go of the lock. */
	if (kv->snapshots.prepared == &prepared)
		kv->snapshots.prepared = NULL;
	pthread_mutex_unlock(&kv->log.lock);
	/* If the list has not taken it. */
	free(prepared);
	return error;
}

int kv_snapshot_delete(struct kv *kv, const char *name, uint64_t *seq)
{
	struct request request = {.name = name};
	int error;

	if (!format_snapshot_name_valid(name, strlen(name)))
		return -EINVAL;
	error = change(kv, &request, seq);
	if (!error)
		version_wake(kv, 0);
	return error;
}

/* ---- reading --------------------------------------------------------------------------------- */

int kv_snapshot_open(struct kv *kv, const char *name, struct kv_view **out)
{
	unsigned at;
	bool found;
	int error = -ENOENT;

	if (!format_snapshot_name_valid(name, strlen(name)))
		return -EINVAL;
	pthread_mutex_lock(&kv->log.lock);
	at = find_name(&kv->snapshots, name, &found);
	if (found)
		error = view_new(kv, kv->snapshots.list[at]->seq, out);
	pthread_mutex_unlock(&kv->log.lock);
	return error;
}

int kv_snapshot_stat(struct kv *kv, const char *name, struct kv_snapshot *out)
{
	unsigned at;
	bool found;

	if (!format_snapshot_name_valid(name, strlen(name)))
		return -EINVAL;
	pthread_mutex_lock(&kv->log.lock);
	at = find_name(&kv->snapshots, name, &found);
	if (found)
		*out = (struct kv_snapshot){
			name, kv->snapshots.list[at]->seq, kv->snapshots.list[at]->time_us};
	pthread_mutex_unlock(&kv->log.lock);
	return found ? 0 : -ENOENT;
}

static struct snapshot *copy_list(struct kv *kv, unsigned *count)
{
	struct snapshots *snapshots = &kv->snapshots;
	struct snapshot *copy;
	unsigned i;

	pthread_mutex_lock(&kv->log.lock);
	*count = snapshots->count;
	copy = calloc(snapshots->count + 1u, sizeof(*copy));
	for (i = 0; copy && i < snapshots->count; i++)
		copy[i] = *snapshots->list[i];
	pthread_mutex_unlock(&kv->log.lock);
	return copy;
}

int kv_snapshot_list(struct kv *kv, kv_snapshot_fn *each, void *arg)
{
	unsigned i, count;
	struct snapshot *list = copy_list(kv, &count);
	int stop = 0;

	if (!list)
		return -ENOMEM;
	for (i = 0; i < count && !stop; i++) {
		struct kv_snapshot snapshot = {list[i].name, list[i].seq, list[i].time_us};

		stop = each(arg, &snapshot);
	}
	free(list);
	return stop;
}
