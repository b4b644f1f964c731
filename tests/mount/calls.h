/* SPDX-License-Identifier: MIT */
/*
 * calls.h - what the system calls of calls_*.c are made of, and the line that says what they did
 *
 * A call takes all its arguments from one row of numbers, so that the same seed makes the same
 * calls in any directory. It says on the step's line what it was called with and what came back.
 * Nothing that may differ from one file system to another is said: inode numbers, order in a
 * directory, where holes are.
 */
#ifndef CALLS_H
#define CALLS_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One kind of call; the more weight, the more often. */
struct call {
	unsigned weight;
	void (*run)(void);
};

/* Each list ends with a weight of 0. */
extern const struct call calls_of_names[];
extern const struct call calls_of_contents[];
extern const struct call calls_of_attributes[];
extern const struct call calls_of_descriptors[];

/* ---- what to call with (calls_pick.c) ---------------------------------------------------------
 */

#define SLOTS 5

extern int slots[SLOTS]; /* open files, or -1 */
extern int proc;         /* /proc, from before the directory became the root */

/* A path, mostly from the working directory, once in a while from a slot. */
struct place {
	int directory;
	const char *path;
};

/* A bit of flags, and how likely it is, in percent. */
struct flag {
	unsigned value;
	unsigned percent;
	const char *name;
};

void pick_seed(uint64_t seed);
unsigned pick(unsigned count); /* 0 to count - 1 */
bool chance(unsigned percent);
/* These say on the line what was picked. The text of a path is good until eight more were picked.
 */
const char *pick_path(void);
int pick_slot(void);
struct place pick_place(void);
mode_t pick_mode(void);
off_t pick_offset(void);
size_t pick_size(void);
unsigned pick_flags(const struct flag *flags); /* up to a NULL name */
uid_t pick_id(void);
/* Bytes that are this step's own, `size` of them. */
const unsigned char *pick_bytes(size_t size);

/* ---- the line of a step (calls.c) -------------------------------------------------------------
 */

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The result of a call, or its errno where it is negative. */
void say_result(long long result);
/* That it went well, or its errno: where the number itself may differ. */
void say_success(long long result);
void say_bytes(const void *bytes, size_t size);
/* Zero-terminated strings one behind the other, in their order as strings. */
void say_sorted(char *strings, size_t size);

uint64_t bytes_sum(const void *bytes, size_t size, uint64_t before);

/* ---- what there is in the directory (calls_state.c) -------------------------------------------
 */

/* What has changed since the last time, a line for each file. */
void state_print_changes(bool with_times);
/* All that there is. */
void state_print(void);
/*
 * The path of one of the files that there were at the last look, or of a directory alone; NULL:
 * there are none.
 */
const char *state_path(unsigned which, bool directory);
/* Everything below the root goes. */
void state_clear(void);

#endif
