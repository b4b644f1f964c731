/* SPDX-License-Identifier: MIT */
/*
 * posix_locks.c - flock, POSIX locks and open-file-description locks: whom they keep out, who holds
 * them, what lets go of them; and counters that live by them
 */
#include "posix.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct flock range(short type, off_t start, off_t length)
{
	return (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}

static int set(int fd, int command, short type, off_t start, off_t length)
{
	struct flock lock = range(type, start, length);

	return fcntl(fd, command, &lock);
}

/* The lock that is in the way of one of this range, as another process sees it. */
struct question {
	off_t start, length;
	short type; /* F_UNLCK: nothing is */
	off_t found_start, found_length;
	pid_t holder;
};

static void ask(void *arg)
{
	const struct question *question = arg;
	struct flock lock = range(F_WRLCK, question->start, question->length);
	int fd = OK(open("file", O_RDWR));

	OK(fcntl(fd, F_GETLK, &lock));
	SAME(lock.l_type, question->type);
	if (question->type == F_UNLCK)
		return;
	SAME(lock.l_start, question->found_start);
	SAME(lock.l_len, question->found_length);
	SAME(lock.l_pid, question->holder);
}

static void others_see(off_t start, off_t length, short type, off_t found_start, off_t found_length)
{
	struct question question = {start, length, type, found_start, found_length, getpid()};

	child_run(ask, &question);
}

static void posix_locks(void)
{
	int fd, second;

	file_put("file", "0123456789");
	fd = OK(open("file", O_RDWR));
	OK(set(fd, F_SETLK, F_WRLCK, 0, 100));
	others_see(50, 1, F_WRLCK, 0, 100);
	OK(set(fd, F_SETLK, F_UNLCK, 40, 20)); /* splits it */
	others_see(0, 0, F_WRLCK, 0, 40);
	others_see(40, 20, F_UNLCK, 0, 0);
	others_see(50, 0, F_WRLCK, 60, 40);
	OK(set(fd, F_SETLK, F_RDLCK, 60, 40)); /* changes a part's kind */
	others_see(50, 0, F_RDLCK, 60, 40);
	OK(set(fd, F_SETLK, F_WRLCK, 40, 60)); /* joins them */
	others_see(0, 0, F_WRLCK, 0, 100);
	OK(set(fd, F_SETLK, F_WRLCK, 1ll << 40, 0)); /* to the end, wherever that will be */
	others_see(1ll << 50, 1, F_WRLCK, 1ll << 40, 0);
	/* a process has one set of locks for a file, and closing any descriptor drops it */
	second = OK(open("file", O_RDONLY));
	OK(set(fd, F_SETLK, F_WRLCK, 10, 5));
	OK(close(second));
	others_see(0, 0, F_UNLCK, 0, 0);
	second = OK(open("file", O_RDONLY));
	FAILS(set(second, F_SETLK, F_WRLCK, 0, 1), EBADF);
	FAILS(set(fd, F_SETLK, F_WRLCK, -5, 1), EINVAL);
	OK(close(second));
	OK(close(fd));
}

static void lock_second_then_first(void *arg)
{
	int fd = OK(open("file", O_RDWR)), *ready = arg;

	OK(set(fd, F_SETLK, F_WRLCK, 1, 1));
	SAME(write(ready[1], "r", 1), 1);
	OK(set(fd, F_SETLKW, F_WRLCK, 0, 1)); /* until the other one gives up */
	_exit(0);
}

/* The kernel's list of locks has an arrow before who waits for one. */
static bool waits_for_lock(pid_t process)
{
	char line[256], word[32];
	bool found = false;
	FILE *list = fopen("/proc/locks", "r");

	TRUE(list);
	snprintf(word, sizeof(word), " %d ", (int)process);
	while (!found && fgets(line, sizeof(line), list))
		found = strstr(line, "->") && strstr(line, word);
	fclose(list);
	return found;
}

static void posix_locks_wait(void)
{
	int fd, ready[2];
	pid_t child;
	char byte;

	file_put("file", "x");
	fd = OK(open("file", O_RDWR));
	OK(pipe(ready));
	OK(set(fd, F_SETLK, F_WRLCK, 0, 1));
	child = child_start(lock_second_then_first, ready);
	SAME(read(ready[0], &byte, 1), 1);
	while (!waits_for_lock(child))
		usleep(1000);
	/* it waits for us; to wait for it would be for ever */
	FAILS(set(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
	FAILS(set(fd, F_SETLK, F_WRLCK, 1, 1), EAGAIN);
	OK(set(fd, F_SETLK, F_UNLCK, 0, 1));
	child_wait(child);
	/* the end of a process is the end of its locks */
	OK(set(fd, F_SETLK, F_WRLCK, 0, 1));
	child = child_start(lock_second_then_first, ready);
	SAME(read(ready[0], &byte, 1), 1);
	FAILS(set(fd, F_SETLK, F_WRLCK, 1, 1), EAGAIN);
	OK(kill(child, SIGKILL));
	OK(waitpid(child, NULL, 0));
	OK(set(fd, F_SETLK, F_WRLCK, 1, 1));
	OK(close(fd));
}

static void ignore(int number)
{
	(void)number;
}

static void hold_flock(void *arg)
{
	int fd = OK(open("file", O_RDONLY)), *ready = arg;

	OK(flock(fd, LOCK_SH));
	SAME(write(ready[1], "r", 1), 1);
	pause();
}

static void wait_for_flock(void *arg)
{
	struct itimerval often = {{0, 100000}, {0, 100000}}; /* the first may come before we wait */
	struct sigaction action = {.sa_handler = ignore};
	int fd = OK(open("file", O_RDONLY));

	(void)arg;
	OK(sigaction(SIGALRM, &action, NULL));
	OK(setitimer(ITIMER_REAL, &often, NULL));
	FAILS(flock(fd, LOCK_EX), EINTR);
	OK(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL));
	FAILS(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	OK(flock(fd, LOCK_SH | LOCK_NB));
}

static void flocks(void)
{
	int fd, second, copy, ready[2];
	pid_t child;
	char byte;

	file_put("file", "x");
	OK(pipe(ready));
	fd = OK(open("file", O_RDONLY));
	second = OK(open("file", O_RDONLY));
	copy = OK(dup(fd));
	OK(flock(fd, LOCK_EX));
	FAILS(flock(second, LOCK_SH | LOCK_NB), EWOULDBLOCK); /* an open file is its own holder */
	OK(flock(copy, LOCK_EX | LOCK_NB)); /* a duplicate is the same */
	OK(close(fd)); /* the lock stays with the duplicate */
	FAILS(flock(second, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	OK(flock(copy, LOCK_SH)); /* weaker */
	OK(flock(second, LOCK_SH | LOCK_NB));
	FAILS(flock(copy, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	OK(close(second));
	OK(close(copy));
	/* with POSIX locks it has nothing to do */
	fd = OK(open("file", O_RDWR));
	OK(flock(fd, LOCK_EX));
	others_see(0, 0, F_UNLCK, 0, 0);
	OK(close(fd));
	/* another process's, by which we wait, and which ends with it */
	child = child_start(hold_flock, ready);
	SAME(read(ready[0], &byte, 1), 1);
	child_run(wait_for_flock, NULL);
	fd = OK(open("file", O_RDONLY));
	FAILS(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	OK(kill(child, SIGKILL));
	OK(waitpid(child, NULL, 0));
	OK(flock(fd, LOCK_EX));
	OK(close(fd));
}

static void release_inherited(void *arg)
{
	OK(set(*(int *)arg, F_OFD_SETLK, F_UNLCK, 0, 10));
}

static void description_locks(void)
{
	struct flock lock = range(F_WRLCK, 0, 0);
	int fd, second;

	file_put("file", "x");
	fd = OK(open("file", O_RDWR));
	second = OK(open("file", O_RDWR));
	OK(set(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
	FAILS(set(second, F_OFD_SETLK, F_RDLCK, 5, 10), EAGAIN); /* in the same process */
	FAILS(set(second, F_SETLK, F_RDLCK, 5, 10), EAGAIN); /* the two kinds see each other */
	OK(fcntl(second, F_OFD_GETLK, &lock));
	SAME(lock.l_type, F_WRLCK);
	SAME(lock.l_pid, -1); /* of no process */
	OK(set(second, F_OFD_SETLK, F_WRLCK, 10, 10));
	OK(close(OK(open("file", O_RDWR)))); /* drops nothing */
	FAILS(set(second, F_OFD_SETLK, F_RDLCK, 0, 1), EAGAIN);
	child_run(release_inherited, &fd); /* a child has the same open file */
	OK(set(second, F_OFD_SETLK, F_WRLCK, 0, 10));
	OK(close(second));
	OK(set(fd, F_OFD_SETLK, F_WRLCK, 0, 0));
	OK(close(fd));
}

/* A counter in a file: nothing is lost under each kind of lock. */
#define COUNTERS 4

static void count_locked(void *arg)
{
	int i, kind = *(int *)arg, rounds = posix_quick ? 100 : 400;

	for (i = 0; i < rounds; i++) {
		int fd = OK(open("file", O_RDWR));
		unsigned count;

		if (kind == 0)
			OK(flock(fd, LOCK_EX));
		else
			OK(set(fd, kind == 1 ? F_SETLKW : F_OFD_SETLKW, F_WRLCK, 0, 0));
		SAME(pread(fd, &count, sizeof(count), 0), sizeof(count));
		count++;
		SAME(pwrite(fd, &count, sizeof(count), 0), sizeof(count));
		OK(close(fd)); /* lets go */
	}
}

static void counters_under_locks(void)
{
	pid_t children[COUNTERS];
	unsigned count;
	int i, kind, fd;

	for (kind = 0; kind < 3; kind++) {
		count = 0;
		fd = OK(open("file", O_RDWR | O_CREAT, 0644));
		SAME(pwrite(fd, &count, sizeof(count), 0), sizeof(count));
		for (i = 0; i < COUNTERS; i++)
			children[i] = child_start(count_locked, &kind);
		for (i = 0; i < COUNTERS; i++)
			child_wait(children[i]);
		SAME(pread(fd, &count, sizeof(count), 0), sizeof(count));
		SAME(count, COUNTERS * (posix_quick ? 100 : 400));
		OK(close(fd));
	}
}

const struct posix_case posix_lock_cases[] = {
	{"posix_locks", posix_locks},
	{"posix_locks_wait", posix_locks_wait},
	{"flocks", flocks},
	{"description_locks", description_locks},
	{"counters_under_locks", counters_under_locks},
	{NULL, NULL},
};
