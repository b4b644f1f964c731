/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_save.h - writing a checkpoint beside everybody else, in steps.
 *
 * Threads: whoever has maintain.lock.
 */
#ifndef CHECKPOINT_SAVE_H
#define CHECKPOINT_SAVE_H

#include "store.h"

/*
 * Begins one; around: around the page cache. kv->checkpoint_save is not NULL from then on until it
 * is written or given up.
 */
int checkpoint_save_begin(struct kv *kv, bool around);
/*
 * The next step of it: 0 there is more to do, 1 it is written, durable, and has the name. Else it
 * is given up: -EAGAIN, what it saves has changed too much meanwhile; or another error.
 */
int checkpoint_save_step(struct kv *kv);
/* Will the next step be the last one, but for what changes meanwhile? It waits for the log. */
bool checkpoint_save_is_ending(const struct kv *kv);
/* Gives up the one under way, if there is one. */
void checkpoint_save_abandon(struct kv *kv);

#endif
