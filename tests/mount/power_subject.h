/* SPDX-License-Identifier: MIT */
/*
 * power_subject.h - what stands on the disk that is recorded: made, changed, and judged by what was promised when the power failed.
 *
 * What the work says of itself meanwhile, its marks, is recorded with each write (power_disk.h). It is numbers that are true at every
 * moment: what may be there by now, and what must be.
 */
#ifndef POWER_SUBJECT_H
#define POWER_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct power_place {
	const char *directory; /* for what is not on the disk: another file system */
	const char *volume;    /* where the disk is mounted */
	uint64_t seed;
	uint64_t steps; /* of work: how many that are follows from it */
};

struct power_subject {
	const char *name;
	size_t disk_size;  /* bytes */
	size_t marks_size; /* bytes, a multiple of 8 */
	/* Memory for the marks that other processes share, before any is forked. NULL: there is none */
	void *(*marks)(const struct power_place *place);
	/* What is there before anything is recorded; or NULL. 0, or -1, said on stderr, as all below */
	int (*prepare)(const struct power_place *place);
	/* What is recorded. In a process of its own; whatever it leaves running is ended by that. */
	int (*work)(const struct power_place *place);
	/* What a power failure left, when the marks were these. Out: is it empty, as nothing was promised yet? */
	int (*judge)(const struct power_place *place, const void *marks, bool *empty);
};

/* A store that a program uses as a library. power_store.c */
extern const struct power_subject power_store;
/* One that is mounted, and changed by the writers of crash_writer.c. power_files.c */
extern const struct power_subject power_files;

#endif
