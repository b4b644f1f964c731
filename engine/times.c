/* SPDX-License-Identifier: MIT */
/* times.c - see times.h. */
#include "times.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "batch.h"
#include "epoch.h"
#include "log.h"
#include "read.h"

#define SECOND_US ((uint64_t)1000000)
#define INTERVAL_US SECOND_US /* between two samples */

struct sample {
	uint64_t seq;
	uint64_t time_us;
};

static uint64_t period_of(unsigned level, uint64_t time_us)
{
	return time_us / SECOND_US >> 2 * level;
}

static void key_of(unsigned level, unsigned place, uint8_t key[TIMES_KEY_SIZE])
{
	key[0] = 't';
	key[1] = (uint8_t)level;
	key[2] = (uint8_t)place;
}

/* -ENOENT: none there, or bytes that are no sample. Inside an epoch. */
static int read_sample(struct kv *kv, unsigned level, unsigned place, struct sample *out)
{
	uint8_t key[TIMES_KEY_SIZE];
	const struct format_record *record;
	struct kv_slice value;
	uint64_t address, words[2];
	int error;

	key_of(level, place, key);
	error = read_find(kv, FORMAT_KEYSPACE_ENGINE, key, sizeof(key),
			  keyhash_of(&kv->keyhash, FORMAT_KEYSPACE_ENGINE, key, sizeof(key)),
			  &record, &address);
	if (!error)
		error = read_value(kv, record, address, &value);
	if (error)
		return error;
	if (value.size != sizeof(words))
		return -ENOENT;
	memcpy(words, value.data, sizeof(words));
	*out = (struct sample){le64toh(words[0]), le64toh(words[1])};
	return period_of(level, out->time_us) % TIMES_PLACES == place ? 0 : -ENOENT;
}

/* ---- taking samples -------------------------------------------------------------------------- */

void times_init(struct kv *kv)
{
	kv->times.sampled_seq = atomic_load(&kv->log.last_seq);
}

uint64_t times_due_us(struct kv *kv)
{
	struct times *times = &kv->times;
	uint64_t now;

	if (atomic_load(&kv->log.last_seq) == times->sampled_seq || atomic_load(&kv->failed) ||
	    kv->info.read_only)
		return UINT64_MAX;
	now = kv->env->clock_us(kv->env);
	if (times->due_us)
		return now < times->due_us ? times->due_us - now : 0;
	times->due_us = now + INTERVAL_US;
	return INTERVAL_US;
}

/* On every level where the record of this time's place is of another period. */
static int put_samples(struct kv *kv, struct kv_batch *batch, const struct sample *sample)
{
	uint64_t words[2] = {htole64(sample->seq), htole64(sample->time_us)};
	uint8_t key[TIMES_KEY_SIZE];
	struct sample there;
	unsigned level;
	int error;

	for (level = 0; level < TIMES_LEVELS; level++) {
		uint64_t period = period_of(level, sample->time_us);

		epoch_enter();
		error = read_sample(kv, level, period % TIMES_PLACES, &there);
		epoch_leave();
		/*
		 * Level 0 always: two bursts within a second would leave the second one without a
		 * time.
		 */
		if (level && !error && period_of(level, there.time_us) == period)
			continue;
		key_of(level, period % TIMES_PLACES, key);
		error = batch_put_raw(batch, FORMAT_KEYSPACE_ENGINE, key, sizeof(key), words,
				      sizeof(words), 0);
		if (error)
			return error;
	}
	return 0;
}

void times_sample(struct kv *kv)
{
	struct sample sample = {.seq = atomic_load(&kv->log.last_seq)};
	struct times *times = &kv->times;
	struct kv_batch *batch;
	uint64_t seq;

	times->due_us = 0;
	/* Changes would wait for ordered indexes that are being loaded: another time. */
	if (atomic_load(&kv->orders_loading) || sample.seq == times->sampled_seq ||
	    kv_batch_new(kv, &batch))
		return;
	batch->never_waits = true;
	/* The number first: what comes between the two is not said to be as old as that. */
	sample.time_us = kv->env->time_us(kv->env);
	/*
	 * Where others committed in between, their number is not the sample's, and the next one is
	 * for them.
	 */
	if (!put_samples(kv, batch, &sample) && !kv_commit(kv, batch, &seq))
		times->sampled_seq = seq == sample.seq + 1 ? seq : sample.seq;
	kv_batch_free(batch);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Calls `each` for every sample that is not from the future. */
static int each_sample(struct kv *kv, void (*each)(void *arg, const struct sample *sample),
		       void *arg)
{
	uint64_t now_us = kv->env->time_us(kv->env);
	struct sample sample;
	unsigned level, place;
	int error = 0;

	for (level = 0; level < TIMES_LEVELS; level++) {
		epoch_enter();
		for (place = 0; place < TIMES_PLACES; place++) {
			error = read_sample(kv, level, place, &sample);
			if (!error && sample.time_us <= now_us)
				each(arg, &sample);
			if (error && error != -ENOENT)
				break;
		}
		epoch_leave();
		if (error && error != -ENOENT)
			return error;
	}
	return 0;
}

struct question {
	uint64_t time_us;
	uint64_t younger_seq; /* the lowest number that a sample puts behind the time */
	uint64_t seq;
};

static void find_younger(void *arg, const struct sample *sample)
{
	struct question *question = arg;

	if (sample->time_us > question->time_us && sample->seq < question->younger_seq)
		question->younger_seq = sample->seq;
}

static void find_newest(void *arg, const struct sample *sample)
{
	struct question *question = arg;

	/* A sample that is older and has a higher number is of a clock that had been set back. */
	if (sample->time_us <= question->time_us && sample->seq > question->seq &&
	    sample->seq < question->younger_seq)
		question->seq = sample->seq;
}

int times_seq_before(struct kv *kv, uint64_t time_us, uint64_t *seq)
{
	struct question question = {.time_us = time_us, .younger_seq = UINT64_MAX};
	int error = each_sample(kv, find_younger, &question);

	if (!error)
		error = each_sample(kv, find_newest, &question);
	if (!error)
		*seq = question.seq;
	return error;
}

struct interval {
	uint64_t seq;
	uint64_t after_us, before_us;
};

static void narrow(void *arg, const struct sample *sample)
{
	struct interval *interval = arg;

	if (sample->seq < interval->seq && sample->time_us > interval->after_us)
		interval->after_us = sample->time_us;
	if (sample->seq >= interval->seq && sample->time_us < interval->before_us)
		interval->before_us = sample->time_us;
}

int kv_time_of(struct kv *kv, uint64_t seq, uint64_t *after_us, uint64_t *before_us)
{
	struct interval interval = {.seq = seq, .before_us = kv->env->time_us(kv->env)};
	int error;

	if (!seq || !log_has_number(kv, seq))
		return -EINVAL;
	error = each_sample(kv, narrow, &interval);
	if (error)
		return error;
	if (interval.after_us > interval.before_us)
		interval.after_us = interval.before_us;
	*after_us = interval.after_us;
	*before_us = interval.before_us;
	return 0;
}
