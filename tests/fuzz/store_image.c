/* SPDX-License-Identifier: MIT */
/* store_image.c - a small valid store as bytes: what the store fuzzer changes, record by record if
 * need be. */
#include "store_image.h"

#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "kv.h"

static const char *const file_names[IMAGE_FILES] = {"super", "seg-00000000", "seg-00000001",
	FORMAT_CHECKPOINT_NAME, FORMAT_SNAPSHOTS_NAME, FORMAT_MANIFEST_NAME, "seg-00000002",
	"seg-00000003", "seg-00000004"};

static void must(bool holds)
{
	if (!holds)
		abort();
}

/*
 * Some of everything: both keyspaces, batches, deletions, MARKs, an END, large values; and what
 * snapshots keep.
 */
static void fill(struct kv *kv, bool snapshots)
{
	static uint8_t value[300000], key[300];
	struct sim_random random = {1};
	struct kv_batch *batch;

	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 7);
	/* Small values compress, large ones do not: they are to fill a segment in either store. */
	for (unsigned i = 0; i < sizeof(value); i++)
		value[i] = i < 5000 ? (uint8_t)(i * i >> 8) : (uint8_t)sim_random_next(&random);
	must(kv_batch_new(kv, &batch) == 0);
	for (unsigned i = 0; i < 40; i++) {
		must(kv_put(kv, i % 2, key + i, 1 + i * 5, value, i * 120, NULL) == 0);
		must(kv_batch_put(batch, 1, key, 1 + i, value, i) == 0);
		must(kv_batch_delete(batch, 0, key + i / 2, 1 + i) == 0);
		if (i % 8 == 7)
			must(kv_commit(kv, batch, NULL) == 0);
		if (i % 10 == 9)
			must(kv_put(kv, 0, &i, sizeof(i), value, sizeof(value), NULL) == 0);
		if (i % 16 == 15)
			must(kv_sync(kv, kv_last_seq(kv)) == 0);
		if (i % 24 == 11 && snapshots)
			must(kv_snapshot_create(kv, i < 24 ? "1" : "2", NULL) == 0);
	}
	/* Values in pieces, with holes, one of them cut off and one replaced. */
	must(kv_write(kv, 1, "large", 5, 150000, value, 3000, NULL) == 0);
	must(kv_write(kv, 1, "large", 5, 10, value, 100, NULL) == 0);
	must(kv_write(kv, 1, "l", 1, 70000, value, 300, NULL) == 0);
	must(kv_resize(kv, 1, "large", 5, 140000, NULL) == 0);
	must(kv_write(kv, 0, "old", 3, 66000, value, 300, NULL) == 0);
	must(kv_put(kv, 0, "old", 3, value, 300, NULL) == 0);
	kv_batch_free(batch);
}

/* Garbage between what is needed, and all that moved to a cold segment; then some log behind it. */
static void fill_cold(struct kv *kv)
{
	static uint8_t value[200000];
	struct kv_prune_options options = {.garbage_percent = 1};
	struct kv_prune_report report;
	struct sim_random random = {2};

	for (unsigned i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)sim_random_next(&random);
	for (unsigned i = 0; i < 14; i++) {
		must(kv_put(kv, 0, "often", 5, value, sizeof(value), NULL) == 0);
		must(kv_put(kv, i % 2, &i, sizeof(i), value + i, 3000, NULL) == 0);
	}
	must(kv_prune(kv, &options, NULL, NULL, &report) == 0 && report.copied_bytes > 0);
	for (unsigned i = 0; i < 10; i++)
		must(kv_put(kv, i % 2, &i, sizeof(i), value, 100, NULL) == 0);
}

static void find_records(struct image_file *file)
{
	struct format_segment header;
	uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE;
	int64_t length;

	memcpy(&header, file->bytes, sizeof(header));
	while (offset < file->size && file->record_count < IMAGE_RECORDS_MAX) {
		length = format_record_validate((struct format_record *)(file->bytes + offset),
			file->size - offset, header.salt, 2);
		if (length <= 0)
			break;
		file->records[file->record_count++] = offset;
		offset += (uint32_t)length;
	}
	must(file->record_count > 0);
}

/* Every `stride` bytes of the chunks, where there is anything. */
static void find_in_chunks(struct image_file *file, uint32_t stride)
{
	const struct format_checkpoint *header = (struct format_checkpoint *)file->bytes;
	uint32_t offset = FORMAT_CHECKPOINT_CHUNK;
	uint32_t end = offset + (uint32_t)header->chunks * FORMAT_CHECKPOINT_CHUNK;

	for (; offset + stride <= end && file->record_count < IMAGE_RECORDS_MAX; offset += stride)
		if (file->bytes[offset] ||
			memcmp(file->bytes + offset, file->bytes + offset + 1, stride - 1) != 0)
			file->records[file->record_count++] = offset;
	must(file->record_count > 0);
}

static void take(struct image *image, struct sim_env *sim, unsigned files)
{
	for (unsigned i = 0; i < files; i++) {
		struct image_file *file = &image->files[i];
		const uint8_t *bytes;
		uint64_t size;

		file->name = file_names[i];
		file->is_checkpoint = i == IMAGE_CHECKPOINT;
		file->is_list = i == IMAGE_LIST;
		file->is_manifest = i == IMAGE_MANIFEST;
		bytes = sim_env_bytes(sim, file->name, &size);
		/* Compaction empties some segments, and snapshots are not in every store. */
		if (!bytes && i > 0 && files == IMAGE_FILES) {
			file->name = NULL;
			continue;
		}
		file->bytes = malloc(IMAGE_ROOM);
		must(bytes && file->bytes && size <= IMAGE_ROOM);
		memcpy(file->bytes, bytes, size);
		file->size = file->used = (uint32_t)size;
		while (file->used > 0 && file->bytes[file->used - 1] == 0)
			file->used--;
		if (i == IMAGE_CHECKPOINT)
			find_in_chunks(file, 8);
		else if (i > 0 && i != IMAGE_LIST && i != IMAGE_MANIFEST)
			find_records(file);
	}
}

static unsigned image_files(unsigned kind)
{
	return kind & IMAGE_COLD   ? IMAGE_FILES
	       : kind & IMAGE_KEPT ? IMAGE_KEPT_FILES
				   : IMAGE_COMMON_FILES;
}

struct image *image_new(unsigned kind)
{
	static const struct kv_keyspace_spec keyspaces[] = {{"hashed", false}, {"ordered", true}};
	struct kv_create_options create = {
		.keyspaces = keyspaces,
		.keyspace_count = 2,
		.compress = kind & IMAGE_COMPRESSED ? KV_COMPRESS_INLINE : KV_COMPRESS_NONE,
		.segment_size = IMAGE_SEGMENT_SIZE,
	};
	struct kv_open_options open = {.flags = KV_OPEN_INLINE, .checkpoint_interval = 1};
	struct image *image = calloc(1, sizeof(*image));
	struct sim_env *sim;
	struct kv *kv;

	must(image != NULL);
	must(sim_env_new(&(struct sim_options){.seed = 1}, &sim) == 0);
	must(kv_create(sim_env_table(sim), IMAGE_STORE_PATH, &create, NULL, NULL) == 0);
	must(kv_open(sim_env_table(sim), IMAGE_STORE_PATH, &open, &kv) == 0);
	fill(kv, kind & IMAGE_KEPT);
	if (kind & IMAGE_COLD)
		fill_cold(kv);
	must(kv_sync(kv, kv_last_seq(kv)) == 0);
	/*
	 * As a crash leaves it: with a checkpoint of which parts changed while it was written, and
	 * log behind it.
	 */
	take(image, sim, image_files(kind));
	must(kv_close(kv) == 0);
	sim_env_free(sim);
	return image;
}

void image_free(struct image *image)
{
	for (unsigned i = 0; image && i < IMAGE_FILES; i++)
		free(image->files[i].bytes);
	free(image);
}

void image_copy(struct image *to, const struct image *from)
{
	for (unsigned i = 0; i < IMAGE_FILES; i++) {
		uint8_t *bytes = to->files[i].bytes;
		uint32_t used = to->files[i].used;

		if (!bytes)
			bytes = calloc(1, IMAGE_ROOM);
		must(bytes != NULL);
		if (from->files[i].used)
			memcpy(bytes, from->files[i].bytes, from->files[i].used);
		if (used > from->files[i].used)
			memset(bytes + from->files[i].used, 0, used - from->files[i].used);
		to->files[i] = from->files[i];
		to->files[i].bytes = bytes;
	}
}

void image_seal_record(struct image_file *file, uint32_t offset)
{
	struct format_record *record = (struct format_record *)(file->bytes + offset);
	struct format_segment header;

	if (offset + FORMAT_RECORD_HEADER_SIZE > file->size ||
		format_record_length(record) > file->size - offset)
		return;
	memcpy(&header, file->bytes, sizeof(header));
	record->check = format_record_body_hash(record) ^ format_record_place(record, header.salt);
}

static void seal_manifest(struct image_file *file)
{
	struct format_manifest_page *pages = (struct format_manifest_page *)file->bytes;

	for (unsigned i = 0; i < FORMAT_MANIFEST_COPIES; i++)
		if (pages[i].header.count <= FORMAT_MANIFEST_ENTRIES_MAX)
			format_manifest_seal(&pages[i]);
}

void image_seal_header(struct image_file *file)
{
	struct format_segment *header = (struct format_segment *)file->bytes;
	struct format_super *super = (struct format_super *)file->bytes;
	struct format_snapshots *list = (struct format_snapshots *)file->bytes;

	if (file->is_manifest) {
		seal_manifest(file);
	} else if (file->is_list) {
		if (format_snapshots_size(list->count) <= IMAGE_ROOM)
			format_snapshots_seal(list);
	} else if (file->record_count == 0) {
		format_super_seal(super);
	} else {
		struct format_segment copy = *header;

		format_segment_seal(header, copy.uuid, copy.id, copy.slot, copy.size, copy.salt);
		/* Both, or the copy would be taken. */
		memcpy(file->bytes + FORMAT_SEGMENT_COPY_AT, header, sizeof(*header));
	}
}

void image_seal_checkpoint(struct image_file *file)
{
	struct format_checkpoint *header = (struct format_checkpoint *)file->bytes;
	uint64_t chunks = header->chunks, i;
	uint64_t table_at = (1 + chunks) * FORMAT_CHECKPOINT_CHUNK;
	struct format_checkpoint_chunk *table;

	if (chunks >= IMAGE_ROOM / FORMAT_CHECKPOINT_CHUNK - 1)
		return;
	table = (struct format_checkpoint_chunk *)(file->bytes + table_at);
	for (i = 0; i < chunks; i++)
		table[i].sum = format_sum(
			file->bytes + (1 + i) * FORMAT_CHECKPOINT_CHUNK, FORMAT_CHECKPOINT_CHUNK);
	header->table_check = format_sum(table, chunks * sizeof(*table));
	format_checkpoint_seal(header);
	if (file->used < table_at + chunks * sizeof(*table))
		file->used = (uint32_t)(table_at + chunks * sizeof(*table));
}

struct sim_env *image_mount(const struct image *image)
{
	uint64_t capacity = image->files[IMAGE_MANIFEST].name ? 16 << 20 : 8 << 20;
	struct sim_env *sim;

	must(sim_env_new(&(struct sim_options){.seed = 1, .capacity = capacity}, &sim) == 0);
	must(sim_env_make_dir(sim, IMAGE_STORE_PATH) == 0);
	for (unsigned i = 0; i < IMAGE_FILES; i++) {
		const struct image_file *file = &image->files[i];
		uint32_t used = file->used < file->size ? file->used : file->size;

		if (!file->name)
			continue;
		must(sim_env_put_file(sim, file->name, file->bytes, used) == 0);
		must(sim_env_resize(sim, file->name, file->size) == 0);
	}
	return sim;
}
