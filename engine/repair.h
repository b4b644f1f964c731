/* SPDX-License-Identifier: MIT */
/* repair.h - what the parts of a repair share: repair.c, and repair_names.c for files' names. */
#ifndef REPAIR_H
#define REPAIR_H

#include "env.h"
#include "format.h"
#include "kv.h"

struct repair {
	struct kv_env *env;
	struct env_dir *dir;
	const char *path;
	kv_report_fn *report;
	void *report_arg;
	struct format_super super;
	struct env_file *super_file; /* holds the lock */
	struct cut *cuts;
	size_t cuts_count;
	bool checkpoint_damaged;
	bool checkpoint_there;
	/* Of a segment that the checkpoint misses, which may be all that knows of it; id 0: none. */
	uint64_t missing_id;
	uint32_t missing_slot;
	bool marked; /* that records are lost (loss.h) */
	struct kv_repair_report result;
};

__attribute__((format(printf, 3, 4))) void
repair_say(struct repair *repair, enum kv_severity severity, const char *format, ...);

/*
 * Marks that records are lost, before what tells of it goes: from here on the repair may be
 * interrupted, and the next one find nothing.
 */
int repair_mark(struct repair *repair) __attribute__((warn_unused_result));

/* The slots that names of segments' files say, in no order. */
struct repair_slots {
	uint32_t *slots; /* the caller frees them, after an error too */
	size_t count, capacity;
};

int repair_list(struct repair *repair, struct repair_slots *out) __attribute__((warn_unused_result));
/*
 * Gives the segments' files of this store the names that their headers say, and sets aside what is
 * none of its log, and what is no file where one should be that the store can do without. Of a
 * store that the superblock is not of nothing is touched: -EUCLEAN.
 */
int repair_names(struct repair *repair) __attribute__((warn_unused_result));

#endif
