/* SPDX-License-Identifier: MIT */
/*
 * fuzz_store.c - a whole store whose files somebody has been at: it opens or it does not, and
 * whatever it holds can be read, walked, checked and written to without harm.
 *
 * Input: a byte of options, or two, then changes, each an operation on one file of a small valid
 * store. Some make the checksum of what they touch right again: behind it lies most of the code.
 */
#include <stdio.h>
#include <stdlib.h>

#include "format.h"
#include "fuzz.h"
#include "kv.h"
#include "store_image.h"

#define CHANGES_MAX 100u
#define LENGTH_MAX 64u
#define WALK_MAX 2000u

#define OPTION_READ_ONLY 1u
#define OPTION_COMPRESSED 2u
#define OPTION_CHECKPOINT 4u /* there is one */
#define OPTION_UNSEALED 8u   /* its checksums stay as they are */
#define OPTION_THREADS 16u   /* it is loaded beside what is done with the store */
#define OPTION_SNAPSHOTS 32u /* a list of snapshots */
#define OPTION_KEPT 64u      /* it has some, and keeps what they see */
#define OPTION_MORE 128u     /* another byte of options follows */

#define MORE_REPAIR 1u /* it is repaired first */
#define MORE_COLD 2u   /* compaction has been at work in it */

enum change {
	CHANGE_BYTES,  /* bytes anywhere */
	CHANGE_RECORD, /* bytes of a record, which is sealed again */
	CHANGE_HEADER, /* bytes of the superblock or a segment's header, sealed again */
	CHANGE_NEW,    /* a new sealed record anywhere */
	CHANGE_REPEAT, /* the same bytes over and over */
	CHANGE_COPY,   /* a stretch of the file elsewhere */
	CHANGE_SIZE,   /* another size */
	CHANGE_REMOVE, /* no such file */
	CHANGE_RENAME, /* another file's name */
	CHANGES
};

static void touch(struct image_file *file, uint32_t end)
{
	if (end > file->used)
		file->used = end;
}

static void put_bytes(struct fuzz_input *input, struct image_file *file, uint32_t offset)
{
	uint32_t length = 1 + fuzz_u8(input) % LENGTH_MAX;

	if (offset > IMAGE_ROOM - length)
		return;
	fuzz_bytes(input, file->bytes + offset, length);
	touch(file, offset + length);
}

static void repeat_bytes(struct fuzz_input *input, struct image_file *file, uint32_t offset)
{
	uint32_t length = 1 + fuzz_u8(input) % LENGTH_MAX, times = fuzz_u32(input) % 40000;
	uint8_t bytes[LENGTH_MAX];

	fuzz_bytes(input, bytes, length);
	for (; times > 0 && offset <= IMAGE_ROOM - length; times--, offset += length)
		memcpy(file->bytes + offset, bytes, length);
	touch(file, offset);
}

static void copy_bytes(struct fuzz_input *input, struct image_file *file, uint32_t offset)
{
	uint32_t from = fuzz_u32(input) % IMAGE_SEGMENT_SIZE, length = fuzz_u32(input) % 65536;

	if (length > IMAGE_ROOM - from || length > IMAGE_ROOM - offset)
		return;
	memmove(file->bytes + offset, file->bytes + from, length);
	touch(file, offset + length);
}

static void change_record(struct fuzz_input *input, struct image_file *file)
{
	uint32_t offset, at = fuzz_u8(input) % (2 * FORMAT_RECORD_HEADER_SIZE);

	if (file->record_count == 0)
		return;
	offset = file->records[fuzz_u32(input) % file->record_count];
	put_bytes(input, file, offset + (file->is_checkpoint ? at % 16 : at));
	/* A checkpoint is sealed as a whole, in the end. */
	if (!file->is_checkpoint)
		image_seal_record(file, offset);
}

static void change(struct fuzz_input *input, struct image *image, unsigned files)
{
	enum change kind = fuzz_u8(input) % CHANGES;
	struct image_file *file = &image->files[fuzz_u8(input) % files];
	uint32_t offset = fuzz_u32(input) % IMAGE_SEGMENT_SIZE;

	switch (kind) {
	case CHANGE_BYTES:
		put_bytes(input, file, offset);
		break;
	case CHANGE_RECORD:
		change_record(input, file);
		break;
	case CHANGE_HEADER:
		put_bytes(input, file, offset % 512);
		if (!file->is_checkpoint)
			image_seal_header(file);
		break;
	case CHANGE_NEW:
		put_bytes(input, file, offset & ~7u);
		if (!file->is_checkpoint)
			image_seal_record(file, offset & ~7u);
		break;
	case CHANGE_REPEAT:
		repeat_bytes(input, file, offset & ~7u);
		break;
	case CHANGE_COPY:
		copy_bytes(input, file, offset & ~7u);
		break;
	case CHANGE_SIZE:
		file->size = offset;
		break;
	case CHANGE_REMOVE:
		file->name = NULL;
		break;
	case CHANGE_RENAME:
		file->name = offset % 2 ? "seg-00000002" : "free-00000001";
		break;
	default:
		break;
	}
}

/* ---- using what opened ----------------------------------------------------------------------- */

static uint8_t sum; /* of what was read, so that it is read */

static void look_at(struct kv_slice slice)
{
	for (size_t i = 0; i < slice.size; i++)
		sum += ((const uint8_t *)slice.data)[i];
}

static void walk(struct kv *kv, const struct kv_view *view)
{
	struct kv_cursor *cursor;
	struct kv_slice value;
	unsigned steps = 0;
	int result;

	if ((view ? kv_cursor_open_view(view, 1, &cursor) : kv_cursor_open(kv, 1, &cursor)) < 0)
		return;
	for (result = kv_cursor_first(cursor); result == 0 && steps < WALK_MAX; steps++) {
		kv_read_begin(kv);
		if (kv_cursor_value(cursor, &value) == 0)
			look_at(value);
		kv_read_end(kv);
		result = kv_cursor_next(cursor);
	}
	kv_cursor_close(cursor);
}

static void read_keys(struct kv *kv)
{
	struct kv_slice value;
	uint8_t key[256];

	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 7);
	kv_read_begin(kv);
	for (unsigned i = 0; i < 40; i++) {
		if (kv_get(kv, i % 2, key + i, 1 + i * 5, &value) == 0)
			look_at(value);
		if (kv_get(kv, 0, &i, sizeof(i), &value) == 0)
			look_at(value);
	}
	kv_read_end(kv);
}

static void read_parts(struct kv *kv, const char *key)
{
	struct kv_value value;
	struct kv_slice part;
	uint8_t buffer[300];
	size_t done;

	for (uint64_t offset = 0; offset < 200000; offset += 9999)
		if (kv_read(kv, 1, key, strlen(key), offset, buffer, sizeof(buffer), &done) == 0)
			look_at((struct kv_slice){buffer, done});
	kv_read_begin(kv);
	if (kv_value_open(kv, 1, key, strlen(key), &value) < 0)
		value.size = 0;
	for (uint64_t offset = 0; offset < value.size && offset < 1 << 20; offset += part.size + 1)
		if (kv_value_part(&value, offset, &part) == 0)
			look_at(part);
		else
			part.size = 1000;
	kv_read_end(kv);
}

static void change_parts(struct kv *kv, const char *key)
{
	(void)!kv_write(kv, 1, key, strlen(key), 70000, "part", 4, NULL);
	(void)!kv_resize(kv, 1, key, strlen(key), 65000, NULL);
	(void)!kv_resize(kv, 1, key, strlen(key), 90000, NULL);
	read_parts(kv, key);
	(void)!kv_delete(kv, 1, key, strlen(key), NULL);
}

static int look_through(void *arg, const struct kv_snapshot *snapshot)
{
	struct kv *kv = arg;
	struct kv_view *view;
	struct kv_slice value;
	uint8_t key[256], buffer[300];
	size_t done;

	if (kv_snapshot_open(kv, snapshot->name, &view) < 0)
		return 0;
	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 7);
	kv_read_begin(kv);
	for (unsigned i = 0; i < 40; i++)
		if (kv_view_get(view, i % 2, key + i, 1 + i * 5, &value) == 0)
			look_at(value);
	kv_read_end(kv);
	for (uint64_t offset = 0; offset < 200000; offset += 9999)
		if (kv_view_read(view, 1, "large", 5, offset, buffer, sizeof(buffer), &done) == 0)
			look_at((struct kv_slice){buffer, done});
	walk(kv, view);
	kv_view_close(view);
	return 0;
}

static void change_snapshots(struct kv *kv)
{
	(void)!kv_snapshot_list(kv, look_through, kv);
	(void)!kv_snapshot_delete(kv, "1", NULL);
	(void)!kv_snapshot_create(kv, "new", NULL);
}

static bool tells; /* for who looks for the reason of a failure */

static void ignore(void *arg, enum kv_severity severity, const char *message)
{
	sum += (uint8_t)strlen(message);
	if (tells)
		fprintf(stderr, "%s\n", message);
}

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

/*
 * What could be repaired opens, a check finds what the repair said is left, and another one has
 * nothing to do.
 */
static void repair(struct sim_env *sim)
{
	struct kv_open_options options = {
		.flags = KV_OPEN_READ_ONLY, .resident_size = 1, .report = ignore};
	struct kv_env *env = sim_env_table(sim);
	struct kv_repair_report first, second;
	uint64_t findings;
	struct kv *kv;

	if (kv_repair(env, IMAGE_STORE_PATH, ignore, NULL, &first) != 0)
		return;
	must(kv_open(env, IMAGE_STORE_PATH, &options, &kv) == 0, "what was repaired does not open");
	must(kv_check(kv, ignore, NULL, NULL, NULL, &findings) == 0, "check");
	must(findings == first.remaining, "a repair and a check do not agree");
	must(kv_close(kv) == 0, "close");
	must(kv_repair(env, IMAGE_STORE_PATH, ignore, NULL, &second) == 0, "repaired again");
	must(second.mended == 0, "a second repair had something to do");
	must(second.remaining == first.remaining, "a second repair left something else");
}

static void use(struct kv *kv)
{
	struct kv_stats stats;
	uint64_t findings;

	walk(kv, NULL);
	read_keys(kv);
	read_parts(kv, "large");
	change_snapshots(kv);
	(void)!kv_check(kv, ignore, NULL, NULL, NULL, &findings);
	kv_stats(kv, &stats);
	for (unsigned i = 0; i < 3; i++) {
		if (kv_put(kv, i % 2, "fuzz", 4, "value", 5, NULL) == 0)
			(void)!kv_sync(kv, kv_last_seq(kv));
		(void)!kv_delete(kv, 1, "\7", 1, NULL);
	}
	change_parts(kv, "large");
	change_parts(kv, "l");
	(void)!kv_prune(kv, NULL, NULL, NULL, NULL);
	change_snapshots(kv);
	(void)!kv_check(kv, ignore, NULL, NULL, NULL, &findings);
	walk(kv, NULL);
}

/* A list of snapshots that has some of the store's moments in it. */
static void put_list(struct sim_env *sim, const struct image *image, uint32_t seed)
{
	union {
		struct format_snapshots header;
		uint8_t bytes[sizeof(struct format_snapshots) + 3 * sizeof(struct format_snapshot)];
	} file = {.header.count = seed % 4};
	struct format_snapshot *entries = (struct format_snapshot *)(&file.header + 1);

	memcpy(file.header.uuid, ((struct format_super *)image->files[0].bytes)->uuid, 16);
	file.header.seq = seed / 4 % 200;
	for (unsigned i = 0; i < file.header.count; i++) {
		entries[i].seq = 1 + (seed >> (8 + 6 * i)) % 64;
		entries[i].name_size = 1;
		entries[i].name[0] = (char)('0' + i);
	}
	format_snapshots_seal(&file.header);
	if (sim_env_put_file(sim, FORMAT_SNAPSHOTS_NAME, file.bytes,
		    format_snapshots_size(file.header.count)) != 0)
		abort();
}

/* list: what to make a list of snapshots from; 0: there is none. */
static void open_and_use(const struct image *image, unsigned flags, uint32_t list, bool repairs)
{
	struct kv_open_options options = {.flags = flags, .resident_size = 1, .report = ignore};
	struct sim_env *sim = image_mount(image);
	struct kv *kv;

	if (list)
		put_list(sim, image, list);
	if (repairs)
		repair(sim);
	if (kv_open(sim_env_table(sim), IMAGE_STORE_PATH, &options, &kv) == 0) {
		use(kv);
		kv_close(kv);
	}
	if (sim_env_power_on(sim, SIM_LOSS_NONE) != 0)
		abort(); /* something was left open */
	sim_env_free(sim);
}

static unsigned kind_of(uint8_t options, uint8_t more)
{
	return (options & OPTION_COMPRESSED ? IMAGE_COMPRESSED : 0) |
	       (options & OPTION_KEPT ? IMAGE_KEPT : 0) | (more & MORE_COLD ? IMAGE_COLD : 0);
}

/* What is there, from the beginning of the image's files. */
static unsigned files_of(uint8_t options, uint8_t more)
{
	if (!(options & OPTION_CHECKPOINT) && !(more & MORE_COLD))
		return IMAGE_LOG_FILES;
	return more & MORE_COLD        ? IMAGE_FILES
	       : options & OPTION_KEPT ? IMAGE_KEPT_FILES
				       : IMAGE_COMMON_FILES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image *originals[IMAGE_KINDS], work;
	struct fuzz_input input = {data, size};
	uint8_t options = fuzz_u8(&input);
	uint8_t more = options & OPTION_MORE ? fuzz_u8(&input) : 0;
	unsigned kind = kind_of(options, more), files = files_of(options, more);
	unsigned flags = options & OPTION_THREADS ? 0 : KV_OPEN_INLINE;
	uint32_t list = options & OPTION_SNAPSHOTS ? fuzz_u32(&input) : 0;

	tells = getenv("FUZZ_TELLS") != NULL;
	if (!originals[kind])
		originals[kind] = image_new(kind);
	image_copy(&work, originals[kind]);
	for (unsigned i = 0; i < CHANGES_MAX && input.left > 0; i++)
		change(&input, &work, files);
	if (!(options & OPTION_CHECKPOINT))
		work.files[IMAGE_CHECKPOINT].name = NULL;
	else if (!(options & OPTION_UNSEALED))
		image_seal_checkpoint(&work.files[IMAGE_CHECKPOINT]);
	if (files == IMAGE_LOG_FILES)
		work.files[IMAGE_LIST].name = NULL;
	open_and_use(&work, flags | (options & OPTION_READ_ONLY ? KV_OPEN_READ_ONLY : 0), list,
		more & MORE_REPAIR);
	return 0;
}
