/* SPDX-License-Identifier: MIT */
/*
 * options.c - reading the command line (see options.h).
 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

void options_help(const struct command *command)
{
	printf("usage: kvfs %s %s\n\n%s.\n", command->name, command->arguments, command->summary);
	if (command->details)
		printf("\n%s", command->details);
}

void options_fail(const struct command *command, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	message(KV_ERROR, "%s", text);
	fprintf(stderr, "usage: kvfs %s %s\n", command->name, command->arguments);
	exit(command->usage_code);
}

int options_next(const struct command *command, int argc, char **argv, const char *letters,
	const struct option *names)
{
	int letter;

	opterr = 0;
	letter = getopt_long(argc, argv, letters, names, NULL);
	if (letter == 'h') {
		options_help(command);
		exit(0);
	}
	if (letter == ':')
		options_fail(command, "%s needs a value", argv[optind - 1]);
	if (letter == '?') {
		if (optopt && isprint(optopt))
			options_fail(command, "unknown option -%c", optopt);
		options_fail(command, "unknown option %s", argv[optind - 1]);
	}
	return letter;
}

void options_arguments(const struct command *command, int argc, int min, int max)
{
	if (argc - optind < min)
		options_fail(command, "%s",
			argc == optind ? "arguments are missing" : "an argument is missing");
	if (max && argc - optind > max)
		options_fail(command, "too many arguments");
}

int options_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	unsigned long long value;
	const char *unit;
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return -errno;
	if (*end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit)
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
		if (!strcasecmp(end, "iB") || !strcasecmp(end, "B"))
			end = strchr(end, '\0');
	}
	if (*end)
		return -EINVAL;
	if (value > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = (uint64_t)value << shift;
	return 0;
}
