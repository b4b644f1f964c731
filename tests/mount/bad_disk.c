/* SPDX-License-Identifier: MIT */
/*
 * bad_disk.c - a disk of which parts cannot be read or written, as it is told
 *
 *	bad_disk IMAGE DIRECTORY
 *
 * A FUSE server, until the directory is unmounted. It shows the file IMAGE as DIRECTORY/disk, for a loop device to stand on, and
 * DIRECTORY/faults, a file that is written to one line at a time, each of which adds to what was said before:
 *
 *	reads OFFSET SIZE	the blocks of 4,096 bytes of that range cannot be read; one that is written is well
 *				again, as a disk puts another in its place
 *	writes OFFSET SIZE	they cannot be written
 *	flushes			nothing can be flushed
 *	well			all is well again
 *
 * and that says, when it is read, how many requests have failed since the last "well": "READS WRITES FLUSHES". A request that meets a bad
 * block fails as a whole, with EIO, as one to a disk does whose driver does not look for what is good in it.
 *
 * Nothing is cached on the way: the disk is opened for direct I/O. One thread.
 */
#define FUSE_USE_VERSION 34
#include <fuse_lowlevel.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096u /* bytes */
#define REQUEST_MAX ((size_t)1 << 20)
#define TEXT_MAX 100

enum { DISK_INO = 2, FAULTS_INO = 3 };
enum { BAD_READ = 1, BAD_WRITE = 2 };

static int image;
static uint64_t size; /* bytes of the image */
static uint8_t *bad;  /* for each block, what of it fails */
static bool bad_flushes;
static uint64_t failed_reads, failed_writes, failed_flushes;
static uint8_t buffer[REQUEST_MAX];

/* ---- faults ---------------------------------------------------------------------------------- */

/* Does a request for this range, which is within the disk, meet one? */
static bool meets(uint64_t offset, uint64_t bytes, uint8_t fault)
{
	for (uint64_t i = offset / BLOCK; i * BLOCK < offset + bytes; i++)
		if (bad[i] & fault)
			return true;
	return false;
}

/* What has been written whole can be read again. */
static void mend(uint64_t offset, uint64_t bytes)
{
	for (uint64_t i = (offset + BLOCK - 1) / BLOCK; (i + 1) * BLOCK <= offset + bytes; i++)
		bad[i] &= (uint8_t)~BAD_READ;
}

static bool is_within(uint64_t offset, uint64_t bytes)
{
	return offset <= size && bytes <= size - offset;
}

/* What a line says. False: it is none */
static bool faults_set(const char *line)
{
	unsigned long long offset, bytes;
	char word[16];
	int words = sscanf(line, "%15s %llu %llu", word, &offset, &bytes);
	bool reads = words == 3 && !strcmp(word, "reads"), writes = words == 3 && !strcmp(word, "writes");

	if (words == 1 && !strcmp(word, "well")) {
		memset(bad, 0, size / BLOCK);
		bad_flushes = false;
		failed_reads = failed_writes = failed_flushes = 0;
	} else if (words == 1 && !strcmp(word, "flushes")) {
		bad_flushes = true;
	} else if ((reads || writes) && is_within(offset, bytes)) {
		for (uint64_t i = offset / BLOCK; i * BLOCK < offset + bytes; i++)
			bad[i] |= reads ? BAD_READ : BAD_WRITE;
	} else {
		return false;
	}
	return true;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void attr_fill(fuse_ino_t ino, struct stat *out)
{
	*out = (struct stat){.st_ino = ino, .st_nlink = 1, .st_mode = S_IFREG | 0600};
	if (ino == FUSE_ROOT_ID)
		out->st_mode = S_IFDIR | 0700;
	if (ino == DISK_INO)
		out->st_size = (off_t)size;
	out->st_blocks = out->st_size / 512;
}

static void serve_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.attr_timeout = 1, .entry_timeout = 1};

	if (!strcmp(name, "disk"))
		entry.ino = DISK_INO;
	else if (!strcmp(name, "faults"))
		entry.ino = FAULTS_INO;
	if (!entry.ino) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	attr_fill(entry.ino, &entry.attr);
	fuse_reply_entry(request, &entry);
}

static void serve_getattr(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct stat attr;

	attr_fill(ino, &attr);
	fuse_reply_attr(request, &attr, 1);
}

static void serve_setattr(fuse_req_t request, fuse_ino_t ino, struct stat *attr, int which, struct fuse_file_info *info)
{
	serve_getattr(request, ino, info);
}

static void serve_open(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	info->direct_io = 1;
	fuse_reply_open(request, info);
}

static void faults_read(fuse_req_t request, size_t bytes, off_t position)
{
	char text[TEXT_MAX];
	int length = snprintf(text, sizeof(text), "%llu %llu %llu\n", (unsigned long long)failed_reads,
		(unsigned long long)failed_writes, (unsigned long long)failed_flushes);
	size_t left = position < length ? (size_t)(length - position) : 0;

	fuse_reply_buf(request, text + (left ? position : 0), left < bytes ? left : bytes);
}

static void serve_read(fuse_req_t request, fuse_ino_t ino, size_t bytes, off_t position, struct fuse_file_info *info)
{
	ssize_t count;

	if (ino != DISK_INO) {
		faults_read(request, bytes, position);
		return;
	}
	bytes = bytes < REQUEST_MAX ? bytes : REQUEST_MAX;
	if ((uint64_t)position > size)
		bytes = 0;
	else if (bytes > size - (uint64_t)position)
		bytes = size - (uint64_t)position;
	if (meets((uint64_t)position, bytes, BAD_READ)) {
		failed_reads++;
		fuse_reply_err(request, EIO);
		return;
	}
	count = pread(image, buffer, bytes, position);
	if (count < 0)
		fuse_reply_err(request, errno);
	else
		fuse_reply_buf(request, (const char *)buffer, (size_t)count);
}

static void faults_write(fuse_req_t request, const char *data, size_t bytes)
{
	char line[TEXT_MAX] = "";

	if (bytes < sizeof(line))
		memcpy(line, data, bytes);
	if (faults_set(line))
		fuse_reply_write(request, bytes);
	else
		fuse_reply_err(request, EINVAL);
}

static void serve_write(fuse_req_t request, fuse_ino_t ino, const char *data, size_t bytes, off_t position,
			struct fuse_file_info *info)
{
	ssize_t count;

	if (ino != DISK_INO) {
		faults_write(request, data, bytes);
		return;
	}
	if (!is_within((uint64_t)position, bytes)) {
		fuse_reply_err(request, ENOSPC);
		return;
	}
	if (meets((uint64_t)position, bytes, BAD_WRITE)) {
		failed_writes++;
		fuse_reply_err(request, EIO);
		return;
	}
	count = pwrite(image, data, bytes, position);
	if (count < 0) {
		fuse_reply_err(request, errno);
		return;
	}
	mend((uint64_t)position, (uint64_t)count);
	fuse_reply_write(request, (size_t)count);
}

static void serve_fsync(fuse_req_t request, fuse_ino_t ino, int data_only, struct fuse_file_info *info)
{
	failed_flushes += bad_flushes;
	fuse_reply_err(request, bad_flushes ? EIO : 0);
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = serve_lookup,
	.getattr = serve_getattr,
	.setattr = serve_setattr,
	.open = serve_open,
	.read = serve_read,
	.write = serve_write,
	.fsync = serve_fsync,
};

int main(int argc, char **argv)
{
	char *arguments[] = {"bad_disk", "-ofsname=bad_disk", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, arguments);
	struct fuse_session *session;
	struct stat attr;
	int result;

	if (argc != 3)
		errx(2, "usage: bad_disk IMAGE DIRECTORY");
	image = open(argv[1], O_RDWR | O_CLOEXEC);
	if (image < 0 || fstat(image, &attr))
		err(2, "%s", argv[1]);
	size = (uint64_t)attr.st_size / BLOCK * BLOCK;
	bad = calloc(size / BLOCK + 1, 1);
	session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (!bad || !session || fuse_session_mount(session, argv[2]))
		errx(77, "no FUSE here");
	result = fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	free(bad);
	return result ? 1 : 0;
}
