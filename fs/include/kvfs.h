/* SPDX-License-Identifier: MIT */
/*
 * kvfs.h - a file system in a key-value store, without a mount: the public interface of libkvfs.
 *
 * The mount, the command-line tools and any program use the same core: inodes by number, names in
 * directories, contents, extended attributes. Every change is atomic and, after a crash, there if a
 * later one is.
 *
 * Conventions
 *   Errors      0 or a negative errno, as the matching system call would set it. Out parameters are
 *               written only on success. Functions that return a length return it as ssize_t.
 *   Threads     Any function from any thread at any time, but for kvfs_close and where it says
 *               otherwise. None of them waits for the disk unless it says so (reading what is not
 *               in memory does).
 *   Lifetimes   What is passed in is the caller's, and not looked at after the return. What a
 *               callback is given lives until that returns; it may call any function that reads.
 *   Options     are never NULL; zeros are the defaults.
 *   Names       One path component: a NUL-terminated string of 1..255 bytes without '/'; "." and
 *               ".." only where stated. Paths are relative to the root; leading, trailing and
 *               doubled slashes are ignored.
 *   Permissions Not checked here: the kernel does it for the mount (default_permissions). What
 *               depends on the caller (owner of a new file, set-gid inheritance, clearing of
 *               set-id bits) takes a kvfs_caller.
 */
#ifndef KVFS_H
#define KVFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "kv.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kvfs; /* an open file system */

#define KVFS_ROOT_INO 1u
#define KVFS_NAME_MAX 255u	    /* bytes */
#define KVFS_SYMLINK_MAX 4095u	    /* bytes */
#define KVFS_LINK_MAX 2000000000u
#define KVFS_XATTR_NAME_MAX 255u    /* bytes, the namespace's included */
#define KVFS_XATTR_SIZE_MAX 65536u  /* bytes of a value */
#define KVFS_FILE_SIZE_MAX ((int64_t)1 << 60) /* bytes */

struct kvfs_caller {
	uid_t uid;
	gid_t gid;
	mode_t umask;	 /* bits to clear in a new file's mode; 0 if the caller has applied it */
	bool privileged; /* CAP_FSETID: keeps set-id bits */
};

struct kvfs_attr {
	uint64_t ino;
	uint32_t mode; /* type and permissions, as st_mode */
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint64_t rdev;
	uint64_t size;	 /* bytes */
	uint64_t blocks; /* units of 512 bytes that hold data */
	struct timespec atime, mtime, ctime, btime;
};

/* ---- store ----------------------------------------------------------------------------------- */

struct kvfs_create_options {
	enum kv_hash hash; /* this and the next three: as kv_create_options */
	enum kv_compress compress;
	int compress_level;
	uint32_t segment_size; /* bytes, 2 MiB at least */
	uint64_t size_limit; /* bytes, see kvfs_set_size_limit; 0: none */
	uint32_t root_mode; /* permissions; 0: 0755 */
	uid_t root_uid;
	gid_t root_gid;
};

/*
 * Makes a store with an empty root directory in it. Durable on return. What an error leaves at
 * `path` opens as no file system. Errors: as kv_create; -ENOSPC, -EIO
 */
KV_API KV_MUST_CHECK int kvfs_create(struct kv_env *env, const char *path,
				     const struct kvfs_create_options *options,
				     kv_report_fn *report, void *report_arg);

/* When a time of access moves; as the options of mount(8). */
enum kvfs_atime { KVFS_RELATIME, KVFS_NOATIME, KVFS_STRICTATIME };

struct kvfs_open_options {
	struct kv_open_options kv;
	enum kvfs_atime atime;
	bool nodiratime; /* listing a directory never moves its time of access */
	bool frees_behind; /* very large files are freed by a thread of the file system's own */
	bool repairs; /* kvfs_repair comes next: opens also where the root, or what the file
			 system says of itself, is lost */
};

/*
 * Opens; unless read-only, releases files that were unlinked while open before a crash.
 * Errors: as kv_open, and -EMEDIUMTYPE for a store that is not a file system's.
 */
KV_API KV_MUST_CHECK int kvfs_open(struct kv_env *env, const char *path,
				   const struct kvfs_open_options *options, struct kvfs **out);
/*
 * Syncs, and closes, as kv_close: no other call may be under way, and the snapshots of it are
 * closed before. What is held and has no name is freed at the next opening.
 */
KV_API int kvfs_close(struct kvfs *fs);
/* The engine below, for statistics and info. */
KV_API struct kv *kvfs_kv(struct kvfs *fs);

/* ---- names ----------------------------------------------------------------------------------- */

/*
 * Errors that all of these have: -ENOENT, also of a directory that is gone, -ENOTDIR,
 * -ENAMETOOLONG, -EINVAL no name, -EIO; and those that change anything -EROFS, -ENOSPC, -ENOMEM.
 */

/* "." and ".." are found too (".." of the root is the root). */
KV_API KV_MUST_CHECK int kvfs_lookup(struct kvfs *fs, uint64_t parent_ino, const char *name,
				     struct kvfs_attr *out);
/*
 * Regular files, fifos, sockets, devices (mode has the type; without one a regular file). -EEXIST,
 * -EINVAL another type
 */
KV_API KV_MUST_CHECK int kvfs_mknod(struct kvfs *fs, const struct kvfs_caller *caller,
				    uint64_t parent_ino, const char *name, mode_t mode,
				    uint64_t rdev, struct kvfs_attr *out);
/* -EEXIST, -EMLINK the directory has KVFS_LINK_MAX links */
KV_API KV_MUST_CHECK int kvfs_mkdir(struct kvfs *fs, const struct kvfs_caller *caller,
				    uint64_t parent_ino, const char *name, mode_t mode,
				    struct kvfs_attr *out);
/* -EEXIST, -ENAMETOOLONG also a target of over KVFS_SYMLINK_MAX bytes, -ENOENT an empty one */
KV_API KV_MUST_CHECK int kvfs_symlink(struct kvfs *fs, const struct kvfs_caller *caller,
				      const char *target, uint64_t parent_ino, const char *name,
				      struct kvfs_attr *out);
/*
 * A file without a name (O_TMPFILE), with nlink 0. It is returned held once: kvfs_release frees it,
 * unless kvfs_link has given it a name.
 */
KV_API KV_MUST_CHECK int kvfs_tmpfile(struct kvfs *fs, const struct kvfs_caller *caller,
				      uint64_t parent_ino, mode_t mode, struct kvfs_attr *out);
/* -EEXIST, -EPERM a directory, -EMLINK, -ENOENT also a file that has lost its last name */
KV_API KV_MUST_CHECK int kvfs_link(struct kvfs *fs, uint64_t ino, uint64_t parent_ino,
				   const char *name, struct kvfs_attr *out);
/* -EISDIR a directory */
KV_API KV_MUST_CHECK int kvfs_unlink(struct kvfs *fs, uint64_t parent_ino, const char *name);
/* -ENOTEMPTY, also "..", -EINVAL "." */
KV_API KV_MUST_CHECK int kvfs_rmdir(struct kvfs *fs, uint64_t parent_ino, const char *name);
/*
 * flags: 0, or of renameat2: RENAME_NOREPLACE, RENAME_WHITEOUT (also together), RENAME_EXCHANGE;
 * others -EINVAL, as a directory into its own tree, and a whiteout without a caller, who owns it;
 * else caller may be NULL. -EEXIST, -ENOTEMPTY, -EISDIR, -EMLINK, -EBUSY "." or ".."
 */
KV_API KV_MUST_CHECK int kvfs_rename(struct kvfs *fs, const struct kvfs_caller *caller,
				     uint64_t parent_ino, const char *name,
				     uint64_t new_parent_ino, const char *new_name,
				     unsigned flags);
/*
 * Copies the target, not terminated; the length, or -EINVAL no symlink, -ERANGE buffer too small.
 */
KV_API KV_MUST_CHECK ssize_t kvfs_readlink(
	struct kvfs *fs, uint64_t ino, char *buffer, size_t size);

/*
 * Lists a directory from the entry behind `cookie` (0: the start; "." and ".." come first). Calls
 * `entry` for each with the cookie of that entry, until it returns non-zero (that entry is not
 * consumed) or the end. A cookie stays valid for ever: entries that are there during the whole
 * listing come exactly once, whatever else changes. With want_attr, attr is filled in, otherwise
 * only its ino and the type bits of its mode.
 */
typedef int kvfs_entry_fn(void *arg, const char *name, const struct kvfs_attr *attr,
			  uint64_t cookie);
KV_API KV_MUST_CHECK int kvfs_readdir(struct kvfs *fs, uint64_t ino, uint64_t cookie,
				      bool want_attr, kvfs_entry_fn *entry, void *arg);

/* ---- inodes ---------------------------------------------------------------------------------- */

/*
 * An inode whose last name goes stays usable while it is held, and is released with the last hold.
 * A holder is anyone who may come back with the number: the kernel's lookup count, an open file.
 */
KV_API void kvfs_hold(struct kvfs *fs, uint64_t ino, uint64_t count);
KV_API void kvfs_release(struct kvfs *fs, uint64_t ino, uint64_t count);
KV_API bool kvfs_is_held(struct kvfs *fs, uint64_t ino);

/* -ENOENT, -EIO */
KV_API KV_MUST_CHECK int kvfs_getattr(struct kvfs *fs, uint64_t ino, struct kvfs_attr *out);

/*
 * Sets what `set` names to what attr says of it (..._NOW: to the present), all or nothing; out: the
 * attributes after it. Setting an owner clears the set-id bits of what is no directory. The time of
 * change is the present where it is not set. -ENOENT, -EFBIG, -EISDIR, -EINVAL a size of what is no
 * regular file, or a time; -EROFS, -ENOSPC, -EIO, -ENOMEM
 */
#define KVFS_SET_MODE (1u << 0)
#define KVFS_SET_UID (1u << 1)
#define KVFS_SET_GID (1u << 2)
#define KVFS_SET_SIZE (1u << 3)
#define KVFS_SET_ATIME (1u << 4)
#define KVFS_SET_MTIME (1u << 5)
#define KVFS_SET_CTIME (1u << 6)
#define KVFS_SET_ATIME_NOW (1u << 7)
#define KVFS_SET_MTIME_NOW (1u << 8)
#define KVFS_KILL_SUIDGID (1u << 9) /* clear set-id bits as a write by an unprivileged caller
				       does */
#define KVFS_KILL_CAPABILITY (1u << 10) /* drop security.capability alone, as a write by anybody
					   does; KVFS_SET_SIZE implies it */
#define KVFS_KILL_SGID (1u << 11) /* clear the set-gid bit of a file that its group may not execute:
				     the caller is no member of that group */

KV_API KV_MUST_CHECK int kvfs_setattr(struct kvfs *fs, uint64_t ino, const struct kvfs_attr *attr,
				      unsigned set, struct kvfs_attr *out);

/* ---- contents -------------------------------------------------------------------------------- */

/*
 * Bytes read, fewer only at the end of the file; holes read as zeros. -EISDIR, -EINVAL not a
 * regular file, -EIO.
 */
KV_API KV_MUST_CHECK ssize_t kvfs_read(struct kvfs *fs, uint64_t ino, void *buffer, size_t size,
				       int64_t offset);
/* The same, but the time of access stays, as O_NOATIME asks. */
KV_API KV_MUST_CHECK ssize_t kvfs_read_unseen(struct kvfs *fs, uint64_t ino, void *buffer,
					      size_t size, int64_t offset);
/*
 * All or nothing for up to 1 MiB: returns `size`; longer writes may end short. flags: KVFS_WRITE_*.
 * -EFBIG, -ENOSPC, -EROFS, and as kvfs_read
 */
#define KVFS_WRITE_KILL_SUIDGID (1u << 0) /* as KVFS_KILL_SUIDGID */
#define KVFS_WRITE_APPEND (1u << 1) /* at the end, whatever `offset` says */
KV_API KV_MUST_CHECK ssize_t kvfs_write(struct kvfs *fs, uint64_t ino, const void *data,
					size_t size, int64_t offset, unsigned flags);
/*
 * mode: as fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]; others
 * -EOPNOTSUPP.
 */
KV_API KV_MUST_CHECK int kvfs_fallocate(struct kvfs *fs, uint64_t ino, int mode, int64_t offset,
					int64_t size);
/*
 * Copies up to `size` bytes, by reference where both offsets are the same modulo 64 KiB: then whole
 * chunks of as much are shared, until one of the files writes over them. Ends short after some MiB,
 * and at the end of the file that is read (0). Nothing is atomic but each chunk. -EINVAL no regular
 * files, or ranges of one file that overlap; -EISDIR, -EFBIG, -ENOSPC, -EROFS.
 */
KV_API KV_MUST_CHECK ssize_t kvfs_copy(struct kvfs *fs, uint64_t in_ino, int64_t in_offset,
				       uint64_t out_ino, int64_t out_offset, size_t size);
/* SEEK_DATA or SEEK_HOLE; the new offset or -ENXIO. */
KV_API KV_MUST_CHECK int64_t kvfs_seek(struct kvfs *fs, uint64_t ino, int64_t offset, int whence);

/* ---- extended attributes --------------------------------------------------------------------- */

/*
 * Names of the namespaces user, trusted and security, and the two POSIX access control lists
 * (system.posix_acl_access and _default, in Linux's binary form): setting an access list sets the
 * mode, chmod changes the list, and what is made in a directory with a default list inherits it.
 * size 0 asks for the length. -ENODATA, -ERANGE, -E2BIG, -EOPNOTSUPP; for lists also -EINVAL no
 * valid one, -EACCES a default list for what is no directory, -ENOSPC too many entries; when
 * setting -EEXIST, -ENODATA by the flags.
 * flags: XATTR_CREATE, XATTR_REPLACE; with an access list KVFS_XATTR_KILL_SGID: the caller may not
 * keep the set-gid bit.
 */
#define KVFS_XATTR_KILL_SGID (1 << 8)
KV_API KV_MUST_CHECK ssize_t kvfs_getxattr(struct kvfs *fs, uint64_t ino, const char *name,
					   void *buffer, size_t size);
KV_API KV_MUST_CHECK int kvfs_setxattr(struct kvfs *fs, uint64_t ino, const char *name,
				       const void *value, size_t size, int flags);
KV_API KV_MUST_CHECK int kvfs_removexattr(struct kvfs *fs, uint64_t ino, const char *name);
/* NUL-terminated names one after the other, as listxattr(2). */
KV_API KV_MUST_CHECK ssize_t kvfs_listxattr(struct kvfs *fs, uint64_t ino, char *buffer,
					    size_t size);

/* ---- snapshots ------------------------------------------------------------------------------- */

/*
 * A snapshot is the whole tree as it was between two operations, under a name of its own; it lasts
 * until it is deleted. To create or delete one takes microseconds whatever the size of the tree,
 * and is durable when what is done after it is. Names are those of files, except "." and "..". What
 * a snapshot alone has kept counts in the size of the store.
 */
struct kvfs_snapshot {
	const char *name;
	struct timespec time; /* when it was taken */
};

/*
 * -EEXIST, -EINVAL, -ENAMETOOLONG the name; -EMFILE there are KV_SNAPSHOTS_MAX; -EROFS, -ENOSPC,
 * -ENOMEM
 */
KV_API KV_MUST_CHECK int kvfs_snapshot_create(struct kvfs *fs, const char *name);
/* Who has it open reads on. -ENOENT, and as above */
KV_API KV_MUST_CHECK int kvfs_snapshot_delete(struct kvfs *fs, const char *name);
/* What there is to know of one; out->name is `name`. -ENOENT */
KV_API KV_MUST_CHECK int kvfs_snapshot_stat(
	struct kvfs *fs, const char *name, struct kvfs_snapshot *out);
/*
 * All that there are now, by name; non-zero of each(arg, snapshot) ends it and is returned. -ENOMEM
 */
typedef int kvfs_snapshot_fn(void *arg, const struct kvfs_snapshot *snapshot);
KV_API KV_MUST_CHECK int kvfs_snapshot_list(struct kvfs *fs, kvfs_snapshot_fn *each, void *arg);

/*
 * The tree as it was, with the same inode numbers, for all functions that read; those that change
 * anything are -EROFS. kvfs_hold and kvfs_release are not needed. Closed by kvfs_close, before `fs`
 * is. Any number may be open. -ENOENT, -ENOMEM, -EIO
 */
KV_API KV_MUST_CHECK int kvfs_snapshot_open(struct kvfs *fs, const char *name, struct kvfs **out);
/*
 * The same of the tree as it is now, which then goes on without it. -EROFS: `fs` is open for
 * reading, and stays what it is by itself. -ENOMEM, -EIO
 */
KV_API KV_MUST_CHECK int kvfs_view_open(struct kvfs *fs, struct kvfs **out);
/* One of these two. */
KV_API bool kvfs_is_snapshot(const struct kvfs *fs);

/*
 * Makes the tree what it was; the snapshots stay. Atomic, and durable on return: after a crash in
 * the middle the tree is the old one, or the next kvfs_open for changes finishes the work before it
 * returns (one for reading shows the snapshot). What was there is kept as the snapshot `keep`,
 * unless that is NULL. Takes time for what has changed since, and some for each inode there is; and
 * room for the records that come back, or it is -ENOSPC before anything has changed. Nobody else
 * uses the file system meanwhile, or holds an inode of it. After another error the file system may
 * be read-only (-EROFS): the next kvfs_open finishes the work then. -ENOENT no such snapshot,
 * -EEXIST keep, and as kvfs_snapshot_create
 */
KV_API KV_MUST_CHECK int kvfs_rollback(struct kvfs *fs, const char *name, const char *keep);

/*
 * The same where others hold inodes (kvfs_hold) and know names and attributes of what they hold.
 * Regular files that are held are not changed under their holders: as long as there is one whose
 * contents would be others, or that would go, it is -EBUSY, and nothing has changed. All else that
 * is known to holders and changes is told, so that they can forget it; a directory that goes is not
 * found any more by who holds it. Nobody uses the file system meanwhile, but kvfs_release may be
 * called.
 */
struct kvfs_rollback_watch {
	void *arg;
	/* A regular file is in the way; one may come several times. May be NULL */
	void (*busy)(void *arg, uint64_t ino);
	/*
	 * Before anything changes: an inode that is held, or the root (name NULL); a name in such a
	 * directory (not terminated). Non-zero ends it, with nothing changed, and is returned. May
	 * be NULL
	 */
	int (*changed)(void *arg, uint64_t ino, const char *name, size_t name_size);
	bool begun; /* out: an error came too late; the next kvfs_open for changes goes on, and
		       until then the tree is in parts */
};
KV_API KV_MUST_CHECK int kvfs_rollback_held(struct kvfs *fs, const char *name, const char *keep,
					    struct kvfs_rollback_watch *watch);
/*
 * Would it be refused now? Changes nothing; others may use the file system meanwhile. -EBUSY,
 * -ENOSPC, -ENOENT, -EROFS
 */
KV_API KV_MUST_CHECK int kvfs_rollback_check(
	struct kvfs *fs, const char *name, const struct kvfs_rollback_watch *watch);

/*
 * Makes a new store with the tree that `fs` shows: a snapshot, or one that nobody changes
 * meanwhile. It has the same inode numbers and parameters, and no snapshots. progress (may be NULL)
 * gets the bytes done and, about, in all, and stops it by returning non-zero. What an error leaves
 * at `path` opens as no file system, or, where the last sync or closing failed, as all of the tree.
 * Errors: as kvfs_create, and -EIO, -ECANCELED, -EUCLEAN records were lost to damage, and no repair
 * was made since, or since this snapshot
 */
KV_API KV_MUST_CHECK int kvfs_clone(struct kvfs *fs, struct kv_env *env, const char *path,
				    kv_progress_fn *progress, void *progress_arg);

/*
 * The same by two processes, of which one has the store and the other a place for the new one. What
 * kvfs_send gives (`give` may take its time, and is called with nothing where nothing comes for
 * long; non-zero ends it, and is returned), all of it in this order, is what kvfs_receive makes the
 * store of. `next` sets *part to what comes next, which has to stay until it is called again, and
 * returns its size; 0 there is no more, or a negative errno.
 * Errors: as kvfs_clone, -EPROTO not all has come, or it is no clone, -EPROTONOSUPPORT it was sent
 * by another version
 */
typedef int kvfs_give_fn(void *arg, const void *bytes, size_t size);
typedef ssize_t kvfs_next_fn(void *arg, const char **part);
struct kvfs_receive_options {
	kvfs_next_fn *next;
	void *next_arg;
	kv_report_fn *report; /* may be NULL */
	void *report_arg;
	kv_progress_fn *progress; /* as of kvfs_clone */
	void *progress_arg;
};
KV_API KV_MUST_CHECK int kvfs_send(struct kvfs *fs, kvfs_give_fn *give, void *arg);
KV_API KV_MUST_CHECK int kvfs_receive(
	struct kv_env *env, const char *path, const struct kvfs_receive_options *options);

enum kvfs_difference { KVFS_ADDED, KVFS_REMOVED, KVFS_CHANGED };
/*
 * What is different in `to` beside `from`, each a snapshot of the same store, or the store itself
 * with nobody changing it: paths that came, went, or whose contents or attributes changed (access
 * times aside), from the root ("") without a slash at the beginning. A directory that came or went
 * stands for all that is in it; one that was moved went and came. In no order. Reads names and
 * inodes, never contents.
 * `each` may take its time; non-zero ends it. So does `stop` (may be NULL) by returning true, which
 * is asked now and then also while nothing is found, and must not wait. -ECANCELED then; -ENOMEM,
 * -EIO, -ENAMETOOLONG for what is deeper than 4096 directories
 */
typedef int kvfs_difference_fn(
	void *arg, enum kvfs_difference what, const char *path, bool is_directory);
typedef bool kvfs_stop_fn(void *arg);
KV_API KV_MUST_CHECK int kvfs_diff(struct kvfs *from, struct kvfs *to, kvfs_difference_fn *each,
				   kvfs_stop_fn *stop, void *arg);

/* ---- whole store ----------------------------------------------------------------------------- */

/* As statvfs(3). How many files there is room for is a guess. */
struct kvfs_statfs {
	uint64_t block_size; /* bytes */
	uint64_t blocks, blocks_free, blocks_avail;
	uint64_t files, files_free;
};
KV_API KV_MUST_CHECK int kvfs_statfs(struct kvfs *fs, struct kvfs_statfs *out);

/*
 * The store holds at most so many bytes (contents, names and attributes, as they lie in the log);
 * 0: as much as the disk. What would make it hold more is refused with -ENOSPC; a limit below what
 * there is already is legal. Durable on return.
 */
KV_API KV_MUST_CHECK int kvfs_set_size_limit(struct kvfs *fs, uint64_t bytes);
KV_API uint64_t kvfs_size_limit(const struct kvfs *fs);
/*
 * After a -ENOSPC: whether it is worth another try. What was removed just now may still be on its
 * way out (its last holder lets go a moment later, and large files are freed in steps); then this
 * waits for it: 0.2 s at most in which nothing comes free, and a second in all. Of a store's time a
 * sixteenth is waited at most (but always a second of the last sixteen); beyond that it says at once
 * how it stands.
 */
KV_API bool kvfs_await_space(struct kvfs *fs);

/* Waits until all that was done before is durable. -EIO */
KV_API KV_MUST_CHECK int kvfs_sync(struct kvfs *fs);
/*
 * As kv_sync_notify: waiter->seq is set by this call to cover everything done before. Does not
 * wait.
 */
KV_API void kvfs_sync_notify(struct kvfs *fs, struct kv_waiter *waiter);

/*
 * kv_check, and above it: every link count, every directory entry has its inode and back, ".."
 * chains reach the root, every orphan is one, every extent belongs to a file and lies inside it;
 * in each snapshot as well. As kv_check of arguments and errors; who changes the file system waits
 * meanwhile, but not while snapshots are checked.
 */
KV_API KV_MUST_CHECK int kvfs_check(struct kvfs *fs, kv_report_fn *report, void *report_arg,
				    kv_progress_fn *progress, void *progress_arg,
				    uint64_t *findings);

/*
 * Makes what a check would find of the file system's own agree again; the store's own damage is
 * kv_repair's, and goes first. Says what was lost or moved, one message each; *mended: how many.
 * Files and directories without a name get one in /lost+found. Can be run again, also after an
 * interruption; durable on return. Nobody else uses the file system meanwhile. Errors: -EROFS,
 * -ENOSPC, -ENOMEM, -EIO, -ENOTDIR "lost+found" is something else
 */
KV_API KV_MUST_CHECK int kvfs_repair(
	struct kvfs *fs, kv_report_fn *report, void *report_arg, uint64_t *mended);

/* ---- paths, for programs without a mount ----------------------------------------------------- */

/*
 * Follows symlinks inside the store (an absolute target starts at the root); the last one only if
 * asked. -ELOOP after 40, -ENOENT, -ENOTDIR, -ENAMETOOLONG, -EIO
 */
KV_API KV_MUST_CHECK int kvfs_resolve(struct kvfs *fs, const char *path, bool follow_last,
				      struct kvfs_attr *out);
/*
 * The directory a path's last component lives in, and that component, which need not be there; with
 * make_parents, directories that are missing are made (mode 0777 less the umask). -EINVAL the path
 * ends in no name, or in "." or ".."; and as kvfs_resolve and kvfs_mkdir
 */
KV_API KV_MUST_CHECK int kvfs_resolve_parent(struct kvfs *fs, const char *path,
	const struct kvfs_caller *make_parents, struct kvfs_attr *parent,
	char name[KVFS_NAME_MAX + 1]);

#ifdef __cplusplus
}
#endif
#endif
