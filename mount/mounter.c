/* SPDX-License-Identifier: MIT */
/*
 * mounter.c - the process that mounts and unmounts (see mounter.h).
 *
 * It mounts once, and where it was told before the server could be taken over; what it takes away
 * is on that directory.
 *
 * The two talk through a pair of sockets, a byte for an order and a struct for its answer. An
 * orderly unmount takes as long as the server needs to write back, and may have to be broken off:
 * so it runs in a thread, and the orders that can come meanwhile, to break off and to log, have no
 * answer. When the sockets end, by whatever end of the server, so does this process; what the
 * server has said before is logged first.
 */
#include "mounter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse_front.h"
#include "message.h"

#define PROCESS_NAME "kvfs-mounter"

extern char **environ;

/* ORDER_LOG is followed by a byte, the severity, and the text. */
enum order { ORDER_MOUNT = 'm', ORDER_UNMOUNT = 'u', ORDER_BREAK = 'b', ORDER_LOG = 'l' };

#define ORDER_SIZE_MAX (2 + MESSAGE_SIZE_MAX)

struct answer {
	int rc;
	bool explained; /* the reason has been told */
};

struct mounter {
	pid_t pid;
	int fd;
	bool explained;
};

/* The mounting process's own state. */
struct helper {
	const struct session_config *config;
	int fd;
	pid_t server;
	bool background;
	const char *wanted; /* where to mount */
	char *directory;    /* the same, once it is mounted, without links */
};

/* ---- talking --------------------------------------------------------------------------------- */

/* With a descriptor, if `fd` is one. */
static int send_answer(int to, const struct answer *answer, int fd)
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
	return sendmsg(to, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int receive_answer(int from, struct answer *answer, int *fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {answer, sizeof(*answer)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	struct cmsghdr *header;
	ssize_t got;

	message.msg_control = control.bytes;
	message.msg_controllen = sizeof(control.bytes);
	do {
		got = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got != sizeof(*answer))
		return got < 0 ? -errno : -EPIPE;
	header = CMSG_FIRSTHDR(&message);
	*fd = -1;
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
		header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(header), sizeof(*fd));
	return answer->rc;
}

/* An order is its byte. */
static int send_order(int to, enum order order)
{
	char byte = (char)order;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	return sendmsg(to, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* ---- the process ----------------------------------------------------------------------------- */

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

static int unmount(const char *directory, int flags)
{
	if (!umount2(directory, flags | UMOUNT_NOFOLLOW))
		return 0;
	if (errno != EPERM)
		return -errno;
	return spawn_fusermount(directory, flags & MNT_DETACH);
}

static void *unmount_main(void *arg)
{
	struct helper *helper = arg;
	struct answer answer = {.rc = unmount(helper->directory, 0)};
	int fd;

	/* in use: at least nothing stays behind in the kernel's caches */
	if (answer.rc) {
		fd = open(helper->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0) {
			if (syncfs(fd))
				message(KV_ERROR, "%s: not all could be written back: %s",
					helper->directory, strerror(errno));
			close(fd);
		}
	}
	(void)send_answer(helper->fd, &answer, -1);
	return NULL;
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
static int mount_here(struct helper *helper, int *fd)
{
	struct session *session;
	int rc = session_open(helper->config, fuse_front_ops(), NULL, &session);

	if (rc)
		return rc;
	rc = session_mount_fd(session, helper->directory, fd);
	session_close(session);
	return rc;
}

/* Which mount stands there; 0: cannot be told. */
static uint64_t mount_id(const char *directory)
{
	struct statx info;

	if (statx(AT_FDCWD, directory, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_MNT_ID, &info) ||
		!(info.stx_mask & STATX_MNT_ID))
		return 0;
	return info.stx_mnt_id;
}

static void do_mount(struct helper *helper)
{
	struct answer answer;
	uint64_t mounted;
	int fd = -1;

	helper->directory = realpath(helper->wanted, NULL);
	answer = (struct answer){.rc = helper->directory ? mount_here(helper, &fd) : -errno};
	answer.explained = message_fuse_explained();
	mounted = fd >= 0 ? mount_id(helper->directory) : 0;
	/* The server has died meanwhile; somebody may have mounted something else since. */
	if (send_answer(helper->fd, &answer, fd) && fd >= 0 &&
		mount_id(helper->directory) == mounted)
		(void)unmount(helper->directory, MNT_DETACH);
	if (fd >= 0)
		close(fd);
	if (answer.rc) {
		free(helper->directory);
		helper->directory = NULL;
		return;
	}
	if (helper->background)
		leave_terminal();
	message_use_log(helper->server, !helper->background);
}

static void do_unmount(struct helper *helper)
{
	struct answer answer = {.rc = -EAGAIN};
	pthread_t thread;

	if (pthread_create(&thread, NULL, unmount_main, helper))
		(void)send_answer(helper->fd, &answer, -1);
	else
		pthread_detach(thread);
}

/* `size` bytes, and a zero behind them. */
static void obey(struct helper *helper, const char *order, size_t size)
{
	switch (order[0]) {
	case ORDER_MOUNT:
		if (!helper->directory)
			do_mount(helper);
		break;
	case ORDER_UNMOUNT:
		if (helper->directory)
			do_unmount(helper);
		break;
	case ORDER_BREAK:
		if (helper->directory)
			(void)unmount(helper->directory, MNT_FORCE | MNT_DETACH);
		break;
	case ORDER_LOG: /* nothing that syslogd would tell every terminal */
		if (size > 2)
			message_log(order[1] < KV_ERROR ? KV_ERROR : (enum kv_severity)order[1],
				order + 2);
		break;
	default:
		break;
	}
}

__attribute__((noreturn)) static void helper_main(struct helper *helper)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	char order[ORDER_SIZE_MAX + 1];
	ssize_t got;
	size_t i;

	/* of a terminal or a service's end: the server decides what they mean */
	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	prctl(PR_SET_NAME, PROCESS_NAME);
	do {
		got = recv(helper->fd, order, ORDER_SIZE_MAX, 0);
		if (got > 0) {
			order[got] = '\0';
			obey(helper, order, (size_t)got);
		}
	} while (got > 0 || (got < 0 && errno == EINTR));
	_exit(0);
}

/* ---- for the server -------------------------------------------------------------------------- */

int mounter_start(const struct session_config *config, const char *directory, bool background,
	struct mounter **out)
{
	struct mounter *mounter = calloc(1, sizeof(*mounter));
	struct helper helper = {
		.config = config, .server = getpid(), .background = background, .wanted = directory};
	int fds[2];

	if (!mounter)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) {
		free(mounter);
		return -errno;
	}
	mounter->pid = fork();
	if (mounter->pid == 0) {
		close(fds[0]);
		helper.fd = fds[1];
		helper_main(&helper);
	}
	close(fds[1]);
	if (mounter->pid < 0) {
		int rc = -errno;

		close(fds[0]);
		free(mounter);
		return rc;
	}
	mounter->fd = fds[0];
	*out = mounter;
	return 0;
}

static int mounter_unmount(void *arg, bool force)
{
	struct mounter *mounter = arg;
	struct answer answer;
	int fd, rc = send_order(mounter->fd, force ? ORDER_BREAK : ORDER_UNMOUNT);

	return rc || force ? rc : receive_answer(mounter->fd, &answer, &fd);
}

static int mounter_mount(void *arg, int *fd)
{
	struct mounter *mounter = arg;
	struct answer answer = {0};
	int rc = send_order(mounter->fd, ORDER_MOUNT);

	if (!rc)
		rc = receive_answer(mounter->fd, &answer, fd);
	mounter->explained = answer.explained;
	/* it is mounted, but there was no room for one descriptor more: nobody could serve it */
	if (!rc && *fd < 0) {
		(void)mounter_unmount(mounter, true);
		rc = -EMFILE;
	}
	return rc;
}

const struct session_mounter mounter_session = {mounter_mount, mounter_unmount};

/*
 * Lost where the other process does not take it: it may wait for who reads the log, and nobody who
 * is served waits with it.
 */
void mounter_log(void *arg, enum kv_severity severity, const char *text)
{
	const struct mounter *mounter = arg;
	char head[2] = {ORDER_LOG, (char)severity};
	struct iovec parts[2] = {{head, sizeof(head)}, {(void *)text, strlen(text)}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	(void)sendmsg(mounter->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool mounter_explained(const struct mounter *mounter)
{
	return mounter->explained;
}

void mounter_end(struct mounter *mounter)
{
	if (!mounter)
		return;
	close(mounter->fd);
	while (waitpid(mounter->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(mounter);
}
