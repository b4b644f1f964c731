/* SPDX-License-Identifier: MIT */
/*
 * crash_ledger.c - the ledger's file, and its numbers
 */
#include "crash_ledger.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

struct ledger *ledger_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	void *map;

	if (fd < 0 || ftruncate(fd, sizeof(struct ledger)))
		err(2, "%s", path);
	map = mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err(2, "%s", path);
	close(fd);
	return map;
}

void ledger_raise(_Atomic uint64_t *number, uint64_t value)
{
	uint64_t old = atomic_load(number);

	while (old < value && !atomic_compare_exchange_weak(number, &old, value))
		;
}

void ledger_done(const struct ledger *ledger, uint64_t done[WRITERS_MAX])
{
	for (unsigned i = 0; i < WRITERS_MAX; i++)
		done[i] = atomic_load(&ledger->accounts[i].done);
}

bool is_gone(int error)
{
	switch (error) {
	case ENOTCONN:
	case ECONNABORTED:
	/* The others where a thread that is being killed was to be handed the request. */
	case ECANCELED:
	case EINTR:
	case EFAULT:
	case EAGAIN:
		return true;
	default:
		return false;
	}
}
