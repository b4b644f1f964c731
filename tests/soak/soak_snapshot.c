/* SPDX-License-Identifier: MIT */
/* soak_snapshot.c - see soak_snapshot.h. */
#include "soak_snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void name_of(const struct soak_model *model, unsigned slot, char name[32])
{
	snprintf(name, 32, "soak-%u-%u", slot, atomic_load(&model->snapshots[slot].number));
}

const char *soak_snapshot_take(struct soak_model *model, struct kv *kv, unsigned slot)
{
	struct soak_snapshot *snapshot = &model->snapshots[slot];
	char name[32];
	uint64_t seq;
	uint32_t i;

	for (i = 0; i < model->pairs; i++)
		model->versions[slot][i] = atomic_load(&model->pair[i].done);
	atomic_fetch_add(&snapshot->number, 1);
	atomic_store(&snapshot->state, SOAK_BEING_MADE);
	name_of(model, slot, name);
	if (kv_snapshot_create(kv, name, &seq))
		return "cannot be taken";
	if (kv_sync(kv, seq))
		return "cannot be synced";
	atomic_store(&snapshot->state, SOAK_THERE);
	atomic_fetch_add(&model->snapshots_taken, 1);
	return NULL;
}

const char *soak_snapshot_delete(struct soak_model *model, struct kv *kv, unsigned slot)
{
	struct soak_snapshot *snapshot = &model->snapshots[slot];
	bool there = atomic_load(&snapshot->state) == SOAK_THERE;
	char name[32];
	uint64_t seq = 0;
	int error;

	atomic_store(&snapshot->state, SOAK_BEING_DELETED);
	name_of(model, slot, name);
	error = kv_snapshot_delete(kv, name, &seq);
	if (error && (there || error != -ENOENT))
		return "cannot be deleted";
	if (kv_sync(kv, seq))
		return "cannot be synced";
	atomic_store(&snapshot->state, SOAK_NONE);
	return NULL;
}

/* Does the view show this version of the pair, in both keyspaces? */
static bool shows(const struct kv_view *view, uint32_t pair, uint32_t version)
{
	uint8_t key[SOAK_KEY_SIZE];
	struct kv_slice value;
	uint32_t found;
	unsigned half;

	for (half = 0; half < 2; half++) {
		int error;

		soak_key(pair, half, key);
		error = kv_view_get(view, half, key, sizeof(key), &value);
		if (soak_is_deletion(version)) {
			if (error != -ENOENT)
				return false;
			continue;
		}
		if (error || !soak_value_version(pair, half, value.data, value.size, &found) ||
		    found != version)
			return false;
	}
	return true;
}

const char *soak_snapshot_verify(struct soak_model *model, struct kv *kv, unsigned slot)
{
	struct kv_view *view;
	bool same = true;
	char name[32];
	uint32_t i;

	name_of(model, slot, name);
	if (kv_snapshot_open(kv, name, &view))
		return "cannot be opened";
	for (i = 0; same && i < model->pairs; i++) {
		kv_read_begin(kv);
		same = shows(view, i, model->versions[slot][i]);
		kv_read_end(kv);
	}
	kv_view_close(view);
	atomic_fetch_add(&model->snapshots_read, 1);
	return same ? NULL : "does not show what was there when it was taken";
}

const char *soak_snapshot_settle(struct soak_model *model, struct kv *kv)
{
	const char *wrong = NULL;
	unsigned slot;

	for (slot = 0; slot < SOAK_SNAPSHOTS && !wrong; slot++) {
		uint32_t state = atomic_load(&model->snapshots[slot].state);

		if (state == SOAK_THERE)
			wrong = soak_snapshot_verify(model, kv, slot);
		else if (state != SOAK_NONE)
			wrong = soak_snapshot_delete(model, kv, slot);
	}
	return wrong;
}
