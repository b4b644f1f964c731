/* SPDX-License-Identifier: MIT */
/*
 * daemon.c - going into the background (see daemon.h).
 *
 * The child tells by one byte through a pipe; that the pipe ends without it tells the opposite. It
 * joins a session of its own only then, so that an interrupt from the terminal before reaches it
 * too.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "message.h"

static int wait_code(pid_t pid, int failure_code)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return failure_code;
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status) ? WEXITSTATUS(status) : failure_code;
	message(KV_ERROR, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	return failure_code;
}

int daemon_start(int failure_code, int *ready_fd)
{
	ssize_t got;
	int fds[2];
	char byte;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int rc = -errno;

		close(fds[0]);
		close(fds[1]);
		return rc;
	}
	if (pid == 0) {
		close(fds[0]);
		*ready_fd = fds[1];
		return 0;
	}
	close(fds[1]);
	do {
		got = read(fds[0], &byte, 1);
	} while (got < 0 && errno == EINTR);
	_exit(got == 1 ? 0 : wait_code(pid, failure_code));
}

void daemon_ready(int ready_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fd;

	setsid();
	for (fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	/* nobody may be left to read it */
	if (write(ready_fd, "", 1) != 1)
		message(KV_WARNING, "the process that started the mount has gone");
	close(ready_fd);
}
