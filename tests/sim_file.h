/* SPDX-License-Identifier: MIT */
/*
 * sim_file.h - one file of the simulated disk: what readers see, what the medium holds, and what
 * lies between.
 *
 * Threads: none; the disk (sim_env.c) serializes.
 */
#ifndef SIM_FILE_H
#define SIM_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim_bytes.h"

#define SIM_SECTOR_SIZE 512u
#define SIM_PAGE_SIZE 4096u

/* A reproducible stream of numbers (splitmix64). */
struct sim_random {
	uint64_t state;
};

uint64_t sim_random_next(struct sim_random *random);
/* 0..bound-1 */
uint64_t sim_random_below(struct sim_random *random, uint64_t bound);

/* What a power failure leaves of the changes that were not synced. */
enum sim_loss {
	SIM_LOSS_ANY, /* each file by a style of its own: everything, nothing, a prefix, any
			  subset... */
	SIM_LOSS_ALL, /* nothing is left */
	/* the program died, not the machine: all is there, and may still be lost later */
	SIM_LOSS_NONE,
};

struct sim_change; /* a write or a change of size that no sync has covered */

struct sim_file {
	struct sim_bytes live; /* what reads and maps see; size_max bytes */
	/* what the medium holds if the power fails now and nothing else was kept */
	struct sim_bytes durable;
	uint64_t size, durable_size; /* bytes */
	uint64_t size_max;
	uint64_t hole; /* position from which on the file has no space; UINT64_MAX: none */
	uint64_t durable_hole;
	struct sim_change *changes; /* since the last sync, oldest first */
	struct sim_change **changes_end;
	bool in_flight; /* a sync was under way when the power failed: any changed sector may be
			   garbage */
	bool diverged;  /* a failed sync left `live` ahead of `durable` for good */
	uint64_t page_failed; /* position of a page that cannot be read; UINT64_MAX: none */
	unsigned opens;
	unsigned locks_shared;
	bool locked_exclusive;
};

int sim_file_new(uint64_t size_max, struct sim_file **out);
void sim_file_free(struct sim_file *file);

/* A write or change of size that the power may undo until sim_file_sync. The caller checks
 * size_max. -ENOMEM */
int sim_file_write(struct sim_file *file, const void *data, size_t size, uint64_t position);
int sim_file_resize(struct sim_file *file, uint64_t size);
/* Bytes behind `from` become zeros, as by a write, and take no space. -ENOMEM */
int sim_file_release(struct sim_file *file, uint64_t from);
/* Its space up to `end`, which the caller has checked. */
void sim_file_restore(struct sim_file *file, uint64_t end);
/* How much of it has space; and how much more would have if it had up to `end`. */
uint64_t sim_file_allocated(const struct sim_file *file);
uint64_t sim_file_missing(const struct sim_file *file, uint64_t end);
/* -EIO: touches the failed page. The caller checks the size. */
int sim_file_read(const struct sim_file *file, void *buffer, size_t size, uint64_t position);
void sim_file_sync(struct sim_file *file);
/* Some of the changes reach the medium, the others never will, and readers still see them all. */
void sim_file_sync_failed(struct sim_file *file, struct sim_random *random);
/* The newest change was being carried out when the power failed: its sectors may be garbage. */
void sim_file_tear_newest(struct sim_file *file);
/*
 * The power fails and comes back: afterwards live and durable are the same. `in_flight`: all that
 * was not synced was being written, whatever call was cut.
 */
void sim_file_lose(
	struct sim_file *file, enum sim_loss loss, bool in_flight, struct sim_random *random);
/* The page at this position reads as zeros in maps from now on, until the power comes back. */
void sim_file_fail_page(struct sim_file *file, uint64_t position);
/* Sets the contents, durably. -EFBIG */
int sim_file_replace(struct sim_file *file, const void *data, uint64_t size);
/* Flips one bit, durably. -EINVAL beyond the end */
int sim_file_flip(struct sim_file *file, uint64_t position, unsigned bit);

#endif
