/* SPDX-License-Identifier: MIT */
/*
 * power_disk.c - see power_disk.h.
 *
 * Owns: memory that is shared with the server: the disk as it is, as it was when the recording began, and the record: entries one
 * behind the other, each with the marks and a write's bytes behind it. The server alone adds to the record, and answers a write or flush
 * when it has; so who hears that a flush is done, and says so in the marks, is seen by the next entry.
 */
#define FUSE_USE_VERSION 34
#include <fuse_lowlevel.h>

#include "pattern.h"
#include "power_disk.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_NAME "disk"
#define FILE_INO 2
#define RECORD_SIZE_MAX ((size_t)1 << 30) /* bytes; memory only where there is a record */

struct entry {
	size_t size; /* bytes behind it and the marks; 0: a flush */
	uint64_t position;
};

struct power_disk {
	const _Atomic uint64_t *marks;
	size_t mark_count;
	uint64_t *marks_now; /* the copy made last, by whoever makes one */
	size_t size;
	uint8_t *image, *before, *record;
	_Atomic bool recording;
	bool full;
	size_t used;  /* bytes of the record */
	size_t count; /* entries */
	uint64_t written;

	/* the maker's alone */
	char *directory;
	pid_t server;
	size_t *places;	  /* of entries in the record */
	uint8_t *durable; /* the disk after `reached` entries, the last of them a flush or none */
	size_t reached;
};

/* ---- the server ------------------------------------------------------------------------------ */

static struct power_disk *disk_of(fuse_req_t request)
{
	return fuse_req_userdata(request);
}

static void attr_fill(const struct power_disk *disk, fuse_ino_t ino, struct stat *out)
{
	*out = (struct stat){.st_ino = ino, .st_nlink = 1};
	out->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0700 : S_IFREG | 0600;
	out->st_size = ino == FUSE_ROOT_ID ? 0 : (off_t)disk->size;
	out->st_blocks = out->st_size / 512;
}

static void serve_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.ino = FILE_INO, .attr_timeout = 1, .entry_timeout = 1};

	if (strcmp(name, FILE_NAME)) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	attr_fill(disk_of(request), FILE_INO, &entry.attr);
	fuse_reply_entry(request, &entry);
}

static void serve_getattr(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct stat attr;

	attr_fill(disk_of(request), ino, &attr);
	fuse_reply_attr(request, &attr, 1);
}

static void serve_setattr(fuse_req_t request, fuse_ino_t ino, struct stat *attr, int which, struct fuse_file_info *info)
{
	serve_getattr(request, ino, info);
}

static void serve_read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t position, struct fuse_file_info *info)
{
	const struct power_disk *disk = disk_of(request);
	size_t left = (size_t)position < disk->size ? disk->size - (size_t)position : 0;

	fuse_reply_buf(request, (const char *)disk->image + position, size < left ? size : left);
}

static size_t marks_size(const struct power_disk *disk)
{
	return disk->mark_count * sizeof(uint64_t);
}

/* Read until they are twice the same: then that is what they were between. */
static void marks_copy(const struct power_disk *disk, uint64_t *out)
{
	bool same;

	do {
		same = true;
		for (size_t i = 0; i < disk->mark_count; i++) {
			uint64_t mark = atomic_load(&disk->marks[i]);

			same &= out[i] == mark;
			out[i] = mark;
		}
	} while (!same);
}

/* Nothing is left out in the middle: a record that is full ends. */
static void add(struct power_disk *disk, const void *data, size_t size, uint64_t position)
{
	struct entry entry = {size, position};
	size_t head = sizeof(entry) + marks_size(disk);

	if (!atomic_load(&disk->recording) || disk->full)
		return;
	if (RECORD_SIZE_MAX - disk->used < head + size) {
		disk->full = true;
		return;
	}
	marks_copy(disk, disk->marks_now);
	memcpy(disk->record + disk->used, &entry, sizeof(entry));
	memcpy(disk->record + disk->used + sizeof(entry), disk->marks_now, marks_size(disk));
	if (size)
		memcpy(disk->record + disk->used + head, data, size);
	disk->used += head + size;
	disk->written += size;
	disk->count++;
}

static void serve_write(fuse_req_t request, fuse_ino_t ino, const char *data, size_t size, off_t position,
			struct fuse_file_info *info)
{
	struct power_disk *disk = disk_of(request);

	if ((size_t)position > disk->size || size > disk->size - (size_t)position) {
		fuse_reply_err(request, ENOSPC);
		return;
	}
	add(disk, data, size, (uint64_t)position);
	memcpy(disk->image + position, data, size);
	fuse_reply_write(request, size);
}

static void serve_fsync(fuse_req_t request, fuse_ino_t ino, int data_only, struct fuse_file_info *info)
{
	add(disk_of(request), NULL, 0, 0);
	fuse_reply_err(request, 0);
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = serve_lookup,
	.getattr = serve_getattr,
	.setattr = serve_setattr,
	.read = serve_read,
	.write = serve_write,
	.fsync = serve_fsync,
};

/* The server's whole life; ends when the directory is unmounted. */
static int serve(struct power_disk *disk, int ready)
{
	char *arguments[] = {"power", "-ofsname=power", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, arguments);
	struct fuse_session *session = fuse_session_new(&args, &operations, sizeof(operations), disk);
	int result = 1;

	if (session && !fuse_session_mount(session, disk->directory)) {
		if (write(ready, "", 1) == 1)
			result = fuse_session_loop(session) != 0;
		fuse_session_unmount(session);
	}
	if (session)
		fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return result;
}

static int server_start(struct power_disk *disk)
{
	int ends[2];
	pid_t server;
	char byte;
	ssize_t count;

	if (pipe(ends))
		return -errno;
	server = fork();
	if (server == 0) {
		close(ends[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(serve(disk, ends[1]));
	}
	close(ends[1]);
	disk->server = server;
	count = server < 0 ? -1 : read(ends[0], &byte, 1);
	close(ends[0]);
	return count == 1 ? 0 : -ENODEV;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void *memory_new(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void memory_free(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

void power_disk_free(struct power_disk *disk)
{
	if (!disk)
		return;
	if (disk->server > 0) {
		umount2(disk->directory, MNT_DETACH);
		waitpid(disk->server, NULL, 0);
	}
	memory_free(disk->image, disk->size);
	memory_free(disk->before, disk->size);
	memory_free(disk->durable, disk->size);
	memory_free(disk->record, RECORD_SIZE_MAX);
	free(disk->places);
	free(disk->directory);
	free(disk->marks_now);
	memory_free(disk, sizeof(*disk));
}

int power_disk_new(const char *directory, size_t size, const void *marks, size_t marks_size, struct power_disk **out)
{
	struct power_disk *disk = memory_new(sizeof(*disk));
	int error = -ENOMEM;

	if (!disk)
		return -ENOMEM;
	disk->size = size;
	disk->marks = marks;
	disk->mark_count = marks_size / sizeof(uint64_t);
	disk->marks_now = calloc(disk->mark_count, sizeof(uint64_t));
	disk->image = memory_new(size);
	disk->before = memory_new(size);
	disk->durable = memory_new(size);
	disk->record = memory_new(RECORD_SIZE_MAX);
	disk->directory = strdup(directory);
	if (disk->marks_now && disk->image && disk->before && disk->durable && disk->record && disk->directory)
		error = server_start(disk);
	if (error)
		power_disk_free(disk);
	else
		*out = disk;
	return error;
}

/* ---- the record ------------------------------------------------------------------------------ */

void power_disk_begin(struct power_disk *disk)
{
	memcpy(disk->before, disk->image, disk->size);
	disk->used = disk->count = 0;
	disk->written = 0;
	atomic_store(&disk->recording, true);
}

static struct entry entry_at(const struct power_disk *disk, size_t number)
{
	struct entry entry;

	memcpy(&entry, disk->record + disk->places[number], sizeof(entry));
	return entry;
}

static void rewind_to_start(struct power_disk *disk)
{
	memcpy(disk->durable, disk->before, disk->size);
	disk->reached = 0;
}

int power_disk_end(struct power_disk *disk, size_t *count)
{
	size_t place = 0;

	atomic_store(&disk->recording, false);
	marks_copy(disk, disk->marks_now);
	if (disk->full)
		return -ENOSPC;
	disk->places = calloc(disk->count + 1, sizeof(*disk->places));
	if (!disk->places)
		return -ENOMEM;
	for (size_t i = 0; i < disk->count; i++) {
		disk->places[i] = place;
		place += sizeof(struct entry) + marks_size(disk) + entry_at(disk, i).size;
	}
	rewind_to_start(disk);
	*count = disk->count;
	return 0;
}

bool power_disk_is_flush(const struct power_disk *disk, size_t number)
{
	return entry_at(disk, number).size == 0;
}

uint64_t power_disk_written(const struct power_disk *disk)
{
	return disk->written;
}

/* ---- what the power leaves ------------------------------------------------------------------- */

/* Purely random parts would hardly ever leave a long beginning, or a lonely late write. */
enum style { KEEP_ALL, KEEP_NONE, KEEP_FIRST, KEEP_LAST, KEEP_HALF, KEEP_MOST, KEEP_FEW, STYLES };

struct judge {
	uint64_t seed, seen, turn_at;
	enum style style;
	size_t part; /* bytes */
};

static bool judge_keeps(struct judge *judge)
{
	uint64_t number = pattern_number(judge->seed, 100 + judge->seen);
	bool late = judge->seen++ >= judge->turn_at;

	switch (judge->style) {
	case KEEP_ALL:
		return true;
	case KEEP_FIRST:
		return !late;
	case KEEP_LAST:
		return late;
	case KEEP_HALF:
		return number % 2;
	case KEEP_MOST:
		return number % 16;
	case KEEP_FEW:
		return number % 16 == 0;
	default:
		return false;
	}
}

static void entry_apply(const struct power_disk *disk, size_t number, uint8_t *to, struct judge *judge)
{
	struct entry entry = entry_at(disk, number);
	const uint8_t *data = disk->record + disk->places[number] + sizeof(entry) + marks_size(disk);

	for (size_t done = 0, size; done < entry.size; done += size) {
		size = judge->part - (entry.position + done) % judge->part;
		size = size < entry.size - done ? size : entry.size - done;
		if (judge_keeps(judge))
			memcpy(to + entry.position + done, data + done, size);
	}
}

/*
 * No part is smaller than a block of the ext4 here, which relies on its being written whole or not at all: the superblock has its
 * checksum at its end, verified before the journal is replayed, and a torn commit block is an error as well.
 */
static void judge_init(struct judge *judge, const struct power_disk *disk, size_t from, size_t to, uint64_t seed)
{
	uint64_t parts = 0;

	*judge = (struct judge){.seed = seed, .style = KEEP_NONE, .part = 4096};
	if (seed == POWER_DISK_NOTHING)
		return;
	judge->style = (enum style)(pattern_number(seed, 0) % STYLES);
	judge->part = pattern_number(seed, 1) % 2 ? 1024 : 4096;
	for (size_t i = from; i < to; i++)
		parts += entry_at(disk, i).size / judge->part;
	judge->turn_at = pattern_number(seed, 2) % (parts + 1);
}

void power_disk_set(struct power_disk *disk, size_t number, uint64_t seed, void *marks)
{
	struct judge all = {.style = KEEP_ALL, .part = 4096}, judge;
	size_t flushed = number;

	while (flushed && !power_disk_is_flush(disk, flushed - 1))
		flushed--;
	if (flushed < disk->reached)
		rewind_to_start(disk);
	for (; disk->reached < flushed; disk->reached++)
		entry_apply(disk, disk->reached, disk->durable, &all);
	memcpy(disk->image, disk->durable, disk->size);
	judge_init(&judge, disk, flushed, number, seed);
	for (size_t i = flushed; i < number; i++)
		entry_apply(disk, i, disk->image, &judge);
	memcpy(marks, number < disk->count ? disk->record + disk->places[number] + sizeof(struct entry) : (const void *)disk->marks_now,
	       marks_size(disk));
}
