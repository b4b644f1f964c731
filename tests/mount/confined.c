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
#include <liburing.h>
#include <linux/landlock.h>
#include <poll.h>
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
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"
#include "session_rings.h"

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

/* Of a file that is open to read alone. */
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

static bool has_mode(const char *directory, const char *name, mode_t mode)
{
	char path[4096];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return !stat(path, &st) && (st.st_mode & 07777) == mode;
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
	must(has_mode(store, "new", 0600), "its mode, whatever the umask was");
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

/* ---- rings ----------------------------------------------------------------------------------- */

#define ENGINE_RING_ENTRIES 4
#define LIBRARY_RING_ENTRIES 9
#define LIBRARY_RINGS_MAX 1024

struct rings {
	struct io_uring own; /* that nobody restricts */
	struct io_uring_params engine_params; /* how the kernel lays out such a ring */
	struct io_uring library[LIBRARY_RINGS_MAX];
	int library_count;
	int abstract_client, abstract_listener;
	struct sockaddr_un abstract;
	long landlock;
};

/* Not all kernels, and not all sandboxes, have any. */
static bool rings_init(struct rings *rings)
{
	struct io_uring engine;

	rings->landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (io_uring_queue_init(4, &rings->own, 0) < 0)
		return false;
	if (io_uring_queue_init_params(ENGINE_RING_ENTRIES, &engine, &rings->engine_params) < 0)
		return false;
	io_uring_queue_exit(&engine);
	rings->abstract = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(rings->abstract.sun_path + 1, sizeof(rings->abstract.sun_path) - 1, "kvfs confined %d", (int)getpid());
	rings->abstract_client = socket(AF_UNIX, SOCK_STREAM, 0);
	rings->abstract_listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(rings->abstract_listener, (struct sockaddr *)&rings->abstract, sizeof(rings->abstract)) ||
		listen(rings->abstract_listener, 4)) {
		perror("an abstract socket to be tried");
		exit(2);
	}
	session_rings_make();
	return true;
}

/* What comes of what was asked for last. */
static int ring_answer(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int rc = io_uring_submit_and_wait(ring, 1);

	if (rc >= 0)
		rc = io_uring_wait_cqe(ring, &cqe);
	if (rc < 0)
		return rc;
	rc = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return rc;
}

/* What is not allowed is refused before anything of it is looked at. */
static void try_ring(struct io_uring *ring, const char *store, const char *whose)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_rw(IORING_OP_SOCKET, sqe, AF_UNIX, NULL, 0, SOCK_STREAM);
	must_not(ring_answer(ring) != -EACCES, true, whose);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_openat(sqe, AT_FDCWD, store, O_RDONLY, 0);
	must_not(ring_answer(ring) != -EACCES, true, whose);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_nop(sqe);
	must_not(ring_answer(ring) != -EACCES, true, whose);
}

/* As the library does it. */
static bool take_library_ring(struct io_uring *ring)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SQE128 | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
		.cq_entries = 2 * LIBRARY_RING_ENTRIES};

	return io_uring_queue_init_params(LIBRARY_RING_ENTRIES, ring, &params) == 0;
}

static void try_library_rings(struct rings *rings, const char *store)
{
	int *count = &rings->library_count;

	while (*count < LIBRARY_RINGS_MAX && take_library_ring(&rings->library[*count])) {
		struct io_uring *ring = &rings->library[(*count)++];

		try_ring(ring, store, "asking a ring of the library's for something else");
		io_uring_prep_poll_add(io_uring_get_sqe(ring), STDOUT_FILENO, POLLOUT);
		must(ring_answer(ring) != -EACCES, "a poll by a ring of the library's");
	}
	must(*count == get_nprocs_conf(), "a ring of the library's for each processor, and no more");
}

static bool is_engine_ring(const struct rings *rings, int fd)
{
	char name[64], target[64];
	ssize_t length;

	for (int i = 0; i < rings->library_count; i++)
		if (rings->library[i].ring_fd == fd)
			return false;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	length = readlink(name, target, sizeof(target) - 1);
	if (length < 0 || fd == rings->own.ring_fd)
		return false;
	target[length] = '\0';
	return !strcmp(target, "anon_inode:[io_uring]");
}

static void try_engine_ring(const struct rings *rings, const char *store)
{
	struct io_uring_params params = rings->engine_params;
	struct io_uring ring;
	int fd, found = 0;

	for (fd = 3; fd < LIBRARY_RINGS_MAX + 64; fd++) {
		if (!is_engine_ring(rings, fd))
			continue;
		found++;
		errno = -io_uring_queue_mmap(fd, &params, &ring);
		must(!errno, "the engine's ring");
		if (!errno)
			try_ring(&ring, store, "asking the engine's ring for something else");
		must_not(io_uring_register_files(&ring, &fd, 1) >= 0, true, "registering by the engine's ring");
	}
	must(found == 1, "one ring of the engine's");
}

/* What Landlock refuses by itself, from its sixth version on. */
static void try_own_ring(struct rings *rings)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&rings->own);

	io_uring_prep_connect(
		sqe, rings->abstract_client, (struct sockaddr *)&rings->abstract, sizeof(rings->abstract));
	must_not(ring_answer(&rings->own) >= 0, files && rings->landlock >= 6, "connecting to somebody's abstract socket");
}

static void try_rings(struct rings *rings, const char *store)
{
	struct io_uring another;

	must_not(io_uring_queue_init(4, &another, 0) >= 0, calls, "making a ring");
	if (!calls)
		return;
	try_library_rings(rings, store);
	try_engine_ring(rings, store);
	try_own_ring(rings);
}

/* ---- others ---------------------------------------------------------------------------------- */

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
	must_not(changes_mode(store, "plain", 0600), calls, "closing a file, as of a library, to others");
	must_not(opens(store, "plain", O_RDONLY | O_TRUNC), calls, "emptying a file that is opened to read");
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
	static struct rings rings;
	struct before before;
	bool ringed;
	int rc;

	if (argc != 3)
		return 2;
	before_init(&before, argv[2]);
	ringed = rings_init(&rings);
	umask(0777);
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
	if (ringed)
		try_rings(&rings, argv[1]);
	return failures ? 1 : 0;
}
