/* SPDX-License-Identifier: MIT */
/*
 * options.h - reading the command line: getopt with --help, arguments, sizes.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdint.h>

#include "command.h"

/*
 * As getopt_long; -1 at the end. --help and -h print the help and exit; an unknown option is said,
 * and exits with an error.
 */
int options_next(const struct command *command, int argc, char **argv, const char *letters,
	const struct option *names);

/* Exits with the usage unless between `min` and `max` (0: any number) arguments are left. */
void options_arguments(const struct command *command, int argc, int min, int max);

/* Says what is wrong, how the command is used, and exits. */
void options_fail(const struct command *command, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));

void options_help(const struct command *command);

/* "4096", "64K", "16M", "1G": bytes in powers of 1024. -EINVAL, -ERANGE. */
int options_size(const char *text, uint64_t *bytes) __attribute__((warn_unused_result));

#endif
