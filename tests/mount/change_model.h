/* SPDX-License-Identifier: MIT */
/*
 * change_model.h - an endless, repeatable row of changes to a small tree, and the tree after any of
 * them
 *
 * Change number N of a writer follows from the seed and the changes before it alone. So whoever
 * knows the seed knows what the tree must look like after exactly N changes, and can tell whether
 * what was found after a crash is such a state. Every change is one operation of the file
 * system: either there or not.
 */
#ifndef CHANGE_MODEL_H
#define CHANGE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_FILES 48u
#define MODEL_DIRECTORIES 4u        /* that the files are spread over; always there */
#define MODEL_TOGGLES 4u            /* directories that come and go */
#define MODEL_FILE_SIZE_MAX 300000u /* bytes */
#define MODEL_WRITE_SIZE_MAX 90000u /* bytes; less than what any mount puts into one request */
#define MODEL_MARK "user.mark"      /* the xattr */

enum change_kind {
	CHANGE_CREATE,
	CHANGE_WRITE,
	CHANGE_APPEND,
	CHANGE_TRUNCATE,
	CHANGE_RENAME, /* replaces */
	CHANGE_EXCHANGE,
	CHANGE_UNLINK,
	CHANGE_LINK,    /* another name */
	CHANGE_UNNAMED, /* a file that is written without a name (O_TMPFILE), and then gets one */
	CHANGE_COPY,    /* copy_file_range of all of it to a file that is not larger */
	CHANGE_PUNCH,   /* a hole */
	CHANGE_ZERO,    /* the same by FALLOC_FL_ZERO_RANGE, which may make the file longer */
	CHANGE_EXTEND,  /* fallocate */
	CHANGE_MARK,    /* sets the xattr */
	CHANGE_TOGGLE,  /* makes or removes a directory */
	CHANGE_SYNC,    /* changes nothing: everything before becomes durable */
};

struct change {
	enum change_kind kind;
	uint64_t number;
	unsigned file, other;  /* names */
	size_t position, size; /* bytes */
	bool durable;          /* is durable itself when it returns (O_SYNC) */
};

struct model_file {
	unsigned links; /* names; 0: there is no such file */
	size_t size;
	uint64_t mark;        /* value of the xattr; 0: none */
	unsigned char *bytes; /* MODEL_FILE_SIZE_MAX; zeros behind size */
};

struct model {
	uint64_t seed;
	uint64_t done; /* number of changes applied */
	struct model_file *names[MODEL_FILES]; /* several may be of one file; NULL: is not there */
	struct model_file files[MODEL_FILES];
	bool toggles[MODEL_TOGGLES];
};

/* For one of several writers, of whom each has a row of its own. */
uint64_t model_seed(uint64_t seed, unsigned writer);
/* Running out of memory ends the program. */
void model_init(struct model *model, uint64_t seed);
void model_fini(struct model *model);

/* A file without names; there is always one. */
struct model_file *model_file_free(struct model *model);

/* The change that comes next, and its effect. A write's bytes are pattern_fill(seed + number). */
struct change model_next(const struct model *model);
void model_apply(struct model *model, const struct change *change);
uint64_t model_bytes_seed(const struct model *model, const struct change *change);

/* Paths below the writer's directory. */
void model_file_path(unsigned file, char path[32]);
void model_toggle_path(unsigned toggle, char path[32]);

#endif
