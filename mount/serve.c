/* SPDX-License-Identifier: MIT */
/*
 * serve.c - serving a mount (see serve.h).
 *
 * Order. The store is opened before anything is mounted, so that a mount that exists works. At the
 * end the mount point is released first, then the answers that wait for the disk are given, then
 * the store is closed: when this process has ended, all is on the disk and the store can be opened
 * by another.
 *
 * Both start in the child of daemon_start, as threads do not survive a fork; and in a process that
 * has given up whatever serving does not need (confine.h). Mounting and unmounting do, and are
 * another's (mounter.h).
 */
#include "serve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "confine.h"
#include "daemon.h"
#include "message.h"
#include "mounter.h"
#include "session_rings.h"
#include "status.h"
#include "store.h"

struct server {
	const struct serve_request *request;
	struct session_config config;
	char *fuse_options;
	char store_id[STATUS_STORE_ID_SIZE];
	struct mounter *mounter;
	struct kvfs *fs;
	struct kvfs *shown; /* the same, or a snapshot of it */
	struct fuse_front *front;
	struct session *session;
};

static ssize_t server_status(void *arg, char *buffer, size_t size)
{
	struct server *server = arg;
	struct status_mount mount = {.directory = server->request->directory,
		.transport = session_transport_name(server->session),
		.store_id = server->store_id};

	return status_write(server->fs, server->request->store, &mount, buffer, size);
}

static int server_open_store(struct server *server)
{
	const struct mount_options *options = server->request->options;
	struct kvfs_open_options open_options;

	store_options(server->request->store, options->read_only, &open_options);
	open_options.frees_behind = true;
	open_options.kv.commit_interval_ms = options->commit_interval_ms;
	open_options.kv.scrub_rate = options->scrub_rate;
	open_options.kv.scrub_interval_s = options->scrub_interval_s;
	if (!options->read_only)
		open_options.atime = options->atime;
	open_options.nodiratime = options->flags & MS_NODIRATIME;
	status_store_id(server->request->store, server->store_id);
	return store_open(server->request->store, &open_options, &server->fs);
}

/* What is to be seen of it. */
static int server_show(struct server *server)
{
	const struct serve_request *request = server->request;
	const char *name = request->options->snapshot;
	struct kvfs_attr attr;

	server->shown = server->fs;
	if (!name) {
		if (request->options->snapdir &&
			!kvfs_lookup(server->fs, KVFS_ROOT_INO, ".snapshots", &attr))
			message(KV_WARNING,
				"%s: its own file .snapshots is hidden by the directory of snapshots "
				"(it is seen with: -o nosnapdir)",
				request->store);
		return 0;
	}
	server->shown = NULL;
	return store_show(request->store, server->fs, name, &server->shown);
}

/*
 * From here on the process that mounts is another one, and this one may do only what serving needs;
 * the store is not opened yet.
 */
static int server_confine(struct server *server)
{
	const struct mount_options *options = server->request->options;
	int rc;

	server->fuse_options = mount_options_fuse(options);
	if (!server->fuse_options)
		return -ENOMEM;
	server->config = (struct session_config){
		.source = options->fsname ? options->fsname : server->request->store,
		.subtype = options->subtype ? options->subtype : "kvfs",
		.options = server->fuse_options,
		.transport = options->transport,
		.debug = options->debug,
	};
	if (!options->confine)
		return 0;
	rc = mounter_start(&server->config, server->request->directory, !server->request->foreground,
		&server->mounter);
	if (rc)
		return rc;
	server->config.mounter = &mounter_session;
	server->config.mounter_arg = server->mounter;
	if (options->transport != SESSION_DEVICE && !session_uring_missing())
		session_rings_make();
	return confine(server->request->store, NULL);
}

static int server_mount(struct server *server)
{
	struct fuse_front_options options = {
		.sync = server->request->options->sync,
		.acl = server->request->options->acl,
		.strict_atime = server->request->options->atime == KVFS_STRICTATIME,
		.snapshots = server->request->options->snapdir,
		.status = server_status,
		.status_arg = server,
	};
	int rc = fuse_front_new(server->shown, &options, &server->front);

	if (!rc)
		rc = session_open(
			&server->config, fuse_front_ops(), server->front, &server->session);
	if (!rc)
		fuse_front_set_session(server->front, session_fuse(server->session));
	if (!rc)
		rc = session_mount(server->session, server->request->directory);
	if (rc && (message_fuse_explained() ||
			  (server->mounter && mounter_explained(server->mounter))))
		message(KV_ERROR, "%s: not mounted", server->request->directory);
	else if (rc)
		message(KV_ERROR, "%s: cannot be mounted: %s", server->request->directory,
			message_error(rc));
	return rc;
}

static void announce(const struct server *server)
{
	const struct serve_request *request = server->request;

	printf("kvfs: %s is mounted on %s over %s%s\n", request->store, request->directory,
		session_transport_name(server->session),
		request->options->read_only ? ", read-only" : "");
	fflush(stdout);
}

/* Runs until the mount ends; the result is what could not be kept. */
static int server_run(struct server *server)
{
	const struct serve_request *request = server->request;
	int rc;

	message(KV_INFO, "%s: mounted on %s over %s", request->store, request->directory,
		session_transport_name(server->session));
	rc = session_run(server->session);
	if (rc)
		message(KV_ERROR, "%s: serving ended: %s", request->directory, message_error(rc));
	fuse_front_drain(server->front);
	return rc;
}

static int server_close(struct server *server)
{
	int rc = 0;

	session_close(server->session);
	fuse_front_free(server->front);
	if (server->shown != server->fs)
		(void)kvfs_close(server->shown);
	if (server->fs)
		rc = store_close(server->request->store, server->fs);
	free(server->fuse_options);
	return rc;
}

/* Who writes this process's messages may go no earlier than the last of them. */
static void use_log(const struct server *server)
{
	bool and_terminal = server->request->foreground;

	if (server->mounter)
		message_use_log_of(mounter_log, server->mounter, and_terminal);
	else
		message_use_log(getpid(), and_terminal);
}

/*
 * The log's buffers, up to 256 MiB, are registered with the engine's ring, and so count as locked
 * where it is made without the capability that waives that. Where the limit cannot be raised each
 * write pins its own pages again.
 */
static void allow_locked_buffers(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_MEMLOCK, &limit) && !getrlimit(RLIMIT_MEMLOCK, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_MEMLOCK, &limit);
	}
}

/*
 * The store's files are nobody else's to read. Whoever read what this process says may go, be it
 * the one who started it: a mount does not end with that.
 */
static void prepare_process(void)
{
	signal(SIGPIPE, SIG_IGN);
	session_prepare();
	allow_locked_buffers();
	umask(077);
	prctl(PR_SET_NAME, SERVE_PROCESS_NAME);
	if (chdir("/"))
		message(KV_WARNING, "cannot change to /: %s", strerror(errno));
}

int serve(const struct serve_request *request)
{
	struct server server = {.request = request};
	int ready_fd = -1;
	int rc;

	if (!request->foreground) {
		rc = daemon_start(MOUNT_FAILED, &ready_fd);
		if (rc) {
			message(KV_ERROR, "cannot start a process: %s", message_error(rc));
			return MOUNT_SYSTEM;
		}
	}
	prepare_process();
	message_take_fuse();
	rc = server_confine(&server);
	if (rc)
		message(KV_ERROR, "cannot confine the process: %s (-o no_confine does without)",
			message_error(rc));
	if (!rc)
		rc = server_open_store(&server);
	if (!rc)
		rc = server_show(&server);
	if (!rc)
		rc = server_mount(&server);
	if (rc) {
		(void)server_close(&server);
		mounter_end(server.mounter);
		return MOUNT_FAILED;
	}
	if (request->announce)
		announce(&server);
	use_log(&server);
	if (!request->foreground)
		daemon_ready(ready_fd);
	rc = server_run(&server);
	if (server_close(&server))
		rc = -EIO;
	message(KV_INFO, "%s: closed", request->store);
	mounter_end(server.mounter);
	return rc ? MOUNT_SYSTEM : MOUNT_OK;
}
