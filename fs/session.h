/* SPDX-License-Identifier: MIT */
/*
 * session - a libfuse low-level session: transport, threads, mount point, end
 *
 * A front end gives its table of handlers and gets a served mount point:
 *
 *	session_open() -> session_mount() -> session_run() -> session_unmount() -> session_close()
 *
 * session_mount() starts threads: a process that wants to become a daemon forks before it.
 *
 * Handlers run on the serving threads: with io_uring one per CPU and pinned to it, else as many
 * as there are CPUs. A handler must not block for long, as its CPU's requests wait behind it. It
 * may return without an answer and let any thread call fuse_reply_*() later; all that were kept
 * back must be answered before session_close(), and soon after session_run() was told to stop.
 * Threads inherit SCHED_BATCH and blocked signals from the session, and are never cancelled
 * inside a handler: handlers need no set-up per thread.
 *
 * Returns are 0 or a negative errno. The explanation of an error that has one goes to
 * fuse_log(), which is stderr unless redirected.
 */
#ifndef KVFS_SESSION_H
#define KVFS_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 317
#endif
#include <fuse_lowlevel.h>

struct session;

enum session_transport {
	SESSION_AUTO, /* io_uring where library and kernel have it, else the device */
	SESSION_IO_URING, /* io_uring or an error */
	SESSION_DEVICE, /* /dev/fuse */
};

/*
 * Somebody else who mounts and unmounts for a process that has given up the right to. 0 or a
 * negative errno; the descriptor is the caller's. An orderly unmount returns when all has been
 * written back, or is refused (-EBUSY); `force` breaks the connection off, also one that an orderly
 * unmount waits for.
 */
struct session_mounter {
	int (*mount)(void *arg, int *fd);
	int (*unmount)(void *arg, bool force);
};

struct session_config {
	const struct session_mounter *mounter; /* NULL: this process itself */
	void *mounter_arg;
	const char *source; /* what the mount table shows as the device; may be NULL */
	const char *subtype; /* the file system's type becomes fuse.SUBTYPE; may be NULL */
	const char *options; /* mount options for libfuse and the kernel, comma-separated; may be
				NULL */
	enum session_transport transport;
	bool debug; /* log every request */
};

/*
 * Takes the mount options that choose a transport: io_uring, no_io_uring.
 * Returns true if option was one of them, and config has been changed accordingly.
 */
bool session_config_option(struct session_config *config, const char *option);

/*
 * Why io_uring cannot be used here, as a clause for the user, or NULL if it can
 * as far as that is known before mounting.
 */
const char *session_uring_missing(void);

/*
 * Loads what the end of a session takes, while there are descriptors left: the C library loads a
 * library (libgcc_s) when the first thread is ended, and aborts where it cannot.
 */
void session_prepare(void);

/*
 * Makes a session. Copies config and ops; userdata is passed to the handlers.
 * Errors: -EOPNOTSUPP io_uring is forced but missing, -EINVAL a bad option, -ENOMEM.
 */
int session_open(const struct session_config *config, const struct fuse_lowlevel_ops *ops,
	void *userdata, struct session **out) __attribute__((warn_unused_result));

/*
 * Mounts only, and gives the descriptor of the mount, which session_close leaves alone. For a
 * session_mounter.
 */
int session_mount_fd(struct session *session, const char *mountpoint, int *fd)
	__attribute__((warn_unused_result));

/*
 * Mounts on the directory and serves the kernel's first message, so that the init
 * handler has run and the transport is known when this returns. Requests are served from here on.
 * Errors: what stat() says of mountpoint, -ENOTDIR, -EPERM and others from mounting,
 * -EOPNOTSUPP if io_uring is forced and did not start, -EPROTO. Nothing stays mounted then.
 */
int session_mount(struct session *session, const char *mountpoint)
	__attribute__((warn_unused_result));

/* "io_uring" or "/dev/fuse"; valid after session_mount() */
const char *session_transport_name(const struct session *session);

/* The library's own session, for notifications to the kernel */
struct fuse_session *session_fuse(const struct session *session);

/*
 * Serves until somebody unmounts (returns 0), or until session_stop() or one of SIGINT, SIGTERM
 * and SIGHUP asks for the end: then what the kernel still holds is written through the handlers
 * and the mount point is released (also if it is busy: its users see ECONNABORTED or ENOTCONN).
 * No handler runs any more when it returns. Only one session of a process can be in here.
 */
int session_run(struct session *session) __attribute__((warn_unused_result));

/* Makes session_run() end. May be called from any thread and from a signal handler. */
void session_stop(struct session *session);

/* Releases the mount point if it is still ours. */
void session_unmount(struct session *session);

/* Frees; accepts NULL. Calls the destroy handler if init had been called. */
void session_close(struct session *session);

/*
 * For a thread that a handler has started, which has inherited that it is bound to a processor: it
 * would be in the way of the requests that are served there.
 */
void session_leave_queue(void);

enum session_negotiate_flags {
	/*
	 * The handlers clear set-user-id, set-group-id and security.capability themselves: at a
	 * write and an open with fi->kill_suidgid, and at truncation and change of owner. Saves
	 * a GETXATTR at the first write to each file. Ignored before libfuse 3.18.
	 */
	SESSION_KILLPRIV = 1,
};

/*
 * For the init handler: asks for what a store that is ours alone wants. Parallel lookups and
 * readdir in one directory, readdirplus where it pays, asynchronous reads, cached links, 1 MiB
 * requests; no write-back cache, no splice, no invalidation by time stamps (contents change
 * through this mount only). Truncation at open is a message of its own, so that a server may
 * answer open with ENOSYS, which the kernel remembers; a missing handler for open, opendir or
 * flush means just that. ACLs, locks, umask handling stay as the caller and libfuse set them.
 */
void session_negotiate(struct fuse_conn_info *conn, unsigned int flags);

/* Ask for or refuse one FUSE_CAP_*; want returns false if the kernel does not offer it. */
bool session_want(struct fuse_conn_info *conn, uint64_t capability);
void session_unwant(struct fuse_conn_info *conn, uint64_t capability);

#endif
