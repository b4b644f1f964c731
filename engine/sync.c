/* SPDX-License-Identifier: MIT */
/*
 * sync.c - see sync.h.
 *
 * Flushes come in rounds, numbered 1, 2, 3..., one at a time. Everything that was appended before a
 * round begins is durable when it is over. Who waits for the round under way sleeps in its bed, who
 * came too late for it in the next one's. When a round is over all in its bed are woken with one
 * system call, and one sleeper of the next bed, who leads that round; so nobody is woken who would
 * only have to sleep again.
 *
 * Whoever is through with a round first would begin the next one alone, and the others, who come
 * back a moment later, wait for all of it: two flushes for what one could do. So who leads a round
 * waits, a flush's time at most, until as many have come as shared the last one.
 *
 * A writer without sync (write-behind) takes the flusher's place as well, but is no round.
 */
#include "sync.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "large.h"
#include "log.h"
#include "maintain.h"
#include "times.h"
#include "worker.h"

/* sync.state: three bits and a number. */
#define SYNCING 1u   /* the newest round is under way */
#define WRITING 2u   /* somebody writes without syncing */
#define GATHERING 4u /* beside SYNCING: whoever comes now is in time for that round */
#define BUSY (SYNCING | WRITING)
#define ROUND_SHIFT 3

#define GATHER_US 100u	 /* at most, where flushes take longer */
#define COMPANY_MAX 32u	 /* of more, who comes during a flush keeps the next one busy, and all to
			    wait for take longer to wake */
#define ALONE_ROUNDS 8u	 /* after waiting in vain: they had come together by chance, or others
			    want the processors */
#define LOOK_US 1000000u /* between two looks for a first change, at most; and never more than
			    the commit interval */
#define LOOKS 60u
#define LOOK_MIN_US 50000u /* a commit interval below that: nobody looks, the first change wakes
			      the thread */

/*
 * A tail that is this part of a segment long is written out, so that a later sync has little to do.
 */
#define WRITE_BEHIND_DIVISOR 16

void sync_init(struct sync *sync)
{
	pthread_mutex_init(&sync->lock, NULL);
	worker_init(&sync->worker);
}

void sync_fini(struct sync *sync)
{
	worker_fini(&sync->worker);
	pthread_mutex_destroy(&sync->lock);
}

static uint64_t earlier(uint64_t us, uint64_t other_us)
{
	return us < other_us ? us : other_us;
}

/* ---- beds ------------------------------------------------------------------------------------ */

static void wake(struct sync_bed *bed, int count)
{
	syscall(SYS_futex, &bed->word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* The newest round that is over. */
static uint64_t rounds_done(uint64_t state)
{
	return (state >> ROUND_SHIFT) - (state & SYNCING);
}

/* The first to begin from now on. */
static uint64_t next_round(uint64_t state)
{
	return (state >> ROUND_SHIFT) + !(state & GATHERING);
}

static bool is_to_come(uint64_t state, uint64_t round)
{
	return (state & BUSY) && rounds_done(state) < round;
}

/*
 * Sleeps until this round is over, or has to be led. All accesses are sequentially consistent:
 * either the sleeper sees that the state has changed, or whoever changed it sees the sleeper and a
 * word that it has not slept on yet.
 */
static void sleep_for(struct sync *sync, uint64_t round)
{
	struct sync_bed *bed = &sync->beds[round & 1];
	uint32_t word;

	atomic_fetch_add(&bed->sleepers, 1);
	word = atomic_load(&bed->word);
	if (is_to_come(atomic_load(&sync->state), round))
		syscall(SYS_futex, &bed->word, FUTEX_WAIT_PRIVATE, word, NULL, NULL, 0);
	atomic_fetch_sub(&bed->sleepers, 1);
}

static void ring(struct sync *sync, uint64_t round, int count)
{
	struct sync_bed *bed = &sync->beds[round & 1];

	atomic_fetch_add(&bed->word, 1);
	if (atomic_load(&bed->sleepers))
		wake(bed, count);
}

/*
 * For one who slept for a round and needs it no more: the one who is woken to lead a round must not
 * go without another in its place.
 */
static void pass_on(struct sync *sync, uint64_t round)
{
	struct sync_bed *bed = &sync->beds[round & 1];
	uint64_t state = atomic_load(&sync->state);

	if (!(state & BUSY) && rounds_done(state) < round && atomic_load(&bed->sleepers))
		wake(bed, 1);
}

/* ---- flushing -------------------------------------------------------------------------------- */

static bool is_durable(struct kv *kv, uint64_t seq)
{
	return atomic_load_explicit(&kv->sync.durable_seq, memory_order_acquire) >= seq;
}

/* Enough has gathered, or a segment is full and not durable: the next one is not written before. */
static bool write_behind_due(struct kv *kv)
{
	const struct log_tail *tail = &kv->log.hot;
	uint64_t appended = atomic_load_explicit(&tail->appended_bytes, memory_order_relaxed);

	return appended - atomic_load_explicit(&tail->written_bytes, memory_order_relaxed) >=
		       kv->segments.size / WRITE_BEHIND_DIVISOR ||
	       atomic_load_explicit(&tail->unsealed, memory_order_relaxed);
}

/* Takes the flusher's place; false: somebody else has. */
static bool begin(struct sync *sync, uint64_t state, uint64_t next)
{
	return atomic_compare_exchange_strong(&sync->state, &state, next);
}

/*
 * For those who shared the last round, as long as that is worth it. The processor is left to them,
 * if they need it. leader: 1 if it is not among the bed's waiters.
 */
static void gather(struct kv *kv, const struct sync_bed *bed, unsigned leader)
{
	struct sync *sync = &kv->sync;
	uint64_t begun_us, limit_us = earlier(sync->flush_us, GATHER_US);

	if (sync->company <= 1 || sync->company > COMPANY_MAX)
		return;
	if (sync->alone) {
		sync->alone--;
		return;
	}
	begun_us = kv->env->clock_us(kv->env);
	while (atomic_load(&bed->waiters) + leader < sync->company) {
		if (kv->env->clock_us(kv->env) - begun_us >= limit_us) {
			sync->alone = ALONE_ROUNDS;
			return;
		}
		sched_yield();
	}
}

static int flush_timed(struct kv *kv)
{
	uint64_t begun_us = kv->env->clock_us(kv->env);
	int error = log_flush(kv);

	kv->sync.flush_us = kv->env->clock_us(kv->env) - begun_us;
	return error;
}

/*
 * Leads the next round, if nothing is under way since `state`. awaited: the round that its thread
 * has come for, or 0.
 */
static bool lead(struct kv *kv, uint64_t state, uint64_t awaited, int *error)
{
	struct sync *sync = &kv->sync;
	uint64_t round = (state >> ROUND_SHIFT) + 1;
	struct sync_bed *bed = &sync->beds[round & 1];
	unsigned leader = awaited != round;

	if (!begin(sync, state, round << ROUND_SHIFT | SYNCING | GATHERING))
		return false;
	gather(kv, bed, leader);
	/* Who saw it gather has committed before the flush looks where the log ends. */
	atomic_store(&sync->state, round << ROUND_SHIFT | SYNCING);
	*error = atomic_load(&kv->failed) ? -EIO : flush_timed(kv);
	if (*error)
		*error = store_poison(kv, *error, "writing the log failed");
	sync->company = atomic_exchange(&bed->waiters, 0) + leader;
	atomic_store(&sync->state, round << ROUND_SHIFT);
	ring(sync, round, INT_MAX);
	ring(sync, round + 1, 1);
	/* The store's thread may have found us in its place. */
	if (!kv->inline_maintenance && write_behind_due(kv))
		sync_kick(kv);
	return true;
}

/* The round that makes it durable. */
static uint64_t round_of(const struct sync *sync, uint64_t state, uint64_t seq)
{
	bool under_way = (state & (SYNCING | GATHERING)) == SYNCING;

	return next_round(state) - (under_way && atomic_load(&sync->covered_seq) >= seq);
}

int sync_wait(struct kv *kv, uint64_t seq)
{
	struct sync *sync = &kv->sync;
	uint64_t round = 0; /* that it waits for */
	int error = 0;

	while (!is_durable(kv, seq) && !error) {
		uint64_t state = atomic_load(&sync->state);

		if (atomic_load(&kv->failed)) {
			error = -EIO;
		} else if (!(state & BUSY)) {
			if (lead(kv, state, round, &error))
				round = 0;
		} else {
			if (rounds_done(state) >= round) {
				round = round_of(sync, state, seq);
				atomic_fetch_add(&sync->beds[round & 1].waiters, 1);
			}
			sleep_for(sync, round);
		}
	}
	if (round)
		pass_on(sync, round);
	return error;
}

int sync_flush(struct kv *kv)
{
	struct sync *sync = &kv->sync;
	uint64_t state = atomic_load(&sync->state);
	uint64_t round = next_round(state);
	bool led = false;
	int error = 0;

	while (!led && rounds_done(state) < round && !atomic_load(&kv->failed)) {
		if (state & BUSY)
			sleep_for(sync, round);
		else
			led = lead(kv, state, 0, &error);
		state = atomic_load(&sync->state);
	}
	if (!led)
		pass_on(sync, round);
	return atomic_load(&kv->failed) ? -EIO : error;
}

/* Hands a piece of what was appended to the files. False: somebody else is the flusher. */
static bool write_behind(struct kv *kv)
{
	struct sync *sync = &kv->sync;
	uint64_t state = atomic_load(&sync->state);
	int error;

	if ((state & BUSY) || !begin(sync, state, state | WRITING))
		return false;
	error = atomic_load(&kv->failed) ? 0 : log_write_behind(kv);
	if (error)
		store_poison(kv, error, "writing the log failed");
	atomic_store(&sync->state, state);
	ring(sync, (state >> ROUND_SHIFT) + 1, 1);
	return true;
}

/* ---- waiters --------------------------------------------------------------------------------- */

/* Takes the waiters that can be answered off the list. Called with the lock. */
static struct kv_waiter *take_done(struct kv *kv, bool all)
{
	struct kv_waiter *done = NULL, **link = &kv->sync.waiters;

	while (*link) {
		struct kv_waiter *waiter = *link;

		if (all || is_durable(kv, waiter->seq)) {
			*link = waiter->next;
			waiter->next = done;
			done = waiter;
		} else {
			link = &waiter->next;
		}
	}
	return done;
}

static void answer(struct kv_waiter *waiters, int status)
{
	while (waiters) {
		struct kv_waiter *next = waiters->next;

		waiters->done(waiters, status);
		waiters = next;
	}
}

void sync_notify(struct kv *kv, struct kv_waiter *waiter)
{
	struct sync *sync = &kv->sync;

	if (is_durable(kv, waiter->seq)) {
		waiter->done(waiter, 0);
		return;
	}
	if (!log_has_number(kv, waiter->seq)) {
		waiter->done(waiter, -EINVAL);
		return;
	}
	if (kv->inline_maintenance) {
		waiter->done(waiter, sync_wait(kv, waiter->seq));
		return;
	}
	pthread_mutex_lock(&sync->lock);
	waiter->next = sync->waiters;
	sync->waiters = waiter;
	pthread_mutex_unlock(&sync->lock);
	sync_kick(kv);
}

/* Makes durable what waiters ask for, and answers them. */
static void serve_waiters(struct kv *kv)
{
	struct sync *sync = &kv->sync;
	struct kv_waiter *waiter, *done, *lost = NULL;
	uint64_t seq = 0;

	pthread_mutex_lock(&sync->lock);
	for (waiter = sync->waiters; waiter; waiter = waiter->next) {
		if (waiter->seq > seq)
			seq = waiter->seq;
	}
	pthread_mutex_unlock(&sync->lock);
	if (!seq)
		return;

	sync_wait(kv, seq);
	pthread_mutex_lock(&sync->lock);
	done = take_done(kv, false);
	if (atomic_load(&kv->failed))
		lost = take_done(kv, true);
	pthread_mutex_unlock(&sync->lock);
	answer(done, 0);
	answer(lost, -EIO);
}

/* ---- the store's thread ---------------------------------------------------------------------- */

void sync_kick(struct kv *kv)
{
	worker_kick(&kv->sync.worker);
}

void sync_committed(struct kv *kv)
{
	if (kv->inline_maintenance) {
		if (write_behind_due(kv))
			write_behind(kv);
		if (atomic_load(&kv->large.awake))
			large_step_inline(kv);
		maintain_checkpoint(kv);
		return;
	}
	/*
	 * Set under the commit lock: who committed since then sees it, and who did before is seen.
	 */
	if (atomic_load_explicit(&kv->sync.resting, memory_order_relaxed) || write_behind_due(kv))
		sync_kick(kv);
}

/* Microseconds until the oldest unsynced batch is due, or UINT64_MAX if there is none. */
static uint64_t until_due(struct kv *kv)
{
	uint64_t now, since;

	if (is_durable(kv, atomic_load(&kv->log.last_seq)) || atomic_load(&kv->failed))
		return UINT64_MAX;
	pthread_mutex_lock(&kv->log.lock);
	since = kv->log.dirty_since_us;
	pthread_mutex_unlock(&kv->log.lock);
	if (!since) /* a sync under way covers it */
		return kv->commit_interval_us;
	now = kv->env->clock_us(kv->env);
	return now - since >= kv->commit_interval_us ? 0 : since + kv->commit_interval_us - now;
}

/* Until a kick: the next commit gives it. */
static void rest(struct kv *kv)
{
	struct sync *sync = &kv->sync;

	/* A commit that does not see `resting` is seen by the second look. */
	pthread_mutex_lock(&kv->log.lock);
	atomic_store(&sync->resting, true);
	pthread_mutex_unlock(&kv->log.lock);
	worker_sleep(&sync->worker, earlier(until_due(kv), times_due_us(kv)));
	atomic_store(&sync->resting, false);
}

/*
 * Until a kick, or until a sync or a sample of the clock is due. Waking a thread costs who commits
 * 5 to 25 us. So for a while after the last change nobody has to: the thread looks often enough by
 * itself. Where that would be every few milliseconds it would keep a processor awake instead, and
 * the maintainer behind it.
 */
static void sleep_until_due(struct kv *kv)
{
	uint64_t due_us, look_us = earlier(kv->commit_interval_us, LOOK_US);
	unsigned looks = 0;
	bool kicked = false;

	while (!kicked && !worker_is_stopping(&kv->sync.worker)) {
		due_us = until_due(kv);
		if (due_us == UINT64_MAX && look_us < LOOK_MIN_US) {
			rest(kv);
			return;
		}
		due_us = earlier(due_us, times_due_us(kv));
		if (due_us != UINT64_MAX) {
			worker_sleep(&kv->sync.worker, earlier(due_us, look_us));
			return;
		}
		if (looks++ == LOOKS) {
			rest(kv);
			return;
		}
		kicked = worker_sleep(&kv->sync.worker, look_us);
	}
}

static void *flusher(void *arg)
{
	struct kv *kv = arg;

	while (!worker_is_stopping(&kv->sync.worker)) {
		sleep_until_due(kv);
		do {
			serve_waiters(kv);
			if (!times_due_us(kv))
				times_sample(kv);
			if (!until_due(kv))
				sync_wait(kv, atomic_load(&kv->log.last_seq));
		} while (!atomic_load(&kv->failed) && write_behind_due(kv) && write_behind(kv));
		/* What was written may have made garbage, or a segment that can be mapped. */
		maintain_kick(kv);
	}
	return NULL;
}

int sync_start(struct kv *kv)
{
	return worker_start(&kv->sync.worker, flusher, kv);
}

void sync_stop(struct kv *kv)
{
	if (!kv->sync.worker.running)
		return;
	worker_stop(&kv->sync.worker);
	serve_waiters(kv);
}
