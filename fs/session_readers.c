/* SPDX-License-Identifier: MIT */
/*
 * session_readers.c - see session_readers.h.
 *
 * The readers' loop is ours, not fuse_session_loop_mt(): that one starts threads on demand, takes
 * a lock twice per request, and does not tell when the first message has been handled.
 */
#include "session_readers.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FORGET_PAUSE_NS 2000000

/*
 * Whether the library's rings serve. The library has no call for that, and goes back to the
 * device in silence when it cannot start them; but it names their threads.
 */
static bool rings_running(void)
{
	bool found = false;
	glob_t names;
	size_t i;

	if (glob("/proc/self/task/*/comm", GLOB_NOSORT, NULL, &names))
		return false;
	for (i = 0; !found && i < names.gl_pathc; i++) {
		char name[16] = "";
		int fd = open(names.gl_pathv[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		found = read(fd, name, sizeof(name) - 1) > 0 && !strncmp(name, "fuse-ring-", 10);
		close(fd);
	}
	globfree(&names);
	return found;
}

/*
 * Over io_uring the device brings forgets alone. Nobody waits for those, but each would wake this
 * thread next to a client at work: let them gather, the kernel then hands out many at once.
 */
static void reader_pause(void)
{
	const struct timespec pause = { .tv_nsec = FORGET_PAUSE_NS };

	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	nanosleep(&pause, NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
}

static void *reader_main(void *arg)
{
	struct session_reader *reader = arg;
	struct session_readers *readers = reader->all;
	const struct sched_param param = { 0 };

	/*
	 * A request wakes a serving thread on the CPU of its client, which then goes to sleep.
	 * With SCHED_BATCH the client is not preempted in between. Failure costs only speed.
	 */
	sched_setscheduler(0, SCHED_BATCH, &param);
	pthread_setname_np(pthread_self(), "fuse-device");

	while (!fuse_session_exited(readers->fuse)) {
		int size;

		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		size = fuse_session_receive_buf(readers->fuse, &reader->buf);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		if (size == -EINTR || size == -EAGAIN)
			continue;
		if (size <= 0)
			break;
		fuse_session_process_buf(readers->fuse, &reader->buf);
		if (readers->uring)
			reader_pause();
		if (!atomic_load_explicit(&readers->ready, memory_order_relaxed)) {
			readers->begun = !fuse_session_exited(readers->fuse);
			readers->uring = readers->may_ring && rings_running();
			atomic_store(&readers->ready, true);
			readers->changed(readers->arg);
		}
	}
	/* one reader's end, by unmounting or by an error, is the session's */
	fuse_session_exit(readers->fuse);
	atomic_store(&readers->ready, true);
	readers->changed(readers->arg);
	return NULL;
}

/*
 * What is sent to the process is for the thread that waits for it. What a thread brings on itself
 * comes to it all the same: a page of the store that cannot be read is a SIGBUS, which the engine
 * makes an error of, and which ends the process where it is blocked. The rings' threads have the
 * mask of the reader that starts them.
 */
static void signals_for_others(sigset_t *out)
{
	static const int own[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

	sigfillset(out);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(out, own[i]);
}

void session_leave_queue(void)
{
	cpu_set_t all;

	/* The process's first thread is bound by nobody but the administrator. */
	if (sched_getaffinity(getpid(), sizeof(all), &all))
		memset(&all, 0xff, sizeof(all));
	/* Failure costs only speed. */
	(void)sched_setaffinity(0, sizeof(all), &all);
}

void session_readers_init(struct session_readers *readers, struct fuse_session *fuse,
	bool may_ring, void (*changed)(void *arg), void *arg)
{
	readers->fuse = fuse;
	readers->may_ring = may_ring;
	readers->changed = changed;
	readers->arg = arg;
}

int session_readers_start(struct session_readers *readers)
{
	struct session_reader *reader = &readers->readers[readers->count];
	sigset_t blocked, old;
	int rc;

	reader->all = readers;
	signals_for_others(&blocked);
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	rc = pthread_create(&reader->thread, NULL, reader_main, reader);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return -rc;
	readers->count++;
	return 0;
}

int session_readers_end(struct session_readers *readers)
{
	unsigned int i;
	int rc;

	fuse_session_exit(readers->fuse);
	for (i = 0; i < readers->count; i++)
		pthread_cancel(readers->readers[i].thread);
	for (i = 0; i < readers->count; i++) {
		pthread_join(readers->readers[i].thread, NULL);
		free(readers->readers[i].buf.mem);
		readers->readers[i].buf.mem = NULL;
	}
	readers->count = 0;

	/* the session is marked as ended: this serves nothing, but takes the rings down */
	rc = fuse_session_loop(readers->fuse);
	return rc > 0 ? -EIO : rc;
}
