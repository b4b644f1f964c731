/* SPDX-License-Identifier: MIT */
/*
 * message_budget.c - a bucket with a hole (see message_budget.h). It is kept as a time, so that
 * nothing has to be poured in meanwhile: the generic cell rate algorithm.
 */
#include "message_budget.h"

#define US_PER_S UINT64_C(1000000)
#define BUDGET_US (MESSAGE_BUDGET_BYTES / MESSAGE_BUDGET_BYTES_PER_S * US_PER_S)

bool message_budget_take(struct message_budget *budget, size_t size, uint64_t now_us)
{
	const uint64_t cost_us =
		(size + MESSAGE_BUDGET_LINE) * US_PER_S / MESSAGE_BUDGET_BYTES_PER_S;
	const uint64_t from_us = budget->full_at_us > now_us ? budget->full_at_us : now_us;

	if (from_us + cost_us > now_us + BUDGET_US) {
		budget->left_out++;
		return false;
	}
	budget->full_at_us = from_us + cost_us;
	return true;
}
