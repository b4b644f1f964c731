/* SPDX-License-Identifier: MIT */
/*
 * power_disk.h - a disk whose writes and flushes are recorded in their order, and which can be as it was at any of them.
 *
 * A FUSE server in a process of its own shows the disk as one file, for a loop device to stand on. The kernel's own file system is
 * on that, so what is recorded is what a real kernel gives a real disk, and in its order: a journal's writes as well.
 *
 * Threads: one, and no input or output under way in power_disk_begin, power_disk_end and power_disk_set.
 */
#ifndef POWER_DISK_H
#define POWER_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct power_disk;

/*
 * Shows a disk of zeros, `size` bytes, as DIRECTORY/disk; the directory is there. What the work that is recorded says of itself, as of
 * what it has begun, and what is promised to outlive the power, are its marks: memory that is shared, of which each write and flush is
 * recorded with a copy of one moment. A negative errno
 */
int power_disk_new(const char *directory, size_t size, const void *marks, size_t marks_size, struct power_disk **out);
/* Ends the server. */
void power_disk_free(struct power_disk *disk);

/* What is written from here on is recorded. */
void power_disk_begin(struct power_disk *disk);
/* The number of writes and flushes since, -ENOSPC there were too many. Nothing is recorded any more. */
int power_disk_end(struct power_disk *disk, size_t *count);
/* Is this one of them a flush? 0 is the first. */
bool power_disk_is_flush(const struct power_disk *disk, size_t number);
/* Bytes written. */
uint64_t power_disk_written(const struct power_disk *disk);

/*
 * The power failed when the first `number` of what was recorded had come: the disk is now what it may have been then. Of what came behind
 * the last flush of them such parts are there as the seed says, of 1,024 or 4,096 bytes each; or nothing of it. Out: the marks of that
 * moment. Numbers that do not fall from call to call are found fastest.
 */
#define POWER_DISK_NOTHING 0u /* a seed */
void power_disk_set(struct power_disk *disk, size_t number, uint64_t seed, void *marks);

#endif
