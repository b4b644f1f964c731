/* SPDX-License-Identifier: MIT */
/*
 * confine.c - what a server, or a command that reads a store, gives up (see confine.h).
 *
 *	capabilities	all; but for reading and writing a store that belongs to somebody else, or
 *			is closed without, and for giving its owner the files that come into it
 *	privileges	none can be gained any more (no_new_privs)
 *	files		Landlock: the store, and a second one that is being made; to read: /proc,
 *			and unless a store is another's, programs' and libraries' directories, the
 *			time zone. No set-id bits. Where the kernel can:
 *			no TCP, no abstract sockets of others, no signals to others
 *	system calls	seccomp: those that the engine, the library, its rings and the C library
 *			use; EPERM for others, which the kernel's log names. No other program can
 *			be started, nobody traced, no socket made or connected, no signal but to
 *			itself; the mode, the size and the owner of a file that is open to read stay
 *	umask		077: what is created has the mode that is asked for, as none is set any more
 *
 *	rings		what is asked of a ring passes no seccomp filter. So no ring can be made; those
 *			that there are (the engine's, the library's: fs/session_rings.h) do what these
 *			two need: write to a descriptor from registered memory, pass FUSE's requests,
 *			poll
 *
 * A program that is built with a sanitizer is not confined: those map, trace and open as they like.
 */
#include "confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <linux/prctl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kv.h"
#include "message.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CONFINE_IMPOSSIBLE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
	__has_feature(memory_sanitizer)
#define CONFINE_IMPOSSIBLE 1
#endif
#endif
#ifndef CONFINE_IMPOSSIBLE
#define CONFINE_IMPOSSIBLE 0
#endif

/* Of later versions than the headers that this may be compiled with. */
#define ACCESS_TRUNCATE (1ULL << 14)
#define ACCESS_NET_TCP 3ULL   /* bind and connect */
#define SCOPE_OWN_DOMAIN 3ULL /* abstract sockets and signals */
#define FUSE_CLONE_IOCTL 0x8004e500u

#define ACCESS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static bool landlocked, filtered, dropped;

/* ---- capabilities ---------------------------------------------------------------------------- */

static bool is_denied(int dir, const char *name, int mode)
{
	const int flags = AT_EACCESS | AT_SYMLINK_NOFOLLOW;

	if (!faccessat(dir, name, mode, flags))
		return false;
	/* On a read-only file system nobody writes. */
	if (errno == EROFS && !faccessat(dir, name, mode & ~W_OK, flags))
		return false;
	return errno == EACCES;
}

/*
 * Whether the way to the store, its directory or a file in it is closed to this process, which has
 * no capability in force.
 */
static bool is_store_closed(const char *store)
{
	char *real = realpath(store, NULL);
	bool denied = real ? is_denied(AT_FDCWD, real, R_OK | W_OK | X_OK) : errno == EACCES;
	DIR *dir = real && !denied ? opendir(real) : NULL;
	const struct dirent *entry;

	while (dir && !denied && (entry = readdir(dir)))
		denied = strcmp(entry->d_name, "..") && is_denied(dirfd(dir), entry->d_name, R_OK | W_OK);
	if (dir)
		closedir(dir);
	free(real);
	return denied;
}

/* The owner of a directory, to whom its files are given; 0: nothing is given to anybody. */
static int find_owner(const char *dir, uid_t *owner)
{
	struct stat st;

	if (stat(dir, &st))
		return -errno;
	*owner = geteuid() == 0 ? st.st_uid : 0;
	return 0;
}

static int drop_capabilities(const char *store, const char *made, const uid_t owners[2])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	unsigned permitted, kept = 0;
	int i;

	/* fails for whoever may not, who has nothing to lose there either */
	for (i = 0; i <= CAP_LAST_CAP; i++)
		(void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &header, data))
		return -errno;
	/* What can still be done without tells what has to be kept. */
	permitted = data[0].permitted;
	data[0].effective = data[1].effective = 0;
	if (syscall(SYS_capset, &header, data))
		return -errno;
	memset(data, 0, sizeof(data));
	if (owners[0] || owners[1])
		kept |= 1u << CAP_CHOWN;
	if (geteuid() == 0 && (owners[0] || is_store_closed(store) || (made && is_store_closed(made))))
		kept |= 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER;
	data[0].effective = data[0].permitted = permitted & kept;
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* A path that is not there needs no rule. */
static int allow_path(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access};
	struct stat st;
	int rc = 0;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(rule.parent_fd, &st))
		rc = -errno;
	else if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
				       LANDLOCK_ACCESS_FS_EXECUTE;
	if (!rc && syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
		rc = -errno;
	close(rule.parent_fd);
	return rc;
}

/*
 * In it all but to run it. Out of the directory above it empty directories may be taken, as this
 * one is where nothing came into it; what else is there cannot be listed.
 */
static int allow_made(int ruleset, const char *made, uint64_t access)
{
	char *copy = strdup(made);
	int rc = copy ? allow_path(ruleset, made, access) : -ENOMEM;

	if (!rc)
		rc = allow_path(ruleset, dirname(copy), LANDLOCK_ACCESS_FS_REMOVE_DIR);
	free(copy);
	return rc;
}

/* As of the sixth version; zeros at the end are no matter to an earlier one. */
struct ruleset {
	uint64_t files, net, scoped;
};

/*
 * Who may give files away could give away what he may read, which Landlock does not look at: no
 * programs and libraries then.
 */
static int restrict_files(const char *store, const char *made, bool gives)
{
	static const char *const readable[] = {"/proc", "/sys/module/fuse", "/sys/devices/system",
		"/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/fuse.conf"};
	const size_t count = gives ? 3 : sizeof(readable) / sizeof(readable[0]);
	struct ruleset attr = {.files = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	int ruleset, rc = 0;
	size_t i;

	if (version < 1)
		return 0;
	if (version >= 2)
		attr.files |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		attr.files |= ACCESS_TRUNCATE;
	if (version >= 4)
		attr.net = ACCESS_NET_TCP;
	if (version >= 6)
		attr.scoped = SCOPE_OWN_DOMAIN;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	rc = allow_path(ruleset, store, attr.files & ~LANDLOCK_ACCESS_FS_EXECUTE);
	if (!rc && made)
		rc = allow_made(ruleset, made, attr.files & ~LANDLOCK_ACCESS_FS_EXECUTE);
	for (i = 0; !rc && i < count; i++)
		rc = allow_path(ruleset, readable[i], ACCESS_READ);
	if (!rc)
		rc = allow_path(ruleset, "/dev/null", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE);
	if (!rc && syscall(SYS_landlock_restrict_self, ruleset, 0))
		rc = -errno;
	close(ruleset);
	landlocked = !rc;
	return rc;
}

/* ---- system calls ---------------------------------------------------------------------------- */

static const int allowed_calls[] = {
	/* files */
	SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(preadv2),
	SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(pwritev2),
	SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(lseek), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
	SCMP_SYS(sync_file_range), SCMP_SYS(syncfs), SCMP_SYS(fallocate), SCMP_SYS(ftruncate),
	SCMP_SYS(flock), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3),
	SCMP_SYS(readahead), SCMP_SYS(fadvise64), SCMP_SYS(copy_file_range),
	SCMP_SYS(splice), SCMP_SYS(vmsplice), SCMP_SYS(tee),
	/* names */
	SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx),
	SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64), SCMP_SYS(rename),
	SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat), SCMP_SYS(getcwd), SCMP_SYS(chdir),
	SCMP_SYS(getxattr), SCMP_SYS(fgetxattr),
	/* waiting and telling */
	SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(eventfd2), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(futex), SCMP_SYS(futex_waitv),
	SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(restart_syscall),
	SCMP_SYS(io_uring_enter), /* of rings that are made and restricted by now */
	SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), /* with the mounter; nothing else is connected */
	/* memory */
	SCMP_SYS(brk), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect),
	SCMP_SYS(madvise), SCMP_SYS(msync), SCMP_SYS(mincore), SCMP_SYS(mbind), SCMP_SYS(set_mempolicy),
	SCMP_SYS(get_mempolicy), SCMP_SYS(membarrier), SCMP_SYS(mlock), SCMP_SYS(munlock),
	SCMP_SYS(memfd_create),
	/* threads, signals, this process */
	SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(rseq), SCMP_SYS(exit),
	SCMP_SYS(exit_group), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack), SCMP_SYS(wait4),
	SCMP_SYS(waitid), SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getgroups), SCMP_SYS(setsid),
	SCMP_SYS(set_tid_address), SCMP_SYS(arch_prctl), SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_getscheduler), SCMP_SYS(sched_getparam),
	SCMP_SYS(sched_get_priority_max), SCMP_SYS(sched_get_priority_min), SCMP_SYS(getpriority),
	SCMP_SYS(getcpu),
	SCMP_SYS(capget), SCMP_SYS(clone3), /* but see below */
	/* knowing */
	SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
	SCMP_SYS(getrandom), SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(getrlimit),
	SCMP_SYS(getrusage),
};

/* Calls that are allowed where an argument has this value. */
static const struct {
	int call;
	unsigned argument;
	uint64_t value;
} allowed_arguments[] = {
	{SCMP_SYS(ioctl), 1, TIOCGWINSZ},
	{SCMP_SYS(ioctl), 1, TCGETS},
	{SCMP_SYS(ioctl), 1, FIONREAD},
	{SCMP_SYS(ioctl), 1, FUSE_CLONE_IOCTL},
	{SCMP_SYS(io_uring_register), 1, IORING_REGISTER_BUFFERS_UPDATE},
	{SCMP_SYS(io_uring_register), 1, IORING_REGISTER_FILES_UPDATE},
	{SCMP_SYS(io_uring_register), 1, IORING_REGISTER_FILES},
	/* not F_SETOWN, which has a signal sent to whomever it names */
	{SCMP_SYS(fcntl), 1, F_DUPFD},
	{SCMP_SYS(fcntl), 1, F_DUPFD_CLOEXEC},
	{SCMP_SYS(fcntl), 1, F_GETFD},
	{SCMP_SYS(fcntl), 1, F_SETFD},
	{SCMP_SYS(fcntl), 1, F_GETFL},
	{SCMP_SYS(fcntl), 1, F_SETFL},
	{SCMP_SYS(fcntl), 1, F_GETLK},
	{SCMP_SYS(fcntl), 1, F_SETLK},
	{SCMP_SYS(fcntl), 1, F_OFD_GETLK},
	{SCMP_SYS(fcntl), 1, F_OFD_SETLK},
	{SCMP_SYS(fcntl), 1, F_GETPIPE_SZ},
	{SCMP_SYS(fcntl), 1, F_SETPIPE_SZ},
	/* the calling thread; others' by no number */
	{SCMP_SYS(sched_setaffinity), 0, 0},
	{SCMP_SYS(sched_setscheduler), 0, 0},
	{SCMP_SYS(prctl), 0, PR_SET_NAME},
	{SCMP_SYS(prctl), 0, PR_GET_NAME},
	{SCMP_SYS(prctl), 0, PR_SET_VMA}, /* naming memory, which the C library may do */
};

/* Files are given to these alone. */
static int allow_giving(scmp_filter_ctx filter, const uid_t owners[2])
{
	int rc = 0;
	size_t i;

	for (i = 0; !rc && i < 2; i++)
		if (owners[i] && (i == 0 || owners[i] != owners[0]))
			rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fchown), 1,
				SCMP_CMP64(1, SCMP_CMP_MASKED_EQ, UINT32_MAX, owners[i]));
	return rc;
}

/*
 * What is created has no set-id bits: root's, in somebody else's store, he could run. Nothing is
 * emptied, which Landlock looks at from its third version on only.
 */
static int allow_opening(scmp_filter_ctx filter, int call, unsigned flags)
{
	const struct scmp_arg_cmp not_emptied = SCMP_CMP64(flags, SCMP_CMP_MASKED_EQ, O_TRUNC, 0);
	const struct scmp_arg_cmp nothing_made = SCMP_CMP64(
		flags, SCMP_CMP_MASKED_EQ, O_TRUNC | O_CREAT | (O_TMPFILE & ~O_DIRECTORY), 0);
	const struct scmp_arg_cmp plain_mode =
		SCMP_CMP64(flags + 1, SCMP_CMP_MASKED_EQ, S_ISUID | S_ISGID | S_ISVTX, 0);
	int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, nothing_made);

	return rc ? rc : seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 2, not_emptied, plain_mode);
}

static int allow_by_argument(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp threads =
		SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);
	const struct scmp_arg_cmp ourselves = SCMP_CMP64(0, SCMP_CMP_EQ, 0, 0);
	const struct scmp_arg_cmp nothing_new = SCMP_CMP64(2, SCMP_CMP_EQ, 0, 0);
	const struct scmp_arg_cmp own_threads =
		SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)getpid());
	int rc = 0;
	size_t i;

	for (i = 0; !rc && i < sizeof(allowed_arguments) / sizeof(allowed_arguments[0]); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_arguments[i].call, 1,
			SCMP_CMP64(allowed_arguments[i].argument, SCMP_CMP_EQ,
				allowed_arguments[i].value, 0));
	if (!rc) /* no processes */
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, threads);
	if (!rc) /* limits are read, and not set */
		rc = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, ourselves, nothing_new);
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, own_threads);
	if (!rc)
		rc = allow_opening(filter, SCMP_SYS(open), 1);
	if (!rc)
		rc = allow_opening(filter, SCMP_SYS(openat), 2);
	return rc;
}

/* Gives the filter to the kernel, and frees it. */
static int filter_load(scmp_filter_ctx filter, int rc, bool log)
{
	if (!filter)
		return -ENOMEM;
	/*
	 * a search by halves, no slower processor for it, and a line in the kernel's log of what is
	 * refused
	 */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, log);
	if (!rc)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc;
}

/*
 * What clone3 is to make cannot be looked at. The C library tries it for each thread, and takes
 * clone where it is not there: which is nothing for the log.
 */
static int hide_clone3(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int rc = filter ? seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) : 0;

	return filter_load(filter, rc, false);
}

static int filter_calls(const uid_t owners[2])
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = 0;
	size_t i;

	/* those that this machine does not have are passed over */
	for (i = 0; filter && !rc && i < sizeof(allowed_calls) / sizeof(allowed_calls[0]); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
	if (filter && !rc)
		rc = allow_by_argument(filter);
	if (filter && !rc)
		rc = allow_giving(filter, owners);
	/* nothing can be added once the large one is there */
	if (!rc)
		rc = hide_clone3();
	rc = filter_load(filter, rc, true);
	/* a kernel without filters */
	if (rc == -EINVAL || rc == -ENOSYS)
		return 0;
	filtered = !rc;
	return rc;
}

/* ---- all of it ------------------------------------------------------------------------------- */

int confine(const char *store, const char *made)
{
	uid_t owners[2] = {0, 0}; /* of the store, and of what is made */
	int rc;

	if (CONFINE_IMPOSSIBLE)
		return 0;
	rc = find_owner(store, &owners[0]);
	if (!rc && made)
		rc = find_owner(made, &owners[1]);
	if (rc)
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	/* what could not be made or read any more */
	kv_env_prepare();
	tzset();
	umask(077);
	rc = restrict_files(store, made, owners[0] || owners[1]);
	if (!rc)
		rc = drop_capabilities(store, made, owners);
	dropped = !rc;
	if (!rc)
		rc = filter_calls(owners);
	return rc;
}

const char *confine_state(void)
{
	if (!dropped)
		return "none";
	if (landlocked && filtered)
		return "capabilities files calls";
	return landlocked ? "capabilities files" : filtered ? "capabilities calls" : "capabilities";
}
