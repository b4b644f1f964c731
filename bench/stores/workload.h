/* SPDX-License-Identifier: MIT */
/*
 * workload.h - the sets of workloads; a set is what one process does with one store in one
 * directory.
 *
 *	main	 put in order, settle, get, contains, iterate, scan, snapshot, open again, mixed,
 *		 overwrite, prune, delete
 *	random	 put in random order, and batches of 100
 *	load, killed   put all, sync, and end by SIGKILL; then, by the next process, open
 *	durable	 durable puts on 1, 4, 16 and 64 threads; durable batches of 100
 *	large	 put and get, for large values
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include "store.h"

struct workload {
	const struct store_ops *ops;
	struct store_setup setup;
	double seconds; /* limit for workloads that need not visit all entries */
	struct store *store;
	struct session *session;
};

/* 0, a negative errno; -ENOENT: there is no such set. */
int workload_run(struct workload *workload, const char *set);

#endif
