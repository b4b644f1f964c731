/* SPDX-License-Identifier: MIT */
/* diff_rows.c - see diff_rows.h. */
#include "diff_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"

int diff_rows_add(struct diff_rows *rows, char sign, const char *path, bool is_directory)
{
	struct diff_row row = {strdup(path), sign, is_directory};

	if (row.path && rows->count == rows->room) {
		size_t room = rows->room * 2 + 64;
		struct diff_row *more = realloc(rows->rows, room * sizeof(*more));

		if (more) {
			rows->rows = more;
			rows->room = room;
		}
	}
	if (!row.path || rows->count == rows->room) {
		free(row.path);
		return -ENOMEM;
	}
	rows->rows[rows->count++] = row;
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct diff_row *left = a, *right = b;
	int order = strcmp(left->path, right->path);

	return order ? order : (left->sign == '+') - (right->sign == '+');
}

int diff_rows_print(struct diff_rows *rows)
{
	size_t i;

	if (rows->count)
		qsort(rows->rows, rows->count, sizeof(*rows->rows), compare_rows);
	for (i = 0; i < rows->count; i++) {
		printf("%c ", rows->rows[i].sign);
		snapshot_print_name(rows->rows[i].path);
		puts(rows->rows[i].is_directory ? "/" : "");
	}
	return fflush(stdout) ? -EIO : 0;
}

void diff_rows_fini(struct diff_rows *rows)
{
	while (rows->count)
		free(rows->rows[--rows->count].path);
	free(rows->rows);
	*rows = (struct diff_rows){NULL, 0, 0};
}
