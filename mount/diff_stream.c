/* SPDX-License-Identifier: MIT */
/*
 * diff_stream.c - takes apart what a server tells of differences (see diff_stream.h): nothing is
 * believed of it.
 */
#include "diff_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What has come of the row that comes next. */
struct row_text {
	char *bytes; /* its sign, whether it is a directory's, its path */
	size_t size, room;
};

static int text_add(struct row_text *text, const char *bytes, size_t size)
{
	size_t room = text->room ? text->room : 512;
	char *more;

	while (room < text->size + size)
		room *= 2;
	if (room != text->room) {
		more = realloc(text->bytes, room);
		if (!more)
			return -ENOMEM;
		text->bytes = more;
		text->room = room;
	}
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
	return 0;
}

/* A whole row, with its NUL. */
static int take_row(const struct row_text *text, struct diff_rows *rows)
{
	if (text->size < 3 || !memchr("+-M", text->bytes[0], 3))
		return -EPROTO;
	return diff_rows_add(rows, text->bytes[0], text->bytes + 2, text->bytes[1] == '/');
}

/* Takes the rows out of a part of the answer; the last one may go on in the next. */
static int take_rows(struct row_text *text, const char *part, size_t size, struct diff_rows *rows)
{
	int rc = 0;

	while (size && !rc) {
		size_t length = strnlen(part, size), taken = length < size ? length + 1 : size;

		rc = text_add(text, part, taken);
		if (!rc && length < size) {
			rc = take_row(text, rows);
			text->size = 0;
		}
		part += taken;
		size -= taken;
	}
	return rc;
}

int diff_stream_read(struct mount_stream *stream, struct diff_rows *rows)
{
	struct row_text text = {NULL, 0, 0};
	const char *part;
	ssize_t size;
	int rc = 0;

	while (!rc && (size = mount_stream_next(stream, &part)) != 0)
		rc = size < 0 ? (int)size : take_rows(&text, part, (size_t)size, rows);
	if (!rc && text.size)
		rc = -EPROTO;
	free(text.bytes);
	return rc;
}
