/* SPDX-License-Identifier: MIT */
/*
 * sim_env.h - a disk in memory that behaves as badly as env.h allows, and repeatably: the world of
 * the tests.
 *
 * It holds one store directory. Every call that changes something is a step; the power can be made
 * to fail at any step, which leaves that call half done and lets every call after it fail with
 * -EIO. The test then closes the store (which it must survive), turns the power on again with
 * sim_env_power_on, which decides what is left of everything that was not synced, and opens the
 * store again.
 *
 * Everything follows from the seed. Threads: any, one at a time inside (one lock around every
 * call).
 */
#ifndef SIM_ENV_H
#define SIM_ENV_H

#include "env.h"
#include "sim_file.h"

struct sim_env;

struct sim_options {
	uint64_t seed;
	uint64_t capacity;      /* bytes the disk can hold; 0: 1 GiB */
	uint64_t quota;         /* bytes, as sim_env_set_quota; 0: none */
	uint64_t file_size_max; /* bytes; 0: 4 MiB */
};

int sim_env_new(const struct sim_options *options, struct sim_env **out);
void sim_env_free(struct sim_env *sim);
struct kv_env *sim_env_table(struct sim_env *sim);

/* ---- power ----------------------------------------------------------------------------------- */

/* Steps so far: calls that create, write, size, sync, rename or remove. */
uint64_t sim_env_steps(struct sim_env *sim);
/* The power fails in the middle of the call that is step number `step` (1 is the first ever); 0:
 * not at all. */
void sim_env_cut_at(struct sim_env *sim, uint64_t step);
/* The power fails now. */
void sim_env_cut(struct sim_env *sim);
bool sim_env_is_cut(struct sim_env *sim);
/*
 * Decides what survived, and lets calls work again; also without a cut, as if the power had failed
 * between two calls. The store must be closed: the number of files and directories still open,
 * which must be 0.
 */
unsigned sim_env_power_on(struct sim_env *sim, enum sim_loss loss);

/* ---- faults ---------------------------------------------------------------------------------- */

enum sim_fault {
	SIM_FAULT_OPEN,
	SIM_FAULT_READ,
	SIM_FAULT_WRITE, /* may leave a part of the write behind, as a short one does */
	SIM_FAULT_SYNC,  /* loses what it could not write, for good */
	SIM_FAULT_DIR_SYNC,
	SIM_FAULT_ALLOCATE, /* or restoring what was released */
	SIM_FAULT_RELEASE,
	SIM_FAULT_MAP,
	SIM_FAULT_RENAME,
	SIM_FAULT_UNLINK,
	SIM_FAULT_BUFFER,
	SIM_FAULT_TRUNCATE,
	SIM_FAULT_DIR_CREATE,
	SIM_FAULT_DIR_LIST, /* some of the names have been said */
	SIM_FAULT_DIR_SPACE,
	SIM_FAULT_SIZE,
	SIM_FAULT_ALLOCATED,
	SIM_FAULT_LOCK,
	SIM_FAULT_RANDOM,
	SIM_FAULTS
};

/* The nth call of this kind from now on (1: the next) returns `error`; 0: none does. `times` calls
 * in a row. */
void sim_env_fail(
	struct sim_env *sim, enum sim_fault fault, uint64_t nth, uint64_t times, int error);
/* Calls of this kind so far. */
uint64_t sim_env_calls(struct sim_env *sim, enum sim_fault fault);
/* The page at this position becomes unreadable: zeros in every map, map_failed, and -EIO from
 * reads, until it is written. -ENOENT */
int sim_env_fail_page(struct sim_env *sim, const char *name, uint64_t position);
void sim_env_set_capacity(struct sim_env *sim, uint64_t capacity);
/* What the store may take of the disk: -EDQUOT beyond it, and dir_space does not show it; 0: all. */
void sim_env_set_quota(struct sim_env *sim, uint64_t quota);
/* Files and directories that may be open at once: -EMFILE beyond it; 0: any number. */
void sim_env_set_opens_max(struct sim_env *sim, unsigned count);
/* That are open now. */
unsigned sim_env_opens(struct sim_env *sim);
/*
 * From now on calls that read, write, sync and change names return up to `us` microseconds late,
 * half of them before they do anything, half of them after that; and a long write arrives in two
 * parts, the second one first, with other calls between them. Nothing follows from the seed any
 * more where there are several threads. 0: not any more.
 */
void sim_env_set_late(struct sim_env *sim, uint64_t us);
void sim_env_advance_us(struct sim_env *sim, uint64_t us);
/*
 * On to this moment of clock_us, for who does not know how often threads have looked at it; not
 * back.
 */
void sim_env_advance_to(struct kv_env *env, uint64_t us);

/* ---- the medium, for damage and for hostile images ------------------------------------------- */

/* The directory, made durably if it is not there. */
int sim_env_make_dir(struct sim_env *sim, const char *path);
/* A file's bytes as a reader sees them, until it is removed; NULL: no such file. */
const uint8_t *sim_env_bytes(struct sim_env *sim, const char *name, uint64_t *size);
/* Makes a file, or replaces its contents, durably. -EFBIG, -ENOMEM, -ENAMETOOLONG */
int sim_env_put_file(struct sim_env *sim, const char *name, const void *data, uint64_t size);
/* Flips one bit of a file, durably. -ENOENT, -EINVAL beyond its end */
int sim_env_flip(struct sim_env *sim, const char *name, uint64_t position, unsigned bit);
/* Another size, durably; new bytes are zeros. -ENOENT, -EFBIG */
int sim_env_resize(struct sim_env *sim, const char *name, uint64_t size);

#endif
