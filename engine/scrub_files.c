/* SPDX-License-Identifier: MIT */
/* scrub_files.c - see scrub_files.h. */
#include "scrub_files.h"

#include <errno.h>

#include "checkpoint.h"
#include "checkpoint_file.h"
#include "manifest.h"
#include "snapshot.h"

#define CHUNKS_PER_STEP 16u /* a MiB */
#define READ_TRIES 3u

static void found(struct kv *kv)
{
	store_add(&kv->damaged, 1);
	store_add(&kv->scrub.findings, 1);
}

/* ---- segments -------------------------------------------------------------------------------- */

/* What a disk cannot give now it may give the next time. */
static int read_page(struct kv *kv, const char *name, void *page, size_t size)
{
	struct env_file *file;
	unsigned tries = 0;
	int error = kv->env->file_open(kv->dir, name, ENV_READ_ONLY, &file);

	if (error)
		return error;
	do {
		error = kv->env->file_read(file, page, size, 0);
	} while (error == -EIO && ++tries < READ_TRIES);
	kv->env->file_close(file);
	return error;
}

/* Another file that is whole has taken the name. */
static bool is_other(const struct kv *kv, const struct segment *segment, const uint8_t *page)
{
	struct format_segment header;

	return !format_page_any(page, &header) &&
	       (header.id != segment->id || header.salt != segment->salt ||
		memcmp(header.uuid, kv->segments.uuid, sizeof(header.uuid)) != 0);
}

/* False: it was known. */
static bool note(struct kv *kv, bool *what)
{
	if (*what)
		return false;
	pthread_mutex_lock(&kv->log.lock);
	*what = true;
	pthread_mutex_unlock(&kv->log.lock);
	found(kv);
	return true;
}

static void say_missing(struct kv *kv, struct segment *segment, const char *name)
{
	if (!note(kv, &segment->name_lost))
		return;
	store_report(kv, KV_ERROR,
		     "%s: the scrub found no such file, or another in its place; what it holds can "
		     "be read until the store is closed: copy it away before that",
		     name);
}

static void say_damaged(struct kv *kv, struct segment *segment, const char *name, int error)
{
	if (!note(kv, &segment->header_damaged))
		return;
	store_report(kv, KV_ERROR,
		     error == -EIO ? "%s: the scrub could not read the header"
				   : "%s: the scrub found the header or one of the copies beside it "
				     "damaged; a repair writes them again",
		     name);
}

/* Somebody has put it back, or the disk gives it again. */
static void take_back(struct kv *kv, struct segment *segment)
{
	if (!segment->name_lost && !segment->header_damaged)
		return;
	pthread_mutex_lock(&kv->log.lock);
	segment->name_lost = segment->header_damaged = false;
	pthread_mutex_unlock(&kv->log.lock);
}

void scrub_segment_file(struct kv *kv, struct segment *segment)
{
	uint8_t page[FORMAT_SEGMENT_HEADER_SIZE], whole[FORMAT_SEGMENT_HEADER_SIZE];
	char name[FORMAT_SEGMENT_NAME_SIZE];
	struct format_segment header;
	int error;

	format_segment_name(segment->slot, name);
	error = read_page(kv, name, page, sizeof(page));
	if (env_open_was_refused(error))
		return;
	if (error == -ENOENT || env_is_no_file(error) || (!error && is_other(kv, segment, page))) {
		say_missing(kv, segment, name);
		return;
	}
	format_segment_seal(&header, kv->segments.uuid, segment->id, segment->slot,
			    kv->segments.size, segment->salt);
	format_page_fill(whole, &header, &kv->super_block);
	if (error || memcmp(page, whole, sizeof(page)) != 0)
		say_damaged(kv, segment, name, error);
	else
		take_back(kv, segment);
}

/* ---- small files ----------------------------------------------------------------------------- */

static void verify_super(struct kv *kv)
{
	struct format_super super;
	int error = read_page(kv, FORMAT_SUPER_NAME, &super, sizeof(super));
	bool known = kv->super_damaged;

	if (env_open_was_refused(error))
		return;
	kv->super_damaged = error || memcmp(&super, &kv->super_block, sizeof(super)) != 0;
	if (known || !kv->super_damaged)
		return;
	found(kv);
	store_report(kv, KV_ERROR,
		     "%s: the scrub found the superblock %s; segments have a copy, and a repair "
		     "writes it again",
		     FORMAT_SUPER_NAME,
		     error == -ENOENT ? "missing" : error == -EIO ? "not to be read" : "damaged");
}

void scrub_small_files(struct kv *kv)
{
	verify_super(kv);
	if (!manifest_verify(kv))
		store_add(&kv->scrub.findings, 1);
	if (!snapshots_verify(kv))
		store_add(&kv->scrub.findings, 1);
}

/* ---- the checkpoint -------------------------------------------------------------------------- */

void scrub_checkpoint_begin(struct kv *kv)
{
	kv->scrub.chunk = 0;
}

/* Said once, while it stays. */
static void found_checkpoint(struct kv *kv)
{
	struct scrub *scrub = &kv->scrub;
	bool known = scrub->checkpoint_stays;

	scrub->checkpoint_stays = !checkpoint_discard(kv);
	if (known)
		return;
	found(kv);
	store_report(kv, KV_ERROR, "%s: the scrub found it damaged, or replaced; %s",
		     FORMAT_CHECKPOINT_NAME,
		     scrub->checkpoint_stays ? "it cannot be removed"
					     : "it is removed, and made anew when it is due");
}

/* Opened for each step: an open file would keep its space when it is removed. */
static int verify_chunks(struct kv *kv)
{
	uint64_t check = kv->checkpoints.check;
	struct scrub *scrub = &kv->scrub;
	struct checkpoint_file file;
	int result = checkpoint_file_open(&file, kv->env, kv->dir, kv->segments.uuid);

	if (result)
		return result;
	if (!scrub->chunk)
		scrub->checkpoint_check = check;
	if (file.header.check != check)
		result = -EUCLEAN;
	else if (scrub->checkpoint_check == check) /* or it was written since the pass came to it */
		result = checkpoint_file_verify(&file, scrub->chunk, CHUNKS_PER_STEP);
	checkpoint_file_close(&file);
	return result;
}

uint64_t scrub_checkpoint_step(struct kv *kv)
{
	int result;

	if (!kv->checkpoint_there || kv->checkpoint_save || !atomic_load(&kv->indexes_whole))
		return 0;
	result = verify_chunks(kv);
	if (result >= 0) {
		kv->scrub.chunk += (unsigned)result;
		kv->scrub.checkpoint_stays = false;
		return (uint64_t)result * FORMAT_CHECKPOINT_CHUNK;
	}
	if (result != -ENOENT && !env_open_was_refused(result))
		found_checkpoint(kv);
	return 0;
}
