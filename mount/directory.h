/* SPDX-License-Identifier: MIT */
/*
 * directory.h - the names in a directory of any file system, as the commands that work on a mounted
 * store walk them.
 */
#ifndef DIRECTORY_H
#define DIRECTORY_H

/* Deeper trees are not walked (-ENAMETOOLONG): each level takes stack, and descriptors. */
#define DIRECTORY_DEPTH_MAX 4096u

/*
 * Gives out each name but "." and "..", in no order, until `each` returns what is not 0, which is
 * the result then. The descriptor `directory` stays open, and is read from the start. Errors: what
 * opening and reading a directory gives.
 */
int directory_each(int directory, int (*each)(void *arg, const char *name), void *arg);

#endif
