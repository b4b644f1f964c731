/* SPDX-License-Identifier: MIT */
/*
 * fetch.h - asking the disk for many records at once, where records come from the disk.
 *
 * Asking the processor to fetch a record ahead does nothing for one in a map whose page is not in
 * memory: it is read when it is touched, and one after the other. Asking the kernel costs a system
 * call a record, far more than a record that is there. Which of the two it is shows in the time
 * that a group of records takes: if it was the disk's, the thread asks the kernel for its next
 * groups first, until they have come fast for a while.
 */
#ifndef FETCH_H
#define FETCH_H

#include "store.h"

/*
 * To be called with a group's addresses before its records are looked at; what it returns goes to
 * fetch_done.
 */
uint64_t fetch_group(struct kv *kv, const uint64_t *addresses, size_t count);
void fetch_done(struct kv *kv, uint64_t begun_us, size_t count);

#endif
