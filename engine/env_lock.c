/* SPDX-License-Identifier: MIT */
/*
 * env_lock.c - see env_lock.h.
 *
 * By open file description, so that the lock survives a fork into the background and binds threads
 * as well. The directory is locked beside the file, or somebody who puts another file in its place
 * would lock that. File systems that lock no directories (NFS) have the file's lock alone.
 */
#include "env_lock.h"
#include "env_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define WAIT_DIR_MS 300u    /* for a process that is just ending */
#define WAIT_FILE_MS 20000u /* for the last writes of one that was killed */
#define PAUSE_MS 5u

/* Where directories cannot be locked, the file's lock says all. */
static int try_dir(int fd, bool exclusive)
{
	return flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0 && errno == EWOULDBLOCK ?
		       -EBUSY :
		       0;
}

static int try_file(int fd, bool exclusive)
{
	struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	return 0;
}

static int try_until(int fd, bool exclusive, int (*try)(int fd, bool exclusive), unsigned wait_ms)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
	int result = try(fd, exclusive);

	for (unsigned ms = 0; result == -EBUSY && ms < wait_ms; ms += PAUSE_MS) {
		nanosleep(&pause, NULL);
		result = try(fd, exclusive);
	}
	return result;
}

int env_lock_take(struct env_lock *lock, int dir, int fd, bool exclusive)
{
	bool first = lock->dir_fd < 0;
	int result;

	if (first)
		lock->dir_fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock->dir_fd < 0)
		return -errno;
	result = try_until(lock->dir_fd, exclusive, try_dir, WAIT_DIR_MS);
	if (!result)
		result = try_until(fd, exclusive, try_file, WAIT_FILE_MS);
	if (result < 0 && first)
		env_lock_release(lock, fd);
	if (result == 0 && exclusive && !lock->held) {
		env_ring_hold(fd);
		lock->held = true;
	}
	return result;
}

/* By hand, as the ring may hold the file a little longer than this process. */
void env_lock_release(struct env_lock *lock, int fd)
{
	struct flock none = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	if (lock->dir_fd < 0)
		return;
	if (lock->held)
		env_ring_let_go(fd);
	lock->held = false;
	fcntl(fd, F_OFD_SETLK, &none);
	close(lock->dir_fd);
	lock->dir_fd = -1;
}
