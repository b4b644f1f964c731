/* SPDX-License-Identifier: MIT */
/* session_config.h - what a session is asked for, in the library's terms. Private to the session. */
#ifndef SESSION_CONFIG_H
#define SESSION_CONFIG_H

#include "session.h"

/* The options as the library wants them, a command line, which is freed by fuse_opt_free_args. */
int session_arguments(const struct session_config *config, bool uring, struct fuse_args *args)
	__attribute__((warn_unused_result));

#endif
