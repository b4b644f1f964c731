/* SPDX-License-Identifier: MIT */
/*
 * env_lock.h - the lock on one of the operating system's files that keeps other processes out of a
 * store.
 *
 * Embedded in the file that it locks, and used by one thread at a time.
 */
#ifndef ENV_LOCK_H
#define ENV_LOCK_H

#include <stdbool.h>

struct env_lock {
	int dir_fd; /* the directory, open once more, while the file is locked; else -1 */
	bool held;  /* the file, by the ring */
};

static inline void env_lock_init(struct env_lock *lock)
{
	*lock = (struct env_lock){.dir_fd = -1};
}

/*
 * Locks the file `fd` in the directory `dir`: exclusively, or shared with others who do not ask for
 * more. May be called again to change which. Waits a moment for a process that is just ending.
 * -EBUSY, and what opening the directory gives
 */
int env_lock_take(struct env_lock *lock, int dir, int fd, bool exclusive);

/* If it is taken. */
void env_lock_release(struct env_lock *lock, int fd);

#endif
