/* SPDX-License-Identifier: MIT */
/*
 * session.c - a session's life: its mount point, and its end (see session.h).
 *
 * Threads. The thread that calls session_run() only waits for the end; others serve
 * (session_readers.h).
 *
 * The end has one order: stop (event), unmount while requests are still served, so that the
 * kernel writes back what it holds, then end the readers, then the rings.
 */
#include "session.h"
#include "session_config.h"
#include "session_readers.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DETACH_MS_MAX 30000

struct session {
	struct fuse_session *fuse;
	enum session_transport transport; /* wanted */
	const struct session_mounter *mounter; /* may be NULL */
	void *mounter_arg;
	bool mounted;
	char *mountpoint; /* absolute */

	int event_fd; /* readable: something happened, look at the flags */
	atomic_bool stop; /* somebody asked for the end */
	atomic_bool detached; /* the orderly end is through, and unmounted says with what result */
	bool unmounted;

	struct session_readers readers;
};

/* The session that signals end; its event_fd is written from a signal handler. */
static _Atomic(struct session *) session_signalled;

static void event_raise(void *arg)
{
	const struct session *session = arg;
	const uint64_t one = 1;
	ssize_t done = write(session->event_fd, &one, sizeof(one));

	(void)done; /* fails only when the counter is full, and then it is readable */
}

/* Waits until something may have happened; false if nothing did in time (ms, -1: no limit). */
static bool event_wait(struct session *session, int limit_ms)
{
	struct pollfd pollfd = { .fd = session->event_fd, .events = POLLIN };
	uint64_t count;

	if (poll(&pollfd, 1, limit_ms) == 0)
		return false;
	if (read(session->event_fd, &count, sizeof(count)) < 0)
		return true; /* interrupted: the caller looks at the flags anyway */
	return true;
}

void session_stop(struct session *session)
{
	atomic_store(&session->stop, true);
	event_raise(session);
}

/* It stays loaded. */
void session_prepare(void)
{
	if (!dlopen("libgcc_s.so.1", RTLD_NOW))
		fuse_log(FUSE_LOG_WARNING, "libgcc_s.so.1: %s\n", dlerror());
}

int session_open(const struct session_config *config, const struct fuse_lowlevel_ops *ops,
	void *userdata, struct session **out)
{
	const char *missing = session_uring_missing();
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct session *session;
	int rc;

	if (config->transport == SESSION_IO_URING && missing) {
		fuse_log(FUSE_LOG_ERR, "cannot use io_uring: %s\n", missing);
		return -EOPNOTSUPP;
	}

	session = calloc(1, sizeof(*session));
	if (!session)
		return -ENOMEM;
	session->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (session->event_fd < 0) {
		rc = -errno;
		goto out;
	}
	session->transport = config->transport;
	session->mounter = config->mounter;
	session->mounter_arg = config->mounter_arg;

	rc = session_arguments(config, config->transport != SESSION_DEVICE && !missing, &args);
	if (rc)
		goto out;
	session->fuse = fuse_session_new(&args, ops, sizeof(*ops), userdata);
	if (!session->fuse) {
		rc = -EINVAL; /* the library has said which option */
		goto out;
	}
	session_readers_init(&session->readers, session->fuse,
		config->transport != SESSION_DEVICE, event_raise, session);
	*out = session;
	session = NULL;
out:
	fuse_opt_free_args(&args);
	session_close(session);
	return rc;
}

static int library_mount(struct session *session, const char *mountpoint)
{
	errno = 0;
	if (fuse_session_mount(session->fuse, mountpoint))
		return errno ? -errno : -EPERM;
	return 0;
}

int session_mount_fd(struct session *session, const char *mountpoint, int *fd)
{
	int rc = library_mount(session, mountpoint);

	if (rc)
		return rc;
	*fd = fcntl(fuse_session_fd(session->fuse), F_DUPFD_CLOEXEC, 3);
	if (*fd >= 0)
		return 0;
	rc = -errno;
	fuse_session_unmount(session->fuse);
	return rc;
}

/*
 * The library takes a mount that is there by the number of its descriptor, and closes that with the
 * session.
 */
static int mount_by_other(struct session *session)
{
	char name[32];
	int fd, rc = session->mounter->mount(session->mounter_arg, &fd);

	if (rc)
		return rc;
	snprintf(name, sizeof(name), "/dev/fd/%d", fd);
	rc = library_mount(session, name);
	if (rc) {
		close(fd);
		session->mounter->unmount(session->mounter_arg, true);
	}
	return rc;
}

int session_mount(struct session *session, const char *mountpoint)
{
	struct session_readers *readers = &session->readers;
	struct stat stat_buf;
	int rc;

	if (stat(mountpoint, &stat_buf))
		return -errno;
	if (!S_ISDIR(stat_buf.st_mode))
		return -ENOTDIR;
	session->mountpoint = realpath(mountpoint, NULL);
	if (!session->mountpoint)
		return -errno;

	rc = session->mounter ? mount_by_other(session)
			      : library_mount(session, session->mountpoint);
	if (rc)
		return rc;
	session->mounted = true;

	rc = session_readers_start(readers);
	if (rc)
		goto out;
	while (!atomic_load(&readers->ready))
		event_wait(session, -1);
	/* One that has begun may be over by now: somebody was quick to unmount it. */
	if (!readers->begun) {
		rc = -EPROTO;
	} else if (session->transport == SESSION_IO_URING && !readers->uring &&
		   !fuse_session_exited(session->fuse)) {
		fuse_log(FUSE_LOG_ERR, "cannot use io_uring: the library could not start it\n");
		rc = -EOPNOTSUPP;
	}
	/* over io_uring the device carries next to nothing */
	while (!rc && !readers->uring && readers->count < SESSION_READERS_MAX &&
	       readers->count < (unsigned long)sysconf(_SC_NPROCESSORS_ONLN))
		rc = session_readers_start(readers);
out:
	if (rc) {
		(void)session_readers_end(readers);
		session_unmount(session);
	}
	return rc;
}

const char *session_transport_name(const struct session *session)
{
	return session->readers.uring ? "io_uring" : "/dev/fuse";
}

struct fuse_session *session_fuse(const struct session *session)
{
	return session->fuse;
}

static int take_away(struct session *session, bool force)
{
	if (session->mounter)
		return session->mounter->unmount(session->mounter_arg, force);
	if (umount2(session->mountpoint, UMOUNT_NOFOLLOW | (force ? MNT_FORCE | MNT_DETACH : 0)))
		return -errno;
	return 0;
}

/*
 * Takes the mount away while the session still serves. Needs privileges: without, the data is
 * safe all the same, and session_unmount() asks the set-user-id helper.
 */
static void *detach_main(void *arg)
{
	struct session *session = arg;
	int fd;

	/* writes back, and is refused while somebody uses the mount */
	session->unmounted = !take_away(session, false);
	if (!session->unmounted && !session->mounter) {
		fd = open(session->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0) {
			if (syncfs(fd))
				fuse_log(FUSE_LOG_ERR, "%s: not all could be written back: %s\n",
					session->mountpoint, strerror(errno));
			close(fd);
		}
	}
	atomic_store(&session->detached, true);
	event_raise(session);
	return NULL;
}

/*
 * The orderly way is made of requests to our own handlers. If they do not answer in time, or
 * somebody asks for the end once more, the connection is broken off instead.
 */
static void session_detach(struct session *session)
{
	pthread_t thread;
	bool started = !pthread_create(&thread, NULL, detach_main, session);

	atomic_store(&session->stop, false);
	while (started && !atomic_load(&session->detached) && !atomic_load(&session->stop)) {
		if (!event_wait(session, DETACH_MS_MAX))
			break;
	}
	/* not twice: there may be another mount below ours */
	if (!atomic_load(&session->detached) || !session->unmounted)
		(void)take_away(session, true);
	if (started)
		pthread_join(thread, NULL);
}

static void signal_stop(int number)
{
	struct session *session = atomic_load(&session_signalled);
	int saved = errno;

	(void)number;
	if (session)
		session_stop(session);
	errno = saved;
}

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };
#define STOP_SIGNALS (sizeof(stop_signals) / sizeof(stop_signals[0]))

int session_run(struct session *session)
{
	struct sigaction action = { .sa_handler = signal_stop, .sa_flags = SA_RESTART };
	struct sigaction before[STOP_SIGNALS];
	struct session *none = NULL;
	size_t i;
	int rc;

	if (!atomic_compare_exchange_strong(&session_signalled, &none, session))
		return -EBUSY;
	for (i = 0; i < STOP_SIGNALS; i++) {
		sigaction(stop_signals[i], NULL, &before[i]);
		/* what the parent had ignored (nohup) stays ignored */
		if (before[i].sa_handler != SIG_IGN)
			sigaction(stop_signals[i], &action, NULL);
	}

	while (!atomic_load(&session->stop) && !fuse_session_exited(session->fuse))
		event_wait(session, -1);
	if (!fuse_session_exited(session->fuse))
		session_detach(session);
	rc = session_readers_end(&session->readers);

	for (i = 0; i < STOP_SIGNALS; i++)
		sigaction(stop_signals[i], &before[i], NULL);
	atomic_store(&session_signalled, NULL);
	return rc;
}

/* The mount has ended, whoever has ended it: what is on its directory now is not ours. */
static bool has_ended(const struct session *session)
{
	struct pollfd pollfd = { .fd = fuse_session_fd(session->fuse) };

	return poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLERR);
}

void session_unmount(struct session *session)
{
	if (session->mounted && session->mounter && !has_ended(session))
		(void)take_away(session, true);
	if (session->mounted)
		fuse_session_unmount(session->fuse);
	session->mounted = false;
}

void session_close(struct session *session)
{
	if (!session)
		return;
	session_unmount(session);
	if (session->fuse)
		fuse_session_destroy(session->fuse);
	if (session->event_fd >= 0)
		close(session->event_fd);
	free(session->mountpoint);
	free(session);
}
