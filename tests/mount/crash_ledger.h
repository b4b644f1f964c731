/* SPDX-License-Identifier: MIT */
/*
 * crash_ledger.h - what those who change a file system that is going to be killed know of what they
 * did
 *
 * A file that all of them have mapped, on another file system. It outlives the kill, and tells the
 * judge what must be there, what may be, and what was done before what.
 *
 * Threads: each account is written by its writer, but `kept`, which everybody raises. Atomic loads
 * and stores throughout.
 */
#ifndef CRASH_LEDGER_H
#define CRASH_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define WRITERS_MAX 4u
#define SNAPSHOTS_MAX 64u /* taken in one life, and those that are left from before */
#define SEEN_MAX 65536u   /* changes of one writer whose `seen` is known: the last ones */

/* Of one writer, numbers of its changes. */
struct account {
	_Atomic uint64_t begun; /* whose system call was made */
	_Atomic uint64_t done;  /* whose system call came back */
	/* that must survive: an fsync, fdatasync or O_SYNC write came back after them, its own or
	 * another writer's; each of these covers everything that was done when it began */
	_Atomic uint64_t kept;
	_Atomic uint64_t judged; /* that were there when they were last judged */
};

enum snapshot_state {
	SNAPSHOT_NONE,
	SNAPSHOT_MAKING,
	SNAPSHOT_MADE,
	SNAPSHOT_KEPT, /* durable */
	SNAPSHOT_REMOVING,
	SNAPSHOT_GONE, /* and that is durable */
};

struct snapshot_account {
	_Atomic uint32_t state; /* enum snapshot_state */
	uint32_t number;
	/* What each writer had done when it was asked for, and begun when it was there. */
	_Atomic uint64_t done[WRITERS_MAX], begun[WRITERS_MAX];
	/* What was found in it, which it must show for ever; 0: nobody has looked yet. */
	uint64_t hashes[WRITERS_MAX];
};

/* A stream writes one generation of its file after the other. There is a generation and a size. */
struct stream_account {
	_Atomic uint64_t begun_generation, begun_size;
	_Atomic uint64_t kept_generation, kept_size;
};

struct ledger {
	struct account accounts[WRITERS_MAX];
	struct snapshot_account snapshots[SNAPSHOTS_MAX]; /* at number % SNAPSHOTS_MAX */
	_Atomic uint32_t snapshot_next;                   /* number */
	struct stream_account stream;
	atomic_bool stopping; /* nobody begins anything more */
	/* What all writers had done when a writer began a change, which is at number % SEEN_MAX. */
	_Atomic uint32_t seen[WRITERS_MAX][SEEN_MAX][WRITERS_MAX];
};

/* Ends the program where the file cannot be had. */
struct ledger *ledger_open(const char *path);

/* The number only rises, whoever raises it. */
void ledger_raise(_Atomic uint64_t *number, uint64_t value);
void ledger_done(const struct ledger *ledger, uint64_t done[WRITERS_MAX]);

/*
 * What the kernel answers for a server that died, before and after it notices. Whoever hears it
 * looks whether the server is gone indeed: a living one may not say so.
 */
bool is_gone(int error);

#endif
