/* SPDX-License-Identifier: MIT */
/*
 * mounter_orders.h - what a server and its mounter say to each other, by a pair of sockets that
 * keep messages apart.
 *
 * An order is a byte. ORDER_LOG is followed by another, the severity, and the text. ORDER_MOUNT and
 * ORDER_UNMOUNT have an answer, the mount's with a descriptor where it is there; an unmount may
 * take long, and the orders that can come meanwhile, to break off and to log, have none.
 */
#ifndef MOUNTER_ORDERS_H
#define MOUNTER_ORDERS_H

#include <stdbool.h>

#include "message.h"

enum mounter_order {
	ORDER_MOUNT = 'm',
	ORDER_UNMOUNT = 'u',
	ORDER_BREAK = 'b',
	ORDER_LOG = 'l',
};

#define ORDER_SIZE_MAX (2 + MESSAGE_SIZE_MAX)

struct mounter_answer {
	int rc;
	bool explained; /* the reason has been told */
};

#endif
