/* SPDX-License-Identifier: MIT */
/*
 * mounter_process.c - the process that mounts and unmounts (see mounter_process.h).
 *
 * Whatever it is told, and however often:
 *
 *	mounting	once, and where it was told before the server could be taken over
 *	unmounting	the mount that it has made, if that is what stands on the directory, by the
 *			mount's number: what somebody mounts there later, or above it, stays.
 *			(Between looking and unmounting by path there are microseconds.)
 *	logging		one line a message, without control characters, of the severities that
 *			the server has, and no more of them than message_budget.h allows; how
 *			many were left out is said
 *	descriptors	that come with an order are not taken
 *	answers		are lost where the server takes none
 *
 * Threads: an orderly unmount takes as long as the server needs to write back, and may have to be
 * broken off, so it runs in a thread, of which there is one at most. When the sockets end, by
 * whatever end of the server, so does this process; what the server has said before is logged
 * first.
 */
#include "mounter_process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuse_front.h"
#include "message.h"
#include "message_budget.h"
#include "mounter_orders.h"

#define PROCESS_NAME "kvfs-mounter"

/* Of Linux 6.8: a number that no later mount gets again. */
#define MOUNT_ID_UNIQUE 0x4000U

extern char **environ;

/* Which mount it is. */
struct mount_identity {
	uint64_t id;           /* 0: the kernel tells none */
	uint32_t major, minor; /* of its file system */
};

struct mounter_process {
	const struct mounter_task *task;
	int fd;
	bool tried;      /* to mount */
	char *directory; /* where it is mounted, without links; NULL: it is not */
	struct mount_identity mounted;

	pthread_t unmounter;
	bool unmounter_started; /* and not joined */
	atomic_bool unmounting; /* cleared by the thread, which then does nothing that takes long */

	pthread_mutex_t lock; /* the only one; what follows */
	struct message_budget budget;
};

/* ---- talking --------------------------------------------------------------------------------- */

/* With a descriptor, if `fd` is one. Waits for nobody: who wants an answer takes it. */
static int send_answer(int to, const struct mounter_answer *answer, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {(void *)answer, sizeof(*answer)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	return sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* ---- logging --------------------------------------------------------------------------------- */

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void tell_left_out(uint64_t count)
{
	char text[64];

	snprintf(text, sizeof(text), "%llu messages were left out here", (unsigned long long)count);
	if (count > 0)
		message_log(KV_WARNING, text);
}

/* Whether a message of this size may go now. */
static bool may_log(struct mounter_process *process, size_t size)
{
	uint64_t left_out;
	bool may;

	pthread_mutex_lock(&process->lock);
	left_out = process->budget.left_out;
	may = message_budget_take(&process->budget, size, now_us());
	if (may)
		process->budget.left_out = 0;
	pthread_mutex_unlock(&process->lock);
	if (may)
		tell_left_out(left_out);
	return may;
}

/* Nothing that syslogd would tell every terminal, and nothing that looks like several messages. */
static void do_log(struct mounter_process *process, unsigned char severity, char *text)
{
	enum kv_severity known = KV_ERROR;
	char *at;

	if (severity == KV_WARNING || severity == KV_INFO)
		known = (enum kv_severity)severity;
	for (at = text; *at; at++) {
		if ((unsigned char)*at < ' ' || *at == '\x7f')
			*at = '?';
	}
	if (may_log(process, (size_t)(at - text)))
		message_log(known, text);
}

static void log_not_written(struct mounter_process *process, int error)
{
	if (may_log(process, strlen(process->directory) + 128))
		message(KV_ERROR, "%s: not all could be written back: %s", process->directory,
			strerror(error));
}

/* ---- which mount ----------------------------------------------------------------------------- */

/* Asks no server. */
static int identify(int dir, const char *path, struct mount_identity *out)
{
	const int flags =
		AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
	struct statx info;

	if (statx(dir, path, flags, STATX_MNT_ID | MOUNT_ID_UNIQUE, &info))
		return -errno;
	*out = (struct mount_identity){.major = info.stx_dev_major, .minor = info.stx_dev_minor};
	if (info.stx_mask & (STATX_MNT_ID | MOUNT_ID_UNIQUE))
		out->id = info.stx_mnt_id;
	return 0;
}

/* Whether it is the mount that was made here. */
static bool is_ours(const struct mounter_process *process, int dir, const char *path)
{
	const struct mount_identity *ours = &process->mounted;
	struct mount_identity there;

	return !identify(dir, path, &there) && there.id == ours->id && there.major == ours->major &&
	       there.minor == ours->minor;
}

/* ---- mounting and unmounting ----------------------------------------------------------------- */

static int spawn_fusermount(const char *directory, bool lazy)
{
	char *const argv[] = {(char *)"fusermount3", (char *)(lazy ? "-uqz" : "-uq"), (char *)"--",
		(char *)directory, NULL};
	int status;
	pid_t pid;
	int rc = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (rc)
		return -rc;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

/* -EINVAL, as of umount2: our mount is not there. */
static int unmount(const struct mounter_process *process, int flags)
{
	const char *directory = process->directory;

	if (!is_ours(process, AT_FDCWD, directory))
		return -EINVAL;
	if (!umount2(directory, flags | UMOUNT_NOFOLLOW))
		return 0;
	if (errno != EPERM)
		return -errno;
	return spawn_fusermount(directory, flags & MNT_DETACH);
}

/* Of a mount that is in use: at least nothing stays behind in the kernel's caches. */
static void write_back(struct mounter_process *process)
{
	int fd;

	if (!is_ours(process, AT_FDCWD, process->directory))
		return;
	fd = open(process->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	if (is_ours(process, fd, "") && syncfs(fd))
		log_not_written(process, errno);
	close(fd);
}

static void *unmount_main(void *arg)
{
	struct mounter_process *process = arg;
	struct mounter_answer answer = {.rc = unmount(process, 0)};

	if (answer.rc)
		write_back(process);
	/* before the answer: who has that may ask again */
	atomic_store(&process->unmounting, false);
	(void)send_answer(process->fd, &answer, -1);
	return NULL;
}

static void do_unmount(struct mounter_process *process)
{
	struct mounter_answer answer = {.rc = -EALREADY};

	if (!atomic_load(&process->unmounting)) {
		if (process->unmounter_started)
			pthread_join(process->unmounter, NULL);
		atomic_store(&process->unmounting, true);
		process->unmounter_started =
			!pthread_create(&process->unmounter, NULL, unmount_main, process);
		if (process->unmounter_started)
			return;
		atomic_store(&process->unmounting, false);
		answer.rc = -EAGAIN;
	}
	(void)send_answer(process->fd, &answer, -1);
}

static void leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fd;

	setsid();
	for (fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
}

/* Mounts with an own session of the library, of which only the descriptor is kept. */
static int mount_here(struct mounter_process *process, int *fd)
{
	struct session *session;
	int rc = session_open(process->task->config, fuse_front_ops(), NULL, &session);

	if (rc)
		return rc;
	rc = session_mount_fd(session, process->directory, fd);
	session_close(session);
	return rc;
}

static void do_mount(struct mounter_process *process)
{
	struct mounter_answer answer;
	int fd = -1;

	process->tried = true;
	process->directory = realpath(process->task->directory, NULL);
	answer.rc = process->directory ? mount_here(process, &fd) : -errno;
	answer.explained = message_fuse_explained();
	if (fd >= 0)
		answer.rc = identify(AT_FDCWD, process->directory, &process->mounted);
	if (fd >= 0 && answer.rc) { /* moved already: it ends with its descriptor */
		close(fd);
		fd = -1;
	}
	/* The server has died meanwhile; somebody may have mounted something else since. */
	if (send_answer(process->fd, &answer, fd) && fd >= 0)
		(void)unmount(process, MNT_DETACH);
	if (fd >= 0)
		close(fd);
	if (answer.rc) {
		free(process->directory);
		process->directory = NULL;
		return;
	}
	if (process->task->background)
		leave_terminal();
	message_use_log(process->task->server, !process->task->background);
}

/* ---- the process ----------------------------------------------------------------------------- */

/* `size` bytes, and a zero behind them. */
static void obey(struct mounter_process *process, char *order, size_t size)
{
	if (order[0] == ORDER_MOUNT && !process->tried)
		do_mount(process);
	if (!process->directory)
		return;
	switch (order[0]) {
	case ORDER_UNMOUNT:
		do_unmount(process);
		break;
	case ORDER_BREAK:
		(void)unmount(process, MNT_FORCE | MNT_DETACH);
		break;
	case ORDER_LOG:
		if (size > 2)
			do_log(process, (unsigned char)order[1], order + 2);
		break;
	default:
		break;
	}
}

void mounter_process(const struct mounter_task *task, int fd)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct mounter_process process = {.task = task, .fd = fd};
	char order[ORDER_SIZE_MAX + 1];
	ssize_t got;
	size_t i;

	pthread_mutex_init(&process.lock, NULL);
	/* of a terminal or a service's end: the server decides what they mean */
	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	prctl(PR_SET_NAME, PROCESS_NAME);
	do {
		got = recv(fd, order, ORDER_SIZE_MAX, 0);
		if (got > 0) {
			order[got] = '\0';
			obey(&process, order, (size_t)got);
		}
	} while (got > 0 || (got < 0 && errno == EINTR));
	/* nobody adds to it any more but an unmount, which does not count */
	pthread_mutex_lock(&process.lock);
	tell_left_out(process.budget.left_out);
	_exit(0);
}
