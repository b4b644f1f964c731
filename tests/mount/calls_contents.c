/* SPDX-License-Identifier: MIT */
/*
 * calls_contents.c - calls that read, write, cut, copy and map what is in files
 */
#include "calls.h"

#include <errno.h>
#include <limits.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_MAX (1u << 18)
#define PARTS 3

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif

static unsigned char read_bytes[READ_MAX];

static void call_write(void)
{
	size_t size;
	int fd;

	say("write");
	fd = pick_slot();
	size = pick_size();
	say_result(write(fd, pick_bytes(size), size));
}

static void call_pwrite(void)
{
	size_t size;
	int fd;

	say("pwrite");
	fd = pick_slot();
	size = pick_size();
	say_result(pwrite(fd, pick_bytes(size), size, pick_offset()));
}

static void call_read(void)
{
	ssize_t result;
	size_t size;
	int fd;

	say("read");
	fd = pick_slot();
	size = pick_size();
	result = read(fd, read_bytes, size);
	say_result(result);
	if (result > 0)
		say_bytes(read_bytes, (size_t)result);
}

static void call_pread(void)
{
	ssize_t result;
	size_t size;
	int fd;

	say("pread");
	fd = pick_slot();
	size = pick_size();
	result = pread(fd, read_bytes, size, pick_offset());
	say_result(result);
	if (result > 0)
		say_bytes(read_bytes, (size_t)result);
}

static const struct flag vector_flags[] = {
	{RWF_APPEND, 15, "APPEND"},
	{RWF_DSYNC, 5, "DSYNC"},
	{RWF_SYNC, 5, "SYNC"},
	{RWF_NOWAIT, 10, "NOWAIT"},
	{RWF_NOAPPEND, 10, "NOAPPEND"},
	{1u << 25, 2, "no such flag"},
	{0, 0, NULL},
};

/* Not to wait is a wish, which may be refused: then without it. */
static bool would_wait(ssize_t result, unsigned *flags)
{
	bool refused =
		result < 0 && *flags & RWF_NOWAIT && (errno == EAGAIN || errno == EOPNOTSUPP);

	*flags &= ~(unsigned)RWF_NOWAIT;
	return refused;
}

static int parts_pick(struct iovec *parts, unsigned char *bytes)
{
	int i, count = (int)pick(PARTS + 1);
	size_t used = 0;

	for (i = 0; i < count; i++) {
		parts[i] = (struct iovec){bytes + used, pick_size() / 2};
		used += parts[i].iov_len;
	}
	return count;
}

static void call_pwritev(void)
{
	struct iovec parts[PARTS];
	ssize_t result;
	unsigned flags;
	off_t offset;
	int fd, count;

	say("pwritev2");
	fd = pick_slot();
	flags = pick_flags(vector_flags);
	/* the row goes on after it, so the bytes are this step's */
	count = parts_pick(parts, (unsigned char *)pick_bytes(READ_MAX));
	offset = chance(30) ? -1 : pick_offset();
	do
		result = pwritev2(fd, parts, count, offset, (int)flags);
	while (would_wait(result, &flags));
	say_result(result);
}

static void call_preadv(void)
{
	struct iovec parts[PARTS];
	ssize_t result;
	unsigned flags;
	off_t offset;
	int fd, count;

	say("preadv2");
	fd = pick_slot();
	flags = pick_flags(vector_flags);
	count = parts_pick(parts, read_bytes);
	offset = chance(30) ? -1 : pick_offset();
	do
		result = preadv2(fd, parts, count, offset, (int)flags);
	while (would_wait(result, &flags));
	say_result(result);
	if (result > 0)
		say_bytes(read_bytes, (size_t)result);
}

static void call_truncate(void)
{
	const char *path;

	say("truncate");
	path = pick_path();
	say_result(truncate(path, pick_offset()));
}

static void call_ftruncate(void)
{
	int fd;

	say("ftruncate");
	fd = pick_slot();
	say_result(ftruncate(fd, pick_offset()));
}

static void call_fallocate(void)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE, FALLOC_FL_UNSHARE_RANGE, 1 << 20};
	int fd, mode = modes[pick(sizeof(modes) / sizeof(modes[0]))];
	off_t at;

	say("fallocate %#x", (unsigned)mode);
	fd = pick_slot();
	at = pick_offset();
	say_result(fallocate(fd, mode, at, chance(95) ? (off_t)pick_size() : -1));
}

/* Whether all is zeros there; no more than a read's worth is looked at. */
static bool is_zeros(int fd, off_t from, off_t to)
{
	size_t size = to - from < (off_t)READ_MAX ? (size_t)(to - from) : READ_MAX;
	ssize_t i, there = pread(fd, read_bytes, size, from);

	for (i = 0; i < there; i++)
		if (read_bytes[i])
			return false;
	return true;
}

/* Where holes are is the file system's affair, but what it calls a hole is zeros. */
static void seek_hole(int fd, off_t at, int whence)
{
	off_t found, before = lseek(fd, 0, SEEK_CUR);
	struct stat st;

	found = lseek(fd, at, whence);
	if (found < 0 && (errno != ENXIO || fstat(fd, &st) || at < 0 || at >= st.st_size)) {
		say_result(found);
		return;
	}
	if (found < 0 && whence == SEEK_HOLE)
		say(" no hole before the end");
	else if (whence == SEEK_DATA && !is_zeros(fd, at, found < 0 ? st.st_size : found))
		say(" a hole that is not zeros");
	else if (found >= 0 && found < at)
		say(" backwards");
	else
		say(" somewhere");
	lseek(fd, before, SEEK_SET);
}

static void call_lseek(void)
{
	static const int whences[] = {
		SEEK_SET, SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 5, -1};
	int fd, whence = whences[pick(sizeof(whences) / sizeof(whences[0]))];
	struct stat st;
	off_t at;

	say("lseek %d", whence);
	fd = pick_slot();
	at = pick_offset();
	/* places in a directory are its own, and how large a file may be is the file system's
	 * affair */
	if ((!fstat(fd, &st) && S_ISDIR(st.st_mode) && (at > 0 || whence != SEEK_SET)) ||
		at == LLONG_MAX || at == -LLONG_MAX)
		say(" not asked");
	else if (whence == SEEK_DATA || whence == SEEK_HOLE)
		seek_hole(fd, at, whence);
	else
		say_result(lseek(fd, chance(20) ? -at : at, whence));
}

static void call_copy(void)
{
	off_t from, to;
	bool from_place, to_place;
	ssize_t result;
	size_t size;
	int in, out;

	say("copy_file_range");
	in = pick_slot();
	out = pick_slot();
	size = pick_size();
	from_place = chance(75);
	to_place = chance(75);
	from = from_place ? pick_offset() : 0;
	to = to_place ? pick_offset() : 0;
	result = copy_file_range(in, from_place ? &from : NULL, out, to_place ? &to : NULL, size,
		chance(97) ? 0 : 1);
	say_result(result);
	say(" %lld %lld", (long long)from, (long long)to);
}

static void call_sendfile(void)
{
	size_t size;
	int in, out;
	off_t from;

	say("sendfile");
	in = pick_slot();
	out = pick_slot();
	size = pick_size();
	from = pick_offset();
	say_result(sendfile(out, in, chance(50) ? &from : NULL, size));
	say(" %lld", (long long)from);
}

static void call_splice(void)
{
	off_t from, to;
	int in, out, ends[2];
	ssize_t result;

	say("splice");
	in = pick_slot();
	out = pick_slot();
	from = pick_offset();
	to = pick_offset();
	if (pipe2(ends, O_NONBLOCK))
		abort();
	result = splice(in, chance(80) ? &from : NULL, ends[1], NULL, 4096, SPLICE_F_NONBLOCK);
	say_result(result);
	if (result > 0)
		say_result(splice(ends[0], NULL, out, chance(80) ? &to : NULL, (size_t)result,
			SPLICE_F_NONBLOCK));
	close(ends[0]);
	close(ends[1]);
}

static sigjmp_buf beyond;

static void caught(int number)
{
	siglongjmp(beyond, number);
}

/* Loads, or stores, at both ends of the map; behind the end of the file is SIGBUS. */
static void touch(unsigned char *map, size_t size, bool stores)
{
	struct sigaction action = {.sa_handler = caught, .sa_flags = SA_NODEFER}, before[2];
	static volatile size_t at;
	static unsigned char seen[2];
	static volatile unsigned i;
	int number;

	sigaction(SIGBUS, &action, &before[0]);
	sigaction(SIGSEGV, &action, &before[1]);
	for (i = 0; i < 2; i++) {
		at = i ? size - 1 : 0;
		number = sigsetjmp(beyond, 1);
		if (number) {
			say(" %s", sigabbrev_np(number));
			continue;
		}
		if (stores)
			map[at] = (unsigned char)size;
		seen[i] = ((volatile unsigned char *)map)[at];
		say(" %02x", seen[i]);
	}
	sigaction(SIGBUS, &before[0], NULL);
	sigaction(SIGSEGV, &before[1], NULL);
}

static void call_map(void)
{
	static const struct flag protections[] = {
		{PROT_READ, 90, "READ"},
		{PROT_WRITE, 50, "WRITE"},
		{PROT_EXEC, 5, "EXEC"},
		{0, 0, NULL},
	};
	static const int kinds[] = {MAP_SHARED, MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE};
	static const struct flag syncs[] = {{MS_SYNC, 50, "SYNC"}, {MS_ASYNC, 15, "ASYNC"},
		{MS_INVALIDATE, 10, "INVALIDATE"}, {0, 0, NULL}};
	int fd, kind = kinds[pick(sizeof(kinds) / sizeof(kinds[0]))];
	unsigned char *map;
	unsigned protection;
	size_t size;
	off_t at;

	say("map %#x", (unsigned)kind);
	fd = pick_slot();
	protection = pick_flags(protections);
	size = pick_size();
	at = pick_offset();
	map = mmap(NULL, size, (int)protection, kind, fd, at);
	say_success(map == MAP_FAILED ? -1 : 0);
	if (map == MAP_FAILED)
		return;
	if (protection & (PROT_READ | PROT_WRITE))
		touch(map, size, protection & PROT_WRITE && chance(80));
	if (chance(50))
		say_result(msync(map, size, (int)pick_flags(syncs)));
	munmap(map, size);
}

static void call_sync(void)
{
	unsigned kind = pick(5), which = pick(16);
	size_t size;
	off_t at;
	int fd;

	say("sync %u %u", kind, which);
	fd = pick_slot();
	at = pick_offset();
	size = pick_size();
	if (kind == 0)
		say_result(fsync(fd));
	else if (kind == 1)
		say_result(fdatasync(fd));
	else if (kind == 2)
		say_result(sync_file_range(fd, at, (off_t)size, which));
	else if (kind == 3)
		say_result(readahead(fd, at, size));
	else
		say_result(posix_fadvise(fd, at, (off_t)size, (int)which));
}

/* So that what is read next comes from the file system. */
static void call_drop(void)
{
	unsigned slot;

	say("drop caches");
	for (slot = 0; slot < SLOTS; slot++)
		if (slots[slot] >= 0) {
			fsync(slots[slot]);
			posix_fadvise(slots[slot], 0, 0, POSIX_FADV_DONTNEED);
		}
}

const struct call calls_of_contents[] = {
	{45, call_write},
	{50, call_pwrite},
	{20, call_read},
	{20, call_pread},
	{30, call_pwritev},
	{12, call_preadv},
	{25, call_truncate},
	{25, call_ftruncate},
	{45, call_fallocate},
	{30, call_lseek},
	{35, call_copy},
	{12, call_sendfile},
	{12, call_splice},
	{40, call_map},
	{15, call_sync},
	{10, call_drop},
	{0, NULL},
};
