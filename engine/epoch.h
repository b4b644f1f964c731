/* SPDX-License-Identifier: MIT */
/*
 * epoch.h - read sections without locks, and waiting for them: liburcu's "bulletproof" flavour,
 * which registers threads by itself, as a library must.
 *
 * A reader between epoch_enter and epoch_leave may follow pointers loaded from the store's shared
 * structures. Whoever unlinks such memory calls epoch_wait, with no lock held that a reader could
 * want, before it is reused.
 */
#ifndef EPOCH_H
#define EPOCH_H

#include <urcu-bp.h>

/* liburcu is not instrumented: tell ThreadSanitizer of the order that it establishes. */
#if defined(__SANITIZE_THREAD__)
#define EPOCH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EPOCH_TSAN 1
#endif
#endif

#ifdef EPOCH_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
extern char epoch_tsan_order;
#define EPOCH_RELEASED() __tsan_release(&epoch_tsan_order)
#define EPOCH_ACQUIRED() __tsan_acquire(&epoch_tsan_order)
#else
#define EPOCH_RELEASED() ((void)0)
#define EPOCH_ACQUIRED() ((void)0)
#endif

/*
 * How many read sections of this thread are open, one within the other. Only the outermost is
 * liburcu's business: a section within one costs two instructions and not two calls.
 */
extern __thread unsigned epoch_depth __attribute__((tls_model("initial-exec")));

static inline void epoch_enter(void)
{
	if (epoch_depth++ == 0)
		urcu_bp_read_lock();
}

static inline void epoch_leave(void)
{
	if (--epoch_depth == 0) {
		EPOCH_RELEASED();
		urcu_bp_read_unlock();
	}
}

/* Returns when every read section that was open at the call is over. Milliseconds. */
static inline void epoch_wait(void)
{
	urcu_bp_synchronize_rcu();
	EPOCH_ACQUIRED();
}

#endif
