/* SPDX-License-Identifier: MIT */
/*
 * posix_rights.c - set-id bits, file capabilities and groups: who gets them, and what takes them away
 */
#include "posix.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ALICE 54321u
#define BOB 54322u
#define TEAM 64321u
#define OTHERS 64322u

/* Becomes a user of this group, with TEAM as a supplementary group if asked. */
static void become(uid_t uid, gid_t gid, bool in_team)
{
	gid_t groups[] = {TEAM};

	OK(setgroups(in_team ? 1 : 0, groups));
	OK(setresgid(gid, gid, gid));
	OK(setresuid(uid, uid, uid));
}

static mode_t mode_of(const char *path)
{
	return file_stat(path).st_mode & 07777;
}

/* Each way to change a file's bytes, by one who may write to it but does not own it. */
static void by_write(int fd) { SAME(write(fd, "y", 1), 1); }
static void by_pwrite(int fd) { SAME(pwrite(fd, "y", 1, 100000), 1); }
static void by_ftruncate(int fd) { OK(ftruncate(fd, 1)); }
static void by_growing(int fd) { OK(ftruncate(fd, 100000)); }
static void by_punching(int fd) { OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 10)); }
static void by_allocating(int fd) { OK(fallocate(fd, 0, 0, 50000)); }

static void by_zeroing(int fd) { OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 10)); }

static void by_vector(int fd)
{
	struct iovec parts[2] = {{"y", 1}, {"z", 1}};

	SAME(writev(fd, parts, 2), 2);
}

static void by_splicing(int fd)
{
	int ends[2];

	OK(pipe(ends));
	SAME(write(ends[1], "text", 4), 4);
	SAME(splice(ends[0], NULL, fd, NULL, 4, 0), 4);
	OK(close(ends[0]));
	OK(close(ends[1]));
}

/* The path is what says which file it is. */
static void by_truncating(int fd)
{
	(void)fd;
	OK(truncate("file", 1));
}

static void by_copying(int fd)
{
	int from = OK(open("source", O_RDONLY));

	SAME(copy_file_range(from, NULL, fd, NULL, 4, 0), 4);
	OK(close(from));
}

static void by_sendfile(int fd)
{
	int from = OK(open("source", O_RDONLY));

	SAME(sendfile(fd, from, NULL, 4), 4);
	OK(close(from));
}

static void by_direct(int fd)
{
	char *page;
	char path[32];
	int direct;

	TRUE(!posix_memalign((void **)&page, 4096, 4096));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	direct = OK(open(path, O_WRONLY | O_DIRECT));
	SAME(pwrite(direct, page, 4096, 0), 4096);
	OK(close(direct));
	free(page);
}

static void (*const writers[])(int fd) = {by_write, by_pwrite, by_ftruncate, by_growing, by_punching,
	by_allocating, by_zeroing, by_vector, by_splicing, by_truncating, by_copying, by_sendfile, by_direct};
#define WRITERS (sizeof(writers) / sizeof(writers[0]))

static const struct capability {
	uint32_t magic, permitted, inheritable, permitted_high, inheritable_high;
} net_bind = {VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, 1u << CAP_NET_BIND_SERVICE, 0, 0, 0};

static void capability_set(const char *path)
{
	OK(setxattr(path, "security.capability", &net_bind, sizeof(net_bind), 0));
}

static bool capability_there(const char *path)
{
	char value[64];
	ssize_t size = getxattr(path, "security.capability", value, sizeof(value));

	if (size < 0)
		TRUE(errno == ENODATA);
	else
		SAME(size, sizeof(net_bind));
	return size >= 0;
}

static void privileged_file(mode_t mode)
{
	file_put("file", "some text");
	OK(chown("file", ALICE, TEAM));
	OK(chmod("file", mode));
	capability_set("file");
	SAME(mode_of("file"), mode);
}

static void write_as_bob(void *arg)
{
	int fd;

	become(BOB, OTHERS, false);
	fd = OK(open("file", O_RDWR));
	(*(void (*const *)(int))arg)(fd);
	OK(close(fd));
}

static void write_as_owner(void *arg)
{
	int fd;

	become(ALICE, OTHERS, false);
	fd = OK(open("file", O_RDWR));
	(*(void (*const *)(int))arg)(fd);
	OK(close(fd));
}

static void write_as_member(void *arg)
{
	int fd;

	become(BOB, OTHERS, true);
	fd = OK(open("file", O_RDWR));
	(*(void (*const *)(int))arg)(fd);
	OK(close(fd));
}

static void cut_by_open(void *arg)
{
	(void)arg;
	become(BOB, OTHERS, false);
	OK(close(OK(open("file", O_WRONLY | O_TRUNC))));
}

static void writes_clear_rights(void)
{
	size_t i;

	file_put("source", "text");
	for (i = 0; i < WRITERS; i++) {
		privileged_file(06777);
		child_run(write_as_bob, (void *)&writers[i]);
		if (mode_of("file") != 0777 || capability_there("file"))
			FAIL("writer %zu left mode %o, capability %d", i, mode_of("file"),
				capability_there("file"));
		privileged_file(06777); /* the owner as well: others may have given him the bytes */
		child_run(write_as_owner, (void *)&writers[i]);
		if (mode_of("file") != 0777 || capability_there("file"))
			FAIL("writer %zu as owner left mode %o, capability %d", i, mode_of("file"),
				capability_there("file"));
	}
	privileged_file(06777);
	child_run(cut_by_open, NULL);
	SAME(mode_of("file"), 0777);
	TRUE(!capability_there("file"));
	/* without the group's execute bit set-gid once meant something else, and stays for members alone */
	for (i = 0; i < WRITERS; i++) {
		privileged_file(02666);
		child_run(write_as_bob, (void *)&writers[i]);
		if (mode_of("file") != 0666 || capability_there("file"))
			FAIL("writer %zu left mode %o, capability %d", i, mode_of("file"),
				capability_there("file"));
		privileged_file(02666);
		child_run(write_as_member, (void *)&writers[i]);
		SAME(mode_of("file"), 02666);
		TRUE(!capability_there("file"));
	}
	/* root keeps the bits, but not the capability */
	privileged_file(06777);
	{
		int fd = OK(open("file", O_WRONLY));

		by_write(fd);
		OK(close(fd));
	}
	SAME(mode_of("file"), 06777);
	TRUE(!capability_there("file"));
}

/* As who is about to run it asks: for the mode alone, which may be kept where the size is not. */
static mode_t mode_to_run(const char *path)
{
	struct statx look;

	OK(statx(AT_FDCWD, path, 0, STATX_MODE, &look));
	return look.stx_mode & 07777;
}

static void *look_for_ever(void *arg)
{
	struct stat now;

	while (!atomic_load((atomic_bool *)arg))
		OK(stat("program", &now));
	return NULL;
}

/* With a descriptor from before it was a program of root's, and while it is looked at. */
static void write_as_stranger(void *arg)
{
	atomic_bool over = false;
	pthread_t looker;

	become(BOB, OTHERS, false);
	SAME(pthread_create(&looker, NULL, look_for_ever, &over), 0);
	SAME(write(*(int *)arg, "y", 1), 1);
	atomic_store(&over, true);
	SAME(pthread_join(looker, NULL), 0);
	SAME(mode_to_run("program"), 0755);
}

/* What a stranger has written to is not run with its owner's rights, whoever looked meanwhile. */
static void open_before_it_was_privileged(void)
{
	unsigned i, rounds = posix_quick ? 100 : 2000;
	int fd;

	for (i = 0; i < rounds; i++) {
		file_put("program", "x");
		fd = OK(open("program", O_WRONLY));
		OK(chmod("program", 04755));
		child_run(write_as_stranger, &fd);
		SAME(mode_of("program"), 0755);
		OK(close(fd));
		OK(unlink("program"));
	}
}

static void owner_changes(void *arg)
{
	(void)arg;
	become(ALICE, OTHERS, true);
	OK(chown("file", -1, OTHERS));
	SAME(mode_of("file"), 0755);
	OK(chown("file", ALICE, -1)); /* to himself */
	OK(chown("dir", -1, -1)); /* directories keep theirs, whoever asks for nothing */
	SAME(mode_of("dir"), 02755);
	OK(chmod("hers", 06755));
	OK(chown("hers", -1, -1)); /* nothing is set, and that clears them */
	SAME(mode_of("hers"), 0755);
	OK(chmod("hers", 02644));
	OK(chown("hers", -1, TEAM)); /* set-gid without execution by a group that he is in */
	SAME(mode_of("hers"), 02644);
	OK(chown("foreign", -1, TEAM)); /* and by one that he is not in */
	SAME(mode_of("foreign"), 0644);
	FAILS(chown("file", BOB, -1), EPERM);
	FAILS(chown("file", -1, TEAM + 5), EPERM);
	OK(chmod("file", 06755)); /* his group */
	SAME(mode_of("file"), 06755);
	OK(chown("file", -1, TEAM));
	SAME(mode_of("file"), 0755);
	OK(chown("dir", -1, TEAM)); /* directories keep theirs */
	FAILS(chmod("not_his", 0644), EPERM);
	/* in a group that he is no member of, chmod silently leaves out set-gid */
	OK(chmod("strange", 06755));
	SAME(mode_of("strange"), 04755);
}

static void stranger_asks_for_nothing(void *arg)
{
	(void)arg;
	become(BOB, OTHERS, false);
	TRUE(!chown("program", -1, -1) || errno == EPERM);
}

static void owner_changes_rights(void)
{
	struct stat before;

	privileged_file(06755);
	OK(mkdir("dir", 0755));
	OK(chown("dir", ALICE, OTHERS));
	OK(chmod("dir", 02755));
	file_put("not_his", "x");
	file_put("strange", "x");
	OK(chown("strange", ALICE, OTHERS + 9));
	file_put("hers", "x");
	OK(chown("hers", ALICE, OTHERS));
	file_put("foreign", "x");
	OK(chown("foreign", ALICE, OTHERS + 9));
	OK(chmod("foreign", 02644));
	child_run(owner_changes, NULL);
	/* who neither owns it nor may write to it takes nothing from it */
	file_put("program", "x");
	OK(chmod("program", 06755));
	before = file_stat("program");
	child_run(stranger_asks_for_nothing, NULL);
	SAME(mode_of("program"), 06755);
	TRUE(before.st_ctim.tv_sec == file_stat("program").st_ctim.tv_sec &&
	     before.st_ctim.tv_nsec == file_stat("program").st_ctim.tv_nsec);
	TRUE(!capability_there("file"));
	SAME(mode_of("dir"), 02755);
	/* root's chown clears them too */
	privileged_file(06755);
	OK(chown("file", BOB, OTHERS));
	SAME(mode_of("file"), 0755);
	TRUE(!capability_there("file"));
	/* of the group, even to the same one */
	privileged_file(06755);
	OK(chown("file", -1, TEAM));
	SAME(mode_of("file"), 0755);
	OK(chown("dir", BOB, TEAM));
	SAME(mode_of("dir"), 02755);
}

static void make_in_team_directory(void *arg)
{
	(void)arg;
	become(BOB, OTHERS, false);
	umask(0);
	OK(close(OK(open("dir/file", O_CREAT | O_WRONLY, 02775))));
	SAME(mode_of("dir/file"), 0775); /* he is no member of its group */
	OK(close(OK(open("dir/plain", O_CREAT | O_WRONLY, 02664))));
	OK(mkdir("dir/sub", 0755));
	SAME(mode_of("dir/sub"), 02755);
	OK(mkdir("dir/sub/sub", 0700));
	SAME(mode_of("dir/sub/sub"), 02700);
	SAME(file_stat("dir/sub/sub").st_gid, TEAM);
	OK(mkfifo("dir/fifo", 0644));
	SAME(file_stat("dir/fifo").st_gid, TEAM);
	OK(close(OK(open("dir/set_uid", O_CREAT | O_WRONLY, 04755))));
	SAME(mode_of("dir/set_uid"), 04755);
	OK(close(OK(open("own/file", O_CREAT | O_WRONLY, 06775))));
	SAME(mode_of("own/file"), 06775); /* his own group */
	SAME(file_stat("own/file").st_gid, OTHERS);
}

static void member_makes(void *arg)
{
	int fd;

	(void)arg;
	become(ALICE, OTHERS, true);
	umask(0);
	OK(close(OK(open("dir/members", O_CREAT | O_WRONLY, 02775))));
	SAME(mode_of("dir/members"), 02775);
	SAME(file_stat("dir/members").st_gid, TEAM);
	fd = OK(open("dir", O_TMPFILE | O_WRONLY, 02775));
	{
		struct stat st;

		OK(fstat(fd, &st));
		SAME(st.st_gid, TEAM);
		SAME(st.st_mode & 07777, 02775);
	}
	OK(close(fd));
}

static void made_in_set_gid_directory(void)
{
	OK(mkdir("dir", 0777));
	OK(chown("dir", ALICE, TEAM));
	OK(chmod("dir", 02777));
	OK(mkdir("own", 0777));
	child_run(make_in_team_directory, NULL);
	child_run(member_makes, NULL);
	SAME(file_stat("dir/plain").st_gid, TEAM);
}

/* A line of /proc/self/status, as a program from here sees it. */
struct look {
	const char *prefix;
	int out;
};

static void look_as_bob(void *arg)
{
	const struct look *look = arg;

	become(BOB, OTHERS, false);
	OK(dup2(look->out, 1));
	OK(execl("./grep", "grep", look->prefix, "/proc/self/status", NULL));
}

static void program_sees(const char *prefix, const char *expected)
{
	char line[256] = "";
	int ends[2];
	struct look look = {prefix, 0};

	OK(pipe(ends));
	look.out = ends[1];
	child_run(look_as_bob, &look);
	OK(close(ends[1]));
	OK(read(ends[0], line, sizeof(line) - 1));
	OK(close(ends[0]));
	if (!strstr(line, expected))
		FAIL("the program sees \"%s\", expected \"%s\"", line, expected);
}

/* They are not only kept but work: a program runs with its owner's rights, or with a capability. */
static void programs_with_rights(void)
{
	char expected[64];

	program_copy("/bin/grep", "grep");
	snprintf(expected, sizeof(expected), "Uid:\t%u\t%u", BOB, BOB);
	program_sees("^Uid", expected);
	program_sees("^CapEff", "CapEff:\t0000000000000000");
	OK(chown("grep", ALICE, TEAM));
	OK(chmod("grep", 06755));
	snprintf(expected, sizeof(expected), "Uid:\t%u\t%u", BOB, ALICE);
	program_sees("^Uid", expected);
	snprintf(expected, sizeof(expected), "Gid:\t%u\t%u", OTHERS, TEAM);
	program_sees("^Gid", expected);
	OK(chmod("grep", 0755));
	snprintf(expected, sizeof(expected), "Uid:\t%u\t%u", BOB, BOB);
	program_sees("^Uid", expected);
	capability_set("grep");
	program_sees("^CapEff", "CapEff:\t0000000000000400");
	OK(removexattr("grep", "security.capability"));
	program_sees("^CapEff", "CapEff:\t0000000000000000");
}

static void give_himself_capability(void *arg)
{
	(void)arg;
	become(ALICE, OTHERS, false);
	FAILS(setxattr("with", "security.capability", &net_bind, sizeof(net_bind), 0), EPERM);
	FAILS(setxattr("without", "security.capability", &net_bind, sizeof(net_bind), 0), EPERM);
	FAILS(removexattr("with", "security.capability"), EPERM);
}

/* Neither the owner can give or take one, nor root one that is none. */
static void capability_rules(void)
{
	file_put("with", "x");
	file_put("without", "x");
	capability_set("with");
	OK(setxattr("with", "trusted.x", "x", 1, 0));
	FAILS(setxattr("without", "security.capability", "abc", 3, 0), EINVAL);
	OK(chmod("with", 0777));
	child_run(give_himself_capability, NULL);
	/* chown takes it away; the owner can do no more than before */
	OK(chown("without", ALICE, OTHERS));
	OK(chown("with", ALICE, OTHERS));
	TRUE(!capability_there("with"));
	capability_set("with");
	child_run(give_himself_capability, NULL);
	TRUE(capability_there("with") && !capability_there("without"));
	/* a name of it: both have it, and a rename keeps it */
	OK(link("with", "twin"));
	OK(rename("with", "renamed"));
	TRUE(capability_there("twin") && capability_there("renamed"));
	/* of what else there is in the namespaces of root, chown takes nothing */
	OK(chown("twin", BOB, OTHERS));
	TRUE(!capability_there("renamed"));
	SAME(getxattr("renamed", "trusted.x", NULL, 0), 1);
}

static void as_member(void *arg)
{
	(void)arg;
	become(BOB, OTHERS, true);
	OK(close(OK(open("dir/file", O_RDWR))));
	OK(close(OK(open("dir/new", O_CREAT | O_WRONLY, 0644))));
	OK(unlink("dir/new"));
	OK(rename("dir/file", "dir/moved"));
	OK(access("dir", W_OK));
}

static void as_no_member(void *arg)
{
	(void)arg;
	become(BOB, OTHERS, false);
	FAILS(open("dir/moved", O_RDONLY), EACCES);
	FAILS(open("dir", O_RDONLY), EACCES);
	FAILS(access("dir", R_OK), EACCES);
}

/* access(2) asks for the real user, faccessat with AT_EACCESS for the one who counts. */
static void half_become(void *arg)
{
	(void)arg;
	OK(setresuid(BOB, 0, 0));
	FAILS(access("secret", R_OK), EACCES);
	OK(faccessat(AT_FDCWD, "secret", R_OK, AT_EACCESS));
	OK(close(OK(open("secret", O_RDONLY))));
}

/* What was allowed at open stays allowed, whatever becomes of the file's mode. */
static void open_stays_open(void *arg)
{
	char byte;
	int fd;

	(void)arg;
	become(ALICE, OTHERS, false);
	fd = OK(open("mine/new", O_CREAT | O_RDWR, 0)); /* for the creator himself at once */
	SAME(write(fd, "x", 1), 1);
	SAME(pread(fd, &byte, 1, 0), 1);
	OK(ftruncate(fd, 100));
	FAILS(open("mine/new", O_RDONLY), EACCES);
	OK(close(fd));
	OK(chmod("mine/new", 0600));
	fd = OK(open("mine/new", O_RDWR));
	OK(chmod("mine/new", 0));
	SAME(pwrite(fd, "y", 1, 0), 1);
	OK(close(fd));
	fd = OK(open("mine/read_only", O_CREAT | O_RDWR, 0444));
	SAME(write(fd, "x", 1), 1);
	OK(close(fd));
	FAILS(open("mine/read_only", O_RDWR), EACCES);
}

static void groups_and_identities(void)
{
	OK(mkdir("dir", 0770));
	OK(chown("dir", ALICE, TEAM));
	file_put("dir/file", "x");
	OK(chown("dir/file", ALICE, TEAM));
	OK(chmod("dir/file", 0660));
	child_run(as_member, NULL);
	child_run(as_no_member, NULL);
	file_put("secret", "x");
	OK(chmod("secret", 0600));
	child_run(half_become, NULL);
	OK(mkdir("mine", 0755));
	OK(chown("mine", ALICE, OTHERS));
	child_run(open_stays_open, NULL);
}

const struct posix_case posix_right_cases[] = {
	{"writes_clear_rights", writes_clear_rights},
	{"open_before_it_was_privileged", open_before_it_was_privileged},
	{"owner_changes_rights", owner_changes_rights},
	{"made_in_set_gid_directory", made_in_set_gid_directory},
	{"programs_with_rights", programs_with_rights},
	{"capability_rules", capability_rules},
	{"groups_and_identities", groups_and_identities},
	{NULL, NULL},
};
