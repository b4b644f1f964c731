/* SPDX-License-Identifier: MIT */
/* log_spare.c - see log_spare.h. */
#include "log_spare.h"

#include "reserve.h"
#include "segment_file.h"

#define STREAM_END_US 2000000u

bool log_is_streaming(struct kv *kv)
{
	struct log *log = &kv->log;
	bool is;

	pthread_mutex_lock(&log->lock);
	is = log->spares_target > 1 &&
	     kv->env->clock_us(kv->env) - log->switched_us < STREAM_END_US;
	pthread_mutex_unlock(&log->lock);
	return is;
}

bool log_spare_wanted(struct kv *kv, bool *pressed)
{
	struct log *log = &kv->log;
	bool wanted;

	pthread_mutex_lock(&log->lock);
	wanted = log->spare_wanted;
	*pressed = log->spare_waiters > 0;
	pthread_mutex_unlock(&log->lock);
	return wanted;
}

static int add_spare(struct kv *kv, enum log_purpose purpose)
{
	struct log *log = &kv->log;
	struct segment *spare, **link;
	int error = segment_prepare(&kv->segments, log->next_id, &spare);

	if (error)
		return error;
	log->next_id += FORMAT_SEGMENT_ID_STEP;
	pthread_mutex_lock(&log->lock);
	for (link = &log->spares; *link; link = &(*link)->next)
		;
	*link = spare;
	log->spare_count++;
	log->spare_for = purpose;
	store_add(&kv->log_bytes, FORMAT_SEGMENT_HEADER_SIZE);
	pthread_mutex_unlock(&log->lock);
	return 0;
}

/* There is one: nobody waits, and nothing has to go for another. */
static int keep_to_one(struct log *log)
{
	pthread_mutex_lock(&log->lock);
	log->spares_target = 1;
	pthread_mutex_unlock(&log->lock);
	return 0;
}

int log_prepare_spare(struct kv *kv)
{
	struct log *log = &kv->log;
	bool reserved, scarce = reserve_is_scarce(kv);
	unsigned count, target;
	int error;

	pthread_mutex_lock(&log->lock);
	reserved = reserve_is_spare(log);
	if (scarce)
		log->spares_target = 1;
	count = log->spare_count;
	target = log->spares_target;
	pthread_mutex_unlock(&log->lock);
	if (!reserved && count >= target)
		return 0;
	error = reserve_keep(kv, !reserved);
	reserve_note(kv);
	if (env_is_short(error) && count && !reserved)
		return keep_to_one(log);
	if (error)
		return error;
	if (!reserved)
		return add_spare(kv, LOG_ANY);
	reserve_replace(kv);
	return 0;
}

int log_sync_spares(struct kv *kv)
{
	struct segment *last;

	pthread_mutex_lock(&kv->log.lock);
	for (last = kv->log.spares; last && last->next; last = last->next)
		;
	pthread_mutex_unlock(&kv->log.lock);
	return last ? segment_sync_name(&kv->segments, last) : 0;
}

int log_use_reserve(struct kv *kv, enum log_purpose purpose)
{
	struct log *log = &kv->log;
	unsigned files = segments_count_free(&kv->segments);
	bool has_spare;

	/* The last one is for copies. */
	pthread_mutex_lock(&log->lock);
	has_spare = log->spares;
	if (has_spare && purpose < log->spare_for && files)
		log->spare_for = purpose;
	has_spare &= purpose >= log->spare_for;
	pthread_mutex_unlock(&log->lock);
	if (has_spare)
		return 0;
	return purpose == LOG_COPIES || files > 1 ? add_spare(kv, purpose) : -ENOSPC;
}

/* Out of the list: the newest ones, which the next to be prepared replace. */
static struct segment *take_newest_spares(struct kv *kv, unsigned keep)
{
	struct log *log = &kv->log;
	struct segment **link = &log->spares, *taken = NULL;
	unsigned kept;

	pthread_mutex_lock(&log->lock);
	if (!reserve_is_spare(log) && !log->spare_waiters) {
		for (kept = 0; *link && kept < keep; kept++)
			link = &(*link)->next;
		taken = *link;
		*link = NULL;
		log->spare_count = kept;
		/* The next append that needs one asks again. */
		log->spare_wanted = false;
		log->hot.spare_at = 0;
		log->spares_target = 1;
	}
	pthread_mutex_unlock(&log->lock);
	return taken;
}

int log_drop_spares(struct kv *kv, unsigned keep)
{
	struct segment *spare, *spares = take_newest_spares(kv, keep);
	int error = 0;

	for (spare = spares; spare && !error; spare = spare->next)
		error = segment_erase(&kv->segments, spare);
	while (spares && !error) {
		spare = spares;
		spares = spare->next;
		spare->next = NULL;
		pthread_mutex_lock(&kv->log.lock);
		store_add(&kv->log_bytes, -(uint64_t)FORMAT_SEGMENT_HEADER_SIZE);
		segment_release(&kv->segments, spare);
		pthread_mutex_unlock(&kv->log.lock);
		kv->log.next_id -= FORMAT_SEGMENT_ID_STEP;
	}
	return error;
}

void log_begin_attempt(struct kv *kv)
{
	pthread_mutex_lock(&kv->log.lock);
	kv->log.attempting = true;
	pthread_mutex_unlock(&kv->log.lock);
}

bool log_freeing_waits(struct kv *kv)
{
	bool waits;

	pthread_mutex_lock(&kv->log.lock);
	waits = kv->log.freeing_waits;
	pthread_mutex_unlock(&kv->log.lock);
	return waits;
}

void log_note_attempt(struct log *log, int error)
{
	log->attempting = false;
	log->spare_attempts++;
	log->spare_error = error;
	/* Who came meanwhile waits for the next one. */
	log->spare_wanted = log->spare_attempts < log->spare_awaited;
	log->freeing_waits &= log->spare_wanted;
	pthread_cond_broadcast(&log->room);
}

void log_end_attempt(struct kv *kv, int error)
{
	struct log *log = &kv->log;

	pthread_mutex_lock(&log->lock);
	log_note_attempt(log, error);
	/* More of them are wanted as long as that works. */
	if (!error && !reserve_is_spare(log) && log->spare_count < log->spares_target)
		log->spare_wanted = true;
	pthread_mutex_unlock(&log->lock);
}
