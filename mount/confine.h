/* SPDX-License-Identifier: MIT */
/*
 * confine.h - the process that serves a mount, or reads a store for a command, gives up what it
 * does not need, before it reads the first byte of a store that may be hostile: capabilities, new
 * privileges, system calls, files outside the store.
 */
#ifndef CONFINE_H
#define CONFINE_H

/*
 * For this process, and what it starts from here on; before threads are. What the kernel does not
 * offer is left out. `made`: the directory of a second store, which the caller has made empty, to
 * fill it from the first one; or NULL. 0 or a negative errno; the caller should then not go on.
 */
int confine(const char *store, const char *made) __attribute__((warn_unused_result));

/* What is in force: "none", or words with blanks between them. */
const char *confine_state(void);

#endif
