/* SPDX-License-Identifier: MIT */
/*
 * message_budget.h - how much may be logged for somebody who is not trusted to stop: so many bytes
 * at once, and a few each second.
 *
 * Damage of a whole store may be some thousand lines in a row, which are to be there; what goes on
 * for days must not fill a disk. Not for several threads at once.
 */
#ifndef MESSAGE_BUDGET_H
#define MESSAGE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_BUDGET_BYTES (256 << 10)
#define MESSAGE_BUDGET_BYTES_PER_S 1024
/* What a log adds to each: the time, the name. An empty message is not for nothing. */
#define MESSAGE_BUDGET_LINE 64

struct message_budget {
	uint64_t full_at_us; /* when nothing of it will be used any more */
	uint64_t left_out;   /* messages since the last that was not */
};

/* Whether a message of `size` bytes may go now; else it is counted. now_us never goes back. */
bool message_budget_take(struct message_budget *budget, size_t size, uint64_t now_us);

#endif
