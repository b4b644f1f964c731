/* SPDX-License-Identifier: MIT */
/*
 * status.c - a store's statistics as lines (see status.h), for people, and as JSON.
 */
#include "status.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "confine.h"
#include "fuse_front.h"

struct lines {
	char *buffer;
	size_t size, used;
	bool full;
};

static void lines_add(struct lines *lines, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void lines_add(struct lines *lines, const char *format, ...)
{
	size_t left = lines->size - lines->used;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(lines->buffer + lines->used, left, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= left)
		lines->full = true;
	else
		lines->used += (size_t)length;
}

static void lines_add_text(struct lines *lines, const char *name, const char *value)
{
	lines_add(lines, "%s ", name);
	for (; *value; value++) {
		if (*value == '\n')
			lines_add(lines, "\\n");
		else if (*value == '\\')
			lines_add(lines, "\\\\");
		else
			lines_add(lines, "%c", *value);
	}
	lines_add(lines, "\n");
}

static void add_store(struct lines *lines, const struct kv_info *info)
{
	unsigned i;

	lines_add(lines, "uuid ");
	for (i = 0; i < sizeof(info->uuid); i++)
		lines_add(lines, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			info->uuid[i]);
	lines_add(lines, "\nhash %s\n", info->hash == KV_HASH_BLAKE2B ? "blake2b" : "xxh3");
	if (info->compress == KV_COMPRESS_INLINE)
		lines_add(lines, "compress inline:%d\n", info->compress_level);
	else if (info->compress == KV_COMPRESS_BACKGROUND)
		lines_add(lines, "compress background:%d\n", info->compress_level);
	else
		lines_add(lines, "compress none\n");
	lines_add(lines, "segment_bytes %" PRIu32 "\n", info->segment_size);
	lines_add(lines, "read_only %d\n", info->read_only);
}

static void add_stats(struct lines *lines, const struct kv_info *info, const struct kv_stats *stats)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"live_bytes", stats->live_bytes},
		{"tombstone_bytes", stats->tombstone_bytes},
		{"log_bytes", stats->log_bytes},
		{"disk_bytes", stats->disk_bytes},
		{"avail_bytes", stats->avail_bytes},
		{"segments", stats->segments},
		{"snapshots", stats->snapshots},
		{"views", stats->views},
		{"kept_versions", stats->versions},
		{"kept_bytes", stats->kept_bytes},
		{"memory.index_bytes", stats->memory_index_bytes},
		{"memory.order_bytes", stats->memory_order_bytes},
		{"memory.versions_bytes", stats->memory_versions_bytes},
		{"memory.resident_bytes", stats->memory_resident_bytes},
		{"puts", stats->puts},
		{"deletes", stats->deletes},
		{"batches", stats->batches},
		{"gets", stats->gets},
		{"hits", stats->hits},
		{"appended_bytes", stats->appended_bytes},
		{"relocated_bytes", stats->relocated_bytes},
		{"written_bytes", stats->written_bytes},
		{"emptied_segments", stats->emptied_segments},
		{"compact_us", stats->compact_us},
		{"compressed_raw_bytes", stats->compressed_raw_bytes},
		{"compressed_bytes", stats->compressed_bytes},
		{"dictionaries", stats->dictionaries},
		{"flushes", stats->flushes},
		{"syncs", stats->syncs},
		{"synced_batches", stats->synced_batches},
		{"waits", stats->waits},
		{"brakes", stats->brakes},
		{"brake_us", stats->brake_us},
		{"damaged", stats->damaged},
		{"failed", stats->failed},
		{"scrubs", stats->scrubs},
		{"scrubbed_bytes", stats->scrubbed_bytes},
		{"scrub_findings", stats->scrub_findings},
		{"recovered_batches", stats->recovered_batches},
		{"recovered_bytes", stats->recovered_bytes},
		{"open_us", stats->open_us},
		{"checkpoints", stats->checkpoints},
		{"checkpoint_seq", stats->checkpoint_seq},
		{"checkpoint_bytes", stats->checkpoint_bytes},
		{"checkpoint_us", stats->checkpoint_us},
		{"behind_bytes", stats->behind_bytes},
		{"emptied_bytes", stats->emptied_bytes},
		{"last_seq", stats->last_seq},
		{"durable_seq", stats->durable_seq},
	};
	unsigned i;

	for (i = 0; i < info->keyspace_count; i++)
		lines_add(lines, "keys.%s %" PRIu64 "\n", info->keyspaces[i].name, stats->keys[i]);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		lines_add(lines, "%s %" PRIu64 "\n", rows[i].name, rows[i].value);
}

static void add_latencies(struct lines *lines, const struct kv_stats *stats)
{
	static const char *const names[] = {"get", "commit", "sync", "flush"};
	unsigned i;

	for (i = 0; i < KV_OPERATIONS; i++) {
		const struct kv_latency *latency = &stats->latencies[i];

		lines_add(lines, "latency.%s_samples %" PRIu64 "\n", names[i], latency->samples);
		if (!latency->samples)
			continue;
		lines_add(lines, "latency.%s_p50_ns %" PRIu64 "\n", names[i], latency->p50_ns);
		lines_add(lines, "latency.%s_p99_ns %" PRIu64 "\n", names[i], latency->p99_ns);
		lines_add(lines, "latency.%s_p999_ns %" PRIu64 "\n", names[i], latency->p999_ns);
		lines_add(lines, "latency.%s_max_ns %" PRIu64 "\n", names[i], latency->max_ns);
	}
}

static void add_ratio(struct lines *lines, const char *name, uint64_t value, uint64_t by)
{
	if (by)
		lines_add(lines, "ratio.%s %.2f\n", name, (double)value / (double)by);
}

/* Adds the ratios of the figures, where there is anything to divide by. */
static void add_ratios(
	struct lines *lines, const struct kv_info *info, const struct kv_stats *stats)
{
	uint64_t keys = stats->pieces, ordered = 0;
	unsigned i;

	for (i = 0; i < info->keyspace_count; i++) {
		keys += stats->keys[i];
		ordered += info->keyspaces[i].ordered ? stats->keys[i] : 0;
	}
	add_ratio(lines, "fill", stats->live_bytes, stats->log_bytes);
	add_ratio(lines, "space_amplification", stats->disk_bytes, stats->live_bytes);
	add_ratio(lines, "write_amplification", stats->written_bytes, stats->appended_bytes);
	add_ratio(lines, "batches_per_sync", stats->synced_batches, stats->syncs);
	add_ratio(lines, "live_bytes_per_key", stats->live_bytes, keys);
	add_ratio(lines, "index_bytes_per_key", stats->memory_index_bytes, keys);
	add_ratio(lines, "order_bytes_per_key", stats->memory_order_bytes, ordered);
}

void status_store_id(const char *store, char text[STATUS_STORE_ID_SIZE])
{
	struct stat st;

	*text = '\0';
	if (!stat(store, &st))
		snprintf(text, STATUS_STORE_ID_SIZE, "%u:%u:%" PRIu64, major(st.st_dev),
			minor(st.st_dev), (uint64_t)st.st_ino);
}

ssize_t status_write(struct kvfs *fs, const char *store, const struct status_mount *mount,
	char *buffer, size_t size)
{
	struct lines lines = {.buffer = buffer, .size = size};
	struct kv_stats stats;
	struct kv_info info;

	kv_info(kvfs_kv(fs), &info);
	kv_stats(kvfs_kv(fs), &stats);
	lines_add_text(&lines, "store", store);
	if (mount) {
		lines_add_text(&lines, "directory", mount->directory);
		lines_add(&lines, "store_id %s\ntransport %s\npid %d\nconfined %s\n",
			mount->store_id, mount->transport, (int)getpid(), confine_state());
	}
	lines_add(&lines, "version %s\n", KVFS_VERSION);
	add_store(&lines, &info);
	add_stats(&lines, &info, &stats);
	add_latencies(&lines, &stats);
	add_ratios(&lines, &info, &stats);
	return lines.full ? -ENOSPC : (ssize_t)lines.used;
}

ssize_t status_read_mount(const char *path, char *buffer, size_t size)
{
	ssize_t length = getxattr(path, FUSE_FRONT_STATUS_XATTR, buffer, size - 1);

	if (length < 0)
		return errno == EOPNOTSUPP ? -ENODATA : -errno;
	buffer[length] = '\0';
	return length;
}

/* What stands behind a name, to the end of the line and beyond; NULL: there is no such line. */
static const char *value_of(const char *lines, const char *name)
{
	size_t length = strlen(name);

	while (strncmp(lines, name, length) || lines[length] != ' ') {
		lines = strchr(lines, '\n');
		if (!lines)
			return NULL;
		lines++;
	}
	return lines + length + 1;
}

bool status_is_mount_of(const struct mount_entry *entry, const char *store)
{
	char lines[FUSE_FRONT_STATUS_SIZE_MAX + 1], id[STATUS_STORE_ID_SIZE];
	const char *told = NULL;

	if (!mount_entry_is_trusted(entry, store))
		return false;
	if (status_read_mount(entry->directory, lines, sizeof(lines)) >= 0)
		told = value_of(lines, "store_id");
	status_store_id(store, id);
	return !told || *told == '\n' || !*id ||
	       (strcspn(told, "\n") == strlen(id) && !strncmp(told, id, strlen(id)));
}

bool status_number(const char *lines, const char *name, uint64_t *value)
{
	const char *text = value_of(lines, name);

	if (text)
		*value = strtoull(text, NULL, 10);
	return text;
}

/* Cuts the next line into name and value; false at the end. */
static bool line_next(char **lines, char **name, char **value)
{
	char *line = strsep(lines, "\n"), *from, *to;

	if (!line || !*line)
		return false;
	*name = strsep(&line, " ");
	*value = line ? line : strchr(*name, '\0');
	for (from = to = *value; *from; from++) {
		if (from[0] == '\\' && from[1]) {
			from++;
			*to++ = *from == 'n' ? '\n' : *from;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
	return true;
}

/* Rows that are text, also where it looks like a number: a store may be called 007. */
static bool is_text(const char *name)
{
	return !strcmp(name, "store") || !strcmp(name, "directory") || !strcmp(name, "version");
}

/* Digits, and a fraction perhaps; not 007. */
static bool is_number(const char *value)
{
	size_t whole = strspn(value, "0123456789");

	if (whole > 1 && *value == '0')
		return false;
	if (whole && value[whole] == '.' && value[whole + 1])
		whole += 1 + strspn(value + whole + 1, "0123456789");
	return whole && !value[whole];
}

/* " (1.2 GiB)" behind a number of bytes worth it */
static void print_bytes(const char *name, const char *value, FILE *out)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t length = strlen(name);
	double number;
	unsigned i = 0;

	if (length < 5 || strcmp(name + length - 5, "bytes") || !is_number(value))
		return;
	number = strtod(value, NULL) / 1024;
	if (number < 1)
		return;
	while (number >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		number /= 1024;
		i++;
	}
	fprintf(out, " (%.1f %s)", number, units[i]);
}

/* A server may tell what it likes, and a terminal does what it is told. */
static void hide_controls(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == '\x7f')
			*text = '?';
	}
}

void status_print(const char *lines, FILE *out)
{
	char *copy = strdup(lines), *rest = copy, *name, *value;

	while (copy && line_next(&rest, &name, &value)) {
		hide_controls(name);
		hide_controls(value);
		fprintf(out, "%-22s %s", name, value);
		print_bytes(name, value, out);
		fputc('\n', out);
	}
	free(copy);
}

/* The bytes of the UTF-8 character that a text begins with; 0: it is none. */
static size_t character_length(const char *text)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = (unsigned char)*text;
	size_t length = first < 0x80       ? 1
			: first >> 5 == 6  ? 2
			: first >> 4 == 14 ? 3
			: first >> 3 == 30 ? 4
					   : 0;
	uint32_t value = first & (length == 1 ? 0x7fu : 0x7fu >> length);

	for (size_t i = 1; i < length; i++) {
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | ((unsigned char)text[i] & 0x3f);
	}
	if (!length || value < least[length] || value > 0x10ffff || value >> 11 == 0x1b)
		return 0;
	return length;
}

void status_print_json_string(const char *text, FILE *out)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			fprintf(out, "\\u%04x", *text);
		else if (character_length(text))
			text += fwrite(text, 1, character_length(text), out) - 1;
		else
			fprintf(out, "\\udc%02x", (unsigned char)*text);
	}
	fputc('"', out);
}

void status_print_json(const char *lines, FILE *out)
{
	char *copy = strdup(lines), *rest = copy, *name, *value, *dot, *group = NULL;
	const char *between = "\n";

	fputc('{', out);
	while (copy && line_next(&rest, &name, &value)) {
		dot = strchr(name, '.');
		if (dot)
			*dot++ = '\0';
		if (group && (!dot || strcmp(group, name))) {
			fputs("\n  }", out);
			between = ",\n";
			group = NULL;
		}
		if (dot && !group) {
			fprintf(out, "%s  ", between);
			status_print_json_string(name, out);
			fputs(": {\n", out);
			between = "";
			group = name;
		}
		fprintf(out, "%s%s", between, group ? "    " : "  ");
		status_print_json_string(dot ? dot : name, out);
		fputs(": ", out);
		if (is_number(value) && (dot || !is_text(name)))
			fputs(value, out);
		else
			status_print_json_string(value, out);
		between = ",\n";
	}
	fputs(group ? "\n  }\n}\n" : "\n}\n", out);
	free(copy);
}
