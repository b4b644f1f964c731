/* SPDX-License-Identifier: MIT */
/* clone_store.c - see clone_store.h. */
#include "clone_store.h"

#include <errno.h>

#define BATCH_RECORDS_MAX 512u

void clone_parameters_of(struct kv *kv, struct clone_parameters *out)
{
	struct kv_stats stats;
	struct kv_info info;

	kv_info(kv, &info);
	kv_stats(kv, &stats);
	*out = (struct clone_parameters){
		.hash = info.hash,
		.compress = info.compress,
		.compress_level = info.compress_level,
		.segment_size = info.segment_size,
		.total_bytes = stats.live_bytes,
	};
}

int clone_store_open(struct kv_env *env, const char *path,
	const struct clone_parameters *parameters, kv_report_fn *report, void *report_arg,
	struct clone_store *out)
{
	struct kv_keyspace_spec keyspaces[KEYSPACE_COUNT] = KEYSPACE_SPECS;
	struct kv_open_options open = {.report = report, .report_arg = report_arg};
	struct kv_create_options create = {
		.keyspaces = keyspaces,
		.keyspace_count = KEYSPACE_COUNT,
		.application = KEYSPACES_APPLICATION,
		.hash = parameters->hash,
		.compress = parameters->compress,
		.compress_level = parameters->compress_level,
		.segment_size = parameters->segment_size,
	};
	struct clone_store store = {.total_bytes = parameters->total_bytes};
	struct kv_info info;
	int err = kv_create(env, path, &create, report, report_arg);

	if (!err)
		err = kv_open(env, path, &open, &store.kv);
	if (err)
		return err;
	kv_info(store.kv, &info);
	store.batch_bytes_max = info.batch_size_max / 2;
	store.value_size_max = info.value_size_max;
	err = kv_batch_new(store.kv, &store.batch);
	if (err)
		return clone_store_close(&store, err);
	*out = store;
	return 0;
}

static int commit(struct clone_store *store)
{
	int err = kv_batch_count(store->batch) ? kv_commit(store->kv, store->batch, NULL) : 0;

	store->done_bytes += store->batch_bytes;
	store->batch_bytes = 0;
	if (!err && store->progress &&
		store->progress(store->progress_arg, store->done_bytes, store->total_bytes))
		err = -ECANCELED;
	return err;
}

int clone_store_put(
	void *arg, enum keyspace keyspace, struct kv_slice key, struct kv_slice value)
{
	struct clone_store *store = arg;

	store->batch_bytes += key.size + value.size;
	return kv_batch_put(
		store->batch, keyspace, key.data, key.size, value.data, value.size);
}

int clone_store_settle(void *arg)
{
	struct clone_store *store = arg;

	if (kv_batch_count(store->batch) < BATCH_RECORDS_MAX &&
		store->batch_bytes + KVFS_XATTR_SIZE_MAX <= store->batch_bytes_max)
		return 0;
	return commit(store);
}

int clone_store_close(struct clone_store *store, int err)
{
	int err_close;

	if (!err)
		err = commit(store);
	if (!err)
		err = kv_sync(store->kv, kv_last_seq(store->kv));
	kv_batch_free(store->batch);
	err_close = kv_close(store->kv);
	return err ? err : err_close;
}
