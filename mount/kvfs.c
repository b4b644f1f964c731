/* SPDX-License-Identifier: MIT */
/*
 * kvfs.c - the program: finds the command that is meant by its first argument, or by the program's
 * own name (mount.kvfs and the like, as mount(8) and umount(8) call their helpers).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "command.h"
#include "message.h"
#include "options.h"

static const struct command *const commands[] = {
	&mkfs_command,
	&mount_command,
	&umount_command,
	&get_command,
	&put_command,
	&del_command,
	&list_command,
	&stat_command,
	&sync_command,
	&limit_command,
	&snapshot_command,
	&prune_command,
	&digest_command,
	&check_command,
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *command_find(const char *name)
{
	size_t i;

	for (i = 0; i < COMMANDS; i++) {
		if (!strcmp(name, commands[i]->name))
			return commands[i];
	}
	return NULL;
}

static void print_help(FILE *out)
{
	size_t i;

	fprintf(out, "usage: kvfs COMMAND ...\n\n"
		     "A key-value store that is a file system: names are keys, contents are "
		     "values.\n\n");
	for (i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(out, "  %-8s Shows this, or a command's help (kvfs help COMMAND)\n", "help");
	fprintf(out, "  %-8s Shows the program's version\n", "version");
}

static int help(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2) {
		print_help(stdout);
		return 0;
	}
	command = command_find(argv[1]);
	if (!command && (!strcmp(argv[1], "help") || !strcmp(argv[1], "version"))) {
		print_help(stdout);
		return 0;
	}
	if (!command) {
		message(KV_ERROR, "%s: there is no such command (see: kvfs help)", argv[1]);
		return 2;
	}
	/* it has commands of its own, which have help of their own */
	if (command == &snapshot_command)
		return command->run(3, (char *[]){argv[1], argc > 2 ? argv[2] : (char *)"--help",
					       (char *)"--help", NULL});
	options_help(command);
	return 0;
}

static bool is_helper(const char *program, const char *verb)
{
	const char *slash = strrchr(program, '/');
	size_t length = strlen(verb);

	if (slash)
		program = slash + 1;
	if (strncmp(program, verb, length))
		return false;
	return !strcmp(program + length, ".kvfs") || !strcmp(program + length, ".fuse.kvfs");
}

/* As far as this process may. */
static void limit_raise(int resource)
{
	struct rlimit limit;

	if (!getrlimit(resource, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(resource, &limit);
	}
}

/*
 * A store has two open files for each segment: the usual limit of 1,024 ends at 8 GiB. And these
 * are as large as they are; a limit that is left is an error (EFBIG), not the end of who meets it.
 */
static void raise_limits(void)
{
	limit_raise(RLIMIT_NOFILE);
	limit_raise(RLIMIT_FSIZE);
	signal(SIGXFSZ, SIG_IGN);
}

/*
 * The numbers of streams that were closed are taken: the first files that are opened would get
 * them, a store's, and messages would be written into it. Whoever uses such a stream fails (EBADF).
 */
static void occupy_streams(void)
{
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/", O_PATH | O_DIRECTORY) < 0)
			return;
	}
}

/* Output that could not be written, to a full disk for instance, is a failure. */
static int finish(int code, int unwritten_code)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return code;
	message(KV_ERROR, "standard output: %s", errno ? strerror(errno) : "it cannot be written");
	if (unwritten_code)
		return code | unwritten_code;
	return code ? code : 1;
}

/* For a mount nobody waits for the output. */
static int run(const struct command *command, int argc, char **argv)
{
	int code = command->run(argc, argv);

	if (command == &mount_command || command == &umount_command)
		return code;
	return finish(code, command->unwritten_code);
}

int main(int argc, char **argv)
{
	const struct command *command;
	const char *name;

	if (argc < 1)
		return 2;
	occupy_streams();
	raise_limits();
	if (is_helper(argv[0], "mount"))
		return mount_helper_run(argc, argv);
	if (is_helper(argv[0], "umount"))
		return umount_command.run(argc, argv);
	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	name = argv[1];
	argc--;
	argv++;
	command = command_find(name);
	if (command)
		return run(command, argc, argv);
	if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h"))
		return finish(help(argc, argv), 0);
	if (!strcmp(name, "version") || !strcmp(name, "--version") || !strcmp(name, "-V")) {
		printf("kvfs %s\n", KVFS_VERSION);
		return finish(0, 0);
	}
	message(KV_ERROR, "%s: there is no such command (see: kvfs help)", name);
	return 2;
}
