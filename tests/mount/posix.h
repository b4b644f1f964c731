/* SPDX-License-Identifier: MIT */
/*
 * posix.h - cases of what a program may expect of a file system, and how a case says what it
 * expects
 *
 * A case runs in a process of its own, in an empty directory of its own that is its working
 * directory, with umask 0, as root. It ends at the first expectation that is not met. The cases
 * hold on ext4 as they stand: they are about Linux file systems, not about kvfs.
 */
#ifndef POSIX_H
#define POSIX_H

#include "pattern.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

struct posix_case {
	const char *name;
	void (*run)(void);
};

/* Each list ends with a NULL name. */
extern const struct posix_case posix_access_cases[];
extern const struct posix_case posix_attribute_cases[];
extern const struct posix_case posix_content_cases[];
extern const struct posix_case posix_copy_cases[];
extern const struct posix_case posix_directory_cases[];
extern const struct posix_case posix_error_cases[];
extern const struct posix_case posix_io_cases[];
extern const struct posix_case posix_link_cases[];
extern const struct posix_case posix_lock_cases[];
extern const struct posix_case posix_map_cases[];
extern const struct posix_case posix_name_cases[];
extern const struct posix_case posix_process_cases[];
extern const struct posix_case posix_rename_cases[];
extern const struct posix_case posix_right_cases[];
extern const struct posix_case posix_space_cases[];
extern const struct posix_case posix_storm_cases[];
extern const struct posix_case posix_time_cases[];
extern const struct posix_case posix_unnamed_cases[];
extern const struct posix_case posix_watch_cases[];

/* Fewer rounds wanted. */
extern bool posix_quick;

void posix_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

#define FAIL(...) posix_fail(__FILE__, __LINE__, __VA_ARGS__)

/* The condition holds. */
#define TRUE(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			FAIL("not so: %s", #condition);                                            \
	} while (0)

/* The call succeeds; its result. */
#define OK(call) posix_ok(__FILE__, __LINE__, #call, (long long)(call))
long long posix_ok(const char *file, int line, const char *call, long long result);

/* The call fails with this errno. */
#define FAILS(call, error)                                                                         \
	do {                                                                                       \
		long long fails_result_ = (long long)(call);                                       \
		if (fails_result_ >= 0)                                                            \
			FAIL("%s succeeded, expected %s", #call, #error);                          \
		if (errno != (error))                                                              \
			FAIL("%s: %s, expected %s", #call, strerror(errno), #error);               \
	} while (0)

/* Two numbers are equal. */
#define SAME(expression, expected)                                                                 \
	do {                                                                                       \
		long long same_is_ = (long long)(expression);                                      \
		long long same_should_ = (long long)(expected);                                    \
		if (same_is_ != same_should_)                                                      \
			FAIL("%s is %lld, expected %lld", #expression, same_is_, same_should_);    \
	} while (0)

/* A new file with this text; overwrites. */
void file_put(const char *path, const char *text);
/* The file's contents are exactly this text. */
#define TEXT(path, expected) file_expect_text(__FILE__, __LINE__, path, expected)
void file_expect_text(const char *file, int line, const char *path, const char *expected);
struct stat file_stat(const char *path); /* of the name itself, not of what a symlink points to */
bool file_exists(const char *path);

/* A copy of a program, which everybody may run. */
void program_copy(const char *from, const char *to);

/* The next of a row of numbers that looks random. */
unsigned random_next(unsigned *state);

/* Runs in a child; the case fails if the child does. */
void child_run(void (*run)(void *arg), void *arg);
pid_t child_start(void (*run)(void *arg), void *arg);
void child_wait(pid_t child);

#endif
