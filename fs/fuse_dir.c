/* SPDX-License-Identifier: MIT */
/*
 * fuse_dir.c - listing directories.
 *
 * A listing has no state here: the offset of an entry is the core's cookie for it, valid for ever.
 * The kernel chooses between the plain form and the one with attributes, which saves it a lookup
 * per entry.
 */
#include "fuse_buffer.h"
#include "fuse_handlers.h"
#include "fuse_reply.h"

#include <errno.h>

struct listing {
	fuse_req_t req;
	char *buffer;
	size_t size, used; /* bytes of buffer */
};

void fuse_dir_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_open(req, fi);
}

static int listing_add(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct listing *listing = arg;
	size_t left = listing->size - listing->used, need;
	struct stat st = {.st_ino = attr->ino, .st_mode = attr->mode};

	need = fuse_add_direntry(
		listing->req, listing->buffer + listing->used, left, name, &st, (off_t)cookie);
	if (need > left)
		return 1;
	listing->used += need;
	return 0;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/*
 * The kernel links each entry as if it had looked it up, except the two that every directory has.
 */
static int listing_add_plus(
	void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct listing *listing = arg;
	size_t left = listing->size - listing->used, need;
	struct fuse_entry_param entry;

	fuse_entry_fill(attr, &entry);
	need = fuse_add_direntry_plus(
		listing->req, listing->buffer + listing->used, left, name, &entry, (off_t)cookie);
	if (need > left)
		return 1;
	if (!is_dots(name))
		kvfs_hold(fuse_front_of(listing->req)->fs, attr->ino, 1);
	listing->used += need;
	return 0;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool want_attr)
{
	struct listing listing = {
		.req = req, .buffer = fuse_buffer_answer(req, size), .size = size};
	int rc;

	if (!listing.buffer) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	rc = kvfs_readdir(fuse_front_of(req)->fs, ino, (uint64_t)offset, want_attr,
		want_attr ? listing_add_plus : listing_add, &listing);
	/* what was found before an error is given first: its entries are held already */
	if (rc < 0 && !listing.used)
		fuse_reply_status(req, rc);
	else
		fuse_reply_buf(req, listing.buffer, listing.used);
}

void fuse_dir_readdir(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list(req, ino, size, offset, false);
}

void fuse_dir_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list(req, ino, size, offset, true);
}
