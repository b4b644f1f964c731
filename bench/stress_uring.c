/* SPDX-License-Identifier: MIT */
/*
 * stress_uring - answers requests from other threads than those that take them
 *
 * The test of mount/fuse3's patch and of session's end. A server keeps most of its requests back
 * and answers them from threads of its own, singly and in bursts, as kvfs answers an fsync.
 * Clients issue requests without a pause and check every answer. A round ends in the middle of
 * that by unmounting, by a signal to stop, or by killing the server. It fails if a client sees no
 * progress for a while (the hang of the unpatched library), a wrong answer, an error before the
 * end, or if anybody or the mount survives the end.
 *
 * Three processes: the watchdog, the server, the clients. The watchdog touches no file of the
 * mount.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

#define CLIENTS 8
#define ANSWERERS 3
#define FILES 64
#define READ_SIZE 4096
#define STALL_MS 5000 /* no progress of one client for so long is a hang */
#define END_MS 20000  /* and so long may an end take */

enum ending { END_STOP_SIGNAL, END_KILL, END_FORCE, END_UNMOUNT, ENDINGS };
static const char *const ending_names[] = {"signal", "kill", "forced unmount", "unmount"};

/* shared by the processes */
static struct shared {
	atomic_bool ending; /* errors are expected from now on */
	atomic_bool quit;   /* clients: finish */
	atomic_bool failed; /* a client saw a wrong answer */
	_Atomic uint64_t progress[CLIENTS];
	_Atomic uint64_t answered_elsewhere;
} * shared;

/* ---- server: handlers keep requests, answerers answer them */

enum kind { KIND_LOOKUP, KIND_GETATTR, KIND_OPEN, KIND_READ, KIND_WRITE, KIND_FSYNC };

struct job {
	struct job *next;
	fuse_req_t req;
	enum kind kind;
	fuse_ino_t ino;
	size_t size;
	off_t off;
	struct fuse_file_info file;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job *first, **last; /* protected by lock, as is stop */
	bool stop;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void attr_fill(fuse_ino_t ino, struct stat *attr)
{
	memset(attr, 0, sizeof(*attr));
	attr->st_ino = ino;
	attr->st_nlink = 1;
	attr->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
	attr->st_size = ino == FUSE_ROOT_ID ? 0 : 1 << 20;
}

static void block_fill(uint64_t *block, fuse_ino_t ino, off_t off)
{
	size_t i;

	for (i = 0; i < READ_SIZE / sizeof(*block); i++)
		block[i] = (uint64_t)ino << 40 ^ (uint64_t)off ^ i;
}

static void job_answer(const struct job *job)
{
	struct fuse_entry_param param = {.ino = job->ino};
	struct fuse_file_info file = job->file;
	uint64_t block[READ_SIZE / sizeof(uint64_t)];

	switch (job->kind) {
	case KIND_LOOKUP:
		attr_fill(job->ino, &param.attr);
		fuse_reply_entry(job->req, &param);
		break;
	case KIND_GETATTR:
		attr_fill(job->ino, &param.attr);
		fuse_reply_attr(job->req, &param.attr, 0);
		break;
	case KIND_OPEN:
		file.direct_io = 1;
		fuse_reply_open(job->req, &file);
		break;
	case KIND_READ:
		block_fill(block, job->ino, job->off);
		fuse_reply_buf(
			job->req, (char *)block, job->size < READ_SIZE ? job->size : READ_SIZE);
		break;
	case KIND_WRITE:
		fuse_reply_write(job->req, job->size);
		break;
	case KIND_FSYNC:
		fuse_reply_err(job->req, 0);
		break;
	}
}

static void *answerer_main(void *arg)
{
	uint64_t seed = 0x9e3779b97f4a7c15u ^ (uintptr_t)arg;
	bool bursts = (uintptr_t)arg == 0;

	pthread_mutex_lock(&queue.lock);
	for (;;) {
		struct job *job, *rest;

		while (!queue.first && !queue.stop)
			pthread_cond_wait(&queue.wake, &queue.lock);
		if (!queue.first)
			break;
		/* one answerer takes all there is after a while, the others one at a time */
		if (bursts) {
			pthread_mutex_unlock(&queue.lock);
			usleep((useconds_t)(random_next(&seed) % 200));
			pthread_mutex_lock(&queue.lock);
		}
		job = queue.first;
		if (!job)
			continue;
		rest = bursts ? NULL : job->next;
		if (!bursts)
			job->next = NULL;
		queue.first = rest;
		if (!rest)
			queue.last = &queue.first;
		pthread_mutex_unlock(&queue.lock);
		while (job) {
			struct job *next = job->next;

			job_answer(job);
			atomic_fetch_add_explicit(
				&shared->answered_elsewhere, 1, memory_order_relaxed);
			free(job);
			job = next;
		}
		pthread_mutex_lock(&queue.lock);
	}
	pthread_mutex_unlock(&queue.lock);
	return NULL;
}

/* Answers at once one time in four, else leaves it to an answerer. */
static void job_take(struct job wanted)
{
	static _Thread_local uint64_t seed;
	struct job *job;

	if (!seed)
		seed = (uintptr_t)&seed | 1;
	if (random_next(&seed) % 4 == 0) {
		job_answer(&wanted);
		return;
	}
	job = malloc(sizeof(*job));
	if (!job)
		abort();
	*job = wanted;
	pthread_mutex_lock(&queue.lock);
	*queue.last = job;
	queue.last = &job->next;
	pthread_cond_signal(&queue.wake);
	pthread_mutex_unlock(&queue.lock);
}

static void stress_init(void *userdata, struct fuse_conn_info *conn)
{
	session_negotiate(conn, 0);
}

static void stress_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	if (parent != FUSE_ROOT_ID || *end || number >= FILES)
		fuse_reply_err(req, ENOENT);
	else
		job_take((struct job){.req = req, .kind = KIND_LOOKUP, .ino = number + 2});
}

static void stress_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	job_take((struct job){.req = req, .kind = KIND_GETATTR, .ino = ino});
}

static void stress_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	job_take((struct job){.req = req, .kind = KIND_OPEN, .ino = ino, .file = *file});
}

static void stress_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *file)
{
	job_take((struct job){.req = req, .kind = KIND_READ, .ino = ino, .size = size, .off = off});
}

static void stress_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	struct fuse_file_info *file)
{
	uint64_t block[READ_SIZE / sizeof(uint64_t)];

	block_fill(block, ino, off);
	if (size > READ_SIZE || memcmp(block, data, size)) {
		fuse_reply_err(req, EIO);
		return;
	}
	job_take((struct job){.req = req, .kind = KIND_WRITE, .ino = ino, .size = size});
}

static void stress_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *file)
{
	job_take((struct job){.req = req, .kind = KIND_FSYNC, .ino = ino});
}

static const struct fuse_lowlevel_ops stress_ops = {
	.init = stress_init,
	.lookup = stress_lookup,
	.getattr = stress_getattr,
	.open = stress_open,
	.read = stress_read,
	.write = stress_write,
	.fsync = stress_fsync,
};

/* Serves until the end; writes the transport's name to ready_fd once it is mounted. */
static int server_main(const struct session_config *config, const char *dir, int ready_fd)
{
	pthread_t answerers[ANSWERERS];
	struct session *session;
	uintptr_t i;
	int rc;

	queue.last = &queue.first;
	for (i = 0; i < ANSWERERS; i++)
		if (pthread_create(&answerers[i], NULL, answerer_main, (void *)i))
			return 1;
	rc = session_open(config, &stress_ops, NULL, &session);
	if (rc)
		return 1;
	rc = session_mount(session, dir);
	if (!rc) {
		dprintf(ready_fd, "%s", session_transport_name(session));
		close(ready_fd);
		rc = session_run(session);
	}
	pthread_mutex_lock(&queue.lock);
	queue.stop = true;
	pthread_cond_broadcast(&queue.wake);
	pthread_mutex_unlock(&queue.lock);
	for (i = 0; i < ANSWERERS; i++)
		pthread_join(answerers[i], NULL);
	session_close(session);
	return rc ? 1 : 0;
}

/* ---- clients */

static const char *client_dir;

/* One request or a few; 0, an errno, or -1 for a wrong answer. */
static int client_step(uint64_t *seed, int *fd, fuse_ino_t *ino)
{
	uint64_t block[READ_SIZE / sizeof(uint64_t)], expected[READ_SIZE / sizeof(uint64_t)];
	unsigned int file = random_next(seed) % FILES;
	off_t off = (off_t)(random_next(seed) % 256 * READ_SIZE);
	char path[4096];
	struct stat attr;

	switch (random_next(seed) % 16) {
	case 0: /* another file */
		if (*fd >= 0)
			close(*fd);
		snprintf(path, sizeof(path), "%s/%u", client_dir, file);
		*fd = open(path, O_RDWR | O_CLOEXEC);
		*ino = file + 2;
		return *fd < 0 ? errno : 0;
	case 1 ... 7:
		snprintf(path, sizeof(path), "%s/%u", client_dir, file);
		if (stat(path, &attr))
			return errno;
		return attr.st_ino == file + 2 ? 0 : -1;
	case 8 ... 12:
		if (*fd < 0)
			return 0;
		if (pread(*fd, block, sizeof(block), off) < 0)
			return errno;
		block_fill(expected, *ino, off);
		return memcmp(block, expected, sizeof(block)) ? -1 : 0;
	case 13 ... 14:
		if (*fd < 0)
			return 0;
		block_fill(block, *ino, off);
		return pwrite(*fd, block, sizeof(block), off) < 0 ? errno : 0;
	default:
		return *fd >= 0 && fsync(*fd) ? errno : 0;
	}
}

static void *client_main(void *arg)
{
	uintptr_t number = (uintptr_t)arg;
	uint64_t seed = (number + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)time(NULL);
	fuse_ino_t ino = 0;
	int fd = -1;

	while (!atomic_load_explicit(&shared->quit, memory_order_relaxed)) {
		int error = client_step(&seed, &fd, &ino);

		atomic_fetch_add_explicit(&shared->progress[number], 1, memory_order_relaxed);
		if (!error)
			continue;
		if (error > 0 && atomic_load(&shared->ending))
			break;
		fprintf(stderr, "client %zu: %s\n", (size_t)number,
			error < 0 ? "a wrong answer" : strerror(error));
		atomic_store(&shared->failed, true);
		break;
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static int clients_main(void)
{
	pthread_t clients[CLIENTS];
	uintptr_t i;

	for (i = 0; i < CLIENTS; i++)
		if (pthread_create(&clients[i], NULL, client_main, (void *)i))
			return 1;
	for (i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	return 0;
}

/* ---- watchdog */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits for a child's end; -ETIMEDOUT, or its status. */
static int child_wait(pid_t pid, unsigned int limit_ms)
{
	uint64_t until = now_ms() + limit_ms;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now_ms() > until)
			return -ETIMEDOUT;
		usleep(10000);
	}
	return status;
}

/* Kills what is left of a round. A client cannot die before the kernel gives up on its request. */
static void round_kill(const char *dir, pid_t server, pid_t clients)
{
	kill(clients, SIGKILL);
	kill(server, SIGKILL);
	umount2(dir, MNT_FORCE | MNT_DETACH);
	if (child_wait(server, END_MS) == -ETIMEDOUT || child_wait(clients, END_MS) == -ETIMEDOUT)
		fprintf(stderr, "a process survives SIGKILL\n");
}

/* Lets the clients run; false if one of them stands still. */
static bool watch(unsigned int duration_ms)
{
	uint64_t seen[CLIENTS] = {0}, since[CLIENTS], until = now_ms() + duration_ms;
	size_t i;

	for (i = 0; i < CLIENTS; i++)
		since[i] = now_ms();
	while (now_ms() < until && !atomic_load(&shared->failed)) {
		usleep(20000);
		for (i = 0; i < CLIENTS; i++) {
			uint64_t progress = atomic_load(&shared->progress[i]);

			if (progress != seen[i]) {
				seen[i] = progress;
				since[i] = now_ms();
			} else if (now_ms() - since[i] > STALL_MS) {
				fprintf(stderr, "client %zu hangs after %llu requests\n", i,
					(unsigned long long)progress);
				return false;
			}
		}
		/* a hang may have started near the end: do not stop before it shows */
		for (i = 0; i < CLIENTS; i++)
			if (now_ms() - since[i] > 500 && until < now_ms() + 100)
				until = now_ms() + 100;
	}
	return !atomic_load(&shared->failed);
}

/* Ends the round in the given way; false if somebody or the mount survives it. */
static bool round_end(enum ending ending, const char *dir, pid_t server, pid_t clients)
{
	int status;

	atomic_store(&shared->ending, true);
	switch (ending) {
	case END_UNMOUNT:
		atomic_store(&shared->quit, true);
		if (child_wait(clients, END_MS) == -ETIMEDOUT)
			goto stuck;
		clients = 0;
		if (umount2(dir, 0)) {
			fprintf(stderr, "unmount: %s\n", strerror(errno));
			return false;
		}
		break;
	case END_FORCE:
		umount2(dir, MNT_FORCE | MNT_DETACH);
		break;
	case END_STOP_SIGNAL:
		kill(server, SIGTERM);
		break;
	default:
		kill(server, SIGKILL);
		break;
	}

	status = child_wait(server, END_MS);
	if (status == -ETIMEDOUT) {
		fprintf(stderr, "the server does not end\n");
		return false;
	}
	if (ending == END_KILL) {
		umount2(dir, MNT_DETACH);
	} else if (status) {
		fprintf(stderr, "the server ended with %s %d\n",
			WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		return false;
	}
	if (clients && child_wait(clients, END_MS) == -ETIMEDOUT)
		goto stuck;
	if (!umount2(dir, MNT_DETACH)) {
		fprintf(stderr, "the mount was still there\n");
		return false;
	}
	return true;
stuck:
	fprintf(stderr, "a client does not return\n");
	return false;
}

static bool round_run(const struct session_config *config, const char *dir, enum ending ending,
	unsigned int duration_ms)
{
	char transport[32] = "";
	pid_t server, clients;
	uint64_t total = 0;
	int ready[2];
	bool good;
	size_t i;

	memset(shared, 0, sizeof(*shared));
	if (pipe2(ready, O_CLOEXEC))
		return false;
	server = fork();
	if (!server) {
		close(ready[0]);
		_exit(server_main(config, dir, ready[1]));
	}
	close(ready[1]);
	if (read(ready[0], transport, sizeof(transport) - 1) <= 0) {
		close(ready[0]);
		fprintf(stderr, "the server did not start\n");
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
		return false;
	}
	close(ready[0]);
	clients = fork();
	if (!clients)
		_exit(clients_main());

	good = watch(duration_ms) && round_end(ending, dir, server, clients) &&
	       !atomic_load(&shared->failed);
	if (!good)
		round_kill(dir, server, clients);
	for (i = 0; i < CLIENTS; i++)
		total += atomic_load(&shared->progress[i]);
	printf("%s: %llu requests, %llu answered from elsewhere, ended by %s: %s\n", transport,
		(unsigned long long)total,
		(unsigned long long)atomic_load(&shared->answered_elsewhere), ending_names[ending],
		good ? "ok" : "FAILED");
	fflush(stdout);
	return good;
}

static void usage(void)
{
	fprintf(stderr, "usage: stress_uring [-q] [-s SECONDS] [-o io_uring|no_io_uring]\n"
			"  -q  5 seconds instead of 24\n");
	exit(2);
}

int main(int argc, char **argv)
{
	struct session_config config = {.source = "stress", .subtype = "stress"};
	char dir[] = "/tmp/stress_uring.XXXXXX";
	unsigned int seconds = 24, round, rounds = 12;
	bool good = true;
	int opt;

	while ((opt = getopt(argc, argv, "qs:o:")) != -1) {
		if (opt == 'q')
			seconds = 5;
		else if (opt == 's')
			seconds = (unsigned int)atoi(optarg);
		else if (opt != 'o' || !session_config_option(&config, optarg))
			usage();
	}
	if (geteuid()) {
		fprintf(stderr, "stress_uring: needs root to mount and to unmount by force\n");
		return 77; /* meson: skipped */
	}
	if (config.transport == SESSION_AUTO && session_uring_missing())
		printf("without io_uring: %s\n", session_uring_missing());
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || !mkdtemp(dir)) {
		perror("stress_uring");
		return 1;
	}
	client_dir = dir;
	for (round = 0; round < rounds && good; round++)
		good = round_run(
			&config, dir, (enum ending)(round % ENDINGS), seconds * 1000 / rounds);
	rmdir(dir);
	return good ? 0 : 1;
}
