/* SPDX-License-Identifier: MIT */
/*
 * loss.h - that records were lost to damage, kept in mind: the file FORMAT_LOSS_NAME is there from
 * the opening or the repair that finds it out on, until the store's user says that what is left
 * agrees (kv_forget_loss). What it is known by goes sooner: a checkpoint is written behind the
 * damage, a repair empties segments.
 */
#ifndef LOSS_H
#define LOSS_H

#include <stdbool.h>

#include "env.h"

struct kv;

/* *marked: whether there is one. Errors: as file_open, but -ENOENT */
int loss_look(struct kv_env *env, struct env_dir *dir, bool *marked)
	__attribute__((warn_unused_result));
/* Durable on return. One that is there is fine. */
int loss_mark(struct kv_env *env, struct env_dir *dir) __attribute__((warn_unused_result));
/* Durably. None is fine. */
int loss_unmark(struct kv_env *env, struct env_dir *dir) __attribute__((warn_unused_result));

/* When opening, before the log is looked at: what is marked. As loss_look */
int loss_recall(struct kv *kv) __attribute__((warn_unused_result));
/* Behind the replay: it has passed over records, or missed segments. */
void loss_found(struct kv *kv);
/*
 * Marks what was found, unless that is done, or nothing was. Called behind the replay, where opening
 * goes on without room for that, and before a checkpoint, which then has to wait.
 */
int loss_settle(struct kv *kv) __attribute__((warn_unused_result));

#endif
