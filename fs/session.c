/* SPDX-License-Identifier: MIT */
/*
 * session - see session.h
 *
 * Threads. The thread that calls session_run() only waits for the end. Readers take requests
 * from /dev/fuse: over that transport all requests, over io_uring the first message and those
 * that have no answer. The library's ring threads are made while the first message is handled,
 * so they inherit policy and signal mask from reader 0.
 *
 * The readers' loop is ours, not fuse_session_loop_mt(): that one starts threads on demand, takes
 * a lock twice per request, and does not tell when the first message has been handled.
 *
 * The end has one order: stop (event), unmount while requests are still served, so that the
 * kernel writes back what it holds, then end the readers, then the rings.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_SIZE_MAX (1u << 20)
#define BACKGROUND_MAX 64
#define READERS_MAX 64
#define DETACH_MS_MAX 30000
#define FORGET_PAUSE_NS 2000000

struct reader {
	struct session *session;
	pthread_t thread;
	struct fuse_buf buf;
	bool started;
};

struct session {
	struct fuse_session *fuse;
	enum session_transport transport; /* wanted */
	const struct session_mounter *mounter; /* may be NULL */
	void *mounter_arg;
	bool mounted;
	bool uring; /* what it got; set before ready */
	char *mountpoint; /* absolute */

	int event_fd; /* readable: something happened, look at the flags */
	atomic_bool stop; /* somebody asked for the end */
	atomic_bool detached; /* the orderly end is through, and unmounted says with what result */
	bool unmounted;
	atomic_bool ready; /* reader 0 has handled the first message, or has ended */

	unsigned int reader_count;
	struct reader readers[READERS_MAX];
};

/* The session that signals end; its event_fd is written from a signal handler. */
static _Atomic(struct session *) session_signalled;

bool session_config_option(struct session_config *config, const char *option)
{
	if (!strcmp(option, "io_uring"))
		config->transport = SESSION_IO_URING;
	else if (!strcmp(option, "no_io_uring"))
		config->transport = SESSION_DEVICE;
	else
		return false;
	return true;
}

const char *session_uring_missing(void)
{
#ifndef FUSE_CAP_OVER_IO_URING
	return "this build's libfuse is too old (3.18 has it)";
#else
	char value = 0;
	int fd = open("/sys/module/fuse/parameters/enable_uring", O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		/* the module may not be loaded yet; mounting loads it */
		return access("/sys/module/fuse", F_OK) ? NULL :
			"this kernel has no FUSE over io_uring (Linux 6.14 has it)";
	}
	if (read(fd, &value, 1) != 1)
		value = 0;
	close(fd);
	if (value != 'Y' && value != '1')
		return "the kernel's parameter fuse.enable_uring is off "
		       "(root: echo 1 > /sys/module/fuse/parameters/enable_uring)";
	return NULL;
#endif
}

static void event_raise(struct session *session)
{
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

/* NAME=VALUE; escaped, as a value may have commas. */
static int add_named(char **options, const char *name, const char *value)
{
	char *part;
	int rc;

	if (!value)
		return 0;
	if (asprintf(&part, "%s=%s", name, value) < 0)
		return -ENOMEM;
	rc = fuse_opt_add_opt_escaped(options, part) ? -ENOMEM : 0;
	free(part);
	return rc;
}

/* The options as the library wants them: a command line. */
static int fill_arguments(const struct session_config *config, bool uring, struct fuse_args *args)
{
	char *options = NULL;
	int rc = -ENOMEM;

	if (fuse_opt_add_arg(args, config->subtype ? config->subtype : "fuse"))
		goto out;
	if (add_named(&options, "fsname", config->source) ||
		add_named(&options, "subtype", config->subtype))
		goto out;
	if (config->options && *config->options && fuse_opt_add_opt(&options, config->options))
		goto out;
	if (config->debug && fuse_opt_add_opt(&options, "debug"))
		goto out;
	if (uring && fuse_opt_add_opt(&options, "io_uring"))
		goto out;
	if (options && (fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, options)))
		goto out;
	rc = 0;
out:
	free(options);
	return rc;
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

	rc = fill_arguments(config, config->transport != SESSION_DEVICE && !missing, &args);
	if (rc)
		goto out;
	session->fuse = fuse_session_new(&args, ops, sizeof(*ops), userdata);
	if (!session->fuse) {
		rc = -EINVAL; /* the library has said which option */
		goto out;
	}
	*out = session;
	session = NULL;
out:
	fuse_opt_free_args(&args);
	session_close(session);
	return rc;
}

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
	struct reader *reader = arg;
	struct session *session = reader->session;
	const struct sched_param param = { 0 };

	/*
	 * A request wakes a serving thread on the CPU of its client, which then goes to sleep.
	 * With SCHED_BATCH the client is not preempted in between. Failure costs only speed.
	 */
	sched_setscheduler(0, SCHED_BATCH, &param);
	pthread_setname_np(pthread_self(), "fuse-device");

	while (!fuse_session_exited(session->fuse)) {
		int size;

		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		size = fuse_session_receive_buf(session->fuse, &reader->buf);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		if (size == -EINTR || size == -EAGAIN)
			continue;
		if (size <= 0)
			break;
		fuse_session_process_buf(session->fuse, &reader->buf);
		if (session->uring)
			reader_pause();
		if (!atomic_load_explicit(&session->ready, memory_order_relaxed)) {
			session->uring = session->transport != SESSION_DEVICE && rings_running();
			atomic_store(&session->ready, true);
			event_raise(session);
		}
	}
	/* one reader's end, by unmounting or by an error, is the session's */
	fuse_session_exit(session->fuse);
	atomic_store(&session->ready, true);
	event_raise(session);
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

static int reader_start(struct session *session)
{
	struct reader *reader = &session->readers[session->reader_count];
	sigset_t blocked, old;
	int rc;

	reader->session = session;
	signals_for_others(&blocked);
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	rc = pthread_create(&reader->thread, NULL, reader_main, reader);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return -rc;
	session->reader_count++;
	return 0;
}

/* Ends the readers, then the rings. */
static int readers_end(struct session *session)
{
	unsigned int i;
	int rc;

	fuse_session_exit(session->fuse);
	for (i = 0; i < session->reader_count; i++)
		pthread_cancel(session->readers[i].thread);
	for (i = 0; i < session->reader_count; i++) {
		pthread_join(session->readers[i].thread, NULL);
		free(session->readers[i].buf.mem);
		session->readers[i].buf.mem = NULL;
	}
	session->reader_count = 0;

	/* the session is marked as ended: this serves nothing, but takes the rings down */
	rc = fuse_session_loop(session->fuse);
	return rc > 0 ? -EIO : rc;
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
	int fd, rc = session->mounter->mount(session->mounter_arg, session->mountpoint, &fd);

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

	rc = reader_start(session);
	if (rc)
		goto out;
	while (!atomic_load(&session->ready))
		event_wait(session, -1);
	if (fuse_session_exited(session->fuse)) {
		rc = -EPROTO;
	} else if (session->transport == SESSION_IO_URING && !session->uring) {
		fuse_log(FUSE_LOG_ERR, "cannot use io_uring: the library could not start it\n");
		rc = -EOPNOTSUPP;
	}
	/* over io_uring the device carries next to nothing */
	while (!rc && !session->uring && session->reader_count < READERS_MAX &&
	       session->reader_count < (unsigned long)sysconf(_SC_NPROCESSORS_ONLN))
		rc = reader_start(session);
out:
	if (rc) {
		(void)readers_end(session);
		session_unmount(session);
	}
	return rc;
}

const char *session_transport_name(const struct session *session)
{
	return session->uring ? "io_uring" : "/dev/fuse";
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
	rc = readers_end(session);

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

bool session_want(struct fuse_conn_info *conn, uint64_t capability)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	return fuse_set_feature_flag(conn, capability);
#else
	if (!(conn->capable & capability))
		return false;
	conn->want |= (unsigned int)capability;
	return true;
#endif
}

void session_unwant(struct fuse_conn_info *conn, uint64_t capability)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	fuse_unset_feature_flag(conn, capability);
#else
	conn->want &= ~(unsigned int)capability;
#endif
}

void session_negotiate(struct fuse_conn_info *conn, unsigned int flags)
{
	session_want(conn, FUSE_CAP_ASYNC_READ);
	session_want(conn, FUSE_CAP_ASYNC_DIO);
	session_want(conn, FUSE_CAP_PARALLEL_DIROPS);
	session_want(conn, FUSE_CAP_CACHE_SYMLINKS);
	/* where there is no handler the library then says ENOSYS instead of success */
	session_want(conn, FUSE_CAP_NO_OPEN_SUPPORT);
	session_want(conn, FUSE_CAP_NO_OPENDIR_SUPPORT);
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
	if (flags & SESSION_KILLPRIV)
		session_want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
#endif
	/* with the default the kernel drops a file's pages whenever it sees a new mtime */
	session_unwant(conn, FUSE_CAP_AUTO_INVAL_DATA);
	session_want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
	/* with it the kernel leaves O_TRUNC to open, and where open is ENOSYS to nobody */
	session_unwant(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	session_unwant(conn, FUSE_CAP_WRITEBACK_CACHE);
	session_unwant(conn, FUSE_CAP_SPLICE_READ);
	session_unwant(conn, FUSE_CAP_SPLICE_WRITE);
	session_unwant(conn, FUSE_CAP_SPLICE_MOVE);

	if (conn->max_write > REQUEST_SIZE_MAX)
		conn->max_write = REQUEST_SIZE_MAX;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
	conn->time_gran = 1;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	/*
	 * nothing here can be broken off, and the library would keep what interrupts a request of a
	 * ring for ever
	 */
	conn->no_interrupt = 1;
#endif
}
