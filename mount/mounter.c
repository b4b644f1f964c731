/* SPDX-License-Identifier: MIT */
/*
 * mounter.c - the server's side of the process that mounts and unmounts (see mounter.h): starts it,
 * and gives it orders (mounter_orders.h). What it does with them: mounter_process.c.
 */
#include "mounter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "message.h"
#include "mounter_orders.h"
#include "mounter_process.h"

struct mounter {
	pid_t pid;
	int fd;
	bool explained;
};

/* ---- talking --------------------------------------------------------------------------------- */

static int receive_answer(int from, struct mounter_answer *answer, int *fd)
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
static int send_order(int to, enum mounter_order order)
{
	char byte = (char)order;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	return sendmsg(to, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* ---- for the server -------------------------------------------------------------------------- */

int mounter_start(const struct session_config *config, const char *directory, bool background,
	struct mounter **out)
{
	struct mounter *mounter = calloc(1, sizeof(*mounter));
	const struct mounter_task task = {.config = config,
		.directory = directory,
		.background = background,
		.server = getpid()};
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
		mounter_process(&task, fds[1]);
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
	struct mounter_answer answer;
	int fd, rc = send_order(mounter->fd, force ? ORDER_BREAK : ORDER_UNMOUNT);

	return rc || force ? rc : receive_answer(mounter->fd, &answer, &fd);
}

static int mounter_mount(void *arg, int *fd)
{
	struct mounter *mounter = arg;
	struct mounter_answer answer = {0};
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
