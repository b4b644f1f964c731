/* SPDX-License-Identifier: MIT */
/* checkpoint_file.c - see checkpoint_file.h. */
#include "checkpoint_file.h"

#include <errno.h>
#include <stdlib.h>

#define CHUNK FORMAT_CHECKPOINT_CHUNK

/* ---- reading --------------------------------------------------------------------------------- */

static int read_table(struct checkpoint_file *file)
{
	const struct format_checkpoint *header = &file->header;
	size_t table_size = header->chunks * sizeof(*file->table);
	uint64_t size;
	int error = file->env->file_size(file->file, &size);

	if (error)
		return error;
	/* The sizes are checked before memory is taken for the table. */
	if (header->chunks >= UINT32_MAX || size < (1 + header->chunks) * CHUNK + table_size)
		return -EUCLEAN;
	file->table = malloc(table_size + 1);
	file->chunks = malloc(header->chunks * sizeof(*file->chunks) + 1);
	if (!file->table || !file->chunks)
		return -ENOMEM;
	error = file->env->file_read(file->file, file->table, table_size,
				     (1 + header->chunks) * CHUNK);
	if (!error && format_sum(file->table, table_size) != header->table_check)
		error = -EUCLEAN;
	return error;
}

/* Which chunks are a section's, in order. */
static int sort_chunks(struct checkpoint_file *file)
{
	const struct format_checkpoint *header = &file->header;
	uint64_t next[FORMAT_CHECKPOINT_SECTIONS];
	uint64_t i, sum = 0;

	for (i = 0; i < FORMAT_CHECKPOINT_SECTIONS; i++) {
		next[i] = file->starts[i] = sum;
		sum += format_checkpoint_chunks_of(header->sizes[i]);
	}
	file->starts[i] = sum;
	for (i = 0; i < header->chunks; i++) {
		uint32_t section = file->table[i].section;

		if (section >= FORMAT_CHECKPOINT_SECTIONS ||
		    next[section] == file->starts[section + 1])
			return -EUCLEAN;
		file->chunks[next[section]++] = (uint32_t)i;
	}
	return 0;
}

int checkpoint_file_open(struct checkpoint_file *file, const struct kv_env *env,
			 struct env_dir *dir, const uint8_t uuid[16])
{
	int error;

	memset(file, 0, sizeof(*file));
	file->env = env;
	error = env->file_open(dir, FORMAT_CHECKPOINT_NAME, ENV_READ_ONLY, &file->file);
	if (error)
		return error;
	error = env->file_read(file->file, &file->header, sizeof(file->header), 0);
	if (!error)
		error = format_checkpoint_validate(&file->header, uuid);
	if (!error)
		error = read_table(file);
	if (!error)
		error = sort_chunks(file);
	if (error)
		checkpoint_file_close(file);
	return error == -ENOENT ? -EUCLEAN : error;
}

void checkpoint_file_close(struct checkpoint_file *file)
{
	if (file->file)
		file->env->file_close(file->file);
	free(file->table);
	free(file->chunks);
	file->file = NULL;
	file->table = NULL;
	file->chunks = NULL;
}

/* In the order of the file. */
static int read_chunk(const struct checkpoint_file *file, uint64_t chunk, void *out)
{
	int error = file->env->file_read(file->file, out, CHUNK, (1 + chunk) * CHUNK);

	if (!error && format_sum(out, CHUNK) != file->table[chunk].sum)
		error = -EUCLEAN;
	return error;
}

int checkpoint_file_chunk(const struct checkpoint_file *file, unsigned section, uint64_t n,
			  void *out)
{
	if (n >= file->starts[section + 1] - file->starts[section])
		return -EUCLEAN;
	return read_chunk(file, file->chunks[file->starts[section] + n], out);
}

int checkpoint_file_verify(const struct checkpoint_file *file, uint64_t n, unsigned count_max)
{
	uint8_t *bytes = malloc(CHUNK);
	int count = 0, error = bytes ? 0 : -ENOMEM;

	for (; !error && n < file->header.chunks && (unsigned)count < count_max; n++, count++)
		error = read_chunk(file, n, bytes);
	free(bytes);
	return error ? error : count;
}

int checkpoint_reader_new(const struct checkpoint_file *file, unsigned section,
			  struct checkpoint_reader **out)
{
	struct checkpoint_reader *reader = malloc(sizeof(*reader));

	if (!reader)
		return -ENOMEM;
	reader->file = file;
	reader->section = section;
	reader->chunk = 0;
	reader->left = file->header.sizes[section];
	reader->at = reader->used = 0;
	*out = reader;
	return 0;
}

static int next_chunk(struct checkpoint_reader *reader)
{
	int error = checkpoint_file_chunk(reader->file, reader->section, reader->chunk++,
					  reader->bytes);

	if (error)
		return error;
	reader->at = 0;
	reader->used = sizeof(reader->bytes);
	return 0;
}

int checkpoint_reader_seek(struct checkpoint_reader *reader, uint64_t position)
{
	uint64_t size = reader->file->header.sizes[reader->section];
	int error = 0;

	if (position > size)
		return -EUCLEAN;
	/* Reading one stretch after the other, the reader is there already. */
	if (reader->left == size - position)
		return 0;
	reader->chunk = position / CHUNK;
	reader->left = size - position;
	reader->at = reader->used = 0;
	if (position % CHUNK)
		error = next_chunk(reader);
	reader->at = position % CHUNK;
	return error;
}

int checkpoint_reader_read(struct checkpoint_reader *reader, void *out, size_t size)
{
	uint8_t *to = out;

	if (size > reader->left)
		return -EUCLEAN;
	reader->left -= size;
	while (size) {
		size_t part = reader->used - reader->at;
		int error;

		if (!part) {
			error = next_chunk(reader);
			if (error)
				return error;
			continue;
		}
		if (part > size)
			part = size;
		memcpy(to, reader->bytes + reader->at, part);
		reader->at += part;
		to += part;
		size -= part;
	}
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

int checkpoint_writer_open(struct checkpoint_writer *writer, struct kv_env *env,
			   struct env_dir *dir, unsigned buffer_chunks, bool around)
{
	int error;

	memset(writer, 0, sizeof(*writer));
	writer->env = env;
	writer->dir = dir;
	writer->room = buffer_chunks;
	(void)env->unlink(dir, FORMAT_CHECKPOINT_NEW_NAME);
	error = env->file_open(dir, FORMAT_CHECKPOINT_NEW_NAME,
			       ENV_CREATE | (around ? ENV_DIRECT : 0), &writer->file);
	if (!error)
		error = env->buffer_new(env, (size_t)buffer_chunks * CHUNK,
					(void **)&writer->buffer);
	if (error)
		checkpoint_writer_close(writer);
	return error;
}

void checkpoint_writer_close(struct checkpoint_writer *writer)
{
	if (writer->file) {
		writer->env->file_close(writer->file);
		(void)writer->env->unlink(writer->dir, FORMAT_CHECKPOINT_NEW_NAME);
	}
	writer->env->buffer_free(writer->env, writer->buffer, (size_t)writer->room * CHUNK);
	free(writer->table);
	writer->file = NULL;
	writer->buffer = NULL;
	writer->table = NULL;
}

static int drain(struct checkpoint_writer *writer)
{
	int error = 0;

	if (writer->used)
		error = writer->env->file_write(writer->file, writer->buffer,
						(size_t)writer->used * CHUNK,
						(1 + writer->chunk) * CHUNK, false);
	writer->chunk += writer->used;
	writer->used = 0;
	return error;
}

uint8_t *checkpoint_writer_room(struct checkpoint_writer *writer)
{
	return writer->buffer + (size_t)writer->used * CHUNK;
}

static int enter(struct checkpoint_writer *writer, const struct format_checkpoint_chunk *chunk)
{
	struct format_checkpoint_chunk *table;
	uint64_t n = writer->chunk + writer->used, room = writer->table_room * 2 + 64;

	if (n == writer->table_room) {
		table = realloc(writer->table, room * sizeof(*table));
		if (!table)
			return -ENOMEM;
		writer->table = table;
		writer->table_room = room;
	}
	writer->table[n] = *chunk;
	return 0;
}

int checkpoint_writer_push(struct checkpoint_writer *writer, unsigned section, size_t size)
{
	uint8_t *bytes = checkpoint_writer_room(writer);
	struct format_checkpoint_chunk chunk = {.section = section};
	int error;

	memset(bytes + size, 0, CHUNK - size);
	chunk.sum = format_sum(bytes, CHUNK);
	error = enter(writer, &chunk);
	if (error)
		return error;
	writer->header.sizes[section] += size;
	return ++writer->used == writer->room ? drain(writer) : 0;
}

int checkpoint_writer_put(struct checkpoint_writer *writer, unsigned section, const void *data,
			  size_t size)
{
	const uint8_t *from = data;
	int error = 0;

	while (size && !error) {
		size_t part = size < CHUNK ? size : CHUNK;

		memcpy(checkpoint_writer_room(writer), from, part);
		error = checkpoint_writer_push(writer, section, part);
		from += part;
		size -= part;
	}
	return error;
}

/* All chunks are made durable before the header that speaks of them. */
static int write_rest(struct checkpoint_writer *writer)
{
	struct format_checkpoint *header = &writer->header;
	const struct kv_env *env = writer->env;
	size_t size;
	int error = drain(writer);

	if (error)
		return error;
	header->chunks = writer->chunk;
	size = writer->chunk * sizeof(*writer->table);
	header->table_check = format_sum(writer->table, size);
	format_checkpoint_seal(header);
	error = env->file_write(writer->file, writer->table, size, (1 + writer->chunk) * CHUNK,
				false);
	if (!error)
		error = env->file_write(writer->file, header, sizeof(*header), 0, true);
	return error;
}

int checkpoint_writer_finish(struct checkpoint_writer *writer, bool *renamed)
{
	const struct kv_env *env = writer->env;
	int error = write_rest(writer);

	if (!error)
		error = env->rename(writer->dir, FORMAT_CHECKPOINT_NEW_NAME,
				    FORMAT_CHECKPOINT_NAME);
	if (error)
		return error;
	*renamed = true;
	env->file_close(writer->file);
	writer->file = NULL;
	return env->dir_sync(writer->dir);
}
