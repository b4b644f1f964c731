/* SPDX-License-Identifier: MIT */
/* diff_rows.h - what kvfs snapshot diff has found, to be printed in the order of names. */
#ifndef DIFF_ROWS_H
#define DIFF_ROWS_H

#include <stdbool.h>
#include <stddef.h>

struct diff_row {
	char *path;
	char sign; /* '+', '-' or 'M' */
	bool is_directory;
};

struct diff_rows {
	struct diff_row *rows;
	size_t count, room;
};

/* -ENOMEM */
int diff_rows_add(struct diff_rows *rows, char sign, const char *path, bool is_directory)
	__attribute__((warn_unused_result));
/* To the standard output; -EIO */
int diff_rows_print(struct diff_rows *rows) __attribute__((warn_unused_result));
/* There are none any more, and may be others. */
void diff_rows_fini(struct diff_rows *rows);

#endif
