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
#define IMAGE_FILES 9u
#define IMAGE_LOG_FILES 3u /* superblock and two segments */
#define IMAGE_CHECKPOINT 3u
#define IMAGE_COMMON_FILES 4u /* that every image has */
#define IMAGE_LIST 4u         /* of snapshots */
#define IMAGE_KEPT_FILES 5u
#define IMAGE_MANIFEST 5u /* from here on: only where compaction has been at work */
#define IMAGE_RECORDS_MAX 512u

/* What an image is of, as bits. */
#define IMAGE_COMPRESSED 1u
#define IMAGE_KEPT 2u /* it has snapshots, and keeps what they see */
#define IMAGE_COLD 4u /* compaction has copied some of it to a segment of its own */
#define IMAGE_KINDS 8u

struct image_file {
	const char *name; /* NULL: there is none */
	bool is_checkpoint, is_list, is_manifest;
	uint8_t *bytes; /* IMAGE_ROOM of room */
	uint32_t size;  /* bytes */
	uint32_t used;  /* bytes, up to the last that is not zero */
	/* offsets; of a checkpoint: of what is in its sections */
	uint32_t records[IMAGE_RECORDS_MAX];
	unsigned record_count;
};

struct image {
	struct image_file files[IMAGE_FILES];
};

/* A valid store, the same each time. Ends the program if it cannot be made. */
struct image *image_new(unsigned kind);
void image_free(struct image *image);
void image_copy(struct image *to, const struct image *from);
/* Makes the checksum of the record at an offset right, if its sizes leave it inside the file. */
void image_seal_record(struct image_file *file, uint32_t offset);
/* Makes the checksum of the superblock, of a segment's header, or of a list right. */
void image_seal_header(struct image_file *file);
/* Makes all checksums of the checkpoint right, if its parts are inside the file. */
void image_seal_checkpoint(struct image_file *file);
/* The files on a disk of their own. */
struct sim_env *image_mount(const struct image *image);

#endif
