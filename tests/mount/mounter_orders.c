/* SPDX-License-Identifier: MIT */
/*
 * mounter_orders.c - gives the process that mounts the orders that a server would which has been
 * taken over.
 *
 *	mounter_orders [SEED]
 *
 * In a mount namespace of its own, in a tmpfs on /tmp. Exit code: 0 as it should be, 1 not (it says
 * what, and the seed), 77 it cannot be tried here.
 *
 * What the mounter would log is counted here (message_log), in memory that is shared with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "message.h"
#include "message_budget.h"
#include "mounter_orders.h"
#include "mounter_process.h"

#define PLACE "/tmp/place"
#define OTHER "/tmp/other"
#define ROUNDS 8
#define ORDERS 2000
#define PATIENCE_MS 30000

struct counts {
	atomic_ulong lines, bytes, left_out, wrong;
};

/* The process, and what is here of it. */
struct subject {
	pid_t pid;
	int fd;
	int device; /* -1: not mounted */
};

static struct counts *counts;
static uint64_t seed = 1;
static uint64_t state;
static int failures;

/* ---- instead of message.c -------------------------------------------------------------------- */

void message_log(enum kv_severity severity, const char *text)
{
	unsigned long left_out;
	bool wrong = severity != KV_ERROR && severity != KV_WARNING && severity != KV_INFO;

	for (const char *at = text; *at; at++)
		wrong |= (unsigned char)*at < ' ' || *at == '\x7f';
	if (wrong || strlen(text) >= MESSAGE_SIZE_MAX)
		atomic_fetch_add(&counts->wrong, 1);
	if (strstr(text, " messages were left out") && sscanf(text, "%lu", &left_out) == 1) {
		atomic_fetch_add(&counts->left_out, left_out);
		return;
	}
	atomic_fetch_add(&counts->lines, 1);
	atomic_fetch_add(&counts->bytes, strlen(text));
}

void message(enum kv_severity severity, const char *format, ...)
{
	char text[MESSAGE_SIZE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	message_log(severity, text);
}

void message_use_log(pid_t pid, bool and_terminal)
{
}

bool message_fuse_explained(void)
{
	return false;
}

/* ---- what there is --------------------------------------------------------------------------- */

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	printf("%s (seed %llu)\n", what, (unsigned long long)seed);
	failures++;
}

static void need(bool holds, const char *what)
{
	if (holds)
		return;
	printf("%s: %s\n", what, strerror(errno));
	exit(failures ? 1 : 77);
}

/* xorshift64* */
static uint32_t any(uint32_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % below;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* The number of the mount on top at a place. */
static uint64_t top(const char *path)
{
	struct statx info;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_MNT_ID, &info))
		return 0;
	return info.stx_mnt_id;
}

static bool is_mounted(uint64_t id)
{
	FILE *table = fopen("/proc/self/mountinfo", "r");
	char line[4096];
	bool found = false;

	while (table && !found && fgets(line, sizeof(line), table))
		found = strtoull(line, NULL, 10) == id;
	if (table)
		fclose(table);
	return found;
}

static uint64_t mount_guard(const char *path)
{
	need(!mount("guard", path, "tmpfs", 0, NULL), path);
	return top(path);
}

/* A line of /proc/PID/status. */
static unsigned long field(const struct subject *subject, const char *name)
{
	char path[64], line[256];
	unsigned long value = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)subject->pid);
	status = fopen(path, "r");
	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			value = strtoul(line + strlen(name) + 1, NULL, 10);
	if (status)
		fclose(status);
	return value;
}

static unsigned descriptors(const struct subject *subject)
{
	char path[64];
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)subject->pid, fd);
		if (!faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW))
			count++;
	}
	return count;
}

/* ---- orders ---------------------------------------------------------------------------------- */

static void start(struct subject *subject)
{
	static const struct session_config config = {
		.source = "orders", .subtype = "kvfs", .transport = SESSION_DEVICE};
	const struct mounter_task task = {
		.config = &config, .directory = PLACE, .background = false, .server = getpid()};
	int fds[2];

	memset(counts, 0, sizeof(*counts));
	need(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), "sockets");
	*subject = (struct subject){.fd = fds[0], .device = -1};
	fflush(stdout);
	subject->pid = fork();
	if (subject->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		mounter_process(&task, fds[1]);
	}
	need(subject->pid > 0, "fork");
	close(fds[1]);
}

/* With a descriptor, unless it is -1. */
static void order(const struct subject *subject, const char *bytes, size_t size, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {(void *)bytes, size};
	struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd >= 0) {
		packet.msg_control = control.bytes;
		packet.msg_controllen = sizeof(control.bytes);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	/* whether it is still there is asked in the end */
	(void)sendmsg(subject->fd, &packet, MSG_NOSIGNAL);
}

static void say(const struct subject *subject, char what, unsigned times)
{
	while (times-- > 0)
		order(subject, &what, 1, -1);
}

/* Until all that was ordered has been obeyed, but for what a thread still does. */
static void settle(const struct subject *subject)
{
	int unread = 1, waited_ms = 0;

	say(subject, '.',
		2); /* when the second is taken, the first and all before have been done */
	while (!ioctl(subject->fd, SIOCOUTQ, &unread) && unread > 0 && waited_ms++ < PATIENCE_MS)
		nap();
	must(unread == 0, "an order waits for ever");
}

static void settle_threads(const struct subject *subject)
{
	int waited_ms = 0;

	settle(subject);
	while (field(subject, "Threads") > 1 && waited_ms++ < PATIENCE_MS)
		nap();
}

/* Its result, or 1 if there is none. The descriptor of a mount is kept. */
static int answer(struct subject *subject, int flags)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct mounter_answer got = {0};
	struct iovec part = {&got, sizeof(got)};
	struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};

	packet.msg_control = control.bytes;
	packet.msg_controllen = sizeof(control.bytes);
	if (recvmsg(subject->fd, &packet, flags | MSG_CMSG_CLOEXEC) != sizeof(got))
		return 1;
	if (CMSG_FIRSTHDR(&packet)) {
		must(subject->device < 0, "it mounts twice");
		memcpy(&subject->device, CMSG_DATA(&control.header), sizeof(subject->device));
	}
	return got.rc;
}

static void drain(struct subject *subject)
{
	while (answer(subject, MSG_DONTWAIT) <= 0)
		;
}

/* Mounts, and gives the mount's number. */
static uint64_t start_mounted(struct subject *subject)
{
	start(subject);
	say(subject, ORDER_MOUNT, 1);
	must(answer(subject, 0) == 0 && subject->device >= 0, "it does not mount");
	return top(PLACE);
}

/* It ends when the other end of the sockets does, at once and of itself. */
static void finish(struct subject *subject)
{
	int status = -1, waited_ms = 0;

	close(subject->fd);
	while (waitpid(subject->pid, &status, WNOHANG) == 0 && waited_ms++ < PATIENCE_MS)
		nap();
	must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it does not end with its server");
	if (waited_ms >= PATIENCE_MS) {
		kill(subject->pid, SIGKILL);
		waitpid(subject->pid, NULL, 0);
	}
	if (subject->device >= 0)
		close(subject->device);
	must(atomic_load(&counts->wrong) == 0, "a message of a wrong form is logged");
}

/* ---- cases ----------------------------------------------------------------------------------- */

/* Whatever is below its mount, or above, or comes later. */
static void spares_others(void)
{
	uint64_t below = mount_guard(PLACE), above, ours;
	struct subject subject;

	ours = start_mounted(&subject);
	say(&subject, ORDER_UNMOUNT, 1);
	must(answer(&subject, 0) == 0 && !is_mounted(ours), "it does not unmount");
	say(&subject, ORDER_UNMOUNT, 1);
	must(answer(&subject, 0) < 0, "it unmounts twice");
	say(&subject, ORDER_BREAK, 3);
	say(&subject, ORDER_MOUNT, 3);
	settle_threads(&subject);
	must(is_mounted(below) && top(PLACE) == below,
		"what was there before is unmounted, or mounted on");
	finish(&subject);

	ours = start_mounted(&subject);
	above = mount_guard(PLACE);
	say(&subject, ORDER_UNMOUNT, 1);
	must(answer(&subject, 0) < 0, "it unmounts what is above");
	say(&subject, ORDER_BREAK, 3);
	settle(&subject);
	must(is_mounted(above) && top(PLACE) == above, "what is above is unmounted");
	must(is_mounted(ours) && is_mounted(below), "something below is unmounted");
	need(!umount2(PLACE, 0), "unmounting");
	say(&subject, ORDER_BREAK, 1);
	settle(&subject);
	must(!is_mounted(ours) && is_mounted(below), "it does not break off");
	finish(&subject);
	need(!umount2(PLACE, 0), "unmounting");
}

/* The one that there is waits for a server that does not answer. */
static void unmounts_one_at_a_time(void)
{
	struct subject subject;
	uint64_t ours = start_mounted(&subject);
	int user = open(PLACE, O_PATH | O_CLOEXEC);

	say(&subject, ORDER_UNMOUNT, 300);
	settle(&subject);
	must(field(&subject, "Threads") <= 2, "more than one unmount at a time");
	say(&subject, ORDER_BREAK, 1);
	close(user);
	settle_threads(&subject);
	must(!is_mounted(ours), "an unmount that waits is not broken off");
	drain(&subject);
	finish(&subject);
}

/* A server that ends while an unmount waits for it. */
static void ends_while_it_unmounts(void)
{
	struct subject subject;
	uint64_t ours = start_mounted(&subject);
	int user = open(PLACE, O_PATH | O_CLOEXEC);

	say(&subject, ORDER_UNMOUNT, 1);
	settle(&subject);
	close(subject.device); /* as the end of a process does */
	subject.device = -1;
	finish(&subject);
	close(user);
	must(is_mounted(ours), "it unmounts what is in use");
	need(!umount2(PLACE, MNT_DETACH), "unmounting");
}

/* An empty message is taken for the end: there is nothing more to be had then. */
static void ends_at_nothing(void)
{
	struct subject subject;
	uint64_t ours = start_mounted(&subject);

	order(&subject, "", 0, -1);
	say(&subject, ORDER_BREAK, 1);
	finish(&subject);
	must(is_mounted(ours), "it goes on behind its end");
	need(!umount2(PLACE, MNT_DETACH), "unmounting");
}

static void logs_so_much(void)
{
	static char message_bytes[ORDER_SIZE_MAX + 100];
	const unsigned long sent = 20000;
	struct timespec began, ended;
	struct subject subject;
	unsigned long limit;

	start(&subject);
	message_bytes[0] = ORDER_LOG;
	order(&subject, "l\6too early", 11, -1);
	settle(&subject);
	must(atomic_load(&counts->lines) == 0, "it logs before it has mounted");
	clock_gettime(CLOCK_MONOTONIC, &began);
	say(&subject, ORDER_MOUNT, 1);
	must(answer(&subject, 0) == 0, "it does not mount");
	for (unsigned long i = 0; i < sent; i++) {
		size_t size = any(100) == 0 ? 3 + any(sizeof(message_bytes) - 3) : 3 + any(200);

		for (size_t at = 1; at < size; at++)
			message_bytes[at] = (char)(1 + any(255));
		order(&subject, message_bytes, size, -1);
	}
	settle(&subject);
	finish(&subject);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	limit = MESSAGE_BUDGET_BYTES +
		(unsigned long)(ended.tv_sec - began.tv_sec + 1) * MESSAGE_BUDGET_BYTES_PER_S;
	must(atomic_load(&counts->bytes) + atomic_load(&counts->lines) * MESSAGE_BUDGET_LINE <=
			limit,
		"it logs without a bound");
	must(atomic_load(&counts->bytes) > MESSAGE_BUDGET_BYTES / 8, "it logs next to nothing");
	must(atomic_load(&counts->lines) + atomic_load(&counts->left_out) == sent,
		"what was left out is not counted");
	need(!umount2(PLACE, MNT_DETACH), "unmounting");
}

/* Most begin as an order does; a few come with a descriptor, which may be that by which they come. */
static void random_order(const struct subject *subject)
{
	static const char known[] = {ORDER_MOUNT, ORDER_UNMOUNT, ORDER_BREAK, ORDER_LOG};
	char bytes[ORDER_SIZE_MAX + 100];
	size_t size = any(4) ? 1 : 1 + any(any(50) ? 64 : sizeof(bytes) - 1);
	int fd = -1;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)any(256);
	if (any(8))
		bytes[0] = known[any(sizeof(known))];
	if (any(8) == 0)
		fd = any(2) ? subject->fd : any(2) ? STDIN_FILENO : subject->device;
	order(subject, bytes, size, fd);
}

static void random_orders(unsigned round)
{
	uint64_t guard = mount_guard(PLACE), other = mount_guard(OTHER), ours = 0;
	unsigned long resident = 0, most_threads = 0;
	struct subject subject;
	unsigned open_before;
	int user = -1;

	if (round & 1) {
		ours = start_mounted(&subject);
		if (round & 2)
			user = open(PLACE, O_PATH | O_CLOEXEC);
	} else {
		start(&subject);
	}
	settle(&subject);
	open_before = descriptors(&subject);
	for (unsigned i = 0; i < ORDERS; i++) {
		random_order(&subject);
		if (round & 4)
			drain(&subject);
		if (i == ORDERS / 4) {
			settle_threads(&subject);
			resident = field(&subject, "VmRSS");
		}
		if (i % 64 == 0) {
			unsigned long threads = field(&subject, "Threads");

			most_threads = threads > most_threads ? threads : most_threads;
		}
	}
	if (user >= 0)
		close(user);
	say(&subject, ORDER_BREAK, 1);
	settle_threads(&subject);
	must(most_threads <= 2, "more than one unmount at a time");
	must(descriptors(&subject) <= open_before, "it keeps descriptors");
	must(field(&subject, "VmRSS") <= resident + 8192, "it grows");
	must(!is_mounted(ours) && top(PLACE) == guard, "the last order is not obeyed");
	must(is_mounted(guard) && is_mounted(other), "another mount is unmounted");
	finish(&subject);
	need(!umount2(PLACE, 0) && !umount2(OTHER, 0), "unmounting");
}

int main(int argc, char **argv)
{
	uint64_t first;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 10);
	first = seed;
	signal(SIGPIPE, SIG_IGN);
	need(geteuid() == 0 && !access("/dev/fuse", R_OK | W_OK), "not root, or no /dev/fuse");
	need(!unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL),
		"mount namespace");
	need(!mount("orders", "/tmp", "tmpfs", 0, NULL) && !mkdir(PLACE, 0700) &&
			!mkdir(OTHER, 0700),
		"/tmp");
	counts = mmap(
		NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(counts != MAP_FAILED, "memory");
	state = seed;
	spares_others();
	unmounts_one_at_a_time();
	ends_while_it_unmounts();
	ends_at_nothing();
	logs_so_much();
	for (seed = first; !failures && seed < first + ROUNDS; seed++) {
		state = seed;
		random_orders((unsigned)seed);
	}
	return failures ? 1 : 0;
}
