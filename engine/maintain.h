/* SPDX-License-Identifier: MIT */
/*
 * maintain.h - the maintainer: prepares segments before writers need them, compacts, reads in what
 * is cold, and frees what readers have left. A thread of the store, or, in a store without one, a
 * caller that holds no lock.
 */
#ifndef MAINTAIN_H
#define MAINTAIN_H

#include "store.h"

void maintain_init(struct maintain *maintain);
void maintain_fini(struct maintain *maintain);
int maintain_start(struct kv *kv);
void maintain_stop(struct kv *kv);

/* Wakes the maintainer. Any lock may be held. */
void maintain_kick(struct kv *kv);
/* One round of maintenance. */
void maintain_round(struct kv *kv);
/* A step of writing a checkpoint, where there is no maintainer. */
void maintain_checkpoint(struct kv *kv);

#endif
