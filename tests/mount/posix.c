/* SPDX-License-Identifier: MIT */
/*
 * posix.c - runs the cases of posix_*.c
 *
 *	posix --list			names of all cases
 *	posix [--quick] DIR CASE...	runs these cases in new directories under DIR
 *
 * Prints one line for each case that fails, and ends with 1 if any did. A case that leaves a
 * directory which cannot be emptied has failed as well.
 */
#include "posix.h"

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>

bool posix_quick;

static const struct posix_case *const lists[] = {
	posix_name_cases,
	posix_rename_cases,
	posix_link_cases,
	posix_content_cases,
	posix_copy_cases,
	posix_map_cases,
	posix_attribute_cases,
	posix_directory_cases,
	posix_access_cases,
	posix_process_cases,
	posix_error_cases,
	posix_lock_cases,
	posix_right_cases,
	posix_space_cases,
	posix_time_cases,
	posix_io_cases,
	posix_storm_cases,
	posix_unnamed_cases,
	posix_watch_cases,
};

void posix_fail(const char *file, int line, const char *format, ...)
{
	const char *base = strrchr(file, '/');
	char message[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	printf("FAIL: %s:%d: %s\n", base ? base + 1 : file, line, message);
	fflush(stdout);
	_exit(1);
}

long long posix_ok(const char *file, int line, const char *call, long long result)
{
	if (result < 0)
		posix_fail(file, line, "%s: %s", call, strerror(errno));
	return result;
}

void file_put(const char *path, const char *text)
{
	int fd = OK(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));

	SAME(write(fd, text, strlen(text)), strlen(text));
	OK(close(fd));
}

void file_expect_text(const char *file, int line, const char *path, const char *expected)
{
	char text[4096];
	int fd = open(path, O_RDONLY);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (size < 0)
		posix_fail(file, line, "%s: %s", path, strerror(errno));
	text[size] = 0;
	close(fd);
	if (strcmp(text, expected))
		posix_fail(file, line, "%s has \"%s\", expected \"%s\"", path, text, expected);
}

struct stat file_stat(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		FAIL("lstat %s: %s", path, strerror(errno));
	return st;
}

bool file_exists(const char *path)
{
	struct stat st;

	if (!lstat(path, &st))
		return true;
	if (errno != ENOENT)
		FAIL("lstat %s: %s", path, strerror(errno));
	return false;
}

void program_copy(const char *from, const char *to)
{
	int in = OK(open(from, O_RDONLY)), out = OK(open(to, O_CREAT | O_WRONLY, 0755));
	struct stat st;
	off_t position = 0;

	OK(fstat(in, &st));
	while (position < st.st_size)
		TRUE(OK(sendfile(out, in, &position, st.st_size - position)) > 0);
	OK(close(in));
	OK(close(out));
}

unsigned random_next(unsigned *state)
{
	*state += 1;
	return pattern_number(0, *state);
}

pid_t child_start(void (*run)(void *arg), void *arg)
{
	pid_t child = OK(fork());

	if (!child) {
		run(arg);
		_exit(0);
	}
	return child;
}

void child_wait(pid_t child)
{
	int status;

	OK(waitpid(child, &status, 0));
	if (WIFSIGNALED(status))
		FAIL("a child ended by %s", strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status))
		_exit(1); /* it has said why */
}

void child_run(void (*run)(void *arg), void *arg)
{
	child_wait(child_start(run, arg));
}

/* Removes a tree by descriptors: a case may have made paths too long to be said. */
static int tree_remove(int parent, const char *name)
{
	struct dirent *entry;
	int fd, result = 0;
	DIR *dir;

	if (!unlinkat(parent, name, 0))
		return 0;
	if (errno != EISDIR)
		return -1;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	dir = fdopendir(fd);
	if (!dir)
		return -1;
	while (!result && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			result = tree_remove(fd, entry->d_name);
	closedir(dir);
	return result ? result : unlinkat(parent, name, AT_REMOVEDIR);
}

static bool case_run(const struct posix_case *posix_case, const char *dir)
{
	char path[] = "case.XXXXXX";
	int status, top = open(".", O_RDONLY | O_DIRECTORY);
	pid_t child;

	if (top < 0 || chdir(dir) || !mkdtemp(path) || chmod(path, 0777))
		err(2, "%s", dir);
	fflush(stdout);
	child = fork();
	if (child < 0)
		err(2, "fork");
	if (!child) {
		umask(0);
		if (chdir(path))
			err(2, "%s", path);
		posix_case->run();
		exit(0);
	}
	if (waitpid(child, &status, 0) != child)
		err(2, "waitpid");
	if (WIFSIGNALED(status))
		printf("FAIL: %s ended by %s\n", posix_case->name, strsignal(WTERMSIG(status)));
	if (tree_remove(AT_FDCWD, path)) {
		printf("FAIL: cannot remove what %s left: %s\n", posix_case->name, strerror(errno));
		status = 1;
	}
	if (fchdir(top))
		err(2, "chdir");
	close(top);
	return status == 0;
}

static const struct posix_case *case_find(const char *name)
{
	const struct posix_case *c;
	size_t i;

	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (c = lists[i]; c->name; c++)
			if (!name)
				puts(c->name);
			else if (!strcmp(c->name, name))
				return c;
	return NULL;
}

int main(int argc, char **argv)
{
	bool good = true;
	int i = 1;

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		case_find(NULL);
		return 0;
	}
	if (i < argc && !strcmp(argv[i], "--quick")) {
		posix_quick = true;
		i++;
	}
	if (argc - i < 2)
		errx(2, "usage: posix --list | posix [--quick] DIR CASE...");
	for (int first = i++; i < argc; i++) {
		const struct posix_case *c = case_find(argv[i]);

		if (!c)
			errx(2, "no case %s", argv[i]);
		good &= case_run(c, argv[first]);
	}
	return good ? 0 : 1;
}
