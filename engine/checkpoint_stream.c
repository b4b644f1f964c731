/* SPDX-License-Identifier: MIT */
/* checkpoint_stream.c - see checkpoint_stream.h. */
#include "checkpoint_stream.h"

#define CHUNK FORMAT_CHECKPOINT_CHUNK

void checkpoint_stream_begin(struct checkpoint_stream *stream, unsigned section)
{
	stream->section = section;
	stream->chunk = 0;
	stream->used = 0;
}

int checkpoint_stream_end(struct checkpoint_stream *stream)
{
	size_t used = stream->used;

	memcpy(checkpoint_writer_room(stream->writer), stream->bytes, used);
	stream->used = 0;
	stream->chunk++;
	return used ? checkpoint_writer_push(stream->writer, stream->section, used) : 0;
}

int checkpoint_stream_put(struct checkpoint_stream *stream, const void *data, size_t size)
{
	const uint8_t *from = data;
	int error = 0;

	while (size && !error) {
		size_t room = CHUNK - stream->used, part = size < room ? size : room;

		memcpy(stream->bytes + stream->used, from, part);
		stream->used += part;
		from += part;
		size -= part;
		if (part == room)
			error = checkpoint_stream_end(stream);
	}
	return error;
}
