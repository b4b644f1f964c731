/* SPDX-License-Identifier: MIT */
/*
 * power.c - a store on a real file system on a disk that is recorded, and then its power fails at each flush
 *
 *	power store|files DIRECTORY SEED STEPS FLUSHES PARTS
 *	power store|files DIRECTORY SEED STEPS at NUMBER SHAPE
 *
 * A store is made and changed (power_subject.h) on an ext4 on a loop device on a disk that records (power_disk.h). Then that disk is
 * made what it was when the power failed: before so many of its flushes, with nothing that came behind the one before; and after so
 * many of its writes, with those behind the last flush there in part. Moments are spread over the record; "all": each of them. Each
 * time the kernel mounts it, which replays ext4's journal, and the store is opened and judged. DIRECTORY, on another file system, is
 * empty. The second form is one such state again, as a failure names it; but what is recorded depends on how fast the machine is, so
 * it may be another.
 *
 * Exit code: 0 well, 1 a promise was broken, 2 usage or no such thing here, 77 no loop device, ext4 or FUSE.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"
#include "power_disk.h"
#include "power_subject.h"

#define PATIENCE_S 1000 /* for what is let go of soon; only ever a way out of waiting for ever */
#define LOOP_PATIENCE_S 60 /* for a loop device; then there is none: where its node is never made it is looked for in vain */

static const struct power_subject *const subjects[] = {&power_store, &power_files};

static const struct power_subject *subject;
static struct power_place place;
static char disk_directory[4096], disk_file[4200], mount_point[4096];
static char device_path[32]; /* of the loop device */

static void pause_a_moment(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void make_file_system(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		execlp("mkfs.ext4", "mkfs.ext4", "-q", "-F", "-b", "1024", "-m", "0", "-E",
		       "nodiscard,lazy_itable_init=0,lazy_journal_init=0", disk_file, (char *)NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		errx(2, "mkfs.ext4 failed");
}

/* Somebody else has taken the device that was free, or removed it. */
static bool is_race(int error)
{
	return error == -EBUSY || error == -ENXIO || error == -ENOENT || error == -EAGAIN;
}

/* Makes device_path a loop device for the file. Its descriptor, or a negative errno */
static int loop_try(int control, int file)
{
	struct loop_config config = {.fd = (uint32_t)file, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
	int device, error = 0, number = ioctl(control, LOOP_CTL_GET_FREE);

	if (number < 0)
		return -errno;
	snprintf(device_path, sizeof(device_path), "/dev/loop%d", number);
	device = open(device_path, O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -errno;
	if (ioctl(device, LOOP_CONFIGURE, &config))
		error = -errno;
	if (error)
		close(device);
	return error ? error : device;
}

/* A loop device for the file, which is let go of when nobody uses it. Its descriptor; -ENODEV: there is none to be had */
static int loop_attach(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), file = open(disk_file, O_RDWR | O_CLOEXEC);
	int device = -ENODEV;

	for (int i = 0; control >= 0 && file >= 0 && i < LOOP_PATIENCE_S * 500; i++) {
		device = loop_try(control, file);
		if (device >= 0 || !is_race(device))
			break;
		pause_a_moment();
	}
	if (control >= 0)
		close(control);
	if (file >= 0)
		close(file);
	return device < 0 ? -ENODEV : device;
}

/* Mounts the disk. 0 or a negative errno; ends the program where that is not possible on this machine */
static int disk_mount(void)
{
	int error = 0, device = loop_attach();

	if (device < 0)
		errx(77, "no loop device to be had here");
	if (mount(device_path, mount_point, "ext4", MS_NOATIME, "errors=remount-ro,commit=1"))
		error = -errno;
	close(device);
	if (error == -ENODEV)
		errx(77, "no ext4 here");
	return error;
}

/* Does the device that was mounted last stand on the disk still? */
static bool is_attached(void)
{
	char path[64], backing[sizeof(disk_file) + 1] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file", strrchr(device_path, '/') + 1);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(backing, sizeof(backing), file))
		backing[0] = '\0';
	fclose(file);
	backing[strcspn(backing, "\n")] = '\0';
	return !strcmp(backing, disk_file);
}

/*
 * Who has just closed files on it may hold them a moment longer. And where others have a copy of this mount, in a name space of
 * their own, the file system lives on, and writes, until that is gone: the device is let go of when it is over.
 */
static void disk_unmount(void)
{
	int i;

	for (i = 0; umount(mount_point); i++) {
		if (errno != EBUSY || i == PATIENCE_S * 500)
			err(2, "unmounting %s", mount_point);
		pause_a_moment();
	}
	for (i = 0; is_attached(); i++) {
		if (i == PATIENCE_S * 500)
			errx(2, "%s is not let go of", device_path);
		pause_a_moment();
	}
}

static void disk_mount_sound(void)
{
	int error = disk_mount();

	if (error)
		errx(2, "mounting: %s", strerror(-error));
}

static void prepare(void)
{
	disk_mount_sound();
	if (subject->prepare(&place))
		errx(1, "seed %" PRIu64 ": nothing to work on", place.seed);
	disk_unmount();
}

/* In a process of its own, which ends as if it had been killed. */
static void work(void)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(subject->work(&place) ? 1 : 0);
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		errx(1, "seed %" PRIu64 ": the work failed", place.seed);
}

static size_t record(struct power_disk *disk)
{
	size_t count;
	int error;

	make_file_system();
	if (subject->prepare)
		prepare();
	power_disk_begin(disk);
	disk_mount_sound();
	work();
	error = power_disk_end(disk, &count);
	disk_unmount();
	if (error)
		errx(2, "the record is too long");
	return count;
}

/* Out: is nothing there yet? */
static int judge(struct power_disk *disk, size_t number, uint64_t shape, bool *empty)
{
	void *marks = malloc(subject->marks_size);
	int error;

	if (!marks)
		err(2, "memory");
	power_disk_set(disk, number, shape, marks);
	error = disk_mount();
	if (error) {
		fprintf(stderr, "mounting: %s\n", strerror(-error));
	} else {
		error = subject->judge(&place, marks, empty);
		disk_unmount();
	}
	if (error)
		fprintf(stderr, "seed %" PRIu64 " at %zu %" PRIu64 "\n", place.seed, number, shape);
	free(marks);
	return error;
}

/* Is a state worth having when `number` of the record have come? */
static bool is_moment(const struct power_disk *disk, size_t count, size_t number, bool in_parts)
{
	return in_parts ? !power_disk_is_flush(disk, number - 1) : number == count || power_disk_is_flush(disk, number);
}

/*
 * The power fails in `states` of the moments behind which the next of the record is a flush (or its end) and nothing behind the one
 * before has come to the disk: nothing that was promised by then may need it. Or, in parts, in any moment behind a write. One moment
 * in each of as many equal parts of all; all of them, if there are no more. Out: how many that were, and in how many of them no store
 * was there yet.
 */
static int judge_moments(struct power_disk *disk, size_t count, bool in_parts, uint64_t states, uint64_t *judged, uint64_t *without)
{
	uint64_t moments = 0, moment = 0, next;
	bool empty;

	for (size_t i = 1; i <= count; i++)
		moments += is_moment(disk, count, i, in_parts);
	states = states < moments ? states : moments;
	*judged = *without = 0;
	for (size_t i = 1; i <= count && *judged < states; i++) {
		if (!is_moment(disk, count, i, in_parts))
			continue;
		next = *judged * moments / states;
		next += pattern_number(place.seed, *judged) % ((*judged + 1) * moments / states - next);
		if (moment++ != next)
			continue;
		if (judge(disk, i, in_parts ? pattern_number(place.seed, i) | 1 : POWER_DISK_NOTHING, &empty))
			return -1;
		++*judged;
		*without += empty;
	}
	return 0;
}

static int judge_all(struct power_disk *disk, size_t count, uint64_t flushes, uint64_t parts)
{
	uint64_t without_flushes, without_parts;

	if (judge_moments(disk, count, false, flushes, &flushes, &without_flushes) ||
	    judge_moments(disk, count, true, parts, &parts, &without_parts))
		return -1;
	printf("all as promised at %" PRIu64 " flushes and after %" PRIu64 " writes of %zu in all (%" PRIu64
	       " KiB); %" PRIu64 " times before there was a store\n",
	       flushes, parts, count, power_disk_written(disk) >> 10, without_flushes + without_parts);
	return 0;
}

static uint64_t states_parse(const char *text)
{
	return strcmp(text, "all") ? strtoull(text, NULL, 10) : UINT64_MAX;
}

/* Where everything is; the directory is there. */
static void place_set(const char *path)
{
	char *directory = realpath(path, NULL); /* the kernel names a loop device's file so: see is_attached */

	if (!directory)
		err(2, "%s", path);
	snprintf(disk_directory, sizeof(disk_directory), "%.4000s/device", directory);
	snprintf(disk_file, sizeof(disk_file), "%s/disk", disk_directory);
	snprintf(mount_point, sizeof(mount_point), "%.4000s/volume", directory);
	if (mkdir(disk_directory, 0700) || mkdir(mount_point, 0700))
		err(2, "%s", path);
	place.directory = directory;
	place.volume = mount_point;
}

int main(int argc, char **argv)
{
	bool at = argc == 8 && !strcmp(argv[5], "at"), empty;
	struct power_disk *disk;
	size_t count;
	void *marks;
	int result;

	for (unsigned i = 0; argc > 1 && i < sizeof(subjects) / sizeof(subjects[0]); i++)
		if (!strcmp(argv[1], subjects[i]->name))
			subject = subjects[i];
	if (!subject || (argc != 7 && !at))
		errx(2, "usage: power store|files DIRECTORY SEED STEPS {FLUSHES PARTS | at NUMBER SHAPE}, a number of either or \"all\"");
	place_set(argv[2]);
	place.seed = strtoull(argv[3], NULL, 10);
	place.steps = strtoull(argv[4], NULL, 10);
	marks = subject->marks(&place);
	if (!marks || power_disk_new(disk_directory, subject->disk_size, marks, subject->marks_size, &disk))
		errx(77, "no FUSE here");
	count = record(disk);
	if (at)
		result = judge(disk, strtoull(argv[6], NULL, 10), strtoull(argv[7], NULL, 10), &empty);
	else
		result = judge_all(disk, count, states_parse(argv[5]), states_parse(argv[6]));
	power_disk_free(disk);
	return result ? 1 : 0;
}
