/* SPDX-License-Identifier: MIT */
/*
 * fs.c - making, opening and closing file systems; making them durable.
 */
#include "fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "doubt.h"
#include "inode.h"
#include "keyspaces.h"
#include "limit.h"
#include "meta_record.h"
#include "orphan.h"
#include "record.h"
#include "rollback.h"
#include "snapshot.h"

#define WRITE_SIZE_MAX (1u << 20) /* bytes of contents in one batch */
#define WRITE_RESERVE                                                                              \
	(1u << 16) /* bytes of a batch that are not contents: keys, inodes, deletions */
#define SEGMENT_SIZE_MIN (1u << 21) /* bytes: such a write must fit into one */

static const struct kv_keyspace_spec keyspace_specs[KEYSPACE_COUNT] = KEYSPACE_SPECS;

static void report(kv_report_fn *fn, void *arg, const char *message)
{
	if (fn)
		fn(arg, KV_ERROR, message);
}

void fs_report_damage(struct kvfs *fs, uint64_t ino, const char *what)
{
	char message[160];

	snprintf(message, sizeof(message), "inode %llu: %s", (unsigned long long)ino, what);
	report(fs->report, fs->report_arg, message);
}

static void report_loss(struct kvfs *fs)
{
	if (fs->report)
		fs->report(fs->report_arg, KV_WARNING,
			"records were lost to damage, and others may not agree with what is left: "
			"kvfs check --repair makes them agree. Until then no file is freed, and no "
			"clone made");
}

/* ---- making ---------------------------------------------------------------------------------- */

static int put_format(struct kv_batch *batch, uint64_t size_limit)
{
	uint8_t format[META_FORMAT_SIZE], next_ino[META_NEXT_INO_SIZE];
	uint8_t limit[META_SIZE_LIMIT_SIZE];
	uint64_t secret;
	int err;

	if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
		return -EIO;
	meta_format_encode(secret, format);
	meta_next_ino_encode(KVFS_ROOT_INO + 1, next_ino);
	err = kv_batch_put(batch, KEYSPACE_META, META_FORMAT_KEY, sizeof(META_FORMAT_KEY) - 1,
		format, sizeof(format));
	if (!err)
		err = kv_batch_put(batch, KEYSPACE_META, META_NEXT_INO_KEY,
			sizeof(META_NEXT_INO_KEY) - 1, next_ino, sizeof(next_ino));
	if (err || !size_limit)
		return err;
	meta_size_limit_encode(size_limit, limit);
	return kv_batch_put(batch, KEYSPACE_META, META_SIZE_LIMIT_KEY,
		sizeof(META_SIZE_LIMIT_KEY) - 1, limit, sizeof(limit));
}

static int put_root(struct kv_batch *batch, const struct kvfs_create_options *options)
{
	uint8_t key[INODE_KEY_SIZE], value[INODE_HEAD_MAX];
	uint32_t mode = options->root_mode ? options->root_mode : 0755;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	struct inode root = {
		.ino = KVFS_ROOT_INO,
		.mode = S_IFDIR | (mode & 07777),
		.nlink = 2,
		.uid = options->root_uid,
		.gid = options->root_gid,
		.parent = KVFS_ROOT_INO,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.btime = now,
	};
	inode_key_encode(root.ino, key);
	return kv_batch_put(batch, KEYSPACE_INODE, key, sizeof(key), value,
		inode_record_encode(&root, 0, value));
}

/* The first batch: a file system with nothing but its root. */
static int fill(struct kv *kv, const struct kvfs_create_options *options)
{
	struct kv_batch *batch;
	uint64_t seq;
	int err = kv_batch_new(kv, &batch);

	if (err)
		return err;
	err = put_format(batch, options->size_limit);
	if (!err)
		err = put_root(batch, options);
	if (!err)
		err = kv_commit(kv, batch, &seq);
	if (!err)
		err = kv_sync(kv, seq);
	kv_batch_free(batch);
	return err;
}

int kvfs_create(struct kv_env *env, const char *path, const struct kvfs_create_options *options,
	kv_report_fn *report_fn, void *report_arg)
{
	struct kv_create_options create = {
		.keyspaces = keyspace_specs,
		.keyspace_count = KEYSPACE_COUNT,
		.hash = options->hash,
		.compress = options->compress,
		.compress_level = options->compress_level,
		.segment_size = options->segment_size,
		.application = KEYSPACES_APPLICATION,
	};
	struct kv_open_options open = {
		.flags = KV_OPEN_INLINE, .report = report_fn, .report_arg = report_arg};
	struct kv *kv;
	int err, close_err;

	if (create.segment_size && create.segment_size < SEGMENT_SIZE_MIN) {
		report(report_fn, report_arg, "segments of a file system are at least 2 MiB");
		return -EINVAL;
	}
	err = kv_create(env, path, &create, report_fn, report_arg);
	if (!err)
		err = kv_open(env, path, &open, &kv);
	if (err)
		return err;
	err = fill(kv, options);
	close_err = kv_close(kv);
	return err ? err : close_err;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Is it a file system's store? */
static int check_info(struct kvfs *fs)
{
	struct kv_info info;

	kv_info(fs->kv, &info);
	if (info.application != KEYSPACES_APPLICATION || info.keyspace_count != KEYSPACE_COUNT)
		return -EMEDIUMTYPE;
	for (unsigned i = 0; i < KEYSPACE_COUNT; i++)
		if (strcmp(info.keyspaces[i].name, keyspace_specs[i].name) ||
			info.keyspaces[i].ordered != keyspace_specs[i].ordered)
			return -EMEDIUMTYPE;
	if (info.batch_size_max < 2 * WRITE_RESERVE)
		return -EMEDIUMTYPE;
	fs->read_only = info.read_only;
	fs->write_size_max = info.batch_size_max - WRITE_RESERVE;
	if (fs->write_size_max > WRITE_SIZE_MAX)
		fs->write_size_max = WRITE_SIZE_MAX;
	return 0;
}

/* A record that is lost is no reason not to open for a repair, which is told. */
static int excuse(struct kvfs *fs, bool repairs, int err, unsigned lost)
{
	if (!repairs || (err != -EIO && err != -ENOENT))
		return err;
	fs->meta_lost |= lost;
	return 0;
}

/* Nothing but, perhaps, some of what the file system says of itself. */
static bool is_empty(struct kvfs *fs)
{
	struct kv_stats stats;
	unsigned keyspace = KEYSPACE_META + 1;

	kv_stats(fs->kv, &stats);
	while (keyspace < KEYSPACE_COUNT && !stats.keys[keyspace])
		keyspace++;
	return keyspace == KEYSPACE_COUNT;
}

static int read_secret(struct kvfs *fs, bool repairs)
{
	struct kv_slice value;
	int err =
		record_get(fs, KEYSPACE_META, META_FORMAT_KEY, sizeof(META_FORMAT_KEY) - 1, &value);

	/*
	 * Making it was interrupted, or all is lost: in either case there is nothing that a repair
	 * could begin with.
	 */
	if (err == -ENOENT && is_empty(fs))
		return -ENODATA;
	if (!err)
		err = meta_format_decode(value, &fs->name_secret);
	return excuse(fs, repairs, err, META_LOST_FORMAT);
}

static int read_next_ino(struct kvfs *fs, bool repairs, uint64_t *next_ino)
{
	struct kv_slice value;
	int err = record_get(
		fs, KEYSPACE_META, META_NEXT_INO_KEY, sizeof(META_NEXT_INO_KEY) - 1, &value);

	*next_ino = KVFS_ROOT_INO + 1;
	if (!err)
		err = meta_next_ino_decode(value, next_ino);
	return excuse(fs, repairs, err, META_LOST_NEXT_INO);
}

/* In a read section. */
static int read_format(struct kvfs *fs, bool repairs, uint64_t *next_ino)
{
	struct inode root;
	int err = read_secret(fs, repairs);

	if (err == -ENODATA)
		return err;
	if (!err)
		err = read_next_ino(fs, repairs, next_ino);
	if (!err)
		err = excuse(fs, repairs, limit_load(fs), META_LOST_LIMIT);
	if (!err && !repairs)
		err = inode_get(fs, KVFS_ROOT_INO, &root);
	if (!err && !repairs && !S_ISDIR(root.mode))
		err = -EIO;
	return err == -ENOENT || err == -EIO ? -EUCLEAN : err;
}

static int check_format(struct kvfs *fs, bool repairs, uint64_t *next_ino)
{
	int err = check_info(fs);

	if (!err) {
		kv_read_begin(fs->kv);
		err = read_format(fs, repairs, next_ino);
		kv_read_end(fs->kv);
	}
	if (err == -EMEDIUMTYPE)
		report(fs->report, fs->report_arg, "the store holds no file system");
	else if (err == -ENODATA)
		report(fs->report, fs->report_arg,
			"there is nothing in the store, not even a root: it was not made to the end, or its "
			"segments (files seg-...) are missing. Bring them back, or remove it and make it again");
	else if (err == -EPROTONOSUPPORT)
		report(fs->report, fs->report_arg, "the file system is of a newer format");
	else if (err)
		report(fs->report, fs->report_arg, "the file system's root cannot be read");
	return err == -ENODATA ? -EUCLEAN : err;
}

/* What operations share. */
static int init(struct kvfs *fs, uint64_t next_ino)
{
	int err = stripe_table_new(&fs->stripes);

	if (err)
		return err;
	err = scratch_pool_init(&fs->scratch, fs->kv, fs->view);
	if (err) {
		stripe_table_free(fs->stripes);
		return err;
	}
	number_source_init(&fs->numbers, fs->kv, next_ino);
	hold_table_init(&fs->holds);
	reaper_init(&fs->reaper, orphan_reap, fs);
	pthread_mutex_init(&fs->rename_lock, NULL);
	pthread_mutex_init(&fs->share_lock, NULL);
	return 0;
}

static void fini(struct kvfs *fs)
{
	reaper_fini(&fs->reaper);
	scratch_pool_fini(&fs->scratch);
	number_source_fini(&fs->numbers);
	hold_table_fini(&fs->holds);
	stripe_table_free(fs->stripes);
	pthread_mutex_destroy(&fs->share_lock);
	pthread_mutex_destroy(&fs->rename_lock);
}

static int open_kv(struct kvfs *fs, struct kv_env *env, const char *path,
	const struct kvfs_open_options *options)
{
	uint64_t next_ino;
	int err = kv_open(env, path, &options->kv, &fs->kv);

	if (err)
		return err;
	err = check_format(fs, options->repairs, &next_ino);
	if (!err)
		doubt_look(fs);
	if (!err && fs->doubtful && !options->repairs)
		report_loss(fs);
	/* The record may be an older one that is back: a repair finds out. */
	if (!err && fs->doubtful && !fs->read_only && !options->repairs)
		next_ino = number_beyond(next_ino);
	if (!err && fs->read_only)
		err = rollback_show(fs);
	if (!err)
		err = init(fs, next_ino);
	if (err) {
		kv_view_close(fs->view);
		kv_close(fs->kv);
	}
	return err;
}

struct kvfs *fs_new(void)
{
	struct kvfs *fs = aligned_alloc(64, sizeof(*fs));

	if (fs)
		memset(fs, 0, sizeof(*fs));
	return fs;
}

int kvfs_open(struct kv_env *env, const char *path, const struct kvfs_open_options *options,
	struct kvfs **out)
{
	struct kvfs *fs = fs_new();
	int err;

	if (!fs)
		return -ENOMEM;
	fs->atime = options->atime;
	fs->nodiratime = options->nodiratime;
	fs->frees_behind = options->frees_behind;
	fs->report = options->kv.report;
	fs->report_arg = options->kv.report_arg;
	err = open_kv(fs, env, path, options);
	if (err) {
		free(fs);
		return err;
	}
	if (!fs->read_only)
		err = rollback_finish(fs);
	/* To which snapshot is lost, or that one is. */
	if (options->repairs && (err == -EIO || err == -EUCLEAN)) {
		fs->meta_lost |= META_LOST_ROLLBACK;
		err = 0;
	}
	if (!err && !fs->read_only && !options->repairs && !fs->doubtful)
		err = orphan_recover(fs);
	if (err)
		kvfs_close(fs);
	else
		*out = fs;
	return err;
}

int kvfs_close(struct kvfs *fs)
{
	int err;

	if (!fs)
		return 0;
	if (fs->borrows) {
		snapshot_close(fs);
		return 0;
	}
	fini(fs);
	kv_view_close(fs->view);
	err = kv_close(fs->kv);
	free(fs);
	return err;
}

struct kv *kvfs_kv(struct kvfs *fs)
{
	return fs->kv;
}

/* ---- durability ------------------------------------------------------------------------------ */

int kvfs_sync(struct kvfs *fs)
{
	return kv_sync(fs->kv, kv_last_seq(fs->kv));
}

void kvfs_sync_notify(struct kvfs *fs, struct kv_waiter *waiter)
{
	waiter->seq = kv_last_seq(fs->kv);
	kv_sync_notify(fs->kv, waiter);
}
