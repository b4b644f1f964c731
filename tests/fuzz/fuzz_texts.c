/* SPDX-License-Identifier: MIT */
/*
 * fuzz_texts.c - what the commands are told by others: a server's status, which is printed, as JSON
 * too, and that is JSON then; its answer to a question for differences, in whatever parts; the
 * mount table; and options, as somebody's fstab may have them.
 *
 * The input's first byte says which. Where the system would be asked, it is given the input.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <time.h>

#include "confine.h"
#include "diff_stream.h"
#include "fuzz.h"
#include "message.h"
#include "mount_options.h"
#include "mount_table.h"
#include "options.h"
#include "snapshot.h"
#include "status.h"

enum text { TEXT_STATUS, TEXT_ROWS, TEXT_TABLE, TEXT_OPTIONS, TEXTS };

static struct fuzz_input *asked; /* NULL: the system is */

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

/* ---- instead of the program's ---------------------------------------------------------------- */

void message(enum kv_severity severity, const char *format, ...)
{
	char text[MESSAGE_SIZE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
}

void snapshot_print_name(const char *name)
{
}

const char *confine_state(void)
{
	return "none";
}

/* ---- instead of the system's ----------------------------------------------------------------- */

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
ssize_t __wrap_fgetxattr(int fd, const char *name, void *value, size_t size);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);

FILE *__wrap_fopen(const char *path, const char *mode)
{
	if (asked && !strcmp(path, "/proc/self/mountinfo"))
		return fmemopen((void *)asked->data, asked->left ? asked->left : 1, "r");
	return __real_fopen(path, mode);
}

/* A part: how long it is, its mark and bytes; or an error. The last one when all is given. */
ssize_t __wrap_fgetxattr(int fd, const char *name, void *value, size_t size)
{
	size_t length;
	char *part = value;

	if (!asked->left) {
		*part = FUSE_FRONT_STREAM_LAST;
		return 1;
	}
	length = fuzz_u8(asked);
	if (length == 255) {
		errno = 1 + fuzz_u8(asked) % 120;
		return -1;
	}
	must(length <= size, "a small buffer");
	fuzz_bytes(asked, part, length);
	return (ssize_t)length;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
	return 0;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static const char *json_string(const char *at)
{
	must(*at++ == '"', "JSON: no string");
	for (; *at != '"'; at++) {
		must((unsigned char)*at >= ' ', "JSON: a control character in a string");
		if (*at == '\\')
			at++;
	}
	return at + 1;
}

static const char *json_blanks(const char *at)
{
	return at + strspn(at, " \n");
}

/* Objects, strings and numbers. */
static const char *json_value(const char *at)
{
	size_t digits = strspn(at, "0123456789.");

	if (*at == '"')
		return json_string(at);
	if (digits) {
		must(*at != '0' || !isdigit((unsigned char)at[1]), "JSON: a number of no form");
		return at + digits;
	}
	must(*at == '{', "JSON: no value");
	at = json_blanks(at + 1);
	while (*at != '}') {
		at = json_blanks(json_string(at));
		must(*at == ':', "JSON: a name without a value");
		at = json_blanks(json_value(json_blanks(at + 1)));
		must(*at == ',' || *at == '}', "JSON: no end of an object");
		if (*at == ',') {
			at = json_blanks(at + 1);
			must(*at == '"', "JSON: a comma at the end");
		}
	}
	return at + 1;
}

/* All that is left of it, as a string. */
static char *rest_of(const struct fuzz_input *input)
{
	char *text = malloc(input->left + 1);

	must(text != NULL, "memory");
	memcpy(text, input->data, input->left);
	text[input->left] = '\0';
	return text;
}

static void read_status(struct fuzz_input *input)
{
	char *lines = rest_of(input), *text = NULL;
	size_t size = 0;
	uint64_t value;
	FILE *out = open_memstream(&text, &size);

	must(out != NULL, "memory");
	status_print(lines, out);
	fputc('\0', out);
	fflush(out);
	for (size_t i = 0; text[i]; i++)
		must(!iscntrl((unsigned char)text[i]) || text[i] == '\n', "a control character");
	rewind(out);
	status_print_json(lines, out);
	fputc('\0', out);
	fclose(out);
	must(!*json_blanks(json_value(text)), "JSON: something behind its end");
	(void)status_number(lines, "pid", &value);
	free(text);
	free(lines);
}

static void read_rows(struct fuzz_input *input)
{
	struct diff_rows rows = {NULL, 0, 0};
	struct mount_stream *stream;

	asked = input;
	if (!mount_stream_open(0, FUSE_FRONT_DIFF_XATTR, 1, &stream)) {
		(void)!diff_stream_read(stream, &rows);
		mount_stream_close(stream);
	}
	asked = NULL;
	for (size_t i = 0; i < rows.count; i++)
		must(memchr("+-M", rows.rows[i].sign, 3), "a row of another form");
	diff_rows_fini(&rows);
}

static bool is_it(const struct mount_entry *entry, const char *source)
{
	return *entry->directory && *entry->type && !strcmp(entry->source, source);
}

static void read_table(struct fuzz_input *input)
{
	struct mount_entry entry;

	asked = input;
	if (!mount_table_of("/store", is_it, &entry))
		mount_entry_fini(&entry);
	if (!mount_table_only("/store", is_it, &entry))
		mount_entry_fini(&entry);
	if (!mount_table_at("/", &entry))
		mount_entry_fini(&entry);
	asked = NULL;
}

static void read_options(struct fuzz_input *input)
{
	bool sloppy = fuzz_u8(input) & 1;
	char *list = rest_of(input), *given;
	struct mount_options options;

	mount_options_init(&options);
	if (!mount_options_parse(&options, list, sloppy)) {
		given = mount_options_fuse(&options);
		must(given && strstr(given, "default_permissions"), "the kernel does not look");
		free(given);
	}
	mount_options_fini(&options);
	free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[TEXTS])(struct fuzz_input *) = {
		[TEXT_STATUS] = read_status,
		[TEXT_ROWS] = read_rows,
		[TEXT_TABLE] = read_table,
		[TEXT_OPTIONS] = read_options,
	};
	struct fuzz_input input = {data, size};

	readers[fuzz_u8(&input) % TEXTS](&input);
	return 0;
}
