/* SPDX-License-Identifier: MIT */
/*
 * session_config.c - the transport, and whether it can be had; options of the mount as the library
 * takes them.
 */
#include "session_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool session_config_option(struct session_config *config, const char *option)
{
	if (!strcmp(option, "io_uring"))
		config->transport = SESSION_IO_URING;
	else if (!strcmp(option, "no_io_uring"))
		config->transport = SESSION_DEVICE;
	else
		return false;
	return true;
}

const char *session_uring_missing(void)
{
#ifndef FUSE_CAP_OVER_IO_URING
	return "this build's libfuse is too old (3.18 has it)";
#else
	char value = 0;
	int fd = open("/sys/module/fuse/parameters/enable_uring", O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		/* the module may not be loaded yet; mounting loads it */
		return access("/sys/module/fuse", F_OK) ? NULL :
			"this kernel has no FUSE over io_uring (Linux 6.14 has it)";
	}
	if (read(fd, &value, 1) != 1)
		value = 0;
	close(fd);
	if (value != 'Y' && value != '1')
		return "the kernel's parameter fuse.enable_uring is off "
		       "(root: echo 1 > /sys/module/fuse/parameters/enable_uring)";
	return NULL;
#endif
}

/* NAME=VALUE; escaped, as a value may have commas. */
static int add_named(char **options, const char *name, const char *value)
{
	char *part;
	int rc;

	if (!value)
		return 0;
	if (asprintf(&part, "%s=%s", name, value) < 0)
		return -ENOMEM;
	rc = fuse_opt_add_opt_escaped(options, part) ? -ENOMEM : 0;
	free(part);
	return rc;
}

int session_arguments(const struct session_config *config, bool uring, struct fuse_args *args)
{
	char *options = NULL;
	int rc = -ENOMEM;

	if (fuse_opt_add_arg(args, config->subtype ? config->subtype : "fuse"))
		goto out;
	if (add_named(&options, "fsname", config->source) ||
		add_named(&options, "subtype", config->subtype))
		goto out;
	if (config->options && *config->options && fuse_opt_add_opt(&options, config->options))
		goto out;
	if (config->debug && fuse_opt_add_opt(&options, "debug"))
		goto out;
	if (uring && fuse_opt_add_opt(&options, "io_uring"))
		goto out;
	if (options && (fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, options)))
		goto out;
	rc = 0;
out:
	free(options);
	return rc;
}
