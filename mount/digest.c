/* SPDX-License-Identifier: MIT */
/*
 * digest.c - kvfs digest: one number for what a store, or a snapshot of it, holds; and is it the
 * one that was noted?
 *
 * The secret of a keyed digest comes from a file that is read before anything is given up
 * (store_open_confined).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "command.h"
#include "message.h"
#include "options.h"
#include "progress.h"
#include "store.h"

/* Exit codes, as cmp(1) has them. */
#define DIGEST_DIFFERS 1
#define DIGEST_TROUBLE 2
#define HEX_SIZE (2 * KV_DIGEST_SIZE)

struct job {
	const char *path, *snapshot, *expected;
	uint8_t key[KV_DIGEST_KEY_MAX];
	size_t key_size;
};

/* All of the file is the secret, to the last byte. */
static int read_key(struct job *job, const char *path)
{
	char bytes[KV_DIGEST_KEY_MAX + 1];
	size_t size = 0;
	ssize_t length = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && size < sizeof(bytes)) {
		length = read(fd, bytes + size, sizeof(bytes) - size);
		if (length <= 0)
			break;
		size += (size_t)length;
	}
	if (fd < 0 || length < 0)
		message(KV_ERROR, "%s: cannot be read: %s", path, message_error(-errno));
	else if (!size || size > KV_DIGEST_KEY_MAX)
		message(KV_ERROR, "%s: a secret has 1 to %u bytes", path, KV_DIGEST_KEY_MAX);
	if (fd >= 0)
		close(fd);
	if (fd < 0 || length < 0 || !size || size > KV_DIGEST_KEY_MAX)
		return -EINVAL;
	memcpy(job->key, bytes, size);
	job->key_size = size;
	return 0;
}

static int conclude(const struct job *job, const uint8_t digest[KV_DIGEST_SIZE])
{
	char hex[HEX_SIZE + 1];
	unsigned i;

	for (i = 0; i < KV_DIGEST_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	if (job->expected && strcasecmp(job->expected, hex)) {
		message(KV_ERROR, "%s: holds something else than what was noted: its digest is %s",
			job->path, hex);
		return DIGEST_DIFFERS;
	}
	if (job->expected)
		printf("%s: as it was noted\n", job->path);
	else
		printf("%s  %s%s%s\n", hex, job->path, job->snapshot ? "@" : "",
			job->snapshot ? job->snapshot : "");
	return 0;
}

static int digest_store(const struct job *job, struct kvfs *fs)
{
	struct kv_digest_options how = {.key = job->key, .key_size = job->key_size};
	uint8_t digest[KV_DIGEST_SIZE];
	struct kv *kv = kvfs_kv(fs);
	struct kv_view *view = NULL;
	struct progress progress;
	int rc = job->snapshot ? kv_snapshot_open(kv, job->snapshot, &view) : 0;

	if (rc == -ENOENT || rc == -EINVAL) {
		message(KV_ERROR, "%s: there is no snapshot %s (see: kvfs snapshot list)",
			job->path, job->snapshot);
		return DIGEST_TROUBLE;
	}
	progress_init(&progress, "read");
	if (!rc)
		rc = kv_digest(kv, view, &how, progress_show, &progress, digest);
	kv_view_close(view);
	progress_clear(&progress);
	if (!rc)
		return conclude(job, digest);
	if (rc == -ECANCELED)
		message(KV_ERROR, "%s: interrupted", job->path);
	else
		message(KV_ERROR, "%s: cannot be read as a whole: %s", job->path,
			message_error(rc));
	return DIGEST_TROUBLE;
}

static int digest_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"snapshot", required_argument, NULL, 's'},
		{"key-file", required_argument, NULL, 'k'},
		{"check", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct job job = {0};
	const char *key_path = NULL;
	struct kvfs *fs;
	int letter, code;

	while ((letter = options_next(&digest_command, argc, argv, ":s:k:c:h", names)) != -1) {
		if (letter == 's')
			job.snapshot = optarg;
		else if (letter == 'k')
			key_path = optarg;
		else
			job.expected = optarg;
	}
	options_arguments(&digest_command, argc, 1, 1);
	job.path = argv[optind];
	if (job.expected && (strlen(job.expected) != HEX_SIZE ||
			     strspn(job.expected, "0123456789abcdefABCDEF") != HEX_SIZE)) {
		message(KV_ERROR, "%s: a digest has %u hexadecimal digits", job.expected, HEX_SIZE);
		return DIGEST_TROUBLE;
	}
	if (key_path && read_key(&job, key_path))
		return DIGEST_TROUBLE;
	progress_catch_signals();
	if (store_open_confined(job.path, true, &fs))
		return DIGEST_TROUBLE;
	code = digest_store(&job, fs);
	if (store_close(job.path, fs))
		code = DIGEST_TROUBLE;
	return code;
}

const struct command digest_command = {
	.name = "digest",
	.arguments = "[--snapshot NAME] [--key-file FILE] [--check DIGEST] STORE",
	.summary =
		"Shows one number for what a store holds, or whether it is the one that was noted",
	.details =
		"  -s, --snapshot NAME   of this snapshot: it stays the same as long as that is there\n"
		"  -k, --key-file FILE   keyed by what this file holds (1 to 64 bytes), which is kept\n"
		"                        away from the store: then nobody else can make a digest for\n"
		"                        contents that were tampered with\n"
		"  -c, --check DIGEST    shows nothing but whether it is this; exit code 1 if not\n"
		"\n"
		"  BLAKE2b-256 of all keys and values. Copies of a store have the same digest, however\n"
		"  they are laid out on their disks. The store must not be mounted for writing.\n",
	.usage_code = DIGEST_TROUBLE,
	.unwritten_code = DIGEST_TROUBLE,
	.run = digest_run,
};
