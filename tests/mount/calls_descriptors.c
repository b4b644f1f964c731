/* SPDX-License-Identifier: MIT */
/*
 * calls_descriptors.c - calls on open files that are about neither names nor contents: flags,
 * locks, leases, the ioctls that every file system has
 */
#include "calls.h"

#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#ifndef F_CREATED_QUERY
#define F_CREATED_QUERY 1028
#endif
#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY 1027
#endif

static void call_close(void)
{
	unsigned slot = pick(SLOTS);

	say("close %u", slot);
	say_result(close(slots[slot]));
	slots[slot] = -1;
}

static void call_dup(void)
{
	unsigned from = pick(SLOTS), to = pick(SLOTS);
	int copy;

	say("dup %u to %u", from, to);
	copy = dup(slots[from]);
	say_success(copy);
	if (copy < 0)
		return;
	close(slots[to]);
	slots[to] = copy;
}

/* What the library adds to flags by itself is left out. */
static void call_flags(void)
{
	static const struct flag flags[] = {{O_APPEND, 30, "O_APPEND"},
		{O_NOATIME, 15, "O_NOATIME"}, {O_NONBLOCK, 80, "O_NONBLOCK"}, {O_SYNC, 5, "O_SYNC"},
		{O_TRUNC, 5, "O_TRUNC"}, {0, 0, NULL}};
	int fd;

	say("flags");
	fd = pick_slot();
	if (chance(60))
		say_result(fcntl(fd, F_SETFL, pick_flags(flags)));
	say_result(fcntl(fd, F_GETFL));
}

static void call_asks(void)
{
	static const int questions[] = {F_CREATED_QUERY, F_DUPFD_QUERY, F_GETLEASE, F_GETOWN,
		F_GETSIG, F_GET_SEALS, F_GETPIPE_SZ, F_GET_RW_HINT, F_SET_RW_HINT,
		F_GET_FILE_RW_HINT};
	int question = questions[pick(sizeof(questions) / sizeof(questions[0]))];
	uint64_t hint = 0;
	int fd;

	say("fcntl %d", question);
	fd = pick_slot();
	if (question == F_DUPFD_QUERY)
		say_result(fcntl(fd, question, pick_slot()));
	else if (question == F_GET_RW_HINT || question == F_SET_RW_HINT ||
		 question == F_GET_FILE_RW_HINT)
		say_result(fcntl(fd, question, &hint));
	else
		say_result(fcntl(fd, question, 0));
}

static void call_lock(void)
{
	static const int commands[] = {
		F_SETLK, F_SETLK, F_OFD_SETLK, F_OFD_SETLK, F_GETLK, F_OFD_GETLK};
	static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK, 7};
	static const short whences[] = {SEEK_SET, SEEK_SET, SEEK_CUR, SEEK_END, 9};
	int command = commands[pick(sizeof(commands) / sizeof(commands[0]))];
	struct flock lock = {.l_type = types[pick(4)], .l_whence = whences[pick(5)]};
	int fd;

	say("lock %d %d %d", command, lock.l_type, lock.l_whence);
	fd = pick_slot();
	lock.l_start = pick_offset();
	lock.l_len = (off_t)pick_size();
	say_result(fcntl(fd, command, &lock));
	if (command == F_GETLK || command == F_OFD_GETLK)
		say(" %d %lld %lld", lock.l_type, (long long)lock.l_start, (long long)lock.l_len);
}

static void call_flock(void)
{
	static const int kinds[] = {LOCK_SH, LOCK_EX, LOCK_UN, 16};
	int fd, kind = kinds[pick(4)];

	say("flock %d", kind);
	fd = pick_slot();
	say_result(flock(fd, kind | LOCK_NB));
}

static void call_lease(void)
{
	static const int kinds[] = {F_RDLCK, F_WRLCK, F_UNLCK};
	int fd, kind = kinds[pick(3)];

	say("lease %d", kind);
	fd = pick_slot();
	say_result(fcntl(fd, F_SETLEASE, kind));
	say_result(fcntl(fd, F_GETLEASE));
	fcntl(fd, F_SETLEASE, F_UNLCK);
}

static void call_ioctl(void)
{
	static const unsigned long requests[] = {FIONREAD, FIOQSIZE, FIONBIO, FICLONE, FICLONERANGE,
		FIBMAP, BLKGETSIZE64, 0x12345678};
	struct file_clone_range range = {0};
	unsigned long request = requests[pick(sizeof(requests) / sizeof(requests[0]))];
	off_t number = 1;
	int fd, result;

	say("ioctl %#lx", request);
	fd = pick_slot();
	if (request == FICLONE) {
		say_result(ioctl(fd, request, pick_slot()));
		return;
	}
	if (request == FICLONERANGE) {
		range.src_fd = pick_slot();
		say_result(ioctl(fd, request, &range));
		return;
	}
	result = ioctl(fd, request, &number);
	say_result(result);
	if (!result && request == FIONREAD)
		say(" %lld", (long long)number);
}

const struct call calls_of_descriptors[] = {
	{20, call_close},
	{8, call_dup},
	{10, call_flags},
	{8, call_asks},
	{15, call_lock},
	{8, call_flock},
	{5, call_lease},
	{8, call_ioctl},
	{0, NULL},
};
