/* SPDX-License-Identifier: MIT */
/*
 * inode.c - attributes of inodes.
 */
#include "inode.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "acl.h"
#include "orphan_record.h"
#include "record.h"
#include "size.h"
#include "xattr.h"

#define DAY_SECONDS (24 * 60 * 60)

int kvfs_getattr(struct kvfs *fs, uint64_t ino, struct kvfs_attr *out)
{
	struct inode inode;
	int err;

	kv_read_begin(fs->kv);
	err = inode_get(fs, ino, &inode);
	if (!err)
		inode_attr(&inode, out);
	kv_read_end(fs->kv);
	return err;
}

static void set_times(
	struct inode *inode, const struct kvfs_attr *attr, unsigned set, struct timespec now)
{
	if (set & KVFS_SET_ATIME)
		inode->atime = attr->atime;
	if (set & KVFS_SET_ATIME_NOW)
		inode->atime = now;
	if (set & KVFS_SET_MTIME)
		inode->mtime = attr->mtime;
	if (set & KVFS_SET_MTIME_NOW)
		inode->mtime = now;
	inode->ctime = set & KVFS_SET_CTIME ? attr->ctime : now;
}

static bool time_valid(const struct timespec *time)
{
	return time->tv_nsec >= 0 && time->tv_nsec < 1000000000;
}

static int set_valid(const struct kvfs_attr *attr, unsigned set)
{
	if (set & KVFS_SET_SIZE && attr->size > (uint64_t)KVFS_FILE_SIZE_MAX)
		return -EFBIG;
	if ((set & KVFS_SET_ATIME && !time_valid(&attr->atime)) ||
		(set & KVFS_SET_MTIME && !time_valid(&attr->mtime)) ||
		(set & KVFS_SET_CTIME && !time_valid(&attr->ctime)))
		return -EINVAL;
	return 0;
}

/* Fills the batch, but for the inode itself. */
static int set_attributes(
	struct change *change, struct inode *inode, const struct kvfs_attr *attr, unsigned set)
{
	const unsigned clears = KVFS_SET_UID | KVFS_SET_GID | KVFS_KILL_SUIDGID;
	bool is_directory = S_ISDIR(inode->mode);
	int err = 0;

	if (set & KVFS_SET_SIZE) {
		if (!S_ISREG(inode->mode))
			return is_directory ? -EISDIR : -EINVAL;
		err = size_set(change, inode, attr->size);
		if (err)
			return err;
		inode->mtime = change->now;
	}
	if (set & clears && !is_directory)
		err = inode_kill_suidgid(change, inode);
	else if (set & (KVFS_KILL_CAPABILITY | KVFS_SET_SIZE) && !is_directory)
		err = xattr_drop_capability(change, inode);
	if (err)
		return err;
	if (set & KVFS_KILL_SGID && !is_directory && !(inode->mode & S_IXGRP))
		inode->mode &= ~(uint32_t)S_ISGID;
	if (set & KVFS_SET_MODE) {
		inode->mode = (inode->mode & S_IFMT) | (attr->mode & 07777);
		err = acl_chmod(change, inode);
	}
	if (err)
		return err;
	if (set & KVFS_SET_UID)
		inode->uid = attr->uid;
	if (set & KVFS_SET_GID)
		inode->gid = attr->gid;
	set_times(inode, attr, set, change->now);
	return 0;
}

int kvfs_setattr(struct kvfs *fs, uint64_t ino, const struct kvfs_attr *attr, unsigned set,
	struct kvfs_attr *out)
{
	struct change change;
	struct inode inode;
	int err = set_valid(attr, set);

	if (err)
		return err;
	err = change_begin(fs, &change);
	if (err)
		return err;
	change_lock(&change, &ino, 1);
	err = inode_load(&change, ino, &inode);
	if (!err)
		err = set_attributes(&change, &inode, attr, set);
	if (!err)
		err = size_commit(&change, &inode);
	if (!err)
		inode_attr(&inode, out);
	change_end(&change);
	return err;
}

/*
 * A kept copy comes before the record goes, and goes after there is a record again: whoever finds
 * neither looks for the record once more.
 */
static int get_kept(struct kvfs *fs, uint64_t ino, const uint8_t *key, struct kv_slice *value)
{
	static __thread uint8_t record[INODE_HEAD_MAX + INODE_BODY_MAX];
	size_t size = hold_kept(&fs->holds, ino, record, sizeof(record));

	if (!size)
		return record_get(fs, KEYSPACE_INODE, key, INODE_KEY_SIZE, value);
	*value = (struct kv_slice){record, size};
	return 0;
}

int inode_get(struct kvfs *fs, uint64_t ino, struct inode *out)
{
	uint8_t key[INODE_KEY_SIZE];
	struct kv_slice value;
	int err;

	inode_key_encode(ino, key);
	err = record_get(fs, KEYSPACE_INODE, key, sizeof(key), &value);
	if (err == -ENOENT)
		err = get_kept(fs, ino, key, &value);
	if (err)
		return err;
	err = inode_record_decode(ino, value, out);
	return err ? fs_damaged(fs, ino, "its record makes no sense") : 0;
}

/* The request of inode_get_attrs. */
struct many {
	struct kvfs *fs;
	const uint64_t *inos;
	const struct kv_entry *entries;
	struct kvfs_attr *attrs;
	int *statuses;
};

static void many_got(void *arg, unsigned i)
{
	const struct many *many = arg;
	struct inode inode;

	many->statuses[i] = many->entries[i].status;
	if (many->statuses[i])
		return;
	if (inode_record_decode(many->inos[i], many->entries[i].value, &inode))
		many->statuses[i] =
			fs_damaged(many->fs, many->inos[i], "its record makes no sense");
	else
		inode_attr(&inode, &many->attrs[i]);
}

void inode_get_attrs(struct kvfs *fs, const uint64_t *inos, unsigned count, struct kvfs_attr *attrs,
	int *statuses)
{
	uint8_t keys[INODE_MANY_MAX][INODE_KEY_SIZE];
	struct kv_entry entries[INODE_MANY_MAX];
	struct many many = {fs, inos, entries, attrs, statuses};

	for (unsigned i = 0; i < count; i++) {
		inode_key_encode(inos[i], keys[i]);
		entries[i].key = (struct kv_slice){keys[i], INODE_KEY_SIZE};
	}
	record_get_many(fs, KEYSPACE_INODE, entries, count, many_got, &many);
}

int inode_load(struct change *change, uint64_t ino, struct inode *out)
{
	int err = inode_get(change->fs, ino, out);

	if (!err && out->body.size) {
		uint8_t *copy = change->scratch->bodies[change->bodies++ % SCRATCH_BODIES];

		memcpy(copy, out->body.data, out->body.size);
		out->body.data = copy;
	}
	return err;
}

int inode_load_last(struct change *change, uint64_t ino, struct inode *out)
{
	return inode_get(change->fs, ino, out);
}

void inode_init(struct inode *inode, uint64_t ino, mode_t mode, const struct inode *parent,
	const struct kvfs_caller *caller, struct timespec now)
{
	*inode = (struct inode){
		.ino = ino,
		.contents = S_ISREG(mode) ? INODE_INLINE : INODE_NONE,
		.mode = mode,
		.nlink = S_ISDIR(mode) ? 2 : 1,
		.uid = caller->uid,
		.gid = caller->gid,
		.parent = parent->ino,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.btime = now,
	};
	if (!(parent->mode & S_ISGID))
		return;
	inode->gid = parent->gid;
	if (S_ISDIR(mode))
		inode->mode |= S_ISGID;
}

bool inode_keep(struct kvfs *fs, const struct inode *inode)
{
	uint8_t head[INODE_HEAD_MAX];
	struct kv_slice parts[] = {{head, 0}, inode->body};

	parts[0].size = inode_record_encode(inode, inode->body.size, head);
	return hold_keep(&fs->holds, inode->ino, parts, 2);
}

/*
 * An inode without a name that is put, but was only kept: noted, so that it is freed after a crash
 * too.
 */
static int put_kept(struct change *change, const uint8_t *key, uint64_t ino)
{
	uint8_t note = ORPHAN_VALUE;

	for (unsigned i = 0; i < change->kept_count; i++)
		if (change->kept_inos[i] == ino)
			return 0;
	assert(change->kept_count < CHANGE_KEPT_MAX);
	change->kept_inos[change->kept_count++] = ino;
	return kv_batch_put(
		change->batch, KEYSPACE_ORPHAN, key, INODE_KEY_SIZE, &note, sizeof(note));
}

int inode_put_body(struct change *change, const struct inode *inode, const struct kv_slice *parts,
	unsigned count)
{
	uint8_t key[INODE_KEY_SIZE];
	uint8_t head[INODE_HEAD_MAX];
	struct kv_slice all[1 + INODE_PARTS_MAX];
	uint64_t body_size = 0;

	for (unsigned i = 0; i < count; i++) {
		all[1 + i] = parts[i];
		body_size += parts[i].size;
	}
	inode_key_encode(inode->ino, key);
	all[0] = (struct kv_slice){head, inode_record_encode(inode, body_size, head)};
	if (!inode->nlink && hold_is_kept(&change->fs->holds, inode->ino)) {
		int err = put_kept(change, key, inode->ino);

		if (err)
			return err;
	}
	return kv_batch_putv(change->batch, KEYSPACE_INODE, key, sizeof(key), all, 1 + count);
}

int inode_put(struct change *change, const struct inode *inode)
{
	return inode_put_body(change, inode, &inode->body, inode->body.size ? 1 : 0);
}

int inode_delete(struct change *change, uint64_t ino)
{
	uint8_t key[INODE_KEY_SIZE];

	inode_key_encode(ino, key);
	return kv_batch_delete(change->batch, KEYSPACE_INODE, key, sizeof(key));
}

void inode_attr(const struct inode *inode, struct kvfs_attr *out)
{
	uint64_t inline_blocks =
		inode->contents == INODE_INLINE ? (inode->body.size + 511) / 512 : 0;

	*out = (struct kvfs_attr){
		.ino = inode->ino,
		.mode = inode->mode,
		.nlink = inode->nlink,
		.uid = inode->uid,
		.gid = inode->gid,
		.rdev = inode->rdev,
		.size = inode->size,
		.blocks = inode->blocks * 8 + inline_blocks,
		.atime = inode->atime,
		.mtime = inode->mtime,
		.ctime = inode->ctime,
		.btime = inode->btime,
	};
}

int inode_kill_suidgid(struct change *change, struct inode *inode)
{
	inode->mode &= ~(uint32_t)S_ISUID;
	if (inode->mode & S_IXGRP)
		inode->mode &= ~(uint32_t)S_ISGID;
	return xattr_drop_capability(change, inode);
}

static bool time_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

/* relatime: old enough to mislead nobody who asks whether a file was read since it changed */
static bool access_due(const struct inode *inode, const struct timespec *now)
{
	return !time_before(&inode->mtime, &inode->atime) ||
	       !time_before(&inode->ctime, &inode->atime) ||
	       now->tv_sec - inode->atime.tv_sec >= DAY_SECONDS;
}

static int access_commit(struct change *change, uint64_t ino)
{
	struct inode inode;
	int err;

	change_continue(change);
	err = inode_load(change, ino, &inode);
	if (err)
		return err;
	inode.atime = change->now;
	err = inode_put(change, &inode);
	return err ? err : change_commit(change);
}

void inode_accessed(struct kvfs *fs, const struct inode *inode)
{
	bool strict = fs->atime == KVFS_STRICTATIME;
	struct timespec now;
	struct change change;

	if (fs->read_only || fs->atime == KVFS_NOATIME ||
		(fs->nodiratime && S_ISDIR(inode->mode)))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	if ((!strict && !access_due(inode, &now)) || change_begin(fs, &change))
		return;
	/* Somebody is changing it: he will not be kept waiting for an approximate time. */
	if (strict)
		stripe_lock(fs->stripes, &inode->ino, 1, &change.locked);
	else if (!stripe_trylock(fs->stripes, inode->ino, &change.locked))
		goto out;
	change.now = now;
	(void)access_commit(&change, inode->ino);
out:
	change_end(&change);
}
