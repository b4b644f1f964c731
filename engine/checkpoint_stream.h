/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_stream.h - the bytes of one section after the other, as they come, cut into its
 * chunks.
 *
 * Threads: one.
 */
#ifndef CHECKPOINT_STREAM_H
#define CHECKPOINT_STREAM_H

#include "checkpoint_file.h"

struct checkpoint_stream {
	struct checkpoint_writer *writer;
	unsigned section;
	uint32_t chunk; /* of the section */
	size_t used;	/* of the chunk, in bytes */
	uint8_t bytes[FORMAT_CHECKPOINT_CHUNK];
};

void checkpoint_stream_begin(struct checkpoint_stream *stream, unsigned section);
int checkpoint_stream_put(struct checkpoint_stream *stream, const void *data, size_t size);
int checkpoint_stream_end(struct checkpoint_stream *stream);

#endif
