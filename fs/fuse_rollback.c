/* SPDX-License-Identifier: MIT */
/*
 * fuse_rollback.c - see fuse_rollback.h, and DESIGN.md for why it is done so.
 *
 * A thread does it, while requests are served until the moment itself. What the kernel holds of
 * regular files that will change it is asked to forget; what it then still holds is open, and the
 * answer is no. Then all requests wait, the tree changes, requests are served again, and the kernel
 * is told what it knows that is not so any more. The last cannot be done while requests wait: the
 * kernel locks a directory over both.
 *
 * Whoever asked polls: setting an attribute locks the inode, so that an answer cannot wait until
 * the kernel has been told.
 */
#include "fuse_rollback.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "fuse_snapshot.h"

#define TRIES 10u		/* more files may be opened while others are forgotten */
#define FORGET_PAUSE_NS 2000000
#define FORGET_IDLE 100u	/* pauses in which the kernel has nothing to say, and nothing is
				   forgotten */
#define FORGET_PAUSES 15000u	/* in all, for /dev/fuse, where it always has */
#define SHOWN_MAX 32u		/* files in the way that are named */
/* Linux 6.18; newer than some systems' headers. */
#define NOTIFY_PRUNE 9
#define PRUNE_MAX 512u
#define ANY_NAME "-" /* if there is one, it is looked up again */

struct notify_prune {
	struct fuse_out_header header;
	uint32_t count, padding;
	uint64_t spare;
};

struct rollback {
	struct fuse_front *front;
	uint64_t *busy; /* regular files in the way */
	size_t busy_count, busy_room;
	bool no_memory;
	/*
	 * What the kernel is to forget: an inode number, and a name that ends in NUL and may be
	 * empty, one behind the other.
	 */
	char *stale;
	size_t stale_size, stale_room;
};

/* ---- what is found --------------------------------------------------------------------------- */

static void on_busy(void *arg, uint64_t ino)
{
	struct rollback *rollback = arg;
	size_t room = rollback->busy_room * 2 + 64;
	uint64_t *busy;

	if (rollback->busy_count == rollback->busy_room) {
		busy = realloc(rollback->busy, room * sizeof(*busy));
		rollback->no_memory = !busy;
		if (!busy)
			return;
		rollback->busy = busy;
		rollback->busy_room = room;
	}
	rollback->busy[rollback->busy_count++] = ino;
}

static int on_changed(void *arg, uint64_t ino, const char *name, size_t name_size)
{
	struct rollback *rollback = arg;
	size_t size = sizeof(ino) + name_size + 1, room = rollback->stale_room;
	char *stale;

	while (room < rollback->stale_size + size)
		room = room * 2 + 4096;
	if (room != rollback->stale_room) {
		stale = realloc(rollback->stale, room);
		if (!stale)
			return -ENOMEM;
		rollback->stale = stale;
		rollback->stale_room = room;
	}
	stale = rollback->stale + rollback->stale_size;
	memcpy(stale, &ino, sizeof(ino));
	if (name_size)
		memcpy(stale + sizeof(ino), name, name_size);
	stale[size - 1] = '\0';
	rollback->stale_size += size;
	return 0;
}

/* ---- the kernel ------------------------------------------------------------------------------ */

/*
 * Asks it to forget inodes that nobody uses. An older one does so when it needs memory, or at a
 * remount.
 */
static void ask_to_forget(const struct rollback *rollback)
{
	int fd = fuse_session_fd(rollback->front->session);
	struct notify_prune notice = {.header.error = NOTIFY_PRUNE};
	struct iovec parts[2] = {{&notice, sizeof(notice)}, {NULL, 0}};

	for (size_t at = 0; at < rollback->busy_count; at += notice.count) {
		size_t left = rollback->busy_count - at;

		notice.count = left < PRUNE_MAX ? (uint32_t)left : PRUNE_MAX;
		parts[1].iov_base = rollback->busy + at;
		parts[1].iov_len = notice.count * sizeof(*rollback->busy);
		notice.header.len = (uint32_t)(sizeof(notice) + parts[1].iov_len);
		if (writev(fd, parts, 2) < 0)
			return;
	}
}

static size_t still_held(const struct rollback *rollback)
{
	size_t held = 0;

	for (size_t i = 0; i < rollback->busy_count; i++)
		held += kvfs_is_held(rollback->front->fs, rollback->busy[i]);
	return held;
}

/* Forgetting comes some time after it was asked for. False: something is still held. */
static bool wait_until_forgotten(const struct rollback *rollback)
{
	const struct timespec pause = {.tv_nsec = FORGET_PAUSE_NS};
	struct pollfd queue = {.fd = fuse_session_fd(rollback->front->session), .events = POLLIN};
	size_t held = still_held(rollback), before;
	unsigned idle = 0;

	for (unsigned i = 0; held && i < FORGET_PAUSES && idle < FORGET_IDLE; i++) {
		/* At the end of a mount the kernel forgets what it knew without a word. */
		if (atomic_load(&rollback->front->rollback.ending) || queue.revents & POLLERR)
			return false;
		nanosleep(&pause, NULL);
		before = held;
		held = still_held(rollback);
		idle = held < before || poll(&queue, 1, 0) ? 0 : idle + 1;
	}
	return !held;
}

/* Or was one, or may have been: what went. */
static bool is_directory(const struct rollback *rollback, uint64_t ino)
{
	struct kvfs_attr attr;

	return kvfs_getattr(rollback->front->fs, ino, &attr) || S_ISDIR(attr.mode);
}

/*
 * An entry, or an inode, that the kernel does not know any more is no error.
 *
 * First the names, each under its directory's lock, and of each inode one that stands for all, so
 * that the lock of every directory that changed is taken. Whoever was answered before the gate
 * closed and has not looked at the answer yet holds one of them: it comes into the cache
 * (attributes of a directory that were set, an inode that got a link) before the inodes are told
 * of, and not after.
 */
static void tell_stale(const struct rollback *rollback)
{
	struct fuse_session *fuse = rollback->front->session;

	for (int inodes = 0; inodes < 2; inodes++) {
		for (size_t at = 0; at < rollback->stale_size;) {
			const char *name = rollback->stale + at + sizeof(uint64_t);
			size_t size = strlen(name);
			uint64_t ino;

			memcpy(&ino, rollback->stale + at, sizeof(ino));
			at += sizeof(ino) + size + 1;
			if (!inodes && (size || is_directory(rollback, ino)))
				(void)fuse_lowlevel_notify_inval_entry(fuse, ino,
					size ? name : ANY_NAME, size ? size : strlen(ANY_NAME));
			if (inodes && !size)
				(void)fuse_lowlevel_notify_inval_inode(fuse, ino, 0, 0);
		}
	}
}

/* ---- the moment ------------------------------------------------------------------------------ */

static int change(struct rollback *rollback, const char *name, const char *keep)
{
	struct fuse_front *front = rollback->front;
	struct kvfs_rollback_watch watch = {
		.arg = rollback, .busy = on_busy, .changed = on_changed};
	int err;

	rollback->busy_count = rollback->stale_size = 0;
	fuse_gate_close(&front->gate);
	/* An answer that waits for the disk may let go of an inode. */
	fuse_deferred_drain(front);
	err = kvfs_rollback_held(front->fs, name, keep, &watch);
	if (err && watch.begun)
		fuse_gate_break(&front->gate);
	else
		fuse_gate_open(&front->gate);
	if (err && watch.begun)
		return -ENOTRECOVERABLE;
	if (err)
		return err;
	if (keep)
		fuse_snapshots_learn(front, keep);
	tell_stale(rollback);
	return 0;
}

static int roll_back(struct rollback *rollback, const char *name, const char *keep)
{
	const struct kvfs_rollback_watch watch = {.arg = rollback, .busy = on_busy};
	int err = -EBUSY;

	for (unsigned i = 0; i < TRIES && err == -EBUSY; i++) {
		rollback->busy_count = 0;
		err = kvfs_rollback_check(rollback->front->fs, name, &watch);
		if (!err)
			err = change(rollback, name, keep);
		if (rollback->no_memory)
			return -ENOMEM;
		if (err != -EBUSY)
			break;
		ask_to_forget(rollback);
		if (!wait_until_forgotten(rollback))
			break;
	}
	return err;
}

/* Keeps those that are held for who asks. */
static void conclude(struct rollback *rollback, int err)
{
	struct fuse_rollback *state = &rollback->front->rollback;
	size_t used = 0;

	pthread_mutex_lock(&state->lock);
	used += (size_t)snprintf(state->text, sizeof(state->text), "%d", err);
	for (size_t i = 0, shown = 0;
		err == -EBUSY && i < rollback->busy_count && shown < SHOWN_MAX; i++) {
		if (!kvfs_is_held(rollback->front->fs, rollback->busy[i]))
			continue;
		used += (size_t)snprintf(state->text + used, sizeof(state->text) - used, " %llu",
			(unsigned long long)rollback->busy[i]);
		shown++;
	}
	state->running = false;
	pthread_mutex_unlock(&state->lock);
}

static void *rollback_main(void *arg)
{
	struct rollback rollback = {.front = arg};
	const struct fuse_rollback *state = &rollback.front->rollback;

	session_leave_queue();
	conclude(&rollback, roll_back(&rollback, state->name, *state->keep ? state->keep : NULL));
	free(rollback.busy);
	free(rollback.stale);
	return NULL;
}

/* ---- for the front end ----------------------------------------------------------------------- */

void fuse_rollback_init(struct fuse_front *front)
{
	pthread_mutex_init(&front->rollback.lock, NULL);
}

void fuse_rollback_drain(struct fuse_front *front)
{
	struct fuse_rollback *state = &front->rollback;
	bool started;

	pthread_mutex_lock(&state->lock);
	started = state->started;
	state->started = false;
	atomic_store(&state->ending, true);
	pthread_mutex_unlock(&state->lock);
	if (started)
		pthread_join(state->thread, NULL);
}

void fuse_rollback_fini(struct fuse_front *front)
{
	fuse_rollback_drain(front);
	pthread_mutex_destroy(&front->rollback.lock);
}

/* A name and its end, and what is behind it. */
static bool take_name(const char **value, size_t *size, char name[KVFS_NAME_MAX + 1])
{
	size_t length = strnlen(*value, *size);

	if (length == *size || length > KVFS_NAME_MAX)
		return false;
	memcpy(name, *value, length + 1);
	*value += length + 1;
	*size -= length + 1;
	return true;
}

static int start(struct fuse_front *front, const char *value, size_t size)
{
	struct fuse_rollback *state = &front->rollback;

	if (state->running)
		return -EALREADY;
	/* The one before is over. */
	if (state->started)
		pthread_join(state->thread, NULL);
	state->started = false;
	*state->keep = '\0';
	if (!take_name(&value, &size, state->name) ||
		(size && !take_name(&value, &size, state->keep)) || size)
		return -EINVAL;
	if (pthread_create(&state->thread, NULL, rollback_main, front))
		return -EAGAIN;
	state->started = state->running = true;
	strcpy(state->text, "running");
	return 0;
}

int fuse_rollback_start(struct fuse_front *front, const char *value, size_t size)
{
	int rc;

	if (kvfs_is_snapshot(front->fs))
		return -EROFS;
	if (!front->session)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&front->rollback.lock);
	rc = start(front, value, size);
	pthread_mutex_unlock(&front->rollback.lock);
	return rc;
}

ssize_t fuse_rollback_state(struct fuse_front *front, char *text, size_t size)
{
	struct fuse_rollback *state = &front->rollback;
	ssize_t length;

	pthread_mutex_lock(&state->lock);
	length = *state->text ? snprintf(text, size, "%s", state->text) : -ENODATA;
	pthread_mutex_unlock(&state->lock);
	return length;
}
