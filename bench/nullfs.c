/* SPDX-License-Identifier: MIT */
/*
 * nullfs - a FUSE server that does no work: the ceiling for kvfs's mount
 *
 * It keeps a namespace and attributes in memory, so that every call on the mount answers as a
 * file system would, but throws contents away and reads as anything. Transport, capabilities,
 * time-outs and the calls that it answers with ENOSYS are those of kvfs's default mount, so that
 * what is left between the two is what kvfs itself costs.
 *
 * One lock over everything: it is held for a hash lookup, the requests take 50 times as long.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

#define TIMEOUT_SECONDS 1e9 /* for ever: nobody else changes the tree */
#define READ_SIZE_MAX (1u << 20)
#define SYNCS_MAX 256
#define BUCKETS (1u << 20)

struct node {
	struct stat attr;
	uint64_t lookups; /* references that the kernel has */
	/* of a directory, in order of creation; NULL where one was removed */
	struct entry **entries;
	size_t entries_count, entries_size, entries_live;
	struct node *parent; /* of a directory */
	char *target;        /* of a symbolic link */
};

struct entry {
	struct node *parent, *node;
	struct entry *next; /* in the bucket */
	size_t slot;        /* in parent->entries */
	uint32_t hash;
	char name[];
};

static pthread_mutex_t lock; /* protects all nodes and entries */
static struct entry *buckets[BUCKETS];
static struct node root;
static ino_t ino_next = 2;
static char zeros[READ_SIZE_MAX];

/* requests to sync that wait for an answer; protected by sync_lock */
static pthread_mutex_t sync_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sync_wake = PTHREAD_COND_INITIALIZER, sync_space = PTHREAD_COND_INITIALIZER;
static fuse_req_t syncs[SYNCS_MAX];
static size_t sync_count;
static bool sync_stop;

static struct node *node_get(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)ino;
}

static void node_touch(struct node *node, bool modified)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	node->attr.st_ctim = now;
	if (modified)
		node->attr.st_mtim = now;
}

static void node_resize(struct node *node, off_t size)
{
	node->attr.st_size = size;
	node->attr.st_blocks = (size + 511) / 512;
}

/* Frees a node that has no name and no reference any more. */
static void node_reap(struct node *node)
{
	if (node == &root || node->attr.st_nlink || node->lookups)
		return;
	free(node->entries);
	free(node->target);
	free(node);
}

static uint32_t name_hash(const struct node *parent, const char *name)
{
	uint64_t hash = (uintptr_t)parent * 0x9e3779b97f4a7c15u;

	while (*name)
		hash = (hash ^ (unsigned char)*name++) * 0x100000001b3u;
	return (uint32_t)(hash >> 32 ^ hash);
}

static struct entry **entry_find(struct node *parent, const char *name)
{
	uint32_t hash = name_hash(parent, name);
	struct entry **link = &buckets[hash % BUCKETS];

	while (*link &&
		((*link)->hash != hash || (*link)->parent != parent || strcmp((*link)->name, name)))
		link = &(*link)->next;
	return link;
}

static int entry_add(struct node *parent, const char *name, struct node *node)
{
	struct entry **link = entry_find(parent, name);
	struct entry *entry;

	if (parent->entries_count == parent->entries_size) {
		size_t size = parent->entries_size ? parent->entries_size * 2 : 16;
		struct entry **entries = realloc(parent->entries, size * sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		parent->entries = entries;
		parent->entries_size = size;
	}
	entry = malloc(sizeof(*entry) + strlen(name) + 1);
	if (!entry)
		return -ENOMEM;
	strcpy(entry->name, name);
	entry->parent = parent;
	entry->node = node;
	entry->hash = name_hash(parent, name);
	entry->next = NULL;
	entry->slot = parent->entries_count;
	parent->entries[parent->entries_count++] = entry;
	parent->entries_live++;
	*link = entry;
	if (S_ISDIR(node->attr.st_mode)) {
		node->parent = parent;
		parent->attr.st_nlink++;
	}
	node_touch(parent, true);
	return 0;
}

static void entry_remove(struct entry **link)
{
	struct entry *entry = *link;
	struct node *parent = entry->parent;

	*link = entry->next;
	parent->entries[entry->slot] = NULL;
	if (!--parent->entries_live)
		parent->entries_count = 0;
	if (S_ISDIR(entry->node->attr.st_mode))
		parent->attr.st_nlink--;
	node_touch(parent, true);
	free(entry);
}

static void param_fill(struct node *node, struct fuse_entry_param *param)
{
	memset(param, 0, sizeof(*param));
	param->ino = node == &root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
	param->attr = node->attr;
	param->attr_timeout = TIMEOUT_SECONDS;
	param->entry_timeout = TIMEOUT_SECONDS;
}

static void reply_attr(fuse_req_t req, struct node *node)
{
	struct stat attr = node->attr;

	pthread_mutex_unlock(&lock);
	fuse_reply_attr(req, &attr, TIMEOUT_SECONDS);
}

static void nullfs_init(void *userdata, struct fuse_conn_info *conn)
{
	session_negotiate(conn, SESSION_KILLPRIV);
}

static void nullfs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param param = {.entry_timeout = TIMEOUT_SECONDS};
	struct entry *entry;

	pthread_mutex_lock(&lock);
	entry = *entry_find(node_get(parent), name);
	if (entry) {
		entry->node->lookups++;
		param_fill(entry->node, &param);
	}
	pthread_mutex_unlock(&lock);
	fuse_reply_entry(req, &param);
}

static void node_forget(fuse_ino_t ino, uint64_t count)
{
	struct node *node = node_get(ino);

	pthread_mutex_lock(&lock);
	node->lookups -= count;
	node_reap(node);
	pthread_mutex_unlock(&lock);
}

static void nullfs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	node_forget(ino, count);
	fuse_reply_none(req);
}

static void nullfs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	while (count--)
		node_forget(forgets[count].ino, forgets[count].nlookup);
	fuse_reply_none(req);
}

static void nullfs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	pthread_mutex_lock(&lock);
	reply_attr(req, node_get(ino));
}

static void nullfs_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid, struct fuse_file_info *file)
{
	struct node *node = node_get(ino);
	struct stat *own = &node->attr;

	pthread_mutex_lock(&lock);
	if (valid & FUSE_SET_ATTR_MODE)
		own->st_mode = (own->st_mode & S_IFMT) | (attr->st_mode & 07777);
	if (valid & FUSE_SET_ATTR_UID)
		own->st_uid = attr->st_uid;
	if (valid & FUSE_SET_ATTR_GID)
		own->st_gid = attr->st_gid;
	node_touch(node, valid & (FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME_NOW));
	if (valid & FUSE_SET_ATTR_SIZE)
		node_resize(node, attr->st_size);
	if (valid & FUSE_SET_ATTR_ATIME)
		own->st_atim = valid & FUSE_SET_ATTR_ATIME_NOW ? own->st_ctim : attr->st_atim;
	if ((valid & FUSE_SET_ATTR_MTIME) && !(valid & FUSE_SET_ATTR_MTIME_NOW))
		own->st_mtim = attr->st_mtim;
	reply_attr(req, node);
}

/* Makes a node with a name; answers an error itself. */
static bool node_make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev,
	const char *target, struct fuse_entry_param *param)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct node *node = calloc(1, sizeof(*node));
	int rc = -ENOMEM;

	if (!node || (target && !(node->target = strdup(target)))) {
		free(node);
		fuse_reply_err(req, ENOMEM);
		return false;
	}
	node->attr.st_mode = mode;
	node->attr.st_nlink = S_ISDIR(mode) ? 2 : 1;
	node->attr.st_rdev = rdev;
	node->attr.st_uid = ctx->uid;
	node->attr.st_gid = ctx->gid;
	node->attr.st_blksize = 4096;
	node->attr.st_size = target ? (off_t)strlen(target) : 0;
	node_touch(node, true);
	node->attr.st_atim = node->attr.st_ctim;

	pthread_mutex_lock(&lock);
	if (*entry_find(node_get(parent), name)) {
		rc = -EEXIST;
	} else {
		node->attr.st_ino = ino_next++;
		rc = entry_add(node_get(parent), name, node);
	}
	if (rc) {
		node->attr.st_nlink = 0;
		node_reap(node);
	} else {
		node->lookups = 1;
		param_fill(node, param);
	}
	pthread_mutex_unlock(&lock);
	if (rc)
		fuse_reply_err(req, -rc);
	return !rc;
}

static void nullfs_mknod(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fuse_entry_param param;

	if (node_make(req, parent, name, mode, rdev, NULL, &param))
		fuse_reply_entry(req, &param);
}

static void nullfs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	nullfs_mknod(req, parent, name, (mode & 07777) | S_IFDIR, 0);
}

static void nullfs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param param;

	if (node_make(req, parent, name, S_IFLNK | 0777, 0, target, &param))
		fuse_reply_entry(req, &param);
}

static void nullfs_readlink(fuse_req_t req, fuse_ino_t ino)
{
	fuse_reply_readlink(req, node_get(ino)->target);
}

static void nullfs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param param;
	struct node *node = node_get(ino);
	int rc;

	pthread_mutex_lock(&lock);
	rc = entry_add(node_get(parent), name, node);
	if (!rc) {
		node->attr.st_nlink++;
		node->lookups++;
		node_touch(node, false);
		param_fill(node, &param);
	}
	pthread_mutex_unlock(&lock);
	if (rc)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_entry(req, &param);
}

/* Takes one name off a node; the lock is held. */
static int name_remove(struct node *parent, const char *name)
{
	struct entry **link = entry_find(parent, name);
	struct node *node;

	if (!*link)
		return -ENOENT;
	node = (*link)->node;
	if (S_ISDIR(node->attr.st_mode) && node->entries_live)
		return -ENOTEMPTY;
	entry_remove(link);
	node->attr.st_nlink = S_ISDIR(node->attr.st_mode) ? 0 : node->attr.st_nlink - 1;
	node_touch(node, false);
	node_reap(node);
	return 0;
}

static void nullfs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	int rc;

	pthread_mutex_lock(&lock);
	rc = name_remove(node_get(parent), name);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, -rc);
}

static void nullfs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	const char *newname, unsigned int flags)
{
	struct node *from = node_get(parent), *to = node_get(newparent), *node;
	struct entry **link;
	int rc = 0;

	if (flags) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	pthread_mutex_lock(&lock);
	link = entry_find(from, name);
	if (!*link) {
		rc = -ENOENT;
	} else {
		node = (*link)->node;
		if (*entry_find(to, newname))
			rc = name_remove(to, newname);
		if (!rc)
			rc = entry_add(to, newname, node);
		if (!rc) {
			entry_remove(entry_find(from, name));
			node_touch(node, false);
		}
	}
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, -rc);
}

/* What the answer's buffer holds anyway, if the transport has one that needs no copy. */
static const char *read_contents(fuse_req_t req)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	size_t size;
	char *payload;

	if (!fuse_req_get_payload(req, &payload, &size, NULL) && size >= READ_SIZE_MAX)
		return payload;
#endif
	return zeros;
}

static void nullfs_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *file)
{
	off_t end = node_get(ino)->attr.st_size;

	if (off >= end)
		size = 0;
	else if ((off_t)size > end - off)
		size = (size_t)(end - off);
	if (size > READ_SIZE_MAX)
		size = READ_SIZE_MAX;
	fuse_reply_buf(req, read_contents(req), size);
}

static void nullfs_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	struct fuse_file_info *file)
{
	struct node *node = node_get(ino);

	pthread_mutex_lock(&lock);
	if (node->attr.st_size < off + (off_t)size)
		node_resize(node, off + (off_t)size);
	node_touch(node, true);
	pthread_mutex_unlock(&lock);
	fuse_reply_write(req, size);
}

/* A sync is answered by another thread, as kvfs does when the disk has it. */
static void nullfs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *file)
{
	pthread_mutex_lock(&sync_lock);
	while (sync_count == SYNCS_MAX)
		pthread_cond_wait(&sync_space, &sync_lock);
	syncs[sync_count++] = req;
	pthread_cond_signal(&sync_wake);
	pthread_mutex_unlock(&sync_lock);
}

static void *sync_main(void *arg)
{
	fuse_req_t taken[SYNCS_MAX];
	size_t count;

	for (;;) {
		pthread_mutex_lock(&sync_lock);
		while (!sync_count && !sync_stop)
			pthread_cond_wait(&sync_wake, &sync_lock);
		count = sync_count;
		memcpy(taken, syncs, count * sizeof(*taken));
		sync_count = 0;
		pthread_cond_broadcast(&sync_space);
		pthread_mutex_unlock(&sync_lock);
		if (!count)
			return NULL;
		while (count)
			fuse_reply_err(taken[--count], 0);
	}
}

static void nullfs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t size,
	struct fuse_file_info *file)
{
	struct node *node = node_get(ino);

	if (mode) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	pthread_mutex_lock(&lock);
	if (node->attr.st_size < off + size)
		node_resize(node, off + size);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, 0);
}

static size_t dir_add(fuse_req_t req, char *buf, size_t room, const char *name, struct node *node,
	off_t next, bool plus)
{
	struct fuse_entry_param param;
	size_t size;

	if (!plus)
		return fuse_add_direntry(req, buf, room, name, &node->attr, next);
	param_fill(node, &param);
	size = fuse_add_direntry_plus(req, buf, room, name, &param, next);
	/* the kernel takes a reference for each, except for the dots */
	if (size <= room && next > 2)
		node->lookups++;
	return size;
}

/* Offsets: 1 after ".", 2 after "..", 3 + slot after an entry */
static void dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct node *dir = node_get(ino);
	char *buf = malloc(size);
	size_t used = 0, slot;

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&lock);
	for (slot = (size_t)off; slot < dir->entries_count + 2; slot++) {
		struct entry *entry = slot < 2 ? NULL : dir->entries[slot - 2];
		struct node *node = slot == 0   ? dir
				    : slot == 1 ? dir->parent
				    : entry     ? entry->node
						: NULL;
		size_t add;

		if (!node)
			continue;
		add = dir_add(req, buf + used, size - used,
			slot == 0   ? "."
			: slot == 1 ? ".."
				    : entry->name,
			node, (off_t)slot + 1, plus);
		if (add > size - used)
			break;
		used += add;
	}
	pthread_mutex_unlock(&lock);
	fuse_reply_buf(req, buf, used);
	free(buf);
}

static void nullfs_readdir(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *file)
{
	dir_read(req, ino, size, off, false);
}

static void nullfs_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *file)
{
	dir_read(req, ino, size, off, true);
}

static void nullfs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	fuse_reply_open(req, file);
}

static void nullfs_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs buf = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = 1u << 28,
		.f_bfree = 1u << 28,
		.f_bavail = 1u << 28,
		.f_files = 1u << 28,
		.f_ffree = 1u << 28,
		.f_namemax = 255,
	};

	fuse_reply_statfs(req, &buf);
}

static void nullfs_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	fuse_reply_err(req, ENODATA);
}

static void nullfs_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	if (size)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_xattr(req, 0);
}

/* open, create and flush are missing: the answer is ENOSYS, and the kernel never asks again */
static const struct fuse_lowlevel_ops nullfs_ops = {
	.init = nullfs_init,
	.lookup = nullfs_lookup,
	.forget = nullfs_forget,
	.forget_multi = nullfs_forget_multi,
	.getattr = nullfs_getattr,
	.setattr = nullfs_setattr,
	.readlink = nullfs_readlink,
	.mknod = nullfs_mknod,
	.mkdir = nullfs_mkdir,
	.unlink = nullfs_unlink,
	.rmdir = nullfs_unlink,
	.symlink = nullfs_symlink,
	.rename = nullfs_rename,
	.link = nullfs_link,
	.read = nullfs_read,
	.write = nullfs_write,
	.fsync = nullfs_fsync,
	.fsyncdir = nullfs_fsync,
	.fallocate = nullfs_fallocate,
	.opendir = nullfs_opendir,
	.readdir = nullfs_readdir,
	.readdirplus = nullfs_readdirplus,
	.statfs = nullfs_statfs,
	.getxattr = nullfs_getxattr,
	.listxattr = nullfs_listxattr,
};

static void usage(void)
{
	fprintf(stderr, "usage: nullfs [-d] [-o io_uring|no_io_uring] DIR\n");
	exit(2);
}

static void locks_init(void)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	/* spins before it sleeps: it is never held for long */
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

int main(int argc, char **argv)
{
	struct session_config config = {
		.source = "nullfs",
		.subtype = "nullfs",
		.options = "default_permissions",
	};
	struct session *session;
	pthread_t sync_thread;
	int opt, rc;

	while ((opt = getopt(argc, argv, "do:")) != -1) {
		if (opt == 'd')
			config.debug = true;
		else if (opt != 'o' || !session_config_option(&config, optarg))
			usage();
	}
	if (optind != argc - 1)
		usage();

	locks_init();
	root.attr.st_mode = S_IFDIR | 0755;
	root.attr.st_nlink = 2;
	root.attr.st_ino = FUSE_ROOT_ID;
	root.attr.st_uid = getuid();
	root.attr.st_gid = getgid();
	root.parent = &root;
	node_touch(&root, true);

	rc = session_open(&config, &nullfs_ops, NULL, &session);
	if (rc) {
		fprintf(stderr, "nullfs: %s\n", strerror(-rc));
		return 1;
	}
	if (pthread_create(&sync_thread, NULL, sync_main, NULL))
		return 1;
	rc = session_mount(session, argv[optind]);
	if (!rc) {
		printf("nullfs: mounted on %s over %s\n", argv[optind],
			session_transport_name(session));
		fflush(stdout);
		rc = session_run(session);
	}
	if (rc)
		fprintf(stderr, "nullfs: %s: %s\n", argv[optind], strerror(-rc));
	pthread_mutex_lock(&sync_lock);
	sync_stop = true;
	pthread_cond_signal(&sync_wake);
	pthread_mutex_unlock(&sync_lock);
	pthread_join(sync_thread, NULL);
	session_close(session);
	return rc ? 1 : 0;
}
