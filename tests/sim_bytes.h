/* SPDX-License-Identifier: MIT */
/*
 * sim_bytes.h - the bytes of a file of the simulated disk: an array that never moves, is zero
 * where nothing was written, and takes no memory there.
 *
 * The arrays of files that are gone are kept for files to come, so that the kernel need not give,
 * clear and take back the same pages for every life of a store. Meanwhile nobody can touch one in
 * four of them: who uses a map of a file that is gone meets a fault, sooner or later.
 *
 * Threads: an array is its user's; taking and giving back may happen in any thread.
 */
#ifndef SIM_BYTES_H
#define SIM_BYTES_H

#include <stdint.h>

struct sim_file;

struct sim_bytes {
	uint8_t *at;  /* NULL: none */
	uint64_t end; /* behind it nothing was written since it was taken: zeros */
};

/* `size_max` bytes, all zeros, which belong to `file`. -ENOMEM */
int sim_bytes_new(uint64_t size_max, struct sim_file *file, struct sim_bytes *out);
void sim_bytes_free(struct sim_bytes *bytes);
/* The file to which the array that begins here belongs. */
struct sim_file *sim_bytes_owner(const void *at);

/* Only what is different is stored (sim_bytes.c says why). The caller keeps to the size. */
void sim_bytes_write(struct sim_bytes *bytes, const void *data, uint64_t length, uint64_t position);
/* Zeros from there on. */
void sim_bytes_clear(struct sim_bytes *bytes, uint64_t from);
/* Becomes what the other one is. */
void sim_bytes_copy(struct sim_bytes *to, const struct sim_bytes *from);

#endif
