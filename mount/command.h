/* SPDX-License-Identifier: MIT */
/*
 * command.h - the subcommands of kvfs: what each file offers to the program.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include <getopt.h>
#include <stdint.h>

struct command {
	const char *name;
	const char *arguments; /* behind the name, for the usage line */
	const char *summary;   /* one line */
	const char *details;   /* the options, for --help */
	int usage_code;        /* exit code for a wrong invocation */
	int unwritten_code;    /* bits of it, if the standard output cannot be written; 0: 1,
				  unless it tells of more */
	/* argv[0] is the command's name; the exit code is returned */
	int (*run)(int argc, char **argv);
};

extern const struct command check_command;
extern const struct command del_command;
extern const struct command digest_command;
extern const struct command get_command;
extern const struct command list_command;
extern const struct command mkfs_command;
extern const struct command mount_command;
extern const struct command prune_command;
extern const struct command put_command;
extern const struct command snapshot_command;
extern const struct command stat_command;
extern const struct command limit_command;
extern const struct command sync_command;
extern const struct command umount_command;

/* mount.kvfs, as mount(8) calls it */
int mount_helper_run(int argc, char **argv);

#endif
