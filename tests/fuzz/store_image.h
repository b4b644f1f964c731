/* SPDX-License-Identifier: MIT */
/*
 * store_image.h - a small valid store as bytes: what the store fuzzer changes, record by record if
 * need be.
 */
#ifndef STORE_IMAGE_H
#define STORE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim_env.h"

#define IMAGE_STORE_PATH "store"
#define IMAGE_SEGMENT_SIZE (1u << 20)
#define IMAGE_ROOM (2u << 20)
#define IMAGE_FILES 5u /* superblock, a full segment, the last segment, the checkpoint, the list of snapshots */
#define IMAGE_COMMON_FILES 4u /* that every image has */
#define IMAGE_LOG_FILES 3u
#define IMAGE_CHECKPOINT 3u
#define IMAGE_LIST 4u
#define IMAGE_RECORDS_MAX 512u

struct image_file {
	const char *name;
	bool is_checkpoint, is_list;
	uint8_t *bytes;                      /* IMAGE_ROOM of room */
	uint32_t size;                       /* bytes */
	uint32_t used;                       /* bytes, up to the last that is not zero */
	uint32_t records[IMAGE_RECORDS_MAX]; /* offsets; of a checkpoint: of what is in its sections */
	unsigned record_count;
};

struct image {
	struct image_file files[IMAGE_FILES];
};

/* A valid store, the same each time, which may have snapshots. Ends the program if it cannot be made. */
struct image *image_new(bool compressed, bool snapshots);
void image_free(struct image *image);
void image_copy(struct image *to, const struct image *from);
/* Makes the checksum of the record at an offset right, if its sizes leave it inside the file. */
void image_seal_record(struct image_file *file, uint32_t offset);
/* Makes the checksum of the superblock, or of a segment's header, right. */
void image_seal_header(struct image_file *file);
/* Makes all checksums of the checkpoint right, if its parts are inside the file. */
void image_seal_checkpoint(struct image_file *file);
/* The files on a disk of their own. */
struct sim_env *image_mount(const struct image *image);

#endif
