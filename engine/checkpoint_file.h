/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_file.h - the file of a checkpoint, chunk by chunk: format.h draws it. Knows sections
 * and sums, and nothing of what they hold.
 */
#ifndef CHECKPOINT_FILE_H
#define CHECKPOINT_FILE_H

#include "env.h"
#include "format.h"

/* ---- reading: any thread, once it is open ---------------------------------------------------- */

struct checkpoint_file {
	const struct kv_env *env;
	struct env_file *file;
	struct format_checkpoint header;
	struct format_checkpoint_chunk *table; /* [header.chunks] */
	uint32_t *chunks;		       /* the same, section by section */
	uint64_t starts[FORMAT_CHECKPOINT_SECTIONS + 1]; /* of the sections in `chunks` */
};

/* -ENOENT, -ENOMEM, -EUCLEAN or another error: it cannot be used. */
int checkpoint_file_open(struct checkpoint_file *file, const struct kv_env *env,
			 struct env_dir *dir, const uint8_t uuid[16]);
void checkpoint_file_close(struct checkpoint_file *file);
/* The nth chunk of a section, verified. -EUCLEAN */
int checkpoint_file_chunk(const struct checkpoint_file *file, unsigned section, uint64_t n,
			  void *out);
/*
 * Verifies at most so many chunks from the nth of the file on, whatever they hold. How many they
 * were; -EUCLEAN, -ENOMEM
 */
int checkpoint_file_verify(const struct checkpoint_file *file, uint64_t n, unsigned count_max);

/* A section from its beginning to its end. */
struct checkpoint_reader {
	const struct checkpoint_file *file;
	unsigned section;
	uint64_t chunk;	 /* the next one */
	uint64_t left;	 /* bytes of the section */
	size_t at, used; /* in bytes */
	uint8_t bytes[FORMAT_CHECKPOINT_CHUNK];
};

/* -ENOMEM */
int checkpoint_reader_new(const struct checkpoint_file *file, unsigned section,
			  struct checkpoint_reader **out);
/* Goes on at this byte of the section. -EUCLEAN */
int checkpoint_reader_seek(struct checkpoint_reader *reader, uint64_t position);
/* -EUCLEAN: there is not so much, or it is damaged. */
int checkpoint_reader_read(struct checkpoint_reader *reader, void *out, size_t size);

/* ---- writing: one thread --------------------------------------------------------------------- */

/* What is written becomes the checkpoint when checkpoint_writer_finish returns 0. */
struct checkpoint_writer {
	struct kv_env *env;
	struct env_dir *dir;
	struct env_file *file;
	struct format_checkpoint header; /* the owner fills in what is not of the file's own form */
	struct format_checkpoint_chunk *table;
	uint64_t table_room;
	uint64_t chunk;	      /* that the buffer begins with */
	unsigned room, used;  /* chunks of the buffer */
	uint8_t *buffer;
};

/* around: around the page cache. buffer_chunks: are written at a time. */
int checkpoint_writer_open(struct checkpoint_writer *writer, struct kv_env *env,
			   struct env_dir *dir, unsigned buffer_chunks, bool around);
/* Gives up what was not finished. */
void checkpoint_writer_close(struct checkpoint_writer *writer);
/* Where the next chunk goes: 65,536 bytes that hold anything. */
uint8_t *checkpoint_writer_room(struct checkpoint_writer *writer);
/*
 * Writes the next `size` bytes of the section: a whole chunk, but for the section's last one, which
 * is filled up with zeros.
 */
int checkpoint_writer_push(struct checkpoint_writer *writer, unsigned section, size_t size);
/* All that is left of a section. */
int checkpoint_writer_put(struct checkpoint_writer *writer, unsigned section, const void *data,
			  size_t size);
/*
 * Durable; then *renamed tells whether the file has the checkpoint's name, if perhaps not for good.
 */
int checkpoint_writer_finish(struct checkpoint_writer *writer, bool *renamed);

#endif
