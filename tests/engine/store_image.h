/* SPDX-License-Identifier: MIT */
/*
 * store_image.h - a store's files as they are on a simulated disk: taken once, put on a new disk as
 * often as one is to be damaged; and where in them a record stands.
 */
#ifndef STORE_IMAGE_H
#define STORE_IMAGE_H

#include <stdbool.h>

#include "format.h"
#include "sim_env.h"

#define STORE_IMAGE_FILES_MAX 256u

struct store_image {
	struct store_image_file {
		char name[32];
		uint8_t *bytes;
		uint64_t size;
		uint64_t used; /* bytes, up to the last one that is not 0 */
	} files[STORE_IMAGE_FILES_MAX];
	unsigned count;
};

/* All files of the store in this directory, which is closed, by name. */
void store_image_take(struct store_image *image, struct sim_env *sim, const char *path);
void store_image_free(struct store_image *image);
/* A new disk with these files, in a directory of this name. */
struct sim_env *store_image_mount(const struct store_image *image, const char *path);
/* The next byte; of a long row of zeros, of which one is like the other, both ends and a few. */
uint64_t store_image_next(const struct store_image_file *file, uint64_t at);
const struct store_image_file *store_image_find(const struct store_image *image, const char *name);

/* A record of the log; the bytes are the image's. */
struct store_image_record {
	const struct format_record *record;
	unsigned file; /* of the image */
	uint32_t slot, offset; /* of its segment, in that */
	uint32_t length;       /* bytes */
	uint32_t batch_end; /* the offset behind its batch's last record; of a copy, its own end */
	bool cold;          /* the segment has copies */
	bool led;           /* the bare record before it says until when it was the newest */
};

typedef void store_image_each_fn(void *arg, const struct store_image_record *record);

/* Gives each record of each segment, by slot and offset, up to the first place without one. */
void store_image_records(const struct store_image *image, store_image_each_fn *each, void *arg);

#endif
