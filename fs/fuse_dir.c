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
#include "fuse_snapshot.h"

#include <errno.h>
#include <string.h>

struct listing {
	fuse_req_t req;
	struct fuse_node node;
	char *buffer;
	size_t size, used; /* bytes of buffer */
	struct stat st;	   /* of the entry at hand, zero but for what listing_add sets */
};

/* What the kernel is to know an entry by; 0: it is not to know of it. */
static uint64_t node_of_entry(
	const struct listing *listing, const char *name, const struct kvfs_attr *attr)
{
	const struct fuse_node *node = &listing->node;

	if (node->above && node->ino == KVFS_ROOT_INO && !strcmp(name, ".."))
		return SNAPSHOTS_INO;
	if (node->ino == KVFS_ROOT_INO && !node->above &&
		fuse_snapshots_is_name(fuse_front_of(listing->req), node->ino, name))
		return 0;
	return attr->ino | node->above;
}

void fuse_dir_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_open(req, fi);
}

static int listing_add(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct listing *listing = arg;
	size_t left = listing->size - listing->used, need;

	listing->st.st_ino = node_of_entry(listing, name, attr);
	listing->st.st_mode = attr->mode;
	if (!listing->st.st_ino)
		return 0;
	need = fuse_add_direntry(listing->req, listing->buffer + listing->used, left, name,
		&listing->st, (off_t)cookie);
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
	entry.ino = entry.attr.st_ino = node_of_entry(listing, name, attr);
	if (!entry.ino)
		return 0;
	need = fuse_add_direntry_plus(
		listing->req, listing->buffer + listing->used, left, name, &entry, (off_t)cookie);
	if (need > left)
		return 1;
	if (!is_dots(name))
		fuse_node_hold(fuse_front_of(listing->req), entry.ino, 1);
	listing->used += need;
	return 0;
}

/* A snapshot, which is opened when it is looked up: an entry without an inode for now. */
static int listing_add_bare(
	void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct listing *listing = arg;
	size_t left = listing->size - listing->used, need;
	struct fuse_entry_param entry = {
		.attr = {.st_ino = attr->ino, .st_mode = attr->mode},
	};

	need = fuse_add_direntry_plus(
		listing->req, listing->buffer + listing->used, left, name, &entry, (off_t)cookie);
	if (need > left)
		return 1;
	listing->used += need;
	return 0;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool want_attr)
{
	struct listing listing = {
		.req = req,
		.node = fuse_node_of(req, ino),
		.buffer = fuse_buffer_answer(req, size),
		.size = size,
	};
	int rc;

	if (!listing.buffer) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (fuse_is_snapshots(ino))
		rc = fuse_snapshots_readdir(fuse_front_of(req), (uint64_t)offset,
			want_attr ? listing_add_bare : listing_add, &listing);
	else
		rc = kvfs_readdir(listing.node.fs, listing.node.ino, (uint64_t)offset, want_attr,
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
