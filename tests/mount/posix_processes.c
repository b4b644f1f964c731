/* SPDX-License-Identifier: MIT */
/*
 * posix_processes.c - several processes at once: who wins, who waits, and programs run from here
 */
#include "posix.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTENDERS 6

/* Wins of each name, shared by all contenders. */
static unsigned *wins;

static void contend_forever(void *arg)
{
	int i, fd, names = posix_quick ? 200 : 1000;
	char name[32];

	(void)arg;
	for (i = 0; i < names; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd >= 0) {
			__atomic_add_fetch(&wins[i], 1, __ATOMIC_RELAXED);
			close(fd);
		} else {
			TRUE(errno == EEXIST);
		}
		snprintf(name, sizeof(name), "dir%d", i);
		if (!mkdir(name, 0755))
			__atomic_add_fetch(&wins[i], 1000, __ATOMIC_RELAXED);
		else
			TRUE(errno == EEXIST);
	}
}

static void one_creator_wins(void)
{
	pid_t children[CONTENDERS];
	int i;

	wins = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TRUE(wins != MAP_FAILED);
	for (i = 0; i < CONTENDERS; i++)
		children[i] = child_start(contend_forever, NULL);
	for (i = 0; i < CONTENDERS; i++)
		child_wait(children[i]);
	for (i = 0; i < (posix_quick ? 200 : 1000); i++)
		SAME(wins[i], 1001);
}

/* A counter in a file under a lock made of link(2), as mail programs do it. */
static void count_up(void *arg)
{
	int i, fd, rounds = posix_quick ? 50 : 200;
	char own[32], text[16];
	ssize_t size;

	snprintf(own, sizeof(own), "own%d", *(int *)arg);
	close(OK(open(own, O_CREAT | O_WRONLY, 0644)));
	for (i = 0; i < rounds; i++) {
		while (link(own, "lock"))
			TRUE(errno == EEXIST);
		fd = OK(open("counter", O_RDWR));
		size = OK(read(fd, text, sizeof(text) - 1));
		text[size] = 0;
		size = snprintf(text, sizeof(text), "%d", atoi(text) + 1);
		SAME(pwrite(fd, text, size, 0), size);
		close(fd);
		OK(unlink("lock"));
	}
}

static void no_lost_update(void)
{
	pid_t children[4];
	int i, numbers[4];
	char text[16];

	file_put("counter", "0");
	for (i = 0; i < 4; i++) {
		numbers[i] = i;
		children[i] = child_start(count_up, &numbers[i]);
	}
	for (i = 0; i < 4; i++)
		child_wait(children[i]);
	snprintf(text, sizeof(text), "%d", 4 * (posix_quick ? 50 : 200));
	TEXT("counter", text);
}

static void locked_elsewhere(void *arg)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
	int fd = OK(open("file", O_RDWR));

	(void)arg;
	FAILS(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	FAILS(flock(fd, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	FAILS(fcntl(fd, F_SETLK, &lock), EAGAIN);
	OK(fcntl(fd, F_GETLK, &lock));
	SAME(lock.l_type, F_WRLCK);
	SAME(lock.l_pid, getppid());
	lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 20, .l_len = 10};
	OK(fcntl(fd, F_SETLK, &lock));
}

static void unlocked_again(void *arg)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = OK(open("file", O_RDWR));

	(void)arg;
	OK(flock(fd, LOCK_EX | LOCK_NB));
	OK(fcntl(fd, F_SETLK, &lock));
}

static void locks(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 20};
	int fd;

	file_put("file", "x");
	fd = OK(open("file", O_RDWR));
	OK(flock(fd, LOCK_EX));
	OK(fcntl(fd, F_SETLK, &lock));
	child_run(locked_elsewhere, NULL);
	OK(flock(fd, LOCK_UN));
	lock.l_type = F_UNLCK;
	OK(fcntl(fd, F_SETLK, &lock));
	child_run(unlocked_again, NULL);
	close(fd);
}

static void copy_program(const char *from, const char *to)
{
	int in = OK(open(from, O_RDONLY)), out = OK(open(to, O_CREAT | O_WRONLY, 0755));
	struct stat st;
	off_t position = 0;

	OK(fstat(in, &st));
	while (position < st.st_size)
		TRUE(OK(sendfile(out, in, &position, st.st_size - position)) > 0);
	close(in);
	OK(close(out));
}

static void run_true(void *arg)
{
	(void)arg;
	OK(execl("./true", "true", NULL));
}

static void run_script(void *arg)
{
	(void)arg;
	OK(execl("./script", "script", NULL));
}

static void run_sleep(void *arg)
{
	(void)arg;
	OK(execl("./sleep", "sleep", "60", NULL));
}

static void programs(void)
{
	int fd, ends[2];
	pid_t child;
	char byte;

	copy_program("/bin/true", "true");
	child_run(run_true, NULL);
	OK(chmod("true", 0644));
	FAILS(execl("./true", "true", NULL), EACCES);

	/* a running program cannot be written to, but it can be replaced */
	copy_program("/bin/sleep", "sleep");
	OK(pipe2(ends, O_CLOEXEC));
	child = child_start(run_sleep, NULL);
	close(ends[1]);
	SAME(read(ends[0], &byte, 1), 0); /* it runs: exec has closed the other end */
	FAILS(open("sleep", O_WRONLY), ETXTBSY);
	copy_program("/bin/true", "new");
	OK(rename("new", "sleep"));
	OK(unlink("sleep"));
	OK(kill(child, SIGKILL));
	OK(waitpid(child, NULL, 0));

	/* and what is open for writing cannot be run */
	fd = OK(open("true", O_WRONLY));
	OK(chmod("true", 0755));
	FAILS(execl("./true", "true", NULL), ETXTBSY);
	OK(close(fd));
	child_run(run_true, NULL);
	file_put("script", "#!./true\n");
	OK(chmod("script", 0755));
	child_run(run_script, NULL);
	file_put("nothing_known", "text");
	OK(chmod("nothing_known", 0755));
	FAILS(execl("./nothing_known", "nothing_known", NULL), ENOEXEC);
}

const struct posix_case posix_process_cases[] = {
	{"one_creator_wins", one_creator_wins},
	{"no_lost_update", no_lost_update},
	{"locks", locks},
	{"programs", programs},
	{NULL, NULL},
};
