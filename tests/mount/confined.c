/* SPDX-License-Identifier: MIT */
/*
 * confined.c - confines itself as a server does, and tries what a server that has been taken over would try.
 *
 *	confined STORE OUTSIDE
 *
 * STORE is a directory to be confined to; OUTSIDE one with a file `file` in it. Exit code: 0 as it should be, 1 not (it
 * says what), 77 this kernel, or this build, confines nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"

static bool files, calls;
static int failures;

/* confine.c tells of errors through this */
void message(int severity, const char *format, ...);
void message(int severity, const char *format, ...)
{
}

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	printf("%s: %s\n", what, strerror(errno));
	failures++;
}

/* It is refused, where this kernel can. */
static void must_not(bool possible, bool can, const char *what)
{
	if (can && possible) {
		printf("%s: possible\n", what);
		failures++;
	}
}

static bool opens_with(const char *directory, const char *name, int how, mode_t mode)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, how, mode);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool opens(const char *directory, const char *name, int how)
{
	return opens_with(directory, name, how, 0600);
}

static bool changes_mode(const char *directory, const char *name, mode_t mode)
{
	char path[4096];
	bool changed;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDONLY);
	changed = fd >= 0 && !fchmod(fd, mode);
	if (fd >= 0)
		close(fd);
	return changed;
}

static bool executes(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void *thread_main(void *arg)
{
	*(bool *)arg = true;
	return NULL;
}

static bool threads(void)
{
	bool ran = false;
	pthread_t thread;

	if (pthread_create(&thread, NULL, thread_main, &ran))
		return false;
	pthread_join(thread, NULL);
	return ran;
}

static void try_allowed(const char *store)
{
	cpu_set_t processors;
	struct stat st;

	must(opens(store, "new", O_RDWR | O_CREAT | O_EXCL), "making a file in the store");
	must(opens(store, "new", O_RDWR), "opening it");
	must(changes_mode(store, "new", 0600), "making it private");
	must(!chdir(store) && !rename("new", "newer") && !unlink("newer"), "renaming and removing it");
	must(opens("/proc/self", "status", O_RDONLY), "opening /proc/self/status");
	must(threads(), "starting a thread");
	must(!stat("/", &st), "stat");
	must(fcntl(STDOUT_FILENO, F_GETFL) >= 0, "asking for a descriptor's flags");
	must(!raise(0), "a signal to itself");
	must(!sched_getaffinity(0, sizeof(processors), &processors) &&
			!sched_setaffinity(0, sizeof(processors), &processors),
		"choosing processors");
}

/* What was made before can still be used. */
struct before {
	int socket;   /* connected to nothing */
	int listener; /* with a path outside */
	struct sockaddr_un path;
	int pipe[2];
};

static void before_init(struct before *before, const char *outside)
{
	before->path = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(before->path.sun_path, sizeof(before->path.sun_path), "%s/socket", outside);
	(void)unlink(before->path.sun_path);
	before->socket = socket(AF_UNIX, SOCK_STREAM, 0);
	before->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (before->socket < 0 || before->listener < 0 || pipe(before->pipe) ||
		bind(before->listener, (struct sockaddr *)&before->path, sizeof(before->path)) ||
		listen(before->listener, 4)) {
		perror("a socket to be tried");
		exit(2);
	}
}

static void try_others(const struct before *before)
{
	const pid_t other = getppid();
	struct f_owner_ex owner = {F_OWNER_PID, other};
	cpu_set_t processors;
	int pair[2];

	must_not(socket(AF_UNIX, SOCK_STREAM, 0) >= 0, calls, "a local socket");
	must_not(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), calls, "a pair of sockets");
	must_not(!connect(before->socket, (const struct sockaddr *)&before->path, sizeof(before->path)), calls,
		"connecting to somebody's socket");
	must_not(!syscall(SYS_tgkill, other, other, 0), calls, "a signal to somebody else");
	must_not(!kill(other, 0), calls, "a signal by number");
	must_not(!fcntl(before->pipe[0], F_SETOWN, other), calls, "having a signal sent to somebody else");
	must_not(!fcntl(before->pipe[0], F_SETOWN_EX, &owner), calls, "the same by the other call");
	must_not(!sched_getaffinity(other, sizeof(processors), &processors) &&
			!sched_setaffinity(other, sizeof(processors), &processors),
		calls, "somebody else's processors");
	must_not(!setpriority(PRIO_PROCESS, (id_t)other, getpriority(PRIO_PROCESS, (id_t)other)), calls,
		"somebody else's priority");
}

/* By which somebody else would get root's rights. */
static void try_modes(const char *store)
{
	struct stat st;

	must(!stat(store, &st), "stat of the store");
	must_not(opens_with(store, "set-id", O_WRONLY | O_CREAT, 04755), calls, "making a set-user-id program");
	must_not(opens_with(store, ".", O_WRONLY | O_TMPFILE, 02755), calls, "making a set-group-id program without a name");
	must(opens_with(store, "plain", O_WRONLY | O_CREAT, 0644), "making a file");
	must_not(changes_mode(store, "plain", 04755), calls, "making a program set-user-id");
	must_not(changes_mode(store, "plain", 0666), calls, "letting others write to a file");
	must_not(geteuid() == 0 && st.st_uid != 0 && opens("/usr/bin", "env", O_RDONLY), files,
		"opening a program that could be given away");
}

static void try_refused(const char *outside)
{
	must_not(opens(outside, "file", O_RDONLY), files, "reading a file outside");
	must_not(opens(outside, "file", O_WRONLY), files, "writing a file outside");
	must_not(opens(outside, "new", O_WRONLY | O_CREAT), files, "making a file outside");
	must_not(opens("/etc", "shadow", O_RDONLY), files, "reading /etc/shadow");
	must_not(executes(), calls, "running a program");
	must_not(socket(AF_INET, SOCK_STREAM, 0) >= 0, calls, "a socket to the network");
	must_not(!mount("none", outside, "tmpfs", 0, NULL), true, "mounting");
	must_not(!chown(outside, 1, 1), geteuid() == 0, "giving a file away");
	must_not(!ptrace(PTRACE_TRACEME, 0, NULL, NULL), calls, "being traced");
	must_not(!setuid(0) && !mknod("device", S_IFCHR | 0600, 0), true, "making a device");
}

int main(int argc, char **argv)
{
	struct before before;
	int rc;

	if (argc != 3)
		return 2;
	before_init(&before, argv[2]);
	rc = confine(argv[1], NULL);
	if (rc) {
		printf("confine: %s\n", strerror(-rc));
		return 1;
	}
	files = strstr(confine_state(), "files");
	calls = strstr(confine_state(), "calls");
	printf("confined: %s\n", confine_state());
	if (!strcmp(confine_state(), "none"))
		return 77;
	try_allowed(argv[1]);
	try_modes(argv[1]);
	try_refused(argv[2]);
	try_others(&before);
	return failures ? 1 : 0;
}
