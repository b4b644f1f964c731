/* SPDX-License-Identifier: MIT */
/*
 * mount_stream.c - see mount_stream.h. Nothing here waits in the kernel: where nothing is ready, it
 * is asked again a moment later.
 */
#include "mount_stream.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/xattr.h>
#include <time.h>

#include "fuse_front.h"
#include "message.h"
#include "progress.h"

#define PAUSE_NS_MIN 200000
#define PAUSE_NS_MAX 10000000
#define PAUSE_BUSY_NS_MAX 819200000 /* the least one, some times doubled */

struct mount_stream {
	int root;
	const char *attribute;
	uint64_t about, token;
	uint64_t offset; /* bytes that came */
	size_t size;     /* of the part that came last and was not given yet, behind its mark */
	bool last;
	char part[KVFS_XATTR_SIZE_MAX];
};

/* -EAGAIN: nothing is ready. */
static int ask(struct mount_stream *stream, uint64_t offset)
{
	char name[FUSE_FRONT_STREAM_NAME_MAX];
	ssize_t size;

	snprintf(name, sizeof(name), FUSE_FRONT_STREAM_FORMAT, stream->attribute, stream->token,
		offset, stream->about);
	size = fgetxattr(stream->root, name, stream->part, sizeof(stream->part));
	if (size < 0)
		return -errno;
	if (size == 0)
		return -EPROTO;
	stream->last = stream->part[0] == FUSE_FRONT_STREAM_LAST;
	stream->size = (size_t)size - 1;
	stream->offset += stream->size;
	return stream->size || stream->last ? 0 : -EAGAIN;
}

/*
 * Also while the server answers as many others as it may at once, which may take them hours: that
 * is said, once.
 */
static int ask_patiently(struct mount_stream *stream)
{
	struct timespec pause = {.tv_nsec = PAUSE_NS_MIN};
	bool said = false;
	int rc;

	while (!progress_interrupted()) {
		rc = ask(stream, stream->offset);
		if (rc != -EAGAIN && rc != -EBUSY)
			return rc;
		if (rc == -EAGAIN && pause.tv_nsec > PAUSE_NS_MAX)
			pause.tv_nsec = PAUSE_NS_MAX;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < (rc == -EBUSY ? PAUSE_BUSY_NS_MAX : PAUSE_NS_MAX)) {
			pause.tv_nsec *= 2;
		} else if (rc == -EBUSY && !said) {
			message(KV_INFO, "others are answered first; waiting");
			said = true;
		}
	}
	return -ECANCELED;
}

int mount_stream_may_open(int root, const char *attribute)
{
	char name[FUSE_FRONT_STREAM_NAME_MAX];

	snprintf(name, sizeof(name), FUSE_FRONT_STREAM_FORMAT, attribute, UINT64_C(1), UINT64_C(0),
		UINT64_C(0));
	/* The question for the size begins nothing. */
	return fgetxattr(root, name, NULL, 0) < 0 ? -errno : 0;
}

int mount_stream_open(int root, const char *attribute, uint64_t about, struct mount_stream **out)
{
	struct mount_stream *stream = calloc(1, sizeof(*stream));
	int rc = 0;

	if (!stream)
		return -ENOMEM;
	stream->root = root;
	stream->attribute = attribute;
	stream->about = about;
	while (!rc && !stream->token) {
		if (getrandom(&stream->token, sizeof(stream->token), 0) < 0)
			rc = -errno;
	}
	if (!rc)
		rc = ask_patiently(stream);
	if (rc)
		mount_stream_close(stream);
	else
		*out = stream;
	return rc;
}

ssize_t mount_stream_next(struct mount_stream *stream, const char **part)
{
	ssize_t size = (ssize_t)stream->size;
	int rc = 0;

	if (!size && !stream->last)
		rc = ask_patiently(stream);
	if (rc)
		return rc;
	size = (ssize_t)stream->size;
	stream->size = 0;
	*part = stream->part + 1;
	return size;
}

void mount_stream_close(struct mount_stream *stream)
{
	if (stream && !stream->last && stream->token)
		(void)ask(stream, FUSE_FRONT_STREAM_GIVE_UP);
	free(stream);
}
