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
#include <sys/wait.h>
#include <unistd.h>

#define CONTENDERS 6

/* Wins of each name, shared by all contenders: a decimal digit for each call that makes one. */
static unsigned *wins;

static void count_win(int number, unsigned weight, int result)
{
	if (result >= 0)
		__atomic_add_fetch(&wins[number], weight, __ATOMIC_RELAXED);
	else
		TRUE(errno == EEXIST);
}

static void contend(void *arg)
{
	int i, fd, names = posix_quick ? 100 : 300;
	char name[32], own[32];

	(void)arg;
	snprintf(own, sizeof(own), "own%d", (int)getpid());
	for (i = 0; i < names; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		count_win(i, 1, fd);
		if (fd >= 0)
			close(fd);
		snprintf(name, sizeof(name), "dir%d", i);
		count_win(i, 10, mkdir(name, 0755));
		snprintf(name, sizeof(name), "symlink%d", i);
		count_win(i, 100, symlink("x", name));
		snprintf(name, sizeof(name), "link%d", i);
		count_win(i, 1000, link("old", name));
		snprintf(name, sizeof(name), "renamed%d", i);
		OK(link("old", own));
		count_win(i, 10000, renameat2(AT_FDCWD, own, AT_FDCWD, name, RENAME_NOREPLACE));
		TRUE(!unlink(own) || errno == ENOENT);
	}
}

static void one_creator_wins(void)
{
	pid_t children[CONTENDERS];
	int i;

	wins = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TRUE(wins != MAP_FAILED);
	file_put("old", "x");
	for (i = 0; i < CONTENDERS; i++)
		children[i] = child_start(contend, NULL);
	for (i = 0; i < CONTENDERS; i++)
		child_wait(children[i]);
	for (i = 0; i < (posix_quick ? 100 : 300); i++)
		SAME(wins[i], 11111);
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

/* A path, and the error that running it must end with. */
struct refusal {
	const char *path;
	int error;
};

#define REFUSED 42 /* exit code: no program that is run here has it */

static void run_in_vain(void *arg)
{
	const struct refusal *refusal = arg;

	FAILS(execl(refusal->path, refusal->path, NULL), refusal->error);
	_exit(REFUSED);
}

/* In a process of its own: if it runs after all, nothing of the case is left there to say so. */
static void expect_refusal(const char *path, int error)
{
	struct refusal refusal = {path, error};
	int status;

	OK(waitpid(child_start(run_in_vain, &refusal), &status, 0));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != REFUSED)
		FAIL("%s was run, expected %s", path, strerror(error));
}

/* A running program cannot be written to, but it can be replaced. */
static void running_program(void)
{
	int ends[2];
	pid_t child;
	char byte;

	program_copy("/bin/sleep", "sleep");
	OK(pipe2(ends, O_CLOEXEC));
	child = child_start(run_sleep, NULL);
	OK(close(ends[1]));
	SAME(read(ends[0], &byte, 1), 0); /* it runs: exec has closed the other end */
	FAILS(open("sleep", O_WRONLY), ETXTBSY);
	FAILS(open("sleep", O_RDONLY | O_TRUNC), ETXTBSY);
	FAILS(truncate("sleep", 0), ETXTBSY);
	program_copy("/bin/true", "new");
	OK(rename("new", "sleep"));
	OK(unlink("sleep"));
	OK(kill(child, SIGKILL));
	OK(waitpid(child, NULL, 0));
}

static void programs(void)
{
	void *map;
	int fd;

	program_copy("/bin/true", "true");
	child_run(run_true, NULL);
	OK(chmod("true", 0644));
	expect_refusal("./true", EACCES);
	running_program();

	/* what is open for writing, or mapped so, cannot be run */
	fd = OK(open("true", O_RDWR));
	OK(chmod("true", 0755));
	expect_refusal("./true", ETXTBSY);
	map = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TRUE(map != MAP_FAILED);
	OK(close(fd));
	expect_refusal("./true", ETXTBSY);
	OK(munmap(map, 1));
	child_run(run_true, NULL);
	file_put("script", "#!./true\n");
	OK(chmod("script", 0755));
	child_run(run_script, NULL);
	file_put("nothing_known", "text");
	OK(chmod("nothing_known", 0755));
	expect_refusal("./nothing_known", ENOEXEC);
}

const struct posix_case posix_process_cases[] = {
	{"one_creator_wins", one_creator_wins},
	{"no_lost_update", no_lost_update},
	{"locks", locks},
	{"programs", programs},
	{NULL, NULL},
};
